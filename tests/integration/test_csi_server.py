# SPDX-License-Identifier: Apache-2.0
"""What is on the gRPC socket of berth-csi: hostile bytes, time, many callers, the socket's life, the log."""

import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import time

import csi
import grpc
import pytest
from csi import until
from csi_double import Server, serving

CODES = {1: 'INVALID_ARGUMENT', 2: 'NOT_FOUND', 3: 'ALREADY_EXISTS', 4: 'FAILED_PRECONDITION', 5: 'FAILED_PRECONDITION',
         6: 'OUT_OF_RANGE', 7: 'RESOURCE_EXHAUSTED', 8: 'ABORTED', 9: 'UNAVAILABLE', 10: 'DEADLINE_EXCEEDED',
         11: 'PERMISSION_DENIED', 12: 'INTERNAL'}


def lone_channel(server):
    """A channel with a connection of its own."""
    return grpc.insecure_channel(f'unix:{server.socket_path}', options=[('grpc.use_local_subchannel_pool', 1)])


def unstage(channel):
    return channel.unary_unary('/csi.v1.Node/NodeUnstageVolume', request_serializer=None, response_deserializer=None)


def unstage_bytes(volume):
    return csi.fill(csi.csi_pb2.NodeUnstageVolumeRequest(),
                    {'volume_id': volume, 'staging_target_path': '/s'}).SerializeToString()


STAGE = {'staging_target_path': '/s', 'volume_capability': csi.mount_capability()}


def stage_bytes(volume):
    return csi.fill(csi.csi_pb2.NodeStageVolumeRequest(), {'volume_id': volume, **STAGE}).SerializeToString()


def connect(server):
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(str(server.socket_path))
    return peer


# --- requests ---

def test_unknown_methods_are_unimplemented(build, tmp_path):
    with serving(build, tmp_path) as (server, client):
        for path in ('/csi.v1.Node/NodeDance', '/csi.v9.Node/NodeGetInfo', '/x', '/' + 'y' * 4000):
            with pytest.raises(csi.Failure) as failure:
                client.raw(path, b'', timeout=30)
            assert failure.value.code == 'UNIMPLEMENTED'
        assert 'unknown method /csi.v1.Node/NodeDance' in server.log()
        assert client.Probe().ready.value


def test_undecodable_messages_are_invalid(build, tmp_path):
    stage = '/csi.v1.Node/NodeStageVolume'
    bad = {
        b'\xff\xff\xff': 'the message is not a protobuf message',
        b'\x0a\x05ab': 'volume_id is cut off or malformed',
        b'\x08\x01': 'volume_id has the wrong wire type',
        b'\x0a\x03a\x00b': 'volume_id has a NUL in it',
        b'\x0a\x02\xc3(': 'volume_id is not valid UTF-8',
        b'\x2a\x04\x0a\x02\xff\xfe': 'key is not valid UTF-8',
        b'\x12\x00' * 5000: 'the message has too many fields',
        os.urandom(64).replace(b'\x0a', b'\xff'): '',
    }
    with serving(build, tmp_path) as (server, client):
        for data, message in bad.items():
            with pytest.raises(csi.Failure) as failure:
                client.raw(stage, data)
            assert failure.value.code == 'INVALID_ARGUMENT'
            assert message in failure.value.message
        # The connection is as good as before.
        assert client.Probe().ready.value


def test_message_size_is_limited(build, tmp_path):
    with serving(build, tmp_path) as (server, client):
        message = client.fails('RESOURCE_EXHAUSTED', 'NodeStageVolume', volume_id='v' * (1 << 20))
        assert 'larger than max' in message
        message = client.fails('INVALID_ARGUMENT', 'NodeStageVolume', volume_id='v' * ((1 << 20) - 100))
        assert message == 'volume_id: 1048476 bytes, expected at most 1024'
        assert client.Probe().ready.value


