# SPDX-License-Identifier: Apache-2.0
"""The protocol as a runtime sees it: environment, stdin, versions, errors on stdout, exit codes."""

import json
import os
import subprocess

import pytest

import cni
import node as lib

ROLES = ['berth-cni', 'bridge', 'ptp', 'loopback', 'host-local', 'static', 'portmap', 'bandwidth', 'firewall', 'tuning',
         'flannel']
VERSIONS = ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0']


@pytest.fixture(name='plugin')
def plugin_fixture(build):
    return cni.Plugin(build)


def base(sandbox, **more):
    return {'cniVersion': '1.0.0', 'name': 'net', 'type': 'bridge', 'bridge': 'br0', 'isGateway': True,
            'ipam': {'type': 'host-local', 'subnet': '10.1.0.0/24', 'dataDir': str(sandbox.path / 'leases')}, **more}


@pytest.mark.parametrize('role', ROLES)
def test_version(build, role):
    done = cni.Plugin(build, role).version()
    assert done.ok() == {'cniVersion': '1.1.0', 'supportedVersions': VERSIONS}
    assert done.stderr == ''


@pytest.mark.parametrize('role', ROLES)
def test_no_command_tells_what_it_is(build, role):
    plugin = cni.Plugin(build, role)
    done = subprocess.run([role], executable=str(plugin.program), env={}, input=b'', capture_output=True, check=False)
    assert done.returncode == 0 and done.stdout == b''
    assert done.stderr.decode().startswith(f'CNI {role} plugin')
    assert '0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0' in done.stderr.decode()


@pytest.mark.parametrize('env, code, words', [
    (dict(command='ADD'), 4, 'required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME] missing'),
    (dict(command='ADD', container_id='a', ifname='eth0'), 4, 'required env variables [CNI_NETNS] missing'),
    (dict(command='DEL', container_id='a'), 4, 'required env variables [CNI_IFNAME] missing'),
    (dict(command='FOO'), 4, 'unknown CNI_COMMAND: FOO'),
    (dict(command=''), 4, 'required env variables [CNI_COMMAND] missing'),
    (dict(command='DEL', container_id='a/b', ifname='eth0'), 4, 'invalid characters in containerID'),
    (dict(command='DEL', container_id='a', ifname='1234567890123456'), 4, 'interface name is too long'),
    (dict(command='DEL', container_id='a', ifname='a/b'), 4, 'interface name contains / or : or whitespace characters'),
    (dict(command='DEL', container_id='a', ifname='..'), 4, 'interface name is . or ..'),
    (dict(command='ADD', container_id='a', ifname='eth0', netns='/x', args='X=1'), 4, 'unknown args'),
    (dict(command='ADD', container_id='a', ifname='eth0', netns='/x', args='X'), 4, 'invalid pair'),
    (dict(command='ADD', container_id='a', ifname='eth0', netns='/x', args='MAC=zz'), 4,
     'MAC "zz" is not the MAC address'),
    (dict(command='ADD', container_id='a', ifname='eth0', netns='/run/netns/none'), 3, 'failed to open netns'),
    (dict(command='ADD', container_id='a', ifname='eth0', netns='/etc/passwd'), 3, 'failed to open netns'),
    (dict(command='ADD', container_id='a', ifname='eth0', netns='/proc/self/ns/mnt'), 3, 'failed to open netns'),
    (dict(command='ADD', container_id='a', ifname='eth0', netns='/proc/self/ns/net'), 8,
     "plugin's netns and netns from CNI_NETNS should not be the same"),
    (dict(command='DEL', container_id='a', ifname='eth0', netns='/proc/self/ns/net'), 8, 'should not be the same'),
])
def test_environment(plugin, sandbox, env, code, words):
    command = env.pop('command')
    error = plugin.exec(command, base(sandbox), **env).failed(code)
    assert words in error['msg'] + error.get('details', '')
    assert error['cniVersion']


def test_arguments_where_upstream_reads_none(build, sandbox):
    """Only plugins that take a key of CNI_ARGS refuse one that they do not know."""
    pod = sandbox.netns('a')
    conf = {'cniVersion': '1.0.0', 'name': 'net', 'type': 'loopback'}
    result = cni.Plugin(build, 'loopback').add(conf, pod, 'a', ifname='lo', args='X=1;Y').ok()
    for role in ('portmap', 'bandwidth'):
        more = cni.with_result({**conf, 'type': role}, result)
        cni.Plugin(build, role).add(more, pod, 'a', args='X=1;Y').ok()


