# SPDX-License-Identifier: Apache-2.0
"""Bandwidth and tuning, in one entry and chained by name behind another plugin."""

import json
import os
import pathlib

import pytest

import cni
import node as lib


@pytest.fixture(name='node')
def node_fixture(sandbox, build):
    return lib.Node(sandbox, build)


def links(kind):
    return [one['ifname'] for one in lib.link_json() if one.get('linkinfo', {}).get('info_kind') == kind]


def qdiscs(link):
    found = json.loads(lib.sh('tc', '-j', 'qdisc', 'show', 'dev', link).stdout)
    return [(one['kind'], one.get('options', {})) for one in found]


def limits(ingress=0, egress=0, burst=800000):
    """In megabits per second, as the runtime sends them."""
    one = {}
    if ingress:
        one.update(ingressRate=ingress * 1000000, ingressBurst=burst)
    if egress:
        one.update(egressRate=egress * 1000000, egressBurst=burst)
    return {'bandwidth': one}


def chained(node, kind, **more):
    return {'cniVersion': '1.0.0', 'name': 'net', 'type': kind, **more}, cni.Plugin(node.build, kind)


# --- bandwidth ---

def test_bandwidth(node):
    free = node.add(node.conf(), 'free')
    assert node.megabits(free.netns, None, free.address) > 200
    pod = node.add(node.conf(runtimeConfig=limits(ingress=16, egress=32)), 'a')
    ifb, = links('ifb')
    assert ifb.startswith('bwp') and len(ifb) == 15
    assert ifb in [one['name'] for one in pod.result['interfaces']]
    node.check(pod).ok()
    assert 10 < node.megabits(pod.netns, None, pod.address) < 24
    assert 20 < node.megabits(None, pod.netns, '10.1.0.1') < 48
    lib.sh('tc', 'qdisc', 'del', 'dev', ifb, 'root')
    assert 'Failed to find qdisc' in str(node.check(pod).failed())
    node.delete(pod)
    assert links('ifb') == []


def test_bandwidth_numbers(node):
    """The same rate, buffer and limit as upstream's plugin gives."""
    pod = node.add(node.conf(runtimeConfig=limits(ingress=10, burst=8000000)), 'a')
    kind, options = qdiscs(pod.host_link)[0]
    assert kind == 'tbf'
    assert options['rate'] == 1250000 and options['lat'] == 25000
    assert abs(options['burst'] - 1000000) <= 1
    assert links('ifb') == []


def test_bandwidth_of_kubernetes(node):
    """containerd always sends a burst of MaxUint32 bits, and capitalised keys."""
    conf = node.conf(runtimeConfig={'bandwidth': {'IngressRate': 10000000, 'IngressBurst': 4294967295,
                                                  'EgressRate': 1000000, 'EgressBurst': 4294967295}})
    pod = node.add(conf, 'a')
    node.check(pod).ok()
    node.serve(pod.netns, 'tcp', 80, 'a')
    assert node.ask(None, 'tcp', pod.address, 80) == 'a 10.1.0.1'


def test_bandwidth_of_configuration_wins(node):
    pod = node.add(node.conf(ingressRate=8000000, ingressBurst=8000000, runtimeConfig=limits(ingress=1, egress=1)), 'a')
    assert qdiscs(pod.host_link)[0][1]['rate'] == 1000000
    assert links('ifb') == []


@pytest.mark.parametrize('more, words', [
    ({'ingressRate': 1000}, 'if rate is set, burst must also be set'),
    ({'egressBurst': 1000}, 'if burst is set, rate must also be set'),
    ({'egressRate': 8, 'egressBurst': 8 * 0xffffffff}, 'burst cannot be more than 4GB'),
    ({'ingressRate': '1000'}, '"ingressRate" must be'),
])
def test_bandwidth_refused(node, more, words):
    assert words in str(node.plugin.add(node.conf(**more), node.sandbox.netns('a'), 'a').failed())


@pytest.mark.parametrize('key', ['shapedSubnets', 'unshapedSubnets'])
def test_bandwidth_of_subnets_is_refused(node, key):
    """Passed over, they would shape what they except."""
    limited = limits(ingress=8)
    limited['bandwidth'][key] = ['10.0.0.0/8']
    assert key in str(node.plugin.add(node.conf(runtimeConfig=limited), node.sandbox.netns('a'), 'a').failed())
    assert not [one for one in links('veth') if one.startswith('veth')]


def test_bandwidth_spares_a_foreign_link(node):
    """What has the ifb's name and is none, is somebody else's."""
    conf = node.conf(runtimeConfig=limits(egress=8))
    a = node.sandbox.netns('a')
    node.plugin.add(conf, a, 'a').ok()
    name, = links('ifb')
    node.plugin.delete(conf, a, 'a').ok()
    lib.sh('ip', 'link', 'add', name, 'type', 'veth', 'peer', 'name', 'other')
    node.plugin.add(conf, a, 'a').ok()
    assert name not in links('ifb') and len(links('ifb')) == 1
    assert 'berth' not in lib.sh('ip', 'link', 'show', name).stdout
    node.plugin.delete(conf, a, 'a').ok()
    assert not links('ifb') and name in links('veth')


