# SPDX-License-Identifier: Apache-2.0
"""Pods that the upstream plugins added before the switch, and nodes with iptables: Debian's own plugins and tools."""

import os
import re
import shutil
import types

import pytest

import cni
import node as lib
from node import NODE, OUTSIDE
from test_cni_repair import Cache

UPSTREAM = '/usr/lib/cni'
pytestmark = pytest.mark.skipif(not os.path.exists(UPSTREAM + '/portmap'),
                                reason='needs containernetworking-plugins')

CHAIN = ('bridge', 'portmap', 'firewall')


@pytest.fixture(name='node')
def node_fixture(sandbox, build):
    sandbox.private_directory('/etc/alternatives-berth')  # an overlay below /etc, so that the choice of tool is ours
    return lib.Node(sandbox, build)


def use_tool(kind):
    """iptables and ip6tables of this sandbox: "nft" or "legacy"."""
    tool = f'/usr/sbin/xtables-{kind}-multi'
    if not os.path.exists(tool):
        pytest.skip('needs iptables')
    for name in ('iptables', 'ip6tables', 'iptables-save', 'ip6tables-save', 'iptables-restore', 'ip6tables-restore'):
        path = f'/etc/alternatives/{name}'
        if os.path.lexists(path):
            os.unlink(path)
        os.symlink(tool, path)
    # The kernel shows legacy tables once a tool asked for them.
    lib.sh('iptables', '-t', 'nat', '-S')
    lib.sh('iptables', '-t', 'filter', '-S')


def conflist(node, **more):
    return {'cniVersion': '1.0.0', 'name': 'net', 'plugins': [
        {'type': 'bridge', 'bridge': 'cni0', 'isDefaultGateway': True, 'ipMasq': True,
         'ipam': {'type': 'host-local', 'dataDir': str(node.sandbox.path / 'leases'),
                  'ranges': [[{'subnet': '10.1.0.0/16'}], [{'subnet': 'fd00:1::/64'}]]}, **more},
        {'type': 'portmap', 'runtimeConfig': {'portMappings': [
            {'hostPort': 8080, 'containerPort': 80, 'protocol': 'tcp'},
            {'hostPort': 8053, 'containerPort': 53, 'protocol': 'udp'}]}},
        {'type': 'firewall', 'backend': 'iptables'},
    ]}


def upstream(node):
    return {kind: cni.Plugin(node.build, kind, program=f'{UPSTREAM}/{kind}', path=[UPSTREAM]) for kind in CHAIN}


def ours(node):
    return {kind: cni.Plugin(node.build, kind) for kind in CHAIN}


def env(name, netns):
    return {'container_id': lib.container(name), 'ifname': 'eth0', 'netns': netns.path}


def tables():
    """All rules of iptables, as a set of lines without counters."""
    lines = []
    for tool in ('iptables', 'ip6tables'):
        for table in ('nat', 'filter'):
            lines += [f'{tool} {table} {line}' for line in lib.sh(tool, '-t', table, '-S').stdout.splitlines()]
    return set(lines)


@pytest.mark.parametrize('kind', ['nft', 'legacy'])
def test_rules_of_upstream_are_removed(node, kind):
    use_tool(kind)
    stay, gone = node.sandbox.netns('stay'), node.sandbox.netns('gone')
    other = conflist(node)
    other['plugins'][1]['runtimeConfig'] = {'portMappings': [
        {'hostPort': 9090, 'containerPort': 80, 'protocol': 'tcp'}]}
    cni.chain(upstream(node), 'ADD', other, **env('stay', stay)).ok()
    before = tables()
    assert any('CNI-DN-' in line for line in before)
    done = cni.chain(upstream(node), 'ADD', conflist(node), **env('gone', gone))
    assert len(tables()) > len(before) + 10
    cni.chain(ours(node), 'DEL', conflist(node), result=done.ok(), **env('gone', gone))
    assert tables() == before
    # Again, and with nothing there.
    cni.chain(ours(node), 'DEL', conflist(node), result=done.ok(), **env('gone', gone))
    assert tables() == before
    done = cni.chain(upstream(node), 'CHECK', other, result=None, **env('stay', stay))
    node.serve(stay, 'tcp', 80, 'stay')
    assert node.ask(node.outside, 'tcp', NODE, 9090) == f'stay {OUTSIDE}'


