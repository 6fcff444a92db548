# SPDX-License-Identifier: Apache-2.0
"""Masquerade, host ports, MAC check, ingress policy: one exec, real traffic, nothing left behind."""

import concurrent.futures
import ipaddress
import json
import os
import re
import shutil
import signal
import subprocess

import pytest

import cni
import node as lib
from node import NODE, NODE_SECOND, OUTSIDE, OUTSIDE6


@pytest.fixture(name='node')
def node_fixture(sandbox, build):
    return lib.Node(sandbox, build)


def ports(*mappings):
    """(host port, pod port[, protocol[, host address]]) as the runtime sends them."""
    keys = ('hostPort', 'containerPort', 'protocol', 'hostIP')
    return {'portMappings': [{**{'protocol': 'tcp'}, **dict(zip(keys, one))} for one in mappings]}


# --- masquerade ---

def test_masquerade(node):
    pod = node.add(node.conf(ipMasq=True), 'a')
    other = node.add(node.conf(ipMasq=True), 'b')
    node.serve(node.outside, 'tcp', 80, 'outside')
    node.serve(other.netns, 'tcp', 80, 'b')
    assert node.ask(pod.netns, 'tcp', OUTSIDE, 80) == f'outside {NODE}'
    assert node.ask(pod.netns, 'tcp', OUTSIDE6, 80) == f'outside {lib.NODE6}'
    assert node.ask(pod.netns, 'tcp', other.address, 80) == f'b {pod.address}'
    assert node.ask(pod.netns, 'tcp', other.address6, 80) == f'b {pod.address6}'
    node.check(pod).ok()
    text = lib.ruleset_text()
    assert 'ip saddr @masq-10.1.0.0-16 ip daddr != 10.1.0.0/16 ip daddr != 224.0.0.0/4 masquerade' in text
    node.delete(pod)
    assert len(lib.elements('masq-10.1.0.0-16')) == 1
    node.delete(other)
    assert lib.elements() == []


def test_no_masquerade_without_ipmasq(node):
    pod = node.add(node.conf(), 'a')
    node.outside.run('ip', 'route', 'add', '10.1.0.0/16', 'via', NODE)
    node.serve(node.outside, 'tcp', 80, 'outside')
    assert node.ask(pod.netns, 'tcp', OUTSIDE, 80) == f'outside {pod.address}'
    assert lib.ruleset() == [one for one in lib.ruleset() if 'metainfo' in one]


def test_unknown_masquerade_backend(node):
    netns = node.sandbox.netns('a')
    error = node.plugin.add(node.conf(ipMasq=True, ipMasqBackend='pf'), netns, 'a').failed()
    assert 'unknown ipmasq backend "pf"' in str(error)
    node.delete(node.add(node.conf(ipMasqBackend='pf'), 'none'))
    for backend in ('iptables', 'nftables'):
        conf = node.conf(ipMasq=True, ipMasqBackend=backend)
        node.delete(node.add(conf, backend))


def test_check_names_what_is_missing(node):
    pod = node.add(node.conf(ipMasq=True), 'a')
    lib.sh('nft', 'delete', 'element', 'ip', 'berth', 'masq-10.1.0.0-16', '{', pod.address, '}')
    error = node.check(pod).failed()
    assert f'masquerade of {pod.address} is missing' in str(error)


def test_stale_owner_is_replaced(node):
    """The address of a pod that was never deleted is given to the next one, and the old DEL leaves that alone."""
    conf = node.conf(ipMasq=True, ipam={'type': 'static', 'addresses': [{'address': '10.1.0.9/16'}]})
    old = node.add(conf, 'old')
    new = node.add(conf, 'new')
    assert len(lib.elements('masq-10.1.0.0-16')) == 1
    node.delete(old)
    assert len(lib.elements('masq-10.1.0.0-16')) == 1
    node.check(new).ok()
    node.delete(new)
    assert lib.elements() == []


# --- host ports ---

def test_host_port(node):
    conf = node.conf(ipMasq=True, runtimeConfig=ports((8080, 80), (8053, 53, 'udp')))
    pod = node.add(conf, 'a')
    other = node.add(node.conf(ipMasq=True), 'b')
    node.serve(pod.netns, 'tcp', 80, 'a')
    node.serve(pod.netns, 'udp', 53, 'dns')
    # From outside the address of the asker stays; from the node, the pod itself and its neighbour the answer comes.
    assert node.ask(node.outside, 'tcp', NODE, 8080) == f'a {OUTSIDE}'
    assert node.ask(node.outside, 'udp', NODE, 8053) == f'dns {OUTSIDE}'
    assert node.ask(node.outside, 'tcp', lib.NODE6, 8080) == f'a {OUTSIDE6}'
    assert node.ask(None, 'tcp', NODE, 8080).startswith('a ')
    assert node.ask(None, 'tcp', '127.0.0.1', 8080) == 'a 10.1.0.1'
    assert node.ask(None, 'udp', '127.0.0.1', 8053) == 'dns 10.1.0.1'
    assert node.ask(None, 'tcp', lib.NODE6, 8080).startswith('a ')
    assert node.ask(pod.netns, 'tcp', NODE, 8080) == 'a 10.1.0.1'
    assert node.ask(pod.netns, 'tcp', lib.NODE6, 8080) == 'a fd00:1::1'
    assert node.ask(other.netns, 'tcp', NODE, 8080) == 'a 10.1.0.1'
    assert node.ask(other.netns, 'udp', NODE, 8053) == 'dns 10.1.0.1'
    # Not a port of this node: it is left alone.
    node.serve(node.outside, 'tcp', 8080, 'outside')
    assert node.ask(pod.netns, 'tcp', OUTSIDE, 8080) == f'outside {NODE}'
    node.check(pod).ok()
    node.delete(pod)
    assert node.is_silent(node.outside, 'tcp', NODE, 8080)
    node.delete(other)
    assert lib.elements() == []


@pytest.mark.skipif('not __import__("os").path.exists("/proc/sys/net/sctp")', reason='this kernel has no SCTP')
def test_host_port_sctp(node):
    pod = node.add(node.conf(runtimeConfig=ports((8080, 80, 'sctp'))), 'a')
    node.serve(pod.netns, 'sctp', 80, 'a')
    assert node.ask(node.outside, 'sctp', NODE, 8080) == f'a {OUTSIDE}'


def test_host_port_elements(node):
    """What is in the maps does not depend on having a peer that speaks the protocol."""
    pod = node.add(node.conf(runtimeConfig=ports((8080, 80, 'SCTP'), (81, 80, 'tcp', NODE_SECOND))), 'a')
    text = lib.ruleset_text()
    assert 'sctp . 8080 comment "' in text and f': {pod.address} . 80' in text
    assert f'{NODE_SECOND} . tcp . 81 comment "' in text
    node.delete(pod)
    assert lib.elements() == []


