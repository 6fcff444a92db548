# SPDX-License-Identifier: Apache-2.0
"""What a request, a pod or a failing disk may try, over the socket: nothing outside of kubelet's root changes, nothing
is told that is secret, and nothing hangs."""

import ctypes
import fcntl
import os
import pathlib
import socket
import subprocess
import threading
import time

import pytest

import csi
import sandbox as sandbox_module
from test_csi_local import MIB, World, block, mount, sharing_world_fixture, world_fixture  # noqa: F401
from test_csi_local import XFS_IOC_GOINGDOWN

AT_FDCWD = -100
RENAME_EXCHANGE = 2
SECRET = 'Zx9secretZx9'


def outside_of(world):
    """A directory that no request may reach, with what an unmount or a removal would destroy."""
    path = world.daemon.directory / 'outside'
    (path / 'mount').mkdir(parents=True)
    (path / 'file').write_text('mine', encoding='utf-8')
    return path


def mounts_at(path):
    return [place for place in sandbox_module.mounts_below(path)]


# --- paths ---

def hostile_paths(root, outside):
    (root / 'pods').mkdir(exist_ok=True)
    (root / 'pods' / 'link').symlink_to(outside)
    (root / 'pods' / 'absolute').symlink_to('/')
    (root / 'pods' / 'real').mkdir()
    (root / 'pods' / 'real' / 'mount').symlink_to(outside / 'mount')
    (root / 'pods' / 'file').write_text('x', encoding='utf-8')
    os.mkfifo(root / 'pods' / 'fifo')
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / 'pods' / 'socket'))
    return [
        str(outside / 'mount'), '/', '/etc', '//', 'mount', './mount', str(root), f'{root}/', f'{root}x/mount',
        f'{root}/../outside/mount', f'{root}/pods/../../outside/mount', f'{root}/pods/real/./mount2/..',
        f'{root}/pods/link/mount', f'{root}/pods/link', f'{root}/pods/real/mount', f'{root}/pods/real/mount/',
        f'{root}/pods/absolute{outside}/mount', f'{root}/pods/absolute/proc/self/root{outside}/mount',
        f'{root}/pods/file/mount', f'{root}/pods/file', f'{root}/pods/fifo', f'{root}/pods/socket',
        f'{root}/pods/{"n" * 256}', f'{root}/{"d/" * 2100}mount', f'{root}/pods/new\nline/mount',
    ]


REFUSALS = ('INVALID_ARGUMENT', 'FAILED_PRECONDITION', 'ALREADY_EXISTS', 'NOT_FOUND')


def test_paths(world):
    outside = outside_of(world)
    client, capability = world.client, mount('ext4')
    volume = world.create('pvc-1', 16 * MIB, capability)
    world.kubelet.stage(volume, capability)
    staging = str(world.kubelet.staging(volume))
    paths = hostile_paths(world.root, outside)
    before = mounts_at('/')

    def refused(method, **fields):
        with pytest.raises(csi.Failure) as failure:
            client.call(method, timeout=20, volume_id=volume, **fields)
        assert failure.value.code in REFUSALS, (failure.value, fields)

    for path in paths:
        refused('NodeStageVolume', staging_target_path=path, volume_capability=capability)
        refused('NodePublishVolume', staging_target_path=staging, target_path=path, volume_capability=capability)
        # A file that is there already may be the target of a block volume, as with upstream; it is never removed.
        if path != f'{world.root}/pods/file':
            refused('NodePublishVolume', staging_target_path=staging, target_path=path, volume_capability=block())
        refused('NodePublishVolume', staging_target_path=path, target_path=f'{world.root}/pods/good',
                volume_capability=capability)
        refused('NodeGetVolumeStats', volume_path=path)
        refused('NodeExpandVolume', volume_path=path)
        for method, field in (('NodeUnpublishVolume', 'target_path'), ('NodeUnstageVolume', 'staging_target_path')):
            try:
                client.call(method, timeout=20, volume_id=volume, **{field: path})
            except csi.Failure as failure:
                assert failure.code in REFUSALS, (failure, path)
        assert mounts_at('/') == before, path
    assert (outside / 'file').read_text(encoding='utf-8') == 'mine' and (outside / 'mount').is_dir()
    for name in ('file', 'fifo', 'socket', 'link', 'absolute', 'real/mount'):
        assert os.path.lexists(world.root / 'pods' / name), name
    world.kubelet.unstage(volume)
    client.DeleteVolume(volume_id=volume)


