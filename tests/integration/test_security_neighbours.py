# SPDX-License-Identifier: Apache-2.0
"""A pod with NET_RAW takes no address of another pod or of the node: real frames, the kernel's neighbour tables."""

import json
import socket
import subprocess

import pytest

import frames
import node as lib

GATEWAY, GATEWAY6 = '10.1.0.1', 'fd00:1::1'
LINK_LOCAL_NODES = '33:33:00:00:00:01'


@pytest.fixture(name='node')
def node_fixture(sandbox, build):
    return lib.Node(sandbox, build)


def mac(link, netns=None):
    argv = ['ip', '-json', 'link', 'show', 'dev', link]
    return json.loads((netns.run(*argv) if netns else lib.sh(*argv)).stdout)[0]['address']


def add(node, name, **more):
    pod = node.add(node.conf(**more), name)
    pod.mac = mac('eth0', pod.netns)
    return pod


def python(netns, *argv):
    argv = [lib.PYTHON, frames.__file__, *argv]
    return netns.argv(*argv) if netns else argv


def send(pod, *sent):
    subprocess.run(python(pod.netns, 'send', 'eth0', *(one.hex() for one in sent)), check=True, timeout=60)


def payload(frame):
    """A receiver's socket has lost a VLAN tag."""
    return frame[18:] if frame[12:14] == bytes([0x81, 0]) else frame[14:]