def test_host_address(node):
    """Of two pods with one port, each answers at its own address; both families of "any" are any."""
    first = node.add(node.conf(runtimeConfig=ports((8080, 80, 'tcp', NODE))), 'first')
    second = node.add(node.conf(runtimeConfig=ports((8080, 80, 'tcp', NODE_SECOND))), 'second')
    anyone = node.add(node.conf(runtimeConfig=ports((8081, 80, 'tcp', '0.0.0.0'), (8082, 80, 'tcp', '::'))), 'any')
    for pod in (first, second, anyone):
        node.serve(pod.netns, 'tcp', 80, pod.name)
    assert node.ask(node.outside, 'tcp', NODE, 8080) == f'first {OUTSIDE}'
    assert node.ask(node.outside, 'tcp', NODE_SECOND, 8080) == f'second {OUTSIDE}'
    assert node.is_silent(node.outside, 'tcp', lib.NODE6, 8080)
    assert node.ask(node.outside, 'tcp', NODE, 8081) == f'any {OUTSIDE}'
    assert node.is_silent(node.outside, 'tcp', lib.NODE6, 8081)
    assert node.ask(node.outside, 'tcp', lib.NODE6, 8082) == f'any {OUTSIDE6}'
    assert node.is_silent(node.outside, 'tcp', NODE, 8082)
    for pod in (first, second, anyone):
        node.delete(pod)
    assert lib.elements() == []


def test_host_port_conflict(node):
    conf = node.conf(ipMasq=True, runtimeConfig=ports((8080, 80)))
    first = node.add(conf, 'first')
    before = lib.elements()
    second = node.sandbox.netns('second')
    error = node.plugin.add(conf, second, lib.container('second')).failed()
    assert 'hostPort 8080/tcp is taken by container' in str(error) and 'of network net' in str(error)
    assert lib.container('first')[:20] in str(error)
    assert lib.elements() == before
    assert [link['ifname'] for link in second.ip('link')] == ['lo']
    # The failed one's DEL takes nothing from the first; then the port is free.
    node.plugin.delete(conf, second, lib.container('second')).ok()
    assert lib.elements() == before
    node.serve(first.netns, 'tcp', 80, 'first')
    assert node.ask(node.outside, 'tcp', NODE, 8080) == f'first {OUTSIDE}'
    node.delete(first)
    node.delete(node.add(conf, 'third'))
    assert lib.elements() == []


def test_port_of_a_dead_pod(node):
    """A pod whose namespace vanished without DEL does not hold its ports."""
    conf = node.conf(runtimeConfig=ports((8080, 80)))
    dead = node.add(conf, 'dead')
    dead.netns.delete()
    lib.sh('ip', 'link', 'del', dead.host_link, check=False)
    new = node.add(conf, 'new')
    node.serve(new.netns, 'tcp', 80, 'new')
    assert node.ask(node.outside, 'tcp', NODE, 8080) == f'new {OUTSIDE}'
    node.delete(dead)
    assert node.ask(node.outside, 'tcp', NODE, 8080) == f'new {OUTSIDE}'
    node.check(new).ok()


def test_udp_flow_moves(node):
    """A client that keeps its port reaches the next pod: conntrack forgets the old one."""
    conf = node.conf(runtimeConfig=ports((8053, 53, 'udp')))
    first = node.add(conf, 'first')
    node.serve(first.netns, 'udp', 53, 'first')
    assert node.ask(node.outside, 'udp', NODE, 8053, 40000) == f'first {OUTSIDE}'
    node.delete(first)
    second = node.add(conf, 'second')
    node.serve(second.netns, 'udp', 53, 'second')
    assert node.ask(node.outside, 'udp', NODE, 8053, 40000) == f'second {OUTSIDE}'


def test_udp_flow_from_before(node):
    """Questions that came before there was a pod do not pin the flow to the node."""
    assert node.is_silent(node.outside, 'udp', NODE, 8053, 40000)
    pod = node.add(node.conf(runtimeConfig=ports((8053, 53, 'udp'))), 'a')
    node.serve(pod.netns, 'udp', 53, 'a')
    assert node.ask(node.outside, 'udp', NODE, 8053, 40000) == f'a {OUTSIDE}'


def test_no_snat(node):
    conf = node.conf(snat=False, runtimeConfig=ports((8080, 80)))
    pod = node.add(conf, 'a')
    node.serve(pod.netns, 'tcp', 80, 'a')
    assert node.ask(node.outside, 'tcp', NODE, 8080) == f'a {OUTSIDE}'
    assert node.is_silent(None, 'tcp', '127.0.0.1', 8080)
    assert 'ports-snat' not in lib.ruleset_text()


def test_masq_all(node):
    conf = node.conf(masqAll=True, runtimeConfig=ports((8080, 80)))
    pod = node.add(conf, 'a')
    node.serve(pod.netns, 'tcp', 80, 'a')
    assert node.ask(node.outside, 'tcp', NODE, 8080) == 'a 10.1.0.1'
    assert node.ask(None, 'tcp', '127.0.0.1', 8080) == 'a 10.1.0.1'
    node.delete(pod)
    assert lib.elements() == []


@pytest.mark.parametrize('words', [
    ['!', '-s', OUTSIDE], ['-s', '198.51.100.0/24'], ['!', '-i', 'upl+'], ['ip', 'saddr', '!=', f'{OUTSIDE}/32'],
    ['ip daddr != 192.0.2.1'], ['iifname', '!=', '"uplink"'], ['-d', NODE_SECOND, '-m', 'comment', '--comment', 'x'],
])
def test_conditions_keep_out(node, words):
    pod = node.add(node.conf(conditionsV4=words, runtimeConfig=ports((8080, 80))), 'a')
    node.serve(pod.netns, 'tcp', 80, 'a')
    assert node.is_silent(node.outside, 'tcp', NODE, 8080)
    assert node.ask(node.outside, 'tcp', lib.NODE6, 8080) == f'a {OUTSIDE6}'
    node.delete(pod)
    assert lib.elements() == []


@pytest.mark.parametrize('words', [['-s', OUTSIDE], ['ip', 'saddr', '192.0.2.0/24'], ['-i', 'upl+'], []])
def test_conditions_let_in(node, words):
    pod = node.add(node.conf(conditionsV4=words, runtimeConfig=ports((8080, 80))), 'a')
    node.serve(pod.netns, 'tcp', 80, 'a')
    assert node.ask(node.outside, 'tcp', NODE, 8080) == f'a {OUTSIDE}'


