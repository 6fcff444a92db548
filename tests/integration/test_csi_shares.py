# SPDX-License-Identifier: Apache-2.0
"""Volumes that are no disks: provider spiffe with a real directory and socket, provider nfs without a server."""

import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time

import pytest

import sandbox as sandbox_module
from csi import Daemon, Failure, block_capability, mount_capability, pairs

VOLUME = 'csi-be1419c8c2a28985eeb014710d6c98ce6851ad12c14b72beab2e0142fb635b1d'
INLINE = {'csi.storage.k8s.io/ephemeral': 'true', 'csi.storage.k8s.io/pod.name': 'p'}


def mounts_at(path):
    return [mount for mount in sandbox_module.mounts_below(path) if mount[0] == str(path)]


def target_of(daemon, pod, name='v'):
    path = daemon.kubelet_root / 'pods' / pod / 'volumes/kubernetes.io~csi' / name / 'mount'
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


class Agent:
    """What SPIRE's agent is to a pod: a socket in a directory."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(str(self.directory / 'agent.sock'))
        self.socket.listen()

    def answers(self, directory):
        """Whether a client that only knows this directory reaches us."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            try:
                client.connect(str(directory / 'agent.sock'))
            except OSError:
                return False
            self.socket.settimeout(5)
            connection, _ = self.socket.accept()
            connection.close()
            return True


@pytest.fixture(name='agent')
def agent_fixture(sandbox):  # pylint: disable=unused-argument
    # A short path: addresses of sockets have 107 bytes.
    sandbox_module.mount('tmpfs', '/mnt', 'tmpfs')
    return Agent('/mnt/agent')


@pytest.fixture(name='daemon')
def daemon_fixture(agent, build):
    daemon = Daemon(build, '/mnt/d', ['--workload-api-socket-dir', agent.directory], provider='spiffe')
    yield daemon
    if daemon.process and daemon.process.poll() is None:
        daemon.stop()
    print(daemon.log()[-6000:])


def publish(client, target, **more):
    fields = {'volume_id': VOLUME, 'target_path': str(target), 'volume_capability': mount_capability(),
              'volume_context': INLINE, 'readonly': True, **more}
    client.NodePublishVolume(**fields)


def test_spiffe_lifecycle(daemon, agent):
    with daemon.start() as client:
        target = target_of(daemon, 'a')
        publish(client, target)
        assert agent.answers(target)
        with pytest.raises(OSError) as failure:
            (target / 'file').write_text('x')
        assert failure.value.errno == 30, 'the pod could write where the socket is'
        # kubelet restarts, again and again.
        for _ in range(5):
            publish(client, target)
        assert len(mounts_at(target)) == 1
        reply = client.NodeGetVolumeStats(volume_id=VOLUME, volume_path=str(target))
        assert not reply.volume_condition.abnormal
        assert reply.usage
        client.NodeUnpublishVolume(volume_id=VOLUME, target_path=str(target))
        assert not target.exists() and agent.directory.is_dir()
        client.NodeUnpublishVolume(volume_id=VOLUME, target_path=str(target))
        client.fails('NOT_FOUND', 'NodeGetVolumeStats', volume_id=VOLUME, volume_path=str(target))


def test_spiffe_says_what_it_is(daemon):
    with daemon.start() as client:
        info = client.GetPluginInfo()
        assert info.name == 'csi.spiffe.io' and pairs(info.manifest)['provider'] == 'spiffe'
        assert not client.GetPluginCapabilities().capabilities
        assert {one.rpc.type for one in client.NodeGetCapabilities().capabilities} == {2, 4}
        node = client.NodeGetInfo()
        assert node.node_id == 'node-1' and node.max_volumes_per_node == 0
        assert not node.HasField('accessible_topology')
        for method in ('NodeStageVolume', 'NodeExpandVolume', 'CreateVolume'):
            client.fails('UNIMPLEMENTED', method)


@pytest.mark.parametrize('more, message', [
    ({'readonly': False}, 'readOnly: true'),
    ({'volume_context': {}}, 'podInfoOnMount'),
    ({'volume_capability': mount_capability('ext4')}, 'no filesystem type'),
    ({'volume_capability': mount_capability(flags=['noexec'])}, 'no mount flags'),
    ({'volume_capability': mount_capability(mode=2)}, 'SINGLE_NODE_WRITER'),
    ({'volume_capability': block_capability()}, 'expected mount'),
])
def test_spiffe_refuses(daemon, more, message):
    with daemon.start() as client:
        target = target_of(daemon, 'a')
        with pytest.raises(Failure) as failure:
            publish(client, target, **more)
        assert failure.value.code == 'INVALID_ARGUMENT' and message in failure.value.message
        assert not target.exists()


