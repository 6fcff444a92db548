# SPDX-License-Identifier: Apache-2.0
"""A second attachment of a pod, as Multus makes it, by upstream's current plugins and by ours: results, and what is
left in the pod afterwards, are the same. Started by cni_tools.py, which makes the plugins."""

import json
import os
import pathlib
import re

import pytest

import cni
import node as lib
from node import NODE, OUTSIDE

UPSTREAM = pathlib.Path(os.environ.get('BERTH_CNI_TOOLS', '/nonexistent')) / 'upstream'
NAMES = ('eth0', 'net1')

# Routes of the first and of the second attachment. Not their mtu and advmss: the specification has them, upstream's
# plugins hand them on and do not set them.
ROUTES = {
    'same': lambda n: [{'dst': '10.99.0.0/16'}, {'dst': 'fd99::/64'}],
    'default': lambda n: [{'dst': '0.0.0.0/0'}, {'dst': '::/0'}],
    'metrics': lambda n: [{'dst': '0.0.0.0/0', 'priority': 100 - n}, {'dst': '::/0', 'priority': 50 - n},
                          {'dst': '10.99.0.0/16', 'priority': 5}],
    'tables': lambda n: [{'dst': '0.0.0.0/0', 'table': 7 + n}, {'dst': '10.98.0.0/16', 'gw': f'10.{n}.0.9'},
                         {'dst': 'fd98::/64', 'gw': f'fd00:{n}::9'}],
    'none': lambda n: [],
}
ROLES = [(first, second) for first in ('bridge', 'ptp') for second in ('bridge', 'ptp')]

# Upstream's plugins wait for each IPv6 address, so each of these takes seconds; the rest is for suite "slow".
WHOLE = os.environ.get('BERTH_SECOND_WHOLE') == '1'
EACH = [(routes, roles) for roles in ROLES for routes in ROUTES]
SOME = [('metrics', ('bridge', 'bridge')), ('tables', ('bridge', 'ptp'))]
SYSCTL = ('ipv4/conf/{}/arp_ignore', 'ipv4/conf/{}/arp_announce', 'ipv4/conf/{}/rp_filter', 'ipv4/conf/{}/forwarding',
          'ipv4/conf/{}/accept_local', 'ipv4/conf/{}/proxy_arp', 'ipv6/conf/{}/disable_ipv6', 'ipv6/conf/{}/forwarding',
          'ipv6/conf/{}/addr_gen_mode', 'ipv6/conf/{}/autoconf', 'ipv6/conf/{}/keep_addr_on_down')


def conflist(sandbox, who, n, role, routes):
    """Of the n-th network. Each says something else of the switches of all interfaces."""
    conf = {'type': role, 'dns': {'nameservers': [f'10.{n}.0.10'], 'search': [f'net{n}.example']},
            'ipam': {'type': 'host-local', 'dataDir': str(sandbox.path / 'leases'), 'routes': ROUTES[routes](n),
                     'ranges': [[{'subnet': f'10.{n}.0.0/24'}], [{'subnet': f'fd00:{n}::/64'}]]}}
    if role == 'bridge':
        conf.update(bridge=f'{who}{n}', isGateway=True, isDefaultGateway=routes == 'same')
    tuning = {'type': 'tuning', 'sysctl': {'net.ipv4.conf.all.arp_ignore': str(n + 1),
                                           'net.ipv4.conf.all.arp_announce': str(2 - n),
                                           'net.ipv4.conf.IFNAME.rp_filter': str(n + 1),
                                           f'net.ipv6.conf.{NAMES[n]}.autoconf': '0'}}
    return {'cniVersion': '1.0.0', 'name': f'{who}{n}', 'plugins': [conf, tuning]}


def plugins_of(build, who):
    kinds = ('bridge', 'ptp', 'tuning', 'portmap')
    program = (lambda kind: UPSTREAM / kind) if who == 'theirs' else (lambda kind: None)
    return {kind: cni.Plugin(build, kind, program=program(kind), path=[UPSTREAM]) for kind in kinds}


def attach(plugins, conflists, netns, name):
    results = []
    for n, one in enumerate(conflists):
        done = cni.chain(plugins, 'ADD', one, netns=netns.path, container_id=lib.container(name), ifname=NAMES[n])
        results.append(done.ok())
    return results


def detach(plugins, conflists, netns, name, n, result):
    cni.chain(plugins, 'DEL', conflists[n], result=result, netns=netns.path, container_id=lib.container(name),
              ifname=NAMES[n]).ok()


def has_local_routes(netns):
    """The kernel adds those of IPv6 addresses a moment later, in a work of its own."""
    routes = netns.run('ip', '-6', 'route', 'show', 'table', 'local').stdout
    return all(f'local {one["local"]} ' in routes for link in netns.ip('addr') if 'UP' in link['flags']
               for one in link['addr_info'] if one['family'] == 'inet6')


