#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Bringing formatted volumes to pods and taking them back, against the tools that Kubernetes' mount-utils runs.

sudo tests/bench/csi-node.py [--build DIR] [--rounds N] [--crowd N] [--directory DIR] [--json FILE]
    [PART]...

PART: mount, crowd. Default: both.
mount: stage, publish, unpublish, unstage of a clean ext4 and XFS volume over the socket, wall and CPU of the daemon; in
turn with it, on the same device, the sequence of mount-utils: blkid, fsck, mount, bind, remount, umount, umount, each
an exec, wall and CPU of the tools alone. The device stays attached for both. Execs of the daemon are counted by strace
in a round of its own.
crowd: each call with one volume staged and published on the node, and with --crowd of them (1000 by default).

Everything is in a mount namespace of its own, the pool on a tmpfs: both sides wait for the same disk otherwise. With
--directory it lies in a private directory below that one.
"""

import argparse
import contextlib
import ctypes
import importlib.util
import json
import os
import pathlib
import shutil
import statistics
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

    def device(self):
        with open('/proc/self/mountinfo', encoding='utf-8') as file:
            return next(line.split(' - ')[1].split()[1] for line in file if line.split()[4] == str(self.staging))


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


LIBC = ctypes.CDLL(None, use_errno=True)
MS_REMOUNT, MS_BIND = 0x20, 0x1000


def check(result):
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def run_floor(volume, device):
    """Nothing but the system calls that nobody can leave out."""
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
        volume.stage()
        device = volume.device()
        # Held open, the device stays attached when it is released: neither side attaches it.
        hold = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
        volume.unstage()
        times = {'calls': [], 'tools': [], 'floor': []}
        cpu = {'calls': 0.0, 'tools': 0.0, 'floor': 0.0}
        for turn in range(options.rounds + 2):
            before, start = node.cpu_seconds(), time.perf_counter()
            run_calls(volume)
            calls, calls_cpu = time.perf_counter() - start, node.cpu_seconds() - before
            start = time.perf_counter()
            tools_cpu = run_tools(volume, device)
            tools = time.perf_counter() - start
            before, start = time.process_time(), time.perf_counter()
            run_floor(volume, device)
            floor, floor_cpu = time.perf_counter() - start, time.process_time() - before
            if turn >= 2:  # the first ones warm what is cached
                times['calls'].append(calls * 1000)
                times['tools'].append(tools * 1000)
                times['floor'].append(floor * 1000)
                cpu['calls'] += calls_cpu * 1000
                cpu['tools'] += tools_cpu * 1000
                cpu['floor'] += floor_cpu * 1000
        os.close(hold)
        results[fs_type] = {
            **{f'{name}_ms': statistics.median(values) for name, values in times.items()},
            **{f'{name}_least_ms': min(values) for name, values in times.items()},
            **{f'{name}_cpu_ms': value / options.rounds for name, value in cpu.items()},
            'execs': count_execs(node, volume), 'tool_execs': 7}
    return results


STEPS = ('stage', 'publish', 'stats', 'unpublish', 'unstage')


def time_steps(volume, rounds):
    times = {name: [] for name in STEPS}
    for _ in range(rounds):
        for name in STEPS:
            start = time.perf_counter()
            getattr(volume, name)()
            times[name].append((time.perf_counter() - start) * 1e6)
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
    return {name: {'few_us': few[name], 'many_us': many[name], 'ratio': many[name] / few[name]} for name in STEPS} | {
        'all': {'few_us': sum(few.values()), 'many_us': sum(many.values()),
                'ratio': sum(many.values()) / sum(few.values())}}


def report_mount(results):
    print('\nA clean volume to a pod and back: stage, publish, unpublish, unstage; kernel: the bare system calls')
    print('wall: median; least: of the round that nothing else disturbed')
    for fs_type, r in results.items():
        for what, unit in (('wall', '_ms'), ('least', '_least_ms'), ('CPU', '_cpu_ms')):
            calls, tools, floor = (r[name + unit] for name in ('calls', 'tools', 'floor'))
            print(f'  {fs_type:5} {what:5} {calls:7.2f} ms, tools {tools:7.2f} ms: {tools / calls:4.1f}x; kernel '
                  f'{floor:7.2f} ms: above it {calls - floor:6.2f} ms against {tools - floor:6.2f} ms')
        print(f'        execs {r["execs"]}, tools {r["tool_execs"]}')


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
