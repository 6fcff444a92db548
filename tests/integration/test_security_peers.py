# SPDX-License-Identifier: Apache-2.0
"""Weaknesses that others of this kind had, tried on Berth. docs/security.md has the whole table, and which of them
other files try."""

import json
import os
import socket
import subprocess
import sys

import cni
import csi
import node as lib
import pytest
import test_security_secrets as wire
from test_csi_local import MIB, Kubelet, block, mount

SECRET = 'eyJhbGciOi-not-for-logs'


@pytest.mark.parametrize('ipam', ('../evil/run', '../../evil/run', '/evil/run', './run', '..', 'evil/../evil/run'))
def test_cve_2021_20206(build, sandbox, ipam):
    """containernetworking/cni: a plugin's type with a path ran any program of the host as root."""
    evil = sandbox.path / 'evil'
    evil.mkdir()
    (sandbox.path / 'bin').mkdir()
    (evil / 'run').write_text(f'#!/bin/sh\ntouch {sandbox.path}/ran\n', encoding='ascii')
    (evil / 'run').chmod(0o755)
    (sandbox.path / 'bin' / 'run').symlink_to(evil / 'run')
    plugin = cni.Plugin(build, 'bridge', path=[sandbox.path / 'bin'])
    pod = sandbox.netns('a')
    name = str(evil / 'run') if ipam == '/evil/run' else ipam
    conf = {'cniVersion': '1.0.0', 'name': 'n', 'type': 'bridge', 'bridge': 'b0', 'ipam': {'type': name}}
    error = plugin.add(conf, pod, 'a').failed()
    assert name in str(error), error
    plugin.delete(conf, pod, 'a')
    plugin.check(conf, pod, 'a', result={'cniVersion': '1.0.0', 'ips': []})
    assert not (sandbox.path / 'ran').exists()


def test_cve_2024_21626_and_2019_5736(build, sandbox):
    """runc: a descriptor of the host that leaked into a child. What mkfs is given is its output and one device."""
    tools = sandbox.path / 'tools'
    tools.mkdir()
    seen = sandbox.path / 'seen'
    real = next(f'{d}/mke2fs' for d in ('/usr/sbin', '/sbin') if os.path.exists(f'{d}/mke2fs'))
    (tools / 'mke2fs').write_text(f'''#!/bin/bash
case "$*" in
*-V*) ;;
*) for fd in /proc/$$/fd/*; do readlink $fd; done > {seen} ;;
esac
exec {real} "$@"
''', encoding='ascii')
    (tools / 'mke2fs').chmod(0o755)
    root = sandbox.shared_directory('kubelet')
    with csi.Daemon(build, sandbox.path, kubelet_root=root,
                    environment={'PATH': f'{tools}:{os.environ["PATH"]}'}) as client:
        kubelet = Kubelet(root, client)
        volume = client.CreateVolume(name='v', capacity_range={'required_bytes': 16 * MIB},
                                     volume_capabilities=[mount('ext4')]).volume.volume_id
        kubelet.stage(volume, mount('ext4'))
        kubelet.unstage(volume)
    allowed = ('pipe:', '/dev/null', '/dev/loop', '/memfd:', str(tools / 'mke2fs'), str(seen))
    leaked = [line for line in seen.read_text().splitlines() if not line.startswith(allowed)]
    assert not leaked, leaked


STRANGER = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
s = socket.socket(socket.AF_UNIX)
s.settimeout(20)
s.connect(sys.argv[1])
try:
    s.sendall(bytes.fromhex(sys.argv[2]))
    sys.exit(0 if s.recv(1) == b'' else 1)
except (BrokenPipeError, ConnectionResetError):
    pass