def test_spiffe_agent_made_its_directory_anew(daemon, agent):
    """Then the pod's view is a directory that nobody can reach; the next publish replaces it, and stacks nothing."""
    with daemon.start() as client:
        target = target_of(daemon, 'a')
        publish(client, target)
        agent.socket.close()
        shutil.rmtree(agent.directory)
        assert not (target / 'agent.sock').exists()
        fresh = Agent(agent.directory)
        publish(client, target)
        assert fresh.answers(target)
        assert len(mounts_at(target)) == 1
        client.NodeUnpublishVolume(volume_id=VOLUME, target_path=str(target))
        assert not target.exists()


def test_spiffe_takes_over_what_upstream_published(daemon, agent):
    """It binds for writing; a pod that runs keeps its mount."""
    target = target_of(daemon, 'a')
    target.mkdir()
    sandbox_module.mount(agent.directory, target, None, sandbox_module.MS_BIND)
    with daemon.start() as client:
        publish(client, target)
        assert len(mounts_at(target)) == 1
        client.NodeUnpublishVolume(volume_id=VOLUME, target_path=str(target))
        assert not target.exists()


def test_spiffe_target_is_taken(daemon):
    target = target_of(daemon, 'a')
    target.mkdir()
    sandbox_module.mount('tmpfs', target, 'tmpfs')
    with daemon.start() as client:
        with pytest.raises(Failure) as failure:
            publish(client, target)
        assert failure.value.code == 'ALREADY_EXISTS' and 'tmpfs' in failure.value.message


def test_spiffe_without_agent(daemon, agent):
    """Not ready, with the reason; then a publish fails so that kubelet tries again; then it works."""
    shutil.rmtree(agent.directory)
    daemon.start(ready_seconds=0)
    from csi import Client  # pylint: disable=import-outside-toplevel
    end = time.monotonic() + 10
    while not daemon.socket_path.exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    with Client(daemon.socket_path) as client:
        reply = client.call('Probe', wait_for_ready=True)
        assert reply.HasField('ready') and not reply.ready.value
        target = target_of(daemon, 'a')
        with pytest.raises(Failure) as failure:
            publish(client, target)
        assert failure.value.code == 'UNAVAILABLE' and str(agent.directory) in failure.value.message
        Agent(agent.directory)
        client.wait_ready()
        publish(client, target)
        client.NodeUnpublishVolume(volume_id=VOLUME, target_path=str(target))


# --- nfs ---

NAS = {'server': '192.0.2.9', 'share': '/export'}


@pytest.fixture(name='nfs')
def nfs_fixture(sandbox, build):
    daemon = Daemon(build, sandbox.path, provider='nfs')
    yield daemon
    if daemon.process and daemon.process.poll() is None:
        daemon.stop()
    print(daemon.log()[-6000:])


def helper(sandbox, text):
    """A mount.nfs before the real one in PATH."""
    directory = sandbox.path / 'bin'
    directory.mkdir(exist_ok=True)
    program = directory / 'mount.nfs'
    program.write_text('#!/bin/sh\n' + text)
    program.chmod(0o755)
    return {'PATH': f'{directory}:{os.environ["PATH"]}'}


def publish_nfs(client, target, **more):
    fields = {'volume_id': 'nas##export', 'target_path': str(target),
              'volume_capability': mount_capability(mode=5), 'volume_context': NAS, **more}
    client.NodePublishVolume(**fields)


def test_nfs_says_what_it_is(nfs):
    with nfs.start() as client:
        assert client.GetPluginInfo().name == 'nfs.csi.k8s.io'
        assert {one.rpc.type for one in client.NodeGetCapabilities().capabilities} == {2, 4, 5}
        assert client.NodeGetInfo().node_id == 'node-1'
        assert [one.service.type for one in client.GetPluginCapabilities().capabilities] == [1]
        client.fails('UNIMPLEMENTED', 'NodeExpandVolume')


