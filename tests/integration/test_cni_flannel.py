# SPDX-License-Identifier: Apache-2.0
"""The type "flannel": the subnet file, the delegate, what is kept for DEL. tests/conformance/test_cni_upstream.py has
the comparison with flannel's own plugin."""

import base64
import json
import os
import pathlib
import subprocess

import pytest

import cni
import node as lib
from node import NODE, OUTSIDE

KEPT = pathlib.Path('/var/lib/cni/flannel')
SUBNET = {'FLANNEL_NETWORK': '10.244.0.0/16', 'FLANNEL_SUBNET': '10.244.1.1/24',
          'FLANNEL_IPV6_NETWORK': 'fd00:244::/48', 'FLANNEL_IPV6_SUBNET': 'fd00:244:0:1::1/64',
          'FLANNEL_MTU': '1450', 'FLANNEL_IPMASQ': 'true'}
# What /var/lib/cni/flannel/ID has of flannel-io/cni-plugin 1.8 for that subnet and for conf() below.
WANTED = ('{"cniVersion":"1.0.0","hairpinMode":true,"ipMasq":false,"ipam":{"ranges":[[{"subnet":"10.244.1.0/24"}],'
          '[{"subnet":"fd00:244:0:1::/64"}]],"routes":[{"dst":"10.244.0.0/16"},{"dst":"fd00:244::/48"}],'
          '"type":"host-local"},"isDefaultGateway":true,"isGateway":true,"mtu":1450,"name":"cbr0","type":"bridge"}')


def subnet_file(path='/run/flannel/subnet.env', **changes):
    """changes: None takes a line out."""
    lines = [f'{key}={value}\n' for key, value in {**SUBNET, **changes}.items() if value is not None]
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(path).write_text(''.join(lines))


def conf(version='1.0.0', **more):
    return {'cniVersion': version, 'name': 'cbr0', 'type': 'flannel',
            'delegate': {'hairpinMode': True, 'isDefaultGateway': True}, **more}


def leases(network='cbr0'):
    directory = pathlib.Path('/var/lib/cni/networks') / network
    return [one for one in os.listdir(directory) if one[0].isdigit() or ':' in one] if directory.exists() else []


def pairs():
    return [one['ifname'] for one in lib.link_json() if one['ifname'].startswith('veth')]


@pytest.fixture(name='node')
def node_fixture(sandbox, build):
    for path in ('/var/lib/cni', '/run'):
        sandbox.private_directory(path)
    subnet_file()
    node = lib.Node(sandbox, build)
    node.flannel = cni.Plugin(build, 'flannel')
    return node


def test_one_exec(node):
    """Addresses, routes, MTU and gateway of a node of flannel's, in a process that starts no other."""
    netns = node.sandbox.netns('a')
    trace = node.sandbox.path / 'trace'
    # Only by its name is it flannel, and strace has no option for that.
    (node.sandbox.path / 'flannel').symlink_to(node.flannel.program)
    plugin = cni.Plugin(node.build, program=node.sandbox.path / 'flannel')
    done = plugin.add(conf(), netns, lib.container('a'),
                      wrapper=['strace', '-f', '-qq', '-e', 'trace=execve', '-o', str(trace)])
    result = done.ok()
    assert [one['address'] for one in result['ips']] == ['10.244.1.2/24', 'fd00:244:0:1::2/64']
    assert [one['name'] for one in result['interfaces']][0] == 'cni0'
    assert {'10.244.0.0/16', 'fd00:244::/48', '0.0.0.0/0', '::/0'} == {one['dst'] for one in result['routes']}
    assert trace.read_text().count('execve(') == 1
    assert netns.ip('link', 'show', 'dev', 'eth0')[0]['mtu'] == 1450
    kept = KEPT / lib.container('a')
    assert kept.read_text() == WANTED
    assert (os.stat(kept).st_mode & 0o777, os.stat(KEPT).st_mode & 0o777) == (0o600, 0o700)
    node.flannel.check(conf(), netns, lib.container('a'), result=result).ok()
    node.flannel.delete(conf(), netns, lib.container('a'), result=result).ok()
    assert (pairs(), leases(), os.listdir(KEPT), lib.elements()) == ([], [], [], [])
    node.flannel.delete(conf(), netns, lib.container('a'), result=result).ok()