def test_bandwidth_left_by_a_killed_add(node):
    """The ifb of an ADD that died is taken over by the next one, and GC finds it."""
    conf = node.conf(runtimeConfig=limits(egress=10))
    pod = node.add(conf, 'a')
    name, = links('ifb')
    lib.sh('ip', 'link', 'del', pod.host_link)
    pod.netns.delete()
    lib.sh('rm', '-r', node.sandbox.path / 'leases')
    again = node.add(conf, 'a')
    assert links('ifb') == [name]
    node.check(again).ok()
    node.plugin.gc({**conf, 'name': 'other'}, []).ok()
    assert links('ifb') == [name]
    node.plugin.gc(conf, [(lib.container('a'), 'eth0')]).ok()
    assert links('ifb') == [name]
    node.plugin.gc(conf, []).ok()
    assert links('ifb') == []


def test_bandwidth_of_two_interfaces(node):
    """The second interface of a container on one network does not take the first one's limit away."""
    conf = node.conf(runtimeConfig=limits(egress=10))
    pod = node.add(conf, 'a')
    container = lib.container('a')
    second = node.plugin.add(conf, pod.netns, container, ifname='net1').ok()
    first_ifb, second_ifb = (one['interfaces'][-1]['name'] for one in (pod.result, second))
    assert sorted(links('ifb')) == sorted({first_ifb, second_ifb}) and first_ifb != second_ifb
    node.check(pod).ok()
    node.plugin.check(conf, pod.netns, container, ifname='net1', result=second).ok()
    node.delete(pod)
    assert links('ifb') == [second_ifb]
    node.plugin.check(conf, pod.netns, container, ifname='net1', result=second).ok()
    again = node.plugin.add(conf, pod.netns, container).ok()
    assert sorted(links('ifb')) == sorted({first_ifb, second_ifb})
    node.plugin.gc(conf, [(container, 'eth0')]).ok()
    assert links('ifb') == [first_ifb]
    node.plugin.delete(conf, pod.netns, container, result=again).ok()
    assert links('ifb') == []


def test_bandwidth_chained(node):
    pod = node.add(node.conf(cniVersion='1.0.0'), 'a')
    conf, plugin = chained(node, 'bandwidth', runtimeConfig=limits(ingress=10, egress=10))
    result = plugin.add(cni.with_result(conf, pod.result), pod.netns, lib.container('a')).ok()
    assert result['ips'] == pod.result['ips'] and len(result['interfaces']) == len(pod.result['interfaces']) + 1
    plugin.check(conf, pod.netns, lib.container('a'), result=result).ok()
    plugin.delete(conf, pod.netns, lib.container('a'), result=result).ok()
    assert links('ifb') == []
    plugin.delete(conf, pod.netns, lib.container('a')).ok()
    conf, plugin = chained(node, 'bandwidth')
    assert plugin.add(cni.with_result(conf, pod.result), pod.netns, lib.container('a')).ok()['ips'] == pod.result['ips']


# --- tuning ---

def value(netns, key):
    return netns.run('cat', '/proc/sys/' + key.replace('.', '/')).stdout.strip()


def test_sysctls_in_one_entry(node):
    pod = node.add(node.conf(txQLen=77, sysctl={'net.core.somaxconn': '501', 'net.ipv4.conf.IFNAME.arp_filter': '1'}),
                   'a')
    assert value(pod.netns, 'net.core.somaxconn') == '501'
    assert value(pod.netns, 'net.ipv4.conf.eth0.arp_filter') == '1'
    assert pod.netns.ip('link', 'show', 'eth0')[0]['txqlen'] == 77
    node.check(pod).ok()
    pod.netns.run('sysctl', '-qw', 'net.core.somaxconn=77')
    assert 'is 501, current value is 77' in str(node.check(pod).failed())
    node.delete(pod)


@pytest.mark.parametrize('key', ['kernel.hostname', 'net', 'net.', 'vm/overcommit_memory'])
def test_sysctl_outside_of_net(node, key):
    hostname = pathlib.Path('/proc/sys/kernel/hostname').read_text()
    netns = node.sandbox.netns('a')
    error = node.plugin.add(node.conf(sysctl={key: '1'}), netns, 'a').failed()
    assert 'net sysctl key' in str(error)
    assert pathlib.Path('/proc/sys/kernel/hostname').read_text() == hostname
    assert [link['ifname'] for link in netns.ip('link')] == ['lo']


