# SPDX-License-Identifier: Apache-2.0
"""Nodes on which others have their rules: as the real programs wrote them (tests/data/cni/rules/, each with its
origin), loaded by either backend of iptables. What "status" says of a list is what pods then see."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

import node as lib
from node import NODE, NODE6, OUTSIDE, OUTSIDE6
from test_cni_people import programs_of, write_list
from test_cni_repair import Cache

RULES = pathlib.Path(__file__).resolve().parents[1] / 'data' / 'cni' / 'rules'
TOOLS = {'ip': 'iptables', 'ip6': 'ip6tables'}
PORTS = [{'hostPort': 8080, 'containerPort': 80, 'protocol': 'tcp'}]


@pytest.fixture(name='node')
def node_fixture(sandbox, build):
    for tool in TOOLS.values():
        for backend in ('nft', 'legacy'):
            if not shutil.which(f'{tool}-{backend}-restore'):
                pytest.skip('needs iptables')
    if os.path.isdir('/run/dbus'):
        sandbox.private_directory('/run/dbus')
    node = lib.Node(sandbox, build)
    lib.sh('ip', 'route', 'add', 'default', 'via', OUTSIDE)
    lib.sh('ip', '-6', 'route', 'add', 'default', 'via', OUTSIDE6)
    node.serve(node.outside, 'tcp', 80, 'outside')
    return node


def load(name, backend):
    for family, tool in TOOLS.items():
        with open(RULES / f'{name}.{family}', encoding='ascii') as rules:
            subprocess.run([f'{tool}-{backend}-restore'], stdin=rules, check=True, timeout=60)


def saved(backend):
    text = [lib.sh(f'{tool}-{backend}-save').stdout for tool in TOOLS.values()]
    return [line for one in text for line in one.splitlines() if line[0] != '#' and ' CNI-' not in line
            and not line.startswith(':')]


@pytest.fixture(name='status')
def status_fixture(node, sandbox, build):
    programs = programs_of(sandbox, node, 'berth-cni')

    def ask(conf):
        directory = write_list(sandbox, conf)
        return subprocess.run([build / 'cni' / 'berth-cni', 'status', '--conf-dir', directory, '--bin-dir', programs,
                               'net'], capture_output=True, text=True, timeout=60, check=False)
    return ask


@pytest.mark.parametrize('backend', ['nft', 'legacy'])
@pytest.mark.parametrize('name', ['docker', 'ufw'])
def test_rules_of_iptables(node, status, name, backend):
    load(name, backend)
    before = saved(backend)
    # Without "firewall" nothing passes, and status says where that ends.
    shut = node.conf(ipMasq=True)
    done = status(shut)
    assert done.returncode == 1 and 'dropped by chain FORWARD' in done.stdout, done.stdout
    assert ('iptables-legacy' in done.stdout) == (backend == 'legacy') and 'its policy is drop' in done.stdout
    pod = node.add(shut, 'shut')
    assert node.is_silent(pod.netns, 'tcp', OUTSIDE, 80)
    node.delete(pod)
    # With it everything does.
    conf = node.conf(ipMasq=True, firewall=True, runtimeConfig={'portMappings': PORTS})
    done = status(conf)
    assert done.returncode == 0, done.stdout
    pod, other = node.add(conf, 'pod'), node.add(node.conf(ipMasq=True, firewall=True), 'other')
    node.serve(pod.netns, 'tcp', 80, 'pod')
    assert node.ask(pod.netns, 'tcp', OUTSIDE, 80) == f'outside {NODE}'
    # A busy machine now and then loses what the first question of a new pod needs of its neighbours.
    lib.wait_for(lambda: node.ask(pod.netns, 'tcp', OUTSIDE6, 80, seconds=3) == f'outside {NODE6}')
    assert node.ask(node.outside, 'tcp', NODE, 8080) == f'pod {OUTSIDE}'
    assert node.ask(node.outside, 'tcp', NODE6, 8080) == f'pod {OUTSIDE6}'
    assert node.ask(other.netns, 'tcp', pod.address, 80) == f'pod {other.address}'
    node.check(pod).ok()
    for one in (pod, other):
        node.delete(one)
    assert lib.elements() == [] and saved(backend) == before


def load_kube_proxy(mode):
    if mode == 'nftables':
        lib.sh('nft', '-f', RULES / 'kube-proxy.nft')
    else:
        load('kube-proxy', mode)


@pytest.mark.parametrize('mode', ['nftables', 'nft'])
def test_kube_proxy(node, status, mode):
    """Services stay kube-proxy's, whatever ports pods have on the host; and its rules stay as they are."""
    load_kube_proxy(mode)
    mine = [one for one in lib.ruleset_text().splitlines() if 'counter' not in one] + saved('legacy')
    ports = [*PORTS, {'hostPort': 443, 'containerPort': 80, 'protocol': 'tcp'}]
    conf = node.conf(ipMasq=True, firewall=True, runtimeConfig={'portMappings': ports})
    done = status(conf)
    assert done.returncode == 0, done.stdout
    pod, other = node.add(conf, 'pod'), node.add(node.conf(ipMasq=True, firewall=True), 'other')
    node.serve(pod.netns, 'tcp', 80, 'pod')
    node.serve(None, 'tcp', 6443, 'api')
    for asker in (other, pod):
        assert node.ask(asker.netns, 'tcp', '10.96.0.80', 80) == f'outside {NODE}'
        assert node.ask(asker.netns, 'tcp', '10.96.0.1', 443).startswith('api ')
    assert node.ask(None, 'tcp', '10.96.0.1', 443).startswith('api ')
    assert node.ask(node.outside, 'tcp', NODE, 8080) == f'pod {OUTSIDE}'
    assert node.ask(node.outside, 'tcp', NODE, 443) == f'pod {OUTSIDE}'
    assert node.ask(node.outside, 'tcp', NODE, 30080) == f'outside {NODE}'
    for one in (pod, other):
        node.delete(one)
    assert lib.elements() == []
    left = lib.ruleset_text() + '\n'.join(saved('legacy'))
    assert not [one for one in mine if one not in left and 'CNI-' not in one]