@pytest.mark.parametrize('words, code', [
    ('mount.nfs: access denied by server while mounting 192.0.2.9:/export', 'PERMISSION_DENIED'),
    ('mount.nfs: Connection refused for 192.0.2.9:/export on /x', 'UNAVAILABLE'),
    ('mount.nfs: mounting 192.0.2.9:/export failed, reason given by server: No such file or directory', 'NOT_FOUND'),
    ('mount.nfs: Protocol not supported', 'FAILED_PRECONDITION'),
])
def test_nfs_helper_fails(sandbox, nfs, words, code):
    nfs.environment |= helper(sandbox, f'echo "mount.nfs: trying" >&2\necho "{words}" >&2\nexit 32\n')
    with nfs.start() as client:
        target = target_of(nfs, 'a')
        with pytest.raises(Failure) as failure:
            publish_nfs(client, target)
        assert failure.value.code == code
        assert words in failure.value.message and '192.0.2.9:/export' in failure.value.message
        assert not target.exists()


def test_nfs_helper_gets_the_options(sandbox, nfs):
    said = sandbox.path / 'said'
    nfs.environment |= helper(sandbox, f'echo "$@" > {said}\nexit 1\n')
    context = {**NAS, 'subDir': 'a', 'mountOptions': 'nfsvers=4.1,nolock'}
    with nfs.start() as client:
        target = target_of(nfs, 'a')
        with pytest.raises(Failure):
            publish_nfs(client, target, volume_context=context, readonly=True,
                        volume_capability=mount_capability(mode=5, flags=['hard', 'suid']))
        source, where, dash_o, options = said.read_text().split()
        assert (source, where, dash_o) == ('192.0.2.9:/export/a', str(target), '-o')
        options = set(options.split(','))
        assert options == {'ro', 'nodev', 'hard', 'nfsvers=4.1', 'nolock', 'retry=0'}
        client.fails('INVALID_ARGUMENT', 'NodePublishVolume', volume_id='v', target_path=str(target),
                     volume_capability=mount_capability(mode=5, flags=['bg']), volume_context=NAS)
        client.fails('INVALID_ARGUMENT', 'NodePublishVolume', volume_id='v', target_path=str(target),
                     volume_capability=block_capability(), volume_context=NAS)


@pytest.mark.parametrize('context, more, message', [
    ({'mountOptions': 'suid,dev'}, {}, '"suid" is not allowed there'),
    ({'mountOptions': 'x="a,suid,dev,y="b'}, {}, '"x": expected a name, no control character, and quotes only'),
    ({'mountOptions': 'x="a,suid,dev"'}, {}, 'a comma in its value'),
    ({'mountOptions': 'rshared'}, {}, 'propagation'),
    ({'mountOptions': 'bg'}, {}, 'in the background'),
    ({'share': '..'}, {}, 'without ".."'),
    ({'share': '../etc'}, {}, 'without ".."'),
    ({'subDir': '../other'}, {}, 'without ".."'),
    ({'subDir': 'a/../../other'}, {}, 'without ".."'),
    ({}, {'volume_id': VOLUME}, 'podInfoOnMount'),
    ({'csi.storage.k8s.io/ephemeral': 'true'}, {'volume_id': VOLUME}, 'no inline volumes'),
])
def test_nfs_refuses(sandbox, nfs, context, more, message):
    """Any pod could mount any export with "suid" and "dev": an inline volume's own text was not looked at."""
    said = sandbox.path / 'said'
    nfs.environment |= helper(sandbox, f'echo "$@" > {said}\nexit 1\n')
    with nfs.start() as client:
        target = target_of(nfs, 'a')
        with pytest.raises(Failure) as failure:
            publish_nfs(client, target, volume_context={**NAS, **context}, **more)
        assert failure.value.code == 'INVALID_ARGUMENT' and message in failure.value.message
        assert not said.exists() and not target.exists()


def test_nfs_helper_hangs(sandbox, nfs):
    """It is ended before the caller gives up, with all that it started."""
    nfs.environment |= helper(sandbox, f'sleep 1000 & echo $! > {sandbox.path}/pid; wait\n')
    with nfs.start() as client:
        target = target_of(nfs, 'a')
        with pytest.raises(Failure) as failure:
            publish_nfs(client, target, timeout=8)
        assert failure.value.code == 'UNAVAILABLE' and '192.0.2.9 does not answer' in failure.value.message
        assert not target.exists()
        pid = (sandbox.path / 'pid').read_text().strip()
        # Whoever inherited it may not have reaped it yet.
        end = time.monotonic() + 10
        while subprocess.run(['kill', '-0', pid], check=False, capture_output=True).returncode == 0:
            assert time.monotonic() < end, 'what the helper started still runs'
            time.sleep(0.02)


