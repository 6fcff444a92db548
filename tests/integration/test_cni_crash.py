# SPDX-License-Identifier: Apache-2.0
"""No state can leak: killed at system calls in turn (kills.py), and many at once on a host that never saw us."""

import json
import os
import pathlib
import subprocess

import pytest

import cni
import kills
import node as lib

KILLED = 137


class Host:
    def __init__(self, sandbox, build):
        self.sandbox, self.build = sandbox, build
        self.leases = sandbox.path / 'leases'
        self.plugin = cni.Plugin(build)
        self.n_names = 0
        self.removal = 'wait'

    def conf(self, port):
        """Everything that a pod can ask for."""
        limits = {'ingressRate': 8000000, 'ingressBurst': 800000, 'egressRate': 8000000, 'egressBurst': 800000}
        return {'cniVersion': '1.1.0', 'name': 'net', 'type': 'berth-cni', 'bridge': 'br0', 'isDefaultGateway': True,
                'ipMasq': True, 'macspoofchk': True, 'hairpinMode': True, 'ingressPolicy': 'same-bridge',
                'linkRemoval': self.removal,
                'sysctl': {'net.ipv4.conf.IFNAME.arp_filter': '1'},
                'runtimeConfig': {'bandwidth': limits,
                                  'portMappings': [{'hostPort': port, 'containerPort': 80, 'protocol': 'tcp'}]},
                'ipam': {'type': 'host-local', 'dataDir': str(self.leases),
                         'ranges': [[{'subnet': '10.1.0.0/16'}], [{'subnet': 'fd00:1::/64'}]]}}

    def state(self):
        """What belongs to pods: links, leases, the index, elements."""
        links = sorted(one['ifname'] for one in lib.link_json()
                       if one.get('linkinfo', {}).get('info_kind') in ('veth', 'ifb'))
        net = self.leases / 'net'
        leases = sorted(one for one in os.listdir(net) if one[0].isdigit() or ':' in one)
        index = sorted(one for one in os.listdir(net / '.berth') if one != 'boot')
        # What a policy is made of belongs to the network.
        elements = sorted(one for one in lib.elements() if one[1] not in ('isolated', 'same-bridge'))
        return links, leases, index, elements

    def netns(self):
        self.n_names += 1
        return self.sandbox.netns(f'n{self.n_names}')

    def killed(self, n, command, conf, netns, name, result=None):
        """Was it killed? False when it ended before its n-th system call."""
        wrapper = [str(self.build / 'tests' / 'lib' / 'kill-at'), str(n)]
        # Leaks cannot be looked for under ptrace.
        done = self.plugin.exec(command, cni.with_result(conf, result), netns=netns.path, container_id=name,
                                ifname='eth0', extra={'ASAN_OPTIONS': 'detect_leaks=0'}, wrapper=wrapper)
        if done.code != KILLED:
            done.ok()
        return done.code == KILLED


@pytest.fixture(name='host')
def host_fixture(sandbox, build):
    return Host(sandbox, pathlib.Path(build))


def address(result):
    return result['ips'][0]['address']


def gone(netns):
    lib.sh('ip', 'netns', 'del', pathlib.Path(netns.path).name)


@pytest.mark.deadline(900)
def test_add_killed(host):
    keeper = host.plugin.add(host.conf(1000), host.netns(), 'keeper').ok()
    baseline = host.state()
    n = kills.FIRST
    while True:
        pod, other = host.netns(), host.netns()
        if not host.killed(n, 'ADD', host.conf(2000), pod, 'pod'):
            break
        # The next ADD works,
        next_result = host.plugin.add(host.conf(3000), other, 'next').ok()
        assert address(next_result) != address(keeper)
        if n % 2:
            # DEL succeeds, and so does the ADD that the runtime tries again,
            host.plugin.delete(host.conf(2000), pod, 'pod').ok()
            again = host.plugin.add(host.conf(2000), pod, 'pod').ok()
            assert len({address(keeper), address(next_result), address(again)}) == 3
            host.plugin.delete(host.conf(2000), pod, 'pod', result=again).ok()
        # GC leaves nothing, with or without a DEL before it.
        host.plugin.gc(host.conf(1000), [('keeper', 'eth0'), ('next', 'eth0')]).ok()
        host.plugin.delete(host.conf(3000), other, 'next', result=next_result).ok()
        assert host.state() == baseline, f'killed at system call {n} of ADD'
        gone(pod)
        gone(other)
        n += kills.EVERY
    assert n > 80
    print(f'about {n - 1} system calls')


