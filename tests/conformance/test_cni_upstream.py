# SPDX-License-Identifier: Apache-2.0
"""The test suites of containernetworking/plugins, with Berth under the plugins' names; its cnitool; its own plugins
before and after ours. Started by cni_tools.py, which says where those are."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

import cni
import node as lib
from node import NODE, OUTSIDE

TOOLS = pathlib.Path(os.environ.get('BERTH_CNI_TOOLS', '/nonexistent'))
NAMES = ['bridge', 'ptp', 'loopback', 'host-local', 'static', 'portmap', 'bandwidth', 'firewall', 'tuning']


@pytest.fixture(name='plugins')
def plugins_fixture(sandbox, build):
    """A plugin directory as an installation has it."""
    subprocess.run([build / 'cni' / 'berth-cni', 'install', '--bin-dir', sandbox.path / 'bin'], check=True,
                   capture_output=True)
    return sandbox.path / 'bin'


def suite(sandbox, plugins, directory, binary, *argv):
    """Runs a compiled suite in a copy of its directory, as the plugins expect: binaries in ../bin and in PATH."""
    tools = sandbox.path / 'tools'
    tools.mkdir()
    busybox = shutil.which('busybox')
    if not busybox:
        pytest.skip('needs busybox (for ping)')
    for name in ('ping', 'ping6'):
        (tools / name).symlink_to(busybox)
    (tools / 'cnitool').symlink_to(TOOLS / 'cnitool')
    for path in ('/var/lib/cni', '/tmp'):
        sandbox.private_directory(path)
    # The suites build their echo server from here; without a network everything has to be in the caches.
    where = TOOLS / 'source' / directory
    sandbox.private_directory(TOOLS / 'source' / 'bin')
    for name in os.listdir(plugins):
        (TOOLS / 'source' / 'bin' / name).symlink_to(plugins / name)
    environment = {**os.environ, 'PATH': f'{plugins}:{tools}:{os.environ["PATH"]}', 'GOFLAGS': '-mod=mod',
                   'GOPROXY': 'off', 'CGO_ENABLED': '0', 'GOTOOLCHAIN': 'local', 'TMPDIR': '/tmp',
                   'HOME': os.environ.get('HOME', '/root')}
    done = subprocess.run([where / binary, '-test.v', '-ginkgo.v', *argv], cwd=where, env=environment, timeout=280,
                          capture_output=True, text=True, check=False)
    print(done.stdout[-8000:], done.stderr[-2000:])
    counts = re.search(r'(\d+) Passed.*?(\d+) Failed', re.sub(r'\x1b\[[0-9;]*m', '', done.stdout))
    assert done.returncode == 0 and counts and int(counts.group(2)) == 0
    return int(counts.group(1))


@pytest.mark.deadline(300)
def test_integration_suite(sandbox, plugins):
    assert suite(sandbox, plugins, 'integration', 'integration.test') == 3


@pytest.mark.deadline(300)
def test_firewall_suite(sandbox, plugins):
    """The part of the suite that runs plugins; the others look into iptables from inside the plugin's own process."""
    assert suite(sandbox, plugins, 'plugins/meta/firewall', 'firewall.test', '-ginkgo.focus',
                 'firewall integration tests') == 4


@pytest.mark.deadline(300)
def test_portmap_suite(sandbox, plugins):
    """A TCP and a UDP port: from the node, localhost, the pod itself, and with a successor, in 4 versions."""
    lib.sh('ip', 'link', 'add', 'uplink', 'type', 'veth', 'peer', 'name', 'other')
    lib.sh('ip', 'addr', 'add', f'{NODE}/24', 'dev', 'uplink')
    for name in ('uplink', 'other'):
        lib.sh('ip', 'link', 'set', name, 'up')
    assert suite(sandbox, plugins, 'plugins/meta/portmap', 'portmap.test', '-ginkgo.focus',
                 'portmap integration tests') == 8


# --- cnitool ---

def cnitool(sandbox, plugins, *argv, check=True, **environment):
    done = subprocess.run([TOOLS / 'cnitool', *argv], capture_output=True, text=True, timeout=60, check=False,
                          env={'CNI_PATH': str(plugins), 'NETCONFPATH': str(sandbox.path / 'net.d'),
                               'PATH': os.environ['PATH'], **environment})
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(name='node')
def node_fixture(sandbox, build):
    return lib.Node(sandbox, build)