@pytest.mark.parametrize('more, words', [
    ({'conditionsV4': ['-m', 'statistic', '--mode', 'random']}, 'conditionsV4: "statistic" is not supported'),
    ({'conditionsV6': ['ct', 'state', 'new']}, 'conditionsV6: "ct" is not supported'),
    ({'conditionsV4': ['-s', '2001:db8::1']}, 'other address family'),
    ({'externalSetMarkChain': 'MY-MARK'}, 'externalSetMarkChain "MY-MARK" is not supported'),
    ({'externalSetMarkChain': 'X', 'markMasqBit': 1}, 'Cannot specify externalSetMarkChain and markMasqBit'),
    ({'markMasqBit': 32}, 'MasqMarkBit must be between 0 and 31'),
    ({'runtimeConfig': ports((0, 80))}, 'Invalid host port number: 0'),
    ({'runtimeConfig': ports((80, 0))}, 'Invalid container port number: 0'),
    ({'runtimeConfig': ports((80, 80, 'icmp'))}, 'protocol "icmp" is not supported'),
    ({'runtimeConfig': ports((80, 80), (80, 81))}, 'hostPort 80/tcp is mapped twice'),
])
def test_refused_by_name(node, more, words):
    netns = node.sandbox.netns('a')
    conf = node.conf(**{'runtimeConfig': ports((8080, 80)), **more})
    error = node.plugin.add(conf, netns, 'a').failed()
    assert words in str(error) and error['code'] == (2 if 'not supported' in words else 7)
    assert [link['ifname'] for link in netns.ip('link')] == ['lo']


def test_keys_as_containerd_sends_them(node):
    conf = node.conf(runtimeConfig={'portMappings': [
        {'HostPort': 8080, 'ContainerPort': 80, 'Protocol': 'tcp', 'HostIP': ''}]})
    pod = node.add(conf, 'a')
    node.serve(pod.netns, 'tcp', 80, 'a')
    assert node.ask(node.outside, 'tcp', NODE, 8080) == f'a {OUTSIDE}'


# --- many at once, and a ruleset that was saved ---

def at_once(node, confs):
    """ADDs started together: Done of each."""
    pods = [node.sandbox.netns(f'p{i}') for i in range(len(confs))]
    with concurrent.futures.ThreadPoolExecutor(len(confs)) as pool:
        return list(pool.map(lambda i: node.plugin.add(confs[i], pods[i], lib.container(f'p{i}')), range(len(confs))))


def test_many_at_once_on_a_fresh_node(node):
    """Tables, chains and sets are made by whoever comes first, once; nobody fails."""
    done = at_once(node, [node.conf(ipMasq=True, runtimeConfig=ports((8000 + i, 80))) for i in range(40)])
    results = [one.ok() for one in done]
    assert len({one['ips'][0]['address'] for one in results}) == 40
    text = lib.ruleset_text()
    assert text.count('fib daddr type local jump ports\n') == 4  # two hooks, two families
    assert text.count('@masq-10.1.0.0-16 ip daddr') == 1
    for i, result in enumerate(results):
        node.plugin.check(node.conf(ipMasq=True, runtimeConfig=ports((8000 + i, 80))), f'/run/netns/p{i}',
                          lib.container(f'p{i}'), result=result).ok()
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        list(pool.map(lambda i: node.plugin.delete(
            node.conf(ipMasq=True, runtimeConfig=ports((8000 + i, 80))), f'/run/netns/p{i}', lib.container(f'p{i}'),
            result=results[i]).ok(), range(40)))
    assert lib.elements() == []


def test_one_port_for_many_at_once(node):
    conf = node.conf(runtimeConfig=ports((8080, 80)))
    done = at_once(node, [conf] * 12)
    assert len([one for one in done if one.code == 0]) == 1
    for one in done:
        assert one.code == 0 or 'hostPort 8080/tcp is taken by container' in str(one.failed())
    assert len(lib.elements('ports', 'ip')) == 1


def test_ruleset_that_was_saved(node):
    """What nft prints it also loads; then the pods are still whose they were."""
    conf = node.conf(ipMasq=True, macspoofchk=True, ingressPolicy='same-bridge', masqAll=False,
                     conditionsV4=['!', '-s', '198.51.100.0/24', '-i', 'upl+'],
                     runtimeConfig=ports((8080, 80), (8053, 53, 'udp'), (8081, 80, 'tcp', NODE)))
    pod = node.add(conf, 'a')
    text = lib.ruleset_text()
    saved = node.sandbox.path / 'ruleset'
    saved.write_text('flush ruleset\n' + text)
    lib.sh('nft', '-f', saved)
    assert lib.ruleset_text() == text
    node.check(pod).ok()
    node.serve(pod.netns, 'tcp', 80, 'a')
    assert node.ask(node.outside, 'tcp', NODE, 8080) == f'a {OUTSIDE}'
    node.delete(pod)
    assert [one for one in lib.elements() if one[1] not in ('isolated', 'same-bridge')] == []


@pytest.mark.parametrize('family, more', [
    ('ip', {'ipMasq': True}), ('ip6', {'ipMasq': True}), ('ip', {'runtimeConfig': ports((8080, 80))}),
    ('ip', {'ingressPolicy': 'same-bridge'}), ('bridge', {'macspoofchk': True})])
def test_table_that_was_flushed(node, family, more):
    """The elements are there, and no rule looks for them: CHECK tells what to do, and that does it."""
    pod = node.add(node.conf(**more), 'a')
    node.check(pod).ok()
    lib.sh('nft', 'flush', 'table', family, 'berth')
    assert 'has lost its rules: delete the table' in str(node.check(pod).failed())
    lib.sh('nft', 'delete', 'table', family, 'berth')
    other = node.add(node.conf(**{**more, 'runtimeConfig': ports((8081, 80))}), 'b')
    node.check(other).ok()


def test_ruleset_that_was_flushed(node):
    """CHECK tells, the next ADD makes what is missing, and DEL does not mind."""
    pod = node.add(node.conf(ipMasq=True, runtimeConfig=ports((8080, 80))), 'a')
    lib.sh('nft', 'flush', 'ruleset')
    assert 'is missing' in str(node.check(pod).failed())
    other = node.add(node.conf(ipMasq=True, runtimeConfig=ports((8080, 80))), 'b')
    node.check(other).ok()
    node.delete(pod)
    node.check(other).ok()


@pytest.mark.parametrize('text', ['set masq-10.1.0.0-16 { type inet_service\n }',
                                  'map ports { type inet_service : verdict\n }'])
def test_table_of_somebody_else(node, text):
    lib.sh('nft', f'table ip berth {{\n {text}\n }}')
    conf = node.conf(ipMasq=True, runtimeConfig=ports((8080, 80)))
    netns = node.sandbox.netns('a')
    assert 'table berth holds a set of another shape' in str(node.plugin.add(conf, netns, 'a').failed())
    node.plugin.delete(conf, netns, 'a').ok()
    node.plugin.gc(conf, []).ok()
    lib.sh('nft', 'delete', 'table', 'ip', 'berth')
    node.plugin.add(conf, netns, 'a').ok()


# --- a kernel without nftables ---

def without_nftables(n):
    """The n-th socket of the plugin is the one for netfilter: the kernel says that it has no such protocol."""
    if not shutil.which('strace'):
        pytest.skip('needs strace')
    return ['strace', '-qq', '-o', '/dev/null', '-e', f'inject=socket:error=EPROTONOSUPPORT:when={n}+']


