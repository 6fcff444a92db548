# SPDX-License-Identifier: Apache-2.0
"""Kubernetes itself: API server, scheduler, controller manager and kubelet, built from their Go modules
(tests/e2e/kubernetes_tools.py), on a node whose network is berth-cni and whose volumes are berth-csi's."""

import os
import pathlib
import subprocess
import time

import pytest

import cgroups
import containerd as containerd_lib
import csi
import kubernetes
import node as lib
import sandbox as sandbox_module
from containerd import IMAGE
from node import NODE

PROGRAMS = pathlib.Path(os.environ.get('BERTH_KUBERNETES', '/none'))
DRIVER = 'local.csi.berth.dev'
MIB = 1 << 20

for reason in (containerd_lib.missing(), kubernetes.missing(PROGRAMS)):
    if reason:
        pytest.skip(reason, allow_module_level=True)


def pod(name, *argv, volumes=None, ports=(), group=None):
    """A pod of one container; volumes: {mount path: volume source}."""
    volumes = volumes or {}
    return {
        'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': name, 'namespace': 'default'},
        'spec': {
            'terminationGracePeriodSeconds': 1, 'enableServiceLinks': False,
            'securityContext': {'fsGroup': group} if group else {},
            'containers': [{
                'name': 'c', 'image': IMAGE, 'imagePullPolicy': 'Never', 'command': list(argv),
                'ports': [{'containerPort': inside, 'hostPort': outside} for outside, inside in ports],
                'volumeMounts': [{'name': f'v{n}', 'mountPath': path} for n, path in enumerate(volumes)]}],
            'volumes': [{'name': f'v{n}', **source} for n, source in enumerate(volumes.values())]}}


CSI_DRIVER = {'apiVersion': 'storage.k8s.io/v1', 'kind': 'CSIDriver', 'metadata': {'name': DRIVER},
              'spec': {'attachRequired': False, 'podInfoOnMount': True, 'fsGroupPolicy': 'File',
                       'volumeLifecycleModes': ['Persistent', 'Ephemeral']}}
STORAGE_CLASS = {'apiVersion': 'storage.k8s.io/v1', 'kind': 'StorageClass', 'metadata': {'name': 'berth-local'},
                 'provisioner': DRIVER, 'volumeBindingMode': 'WaitForFirstConsumer'}
CLAIM = {'apiVersion': 'v1', 'kind': 'PersistentVolumeClaim', 'metadata': {'name': 'data', 'namespace': 'default'},
         'spec': {'accessModes': ['ReadWriteOnce'], 'storageClassName': 'berth-local',
                  'resources': {'requests': {'storage': '64Mi'}}}}


class World:
    def __init__(self, sandbox, build):
        self.build = build
        self.sandbox = sandbox
        self.node = lib.Node(sandbox, build)
        lib.sh('ip', 'route', 'add', 'default', 'via', lib.OUTSIDE)  # kubelet wants a way out
        self.containerd = containerd_lib.Containerd(sandbox)
        root = sandbox.private_directory('/var/lib/kubelet')
        sandbox.share(root)
        for path in ('/var/log/pods', '/var/log/containers'):
            sandbox.private_directory(path)
        self.cluster = kubernetes.Kubernetes(sandbox, PROGRAMS, self.containerd)
        socket = root / 'plugins' / DRIVER / 'csi.sock'
        self.daemon = csi.Daemon(build, sandbox.path, ['--registration', f'--endpoint={socket}', '--health-port=9808'],
                                 kubelet_root=root, node_name=kubernetes.NODE)
        self.daemon.socket_path = socket

    def start(self):
        self.containerd.start()
        self.containerd.load(self.sandbox.path)
        self.cluster.start_control_plane()
        self.cluster.start_kubelet()
        subprocess.run([self.build / 'cni' / 'berth-cni', 'install', '--subnet', '10.5.0.0/24'], check=True,
                       capture_output=True)
        self.cluster.wait(self.cluster.node_is_ready, 90, 'node')

    def close(self):
        if self.daemon.process and self.daemon.process.poll() is None:
            self.daemon.stop()
        if self.daemon.log_path.exists():
            print(self.daemon.log()[-3000:])
        self.cluster.close()
        self.containerd.close()
        cgroups.sweep(cgroups.NAME)


