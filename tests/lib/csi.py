# SPDX-License-Identifier: Apache-2.0
"""A CSI client over a Unix socket, as kubelet and the sidecars are, and the daemon to talk to.

The message classes are made from proto/csi.proto by protoc when this module is loaded. A call takes the fields of its
request as keyword arguments; a dict stands for a map or a message, a list of dicts for a repeated message:

    client = Client(socket_path)
    reply = client.NodeStageVolume(volume_id='v', staging_target_path='/s', volume_capability=mount_capability('xfs'))
    message = client.fails('NOT_FOUND', 'NodeGetVolumeStats', volume_id='none', volume_path='/p')
"""

import importlib
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import grpc

SOURCE = pathlib.Path(__file__).resolve().parents[2]
IDENTITY = ('GetPluginInfo', 'GetPluginCapabilities', 'Probe')

SINGLE_NODE_WRITER = 1
SINGLE_NODE_READER_ONLY = 2
MULTI_NODE_READER_ONLY = 3
MULTI_NODE_SINGLE_WRITER = 4
MULTI_NODE_MULTI_WRITER = 5
SINGLE_NODE_SINGLE_WRITER = 6
SINGLE_NODE_MULTI_WRITER = 7


def _generate():
    """Python classes of both proto files; they are loaded from a directory that is gone afterwards."""
    directory = tempfile.mkdtemp(prefix='berth-proto-')
    try:
        includes = [f'-I{SOURCE}/proto', '-I/usr/include']
        subprocess.run(['protoc', *includes, f'--python_out={directory}', 'csi.proto', 'pluginregistration.proto',
                        'protobuf-c/protobuf-c.proto'], check=True)
        sys.path.insert(0, directory)
        dont_write, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        try:
            return importlib.import_module('csi_pb2'), importlib.import_module('pluginregistration_pb2')
        finally:
            sys.dont_write_bytecode = dont_write
            sys.path.remove(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


csi_pb2, registration_pb2 = _generate()


class Failure(Exception):
    """The status of a failed call: code is its name, 'NOT_FOUND'."""

    def __init__(self, method, error):
        self.method = method
        self.code = error.code().name
        self.message = error.details()
        super().__init__(f'{method}: {self.code}: {self.message}')


def fill(message, fields):
    """Sets fields of a message from plain Python values."""
    for name, value in fields.items():
        field = message.DESCRIPTOR.fields_by_name[name]
        target = getattr(message, name)
        if field.message_type is None:
            if field.label == field.LABEL_REPEATED:
                target.extend(value)
            else:
                setattr(message, name, value)
        elif field.label == field.LABEL_REPEATED:
            # A map is a repeated pair in our proto files.
            if isinstance(value, dict):
                value = [{'key': k, 'value': v} for k, v in value.items()]
            for one in value:
                fill(target.add(), one)
        else:
            target.SetInParent()
            fill(target, value)
    return message


def pairs(field):
    """A map field of a reply as a dict."""
    return {pair.key: pair.value for pair in field}


def mount_capability(fs_type='', mode=SINGLE_NODE_WRITER, flags=(), group=''):
    return {'mount': {'fs_type': fs_type, 'mount_flags': list(flags), 'volume_mount_group': group},
            'access_mode': {'mode': mode}}


def block_capability(mode=SINGLE_NODE_WRITER):
    return {'block': {}, 'access_mode': {'mode': mode}}


def service_of(method):
    if method in IDENTITY:
        return 'Identity'
    if method.startswith('Node'):
        return 'Node'
    if 'Group' in method:
        return 'GroupController'
    return 'Controller'


class Client:
    """Calls every method of CSI by its name. timeout: seconds per call."""

    def __init__(self, socket_path, timeout=120):
        self.timeout = timeout
        # Kubelet's target and authority.
        self.channel = grpc.insecure_channel(f'unix:{socket_path}', options=[
            ('grpc.default_authority', 'localhost'),
            # Who comes to the socket of a daemon that was killed is not held off for a second.
            ('grpc.initial_reconnect_backoff_ms', 20), ('grpc.max_reconnect_backoff_ms', 1000)])

    def close(self):
        self.channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def start(self, method, timeout=None, wait_for_ready=False, **fields):
        """Begins a call and returns grpc's future of it. wait_for_ready: until there is a connection."""
        request = fill(getattr(csi_pb2, method + 'Request')(), fields)
        call = self.channel.unary_unary(
            f'/csi.v1.{service_of(method)}/{method}',
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=getattr(csi_pb2, method + 'Response').FromString)
        return call.future(request, timeout=timeout or self.timeout, wait_for_ready=wait_for_ready)

    def call(self, method, timeout=None, wait_for_ready=False, **fields):
        try:
            return self.start(method, timeout, wait_for_ready, **fields).result()
        except grpc.RpcError as error:
            raise Failure(method, error) from None

    def fails(self, code, method, timeout=None, **fields):
        """The call must fail with this code; returns the message."""
        try:
            reply = self.call(method, timeout, **fields)
        except Failure as failure:
            assert failure.code == code, f'{failure} (expected {code})'
            assert failure.message, f'{method}: {code} without a message'
            return failure.message
        raise AssertionError(f'{method} did not fail with {code}: {reply}')

    def raw(self, path, data, timeout=None):
        """Sends bytes to any path; returns the bytes of the reply, or raises Failure."""
        call = self.channel.unary_unary(path, request_serializer=None, response_deserializer=None)
        try:
            return call(data, timeout=timeout or self.timeout)
        except grpc.RpcError as error:
            raise Failure(path, error) from None

    def __getattr__(self, name):
        if not hasattr(csi_pb2, name + 'Request'):
            raise AttributeError(name)
        return lambda timeout=None, **fields: self.call(name, timeout, **fields)

    def wait_ready(self, seconds=20):
        """Until Probe says ready.

        The calls wait for the connection: one that fails while there is none leaves nobody to poll for it, and the
        next attempt is gRPC's back-off of five seconds away.
        """
        end = time.monotonic() + seconds
        while True:
            try:
                reply = self.call('Probe', timeout=2, wait_for_ready=True)
                if not reply.HasField('ready') or reply.ready.value:
                    return
                last = 'not ready'
            except Failure as failure:
                last = str(failure)
            if time.monotonic() > end:
                raise AssertionError(f'berth-csi is not ready after {seconds} s: {last}')
            time.sleep(0.02)


def expand(client, volume_id, path, size):
    """Growth below a pod. An ext4 that the kernel does not grow for us is grown by the next stage of its volume."""
    try:
        client.NodeExpandVolume(volume_id=volume_id, volume_path=str(path), capacity_range={'required_bytes': size})
    except Failure as failure:
        assert 'CAP_SYS_RESOURCE' in failure.message, failure


class Daemon:
    """`berth-csi serve` on a private socket, in the namespaces of the caller.

    directory: gets csi.sock, the log and, with the provider local, pool/. argv: more of the command line, which wins
    over the defaults here: no registration with kubelet, no port for health and metrics.
    kubelet_root: a directory that mounts are allowed below; default directory/kubelet.
    """

    def __init__(self, build, directory, argv=(), provider='local', kubelet_root=None, wrapper=(), environment=None,
                 node_name='node-1'):
        # Whole files of tests under strace, or with less rights: a command that the daemon's is put behind.
        wrapper = [*shlex.split(os.environ.get('BERTH_TEST_WRAPPER', '')), *wrapper]
        self.directory = pathlib.Path(directory)
        self.socket_path = self.directory / 'csi.sock'
        self.log_path = self.directory / 'berth-csi.log'
        self.kubelet_root = pathlib.Path(kubelet_root or self.directory / 'kubelet')
        self.pool = self.directory / 'pool'
        self.kubelet_root.mkdir(parents=True, exist_ok=True)
        self.argv = [*wrapper, str(pathlib.Path(build) / 'csi' / 'berth-csi'), 'serve',
                     f'--endpoint=unix://{self.socket_path}', f'--provider={provider}', f'--node-name={node_name}',
                     f'--kubelet-root={self.kubelet_root}', '--no-registration', '--health-port=0']
        if provider == 'local':
            self.pool.mkdir(exist_ok=True)
            self.argv += [f'--pool={self.pool}', '--pool-init']
        if os.path.ismount('/dev/termination-log'):
            # The tests run in a pod, whose kubelet has another directory than they.
            self.argv.append('--no-kubelet-check')
        self.argv += map(str, argv)
        self.environment = {**os.environ, **(environment or {})}
        self.process = None

    def start(self, ready_seconds=60):
        """Starts it and returns a Client once Probe says ready; None with ready_seconds=0."""
        with open(self.log_path, 'ab') as log:
            self.process = subprocess.Popen(self.argv, stdout=log, stderr=log, env=self.environment)
        if ready_seconds == 0:
            return None
        end = time.monotonic() + ready_seconds
        while not self.socket_path.exists() and self.process.poll() is None and time.monotonic() < end:
            time.sleep(0.002)
        client = Client(self.socket_path)
        try:
            assert self.process.poll() is None, 'berth-csi did not start'
            client.wait_ready(ready_seconds)
        except AssertionError as error:
            code = self.process.poll()
            state = '' if code is None else f'; it ended with {code}'
            raise AssertionError(f'{error}{state}; log:\n{self.log()}') from None
        return client

    def stop(self, seconds=60):
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def log(self):
        return self.log_path.read_text(encoding='utf-8', errors='replace')

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f'not within {seconds} s'
        time.sleep(0.02)


def held_mkfs(directory):
    """A PATH in which mke2fs notes that it was called and waits for directory/go before it is the real one."""
    directory.mkdir()
    script = directory / 'mke2fs'
    real = shutil.which('mke2fs')
    script.write_text(f'''#!/bin/sh
case "$*" in
*-V*) ;;
*) echo >> {directory}/called; until [ -e {directory}/go ]; do sleep 0.05; done ;;
esac
exec {real} "$@"
''')
    script.chmod(0o755)
    return {'PATH': f'{directory}:{os.environ["PATH"]}'}


def n_called(directory):
    called = directory / 'called'
    return len(called.read_text()) if called.exists() else 0
