# SPDX-License-Identifier: Apache-2.0
"""Where kubelet's directory is: a node whose kubelet keeps it somewhere, and a pod that has its own view of it.

The node is a tmpfs on /mnt. What a pod has of it is what kubelet gives each: /etc/hosts is a file below kubelet's
directory, and a volume shows that directory, or what the manifest's author took for it.
"""

import os
import pathlib
import shutil
import subprocess
import time

import pytest

import csi
import sandbox as sandbox_module
from csi import Daemon, mount_capability
from sandbox import MS_BIND, MS_PRIVATE, MS_REC, mount

MS_SHARED = 1 << 20
UID = '5f0c7a52-8a4e-4bb5-9d5c-3c1c2c0a1d11'
USUAL = '/var/lib/kubelet'
MICROK8S = '/var/snap/microk8s/common/var/lib/kubelet'
NODE = pathlib.Path('/mnt/node')
IN_POD = {'KUBERNETES_SERVICE_HOST': '10.0.0.1'}


class Pod:
    """The view of a pod: root is kubelet's --root-dir on the node, below NODE."""

    def __init__(self, root):
        self.root = root
        self.kubelet = NODE / root.lstrip('/')
        for name in ('plugins', 'plugins_registry', f'pods/{UID}'):
            (self.kubelet / name).mkdir(parents=True)
        (self.kubelet / f'pods/{UID}/etc-hosts').write_text('127.0.0.1 localhost\n')
        mount(str(self.kubelet / f'pods/{UID}/etc-hosts'), '/etc/hosts', None, MS_BIND)

    def volume(self, directory, target, propagation=MS_SHARED):
        """hostPath: directory, mountPath: target."""
        source = NODE / directory.lstrip('/')
        source.mkdir(parents=True, exist_ok=True)
        pathlib.Path(target).mkdir(parents=True, exist_ok=True)
        mount(str(source), target, None, MS_BIND | MS_REC)
        if propagation != MS_SHARED:
            mount(None, target, None, propagation)


@pytest.fixture(autouse=True)
def node_fixture(sandbox):  # pylint: disable=unused-argument
    mount('tmpfs', '/mnt', 'tmpfs')
    # What a container has of its own, and paths that nobody has made on this machine.
    for path in ('/var/lib', '/var/snap'):
        if pathlib.Path(path).is_dir():
            mount('tmpfs', path, 'tmpfs')
    NODE.mkdir()
    mount('tmpfs', str(NODE), 'tmpfs')
    mount(None, str(NODE), None, MS_SHARED)
    yield
    shutil.rmtree('/var/snap', ignore_errors=True)


# A container's own namespace, which has the volumes of the node and not the node.
CONTAINER = ('unshare', '--mount', '--propagation', 'unchanged', 'sh', '-c',
             f'mount --make-rprivate {NODE} && umount -l {NODE} && exec "$@"', 'sh')


def daemon_of(build, root=None, wrapper=CONTAINER, environment=None):
    """As a manifest starts it: the driver's directory is at /mnt/csi."""
    daemon = Daemon(build, '/mnt/csi', ['--workload-api-socket-dir=/mnt/agent', '--registration'], provider='spiffe',
                    kubelet_root='/mnt/unused', wrapper=wrapper, environment={**IN_POD, **(environment or {})})
    for path in ('/mnt/agent', '/mnt/csi'):
        pathlib.Path(path).mkdir(exist_ok=True)
    daemon.argv = [word for word in daemon.argv
                   if not word.startswith('--kubelet-root') and word not in ('--no-registration', '--no-kubelet-check')]
    if root:
        daemon.argv.append(f'--kubelet-root={root}')
    return daemon


def publish(client, root, here):
    """As kubelet does, which makes the directory of the target. Returns the target."""
    below = 'pods/p/volumes/kubernetes.io~csi/v/mount'
    (pathlib.Path(here) / below).parent.mkdir(parents=True, exist_ok=True)
    client.NodePublishVolume(volume_id='v', target_path=f'{root}/{below}', volume_capability=mount_capability(),
                             volume_context={'csi.storage.k8s.io/ephemeral': 'true'}, readonly=True)
    return below


def is_mounted(path):
    return any(found[0] == str(path) for found in sandbox_module.mounts_below(path))


def endpoint_of(registration_dir):
    path = registration_dir / 'csi.spiffe.io-reg.sock'
    end = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < end, 'did not register'
        time.sleep(0.02)
    return csi_endpoint(path)


