# SPDX-License-Identifier: Apache-2.0
"""The node service over its socket: what kubelet does in its order, restarts, crashes, a crowd of volumes."""

import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import threading
import time

import pytest

from csi import (SINGLE_NODE_MULTI_WRITER, SINGLE_NODE_READER_ONLY, SINGLE_NODE_SINGLE_WRITER, Client, Daemon, Failure,
                 block_capability, held_mkfs, mount_capability, n_called, until)
from sandbox import mount as sandbox_mount, umount as sandbox_umount

MIB = 1 << 20
# Of the daemon's own threads: what makes, mounts, binds, unmounts and removes. No tool that it runs uses these.
STEPS = ('fsopen', 'fsconfig', 'fsmount', 'move_mount', 'open_tree', 'mount_setattr', 'mkdirat', 'unlinkat',
         'renameat', 'umount2')
POD_INFO = {'csi.storage.k8s.io/pod.name': 'p', 'csi.storage.k8s.io/pod.namespace': 'default',
            'csi.storage.k8s.io/pod.uid': 'u', 'csi.storage.k8s.io/serviceAccount.name': ''}


class Kubelet:
    """What kubelet makes and removes around the driver's calls, with os.rmdir as kubelet does."""

    def __init__(self, daemon, client):
        self.root = daemon.kubelet_root
        self.client = client

    def staging(self, volume_id):
        path = self.root / 'plugins/kubernetes.io/csi/local.csi.berth.dev' / volume_id / 'globalmount'
        path.mkdir(parents=True, exist_ok=True, mode=0o750)
        return path

    def target(self, pod, volume_id):
        path = self.root / 'pods' / pod / 'volumes/kubernetes.io~csi' / volume_id / 'mount'
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        return path

    def device(self, pod, volume_id):
        path = self.root / 'plugins/kubernetes.io/csi/volumeDevices/publish' / volume_id / pod
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        return path

    def stage(self, volume_id, capability, **more):
        self.client.NodeGetCapabilities()
        self.client.NodeStageVolume(volume_id=volume_id, staging_target_path=str(self.staging(volume_id)),
                                    volume_capability=capability, **more)

    def publish(self, pod, volume_id, capability, **more):
        path = self.device(pod, volume_id) if 'block' in capability else self.target(pod, volume_id)
        self.client.NodePublishVolume(volume_id=volume_id, staging_target_path=str(self.staging(volume_id)),
                                      target_path=str(path), volume_capability=capability, volume_context=POD_INFO,
                                      **more)
        return path

    def unpublish(self, volume_id, path):
        self.client.NodeUnpublishVolume(volume_id=volume_id, target_path=str(path))
        assert not path.exists()
        # kubelet: os.Remove, never RemoveAll.
        path.parent.rmdir()

    def unstage(self, volume_id):
        path = self.staging(volume_id)
        self.client.NodeUnstageVolume(volume_id=volume_id, staging_target_path=str(path))
        path.rmdir()
        path.parent.rmdir()


def create(client, name, size=64 * MIB, capability=None):
    reply = client.CreateVolume(name=name, capacity_range={'required_bytes': size},
                                volume_capabilities=[capability or mount_capability('ext4')])
    return reply.volume.volume_id


def mounts():
    with open('/proc/self/mountinfo', encoding='utf-8') as file:
        return [line.split()[4] for line in file]


def mounted(path):
    return mounts().count(str(path))


@pytest.fixture(name='daemon')
def daemon_fixture(sandbox, build):
    daemon = Daemon(build, sandbox.path)
    yield daemon
    if daemon.process and daemon.process.poll() is None:
        daemon.stop()
    print(daemon.log()[-6000:])


