# SPDX-License-Identifier: Apache-2.0
"""Two and three nodes, each a network namespace with pods of its own: addresses of pods come from the node's pod CIDR
by flag, environment or file, and packets go between nodes by routes or by an overlay as flannel makes it."""

import ipaddress
import json
import os
import pathlib
import subprocess
import time

import pytest

import cni
import node as lib
from node import PYTHON, TALK

FLANNEL = pathlib.Path(os.environ.get('BERTH_CNI_TOOLS', '/none'))
CLUSTER, CLUSTER6 = '10.244.0.0/16', 'fd00:244::/48'


class Pod:
    def __init__(self, node, netns, conflist, result):
        self.node, self.netns, self.conflist, self.result = node, netns, conflist, result
        addresses = [one['address'].split('/')[0] for one in result['ips']]
        self.address = addresses[0]
        self.addresses = addresses


class Node:
    """A machine with a root directory of its own, on one Ethernet with the others: 192.0.2.N, 2001:db8::N."""

    def __init__(self, net, number):
        self.net, self.number, self.name = net, number, f'node{number}'
        self.address, self.address6 = f'192.0.2.{number}', f'2001:db8::{number}'
        self.subnet, self.subnet6 = f'10.244.{number}.0/24', f'fd00:244:0:{number}::/64'
        self.netns = net.sandbox.netns(self.name)
        self.root = net.sandbox.path / self.name
        for directory in ('opt/cni/bin', 'etc/cni/net.d', 'var/lib/cni', 'run/flannel'):
            (self.root / directory).mkdir(parents=True)
        lib.sh('ip', 'link', 'add', self.name, 'type', 'veth', 'peer', 'name', 'uplink', 'netns', self.name)
        lib.sh('ip', 'link', 'set', self.name, 'master', 'ethernet', 'up')
        for setting in ('net.ipv6.conf.all.accept_dad=0', 'net.ipv6.conf.default.accept_dad=0',
                        'net.ipv6.conf.uplink.accept_dad=0'):
            self.netns.run('sysctl', '-qw', setting)
        self.sh('ip', 'link', 'set', 'lo', 'up')
        self.sh('ip', 'addr', 'add', f'{self.address}/24', 'dev', 'uplink')
        self.sh('ip', 'addr', 'add', f'{self.address6}/64', 'dev', 'uplink', 'nodad')
        self.sh('ip', 'link', 'set', 'uplink', 'up')

    def wrapper(self):
        """Runs a program as on that node: its links, its leases, its /run/flannel."""
        script = (f'mount --bind {self.root}/var/lib/cni /var/lib/cni && '
                  f'mount --bind {self.root}/run/flannel /run/flannel && exec "$0" "$@"')
        return self.netns.argv('/bin/sh', '-c', script)

    def sh(self, *argv, **kwargs):
        return self.netns.run(*argv, **kwargs)

    def install(self, *argv, check=True, **environment):
        program = self.net.build / 'cni' / 'berth-cni'
        return subprocess.run([program, 'install', '--root', self.root, *argv], check=check, capture_output=True,
                              text=True, env={**os.environ, **environment}, timeout=60)

    def conflist(self):
        return json.loads((self.root / 'etc/cni/net.d/10-berth.conflist').read_text())

    def plugin(self, name):
        program = self.root / 'opt/cni/bin' / name
        return cni.Plugin(self.net.build, name, program, [program.parent])

    def run(self, name, conflist=None, **runtime):
        """ADD of the whole list in a new namespace."""
        conflist = conflist or self.conflist()
        netns = self.net.sandbox.netns(name)
        for plugin in conflist['plugins']:
            if runtime:
                plugin['runtimeConfig'] = runtime
        done = self.chain('ADD', conflist, netns, None)
        return Pod(self, netns, conflist, done.ok())

    def chain(self, command, conflist, netns, result):
        plugins = {one['type']: self.plugin(one['type']) for one in conflist['plugins']}
        return cni.chain(plugins, command, conflist, netns=netns.path, container_id=lib.container(netns.name),
                         ifname='eth0', result=result, wrapper=self.wrapper())

    def remove(self, pod):
        self.chain('DEL', pod.conflist, pod.netns, pod.result).ok()
        pod.netns.delete()

    def is_clean(self):
        leases = [one.name for one in (self.root / 'var/lib/cni').rglob('*')
                  if one.is_file() and one.name[0].isdigit() or one.name.startswith('fd')]
        links = [one for one in self.netns.ip('link') if one['ifname'].startswith('veth')]
        return not lib.elements(run=self.sh) and not leases and not links


