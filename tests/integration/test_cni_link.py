# SPDX-License-Identifier: Apache-2.0
"""Interfaces on the real kernel: every key of bridge and ptp, ADD to DEL, CHECK, GC, STATUS, and what is left."""

import hashlib
import json
import os
import pathlib
import socket
import subprocess

import pytest

import cni
import node as lib

UPSTREAM = pathlib.Path('/usr/lib/cni')


class Net:
    """A network of one bridge, and pods on it."""

    def __init__(self, sandbox, build, role='bridge'):
        self.sandbox, self.role = sandbox, role
        self.plugin = cni.Plugin(build, role)

    def conf(self, **more):
        ipam = {'type': 'host-local', 'subnet': '10.1.0.0/24', 'dataDir': str(self.sandbox.path / 'leases')}
        return {'cniVersion': '1.1.0', 'name': 'net', 'type': self.role, 'bridge': 'br0', 'isGateway': True,
                'ipam': ipam, **more}

    def leases(self):
        directory = self.sandbox.path / 'leases' / 'net'
        return sorted(one for one in os.listdir(directory) if one[0].isdigit() or ':' in one) \
            if directory.exists() else []


@pytest.fixture(name='net')
def net_fixture(sandbox, build):
    return Net(sandbox, build)


def links(kind=None, netns=None):
    found = netns.ip('-details', 'link') if netns else lib.link_json()
    return {one['ifname']: one for one in found if kind in (None, one.get('linkinfo', {}).get('info_kind'))}


def host_of(result):
    return next(one['name'] for one in result['interfaces'] if one['name'].startswith('veth'))


def addresses(dev, netns=None):
    command = ['addr', 'show', 'dev', dev]
    found = netns.ip(*command) if netns else json.loads(lib.sh('ip', '-j', *command).stdout)
    return [f"{one['local']}/{one['prefixlen']}" for one in found[0]['addr_info'] if one['scope'] == 'global']


def ping(netns, address):
    command = ['ping', '-c1', '-W2', address]
    return subprocess.run(netns.argv(*command) if netns else command, capture_output=True, check=False).returncode == 0


def slave(name):
    return links('veth')[name]['linkinfo']['info_slave_data']


def vlans(name):
    found = json.loads(lib.sh('bridge', '-j', '-compressvlans', 'vlan', 'show', 'dev', name).stdout)
    return [(one['vlan'], one.get('vlanEnd', one['vlan']), one.get('flags', [])) for one in found[0]['vlans']] \
        if found else []


# --- ADD ---

def test_add_and_delete(net):
    a, b = net.sandbox.netns('a'), net.sandbox.netns('b')
    conf = net.conf(isDefaultGateway=True)
    result = net.plugin.add(conf, a, 'a').ok()
    other = net.plugin.add(conf, b, 'b').ok()
    assert [one['address'] for one in result['ips'] + other['ips']] == ['10.1.0.2/24', '10.1.0.3/24']
    bridge, host, eth0 = result['interfaces']
    assert bridge == {'name': 'br0', 'mac': links()['br0']['address']}
    assert host == {'name': host_of(result), 'mac': links()[host_of(result)]['address']}
    assert eth0 == {'name': 'eth0', 'mac': links(netns=a)['eth0']['address'], 'sandbox': a.path}
    assert ping(a, '10.1.0.1') and ping(a, '10.1.0.3') and ping(None, '10.1.0.2')
    assert links(netns=a)['eth0']['num_tx_queues'] == 1
    assert slave(host_of(result))['state'] == 'forwarding'
    assert pathlib.Path('/proc/sys/net/ipv4/ip_forward').read_text() == '1\n'
    assert pathlib.Path('/proc/sys/net/ipv6/conf/br0/accept_ra').read_text() == '0\n'
    net.plugin.check(conf, a, 'a', result=result).ok()
    assert net.leases() == ['10.1.0.2', '10.1.0.3']
    net.plugin.delete(conf, a, 'a', result=result).ok()
    assert net.leases() == ['10.1.0.3']
    assert 'eth0' not in links(netns=a) and host_of(result) not in links()
    net.plugin.delete(conf, a, 'a', result=result).ok()
    assert ping(b, '10.1.0.1')


def test_bridge_keeps_its_address(net):
    result = net.plugin.add(net.conf(), net.sandbox.netns('a'), 'a').ok()
    mac = links()['br0']['address']
    for name in 'bcd':
        net.plugin.add(net.conf(runtimeConfig={'mac': f'00:00:00:00:00:0{ord(name) - 96}'}), net.sandbox.netns(name),
                       name).ok()
    net.plugin.delete(net.conf(), '/run/netns/a', 'a', result=result).ok()
    assert links()['br0']['address'] == mac


def test_reused_address_is_announced(net):
    """A neighbour that knew the last holder of an address talks to the next one at once."""
    conf = net.conf(ipam={**net.conf()['ipam'], 'rangeStart': '10.1.0.10', 'rangeEnd': '10.1.0.11'})
    watcher, first, second = (net.sandbox.netns(name) for name in ('watcher', 'first', 'second'))
    net.plugin.add(conf, watcher, 'watcher').ok()
    result = net.plugin.add(conf, first, 'first').ok()
    assert ping(watcher, '10.1.0.11')
    assert ping(first, '10.1.0.1')  # the host knows those who have used their gateway
    before = watcher.ip('neigh', 'show', '10.1.0.11')[0]['lladdr']
    net.plugin.delete(conf, first, 'first', result=result).ok()
    result = net.plugin.add(conf, second, 'second').ok()
    after = watcher.ip('neigh', 'show', '10.1.0.11')[0]['lladdr']
    assert after == result['interfaces'][2]['mac'] != before


def test_reused_ipv6_address_is_announced(net):
    ipam = {**net.conf()['ipam'], 'subnet': 'fd00::/64', 'rangeStart': 'fd00::10', 'rangeEnd': 'fd00::11'}
    conf = net.conf(ipam=ipam)
    watcher, first, second = (net.sandbox.netns(name) for name in ('watcher', 'first', 'second'))
    net.plugin.add(conf, watcher, 'watcher').ok()
    result = net.plugin.add(conf, first, 'first').ok()
    assert ping(watcher, 'fd00::11')
    assert ping(first, 'fd00::1')
    net.plugin.delete(conf, first, 'first', result=result).ok()
    result = net.plugin.add(conf, second, 'second').ok()
    assert watcher.ip('neigh', 'show', 'fd00::11')[0]['lladdr'] == result['interfaces'][2]['mac']


def test_address_is_announced_where_nobody_knows(net):
    """Without a gateway on the host it cannot tell whether somebody knew the last holder."""
    conf = net.conf(isGateway=False, ipam={**net.conf()['ipam'], 'rangeStart': '10.1.0.10', 'rangeEnd': '10.1.0.11'})
    watcher, first, second = (net.sandbox.netns(name) for name in ('watcher', 'first', 'second'))
    net.plugin.add(conf, watcher, 'watcher').ok()
    net.plugin.add(conf, first, 'first').ok()
    assert ping(watcher, '10.1.0.11')
    net.plugin.delete(conf, first, 'first').ok()
    result = net.plugin.add(conf, second, 'second').ok()
    assert watcher.ip('neigh', 'show', '10.1.0.11')[0]['lladdr'] == result['interfaces'][2]['mac']


# Counts ARP frames that reach eth0 until a byte comes on stdin.
ARP = '''
import select, socket, sys
arp = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x806))
arp.bind(('eth0', 0))
print('ready', flush=True)
count = 0
while True:
    ready, _, _ = select.select([arp, sys.stdin], [], [])
    if arp in ready:
        arp.recv(100)
        count += 1
    elif sys.stdin in ready:
        break
print(count)
'''