def exchange(one, other):
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0


@pytest.mark.deadline(120)
def test_a_link_is_put_there_in_the_middle(world):
    """A pod that could write its directory swaps it with a link, all the time, while its volume comes and goes."""
    outside = outside_of(world)
    client, capability = world.client, mount('ext4')
    volume = world.create('pvc-1', 16 * MIB, capability)
    world.kubelet.stage(volume, capability)
    staging = str(world.kubelet.staging(volume))
    pod = world.root / 'pods' / 'p'
    pod.mkdir(parents=True)
    link = world.root / 'pods' / 'evil'
    link.symlink_to(outside)
    done = threading.Event()
    swaps = [0]

    def swap():
        while not done.is_set():
            exchange(pod, link)
            swaps[0] += 1

    thread = threading.Thread(target=swap)
    thread.start()
    outcomes = {}
    try:
        end = time.monotonic() + 8
        while time.monotonic() < end:
            for method, fields in (
                    ('NodePublishVolume', {'staging_target_path': staging, 'volume_capability': capability}),
                    ('NodeUnpublishVolume', {})):
                try:
                    client.call(method, timeout=20, volume_id=volume, target_path=f'{pod}/mount', **fields)
                    code = 'OK'
                except csi.Failure as failure:
                    code = failure.code
                outcomes[method, code] = outcomes.get((method, code), 0) + 1
                assert not mounts_at(outside)
                assert (outside / 'mount').is_dir()
    finally:
        done.set()
        thread.join()
    print(swaps, outcomes)
    assert swaps[0] > 1000
    # Both sides were met, and nothing but a refusal came of it.
    assert ('NodePublishVolume', 'OK') in outcomes
    assert any(code != 'OK' for _, code in outcomes)
    assert {code for _, code in outcomes} <= {'OK', 'FAILED_PRECONDITION', 'UNAVAILABLE', 'INTERNAL'}
    assert (outside / 'file').read_text(encoding='utf-8') == 'mine'


# --- words ---

@pytest.mark.parametrize('flag', [
    'loop', 'loop=/dev/loop0', 'source=/etc/passwd', 'device=/dev/sda', 'logdev=/dev/sda', 'rtdev=/dev/sda',
    'journal_path=/dev/sda', 'bind', 'rbind', 'remount', 'remount,rw', 'rw,remount', 'shared', 'rslave', 'move',
    'errors=panic', 'errors="panic"', 'noatime,errors=panic', '-o', '--bind', 'a b', 'x\ny', 'x\\ty', '=value',
    'context="system_u:object_r:x_t:s0', 'journal_dev=0x700', 'no_such_option', 'usrjquota=/etc/passwd',
])
def test_mount_flags(world, flag):
    capability = mount('ext4', flags=[flag])
    volume = world.create('pvc-1', 16 * MIB, mount('ext4'))
    staging = world.kubelet.staging(volume)
    with pytest.raises(csi.Failure) as failure:
        world.kubelet.stage(volume, capability)
    assert failure.value.code in ('INVALID_ARGUMENT', 'FAILED_PRECONDITION'), failure.value
    assert not mounts_at(staging)
    csi.until(lambda: not world.loops())
    world.client.DeleteVolume(volume_id=volume)


@pytest.mark.parametrize('fs_type', ['ext4;reboot', '-t', '../ext4', 'overlay', 'proc', 'fuse', 'ext4\n', 'EXT4 ',
                                     'x' * 200])
