# SPDX-License-Identifier: Apache-2.0
"""Routed pods: no bridge, the host routes to each; everything that a pod of a bridge has works for them too."""

import base64
import json
import os
import subprocess

import pytest

import cni
import node as lib
from node import NODE, NODE6, OUTSIDE, OUTSIDE6

GATEWAYS = ['169.254.1.1', 'fe80::1']


class Routed(lib.Node):
    def conf(self, **more):
        base = super().conf(mode='routed', **more)
        del base['bridge'], base['hairpinMode']
        return base


@pytest.fixture(name='node')
def node_fixture(sandbox, build):
    return Routed(sandbox, build)


def test_add_check_delete(node):
    a, b = (node.add(node.conf(), name) for name in 'ab')
    assert [one['address'] for one in a.result['ips']] == ['10.1.0.2/16', 'fd00:1::2/64']
    assert [one['gateway'] for one in a.result['ips']] == GATEWAYS
    assert [(one['dst'], one['gw']) for one in a.result['routes']] == list(zip(['0.0.0.0/0', '::/0'], GATEWAYS))
    assert [one['name'] for one in a.result['interfaces']] == [a.host_link, 'eth0']
    kinds = {one['ifname']: one.get('linkinfo', {}).get('info_kind') for one in lib.link_json()}
    assert 'bridge' not in kinds.values()
    for one, other in ((a, b), (b, a)):
        node.serve(other.netns, 'tcp', 80, other.name)
        # Both see each other's own address.
        assert node.ask(one.netns, 'tcp', other.address, 80) == f'{other.name} {one.address}'
        assert node.ask(one.netns, 'tcp', other.address6, 80) == f'{other.name} {one.address6}'
        assert node.ask(None, 'tcp', other.address, 80).startswith(other.name)
    node.serve(None, 'tcp', 81, 'node')
    for address in (NODE, NODE6):
        assert node.ask(a.netns, 'tcp', address, 81).startswith('node ')
    node.check(a).ok()
    # No address, and no list that the kernel walks: a route and a neighbour for each.
    for family, address in (('-4', a.address), ('-6', a.address6)):
        assert json.loads(lib.sh('ip', '-j', family, 'route', 'show', address).stdout)[0]['dev'] == a.host_link
        assert 'PERMANENT' in lib.sh('ip', family, 'neigh', 'show', 'dev', a.host_link).stdout
    assert json.loads(lib.sh('ip', '-j', 'addr', 'show', 'dev', a.host_link).stdout)[0]['addr_info'] == []
    node.delete(a)
    node.delete(b)
    assert not lib.sh('ip', 'route', 'show', '10.1.0.0/16').stdout and lib.elements() == []


def test_ipv4_only_has_no_ipv6(node):
    conf = node.conf()
    conf['ipam']['ranges'] = conf['ipam']['ranges'][:1]
    pod = node.add(conf, 'a')
    assert pod.host_link not in lib.sh('ip', '-6', 'route', 'show', 'table', 'all').stdout
    assert 'inet6' not in pod.netns.run('ip', 'addr', 'show', 'dev', 'eth0').stdout


@pytest.mark.parametrize('address, outside', [(NODE, OUTSIDE), (NODE6, OUTSIDE6)])
def test_rules(node, address, outside):
    """Masquerade, host ports from everywhere, the pod itself included, and a FORWARD chain that drops."""
    for tool in ('iptables', 'ip6tables'):
        lib.sh(tool, '-P', 'FORWARD', 'DROP')
    ports = {'portMappings': [{'hostPort': 8080, 'containerPort': 80, 'protocol': 'tcp'}]}
    conf = node.conf(ipMasq=True, firewall=True, macspoofchk=True)
    pod = node.add({**conf, 'runtimeConfig': ports}, 'a')
    other = node.add(conf, 'b')
    node.serve(pod.netns, 'tcp', 80, 'pod')
    node.serve(node.outside, 'tcp', 81, 'outside')
    assert node.ask(other.netns, 'tcp', outside, 81) == f'outside {address}'
    assert node.ask(node.outside, 'tcp', address, 8080) == f'pod {outside}'
    for netns in (None, other.netns, pod.netns):
        assert node.ask(netns, 'tcp', address, 8080).startswith('pod ')
    if address == NODE:
        assert node.ask(None, 'tcp', '127.0.0.1', 8080).startswith('pod ')
    node.check(pod).ok()
    node.delete(pod)
    node.delete(other)
    assert lib.elements() == []


