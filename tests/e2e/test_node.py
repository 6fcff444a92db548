# SPDX-License-Identifier: Apache-2.0
"""A node from end to end: a real containerd runs the pods, berth-cni connects them, berth-csi gives them volumes, and
a stand-in for kubelet (tests/lib/kubelet.py) makes kubelet's calls. All that was done to the node is `berth-cni
install` and the start of `berth-csi serve`."""

import collections
import json
import os
import pathlib
import re
import signal
import subprocess

import pytest

import cgroups
import containerd as containerd_lib
import csi
import node as lib
import sandbox as sandbox_module
from containerd import IMAGE
from kubelet import Kubelet, Pod, Volume
from node import NODE, OUTSIDE

try:
    import cri
except ImportError:
    cri = None

if containerd_lib.missing():
    pytest.skip(containerd_lib.missing(), allow_module_level=True)
if cri is None:
    pytest.skip('needs python3-grpcio', allow_module_level=True)

RECORDED = pathlib.Path(__file__).resolve().parents[1] / 'data' / 'kubelet' / 'v1.36.2.jsonl'
MIB = 1 << 20
SOCKET = pathlib.Path('/var/lib/kubelet/plugins/local.csi.berth.dev/csi.sock')
WEB = ('/bin/httpd', '-f', '-p', '80', '-h', '/etc')
GET = 'printf "GET /passwd HTTP/1.0\\r\\n\\r\\n" | nc -w 3 {} {}'
PLUMBING = ('veth', 'bwp')


def kubelet_root(sandbox):
    """Where it is on most nodes; addresses of sockets are short."""
    path = sandbox.private_directory('/var/lib/kubelet')
    sandbox.share(path)
    return path


class World:
    def __init__(self, sandbox, build):
        self.sandbox, self.build = sandbox, build
        self.node = lib.Node(sandbox, build)
        self.containerd = containerd_lib.Containerd(sandbox)
        self.root = kubelet_root(sandbox)
        self.kubelet = Kubelet(self.root)
        self.daemon = csi.Daemon(build, sandbox.path, ['--registration', '--health-port=9808', f'--endpoint={SOCKET}'],
                                 kubelet_root=self.root)
        self.daemon.socket_path = SOCKET
        self.runtime = None

    def start(self, *subnets):
        self.start_runtime()
        subprocess.run([self.build / 'cni' / 'berth-cni', 'install',
                        *[word for one in subnets for word in ('--subnet', one)]], check=True, capture_output=True)
        lib.wait_for(lambda: self.runtime.ready()[1])
        self.containerd.load(self.sandbox.path)

    def start_runtime(self):
        self.containerd.start()
        self.runtime = cri.Cri(self.containerd.socket, cgroups.NAME)
        lib.wait_for(self.serves)

    def serves(self):
        try:
            return self.runtime.ready()[0]
        except cri.grpc.RpcError as error:
            assert 'not initialized' in error.details()
            return False

    def start_storage(self):
        self.daemon.start(ready_seconds=0)
        assert self.kubelet.register() == 'local.csi.berth.dev'

    def run(self, name, *argv, mounts=(), devices=(), **config):
        """A pod of one container; (sandbox, container)."""
        conf = self.runtime.sandbox_config(name, **config)
        pod = self.runtime.run_pod(conf)
        return pod, self.runtime.run_container(pod, conf, IMAGE, *argv, mounts=mounts, devices=devices)

    def sh(self, container, command):
        """Output of a shell command in a container that must succeed."""
        code, out = self.runtime.exec(container, '/bin/sh', '-c', command)
        assert code == 0, f'{command}: {code}: {out}'
        return out

    def netns(self, pod):
        """The network namespace that the runtime made for it."""
        address = self.runtime.addresses(pod)[0]
        for one in map(sandbox_module.NetNs, os.listdir('/run/netns')):
            if f' {address}/' in one.run('ip', 'addr').stdout:
                return one
        raise AssertionError(f'no network namespace has {address}')

    def leftovers(self):
        """What pods have left on the node: links, elements of rules, leases."""
        leases = pathlib.Path('/var/lib/cni/networks/berth')
        return ([one['ifname'] for one in lib.link_json() if one['ifname'].startswith(PLUMBING)], lib.elements(),
                sorted(one.name for one in leases.iterdir() if one.name[0].isdigit() or one.name.startswith('fd')))

    def clean(self):
        return self.leftovers() == ([], [], [])