def csi_endpoint(path):
    channel = csi.grpc.insecure_channel(f'unix:{path}', options=[('grpc.default_authority', 'localhost')])
    call = channel.unary_unary('/pluginregistration.Registration/GetInfo',
                               request_serializer=csi.registration_pb2.InfoRequest.SerializeToString,
                               response_deserializer=csi.registration_pb2.PluginInfo.FromString)
    with channel:
        return call(csi.registration_pb2.InfoRequest(), timeout=10).endpoint


@pytest.mark.parametrize('root, target, flag, name', [
    # The usual one, and others where they are.
    (USUAL, USUAL, None, USUAL),
    ('/var/lib/k0s/kubelet', '/var/lib/k0s/kubelet', None, '/var/lib/k0s/kubelet'),
    ('/data/kubelet', '/data/kubelet', '/data/kubelet', '/data/kubelet'),
    # Found without a word.
    ('/data/kubelet', '/data/kubelet', None, '/data/kubelet'),
    # Shown elsewhere: kubelet's own name is known, or was said.
    (MICROK8S, USUAL, None, MICROK8S),
    (MICROK8S, USUAL, USUAL, MICROK8S),
    (MICROK8S, USUAL, MICROK8S, MICROK8S),
    ('/data/kubelet', USUAL, '/data/kubelet', '/data/kubelet'),
])
def test_mounts_are_where_kubelet_looks(build, root, target, flag, name):
    pod = Pod(root)
    try:
        pod.volume(root, target)
        daemon = daemon_of(build, flag)
        with daemon as client:
            below = publish(client, name, target)
            assert is_mounted(pod.kubelet / below), 'the node does not see it'
            assert endpoint_of(pod.kubelet / 'plugins_registry') == f'{name}/plugins/csi.spiffe.io/csi.sock'
            # Once: the same request finds what is there.
            publish(client, name, target)
            assert sum(found[0] == f'{pod.kubelet}/{below}' for found in sandbox_module.mounts_below(NODE)) == 1
            stats = client.NodeGetVolumeStats(volume_id='v', volume_path=f'{name}/{below}')
            assert stats.usage
            client.NodeUnpublishVolume(volume_id='v', target_path=f'{name}/{below}')
            assert not (pod.kubelet / below).exists()
    finally:
        if target.startswith('/data'):
            subprocess.run(['umount', target], check=False)
            pathlib.Path(target).rmdir()
            pathlib.Path(target).parent.rmdir()


def local_daemon(build, sandbox):
    """Provider local in a container that shows kubelet's directory elsewhere."""
    pathlib.Path('/mnt/csi').mkdir()
    daemon = Daemon(build, '/mnt/csi', [f'--pool={sandbox.path}/pool'], kubelet_root='/mnt/unused', wrapper=CONTAINER,
                    environment=IN_POD)
    daemon.argv = [word for word in daemon.argv
                   if not word.startswith('--kubelet-root') and word != '--no-kubelet-check']
    return daemon


@pytest.mark.parametrize('fstype', ['xfs', 'btrfs'])
def test_growth_where_kubelet_has_another_name_for_it(build, sandbox, fstype):
    """xfs_growfs and btrfs got the path of the request, which does not exist here: grown by descriptor."""
    pod = Pod(MICROK8S)
    pod.volume(MICROK8S, USUAL)
    with local_daemon(build, sandbox) as client:
        capability = mount_capability(fstype)
        volume_id = client.CreateVolume(name='v', capacity_range={'required_bytes': 320 << 20},
                                        volume_capabilities=[capability]).volume.volume_id
        below = {'staging': 'plugins/kubernetes.io/csi/local.csi.berth.dev/v/globalmount',
                 'target': 'pods/p/volumes/kubernetes.io~csi/v/mount'}
        (pod.kubelet / below['staging']).mkdir(parents=True)
        (pod.kubelet / below['target']).parent.mkdir(parents=True)
        staging, target = (f'{MICROK8S}/{below[name]}' for name in ('staging', 'target'))
        assert not pathlib.Path(target).parent.exists()
        fields = {'volume_id': volume_id, 'staging_target_path': staging, 'volume_capability': capability}
        client.NodeStageVolume(**fields)
        client.NodePublishVolume(target_path=target, **fields)
        before = os.statvfs(pod.kubelet / below['target'])
        for size, path in ((640 << 20, target), (960 << 20, staging)):
            client.NodeExpandVolume(volume_path=path, capacity_range={'required_bytes': size}, **fields)
            after = os.statvfs(pod.kubelet / below['target'])
            assert after.f_blocks * after.f_frsize > size - (160 << 20) > before.f_blocks * before.f_frsize
            before = after
        client.NodeUnpublishVolume(volume_id=volume_id, target_path=target)
        client.NodeUnstageVolume(volume_id=volume_id, staging_target_path=staging)
        client.DeleteVolume(volume_id=volume_id)


