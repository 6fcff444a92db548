# SPDX-License-Identifier: Apache-2.0
"""What a call costs the node, counted: names looked up, frames that other pods get, round trips."""

import shutil

import pytest

import node as lib
from node import Node


@pytest.fixture(name='node')
def node_fixture(sandbox, build):
    if not shutil.which('strace'):
        pytest.skip('needs strace')
    return Node(sandbox, build)


def full(node, **more):
    """Everything that writes switches."""
    ports = [{'hostPort': 8080, 'containerPort': 80, 'protocol': 'tcp'}]
    return node.conf(ipMasq=True, sysctl={'net.ipv4.conf.IFNAME.log_martians': '1'},
                     runtimeConfig={'portMappings': ports}, **more)


SWITCHES = ('net.ipv6.conf.eth0.accept_ra', 'net.ipv6.conf.eth0.accept_dad', 'net.ipv6.conf.eth0.keep_addr_on_down',
            'net.ipv6.conf.eth0.disable_ipv6', 'net.ipv4.conf.eth0.log_martians')


@pytest.mark.parametrize('mode', ['bridge', 'routed'])
@pytest.mark.parametrize('lacks', [False, True])
def test_switches(node, tmp_path, mode, lacks):
    """/proc/sys/net is not looked at through the node's /proc, where the kernel walks all namespaces in which somebody
    looked before; where there is no other, it is."""
    trace = tmp_path / 'trace'
    wrapper = ['strace', '-f', '-qq', '-o', str(trace), '-e', 'trace=fsopen,openat']
    if lacks:
        wrapper += ['-e', 'inject=fsopen:error=ENOSYS']
    conf = full(node) if mode == 'bridge' else full(node, mode='routed')
    pod = node.add(conf, 'a', wrapper=wrapper)
    seen = [one for one in trace.read_text().splitlines() if 'sys/net/' in one]
    assert len(seen) >= 6 and all(('"/proc/' in one) == lacks for one in seen), seen
    assert [pod.netns.run('sysctl', '-n', one).stdout.strip() for one in SWITCHES] == ['0', '0', '1', '0', '1']
    assert lib.sh('sysctl', '-n', f'net.ipv6.conf.{pod.host_link}.accept_ra').stdout.strip() == '0'
    node.check(pod).ok()
