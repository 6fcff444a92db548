#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Bringing formatted volumes to pods and taking them back, against the tools that Kubernetes' mount-utils runs.

sudo tests/bench/csi-node.py [--build DIR] [--rounds N] [--crowd N] [--directory DIR] [--json FILE]
    [PART]...

PART: mount, crowd. Default: both.
mount: stage, publish, unpublish, unstage of a clean ext4 and XFS volume over the socket, wall and CPU of the daemon; in
turn with it, on the same file, the sequence of mount-utils: blkid, fsck, mount, bind, remount, umount, umount, each
an exec, wall and CPU of the tools alone. Attaching the loop device and detaching it belongs to the daemon's calls; the
tools are timed with losetup around them, as a driver of local volumes runs it, and without. Execs of the daemon are
counted by strace in a round of its own.
crowd: each call with one volume staged and published on the node, and with --crowd of them (1000 by default).

Everything is in a mount namespace of its own, the pool on a tmpfs: both sides wait for the same disk otherwise. With
--directory it lies in a private directory below that one.
"""

import argparse
import contextlib
import ctypes
import fcntl
import importlib.util
import json
import os
import pathlib
import resource
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
MIB = 1 << 20
sys.path.insert(0, str(SOURCE / 'tests' / 'lib'))


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


daemon_bench = load('csi_daemon_bench', SOURCE / 'tests' / 'bench' / 'csi-daemon.py')
csi = load('csi', SOURCE / 'tests' / 'lib' / 'csi.py')


class Node:
    """The daemon, a client that costs microseconds, and kubelet's paths."""

    def __init__(self, build, directory):
        self.daemon = csi.Daemon(build, directory)
        self.daemon.start().close()
        # Two seconds after the start it asks the tools for their versions, once.
        end = time.monotonic() + 10
        while 'filesystem tools' not in self.daemon.log() and time.monotonic() < end:
            time.sleep(0.1)
        self.raw = daemon_bench.Raw(self.daemon.socket_path)
        self.root = self.daemon.kubelet_root

    def call(self, method, **fields):
        request = csi.fill(getattr(csi.csi_pb2, method + 'Request')(), fields)
        answer = self.raw.call(f'/csi.v1.{csi.service_of(method)}/{method}', request.SerializeToString())
        if answer is None:
            raise RuntimeError(f'{method} failed:\n{self.daemon.log()[-3000:]}')
        return getattr(csi.csi_pb2, method + 'Response').FromString(answer)

    def cpu_seconds(self):
        """Of the daemon and of what it ran."""
        text = pathlib.Path(f'/proc/{self.daemon.process.pid}/stat').read_text(encoding='ascii')
        fields = text.rsplit(')', 1)[1].split()
        return sum(map(int, fields[11:15])) / os.sysconf('SC_CLK_TCK')

    def create(self, name, fs_type, size, source=None):
        fields = {'volume_content_source': {'volume': {'volume_id': source}}} if source else {}
        return self.call('CreateVolume', name=name, capacity_range={'required_bytes': size},
                         volume_capabilities=[csi.mount_capability(fs_type)], **fields).volume.volume_id

    def close(self):
        self.raw.close()
        self.daemon.stop(120)


class Volume:
    def __init__(self, node, volume_id, fs_type):
        self.node, self.id, self.fs_type = node, volume_id, fs_type
        self.staging = node.root / 'plugins' / volume_id / 'globalmount'
        self.staging.mkdir(parents=True)
        self.target = node.root / 'pods' / volume_id / 'mount'
        self.target.parent.mkdir(parents=True)
        self.fields = {'volume_id': volume_id, 'volume_capability': csi.mount_capability(fs_type)}

    def stage(self):
        self.node.call('NodeStageVolume', staging_target_path=str(self.staging), **self.fields)

    def publish(self):
        self.node.call('NodePublishVolume', staging_target_path=str(self.staging), target_path=str(self.target),
                       **self.fields)

    def stats(self):
        self.node.call('NodeGetVolumeStats', volume_id=self.id, volume_path=str(self.target))

    def unpublish(self):
        self.node.call('NodeUnpublishVolume', volume_id=self.id, target_path=str(self.target))

    def unstage(self):
        self.node.call('NodeUnstageVolume', volume_id=self.id, staging_target_path=str(self.staging))

    def file(self):
        return self.node.daemon.pool / 'volumes' / f'{self.id}.img'


def run_tool(*argv):
    """Seconds of CPU."""
    pid = os.posix_spawnp(argv[0], list(map(str, argv)), os.environ,
                          file_actions=[(os.POSIX_SPAWN_OPEN, 1, '/dev/null', os.O_WRONLY, 0),
                                        (os.POSIX_SPAWN_OPEN, 2, '/dev/null', os.O_WRONLY, 0)])
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise RuntimeError(f'{argv} ended with {status}')
    return usage.ru_utime + usage.ru_stime


