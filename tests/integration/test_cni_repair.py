# SPDX-License-Identifier: Apache-2.0
"""check, repair and list: after somebody flushed, deleted or changed what running pods need, they heal."""

import base64
import json
import pathlib
import shutil
import subprocess

import pytest

import cni
import node as lib
from node import NODE, OUTSIDE


@pytest.fixture(name='node')
def node_fixture(sandbox, build):
    return lib.Node(sandbox, build)


class Cache:
    """Notes of libcni, as a runtime writes them."""

    def __init__(self, node):
        self.node = node
        self.path = node.sandbox.path / 'cache'
        (self.path / 'results').mkdir(parents=True)
        self.bin = node.sandbox.path / 'bin'
        self.bin.mkdir()
        (self.bin / 'berth-cni').symlink_to(node.plugin.program)
        for name in ('bridge', 'portmap', 'firewall', 'ptp'):
            (self.bin / name).symlink_to('berth-cni')

    def note(self, pod, plugins, ports=()):
        conflist = {'cniVersion': pod.conf['cniVersion'], 'name': 'net', 'plugins': plugins}
        text = {'kind': 'cniCacheV1', 'containerId': lib.container(pod.name), 'networkName': 'net', 'ifName': 'eth0',
                'netns': pod.netns.path, 'config': base64.b64encode(json.dumps(conflist).encode()).decode(),
                'capabilityArgs': {'portMappings': list(ports)}, 'result': pod.result}
        (self.path / 'results' / f'net-{lib.container(pod.name)}-eth0').write_text(json.dumps(text))

    def __call__(self, command, *argv):
        return subprocess.run([self.node.plugin.program, command, '--cache-dir', self.path, '--bin-dir', self.bin,
                               *argv], capture_output=True, text=True, timeout=60, check=False)


PORTS = [{'hostPort': 8080, 'containerPort': 80, 'protocol': 'tcp'}]


@pytest.fixture(name='pods')
def pods_fixture(node):
    """Two pods with everything; returns their cache."""
    cache = Cache(node)
    base = node.conf(ipMasq=True, firewall=True, macspoofchk=True, capabilities={'portMappings': True})
    plugin = {key: value for key, value in base.items() if key not in ('name', 'cniVersion')}
    for name in ('iptables', 'ip6tables'):
        lib.sh(name, '-P', 'FORWARD', 'DROP')
    cache.a = node.add({**base, 'runtimeConfig': {'portMappings': PORTS}}, 'a')
    cache.b = node.add(base, 'b')
    cache.note(cache.a, [plugin], PORTS)
    cache.note(cache.b, [plugin])
    node.serve(node.outside, 'tcp', 80, 'outside')
    node.serve(cache.a.netns, 'tcp', 80, 'a')
    return cache


def works(node, pods):
    assert node.ask(pods.b.netns, 'tcp', OUTSIDE, 80) == f'outside {NODE}'
    assert node.ask(node.outside, 'tcp', NODE, 8080) == f'a {OUTSIDE}'
    assert node.ask(None, 'tcp', '127.0.0.1', 8080) == 'a 10.1.0.1'
    assert node.ask(pods.b.netns, 'tcp', pods.a.address, 80) == f'a {pods.b.address}'


def state():
    return (sorted(lib.elements()), lib.sh('ip', 'addr').stdout.count('inet'), lib.ruleset_text().count('\n'))


BREAKS = {
    'nft flush ruleset': 'nft flush ruleset',
    'nft flush table': 'nft flush table ip berth',
    'chain of host ports': 'nft flush chain ip berth ports; nft flush chain ip6 berth ports',
    'chain that another one calls': 'nft flush chain bridge berth nd-target-check',
    'iptables -F': 'iptables -F; iptables -X',
    'one element': 'nft flush set ip berth masq-10.1.0.0-16',
    'bridge address': 'ip addr flush dev cni0 scope global',
    'bridge down': 'ip link set cni0 down',
    'bridge gone': 'ip link del cni0',
    'port taken out': 'for l in $(ls /sys/class/net/cni0/brif); do ip link set $l nomaster; done',
    'port down': 'for l in $(ls /sys/class/net/cni0/brif); do ip link set $l down; done',
    'sysctl': 'sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0 net.ipv4.conf.cni0.route_localnet=0',
    "a bridge's own switch": 'sysctl -qw net.ipv4.conf.cni0.forwarding=0 net.ipv6.conf.cni0.forwarding=0',
    "an uplink's own switch": f'ip route add default via {OUTSIDE}; sysctl -qw '
                              f'net.ipv4.conf.$(ip -o route get {OUTSIDE} | sed "s/.*dev //; s/ .*//").forwarding=0',
    'in the pod': 'ip -n b addr flush dev eth0; ip -n b route flush table main',
    'connected routes': 'ip route del 10.1.0.0/16 dev cni0; ip -6 route del fd00:1::/64 dev cni0',
    'claims, as an older release': 'for c in arp-check nd-check nd-target-check; do nft flush chain bridge berth $c; '
                                   'done; for c in arp-check nd-check nd-target-check; do '
                                   'nft delete chain bridge berth $c; done; '
                                   'for s in arp-links arp-senders nd-links nd-senders nd-targets; do '
                                   'nft delete set bridge berth $s; done',
}