def test_compressed_messages_are_refused(build, tmp_path):
    with serving(build, tmp_path) as (server, client):
        with lone_channel(server) as channel, pytest.raises(grpc.RpcError) as error:
            unstage(channel)(unstage_bytes('v') + b'\xa2\x06\x80\x10' + b'x' * 2048, timeout=30,
                             compression=grpc.Compression.Gzip)
        assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED
        # 200 MiB of nothing never become 200 MiB of memory.
        data = unstage_bytes('v') + b'\xa2\x06\x80\x80\x80\x64' + bytes(200 << 20)
        with lone_channel(server) as channel, pytest.raises(grpc.RpcError):
            unstage(channel)(data, timeout=60, compression=grpc.Compression.Gzip)
        status = pathlib.Path(f'/proc/{server.process.pid}/status').read_text()
        assert int(re.search(r'VmHWM:\s+(\d+)', status).group(1)) < 40000
        assert client.Probe().ready.value


def test_metadata_is_limited(build, tmp_path):
    with serving(build, tmp_path) as (server, client):
        with lone_channel(server) as channel, pytest.raises(grpc.RpcError) as error:
            unstage(channel)(unstage_bytes('v'), timeout=30, metadata=[('big', 'x' * 20000)])
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert client.Probe().ready.value


def test_stream_without_or_with_more_messages(build, tmp_path):
    with serving(build, tmp_path) as (server, client), lone_channel(server) as channel:
        call = channel.stream_unary('/csi.v1.Node/NodeUnstageVolume')
        with pytest.raises(grpc.RpcError) as error:
            call(iter([]), timeout=30)
        assert error.value.code() == grpc.StatusCode.INTERNAL
        assert call(iter([unstage_bytes('a'), unstage_bytes('b')]), timeout=30) == b''
        assert client.Probe().ready.value


def test_codes_and_messages_arrive(build, tmp_path):
    with serving(build, tmp_path) as (server, client):
        for number, code in CODES.items():
            message = client.fails(code, 'NodeUnstageVolume', volume_id=f'error-{number}', staging_target_path='/s')
            # A byte that is no UTF-8 was replaced: Go's clients refuse it.
            assert message == f'as asked ? for error-{number}'


# --- time ---

def logged(server, volume):
    return [line for line in server.log().splitlines() if f'volume={volume} ' in line]


def test_deadline_reaches_the_handler(build, tmp_path):
    with serving(build, tmp_path) as (server, client):
        start = time.monotonic()
        client.fails('DEADLINE_EXCEEDED', 'NodeUnstageVolume', timeout=1, volume_id='sleep-60000',
                     staging_target_path='/s')
        until(lambda: logged(server, 'sleep-60000'))
        assert time.monotonic() - start < 30
        assert 'cancelled after' in logged(server, 'sleep-60000')[0]


def test_cancellation_reaches_the_handler(build, tmp_path):
    with serving(build, tmp_path) as (server, client):
        call = client.start('NodeUnstageVolume', volume_id='sleep-60001', staging_target_path='/s')
        until(lambda: 'at work on sleep-60001' in server.log())
        call.cancel()
        until(lambda: logged(server, 'sleep-60001'))
        # And so does a connection that is gone.
        with lone_channel(server) as channel:
            call = unstage(channel).future(unstage_bytes('sleep-60002'))
            until(lambda: 'at work on sleep-60002' in server.log())
            assert not call.done()
        until(lambda: logged(server, 'sleep-60002'))
        assert client.Probe().ready.value


def test_a_thousand_calls_at_once(build, tmp_path):
    with serving(build, tmp_path) as (server, client):
        calls = [client.start('NodeGetCapabilities') for _ in range(1000)]
        calls += [client.start('NodeUnstageVolume', volume_id='sleep-10', staging_target_path='/s')
                  for _ in range(1000)]
        for call in calls:
            call.result()