class Net:
    def __init__(self, sandbox, build, number):
        self.sandbox, self.build = sandbox, build
        self.servers = []
        sandbox.private_directory('/var/lib/cni')
        sandbox.private_directory('/run/flannel')
        lib.sh('ip', 'link', 'add', 'ethernet', 'type', 'bridge')
        lib.sh('ip', 'link', 'set', 'ethernet', 'up')
        lib.sh('ip', 'addr', 'add', '192.0.2.100/24', 'dev', 'ethernet')  # whoever is not of the cluster
        self.nodes = [Node(self, one + 1) for one in range(number)]
        for node in self.nodes:
            lib.wait_for(lambda node=node: 'tentative' not in node.sh('ip', '-6', 'addr').stdout)

    def routes(self):
        """Static ones, as a router, a cloud or flannel's host-gw makes them."""
        for node in self.nodes:
            for other in self.nodes:
                if node is not other:
                    node.sh('ip', 'route', 'add', other.subnet, 'via', other.address)
                    node.sh('ip', '-6', 'route', 'add', other.subnet6, 'via', other.address6)

    def serve(self, netns, port, name):
        argv = [PYTHON, TALK, 'serve', 'tcp', str(port), name]
        process = subprocess.Popen(netns.argv(*argv) if netns else argv, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == 'ready\n'
        self.servers.append(process)

    def ask(self, netns, address, port):
        argv = [PYTHON, TALK, 'ask', 'tcp', address, str(port), '10']
        return subprocess.run(netns.argv(*argv) if netns else argv, check=True, capture_output=True, text=True,
                              timeout=60).stdout.strip()


def family(address):
    return ipaddress.ip_address(address).version


@pytest.mark.parametrize('number', [2, 3])
def test_static_routes(sandbox, build, number):
    """Every pod with every other, both families, under its own address; the cluster CIDR is what makes it so."""
    net = Net(sandbox, build, number)
    net.routes()
    sources = [
        lambda node: node.install('--subnet', node.subnet, '--subnet', node.subnet6,
                                  '--cluster-cidr', f'{CLUSTER},{CLUSTER6}'),
        lambda node: node.install(POD_CIDR=f'{node.subnet},{node.subnet6}', CLUSTER_CIDR=f'{CLUSTER},{CLUSTER6}'),
        lambda node: ((node.root / 'cidr').write_text(f'# of this node\n{node.subnet}\n{node.subnet6}\n'
                                                      f'CLUSTER_CIDR={CLUSTER},{CLUSTER6}\n'),
                      node.install('--subnet-file', node.root / 'cidr')),
    ]
    for node, source in zip(net.nodes, sources):
        source(node)
    lists = [json.dumps(node.conflist()).replace(node.subnet, 'SUBNET').replace(node.subnet6, 'SUBNET6')
             for node in net.nodes]
    assert len(set(lists)) == 1
    ports = [{'hostPort': 8080, 'containerPort': 80, 'protocol': 'tcp'}]
    pods = [node.run(f'pod{node.number}-{one}', **({'portMappings': ports} if one == 0 else {}))
            for node in net.nodes for one in range(2)]
    assert len({address for pod in pods for address in pod.addresses}) == 4 * number
    for pod in pods:
        net.serve(pod.netns, 80, pod.netns.name)
    for one in pods:
        for other in pods:
            for address in other.addresses if one is not other else ():
                own = next(mine for mine in one.addresses if family(mine) == family(address))
                assert net.ask(one.netns, address, 80) == f'{other.netns.name} {own}'
    # A node reaches pods of others as itself, by address and by host port; so does a pod the other node's host port.
    first, last = net.nodes[0], net.nodes[-1]
    there = next(pod for pod in pods if pod.node is last)
    assert net.ask(first.netns, there.address, 80) == f'{there.netns.name} {first.address}'
    assert net.ask(first.netns, last.address, 8080) == f'{there.netns.name} {first.address}'
    assert net.ask(pods[0].netns, last.address, 8080).startswith(there.netns.name)
    # Whoever is not of the cluster sees the node.
    net.serve(None, 80, 'outside')
    assert net.ask(pods[0].netns, '192.0.2.100', 80) == f'outside {first.address}'
    for pod in pods:
        pod.node.remove(pod)
    assert all(node.is_clean() for node in net.nodes)


def test_cluster_cidr_comes_to_a_running_node(sandbox, build):
    """A node that had none is given one: pods from before are removed as well as those from after."""
    net = Net(sandbox, build, 2)
    net.routes()
    for node in net.nodes:
        node.install('--subnet', node.subnet)
    one, other = (node.run(f'before{node.number}') for node in net.nodes)
    net.serve(other.netns, 80, 'other')
    assert net.ask(one.netns, other.address, 80) == f'other {one.node.address}'
    for node in net.nodes:
        node.install('--subnet', node.subnet, '--cluster-cidr', CLUSTER)
    after = one.node.run('after')
    assert net.ask(after.netns, other.address, 80) == f'other {after.address}'
    one.conflist = other.conflist = one.node.conflist()
    other.conflist = other.node.conflist()
    for pod in (one, other, after):
        pod.node.remove(pod)
    assert all(node.is_clean() for node in net.nodes)


# --- flannel ---

def vxlan(net):
    """What flanneld does on each node for its vxlan backend: one device, and per other node a route, a neighbour and
    a forwarding entry."""
    macs = {}
    for node in net.nodes:
        node.sh('ip', 'link', 'add', 'flannel.1', 'type', 'vxlan', 'id', '1', 'local', node.address, 'dstport', '8472',
                'nolearning', 'dev', 'uplink')
        node.sh('ip', 'addr', 'add', node.subnet.replace('/24', '/32'), 'dev', 'flannel.1')
        node.sh('ip', 'link', 'set', 'flannel.1', 'up')
        macs[node.name] = node.netns.ip('link', 'show', 'dev', 'flannel.1')[0]['address']
    for node in net.nodes:
        for other in net.nodes:
            if node is other:
                continue
            gateway = other.subnet.split('/')[0]
            node.sh('ip', 'neigh', 'add', gateway, 'lladdr', macs[other.name], 'dev', 'flannel.1', 'nud', 'permanent')
            node.sh('bridge', 'fdb', 'append', macs[other.name], 'dev', 'flannel.1', 'dst', other.address)
            node.sh('ip', 'route', 'add', other.subnet, 'via', gateway, 'dev', 'flannel.1', 'onlink')


def subnet_env(node, masquerades='false'):
    return (f'FLANNEL_NETWORK={CLUSTER}\nFLANNEL_SUBNET=10.244.{node.number}.1/24\nFLANNEL_MTU=1450\n'
            f'FLANNEL_IPMASQ={masquerades}\n')


def over_the_overlay(net, pods):
    for pod in pods:
        net.serve(pod.netns, 80, pod.netns.name)
        assert pod.netns.ip('link', 'show', 'dev', 'eth0')[0]['mtu'] == 1450
    for one in pods:
        for other in pods:
            if one is not other:
                assert net.ask(one.netns, other.address, 80) == f'{other.netns.name} {one.address}'
    # Full packets, not to be broken up: 1450 less 28 of headers.
    pods[0].netns.run('ping', '-c', '1', '-W', '3', '-M', 'do', '-s', '1422', pods[-1].address)
    with pytest.raises(subprocess.CalledProcessError):
        pods[0].netns.run('ping', '-c', '1', '-W', '1', '-M', 'do', '-s', '1423', pods[-1].address)


@pytest.mark.parametrize('number', [2, 3])
def test_flannel_without_its_plugin(sandbox, build, number):
    """flanneld for the routes, Berth for the pods: the list is made from subnet.env, when flanneld has written it."""
    net = Net(sandbox, build, number)
    vxlan(net)
    for node in net.nodes:
        env = node.root / 'run/flannel/subnet.env'
        early = node.install('--subnet-file', env, check=False)
        assert early.returncode == 1 and f'read {env}: No such file or directory' in early.stderr
        assert not (node.root / 'etc/cni/net.d/10-berth.conflist').exists()
        process = subprocess.Popen([net.build / 'cni' / 'berth-cni', 'install', '--root', node.root, '--subnet-file',
                                    env, '--wait', '20'], stdout=subprocess.DEVNULL)
        time.sleep(0.3)
        assert process.poll() is None
        text = subnet_env(node)
        env.write_text(text[:30])  # whole files are rare at the first look
        time.sleep(0.15)
        env.write_text(text)
        assert process.wait(20) == 0
        plugin = node.conflist()['plugins'][0]
        assert (plugin['mtu'], plugin['clusterCIDR'], plugin['ipMasq']) == (1450, [CLUSTER], True)
        assert plugin['ipam']['ranges'] == [[{'subnet': node.subnet}]]
    pods = [node.run(f'pod{node.number}') for node in net.nodes]
    over_the_overlay(net, pods)
    net.serve(None, 80, 'outside')
    assert net.ask(pods[0].netns, '192.0.2.100', 80) == f'outside {net.nodes[0].address}'
    for pod in pods:
        pod.node.remove(pod)
    assert all(node.is_clean() for node in net.nodes)


def test_flannel_that_masquerades(sandbox, build):
    net = Net(sandbox, build, 1)
    env = net.nodes[0].root / 'run/flannel/subnet.env'
    env.write_text(subnet_env(net.nodes[0], 'true'))
    net.nodes[0].install('--subnet-file', env, '--mtu', '1400')
    plugin = net.nodes[0].conflist()['plugins'][0]
    assert plugin['ipMasq'] is False and plugin['mtu'] == 1400


@pytest.mark.parametrize('name', ['flannel', 'flannel-before'])
def test_flannels_plugin(sandbox, build, name):
    """flannel's own list unchanged: its plugin reads subnet.env and delegates to bridge, which is Berth."""
    if not (FLANNEL / name).exists():
        pytest.skip(f'needs the Go module of {name}')
    net = Net(sandbox, build, 2)
    vxlan(net)
    conflist = {'name': 'cbr0', 'cniVersion': '0.3.1', 'plugins': [
        {'type': 'flannel', 'delegate': {'hairpinMode': True, 'isDefaultGateway': True}},
        {'type': 'portmap', 'capabilities': {'portMappings': True}}]}
    pods = []
    for node in net.nodes:
        node.install()
        # Its own, in place of the one that Berth brings.
        (node.root / 'opt/cni/bin/flannel').unlink(missing_ok=True)
        (node.root / 'opt/cni/bin/flannel').symlink_to(FLANNEL / name)
        (node.root / 'run/flannel/subnet.env').write_text(subnet_env(node, 'true'))
        pods.append(node.run(f'pod{node.number}', json.loads(json.dumps(conflist))))
    over_the_overlay(net, pods)
    for pod in pods:
        pod.node.remove(pod)
    assert all(node.is_clean() for node in net.nodes)


@pytest.mark.parametrize('argv, words', [
    (('--subnet', '10.1.0.0'), '--subnet: "10.1.0.0" is not a subnet'),
    (('--subnet', '10.1.0.0/24,10.2.0.0/24,10.3.0.0/24'), '--subnet: more than 2 subnets'),
    (('--subnet-file', '/none'), 'read /none: No such file or directory'),
    (('--subnet', '10.1.0.0/24', '--mtu', '12'), '--mtu: "12" is not an MTU (expected 68 to 65535)'),
    (('--subnet', '10.1.0.0/24', '--cluster-cidr', 'x'), '--cluster-cidr: "x" is not a subnet'),
    (('--subnet-file', '/none', '--wait', '-1'), '--wait: "-1" is not a number of seconds'),
])
def test_what_cannot_be(sandbox, build, argv, words):
    done = subprocess.run([build / 'cni' / 'berth-cni', 'install', '--root', sandbox.path, *argv], check=False,
                          capture_output=True, text=True)
    assert done.returncode in (1, 64) and words in done.stderr
    assert not list(sandbox.path.iterdir())