@pytest.mark.parametrize('fs_type, size', [('ext4', 64 * MIB), ('xfs', 512 * MIB), ('btrfs', 256 * MIB)])
def test_one_pod(daemon, fs_type, size):
    """The recorded order of calls for a pod with a claim."""
    with daemon.start() as client:
        kubelet = Kubelet(daemon, client)
        capability = mount_capability(fs_type, SINGLE_NODE_MULTI_WRITER)
        volume = create(client, 'pvc-1', size, capability)
        kubelet.stage(volume, capability)
        target = kubelet.publish('pod-1', volume, capability)
        (target / 'file').write_text('kept')
        reply = client.NodeGetVolumeStats(volume_id=volume, volume_path=str(target))
        assert {usage.unit for usage in reply.usage} >= {1}
        assert reply.usage[0].total > size // 2
        assert not reply.volume_condition.abnormal
        kubelet.unpublish(volume, target)
        kubelet.unstage(volume)
        kubelet.stage(volume, capability)
        target = kubelet.publish('pod-2', volume, capability)
        assert (target / 'file').read_text() == 'kept'
        kubelet.unpublish(volume, target)
        kubelet.unstage(volume)
        client.DeleteVolume(volume_id=volume)


def test_inline_volume(daemon):
    """Never staged; published, republished, unpublished, and gone with its data."""
    with daemon.start() as client:
        kubelet = Kubelet(daemon, client)
        volume = 'csi-be1419c8c2a28985eeb014710d6c98ce6851ad12c14b72beab2e0142fb635b1d'
        target = kubelet.target('pod-1', 'v')
        fields = {'volume_id': volume, 'target_path': str(target), 'volume_capability': mount_capability(),
                  'volume_context': {**POD_INFO, 'csi.storage.k8s.io/ephemeral': 'true', 'size': '32Mi'}}
        client.NodePublishVolume(**fields)
        (target / 'file').write_text('x')
        client.NodePublishVolume(**fields)
        assert mounted(target) == 1
        assert any(daemon.pool.glob('volumes/*.img'))
        kubelet.unpublish(volume, target)
        assert not any(daemon.pool.glob('volumes/*.img'))
        client.NodeUnpublishVolume(volume_id=volume, target_path=str(target))


@pytest.mark.parametrize('mode', (SINGLE_NODE_MULTI_WRITER, SINGLE_NODE_READER_ONLY))
def test_inline_volume_of_a_pod_that_only_reads(daemon, mode):
    """It was to be formatted "by its first use for writing", which never came."""
    with daemon.start() as client:
        kubelet = Kubelet(daemon, client)
        target = kubelet.target('pod-1', 'v')
        fields = {'volume_id': 'csi-1', 'target_path': str(target), 'volume_capability': mount_capability('', mode),
                  'volume_context': {**POD_INFO, 'csi.storage.k8s.io/ephemeral': 'true', 'size': '32Mi'}}
        for _ in range(2):
            client.NodePublishVolume(**fields, readonly=True)
            assert mounted(target) == 1
        with pytest.raises(OSError):
            (target / 'file').write_text('x')
        assert (target / 'lost+found').is_dir()
        if mode == SINGLE_NODE_MULTI_WRITER:
            # There it is, in another way.
            message = client.fails('ALREADY_EXISTS', 'NodePublishVolume', **fields)
            assert 'read-only' in message and 'writing' in message
        # Its pod restarts after the machine did.
        sandbox_umount(target)
        client.NodePublishVolume(**fields, readonly=True)
        kubelet.unpublish('csi-1', target)
        assert not any(daemon.pool.glob('volumes/*.img'))
        if mode == SINGLE_NODE_MULTI_WRITER:
            target.parent.mkdir()
            client.NodePublishVolume(**fields)
            (target / 'file').write_text('x')
            # It was answered with OK, and its pod could write.
            message = client.fails('ALREADY_EXISTS', 'NodePublishVolume', **fields, readonly=True)
            assert 'read-only' in message and 'writing' in message
            (target / 'file').write_text('y')