@pytest.mark.parametrize('data, code, words', [
    (b'', 6, 'line 1'),
    (b'{', 6, 'line 1'),
    (b'[]', 6, 'must be an object'),
    (b'{"name": 1}', 7, '"name" must be a string'),
    (b'{"cniVersion": "1.0.0"}', 7, 'missing network name'),
    (b'{"cniVersion": "1.0.0", "name": "a/b"}', 7, 'invalid characters found in network name'),
    (b'{"cniVersion": "9.0.0", "name": "n"}', 1, 'incompatible CNI versions'),
    (b'{"cniVersion": "1.0.0", "name": "n", "mtu": "1500"}', 7, '"mtu" must be a number, not a string'),
    (b'{"cniVersion": "1.0.0", "name": "n", "vlan": 5000}', 7, 'invalid VLAN ID 5000'),
    (b'{"name": "n"}' + b' ' * (9 << 20), 5, 'stdin'),
    (b'[' * 100000, 6, 'nested deeper'),
])
def test_input(plugin, data, code, words):
    error = plugin.exec('ADD', data, container_id='a', ifname='eth0', netns='/run/netns/none').failed(code)
    assert words in error['msg'] + error.get('details', '')


@pytest.mark.parametrize('command, version', [('CHECK', '0.3.1'), ('GC', '1.0.0'), ('STATUS', '1.0.0')])
def test_verbs_have_versions(plugin, sandbox, command, version):
    conf = base(sandbox, cniVersion=version)
    error = plugin.exec(command, conf, container_id='a', ifname='eth0', netns='/run/netns/a').failed(1)
    assert error['msg'] == f'config version does not allow {command}'
    assert error['cniVersion'] == version


@pytest.mark.parametrize('version', VERSIONS)
def test_result_in_each_version(plugin, sandbox, version):
    pod = sandbox.netns('a')
    conf = base(sandbox, cniVersion=version, isDefaultGateway=True, dns={'nameservers': ['10.1.0.53']})
    result = plugin.add(conf, pod, 'a', args=cni.KUBERNETES_ARGS % 'a').ok()
    assert result['cniVersion'] == version
    assert result['dns'] == {'nameservers': ['10.1.0.53']}
    if version < '0.3.0':
        assert result['ip4'] == {'ip': '10.1.0.2/24', 'gateway': '10.1.0.1',
                                 'routes': [{'dst': '0.0.0.0/0', 'gw': '10.1.0.1'}]}
    else:
        assert [one['name'] for one in result['interfaces']][::2] == ['br0', 'eth0']
        assert result['interfaces'][2]['sandbox'] == pod.path
        address = {'interface': 2, 'address': '10.1.0.2/24', 'gateway': '10.1.0.1'}
        assert result['ips'] == [{'version': '4', **address} if version < '1.0.0' else address]
        assert result['routes'] == [{'dst': '0.0.0.0/0', 'gw': '10.1.0.1'}]
    if version >= '0.4.0':
        plugin.check(conf, pod, 'a', result=result).ok()
    plugin.delete(conf, pod, 'a', result=result).ok()


def test_missing_version_is_the_oldest(plugin, sandbox):
    conf = base(sandbox)
    del conf['cniVersion']
    assert plugin.add(conf, sandbox.netns('a'), 'a').ok()['ip4']['ip'] == '10.1.0.2/24'


def test_keys_of_any_case(plugin, sandbox):
    text = json.dumps(base(sandbox)).replace('"isGateway"', '"ISGATEWAY"').replace('"subnet"', '"Subnet"')
    text = text.replace('"bridge": "br0"', '"Bridge": "x", "BRIDGE": "br1", "unknown": [{"x": null}], "mtu": null')
    assert plugin.add(text.encode(), sandbox.netns('a'), 'a').ok()['interfaces'][0]['name'] == 'br1'


def test_nul_in_a_string(plugin, sandbox):
    """Annotations of pods come along, and may hold anything; what is read may not."""
    conf = base(sandbox)
    conf['runtimeConfig'] = {'io.kubernetes.cri.pod-annotations': {'a': 'x\0y'}}
    plugin.add(conf, sandbox.netns('a'), 'a').ok()
    conf['bridge'] = 'br0\0x'
    assert '"bridge" has a NUL in it' in str(plugin.add(conf, sandbox.netns('b'), 'b').failed(7))