def test_nfs_helper_lies(sandbox, nfs):
    nfs.environment |= helper(sandbox, 'exit 0\n')
    with nfs.start() as client:
        target = target_of(nfs, 'a')
        with pytest.raises(Failure) as failure:
            publish_nfs(client, target)
        assert failure.value.code == 'UNAVAILABLE' and 'it is not there' in failure.value.message
        assert not target.exists()


# A mount.nfs whose server leads it elsewhere, as NFSv4's links and referrals do: a directory by FUSE.
LED = '''
import ctypes, os, struct, sys
fd = os.open('/dev/fuse', os.O_RDWR)
options = f'fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other'
if ctypes.CDLL(None).mount(b'192.0.2.10:/moved', sys.argv[1].encode(), b'fuse.nas', 0, options.encode()) < 0:
    sys.exit(1)
if os.fork():
    os._exit(0)
os.closerange(0, 3)
attributes = struct.pack('=QIIQQQQQQIIIIIIIIII', 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0o40755, 2, 0, 0, 0, 4096, 0)
answers = {26: struct.pack('=IIIIHHIIHHI7I', 7, 31, 65536, 0, 12, 9, 65536, 1, 16, 0, 0, *[0] * 7), 3: attributes,
           17: struct.pack('=QQQQQIIII6I', 9, 9, 9, 9, 9, 4096, 255, 4096, 0, *[0] * 6), 27: bytes(16), 29: b''}
while True:
    try:
        _, opcode, unique = struct.unpack_from('=IIQ', os.read(fd, 1 << 20))
    except OSError:
        os._exit(0)
    body = answers.get(opcode)
    if opcode not in (2, 42):
        os.write(fd, struct.pack('=IiQ', 16 + len(body or b''), 0 if body is not None else -38, unique) + (body or b''))
'''


def test_nfs_led_elsewhere(sandbox, nfs):
    """Published again, after a restart of kubelet, it was "taken" by what the server had led it to."""
    script = sandbox.path / 'led.py'
    script.write_text(LED, encoding='utf-8')
    nfs.environment |= helper(sandbox, f'exec {sys.executable} {script} "$2"\n')
    target = target_of(nfs, 'a')
    notes = nfs.socket_path.parent / 'shares'
    with nfs.start() as client:
        publish_nfs(client, target)
        publish_nfs(client, target)
        assert '192.0.2.9:/export led to 192.0.2.10:/moved' in nfs.log()
    nfs.stop()
    with nfs.start() as client:
        publish_nfs(client, target)
        assert len(mounts_at(target)) == 1
        # It is of that request only.
        with pytest.raises(Failure) as failure:
            publish_nfs(client, target, volume_context={**NAS, 'share': '/other'})
        assert failure.value.code == 'ALREADY_EXISTS' and 'is taken' in failure.value.message
        assert len(list(notes.iterdir())) == 1
        client.NodeUnpublishVolume(volume_id='nas##export', target_path=str(target))
        assert not target.exists() and not list(notes.iterdir())


def test_nfs_without_helper(sandbox, nfs):
    empty = sandbox.path / 'bin'
    empty.mkdir()
    nfs.environment |= {'PATH': str(empty)}
    with nfs.start() as client:
        with pytest.raises(Failure) as failure:
            publish_nfs(client, target_of(nfs, 'a'))
        assert failure.value.code == 'FAILED_PRECONDITION'
        assert 'mount.nfs is not installed' in failure.value.message


def test_nfs_unpublish_of_what_is_not_there(nfs):
    with nfs.start() as client:
        target = target_of(nfs, 'a')
        client.NodeUnpublishVolume(volume_id='v', target_path=str(target))
        target.mkdir()
        client.NodeUnpublishVolume(volume_id='v', target_path=str(target))
        assert not target.exists()
        client.fails('NOT_FOUND', 'NodeGetVolumeStats', volume_id='v', volume_path=str(target))