def run_tools(volume, device):
    """k8s.io/mount-utils, SafeFormatAndMount of a formatted disk, then a bind mount, then both undone."""
    target = volume.target
    cpu = run_tool('blkid', '-p', '-s', 'TYPE', '-s', 'PTTYPE', '-o', 'export', device)
    cpu += run_tool('fsck', '-a', device)
    options = ['-o', 'nouuid,defaults'] if volume.fs_type == 'xfs' else ['-o', 'defaults']
    cpu += run_tool('mount', '-t', volume.fs_type, *options, device, volume.staging)
    target.mkdir()
    cpu += run_tool('mount', '-o', 'bind', volume.staging, target)
    cpu += run_tool('mount', '-o', 'bind,remount', volume.staging, target)
    cpu += run_tool('umount', target)
    target.rmdir()
    return cpu + run_tool('umount', volume.staging)


def run_losetup(*argv):
    """What it prints, and seconds of CPU."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    text = subprocess.run(['losetup', *map(str, argv)], check=True, capture_output=True, text=True).stdout.strip()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return text, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


LIBC = ctypes.CDLL(None, use_errno=True)
MS_REMOUNT, MS_BIND = 0x20, 0x1000
LOOP_CLR_FD, LOOP_CONFIGURE, LOOP_CTL_GET_FREE = 0x4C01, 0x4C0A, 0x4C82
LO_FLAGS_DIRECT_IO = 16


def check(result):
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def attach(path):
    """(descriptor, device) of a free loop device; nobody else takes one meanwhile, or it is taken again."""
    control, backing = os.open('/dev/loop-control', os.O_RDWR), os.open(path, os.O_RDWR)
    try:
        while True:
            device = f'/dev/loop{fcntl.ioctl(control, LOOP_CTL_GET_FREE)}'
            fd = os.open(device, os.O_RDWR)
            # struct loop_config: fd, block size, struct loop_info64 with its flags at 52, reserved
            config = struct.pack('=II52xI176x64x', backing, 4096, LO_FLAGS_DIRECT_IO)
            try:
                fcntl.ioctl(fd, LOOP_CONFIGURE, config)
                return fd, device
            except OSError:
                os.close(fd)
    finally:
        os.close(control)
        os.close(backing)


def run_floor(volume):
    """Nothing but the system calls that nobody can leave out."""
    fd, device = attach(volume.file())
    try:
        run_mounts(volume, device)
        fcntl.ioctl(fd, LOOP_CLR_FD)
    finally:
        os.close(fd)


def run_mounts(volume, device):
    staging, target = os.fsencode(volume.staging), os.fsencode(volume.target)
    data = b'nouuid' if volume.fs_type == 'xfs' else None
    check(LIBC.mount(os.fsencode(device), staging, volume.fs_type.encode(), ctypes.c_ulong(0), data))
    os.mkdir(target)
    check(LIBC.mount(staging, target, None, ctypes.c_ulong(MS_BIND), None))
    check(LIBC.mount(None, target, None, ctypes.c_ulong(MS_REMOUNT | MS_BIND), None))
    check(LIBC.umount2(target, 0))
    os.rmdir(target)
    check(LIBC.umount2(staging, 0))


def run_calls(volume):
    volume.stage()
    volume.publish()
    volume.unpublish()
    volume.unstage()


def count_execs(node, volume):
    if not shutil.which('strace'):
        return None
    with tempfile.NamedTemporaryFile() as log:
        strace = subprocess.Popen(['strace', '-f', '-qq', '-e', 'trace=execve', '-o', log.name, '-p',
                                   str(node.daemon.process.pid)])
        time.sleep(1)
        run_calls(volume)
        strace.terminate()
        strace.wait()
        return log.read().count(b'execve(')


def measure_mount(node, options):
    results = {}
    for fs_type, size in (('ext4', 1024 * MIB), ('xfs', 1024 * MIB)):
        volume = Volume(node, node.create(f'bench-{fs_type}', fs_type, size), fs_type)
        times = {'calls': [], 'tools': [], 'losetup': [], 'floor': []}
        cpu = {'calls': 0.0, 'tools': 0.0, 'losetup': 0.0, 'floor': 0.0}
        run_calls(volume)
        for turn in range(options.rounds + 2):
            before, start = node.cpu_seconds(), time.perf_counter()
            run_calls(volume)
            calls, calls_cpu = time.perf_counter() - start, node.cpu_seconds() - before
            start = time.perf_counter()
            device, losetup_cpu = run_losetup('--find', '--show', '--direct-io=on', '-b', 4096, volume.file())
            begun = time.perf_counter()
            tools_cpu = run_tools(volume, device)
            tools = time.perf_counter() - begun
            losetup_cpu += run_losetup('-d', device)[1]
            losetup = time.perf_counter() - start
            before, start = time.process_time(), time.perf_counter()
            run_floor(volume)
            floor, floor_cpu = time.perf_counter() - start, time.process_time() - before
            if turn >= 2:  # the first ones warm what is cached
                times['calls'].append(calls * 1000)
                times['tools'].append(tools * 1000)
                times['losetup'].append(losetup * 1000)
                times['floor'].append(floor * 1000)
                cpu['calls'] += calls_cpu * 1000
                cpu['tools'] += tools_cpu * 1000
                cpu['losetup'] += (tools_cpu + losetup_cpu) * 1000
                cpu['floor'] += floor_cpu * 1000
        results[fs_type] = {
            **{f'{name}_ms': statistics.median(values) for name, values in times.items()},
            **{f'{name}_least_ms': min(values) for name, values in times.items()},
            **{f'{name}_cpu_ms': value / options.rounds for name, value in cpu.items()},
            'execs': count_execs(node, volume), 'tool_execs': 7 + 2}
    return results


STEPS = ('stage', 'publish', 'stats', 'unpublish', 'unstage')


def time_steps(volume, rounds):
    times = {name: [] for name in (*STEPS, 'floor')}
    for _ in range(rounds):
        for name in STEPS:
            start = time.perf_counter()
            getattr(volume, name)()
            times[name].append((time.perf_counter() - start) * 1e6)
        # Of all of them together, what no program can leave out.
        start = time.perf_counter()
        run_floor(volume)
        times['floor'].append((time.perf_counter() - start) * 1e6)
    return {name: statistics.median(values) for name, values in times.items()}


def measure_crowd(node, options):
    """One volume is measured; beside it there is one more, and then very many."""
    first = Volume(node, node.create('crowd-0', 'ext4', 16 * MIB), 'ext4')
    first.stage()
    first.unstage()
    probe = Volume(node, node.create('crowd-probe', 'ext4', 16 * MIB), 'ext4')
    time_steps(probe, 3)
    few = time_steps(probe, options.rounds)
    start = time.monotonic()
    for i in range(1, options.crowd + 1):
        volume = Volume(node, node.create(f'crowd-{i}', 'ext4', 16 * MIB, first.id), 'ext4')
        volume.stage()
        volume.publish()
    print(f'{options.crowd} volumes staged and published in {time.monotonic() - start:.1f} s')
    time_steps(probe, 3)
    many = time_steps(probe, options.rounds)
    for times in (few, many):
        times['all'] = sum(times[name] for name in STEPS)
    return {name: {'few_us': few[name], 'many_us': many[name], 'ratio': many[name] / few[name]}
            for name in (*STEPS, 'all', 'floor')}


def report_mount(results):
    print('\nA clean volume to a pod and back: stage, publish, unpublish, unstage; floor: the bare system calls')
    print('median, least: of wall time in ms; CPU in ms; x: against berth')
    for fs_type, r in results.items():
        print(f'  {fs_type}: execs {r["execs"]}, tools {r["tool_execs"]}')
        for name, title in (('calls', 'berth'), ('tools', 'mount-utils'), ('losetup', 'with losetup'),
                            ('floor', 'floor')):
            columns = '  '.join(f'{r[name + unit]:8.2f} {r[name + unit] / r["calls" + unit]:5.1f}x'
                                for unit in ('_ms', '_least_ms', '_cpu_ms'))
            print(f'    {title:12} {columns}')


def report_crowd(results):
    print('\nEach call with few volumes on the node, and with many')
    for name, r in results.items():
        print(f'  {name:10} {r["few_us"]:8.0f} us {r["many_us"]:8.0f} us  {r["ratio"]:.2f}x')


PARTS = {'mount': (measure_mount, report_mount), 'crowd': (measure_crowd, report_crowd)}


def own_mounts():
    check(LIBC.unshare(0x20000))
    check(LIBC.mount(None, b'/', None, ctypes.c_ulong(0x4000 | 1 << 18), None))
    check(LIBC.mount(b'tmpfs', b'/mnt', b'tmpfs', ctypes.c_ulong(0), b'size=64g'))


def clean_up(directory):
    """Loop devices belong to no namespace: what is left of ours is detached, the topmost mounts first."""
    with open('/proc/self/mountinfo', encoding='utf-8') as file:
        targets = [line.split()[4] for line in file if line.split()[4].startswith(f'{directory}/')]
    for target in reversed(targets):
        LIBC.umount2(os.fsencode(target), 2)
    import sandbox
    sandbox.detach_below(directory)
    shutil.rmtree(directory, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument('--build', type=pathlib.Path, default=SOURCE / 'build')
    parser.add_argument('--rounds', type=int, default=40)
    parser.add_argument('--crowd', type=int, default=1000)
    parser.add_argument('--directory', type=pathlib.Path, default=pathlib.Path('/mnt'))
    parser.add_argument('--json', type=pathlib.Path)
    parser.add_argument('part', nargs='*', choices=[[], *PARTS])
    options = parser.parse_args()
    own_mounts()
    daemon_bench.ask_for_the_processor()
    directory = pathlib.Path(tempfile.mkdtemp(prefix='berth-bench-', dir=options.directory))
    results = {}
    try:
        with contextlib.closing(Node(options.build.resolve(), directory)) as node:
            for part in options.part or PARTS:
                measure, report = PARTS[part]
                results[part] = measure(node, options)
                report(results[part])
    finally:
        clean_up(directory)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1), encoding='utf-8')


if __name__ == '__main__':
    main()
