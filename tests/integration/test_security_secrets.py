# SPDX-License-Identifier: Apache-2.0
"""Secrets that come with a call are gone when it ends, however it ends: the whole memory of the daemon is looked
through. Frames of HTTP/2 are written by hand where no client of gRPC would send what is tried."""

import contextlib
import os
import pathlib
import re
import socket
import struct
import subprocess
import sys

import pytest

import csi
from test_csi_local import MIB, World, mount

PREFACE = b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
DATA, HEADERS, RST_STREAM, SETTINGS, CONTINUATION = 0, 1, 3, 4, 9
END_STREAM, END_HEADERS = 1, 4
STAGE, PROBE = '/csi.v1.Node/NodeStageVolume', '/csi.v1.Identity/Probe'
# Messages that it never hands over: docs/security.md says how long they stay.
HELD_BY_GRPC = ('late at once', 'late, unknown method', 'longer than the limit', 'reset by the client',
                'reset in the middle', 'ended in the middle', 'two messages')


PAGE, STEP = os.sysconf('SC_PAGE_SIZE'), 1 << 20


def is_there(pagemap, at, end):
    """Whether a page of this range is in memory or in swap; most of a thread's stack never was."""
    pagemap.seek(at // PAGE * 8)
    entries = pagemap.read((end - at) // PAGE * 8)
    return any(byte & 0xc0 for byte in entries[(7 if sys.byteorder == 'little' else 0)::8])


def memory_of(pid):
    """All that the process can write, by ranges."""
    with open(f'/proc/{pid}/maps', encoding='ascii') as maps:
        ranges = [line.split() for line in maps if ' rw' in line]
    with open(f'/proc/{pid}/mem', 'rb', buffering=0) as memory, \
         open(f'/proc/{pid}/pagemap', 'rb', buffering=0) as pagemap:
        for words in ranges:
            start, end = (int(number, 16) for number in words[0].split('-'))
            at = start
            while at < end:
                n = min(STEP, end - at)
                if is_there(pagemap, at, at + n):
                    with contextlib.suppress(OSError):
                        memory.seek(at)
                        yield f'{words[-1]}+{at - start:#x}', memory.read(n)
                at += n


def found_in_memory(pid, needle):
    """Where in the process."""
    found = []
    for name, content in memory_of(pid):
        at = content.find(needle)
        while at >= 0:
            found.append(f'{name}+{at:#x}: {content[max(at - 24, 0):at + 8]}')
            at = content.find(needle, at + len(needle))
    return found


# --- HTTP/2 by hand ---

def frame(kind, flags, stream, payload):
    return struct.pack('!I', len(payload))[1:] + struct.pack('!BBI', kind, flags, stream) + payload


def literal(name, value):
    """A header without an index, as RFC 7541, 6.2.2."""
    text = b'\0'
    for part in (name.encode(), value.encode()):
        text += bytes([len(part)]) if len(part) < 127 else bytes([127, len(part) - 127])
        text += part
    return text


def headers(stream, path, **more):
    fields = {':method': 'POST', ':scheme': 'http', ':path': path, ':authority': 'localhost', 'te': 'trailers',
              'content-type': 'application/grpc', **{name.replace('_', '-'): value for name, value in more.items()}}
    return frame(HEADERS, END_HEADERS, stream, b''.join(literal(*pair) for pair in fields.items()))


def message(data, compressed=0, n=None):
    return struct.pack('!BI', compressed, len(data) if n is None else n) + data


def data(stream, content, flags=END_STREAM):
    """In frames of 16 KiB, the most that is allowed unasked."""
    parts = [content[at:at + 16384] for at in range(0, len(content), 16384)] or [b'']
    return b''.join(frame(DATA, flags if part is parts[-1] else 0, stream, part) for part in parts)


class Wire:
    """A connection to the daemon's socket on which anything can be sent."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(str(path))
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, b''))

    def send(self, *frames):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(b''.join(frames))

    def read_until(self, kinds):
        """Until a frame of one of these kinds, or the end."""
        text = b''
        with contextlib.suppress(ConnectionResetError):
            while True:
                while len(text) >= 9 and len(text) >= 9 + int.from_bytes(text[:3], 'big'):
                    n, kind, flags = int.from_bytes(text[:3], 'big'), text[3], text[4]
                    if kind in kinds and (kind != HEADERS or flags & END_STREAM):
                        return
                    text = text[9 + n:]
                more = self.socket.recv(65536)
                if not more:
                    return
                text += more

    def ended(self):
        self.read_until((HEADERS, RST_STREAM))

    def close(self):
        self.socket.close()


class Look:
    """Calls with a secret each, and what of it is in memory afterwards.

    A secret is one word, once or many times, so that any piece of it is found.
    """

    def __init__(self, world, volume):
        self.world, self.volume, self.left, self.n = world, volume, {}, 0
        self.pid = world.daemon.process.pid
        self.word = ''

    def secret(self, times=1):
        self.n += 1
        self.word = f'{self.n:02}' + os.urandom(5).hex()
        return self.word * times

    def fields(self, secret, **more):
        return {'volume_id': self.volume, 'staging_target_path': str(self.world.kubelet.staging(self.volume)),
                'volume_capability': mount('ext4'), 'secrets': {'key': secret}, **more}

    def request(self, secret, **more):
        return csi.fill(csi.csi_pb2.NodeStageVolumeRequest(), self.fields(secret, **more)).SerializeToString()

    def __call__(self, kind):
        # What gRPC has read last on a connection goes with what it reads next.
        def is_gone():
            with contextlib.suppress(csi.Failure, ValueError):
                for _ in range(50):
                    self.world.client.NodeGetCapabilities()
            return not found_in_memory(self.pid, self.word.encode())

        with contextlib.suppress(AssertionError):
            csi.until(is_gone, seconds=10)
        found = found_in_memory(self.pid, self.word.encode())
        if found:
            self.left.setdefault(kind, []).extend(found[:3])


def is_sanitized(pid):
    """A sanitizer keeps what was freed."""
    return bool(re.search('lib[at]san', pathlib.Path(f'/proc/{pid}/maps').read_text(encoding='ascii')))


@pytest.fixture(name='look')
def look_fixture(build, sandbox):
    held = csi.held_mkfs(sandbox.path / 'held')
    world = World(build, sandbox, environment=held)
    volume = world.create('pvc-1', 16 * MIB, mount('ext4'))
    look = Look(world, volume)
    look.held = sandbox.path / 'held'
    if is_sanitized(look.pid):
        world.daemon.kill()
        pytest.skip('a sanitizer keeps what was freed')
    # A needle that is in the place would be found: the look itself can fail.
    assert found_in_memory(look.pid, b'csi/berth-csi')
    yield look
    world.client.close()
    (look.held / 'go').touch()
    if world.daemon.process.poll() is None:
        world.daemon.stop()


# 12 bytes, and what comes in more than one read.
SIZES = (1, 300)


def test_calls_that_end(look):
    """Done, refused at each of its stages, too long, not a message of that type; and a token of a service account."""
    client = look.world.client
    (look.held / 'go').touch()
    for times in SIZES:
        client.NodeStageVolume(**look.fields(look.secret(times)))
        look('done')
        for name, more in {'no such volume': {'volume_id': 'no such volume'}, 'no volume': {'volume_id': ''},
                           'path': {'staging_target_path': '/etc'},
                           'context': {'volume_context': {'unknown key': 'x'}}}.items():
            with contextlib.suppress(csi.Failure):
                client.NodeStageVolume(**look.fields(look.secret(times), **more))
            look(name)
        look.world.kubelet.unstage(look.volume)
        flags = mount('ext4', flags=[f'password={look.secret(times)}'])
        with pytest.raises(csi.Failure):
            client.NodeStageVolume(**look.fields('x', volume_capability=flags))
        look('flag')
        for name, tail in {'malformed': b'\xff\xff\xff', 'cut field': b'\x0a\xff\x01', 'not UTF-8': b'\x0a\x01\xff',
                           'unknown field': b'\xfa\x3f\x02hi', 'group': b'\x0b\x0c'}.items():
            with contextlib.suppress(csi.Failure):
                client.raw(STAGE, look.request(look.secret(times)) + tail)
            look(name)
        with contextlib.suppress(csi.Failure):
            client.NodePublishVolume(
                volume_id=look.volume, volume_capability=mount('ext4'),
                target_path=str(look.world.kubelet.target('pod-1', 'pvc-1')),
                staging_target_path=str(look.world.kubelet.staging(look.volume)),
                volume_context={'csi.storage.k8s.io/serviceAccount.tokens': look.secret(times)})
        look('token')
    with pytest.raises(csi.Failure):
        client.NodeStageVolume(**look.fields(look.secret(3000)))
    look('secret above its limit')
    # gRPC itself refuses it, and keeps what it read last as long as the connection.
    client.fails('RESOURCE_EXHAUSTED', 'NodeStageVolume', **look.fields(look.secret(100000)))
    client.close()
    look('message above its limit')
    assert not look.left


def test_calls_that_nobody_waits_for(look):
    """Cancelled and timed out, while it runs and before it began."""
    client = look.world.client

    def fields(times):
        """Of a volume of its own: nothing of the last call is in its way."""
        volume = look.world.create(f'pvc-{look.n}', 16 * MIB, mount('ext4'))
        return look.fields(look.secret(times), volume_id=volume,
                           staging_target_path=str(look.world.kubelet.staging(volume)))
    for times in SIZES:
        client.start('NodeStageVolume', **fields(times)).cancel()
        look('cancelled at once')
        n_called = csi.n_called(look.held)
        call = client.start('NodeStageVolume', **fields(times))
        csi.until(lambda: csi.n_called(look.held) > n_called)  # pylint: disable=cell-var-from-loop
        call.cancel()
        look('cancelled while it ran')
        client.fails('DEADLINE_EXCEEDED', 'NodeStageVolume', timeout=0.3, **fields(times))
        # A passed deadline ends no mkfs that has begun.
        (look.held / 'go').touch()
        look('timed out while it ran')
        (look.held / 'go').unlink()
    assert not look.left


@pytest.mark.parametrize('stays_open', [False, True], ids=['closed', 'open'])
def test_calls_as_no_client_sends_them(look, stays_open):
    """Of unknown methods, too late when they come, never finished, and what is no call at all. The connection is
    closed afterwards, or stays open, as a client's is."""
    path = look.world.daemon.socket_path
    (look.held / 'go').touch()
    late, cancel = {'grpc_timeout': '1n'}, frame(RST_STREAM, 0, 1, struct.pack('!I', 8))
    kept = []

    def attempt(kind, *frames, ends=True):
        wire = Wire(path)
        wire.send(*frames)
        if ends:
            wire.ended()
        if kind in HELD_BY_GRPC and stays_open:
            # The last read's buffer is let go when it is full.
            for stream in range(101, 101 + 2 * 300, 2):
                wire.send(headers(stream, PROBE), data(stream, message(b'')))
                wire.ended()
            ends = True
        if stays_open and ends:
            kept.append(wire)
        else:
            wire.close()
        look(kind)
    for times in SIZES:
        for name in ('/csi.v1.Node/NoSuchMethod', '/no.such.Service/Method', '/', '/' + 'x' * 120):
            attempt(f'unknown method {name[:20]}', headers(1, name), data(1, message(look.request(look.secret(times)))))
        attempt('late at once', headers(1, STAGE, **late), data(1, message(look.request(look.secret(times)))))
        attempt('late, unknown method', headers(1, '/x', **late), data(1, message(look.request(look.secret(times)))))
        attempt('compressed', headers(1, STAGE, grpc_encoding='gzip'),
                data(1, message(look.request(look.secret(times)), compressed=1)))
        attempt('compressed by nothing', headers(1, STAGE), data(1, message(look.request(look.secret(times)), 1)))
        attempt('longer than the limit', headers(1, STAGE),
                data(1, message(look.request(look.secret(times)), n=1 << 30), 0),
                cancel, ends=False)
        attempt('reset by the client', headers(1, STAGE), data(1, message(look.request(look.secret(times))), 0),
                cancel, ends=False)
        attempt('reset in the middle', headers(1, STAGE),
                data(1, message(look.request(look.secret(times)), n=9000), 0),
                cancel, ends=False)
        attempt('cut in the middle', headers(1, STAGE),
                data(1, message(look.request(look.secret(times)), n=9000), 0), ends=False)
        attempt('cut in a frame', headers(1, STAGE), data(1, message(look.request(look.secret(times))))[:-3],
                ends=False)
        attempt('ended in the middle', headers(1, STAGE), data(1, message(look.request(look.secret(times)), n=9000)))
        attempt('two messages', headers(1, STAGE), data(1, 2 * message(look.request(look.secret(times)))))
        attempt('data of no stream', headers(1, STAGE), data(1, message(b'')),
                data(7, message(look.request(look.secret(times)))), ends=False)
        attempt('data after the end', headers(1, STAGE), data(1, message(b'')),
                data(1, message(look.request(look.secret(times)))), ends=False)
        attempt('no method', frame(HEADERS, END_HEADERS, 1, literal(':method', 'POST')),
                data(1, message(look.request(look.secret(times)))), ends=False)
        attempt('no frame', look.request(look.secret(times)), ends=False)
    # What was kept open still answers.
    for wire in kept[:3]:
        wire.send(headers(3, PROBE), data(3, message(b'')))
        wire.ended()
    for wire in kept:
        wire.close()
    assert not look.left
    assert look.world.client.Probe().ready.value


def test_memory_is_for_nobody(build, tmp_path):
    """No core file with secrets in it, no look into the process for another of the same user, nothing in swap."""
    daemon = csi.Daemon(build, tmp_path)
    with daemon as client:
        pid = daemon.process.pid
        assert client.Probe().ready.value
        proc = pathlib.Path(f'/proc/{pid}')
        assert re.search(r'Max core file size +0 +0 ', (proc / 'limits').read_text(encoding='ascii'))
        if not is_sanitized(pid):
            status = dict(re.findall(r'(\w+):\s+(\d+) kB', (proc / 'status').read_text(encoding='ascii')))
            locked = [line for line in (proc / 'smaps').read_text(encoding='ascii').splitlines()
                      if line.startswith('VmFlags') and ' lo' in line]
            assert int(status['VmLck']) > 0 and len(locked) > 20
        # Of the same user, with no right beyond.
        look = f'open("/proc/{pid}/mem", "rb")'
        done = subprocess.run(['setpriv', '--bounding-set=-all', '--inh-caps=-all', sys.executable, '-c', look],
                              check=False, capture_output=True, text=True)
        assert 'PermissionError' in done.stderr
    assert 'swapped out' not in daemon.log()


def test_memory_that_may_not_be_locked(build, tmp_path):
    """In a container without CAP_IPC_LOCK and with a small limit: it says so and works; half a lock would take the
    memory itself away from it."""
    small = ['prlimit', '--memlock=65536:65536', 'setpriv', '--bounding-set=-ipc_lock', '--inh-caps=-ipc_lock']
    daemon = csi.Daemon(build, tmp_path, wrapper=small)
    with daemon as client:
        volumes = [client.CreateVolume(name=f'v{i}', volume_capabilities=[mount('ext4')],
                                       capacity_range={'required_bytes': MIB * 16}).volume for i in range(8)]
        status = pathlib.Path(f'/proc/{daemon.process.pid}/status').read_text(encoding='ascii')
        assert len(volumes) == 8 and re.search(r'VmLck:\s+0 kB', status)
    assert daemon.log().count('may be swapped out') == 1 and 'CAP_IPC_LOCK' in daemon.log()
