# SPDX-License-Identifier: Apache-2.0
"""Provider nfs against a real NFS server: the kernel's, in this network namespace. `meson test --suite vm` runs it in a
virtual machine where the running kernel has none."""

import os
import pathlib
import shutil
import subprocess
import time

import pytest

import sandbox as sandbox_module
from csi import MULTI_NODE_MULTI_WRITER, SINGLE_NODE_SINGLE_WRITER, Daemon, mount_capability

VOLUME = 'nas#export#pvc-1##'
CAPABILITY = mount_capability('', MULTI_NODE_MULTI_WRITER, ['vers=4.2'])


def run(*argv, check=True):
    return subprocess.run(list(map(str, argv)), check=check, capture_output=True, text=True, timeout=60)


def why_not():
    with open('/proc/filesystems', encoding='ascii') as file:
        kinds = {line.split()[-1] for line in file}
    for kind in ('nfsd', 'nfs4'):
        if kind not in kinds:
            return f'the kernel has no {kind} (or it is not loaded)'
    for tool in ('rpc.nfsd', 'rpc.mountd', 'exportfs', 'mount.nfs'):
        if not shutil.which(tool):
            return f'{tool} is not installed'
    return None


pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


class Server:
    """NFS 4 on 127.0.0.1; what it exports is a tmpfs."""

    def __init__(self, sandbox):
        self.directory = sandbox.path / 'export'
        self.directory.mkdir()
        sandbox_module.mount('tmpfs', self.directory, 'tmpfs')
        for state in ('/var/lib/nfs', '/run/rpc_pipefs'):
            pathlib.Path(state).mkdir(exist_ok=True, parents=True)
            sandbox_module.mount('tmpfs', state, 'tmpfs')
        for name in ('etab', 'rmtab'):
            pathlib.Path('/var/lib/nfs', name).touch()
        for name in ('v4recovery', 'nfsdcltrack'):
            pathlib.Path('/var/lib/nfs', name).mkdir()
        run('ip', 'link', 'set', 'lo', 'up')
        sandbox_module.mount('nfsd', '/proc/fs/nfsd', 'nfsd')
        self.mountd = subprocess.Popen(['rpc.mountd', '--foreground', '--no-nfs-version', '3', '--no-udp'],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.5)
        for client in ('127.0.0.1', '[::1]'):
            run('exportfs', '-o', 'rw,no_root_squash,insecure,no_subtree_check,fsid=0', f'{client}:{self.directory}')
        # For so long nothing can be opened after the start; less than ten seconds is refused.
        for name in ('nfsv4leasetime', 'nfsv4gracetime'):
            pathlib.Path('/proc/fs/nfsd', name).write_text('10\n', encoding='ascii')
        self.start()

    def start(self):
        run('rpc.nfsd', '--no-nfs-version', '3', '--no-udp', '2')

    def stop(self):
        run('rpc.nfsd', '0')

    def close(self):
        run('rpc.nfsd', '0', check=False)
        self.mountd.kill()
        self.mountd.wait()


@pytest.fixture(name='server')
def server_fixture(sandbox):
    server = Server(sandbox)
    yield server
    server.close()


@pytest.fixture(name='daemon')
def daemon_fixture(server, sandbox, build):  # pylint: disable=unused-argument
    daemon = Daemon(build, sandbox.path, provider='nfs')
    yield daemon
    if daemon.process and daemon.process.poll() is None:
        daemon.stop(60)
    print(daemon.log()[-6000:])


def target_of(daemon, pod):
    path = daemon.kubelet_root / 'pods' / pod / 'volumes/kubernetes.io~csi/v/mount'
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def fields_of(daemon, pod, **more):
    context = {'server': '127.0.0.1', 'share': '/', **more.pop('volume_context', {})}
    return {'volume_id': VOLUME, 'target_path': str(target_of(daemon, pod)), 'volume_capability': CAPABILITY,
            'volume_context': context, **more}


def unpublish(client, target):
    client.NodeUnpublishVolume(volume_id=VOLUME, target_path=str(target))
    assert not target.exists()


@pytest.mark.deadline(300)
def test_two_pods(daemon, server):
    """Written by one, read by the other and on the server; published again, nothing is stacked."""
    with daemon.start(60) as client:
        first, second = target_of(daemon, 'a'), target_of(daemon, 'b')
        client.NodePublishVolume(**fields_of(daemon, 'a'))
        client.NodePublishVolume(**fields_of(daemon, 'a'))
        client.NodePublishVolume(**fields_of(daemon, 'b'))
        assert len([one for one in sandbox_module.mounts_below(first) if one[0] == str(first)]) == 1
        (first / 'file').write_text('shared')
        assert (second / 'file').read_text() == 'shared'
        assert (server.directory / 'file').read_text() == 'shared'
        with open('/proc/self/mountinfo', encoding='utf-8') as file:
            line = next(line for line in file if f' {first} ' in line)
        assert ' nfs4 127.0.0.1:/ ' in line and 'vers=4.2' in line
        reply = client.NodeGetVolumeStats(volume_id=VOLUME, volume_path=str(first))
        assert reply.usage[0].total > 0 and not reply.volume_condition.abnormal
        unpublish(client, first)
        assert (second / 'file').read_text() == 'shared'
        unpublish(client, second)