def conflist(node, version, *plugins):
    directory = node.sandbox.path / 'net.d'
    directory.mkdir(exist_ok=True)
    (directory / '10-net.conflist').write_text(json.dumps({'cniVersion': version, 'name': 'net', 'plugins': plugins}))


def one_entry(node, **more):
    conf = node.conf(ipMasq=True, capabilities={'portMappings': True, 'bandwidth': True}, **more)
    return {key: value for key, value in conf.items() if key not in ('cniVersion', 'name')}


@pytest.mark.parametrize('version', ['0.3.1', '0.4.0', '1.0.0', '1.1.0'])
def test_cnitool(node, plugins, version):
    node.sandbox.private_directory('/var/lib/cni')
    conflist(node, version, one_entry(node))
    pod = node.sandbox.netns('pod')
    args = json.dumps({'portMappings': [{'hostPort': 8080, 'containerPort': 80, 'protocol': 'tcp'}]})
    result = json.loads(cnitool(node.sandbox, plugins, 'add', 'net', pod.path, CAP_ARGS=args).stdout)
    assert result['cniVersion'] == version
    node.serve(pod, 'tcp', 80, 'pod')
    assert node.ask(node.outside, 'tcp', NODE, 8080) == f'pod {OUTSIDE}'
    if version >= '0.4.0':
        cnitool(node.sandbox, plugins, 'check', 'net', pod.path, CAP_ARGS=args)
    if version == '1.1.0':
        cnitool(node.sandbox, plugins, 'status', 'net', pod.path)
        lib.sh('ip', 'link', 'set', 'cni0', 'down')
        assert 'bridge cni0 is down' in cnitool(node.sandbox, plugins, 'status', 'net', pod.path, check=False).stderr
    cnitool(node.sandbox, plugins, 'del', 'net', pod.path, CAP_ARGS=args)
    assert lib.elements() == []
    assert [one for one in os.listdir(node.sandbox.path / 'leases/net') if one[0].isdigit()] == []


def test_cnitool_gc_of_a_lost_pod(node, plugins):
    """cnitool names no living pod: libcni gives DEL to all that its cache knows, then GC to the plugin."""
    node.sandbox.private_directory('/var/lib/cni')
    conflist(node, '1.1.0', one_entry(node))
    lost = node.sandbox.netns('lost')
    cnitool(node.sandbox, plugins, 'add', 'net', lost.path)
    lost.delete()
    assert lib.elements() != []
    cnitool(node.sandbox, plugins, 'gc', 'net', '/run/netns/none')
    assert lib.elements() == []
    assert [one for one in os.listdir(node.sandbox.path / 'leases/net') if one[0].isdigit()] == []


# --- mixed chains ---

def chain_of(node):
    return {'cniVersion': '1.0.0', 'name': 'net', 'plugins': [
        {'type': 'bridge', 'bridge': 'cni0', 'isDefaultGateway': True, 'ipMasq': True, 'hairpinMode': True,
         'ipam': {'type': 'host-local', 'dataDir': str(node.sandbox.path / 'leases'),
                  'ranges': [[{'subnet': '10.1.0.0/16'}]]}},
        {'type': 'portmap', 'runtimeConfig': {'portMappings': [
            {'hostPort': 8080, 'containerPort': 80, 'protocol': 'tcp'}]}},
        {'type': 'bandwidth', 'runtimeConfig': {'bandwidth': {
            'ingressRate': 80000000, 'ingressBurst': 8000000, 'egressRate': 80000000, 'egressBurst': 8000000}}},
        {'type': 'firewall'},
        {'type': 'tuning', 'sysctl': {'net.core.somaxconn': '500'}},
    ]}