"""


def test_cve_2023_1428(build, sandbox):
    """gRPC: "te: x", then more than 8 KiB of headers, ended the server. Whoever is not root is hung up on unread;
    root is answered, and the server goes on."""
    lines = [(':method', 'POST'), (':scheme', 'x'), (':path', '/csi.v1.Identity/Probe'), ('te', 'x'),
             ('grpclb_client_stats', 'x')]
    lines += [(f'x{number}', 'y' * 120) for number in range(100)]
    sent = wire.PREFACE + wire.frame(wire.SETTINGS, 0, 0, b'')
    sent += wire.frame(wire.HEADERS, wire.END_HEADERS, 1, b''.join(wire.literal(*line) for line in lines))
    daemon = csi.Daemon(build, sandbox.path)
    with daemon as client:
        for path in [daemon.socket_path, *daemon.socket_path.parents][:-1]:
            os.chmod(path, 0o777)
        subprocess.run([sys.executable, '-c', STRANGER, daemon.socket_path, sent.hex()], check=True, timeout=60)
        csi.until(lambda: 'hung up on user 65534' in daemon.log())
        assert client.Probe().ready.value
        with socket.socket(socket.AF_UNIX) as root:
            root.settimeout(60)
            root.connect(str(daemon.socket_path))
            root.sendall(sent)
            root.shutdown(socket.SHUT_WR)
            while root.recv(65536):  # until it has read all
                pass
        assert client.Probe().ready.value and daemon.process.poll() is None


@pytest.mark.parametrize('words', ('$(touch RAN)', '`touch RAN`', '10.1.3.0/24; touch RAN', "10.1.3.0/24' touch RAN '",
                                   '10.1.3.0/24\\ntouch RAN'))
def test_cve_2026_32241(build, sandbox, words):
    """flannel: what a Node object says reached "sh -c". Here it comes as podCIDR, or by flanneld's file."""
    ran, file = sandbox.path / 'ran', sandbox.path / 'subnet.env'
    words = words.replace('RAN', str(ran))
    file.write_text(f'FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET={words}\nFLANNEL_MTU={words}\n', encoding='ascii')
    for where in (['--subnet-file', file], ['--subnet', words]):
        done = subprocess.run([build / 'cni' / 'berth-cni', 'install', '--root', sandbox.path, *where],
                              capture_output=True, text=True, check=False)
        assert done.returncode != 0 and not ran.exists(), done


def test_cve_2024_3744_and_2023_2878(build, sandbox):
    """azurefile-csi-driver, secrets-store-csi-driver: the pod's service account tokens stood in the log."""
    root = sandbox.shared_directory('kubelet')
    daemon = csi.Daemon(build, sandbox.path, ['--log-level=debug'], kubelet_root=root)
    tokens = {'csi.storage.k8s.io/serviceAccount.tokens': json.dumps({'': {'token': SECRET}})}
    with daemon as client:
        kubelet = Kubelet(root, client)
        volume = client.CreateVolume(name='v', capacity_range={'required_bytes': 16 * MIB},
                                     volume_capabilities=[mount('ext4')]).volume.volume_id
        kubelet.stage(volume, mount('ext4'))
        target = kubelet.target('pod', 'v')
        good = {'volume_id': volume, 'target_path': str(target), 'volume_capability': mount('ext4'),
                'staging_target_path': str(kubelet.staging(volume)), 'volume_context': tokens}
        client.NodePublishVolume(**good)
        for wrong in ({'volume_id': 'none'}, {'target_path': '/etc/x'}, {'staging_target_path': str(root / 'none')},
                      {'volume_capability': block()}, {'volume_capability': mount('ntfs')}, {'volume_id': ''},
                      {'volume_capability': {}}, {'volume_context': {**tokens, 'unknown key': SECRET}}):
            try:
                client.NodePublishVolume(**{**good, **wrong})
            except csi.Failure as failure:
                assert SECRET not in failure.message
        kubelet.unpublish(volume, target)
        kubelet.unstage(volume)
    assert SECRET not in daemon.log()


def test_cve_2025_67499(build, sandbox):
    """containernetworking/plugins, portmap with nftables: a host port took what only passed the node, and with a
    hostIP what was for an address of others."""
    node = lib.Node(sandbox, build)
    taken = {'hostPort': 8080, 'containerPort': 80, 'protocol': 'tcp'}
    of_others = [{**taken, 'hostPort': 8081, 'hostIP': address} for address in (lib.OUTSIDE, lib.OUTSIDE6)]
    greedy = node.add(node.conf(ipMasq=True, runtimeConfig={'portMappings': [taken, *of_others]}), 'greedy')
    asker, neighbour = node.add(node.conf(ipMasq=True), 'asker'), node.add(node.conf(), 'neighbour')
    node.serve(greedy.netns, 'tcp', 80, 'greedy')
    for port in (8080, 8081):
        for place, name in ((node.outside, 'outside'), (neighbour.netns, 'neighbour')):
            node.serve(place, 'tcp', port, name)
        for who in (asker.netns, None):
            assert node.ask(who, 'tcp', lib.OUTSIDE, port).startswith('outside ')
            assert node.ask(who, 'tcp', lib.OUTSIDE6, port).startswith('outside ')
            assert node.ask(who, 'tcp', neighbour.address, port).startswith('neighbour ')
            assert node.ask(who, 'tcp', neighbour.address6, port).startswith('neighbour ')
    assert node.ask(node.outside, 'tcp', lib.NODE, 8080).startswith('greedy ')