def test_types(world, fs_type):
    volume = world.create('pvc-1', 16 * MIB, mount('ext4'))
    with pytest.raises(csi.Failure) as failure:
        world.kubelet.stage(volume, mount(fs_type))
    assert failure.value.code in ('INVALID_ARGUMENT', 'FAILED_PRECONDITION'), failure.value
    csi.until(lambda: not world.loops())
    with pytest.raises(csi.Failure) as failure:
        world.create('pvc-2', 16 * MIB, mount(fs_type))
    assert failure.value.code == 'INVALID_ARGUMENT'


@pytest.mark.parametrize('name', ['..', '.', '/', '../../etc/passwd', 'a/b', '/etc/passwd', 'a\nb', '-rf', '$(id)',
                                  'x' * 128, '\u202e', '.json', 'volumes'])
def test_names(world, name):
    """A name is hashed or refused; as an id it is unknown."""
    before = sorted(world.pool.iterdir())
    world.create('kept', 16 * MIB, mount('ext4'))
    kept = world.files()
    try:
        volume = world.create(name, 16 * MIB, mount('ext4'))
        assert set(volume) <= set('abcdefghijklmnopqrstuvwxyz0123456789-')
        world.client.CreateSnapshot(name=name, source_volume_id=volume)
        assert all(set(entry) <= set('abcdefghijklmnopqrstuvwxyz0123456789-.') for entry in world.files())
        (snapshot,) = world.client.ListSnapshots().entries
        world.client.DeleteSnapshot(snapshot_id=snapshot.snapshot.snapshot_id)
        world.client.DeleteVolume(volume_id=volume)
    except csi.Failure as failure:
        assert failure.code == 'INVALID_ARGUMENT', failure
    for identity in (name, f'../volumes/{kept[0]}'):
        for method, fields in (('DeleteVolume', {'volume_id': identity}), ('DeleteSnapshot', {'snapshot_id': identity}),
                               ('ControllerGetVolume', {'volume_id': identity})):
            try:
                world.client.call(method, **fields)
            except csi.Failure as failure:
                assert failure.code in ('NOT_FOUND', 'INVALID_ARGUMENT'), failure
        world.client.fails('NOT_FOUND', 'NodeStageVolume', volume_id=identity, volume_capability=mount('ext4'),
                           staging_target_path=str(world.kubelet.staging('s')))
    assert world.files() == kept and sorted(world.pool.iterdir()) == before


def test_what_is_not_utf8(world):
    """protobuf's strings are UTF-8; Python does not send anything else, a C client may."""
    for bad in (b'\xff\xfe', b'\xc0\x80', b'\xed\xa0\x80', b'a\x00b', b'\xf8\x88\x80\x80\x80'):
        data = b'\x0a' + bytes([len(bad)]) + bad + b'\x12\x02/x'
        with pytest.raises(csi.Failure) as failure:
            world.client.raw('/csi.v1.Node/NodeUnpublishVolume', data)
        assert failure.value.code == 'INVALID_ARGUMENT', (bad, failure.value)
        failure.value.message.encode('utf-8')
    assert world.client.Probe().ready.value