def test_versions(node):
    for version in ('0.2.0', '0.3.1', '0.4.0', '1.1.0'):
        netns = node.sandbox.netns('v' + version)
        result = node.flannel.add(conf(version), netns, lib.container('a')).ok()
        assert result['cniVersion'] == version
        node.flannel.delete(conf(version), netns, lib.container('a')).ok()
        assert (pairs(), leases()) == ([], [])


def test_keys_of_the_list_come_first(node):
    """mtu, ipMasq, isGateway and the type of the delegate; routes and dataDir of ipam; both paths."""
    subnet_file('/run/other.env', FLANNEL_NETWORK='10.244.0.0/16,10.245.0.0/16,10.244.0.0/16', FLANNEL_IPMASQ='false')
    directory = node.sandbox.path / 'flannel'
    one = conf(subnetFile='/run/other.env', dataDir=str(directory),
               delegate={'type': 'ptp', 'mtu': 1300},
               ipam={'dataDir': str(node.sandbox.path / 'leases'), 'routes': [{'dst': '192.168.0.0/16'}],
                     'ranges': [[{'subnet': '10.9.0.0/24'}]]},
               runtimeConfig={'mac': '02:00:00:00:00:77'})
    netns = node.sandbox.netns('a')
    result = node.flannel.add(one, netns, lib.container('a')).ok()
    assert [route['dst'] for route in result['routes']] == ['192.168.0.0/16', '10.244.0.0/16', '10.245.0.0/16',
                                                            'fd00:244::/48']
    kept = json.loads((directory / lib.container('a')).read_text())
    assert (kept['mtu'], kept['ipMasq'], 'isGateway' in kept) == (1300, True, False)
    assert kept['runtimeConfig'] == {'mac': '02:00:00:00:00:77'}
    assert kept['ipam']['ranges'][0] == [{'subnet': '10.244.1.0/24'}]
    assert netns.ip('link', 'show', 'dev', 'eth0')[0]['mtu'] == 1300
    node.flannel.delete(one, netns, lib.container('a'), result=result).ok()
    assert (pairs(), os.listdir(directory), lib.elements()) == ([], [], [])


def test_in_a_chain(node):
    """flannel, portmap, bandwidth, firewall, as clusters have it: ports, limits, and DEL backwards."""
    plugins = {kind: cni.Plugin(node.build, kind) for kind in ('flannel', 'portmap', 'bandwidth', 'firewall')}
    whole = {'cniVersion': '1.0.0', 'name': 'cbr0', 'plugins': [
        {'type': 'flannel', 'delegate': {'hairpinMode': True, 'isDefaultGateway': True}},
        {'type': 'portmap', 'runtimeConfig': {'portMappings': [
            {'hostPort': 8080, 'containerPort': 80, 'protocol': 'tcp'}]}},
        {'type': 'bandwidth', 'ingressRate': 8000000, 'ingressBurst': 80000},
        {'type': 'firewall'}]}
    netns = node.sandbox.netns('pod')
    env = {'container_id': lib.container('pod'), 'ifname': 'eth0', 'netns': netns.path}
    result = cni.chain(plugins, 'ADD', whole, **env).ok()
    node.serve(netns, 'tcp', 80, 'pod')
    assert node.ask(node.outside, 'tcp', NODE, 8080) == f'pod {OUTSIDE}'
    cni.chain(plugins, 'CHECK', whole, result=result, **env).ok()
    cni.chain(plugins, 'DEL', whole, result=result, **env).ok()
    assert (pairs(), leases(), lib.elements(), os.listdir(KEPT)) == ([], [], [], [])


