# SPDX-License-Identifier: Apache-2.0
"""What a disk says that a tenant wrote: a raw block volume that is used as a filesystem later."""

import json
import os
import pathlib
import shutil
import struct
import subprocess

import csi
import pytest

from test_csi_local import MIB, World, block, mount, source


@pytest.fixture(name='world')
def world_fixture(build, sandbox):
    world = World(build, sandbox)
    yield world
    world.client.close()
    if world.daemon.process.poll() is None:
        world.daemon.kill()


def volume_with(world, *tune2fs):
    """An ext4 volume that somebody changed while it was not mounted."""
    volume_id = world.create('a', 16 * MIB, mount('ext4'))
    world.kubelet.stage(volume_id, mount('ext4'))
    world.kubelet.unstage(volume_id)
    subprocess.run(['tune2fs', *tune2fs, world.pool / 'volumes' / f'{volume_id}.img'], check=True, capture_output=True)
    return volume_id


def test_errors_panic_does_not_reach_the_node(world):
    """A tenant's superblock stopped the node: errors=panic was refused as a flag, and taken from the disk."""
    volume_id = volume_with(world, '-e', 'panic')
    world.kubelet.stage(volume_id, mount('ext4'))
    lines = pathlib.Path('/proc/self/mountinfo').read_text(encoding='utf-8').splitlines()
    (line,) = [one for one in lines if str(world.kubelet.staging(volume_id)) in one]
    assert 'errors=remount-ro' in line.split()[-1].split(',')
    world.kubelet.unstage(volume_id)


@pytest.mark.parametrize('words', [
    ('-E', 'mount_opts=abort'), ('-E', 'mount_opts=data=writeback'),
    ('-E', 'mount_opts=barrier=0'), ('-o', 'nobarrier'), ('-o', 'journal_data_writeback'),
])
def test_options_of_the_superblock_are_looked_at(world, words):
    volume_id = volume_with(world, *words)
    message = world.client.fails('FAILED_PRECONDITION', 'NodeStageVolume', volume_id=volume_id,
                                 volume_capability=mount('ext4'),
                                 staging_target_path=str(world.kubelet.staging(volume_id)))
    assert 'superblock' in message and 'tune2fs' in message and 'is not allowed' in message
    # The way out that is told.
    subprocess.run(['tune2fs', '-E', 'mount_opts=', '-o', '^nobarrier,journal_data_ordered',
                    world.pool / 'volumes' / f'{volume_id}.img'], check=True, capture_output=True)
    world.kubelet.stage(volume_id, mount('ext4'))
    world.kubelet.unstage(volume_id)


@pytest.mark.parametrize('words, flags, effect', [
    (('-E', 'mount_opts=errors=panic'), [], 'errors=remount-ro'),
    (('-E', 'mount_opts=data=writeback'), ['data=ordered'], 'data=ordered'),
    (('-o', 'journal_data_writeback'), ['data=journal'], 'data=journal'),
    (('-E', 'mount_opts=barrier=0'), ['barrier'], 'barrier'), (('-o', 'nobarrier'), ['barrier=1'], 'barrier'),
])
def test_the_words_of_the_mount_come_after_the_superblocks(world, words, flags, effect):
    """Refused by what the superblock says, though nothing of it holds."""
    volume_id = volume_with(world, *words)
    world.kubelet.stage(volume_id, mount('ext4', flags=flags))
    (loop,) = world.loops()
    options = pathlib.Path(f'/proc/fs/ext4/{loop}/options').read_text(encoding='ascii').split()
    assert effect in options
    assert not {'nobarrier', 'errors=panic', 'data=writeback'} & set(options)
    world.kubelet.unstage(volume_id)