def test_stage_and_publish_of_the_same_in_another_way(daemon):
    """What is there for writing was "read-only already"."""
    with daemon.start() as client:
        kubelet = Kubelet(daemon, client)
        writes, reads = (mount_capability('ext4', mode) for mode in (SINGLE_NODE_MULTI_WRITER,
                                                                     SINGLE_NODE_READER_ONLY))
        volume = create(client, 'pvc-1', capability=writes)
        for first, second in ((writes, reads), (reads, writes)):
            kubelet.stage(volume, first)
            client.fails('ALREADY_EXISTS', 'NodeStageVolume', volume_id=volume, volume_capability=second,
                         staging_target_path=str(kubelet.staging(volume)))
            kubelet.stage(volume, first)
            kubelet.unstage(volume)
        kubelet.stage(volume, writes)
        for readonly in (False, True):
            target = kubelet.publish('pod-1', volume, writes, readonly=readonly)
            client.fails('ALREADY_EXISTS', 'NodePublishVolume', volume_id=volume, volume_capability=writes,
                         staging_target_path=str(kubelet.staging(volume)), target_path=str(target),
                         readonly=not readonly)
            kubelet.unpublish(volume, target)
        kubelet.unstage(volume)


def test_again_with_another_type_or_flag(daemon):
    """ALREADY_EXISTS for what is there in another way, OK for what is there as asked; nothing changes by asking."""
    with daemon.start() as client:
        kubelet = Kubelet(daemon, client)
        capability = mount_capability('ext4', flags=['noexec'])
        volume = create(client, 'pvc-1')
        kubelet.stage(volume, capability)
        target = kubelet.publish('pod-1', volume, capability)
        staging = {'volume_id': volume, 'staging_target_path': str(kubelet.staging(volume))}
        publishing = {**staging, 'target_path': str(target), 'volume_context': POD_INFO}
        before = flags_at(target), flags_at(kubelet.staging(volume))
        for other, word in ((mount_capability('xfs', flags=['noexec']), 'xfs'), (mount_capability('ext4'), 'noexec'),
                            (mount_capability('ext4', flags=['noexec', 'noatime']), 'noatime'),
                            (mount_capability('ext4', flags=['noexec', 'suid']), 'nosuid')):
            assert word in client.fails('ALREADY_EXISTS', 'NodeStageVolume', volume_capability=other, **staging)
            if other != mount_capability('ext4'):  # a bind has what is staged
                message = client.fails('ALREADY_EXISTS', 'NodePublishVolume', volume_capability=other, **publishing)
                assert word in message
        client.fails('ALREADY_EXISTS', 'NodePublishVolume', volume_capability=block_capability(), **publishing)
        for same in (capability, mount_capability('', flags=['noexec']),
                     mount_capability('ext4', flags=['nodev', 'noexec'])):
            client.NodeStageVolume(volume_capability=same, **staging)
            client.NodePublishVolume(volume_capability=same, **publishing)
        assert before == (flags_at(target), flags_at(kubelet.staging(volume)))
        kubelet.unpublish(volume, target)
        kubelet.unstage(volume)

        # A volume that is never staged is mounted at its target.
        fields = {'volume_id': 'csi-1', 'target_path': str(kubelet.target('pod-2', 'csi-1')),
                  'volume_context': {**POD_INFO, 'csi.storage.k8s.io/ephemeral': 'true', 'size': '64Mi'}}
        client.NodePublishVolume(volume_capability=capability, **fields)
        for other in (mount_capability('xfs', flags=['noexec']), mount_capability('ext4')):
            client.fails('ALREADY_EXISTS', 'NodePublishVolume', volume_capability=other, **fields)
        client.NodePublishVolume(volume_capability=capability, **fields)
        client.NodeUnpublishVolume(volume_id='csi-1', target_path=fields['target_path'])

        # A raw one has no type and no flags, but it is no directory.
        raw = create(client, 'pvc-2', capability=block_capability())
        kubelet.stage(raw, block_capability())
        device = kubelet.publish('pod-3', raw, block_capability())
        client.fails('ALREADY_EXISTS', 'NodePublishVolume', volume_id=raw, target_path=str(device), readonly=True,
                     staging_target_path=str(kubelet.staging(raw)), volume_capability=block_capability())
        with pytest.raises(Failure) as failure:
            client.NodePublishVolume(volume_id=raw, target_path=str(device), volume_capability=capability,
                                     staging_target_path=str(kubelet.staging(raw)))
        print(failure.value)
        assert failure.value.code in ('ALREADY_EXISTS', 'FAILED_PRECONDITION')
        kubelet.unpublish(raw, device)
        kubelet.unstage(raw)