def test_new_address_costs_one_broadcast(net):
    """Every pod on the bridge has to take it, and a router there needs it: the host does not know whom it has met."""
    watcher = net.sandbox.netns('watcher')
    net.plugin.add(net.conf(), watcher, 'watcher').ok()
    with subprocess.Popen(watcher.argv('/usr/bin/python3', '-c', ARP), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as process:
        assert process.stdout.readline() == 'ready\n'
        net.plugin.add(net.conf(), net.sandbox.netns('a'), 'a').ok()
        assert process.communicate('x\n')[0] == '1\n'


def test_reused_address_of_whom_the_host_never_met(net):
    """Two pods talk to each other and never to their gateway."""
    conf = net.conf(ipam={**net.conf()['ipam'], 'rangeStart': '10.1.0.10', 'rangeEnd': '10.1.0.11'})
    watcher, first, second = (net.sandbox.netns(name) for name in ('watcher', 'first', 'second'))
    net.plugin.add(conf, watcher, 'watcher').ok()
    net.plugin.add(conf, first, 'first').ok()
    assert ping(watcher, '10.1.0.11')
    lib.sh('ip', 'neigh', 'flush', 'all')
    net.plugin.delete(conf, first, 'first').ok()
    result = net.plugin.add(conf, second, 'second').ok()
    assert watcher.ip('neigh', 'show', '10.1.0.11')[0]['lladdr'] == result['interfaces'][2]['mac']


def test_dual_stack(net):
    ipam = {**net.conf()['ipam'], 'ranges': [[{'subnet': 'fd00:1::/64'}]], 'routes': [{'dst': '10.99.0.0/16'}]}
    conf = net.conf(isDefaultGateway=True, ipam=ipam)
    a, b = net.sandbox.netns('a'), net.sandbox.netns('b')
    result = net.plugin.add(conf, a, 'a').ok()
    net.plugin.add(conf, b, 'b').ok()
    assert addresses('eth0', a) == ['10.1.0.2/24', 'fd00:1::2/64']
    assert addresses('br0') == ['10.1.0.1/24', 'fd00:1::1/64']
    assert ping(a, 'fd00:1::3') and ping(a, 'fd00:1::1')
    routes = {one['dst']: one.get('gateway') for one in a.ip('route') + a.ip('-6', 'route')}
    assert routes['default'] == 'fd00:1::1' and routes['10.99.0.0/16'] == '10.1.0.1'
    assert pathlib.Path('/proc/sys/net/ipv6/conf/all/forwarding').read_text() == '1\n'
    net.plugin.check(conf, a, 'a', result=result).ok()


def test_a_pod_without_ipv6_talks_to_nobody(net):
    """Each group that it joins is five frames to every port of the bridge; as upstream's plugin it is as upstream's."""
    ours = cni.Plugin(net.plugin.program.parents[1], 'berth-cni')
    a, b = net.sandbox.netns('a'), net.sandbox.netns('b')
    ours.add(net.conf(type='berth-cni'), a, 'a').ok()
    net.plugin.add(net.conf(), b, 'b').ok()

    def groups(netns):
        # Of all nodes (ff02::1, ff01::1) nothing is told.
        lines = [one.split() for one in netns.run('cat', '/proc/net/igmp6').stdout.splitlines()]
        return [one[2] for one in lines if one[1] == 'eth0' and not one[2].endswith('0' * 24 + '01')]

    assert not groups(a) and groups(b)
    assert 'fe80:' not in a.run('ip', '-6', 'addr').stdout and ping(a, '10.1.0.3')


def test_ipv6_is_usable_at_once(net):
    conf = net.conf(ipam={**net.conf()['ipam'], 'subnet': 'fd00:1::/64'})
    a = net.sandbox.netns('a')
    a.run('sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=1', 'net.ipv6.conf.default.disable_ipv6=1')
    net.plugin.add(conf, a, 'a').ok()
    assert a.run('ip', '-6', 'addr', 'show', 'tentative', 'scope', 'global').stdout == ''
    assert ping(a, 'fd00:1::1')


def test_ipv6_that_is_off_by_default(net):
    """On the host and in the pod: both get their addresses."""
    lib.sh('sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1')
    a = net.sandbox.netns('a')
    a.run('sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=1', 'net.ipv6.conf.default.disable_ipv6=1')
    conf = net.conf(isDefaultGateway=True)
    conf['ipam'] = {**conf['ipam'], 'subnet': 'fd00:1::/64'}
    result = net.plugin.add(conf, a, 'a').ok()
    net.plugin.check(conf, a, 'a', result=result).ok()
    assert ping(a, 'fd00:1::1')


def test_enabledad(net):
    conf = net.conf(enabledad=True, ipam={**net.conf()['ipam'], 'subnet': 'fd00:1::/64'})
    a = net.sandbox.netns('a')
    net.plugin.add(conf, a, 'a').ok()
    assert a.run('ip', '-6', 'addr', 'show', 'tentative', 'scope', 'global').stdout == ''
    assert a.run('cat', '/proc/sys/net/ipv6/conf/eth0/accept_dad').stdout == '1\n'


def test_mtu_of_the_uplink(net):
    lib.sh('ip', 'link', 'add', 'up0', 'mtu', '4000', 'type', 'veth', 'peer', 'name', 'up1')
    lib.sh('ip', 'addr', 'add', '192.0.2.1/24', 'dev', 'up0')
    lib.sh('ip', 'link', 'set', 'up0', 'up')
    lib.sh('ip', 'link', 'set', 'up1', 'up')
    lib.sh('ip', 'route', 'add', 'default', 'via', '192.0.2.2', 'mtu', '3800')
    a = net.sandbox.netns('a')
    result = net.plugin.add(net.conf(), a, 'a').ok()
    assert [links()[name]['mtu'] for name in ('br0', host_of(result))] == [3800, 3800]
    assert links(netns=a)['eth0']['mtu'] == 3800
    # Frames between pods are not cut: no more than the bridge, no more than the way out.
    b, c, d = (net.sandbox.netns(name) for name in 'bcd')
    lib.sh('ip', 'route', 'replace', 'default', 'via', '192.0.2.2')
    net.plugin.add(net.conf(), b, 'b').ok()
    assert links(netns=b)['eth0']['mtu'] == 3800
    lib.sh('ip', 'link', 'set', 'up0', 'mtu', '1400')
    net.plugin.add(net.conf(), c, 'c').ok()
    net.plugin.add(net.conf(mtu=1300), d, 'd').ok()
    assert [links(netns=one)['eth0']['mtu'] for one in (c, d)] == [1400, 1300]


def uplink(mtu):
    lib.sh('ip', 'link', 'add', 'up0', 'mtu', str(mtu), 'type', 'veth', 'peer', 'name', 'up1', 'mtu', str(mtu))
    lib.sh('ip', 'addr', 'add', '192.0.2.1/24', 'dev', 'up0')
    lib.sh('ip', 'link', 'set', 'up0', 'up')
    lib.sh('ip', 'link', 'set', 'up1', 'up')
    lib.sh('ip', 'route', 'add', 'default', 'via', '192.0.2.2')


@pytest.mark.parametrize('mtu', [1400, 9000])
def test_mtu_outlives_the_last_pod(net, mtu):
    """The kernel gives a bridge without ports its own MTU back, unless somebody has set one."""
    uplink(mtu)
    for name in 'ab':
        pod = net.sandbox.netns(name)
        net.plugin.add(net.conf(), pod, name).ok()
        assert (links(netns=pod)['eth0']['mtu'], links()['br0']['mtu']) == (mtu, mtu)
        net.plugin.delete(net.conf(), pod, name).ok()
        assert links()['br0']['mtu'] == mtu
    # The way out becomes narrower, and the bridge with it: it would not cut what the host sends to a pod.
    lib.sh('ip', 'link', 'set', 'up0', 'mtu', '1380')
    net.plugin.add(net.conf(), pod, name).ok()
    assert (links(netns=pod)['eth0']['mtu'], links()['br0']['mtu']) == (1380, 1380)
    lib.sh('ip', 'link', 'set', 'up0', 'mtu', mtu)
    lib.sh('ip', 'link', 'del', 'br0')
    lib.sh('ip', 'link', 'add', 'br0', 'type', 'bridge')
    pod = net.sandbox.netns('c')
    net.plugin.add(net.conf(), pod, 'c').ok()
    assert links(netns=pod)['eth0']['mtu'] == mtu


def test_mtu_of_the_routes_uplink(net):
    """What the pod can reach goes another way than the host's default route."""
    uplink(9000)
    lib.sh('ip', 'link', 'add', 'tun', 'mtu', '1420', 'type', 'veth', 'peer', 'name', 'tun1')
    lib.sh('ip', 'link', 'set', 'tun1', 'up')
    lib.sh('ip', 'link', 'set', 'tun', 'up')
    lib.sh('ip', 'route', 'add', '10.96.0.0/12', 'dev', 'tun')
    pod = net.sandbox.netns('a')
    conf = net.conf(ipam={**net.conf()['ipam'], 'routes': [{'dst': '10.100.0.0/16'}]})
    net.plugin.add(conf, pod, 'a').ok()
    assert links(netns=pod)['eth0']['mtu'] == 1420
    # A route may promise less than its link.
    lib.sh('ip', 'route', 'add', '10.128.0.0/16', 'dev', 'tun', 'mtu', '1300')
    pod = net.sandbox.netns('b')
    conf = net.conf(bridge='br1', ipam={**net.conf()['ipam'], 'subnet': '10.2.0.0/24',
                                        'routes': [{'dst': '10.128.0.0/16'}]})
    net.plugin.add({**conf, 'name': 'second'}, pod, 'b').ok()
    assert links(netns=pod)['eth0']['mtu'] == 1300


def switch(link, key, netns=None):
    path = f'/proc/sys/net/ipv6/conf/{link}/{key}'
    return (netns.run('cat', path).stdout if netns else pathlib.Path(path).read_text()).strip()


def test_switches_of_links_that_are_there(sandbox, build):
    """CVE-2020-10749: a pod's router advertisement must not become the host's route, whoever made the link."""
    net = Net(sandbox, build)
    lib.sh('ip', 'link', 'add', 'br0', 'up', 'type', 'bridge')
    lib.sh('sysctl', '-qw', 'net.ipv6.conf.br0.accept_ra=1', 'net.ipv6.conf.br0.disable_ipv6=1')
    conf = net.conf(isDefaultGateway=True, ipam={**net.conf()['ipam'], 'ranges': [[{'subnet': 'fd00:1::/64'}]]})
    a = sandbox.netns('a')
    result = net.plugin.add(conf, a, 'a').ok()
    assert ping(a, 'fd00:1::1')
    assert [switch('br0', key) for key in ('accept_ra', 'accept_dad', 'disable_ipv6')] == ['0', '0', '0']
    assert switch(host_of(result), 'accept_ra') == '0' and switch('eth0', 'accept_ra', a) == '0'


def test_switches_of_ptp(sandbox, build):
    lib.sh('sysctl', '-qw', 'net.ipv6.conf.default.accept_ra=2', 'net.ipv6.conf.default.disable_ipv6=1')
    net = Net(sandbox, build, 'ptp')
    conf = net.conf(ipam={**net.conf()['ipam'], 'ranges': [[{'subnet': 'fd00:1::/64'}]]})
    a = sandbox.netns('a')
    result = net.plugin.add(conf, a, 'a').ok()
    assert switch(host_of(result), 'accept_ra') == '0' and switch('eth0', 'accept_ra', a) == '0'
    assert ping(a, 'fd00:1::1')


@pytest.mark.usefixtures('vlan_filtering')
def test_switches_of_a_vlan(net):
    conf = net.conf(vlan=100, ipam={**net.conf()['ipam'], 'ranges': [[{'subnet': 'fd00:1::/64'}]]})
    net.plugin.add(conf, net.sandbox.netns('a'), 'a').ok()
    pathlib.Path('/proc/sys/net/ipv6/conf/br0.100/accept_ra').write_text('1')
    b = net.sandbox.netns('b')
    net.plugin.add(conf, b, 'b').ok()
    assert switch('br0.100', 'accept_ra') == '0' and ping(b, 'fd00:1::1')


def test_uplink_keeps_its_router(net):
    """Where IPv6 forwards, accept_ra=1 means no more: the host would lose its default route."""
    lib.sh('ip', 'link', 'add', 'up0', 'type', 'veth', 'peer', 'name', 'up1')
    lib.sh('ip', 'link', 'add', 'other', 'type', 'veth', 'peer', 'name', 'others')
    lib.sh('sysctl', '-qw', 'net.ipv6.conf.all.forwarding=0')
    for name in ('up0', 'other'):
        lib.sh('ip', 'link', 'set', name, 'up')
        lib.sh('sysctl', '-qw', f'net.ipv6.conf.{name}.accept_ra=1')
    lib.sh('ip', '-6', 'route', 'add', '2001:db8::/64', 'dev', 'up0', 'proto', 'ra')
    conf = net.conf(ipam={**net.conf()['ipam'], 'subnet': 'fd00:1::/64'})
    net.plugin.add(conf, net.sandbox.netns('a'), 'a').ok()
    assert switch('up0', 'accept_ra') == '2' and switch('other', 'accept_ra') == '1'


# Router advertisements onto a bridge without a pause, until stdin ends.
ADVERTISE = '''
import select, socket, struct, sys
raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58)
raw.setsockopt(socket.SOL_SOCKET, 25, b"router")
raw.setsockopt(41, socket.IPV6_MULTICAST_HOPS, 255)
packet = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0.0005)[0]:
    raw.sendto(packet, ("ff02::1%router", 0))
'''


@pytest.mark.parametrize('role', ['bridge', 'berth-cni'])
def test_no_router_is_believed_before_the_switch(sandbox, build, role):
    """A third of the pods had its default route when the switch came after the link was up."""
    net = Net(sandbox, build, role)
    lib.sh('ip', 'link', 'add', 'br0', 'up', 'type', 'bridge')
    lib.sh('ip', 'link', 'add', 'router', 'type', 'veth', 'peer', 'name', 'port', 'master', 'br0')
    lib.sh('sysctl', '-qw', 'net.ipv6.conf.router.accept_dad=0', 'net.ipv6.conf.router.forwarding=1')
    lib.sh('ip', 'link', 'set', 'port', 'up')
    lib.sh('ip', 'link', 'set', 'router', 'up')
    conf = net.conf(ipam={**net.conf()['ipam'], 'subnet': 'fd00:1::/64'})
    if role == 'berth-cni':
        conf['sysctl'] = {'net.ipv6.conf.IFNAME.accept_ra': '0'}
        del conf['ipam']['subnet']
        conf['ipam']['subnet'] = '10.1.0.0/24'
    with subprocess.Popen(['/usr/bin/python3', '-c', ADVERTISE], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as process:
        assert process.stdout.readline() == 'ready\n'
        for i in range(8):
            pod = sandbox.netns(f'p{i}')
            net.plugin.add(conf, pod, f'p{i}').ok()
            assert not pod.run('ip', '-6', 'route', 'show', 'proto', 'ra').stdout
        process.communicate('x')


def test_port_settings(net):
    result = net.plugin.add(net.conf(hairpinMode=True, portIsolation=True), net.sandbox.netns('a'), 'a').ok()
    data = slave(host_of(result))
    assert data['hairpin'] and data['isolated']
    other = net.plugin.add(net.conf(), net.sandbox.netns('b'), 'b').ok()
    data = slave(host_of(other))
    assert not data['hairpin'] and not data['isolated']


def test_promiscuous(net):
    a = net.sandbox.netns('a')
    conf = net.conf(promiscMode=True)
    result = net.plugin.add(conf, a, 'a').ok()
    assert links()['br0']['promiscuity'] == 1
    net.plugin.check(conf, a, 'a', result=result).ok()
    assert 'Promisc Mode' in str(net.plugin.check(net.conf(), a, 'a', result=result).failed())
    net.plugin.add(conf, net.sandbox.netns('b'), 'b').ok()
    assert links()['br0']['promiscuity'] == 1


@pytest.mark.parametrize('more', [{'runtimeConfig': {'mac': '02:00:00:00:00:07'}},
                                  {'args': {'cni': {'mac': '02:00:00:00:00:07'}}}, {}])
def test_mac(net, more):
    a = net.sandbox.netns('a')
    args = 'MAC=02:00:00:00:00:08' if more else 'MAC=02:00:00:00:00:07'
    result = net.plugin.add(net.conf(**more), a, 'a', args=args).ok()
    assert result['interfaces'][2]['mac'] == '02:00:00:00:00:07' == links(netns=a)['eth0']['address']


def test_keys_of_tuning_in_one_entry(sandbox, build):
    net = Net(sandbox, build, 'berth-cni')
    a = sandbox.netns('a')
    conf = net.conf(mac='02:00:00:00:00:09', promisc=True, allmulti=True, txQLen=77, mtu=1400)
    result = net.plugin.add(conf, a, 'a').ok()
    link = links(netns=a)['eth0']
    assert (link['address'], link['promiscuity'], link['txqlen'], link['mtu']) == ('02:00:00:00:00:09', 1, 77, 1400)
    assert 'ALLMULTI' in link['flags']
    net.plugin.check(conf, a, 'a', result=result).ok()
    a.run('ip', 'link', 'set', 'eth0', 'promisc', 'off')
    assert 'promisc' in str(net.plugin.check(conf, a, 'a', result=result).failed())
    net.plugin.delete(conf, a, 'a', result=result).ok()
    # Whoever asks for one pod has the last word.
    result = net.plugin.add({**conf, 'runtimeConfig': {'mac': '02:00:00:00:00:0a'}}, a, 'a').ok()
    assert links(netns=a)['eth0']['address'] == '02:00:00:00:00:0a'


@pytest.mark.parametrize('mac', ['01:00:00:00:00:01', '00:00:00:00:00:00', 'x', 'ff:ff:ff:ff:ff:ff'])
def test_mac_of_no_interface(net, mac):
    a = net.sandbox.netns('a')
    assert mac in str(net.plugin.add(net.conf(runtimeConfig={'mac': mac}), a, 'a').failed(7))
    assert mac in str(net.plugin.add(net.conf(), a, 'a', args=f'MAC={mac}').failed(4))


def test_mtu_too_small_for_ipv6(net):
    """Nothing is left of it, so the next ADD with a better number works."""
    a = net.sandbox.netns('a')
    conf = net.conf()
    conf['ipam'] = {**conf['ipam'], 'subnet': 'fd00:1::/64'}
    error = net.plugin.add({**conf, 'mtu': 1279}, a, 'a').failed(7)
    assert 'an MTU of 1279 is too small: IPv6 needs at least 1280' in str(error)
    assert 'br0' not in links() and net.leases() == []
    net.plugin.add({**conf, 'mtu': 1280}, a, 'a').ok()


def test_layer2(net):
    conf = net.conf()
    del conf['ipam']
    a, b = net.sandbox.netns('a'), net.sandbox.netns('b')
    result = net.plugin.add(conf, a, 'a').ok()
    assert 'ips' not in result and 'UP' in links(netns=a)['eth0']['flags']
    net.plugin.check(conf, a, 'a', result=result).ok()
    conf = net.conf(disableContainerInterface=True)
    del conf['ipam']
    net.plugin.add(conf, b, 'b').ok()
    assert links(netns=b)['eth0']['operstate'] == 'DOWN'


@pytest.fixture(name='vlan_filtering')
def vlan_filtering_fixture(sandbox):
    if lib.sh('ip', 'link', 'add', 'probe', 'type', 'bridge', 'vlan_filtering', '1', check=False).returncode:
        pytest.skip('the kernel has no VLAN filtering of bridges (CONFIG_BRIDGE_VLAN_FILTERING)')
    lib.sh('ip', 'link', 'del', 'probe')


@pytest.mark.usefixtures('vlan_filtering')
def test_vlan(net):
    conf = net.conf(vlan=100)
    a, b, c = (net.sandbox.netns(name) for name in 'abc')
    result = net.plugin.add(conf, a, 'a').ok()
    assert [one['name'] for one in result['interfaces']] == ['br0', host_of(result), 'eth0', 'br0.100']
    assert result['interfaces'][3]['mac'] == links()['br0.100']['address']
    assert links()['br0']['linkinfo']['info_data']['vlan_filtering'] == 1
    own = (100, 100, ['PVID', 'Egress Untagged'])
    assert vlans(host_of(result)) == [(1, 1, ['Egress Untagged']), own]  # preserveDefaultVlan is true, as upstream's
    assert addresses('br0.100') == ['10.1.0.1/24'] and addresses('br0') == []
    result_b = net.plugin.add({**conf, 'preserveDefaultVlan': False}, b, 'b').ok()
    assert vlans(host_of(result_b)) == [own]
    assert ping(a, '10.1.0.1') and ping(a, '10.1.0.3')
    other = net.conf(vlan=200, isGateway=False)
    net.plugin.add(other, c, 'c').ok()
    assert not ping(c, '10.1.0.2')
    net.plugin.check(conf, a, 'a', result=result).ok()


@pytest.mark.usefixtures('vlan_filtering')
def test_trunk(net):
    conf = net.conf(vlanTrunk=[{'minID': 10, 'maxID': 20}, {'id': 30}])
    result = net.plugin.add(conf, net.sandbox.netns('a'), 'a').ok()
    expected = [(1, 1, ['PVID', 'Egress Untagged']), (10, 20, []), (30, 30, [])]
    assert vlans(host_of(result)) == expected
    conf = net.conf(vlan=5, vlanTrunk=[{'id': 6}], preserveDefaultVlan=True, isGateway=False)
    result = net.plugin.add(conf, net.sandbox.netns('b'), 'b').ok()
    assert [one[:2] for one in vlans(host_of(result))] in ([(1, 1), (5, 5), (6, 6)], [(1, 1), (5, 6)])


def test_vlan_without_support(net):
    """A kernel that cannot filter says so, and nothing is left."""
    if lib.sh('ip', 'link', 'add', 'probe', 'type', 'bridge', 'vlan_filtering', '1', check=False).returncode == 0:
        pytest.skip('the kernel has VLAN filtering')
    error = net.plugin.add(net.conf(vlan=100), net.sandbox.netns('a'), 'a').failed(105)
    assert 'vlan_filtering: Operation not supported' in error['details']
    assert net.leases() == [] and list(links()) == ['lo']


def test_gateway_address_conflict(net):
    lib.sh('ip', 'link', 'add', 'br0', 'type', 'bridge')
    lib.sh('ip', 'addr', 'add', '10.9.0.1/24', 'dev', 'br0')
    a = net.sandbox.netns('a')
    error = net.plugin.add(net.conf(), a, 'a').failed()
    assert '"br0" already has an IP address different from 10.1.0.1/24' in str(error)
    assert net.leases() == [] and not links('veth') and addresses('br0') == ['10.9.0.1/24']
    net.plugin.add(net.conf(forceAddress=True), a, 'a').ok()
    assert addresses('br0') == ['10.1.0.1/24']


def test_not_a_bridge(net):
    lib.sh('ip', 'link', 'add', 'br0', 'type', 'veth', 'peer', 'name', 'x')
    error = net.plugin.add(net.conf(), net.sandbox.netns('a'), 'a').failed()
    assert '"br0" already exists but is not a bridge' in str(error)
    assert net.leases() == []


def test_interface_exists(net):
    a = net.sandbox.netns('a')
    a.run('ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'other')
    error = net.plugin.add(net.conf(), a, 'a').failed()
    assert 'container veth name ("eth0")' in str(error) and 'already exists' in str(error)
    assert net.leases() == [] and not links('veth')
    assert sorted(links(netns=a)) == ['eth0', 'lo', 'other']


def test_second_add_spares_the_first(net):
    a = net.sandbox.netns('a')
    conf = net.conf()
    result = net.plugin.add(conf, a, 'a').ok()
    assert 'already exists' in str(net.plugin.add(conf, a, 'a').failed())
    assert net.leases() == ['10.1.0.2'] and ping(a, '10.1.0.1')
    net.plugin.check(conf, a, 'a', result=result).ok()


def test_second_add_with_other_ranges_spares_the_lease(net):
    a = net.sandbox.netns('a')
    conf = net.conf()
    net.plugin.add(conf, a, 'a').ok()
    other = net.conf(ipam={**conf['ipam'], 'subnet': '10.2.0.0/24'})
    assert 'already exists' in str(net.plugin.add(other, a, 'a').failed())
    assert net.leases() == ['10.1.0.2'] and addresses('eth0', a) == ['10.1.0.2/24']


def test_failed_add_leaves_no_gateway(net):
    """Its address on the bridge would draw traffic of a subnet that no pod has."""
    conf = net.conf(ipam={**net.conf()['ipam'], 'routes': [{'dst': '203.0.113.0/24', 'gw': '198.51.100.1'}]})
    net.plugin.add(conf, net.sandbox.netns('a'), 'a').failed()
    assert addresses('br0') == [] and net.leases() == [] and not links('veth')
    conf = net.conf(type='berth-cni', sysctl={'net.ipv4.conf.IFNAME.none': '1'})
    cni.Plugin(net.plugin.program.parents[1]).add(conf, net.sandbox.netns('b'), 'b').failed()
    assert addresses('br0') == [] and net.leases() == [] and not links('veth')


@pytest.mark.parametrize('key, name', [('bridge', 'br%d'), ('ifname', 'eth%d')])
def test_name_that_the_kernel_would_count_up(net, key, name):
    """The result would name a link that is not there."""
    a = net.sandbox.netns('a')
    if key == 'bridge':
        assert 'br%d' in str(net.plugin.add(net.conf(bridge=name), a, 'a').failed(7))
    else:
        assert '%' in str(net.plugin.add(net.conf(), a, 'a', ifname=name).failed(4))
    assert not links('veth') and not links('bridge')


def test_delete_without_a_readable_word(net):
    """A result of another version, keys that are wrong today, arguments of nobody: the pod goes all the same."""
    a = net.sandbox.netns('a')
    conf = net.conf()
    net.plugin.add(conf, a, 'a').ok()
    broken = {**conf, 'vlan': 'x', 'hairpinMode': 1, 'args': 3, 'runtimeConfig': [], 'dns': 5, 'mtu': -1,
              'prevResult': {'cniVersion': '9', 'ips': 'none'}}
    net.plugin.delete(broken, a, 'a', args='X;Y=Z').ok()
    assert net.leases() == [] and not links('veth')


def injected(net, verb, n, conf, netns=None, container_id=None, fault=('sendmsg', 'ENOBUFS')):
    """One whose n-th system call of that name fails; done.injected: it had so many."""
    trace = net.sandbox.path / 'trace'
    wrapper = ['strace', '-f', '-qq', '-o', str(trace), '-e', f'trace={fault[0]}', '-e',
               f'inject={fault[0]}:error={fault[1]}:when={n}']
    of_pod = {'netns': netns.path, 'container_id': container_id, 'ifname': 'eth0'} if netns else {}
    done = net.plugin.exec(verb, conf, wrapper=wrapper, **of_pod)
    done.injected = 'INJECTED' in trace.read_text()
    return done


def test_add_that_fails_leaves_nothing(net):
    """Whichever message to the kernel fails; before Linux 6.2 one of them asks for the pair that was just made."""
    conf = net.conf(type='bridge', ipMasq=True)
    for n in range(1, 60):
        pod = net.sandbox.netns(f'a{n}')
        done = injected(net, 'ADD', n, conf, pod, 'a')
        if done.code == 0:
            assert len(links('veth')) == len(net.leases()) == 1
            net.plugin.delete(conf, pod, 'a').ok()
            lib.sh('ip', 'link', 'del', 'br0')
            if not done.injected:
                return
            continue
        assert net.leases() == [] and not links('veth'), (n, done.stdout)
        assert not links('bridge') or addresses('br0') == [], (n, done.stdout)
    raise AssertionError('no end')


@pytest.mark.parametrize('fault', [('sendmsg', 'ENOBUFS'), ('openat', 'EMFILE'), ('unlinkat', 'EIO')],
                         ids=lambda fault: fault[0])
def test_lease_outlives_its_link(net, fault):
    """Whatever fails, an address is not given to the next pod while this one has it, and the next DEL gives it back."""
    conf = net.conf(type='bridge')
    pod = net.sandbox.netns('a')
    for n in range(1, 40):
        net.plugin.add(conf, pod, 'a').ok()
        done = injected(net, 'DEL', n, conf, pod, 'a', fault)
        if links('veth'):
            assert done.code != 0 and len(net.leases()) == 1, n
        net.plugin.delete(conf, pod, 'a').ok()
        assert net.leases() == [] and not links('veth')
        if not done.injected:
            return
    raise AssertionError('no end')


@pytest.mark.parametrize('container_id', ['a', 'c' * 300], ids=['short', 'hashed'])
def test_lease_outlives_its_link_in_gc(net, container_id):
    """A link that cannot be removed, or whose alias holds a hash in place of the container, keeps its address."""
    conf = {**net.conf(type='bridge'), 'cni.dev/valid-attachments': []}
    pod = net.sandbox.netns('a')
    for n in range(1, 40):
        net.plugin.add(conf, pod, container_id).ok()
        done = injected(net, 'GC', n, conf)
        assert len(net.leases()) == 1 or not links('veth'), n
        net.plugin.delete(conf, pod, container_id).ok()
        assert net.leases() == [] and not links('veth')
        if not done.injected:
            return
    raise AssertionError('no end')


def test_second_attachment_as_upstream_leaves_it(sandbox, build):
    """The routes of two interfaces, in the order in which the kernel asks them."""
    if not (UPSTREAM / 'bridge').exists():
        pytest.skip('needs containernetworking-plugins')
    found = []
    for i, program in enumerate([build / 'cni' / 'berth-cni', UPSTREAM / 'bridge']):
        pod = sandbox.netns(f'pod{i}')
        plugin = cni.Plugin(build, 'bridge', program=program, path=[UPSTREAM])
        for j in range(2):
            conf = Net(sandbox, build).conf(cniVersion='1.0.0', isDefaultGateway=True, name=f'net{i}{j}',
                                            bridge=f'br{i}{j}')
            routes = [{'dst': '10.99.0.0/16'}, {'dst': 'fd99::/64'}]
            conf['ipam'] = {**conf['ipam'], 'subnet': f'10.{j}.0.0/24', 'routes': routes,
                            'ranges': [[{'subnet': f'fd00:{j}::/64'}]]}
            plugin.add(conf, pod, 'a', ifname=f'eth{j}').ok()
        found.append([(one['dst'], one.get('gateway'), one.get('dev'), one.get('metric'), one.get('nexthops'))
                      for one in pod.ip('route') + pod.ip('-6', 'route')])
    assert found[0] == found[1]


def test_foreign_link_of_our_name(net):
    """The host's end has a name that follows from the pod; somebody else's link of that name is left alone."""
    a = net.sandbox.netns('a')
    conf = net.conf()
    name = host_of(net.plugin.add(conf, a, 'a').ok())
    net.plugin.delete(conf, a, 'a').ok()
    lib.sh('ip', 'link', 'add', name, 'type', 'veth', 'peer', 'name', 'x')
    result = net.plugin.add(conf, a, 'a').ok()
    assert host_of(result) != name and ping(a, '10.1.0.1')
    # Also where the pod's side cannot tell which it is.
    net.plugin.delete(conf, None, 'a').ok()
    assert set(links('veth')) == {name, 'x'} and net.leases() == []


def test_container_of_the_same_name_again(net):
    """A runtime that keeps container ids (podman after a reboot) comes with a new namespace."""
    conf = net.conf()
    first = net.sandbox.netns('first')
    net.plugin.add(conf, first, 'a').ok()
    lib.sh('ip', 'netns', 'del', 'first')
    second = net.sandbox.netns('second')
    lib.wait_for(lambda: not links('veth'))
    assert net.plugin.add(conf, second, 'a').ok()['ips'][0]['address'] == '10.1.0.2/24'
    assert ping(second, '10.1.0.1')
    # While the old one is still there it keeps its address and its link.
    third = net.sandbox.netns('third')
    error = net.plugin.add(conf, third, 'a').failed()
    assert 'in another network namespace, which is in use' in str(error) and ping(second, '10.1.0.1')
    net.plugin.delete(conf, second, 'a').ok()
    net.plugin.add(conf, third, 'a').ok()
    assert ping(third, '10.1.0.1') and 'eth0' not in links(netns=second)


# --- DEL ---

@pytest.mark.parametrize('missing', ['netns', 'no-netns', 'link', 'lease', 'result', 'bridge', 'directory', 'all'])
def test_delete_with_something_missing(net, missing):
    conf = net.conf(type='berth-cni', ipMasq=True)
    plugin = cni.Plugin(net.plugin.program.parents[1], 'berth-cni')
    a = net.sandbox.netns('a')
    result = plugin.add(conf, a, 'a').ok()
    path = a.path
    if missing in ('netns', 'all'):
        lib.sh('ip', 'netns', 'del', 'a')
        lib.wait_for(lambda: not links('veth'))
    if missing == 'no-netns':
        path = None
    if missing == 'link':
        lib.sh('ip', 'link', 'del', host_of(result))
    if missing in ('lease', 'all'):
        (net.sandbox.path / 'leases' / 'net' / '10.1.0.2').unlink()
    if missing in ('bridge', 'all'):
        lib.sh('ip', 'link', 'del', 'br0')
    if missing == 'directory':
        lib.sh('rm', '-rf', net.sandbox.path / 'leases')
    if missing in ('result', 'all'):
        result = None
    for _ in range(2):
        plugin.delete(conf, path, 'a', result=result).ok()
        assert net.leases() == [] and not links('veth') and lib.elements() == []


@pytest.mark.parametrize('how', ['key', 'kubernetes'])
def test_delete_detached(net, how):
    """DEL answers before the kernel has removed the links; names, address and port are free all the same."""
    more, args = ({'linkRemoval': 'detached'}, None) if how == 'key' else ({}, cni.KUBERNETES_ARGS % 'a')
    limits = {'ingressRate': 8000000, 'ingressBurst': 800000, 'egressRate': 8000000, 'egressBurst': 800000}
    ports = [{'hostPort': 8080, 'containerPort': 80, 'protocol': 'tcp'}]
    conf = net.conf(type='berth-cni', macspoofchk=True, isGateway=True, **more,
                    runtimeConfig={'bandwidth': limits, 'portMappings': ports})
    plugin = cni.Plugin(net.plugin.program.parents[1], 'berth-cni')
    a = net.sandbox.netns('a')
    for _ in range(3):
        result = plugin.add(conf, a, 'a', args=args).ok()
        assert ping(None, result['ips'][0]['address'].split('/')[0])
        plugin.delete(conf, a, 'a', result=result, args=args).ok()
        assert 'eth0' not in links(netns=a) and host_of(result) not in links()
        assert net.leases() == [] and lib.elements() == []
        assert not [name for name, one in links().items() if name.startswith('gone') and 'UP' in one['flags']]
    lib.wait_for(lambda: not links('veth') and not links('ifb'))
    assert list(links(netns=a)) == ['lo']


def test_delete_detached_in_a_chain(net):
    """bandwidth by its own name does not wait for its ifb either."""
    args, a = cni.KUBERNETES_ARGS % 'a', net.sandbox.netns('a')
    limits = {'ingressRate': 8000000, 'ingressBurst': 800000, 'egressRate': 8000000, 'egressBurst': 800000}
    plugin = cni.Plugin(net.plugin.program.parents[1], 'bandwidth')
    conf = {'cniVersion': '1.1.0', 'name': 'net', 'type': 'bandwidth', 'runtimeConfig': {'bandwidth': limits}}
    result = net.plugin.add(net.conf(), a, 'a', args=args).ok()
    for _ in range(3):
        limited = plugin.add({**conf, 'prevResult': result}, a, 'a', args=args).ok()
        name = limited['interfaces'][-1]['name']
        assert name in links('ifb')
        plugin.delete(conf, a, 'a', result=limited, args=args).ok()
        assert name not in links('ifb')
    net.plugin.delete(net.conf(), a, 'a', result=result, args=args).ok()
    lib.wait_for(lambda: not links('ifb') and not links('veth'))


def test_delete_of_a_pod_of_kubernetes_waits_if_told(net):
    conf = net.conf(linkRemoval='wait')
    a, args = net.sandbox.netns('a'), cni.KUBERNETES_ARGS % 'a'
    result = net.plugin.add(conf, a, 'a', args=args).ok()
    net.plugin.delete(conf, a, 'a', result=result, args=args).ok()
    assert not links('veth') and list(links(netns=a)) == ['lo']


def abandon(net, conf, netns):
    """As a DEL leaves it that was killed before its child had removed anything."""
    result = net.plugin.add(conf, netns, 'a').ok()
    host, pod = links()[host_of(result)], links(netns=netns)['eth0']
    for argv, one in ((lib.sh, host), (netns.run, pod)):
        argv('ip', 'link', 'set', one['ifname'], 'down', 'group', str(0x42455254))
        argv('ip', 'link', 'set', one['ifname'], 'name', f'gone{one["ifindex"]}')
    return result


@pytest.mark.parametrize('who', ['the same DEL', 'another DEL', 'GC', 'a full bridge'])
def test_detached_links_of_a_killed_delete(net, who):
    conf = net.conf(linkRemoval='detached')
    a, b = net.sandbox.netns('a'), net.sandbox.netns('b')
    result = abandon(net, conf, a)
    # Nothing is in the way of the next one, under the same names.
    again = net.plugin.add(conf, a, 'a').ok()
    assert host_of(again) == host_of(result) and len(links('veth')) == 2
    net.plugin.delete({**conf, 'linkRemoval': 'wait'}, a, 'a', result=again).ok()
    if who == 'the same DEL':
        net.plugin.delete(conf, a, 'a', result=result).ok()
    elif who == 'another DEL':
        other = net.plugin.add(conf, b, 'b').ok()
        net.plugin.delete(conf, b, 'b', result=other).ok()
    elif who == 'GC':
        net.plugin.gc({**conf, 'cniVersion': '1.1.0'}, []).ok()
    else:
        # The kernel's limit is 1023 ports, the abandoned one among them.
        batch = net.sandbox.path / 'ports'
        batch.write_text(''.join(f'link add d{i} master br0 type veth peer name e{i}\nlink set e{i} master br0\n'
                                 for i in range(511)))
        lib.sh('ip', '-batch', batch)
        net.plugin.add(conf, b, 'b').ok()
        net.plugin.add(conf, a, 'c').failed()
    lib.wait_for(lambda: not [name for name in links('veth') if name.startswith('gone')])


def test_failure_of_rules_takes_the_link_away(net):
    plugin = cni.Plugin(net.plugin.program.parents[1], 'berth-cni')
    ports = {'portMappings': [{'hostPort': 80, 'containerPort': 80, 'protocol': 'tcp'}]}
    conf = net.conf(type='berth-cni', runtimeConfig=ports)
    a, b, c = (net.sandbox.netns(name) for name in 'abc')
    plugin.add(conf, a, 'a').ok()
    plugin.add(conf, b, 'b').failed()
    assert net.leases() == ['10.1.0.2'] and len(links('veth')) == 1 and list(links(netns=b)) == ['lo']
    # Another pod is on that bridge and needs its gateway; on one of its own nobody does.
    assert ping(a, '10.1.0.1')
    plugin.add({**conf, 'name': 'other', 'bridge': 'br1', 'ipam': {**conf['ipam'], 'subnet': '10.2.0.0/24'}}, c,
               'c').failed()
    assert addresses('br0') == ['10.1.0.1/24'] and addresses('br1') == []


# --- CHECK, GC, STATUS ---

@pytest.mark.parametrize('spoil, words', [
    (['ip', 'addr', 'del', '10.1.0.2/24', 'dev', 'eth0'], 'Failed to match addr 10.1.0.2/24'),
    (['ip', 'route', 'del', 'default'], 'Expected Route 0.0.0.0/0 not found'),
    (['ip', 'link', 'set', 'eth0', 'address', '02:00:00:00:00:01'], "doesn't match container Mac"),
    (['ip', 'link', 'del', 'eth0'], 'Interface name eth0 not found'),
])
def test_check_inside(net, spoil, words):
    a = net.sandbox.netns('a')
    conf = net.conf(isDefaultGateway=True)
    result = net.plugin.add(conf, a, 'a').ok()
    a.run(*spoil)
    assert words in str(net.plugin.check(conf, a, 'a', result=result).failed())


@pytest.mark.parametrize('spoil, words', [
    (lambda net, host: lib.sh('ip', 'link', 'set', host, 'nomaster'), 'CNI veth created for bridge br0 was not found'),
    (lambda net, host: lib.sh('ip', 'link', 'del', 'br0'), 'Interface name br0 not found'),
    (lambda net, host: lib.sh('ip', 'link', 'set', 'br0', 'address', '02:00:00:00:00:01'), "Mac doesn't match"),
    (lambda net, host: (net.sandbox.path / 'leases' / 'net' / '10.1.0.2').unlink(), 'Failed to find address added'),
])
def test_check_outside(net, spoil, words):
    a = net.sandbox.netns('a')
    result = net.plugin.add(net.conf(), a, 'a').ok()
    spoil(net, host_of(result))
    assert words in str(net.plugin.check(net.conf(), a, 'a', result=result).failed())


def test_check_of_two_interfaces(net):
    """IPv6 makes one route with two next hops of the two default routes."""
    ranges = [[{'subnet': '10.1.0.0/24'}], [{'subnet': 'fd00:1::/64'}]]
    conf = net.conf(isDefaultGateway=True)
    conf['ipam'] = {**conf['ipam'], 'ranges': ranges}
    conf['ipam'].pop('subnet')
    a = net.sandbox.netns('a')
    results = {name: net.plugin.add(conf, a, 'a', ifname=name).ok() for name in ('eth0', 'net1')}
    for name, result in results.items():
        net.plugin.check(conf, a, 'a', ifname=name, result=result).ok()
    a.run('ip', '-6', 'route', 'del', 'default')
    assert 'Expected Route ::/0' in str(net.plugin.check(conf, a, 'a', result=results['eth0']).failed())


def test_check_needs_a_result(net):
    a = net.sandbox.netns('a')
    net.plugin.add(net.conf(), a, 'a').ok()
    assert 'Required prevResult missing' in str(net.plugin.check(net.conf(), a, 'a').failed(7))


def test_gc(net):
    conf = net.conf()
    for name in 'abcde':
        net.plugin.add(conf, net.sandbox.netns(name), name).ok()
    other = {**net.conf(), 'name': 'other', 'bridge': 'br1'}
    other['ipam'] = {**other['ipam'], 'subnet': '10.2.0.0/24'}
    keep = host_of(net.plugin.add(other, net.sandbox.netns('x'), 'x').ok())
    net.plugin.exec('GC', conf).ok()  # no list: nothing may go
    assert len(net.leases()) == 5
    net.plugin.gc(conf, [('b', 'eth0'), ('d', 'eth1')]).ok()
    assert net.leases() == ['10.1.0.3'] and len(links('veth')) == 2
    net.plugin.gc(conf, []).ok()
    assert net.leases() == [] and list(links('veth')) == [keep]
    net.plugin.exec('GC', {**conf, 'cni.dev/valid-attachments': [{'containerID': 'x'}]}).failed(7)


def test_gc_waits_for_no_slow_add(net):
    """Between making a pair and naming its owner an ADD may wait for long; it holds the pair's name meanwhile."""
    digest = bytearray(hashlib.sha256(b'veth01234567').digest()[:6])
    digest[0] = digest[0] & 0xfc | 2
    lib.sh('ip', 'link', 'add', 'veth01234567', 'address', digest.hex(':'), 'type', 'veth', 'peer', 'name', 'x')
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as held:
        held.bind('\0berth-cni/veth01234567')
        net.plugin.gc(net.conf(), []).ok()
        assert 'veth01234567' in links('veth')
    net.plugin.gc(net.conf(), []).ok()
    assert not links('veth')


def test_status(net):
    conf = net.conf()
    net.plugin.status(conf).ok()
    result = net.plugin.add(conf, net.sandbox.netns('a'), 'a').ok()
    net.plugin.status(conf).ok()
    lib.sh('ip', 'link', 'set', 'br0', 'down')
    assert 'bridge br0 is down' in str(net.plugin.status(conf).failed(51))
    lib.sh('ip', 'link', 'del', 'br0')
    assert 'bridge br0 is gone, 1 containers' in str(net.plugin.status(conf).failed(51))
    lib.sh('ip', 'link', 'del', host_of(result))
    net.plugin.status(conf).ok()
    lib.sh('ip', 'link', 'add', 'br0', 'type', 'veth', 'peer', 'name', 'x')
    assert 'is not a bridge' in str(net.plugin.status(conf).failed(50))
    lib.sh('ip', 'link', 'del', 'br0')
    small = net.conf(name='small', ipam={**conf['ipam'], 'subnet': '10.2.0.0/30'})
    net.plugin.status(small).ok()
    net.plugin.add(small, net.sandbox.netns('b'), 'b').ok()
    assert '10.2.0.1-10.2.0.2 (1 in use)' in str(net.plugin.status(small).failed(50))
    assert 'failed to find plugin "none"' in str(net.plugin.status(net.conf(ipam={'type': 'none'})).failed())


# --- ptp ---

def test_ptp(sandbox, build):
    net = Net(sandbox, build, 'ptp')
    routes = [{'dst': '0.0.0.0/0'}, {'dst': '::/0'}]
    ipam = {**net.conf()['ipam'], 'ranges': [[{'subnet': 'fd00:1::/64'}]], 'routes': routes}
    conf = net.conf(ipam=ipam)
    a, b = sandbox.netns('a'), sandbox.netns('b')
    result = net.plugin.add(conf, a, 'a').ok()
    net.plugin.add(conf, b, 'b').ok()
    host, eth0 = result['interfaces']
    assert (host['name'], eth0['name'], eth0['sandbox']) == (host_of(result), 'eth0', a.path)
    assert [one['interface'] for one in result['ips']] == [1, 1]
    assert addresses(host['name']) == ['10.1.0.1/32', 'fd00:1::1/128']
    assert addresses('eth0', a) == ['10.1.0.2/24', 'fd00:1::2/64']
    for address in ('10.1.0.1', '10.1.0.3', 'fd00:1::1', 'fd00:1::3'):
        assert ping(a, address)
    assert ping(None, '10.1.0.2') and ping(None, 'fd00:1::2')
    routes = {one['dst']: one for one in a.ip('route')}
    assert routes['10.1.0.0/24']['gateway'] == '10.1.0.1' and routes['10.1.0.1']['scope'] == 'link'
    net.plugin.check(conf, a, 'a', result=result).ok()
    net.plugin.delete(conf, a, 'a', result=result).ok()
    assert net.leases() == ['10.1.0.3', 'fd00:1::3'] and len(links('veth')) == 1
    net.plugin.gc(conf, []).ok()
    assert net.leases() == [] and not links('veth')


def test_ptp_needs_ipam(sandbox, build):
    net = Net(sandbox, build, 'ptp')
    conf = net.conf()
    del conf['ipam']
    assert 'ptp needs an "ipam"' in str(net.plugin.add(conf, sandbox.netns('a'), 'a').failed(7))


# --- beside upstream's plugins ---

needs_upstream = pytest.mark.skipif(not (UPSTREAM / 'bridge').exists(), reason='needs containernetworking-plugins')


@needs_upstream
@pytest.mark.parametrize('role', ['bridge', 'ptp'])
def test_same_result_as_upstream(sandbox, build, role):
    """What upstream's plugin answers to the same configuration, names and addresses of links apart."""
    conf = Net(sandbox, build, role).conf(cniVersion='1.0.0', isDefaultGateway=True, dns={'domain': 'd'})
    conf['ipam'] = {**conf['ipam'], 'ranges': [[{'subnet': 'fd00:1::/64'}]], 'routes': [{'dst': '10.99.0.0/16'}]}
    results, states = [], []
    for i, program in enumerate([build / 'cni' / 'berth-cni', UPSTREAM / role]):
        one = {**conf, 'name': f'net{i}', 'bridge': f'br{i}'}
        pod = sandbox.netns(f'pod{i}')
        plugin = cni.Plugin(build, role, program=program, path=[UPSTREAM])
        result = plugin.add(one, pod, 'a').ok()
        gateway = f'br{i}' if role == 'bridge' else host_of(result)
        states.append((addresses('eth0', pod), addresses(gateway),
                       sorted(str((one['dst'], one.get('gateway'), one.get('scope'))) for one in pod.ip('route'))))
        for interface in result['interfaces']:
            interface['mac'] = interface['name'] = 'x'
            interface.pop('sandbox', None)
        results.append(result)
        plugin.delete(one, pod, 'a').ok()
    assert results[0] == results[1]
    assert states[0] == states[1]


@needs_upstream
def test_pods_outlive_a_switch(net):
    """Added by one, taken away by the other, both ways."""
    ours = net.plugin
    theirs = cni.Plugin(ours.program.parents[1], 'bridge', program=UPSTREAM / 'bridge', path=[UPSTREAM])
    conf = net.conf(cniVersion='1.0.0')
    for first, second in ((ours, theirs), (theirs, ours)):
        a, b = net.sandbox.netns(f'a{first is ours}'), net.sandbox.netns(f'b{first is ours}')
        result = first.add(conf, a, 'a').ok()
        second.add(conf, b, 'b').ok()
        assert ping(a, addresses('eth0', b)[0].split('/')[0])
        second.check(conf, a, 'a', result=result).ok()
        second.delete(conf, a, 'a', result=result).ok()
        first.delete(conf, b, 'b').ok()
        assert net.leases() == [] and not links('veth')


# --- delegated by flannel ---

def test_flannel_delegate(net):
    """What flannel's CNI plugin does: it reads subnet.env, makes a bridge configuration of it, and executes bridge from
    CNI_PATH under that name with its own environment, handing the result on to the next plugin of the chain."""
    net.sandbox.private_directory('/opt/cni/bin')
    for name in ('bridge', 'host-local', 'portmap'):
        os.symlink(net.plugin.program, f'/opt/cni/bin/{name}')
    env = dict(line.split('=') for line in (
        'FLANNEL_NETWORK=10.244.0.0/16', 'FLANNEL_SUBNET=10.244.1.1/24', 'FLANNEL_MTU=1450', 'FLANNEL_IPMASQ=true'))
    delegate = {'cniVersion': '0.3.1', 'name': 'cbr0', 'type': 'bridge', 'hairpinMode': True, 'isDefaultGateway': True,
                'isGateway': True, 'ipMasq': env['FLANNEL_IPMASQ'] != 'true', 'mtu': int(env['FLANNEL_MTU']),
                'ipam': {'type': 'host-local', 'ranges': [[{'subnet': '10.244.1.0/24'}]],
                         'routes': [{'dst': env['FLANNEL_NETWORK']}]}}
    a = net.sandbox.netns('a')
    net.sandbox.private_directory('/var/lib/cni')
    bridge = cni.Plugin(net.plugin.program.parents[1], 'bridge', program='/opt/cni/bin/bridge', path=['/opt/cni/bin'])
    result = bridge.add(delegate, a, 'a', args=cni.KUBERNETES_ARGS % 'a').ok()
    assert result['interfaces'][0]['name'] == 'cni0' and links(netns=a)['eth0']['mtu'] == 1450
    assert result['ips'][0]['address'] == '10.244.1.2/24'
    assert {'dst': '10.244.0.0/16'} in result['routes']
    portmap = cni.Plugin(bridge.program.parent, 'portmap', program='/opt/cni/bin/portmap', path=['/opt/cni/bin'])
    chained = {'cniVersion': '0.3.1', 'name': 'cbr0', 'type': 'portmap', 'capabilities': {'portMappings': True},
               'runtimeConfig': {'portMappings': [{'hostPort': 8080, 'containerPort': 80, 'protocol': 'tcp'}]},
               'prevResult': result}
    assert portmap.add(chained, a, 'a').ok()['ips'] == result['ips']
    portmap.delete(chained, a, 'a').ok()
    bridge.delete(delegate, a, 'a').ok()
    assert os.listdir('/var/lib/cni/networks/cbr0') and not links('veth')


# --- what somebody else chains behind us ---

CHAINED = '''#!/bin/sh
# A plugin as service meshes have them: it looks at the pod and hands the result on.
input=$(cat)
case $CNI_COMMAND in
ADD) printf '%s' "$input" | jq .prevResult ;;
esac
'''


def test_generic_chained_plugin(net):
    path = net.sandbox.path / 'mesh'
    path.write_text(CHAINED)
    path.chmod(0o755)
    conflist = {'cniVersion': '1.0.0', 'name': 'net', 'plugins': [
        {**net.conf(), 'type': 'bridge'}, {'type': 'mesh'}, {'type': 'portmap', 'runtimeConfig': {'portMappings': [
            {'HostPort': 8080, 'ContainerPort': 80, 'Protocol': 'tcp', 'HostIP': ''}]}}]}
    for one in conflist['plugins']:
        one.pop('cniVersion', None)
        one.pop('name', None)
    build = net.plugin.program.parents[1]
    plugins = {'bridge': net.plugin, 'mesh': cni.Plugin(build, 'mesh', program=path),
               'portmap': cni.Plugin(build, 'portmap')}
    a = net.sandbox.netns('a')
    done = cni.chain(plugins, 'ADD', conflist, netns=a.path, container_id='a', ifname='eth0')
    result = done.ok()
    assert result['ips'][0]['address'] == '10.1.0.2/24'
    cni.chain(plugins, 'DEL', conflist, netns=a.path, container_id='a', ifname='eth0', result=result).ok()
    assert net.leases() == [] and not links('veth')


@pytest.mark.parametrize('way', ['paths', 'group'])
def test_mtu_of_the_narrowest_of_several_paths(net, way):
    """Any packet may take any of them."""
    uplink(1500)
    lib.sh('ip', 'link', 'add', 'w0', 'mtu', '1380', 'type', 'veth', 'peer', 'name', 'w1')
    lib.sh('ip', 'addr', 'add', '198.51.100.1/24', 'dev', 'w0')
    for link in ('w0', 'w1'):
        lib.sh('ip', 'link', 'set', link, 'up')
    hops = ('nexthop', 'via', '192.0.2.2', 'nexthop', 'via', '198.51.100.2')
    if way == 'group':
        lib.sh('ip', 'nexthop', 'add', 'id', '1', 'via', '192.0.2.2', 'dev', 'up0')
        lib.sh('ip', 'nexthop', 'add', 'id', '2', 'via', '198.51.100.2', 'dev', 'w0')
        lib.sh('ip', 'nexthop', 'add', 'id', '3', 'group', '1/2')
        hops = ('nhid', '3')
    lib.sh('ip', 'route', 'replace', 'default', *hops)
    pod = net.sandbox.netns('a')
    net.plugin.add(net.conf(), pod, 'a').ok()
    assert links(netns=pod)['eth0']['mtu'] == 1380


def test_mtu_of_the_way_that_a_rule_for_the_subnet_takes(net):
    uplink(1500)
    lib.sh('ip', 'link', 'add', 'w0', 'mtu', '1380', 'type', 'veth', 'peer', 'name', 'w1')
    lib.sh('ip', 'addr', 'add', '198.51.100.1/24', 'dev', 'w0')
    for link in ('w0', 'w1'):
        lib.sh('ip', 'link', 'set', link, 'up')
    lib.sh('ip', 'route', 'add', 'default', 'via', '198.51.100.2', 'table', '100')
    lib.sh('ip', 'rule', 'add', 'from', net.conf()['ipam']['subnet'], 'lookup', '100')
    lib.sh('sysctl', '-qw', 'net.ipv4.ip_forward=1')
    # The first makes the bridge, the second finds it.
    for name in 'ab':
        pod = net.sandbox.netns(name)
        net.plugin.add(net.conf(), pod, name).ok()
        assert links(netns=pod)['eth0']['mtu'] == 1380, name


def test_bridge_that_is_deleted_meanwhile(net, build):
    """Any step may be the one that misses it; the runtime is told to come again, and that works."""
    net.plugin.add(net.conf(), net.sandbox.netns('a'), 'a').ok()
    thief = net.sandbox.path / 'thief'
    thief.write_text('#!/bin/sh\nif test "$CNI_COMMAND" = ADD; then ip link del br0 2>/dev/null\n'
                     'echo \'{"cniVersion":"1.0.0","ips":[{"address":"10.1.0.99/24"}]}\'; fi\n')
    thief.chmod(0o755)
    conf = net.conf(cniVersion='1.0.0', ipam={'type': 'thief'})
    plugin = cni.Plugin(build, path=[net.sandbox.path])
    b = net.sandbox.netns('b')
    error = plugin.add(conf, b, 'b').failed(11)
    assert 'the bridge br0 was deleted meanwhile: try again' in str(error)
    plugin.add(conf, b, 'b').ok()