NODE_PORT = {'hostPort': 30080, 'containerPort': 80, 'protocol': 'tcp'}


@pytest.mark.parametrize('first, mode', [('kube-proxy', 'nftables'), ('kube-proxy', 'nft'), ('kube-proxy', 'legacy'),
                                         ('pod', 'nftables')])
def test_a_node_port_stays_the_services(node, first, mode):
    """Whoever came first, a host port of the same number takes nothing from it (CVE-2019-9946); others work beside."""
    conf = node.conf(ipMasq=True, firewall=True, runtimeConfig={'portMappings': [NODE_PORT, *PORTS]})
    if first == 'kube-proxy':
        load_kube_proxy(mode)
    pod = node.add(conf, 'pod')
    if first == 'pod':
        load_kube_proxy(mode)
    other = node.add(node.conf(ipMasq=True, firewall=True), 'other')
    node.serve(pod.netns, 'tcp', 80, 'pod')
    for asker in (node.outside, other.netns, None):
        assert node.ask(asker, 'tcp', NODE, 30080) == f'outside {NODE}'
        assert node.ask(asker, 'tcp', NODE, 8080).startswith('pod ')
    assert node.ask(None, 'tcp', '127.0.0.1', 8080).startswith('pod ')
    node.check(pod).ok()
    for one in (pod, other):
        node.delete(one)
    assert lib.elements() == []


# Host ports in tables of the versions before: beside kube-proxy's rules, so that the younger of both won.
BEFORE = {'ports-prerouting': 'ports-in', 'ports-output': 'ports-out', 'dstnat + 1': 'dstnat',
          'priority -99': 'priority -100', 'service-addresses': 'services'}

# Connects until its input ends, and says how often; a port that is dead for a moment is refused.
CONNECT_ALWAYS = """import select, socket, sys
n = 0
while not select.select([0], [], [], 0)[0]:
    socket.create_connection((sys.argv[1], 8080), 10).close()
    n += 1
    if n == 1:
        print('ready', flush=True)
print(n)
"""


def write_as_before(node, oldest):
    """As an earlier version had them; the oldest had nothing before host ports. Tables that are loaded last win."""
    text = lib.ruleset_text()
    for new, old in BEFORE.items():
        assert new in text
        text = text.replace(new, old)
    if oldest:
        text = re.sub(r'\tset (services|held) {.*?\n\t}\n', '', text, flags=re.DOTALL)
        text = re.sub(r'\t\t[^\n]*@(services|held) accept\n', '', text)
    path = node.sandbox.path / 'before'
    tables = re.findall(r'^table ip6? berth {.*?^}$', text, flags=re.DOTALL | re.MULTILINE)
    path.write_text('delete table ip berth\ndelete table ip6 berth\n' + '\n'.join(tables))
    lib.sh('nft', '-f', path)