@pytest.mark.parametrize('what', BREAKS)
def test_running_pods_heal(node, pods, what):
    works(node, pods)
    done = pods('check')
    assert (done.returncode, done.stdout) == (0, '')
    before = state()
    lib.sh('sh', '-c', BREAKS[what])
    done = pods('check')
    assert done.returncode == 1 and done.stdout.strip(), 'check saw nothing'
    done = pods('repair')
    assert done.returncode == 0 and done.stdout.strip(), done.stdout + done.stderr
    done = pods('check')
    assert (done.returncode, done.stdout) == (0, '')
    works(node, pods)
    after = state()
    assert after[0] == before[0] and after[1] >= before[1]
    # What is right is not touched: the kernel's count of changes stays.
    generation = lib.sh('nft', '-s', 'list', 'ruleset').stdout
    assert pods('repair').stdout == '' and lib.sh('nft', '-s', 'list', 'ruleset').stdout == generation
    for pod in (pods.a, pods.b):
        node.check(pod).ok()
        node.delete(pod)
    assert lib.elements() == []


LIMITS = {'ingressRate': 80000000, 'ingressBurst': 8000000, 'egressRate': 40000000, 'egressBurst': 4000000}

# What somebody takes away.
PARTS = {
    'root qdisc': 'tc qdisc del dev {pair} root',
    'other rate': 'tc qdisc replace dev {pair} root handle 1: tbf rate 1mbit burst 10kb latency 25ms',
    'ingress qdisc': 'tc qdisc del dev {pair} ingress',
    'redirection': 'tc filter del dev {pair} parent ffff:',
    'ifb gone': 'ip link del {ifb}',
    'ifb down': 'ip link set {ifb} down',
    "ifb's qdisc": 'tc qdisc del dev {ifb} root',
    'sysctls': 'ip netns exec a sysctl -qw net.ipv4.ip_local_port_range="1024 2048" net.ipv4.conf.eth0.arp_announce=0',
    'link': 'ip -n a link set eth0 mtu 1500 txqueuelen 1000 allmulticast off',
}


def shaped_pod(node, pods, kind):
    """In one entry, or ptp with its chain."""
    conf = node.conf(**LIMITS, allmulti=True, txQLen=77,
                     sysctl={'net.ipv4.ip_local_port_range': '2000 3000', 'net.ipv4.conf.eth0.arp_announce': '2'})
    chain = [{**conf, 'mode': 'routed'} if kind == 'routed' else conf]
    if kind == 'ptp':
        tuning = {key: conf[key] for key in ('sysctl', 'allmulti', 'txQLen')}
        chain = [{**node.conf(), 'type': 'ptp'}, {'type': 'bandwidth', **LIMITS},
                 {'type': 'tuning', 'dataDir': str(node.sandbox.path / 'tuning'), **tuning}]
    chain = [{**one, 'cniVersion': '1.1.0', 'name': 'net'} for one in chain]
    pod = node.add(chain[0], 'a', plugin=cni.Plugin(node.build, chain[0]['type']))
    for one in chain[1:]:
        (pods.bin / one['type']).symlink_to('berth-cni')
        pod.result = cni.Plugin(node.build, one['type']).add(cni.with_result(one, pod.result), pod.netns,
                                                             lib.container('a')).ok()
    pods.note(pod, [{key: value for key, value in one.items() if key not in ('name', 'cniVersion')} for one in chain])
    return pod