@pytest.mark.deadline(300)
def test_read_only(daemon, server):
    (server.directory / 'file').write_text('x')
    with daemon.start(60) as client:
        target = target_of(daemon, 'a')
        client.NodePublishVolume(**fields_of(daemon, 'a', readonly=True))
        assert (target / 'file').read_text() == 'x'
        with pytest.raises(OSError):
            (target / 'other').write_text('y')
        unpublish(client, target)


@pytest.mark.deadline(300)
def test_subdirectory(daemon, server):
    (server.directory / 'ns-claim').mkdir()
    (server.directory / 'ns-claim' / 'file').write_text('mine')
    context = {'subDir': '${pvc.metadata.namespace}-${pvc.metadata.name}', 'csi.storage.k8s.io/pvc/name': 'claim',
               'csi.storage.k8s.io/pvc/namespace': 'ns'}
    with daemon.start(60) as client:
        target = target_of(daemon, 'a')
        client.NodePublishVolume(**fields_of(daemon, 'a', volume_context=context))
        assert (target / 'file').read_text() == 'mine'
        unpublish(client, target)
        message = client.fails('NOT_FOUND', 'NodePublishVolume',
                               **fields_of(daemon, 'a', volume_context={'subDir': 'not-there'}))
        assert '127.0.0.1' in message


@pytest.mark.deadline(300)
@pytest.mark.parametrize('address', ['127.0.0.1', '::1'])
def test_spellings_of_the_source(daemon, server, address):
    """The kernel shows NFSv4 as it walked it: a path with a slash too much was mounted, undone and refused for ever."""
    (server.directory / 'a' / 'b').mkdir(parents=True)
    (server.directory / 'a' / 'b' / 'file').write_text('mine')
    (server.directory / 'link').symlink_to('a/b')
    single = mount_capability('', SINGLE_NODE_SINGLE_WRITER, ['vers=4.2'])
    with daemon.start(60) as client:
        for share in ('/a//b/', '//a/b'):
            fields = fields_of(daemon, 'a', volume_context={'server': address, 'share': share},
                               volume_capability=single)
            client.NodePublishVolume(**fields)
            client.NodePublishVolume(**fields)
            assert (target_of(daemon, 'a') / 'file').read_text() == 'mine'
            assert 'SINGLE_WRITER' in client.fails('FAILED_PRECONDITION', 'NodePublishVolume', **{
                **fields, 'target_path': str(target_of(daemon, 'b'))})
            unpublish(client, target_of(daemon, 'a'))
        # Led on by the server.
        client.NodePublishVolume(**fields_of(daemon, 'a', volume_context={'server': address, 'share': '/link'}))
        assert (target_of(daemon, 'a') / 'file').read_text() == 'mine'
        unpublish(client, target_of(daemon, 'a'))


@pytest.mark.deadline(300)
@pytest.mark.parametrize('mode', ['0770', '02775'])
def test_permissions(daemon, server, mode):
    """A directory that belongs to its group, too, which the daemon is not in."""
    os.chown(server.directory, 0, 1234)
    with daemon.start(60) as client:
        target = target_of(daemon, 'a')
        client.NodePublishVolume(**fields_of(daemon, 'a', volume_context={'mountPermissions': mode}))
        assert os.stat(server.directory).st_mode & 0o7777 == int(mode, 8)
        unpublish(client, target)


@pytest.mark.deadline(300)
def test_nobody_listens(daemon, server):
    server.stop()
    with daemon.start(60) as client:
        begin = time.monotonic()
        fields = fields_of(daemon, 'a')
        fields['volume_capability'] = mount_capability('', MULTI_NODE_MULTI_WRITER, ['vers=4.2', 'retry=0'])
        message = client.fails('UNAVAILABLE', 'NodePublishVolume', timeout=100, **fields)
        assert '127.0.0.1' in message
        assert time.monotonic() - begin < 100
        assert not os.path.ismount(target_of(daemon, 'a'))


@pytest.mark.deadline(400)
def test_server_is_gone(daemon, server):
    """It stops while the directory is mounted: statistics say so, and the pod can be taken away."""
    with daemon.start(60) as client:
        target = target_of(daemon, 'a')
        client.NodePublishVolume(**fields_of(daemon, 'a'))
        (target / 'file').write_text('x')
        server.stop()
        reply = client.NodeGetVolumeStats(timeout=60, volume_id=VOLUME, volume_path=str(target))
        assert reply.volume_condition.abnormal and 'does not answer' in reply.volume_condition.message
        client.NodeUnpublishVolume(timeout=100, volume_id=VOLUME, target_path=str(target))
        assert not os.path.lexists(target)
        server.start()
