# SPDX-License-Identifier: Apache-2.0
"""Weaknesses that others of this kind had, tried on Berth. docs/security.md has the whole table, and which of them
other files try."""

import json
import os

import cni
import csi
import pytest
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