def test_bandwidth(node):
    limits = {'ingressRate': 8000000, 'ingressBurst': 800000, 'egressRate': 8000000, 'egressBurst': 800000}
    pod = node.add(node.conf(runtimeConfig={'bandwidth': limits}), 'a')
    node.check(pod).ok()
    assert 'tbf' in lib.sh('tc', 'qdisc', 'show', 'dev', pod.host_link).stdout
    node.delete(pod)
    assert [one['ifname'] for one in lib.link_json() if one['ifname'] not in ('lo', 'uplink')] == []


@pytest.mark.parametrize('v6', [False, True])
def test_source_that_is_not_the_pods(node, v6):
    """macspoofchk: packets from another pod's address, or one of nobody, go nowhere; without it they do."""
    family, stolen, target = ('ip6', 'fd00:1::99', OUTSIDE6) if v6 else ('ip', '10.1.0.99', OUTSIDE)
    full = 128 if v6 else 32
    for checked in (True, False):
        pod = node.add(node.conf(macspoofchk=checked), f'pod{checked}')
        pod.netns.run('ip', 'addr', 'add', f'{stolen}/{full}', 'dev', 'eth0', *(['nodad'] if v6 else []))
        own = pod.address6 if v6 else pod.address
        for source, wanted in ((own, True), (stolen, not checked)):
            lib.sh('nft', f'table {family} seen {{\nchain c {{\ntype filter hook forward priority 0\n'
                          f'{family} saddr {source} counter\n}}\n}}')
            subprocess.run(pod.netns.argv('ping', '-c1', '-W1', '-I', source, target), check=False, capture_output=True)
            text = lib.sh('nft', 'list', 'table', family, 'seen').stdout
            assert ('packets 0 ' not in text) == wanted, (checked, source)
            lib.sh('nft', 'delete', 'table', family, 'seen')
        # libcni gives DEL no result before 0.4.0, and later not always.
        node.delete(pod, result=None)
        assert lib.elements() == []


def people(node, pod):
    """berth-cni's commands for this pod, as libcni noted it."""
    cache, programs = node.sandbox.path / 'cache', node.sandbox.path / 'bin'
    (cache / 'results').mkdir(parents=True)
    programs.mkdir()
    (programs / 'berth-cni').symlink_to(node.plugin.program)
    plugin = {key: value for key, value in pod.conf.items() if key not in ('name', 'cniVersion')}
    conflist = {'cniVersion': pod.conf['cniVersion'], 'name': 'net', 'plugins': [plugin]}
    (cache / 'results' / f'net-{lib.container(pod.name)}-eth0').write_text(json.dumps({
        'kind': 'cniCacheV1', 'containerId': lib.container(pod.name), 'networkName': 'net', 'ifName': 'eth0',
        'netns': pod.netns.path, 'config': base64.b64encode(json.dumps(conflist).encode()).decode(),
        'result': pod.result}))

    def run(command):
        return subprocess.run([node.plugin.program, command, '--cache-dir', cache, '--bin-dir', programs],
                              capture_output=True, text=True, timeout=60, check=False)

    return run


def test_repair(node):
    """What a link that was set down has lost, repair puts back."""
    pod = node.add(node.conf(), 'a')
    run = people(node, pod)
    assert run('check').returncode == 0
    lib.sh('ip', 'link', 'set', pod.host_link, 'down')
    pod.netns.run('ip', 'link', 'set', 'eth0', 'down')
    told = run('check')
    assert told.returncode != 0 and f'neighbour set dev={pod.host_link} to={pod.address}' in told.stdout
    assert run('repair').returncode == 0 and run('check').returncode == 0
    node.serve(pod.netns, 'tcp', 80, 'a')
    for address in (pod.address, pod.address6):
        assert node.ask(None, 'tcp', address, 80).startswith('a ')


@pytest.mark.parametrize('mode', ['bridge', 'routed'])
def test_gso_max_size(node, mode):
    """BIG TCP: both ends of the pair, and what is larger than 64 KiB arrives."""
    if tuple(int(one) for one in os.uname().release.split('.')[:2]) < (6, 3):
        pytest.skip('needs Linux 6.3')
    pods = [node.add({**node.conf(), 'mode': mode, 'bridge': 'cni0', 'gsoMaxSize': 196608}, f'p{i}') for i in range(2)]
    plain = node.add({**node.conf(), 'mode': mode, 'bridge': 'cni0'}, 'plain')
    for pod in pods:
        for one in lib.link_json() + pod.netns.ip('link'):
            if one['ifname'] in (pod.host_link, 'eth0') and one.get('gso_max_size'):
                assert one['gso_max_size'] == 196608, one
    sizes = {one['ifname']: one['gso_max_size'] for one in lib.link_json()}
    assert sizes[plain.host_link] == 65536 and sizes.get('cni0', 196608) == 196608
    assert node.megabits(pods[0].netns, pods[1].netns, pods[0].address, seconds=0.2) > 0
    assert node.megabits(plain.netns, pods[1].netns, plain.address, port=5001, seconds=0.2) > 0
    done = people(node, pods[0])('check')
    assert done.returncode == 0, done.stdout