@pytest.mark.parametrize('kind', ['nft', 'legacy'])
def test_repair_takes_upstreams_pods_over(node, kind):
    """CHECK misses our rules and repair makes them. DEL left upstream's: it took the pod for one of ours."""
    use_tool(kind)
    netns = node.sandbox.netns('a')
    result = cni.chain(upstream(node), 'ADD', conflist(node), **env('a', netns)).ok()
    cache = Cache(node)
    noted = conflist(node)
    ports = noted['plugins'][1].pop('runtimeConfig')['portMappings']
    noted['plugins'][1]['capabilities'] = {'portMappings': True}
    cache.note(types.SimpleNamespace(name='a', conf=noted, netns=netns, result=result), noted['plugins'], ports)
    cni.chain(ours(node), 'CHECK', conflist(node), result=result, **env('a', netns)).failed(102)
    done = cache('repair')
    assert done.returncode == 0 and 'hostPort 8080/tcp' in done.stdout, done.stdout + done.stderr
    cni.chain(ours(node), 'CHECK', conflist(node), result=result, **env('a', netns)).ok()
    node.serve(netns, 'tcp', 80, 'a')
    assert node.ask(node.outside, 'tcp', NODE, 8080) == f'a {OUTSIDE}'
    cni.chain(ours(node), 'DEL', conflist(node), result=result, **env('a', netns)).ok()
    left = [line for line in tables() if '10.1.0.2' in line or 'fd00:1::2' in line or 'id:' in line]
    assert not left and not lib.elements()


@pytest.mark.parametrize('kind', ['nft', 'legacy'])
def test_back_to_upstream_under_a_pod(node, kind):
    """What docs/upgrade.md says of a pod that Berth added, and that upstream's plugin is to take away."""
    use_tool(kind)
    netns = node.sandbox.netns('a')
    result = cni.chain(ours(node), 'ADD', conflist(node), **env('a', netns)).ok()
    done = cni.chain(upstream(node), 'DEL', conflist(node), result=result, **env('a', netns))
    if done.code != 0:  # that of Debian 12 (1.1.1); later ones ask whether the chain is there
        chain = re.search(r"(?:Chain '|target `)(CNI-[0-9a-f]+)'", done.stdout)[1]
        lib.sh('iptables', '-t', 'nat', '-N', chain)
        cni.chain(upstream(node), 'DEL', conflist(node), result=result, **env('a', netns)).ok()
    assert not [line for line in tables() if 'id:' in line]


@pytest.mark.parametrize('kind', ['nft', 'legacy'])
def test_one_entry_after_a_chain(node, kind):
    """The conflist was replaced by one entry: its DEL takes all of the chain's rules."""
    use_tool(kind)
    before = tables()
    netns = node.sandbox.netns('a')
    result = cni.chain(upstream(node), 'ADD', conflist(node), **env('a', netns)).ok()
    assert any('-s 10.1.' in line and 'CNI-FORWARD' in line for line in tables())
    conf = node.conf(cniVersion='1.0.0', firewall=True, ipMasq=True)
    node.plugin.delete(conf, netns, lib.container('a'), result=result).ok()
    left = tables() - before
    assert not [line for line in left if '10.1.' in line or 'CNI-DN-' in line or 'id:' in line]