def test_result_that_nobody_takes(plugin, sandbox):
    """Then it is no success, and the reason is told where it can be."""
    conf, a = base(sandbox), sandbox.netns('a')
    env = plugin.environment('ADD', container_id='a', ifname='eth0', netns=a.path)
    with open('/dev/full', 'wb') as full:
        done = subprocess.run([plugin.program], input=json.dumps(conf).encode(), env=env, stdout=full,
                              stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == 1 and b'stdout: No space left on device' in done.stderr
    plugin.delete(conf, a, 'a').ok()


def test_own_namespace_when_allowed(plugin, sandbox):
    conf = {'cniVersion': '1.0.0', 'name': 'net', 'type': 'bridge', 'bridge': 'br0'}
    plugin.add(conf, '/proc/self/ns/net', 'a', extra={'CNI_NETNS_OVERRIDE': 'TRUE'}).ok()
    assert 'eth0' in os.listdir('/sys/class/net')


def test_result_of_a_chain_comes_first(plugin, sandbox):
    """Under our own type behind another interface's plugin."""
    pod = sandbox.netns('a')
    first = cni.Plugin(plugin.program.parents[1], 'bridge').add(base(sandbox), pod, 'a').ok()
    conf = base(sandbox, name='second', type='berth-cni', bridge='br1', prevResult=first)
    conf['ipam'] = {**conf['ipam'], 'subnet': '10.2.0.0/24'}
    result = plugin.add(conf, pod, 'a', ifname='net1').ok()
    assert [one['name'] for one in result['interfaces']][::2] == ['br0', 'eth0', lib_host(result)]
    assert result['ips'][0] == first['ips'][0]
    assert result['ips'][1] == {'interface': 5, 'address': '10.2.0.2/24', 'gateway': '10.2.0.1'}


def lib_host(result):
    return result['interfaces'][4]['name']


# --- loopback ---

def test_loopback(build, sandbox):
    plugin, pod = cni.Plugin(build, 'loopback'), sandbox.netns('a')
    pod.run('ip', 'link', 'set', 'lo', 'down')
    conf = {'cniVersion': '0.3.1', 'name': 'cni-loopback', 'type': 'loopback'}
    result = plugin.add(conf, pod, 'a', ifname='lo').ok()
    assert result['interfaces'] == [{'name': 'lo', 'mac': '00:00:00:00:00:00', 'sandbox': pod.path}]
    assert [one['address'] for one in result['ips']] == ['127.0.0.1/8', '::1/128']
    newer = {**conf, 'cniVersion': '1.0.0'}
    plugin.check(newer, pod, 'a', ifname='lo').ok()
    prev = {'cniVersion': '1.0.0', 'ips': [{'address': '10.0.0.1/8'}]}
    assert plugin.add({**newer, 'prevResult': prev}, pod, 'a', ifname='lo').ok() == prev
    plugin.delete(newer, pod, 'a', ifname='lo').ok()
    assert 'loopback interface is down' in str(plugin.check(newer, pod, 'a', ifname='lo').failed())
    plugin.delete(newer, '/run/netns/none', 'a', ifname='lo').ok()
    plugin.delete(newer, None, 'a', ifname='lo').ok()


def test_other_address_on_loopback(build, sandbox):
    pod = sandbox.netns('a')
    pod.run('ip', 'link', 'set', 'lo', 'up')
    pod.run('ip', 'addr', 'add', '10.0.0.1/8', 'dev', 'lo')
    conf = {'cniVersion': '1.0.0', 'name': 'cni-loopback', 'type': 'loopback'}
    error = cni.Plugin(build, 'loopback').add(conf, pod, 'a', ifname='lo').failed()
    assert 'loopback interface found with non-loopback address "10.0.0.1"' in str(error)


# --- other IPAM plugins ---

SCRIPT = '''#!/bin/sh
echo "$CNI_COMMAND $CNI_CONTAINERID" >>{log}
cat >{log}.stdin
{body}
'''


def fake_ipam(sandbox, body):
    directory = sandbox.path / 'bin'
    directory.mkdir(exist_ok=True)
    path = directory / 'some-ipam'
    path.write_text(SCRIPT.format(log=sandbox.path / 'log', body=body))
    path.chmod(0o755)
    return directory


def log_of(sandbox):
    return (sandbox.path / 'log').read_text().splitlines()


def test_delegated_ipam(build, sandbox):
    answer = {'cniVersion': '1.0.0', 'ips': [{'address': '10.7.0.5/24', 'gateway': '10.7.0.1'}],
              'routes': [{'dst': '0.0.0.0/0'}], 'dns': {'domain': 'd'}}
    directory = fake_ipam(sandbox, f"[ $CNI_COMMAND != ADD ] || echo '{json.dumps(answer)}'")
    plugin, pod = cni.Plugin(build, 'bridge', path=['/nowhere', directory]), sandbox.netns('a')
    conf = base(sandbox, cniVersion='1.0.0', ipam={'type': 'some-ipam', 'secret': 'x'})
    result = plugin.add(conf, pod, 'a').ok()
    assert result['ips'] == [{'interface': 2, 'address': '10.7.0.5/24', 'gateway': '10.7.0.1'}]
    assert result['dns'] == {'domain': 'd'}
    assert json.loads((sandbox.path / 'log.stdin').read_text()) == conf
    plugin.check(conf, pod, 'a', result=result).ok()
    plugin.delete(conf, pod, 'a', result=result).ok()
    assert log_of(sandbox) == ['ADD a', 'CHECK a', 'DEL a']


def test_error_of_delegated_ipam_is_passed_on(build, sandbox):
    error = {'cniVersion': '1.0.0', 'code': 4711, 'msg': 'no addresses', 'details': 'at all'}
    plugin = cni.Plugin(build, 'bridge', path=[fake_ipam(sandbox, f"echo '{json.dumps(error)}'; exit 1")])
    got = plugin.add(base(sandbox, ipam={'type': 'some-ipam'}), sandbox.netns('a'), 'a').failed(4711)
    assert (got['msg'], got['details']) == ('no addresses', 'at all')
    assert not [one for one in lib.link_json() if one['ifname'].startswith('veth')]


@pytest.mark.parametrize('body, words', [
    ('exit 3', 'exit status 3'),
    ('echo oh no >&2; exit 1', 'oh no'),
    ('kill -9 $$', 'killed by signal 9'),
    ('echo nonsense', 'line 1'),
    ("echo '{\"ips\": [{}]}'", 'ips[0]'),
    ("echo '{\"cniVersion\": \"1.0.0\"}'", 'IPAM plugin returned missing IP config'),
])
def test_broken_delegated_ipam(build, sandbox, body, words):
    plugin = cni.Plugin(build, 'bridge', path=[fake_ipam(sandbox, f'[ $CNI_COMMAND = DEL ] && exit 0; {body}')])
    assert words in str(plugin.add(base(sandbox, ipam={'type': 'some-ipam'}), sandbox.netns('a'), 'a').failed())


@pytest.mark.parametrize('body, code, words', [
    ('exit 0', 0, ''), ('exit 3', 50, 'exit status 3'), ('kill -9 $$', 50, 'killed by signal 9'),
    ("echo '{\"code\": 50, \"msg\": \"no server\"}'; exit 1", 50, 'no server'),
    ("echo '{\"code\": 51, \"msg\": \"no server\"}'; exit 1", 51, 'no server'),
    ("echo '{\"code\": 4, \"msg\": \"unknown CNI_COMMAND\"}'; exit 1", 50, 'unknown CNI_COMMAND'),
    (None, 50, 'failed to find plugin "some-ipam"'),
])
def test_status_of_delegated_ipam(build, sandbox, body, code, words):
    plugin = cni.Plugin(build, 'bridge', path=[fake_ipam(sandbox, body) if body else '/nowhere'])
    done = plugin.status(base(sandbox, ipam={'type': 'some-ipam'}, cniVersion='1.1.0'))
    assert done.code == 0 if code == 0 else words in str(done.failed(code))


def test_missing_delegated_ipam(build, sandbox):
    error = cni.Plugin(build, 'bridge').add(base(sandbox, ipam={'type': 'none'}), sandbox.netns('a'), 'a').failed()
    assert 'failed to find plugin "none" in path [' in str(error)


def test_link_failure_gives_delegated_address_back(build, sandbox):
    answer = {'cniVersion': '1.0.0', 'ips': [{'address': '10.7.0.5/24'}],
              'routes': [{'dst': '10.99.0.0/16', 'gw': '10.98.0.1'}]}
    directory = fake_ipam(sandbox, f"[ $CNI_COMMAND != ADD ] || echo '{json.dumps(answer)}'")
    plugin, pod = cni.Plugin(build, 'bridge', path=[directory]), sandbox.netns('a')
    error = plugin.add(base(sandbox, ipam={'type': 'some-ipam'}), pod, 'a').failed()
    assert 'route add dev=eth0 to=10.99.0.0/16' in str(error)
    assert log_of(sandbox) == ['ADD a', 'DEL a']
    assert [one['ifname'] for one in pod.ip('link')] == ['lo']
