# SPDX-License-Identifier: Apache-2.0
"""What replaces the sidecars: kubelet's registration, livenessprobe's health check, metrics."""

import contextlib
import datetime
import os
import re
import socket
import time
import urllib.error
import urllib.request

import csi
import grpc
import pytest
from csi import until
from csi_double import Server, serving

PORT = 9808
UNAVAILABLE, PRECONDITION = '9', '4'  # ErrorCode


# --- health and metrics ---

def get(path, port=PORT, host='127.0.0.1', method='GET'):
    request = urllib.request.Request(f'http://{host}:{port}{path}', method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_healthz_is_livenessprobes(build, tmp_path):
    with serving(build, tmp_path):
        assert get('/healthz') == (200, 'ok')
        assert get('/healthz', host='[::1]') == (200, 'ok')
        assert get('/healthz', method='HEAD') == (200, '')
        assert get('/healthz', method='POST')[0] == 405
        assert get('/nothing')[0] == 404


def test_http_survives_its_clients(build, tmp_path):
    with serving(build, tmp_path) as (server, _):
        def send(data):
            peer = socket.create_connection(('127.0.0.1', PORT), timeout=30)
            peer.sendall(data)
            return peer

        def answer(peer):
            text = b''
            with contextlib.suppress(ConnectionResetError):
                while more := peer.recv(65536):
                    text += more
            peer.close()
            return text
        # More silent peers than there is room for: the oldest go, a prober is not kept out.
        silent = [send(b'GET /hea') for _ in range(200)]
        assert get('/healthz') == (200, 'ok')
        assert answer(silent[0]) == b''
        silent[-1].sendall(b'lthz HTTP/1.1\r\n\r\n')
        assert answer(silent[-1]).endswith(b'\r\nConnection: close\r\n\r\nok')
        for data in (os.urandom(3000) + b'\n\n', b'GET\n\n', b'x' * 5000, b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'):
            assert answer(send(data)).startswith((b'HTTP/1.1 400 Bad Request\r\n', b'HTTP/1.1 405', b''))
        reply = answer(send(b'POST /healthz HTTP/1.1\r\nContent-Length: 2\r\n\r\nab'))
        assert reply.startswith(b'HTTP/1.1 405 Method Not Allowed\r\n') and b'\r\nAllow: GET, HEAD\r\n' in reply
        for peer in silent[1:-1]:
            peer.close()
        assert get('/healthz') == (200, 'ok')


@pytest.mark.parametrize('ready', [UNAVAILABLE, PRECONDITION])
def test_healthz_says_why_not(build, tmp_path, ready):
    with serving(build, tmp_path, ready=ready) as (server, _):
        until(lambda: 'msg=serving' in server.log())
        assert get('/healthz') == (500, 'not ready as asked')
        assert get('/livez') == (200, 'ok')
        with csi.Client(server.socket_path) as client:
            if ready == UNAVAILABLE:
                assert not client.Probe().ready.value
            else:
                assert client.fails('FAILED_PRECONDITION', 'Probe') == 'not ready as asked'


def test_health_can_be_moved_and_turned_off(build, tmp_path):
    with serving(build, tmp_path, '--health-port=0') as (server, client):
        with pytest.raises(urllib.error.URLError):
            get('/healthz')
    with serving(build, tmp_path, '--health-port=9999', '--health-address=127.0.0.1', '--no-metrics'):
        assert get('/healthz', 9999) == (200, 'ok')
        assert get('/metrics', 9999)[0] == 404
        with pytest.raises(urllib.error.URLError):
            get('/healthz', 9999, '[::1]')


def test_a_taken_port_keeps_no_volume_away(build, tmp_path):
    """Anybody may bind a port before the start: CSI is served all the same, and health when the port is free."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(('0.0.0.0', 9808))
        taken.listen()
        with serving(build, tmp_path, '--health-port=9808') as (server, client):
            assert client.Probe().ready.value
            assert 'health: cannot listen on all addresses port 9808: Address already in use' in server.log()
            taken.close()
            until(lambda: 'health: listening on all addresses port 9808 after all' in server.log())
            assert get('/livez') == (200, 'ok')


def test_who_asks_for_health_in_a_loop_keeps_nobody_waiting(build, tmp_path):
    """A metadata service that takes connections and says nothing; many that ask; /livez answers from memory."""
    with socket.socket() as silent, contextlib.ExitStack() as stack:
        silent.bind(('127.0.0.1', 0))
        silent.listen(64)
        daemon = csi.Daemon(build, tmp_path, ['--health-port=9808', '--health-address=127.0.0.1',
                                              f'--metadata-url=http://127.0.0.1:{silent.getsockname()[1]}'],
                            provider='hetzner')
        daemon.start(ready_seconds=0)
        stack.callback(daemon.kill)
        until(lambda: 'serving' in daemon.log())
        waiting = []
        for _ in range(100):
            peer = stack.enter_context(socket.create_connection(('127.0.0.1', 9808)))
            peer.sendall(b'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n')
            waiting.append(peer)
        for _ in range(20):
            start = time.monotonic()
            assert get('/livez') == (200, 'ok')
            assert time.monotonic() - start < 1
        status, text = get('/healthz')
        assert status == 500
        assert text


def metrics():
    """Every sample, and a check of what Prometheus asks of the text."""
    status, text = get('/metrics')
    assert status == 200
    samples, types = {}, {}
    for line in text.splitlines():
        if line.startswith('# TYPE '):
            _, _, name, kind = line.split()
            assert name not in types
            types[name] = kind
        elif not line.startswith('#'):
            name, value = re.fullmatch(r'([a-z_]+(?:\{(?:[a-z_]+="(?:[^"\\]|\\.)*",?)+\})?) (\S+)', line).groups()
            assert name not in samples
            samples[name] = float(value)
    return samples, types


def test_metrics(build, tmp_path):
    with serving(build, tmp_path) as (server, client):
        client.NodeUnstageVolume(volume_id='sleep-150', staging_target_path='/s')
        client.fails('ABORTED', 'NodeUnstageVolume', volume_id='error-8', staging_target_path='/s')
        with pytest.raises(csi.Failure):
            client.raw('/csi.v1.Node/Nothing', b'')
        samples, types = metrics()
        assert types['csi_operations_seconds'] == 'histogram'

        def labels(code, method='/csi.v1.Node/NodeUnstageVolume'):
            return f'driver_name="double.csi.test",grpc_status_code="{code}",method_name="{method}"'
        for name in ('csi_operations_seconds', 'csi_plugin_operations_seconds'):
            assert samples[f'{name}_count{{{labels("OK")}}}'] == 1
            assert samples[f'{name}_bucket{{{labels("OK")},le="0.1"}}'] == 0
            # On a machine that has other work it took longer, and stands in a later bucket.
            took = samples[f'{name}_sum{{{labels("OK")}}}']
            assert took > 0.14
            assert samples[f'{name}_bucket{{{labels("OK")},le="0.25"}}'] == (took <= 0.25)
            assert samples[f'{name}_count{{{labels("Aborted")}}}'] == 1
            assert samples[f'{name}_count{{{labels("Unimplemented", "unknown")}}}'] == 1
        assert abs(samples['process_start_time_seconds'] - time.time()) < 60
        assert [k for k in samples if k.startswith('berth_csi_build_info')]


# --- registration ---

class Kubelet:
    """What kubelet's plugin watcher does with a socket."""

    def __init__(self, directory):
        self.directory = directory
        self.path = directory / 'double.csi.test-reg.sock'

    def names(self):
        return sorted(os.listdir(self.directory)) if self.directory.exists() else []

    def call(self, method, request, reply):
        with grpc.insecure_channel(f'unix:{self.path}', options=[('grpc.use_local_subchannel_pool', 1)]) as channel:
            return channel.unary_unary(f'/pluginregistration.Registration/{method}',
                                       request_serializer=lambda m: m.SerializeToString(),
                                       response_deserializer=reply.FromString)(request, timeout=30)

    def info(self):
        return self.call('GetInfo', csi.registration_pb2.InfoRequest(), csi.registration_pb2.PluginInfo)

    def notify(self, registered, error=''):
        return self.call('NotifyRegistrationStatus',
                         csi.registration_pb2.RegistrationStatus(plugin_registered=registered, error=error),
                         csi.registration_pb2.RegistrationStatusResponse)


@pytest.fixture
def kubelet(tmp_path):
    directory = tmp_path / 'reg'
    directory.mkdir()
    return Kubelet(directory)


def test_registration(build, tmp_path, kubelet):
    server = Server(build, tmp_path, ['--registration-endpoint=/host/csi.sock'], registration=kubelet.directory)
    server.start(ready_seconds=0)
    # The watcher dials what it sees: from its first moment the name must answer.
    while not kubelet.path.exists():
        assert set(kubelet.names()) <= {'.double.csi.test-reg.sock', kubelet.path.name}
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(str(kubelet.path))
    peer.close()
    assert (kubelet.path.stat().st_mode & 0o777) == 0o600
    info = kubelet.info()
    assert (info.type, info.name, info.endpoint) == ('CSIPlugin', 'double.csi.test', '/host/csi.sock')
    assert list(info.supported_versions) == ['1.0.0']
    kubelet.notify(True)
    assert 'kubelet registered driver double.csi.test' in server.log()
    # Newer kubelets ask again and again.
    assert kubelet.info().name == 'double.csi.test'
    assert server.stop() == 0
    assert kubelet.names() == []


def test_registration_waits_until_ready(build, tmp_path, kubelet):
    with serving(build, tmp_path, registration=kubelet.directory, ready=UNAVAILABLE) as (server, _):
        until(lambda: 'not registering yet: not ready as asked' in server.log())
        time.sleep(0.7)
        assert kubelet.names() == []
        # Said once, not each time.
        assert server.log().count('not registering yet') == 1
        assert server.stop() == 0


def test_registration_comes_back(build, tmp_path, kubelet):
    with serving(build, tmp_path, registration=kubelet.directory) as (server, _):
        until(kubelet.path.exists)
        kubelet.path.unlink()
        until(kubelet.path.exists)
        assert kubelet.info().name == 'double.csi.test'
        kubelet.path.rename(tmp_path / 'away')
        until(kubelet.path.exists)
        assert kubelet.info().name == 'double.csi.test'
        # The whole directory is replaced.
        kubelet.path.unlink()
        kubelet.directory.rmdir()
        time.sleep(0.5)
        kubelet.directory.mkdir()
        until(kubelet.path.exists)
        assert kubelet.info().name == 'double.csi.test'


def seconds_without_socket(server):
    """Between each refusal and the next socket, by the log."""
    pauses, refused = [], None
    for line in server.log().splitlines():
        when = datetime.datetime.fromisoformat(line.split()[0].removeprefix('time='))
        if 'did not register' in line:
            refused = when
        elif 'waiting for kubelet' in line and refused:
            pauses.append((when - refused).total_seconds())
            refused = None
    return pauses


def test_refused_registration_is_tried_again(build, tmp_path, kubelet):
    with serving(build, tmp_path, registration=kubelet.directory) as (server, _):
        for answers in ([False], [False], [True, False]):
            n = len(seconds_without_socket(server))
            until(kubelet.path.exists)
            for answer in answers:
                kubelet.notify(answer, '' if answer else 'version skew')
            until(lambda before=n: len(seconds_without_socket(server)) > before)
        assert 'version skew' in server.log()
        # It doubles, and starts anew once kubelet was content.
        for pause, least, below in zip(seconds_without_socket(server), (1, 2, 1), (30, 30, 4)):
            assert least <= pause < below


def test_registration_leaves_a_living_registrar_alone(build, tmp_path, kubelet):
    registrar = socket.socket(socket.AF_UNIX)
    registrar.bind(str(kubelet.path))
    registrar.listen()
    with serving(build, tmp_path, registration=kubelet.directory) as (server, client):
        until(lambda: 'another instance already serves' in server.log())
        assert client.Probe().ready.value
        time.sleep(0.5)
        assert 'waiting for kubelet' not in server.log()
        # Its remains are no hindrance.
        registrar.close()
        until(lambda: 'waiting for kubelet' in server.log())
        assert kubelet.info().name == 'double.csi.test'
