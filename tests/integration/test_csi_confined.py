# SPDX-License-Identifier: Apache-2.0
"""docs/security.md held to: the seccomp profile is enough and no more, unused capabilities are given up."""

import importlib.util
import json
import os
import pathlib
import platform
import re
import shutil
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


CLONE = """
import ctypes, os, platform, signal, sys, threading
thread = threading.Thread(target=print)
thread.start()
thread.join()
pid = ctypes.CDLL(None).syscall({'x86_64': 56, 'ppc64le': 120}.get(platform.machine(), 220),
                                ctypes.c_ulong(int(sys.argv[1], 0) | signal.SIGCHLD), 0, 0, 0, 0)
os._exit(0 if pid >= 0 else 3)
"""
# Mount, cgroup, UTS, IPC, user, PID, network.
NAMESPACES = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)


@needs_seccomp
@pytest.mark.skipif(platform.machine() in ('s390x', 'armv7l'), reason='its clone is called otherwise')
def test_profile_gives_no_namespace():
    """By clone(2), which threads and processes are made with; clone3 is not in it, and libc goes without."""
    def run(flags, *before):
        return subprocess.run([*before, sys.executable, '-c', CLONE, hex(flags)], check=False,
                              stdout=subprocess.DEVNULL).returncode
    assert run(0, *CONFINE) == 0
    for flag in NAMESPACES:
        assert run(flag) == 0, f'{flag:#x} cannot be tried here'
        assert run(flag, *CONFINE) < 0, f'{flag:#x}'
    assert 'clone3' not in names()


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
    keep = sum(1 << number for number in KEPT.values())
    mine = int(status('self')['CapBnd'], 16)
    daemon = Daemon(build, tmp_path)
    with daemon:
        have = status(daemon.process.pid)
        assert int(have['CapBnd'], 16) == int(have['CapPrm'], 16) == int(have['CapEff'], 16) == keep & mine
        assert int(have['CapAmb'], 16) == 0 and int(have['CapInh'], 16) & ~keep == 0
        assert have['NoNewPrivs'] == '1'


# What a program does that its bytes took over, in front of the tool itself.
TAKEN_OVER = """#!/bin/sh
{{
    cat /proc/self/status
    unshare -m true && echo "done: unshare"
    mount -t tmpfs none {scratch} && echo "done: mount"
    head -c 1 /proc/$PPID/mem && echo "done: memory"
    mknod {scratch}/sda b 8 0 && echo "done: mknod"
    chown 1:1 {scratch} && echo "done: chown"
    {python} -c 'import socket; socket.socket()' && echo "done: socket"
}} >{record} 2>&1
exec {tool} "$@"
"""


def make_taken_over(tools, tool):
    """Returns the file that the tool's last run will have written."""
    record, scratch = tools.parent / f'{tool}.status', tools.parent / 'scratch'
    scratch.mkdir(exist_ok=True)
    tools.mkdir(exist_ok=True)
    (tools / tool).write_text(TAKEN_OVER.format(record=record, scratch=scratch, tool=shutil.which(tool),
                                                python=sys.executable), encoding='utf-8')
    (tools / tool).chmod(0o755)
    return record


def assert_confined(record, capabilities):
    text = record.read_text(encoding='utf-8', errors='replace')
    have = dict(re.findall(r'(\w+):\t(.*)', text))
    for name in ('CapEff', 'CapPrm'):
        assert int(have[name], 16) == capabilities, f'{record}: {text}'
    assert int(have['CapInh'], 16) == int(have['CapAmb'], 16) == 0
    assert (have['NoNewPrivs'], have['Seccomp']) == ('1', '2')
    assert 'done: ' not in text, text


@pytest.mark.parametrize('argv', [[], ['--all-privileges']], ids=['default', 'all privileges'])
def test_tools_have_least(build, tmp_path, argv):
    """mke2fs, e2fsck and resize2fs nothing; mkfs.xfs what sets a block size. The daemon keeps what it had."""
    tools = tmp_path / 'tools'
    records = {tool: make_taken_over(tools, tool) for tool in ('mke2fs', 'e2fsck', 'resize2fs', 'mkfs.xfs')}
    daemon = Daemon(build, tmp_path, argv, environment={'PATH': f'{tools}:{os.environ["PATH"]}'})
    with daemon as client:
        before = status(daemon.process.pid)
        kubelet = Kubelet(daemon, client)
        ext4, xfs = (mount_capability(kind, SINGLE_NODE_MULTI_WRITER) for kind in ('ext4', 'xfs'))
        volume = create(client, 'pvc-1', 64 << 20, capability=ext4)
        kubelet.stage(volume, ext4)
        assert_confined(records['mke2fs'], 0)
        kubelet.unstage(volume)
        # As after a crash: the tool will be asked.
        image = next(path for path in daemon.pool.rglob('*') if path.is_file() and path.stat().st_size >= 64 << 20)
        subprocess.run(['debugfs', '-w', '-R', 'ssv state 2', image], check=True, capture_output=True)
        client.ControllerExpandVolume(volume_id=volume, capacity_range={'required_bytes': 128 << 20})
        kubelet.stage(volume, ext4)
        assert_confined(records['e2fsck'], 0)
        kubelet.unstage(volume)
        volume = create(client, 'pvc-2', 320 << 20, capability=xfs)
        kubelet.stage(volume, xfs)
        assert_confined(records['mkfs.xfs'], 1 << KEPT['sys_admin'])
        kubelet.unstage(volume)
        after = status(daemon.process.pid)
        for name in ('CapEff', 'CapPrm', 'NoNewPrivs', 'Seccomp'):
            assert after[name] == before[name]
    if records['resize2fs'].exists():
        assert_confined(records['resize2fs'], 0)


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
