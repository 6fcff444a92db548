# SPDX-License-Identifier: Apache-2.0
"""docs/security.md held to: the seccomp profile is enough and no more, unused capabilities are given up."""

import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import time

import pytest

from csi import SINGLE_NODE_MULTI_WRITER, Daemon, mount_capability
from test_csi_node import Kubelet, create

TESTS = pathlib.Path(__file__).resolve().parents[1]
PROFILE = TESTS.parent / 'docs' / 'seccomp.json'
CONFINE = [sys.executable, str(TESTS / 'lib' / 'confine.py'), str(PROFILE)]
KEPT = {'sys_admin': 21, 'sys_resource': 24, 'sys_rawio': 17, 'dac_override': 1, 'dac_read_search': 2, 'fowner': 3,
        'chown': 0, 'fsetid': 4, 'lease': 28, 'mknod': 27, 'ipc_lock': 14, 'net_bind_service': 10}
NEVER = {'acct', 'bpf', 'chroot', 'clock_settime', 'create_module', 'delete_module', 'finit_module', 'init_module',
         'io_uring_setup', 'ioperm', 'iopl', 'kexec_file_load', 'kexec_load', 'nfsservctl',
         'open_by_handle_at', 'perf_event_open', 'personality', 'pidfd_getfd', 'pivot_root',
         'process_vm_readv', 'process_vm_writev', 'ptrace', 'quotactl', 'reboot', 'setgid', 'sethostname',
         'setns', 'settimeofday', 'setuid', 'swapoff', 'swapon', 'syslog', 'unshare', 'userfaultfd', 'vhangup'}

needs_seccomp = pytest.mark.skipif(importlib.util.find_spec('seccomp') is None,
                                   reason='needs python3-seccomp to load the profile')


def names():
    with open(PROFILE, encoding='utf-8') as file:
        return [name for group in json.load(file)['syscalls'] for name in group['names']]


def status(pid):
    text = pathlib.Path(f'/proc/{pid}/status').read_text(encoding='ascii')
    return dict(re.findall(r'(\w+):\t(.*)', text))


def test_profile_has_nothing_for_strangers():
    allowed = names()
    assert len(allowed) == len(set(allowed))
    assert not NEVER & set(allowed)


@needs_seccomp
def test_profile_is_in_force():
    done = subprocess.run([*CONFINE, 'unshare', '-m', 'true'], check=False)
    assert done.returncode < 0
    assert subprocess.run([*CONFINE, 'true'], check=False).returncode == 0


@needs_seccomp
@pytest.mark.deadline(600)
@pytest.mark.parametrize('file, chosen', [
    ('test_csi_local.py', 'claim or inline or raw_block or growth or restore or condition or group or interrupted'),
    ('test_csi_serve.py', ''),
    ('test_csi_sidecars.py', 'registration or metrics'),
    ('test_csi_node.py', 'test_one_pod or test_restart or test_two_targets'),
])
def test_a_whole_run_under_the_profile(build, file, chosen):
    """What the profile lacks kills the daemon or its tool, and with it one of these."""
    # A sanitizer's look for leaks at the end is by ptrace(2), which the profile is right to refuse; these very tests
    # run without the profile, too, and are looked at there.
    environment = {**os.environ, 'BERTH_BUILD': str(build), 'BERTH_TEST_WRAPPER': ' '.join(CONFINE),
                   'ASAN_OPTIONS': ':'.join([os.environ.get('ASAN_OPTIONS', ''), 'detect_leaks=0'])}
    argv = [sys.executable, str(TESTS / 'lib' / 'run.py'), str(TESTS / 'integration' / file), '-k', chosen]
    done = subprocess.run(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    lines = done.stdout.splitlines()
    print('\n'.join(lines[-60:]))
    assert done.returncode == 0
    assert not [line for line in lines if 'not ok' in line]
    assert len([line for line in lines if re.search(r'\bok \d+ - ', line)]) >= 3


def test_capabilities_are_given_up(build, tmp_path):
    """By the daemon and, through the bounding set, by the tools that it runs."""
    keep = sum(1 << number for number in KEPT.values())
    mine = int(status('self')['CapBnd'], 16)
    tools = tmp_path / 'tools'
    tools.mkdir()
    (tools / 'mke2fs').write_text(f'#!/bin/sh\ncat /proc/self/status >{tmp_path}/tool\nexec /sbin/mke2fs "$@"\n')
    (tools / 'mke2fs').chmod(0o755)
    daemon = Daemon(build, tmp_path, environment={'PATH': f'{tools}:{os.environ["PATH"]}'})
    with daemon as client:
        have = status(daemon.process.pid)
        assert int(have['CapBnd'], 16) == int(have['CapPrm'], 16) == int(have['CapEff'], 16) == keep & mine
        assert int(have['CapAmb'], 16) == 0 and int(have['CapInh'], 16) & ~keep == 0
        assert have['NoNewPrivs'] == '1'
        kubelet = Kubelet(daemon, client)
        capability = mount_capability('ext4', SINGLE_NODE_MULTI_WRITER)
        volume = create(client, 'pvc-1', capability=capability)
        kubelet.stage(volume, capability)
        kubelet.unstage(volume)
        tool = dict(re.findall(r'(\w+):\t(.*)', (tmp_path / 'tool').read_text(encoding='ascii')))
        assert int(tool['CapEff'], 16) & ~keep == 0 and int(tool['CapBnd'], 16) & ~keep == 0


def test_all_privileges_are_kept_when_asked_for(build, tmp_path):
    daemon = Daemon(build, tmp_path, argv=['--all-privileges'])
    with daemon:
        have = status(daemon.process.pid)
        assert int(have['CapEff'], 16) == int(status('self')['CapEff'], 16)
        assert have['NoNewPrivs'] == '0'


def test_a_volume_that_belongs_to_its_pod(build, tmp_path):
    """Its root is the pod's alone: it is looked at, grown and taken back all the same."""
    capability = mount_capability('xfs', SINGLE_NODE_MULTI_WRITER)
    daemon = Daemon(build, tmp_path)
    with daemon as client:
        kubelet = Kubelet(daemon, client)
        volume = create(client, 'pvc-1', 320 << 20, capability)
        kubelet.stage(volume, capability)
        target = kubelet.publish('pod-1', volume, capability)
        os.chown(target, 1234, 1234)
        os.chmod(target, 0o700)
        reply = client.NodeGetVolumeStats(volume_id=volume, volume_path=str(target))
        assert not reply.volume_condition.abnormal, reply.volume_condition.message
        client.ControllerExpandVolume(volume_id=volume, capacity_range={'required_bytes': 640 << 20})
        client.NodeExpandVolume(volume_id=volume, volume_path=str(target),
                                staging_target_path=str(kubelet.staging(volume)))
        kubelet.unpublish(volume, target)
        kubelet.unstage(volume)
        start = time.monotonic()
        client.DeleteVolume(volume_id=volume)
        assert time.monotonic() - start < 60