def test_without_nftables(node):
    conf = node.conf(ipMasq=True)
    pod = node.add(conf, 'a')
    error = node.plugin.status(conf, wrapper=without_nftables(2)).failed(50)
    assert 'nftables is missing' in str(error)
    node.plugin.status(node.conf(), wrapper=without_nftables(2)).ok()
    other = node.sandbox.netns('b')
    error = node.plugin.add(conf, other, 'b', wrapper=without_nftables(4)).failed()
    assert 'this kernel has no nftables' in str(error)
    assert [link['ifname'] for link in other.ip('link')] == ['lo']
    node.plugin.add(node.conf(), other, 'b', wrapper=without_nftables(4)).ok()
    # There can be no rules either, so DEL is done.
    node.delete(pod, wrapper=without_nftables(3))


# --- DEL, GC ---

def test_delete_without_anything(node):
    """Without prevResult, ports, namespace: everything of the pod goes, and nothing of others."""
    conf = node.conf(ipMasq=True, macspoofchk=True, runtimeConfig=ports((8080, 80), (8053, 53, 'udp')))
    other = node.add(node.conf(ipMasq=True, macspoofchk=True, runtimeConfig=ports((9090, 80))), 'other')
    before = sorted(lib.elements())
    pod = node.add(conf, 'a')
    node.delete(pod, conf=node.conf(), netns=None, result=None)
    assert sorted(lib.elements()) == before
    node.delete(pod, conf=node.conf(), netns=None, result=None)
    node.check(other).ok()


def test_delete_with_other_ports_than_add(node):
    pod = node.add(node.conf(runtimeConfig=ports((8080, 80), (8081, 81))), 'a')
    node.delete(pod, conf=node.conf(runtimeConfig=ports((8080, 80))))
    assert lib.elements() == []


def test_gc(node):
    conf = node.conf(ipMasq=True, macspoofchk=True, runtimeConfig=ports((8080, 80)))
    second = {**conf, 'name': 'second', 'bridge': 'cni1', 'runtimeConfig': ports((8081, 80)),
              'ipam': {**conf['ipam'], 'ranges': [[{'subnet': '10.2.0.0/16'}]]}}
    keep = node.add({**conf, 'runtimeConfig': ports((9090, 80))}, 'keep')
    foreign = node.add(second, 'foreign')
    before = sorted(lib.elements())
    node.add(conf, 'lost')
    node.plugin.gc({key: value for key, value in conf.items() if key != 'runtimeConfig'},
                   [(lib.container('keep'), 'eth0')]).ok()
    assert sorted(lib.elements()) == before
    node.check(keep).ok()
    node.check(foreign).ok()


def test_long_names(node):
    """Names of any length: hashed or cut in comments, the same on DEL and GC."""
    conf = node.conf(name='n' * 200, ipMasq=True, runtimeConfig=ports((8080, 80)))
    netns = node.sandbox.netns('a')
    container = 'c' * 200
    result = node.plugin.add(conf, netns, container).ok()
    node.plugin.gc(conf, [(container, 'eth0')]).ok()
    assert len(lib.elements('ports')) == 2
    error = node.plugin.add(conf, node.sandbox.netns('b'), 'other').failed()
    assert 'is taken by container ccc' in str(error)
    node.plugin.delete(conf, netns, container, result=result).ok()
    assert lib.elements() == []


# --- MAC check ---

def test_mac_spoof_check(node):
    pod = node.add(node.conf(macspoofchk=True), 'a')
    free = node.add(node.conf(), 'b')
    node.serve(None, 'tcp', 80, 'node')
    node.check(pod).ok()
    assert node.ask(pod.netns, 'tcp', '10.1.0.1', 80) == f'node {pod.address}'
    for one in (pod, free):
        one.netns.run('ip', 'link', 'set', 'eth0', 'address', '02:00:00:00:00:99')
    assert node.is_silent(pod.netns, 'tcp', '10.1.0.1', 80)
    assert node.ask(free.netns, 'tcp', '10.1.0.1', 80) == f'node {free.address}'
    node.delete(pod)
    node.delete(free)
    assert lib.elements() == []


# --- ingress policy ---

def test_ingress_policy(node):
    """same-bridge keeps bridges apart; isolated also the pods of one bridge, if bridged packets are filtered."""
    def conf(name, n, policy):
        return node.conf(name=name, bridge=name, ingressPolicy=policy,
                         ipam={'type': 'host-local', 'dataDir': str(node.sandbox.path / 'leases'),
                               'ranges': [[{'subnet': f'10.{n}.0.0/16'}]]})
    one = node.add(conf('one', 1, 'same-bridge'), 'a')
    same = node.add(conf('one', 1, 'same-bridge'), 'b')
    two = node.add(conf('two', 2, 'same-bridge'), 'c')
    opened = node.add(conf('open', 3, 'open'), 'd')
    for pod in (one, same, two, opened):
        node.serve(pod.netns, 'tcp', 80, pod.name)
    assert node.ask(one.netns, 'tcp', same.address, 80) == f'b {one.address}'
    assert node.is_silent(one.netns, 'tcp', two.address, 80)
    assert node.is_silent(two.netns, 'tcp', one.address, 80)
    assert node.ask(one.netns, 'tcp', opened.address, 80) == f'd {one.address}'
    assert node.ask(opened.netns, 'tcp', one.address, 80) == f'a {opened.address}'
    # The policy of a bridge is that of its latest pod.
    node.add(conf('one', 1, 'isolated'), 'e')
    lib.sh('modprobe', 'br_netfilter', check=False)
    lib.sh('sysctl', '-qw', 'net.bridge.bridge-nf-call-iptables=1')
    assert node.is_silent(one.netns, 'tcp', same.address, 80)
    assert node.ask(one.netns, 'tcp', opened.address, 80) == f'd {one.address}'


def test_unknown_ingress_policy(node):
    error = node.plugin.add(node.conf(ingressPolicy='shut'), node.sandbox.netns('a'), 'a').failed()
    assert 'unknown ingress policy: "shut"' in str(error)


# --- large numbers ---

def test_as_many_ports_as_are_promised(node):
    """1024 host ports are the first pod's of a node: nothing of the tables is there yet. One more is refused."""
    many = [(20000 + i, 80 + i % 7, 'tcp' if i % 2 else 'udp') for i in range(1024)]
    conf = node.conf(ipMasq=True, runtimeConfig=ports(*many))
    pod = node.add(conf, 'a')
    assert len(lib.elements('ports', 'ip')) == len(lib.elements('ports', 'ip6')) == 1024
    node.check(pod).ok()
    error = node.plugin.add(node.conf(runtimeConfig=ports(*many, (30000, 80))), node.sandbox.netns('b'), 'b').failed()
    assert 'portMappings has more than 1024 entries' in str(error)
    node.delete(pod)
    assert lib.elements() == []