@pytest.mark.parametrize('mixed', [
    (), ('bridge',), ('portmap',), ('bandwidth',), ('firewall',), ('tuning',), ('bridge', 'bandwidth', 'tuning'),
    ('portmap', 'firewall'), ('bridge', 'portmap', 'bandwidth', 'firewall', 'tuning'),
])
def test_chain_with_upstream(node, plugins, mixed):
    """Any of the plugins may be upstream's current one; packets flow, CHECK is happy, and nothing is left."""
    upstream = TOOLS / 'upstream'
    chosen = {name: cni.Plugin(node.build, name, program=(upstream if name in mixed else plugins) / name,
                               path=[upstream if name in mixed else plugins]) for name in NAMES}
    pod = node.sandbox.netns('pod')
    env = {'container_id': lib.container('pod'), 'ifname': 'eth0', 'netns': pod.path}
    done = cni.chain(chosen, 'ADD', chain_of(node), **env)
    result = done.ok()
    node.serve(pod, 'tcp', 80, 'pod')
    node.serve(node.outside, 'tcp', 80, 'outside')
    assert node.ask(node.outside, 'tcp', NODE, 8080) == f'pod {OUTSIDE}'
    assert node.ask(pod, 'tcp', NODE, 8080) == 'pod 10.1.0.1'
    assert node.ask(None, 'tcp', '127.0.0.1', 8080) == 'pod 10.1.0.1'
    assert node.ask(pod, 'tcp', OUTSIDE, 80) == f'outside {NODE}'
    assert pod.run('cat', '/proc/sys/net/core/somaxconn').stdout.strip() == '500'
    cni.chain(chosen, 'CHECK', chain_of(node), result=result, **env).ok()
    cni.chain(chosen, 'DEL', chain_of(node), result=result, **env).ok()
    assert lib.elements() == []
    assert [one['ifname'] for one in lib.link_json() if one['ifname'].startswith(('veth', 'bwp'))] == []
    assert '10.1.0.2' not in lib.ruleset_text()


def test_upstreams_nftables_backends_are_cleaned(node, plugins):
    """A pod that the current release added with its nftables backends, deleted by ours."""
    upstream = TOOLS / 'upstream'
    conf = chain_of(node)
    conf['plugins'][0]['ipMasqBackend'] = 'nftables'
    conf['plugins'][1]['backend'] = 'nftables'
    conf['plugins'][0]['macspoofchk'] = True
    theirs = {name: cni.Plugin(node.build, name, program=upstream / name, path=[upstream]) for name in NAMES}
    ours = {name: cni.Plugin(node.build, name, program=plugins / name, path=[plugins]) for name in NAMES}
    pod = node.sandbox.netns('pod')
    env = {'container_id': lib.container('pod'), 'ifname': 'eth0', 'netns': pod.path}
    result = cni.chain(theirs, 'ADD', conf, **env).ok()
    text = lib.ruleset_text()
    assert 'cni_hostport' in text and 'cni_plugins_masquerade' in text and 'cni-br-iface-' in text
    cni.chain(ours, 'DEL', conf, result=result, **env).ok()
    text = lib.ruleset_text()
    assert '10.1.0.2' not in text and 'cni-br-iface-' not in text


# --- flannel ---

FLANNEL_ENV = """FLANNEL_NETWORK=10.244.0.0/16
FLANNEL_SUBNET=10.244.1.1/24
FLANNEL_IPV6_NETWORK=fd00:244::/48
FLANNEL_IPV6_SUBNET=fd00:244:0:1::1/64
FLANNEL_MTU=1450
FLANNEL_IPMASQ=false
"""


@pytest.mark.parametrize('name', ['flannel', 'flannel-before'])
def test_flannel(node, plugins, name):
    """flannel's own list: its plugin delegates to our bridge and host-local, portmap comes behind. What it starts is
    in CNI_PATH under upstream's names."""
    if not (TOOLS / name).exists():
        pytest.skip(f'needs the Go module of {name}')
    os.mkdir('/run/flannel')
    node.sandbox.private_directory('/var/lib/cni')
    dual = name == 'flannel'
    lines = [line for line in FLANNEL_ENV.splitlines() if dual or 'IPV6' not in line]
    pathlib.Path('/run/flannel/subnet.env').write_text('\n'.join(lines) + '\n')
    (plugins / 'flannel').unlink()
    (plugins / 'flannel').symlink_to(TOOLS / name)
    conflist(node, '0.3.1',
             {'type': 'flannel', 'delegate': {'hairpinMode': True, 'isDefaultGateway': True}},
             {'type': 'portmap', 'capabilities': {'portMappings': True}})
    pod = node.sandbox.netns('pod')
    args = json.dumps({'portMappings': [{'hostPort': 8080, 'containerPort': 80, 'protocol': 'tcp'}]})
    result = json.loads(cnitool(node.sandbox, plugins, 'add', 'net', pod.path, CAP_ARGS=args).stdout)
    addresses = [one['address'] for one in result['ips']]
    assert addresses == ['10.244.1.2/24'] + (['fd00:244:0:1::2/64'] if dual else [])
    assert {'dst': '10.244.0.0/16'} in result['routes'] or {'dst': '10.244.0.0/16', 'gw': '10.244.1.1'} \
        in result['routes']
    assert pod.ip('link', 'show', 'dev', 'eth0')[0]['mtu'] == 1450
    node.serve(pod, 'tcp', 80, 'pod')
    node.serve(node.outside, 'tcp', 80, 'outside')
    assert node.ask(node.outside, 'tcp', NODE, 8080) == f'pod {OUTSIDE}'
    assert node.ask(None, 'tcp', '127.0.0.1', 8080) == 'pod 10.244.1.1'
    assert node.ask(pod, 'tcp', OUTSIDE, 80) == f'outside {NODE}'
    cnitool(node.sandbox, plugins, 'del', 'net', pod.path, CAP_ARGS=args)
    assert lib.elements() == [] and '10.244.1.2' not in lib.ruleset_text()
    assert [one for one in os.listdir('/var/lib/cni/networks/net') if one[0].isdigit() or ':' in one] == []
    assert [one['ifname'] for one in lib.link_json() if one['ifname'].startswith('veth')] == []