def test_secrets(build, sandbox):
    world = World(build, sandbox, argv=['--log-level=debug'])
    capability = mount('ext4')
    volume = world.create('pvc-1', 16 * MIB, capability, secrets={'a': SECRET, SECRET: 'b'})

    def stage(flags=()):
        world.client.NodeStageVolume(
            volume_id=volume, staging_target_path=str(world.kubelet.staging(volume)), secrets={'key': SECRET},
            volume_capability=mount('ext4', flags=flags), publish_context={'token': SECRET})

    # Of a flag that is refused its name is told, and never its value.
    for flag in (f'password={SECRET}', f'noatime,pass={SECRET}', f'context="{SECRET}', f'errors={SECRET}',
                 f'x="{SECRET},y"'):
        with pytest.raises(csi.Failure) as failure:
            stage(flags=[flag])
        assert SECRET not in failure.value.message
    stage()
    target = world.kubelet.target('pod-1', 'pvc-1')
    world.client.NodePublishVolume(volume_id=volume, volume_capability=capability, target_path=str(target),
                                   staging_target_path=str(world.kubelet.staging(volume)), secrets={'key': SECRET},
                                   volume_context={'csi.storage.k8s.io/serviceAccount.tokens': SECRET})
    world.client.NodeExpandVolume(volume_id=volume, volume_path=str(target), secrets={'key': SECRET})
    world.kubelet.unpublish(volume, target)
    world.kubelet.unstage(volume)
    world.client.DeleteVolume(volume_id=volume, secrets={'a': SECRET})
    log = world.daemon.log()
    leaked = [line for line in log.splitlines() if SECRET in line]
    assert not leaked, leaked
    assert 'plan:' in log
    world.client.close()
    world.daemon.kill()


# --- what died ---

def mount_dead_fuse(path):
    """Its daemon was killed: ENOTCONN."""
    fd = os.open('/dev/fuse', os.O_RDWR)
    sandbox_module.mount('dead', path, 'fuse', 0, f'fd={fd},rootmode=40000,user_id=0,group_id=0')
    os.close(fd)
    with pytest.raises(OSError):
        os.stat(path)


@pytest.mark.skipif(not os.path.exists('/dev/fuse'), reason='there is no /dev/fuse')
def test_dead_fuse_at_both_paths(world):
    client, capability = world.client, mount('ext4')
    volume = world.create('pvc-1', 16 * MIB, capability)
    target = world.kubelet.target('pod-1', 'pvc-1')
    target.mkdir()
    mount_dead_fuse(target)
    staging = world.kubelet.staging(volume)
    mount_dead_fuse(staging)
    start = time.monotonic()
    condition = client.NodeGetVolumeStats(volume_id=volume, volume_path=str(target)).volume_condition
    assert condition.abnormal
    client.NodeUnpublishVolume(volume_id=volume, target_path=str(target))
    client.NodeUnstageVolume(volume_id=volume, staging_target_path=str(staging))
    assert time.monotonic() - start < 30
    assert not os.path.lexists(target) and not mounts_at(staging)


def shut_down(path):
    fd = os.open(path, os.O_RDONLY)
    fcntl.ioctl(fd, XFS_IOC_GOINGDOWN, (2).to_bytes(4, 'little'))
    os.close(fd)


@pytest.mark.parametrize('fs_type', ['ext4', 'xfs', 'btrfs'])
def test_the_disk_below_is_gone(sharing_world, fs_type):
    """The pool's filesystem answers EIO from one moment to the next, with files open for writing in the pod."""
    world, capability = sharing_world, mount(fs_type)
    client = world.client
    volume = world.create('pvc-1', 320 * MIB, capability)
    world.kubelet.stage(volume, capability)
    target = world.kubelet.publish(volume, world.kubelet.target('pod-1', 'pvc-1'), capability)
    (loop,) = world.loops()
    with open(target / 'file', 'wb') as file:
        file.write(b'x' * MIB)
    shut_down(world.pool.parent)
    start = time.monotonic()
    for _ in range(40):
        # What is written does not reach the disk any more; the kernel finds that out when it writes.
        subprocess.run(['sync', '-f', str(target)], check=False, capture_output=True, timeout=60)
        try:
            with open(target / 'more', 'wb') as file:
                file.write(b'y' * MIB)
                os.fsync(file.fileno())
        except OSError:
            pass
        condition = client.NodeGetVolumeStats(volume_id=volume, volume_path=str(target)).volume_condition
        if condition.abnormal:
            break
        time.sleep(0.25)
    print(condition.message)
    assert condition.abnormal and condition.message
    client.NodeUnpublishVolume(volume_id=volume, target_path=str(target))
    assert not os.path.lexists(target)
    client.NodeUnstageVolume(volume_id=volume, staging_target_path=str(world.kubelet.staging(volume)))
    assert not mounts_at(target) and not mounts_at(world.kubelet.staging(volume))
    # Only sysfs still says what is behind it: LOOP_GET_STATUS64 is EIO.
    csi.until(lambda: not sandbox_module.backing_file(loop).startswith(f'{world.pool}/'))
    # The next call says what is wrong.
    assert client.fails('UNAVAILABLE', 'NodeStageVolume', volume_id=volume, volume_capability=capability,
                        staging_target_path=str(world.kubelet.staging(volume)))
    assert time.monotonic() - start < 150