def test_del_needs_the_id_alone(node):
    """What was kept is gone or was cut, flanneld has another subnet or none: the pod goes all the same."""
    kept = KEPT / lib.container('a')
    for lost in ('file', 'subnet', 'both', 'half'):
        subnet_file()
        node.flannel.add(conf(), node.sandbox.netns(lost), lib.container('a')).ok()
        if lost in ('file', 'both'):
            kept.unlink()
        if lost == 'both':
            os.unlink('/run/flannel/subnet.env')
        if lost == 'subnet':
            subnet_file(FLANNEL_SUBNET='10.244.7.1/24')
        if lost == 'half':
            kept.write_text(WANTED[:40])
        node.flannel.delete(conf(), '', lib.container('a')).ok()
        assert (lost, pairs(), leases()) == (lost, [], [])


def test_two_networks_of_one_pod(node):
    """The file has the container's id alone as its name: one network's is never taken for the other's."""
    other = conf(name='second', delegate={'bridge': 'cni1'}, ipam={'dataDir': '/var/lib/cni/networks'})
    netns = node.sandbox.netns('a')
    node.flannel.add(conf(), netns, lib.container('a')).ok()
    subnet_file(FLANNEL_SUBNET='10.244.2.1/24', FLANNEL_IPV6_SUBNET='fd00:244:0:2::1/64')
    node.flannel.add(other, netns, lib.container('a'), ifname='net1').ok()
    node.flannel.delete(conf(), netns, lib.container('a')).ok()
    assert (len(pairs()), leases(), len(leases('second'))) == (1, [], 2)
    node.flannel.delete(other, netns, lib.container('a'), ifname='net1').ok()
    assert (pairs(), leases('second')) == ([], [])


def test_subnet_file_that_is_not_whole(node):
    for changes, code, words in [
            ({'FLANNEL_MTU': None}, 11, 'is missing FLANNEL_MTU'),
            ({'FLANNEL_IPMASQ': None}, 11, 'is missing FLANNEL_IPMASQ'),
            ({'FLANNEL_SUBNET': None, 'FLANNEL_IPV6_SUBNET': None}, 11, 'is missing FLANNEL_SUBNET'),
            ({'FLANNEL_NETWORK': None, 'FLANNEL_IPV6_NETWORK': None}, 11, 'is missing FLANNEL_NETWORK'),
            ({'FLANNEL_SUBNET': '10.244.1.0'}, 7, 'FLANNEL_SUBNET: "10.244.1.0"'),
            ({'FLANNEL_NETWORK': 'fd00::/48'}, 7, 'FLANNEL_NETWORK: "fd00::/48"'),
            ({'FLANNEL_NETWORK': ','.join(f'10.{i}.0.0/16' for i in range(17))}, None, 'more than 16 networks'),
            ({'FLANNEL_MTU': '-1'}, 7, 'FLANNEL_MTU: "-1"')]:
        subnet_file(**changes)
        error = node.flannel.add(conf(), '/proc/1/ns/net', lib.container('a')).failed(code)
        assert words in str(error)
        assert words in str(node.flannel.status(conf('1.1.0')).failed(50))
    assert (pairs(), KEPT.exists()) == ([], False)


def test_delegate_that_is_none(node):
    netns = node.sandbox.netns('a')
    for delegate, words in [
            ({'type': 7}, '"type" must be a string'),
            ({'type': 'flannel'}, 'is not the name of another plugin'),
            ({'type': '../bridge'}, 'is not the name of another plugin'),
            ({'name': 'x'}, 'must not have "name"'),
            ({'ipam': {}}, 'must not have "ipam"'),
            ([], '"delegate"'),
            ({'type': 'nowhere'}, 'failed to find plugin "nowhere"')]:
        error = node.flannel.add(conf(delegate=delegate), netns, lib.container('a')).failed()
        assert words in str(error)
    assert pairs() == []


