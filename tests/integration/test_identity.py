# SPDX-License-Identifier: Apache-2.0
"""From proof to mount a volume's disk is the one that was proven, however long the call waits and whoever acts
meanwhile: for the local pool's loop devices, and for a cloud's disk whose name is given to another one."""

import os
import pathlib
import re
import shutil
import subprocess

import csi
import disks
import grpc
import metadata
import pytest
from csi import until
from test_csi_local import MIB, World, block, mount

MODEL = 'Amazon Elastic Block Store'
DATA = b'another tenant' * 4096


@pytest.fixture(name='held')
def held_fixture(sandbox):
    return sandbox.path / 'held'


def fill_queue(client, held, stages):
    """As many formatters as run at once, each held in its mkfs."""
    n_running = len(os.sched_getaffinity(0))
    if n_running > 16:
        pytest.skip(f'{n_running} processors: the queue of formatters is too long to be filled')
    calls = [client.start('NodeStageVolume', **stages(i)) for i in range(n_running)]
    until(lambda: csi.n_called(held) == n_running)
    return calls


def write(path, data):
    with open(path, 'r+b') as file:
        file.write(data)
        os.fsync(file.fileno())


def read(path, n):
    with open(path, 'rb') as file:
        return file.read(n)


def hold(directory, tool):
    """A PATH in which the tool notes that it was called and waits for directory/go; n_called() counts."""
    directory.mkdir()
    script = directory / tool
    script.write_text(f'''#!/bin/sh
case "$*" in
*-V*) ;;
*) echo >> {directory}/called; until [ -e {directory}/go ]; do sleep 0.05; done ;;
esac
exec {shutil.which(tool)} "$@"
''')
    script.chmod(0o755)
    return {'PATH': f'{directory}:{os.environ["PATH"]}'}


def device_of_plan(world, volume_id, step):
    (loop,) = set(re.findall(rf'volume={volume_id} .*plan: {step}.* device=(/dev/loop\d+)', world.daemon.log()))
    return loop


def start_again(world, environment):
    world.client.close()
    world.daemon.stop()
    world.daemon.environment |= environment
    if '--log-level=debug' not in world.daemon.argv:
        world.daemon.argv.append('--log-level=debug')
    world.start()


def number_goes_to_another(world, loop):
    """Somebody takes the loop device away, another version or a person, and the next volume gets what is free."""
    subprocess.run(['losetup', '--detach', loop], check=False, capture_output=True)
    raw_id = world.create('r', 16 * MIB, block())
    world.kubelet.stage(raw_id, block())
    target = world.kubelet.publish(raw_id, world.kubelet.block_target('pod', raw_id), block())
    write(target, DATA)
    return target


def is_right_or_refused(stage, staging, target):
    """The call succeeded on its own disk, or said that it could not; the other one is as it was."""
    try:
        stage.result()
    except grpc.RpcError as failure:
        assert failure.code().name == 'UNAVAILABLE', failure.details()
    else:
        (mine,) = [line for line in pathlib.Path('/proc/self/mountinfo').read_text(encoding='utf-8').splitlines()
                   if f' {staging} ' in line]
        assert os.makedev(*map(int, mine.split()[2].split(':'))) != os.stat(target).st_rdev
    assert read(target, len(DATA)) == DATA


@pytest.fixture(name='world')
def world_fixture(build, sandbox):
    world = World(build, sandbox)
    yield world
    subprocess.run(['umount', '--recursive', str(world.root)], check=False, capture_output=True)
    world.client.close()
    world.daemon.kill()


def fields_of(world, volume_id):
    return {'volume_id': volume_id, 'volume_capability': mount('ext4'),
            'staging_target_path': str(world.kubelet.staging(volume_id))}


def test_local_number_goes_to_another_in_the_queue(world, held):
    """mkfs of A ran on R: A's loop device was free while A waited in the queue of formatters, and R got its number."""
    start_again(world, hold(held, 'mke2fs'))
    others = fill_queue(world.client, held, lambda i: fields_of(world, world.create(f'x{i}', 16 * MIB, mount())))
    volume_id = world.create('a', 16 * MIB, mount())
    stage = world.client.start('NodeStageVolume', **fields_of(world, volume_id))
    until(lambda: f'volume={volume_id} step=format' in world.daemon.log())
    target = number_goes_to_another(world, device_of_plan(world, volume_id, 'format'))
    (held / 'go').touch()
    for call in others:
        call.result()
    is_right_or_refused(stage, world.kubelet.staging(volume_id), target)


