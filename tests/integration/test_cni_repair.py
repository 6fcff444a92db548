# SPDX-License-Identifier: Apache-2.0
"""check, repair and list: after somebody flushed, deleted or changed what running pods need, they heal."""

import base64
import json
import pathlib
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
    'iptables -F': 'iptables -F; iptables -X',
    'one element': 'nft flush set ip berth masq-10.1.0.0-16',
    'bridge address': 'ip addr flush dev cni0 scope global',
    'bridge down': 'ip link set cni0 down',
    'bridge gone': 'ip link del cni0',
    'port taken out': 'for l in $(ls /sys/class/net/cni0/brif); do ip link set $l nomaster; done',
    'port down': 'for l in $(ls /sys/class/net/cni0/brif); do ip link set $l down; done',
    'sysctl': 'sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0 net.ipv4.conf.cni0.route_localnet=0',
    'in the pod': 'ip -n b addr flush dev eth0; ip -n b route flush table main',
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


def test_list(node, pods):
    done = pods('list')
    assert f'net {lib.container("a")} eth0 {pods.a.address}/16 {pods.a.address6}/64 8080:80/tcp\n' in done.stdout
    assert f'net {lib.container("b")} eth0 {pods.b.address}/16 {pods.b.address6}/64\n' in done.stdout
    pods.b.netns.delete()
    assert '(gone)' in pods('list', 'net').stdout
    assert pods('list', 'other').stdout == ''
    assert pods('check', 'one', 'two').returncode == 2


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