@pytest.fixture(name='world')
def world_fixture(sandbox, build):
    world = World(sandbox, build)
    try:
        yield world
    finally:
        if world.daemon.process and world.daemon.process.poll() is None:
            world.daemon.stop()
        if world.daemon.log_path.exists():
            print(world.daemon.log()[-3000:])
        world.containerd.close()


def answers(world, client, address, port):
    return 'root:' in world.sh(client, GET.format(address, port))


@pytest.mark.deadline(120)
def test_pods_talk(world):
    """Pod to pod, pod to node and back, both families, host port from outside, limits that hold."""
    world.start('10.5.0.0/24', 'fd00:5::/64')
    web, server = world.run('web', *WEB, ports=[(8080, 80, 0)])
    _, client = world.run('client', '/bin/sleep', '1000')
    address, address6 = world.runtime.addresses(web)
    for where, port in ((address, 80), (address6, 80), (NODE, 8080)):
        assert answers(world, client, where, port), where
    assert answers(world, server, NODE, 8080)  # a pod reaches itself by the node's port
    world.node.serve(None, 'tcp', 7000, 'the node')
    assert world.sh(client, f'nc -w 3 {NODE} 7000 </dev/null').strip().startswith('the node')
    assert lib.sh('busybox', 'wget', '-qO-', f'http://{address}/passwd').stdout.startswith('root:')
    # From outside by the host port; to outside under the node's address.
    assert world.node.outside.run('busybox', 'wget', '-qO-', f'http://{NODE}:8080/passwd').stdout.startswith('root:')
    world.node.serve(world.node.outside, 'tcp', 80, 'outside')
    assert world.sh(client, f'nc -w 3 {OUTSIDE} 80 </dev/null') == f'outside {NODE}'


@pytest.mark.deadline(120)
def test_limits_hold(world):
    """Bandwidth as kubelet's annotations ask for it. A runtime asks for a burst of 2^32 - 1 bits (512 MiB), which
    passes at full speed; what counts is what comes after."""
    world.start('10.5.0.0/24')
    limited, _ = world.run('limited', '/bin/sleep', '1000',
                           annotations=[('kubernetes.io/ingress-bandwidth', '80M')])
    free, _ = world.run('free', '/bin/sleep', '1000')
    source, _ = world.run('source', '/bin/sleep', '1000')
    rates = [one for one in lib.sh('tc', 'qdisc', 'show').stdout.splitlines() if 'tbf' in one]
    assert len(rates) == 1 and 'rate 80Mbit' in rates[0], rates

    def megabits(pod, seconds):
        return world.node.megabits(world.netns(pod), world.netns(source), world.runtime.addresses(pod)[0],
                                   seconds=seconds)
    left = (1 << 32) / 1e6
    for _ in range(20):
        left -= megabits(limited, 1)
        if left < 0:
            break
    assert 40 < megabits(limited, 2) < 120
    assert megabits(free, 1) > 240


@pytest.mark.deadline(120)
def test_runtime_restarts_under_pods(world):
    """containerd ends, gently and by SIGKILL, while pods run: they keep talking, and it can remove them afterwards."""
    world.start('10.5.0.0/24')
    web, _ = world.run('web', *WEB, ports=[(8080, 80, 0)])
    address = world.runtime.addresses(web)[0]
    for end in (world.containerd.stop, world.containerd.kill):
        end()
        assert lib.sh('busybox', 'wget', '-qO-', f'http://{address}/passwd').stdout.startswith('root:')
        assert world.node.outside.run('busybox', 'wget', '-qO-',
                                      f'http://{NODE}:8080/passwd').stdout.startswith('root:')
        world.start_runtime()
        lib.wait_for(lambda: world.runtime.ready()[1])
        assert world.runtime.pods() == [web]
    again, client = world.run('again', '/bin/sleep', '1000')
    assert world.runtime.addresses(again) != [address]
    assert answers(world, client, address, 80)
    for pod in (web, again):
        world.runtime.remove_pod(pod)
    assert world.clean(), world.leftovers()


