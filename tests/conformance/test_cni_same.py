# SPDX-License-Identifier: Apache-2.0
"""Each configuration to upstream's current plugin and to ours: both take it, with the same result, or both refuse it.
Started by cni_tools.py, which makes the plugins."""

import json
import os
import pathlib

import pytest

import cni
import node as lib

UPSTREAM = pathlib.Path(os.environ.get('BERTH_CNI_TOOLS', '/nonexistent')) / 'upstream'
NET = '10.1.0.0/24'
LEASED = {'type': 'host-local', 'subnet': NET}
BRIDGE = {'bridge': 'b0', 'isGateway': True, 'ipam': LEASED}
PREVIOUS = {'interfaces': [{'name': 'b0'}, {'name': 'HOST'}, {'name': 'eth0', 'sandbox': 'NETNS'}],
            'ips': [{'address': '10.1.0.2/24', 'gateway': '10.1.0.1', 'interface': 2}]}


def port(host_port, container_port, **more):
    return {'runtimeConfig': {'portMappings': [{'hostPort': host_port, 'containerPort': container_port,
                                                'protocol': 'tcp', **more}]}}


def with_runtime_and_args(requests, ipam):
    return [{'ipam': ipam, key: value} for one in requests
            for key, value in (('runtimeConfig', one), ('args', {'cni': one}))]


CASES = {
    'bridge': [
        {}, {'bridge': 'lo'}, {'bridge': ''}, {'bridge': 'x' * 16}, {'bridge': 'b0', 'disableContainerInterface': True},
        {'ipam': {'type': ''}}, {'ipam': {'type': 'nope'}}, {'ipam': 'x'}, {'ipam': None}, {'mtu': '5'},
        {'isGateway': 'yes'}, {'dns': {'nameservers': 'x'}},
        *[{**BRIDGE, **one} for one in (
            *[{'vlan': one} for one in (0, -1, 4095, '5', 1.5)],
            *[{'vlanTrunk': one} for one in ([{'id': 0}], [{'minID': 5}], [{'maxID': 5}], [{'minID': 5, 'maxID': 3}],
                                             'x', [{'id': 'x'}], [5])],
            {}, {'hairpinMode': True}, {'hairpinMode': True, 'promiscMode': True}, {'ipMasqBackend': 'foo'},
            {'ipMasq': True, 'ipMasqBackend': 'foo'}, {'disableContainerInterface': True}, {'isDefaultGateway': True},
            {'dns': {}}, {'dns': {'nameservers': ['1.1.1.1'], 'search': ['a'], 'domain': 'd', 'options': ['o']}},
            {'args': {'cni': {'mac': 'xx'}}}, {'args': {'cni': {'mac': '02:00:00:00:00:01'}}}, {'args': 'x'},
            {'args': {'cni': 'x'}}, {'runtimeConfig': 'x'}, {'runtimeConfig': []},
            *[{'runtimeConfig': {'mac': one}} for one in ('02-00-00-00-00-01', '0200.0000.0001', '')])]],
    'host-local': [
        *[{'ipam': {**LEASED, **one}} for one in (
            {}, {'rangeStart': '10.1.0.5'}, {'rangeEnd': '10.1.0.1'}, {'gateway': '10.1.0.2'}, {'gateway': 'x'},
            {'routes': [{'dst': '1.2.3.4/8'}]}, {'routes': [{'dst': 'x'}]}, {'routes': 'x'}, {'resolvConf': '/nope'},
            {'routes': [{'dst': '0.0.0.0/0', 'gw': '10.1.0.9', 'mtu': 1400, 'advmss': 1300, 'priority': 5, 'table': 7,
                         'scope': 253}]},
            {'ranges': [[{'subnet': '10.2.0.0/24'}]]}, {'ranges': [[{'subnet': '10.1.0.0/25'}]]}, {'subnet': 5},
            {'subnet': '10.1.0.0'}, {'subnet': '10.1.0.1/24'}, {'subnet': '10.1.0.0/31'}, {'subnet': '010.1.0.0/24'},
            {'subnet': 'fd00::/64'}, {'subnet': 'fd00::/127'})],
        *[{'ipam': {'type': 'host-local', **one}} for one in (
            {}, {'ranges': []}, {'ranges': [[]]}, {'ranges': 'x'}, {'ranges': [[{'rangeStart': '10.1.0.5'}]]},
            {'ranges': [[{'subnet': NET, 'rangeStart': '10.1.0.5', 'rangeEnd': '10.1.0.5'}],
                        [{'subnet': 'fd00::/120'}]]},
            {'ranges': [[{'subnet': NET, 'rangeStart': '10.1.0.0'}]]},
            {'ranges': [[{'subnet': NET, 'rangeEnd': '10.1.0.255'}]]},
            {'ranges': [[{'subnet': NET, 'rangeStart': '10.1.0.9', 'rangeEnd': '10.1.0.8'}]]},
            {'ranges': [[{'subnet': NET, 'rangeStart': '10.1.0.1', 'rangeEnd': '10.1.0.1'}]]},
            {'ranges': [[{'subnet': NET}, {'subnet': 'fd00::/64'}]]})],
        *with_runtime_and_args([{'ips': one} for one in (
            ['10.1.0.7'], ['10.1.0.7/24'], ['10.1.0.1'], ['10.1.0.0'], ['10.1.0.255'], ['10.9.0.1'], ['x'], 'x', [],
            ['10.1.0.7', '10.1.0.8'])], LEASED),
        *[{'ipam': ipam, 'runtimeConfig': {'ipRanges': one}} for ipam in (LEASED, {'type': 'host-local'})
          for one in ([[{'subnet': '10.5.0.0/24'}]], [], [[]], 'x', [[{'subnet': 'fd00::/64'}]])]],
    'static': [
        *[{'ipam': {'type': 'static', **one}} for one in (
            {}, {'addresses': []}, {'addresses': 'x'}, {'addresses': [{}]}, {'addresses': [{'address': '10.1.0.5/24'}]},
            {'addresses': [{'address': '10.1.0.5'}]},
            {'addresses': [{'address': '10.1.0.5/24', 'gateway': '10.1.0.1'}], 'routes': [{'dst': '0.0.0.0/0'}],
             'dns': {'nameservers': ['1.1.1.1']}},
            {'addresses': [{'address': '10.1.0.5/24', 'gateway': '10.9.0.1'}]},
            {'addresses': [{'address': '10.1.0.5/24', 'gateway': 'fd00::1'}]},
            {'addresses': [{'address': '10.1.0.5/24'}, {'address': 'fd00::5/64', 'gateway': 'fd00::1'}]})],
        *with_runtime_and_args([{'ips': one} for one in (['10.1.0.7/24'], ['10.1.0.7'], [],
                                                         ['10.1.0.7/24', 'fd00::2/64'])], {'type': 'static'})],
    'portmap': [{}, *[{'prevResult': PREVIOUS, **one} for one in (
        {}, {'runtimeConfig': {'portMappings': []}}, port(0, 1), port(70000, 1), port(1, 70000), {'snat': 'x'},
        {'markMasqBit': 40}, {'backend': 'foo'}, {'backend': 'foo', **port(80, 1)},
        {'markMasqBit': 1, 'externalSetMarkChain': 'x'}, {'conditionsV4': 'x'}, {'conditionsV4': []},
        {'runtimeConfig': {'portMappings': 'x'}})]],
    'bandwidth': [*[{'prevResult': PREVIOUS, **one} for one in (
        {}, {'ingressRate': 1}, {'ingressBurst': 1}, {'ingressRate': -1, 'ingressBurst': 1}, {'ingressRate': 'x'},
        {'ingressRate': 8000, 'ingressBurst': 2 ** 40}, {'egressRate': 8000, 'egressBurst': 8000},
        {'runtimeConfig': {'bandwidth': {'ingressRate': 8000, 'ingressBurst': 8000}}})]],
    'firewall': [{}, *[{'prevResult': PREVIOUS, **one} for one in ({}, {'ingressPolicy': 'x'}, {'backend': 'x'})],
                 {'prevResult': {'interfaces': [], 'ips': []}}],
    'tuning': [{}, *[{'prevResult': PREVIOUS, **one} for one in (
        {}, {'sysctl': {'net.ipv4.conf.all.log_martians': '1'}}, {'sysctl': {'kernel.x': '1'}},
        {'sysctl': {'net.x.y': '1'}}, {'sysctl': 'x'}, {'sysctl': {'net.core.somaxconn': 5}}, {'mac': 'x'},
        {'mac': '02:00:00:00:00:01'}, {'mtu': 1400}, {'mtu': -1}, {'mtu': 'x'}, {'promisc': True}, {'allmulti': True},
        {'txQLen': 5}, {'args': {'cni': {'mac': '02:00:00:00:00:02'}}})]],
    'loopback': [{}, {'ipam': {'type': 'x'}}, {'prevResult': PREVIOUS}],
    'ptp': [{}, *[{'ipam': LEASED, **one} for one in (
        {}, {'ipMasq': True}, {'mtu': 1400}, {'mtu': 'x'}, {'ipMasqBackend': 'foo', 'ipMasq': True},
        {'dns': {'nameservers': ['1.1.1.1']}})]],
}