def test_the_loop_device_is_taken_away(world):
    """Somebody detaches every loop device below a mounted volume: the kernel does it when the last user is gone."""
    client, capability = world.client, mount('ext4')
    volume = world.create('pvc-1', 16 * MIB, capability)
    world.kubelet.stage(volume, capability)
    target = world.kubelet.publish(volume, world.kubelet.target('pod-1', 'pvc-1'), capability)
    (target / 'file').write_text('kept', encoding='utf-8')
    (loop,) = world.loops()
    subprocess.run(['losetup', '-d', f'/dev/{pathlib.Path(str(loop)).name}'], check=True)
    world.kubelet.stage(volume, capability)
    world.kubelet.unpublish(volume, target)
    world.kubelet.unstage(volume)
    csi.until(lambda: not world.loops())
    world.kubelet.stage(volume, capability)
    target = world.kubelet.publish(volume, world.kubelet.target('pod-1', 'pvc-1'), capability)
    assert (target / 'file').read_text(encoding='utf-8') == 'kept'
    world.kubelet.unpublish(volume, target)
    world.kubelet.unstage(volume)
    client.DeleteVolume(volume_id=volume)


def test_somebody_has_the_device_open(world):
    """It cannot be detached until he closes it; staged again meanwhile, it stays."""
    client, capability = world.client, mount('ext4')
    volume = world.create('pvc-1', 16 * MIB, capability)
    world.kubelet.stage(volume, capability)
    (loop,) = world.loops()
    with open(f'/dev/{pathlib.Path(str(loop)).name}', 'rb'):
        start = time.monotonic()
        world.kubelet.unstage(volume)
        world.kubelet.stage(volume, capability)
        assert time.monotonic() - start < 30
        assert world.loops() == [loop]
        world.kubelet.unstage(volume)
        world.kubelet.stage(volume, mount('ext4'))
    assert world.loops() == [loop]
    world.kubelet.unstage(volume)
    csi.until(lambda: not world.loops())
    client.DeleteVolume(volume_id=volume)


def test_the_device_is_gone_below_a_block_volume(world):
    client = world.client
    volume = world.create('pvc-1', 16 * MIB, block())
    world.kubelet.stage(volume, block())
    path = world.root / 'plugins/kubernetes.io/csi/volumeDevices/publish/pvc-1/pod-1'
    path.parent.mkdir(parents=True)
    client.NodePublishVolume(volume_id=volume, staging_target_path=str(world.kubelet.staging(volume)),
                             target_path=str(path), volume_capability=block())
    (loop,) = world.loops()
    device = f'/dev/{pathlib.Path(str(loop)).name}'
    subprocess.run(['losetup', '-d', device], check=True)
    # The plugin keeps it open, so it stays until the plugin is away too.
    assert not client.NodeGetVolumeStats(volume_id=volume, volume_path=str(path)).volume_condition.abnormal
    client.close()
    world.daemon.kill()
    subprocess.run(['losetup', '-d', device], check=False, capture_output=True)
    world.start()
    client = world.client
    condition = client.NodeGetVolumeStats(volume_id=volume, volume_path=str(path)).volume_condition
    assert condition.abnormal, condition
    client.NodeUnpublishVolume(volume_id=volume, target_path=str(path))
    assert not path.exists()
    world.kubelet.unstage(volume)
    client.DeleteVolume(volume_id=volume)