def test_mac_check_of_upstream_is_removed(node):
    netns = node.sandbox.netns('a')
    one = conflist(node, macspoofchk=True)
    one['plugins'] = one['plugins'][:1]
    result = cni.chain(upstream(node), 'ADD', one, **env('a', netns)).ok()
    assert 'cni-br-iface-' in lib.ruleset_text()
    cni.chain(ours(node), 'DEL', one, result=result, **env('a', netns)).ok()
    assert 'cni-br-iface-' not in lib.ruleset_text()


def test_rules_of_upstreams_nftables_backend(node):
    """Made by hand as release 1.6 and later make them: Debian's plugins are older."""
    conf = node.conf(ipMasq=True, cniVersion='1.0.0')
    netns = node.sandbox.netns('a')
    one = conflist(node)
    one['plugins'] = one['plugins'][:1]
    result = cni.chain(upstream(node), 'ADD', one, **env('a', netns)).ok()
    # sha512("net"), sha512("eth0:<id>"), 16 digits each
    import hashlib
    tag = hashlib.sha512(b'net').hexdigest()[:16] + '-' + \
        hashlib.sha512(b'eth0:' + lib.container('a').encode()).hexdigest()[:16]
    lib.sh('nft', f'''
        table inet cni_plugins_masquerade {{ chain masq_checks {{
            ip saddr 10.1.0.2 ip daddr != 10.1.0.0/16 masquerade comment "{tag}, net: net, if: eth0, id: x"
            ip saddr 10.1.0.9 ip daddr != 10.1.0.0/16 masquerade comment "other-other, net: net, if: eth0, id: y"
        }}
        }}
        table ip cni_hostport {{ chain hostports {{
            tcp dport 8080 dnat to 10.1.0.2:80 comment "{lib.container('a')}"
            tcp dport 8081 dnat to 10.1.0.9:80 comment "other"
        }}
        chain masquerading {{ ip saddr 10.1.0.2 ip daddr 10.1.0.2 masquerade comment "{lib.container('a')}"
        }}
        }}''')
    node.plugin.delete(conf, netns, lib.container('a'), result=result).ok()
    text = lib.ruleset_text()
    assert '10.1.0.2' not in text and 'saddr 10.1.0.9' in text and 'dnat to 10.1.0.9:80' in text


# --- the FORWARD chain ---

def firewall(node, **more):
    conf = {'cniVersion': '1.0.0', 'name': 'net', 'type': 'firewall', **more}
    return conf, cni.Plugin(node.build, 'firewall')


@pytest.mark.parametrize('kind', ['nft', 'legacy'])
def test_forward_policy_drop(node, kind):
    """Without the firewall plugin iptables' policy drops; with it packets pass. An accept of ours alone would not."""
    use_tool(kind)
    for tool in ('iptables', 'ip6tables'):
        lib.sh(tool, '-P', 'FORWARD', 'DROP')
    node.serve(node.outside, 'tcp', 80, 'outside')
    without = node.add(node.conf(ipMasq=True), 'without')
    assert node.is_silent(without.netns, 'tcp', OUTSIDE, 80)
    node.delete(without)
    pod = node.add(node.conf(ipMasq=True, firewall=True), 'a')
    assert node.ask(pod.netns, 'tcp', OUTSIDE, 80) == f'outside {NODE}'
    assert node.ask(pod.netns, 'tcp', lib.OUTSIDE6, 80) == f'outside {lib.NODE6}'
    node.check(pod).ok()
    # From outside only answers come in, as upstream's rules have it.
    node.outside.run('ip', 'route', 'add', '10.1.0.0/16', 'via', NODE)
    node.serve(pod.netns, 'tcp', 80, 'a')
    assert node.is_silent(node.outside, 'tcp', pod.address, 80)
    # iptables reads what stands there, and a second pod adds nothing.
    lines = tables()
    assert any(line.startswith('iptables filter -A CNI-FORWARD -m mark --mark 0x10000000/0x10000000')
               and line.endswith('-j ACCEPT') for line in lines)
    assert any(line.startswith('iptables filter -A FORWARD') and line.endswith('-j CNI-FORWARD') for line in lines)
    node.add(node.conf(ipMasq=True, firewall=True), 'b')
    assert tables() == lines
    # The admin's word comes first.
    lib.sh('iptables', '-A', 'CNI-ADMIN', '-s', pod.address, '-j', 'DROP')
    assert node.is_silent(pod.netns, 'tcp', OUTSIDE, 80)
    lib.sh('iptables', '-D', 'CNI-FORWARD', '1')
    assert 'firewall: chain ' in str(node.check(pod).failed())
    lib.sh('iptables', '-F', 'FORWARD')
    node.check(pod).failed()
    node.add(node.conf(ipMasq=True, firewall=True), 'c')
    lib.sh('iptables', '-F', 'CNI-ADMIN')
    assert node.ask(pod.netns, 'tcp', OUTSIDE, 80) == f'outside {NODE}'
    node.check(pod).ok()


