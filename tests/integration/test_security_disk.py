# SPDX-License-Identifier: Apache-2.0
"""What a disk says that a tenant wrote: a raw block volume that is used as a filesystem later."""

import pathlib
import subprocess

import pytest

from test_csi_local import MIB, World, mount


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
    ('-E', 'mount_opts=errors=panic'), ('-E', 'mount_opts=abort'), ('-E', 'mount_opts=data=writeback'),
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