# mount(8) of 2.38 knows no value of a flag but the empty one; libmount 2.39 knows those that say where.
FLAG_WORDS = ('ro', 'rw', 'suid', 'dev', 'exec', 'noexec', 'noatime', 'nodiratime', 'strictatime', 'sync', 'lazytime',
              'silent', 'defaults', 'nofail', 'users', 'owner')


def flags_at(path):
    return subprocess.run(['findmnt', '-rno', 'VFS-OPTIONS,FS-OPTIONS', path], check=True, stdout=subprocess.PIPE,
                          text=True).stdout.split()


def test_flags_with_values(daemon, sandbox):
    """As mount(8) takes them; what it would split is refused by its name."""
    with daemon.start() as client:
        kubelet = Kubelet(daemon, client)
        volume = create(client, 'pvc-1', 32 * MIB)
        kubelet.stage(volume, mount_capability('ext4'))
        kubelet.unstage(volume)
        loop = sandbox.loop(32 * MIB, ['mkfs.ext4', '-q'])
        by_mount = sandbox.path / 'by-mount'
        by_mount.mkdir()
        for word in FLAG_WORDS:
            kubelet.stage(volume, mount_capability('ext4', flags=[f'{word}=']))
            subprocess.run(['mount', '-t', 'ext4', '-o', f'nosuid,nodev,errors=remount-ro,{word}=', loop, by_mount],
                           check=True)
            assert flags_at(kubelet.staging(volume)) == flags_at(by_mount), word
            sandbox_umount(by_mount)
            kubelet.unstage(volume)
        for word, flag in (('ro=recursive', 'ro'), ('noexec=vfs', 'noexec'), ('noatime=recursive', 'noatime')):
            kubelet.stage(volume, mount_capability('ext4', flags=[word]))
            assert flag in flags_at(kubelet.staging(volume))[0].split(',')
            kubelet.unstage(volume)
        for word in ('ro=vfs', 'ro=fs', 'rw=vfs', 'rw=fs', 'ro=1', 'noatime=fs', 'nosuid=x'):
            with pytest.raises(Failure) as failure:
                kubelet.stage(volume, mount_capability('ext4', flags=['noatime', word]))
            assert failure.value.code == 'INVALID_ARGUMENT'
            assert f'mount option "{word.split("=")[0]}" has a value' in str(failure.value)


def test_raw_block(daemon):
    with daemon.start() as client:
        kubelet = Kubelet(daemon, client)
        capability = block_capability(SINGLE_NODE_MULTI_WRITER)
        volume = create(client, 'pvc-b', 16 * MIB, capability)
        kubelet.stage(volume, capability)
        device = kubelet.publish('pod-1', volume, capability)
        device.write_bytes(b'data')
        reply = client.NodeExpandVolume(volume_id=volume, volume_path=str(device),
                                        capacity_range={'required_bytes': 32 * MIB})
        assert reply.capacity_bytes == 32 * MIB
        kubelet.unpublish(volume, device)
        kubelet.unstage(volume)
        # What is on it is nobody's filesystem: it is refused, and not touched.
        with pytest.raises(Failure):
            kubelet.stage(volume, mount_capability('ext4'))


def test_expand(daemon):
    with daemon.start() as client:
        kubelet = Kubelet(daemon, client)
        capability = mount_capability('xfs', SINGLE_NODE_MULTI_WRITER)
        volume = create(client, 'pvc-e', 512 * MIB, capability)
        kubelet.stage(volume, capability)
        target = kubelet.publish('pod-1', volume, capability)
        before = os.statvfs(target).f_blocks
        client.NodeExpandVolume(volume_id=volume, volume_path=str(target),
                                staging_target_path=str(kubelet.staging(volume)),
                                capacity_range={'required_bytes': 1024 * MIB}, volume_capability=capability)
        assert os.statvfs(target).f_blocks > before * 3 // 2
        kubelet.unpublish(volume, target)
        kubelet.unstage(volume)