def test_gc_of_thousands(node):
    """A saved ruleset of thousands of dead pods came back: one GC takes all of it."""
    keep = node.add(node.conf(ipMasq=True), 'keep')
    before = sorted(lib.elements())
    dead = ', '.join(f'10.1.{200 + i // 256}.{i % 256} comment "{i:032x} net vethdead{i:04x} eth0 c{i}"'
                     for i in range(5000))
    script = node.sandbox.path / 'saved'
    script.write_text(f'add element ip berth masq-10.1.0.0-16 {{ {dead} }}\n')
    lib.sh('nft', '-f', script)
    assert len(lib.elements()) == len(before) + 5000
    node.plugin.gc(node.conf(), [(lib.container('keep'), 'eth0')]).ok()
    assert sorted(lib.elements()) == before
    node.check(keep).ok()


# --- what of the node is not the pods' ---

def test_services_of_ipvs_mode(node):
    """A Service's address is the host's own there, and keeps its ports, also one that comes and goes later."""
    lib.sh('ip', 'link', 'add', 'kube-ipvs0', 'type', 'bridge')  # as kube-proxy's: down, and only holding addresses
    for address in ('10.96.0.1/32', 'fd00:96::1/128'):
        lib.sh('ip', 'addr', 'add', address, 'dev', 'kube-ipvs0', *(['nodad'] if ':' in address else []))
    lib.sh('ip', 'link', 'set', 'kube-ipvs0', 'up')
    node.serve(None, 'tcp', 443, 'service')  # IPVS takes packets where those of a program arrive
    pod = node.add(node.conf(), 'client')
    assert 'listens at' in str(node.plugin.add(node.conf(runtimeConfig=ports((443, 80))), node.sandbox.netns('no'),
                                               'no').failed())
    node.servers.pop().kill()
    ingress = node.add(node.conf(runtimeConfig=ports((443, 80))), 'ingress')
    node.serve(ingress.netns, 'tcp', 80, 'ingress')
    node.serve(None, 'tcp', 443, 'service')
    assert node.ask(pod.netns, 'tcp', '10.96.0.1', 443) == f'service {pod.address}'
    assert node.ask(pod.netns, 'tcp', 'fd00:96::1', 443) == f'service {pod.address6}'
    assert node.ask(None, 'tcp', '10.96.0.1', 443).startswith('service ')
    assert node.ask(node.outside, 'tcp', NODE, 443) == f'ingress {OUTSIDE}'
    lib.sh('ip', 'addr', 'add', '10.96.0.9/32', 'dev', 'kube-ipvs0')
    lib.sh('ip', 'addr', 'del', '10.96.0.1/32', 'dev', 'kube-ipvs0')
    node.add(node.conf(runtimeConfig=ports((8080, 80))), 'later')
    assert '10.96.0.9' in str(lib.elements('service-addresses'))
    assert '10.96.0.1"' not in str(lib.elements('service-addresses'))
    assert node.ask(pod.netns, 'tcp', '10.96.0.9', 443) == f'service {pod.address}'


def test_service_cidr(node):
    """Named networks of Services are left alone without asking kube-proxy's link."""
    lib.sh('ip', 'addr', 'add', '10.96.0.1/32', 'dev', 'lo')
    pod = node.add(node.conf(), 'client')
    services = ['10.96.0.0/12', 'fd00:96::/108']
    ingress = node.add(node.conf(serviceCIDR=services, runtimeConfig=ports((443, 80))), 'ingress')
    node.serve(ingress.netns, 'tcp', 80, 'ingress')
    node.serve(None, 'tcp', 443, 'service')
    assert node.ask(pod.netns, 'tcp', '10.96.0.1', 443) == f'service {pod.address}'
    assert node.ask(node.outside, 'tcp', NODE, 443) == f'ingress {OUTSIDE}'
    conf = node.conf(serviceCIDR=['x'], runtimeConfig=ports((80, 80)))
    error = node.plugin.add(conf, node.sandbox.netns('x'), 'x').failed()
    assert 'serviceCIDR: "x" is not a subnet' in str(error)


def test_a_node_port_without_endpoint_is_no_pods(node):
    """kube-proxy has no rule for a Service that nobody serves: the range says whose the port is, in either family."""
    port = 30080
    more = {'nodePortRange': '30000-32767', 'serviceCIDR': ['10.96.0.0/12', 'fd00:96::/108']}
    netns = node.sandbox.netns('no')
    for mapping in ((port, 80), (port, 80, 'udp'), (port, 80, 'tcp', NODE), (32767, 80, 'tcp', lib.NODE6)):
        error = node.plugin.add(node.conf(**more, runtimeConfig=ports((8080, 80), mapping)), netns, 'no').failed()
        assert f'hostPort {mapping[0]}/' in str(error) and 'nodePortRange 30000-32767' in str(error)
        assert lib.elements() == []
    pod = node.add(node.conf(**more, runtimeConfig=ports((29999, 80), (32768, 80))), 'a')
    node.serve(pod.netns, 'tcp', 80, 'a')
    assert node.is_silent(node.outside, 'tcp', NODE, port)
    for address in (NODE, lib.NODE6):
        for free in (29999, 32768):
            assert node.ask(node.outside, 'tcp', address, free).startswith('a ')
    # A pod from before the key was there goes as it came.
    before = node.add(node.conf(runtimeConfig=ports((port, 80))), 'before')
    assert len(lib.elements('ports')) == 2
    node.delete(before, conf=node.conf(**more, runtimeConfig=ports((port, 80))))
    assert lib.elements('ports') == []


def test_what_of_the_node_a_pod_reaches(node):
    """There is no policy of our own: a pod reaches what listens at the node's addresses, of either family, and what is
    link-local beyond it, under the node's name; what listens on loopback it does not."""
    pod = node.add(node.conf(ipMasq=True, isGateway=True), 'a')
    node.serve(None, 'tcp', 10250, 'node')
    loopback_server(node, 2379, 'etcd')
    loopback_server(node, 2380, 'etcd6', '::1')
    for address in ('10.1.0.1', NODE, NODE_SECOND):
        assert node.ask(pod.netns, 'tcp', address, 10250) == f'node {pod.address}'
        assert node.is_silent(pod.netns, 'tcp', address, 2379)
    for address in ('fd00:1::1', lib.NODE6):
        assert node.ask(pod.netns, 'tcp', address, 10250) == f'node {pod.address6}'
        assert node.is_silent(pod.netns, 'tcp', address, 2380)
    metadata = (('169.254.169.254/32', 'via', OUTSIDE, NODE), ('fd00:ec2::254/128', 'via', OUTSIDE6, lib.NODE6))
    node.serve(node.outside, 'tcp', 80, 'metadata')
    for address, *route, own in metadata:
        node.outside.run('ip', 'addr', 'add', address, 'dev', 'lo')
        lib.sh('ip', 'route', 'add', address, *route)
        assert node.ask(pod.netns, 'tcp', address.partition('/')[0], 80) == f'metadata {own}'


