#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The daemon of a node against the peer's three: start, memory, the call that kubelet makes most.

sudo tests/bench/csi-daemon.py [--build DIR]... [--peer DIR] [--runs N] [--json FILE] [PART]...

PART: start, idle, calls, busy (calls while volumes are formatted). Default: all.
--build: a build directory, "build" by default; more than one compares them, the first is held against the peer.
--peer: a directory with hostpathplugin, csi-node-driver-registrar and livenessprobe (csi-driver-host-path and the
sidecars that its manifest puts beside it). Without it they are installed as Go modules where that is possible; where
it is not, the peer is left out, with the reason.

The client speaks HTTP/2 over a raw socket, so that it adds microseconds and not a gRPC client's milliseconds. Variants
take turns run by run. Everything runs in a network namespace of its own; sockets lie in a private tmpfs.
"""

import argparse
import concurrent.futures
import contextlib
import ctypes
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / 'tests' / 'lib'))
import versions  # noqa: E402

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWNET, MS_REC, MS_PRIVATE = 0x20000, 0x40000000, 0x4000, 1 << 18
PEER_PROGRAMS = {
    'hostpathplugin': ('csi-hostpath', 'cmd/hostpathplugin'),
    'csi-node-driver-registrar': ('node-driver-registrar', 'cmd/csi-node-driver-registrar'),
    'livenessprobe': ('livenessprobe', 'cmd/livenessprobe'),
}


# --- a client as small as it gets ---

def literal(name, value):
    """A header field without indexing and without Huffman (RFC 7541, 6.2.2)."""
    return b'\0' + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def frame(kind, flags, stream, payload):
    return struct.pack('>I', len(payload))[1:] + bytes([kind, flags]) + struct.pack('>I', stream) + payload


class Raw:
    """One connection, one call at a time."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise
        self.stream = -1
        self.data = b''
        self.socket.sendall(b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + frame(4, 0, 0, b''))

    def read_frame(self):
        while len(self.data) < 9 or len(self.data) < 9 + int.from_bytes(self.data[:3], 'big'):
            more = self.socket.recv(65536)
            if not more:
                raise ConnectionError('closed')
            self.data += more
        n = int.from_bytes(self.data[:3], 'big')
        head, payload, self.data = self.data[:9], self.data[9:9 + n], self.data[9 + n:]
        return head[3], head[4], int.from_bytes(head[5:9], 'big'), payload

    def call(self, method, request=b''):
        """The message of the answer; None if there was none, which is a failure."""
        self.stream += 2
        headers = b''.join(literal(*field) for field in (
            (':method', 'POST'), (':scheme', 'http'), (':path', method), (':authority', 'localhost'),
            ('content-type', 'application/grpc'), ('te', 'trailers')))
        self.socket.sendall(frame(1, 4, self.stream, headers) +
                            frame(0, 1, self.stream, b'\0' + struct.pack('>I', len(request)) + request))
        message = None
        while True:
            kind, flags, stream, payload = self.read_frame()
            if kind == 4 and not flags & 1:
                self.socket.sendall(frame(4, 1, 0, b''))
            elif kind == 6 and not flags & 1:
                self.socket.sendall(frame(6, 1, 0, payload))
            elif stream == self.stream and kind == 0:
                message = (message or b'') + payload
                if payload:
                    # Windows of connection and stream are kept open.
                    update = struct.pack('>I', len(payload))
                    self.socket.sendall(frame(8, 0, 0, update))
            if stream == self.stream and kind in (0, 1, 3) and (flags & 1 or kind == 3):
                return message[5:] if message else None

    def close(self):
        self.socket.close()


PROBE = '/csi.v1.Identity/Probe'
CAPABILITIES = '/csi.v1.Node/NodeGetCapabilities'
READY = (b'', b'\n\x02\x08\x01')  # ready is absent or true


# --- what runs ---