def test_accept_in_another_table_does_not_help(node):
    """Why the rules stand in iptables' own chain: a drop of any base chain is final."""
    use_tool('nft')
    lib.sh('iptables', '-P', 'FORWARD', 'DROP')
    lib.sh('nft', 'table ip mine { chain forward { type filter hook forward priority -10; accept; }; }')
    node.serve(node.outside, 'tcp', 80, 'outside')
    pod = node.add(node.conf(ipMasq=True), 'a')
    assert node.is_silent(pod.netns, 'tcp', OUTSIDE, 80)


def test_firewall_without_iptables(node):
    """Nobody made a filter table: ours is what iptables-nft makes, and reads."""
    if not shutil.which('iptables-nft'):
        pytest.skip('needs iptables')
    pod = node.add(node.conf(cniVersion='1.0.0', ipMasq=True), 'a')
    conf, plugin = firewall(node, iptablesAdminChainName='MY-ADMIN')
    plugin.add(cni.with_result(conf, pod.result), pod.netns, lib.container('a')).ok()
    out = lib.sh('iptables-nft', '-S').stdout
    assert '-A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j MY-ADMIN' in out
    assert '-P FORWARD ACCEPT' in out
    plugin.check(conf, pod.netns, lib.container('a'), result=pod.result).ok()
    lib.sh('iptables-nft', '-P', 'FORWARD', 'DROP')
    node.serve(node.outside, 'tcp', 80, 'outside')
    assert node.ask(pod.netns, 'tcp', OUTSIDE, 80) == f'outside {NODE}'
    plugin.delete(conf, pod.netns, lib.container('a'), result=pod.result).ok()
    assert node.is_silent(pod.netns, 'tcp', OUTSIDE, 80)


def test_firewall_of_both_backends(node):
    """A filter table of iptables-legacy that nobody needs stands beside iptables-nft's with its policy of drop; what
    is written once is not written again: no tool is run for the second pod."""
    for tool in ('iptables-legacy', 'iptables-nft', 'strace'):
        if not shutil.which(tool):
            pytest.skip(f'needs {tool}')
    lib.sh('iptables-legacy', '-S')
    lib.sh('iptables-nft', '-P', 'FORWARD', 'DROP')
    conf = node.conf(ipMasq=True, firewall=True, runtimeConfig={'portMappings': [
        {'hostPort': 8080, 'containerPort': 80, 'protocol': 'tcp'}]})
    pod = node.add(conf, 'a')
    node.serve(node.outside, 'tcp', 80, 'outside')
    node.serve(pod.netns, 'tcp', 80, 'a')
    assert node.ask(pod.netns, 'tcp', OUTSIDE, 80) == f'outside {NODE}'
    # What was sent to a host port passes too.
    assert node.ask(node.outside, 'tcp', NODE, 8080) == f'a {OUTSIDE}'
    lib.sh('iptables-legacy', '-P', 'FORWARD', 'DROP')
    assert node.ask(pod.netns, 'tcp', OUTSIDE, 80) == f'outside {NODE}'
    trace = node.sandbox.path / 'trace'
    node.plugin.add(node.conf(ipMasq=True, firewall=True), node.sandbox.netns('b'), lib.container('b'),
                    wrapper=['strace', '-qq', '-f', '-e', 'trace=execve', '-o', str(trace)]).ok()
    assert trace.read_text().count('execve(') == 1, trace.read_text()