def test_a_pod_without_ipv6_reaches_the_bridge_by_it(node):
    """What docs/security.md says that policies of the node have to know: who may configure its own links does."""
    conf = node.conf(macspoofchk=True)
    conf['ipam']['ranges'] = conf['ipam']['ranges'][:1]
    pod = node.add(conf, 'a')
    node.serve(None, 'tcp', 10250, 'node')
    mac, = (one['address'] for one in json.loads(pod.netns.run('ip', '-json', 'link', 'show', 'eth0').stdout))
    digits = [int(one, 16) for one in mac.split(':')]
    own = 'fe80::{:02x}{:02x}:{:02x}ff:fe{:02x}:{:02x}{:02x}'.format(digits[0] ^ 2, *digits[1:])
    own = str(ipaddress.ip_address(own))
    assert 'inet6' not in pod.netns.run('ip', 'addr', 'show', 'eth0').stdout
    pod.netns.run('ip', 'addr', 'add', f'{own}/64', 'dev', 'eth0', 'nodad')
    bridge, = (one['addr_info'] for one in json.loads(lib.sh('ip', '-json', '-6', 'addr', 'show', 'cni0').stdout))
    code = ('import socket, sys; client = socket.create_connection((sys.argv[1], 10250), timeout=20); '
            'print(client.recv(100).decode())')
    assert pod.netns.run(lib.PYTHON, '-c', code, f'{bridge[0]["local"]}%eth0').stdout.strip() == f'node {own}'