def test_before_flanneld(node):
    """No file yet: said with its path and what writes it; a runtime comes again."""
    os.unlink('/run/flannel/subnet.env')
    error = node.flannel.add(conf(), node.sandbox.netns('a'), lib.container('a')).failed(11)
    assert 'open /run/flannel/subnet.env' in str(error) and 'flanneld' in str(error)
    assert 'subnet.env' in str(node.flannel.status(conf('1.1.0')).failed(50))
    subnet_file()
    node.flannel.status(conf('1.1.0')).ok()


def test_executed_delegate(node):
    """A type that is not ours is run, with what was kept; its failure is passed on."""
    directory = node.sandbox.path / 'others'
    directory.mkdir()
    script = directory / 'other'
    script.write_text('#!/bin/sh\ncat >' + str(directory) + '/$CNI_COMMAND.in\n[ ! -e ' + str(directory) + '/no ] || '
                      '{ echo \'{"cniVersion":"1.0.0","code":123,"msg":"not today"}\'; exit 1; }\n'
                      'echo \'{"cniVersion":"1.0.0","ips":[]}\'\n')
    script.chmod(0o755)
    plugin = cni.Plugin(node.build, 'flannel', path=[directory])
    one, netns = conf(delegate={'type': 'other', 'key': [1]}), node.sandbox.netns('a')
    assert plugin.add(one, netns, lib.container('a')).ok() == {'cniVersion': '1.0.0', 'ips': []}
    assert (directory / 'ADD.in').read_text() == (KEPT / lib.container('a')).read_text()
    assert json.loads((directory / 'ADD.in').read_text())['key'] == [1]
    (directory / 'no').touch()
    assert plugin.delete(one, netns, lib.container('a')).failed(123)['msg'] == 'not today'
    assert (KEPT / lib.container('a')).exists()
    (directory / 'no').unlink()
    plugin.delete(one, netns, lib.container('a')).ok()
    assert (directory / 'DEL.in').read_text() == (directory / 'ADD.in').read_text()
    (directory / 'DEL.in').unlink()
    plugin.delete(one, netns, lib.container('a')).ok()
    assert not (directory / 'DEL.in').exists() and os.listdir(KEPT) == []


def test_gc(node):
    """Pods, leases and files of those that are gone; what is young or another network's stays."""
    one, other = conf('1.1.0'), conf('1.1.0', name='second', delegate={'bridge': 'cni1'})
    for name in ('stay', 'gone'):
        node.flannel.add(one, node.sandbox.netns(name), lib.container(name)).ok()
    subnet_file(FLANNEL_SUBNET='10.244.2.1/24', FLANNEL_IPV6_SUBNET='fd00:244:0:2::1/64')
    node.flannel.add(other, node.sandbox.netns('third'), lib.container('third')).ok()
    (KEPT / '.tmp-killed').write_text('{')
    for name in ['.tmp-killed', *map(lib.container, ('stay', 'gone', 'third'))]:
        os.utime(KEPT / name, (0, 0))
    (KEPT / lib.container('young')).write_text((KEPT / lib.container('gone')).read_text())
    node.flannel.gc(one, [(lib.container('stay'), 'eth0')]).ok()
    assert sorted(os.listdir(KEPT)) == sorted(map(lib.container, ('stay', 'third', 'young')))
    assert (len(pairs()), sorted(leases())) == (2, ['10.244.1.2', 'fd00:244:0:1::2'])
    assert len(leases('second')) == 2