def test_a_raw_block_volume_does_not_become_a_filesystem(world):
    """What a pod wrote through a raw device is for no driver of the kernel: not by a clone, not by a snapshot, not by
    another mode at its stage. The sidecar knows it only of what it made itself."""
    client, raw = world.client, world.create('raw', 16 * MIB, block())
    image = world.pool / 'volumes' / f'{raw}.img'
    subprocess.run(['mke2fs', '-q', '-t', 'ext4', image], check=True)
    snapshot = client.CreateSnapshot(name='s', source_volume_id=raw).snapshot.snapshot_id
    sources = {'volume': source('volume', raw), 'snapshot': source('snapshot', snapshot)}
    for name, content in sources.items():
        fields = {'name': f'from-{name}', 'volume_capabilities': [mount('ext4')], 'volume_content_source': content}
        message = client.fails('INVALID_ARGUMENT', 'CreateVolume', **fields)
        assert 'is a raw block volume' in message and 'allowVolumeModeChange' in message
        # A tenant's class does not allow it, an administrator's does.
        allowed = {'allowVolumeModeChange': 'true'}
        client.fails('INVALID_ARGUMENT', 'CreateVolume', **fields, mutable_parameters=allowed)
        client.fails('INVALID_ARGUMENT', 'CreateVolume', **fields, parameters={'allowVolumeModeChange': 'yes'})
        made = client.CreateVolume(**fields, parameters=allowed).volume.volume_id
        world.kubelet.stage(made, mount('ext4'))
        world.kubelet.unstage(made)
        # As what it is.
        client.CreateVolume(name=f'raw-{name}', volume_capabilities=[block()], volume_content_source=content)
    client.fails('INVALID_ARGUMENT', 'ControllerModifyVolume', volume_id=raw, mutable_parameters=allowed)
    client.fails('FAILED_PRECONDITION', 'NodeStageVolume', volume_id=raw, volume_capability=mount('ext4'),
                 staging_target_path=str(world.kubelet.staging(raw)))


TENANTS = {
    'erofs': ['mkfs.erofs', '{image}', '{tree}'],
    'squashfs': ['mksquashfs', '{tree}', '{image}', '-quiet', '-noappend'],
    'vfat': ['mkfs.vfat', '{image}'],
    'f2fs': ['mkfs.f2fs', '-q', '-f', '{image}'],
}


def write(world, volume_id, image):
    """What the disk of a volume holds from now on."""
    path = world.pool / 'volumes' / f'{volume_id}.img'
    subprocess.run(['dd', f'if={image}', f'of={path}', 'bs=1M', 'conv=notrunc,sparse'], check=True,
                   capture_output=True)


def stage_fails(world, volume_id, capability):
    return world.client.fails('FAILED_PRECONDITION', 'NodeStageVolume', volume_id=volume_id,
                              volume_capability=capability,
                              staging_target_path=str(world.kubelet.staging(volume_id)))


@pytest.mark.parametrize('fstype', TENANTS)
def test_only_the_providers_filesystems_are_mounted(world, tmp_path, fstype):
    """Its list bound what was formatted: every other driver of the kernel read a tenant's disk."""
    image, tree = tmp_path / 'image', tmp_path / 'tree'
    tree.mkdir()
    (tree / 'file').write_bytes(b'content')
    with open(image, 'wb') as file:
        file.truncate(64 * MIB)
    subprocess.run([word.format(image=image, tree=tree) for word in TENANTS[fstype]], check=True, capture_output=True)
    volume_id = world.create('a', 64 * MIB, mount('ext4'))
    write(world, volume_id, image)
    for capability in (mount(fstype), mount(), csi.mount_capability('', csi.SINGLE_NODE_READER_ONLY),
                       csi.mount_capability(fstype, csi.SINGLE_NODE_READER_ONLY)):
        message = stage_fails(world, volume_id, capability)
        assert f'holds {fstype}, which volumes of this provider do not have' in message
        assert 'ext4, xfs, btrfs' in message
    assert world.loops() == []


@pytest.mark.parametrize('words', [['-t', 'ext2'], ['-t', 'ext3'], ['-t', 'ext4', '-O', '^has_journal']])
def test_what_the_driver_of_ext4_mounts_is_mounted(world, tmp_path, words):
    image = tmp_path / 'image'
    with open(image, 'wb') as file:
        file.truncate(16 * MIB)
    subprocess.run(['mke2fs', '-q', '-F', '-b', '4096', *words, image], check=True)
    volume_id = world.create('a', 16 * MIB, mount('ext4'))
    write(world, volume_id, image)
    world.kubelet.stage(volume_id, mount('ext4'))
    world.kubelet.unstage(volume_id)