class Variant:
    """The processes of one node. start() returns once the CSI socket's process exists."""

    def __init__(self, name, build=None, peer=None):
        self.name, self.build, self.peer = name, build, peer
        self.processes = []
        self.usage = None

    def prepare(self, directory):
        self.directory = directory
        self.registry = directory / 'r'
        self.registry.mkdir(parents=True)
        (directory / 'k').mkdir()
        (directory / 'p').mkdir()
        self.csi = directory / 'c'
        self.port = 9808

    def run(self, *argv):
        log = open(self.directory / 'log', 'ab')
        self.processes.append(subprocess.Popen(list(map(str, argv)), stdout=log, stderr=log))
        log.close()

    def start(self, with_sidecars):
        if self.build:
            self.run(self.build / 'csi' / 'berth-csi', f'--endpoint={self.csi}', '--provider=local', '--node-name=n',
                     f'--pool={self.directory}/p', '--pool-init', f'--kubelet-root={self.directory}/k',
                     *([f'--registration-dir={self.registry}', f'--health-port={self.port}'] if with_sidecars else
                       ['--no-registration', '--health-port=0']))
            return
        self.run(self.peer / 'hostpathplugin', f'--endpoint=unix://{self.csi}', '--nodeid=n',
                 f'--statedir={self.directory}/p', '--drivername=hostpath.csi.k8s.io')
        if with_sidecars:
            self.run(self.peer / 'csi-node-driver-registrar', f'--csi-address={self.csi}',
                     f'--kubelet-registration-path={self.csi}', f'--plugin-registration-path={self.registry}')
            self.run(self.peer / 'livenessprobe', f'--csi-address={self.csi}', f'--health-port={self.port}')

    def wait_for(self, path, method, good):
        """Seconds until a call on the socket has a good answer."""
        start = time.monotonic()
        while time.monotonic() < start + 30:
            with contextlib.suppress(OSError):
                raw = Raw(path)
                answer = raw.call(method)
                raw.close()
                if good(answer):
                    return time.monotonic() - start
            time.sleep(0.0002)
        raise TimeoutError(f'{self.name}: no answer; log: {(self.directory / "log").read_text()[-2000:]}')

    def wait_for_probe(self):
        return self.wait_for(self.csi, PROBE, lambda answer: answer in READY)

    def wait_for_registration(self):
        """As kubelet does it, up to the driver being told that it is registered."""
        while not (found := [name for name in os.listdir(self.registry) if not name.startswith('.')]):
            time.sleep(0.001)
        path = self.registry / found[0]
        self.wait_for(path, '/pluginregistration.Registration/GetInfo', bool)
        raw = Raw(path)
        raw.call('/pluginregistration.Registration/NotifyRegistrationStatus', b'\x08\x01')
        raw.close()

    def stop(self):
        """CPU seconds of all processes."""
        cpu = 0
        for process in reversed(self.processes):
            process.terminate()
            _, _, usage = os.wait4(process.pid, 0)
            process.returncode = 0
            cpu += usage.ru_utime + usage.ru_stime
        self.processes = []
        return cpu

    def memory(self):
        """PSS, RSS and anonymous memory in KiB, threads."""
        total = {'pss': 0, 'rss': 0, 'anonymous': 0, 'threads': 0, 'processes': len(self.processes)}
        for process in self.processes:
            text = pathlib.Path(f'/proc/{process.pid}/smaps_rollup').read_text()
            for key, label in (('pss', 'Pss'), ('rss', 'Rss'), ('anonymous', 'Anonymous')):
                total[key] += int(re.search(rf'^{label}:\s+(\d+)', text, re.M).group(1))
            total['threads'] += len(os.listdir(f'/proc/{process.pid}/task'))
        return total

    def cpu_seconds(self):
        """Of the process behind the CSI socket, so far."""
        fields = pathlib.Path(f'/proc/{self.processes[0].pid}/stat').read_text().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


@contextlib.contextmanager
def running(variant, with_sidecars=True):
    directory = pathlib.Path(tempfile.mkdtemp(dir='/mnt'))
    variant.prepare(directory)
    variant.start(with_sidecars)
    try:
        yield variant
    finally:
        if variant.processes:
            variant.stop()
        shutil.rmtree(directory, ignore_errors=True)


# --- the parts ---

def percentile(values, p):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * p / 100))]


def measure_start(variants, runs):
    """From exec to the first good Probe of the driver alone; and of everything, to being registered and healthy."""
    times = {v.name: {'probe_ms': [], 'cpu_ms': [], 'node_ms': []} for v in variants}
    for run in range(runs + 1):
        for variant in variants:
            with running(variant, with_sidecars=False):
                probe = variant.wait_for_probe()
                cpu = variant.stop()
            with running(variant):
                start = time.monotonic()
                variant.wait_for_registration()
                while True:
                    with contextlib.suppress(OSError):
                        if urllib.request.urlopen(f'http://127.0.0.1:{variant.port}/healthz', timeout=5).status == 200:
                            break
                    time.sleep(0.001)
                node = time.monotonic() - start
            if run:  # the first one warms the page cache
                times[variant.name]['probe_ms'].append(probe * 1000)
                times[variant.name]['cpu_ms'].append(cpu * 1000)
                times[variant.name]['node_ms'].append(node * 1000)
    return {name: {key: statistics.median(values) for key, values in t.items()} for name, t in times.items()}


