# SPDX-License-Identifier: Apache-2.0
"""What a call costs the node, counted: names looked up, frames that other pods get, round trips."""

import os
import re
import shutil
import subprocess

import pytest

import cni
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


def calls(trace):
    return [line.split(maxsplit=1)[1] for line in trace.read_text().splitlines() if '(' in line]


def route_messages(trace):
    """Requests to the kernel's tables of links and routes."""
    return [one for one in calls(trace) if one.startswith('sendmsg(') and '<NETLINK:[ROUTE' in one or
            'nlmsg_type=RTM_' in one and one.startswith('sendmsg(')]


@pytest.mark.parametrize('name', ['portmap', 'firewall', 'bandwidth'])
def test_chained_del_asks_for_no_link(node, build, tmp_path, name):
    """Each question about a link waits for the lock of all links, which the removal of another pod's holds for 20 ms.
    A netfilter socket is left to a child: closing it waits for what any process took away."""
    programs, trace = tmp_path / 'bin', tmp_path / 'trace'
    programs.mkdir()
    (programs / name).symlink_to(f'{build}/cni/berth-cni')
    pod = node.add(node.conf(firewall=False), 'a')
    plugin = cni.Plugin(build, name)
    conf = {'cniVersion': '1.0.0', 'name': 'net', 'type': name}
    plugin.add({**conf, 'prevResult': pod.result}, pod.netns, lib.container('a')).ok()
    wrapped = cni.Plugin(build, name, program=programs / name)
    wrapper = ['strace', '-f', '-qq', '-yy', '-o', str(trace), '-e', 'trace=sendmsg,clone,clone3,fork,vfork,setns']
    wrapped.delete(conf, pod.netns, lib.container('a'), result=pod.result, wrapper=wrapper).ok()
    seen = calls(trace)
    assert not route_messages(trace) and not [one for one in seen if one.startswith('setns')], seen
    assert len([one for one in seen if re.match(r'clone|v?fork', one)]) == (name != 'bandwidth'), seen
    assert not [one for one in lib.elements() if one[1] in ('port_pods', 'firewall')]
    node.delete(pod)


def test_limits_cost_three_round_trips(node, tmp_path):
    """One for the bucket on the pair; two for the ifb: make it, set it up. That the name is free, an ioctl tells."""
    counts = []
    limits = {'ingressRate': 8000000, 'ingressBurst': 800000, 'egressRate': 8000000, 'egressBurst': 800000}
    for name, more in (('a', {}), ('b', {}), ('c', {'runtimeConfig': {'bandwidth': limits}})):
        trace = tmp_path / name
        wrapper = ['strace', '-f', '-qq', '-yy', '-o', str(trace), '-e', 'trace=sendmsg']
        node.add(node.conf(**more), name, wrapper=wrapper)
        counts.append(len(route_messages(trace)))
    assert counts[2] - counts[1] == 3, counts


# Prints source and type of each frame that reaches eth0 until a byte comes on stdin.
FRAMES = '''
import select, socket, sys
frames = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
frames.bind(('eth0', 0))
print('ready', flush=True)
while True:
    ready, _, _ = select.select([frames, sys.stdin], [], [])
    if frames in ready:
        frame, sender = frames.recvfrom(2000)
        if sender[2] != socket.PACKET_OUTGOING:
            print(frame[6:12].hex(':'), frame[12:14].hex())
    elif sys.stdin in ready:
        break
'''


@pytest.mark.parametrize('mode, frames', [('bridge', 1), ('routed', 0)])
def test_a_pod_that_comes_costs_others_one_frame(node, mode, frames):
    """On a bridge of 1000 pods each frame to all is a thousand; a routed pod has none to announce itself to."""
    conf = node.conf(**({'mode': 'routed'} if mode == 'routed' else {}))
    conf['ipam'] = {**conf['ipam'], 'ranges': conf['ipam']['ranges'][:1]}
    watcher = node.add(conf, 'watcher')
    with subprocess.Popen(watcher.netns.argv('/usr/bin/python3', '-c', FRAMES), stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == 'ready\n'
        pod = node.add(conf, 'a')
        bridge = [one['address'] for one in lib.link_json() if one['ifname'] == 'cni0']
        node.delete(pod)
        seen = process.communicate('x\n')[0].splitlines()
        # The bridge joins multicast groups in its first seconds, whoever comes.
        joins = [f'{mac} {kind}' for mac in bridge for kind in ('0800', '86dd')]
        assert len([one for one in seen if one not in joins]) == frames, seen


@pytest.mark.parametrize('old', [False, True])
def test_del_without_a_result_looks_through_no_set(node, tmp_path, old):
    """The lease tells the address and its subnet, so an element is asked for by its key; as a version before wrote it,
    or made anew, it does not."""
    trace = tmp_path / 'trace'
    conf = node.conf(ipMasq=True, firewall=True)
    other, pod = node.add(conf, 'other'), node.add(conf, 'a')
    entry = node.sandbox.path / 'leases' / 'net' / '.berth' / f'{lib.container("a")}@eth0'
    assert os.readlink(entry) == f'{pod.address},{pod.address6},0.0.0.16,0.0.0.64'
    if old:
        entry.unlink()
        entry.symlink_to(f'{pod.address},{pod.address6}')
    before = lib.elements()
    node.delete(pod, result=None, wrapper=['strace', '-f', '-qq', '-o', str(trace), '-e', 'trace=sendmsg'])
    dumps = [one for one in calls(trace) if 'NFT_MSG_GETSETELEM' in one and 'NLM_F_DUMP' in one]
    assert bool(dumps) == old, dumps
    assert not [one for one in lib.elements() if pod.address in str(one) or pod.address6 in str(one)]
    assert len(before) - len(lib.elements()) == 4
    node.check(other).ok()