def is_shaped(pod, ifb):
    """Not by the program that is tested."""
    qdiscs = lib.sh('tc', 'qdisc').stdout
    assert f'tbf 1: dev {pod.host_link} root refcnt' in qdiscs and 'rate 80Mbit' in qdiscs
    assert f'tbf 1: dev {ifb} root' in qdiscs and 'rate 40Mbit' in qdiscs
    assert f'to device {ifb}' in lib.sh('tc', 'filter', 'show', 'dev', pod.host_link, 'ingress').stdout
    assert 'UP' in next(one for one in lib.link_json() if one['ifname'] == ifb)['flags']
    assert pod.netns.run('sysctl', '-n', 'net.ipv4.ip_local_port_range').stdout.split() == ['2000', '3000']
    assert pod.netns.run('sysctl', '-n', 'net.ipv4.conf.eth0.arp_announce').stdout.strip() == '2'
    link = pod.netns.run('ip', 'link', 'show', 'eth0').stdout
    assert 'ALLMULTI' in link and 'qlen 77' in link


@pytest.mark.parametrize('kind', ['bridge', 'ptp', 'routed'])
def test_limits_and_tuning_heal(node, kind):
    pods = Cache(node)
    pod = shaped_pod(node, pods, kind)
    ifb = next(one['ifname'] for one in lib.link_json() if one['ifname'].startswith('bwp'))
    for what, command in PARTS.items():
        done = pods('check')
        assert (done.returncode, done.stdout) == (0, ''), what
        is_shaped(pod, ifb)
        lib.sh('sh', '-c', command.format(pair=pod.host_link, ifb=ifb))
        done = pods('check')
        assert done.returncode == 1 and done.stdout.strip(), what
        done = pods('repair')
        assert done.returncode == 0 and done.stdout.strip(), what + done.stdout + done.stderr
        assert pods('repair').stdout == '', what
    is_shaped(pod, ifb)


def test_who_listens_in_a_pod_is_left_alone(node):
    """tuning without promisc: a capture that runs is nothing to repair."""
    pods = Cache(node)
    pod = shaped_pod(node, pods, 'ptp')
    pod.netns.run('ip', 'link', 'set', 'eth0', 'promisc', 'on')
    assert (pods('check').stdout, pods('repair').stdout) == ('', '')
    assert 'PROMISC' in pod.netns.run('ip', 'link', 'show', 'eth0').stdout


@pytest.mark.parametrize('side', ['host', 'pod'])
def test_neighbours_of_a_routed_pod_heal(node, side):
    pods = Cache(node)
    conf = node.conf(mode='routed')
    pod = node.add(conf, 'a')
    pods.note(pod, [{key: value for key, value in conf.items() if key not in ('name', 'cniVersion')}])
    run = lib.sh if side == 'host' else pod.netns.run
    link = pod.host_link if side == 'host' else 'eth0'
    before = sorted(run('ip', 'neigh', 'show', 'dev', link, 'nud', 'permanent').stdout.splitlines())
    assert len(before) == 2 and pods('check').stdout == ''
    for line in before:
        run('ip', 'neigh', 'del', line.split()[0], 'dev', link)
    done = pods('check')
    assert done.returncode == 1 and done.stdout.count('neighbour') == 2, done.stdout
    # One that was only learnt, or leads elsewhere, does not stand for it.
    run('ip', 'neigh', 'add', before[0].split()[0], 'lladdr', '02:00:00:00:00:99', 'dev', link, 'nud', 'permanent')
    run('ip', 'neigh', 'add', before[1].split()[0], 'lladdr', before[1].split()[2], 'dev', link, 'nud', 'reachable')
    assert pods('check').stdout.count('neighbour') == 2
    assert pods('repair').returncode == 0
    assert sorted(run('ip', 'neigh', 'show', 'dev', link, 'nud', 'permanent').stdout.splitlines()) == before
    assert pods('check').stdout == '' and pods('repair').stdout == ''


def test_repair_of_a_chain(node):
    """A list of several plugins, all of them this program; what another program serves is left alone."""
    pods = Cache(node)
    conf = {'cniVersion': '1.0.0', 'name': 'net', 'type': 'bridge', 'bridge': 'cni0', 'isGateway': True, 'ipMasq': True,
            'ipam': node.conf()['ipam']}
    portmap = {'type': 'portmap', 'capabilities': {'portMappings': True}}
    pods.a = node.add(conf, 'a', plugin=cni.Plugin(node.build, 'bridge'))
    cni.Plugin(node.build, 'portmap').add(
        cni.with_result({**portmap, 'cniVersion': '1.0.0', 'name': 'net', 'runtimeConfig': {'portMappings': PORTS}},
                        pods.a.result), pods.a.netns, lib.container('a')).ok()
    pods.note(pods.a, [{k: v for k, v in conf.items() if k not in ('name', 'cniVersion')}, portmap], PORTS)
    before = sorted(lib.elements())
    assert pods('check').returncode == 0
    lib.sh('nft', 'flush', 'ruleset')
    (pods.bin / 'portmap').unlink()
    assert pods('repair', 'net').returncode == 0
    assert lib.elements('ports') == [] and len(lib.elements()) == 2
    (pods.bin / 'portmap').symlink_to('berth-cni')
    assert pods('repair', 'other').stdout == ''
    assert pods('repair', 'net').returncode == 0
    assert sorted(lib.elements()) == before