def test_refused(node):
    for more, words in (({'vlan': 5}, 'has no bridge: leave \\"vlan\\" out'), ({'mode': 'x'}, 'must be'),
                        ({'gsoMaxSize': 524281}, 'must be between 0 and 524280'),
                        ({'gsoMaxSize': 1000}, 'must be between 65536 and 524280, or 0'),
                        ({'ipam': {}}, 'needs an \\"ipam\\"')):
        done = node.plugin.add({**node.conf(), **more}, node.sandbox.netns(f'n{len(words)}'), 'x')
        assert words in done.stdout, done.stdout
        done.failed(7)


def test_as_installed(node, build):
    """The list that install --mode routed writes."""
    root = node.sandbox.path / 'root'
    root.mkdir()
    subprocess.run([node.plugin.program, 'install', '--root', root, '--mode', 'routed', '--subnet', '10.1.0.0/24'],
                   check=True, capture_output=True)
    conf = json.loads((root / 'etc/cni/net.d/10-berth.conflist').read_text())
    node.sandbox.private_directory('/var/lib/cni')
    plugin = cni.Plugin(build, program=root / 'opt/cni/bin/berth-cni')
    one = {**conf['plugins'][0], 'name': conf['name'], 'cniVersion': '1.1.0'}
    pod = node.add(one, 'a', plugin=plugin)
    assert pod.result['ips'] == [{'interface': 1, 'address': '10.1.0.2/24', 'gateway': '169.254.1.1'}]
    plugin.status(one).ok()
    node.delete(pod, plugin=plugin)
    wrong = subprocess.run([node.plugin.program, 'install', '--mode', 'x'], check=False, capture_output=True, text=True)
    assert wrong.returncode == 64 and '--mode: "x" must be "bridge" or "routed"' in wrong.stderr


def test_the_mode_is_not_changed_under_pods(node, build):
    """Pods of a bridge do not reach routed ones of their subnet, nor these them: neither switch is done in silence."""
    bridged = {**lib.Node.conf(node), 'name': 'berth'}
    plugins, lists = (node.sandbox.path / name for name in ('bin', 'net.d'))

    def install(*argv):
        return subprocess.run([build / 'cni' / 'berth-cni', 'install', '--bin-dir', plugins, '--conf-dir', lists,
                               '--names', 'none', '--subnet', '10.1.0.0/16', *argv],
                              check=False, capture_output=True, text=True)

    def mode():
        return json.loads((lists / '10-berth.conflist').read_text())['plugins'][0].get('mode', 'bridge')

    for old, new, conf in (('bridge', 'routed', bridged), ('routed', 'bridge', node.conf(name='berth'))):
        assert install('--mode', old).returncode == 0
        pod = node.add(conf, old)
        for more in ((), ('--dry-run',)):
            done = install('--mode', new, *more)
            assert done.returncode == 1 and f'mode {new}: this node has pods of mode {old}' in done.stderr
            assert lib.container(old) in done.stderr and '--switch-mode' in done.stderr
        assert mode() == old and install('--mode', old).returncode == 0
        assert install('--mode', new, '--switch-mode').returncode == 0 and mode() == new
        # What is there already is not refused.
        assert install('--mode', new).returncode == 0
        node.delete(pod)
        (lists / '10-berth.conflist').unlink()
        assert install('--mode', new).returncode == 0
        (lists / '10-berth.conflist').unlink()


def test_uninstall_says_what_is_left(node, build):
    argv = [build / 'cni' / 'berth-cni', 'install', '--bin-dir', node.sandbox.path / 'bin', '--conf-dir',
            node.sandbox.path / 'net.d', '--uninstall']

    def uninstall(*more):
        return subprocess.run([*argv, *more], check=True, capture_output=True, text=True).stdout

    assert 'left as they are' not in uninstall() and 'left' not in json.loads(uninstall('--json'))
    pod = node.add(node.conf(ipMasq=True), 'a')
    said = uninstall()
    assert said.splitlines()[-1] == json.loads(uninstall('--json'))['left']
    assert 'left as they are: 1 pods that berth-cni attached, 2 elements of their rules' in said
    node.delete(pod)
    # What it prints does it.
    for command in said.rsplit(': ', 1)[1].strip().split(' && '):
        lib.sh(*command.split())
    assert lib.sh('nft', 'list', 'tables').stdout == ''