def arriving(victim, pod, sent):
    """Which of the frames that pod sends arrive; victim None: at the node."""
    link = 'eth0' if victim else 'cni0'
    process = subprocess.Popen(python(victim and victim.netns, 'catch', link), stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == 'ready\n'
    send(pod, *sent)
    text, _ = process.communicate(timeout=60)
    found = {payload(bytes.fromhex(line)) for line in text.split()}
    return [one for one in sent if payload(one) in found]


def neighbours(netns=None):
    argv = ['ip', '-json', 'neigh', 'show']
    found = json.loads((netns.run(*argv) if netns else lib.sh(*argv)).stdout)
    return {one['dst']: one['lladdr'] for one in found if 'lladdr' in one}


def claims(pod, address, address6, to):
    """(name, frame): each takes address, or address6, for pod at the receiver to."""
    own6 = pod.address6
    option = frames.link_option(1, pod.mac)
    destination = to.mac
    hidden = bytes([58, 0, 1, 4, 0, 0, 0, 0])
    ll = frames.link_local(pod.mac)
    router = bytes([64, 0]) + (1800).to_bytes(2, 'big') + bytes(8) + option
    return {
        'reply': frames.arp(pod.mac, address, to.address, 2, destination),
        'request': frames.arp(pod.mac, address, to.address, 1, destination),
        'announcement': frames.arp(pod.mac, address, address, 1),
        'gratuitous reply': frames.arp(pod.mac, address, address, 2),
        'probe': frames.arp(pod.mac, '0.0.0.0', address, 1),
        'own address elsewhere': frames.arp(pod.mac, pod.address, to.address, 2, destination, '02:00:00:00:00:77'),
        'priority tag': frames.arp(pod.mac, address, to.address, 2, destination, tags=[(0x8100, 0)]),
        'advertisement': frames.advertise(pod.mac, address6, to.address6, destination),
        'advertisement from the own address': frames.advertise(pod.mac, address6, to.address6, destination, own6),
        'advertisement to all': frames.advertise(pod.mac, address6, 'ff02::1', LINK_LOCAL_NODES),
        'behind an extension header': frames.advertise(pod.mac, address6, to.address6, destination, own6, hidden),
        'solicitation': frames.solicit(pod.mac, address6, to.address6, destination, to.address6),
        'duplicate': frames.solicit(pod.mac, '::', address6, LINK_LOCAL_NODES),
        'router solicitation': frames.icmp6(pod.mac, frames.RS, address6, to.address6, bytes(4) + option, destination),
        'router': frames.icmp6(pod.mac, frames.RA, ll, 'ff02::1', router, LINK_LOCAL_NODES),
    }


def hidden_by_tags(pod, address, to):
    """Two tags without a VLAN: the bridge has one taken off, a receiver both."""
    return [frames.arp(pod.mac, address, to.address, 2, to.mac, tags=[(outer, 0), (inner, 0)])
            for outer in (0x8100, 0x88a8) for inner in (0x8100, 0x88a8)]


def servers(pod, to):
    """What configures a neighbour: DHCP, a router of either family, a way of the router's that is shorter."""
    ll, option = frames.link_local(pod.mac), frames.link_option(1, pod.mac)
    both = socket.inet_aton(to.address) + socket.inet_aton('8.8.8.8')
    inner = bytes.fromhex('4500001c000100004001') + bytes(2) + both
    redirect = bytes([5, 1, 0, 0]) + socket.inet_aton(pod.address) + inner + bytes(8)
    advertised = bytes([64, 0]) + (1800).to_bytes(2, 'big') + bytes(8) + option
    hop = bytes([0, 17, 0, 1, 4, 0, 0, 0, 0])
    first = bytes([44, 17, 0, 0, 1, 0, 0, 0, 7])
    every6 = (LINK_LOCAL_NODES, 'ff02::1')
    return {
        'DHCP': frames.udp4(pod.mac, pod.address, '255.255.255.255', (67, 68)),
        'DHCP from another port': frames.udp4(pod.mac, pod.address, to.address, (6767, 68), to.mac),
        'DHCP, tagged': tagged(frames.udp4(pod.mac, pod.address, '255.255.255.255', (67, 68))),
        'DHCP, first fragment': frames.udp4(pod.mac, pod.address, to.address, (67, 68), to.mac, 0x2000),
        'DHCPv6': frames.udp6(pod.mac, ll, every6[1], (547, 546), every6[0]),
        'DHCPv6 behind an extension header': frames.udp6(pod.mac, ll, every6[1], (547, 546), every6[0], hop),
        'DHCPv6, first fragment': frames.udp6(pod.mac, ll, every6[1], (547, 546), every6[0], first),
        'router': frames.icmp6(pod.mac, frames.RA, ll, every6[1], advertised, every6[0]),
        'redirect': frames.ip4(pod.mac, GATEWAY, to.address, 1, redirect[:2] + bytes(2) + redirect[4:], to.mac),
        'router of IPv4': frames.ip4(pod.mac, pod.address, '224.0.0.1', 1, bytes([9, 0]) + bytes(40)),
        'redirect of IPv6': frames.icmp6(pod.mac, frames.REDIRECT, ll, every6[1], bytes(36), every6[0]),
    }


def tagged(frame):
    return frame[:12] + bytes([0x81, 0, 0, 0]) + frame[12:]


def others(pod, address, to):
    """Neither IP nor ARP by the number of the frame, whatever is in it."""
    claim = frames.arp(pod.mac, address, to.address, 2, to.mac)
    advertised = frames.advertise(pod.mac, to.address6, to.address6, to.mac)
    return {
        'reverse ARP': frames.reverse_arp(pod.mac, address, to.mac),
        'reverse ARP, tagged': tagged(frames.reverse_arp(pod.mac, address, to.mac)),
        'ARP in SNAP': frames.in_snap(claim),
        'ARP in SNAP, tagged': tagged(frames.in_snap(claim)),
        'advertisement in SNAP': frames.in_snap(advertised),
        'a bridge': frames.ethernet(pod.mac, '01:80:c2:00:00:00', 38, bytes.fromhex('424203') + bytes(35)),
        'a discovery of PPPoE': frames.ethernet(pod.mac, frames.BROADCAST, 0x8863, bytes(40)),
        'an unknown one': frames.ethernet(pod.mac, to.mac, 0x88b5, bytes(46)),
    }


def own(pod, to):
    """What a pod sends for its own addresses."""
    ll = frames.link_local(pod.mac)
    option = frames.link_option(1, pod.mac)
    return {
        'request': frames.arp(pod.mac, pod.address, to.address),
        'reply': frames.arp(pod.mac, pod.address, to.address, 2, to.mac),
        'announcement': frames.arp(pod.mac, pod.address, pod.address),
        'gratuitous reply': frames.arp(pod.mac, pod.address, pod.address, 2),
        'probe': frames.arp(pod.mac, '0.0.0.0', pod.address),
        'advertisement': frames.advertise(pod.mac, pod.address6, 'ff02::1', LINK_LOCAL_NODES),
        'advertisement of the link-local address': frames.advertise(pod.mac, ll, to.address6, to.mac),
        'solicitation': frames.solicit(pod.mac, pod.address6, to.address6, LINK_LOCAL_NODES),
        'solicitation from the link-local address': frames.solicit(pod.mac, ll, to.address6, LINK_LOCAL_NODES),
        'duplicate detection': frames.solicit(pod.mac, '::', pod.address6, LINK_LOCAL_NODES),
        'duplicate detection of the link-local address': frames.solicit(pod.mac, '::', ll, LINK_LOCAL_NODES),
        'router solicitation': frames.icmp6(pod.mac, frames.RS, ll, 'ff02::1', bytes(4) + option, LINK_LOCAL_NODES),
        'router solicitation from ::': frames.icmp6(pod.mac, frames.RS, '::', 'ff02::1', bytes(4), LINK_LOCAL_NODES),
        'a question to DHCP': frames.udp4(pod.mac, '0.0.0.0', '255.255.255.255', (68, 67)),
        'a question to DHCPv6': frames.udp6(pod.mac, ll, 'ff02::1:2', (546, 547), '33:33:00:01:00:02'),
        'a datagram': frames.udp4(pod.mac, pod.address, to.address, (68, 53), to.mac),
        'echo of IPv4': frames.ip4(pod.mac, pod.address, to.address, 1, bytes([8, 0, 0xf7, 0xff]) + bytes(40), to.mac),
        'own, in another VLAN': frames.arp(pod.mac, pod.address, to.address, tags=[(0x8100, 7)]),
        'echo': frames.icmp6(pod.mac, 128, pod.address6, to.address6, bytes(24), to.mac),
    }


def names(sent, which):
    return sorted(name for name, frame in sent.items() if frame in which)


class Gateway:
    """The node, as something that frames are sent to."""
    netns, address, address6 = None, GATEWAY, GATEWAY6

    def __init__(self):
        self.mac = mac('cni0')


def test_claims_do_not_arrive(node):
    """From a pod that is looked at, none; from another one all of them, which shows that they are real."""
    pod, free = add(node, 'a', macspoofchk=True), add(node, 'free')
    victim, other = add(node, 'victim'), add(node, 'other')
    for target, catcher in ((victim, victim), (Gateway(), None)):
        sent = claims(pod, other.address, other.address6, target)
        assert names(sent, arriving(catcher, pod, sent.values())) == []
        sent = claims(free, other.address, other.address6, target)
        assert names(sent, arriving(catcher, free, sent.values())) == sorted(sent)
        sent = own(pod, target)
        assert names(sent, arriving(catcher, pod, sent.values())) == sorted(sent)


def one_family(node, subnet, **more):
    """Keys of an ADD: addresses of one family, or of both without a subnet."""
    if subnet:
        more['ipam'] = {'type': 'host-local', 'dataDir': str(node.sandbox.path / 'one'),
                        'ranges': [[{'subnet': subnet}]]}
    return more


def configuring(pod, target):
    pod.address, pod.address6 = pod.address or '10.1.77.7', pod.address6 or 'fd00:1::777'
    return servers(pod, target) | others(pod, '10.1.99.99', target)


@pytest.mark.parametrize('subnet', [None, '10.1.0.0/16', 'fd00:1::/64'])
def test_what_configures_a_neighbour_does_not_arrive(node, subnet):
    """Whatever families the pod has addresses of."""
    pod, victim = add(node, 'a', **one_family(node, subnet, macspoofchk=True)), add(node, 'victim')
    for target, catcher in ((victim, victim), (Gateway(), None)):
        assert names(sent := configuring(pod, target), arriving(catcher, pod, sent.values())) == []
        if not subnet:
            free = add(node, f'free{catcher is None}')
            sent = configuring(free, target)
            assert names(sent, arriving(catcher, free, sent.values())) == sorted(sent)


def test_any_protocol(node):
    """The key lets through what names no address; claims and routers of a family that is known still are not."""
    pod, victim = add(node, 'a', macspoofchk=True, anyProtocol=True), add(node, 'victim')
    assert lib.elements('protocol-links') == []
    sent = configuring(pod, victim)
    assert set(sent) - set(names(sent, arriving(victim, pod, sent.values()))) == {'router', 'redirect of IPv6'}
    sent = claims(pod, '10.1.99.99', 'fd00:1::99', victim)
    assert names(sent, arriving(victim, pod, sent.values())) == []
    assert 'anyProtocol' in str(node.plugin.add(node.conf(macspoofchk=True, anyProtocol='yes'),
                                                node.sandbox.netns('b'), lib.container('b')).failed())


def test_neighbours_stay_right(node):
    """Of the victim and of the node, about another pod and about each other."""
    pod, free = add(node, 'a', macspoofchk=True), add(node, 'free')
    victim, other = add(node, 'victim'), add(node, 'other')
    gateway = Gateway()
    node.serve(None, 'tcp', 80, 'node')
    for one in (victim, other):
        node.serve(one.netns, 'tcp', 80, one.name)

    def talk():
        for there in (gateway.address, gateway.address6, other.address, other.address6):
            assert node.ask(victim.netns, 'tcp', there, 80).startswith(('node', 'other'))
        for there in (victim.address, victim.address6):
            assert node.ask(None, 'tcp', there, 80).startswith('victim')

    def attack(by):
        for target, address, address6 in ((victim, other.address, other.address6),
                                          (victim, gateway.address, gateway.address6),
                                          (gateway, victim.address, victim.address6)):
            send(by, *claims(by, address, address6, target).values(), *hidden_by_tags(by, address, target))
        return neighbours(victim.netns), neighbours()

    talk()
    right = {gateway.address: gateway.mac, gateway.address6: gateway.mac, other.address: other.mac,
             other.address6: other.mac}
    at_victim, at_node = attack(pod)
    assert {key: at_victim[key] for key in right} == right
    assert [at_node[key] for key in (victim.address, victim.address6)] == [victim.mac] * 2
    talk()
    # The same from a pod that is not looked at: each of them is believed.
    at_victim, at_node = attack(free)
    assert free.mac in {at_victim[key] for key in (gateway.address, other.address)}
    assert {at_victim[key] for key in (gateway.address6, other.address6)} == {free.mac}
    assert at_node[victim.address6] == free.mac


@pytest.mark.parametrize('outer', [0x8100, 0x88a8])
@pytest.mark.parametrize('inner', [0x8100, 0x88a8])
def test_claim_behind_two_tags(node, outer, inner):
    pod, free, victim = add(node, 'a', macspoofchk=True), add(node, 'free'), add(node, 'victim')
    unused = '10.1.99.99'
    victim.netns.run('ip', 'neigh', 'add', unused, 'lladdr', '02:00:00:00:00:01', 'nud', 'stale', 'dev', 'eth0')

    def claimed(by):
        send(by, frames.arp(by.mac, unused, victim.address, 2, victim.mac, tags=[(outer, 0), (inner, 0)]))
        return neighbours(victim.netns)[unused] == by.mac
    assert not claimed(pod)
    # How a kernel reads two tags is its own matter: where it believes the other one, this one was needed.
    claimed(free)


def test_pods_with_the_check_talk(node):
    """Neighbours of both families from nothing, host to pod and pod to pod; nothing is left by DEL."""
    pods = [add(node, name, macspoofchk=True) for name in ('a', 'b')]
    node.serve(None, 'tcp', 80, 'node')
    for pod in pods:
        node.serve(pod.netns, 'tcp', 80, pod.name)
        node.check(pod).ok()
    for here, there in (pods, pods[::-1]):
        for address, peer in ((there.address, here.address), (there.address6, here.address6)):
            here.netns.run('ip', 'neigh', 'flush', 'all')
            assert node.ask(here.netns, 'tcp', address, 80) == f'{there.name} {peer}'
        assert node.ask(here.netns, 'tcp', GATEWAY, 80) == f'node {here.address}'
        assert node.ask(here.netns, 'tcp', GATEWAY6, 80) == f'node {here.address6}'
        lib.sh('ip', 'neigh', 'flush', 'all')
        assert node.ask(None, 'tcp', here.address, 80).startswith(here.name)
        assert node.ask(None, 'tcp', here.address6, 80).startswith(here.name)
    for pod in pods:
        node.delete(pod)
    assert lib.elements() == []


def test_duplicate_detection_works(node):
    """A pod proves its own address, and learns that somebody else has it."""
    pod = add(node, 'a', macspoofchk=True)
    pod.netns.run('sysctl', '-qw', 'net.ipv6.conf.eth0.accept_dad=1', 'net.ipv6.neigh.eth0.retrans_time_ms=100')

    def flags():
        pod.netns.run('ip', 'addr', 'del', f'{pod.address6}/64', 'dev', 'eth0')
        pod.netns.run('ip', 'addr', 'add', f'{pod.address6}/64', 'dev', 'eth0')
        found = {}

        def settled():
            text = json.loads(pod.netns.run('ip', '-json', '-6', 'addr', 'show', 'dev', 'eth0').stdout)[0]
            found.clear()
            found.update(next(one for one in text['addr_info'] if one['local'] == pod.address6))
            return 'dadfailed' in found or not found.get('tentative')
        lib.wait_for(settled)
        return 'dadfailed' in found
    assert not flags()
    lib.sh('ip', 'addr', 'add', f'{pod.address6}/64', 'dev', 'cni0', 'nodad')
    assert flags()


def test_several_addresses(node):
    """Each address of the pod is its own; on a port that carries VLANs, only the frame's source is looked at."""
    conf = {'macspoofchk': True, 'ipam': {'type': 'static', 'addresses': [
        {'address': one} for one in ('10.1.0.5/16', '10.1.0.6/16', 'fd00:1::5/64', 'fd00:1::6/64')]}}
    pod, victim = add(node, 'a', **conf), add(node, 'victim')
    sent = {one: frames.arp(pod.mac, one, victim.address) for one in ('10.1.0.5', '10.1.0.6', '10.1.0.7')}
    sent |= {one: frames.advertise(pod.mac, one, 'ff02::1', LINK_LOCAL_NODES)
             for one in ('fd00:1::5', 'fd00:1::6', 'fd00:1::7')}
    assert names(sent, arriving(victim, pod, sent.values())) == ['10.1.0.5', '10.1.0.6', 'fd00:1::5', 'fd00:1::6']


@pytest.mark.parametrize('ranges, known', [([[{'subnet': '10.1.0.0/16'}]], 'ip'),
                                           ([[{'subnet': 'fd00:1::/64'}]], 'ip6')])
def test_one_family(node, ranges, known):
    """Of a family that IPAM gives nothing of, nothing is known: the pod may have it from elsewhere."""
    ipam = {'type': 'host-local', 'dataDir': str(node.sandbox.path / 'one'), 'ranges': ranges}
    pod, victim = add(node, 'a', macspoofchk=True, ipam=ipam), add(node, 'victim')
    sent = {'ip': frames.arp(pod.mac, '10.1.0.77', victim.address),
            'ip6': frames.advertise(pod.mac, 'fd00:1::77', 'ff02::1', LINK_LOCAL_NODES)}
    assert names(sent, arriving(victim, pod, sent.values())) == [one for one in sent if one != known]


@pytest.mark.parametrize('set_name', ['arp-links', 'arp-senders', 'nd-links', 'nd-senders', 'nd-targets',
                                      'protocol-links'])
def test_check_and_gc_know_them(node, set_name):
    pod = add(node, 'a', macspoofchk=True)
    lib.sh('nft', 'flush', 'set', 'bridge', 'berth', set_name)
    assert f'is missing in set {set_name}' in str(node.check(pod).failed())
    node.plugin.gc(node.conf(), []).ok()
    assert lib.elements() == []