def test_which_program_is_ours(node, pods):
    """By the file that a name leads to, or what is in it, and not by how it leads there."""
    conf = node.conf(ipMasq=True)
    del conf['type']
    pod = node.add(node.conf(ipMasq=True), 'c')
    for number in range(2):
        (pods.path / 'results' / f'net-{lib.container("ab"[number])}-eth0').unlink()
    pods.note(pod, [{**conf, 'type': 'bridge'}])
    program = pathlib.Path(node.plugin.program).resolve()
    name = pods.bin / 'bridge'
    ways = (lambda: name.symlink_to(program), lambda: name.symlink_to(pods.bin / 'berth-cni'),
            lambda: shutil.copy(program, name), lambda: shutil.copy('/bin/true', name))
    for way in ways:
        name.unlink()
        way()
        lib.sh('nft', 'flush', 'ruleset')
        done = pods('check')
        told = json.loads(pods('check', '--json').stdout)
        if way is ways[-1]:
            assert (done.returncode, done.stdout) == (0, '')
            assert '0 pods compared\nberth-cni: 1 pod left alone: bridge in' in done.stderr
            assert told == {'compared': 0, 'leftAlone': 1, 'otherPrograms': [{'plugin': 'bridge', 'pods': 1}],
                            'differences': []}
            continue
        assert done.returncode == 1 and 'masquerade' in done.stdout and '1 pod compared' in done.stderr
        assert (told['compared'], told['leftAlone']) == (1, 0)
        assert [one['containerID'] for one in told['differences']] == [lib.container('c')] * len(told['differences'])
        assert pods('repair').returncode == 0
        assert pods('check').returncode == 0


def test_what_pods_share_is_told_once(node, pods):
    lib.sh('ip', 'link', 'set', 'cni0', 'down')
    lib.sh('nft', 'flush', 'ruleset')
    lines = pods('check').stdout.splitlines()
    assert lines.count('node: link set dev=cni0 up') == 1
    for word in ('masquerade of 10.1', 'masquerade of fd00', 'hostPort 8080/tcp'):
        assert any(word in line and lib.container('a')[:12] in line for line in lines), (word, lines)
    lib.sh('sh', '-c', 'for l in $(ls /sys/class/net/cni0/brif); do ip link set $l nomaster; done')
    assert 'master=cni0' in pods('check').stdout


def test_one_repair_does_for_one_pod(node, pods):
    """A bridge that is made anew has its switches with the first pod that needs it."""
    (pods.path / 'results' / f'net-{lib.container("b")}-eth0').unlink()
    lib.sh('ip', 'link', 'del', 'cni0')
    assert pods('repair').returncode == 0
    assert (pods('check').returncode, pods('check').stdout) == (0, '')
    for key in ('accept_ra', 'accept_dad'):
        assert pathlib.Path(f'/proc/sys/net/ipv6/conf/cni0/{key}').read_text() == '0\n'


def test_new_links_forward(node):
    """Where links that come do not, though the host does."""
    lib.sh('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1',
           'net.ipv4.conf.default.forwarding=0', 'net.ipv6.conf.default.forwarding=0')
    pod = node.add(node.conf(ipMasq=True), 'a')
    node.serve(node.outside, 'tcp', 80, 'outside')
    assert node.ask(pod.netns, 'tcp', OUTSIDE, 80) == f'outside {NODE}'
    assert pathlib.Path('/proc/sys/net/ipv6/conf/cni0/forwarding').read_text() == '1\n'


@pytest.mark.parametrize('mode', ['bridge', 'routed'])
def test_check_sees_a_link_that_does_not_forward(node, mode):
    pod = node.add(node.conf(mode=mode) if mode == 'routed' else node.conf(), 'a')
    link = 'cni0' if mode == 'bridge' else pod.host_link
    node.check(pod).ok()
    lib.sh('sysctl', '-qw', f'net.ipv4.conf.{link}.forwarding=0')
    assert f'net.ipv4.conf.{link}.forwarding is 0' in str(node.check(pod).failed())