def test_local_number_goes_to_another_in_fsck(world, held):
    """The same while the volume's e2fsck runs: nobody had the device open."""
    volume_id = world.create('a', 16 * MIB, mount())
    world.client.NodeStageVolume(**fields_of(world, volume_id))
    world.kubelet.unstage(volume_id)
    subprocess.run(['debugfs', '-w', '-R', 'ssv state 2', str(world.pool / 'volumes' / f'{volume_id}.img')], check=True,
                   capture_output=True)
    start_again(world, hold(held, 'e2fsck'))
    stage = world.client.start('NodeStageVolume', **fields_of(world, volume_id))
    until(lambda: csi.n_called(held) == 1)
    target = number_goes_to_another(world, device_of_plan(world, volume_id, 'check'))
    (held / 'go').touch()
    is_right_or_refused(stage, world.kubelet.staging(volume_id), target)


@pytest.fixture(name='tree')
def tree_fixture(sandbox):
    tree = disks.Tree(sandbox)
    tree.dmi(sys_vendor='Amazon EC2', product_name='m6i.xlarge', product_uuid='ec2f1a2b-0000-4000-8000-000000000000',
             board_asset_tag='i-0a1b2c3d4e5f67890')
    tree.nvme('nvme0', 'vol0000000000000root', MODEL)
    return tree


def test_cloud_disk_is_swapped_behind_its_name(build, sandbox, tree, held):
    """/dev/nvme1n1 stands for another tenant's disk when mkfs of ours begins."""
    metadata.Aws().start()
    disk = tree.nvme('nvme1', 'vol0a1b2c3d4e5f67890', MODEL)
    other = tree.nvme('nvme2', 'vol0ffffffffffffffff', MODEL)
    write(other.loop, DATA)
    with disks.daemons(build, sandbox, tree) as make:
        daemon = make(provider='aws')
        daemon.environment |= hold(held, 'mke2fs')
        with daemon.start() as client:
            kubelet = disks.Kubelet(daemon, client, 'ebs.csi.aws.com', publish_context={'devicePath': '/dev/xvdaa'})
            fields = kubelet.stage_fields('vol-0a1b2c3d4e5f67890')
            stage = client.start('NodeStageVolume', **fields)
            until(lambda: csi.n_called(held) == 1)
            disk.make_node(other.devno)
            (held / 'go').touch()
            with pytest.raises(grpc.RpcError) as failure:
                stage.result()
            assert failure.value.code().name == 'UNAVAILABLE' and 'another device' in failure.value.details()
            assert read(other.loop, len(DATA)) == DATA and other.filesystem() == ''
            # Its own name again: the filesystem that was made is there.
            disk.make_node()
            kubelet.stage('vol-0a1b2c3d4e5f67890')
            kubelet.unstage('vol-0a1b2c3d4e5f67890')
    assert disk.filesystem() == 'ext4' and read(other.loop, len(DATA)) == DATA


def test_cloud_disk_is_swapped_behind_its_name_during_fsck(build, sandbox, tree, held):
    """e2fsck of ours checks what was proven, and not what /dev/nvme1n1 stands for when it opens it."""
    metadata.Aws().start()
    disk = tree.nvme('nvme1', 'vol0a1b2c3d4e5f67890', MODEL)
    other = tree.nvme('nvme2', 'vol0ffffffffffffffff', MODEL)
    for one in (disk, other):
        subprocess.run(['mke2fs', '-q', '-t', 'ext4', one.loop], check=True)
        subprocess.run(['debugfs', '-w', '-R', 'ssv state 2', one.loop], check=True, capture_output=True)
    before = read(other.loop, 4 * MIB)
    with disks.daemons(build, sandbox, tree) as make:
        daemon = make(provider='aws')
        daemon.environment |= hold(held, 'e2fsck')
        with daemon.start() as client:
            kubelet = disks.Kubelet(daemon, client, 'ebs.csi.aws.com', publish_context={'devicePath': '/dev/xvdaa'})
            stage = client.start('NodeStageVolume', **kubelet.stage_fields('vol-0a1b2c3d4e5f67890'))
            until(lambda: csi.n_called(held) == 1)
            disk.make_node(other.devno)
            (held / 'go').touch()
            with pytest.raises(grpc.RpcError) as failure:
                stage.result()
            assert failure.value.code().name == 'UNAVAILABLE' and 'another device' in failure.value.details()
            assert read(other.loop, 4 * MIB) == before
            assert 'clean' in subprocess.run(['dumpe2fs', '-h', disk.loop], check=True, capture_output=True,
                                             text=True).stdout
            disk.make_node()
            kubelet.stage('vol-0a1b2c3d4e5f67890')
            kubelet.unstage('vol-0a1b2c3d4e5f67890')
    assert read(other.loop, 4 * MIB) == before