def test_two_targets(daemon):
    """A second pod of the node gets the volume, unless the mode is for one pod alone."""
    with daemon.start() as client:
        kubelet = Kubelet(daemon, client)
        for mode, second in ((SINGLE_NODE_MULTI_WRITER, True), (SINGLE_NODE_SINGLE_WRITER, False)):
            capability = mount_capability('ext4', mode)
            volume = create(client, f'pvc-{mode}', capability=capability)
            kubelet.stage(volume, capability)
            targets = [kubelet.publish('pod-1', volume, capability)]
            if second:
                targets.append(kubelet.publish('pod-2', volume, capability, readonly=True))
            else:
                client.fails('FAILED_PRECONDITION', 'NodePublishVolume', volume_id=volume, volume_capability=capability,
                             target_path=str(kubelet.target('pod-2', volume)),
                             staging_target_path=str(kubelet.staging(volume)))
            for target in targets:
                kubelet.unpublish(volume, target)
            kubelet.unstage(volume)


def test_restart_with_live_mounts(daemon):
    """Neither a restart of kubelet nor one of the driver is seen by a running pod."""
    capability = mount_capability('ext4', SINGLE_NODE_MULTI_WRITER)
    client = daemon.start()
    kubelet = Kubelet(daemon, client)
    volume = create(client, 'pvc-r')
    kubelet.stage(volume, capability)
    target = kubelet.publish('pod-1', volume, capability)
    before = mounts()
    with open(target / 'file', 'w', encoding='utf-8') as file:
        for kill in (False, True):
            client.close()
            if kill:
                daemon.kill()
            else:
                assert daemon.stop() == 0
            client = kubelet.client = daemon.start()
            kubelet.stage(volume, capability)
            kubelet.publish('pod-1', volume, capability)
            assert mounts() == before
        file.write('still open')
    kubelet.unpublish(volume, target)
    kubelet.unstage(volume)
    client.close()


def test_upstream_driver(daemon):
    """A volume that another driver staged and published goes on, with its options, unchecked and not formatted."""
    capability = mount_capability('ext4', SINGLE_NODE_MULTI_WRITER)
    with daemon.start() as client:
        kubelet = Kubelet(daemon, client)
        volume = create(client, 'pvc-u')
        kubelet.stage(volume, capability)
        staging = kubelet.staging(volume)
        source = subprocess.run(['findmnt', '-no', 'SOURCE', staging], capture_output=True, text=True,
                                check=True).stdout.strip()
        subprocess.run(['umount', staging], check=True)
        subprocess.run(['mount', '-o', 'errors=continue', source, staging], check=True)
        target = kubelet.target('pod-1', volume)
        target.mkdir()
        subprocess.run(['mount', '--bind', staging, target], check=True)
        before = mounts()
        kubelet.stage(volume, capability)
        kubelet.publish('pod-1', volume, capability)
        assert mounts() == before
        assert '"check' not in daemon.log()
        kubelet.unpublish(volume, target)
        kubelet.unstage(volume)


@pytest.mark.parametrize('fs_type, options', [('ext4', 'discard,errors=continue'), ('xfs', 'nouuid,logbufs=8'),
                                              ('btrfs', 'compress=zstd')])
def test_upstream_mounted_by_a_link(daemon, fs_type, options):
    """By udev's link, at the staging path of old kubelets; the link leads elsewhere by now."""
    capability = mount_capability(fs_type, SINGLE_NODE_MULTI_WRITER)
    with daemon.start() as client:
        kubelet = Kubelet(daemon, client)
        volume = create(client, 'pvc-u', 320 * MIB, capability)
        kubelet.stage(volume, capability)
        source = subprocess.run(['findmnt', '-no', 'SOURCE', kubelet.staging(volume)], capture_output=True, text=True,
                                check=True).stdout.strip()
        staging = daemon.kubelet_root / 'plugins/kubernetes.io/csi/pv/pvc-u/globalmount'
        staging.mkdir(parents=True)
        subprocess.run(['umount', kubelet.staging(volume)], check=True)
        link = daemon.directory / 'by-id'
        link.symlink_to(source)
        # As mount(8) does not: it would resolve the link.
        sandbox_mount(link, staging, fs_type, 0, options)
        target = kubelet.target('pod-1', volume)
        target.mkdir()
        subprocess.run(['mount', '--bind', staging, target], check=True)
        (target / 'file').write_text('kept')
        fields = {'volume_id': volume, 'volume_capability': capability, 'staging_target_path': str(staging)}
        for other in ('/dev/loop-control', '/dev/null', None):
            link.unlink()
            if other:
                link.symlink_to(other)
            before = mounts()
            client.NodeStageVolume(**fields)
            client.NodePublishVolume(target_path=str(target), **fields)
            assert mounts() == before
            assert not client.NodeGetVolumeStats(volume_id=volume, volume_path=str(target)).volume_condition.abnormal
        assert (target / 'file').read_text() == 'kept'
        assert daemon.log().count('msg=formatting\n') == 1
        kubelet.unpublish(volume, target)
        client.NodeUnstageVolume(volume_id=volume, staging_target_path=str(staging))
        assert not mounted(staging)
        kubelet.unstage(volume)