@pytest.fixture(name='world')
def world_fixture(sandbox, build):
    world = World(sandbox, build)
    try:
        world.start()
        yield world
    finally:
        world.close()


def settled(world):
    """Nothing of any pod is left: no mount, no link, no lease, no loop device."""
    leases = [one for one in os.listdir('/var/lib/cni/networks/berth') if one[0].isdigit()]
    links = [one['ifname'] for one in lib.link_json() if one['ifname'].startswith('veth')]
    mounts = [one for one in sandbox_module.mounts_below('/var/lib/kubelet') if 'csi' in one[0]]
    return not (leases or links or lib.elements() or mounts or sandbox_module.loops_below(world.sandbox.path))


@pytest.mark.deadline(600)
def test_pods_and_volumes(world):
    cluster = world.cluster
    started = time.monotonic()
    world.daemon.start(ready_seconds=0)
    cluster.apply(CSI_DRIVER, STORAGE_CLASS)
    cluster.wait(lambda: DRIVER in cluster.drivers(), 60, 'CSINode')
    print(f'registered after {time.monotonic() - started:.2f} s')
    # Network: pod to pod, node to pod, host port from outside.
    started = time.monotonic()
    address = cluster.run_pod(pod('web', '/bin/httpd', '-f', '-p', '80', '-h', '/etc', ports=[(8080, 80)]))
    print(f'first pod running after {time.monotonic() - started:.2f} s')
    assert address.startswith('10.5.0.')
    inline = {'/scratch': {'csi': {'driver': DRIVER, 'volumeAttributes': {'size': '64Mi'}}}}
    started = time.monotonic()
    cluster.run_pod(pod('client', '/bin/sleep', '1000', volumes=inline, group=1234))
    print(f'pod with a new volume running after {time.monotonic() - started:.2f} s')
    assert cluster.exec('client', 'wget', '-qO-', f'http://{address}/passwd').startswith('root:')
    assert cluster.exec('client', 'wget', '-qO-', f'http://{NODE}:8080/passwd').startswith('root:')
    assert world.node.outside.run('busybox', 'wget', '-qO-', f'http://{NODE}:8080/passwd').stdout.startswith('root:')
    # Inline volume, kubelet's own fsGroup on it.
    cluster.exec('client', 'sh', '-c', 'echo x >/scratch/file')
    assert ' 1234 ' in ' '.join(cluster.exec('client', 'ls', '-ln', '/scratch').split())
    # A volume that is there already, as an admin binds it; write, delete, read in the next pod.
    client = csi.Client(world.daemon.socket_path)
    made = client.CreateVolume(name='by-hand', capacity_range={'required_bytes': 64 * MIB},
                               volume_capabilities=[csi.mount_capability('ext4')]).volume
    volume = {'apiVersion': 'v1', 'kind': 'PersistentVolume', 'metadata': {'name': 'by-hand'},
              'spec': {'capacity': {'storage': '64Mi'}, 'accessModes': ['ReadWriteOnce'],
                       'persistentVolumeReclaimPolicy': 'Retain', 'storageClassName': 'berth-local',
                       'csi': {'driver': DRIVER, 'volumeHandle': made.volume_id, 'fsType': 'ext4',
                               'volumeAttributes': csi.pairs(made.volume_context)}}}
    cluster.apply(volume, {**CLAIM, 'spec': {**CLAIM['spec'], 'volumeName': 'by-hand'}})
    source = {'/data': {'persistentVolumeClaim': {'claimName': 'data'}}}
    for name, command in (('first', 'echo kept >/data/file; sync'), ('second', 'cat /data/file')):
        cluster.run_pod(pod(name, '/bin/sleep', '1000', volumes=source))
        out = cluster.exec(name, 'sh', '-c', command)
        if name == 'second':
            assert out == 'kept\n'
            # Daemon, runtime and kubelet restart under the pod.
            world.daemon.stop()
            world.daemon.start(ready_seconds=0)
            world.containerd.stop()
            cluster.stop('kubelet')
            world.containerd.start()
            cluster.start_kubelet()
            cluster.wait(lambda: cluster.kubectl('exec', 'second', '--', 'cat', '/data/file', check=False).stdout
                         == 'kept\n', 60, 'exec after the restart')
        cluster.delete('pod', name)
    for name in ('web', 'client'):
        cluster.delete('pod', name)
    cluster.wait(lambda: settled(world), 60, 'clean node')