@pytest.mark.parametrize('root, flag', [
    # hostPath: /var/lib/kubelet of an unchanged manifest: kubelet made an empty directory for it.
    ('/var/lib/k0s/kubelet', None),
    (MICROK8S, None),
    (MICROK8S, USUAL),
    # The flag is right, and the volume was forgotten.
    ('/var/lib/k0s/kubelet', '/var/lib/k0s/kubelet'),
])
def test_another_directory_is_refused_at_start(build, root, flag):
    Pod(root).volume(USUAL, USUAL)
    daemon = daemon_of(build, flag)
    daemon.start(ready_seconds=0)
    assert daemon.process.wait(10) == 1
    log = daemon.log()
    assert root in log and '--kubelet-root' in log and 'mountPropagation: Bidirectional' in log
    assert not daemon.socket_path.exists()
    # It can be had, by who knows better.
    daemon.argv.append('--no-kubelet-check')
    daemon.start(ready_seconds=0)
    assert csi.Client(daemon.socket_path).call('GetPluginInfo', wait_for_ready=True).name == 'csi.spiffe.io'
    daemon.stop()


def test_a_name_that_nobody_knows_is_told_with_the_first_request(build):
    pod = Pod('/data/kubelet')
    pod.volume('/data/kubelet', USUAL)
    with daemon_of(build) as client:
        message = client.fails('INVALID_ARGUMENT', 'NodePublishVolume', volume_id='v',
                               target_path='/data/kubelet/pods/p/volumes/kubernetes.io~csi/v/mount',
                               volume_capability=mount_capability(), readonly=True,
                               volume_context={'csi.storage.k8s.io/ephemeral': 'true'})
        assert '"/data/kubelet"' in message and '--kubelet-root' in message


def test_mounts_that_stay_in_the_container_are_not_ready(build):
    pod = Pod(USUAL)
    pod.volume(USUAL, USUAL, MS_PRIVATE)
    daemon = daemon_of(build)
    daemon.start(ready_seconds=0)
    client = csi.Client(daemon.socket_path)
    message = client.fails('FAILED_PRECONDITION', 'Probe', wait_for_ready=True)
    assert 'mountPropagation: Bidirectional' in message
    # It is not even told to kubelet.
    time.sleep(0.5)
    assert not list((pod.kubelet / 'plugins_registry').iterdir())
    assert 'not registering yet' in daemon.log()
    daemon.stop()


KUBELET = '''
import ctypes, sys, time
open('/proc/self/comm', 'w').write('kubelet')
if sys.argv[1] != 'same':
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(0x20000) == 0
    flags = {'private': 1 << 18, 'slave': 1 << 19, 'shared': 1 << 20}[sys.argv[1]]
    if sys.argv[1] != 'shared':
        assert libc.mount(b'none', b'/', None, 1 << 14 | flags, None) == 0
print('runs', flush=True)
time.sleep(600)
'''


@pytest.mark.parametrize('namespace, root, is_seen', [
    ('same', '--root-dir=/mnt/node/kubelet', True),
    ('shared', '--root-dir=/mnt/node/kubelet', True),
    ('slave', '--root-dir=/mnt/node/kubelet/', True),
    ('private', '--root-dir=/mnt/node/kubelet', False),
    # Another node's.
    ('private', '--root-dir=/mnt/node/other', True),
    ('private', '', True),
])
def test_a_kubelet_with_other_mounts_is_noticed(build, namespace, root, is_seen):
    """On the node itself: a service of systemd that has PrivateTmp=, say."""
    directory = NODE / 'kubelet'
    directory.mkdir()
    with subprocess.Popen(['/usr/bin/python3', '-c', KUBELET, namespace, root], stdout=subprocess.PIPE,
                          text=True) as kubelet:
        try:
            assert kubelet.stdout.readline() == 'runs\n'
            daemon = daemon_of(build, directory, (), environment={'KUBERNETES_SERVICE_HOST': ''})
            daemon.environment.pop('KUBERNETES_SERVICE_HOST')
            if is_seen:
                with daemon as client:
                    below = publish(client, directory, directory)
                    its = os.path.ismount(f'/proc/{kubelet.pid}/root{directory}/{below}')
                    assert its == (namespace != 'private')
            else:
                daemon.start(ready_seconds=0)
                assert daemon.process.wait(10) == 1
                assert f'kubelet (process {kubelet.pid}) does not see' in daemon.log()
        finally:
            kubelet.kill()