def test_cve_2026_3864(build, sandbox):
    """csi-driver-nfs: ".." in a volume's id led its deletion to others' directories. Here nobody deletes on a server;
    what a volume's context says of directories is in test_nfs_refuses."""
    with csi.Daemon(build, sandbox.path, provider='nfs') as client:
        for volume in ('nas#export#../../other##', 'nas#export#pvc-1#../other#delete'):
            client.fails('UNIMPLEMENTED', 'DeleteVolume', volume_id=volume)


# What a terminal obeys, a second line for whoever reads the first, and a direction of writing.
OBEYED = '\x1b]0;x\x07\x1b[31m\r\n\x9b2J\u202e'


def is_plain(text):
    return not [one for one in text if ord(one) < 0x20 or 0x7f <= ord(one) < 0xa0 or one == '\u202e']


def test_cve_2021_25743_csi(build, sandbox):
    """kubectl before 1.26: what a tenant wrote came by an error to an event, and to an administrator's terminal."""
    root = sandbox.shared_directory('kubelet')
    with csi.Daemon(build, sandbox.path, kubelet_root=root) as client:
        kubelet = Kubelet(root, client)
        inline = {'volume_id': 'csi-' + 64 * 'a', 'target_path': str(kubelet.target('pod', 'v')),
                  'volume_capability': mount('ext4')}
        for attributes in ({'size': OBEYED}, {OBEYED: 'x'}, {'provisioning': OBEYED}, {'berth.dev/fs-grow-to': OBEYED},
                           {'csi.storage.k8s.io/pod.namespace': OBEYED + 300 * 'x'}):
            context = {**kubelet.context('pod', 'true'), **attributes}
            message = client.fails('INVALID_ARGUMENT', 'NodePublishVolume', **inline, volume_context=context)
            assert is_plain(message), message
        for wrong in ({'volume_capability': mount(OBEYED)}, {'target_path': f'{root}/{OBEYED}'},
                      {'volume_capability': mount('ext4', flags=[f'x-{OBEYED}'])}, {'volume_id': OBEYED}):
            try:
                client.NodePublishVolume(**{**inline, **wrong}, volume_context=kubelet.context('pod', 'false'))
            except csi.Failure as failure:
                assert is_plain(failure.message), failure.message


def test_cve_2021_25743_cni(build, sandbox):
    """The same of the runtime's words and the list's: containerd takes the escapes of JSON off before it tells them."""
    plugin, netns = cni.Plugin(build), sandbox.netns('a')
    ipam = {'type': 'host-local', 'dataDir': str(sandbox.path / 'leases'), 'subnet': '10.1.0.0/24'}
    conf = {'cniVersion': '1.1.0', 'name': 'n', 'type': 'berth-cni', 'bridge': 'b0', 'ipam': ipam}
    ports = {'portMappings': [{'hostPort': 80, 'containerPort': 80, 'hostIP': OBEYED}]}
    for wrong in ({'name': OBEYED}, {'bridge': OBEYED}, {'ipam': {**ipam, 'subnet': OBEYED}}, {'cniVersion': OBEYED},
                  {'ipam': {**ipam, 'type': OBEYED}}, {'runtimeConfig': ports}, {'ipMasq': OBEYED},
                  {'sysctl': {OBEYED: '1'}}, {'mac': OBEYED}, {'ipMasqBackend': OBEYED, 'ipMasq': True}):
        error = plugin.add({**conf, **wrong}, netns, 'a').failed()
        assert is_plain(error['msg'] + error.get('details', '')), error
    for environment in ({'ifname': OBEYED}, {'args': f'IP={OBEYED}'}, {'args': f'MAC={OBEYED}'}):
        done = plugin.add(conf, netns, 'a', **environment)
        assert done.code == 0 or is_plain(str(done.failed()['msg']) + done.failed().get('details', '')), done.json
        assert is_plain(done.stderr.replace('\n', '')), done.stderr
    error = plugin.add(conf, f'/run/netns/{OBEYED}', 'a').failed()
    assert is_plain(error['msg'] + error.get('details', '')), error