def state(netns):
    """Routes in the order in which the kernel asks them, addresses, switches; link-local addresses are random."""
    found = {}
    lib.wait_for(lambda: has_local_routes(netns))
    for family in ('-4', '-6'):
        lines = netns.run('ip', family, 'route', 'show', 'table', 'all').stdout.splitlines()
        # What upstream's ptp has by an order of steps, ours has by a word.
        found[family] = [' '.join(one.replace(' onlink', '').split()) for one in lines
                         if 'fe80:' not in one and 'ff00::' not in one]
    found['addresses'] = [(link['ifname'], link['mtu'], sorted(link['flags']),
                           [(one['local'], one['prefixlen'], one.get('broadcast'), one['scope'])
                            for one in link['addr_info'] if one['scope'] != 'link']) for link in netns.ip('addr')]
    where = ['all', 'default', *[one[0] for one in found['addresses']]]
    paths = [f'/proc/sys/net/{path}'.format(one) for path in SYSCTL for one in where]
    found['switches'] = netns.run('grep', '-H', '.', *paths).stdout.splitlines()
    return found


def comparable(result):
    for interface in result['interfaces']:
        for key in ('mac', 'sandbox', 'mtu'):
            interface.pop(key, None)
        interface['name'] = re.sub('^(veth).*', r'\1', interface['name'])
    return json.loads(json.dumps(result).replace('theirs', 'ours'))


@pytest.mark.parametrize('routes, roles', EACH if WHOLE else SOME, ids=str)
def test_as_upstream_leaves_it(sandbox, build, routes, roles):
    """Both attached; then the second, or the first, taken away."""
    outcomes = []
    for who in ('theirs', 'ours'):
        plugins = plugins_of(build, who)
        netns = sandbox.netns(who)
        conflists = [conflist(sandbox, who, n, role, routes) for n, role in enumerate(roles)]
        seen = []
        for gone in (1, 0):
            results = attach(plugins, conflists, netns, who)
            seen.append(state(netns))
            detach(plugins, conflists, netns, who, gone, results[gone])
            seen.append(state(netns))
            detach(plugins, conflists, netns, who, 1 - gone, results[1 - gone])
            seen.append(state(netns))
            seen.append([comparable(one) for one in results])
        outcomes.append(seen)
    for theirs, ours in zip(*outcomes):
        assert ours == theirs


@pytest.mark.parametrize('roles', ROLES[:2] if WHOLE else ROLES[1:2], ids='-'.join)
def test_host_ports(sandbox, build, roles):
    """Each attachment has ports of its own, as Multus hands them on; DEL of one leaves the other's."""
    node = lib.Node(sandbox, build)
    questions = [(where, protocol, port) for where in (node.outside, None)
                 for protocol, port in (('tcp', 8080), ('tcp', 8081), ('udp', 5300))]
    outcomes = []
    for who in ('theirs', 'ours'):
        plugins = plugins_of(build, who)
        netns = sandbox.netns(who)
        lib.sh('nft', 'flush', 'ruleset')
        conflists = [conflist(sandbox, who, n, role, 'none') for n, role in enumerate(roles)]
        # An answer leaves by the first attachment, whichever was asked.
        conflists[0]['plugins'][0]['ipam']['routes'] = [{'dst': '0.0.0.0/0'}]
        for n, one in enumerate(conflists):
            ports = [{'hostPort': 8080 + n, 'containerPort': 80, 'protocol': 'tcp'},
                     {'hostPort': 5300 + n, 'containerPort': 53, 'protocol': 'udp'}]
            one['plugins'] = [one['plugins'][0], {'type': 'portmap', 'runtimeConfig': {'portMappings': ports}}]
        results = attach(plugins, conflists, netns, who)
        servers = [node.serve(netns, 'tcp', 80, 'pod'), node.serve(netns, 'udp', 53, 'pod')]
        outcome = [[node.ask(where, protocol, NODE, port, seconds=3) for where, protocol, port in questions]]
        detach(plugins, conflists, netns, who, 1, results[1])
        outcome.append([node.ask(node.outside, 'tcp', NODE, port, seconds=1) for port in (8080, 8081)])
        detach(plugins, conflists, netns, who, 0, results[0])
        outcome.append([node.ask(node.outside, 'tcp', NODE, port, seconds=1) for port in (8080, 8081)])
        outcomes.append(outcome)
        for one in servers:
            one.kill()
            one.wait()
        netns.delete()
        for link in (f'{who}0', f'{who}1'):
            lib.sh('ip', 'link', 'del', link, check=False)
    assert outcomes[1] == outcomes[0]
    assert outcomes[1] == [[f'pod {OUTSIDE}'] * 3 + [f'pod {NODE}'] * 3, [f'pod {OUTSIDE}', 'none'], ['none'] * 2]