@pytest.mark.deadline(900)
@pytest.mark.parametrize('with_result, removal', [(True, 'wait'), (False, 'wait'), (True, 'detached')])
def test_delete_killed(host, with_result, removal):
    host.removal = removal
    host.plugin.add(host.conf(1000), host.netns(), 'keeper').ok()
    baseline = host.state()
    n = kills.FIRST
    while True:
        pod, other = host.netns(), host.netns()
        result = host.plugin.add(host.conf(2000), pod, 'pod').ok()
        told = result if with_result else None
        if not host.killed(n, 'DEL', host.conf(2000), pod, 'pod', told):
            break
        next_result = host.plugin.add(host.conf(3000), other, 'next').ok()
        if n % 2:
            host.plugin.delete(host.conf(2000), pod, 'pod', result=told).ok()
        else:
            host.plugin.gc(host.conf(1000), [('keeper', 'eth0'), ('next', 'eth0')]).ok()
        host.plugin.delete(host.conf(3000), other, 'next', result=next_result).ok()
        lib.wait_for(lambda: host.state() == baseline, what=f'killed at system call {n} of DEL')
        gone(pod)
        gone(other)
        n += kills.EVERY
    assert n > 50


@pytest.mark.deadline(300)
def test_first_add_killed(host):
    """Bridge, directory, tables and sets are made by the first ADD: killed there, the next one makes them."""
    for n in range(kills.FIRST, 400, kills.EVERY):
        if n > kills.FIRST:
            lib.sh('ip', 'link', 'del', 'br0', check=False)
            lib.sh('nft', 'flush', 'ruleset')
            lib.sh('rm', '-rf', host.leases)
        pod = host.netns()
        if not host.killed(n, 'ADD', host.conf(2000), pod, 'pod'):
            break
        other = host.netns()
        result = host.plugin.add(host.conf(3000), other, 'next').ok()
        host.plugin.check(host.conf(3000), other, 'next', result=result).ok()
        host.plugin.delete(host.conf(3000), other, 'next', result=result).ok()
        host.plugin.delete(host.conf(2000), pod, 'pod').ok()
        assert host.state() == ([], [], [], []), f'killed at system call {n}'
        gone(pod)
        gone(other)
    assert n > 80


@pytest.mark.deadline(300)
def test_many_at_once(host):
    """200 ADDs at the same moment on a host where nothing of ours exists yet; then 200 DELs."""
    n = 200
    pods = [host.sandbox.netns(f'p{i}') for i in range(n)]

    def all_at_once(command, results):
        processes = []
        for i, pod in enumerate(pods):
            env = host.plugin.environment(command, container_id=f'c{i}', netns=pod.path, ifname='eth0')
            conf = host.sandbox.path / f'conf{i}'
            conf.write_text(json.dumps(cni.with_result(host.conf(10000 + i), results and results[i])))
            with open(conf, encoding='utf-8') as file:
                processes.append(subprocess.Popen([str(host.plugin.program)], stdin=file, stdout=subprocess.PIPE,
                                                  stderr=subprocess.PIPE, env=env))
        return [process.communicate() + (process.returncode,) for process in processes]

    done = all_at_once('ADD', None)
    assert [(out, err) for out, err, code in done if code] == []
    results = [json.loads(out) for out, _, _ in done]
    assert len({address(one) for one in results}) == n
    assert len({one['ips'][1]['address'] for one in results}) == n
    for pod, result in zip(pods, results):
        found = pod.ip('addr', 'show', 'dev', 'eth0')[0]['addr_info']
        assert found[0]['local'] == address(result).split('/')[0]
    done = all_at_once('DEL', results)
    assert [(out, err) for out, err, code in done if code] == []
    assert host.state() == ([], [], [], [])