def test_a_subnet_is_not_its_pods(node):
    """The firewall lets the pods pass, not whoever else is in their subnet, and nobody after the last DEL."""
    use_tool('nft')
    lib.sh('iptables', '-P', 'FORWARD', 'DROP')
    node.serve(node.outside, 'tcp', 80, 'outside')
    node.outside.run('ip', 'route', 'add', '10.1.0.0/16', 'via', NODE)
    pod = node.add(node.conf(cniVersion='0.3.1', firewall=True), 'a')
    other = node.add(node.conf(), 'b')
    assert node.ask(pod.netns, 'tcp', OUTSIDE, 80) == f'outside {pod.address}'
    assert node.is_silent(other.netns, 'tcp', OUTSIDE, 80)
    node.delete(pod, result=None)
    assert lib.elements() == []


@pytest.mark.parametrize('rules, words', [
    ('table inet mine { chain f { type filter hook forward priority 0; policy drop; ct state established accept; }; }',
     'chain f of table inet mine: its policy is drop'),
    ('table inet mine { chain f { type filter hook forward priority 0; reject; }; }', 'a rule drops everything'),
    ('table inet mine { chain f { type filter hook forward priority 0; policy drop; ip saddr 10.1.0.0/16 accept; }; }',
     None),
    ('table inet mine { chain i { type filter hook input priority 0; policy drop; }; }', None),
    # Before and behind routing, where Docker, firewalld and administrators have rules too.
    ('table ip mine { chain p { type filter hook prerouting priority raw; iifname "cni0" drop; }; }',
     'chain p of table ip mine: a rule drops everything'),
    ('table inet mine { chain p { type filter hook prerouting priority 0; policy drop; }; }',
     'chain p of table inet mine: its policy is drop'),
    ('table ip mine { chain p { type filter hook postrouting priority 0; policy drop; }; }',
     'chain p of table ip mine: its policy is drop'),
    ('table inet mine { chain p { type filter hook prerouting priority 0; fib saddr . mark oif missing drop; '
     'iifname "docker0" drop; oifname "docker0" drop; ip daddr 172.17.0.2 iifname != "docker0" drop; }; }', None),
    ('table inet mine { chain p { type filter hook prerouting priority 0; policy drop; iifname "cni*" accept; }; }',
     None),
    ('table inet mine { chain p { type filter hook postrouting priority 0; oifname "docker0" drop; '
     'iifname "docker0" drop; }; }', None),
])
def test_status_names_who_drops(node, rules, words):
    """Where no rule of ours can help, STATUS says which chain it is; what may let pods pass is no reason."""
    node.plugin.status(node.conf(firewall=True)).ok()
    lib.sh('nft', rules)
    done = node.plugin.status(node.conf(firewall=True))
    if words:
        assert words in str(done.failed(50))
        node.serve(node.outside, 'tcp', 80, 'outside')
        assert node.is_silent(node.add(node.conf(ipMasq=True, firewall=True), 'a').netns, 'tcp', OUTSIDE, 80)
    else:
        done.ok()


@pytest.mark.parametrize('rule', ['iifname lo accept', 'iif lo accept', 'oif lo accept', 'iifname != lo drop'])
def test_status_of_a_chained_plugin_names_who_drops(node, rule):
    """It does not know the links of pods, and that none of them is the loopback."""
    conf, plugin = firewall(node)
    lib.sh('nft', 'table inet mine { chain f { type filter hook forward priority 0; policy drop; %s; }; }' % rule)
    assert 'chain f of table inet mine' in str(plugin.status({**conf, 'cniVersion': '1.1.0'}).failed(50))