def measure_idle(variants, runs):
    """Registered, probed a few times, then left alone."""
    results = {}
    for variant in variants:
        samples = []
        for _ in range(max(1, runs // 5)):
            with running(variant):
                variant.wait_for_registration()
                for _ in range(5):
                    with contextlib.suppress(OSError):
                        urllib.request.urlopen(f'http://127.0.0.1:{variant.port}/healthz', timeout=5).read()
                    time.sleep(0.2)
                before = variant.cpu_seconds()
                time.sleep(12)  # threads without work end after ten seconds
                samples.append({**variant.memory(), 'idle_cpu_percent': (variant.cpu_seconds() - before) / 12 * 100})
        results[variant.name] = {key: statistics.median(s[key] for s in samples) for key in samples[0]}
    return results


def time_calls(path, n, fresh):
    """Microseconds of each call. The client is put first, so that only the server waits for a processor."""
    os.setpriority(os.PRIO_PROCESS, 0, -15)
    try:
        return time_calls_now(path, n, fresh)
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, 0)


def time_calls_now(path, n, fresh):
    times = []
    raw = None if fresh else Raw(path)
    for _ in range(n):
        start = time.perf_counter()
        if fresh:
            raw = Raw(path)
        assert raw.call(CAPABILITIES) is not None
        if fresh:
            raw.close()
        times.append((time.perf_counter() - start) * 1e6)
    return times


def measure_calls(variants, runs):
    """NodeGetCapabilities on one connection, and with a connection for each call as kubelet makes it."""
    times = {v.name: {'one': [], 'fresh': [], 'cpu': []} for v in variants}
    with contextlib.ExitStack() as stack:
        for variant in variants:
            stack.enter_context(running(variant, with_sidecars=False))
            variant.wait_for_probe()
        for _ in range(max(2, runs // 2)):
            for variant in variants:
                before = variant.cpu_seconds()
                times[variant.name]['one'] += time_calls(variant.csi, 1000, False)
                times[variant.name]['fresh'] += time_calls(variant.csi, 300, True)
                times[variant.name]['cpu'].append((variant.cpu_seconds() - before) / 1300 * 1e6)
        memory = {v.name: v.memory()['rss'] for v in variants}
    return {name: {'p50_us': percentile(t['one'], 50), 'p99_us': percentile(t['one'], 99),
                   'fresh_p50_us': percentile(t['fresh'], 50), 'fresh_p99_us': percentile(t['fresh'], 99),
                   'cpu_us': statistics.mean(t['cpu']), 'rss_after': memory[name]} for name, t in times.items()}


def insist(call, *arguments, **fields):
    """Again, while the answer is one that a CO takes for "not now"."""
    for _ in range(100):
        try:
            return call(*arguments, **fields)
        except Exception as error:
            if getattr(error, 'code', None) not in ('ABORTED', 'FAILED_PRECONDITION', 'RESOURCE_EXHAUSTED'):
                raise
            time.sleep(0.02)
    return call(*arguments, **fields)


def format_for_ever(variant, number, stop):
    """Create, stage (mkfs), unstage, delete, again."""
    sys.path.insert(0, str(SOURCE / 'tests' / 'lib'))
    import csi
    n = 0
    with csi.Client(variant.csi) as client:
        path = variant.directory / 'k' / f's{number}'
        path.mkdir()
        while not stop.is_set():
            capability = csi.mount_capability('ext4')
            volume = insist(client.CreateVolume, name=f'v{number}-{n}', volume_capabilities=[capability],
                            capacity_range={'required_bytes': 1 << 30}, parameters={}).volume
            insist(client.NodeStageVolume, volume_id=volume.volume_id, staging_target_path=str(path),
                   volume_capability=capability)
            insist(client.NodeUnstageVolume, volume_id=volume.volume_id, staging_target_path=str(path))
            insist(client.DeleteVolume, volume_id=volume.volume_id)
            n += 1
    return n


def time_echo(n):
    """Microseconds of each answer of a process that does nothing else: what the machine itself makes one wait."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        while theirs.recv(64):
            theirs.send(b'x' * 64)
        os._exit(0)
    theirs.close()
    times = []
    os.setpriority(os.PRIO_PROCESS, 0, -15)
    try:
        for _ in range(n):
            start = time.perf_counter()
            ours.send(b'x' * 64)
            ours.recv(64)
            times.append((time.perf_counter() - start) * 1e6)
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, 0)
        ours.close()
        os.waitpid(child, 0)
    return times


def measure_busy(variants, _runs):
    """The same call while eight clients format volumes without a pause. Only berth-csi: the peer formats nothing."""
    results = {}
    for variant in variants:
        if not variant.build:
            continue
        with running(variant, with_sidecars=False):
            variant.wait_for_probe()
            idle, echo_idle = time_calls(variant.csi, 20000, False), time_echo(20000)
            counted = variant.directory / 'formats'
            child = os.fork()
            if child == 0:
                # Eight clients in this process would share the interpreter with the one that measures.
                try:
                    counted.write_text(str(run_formatters(variant)))
                except Exception as error:
                    print(error, file=sys.stderr)
                    os._exit(1)
                os._exit(0)
            time.sleep(3)
            busy, echo_busy = time_calls(variant.csi, 20000, False), time_echo(20000)
            (variant.directory / 'stop').touch()
            assert os.waitpid(child, 0)[1] == 0, (variant.directory / 'log').read_text()[-2000:]
            formats = int(counted.read_text())
        results[variant.name] = {
            'idle_p50_us': percentile(idle, 50), 'idle_p99_us': percentile(idle, 99),
            'busy_p50_us': percentile(busy, 50), 'busy_p99_us': percentile(busy, 99),
            'echo_idle_p99_us': percentile(echo_idle, 99), 'echo_busy_p99_us': percentile(echo_busy, 99),
            'formats': formats,
        }
    return results


def run_formatters(variant):
    stop = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(format_for_ever, variant, number, stop) for number in range(8)]
        while not (variant.directory / 'stop').exists() and not any(job.done() for job in jobs):
            time.sleep(0.05)
        stop.set()
        return sum(job.result() for job in jobs)


# --- the report ---

def report(title, results, reference):
    """One line for each number; with a peer, how many times less than it the first variant needs."""
    names = list(results)
    print(f'\n{title}')
    print('  {:<16}'.format('') + ''.join(f'{name:>18}' for name in names) + (f'{"ratio":>9}' if reference else ''))
    for key in results[names[0]]:
        values = [results[name][key] for name in names]
        line = f'  {key:<16}' + ''.join(f'{value:>18.1f}' for value in values)
        if reference and values[0]:
            line += f'{results[reference][key] / values[0]:>8.1f}x'
        print(line, flush=True)


def peer_programs(directory):
    if directory:
        return directory.resolve()
    directory = pathlib.Path(tempfile.mkdtemp(prefix='berth-peer-'))
    go = shutil.which('go')
    if not go:
        print('The peer is left out: go is not installed, and no --peer was given.')
        return None
    for name, command in PEER_PROGRAMS.values():
        module, version = versions.get(name)
        program = f'{module}/{command}@{version}'
        run = subprocess.run([go, 'install', program], capture_output=True, text=True, cwd='/',
                             env={**os.environ, 'GOBIN': str(directory), 'CGO_ENABLED': '0', 'GOFLAGS': ''})
        if run.returncode:
            print(f'The peer is left out: {program} cannot be installed: '
                  f'{run.stderr.strip().splitlines()[-1].strip()}')
            shutil.rmtree(directory)
            return None
    return directory


def check(result):
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def own_world():
    """Namespaces of our own, with ports and sockets that nobody else has."""
    check(LIBC.unshare(CLONE_NEWNS | CLONE_NEWNET))
    check(LIBC.mount(None, b'/', None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None))
    check(LIBC.mount(b'tmpfs', b'/mnt', b'tmpfs', ctypes.c_ulong(0), b'size=64g'))
    subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)


PARTS = {
    'start': (measure_start, 'Start: driver alone to its first good Probe; node_ms: all, registered and healthy'),
    'idle': (measure_idle, 'Idle, registered: KiB of all processes of the node'),
    'calls': (measure_calls, 'NodeGetCapabilities: one connection, and a fresh one for each call'),
    'busy': (measure_busy, 'NodeGetCapabilities while eight clients format volumes'),
}


def ask_for_the_processor():
    """Other work on the machine must not be measured."""
    with contextlib.suppress(OSError):
        pathlib.Path('/proc/self/autogroup').write_text('-15', encoding='utf-8')


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument('--build', type=pathlib.Path, action='append', default=[])
    parser.add_argument('--peer', type=pathlib.Path)
    parser.add_argument('--runs', type=int, default=20)
    parser.add_argument('--json', type=pathlib.Path)
    parser.add_argument('part', nargs='*', choices=[[], *PARTS])
    options = parser.parse_args()
    builds = [build.resolve() for build in options.build or [SOURCE / 'build']]
    variants = [Variant('berth' if len(builds) == 1 else f'berth {build.name}', build=build) for build in builds]
    peer = peer_programs(options.peer)
    if peer:
        variants.append(Variant('peer', peer=peer))
    own_world()
    ask_for_the_processor()
    results = {}
    for part in options.part or PARTS:
        measure, title = PARTS[part]
        results[part] = measure(variants, options.runs)
        report(title, results[part], 'peer' if peer and part != 'busy' else None)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1), encoding='utf-8')


if __name__ == '__main__':
    main()