def test_tuning(node):
    pod = node.add(node.conf(cniVersion='1.0.0'), 'a')
    before = pod.netns.ip('link', 'show', 'eth0')[0]
    conf, plugin = chained(node, 'tuning', mac='02:11:22:33:44:55', mtu=1400, promisc=True, allmulti=True, txQLen=123,
                           sysctl={'net.ipv4.conf.eth0.log_martians': '1'})
    args = cni.with_result(conf, pod.result), pod.netns, lib.container('a')
    result = plugin.add(*args).ok()
    after = pod.netns.ip('link', 'show', 'eth0')[0]
    assert (after['address'], after['mtu'], after['txqlen']) == ('02:11:22:33:44:55', 1400, 123)
    assert after['promiscuity'] == 1 and 'ALLMULTI' in after['flags']
    assert [one['mac'] for one in result['interfaces'] if one['name'] == 'eth0'] == ['02:11:22:33:44:55']
    assert value(pod.netns, 'net.ipv4.conf.eth0.log_martians') == '1'
    backup = pathlib.Path('/run/cni/tuning') / f'{lib.container("a")}_eth0.json'
    assert json.loads(backup.read_text()) == {'mac': before['address'], 'promisc': False, 'mtu': 1500,
                                              'allmulti': False, 'txQLen': before['txqlen']}
    plugin.check(conf, pod.netns, lib.container('a'), result=result).ok()
    plugin.delete(conf, pod.netns, lib.container('a'), result=result).ok()
    again = pod.netns.ip('link', 'show', 'eth0')[0]
    assert [again[key] for key in ('address', 'mtu', 'txqlen', 'promiscuity')] == \
        [before[key] for key in ('address', 'mtu', 'txqlen', 'promiscuity')]
    assert not backup.exists()
    assert 'current value is' in str(plugin.check(conf, pod.netns, lib.container('a'), result=result).failed())
    plugin.delete(conf, pod.netns, lib.container('a'), result=result).ok()


def test_tuning_of_upstream_is_put_back(node):
    """A backup that upstream's plugin wrote before the switch is restored by our DEL."""
    if not os.path.exists('/usr/lib/cni/tuning'):
        pytest.skip('needs containernetworking-plugins')
    pod = node.add(node.conf(cniVersion='1.0.0'), 'a')
    before = pod.netns.ip('link', 'show', 'eth0')[0]
    conf, plugin = chained(node, 'tuning', mac='02:11:22:33:44:55', mtu=1400, promisc=True)
    upstream = cni.Plugin(node.build, 'tuning', program='/usr/lib/cni/tuning')
    result = upstream.add(cni.with_result(conf, pod.result), pod.netns, lib.container('a')).ok()
    plugin.delete(conf, pod.netns, lib.container('a'), result=result).ok()
    after = pod.netns.ip('link', 'show', 'eth0')[0]
    assert [after[key] for key in ('address', 'mtu')] == [before[key] for key in ('address', 'mtu')]


def test_tuning_precedence(node):
    pod = node.add(node.conf(cniVersion='1.0.0'), 'a')
    conf, plugin = chained(node, 'tuning', mac='02:00:00:00:00:01', runtimeConfig={'mac': '02:00:00:00:00:03'},
                           args={'cni': {'mac': '02:00:00:00:00:04', 'sysctl': {'net.core.somaxconn': '99'}}},
                           sysctl={'net.core.somaxconn': '98'})
    steps = [('02:00:00:00:00:04', conf), ('02:00:00:00:00:03', {**conf, 'args': None}),
             ('02:00:00:00:00:02', {**conf, 'args': None, 'runtimeConfig': None})]
    for mac, one in steps:
        plugin.add(cni.with_result(one, pod.result), pod.netns, lib.container('a'), args='MAC=02:00:00:00:00:02').ok()
        assert pod.netns.ip('link', 'show', 'eth0')[0]['address'] == mac
    assert value(pod.netns, 'net.core.somaxconn') == '98'
    plugin.add(cni.with_result(conf, pod.result), pod.netns, lib.container('a')).ok()
    assert value(pod.netns, 'net.core.somaxconn') == '99'


def test_tuning_allowlist(node):
    directory = node.sandbox.private_directory('/etc/cni/tuning')
    (directory / 'allowlist.conf').write_text('^net\\.core\\.somaxconn$\n\n  ^net\\.ipv4\\.conf\\.  \n')
    pod = node.add(node.conf(cniVersion='1.0.0'), 'a')
    for key, good in (('net.core.somaxconn', True), ('net.ipv4.conf.eth0.arp_filter', True),
                      ('net.core.somaxconn2', False), ('net.ipv6.conf.all.forwarding', False)):
        conf, plugin = chained(node, 'tuning', sysctl={key: '1'})
        done = plugin.add(cni.with_result(conf, pod.result), pod.netns, lib.container('a'))
        if good:
            done.ok()
        else:
            assert f'Sysctl {key} is not allowed' in str(done.failed())


def test_tuning_same_sysctl_twice(node):
    pod = node.add(node.conf(cniVersion='1.0.0'), 'a')
    _, plugin = chained(node, 'tuning')
    text = ('{"cniVersion": "1.0.0", "name": "net", "type": "tuning", "sysctl": {"net.core.somaxconn": "1", '
            '"net.core.somaxconn": "2"}, "prevResult": %s}' % json.dumps(pod.result))
    error = plugin.exec('ADD', text.encode(), netns=pod.netns.path, container_id='a', ifname='eth0').failed()
    assert 'duplicated sysctl keys are not allowed' in str(error)


def test_tuning_needs_a_result(node):
    conf, plugin = chained(node, 'tuning', mtu=1400)
    error = plugin.add(conf, node.sandbox.netns('a'), 'a').failed()
    assert 'chained' in str(error) or 'prevResult' in str(error)