def loopback_server(node, port, name, address='127.0.0.1'):
    """A program of the node at one address only."""
    import subprocess
    code = f'''
import socket, sys
s = socket.socket(socket.AF_INET6 if ':' in '{address}' else socket.AF_INET)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('{address}', {port})); s.listen()
print('ready', flush=True)
while True:
    c, peer = s.accept()
    c.sendall(b'{name} ' + peer[0].encode()); c.close()
'''
    process = subprocess.Popen([lib.PYTHON, '-c', code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == 'ready\n'
    node.servers.append(process)


def test_loopback_of_the_node_is_its_own(node):
    """route_localnet lets 127.0.0.1 reach a host port, and no pod reach the node's 127.0.0.1 or ::1."""
    loopback_server(node, 2379, 'etcd')
    loopback_server(node, 2380, 'etcd6', '::1')
    pod = node.add(node.conf(runtimeConfig=ports((8080, 80))), 'a')
    other = node.add(node.conf(), 'b')
    node.serve(pod.netns, 'tcp', 80, 'a')
    for one in (pod, other):
        one.netns.run('ip', 'route', 'add', '127.0.0.1', 'via', '10.1.0.1', 'table', '7')
        one.netns.run('ip', '-6', 'route', 'add', '::1', 'via', 'fd00:1::1', 'table', '7')
        for family in ('-4', '-6'):
            one.netns.run('ip', family, 'rule', 'add', 'pref', '1', 'lookup', '7')
            one.netns.run('ip', family, 'rule', 'del', 'lookup', 'local')
            one.netns.run('ip', family, 'rule', 'add', 'pref', '2', 'lookup', 'local')
        one.netns.run('sysctl', '-qw', 'net.ipv4.conf.all.route_localnet=1')
        one.netns.run('ip', 'addr', 'del', '127.0.0.1/8', 'dev', 'lo')
        assert node.is_silent(one.netns, 'tcp', '127.0.0.1', 2379)
        assert node.is_silent(one.netns, 'tcp', '::1', 2380)
    assert lib.sh('cat', '/proc/sys/net/ipv4/conf/cni0/route_localnet').stdout.strip() == '1'
    assert node.ask(None, 'tcp', '127.0.0.1', 8080) == 'a 10.1.0.1'
    assert node.ask(None, 'tcp', '127.0.0.1', 2379) == 'etcd 127.0.0.1'


def test_port_of_the_host_itself(node):
    """Of two who want a port, the host's program comes first: all of it is refused, one address of it stays."""
    node.serve(None, 'tcp', 10250, 'kubelet')
    node.serve(None, 'udp', 8053, 'dns')
    netns = node.sandbox.netns('x')
    # As bind(2): who listens at every address has each of them.
    for one in ((10250, 80), (8053, 53, 'udp'), *((10250, 80, 'tcp', address) for address in (
            '0.0.0.0', '::', NODE, lib.NODE6, '127.0.0.1', '127.0.0.2', '::1')), (8053, 53, 'udp', NODE)):
        error = node.plugin.add(node.conf(runtimeConfig=ports(one)), netns, 'x').failed()
        assert f'hostPort {one[0]}/' in str(error) and 'is in use by a program of this host' in str(error)
    assert [link['ifname'] for link in netns.ip('link')] == ['lo']
    loopback_server(node, 10248, 'healthz')
    pod = node.add(node.conf(runtimeConfig=ports((10248, 80), (10250, 80, 'udp'))), 'a')
    node.serve(pod.netns, 'tcp', 80, 'a')
    assert node.ask(None, 'tcp', '127.0.0.1', 10248) == 'healthz 127.0.0.1'
    assert node.ask(node.outside, 'tcp', NODE, 10248) == f'a {OUTSIDE}'
    assert node.ask(node.outside, 'tcp', NODE, 10250) == f'kubelet {OUTSIDE}'
    node.check(pod).ok()
    node.delete(pod)
    assert lib.elements() == []


LISTEN = """
import socket, sys
one = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET)
if ':' in sys.argv[1]:
    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(sys.argv[3]))
one.bind((sys.argv[1], int(sys.argv[2])))
one.listen()
print('up', flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize('address, only, shown, of_ipv4', [
    ('::', 0, '[::]', True), ('::', 1, '[::]', False), ('0.0.0.0', 0, '0.0.0.0', True),
    ('::ffff:0.0.0.0', 0, '0.0.0.0', True)])
def test_port_of_the_host_in_one_family(node, address, only, shown, of_ipv4):
    """A socket has packets of the families that it is for, whatever its own; the pod's families count."""
    with subprocess.Popen([lib.PYTHON, '-c', LISTEN, address, '7001', str(only)], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as listener:
        assert listener.stdout.readline() == b'up\n'
        conf = node.conf(runtimeConfig=ports((7001, 80)))
        netns = node.sandbox.netns('dual')
        assert f'listens at {shown}: choose' in str(node.plugin.add(conf, netns, 'dual').failed())
        for i, taken in ((0, of_ipv4), (1, address == '::')):
            one = {**conf, 'ipam': {**conf['ipam'], 'ranges': conf['ipam']['ranges'][i:i + 1]}}
            netns = node.sandbox.netns(f'one{i}')
            result = node.plugin.add(one, netns, f'one{i}')
            if taken:
                assert f'listens at {shown}: choose' in str(result.failed())
            else:
                result.ok()
                node.plugin.delete(one, netns, f'one{i}').ok()
        listener.stdin.close()


@pytest.mark.parametrize('port, kernel', [(51820, False), (8472, True)])
def test_port_of_a_tunnel_of_the_host(node, port, kernel):
    """WireGuard's and VXLAN's lie where the kernel gives ports to clients: the pod would read other nodes' packets."""
    lib.sh('sysctl', '-qw', 'net.ipv4.ip_local_port_range=1024 65535')
    if kernel:
        lib.sh('ip', 'link', 'add', 'vx0', 'type', 'vxlan', 'id', '1', 'dstport', str(port), 'dev', 'lo', 'nolearning')
        lib.sh('ip', 'link', 'set', 'vx0', 'up')
    else:
        node.serve(None, 'udp', port, 'tunnel')
    netns = node.sandbox.netns('x')
    error = node.plugin.add(node.conf(runtimeConfig=ports((port, 53, 'udp'))), netns, 'x').failed()
    assert f'hostPort {port}/udp is in use by a program of this host' in str(error)
    assert lib.elements() == []


def test_udp_port_costs_what_a_tcp_port_costs(node):
    """All of conntrack is walked once, by a child that nobody waits for."""
    if not shutil.which('strace'):
        pytest.skip('needs strace')
    trace = node.sandbox.path / 'trace'
    conf = node.conf(runtimeConfig=ports(*((8000 + i, 53, 'udp') for i in range(50))))
    wrapper = ['strace', '-qq', '-f', '-yy', '-e', 'trace=sendto,sendmsg,fork,vfork,clone,clone3', '-o', str(trace)]
    node.plugin.add(conf, node.sandbox.netns('a'), lib.container('a'), wrapper=wrapper).ok()
    lines = [line.split(maxsplit=1) for line in trace.read_text().splitlines()]
    first = lines[0][0]
    asked = [one for one, what in lines if 'NFNL_SUBSYS_CTNETLINK' in what]
    assert 0 < len(asked) <= 2 and first not in asked, trace.read_text()
    sockets = [{re.search(r'<NETLINK:[^>]*>', what).group() for one, what in lines
                if 'NETLINK:[' in what and (one == first) is parents} for parents in (True, False)]
    assert all(sockets) and not sockets[0] & sockets[1], 'a socket that two processes ask'


@pytest.mark.parametrize('told', [True, False])
@pytest.mark.parametrize('number', [1, 50])
def test_flows_are_forgotten_before_del_answers(node, number, told):
    """In DEL itself: what comes later would take the flows of the next pod that has the address or the port. libcni
    gives DEL no result before 0.4.0."""
    if not shutil.which('strace'):
        pytest.skip('needs strace')
    trace = node.sandbox.path / 'trace'
    conf = node.conf(runtimeConfig=ports(*((8053 + i, 53, 'udp') for i in range(number))))
    pod = node.add(conf, 'a')
    wrapper = ['strace', '-qq', '-f', '-e', 'trace=sendto,sendmsg,fork,vfork,clone,clone3', '-o', str(trace)]
    node.serve(pod.netns, 'udp', 53, 'a')
    assert node.ask(node.outside, 'udp', NODE, 8053, 40000) == f'a {OUTSIDE}'
    node.delete(pod, wrapper=wrapper, result=pod.result if told else None)
    lines = trace.read_text().splitlines()
    assert len({line.split()[0] for line in lines}) == 1
    assert len([one for one in lines if 'IPCTNL_MSG_CT_GET' in one]) == 2
    assert len([one for one in lines if 'IPCTNL_MSG_CT_DELETE' in one]) == 1


def test_late_child_leaves_the_flows_of_the_next_pod(node):
    """ADD's child is held until its pod is gone and another has the port and a client."""
    if not shutil.which('strace'):
        pytest.skip('needs strace')
    trace = node.sandbox.path / 'trace'
    conf = node.conf(runtimeConfig=ports((8053, 53, 'udp')))
    netns = node.sandbox.netns('old')
    wrapper = ['strace', '-f', '-e', 'trace=setsid,sendto,sendmsg', '-e', 'inject=setsid:signal=SIGSTOP',
               '-o', str(trace)]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        adding = pool.submit(node.plugin.add, conf, netns, lib.container('old'), wrapper=wrapper)
        lib.wait_for(lambda: trace.exists() and re.search(r'^\d+ +\+\+\+ exited', trace.read_text(), re.M)
                     and 'stopped by SIGSTOP' in trace.read_text())
        child = re.search(r'^(\d+) .*stopped by SIGSTOP', trace.read_text(), re.M).group(1)
        try:
            node.plugin.delete(conf, netns, lib.container('old')).ok()
            new = node.add(conf, 'new')
            node.serve(new.netns, 'udp', 53, 'new')
            assert node.ask(node.outside, 'udp', NODE, 8053, 40000) == f'new {OUTSIDE}'
        finally:
            os.kill(int(child), signal.SIGCONT)
        adding.result().ok()
    text = trace.read_text()
    assert 'IPCTNL_MSG_CT_GET' in text and 'IPCTNL_MSG_CT_DELETE' not in text
    node.delete(new)


def test_host_port_beside_the_bridge(node):
    """The link that leads to the pod counts, not the bridge of the result: a VLAN link on it, here another pair."""
    lib.sh('ip', 'link', 'add', 'br0', 'type', 'bridge')
    link = cni.Plugin(node.build, 'ptp')
    ptp = {'cniVersion': '1.0.0', 'name': 'net', 'type': 'ptp',
           'ipam': {**node.conf()['ipam'], 'ranges': [[{'subnet': '10.1.0.0/16'}]]}}
    pod = node.add(ptp, 'a', plugin=link)
    result = {**pod.result, 'interfaces': [{'name': 'br0'}, *pod.result['interfaces']],
              'ips': [{**one, 'interface': one['interface'] + 1} for one in pod.result['ips']]}
    portmap = {'cniVersion': '1.0.0', 'name': 'net', 'type': 'portmap', 'prevResult': result,
               'runtimeConfig': ports((8080, 80))}
    cni.Plugin(node.build, 'portmap').add(portmap, pod.netns, lib.container('a')).ok()
    node.serve(pod.netns, 'tcp', 80, 'a')
    assert node.ask(None, 'tcp', '127.0.0.1', 8080) == 'a 10.1.0.1'
    assert lib.sh('cat', '/proc/sys/net/ipv4/conf/br0/route_localnet').stdout.strip() == '0'
    assert lib.sh('cat', '/proc/sys/net/ipv4/conf/uplink/route_localnet').stdout.strip() == '0'


# --- how pods are masqueraded ---

def test_networks_that_see_the_pod(node):
    """nonMasqueradeCIDRs: besides their own subnet, pods reach these under their own address."""
    node.outside.run('ip', 'route', 'add', '10.1.0.0/16', 'via', NODE)
    node.outside.run('ip', 'addr', 'add', '198.51.100.7/32', 'dev', 'lo')
    lib.sh('ip', 'route', 'add', '198.51.100.0/24', 'via', OUTSIDE)
    node.serve(node.outside, 'tcp', 80, 'outside')
    conf = node.conf(ipMasq=True, nonMasqueradeCIDRs=['198.51.100.0/24', 'fd00:7::/64'])
    pod, plain = node.add(conf, 'a'), node.add(node.conf(ipMasq=True), 'b')
    assert node.ask(pod.netns, 'tcp', '198.51.100.7', 80) == f'outside {pod.address}'
    assert node.ask(pod.netns, 'tcp', OUTSIDE, 80) == f'outside {NODE}'
    assert node.ask(plain.netns, 'tcp', '198.51.100.7', 80) == f'outside {NODE}'
    node.check(pod).ok()
    node.delete(pod, conf=node.conf(ipMasq=True), result=None)
    node.delete(plain)
    assert lib.elements() == []
    error = node.plugin.add({**conf, 'nonMasqueradeCIDRs': ['x']}, node.sandbox.netns('x'), 'x').failed()
    assert 'nonMasqueradeCIDRs: "x" is not a subnet' in str(error)


@pytest.mark.parametrize('options', [{'nonMasqueradeCIDRs': ['198.51.100.0/24']}, {'egressAddress': [NODE_SECOND]},
                                     {'egressAddress': ['2001:db8::1']}, {'randomFully': True}], ids=str)
def test_masquerade_with_options_is_taken_away(node, options):
    """Options of one family or of both, that are the same at DEL, are no more, or are new."""
    plain, with_options = node.conf(ipMasq=True), node.conf(ipMasq=True, **options)
    for n, (added, deleted) in enumerate([(with_options, with_options), (with_options, plain), (plain, with_options)]):
        for tells in (True, False):
            pod = node.add(added, f'p{n}{tells}')
            node.delete(pod, conf=deleted, result=pod.result if tells else None)
            assert lib.elements() == [], (added, deleted, tells)


def test_egress_address(node):
    """egressAddress: pods leave under this address of the node; randomFully: from a random port."""
    node.serve(node.outside, 'tcp', 80, 'outside')
    conf = node.conf(ipMasq=True, egressAddress=[NODE_SECOND], randomFully=True)
    pod = node.add(conf, 'a')
    assert node.ask(pod.netns, 'tcp', OUTSIDE, 80) == f'outside {NODE_SECOND}'
    assert node.ask(pod.netns, 'tcp', OUTSIDE6, 80) == f'outside {lib.NODE6}'
    text = lib.ruleset_text()
    assert f'snat to {NODE_SECOND} fully-random' in text and 'masquerade fully-random' in text
    node.delete(pod)
    assert lib.elements() == []


@pytest.mark.parametrize('address', ['x', '', '0.0.0.0', '0.1.2.3', '127.0.0.1', '169.254.1.1', '224.0.0.1',
                                     '240.0.0.1', '255.255.255.255', '::', '::1', 'fe80::1', 'ff02::1'])
def test_egress_address_that_nobody_answers(node, address):
    netns = node.sandbox.netns('x')
    error = node.plugin.add(node.conf(ipMasq=True, egressAddress=[address]), netns, 'x').failed()
    assert f'egressAddress: "{address}" is not an address that pods can leave this node under' in str(error)


def test_egress_address_that_the_node_lacks(node):
    """Not given at ADD, or lost later."""
    conf = node.conf(ipMasq=True, egressAddress=[NODE_SECOND, lib.NODE6])
    words = 'is not an address of this node: what pods send under it has no answer'
    for address in ('192.0.2.99', '2001:db8::99'):
        netns = node.sandbox.netns(address.replace(':', '-'))
        error = node.plugin.add({**conf, 'egressAddress': [address]}, netns, 'x').failed()
        assert f'egressAddress: {address} {words}' in str(error)
    assert lib.elements() == []
    pod = node.add(conf, 'a')
    node.check(pod).ok()
    lib.sh('ip', 'addr', 'del', f'{NODE_SECOND}/24', 'dev', 'uplink')
    assert f'egressAddress: {NODE_SECOND} {words}' in str(node.check(pod).failed())
    node.delete(pod)
    assert lib.elements() == []


@pytest.mark.parametrize('more', [{'egressAddress': [NODE]}, {'nonMasqueradeCIDRs': ['10.0.0.0/8']},
                                  {'randomFully': True}], ids=str)
def test_options_without_masquerade(node, more):
    netns = node.sandbox.netns('a')
    error = node.plugin.add(node.conf(**more), netns, 'a').failed(7)
    assert 'needs "ipMasq": true, without which nothing is masqueraded' in error['details']
    node.plugin.delete(node.conf(**more), netns, 'a').ok()


def test_second_attachment(node):
    """Both attachments of a pod ask for the same port, as runtimes pass it to both: the first has it, as upstream."""
    ask = {'runtimeConfig': ports((8080, 80))}
    pod = node.add(node.conf(**ask), 'a')
    second = node.conf(name='second', bridge='cni1', isDefaultGateway=False, isGateway=True, **ask,
                       ipam={'type': 'host-local', 'dataDir': str(node.sandbox.path / 'leases'),
                             'ranges': [[{'subnet': '10.2.0.0/16'}]]})
    result = node.plugin.add(second, pod.netns, lib.container('a'), ifname='net1').ok()
    node.serve(pod.netns, 'tcp', 80, 'a')
    assert node.ask(node.outside, 'tcp', NODE, 8080) == f'a {OUTSIDE}'
    node.plugin.check(second, pod.netns, lib.container('a'), ifname='net1', result=result).ok()
    node.plugin.delete(second, pod.netns, lib.container('a'), ifname='net1', result=result).ok()
    assert node.ask(node.outside, 'tcp', NODE, 8080) == f'a {OUTSIDE}'
    node.check(pod).ok()
    node.delete(pod)
    assert lib.elements() == []


@pytest.mark.parametrize('more', [{}, {'ipMasq': True}, {'runtimeConfig': ports((9090, 90))}])
def test_address_is_given_out_clean(node, more):
    """What a dead pod left, or a ruleset that was saved while it lived, does not lead to the next one."""
    fixed = {'ipam': {'type': 'static', 'addresses': [{'address': '10.1.0.9/16', 'gateway': '10.1.0.1'}]}}
    conf = node.conf(ipMasq=True, firewall=True, runtimeConfig=ports((8080, 80), (8443, 443, 'tcp', NODE)), **fixed)
    old = node.add(conf, 'old')
    saved = node.sandbox.path / 'saved'
    saved.write_text('flush ruleset\n' + lib.ruleset_text())
    node.delete(old)
    lib.sh('nft', '-f', saved)
    assert any('8443' in str(one) for one in lib.elements())
    new = node.add(node.conf(**more, **fixed), 'new')
    node.serve(new.netns, 'tcp', 80, 'new')
    assert node.is_silent(node.outside, 'tcp', NODE, 8080)
    left = [one for one in lib.elements() if lib.container('old')[:20] in str(one) or ' 6f6c64' in str(one)]
    assert left == []
    node.delete(new)
    assert lib.elements() == []