@pytest.mark.deadline(120)
def test_what_the_runtime_forgot(world):
    """A node that lost its runtime's state, as after a crash: what its pods held is found by nobody but gc."""
    world.start('10.5.0.0/24')
    kept, _ = world.run('kept', *WEB)
    lost, _ = world.run('lost', *WEB, ports=[(8080, 80, 0)],
                        annotations=[('kubernetes.io/egress-bandwidth', '80M')])
    address = world.runtime.addresses(lost)[0]
    namespace = world.netns(lost)
    pids = lib.sh('ip', 'netns', 'pids', namespace.name).stdout.split()
    world.containerd.kill()
    for pid in pids:
        os.kill(int(pid), signal.SIGKILL)
    namespace.delete()
    # The bridge port goes with the namespace; the address, the host port and the ifb do not.
    assert address in world.leftovers()[2]
    lib.sh(world.build / 'cni' / 'berth-cni', 'gc', 'berth')
    links, elements, leases = world.leftovers()
    assert address not in leases and len(leases) == 1
    assert not [one for one in elements if address in one[2]] and not [one for one in links if one.startswith('bwp')]
    world.start_runtime()
    lib.wait_for(lambda: world.runtime.ready()[1])
    assert lib.sh('busybox', 'wget', '-qO-', f'http://{world.runtime.addresses(kept)[0]}/passwd').stdout
    for pod in (kept, lost):
        world.runtime.remove_pod(pod)
    assert world.clean(), world.leftovers()


def loops(world):
    return sandbox_module.loops_below(world.sandbox.path)


@pytest.mark.deadline(150)
@pytest.mark.parametrize('fs_type', ['ext4', 'xfs'])
def test_a_claim_moves_from_pod_to_pod(world, fs_type):
    """Write in one pod, delete it, read in the next; grow it under a pod; restart both daemons under a pod."""
    world.start('10.5.0.0/24')
    world.start_storage()
    kubelet = world.kubelet
    kubelet.provisioner_start()
    claim = kubelet.provision(320 * MIB, fs_type, group=1234)
    first = Pod('first', [claim])
    path = kubelet.mount(first)[claim.name]
    sandbox, container = world.run('first', '/bin/sleep', '1000', mounts=[('/data', path, 0)])
    world.sh(container, 'echo kept >/data/file; sync')
    assert os.stat(path).st_gid == 1234
    usage = kubelet.stats(first, claim).usage
    assert {one.unit for one in usage} == {1, 2} and usage[0].total > 250 * MIB
    world.runtime.remove_pod(sandbox)
    kubelet.unmount(first)
    csi.until(lambda: not loops(world))

    second = Pod('second', [claim])
    path = kubelet.mount(second)[claim.name]
    sandbox, container = world.run('second', '/bin/sleep', '1000', mounts=[('/data', path, 0)])
    assert world.sh(container, 'cat /data/file') == 'kept\n'
    before = kubelet.stats(second, claim).usage[0].total
    try:
        kubelet.expand(second, claim, 640 * MIB)
        assert kubelet.stats(second, claim).usage[0].total > before + 250 * MIB
    except csi.Failure as failure:
        # What the machine of the test may lack; then the pod goes on with the old size.
        assert fs_type == 'ext4' and 'only for a process with CAP_SYS_RESOURCE' in failure.message
    # Upgrades, as the pod sees them: nothing.
    world.daemon.stop()
    world.containerd.stop()
    world.start_storage()
    world.start_runtime()
    world.sh(container, 'echo more >>/data/file; sync')
    kubelet.stage(claim)  # kubelet after its own restart asks for what is there already
    kubelet.publish(second, claim)
    assert world.sh(container, 'cat /data/file') == 'kept\nmore\n'
    world.runtime.remove_pod(sandbox)
    kubelet.unmount(second)
    kubelet.delete(claim)
    csi.until(lambda: not loops(world))
    assert world.clean()
    assert not [one for one in sandbox_module.mounts_below(world.root) if one[0] != str(world.root)]