@pytest.mark.parametrize('oldest, how', [(True, 'add'), (False, 'services'), (False, 'repair')])
def test_ports_of_the_version_before(node, oldest, how):
    """The first ADD with host ports, or a repair, moves those of running pods too, and none is dead meanwhile."""
    cache = Cache(node)
    base = node.conf(ipMasq=True, capabilities={'portMappings': True})
    conf = {**base, 'runtimeConfig': {'portMappings': [NODE_PORT, *PORTS]}}
    bounded = {**base, 'conditionsV4': ['-s', f'{OUTSIDE}/32'], 'runtimeConfig': {
        'portMappings': [{'hostPort': 8081, 'containerPort': 80, 'protocol': 'tcp'}]}}
    pod, second = node.add(conf, 'pod'), node.add(bounded, 'second')
    for one in (pod, second):
        node.serve(one.netns, 'tcp', 80, one.name)
    cache.note(pod, [{key: value for key, value in base.items() if key not in ('name', 'cniVersion')}],
               conf['runtimeConfig']['portMappings'])
    load_kube_proxy('nftables')
    write_as_before(node, oldest)
    assert node.ask(node.outside, 'tcp', NODE, 30080) == f'pod {OUTSIDE}'  # as it was
    if how == 'services':
        lib.sh('ip', 'link', 'add', 'kube-ipvs0', 'type', 'bridge')
        lib.sh('ip', 'addr', 'add', '10.96.0.7/32', 'dev', 'kube-ipvs0')
    with subprocess.Popen(node.outside.argv(lib.PYTHON, '-c', CONNECT_ALWAYS, NODE), stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout.readline() == 'ready\n'
        if how == 'repair':
            done = cache('repair')
            assert done.returncode == 0, done
        else:
            node.add({**base, 'runtimeConfig': {'portMappings': [
                {'hostPort': 8082, 'containerPort': 80, 'protocol': 'tcp'}]}}, 'third')
        client.stdin.close()
        assert int(client.stdout.read()) > 0 and client.wait() == 0
    assert not re.search('chain ports-(in|out) |set services ', lib.ruleset_text())
    assert node.ask(node.outside, 'tcp', NODE, 30080) == f'outside {NODE}'
    assert node.ask(node.outside, 'tcp', NODE, 8080) == f'pod {OUTSIDE}'
    assert node.ask(node.outside, 'tcp', NODE, 8081) == f'second {OUTSIDE}'
    assert node.ask(None, 'tcp', NODE, 8080).startswith('pod ')
    for one in (pod, second):
        node.check(one).ok()
    assert (how == 'services') == ('10.96.0.7' in str(lib.elements('service-addresses')))


# What a first packet from a pod on cni0 to uplink meets in a chain with the policy drop, and whether it is certain
# that it does not come through.
WALKS = [
    ('iifname "docker0" accept', True), ('iifname "cni0" accept', False), ('iifname "cni*" accept', False),
    ('iifname != "docker0" accept', False), ('iifname != "cni0" accept', True), ('oifname "uplink" accept', False),
    ('oifname "docker0" accept', True), ('iifname "cni0" oifname "docker0" accept', True),
    ('ct state established,related accept', True), ('ct state new accept', False), ('ct status dnat accept', True),
    ('ct state { established, related } accept', True), ('ct state { established, new } accept', False),
    ('ct state != { established } accept', False), ('ct state established,new accept', False),
    ('ct mark 1 accept', False), ('meta l4proto icmp accept', True), ('meta l4proto tcp accept', False),
    ('meta l4proto udp accept', True), ('ip saddr 10.1.0.0/16 accept', False), ('jump sub', True),
    ('jump open', False), ('goto open', False), ('goto sub', True), ('iifname "cni0" goto sub; accept', True),
    ('iifname "docker0" goto sub; accept', False), ('ip saddr 10.9.0.0/16 goto sub; accept', False),
    ('ip saddr 10.9.0.0/16 jump shut', True), ('ct state vmap { new : accept }', False),
    ('jump maybe; accept', False), ('jump shut; accept', True), ('log', True), ('meta mark set 1', True),
    ('jump early; accept', False), ('return; accept', True), ('drop; accept', True),
    ('limit rate 1/second accept', False), ('iifname "cni0" ip daddr 10.96.0.0/12 accept', False),
    ('reject; accept', True), ('tcp dport 80 drop; accept', False),
]


# In a fifth of a second; a machine that is slower hides a fault, and shows none that is none.
CONNECT = """import socket, sys
try:
    socket.create_connection((sys.argv[1], 80), 0.2)
except OSError:
    sys.exit(1)
"""


def test_what_is_certain(node, status):
    """Against what the kernel does: what is said to be dropped is dropped; where traffic passes, nobody says so."""
    conf = node.conf(ipMasq=True)
    pod = node.add(conf, 'pod')
    assert node.ask(pod.netns, 'tcp', OUTSIDE, 80) == f'outside {NODE}'
    for rules, certain in WALKS:
        lib.sh('nft', f'''
            table inet mine {{
                chain sub {{ }}
                chain open {{ accept; }}
                chain shut {{ drop; }}
                chain maybe {{ ip daddr 10.96.0.0/12 drop; }}
                chain early {{ ip daddr 192.0.2.0/24 return; drop; }}
                chain forward {{ type filter hook forward priority 0; policy drop; {rules}; }}
            }}''')
        done = status(conf)
        told = 'of table inet mine: ' in done.stdout
        assert told == certain and (done.returncode == 1) == certain, (rules, done.stdout)
        if told:
            assert pod.netns.run(lib.PYTHON, '-c', CONNECT, OUTSIDE, check=False).returncode == 1, rules
        lib.sh('nft', 'delete', 'table', 'inet', 'mine')


# The same for iptables-legacy, whose tables are read as they are in memory.
LEGACY_WALKS = [
    ('-i docker0 -j ACCEPT', True), ('-i cni0 -j ACCEPT', False), ('-i cni+ -j ACCEPT', False),
    ('-i d+ -j ACCEPT', True), ('! -i docker0 -j ACCEPT', False), ('! -i cni0 -j ACCEPT', True),
    ('-o uplink -j ACCEPT', False), ('-i cni0 -o docker0 -j ACCEPT', True),
    ('-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT', True), ('-m conntrack --ctstate NEW -j ACCEPT', False),
    ('-m conntrack ! --ctstate ESTABLISHED -j ACCEPT', False), ('-m state --state ESTABLISHED -j ACCEPT', True),
    ('-p icmp -j ACCEPT', True), ('-p tcp -j ACCEPT', False), ('! -p tcp -j ACCEPT', True),
    ('-s 10.1.0.0/16 -j ACCEPT', False), ('-j SUB', True), ('-j OPEN', False), ('-g OPEN', False), ('-g SUB', True),
    ('-i docker0 -g OPEN', True), ('-s 10.9.0.0/16 -j SHUT', True), ('-j REJECT', True), ('-j LOG', True),
    ('-m comment --comment x -j DROP', True), ('-m limit --limit 1/s -j ACCEPT', False), ('-j RETURN', True),
]


def test_what_is_certain_of_legacy(node, status):
    conf = node.conf(ipMasq=True)
    lib.sh('iptables-legacy', '-P', 'FORWARD', 'DROP')
    for chain, target in (('SUB', None), ('OPEN', 'ACCEPT'), ('SHUT', 'DROP')):
        lib.sh('iptables-legacy', '-N', chain)
        if target:
            lib.sh('iptables-legacy', '-A', chain, '-j', target)
    for rule, certain in LEGACY_WALKS:
        if lib.sh('iptables-legacy', '-A', 'FORWARD', *rule.split(), check=False).returncode != 0:
            continue  # this kernel lacks the match or the target
        done = status(conf)
        told = 'chain FORWARD of iptables-legacy: ' in done.stdout
        assert told == certain == (done.returncode == 1), (rule, done.stdout)
        lib.sh('iptables-legacy', '-F', 'FORWARD')
    assert status(conf).returncode == 1
    lib.sh('iptables-legacy', '-P', 'FORWARD', 'ACCEPT')
    assert status(conf).returncode == 0