def comparable(result):
    """Without what is chosen anew for each pod."""
    if result.get('dns') == {}:
        del result['dns']
    for interface in result.get('interfaces', []):
        for key in ('mac', 'name', 'mtu', 'sandbox'):
            interface.pop(key, None)
    return result


def ask(node, number, role, conf, plugin):
    name = f'{"theirs" if plugin.program.is_relative_to(UPSTREAM) else "ours"}{number}'
    netns, host = node.sandbox.netns(name), f'v{name}'
    if role in ('bandwidth', 'tuning'):
        lib.sh('ip', 'link', 'add', host, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name)
    conf = json.loads(json.dumps(conf).replace('NETNS', netns.path).replace('HOST', host))
    if isinstance(conf.get('ipam'), dict) and conf['ipam'].get('type') == 'host-local':
        conf['ipam']['dataDir'] = str(node.sandbox.path / name)
    conf = {'cniVersion': '1.0.0', 'name': 'net', 'type': role, **conf}
    done = plugin.add(conf, netns, name)
    plugin.delete(conf, netns, name)
    netns.delete()
    for link in ('b0', host):
        lib.sh('ip', 'link', 'del', link, check=False)
    return comparable(done.json) if done.code == 0 else None


@pytest.mark.deadline(300)
@pytest.mark.parametrize('role', list(CASES))
def test_same(sandbox, build, role):
    node = lib.Node(sandbox, build)
    theirs = cni.Plugin(build, role, program=UPSTREAM / role, path=[UPSTREAM])
    ours = cni.Plugin(build, role)
    differ = []
    for number, conf in enumerate(CASES[role]):
        expected, got = (ask(node, number, role, conf, plugin) for plugin in (theirs, ours))
        if got != expected:
            differ.append(f'{json.dumps(conf)}\n    theirs {expected}\n    ours   {got}')
    assert not differ, '\n'.join(differ)