@pytest.mark.deadline(120)
def test_block_and_inline_volumes(world):
    world.start('10.5.0.0/24')
    world.start_storage()
    kubelet = world.kubelet
    claim = kubelet.provision(64 * MIB, block=True)
    for step in ('write', 'read'):
        inline = Volume('scratch', context={'size': '64Mi'}, ephemeral=True)
        pod = Pod(step, [claim, inline])
        paths = kubelet.mount(pod)
        sandbox, container = world.run(step, '/bin/sleep', '1000', mounts=[('/scratch', paths['scratch'], 0)],
                                       devices=[('/dev/claim', paths[claim.name])])
        assert world.sh(container, 'ls /scratch').split() in ([], ['lost+found'])  # never what another pod left
        world.sh(container, 'echo gone >/scratch/file')
        if step == 'write':
            world.sh(container, 'echo a raw block volume >/dev/claim; sync')
        else:
            assert world.sh(container, 'head -n 1 /dev/claim') == 'a raw block volume\n'
        world.runtime.remove_pod(sandbox)
        kubelet.unmount(pod)
    kubelet.delete(claim)
    csi.until(lambda: not loops(world))


# --- the stand-in is held against the record ---

def canonical(method, request, names):
    """One call as text, what differs between any two runs taken out. names: {text: what it stands for}."""
    text = json.dumps(request, sort_keys=True).replace('"AccessType": {"Mount": {}}', '"mount": {}')
    for name, meaning in names.items():
        text = text.replace(name, meaning)
    text = re.sub(r'csi-[0-9a-f]{64}', 'INLINE', text)
    text = re.sub(r'[0-9a-f]{64}', 'SHA', text)
    text = re.sub(r'[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}', 'UUID', text)
    text = re.sub(r'("[\w./]*(?:csiProvisionerIdentity|pod.name)": ")[^"]*', r'\1NAME', text)
    return f'{method} {json.dumps(json.loads(text), sort_keys=True)}'


@pytest.mark.deadline(60)
def test_the_stand_in_calls_as_kubelet_does(sandbox, build):
    root = kubelet_root(sandbox)
    kubelet = Kubelet(root)
    daemon = csi.Daemon(build, sandbox.path, ['--registration', f'--endpoint={SOCKET}'], kubelet_root=root)
    daemon.socket_path = SOCKET
    with daemon:
        kubelet.register()
        kubelet.provisioner_start()
        claim = kubelet.provision(16 * MIB)
        inline = Volume('v', context={'size': '10Mi'}, ephemeral=True)
        pods = [Pod('inline', [inline]), Pod('claim', [claim])]
        for pod in pods:
            kubelet.mount(pod)
        for pod in pods:
            kubelet.stats(pod, pod.volumes[0])
        for pod in pods:
            kubelet.unmount(pod)
        kubelet.delete(claim)
    ours = {str(root): '$R', claim.handle: 'ID', kubelet.driver: 'DRIVER'}
    theirs = {'4b93a2f9-e7bf-11f1-ac86-4a9e98c65054': 'ID', 'hostpath.csi.k8s.io': 'DRIVER'}
    recorded = [json.loads(line) for line in RECORDED.read_text().splitlines()]
    # What the driver itself puts into the context is its own.
    for _, fields in kubelet.calls:
        for key in claim.context:
            fields.get('volume_context', {}).pop(key, None)
    made = collections.Counter(canonical(method, fields, ours) for method, fields in kubelet.calls)
    wanted = collections.Counter(canonical(one['method'], one['request'], theirs) for one in recorded)
    assert made - wanted == wanted - made == collections.Counter()
