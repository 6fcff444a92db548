# SPDX-License-Identifier: Apache-2.0
"""docs/security.md held to: the seccomp profile is enough and no more, unused capabilities are given up."""

import contextlib
import importlib.util
import json
import os
import pathlib
import platform
import re
import shutil
import socket
import subprocess
import sys
import time

import pytest
import yaml

import cgroups
from csi import SINGLE_NODE_MULTI_WRITER, Daemon, Failure, block_capability, expand, mount_capability
from sandbox import MS_BIND
from sandbox import mount as sandbox_mount
from test_csi_node import Kubelet, create

TESTS = pathlib.Path(__file__).resolve().parents[1]
PROFILE = TESTS.parent / 'docs' / 'seccomp.json'
CONFINE = [sys.executable, str(TESTS / 'lib' / 'confine.py'), str(PROFILE)]
KEPT = {'sys_admin': 21, 'sys_resource': 24, 'dac_override': 1, 'fowner': 3, 'chown': 0, 'ipc_lock': 14,
        'net_bind_service': 10}
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
# The question for its version may come at any time, and has nothing.
case "$*" in */fd/*) ;; *) exec {tool} "$@" ;; esac
{{
    cat /proc/self/status
    unshare -m true && echo "done: unshare"
    mount -t tmpfs none {scratch} && echo "done: mount"
    head -c 1 /proc/$PPID/mem && echo "done: memory"
    mknod {scratch}/sda b 8 0 && echo "done: mknod"
    chown 1:1 {scratch} && echo "done: chown"
    {python} -c 'import socket; socket.socket()' && echo "done: socket"
    {python} -c 'import socket; socket.socket(socket.AF_UNIX)' && echo "done: socket of the daemon's family"
    {python} -c 'import os; os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY)' && echo "done: core_pattern"
    for other in /dev/loop[0-9]*; do
        [ "$other" -ef /proc/self/fd/3 ] || ! (exec 4<"$other") 2>/dev/null || echo "done: $other"
    done
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
        expand(client, volume, kubelet.staging(volume), 128 << 20)
        kubelet.unstage(volume)
        # As after a crash: the tool will be asked.
        image = next(path for path in daemon.pool.rglob('*') if path.is_file() and path.stat().st_size >= 64 << 20)
        subprocess.run(['debugfs', '-w', '-R', 'ssv state 2', image], check=True, capture_output=True)
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


# A kernel without filters, to what is started under it.
NO_FILTER = """
import errno, os, seccomp, sys
rules = seccomp.SyscallFilter(defaction=seccomp.ALLOW)
rules.add_rule(seccomp.ERRNO(errno.EINVAL), 'prctl', seccomp.Arg(0, seccomp.EQ, 22))
rules.load()
os.execvp(sys.argv[1], sys.argv[1:])
"""


@needs_seccomp
@pytest.mark.parametrize('has_filter', [True, False])
def test_without_filters_it_says_so_once(build, tmp_path, has_filter):
    wrapper = [] if has_filter else [sys.executable, '-c', NO_FILTER]
    daemon = Daemon(build, tmp_path, wrapper=wrapper)
    with daemon as client:
        kubelet = Kubelet(daemon, client)
        ext4 = mount_capability('ext4', SINGLE_NODE_MULTI_WRITER)
        for name in ('pvc-1', 'pvc-2'):
            volume = create(client, name, 32 << 20, capability=ext4)
            kubelet.stage(volume, ext4)
            kubelet.unstage(volume)
    assert daemon.log().count('without a filter of system calls') == (0 if has_filter else 1)


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
        client.NodeExpandVolume(volume_id=volume, volume_path=str(target), capacity_range={'required_bytes': 640 << 20},
                                staging_target_path=str(kubelet.staging(volume)))
        kubelet.unpublish(volume, target)
        kubelet.unstage(volume)
        start = time.monotonic()
        client.DeleteVolume(volume_id=volume)
        assert time.monotonic() - start < 60


# --- each right that the container has, taken away -------------------------------------------------------------------

MANIFESTS = TESTS.parent / 'manifests'
# What does not work without it, capability or mount.
NEEDED = {None: set(), 'sys_admin': {'started'}, 'dac_override': {'of its pod'}, 'fowner': {'of its pod'},
          'ipc_lock': {'not swapped'}, 'net_bind_service': {'health'}, 'sys_resource': {'grown'},
          'kubelet': {'started'}, 'pool': {'started'}, 'dev': {'mounted', 'raw'}}
# What this pool's filesystem does not come to: the owner of a file that is grown on a copy (test_grow.py).
ELSEWHERE = {'chown'}


class Contained(Daemon):
    """As a runtime runs the manifest of the local provider's node plugin, less one mount or capability: privileged,
    with the host's programs and libraries in the place of the image's."""

    def __init__(self, build, sandbox, without):
        super().__init__(build, sandbox.path)
        pod = yaml.safe_load((MANIFESTS / 'base/csi/daemonset.yaml').read_text())['spec']['template']['spec']
        patch = yaml.safe_load((MANIFESTS / 'overlays/providers/local/daemonset.yaml').read_text())
        container, = pod['containers']
        for field in ('args', 'volumeMounts'):
            container[field] += [one['value'] for one in patch if one['path'].endswith(f'/containers/0/{field}/-')]
        pod['volumes'] += [one['value'] for one in patch if one['path'].endswith('/spec/volumes/-')]
        assert container['securityContext'] == {'privileged': True, 'readOnlyRootFilesystem': True, 'runAsUser': 0}
        self.names = [one['name'] for one in container['volumeMounts']]
        self.bundle = sandbox.path / 'bundle'
        self.runc = ['runc', '--root', sandbox.path / 'runc']
        self.argv = list(map(str, [*self.runc, 'run', '--bundle', self.bundle, 'csi']))
        self.port = 80  # as who wants it for root alone
        self.kubelet_root, self.pool = pathlib.Path('/var/lib/kubelet'), pathlib.Path('/var/lib/berth/pool')
        self.socket_path = self.kubelet_root / 'plugins/local.csi.berth.dev/csi.sock'
        self.make_root(build)
        self.make_config(pod, container, without)

    def make_root(self, build):
        root = self.bundle / 'rootfs'
        for name in ('usr', 'etc', 'proc', 'sys', 'dev', 'run', 'tmp', 'var/lib/kubelet', 'var/lib/berth/pool'):
            (root / name).mkdir(parents=True)
        for name in ('lib', 'lib64', 'bin', 'sbin'):
            (root / name).symlink_to(f'usr/{name}')
        shutil.copy(build / 'csi' / 'berth-csi', root / 'berth-csi')

    def mounts(self, pod, container, without):
        sources = {one['name']: one['hostPath']['path'] if 'hostPath' in one else None for one in pod['volumes']}
        propagation = {'Bidirectional': 'rshared', 'HostToContainer': 'rslave'}
        for one in container['volumeMounts']:
            if one['name'] == without:
                continue
            if sources[one['name']]:
                yield {'destination': one['mountPath'], 'type': 'bind', 'source': sources[one['name']],
                       'options': ['rbind', 'rw', propagation.get(one.get('mountPropagation'), 'rprivate')]}
            else:
                yield {'destination': one['mountPath'], 'type': 'tmpfs', 'source': 'tmpfs'}

    def make_config(self, pod, container, without):
        environment = {one['name']: one.get('value', 'node-1') for one in container['env']}
        environment['HEALTH_PORT'] = self.port
        args = [re.sub(r'\$\((\w+)\)', lambda match: str(environment[match[1]]), one) for one in container['args']]
        bound = int(status('self')['CapBnd'], 16)
        known = subprocess.run(['setpriv', '--list-caps'], check=True, capture_output=True, text=True).stdout.split()
        capabilities = [f'CAP_{name.upper()}' for number, name in enumerate(known)
                        if bound >> number & 1 and name != without]
        mounts = [{'destination': '/proc', 'type': 'proc', 'source': 'proc'},
                  {'destination': '/sys', 'type': 'bind', 'source': '/sys', 'options': ['rbind', 'rw']},
                  *({'destination': path, 'type': 'bind', 'source': path, 'options': ['rbind', 'ro']}
                    for path in ('/usr', '/etc')), *self.mounts(pod, container, without)]
        # Of devices that come after its start a container has those that are in its /dev.
        devices = [{'path': '/dev/loop-control', 'type': 'c', 'major': 10, 'minor': 237}] if without == 'dev' else []
        (self.bundle / 'config.json').write_text(json.dumps({
            'ociVersion': '1.0.2', 'root': {'path': 'rootfs', 'readonly': True}, 'mounts': mounts,
            'process': {'args': ['/berth-csi', *args], 'cwd': '/',
                        'user': {'uid': 0, 'gid': 0}, 'noNewPrivileges': False,
                        'env': [f'{key}={value}' for key, value in
                                {'PATH': os.environ['PATH'], **environment}.items()],
                        'capabilities': {kind: capabilities for kind in ('bounding', 'effective', 'permitted')}},
            'linux': {'namespaces': [{'type': 'mount'}, {'type': 'pid'}, {'type': 'ipc'}, {'type': 'uts'}],
                      'rootfsPropagation': 'rshared', 'devices': devices, 'cgroupsPath': f'/{cgroups.NAME}/berth-csi',
                      'resources': {'devices': [{'allow': True, 'access': 'rwm'}]}}}))

    def pid(self):
        state = subprocess.run([*self.runc, 'state', 'csi'], check=True, capture_output=True, text=True).stdout
        return json.loads(state)['pid']

    def end(self):
        subprocess.run([*self.runc, 'delete', '-f', 'csi'], capture_output=True, check=False)


class Uses:
    """What the daemon does that takes a right; failed: what did not work, with why."""

    def __init__(self, daemon):
        self.daemon, self.failed = daemon, {}

    @contextlib.contextmanager
    def tries(self, what):
        try:
            yield
        except (AssertionError, Failure, OSError) as error:
            self.failed[what] = str(error)

    def filesystem(self, client, kubelet):
        ext4 = mount_capability('ext4', SINGLE_NODE_MULTI_WRITER)
        with self.tries('mounted'):
            volume = create(client, 'pvc-1', 64 << 20, capability=ext4)
            kubelet.stage(volume, ext4)
            target = kubelet.publish('pod-1', volume, ext4)
            (target / 'file').write_text('of the host, too')
        if 'mounted' in self.failed:
            return
        # Its root is the pod's alone.
        os.chown(target, 1234, 1234)
        os.chmod(target, 0o700)
        with self.tries('of its pod'):
            reply = client.NodeGetVolumeStats(volume_id=volume, volume_path=str(target))
            assert not reply.volume_condition.abnormal, reply.volume_condition.message
        with self.tries('grown'):
            client.NodeExpandVolume(volume_id=volume, volume_path=str(target),
                                    capacity_range={'required_bytes': 128 << 20},
                                    staging_target_path=str(kubelet.staging(volume)))
        kubelet.unpublish(volume, target)
        kubelet.unstage(volume)
        client.DeleteVolume(volume_id=volume)

    def raw(self, client, kubelet):
        with self.tries('raw'):
            volume = create(client, 'pvc-2', 16 << 20, capability=block_capability())
            kubelet.stage(volume, block_capability())
            kubelet.unpublish(volume, kubelet.publish('pod-1', volume, block_capability()))
            kubelet.unstage(volume)
            client.DeleteVolume(volume_id=volume)

    def run(self):
        with self.tries('started'):
            client = self.daemon.start()
        if self.failed:
            return self.failed
        with client:
            kubelet = Kubelet(self.daemon, client)
            self.filesystem(client, kubelet)
            self.raw(client, kubelet)
            with self.tries('not swapped'):
                assert int(status(self.daemon.pid())['VmLck'].split()[0])
            with self.tries('health'), socket.create_connection(('127.0.0.1', self.daemon.port), timeout=10):
                pass
        self.daemon.stop()
        return self.failed


@pytest.fixture(name='node')
def node_fixture(sandbox):
    """Kubelet's directory and the pool's, where the manifest has them."""
    subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
    sandbox.private_directory('/var/lib/berth')
    for path in ('/var/lib/berth/pool', '/var/lib/kubelet'):
        own = sandbox.path / pathlib.Path(path).name
        for directory in (own, pathlib.Path(path)):
            directory.mkdir(exist_ok=True)
        sandbox_mount(own, path, None, MS_BIND)
    sandbox.share('/var/lib/kubelet')
    return sandbox


@pytest.mark.skipif(not shutil.which('runc'), reason='needs runc')
@pytest.mark.parametrize('without', [*NEEDED, *sorted(ELSEWHERE)])
def test_the_manifest_has_what_is_needed_and_no_more(build, node, without):
    """Each capability that is kept, and each mount, taken away, breaks what is said here; the rest goes on."""
    daemon = Contained(build, node, without)
    assert {None, *daemon.names, *KEPT} == {*NEEDED, *ELSEWHERE}
    try:
        failed = Uses(daemon).run()
    finally:
        print(daemon.log()[-3000:])
        daemon.end()
    expected = NEEDED.get(without, set())
    if not int(status('self')['CapBnd'], 16) >> KEPT['sys_resource'] & 1 and not expected & {'started', 'mounted'}:
        expected = expected | {'grown'}
    # A sanitizer's shadow is too large for that.
    if b'libasan' in (build / 'csi' / 'berth-csi').read_bytes():
        failed.pop('not swapped', None)
        expected = expected - {'not swapped'}
    assert set(failed) == expected, failed