def test_quick_calls_do_not_wait_for_slow_ones(build, tmp_path):
    """Nor does what undoes. A thread that is late is replaced, so there are four at work or more."""
    with serving(build, tmp_path, '--workers=4') as (server, client):
        slow = [client.start('NodeStageVolume', volume_id='sleep-90000', **STAGE) for _ in range(50)]
        until(lambda: server.log().count('at work on sleep-90000') >= 4)
        with lone_channel(server) as channel:
            for path in ('/csi.v1.Identity/Probe', '/csi.v1.Node/NodeGetCapabilities', '/csi.v1.Node/NodeGetInfo'):
                channel.unary_unary(path)(b'', timeout=30)
            unstage(channel)(unstage_bytes('v'), timeout=30)
        assert not any(call.done() for call in slow)
        for call in slow:
            call.cancel()


def test_a_thread_that_hangs_is_replaced(build, tmp_path):
    """Two threads, four that hang: the fifth call is served."""
    with serving(build, tmp_path, '--workers=2') as (server, client):
        deaf = [client.start('NodeStageVolume', volume_id='deaf-40000', **STAGE) for _ in range(4)]
        client.call('NodeStageVolume', volume_id='v', timeout=60, **STAGE)
        assert not any(call.done() for call in deaf)
        server.kill()


def test_a_full_queue_is_told_at_once(build, tmp_path):
    with serving(build, tmp_path, '--workers=1') as (server, client), contextlib.ExitStack() as stack:
        channels = [stack.enter_context(lone_channel(server)) for _ in range(12)]
        stages = [channel.unary_unary('/csi.v1.Node/NodeStageVolume') for channel in channels]
        calls = [stage.future(stage_bytes('sleep-90000')) for stage in stages for _ in range(100)]
        # One runs, and one more for each that is late; 1024 wait.
        until(lambda: sum(call.done() for call in calls) >= 150)
        failed = [call for call in calls if call.done()]
        assert len(failed) <= 175
        for call in failed:
            assert call.code() == grpc.StatusCode.UNAVAILABLE
            assert call.details() == 'too many calls are waiting, try again'
        assert client.Probe().ready.value
        for call in calls:
            call.cancel()
        # Those that waited were never decoded.
        until(lambda: server.log().count('method=NodeStageVolume') == 1200)
        assert server.log().count('msg="cancelled before it began"') > 1000
        client.NodeUnstageVolume(volume_id='v', staging_target_path='/s')


# --- connections ---

def test_garbage_and_silence_on_the_socket(build, tmp_path):
    with serving(build, tmp_path) as (server, client):
        silent = [connect(server) for _ in range(300)]
        preface = b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
        settings, headers = b'\0\0\0\4\0\0\0\0\0', b'\0\x10\0\1\5\0\0\0\1'
        for data in (b'GET / HTTP/1.1\r\n\r\n', os.urandom(4096), preface + b'\xff' * 64,
                     preface + settings + headers + b'a' * 4096):
            peer = connect(server)
            peer.sendall(data)
            peer.settimeout(5)
            with contextlib.suppress(ConnectionResetError):
                while peer.recv(65536):
                    pass
        with lone_channel(server) as channel:
            assert channel.unary_unary('/csi.v1.Identity/Probe')(b'', timeout=30) == b'\n\x02\x08\x01'
        for peer in silent:
            peer.close()
        assert server.process.poll() is None


def test_many_short_connections(build, tmp_path):
    """Kubelet dials for nearly every call."""
    with serving(build, tmp_path) as (server, client):
        def anonymous():
            status = pathlib.Path(f'/proc/{server.process.pid}/status').read_text()
            return int(re.search(r'RssAnon:\s+(\d+)', status).group(1))
        for rounds in range(3):
            for _ in range(300):
                with lone_channel(server) as channel:
                    channel.unary_unary('/csi.v1.Node/NodeGetCapabilities')(b'', timeout=30)
            if rounds == 0:
                before = anonymous()
        if 'asan' not in pathlib.Path(f'/proc/{server.process.pid}/maps').read_text():  # which keeps what is freed
            assert anonymous() < before + 1500
        assert len(os.listdir(f'/proc/{server.process.pid}/fd')) < 40