def journalled(tmp_path, has_errors, other_words=''):
    """An ext4 whose superblock asks for nothing, and its journal holds another one that asks for much."""
    image, other, block0 = (tmp_path / name for name in ('image', 'other', 'block0'))
    with open(image, 'wb') as file:
        file.truncate(16 * MIB)
    subprocess.run(['mke2fs', '-q', '-F', '-t', 'ext4', '-b', '4096', '-J', 'size=4', image], check=True)
    other.write_bytes(image.read_bytes())
    subprocess.run(['tune2fs', '-E', 'mount_opts=data=writeback', '-o', 'nobarrier', '-e', 'panic', other],
                   check=True, capture_output=True)
    subprocess.run(['debugfs', '-w', '-f', '-', other], input=f'{other_words}feature needs_recovery\n', text=True,
                   check=True, capture_output=True)
    block0.write_bytes(other.read_bytes()[:4096])
    subprocess.run(['debugfs', '-w', '-f', '-', image], input=f'jo\njw -b 0 {block0}\njc\n', text=True, check=True,
                   capture_output=True)
    if has_errors:
        subprocess.run(['debugfs', '-w', '-R', 'ssv state 2', image], check=True, capture_output=True)
    shown = subprocess.run(['dumpe2fs', '-h', image], check=True, capture_output=True, text=True).stdout
    assert 'needs_recovery' in shown and 'nobarrier' not in shown and 'data=writeback' not in shown
    return image


def effects(world):
    (loop,) = world.loops()
    return set(pathlib.Path(f'/proc/fs/ext4/{loop}/options').read_text(encoding='ascii').split())


def test_what_a_check_replays_is_decided_on(world, tmp_path):
    """e2fsck, which is run because of the errors, brought the options back: they were looked at before it ran."""
    volume_id = world.create('a', 16 * MIB, mount('ext4'))
    write(world, volume_id, journalled(tmp_path, True))
    for _ in range(2):
        message = stage_fails(world, volume_id, mount('ext4'))
        assert 'superblock' in message and 'tune2fs' in message and 'is not allowed' in message
    assert world.loops() == []


def test_what_the_kernel_replays_is_decided_on(world, tmp_path):
    """The mount that replays has taken its options from the superblock that was looked at; the next looks anew."""
    volume_id = world.create('a', 16 * MIB, mount('ext4'))
    write(world, volume_id, journalled(tmp_path, False))
    world.kubelet.stage(volume_id, mount('ext4'))
    assert 'errors=remount-ro' in effects(world) and 'data=ordered' in effects(world)
    assert not {'nobarrier', 'errors=panic', 'data=writeback'} & effects(world)
    world.kubelet.unstage(volume_id)
    assert 'is not allowed' in stage_fails(world, volume_id, mount('ext4'))


def test_a_check_opens_no_other_disk(build, sandbox, tmp_path):
    """e2fsck replays, reads the superblock that it got by that, and opened the disk that this one has for a journal."""
    tools, said = tmp_path / 'tools', tmp_path / 'said'
    tools.mkdir()
    (tools / 'e2fsck').write_text(f'#!/bin/sh\nexec {shutil.which("e2fsck", path="/sbin:/usr/sbin")} "$@" 2>>{said}\n',
                                  encoding='ascii')
    (tools / 'e2fsck').chmod(0o755)
    world = World(build, sandbox, environment={'PATH': f'{tools}:{os.environ["PATH"]}'})
    # Whoever opens it for himself alone is told that it is busy.
    other = world.create('other', 16 * MIB, mount('ext4'))
    world.kubelet.stage(other, mount('ext4'))
    (loop,) = world.loops()
    device = os.stat(f'/dev/{loop}').st_rdev
    names_it = ['journal_inum 0', f'journal_dev {os.major(device) << 8 | os.minor(device):#x}', 'jnl_backup_type 0',
                'journal_uuid 12345678-1234-1234-1234-123456789abc', 'state 2']
    volume_id = world.create('a', 16 * MIB, mount('ext4'))
    write(world, volume_id, journalled(tmp_path, True, ''.join(f'ssv {one}\n' for one in names_it)))
    stage_fails(world, volume_id, mount('ext4'))
    text = said.read_text(encoding='utf-8')
    assert 'checking journal' in text and 'busy' not in text and 'denied' not in text, text
    world.kubelet.unstage(other)
    world.client.close()
    world.daemon.kill()


# --- what a field on a disk can make the kernel, or a tool, open: the table in docs/security.md ---

def poke(image, *pieces):
    with open(image, 'r+b') as file:
        for at, data in pieces:
            file.seek(at)
            file.write(data)


def mkfs(image, *words, size=64 * MIB):
    with open(image, 'wb') as file:
        file.truncate(size)
    subprocess.run([str(word) for word in words], check=True, capture_output=True)


def ext_journal_device(image):
    mkfs(image, 'mke2fs', '-q', '-F', '-t', 'ext4', image)
    subprocess.run(['debugfs', '-w', '-f', '-', image], text=True, check=True, capture_output=True,
                   input='ssv journal_inum 0\nssv journal_dev 0x700\n')