# --- crashes ---

class Killer:
    """Kills the daemon at its n-th step of a call, with strace, and starts it again."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.strace = None

    def arm(self, name, n):
        """At the n-th call of that name in one thread."""
        self.strace = subprocess.Popen(
            ['strace', '-f', '-qq', '-o', '/dev/null', '-e', f'trace={name}', '-e',
             f'inject={name}:signal=KILL:when={n}', '-p', str(self.daemon.process.pid)])
        # It has attached when the kernel says of every thread who traces it.
        end = time.monotonic() + 60
        tasks = pathlib.Path(f'/proc/{self.daemon.process.pid}/task')
        while any(b'TracerPid:\t0\n' in (task / 'status').read_bytes() for task in tasks.iterdir()):
            assert time.monotonic() < end and self.strace.poll() is None, 'strace does not attach'
            time.sleep(0.005)

    def _is_dead(self):
        # strace has been seen to sleep on with a tracee that is dead: nobody can reap that one before strace ends.
        status = pathlib.Path(f'/proc/{self.daemon.process.pid}/status').read_text(encoding='ascii')
        return 'State:\tZ' in status

    def disarm(self):
        """Whether the daemon was killed."""
        end = time.monotonic() + 0.1
        while not self._is_dead() and time.monotonic() < end:
            time.sleep(0.005)
        died = self._is_dead()
        # Nor does it always end when it is asked to; killed, it leaves the daemon running.
        self.strace.kill()
        self.strace.wait(60)
        if died:
            self.daemon.process.wait(60)
        return died


def crash_every_step(daemon, volume_calls, undo, names=STEPS, codes=('UNAVAILABLE', 'CANCELLED')):
    """volume_calls(kubelet): the call that is killed. undo(kubelet): brings everything back to before it."""
    client = daemon.start()
    killed = []
    steps = [(name, n) for name in names for n in range(1, 20)]
    while steps:
        name, n = steps.pop(0)
        killer = Killer(daemon)
        killer.arm(name, n)
        failed = False
        try:
            volume_calls(Kubelet(daemon, client))
        except Failure as failure:
            assert failure.code in codes, failure
            failed = True
        if killer.disarm():
            killed.append(f'{name} {n}')
            client.close()
            client = daemon.start()
            # The same call again, and then the way back.
            volume_calls(Kubelet(daemon, client))
        elif failed:
            # A tool was killed, not the daemon.
            killed.append(f'{name} {n} of a tool')
            volume_calls(Kubelet(daemon, client))
        else:
            steps = [step for step in steps if step[0] != name]
        undo(Kubelet(daemon, client))
    client.close()
    print(f'killed at: {", ".join(killed)}')
    assert len(killed) >= 2, killed


@pytest.fixture(name='strace')
def strace_fixture():
    if not shutil.which('strace'):
        pytest.skip('no strace')


@pytest.mark.deadline(900)
@pytest.mark.usefixtures('strace')
@pytest.mark.parametrize('fs_type', ['ext4', 'xfs'])
def test_crash_in_stage(daemon, fs_type):
    capability = mount_capability(fs_type, SINGLE_NODE_MULTI_WRITER)
    with daemon.start() as client:
        volume = create(client, 'pvc-c', 512 * MIB, capability)
    daemon.stop()

    def call(kubelet):
        kubelet.stage(volume, capability)
        assert mounted(kubelet.staging(volume)) == 1

    def undo(kubelet):
        kubelet.unstage(volume)
        assert not [line for line in mounts() if str(daemon.kubelet_root) in line]

    crash_every_step(daemon, call, undo)


@pytest.mark.deadline(900)
@pytest.mark.usefixtures('strace')
def test_crash_in_first_stage(daemon):
    """A new volume each time: also killed round its mkfs."""
    capability = mount_capability('ext4', SINGLE_NODE_MULTI_WRITER)
    with daemon.start() as client:
        volumes = [create(client, 'pvc-0')]
    daemon.stop()

    def call(kubelet):
        kubelet.stage(volumes[-1], capability)
        assert mounted(kubelet.staging(volumes[-1])) == 1

    def undo(kubelet):
        kubelet.unstage(volumes[-1])
        kubelet.client.DeleteVolume(volume_id=volumes[-1])
        volumes.append(create(kubelet.client, f'pvc-{len(volumes)}'))

    crash_every_step(daemon, call, undo)
    assert len(volumes) > 6


@pytest.mark.deadline(900)
@pytest.mark.usefixtures('strace')
@pytest.mark.parametrize('kind', ['mount', 'block'])
def test_crash_in_publish(daemon, kind):
    capability = (mount_capability('ext4', SINGLE_NODE_MULTI_WRITER) if kind == 'mount'
                  else block_capability(SINGLE_NODE_MULTI_WRITER))
    with daemon.start() as client:
        volume = create(client, 'pvc-c', 64 * MIB, capability)
        Kubelet(daemon, client).stage(volume, capability)
    daemon.stop()

    def call(kubelet):
        path = kubelet.publish('pod-1', volume, capability)
        assert mounted(path) == 1

    def undo(kubelet):
        path = kubelet.device('pod-1', volume) if kind == 'block' else kubelet.target('pod-1', volume)
        kubelet.unpublish(volume, path)

    crash_every_step(daemon, call, undo)


@pytest.mark.deadline(900)
@pytest.mark.usefixtures('strace')
def test_crash_in_undo(daemon):
    """Unpublish and unstage, killed at each step."""
    capability = mount_capability('ext4', SINGLE_NODE_MULTI_WRITER)
    with daemon.start() as client:
        kubelet = Kubelet(daemon, client)
        volume = create(client, 'pvc-c')
        kubelet.stage(volume, capability)
        target = kubelet.publish('pod-1', volume, capability)
    daemon.stop()

    def call(kubelet):
        kubelet.client.NodeUnpublishVolume(volume_id=volume, target_path=str(target))
        kubelet.client.NodeUnstageVolume(volume_id=volume, staging_target_path=str(kubelet.staging(volume)))
        assert not target.exists() and mounted(kubelet.staging(volume)) == 0

    def undo(kubelet):
        kubelet.stage(volume, capability)
        kubelet.publish('pod-1', volume, capability)

    crash_every_step(daemon, call, undo)


@pytest.mark.deadline(900)
@pytest.mark.usefixtures('strace')
def test_crash_in_inline(daemon):
    volume = 'csi-' + '0' * 64

    def call(kubelet):
        kubelet.client.NodePublishVolume(
            volume_id=volume, target_path=str(kubelet.target('pod-1', 'v')), volume_capability=mount_capability(),
            volume_context={**POD_INFO, 'csi.storage.k8s.io/ephemeral': 'true', 'size': '32Mi'})

    def undo(kubelet):
        kubelet.unpublish(volume, kubelet.target('pod-1', 'v'))
        assert not any(daemon.pool.glob('volumes/*.img'))

    crash_every_step(daemon, call, undo)


@pytest.mark.deadline(900)
@pytest.mark.usefixtures('strace')
def test_crash_in_expand(daemon):
    """Killed round the new size of the device and the tool that grows the filesystem, which may be what is killed."""
    capability = mount_capability('xfs', SINGLE_NODE_MULTI_WRITER)
    client = daemon.start()
    kubelet = Kubelet(daemon, client)
    size = 512 * MIB
    volume = create(client, 'pvc-c', size, capability)
    kubelet.stage(volume, capability)
    target = kubelet.publish('pod-1', volume, capability)
    sizes = [size]

    def ask_for_more(kubelet):
        sizes.append(sizes[-1] + 64 * MIB)

    def call(kubelet):
        reply = kubelet.client.NodeExpandVolume(volume_id=volume, volume_path=str(target),
                                                capacity_range={'required_bytes': sizes[-1]})
        assert reply.capacity_bytes == sizes[-1]
        usage = os.statvfs(target)
        assert usage.f_blocks * usage.f_frsize > sizes[-1] - 128 * MIB

    ask_for_more(kubelet)
    client.close()
    daemon.stop()
    crash_every_step(daemon, call, ask_for_more, names=('ioctl',), codes=('UNAVAILABLE', 'CANCELLED', 'INTERNAL'))


# --- a crowd ---

@pytest.mark.deadline(900)
def test_hundred_at_once(daemon):
    """A hundred volumes to be formatted at once: each call for its own, cheap calls answered meanwhile."""
    capability = mount_capability('ext4', SINGLE_NODE_MULTI_WRITER)
    client = daemon.start()
    kubelet = Kubelet(daemon, client)
    volumes = [create(client, f'pvc-{i}', 16 * MIB) for i in range(100)]
    done = threading.Event()
    slowest = [0.0]

    def stage(volume):
        # As kubelet does where the pool's disk is slower than the pool's patience.
        while True:
            try:
                return kubelet.stage(volume, capability)
            except Failure as failure:
                if failure.code != 'UNAVAILABLE' or 'does not answer' not in failure.message:
                    raise

    def ask():
        with Client(daemon.socket_path) as other:
            while not done.is_set():
                start = time.monotonic()
                other.NodeGetCapabilities()
                slowest[0] = max(slowest[0], time.monotonic() - start)
                time.sleep(0.005)

    asker = threading.Thread(target=ask)
    asker.start()
    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        list(pool.map(stage, volumes))
        done.set()
        asker.join()
        assert slowest[0] < 10, f'a cheap call took {slowest[0]:.3f} s'
        targets = list(pool.map(lambda volume: kubelet.publish('pod-1', volume, capability), volumes))
        assert len([line for line in mounts() if str(daemon.kubelet_root) in line]) == 200
        list(pool.map(kubelet.unpublish, volumes, targets))
        list(pool.map(kubelet.unstage, volumes))
    client.close()
    print(f'slowest NodeGetCapabilities: {slowest[0] * 1000:.1f} ms')


def test_pending(daemon):
    """A second call for a volume whose mkfs runs is ABORTED, at once; the first ends well."""
    capability = mount_capability('ext4', SINGLE_NODE_MULTI_WRITER)
    held = daemon.directory / 'held'
    daemon.environment |= held_mkfs(held)
    with daemon.start() as client:
        kubelet = Kubelet(daemon, client)
        volume = create(client, 'pvc-p')
        first = client.start('NodeStageVolume', volume_id=volume, volume_capability=capability,
                             staging_target_path=str(kubelet.staging(volume)))
        until(lambda: n_called(held) == 1)
        client.fails('ABORTED', 'NodeStageVolume', volume_id=volume, volume_capability=capability,
                     staging_target_path=str(kubelet.staging(volume)))
        assert not first.done()
        (held / 'go').touch()
        first.result()
        (held / 'go').unlink()
        # A caller that gives up at its deadline finds it done the next time: mkfs was not killed for it.
        other = create(client, 'pvc-q')
        with pytest.raises(Failure) as failed:
            client.NodeStageVolume(timeout=3, volume_id=other, volume_capability=capability,
                                   staging_target_path=str(kubelet.staging(other)))
        assert failed.value.code == 'DEADLINE_EXCEEDED'
        (held / 'go').touch()

        def staged():
            try:
                kubelet.stage(other, capability)
            except Failure as failure:
                assert failure.code == 'ABORTED'
                return False
            return True

        until(staged)
        assert n_called(held) == 2
        for one in (volume, other):
            kubelet.unstage(one)
