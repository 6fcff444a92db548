# SPDX-License-Identifier: Apache-2.0
"""What a disk says that a tenant wrote: a raw block volume that is used as a filesystem later."""

import pathlib
import subprocess

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