@pytest.mark.parametrize('rule, words', [
    ('-t raw -A PREROUTING -i cni0 -j DROP', 'chain PREROUTING of table raw of iptables-legacy: a rule drops'),
    ('-t mangle -P FORWARD DROP', 'chain FORWARD of table mangle of iptables-legacy: its policy is drop'),
    ('-t mangle -A POSTROUTING -j DROP', 'chain POSTROUTING of table mangle of iptables-legacy: a rule drops'),
    ('-t raw -A PREROUTING -d 172.17.0.2 ! -i docker0 -j DROP', None),
    ('-t mangle -A PREROUTING -i docker0 -j DROP', None),
])
def test_status_names_who_drops_in_legacy(node, rule, words):
    if not shutil.which('iptables-legacy'):
        pytest.skip('needs iptables')
    lib.sh('iptables-legacy', *rule.split())
    done = node.plugin.status(node.conf(firewall=True))
    if words:
        assert words in str(done.failed(50))
    else:
        done.ok()


def test_rules_of_subnets_are_no_more(node):
    """Addresses without a subnet, as flannel's and Calico's lists of 0.3.1 have them, leave nothing, GC included."""
    use_tool('nft')
    plugin = cni.Plugin(node.build, 'firewall')
    one = {'cniVersion': '0.3.1', 'name': 'net', 'type': 'firewall'}
    for name in ('a', 'b'):
        netns = node.sandbox.netns(name)
        result = {'cniVersion': '0.3.1', 'interfaces': [{'name': 'eth0', 'sandbox': netns.path}],
                  'ips': [{'version': '4', 'address': f'10.5.0.{ord(name)}/32', 'interface': 0}]}
        netns.run('ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth1')
        plugin.add(cni.with_result(one, result), netns, name).ok()
    lines = tables()
    assert len(lib.elements('firewall')) == 2
    plugin.delete(one, None, 'a').ok()
    assert len(lib.elements('firewall')) == 1
    plugin.gc({**one, 'cniVersion': '1.1.0'}, []).ok()
    assert lib.elements() == []
    assert tables() == lines and '10.5.0' not in ' '.join(lines)


def test_firewalld_that_does_not_run(node):
    node.sandbox.private_directory('/run/dbus')
    pod = node.add(node.conf(cniVersion='1.0.0'), 'a')
    conf, plugin = firewall(node, backend='firewalld')
    error = plugin.add(cni.with_result(conf, pod.result), pod.netns, lib.container('a')).failed()
    assert 'firewalld does not run on this node' in str(error)
    plugin.delete(conf, pod.netns, lib.container('a'), result=pod.result).ok()


def test_ingress_policy_chained_behind_upstream(node):
    """Bridge by upstream, policy by us: the bridge is the first interface of the result."""
    plugins = {'bridge': upstream(node)['bridge'], 'firewall': ours(node)['firewall']}
    pods = {}
    for n, name in ((1, 'one'), (2, 'two')):
        one = conflist(node, bridge=name)
        one['name'] = name
        one['plugins'][0]['ipam']['ranges'] = [[{'subnet': f'10.{n}.0.0/16'}]]
        one['plugins'] = [one['plugins'][0], {'type': 'firewall', 'ingressPolicy': 'same-bridge'}]
        netns = node.sandbox.netns(name)
        result = cni.chain(plugins, 'ADD', one, **env(name, netns)).ok()
        pods[name] = lib.Pod(node, name, netns, result, one)
        node.serve(netns, 'tcp', 80, name)
    assert node.is_silent(pods['one'].netns, 'tcp', pods['two'].address, 80)
    assert node.ask(None, 'tcp', pods['two'].address, 80).startswith('two ')