def test_list(node, pods):
    done = pods('list')
    assert f'net {lib.container("a")} eth0 {pods.a.address}/16 {pods.a.address6}/64 8080:80/tcp\n' in done.stdout
    assert f'net {lib.container("b")} eth0 {pods.b.address}/16 {pods.b.address6}/64\n' in done.stdout
    pods.b.netns.delete()
    assert '(gone)' in pods('list', 'net').stdout
    assert pods('list', 'other').stdout == ''
    assert pods('check', 'one', 'two').returncode == 64


def test_rules_of_an_earlier_version(node, pods):
    """Whole subnets were open: those rules go when every pod is known by its address, not before."""
    for end, word in (('saddr', 'from'), ('daddr', 'to')):
        lib.sh('nft', f'add rule ip filter CNI-FORWARD ip {end} 10.1.0.0/16 counter accept '
                      f'comment "berth: {word} 10.1.0.0/16"')
    lib.sh('nft', 'flush', 'set', 'ip', 'berth', 'firewall')
    assert pods('repair', 'net').returncode == 0
    assert '10.1.0.0/16' in lib.sh('iptables-nft', '-S', 'CNI-FORWARD').stdout
    assert pods('repair').returncode == 0
    assert '10.1.0.0/16' not in lib.sh('iptables-nft', '-S', 'CNI-FORWARD').stdout
    works(node, pods)


def gc(node, pods, *argv, **more):
    directory = node.sandbox.path / 'net.d'
    directory.mkdir(exist_ok=True)
    plugin = {key: value for key, value in node.conf().items() if key not in ('name', 'cniVersion')}
    (directory / '10.conflist').write_text(json.dumps({'cniVersion': '1.1.0', 'name': 'net', 'plugins': [plugin],
                                                       **more}))
    return pods('gc', '--conf-dir', directory, *argv, 'net')


def test_gc_keeps_what_is_being_attached(node):
    """A runtime writes its note after the last plugin: until then the lease and the pair tell of the pod."""
    pods = Cache(node)
    young = node.add(node.conf(ipMasq=True), 'young')  # no note
    leases = pathlib.Path(node.conf()['ipam']['dataDir']) / 'net'
    (leases / '10.1.0.77').write_text('younger\r\neth0')  # and no pair yet
    (leases / '10.1.0.78').write_text('old\r\neth0')
    subprocess.run(['touch', '-d', '1 hour ago', leases / '10.1.0.78'], check=True)
    before = sorted(lib.elements())
    done = gc(node, pods)
    assert done.returncode == 0, done.stdout + done.stderr
    node.check(young).ok()
    assert sorted(lib.elements()) == before
    assert (leases / '10.1.0.77').exists() and not (leases / '10.1.0.78').exists()
    done = gc(node, pods, '--all', disableGC=True)
    assert 'disableGC' in done.stdout and (leases / '10.1.0.77').exists()
    assert gc(node, pods, '--all').returncode == 0
    assert not (leases / '10.1.0.77').exists() and lib.elements() == []


def test_gc_where_namespaces_cannot_be_seen(node, pods):
    """In a container without the host's directory of namespaces live pods look as if they were gone."""
    for pod in (pods.a, pods.b):
        note = pods.path / 'results' / f'net-{lib.container(pod.name)}-eth0'
        note.write_text(json.dumps({**json.loads(note.read_text()), 'netns': f'/run/elsewhere/{pod.name}'}))
    before, leases = sorted(lib.elements()), sorted((node.sandbox.path / 'leases' / 'net').iterdir())
    for argv in ((), ('--keep', f'{lib.container("a")}/eth0')):
        done = gc(node, pods, *argv)
        assert done.returncode == 1 and 'nothing is collected' in done.stderr, done.stdout
        assert f'{2 - len(argv) // 2} pods have links' in done.stderr and '/run/elsewhere/' in done.stderr
    keep = [word for pod in (pods.a, pods.b) for word in ('--keep', f'{lib.container(pod.name)}/eth0')]
    assert gc(node, pods, *keep).returncode == 0
    assert sorted(lib.elements()) == before
    assert sorted((node.sandbox.path / 'leases' / 'net').iterdir()) == leases
    works(node, pods)


@pytest.mark.parametrize('more', [{}, {'mode': 'routed'}, {'type': 'ptp'}])
def test_status_of_a_bridge_that_is_gone(node, more):
    """Pods of the network that never were on a bridge are not cut off without one."""
    pod = node.add(node.conf(**more), 'a', plugin=cni.Plugin(node.build, more.get('type', 'berth-cni')))
    lib.sh('ip', 'link', 'del', 'cni0', check=False)
    if more:
        node.plugin.status(node.conf()).ok()
    else:
        assert 'bridge cni0 is gone, 1 containers were on it' in str(node.plugin.status(node.conf()).failed())
    assert pod.address