@pytest.mark.deadline(600)
@pytest.mark.skipif(not (PROGRAMS / 'csi-provisioner').exists(), reason='needs csi-provisioner')
def test_dynamic_provisioning(world):
    """external-provisioner beside the daemon, as the manifests run it: claim, pod, volume, and all of it goes again."""
    cluster = world.cluster
    world.daemon.start(ready_seconds=0)
    cluster.apply(CSI_DRIVER, STORAGE_CLASS)
    cluster.wait(lambda: DRIVER in cluster.drivers(), 60, 'CSINode')
    os.environ['NODE_NAME'] = kubernetes.NODE
    cluster.run('csi-provisioner', f'--kubeconfig={cluster.config}', f'--csi-address={world.daemon.socket_path}',
                '--node-deployment=true', '--strict-topology=true', '--immediate-topology=false',
                '--feature-gates=Topology=true', '--default-fstype=ext4', '--extra-create-metadata=true')
    cluster.apply(CLAIM)
    source = {'/data': {'persistentVolumeClaim': {'claimName': 'data'}}}
    for name, command in (('first', 'echo kept >/data/file; sync'), ('second', 'cat /data/file')):
        cluster.run_pod(pod(name, '/bin/sleep', '1000', volumes=source), 90)
        out = cluster.exec(name, 'sh', '-c', command)
        cluster.delete('pod', name)
    assert out == 'kept\n'
    volume = cluster.get('pvc', 'data')['spec']['volumeName']
    assert cluster.get('pv', volume)['spec']['nodeAffinity']
    assert len(list((world.daemon.pool / 'volumes').glob('*.img'))) == 1
    cluster.delete('pvc', 'data')
    cluster.wait(lambda: not list((world.daemon.pool / 'volumes').glob('*.img')), 60, 'deleted volume')
    cluster.wait(lambda: settled(world), 60, 'clean node')


@pytest.mark.deadline(300)
def test_manifests_are_accepted(sandbox, build):
    """Every overlay and example, by the API server itself, with unknown fields as errors. Nothing is kept."""
    lib.Node(sandbox, build)
    source = pathlib.Path(__file__).resolve().parents[2] / 'manifests'
    cluster = kubernetes.Kubernetes(sandbox, PROGRAMS, None)
    refused, n = [], 0
    try:
        cluster.start_control_plane()
        wrong = '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "nmespace": "y"}}'
        done = cluster.kubectl('apply', '--dry-run=server', '--validate=strict', '-f', '-', given=wrong, check=False)
        assert done.returncode != 0 and 'nmespace' in done.stderr
        for path in sorted([*source.glob('overlays/**/kustomization.yaml'),
                            *source.glob('examples/**/kustomization.yaml')]):
            done = cluster.kubectl('apply', '--dry-run=server', '--validate=strict', '-k', path.parent, check=False)
            n += 1
            # Snapshots are kinds of a controller that is not here.
            words = [one for one in done.stderr.splitlines() if 'no matches for kind "VolumeSnapshot' not in one
                     and 'ensure CRDs are installed first' not in one]
            if done.returncode != 0 and words:
                refused.append(f'{path.parent.relative_to(source)}: {" ".join(words)[:400]}')
    finally:
        cluster.close()
    assert n > 10 and not refused, '\n'.join(refused)