def test_running_out_of_descriptors_passes(build, tmp_path):
    server = Server(build, tmp_path)
    server.argv = ['prlimit', '--nofile=64:64', *server.argv]
    client = server.start()
    peers = [connect(server) for _ in range(100)]
    until(lambda: 'out of file descriptors' in server.log())
    for peer in peers:
        peer.close()
    with lone_channel(server) as channel:
        channel.unary_unary('/csi.v1.Identity/Probe')(b'', timeout=10, wait_for_ready=True)
    client.close()
    assert server.stop() == 0


def test_strangers_are_hung_up_on(build, tmp_path):
    with serving(build, tmp_path) as (server, client):
        assert (server.socket_path.stat().st_mode & 0o777) == 0o600
        for path in [server.socket_path, *server.socket_path.parents][:-1]:
            os.chmod(path, 0o777)
        program = ('import os, socket, sys; os.setgid(65534); os.setuid(65534); s = socket.socket(socket.AF_UNIX); '
                   's.settimeout(5); s.connect(sys.argv[1]); sys.exit(0 if s.recv(1) == b"" else 1)')
        run = subprocess.run(['/usr/bin/python3', '-c', program, server.socket_path], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        until(lambda: 'hung up on user 65534' in server.log())
        assert client.Probe().ready.value


# --- the socket ---

def test_a_living_instance_keeps_its_socket(build, tmp_path):
    with serving(build, tmp_path) as (server, client):
        second = Server(build, tmp_path, ['--health-port=0'])
        second.start(ready_seconds=0)
        assert second.process.wait(30) == 1
        assert f'another instance already serves {server.socket_path}' in server.log()
        assert client.Probe().ready.value
        with lone_channel(server) as channel:
            channel.unary_unary('/csi.v1.Identity/Probe')(b'', timeout=30)


def test_a_dead_instance_is_replaced(build, tmp_path):
    server = Server(build, tmp_path)
    server.start().close()
    server.kill()
    assert server.socket_path.is_socket()
    client = server.start()
    client.close()
    assert server.stop() == 0
    assert not server.socket_path.exists()


def test_a_removed_socket_comes_back(build, tmp_path):
    with serving(build, tmp_path) as (server, client):
        server.socket_path.unlink()
        until(server.socket_path.exists)
        with lone_channel(server) as channel:
            channel.unary_unary('/csi.v1.Identity/Probe')(b'', timeout=30)


def test_refused_endpoints(build, tmp_path):
    (tmp_path / 'file').touch()
    for endpoint, code, message in ((f'unix://{tmp_path}/file', 1, 'is not a socket'),
                                    (f'unix:///{"x" * 120}', 1, 'longer than the 107 bytes'),
                                    (f'{tmp_path}/none/csi.sock', 1, 'No such file or directory'),
                                    ('tcp://127.0.0.1:1', 64, 'expected unix:///path')):
        run = subprocess.run([build / 'csi/cli/test-csi-daemon', f'--endpoint={endpoint}', '--no-registration'],
                             capture_output=True, text=True, timeout=30)
        assert run.returncode == code
        assert message in run.stderr


# --- the end ---

def test_sigterm_lets_calls_end(build, tmp_path):
    with serving(build, tmp_path) as (server, client):
        call = client.start('NodeUnstageVolume', volume_id='sleep-700', staging_target_path='/s')
        until(lambda: 'at work on sleep-700' in server.log())
        server.process.terminate()
        call.result()
        assert server.process.wait(30) == 0
        assert not server.socket_path.exists()
        assert 'msg=stopped' in server.log()


def test_sigterm_cancels_what_takes_too_long(build, tmp_path):
    with serving(build, tmp_path, '--drain-timeout=300ms') as (server, client):
        call = client.start('NodeUnstageVolume', volume_id='sleep-60000', staging_target_path='/s')
        until(lambda: 'at work on sleep-60000' in server.log())
        start = time.monotonic()
        server.process.terminate()
        assert call.exception(timeout=30) is not None
        assert server.process.wait(30) == 0
        assert 0.3 <= time.monotonic() - start < 30


def test_sigterm_leaves_calls_that_do_not_listen(build, tmp_path):
    with serving(build, tmp_path, '--drain-timeout=0') as (server, client):
        # Kept: gRPC cancels a call that nobody holds, perhaps before it is at work.
        call = client.start('NodeUnstageVolume', volume_id='deaf-60000', staging_target_path='/s')
        until(lambda: 'at work on deaf-60000' in server.log())
        server.process.terminate()
        assert server.process.wait(30) == 1
        assert call.exception(timeout=30) is not None
        assert not server.socket_path.exists()


def test_sigterm_does_not_wait_for_silent_peers(build, tmp_path):
    with serving(build, tmp_path) as (server, client):
        peer = connect(server)
        time.sleep(0.1)
        start = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - start < 15
        peer.close()


# --- logs ---

def test_secrets_never_enter_the_log(build, tmp_path):
    secret = 'Zx9secretZx9'
    fields = {
        'staging_target_path': '/s',
        'secrets': {'key': secret, secret: 'x'},
        'publish_context': {'token': secret},
        'volume_context': {'csi.storage.k8s.io/serviceAccount.tokens': secret},
        'volume_capability': csi.mount_capability('ext4', flags=[f'password={secret}']),
    }
    with serving(build, tmp_path, '--log-level=debug') as (server, client):
        client.NodeStageVolume(volume_id='fine', **fields)
        client.fails('ABORTED', 'NodeStageVolume', volume_id='error-8', **fields)
        client.fails('INVALID_ARGUMENT', 'NodeStageVolume', **fields)
        client.fails('INVALID_ARGUMENT', 'NodeStageVolume', **{
            **fields, 'volume_id': 'v', 'volume_capability': csi.mount_capability('ext4', 0, [f'password={secret}'])})
        client.fails('INVALID_ARGUMENT', 'NodeStageVolume', **{
            **fields, 'volume_id': 'v', 'secrets': {secret: secret * 1000}})
        client.CreateVolume(name='new', volume_capabilities=[csi.mount_capability()], secrets={'a': secret},
                            parameters={'p': secret})
        client.DeleteVolume(volume_id='old', secrets={'a': secret})
        for line in ('volume=fine', 'volume=error-8', 'name=new', 'volume=old'):
            until(lambda wanted=line: wanted in server.log())
        assert secret not in server.log()


def test_one_line_for_each_call(build, tmp_path):
    with serving(build, tmp_path, '--log-format=json') as (server, client):
        client.NodeUnstageVolume(volume_id='v 1"', staging_target_path='/s')
        client.fails('NOT_FOUND', 'NodeUnpublishVolume', volume_id='error-2', target_path='/t')
        client.NodeGetCapabilities()
        client.NodeGetVolumeStats(volume_id='v', volume_path='/p')
        client.close()
        assert server.stop() == 0
        lines = [json.loads(line) for line in server.log().splitlines()]
        calls = [line for line in lines if 'method' in line]
        assert [(c['level'], c['method'], c['volume'], c['code']) for c in calls] == [
            ('info', 'NodeUnstageVolume', 'v 1"', 'OK'), ('error', 'NodeUnpublishVolume', 'error-2', 'NotFound')]
        assert calls[1]['target'] == '/t'
        assert calls[1]['msg'] == 'as asked ? for error-2'
        assert 0 < float(calls[0]['duration_ms']) < 10000