def plain(result):
    """What two plugins answer alike: all but the names and addresses that each makes up, and the order of routes."""
    for one in result['interfaces']:
        one['mac'] = ''
        one['name'] = re.sub('^veth.*', 'veth', one['name'])
    return result


@pytest.mark.parametrize('name', ['flannel', 'flannel-before'])
def test_flannel_and_ours_stand_in_for_each_other(node, name):
    """Attached by one and detached by the other, with upstream's bridge and host-local for its part: the same answer,
    the same file, and nothing left. The earlier one kept what the delegate gets in words of host-local of then."""
    if not (TOOLS / name).exists():
        pytest.skip(f'needs the Go module of {name}')
    os.mkdir('/run/flannel')
    node.sandbox.private_directory('/var/lib/cni')
    dual = name == 'flannel'
    text = FLANNEL_ENV.replace('10.244.0.0/16', '10.244.0.0/16,10.245.0.0/16') if dual else FLANNEL_ENV
    lines = [line for line in text.splitlines() if dual or 'IPV6' not in line]
    pathlib.Path('/run/flannel/subnet.env').write_text('\n'.join(lines) + '\n')
    theirs = cni.Plugin(node.build, 'flannel', program=TOOLS / name, path=[TOOLS / 'upstream'])
    ours = cni.Plugin(node.build, 'flannel', path=[TOOLS / 'upstream'])
    for conf in ({'delegate': {'hairpinMode': True, 'isDefaultGateway': True}},
                 {'delegate': {'ipMasq': False, 'mtu': 1400, 'bridge': 'cni7'}, 'runtimeConfig': {'a': {'b': '<&>'}}},
                 {'delegate': {'type': 'ptp'}}, {}):
        conf = {'cniVersion': '0.4.0', 'name': 'net', 'type': 'flannel', **conf}
        answers, files = [], []
        for adds, deletes in ((theirs, ours), (ours, theirs)):
            pod, kept = node.sandbox.netns('pod'), pathlib.Path('/var/lib/cni/flannel') / lib.container('pod')
            result = adds.add(conf, pod, lib.container('pod')).ok()
            files.append(json.loads(kept.read_text()) if not dual else
                         kept.read_text().replace('\\u003c\\u0026\\u003e', '<&>'))
            server = node.serve(pod, 'tcp', 80, 'pod')
            assert node.ask(None, 'tcp', result['ips'][0]['address'].split('/')[0], 80).startswith('pod')
            server.kill()
            deletes.delete(conf, pod, lib.container('pod'), result=result).ok()
            assert not kept.exists() and os.listdir('/var/lib/cni/flannel') == []
            assert [one for one in os.listdir('/var/lib/cni/networks/net') if one[0].isdigit() or ':' in one] == []
            assert [one['ifname'] for one in lib.link_json() if one['ifname'].startswith('veth')] == []
            for index in pathlib.Path('/var/lib/cni/networks/net').glob('last_reserved_ip*'):
                index.unlink()
            lib.sh('ip', 'netns', 'del', 'pod')
            for bridge in ('cni0', 'cni7'):
                lib.sh('ip', 'link', 'del', bridge, check=False)
            answers.append(plain(result))
        assert answers[0] == answers[1]
        if dual:
            assert files[0] == files[1]
        else:
            assert {**files[0], 'ipam': None} == {**files[1], 'ipam': None}