def ext_journal_path(image):
    mkfs(image, 'mke2fs', '-q', '-F', '-t', 'ext4', image)
    subprocess.run(['tune2fs', '-E', 'mount_opts=journal_path=/dev/loop0', image], check=True, capture_output=True)


def xfs_log(image):
    log = image.with_name('log')
    mkfs(log, 'true')
    mkfs(image, 'mkfs.xfs', '-q', '-f', '-l', f'logdev={log},size=64m', image, size=320 * MIB)


def xfs_realtime(image):
    device = image.with_name('rt')
    mkfs(device, 'true')
    mkfs(image, 'mkfs.xfs', '-q', '-f', '-r', f'rtdev={device}', image, size=320 * MIB)


def btrfs_devices(image):
    second = image.with_name('second')
    mkfs(second, 'true', size=128 * MIB)
    mkfs(image, 'mkfs.btrfs', '-q', '-f', '-d', 'single', '-m', 'single', image, second, size=128 * MIB)


def btrfs_seed(image):
    mkfs(image, 'mkfs.btrfs', '-q', '-f', image, size=128 * MIB)
    subprocess.run(['btrfstune', '-S', '1', image], check=True, capture_output=True)


def f2fs_devices(*copies):
    def make(image):
        mkfs(image, 'mkfs.f2fs', '-q', '-f', image)
        for copy in copies:
            poke(image, (copy + 0x899, b'/proc/self/fd/3'), (copy + 0x899 + 68, b'/dev/loop0'))
    return make


def f2fs_second(image):
    """The first is refused by kernel and tool, which take the second then."""
    f2fs_devices(0x1400)(image)
    poke(image, (0x400 + 0x30, struct.pack('<I', 1)))


def f2fs_unlike(image):
    mkfs(image, 'mkfs.f2fs', '-q', '-f', image)
    poke(image, (0x1400 + 0x4c, struct.pack('<I', 1024)))


def erofs_table(image):
    tree = image.with_name('tree')
    tree.mkdir()
    mkfs(image, 'mkfs.erofs', '-Enosbcrc', image, tree, size=0)
    os.truncate(image, MIB)
    # One slot, at 2048 bytes, of the tag /dev/loop0.
    poke(image, (1024 + 8, b'\0'), (1024 + 0x50, b'\x08'), (1024 + 0x56, struct.pack('<HH', 1, 16)),
         (2048, b'/dev/loop0'.ljust(64, b'\0') + struct.pack('<I', 256)))


NAMED = {'ext-journal-device': (ext_journal_device, 'rw', 'journal'), 'xfs-log': (xfs_log, 'ro', 'journal'),
         'xfs-realtime': (xfs_realtime, 'ro', 'realtime'), 'btrfs-devices': (btrfs_devices, 'ro', '2 devices'),
         'btrfs-seed': (btrfs_seed, 'rw', 'seed'), 'f2fs-devices': (f2fs_devices(0x400, 0x1400), 'ro', '2 devices'),
         'f2fs-copy': (f2fs_devices(0x1400), 'ro', '2 devices'), 'f2fs-second': (f2fs_second, 'ro', ''),
         'f2fs-unlike': (f2fs_unlike, 'ro', 'second superblock'), 'erofs-table': (erofs_table, 'ro', '2 devices')}


@pytest.mark.parametrize('name', NAMED)
def test_no_disk_names_another(build, tmp_path, name):
    """Linux 5.19 to 6.3 opens a path in an erofs, all versions one in an f2fs: another tenant's disk was read."""
    make, refused, word = NAMED[name]
    image = tmp_path / 'image'
    make(image)
    for kernel in ('6.1', '6.12'):
        done = subprocess.run([build / 'csi/berth-csi', 'fs', 'check', image, '--json', '--kernel', kernel],
                              capture_output=True, text=True, check=False)
        (verdict,) = json.loads(done.stdout)['verdicts']
        # "ro": not even to be read.
        assert verdict['answer'] in (['no'] if refused == 'ro' else ['ro', 'ro-norecovery', 'no']), verdict
        assert word in verdict['sentence']


@pytest.mark.parametrize('name', ['ext-journal-device', 'ext-journal-path', 'xfs-log', 'btrfs-devices'])
def test_no_disk_of_the_providers_types_names_another(world, tmp_path, name):
    image = tmp_path / 'image'
    (ext_journal_path if name == 'ext-journal-path' else NAMED[name][0])(image)
    volume_id = world.create('a', image.stat().st_size, mount('ext4'))
    write(world, volume_id, image)
    stage_fails(world, volume_id, mount())
    assert world.loops() == []