def test_repair(node):
    """A pod of flannel's list gets back what it lost, as one of the bridge plugin's."""
    binaries, lists, cache = (node.sandbox.path / name for name in ('bin', 'lists', 'cache'))
    program = node.build / 'cni' / 'berth-cni'
    for path in (binaries, lists, cache / 'results'):
        path.mkdir(parents=True)
    subprocess.run([program, 'install', '--bin-dir', binaries, '--names', 'flannel'], check=True, capture_output=True)
    netns = node.sandbox.netns('a')
    result = node.flannel.add(conf(), netns, lib.container('a')).ok()
    whole = {'cniVersion': '1.0.0', 'name': 'cbr0', 'plugins': [
        {'type': 'flannel', 'delegate': {'hairpinMode': True, 'isDefaultGateway': True}}]}
    note = {'kind': 'cniCacheV1', 'containerId': lib.container('a'), 'ifName': 'eth0', 'networkName': 'cbr0',
            'netns': netns.path, 'result': result,
            'config': base64.b64encode(json.dumps(whole).encode()).decode()}
    (cache / 'results' / f'cbr0-{lib.container("a")}-eth0').write_text(json.dumps(note))

    def berth(verb):
        return subprocess.run([program, verb, '--bin-dir', binaries, '--conf-dir', lists, '--cache-dir', cache],
                              capture_output=True, text=True, check=False)

    assert berth('check').returncode == 0
    lib.sh('ip', 'addr', 'del', '10.244.1.1/24', 'dev', 'cni0')
    done = berth('check')
    assert done.returncode == 1 and '10.244.1.1/24' in done.stdout
    assert berth('repair').returncode == 0
    assert '10.244.1.1/24' in lib.sh('ip', 'addr', 'show', 'dev', 'cni0').stdout
    assert berth('check').returncode == 0


def test_flannels_installer_does_not_reach_the_other_names(node):
    """Its init container copies with "cp -f", which writes through a link: "flannel" is a file of its own."""
    binaries, program = node.sandbox.path / 'bin', node.build / 'cni' / 'berth-cni'
    argv = [program, 'install', '--bin-dir', binaries, '--names']
    subprocess.run([*argv, 'all'], check=True, capture_output=True)
    assert not (binaries / 'flannel').is_symlink() and (binaries / 'bridge').is_symlink()
    subprocess.run(['cp', '-f', '/bin/true', binaries / 'flannel'], check=True)
    assert (binaries / 'berth-cni').read_bytes() == program.read_bytes()
    # It is another's program now.
    done = subprocess.run([*argv, 'all'], check=False, capture_output=True, text=True)
    assert done.returncode == 1 and 'programs of somebody else: flannel' in done.stderr
    subprocess.run([*argv, 'missing'], check=True, capture_output=True)
    assert (binaries / 'flannel').read_bytes() == pathlib.Path('/bin/true').read_bytes()
    # Of an earlier version of ours: replaced, and taken away with the rest.
    (binaries / 'flannel').write_bytes(program.read_bytes() + b'another')
    subprocess.run([*argv, 'all'], check=True, capture_output=True)
    assert (binaries / 'flannel').read_bytes() == program.read_bytes()
    subprocess.run([program, 'install', '--bin-dir', binaries, '--conf-dir', node.sandbox.path, '--uninstall'],
                   check=True, capture_output=True)
    assert os.listdir(binaries) == []


@pytest.mark.parametrize('more', [
    {'delegate': {'name': 'x'}}, {'delegate': {'ipam': {}}}, {'delegate': {'type': 'flannel'}},
    {'delegate': {'type': 7}}, {'delegate': 'x'}, {'ipam': 7}, {'ipam': {'routes': 7}}, {'ipam': {'type': 'a/b'}},
    {'ipam': {'type': 'flannel'}}, {'ipam': {'dataDir': 7}}, {'subnetFile': 7}, {'dataDir': 7}])
def test_what_add_refuses_does_not_stop_del(node, more):
    netns = node.sandbox.netns('a')
    node.flannel.add(conf(**more), netns, 'a').failed(7)
    node.flannel.delete(conf(**more), netns, 'a').ok()
    assert pairs() == [] and leases() == []
