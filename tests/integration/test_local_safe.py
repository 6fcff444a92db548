# SPDX-License-Identifier: Apache-2.0
"""The local pool when others act meanwhile, and when the pool itself is full, read-only, gone or another one.

Each case lost data, or blocked a volume for ever, before. What must be true is looked at from outside: files of the
pool, loop devices, what lies on them.
"""

import concurrent.futures
import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import stat
import struct
import subprocess
import sys
import time

import csi
import pytest
import sandbox as sandbox_module
from test_csi_adversary import Stopper, exchange, outcome_of
from test_csi_local import MIB, XFS_IOC_GOINGDOWN, World, block, has_btrfs_twice, mount

LOOP_CLR_FD, LOOP_SET_STATUS64, LOOP_GET_STATUS64, LOOP_CHANGE_FD = 0x4C01, 0x4C04, 0x4C05, 0x4C06
BLKROSET = 0x125D


@pytest.fixture(name='world')
def world_fixture(build, sandbox):
    world = World(build, sandbox)
    yield world
    end(world)


def end(world):
    world.client.close()
    if world.daemon.process.poll() is None:
        world.daemon.kill()


# --- who else acts at this moment ---

def test_a_stage_that_waits_is_seen_by_the_controller(build, sandbox):
    """DeleteVolume answered OK while NodeStageVolume waited for its mkfs, which then ran on whoever got the number."""
    world = World(build, sandbox)
    held = sandbox.path / 'held'
    world.client.close()
    world.daemon.stop()
    world.daemon.environment |= csi.held_mkfs(held)
    world.start()
    client = world.client
    volume_id = world.create('a', 16 * MIB, mount())
    stage = client.start('NodeStageVolume', volume_id=volume_id, volume_capability=mount(),
                         staging_target_path=str(world.kubelet.staging(volume_id)))
    csi.until(lambda: csi.n_called(held))
    calls = {
        'DeleteVolume': {'volume_id': volume_id},
        'NodeExpandVolume': {'volume_id': volume_id, 'volume_path': str(world.kubelet.staging(volume_id)),
                             'capacity_range': {'required_bytes': 32 * MIB}},
        'ControllerModifyVolume': {'volume_id': volume_id, 'mutable_parameters': {'provisioning': 'thick'}},
        'CreateSnapshot': {'name': 's', 'source_volume_id': volume_id},
        'CreateVolume': {'name': 'b', 'volume_capabilities': [mount()], 'volume_content_source':
                         {'volume': {'volume_id': volume_id}}},
    }
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as workers:
        refused = [workers.submit(client.fails, 'ABORTED', method, **fields) for method, fields in calls.items()]
        for message in refused:
            assert volume_id in message.result()
    assert world.loops() and f'{volume_id}.img' in world.files()
    # One that comes shortly before the end waits for it.
    late = client.start('ControllerModifyVolume', volume_id=volume_id, mutable_parameters={'provisioning': 'thin'})
    (held / 'go').touch()
    stage.result()
    late.result()
    world.kubelet.unstage(volume_id)
    client.DeleteVolume(volume_id=volume_id)
    assert world.files() == []
    end(world)


def together(client, calls):
    """What each of these is told, asked at once: they wait as long as a call waits for another on its volume."""
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as workers:
        refused = [workers.submit(client.fails, 'ABORTED', method, **fields) for method, fields in calls]
        return [one.result() for one in refused]


def test_a_group_snapshot_holds_its_members(build, sandbox):
    """Cut, and not on disk yet: nobody deletes, grows, changes or stages a member, or unstages a staged one."""
    place = sandbox.mounted(sandbox.loop(512 * MIB, ['mkfs.xfs', '-q']), 'xfs')
    world = pool_world(build, sandbox, place)
    client, kubelet = world.client, world.kubelet
    mounted, idle, other = (world.create(name, 32 * MIB, mount()) for name in ('mounted', 'idle', 'other'))
    kubelet.stage(mounted, mount())
    # Of three files of metadata, then of the first member's data.
    stopper = Stopper(pathlib.Path(build), world.daemon.process.pid, 4, ['fchmod'])
    call = client.start('CreateVolumeGroupSnapshot', name='g', source_volume_ids=[mounted, idle])
    assert stopper.held(call)
    calls = [('NodeStageVolume', {'volume_id': idle, 'volume_capability': mount(),
                                  'staging_target_path': str(kubelet.staging(idle))}),
             ('NodeUnstageVolume', {'volume_id': mounted, 'staging_target_path': str(kubelet.staging(mounted))})]
    for volume_id in (mounted, idle):
        calls += [('DeleteVolume', {'volume_id': volume_id}),
                  ('NodeExpandVolume', {'volume_id': volume_id, 'volume_path': str(kubelet.staging(volume_id)),
                                        'capacity_range': {'required_bytes': 64 * MIB}}),
                  ('ControllerModifyVolume', {'volume_id': volume_id,
                                              'mutable_parameters': {'provisioning': 'thick'}})]
    for message, (_, fields) in zip(together(client, calls), calls):
        assert fields['volume_id'] in message
    # Whatever is not in it goes on, and its writers do.
    (kubelet.staging(mounted) / 'file').write_text('written meanwhile', encoding='utf-8')
    kubelet.stage(other, mount())
    kubelet.unstage(other)
    stopper.end()
    group = call.result().group_snapshot
    assert group.ready_to_use and {s.source_volume_id for s in group.snapshots} == {mounted, idle}
    kubelet.unstage(mounted)
    client.DeleteVolumeGroupSnapshot(group_snapshot_id=group.group_snapshot_id,
                                     snapshot_ids=[s.snapshot_id for s in group.snapshots])
    for volume_id in (mounted, idle, other):
        client.DeleteVolume(volume_id=volume_id)
    assert world.files() == []
    end(world)


def test_a_stage_that_waits_is_seen_by_a_group_snapshot(build, sandbox):
    """Nothing is left of the group whose second member is held, and the first is free again."""
    place = sandbox.mounted(sandbox.loop(512 * MIB, ['mkfs.xfs', '-q']), 'xfs')
    world = pool_world(build, sandbox, place)
    held = sandbox.path / 'held'
    world.client.close()
    world.daemon.stop()
    world.daemon.environment |= csi.held_mkfs(held)
    world.start()
    first, second = (world.create(name, 32 * MIB, mount()) for name in ('first', 'second'))
    before = world.files()
    stage = world.client.start('NodeStageVolume', volume_id=second, volume_capability=mount(),
                               staging_target_path=str(world.kubelet.staging(second)))
    csi.until(lambda: csi.n_called(held))
    fields = {'name': 'g', 'source_volume_ids': [first, second]}
    assert second in world.client.fails('ABORTED', 'CreateVolumeGroupSnapshot', **fields)
    assert world.files() == before
    world.client.ControllerModifyVolume(volume_id=first, mutable_parameters={'provisioning': 'thick'})
    (held / 'go').touch()
    stage.result()
    assert world.client.CreateVolumeGroupSnapshot(**fields).group_snapshot.ready_to_use
    end(world)


# --- loop devices ---

def attach_ioctl(path, request, argument=0):
    """As a pod can: without a privilege that matters to these requests."""
    fd = os.open(path, os.O_RDWR)
    try:
        return fcntl.ioctl(fd, request, argument)
    finally:
        os.close(fd)


def raw(world, name, size=16 * MIB, readonly=False):
    """A raw block volume, staged and published: its id, staging path and target."""
    volume_id = world.create(name, size, block())
    staging = world.kubelet.block_staging(name)
    world.kubelet.stage(volume_id, block(), staging)
    target = world.kubelet.publish(volume_id, world.kubelet.block_target('pod', name), block(), staging,
                                   readonly=readonly)
    return volume_id, staging, target


def put(path, text):
    fd = os.open(path, os.O_WRONLY | os.O_SYNC)
    try:
        os.write(fd, text.ljust(4096, b'.'))
    finally:
        os.close(fd)


def image(world, volume_id):
    return world.pool / 'volumes' / f'{volume_id}.img'


def test_what_is_made_again_is_there(build, sandbox):
    """A repeated create was answered with a volume or snapshot whose data somebody had removed."""
    world = pool_world(build, sandbox, sandbox.mounted(sandbox.loop(512 * MIB, ['mkfs.xfs', '-q']), 'xfs'))
    client = world.client
    volume_id = world.create('a', 16 * MIB, mount())
    fields = {'name': 's', 'source_volume_id': volume_id}
    group = {'name': 'g', 'source_volume_ids': [volume_id]}
    snapshot = client.CreateSnapshot(**fields).snapshot.snapshot_id
    members = client.CreateVolumeGroupSnapshot(**group).group_snapshot.snapshots
    assert world.create('a', 16 * MIB, mount()) == volume_id
    assert client.CreateSnapshot(**fields).snapshot.snapshot_id == snapshot
    assert client.CreateVolumeGroupSnapshot(**group).group_snapshot.snapshots == members
    directory = world.pool / 'snapshots'
    for name in (snapshot, members[0].snapshot_id):
        (directory / f'{name}.img').unlink()
    assert 'is gone' in client.fails('FAILED_PRECONDITION', 'CreateSnapshot', **fields)
    assert 'is gone' in client.fails('FAILED_PRECONDITION', 'CreateVolumeGroupSnapshot', **group)
    image(world, volume_id).unlink()
    with pytest.raises(csi.Failure, match='FAILED_PRECONDITION.*is gone'):
        world.create('a', 16 * MIB, mount())
    client.DeleteSnapshot(snapshot_id=snapshot)
    client.DeleteVolume(volume_id=volume_id)


def test_the_same_name_for_another_layout(world):
    """A volume was answered with what it is to grow to by the second request, and formatted by the first's."""
    key = 'berth.dev/fs-grow-to'
    fields = {'capacity_range': {'required_bytes': 64 * MIB}, 'volume_capabilities': [mount()]}
    for name, parameters in (('a', {key: '1Ti'}), ('b', {})):
        made = [world.client.CreateVolume(name=name, parameters=parameters, **fields).volume for _ in range(2)]
        assert made[0] == made[1] and csi.pairs(made[0].volume_context) == parameters
        world.restart()
        for other in ({key: '2Ti'}, {}, {key: '1Ti', 'berth.dev/fs-min-kernel': '5.4'}):
            if other != parameters:
                assert key in world.client.fails('ALREADY_EXISTS', 'CreateVolume', name=name, parameters=other,
                                                 **fields)
        # Of release 0.1.0, which did not note it.
        path = world.pool / 'volumes' / f'{made[0].volume_id}.json'
        note = json.loads(path.read_text(encoding='utf-8'))
        del note['context']
        path.write_text(json.dumps(note), encoding='utf-8')
        world.restart()
        assert world.client.CreateVolume(name=name, parameters={key: '2Ti'}, **fields).volume.volume_id


def test_a_pool_under_another_node_name(world):
    """The node was renamed, or its disk moved: what is there works by its id, and says where it is."""
    capability = mount()
    volume_id = world.create('a', 16 * MIB, capability)
    world.kubelet.stage(volume_id, capability)
    (world.kubelet.staging(volume_id) / 'file').write_text('kept')
    world.kubelet.unstage(volume_id)
    snapshot = world.client.CreateSnapshot(name='s', source_volume_id=volume_id).snapshot.snapshot_id
    before = world.client.NodeGetInfo().node_id
    world.daemon.argv = [word.replace(f'--node-name={before}', '--node-name=renamed') for word in world.daemon.argv]
    world.restart()
    assert world.client.NodeGetInfo().node_id == 'renamed'
    (entry,) = world.client.ListVolumes().entries
    assert entry.volume.volume_id == volume_id and 'renamed' in str(entry.volume.accessible_topology)
    world.kubelet.stage(volume_id, capability)
    assert (world.kubelet.staging(volume_id) / 'file').read_text() == 'kept'
    world.kubelet.unstage(volume_id)
    restored = world.create('b', 16 * MIB, capability, volume_content_source={'snapshot': {'snapshot_id': snapshot}})
    # The name of a request is the node's: asked for again it is another volume.
    assert world.create('a', 16 * MIB, capability) != volume_id
    world.client.DeleteSnapshot(snapshot_id=snapshot)
    for one in (volume_id, restored):
        world.client.DeleteVolume(volume_id=one)


def test_delete_says_who_has_it(world):
    """A pod's mount, one of a subdirectory that kubelet left behind, and a raw block device."""
    capability = mount()
    volume_id = world.create('a', 16 * MIB, capability)
    world.kubelet.stage(volume_id, capability)
    staging = world.kubelet.staging(volume_id)

    def holder():
        return world.client.fails('FAILED_PRECONDITION', 'DeleteVolume', volume_id=volume_id)

    assert f'mounted at {staging}' in holder()
    (staging / 'sub').mkdir()
    left = world.root / 'pods/p/volume-subpaths/pv/c/0'
    left.mkdir(parents=True)
    subprocess.run(['mount', '--bind', staging / 'sub', left], check=True)
    sandbox_module.umount(staging)
    assert f'mounted at {left}' in holder()
    sandbox_module.umount(left)
    world.client.DeleteVolume(volume_id=volume_id)
    volume_id, _, target = raw(world, 'b')
    assert f'raw block device at {target}' in holder()


@pytest.mark.parametrize('header,group', ((1, 0), (1, 3), (2, 0), (2, 3)))
def test_a_damaged_xfs_is_not_the_disks_fault(world, header, group):
    """EIO of a driver that shut a damaged filesystem down was told as a disk that cannot be read, to be tried again."""
    capability = mount('xfs')
    volume_id = world.create('a', 320 * MIB, capability)
    world.kubelet.stage(volume_id, capability)
    world.kubelet.unstage(volume_id)
    with open(image(world, volume_id), 'r+b') as file:
        superblock = file.read(512)
        block_bytes, group_blocks = (int.from_bytes(superblock[at:at + 4], 'big') for at in (4, 0x54))
        at = group * block_bytes * group_blocks + header * int.from_bytes(superblock[0x66:0x68], 'big')
        file.seek(at + 20)
        file.write(bytes([255]) * 40)
    message = world.client.fails('FAILED_PRECONDITION', 'NodeStageVolume', volume_id=volume_id,
                                 volume_capability=capability,
                                 staging_target_path=str(world.kubelet.staging(volume_id)))
    print(message)
    if header == 1:
        assert f'damaged (the AGF of allocation group {group})' in message and 'xfs_repair' in message
    assert 'could not be read or written' not in message


def test_a_clone_that_becomes_thick_keeps_its_room(build, sandbox):
    """The blocks that it shares with its source were its own from then on: a write to one found no room."""
    place = sandbox.mounted(sandbox.loop(512 * MIB, ['mkfs.xfs', '-q']), 'xfs')
    world = pool_world(build, sandbox, place, ['--pool-reserve=0', '--pool-overcommit=400'])

    def room():
        return world.client.GetCapacity(parameters={'provisioning': 'thick'}).available_capacity

    source = world.create('a', 64 * MIB, block())
    image(world, source).write_bytes(os.urandom(64 * MIB))
    clone = world.create('b', 64 * MIB, block(), volume_content_source={'volume': {'volume_id': source}})
    before = room()
    world.client.ControllerModifyVolume(volume_id=clone, mutable_parameters={'provisioning': 'thick'})
    # What has been given back is what others have: nothing.
    assert abs(room() - before) < MIB
    world.restart()
    assert abs(room() - before) < MIB
    with open(image(world, clone), 'r+b') as file:
        file.write(os.urandom(64 * MIB))
    subprocess.run(['sync', '--file-system', place], check=True)
    # Now it has them.
    assert abs(room() - before) < 2 * MIB
    end(world)


def test_the_staging_path_of_another_volume(world):
    """Publish there gave one tenant's data to the other's pod, and unstage unmounted it."""
    client = world.client
    a, b = (world.create(name, 64 * MIB, mount()) for name in 'ab')
    for volume_id in (a, b):
        world.kubelet.stage(volume_id, mount())
    wrong = str(world.kubelet.staging(a))
    target = world.kubelet.root / 'pods/p/volumes/kubernetes.io~csi/b/mount'
    target.parent.mkdir(parents=True)
    for method, fields in (('NodePublishVolume', {'target_path': str(target), 'volume_capability': mount()}),
                           ('NodeUnstageVolume', {})):
        message = client.fails('FAILED_PRECONDITION', method, volume_id=b, staging_target_path=wrong, **fields)
        assert 'another volume' in message and wrong in message
    assert os.path.ismount(wrong) and not os.path.ismount(target)
    world.kubelet.publish(a, target, mount())
    assert 'another volume' in client.fails('FAILED_PRECONDITION', 'NodeUnpublishVolume', volume_id=b,
                                            target_path=str(target))
    assert os.path.ismount(target)
    world.kubelet.unpublish(a, target)
    for volume_id in (a, b):
        world.kubelet.unstage(volume_id)
        client.DeleteVolume(volume_id=volume_id)
    assert not world.loops()


def test_the_raw_target_of_another_volume(world):
    a, b = (world.create(name, 16 * MIB, block()) for name in 'ab')
    for volume_id in (a, b):
        world.kubelet.stage(volume_id, block())
    target = world.kubelet.publish(a, world.kubelet.block_target('p', a), block())
    assert 'another volume' in world.client.fails('FAILED_PRECONDITION', 'NodeUnpublishVolume', volume_id=b,
                                                  target_path=str(target))
    assert os.path.ismount(target)
    world.kubelet.unpublish(a, target)


def test_a_raw_target_whose_number_is_anothers(world):
    """The number was free while the plugin was away. Refusing kept the pod for ever."""
    a, b = (world.create(name, 16 * MIB, block()) for name in 'ab')
    world.kubelet.stage(a, block())
    target = world.kubelet.publish(a, world.kubelet.block_target('p', a), block())
    (loop,) = world.loops()
    device = f'/dev/{pathlib.Path(str(loop)).name}'
    world.client.close()
    world.daemon.kill()
    subprocess.run(['losetup', '-d', device], check=True)
    # Somebody else's test may be quicker, and has a volume there as well.
    subprocess.run(['losetup', device, image(world, b)], check=False, capture_output=True)
    world.start()
    world.kubelet.unpublish(a, target)
    assert not os.path.lexists(target)
    world.kubelet.unstage(a)
    subprocess.run(['losetup', '-d', device], check=False, capture_output=True)


def test_unstage_of_a_published_raw_block_volume(world):
    """Its loop device was detached, and the pod's next write was in the volume that got the number."""
    first, staging, target = raw(world, 'a')
    world.kubelet.unstage(first, staging)
    second, _, _ = raw(world, 'b')
    assert len(world.loops()) == 2
    put(target, b'first')
    assert image(world, first).read_bytes()[:5] == b'first'
    assert image(world, second).read_bytes().strip(b'\0') == b''
    world.kubelet.unpublish(first, target)
    world.kubelet.unstage(first, staging)
    csi.until(lambda: len(world.loops()) == 1)


def test_a_missing_node_is_no_missing_volume(build, sandbox, disk):
    """ENOENT of /dev/loopN was NOT_FOUND, which a provisioner takes for the end of the volume."""
    world = pool_world(build, sandbox, disk[1])
    volume_id, staging, target = raw(world, 'a')
    (name,) = world.loops()
    nodes = [(entry.path, entry.stat(follow_symlinks=False)) for entry in os.scandir('/dev')]
    sandbox_module.mount('tmpfs', '/dev', 'tmpfs')
    for path, status in nodes:
        if (stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode)) and not path.endswith(f'/{name}'):
            os.mknod(path, status.st_mode, status.st_rdev)
    for method, fields in (('DeleteVolume', {}), ('CreateSnapshot', {}), ('NodeStageVolume', {
            'staging_target_path': str(staging), 'volume_capability': block()})):
        fields |= {'name': 's', 'source_volume_id': volume_id} if method == 'CreateSnapshot' else {
            'volume_id': volume_id}
        assert 'no such node' in world.client.fails('UNAVAILABLE', method, **fields)
    sandbox_module.umount('/dev')
    world.kubelet.unpublish(volume_id, target)
    world.kubelet.unstage(volume_id, staging)
    world.client.DeleteVolume(volume_id=volume_id)
    end(world)


@pytest.mark.parametrize('alive', (True, False))
def test_a_pod_detaches_its_loop_device(world, alive):
    """LOOP_CLR_FD needs no privilege. Its number went to the next volume, which the pod then read and wrote."""
    first, staging, target = raw(world, 'a')
    number = os.minor(os.stat(target).st_rdev)
    if not alive:
        world.client.close()
        world.daemon.kill()
    attach_ioctl(target, LOOP_CLR_FD)
    if not alive:
        csi.until(lambda: not world.loops())
        world.start()
    others = [raw(world, f'b{n}') for n in range(3)]
    for _, _, other in others:
        assert os.minor(os.stat(other).st_rdev) != number
    if alive:
        put(target, b'mine')
        assert image(world, first).read_bytes()[:4] == b'mine'
    else:
        # Whose it is now, if anybody's, is another process's of this machine: nothing is written there.
        assert f'loop{number}' not in world.loops()
    for volume_id, _, _ in others:
        assert image(world, volume_id).read_bytes().strip(b'\0') == b''
    world.kubelet.unpublish(first, target)
    world.kubelet.unstage(first, staging)
    csi.until(lambda: len(world.loops()) == 3)
    # A second turn as if nothing had been.
    world.kubelet.stage(first, block(), staging)
    world.kubelet.publish(first, target, block(), staging)
    put(target, b'again')
    assert image(world, first).read_bytes()[:5] == b'again'


def test_a_pod_shifts_its_loop_device(world):
    """With an offset the device was not known as the volume's any more: attached twice, and deleted while in use."""
    volume_id, staging, target = raw(world, 'a')
    fd = os.open(target, os.O_RDWR)
    info = bytearray(232)
    fcntl.ioctl(fd, LOOP_GET_STATUS64, info)
    info[24:32] = (MIB).to_bytes(8, sys.byteorder)
    info[56:120] = b'x' * 64
    fcntl.ioctl(fd, LOOP_SET_STATUS64, bytes(info))
    os.close(fd)
    assert 'in use' in world.client.fails('FAILED_PRECONDITION', 'DeleteVolume', volume_id=volume_id)
    world.kubelet.publish(volume_id, target, block(), staging)
    assert len(world.loops()) == 1
    put(target, b'start')
    assert image(world, volume_id).read_bytes()[:5] == b'start'


@pytest.mark.parametrize('how', ('alive', 'restarted', 'tag', 'size'))
def test_a_pod_puts_its_own_file_behind_its_loop_device(world, sandbox, how):
    """LOOP_CHANGE_FD, of a device that is read-only: whoever shares it read the pod's file, and the device, with that
    file, stayed when the volume was gone."""
    volume_id, staging, target = raw(world, 'a', readonly=True)
    image(world, volume_id).write_bytes(b'good' * 4 * MIB)
    (name,) = world.loops()
    other = world.kubelet.publish(volume_id, world.kubelet.block_target('other', 'a'), block(), staging, readonly=True)
    own = sandbox.path / 'own'
    own.write_bytes(b'evil' * 4 * MIB)
    fd, own_fd = os.open(target, os.O_RDONLY), os.open(own, os.O_RDWR)
    fcntl.ioctl(fd, LOOP_CHANGE_FD, own_fd)
    if how == 'tag':
        info = bytearray(232)
        fcntl.ioctl(fd, LOOP_GET_STATUS64, info)
        info[56:120] = b'x' * 64
        fcntl.ioctl(fd, LOOP_SET_STATUS64, bytes(info))
    if how == 'size':
        os.truncate(own, MIB)
    os.close(own_fd)
    os.close(fd)
    if how == 'restarted':
        world.restart()
    assert 'in use' in world.client.fails('FAILED_PRECONDITION', 'DeleteVolume', volume_id=volume_id)
    if how in ('restarted', 'size'):
        # It is not, or cannot be, put back, and goes with its users.
        assert 'stop its user' in world.client.fails(
            'FAILED_PRECONDITION', 'NodePublishVolume', volume_id=volume_id, target_path=str(other), readonly=True,
            staging_target_path=str(staging), volume_capability=block())
    else:
        world.kubelet.publish(volume_id, other, block(), staging, readonly=True)
        assert world.loops() == [name] and pathlib.Path(other).read_bytes()[:4] == b'good'
    for path in (target, other):
        world.kubelet.unpublish(volume_id, path)
    world.kubelet.unstage(volume_id, staging)
    csi.until(lambda: sandbox_module.backing_file(name) not in (str(own), str(image(world, volume_id))))
    world.client.DeleteVolume(volume_id=volume_id)


def test_read_only_raw_block(world):
    """The node of a volume published read-only could be written by whoever got it."""
    volume_id, staging, target = raw(world, 'a', readonly=True)
    with pytest.raises(OSError):
        put(target, b'x')
    # A writer would need the same device.
    other = world.kubelet.block_target('other', 'a')
    message = world.client.fails('FAILED_PRECONDITION', 'NodePublishVolume', volume_id=volume_id,
                                 target_path=str(other), staging_target_path=str(staging),
                                 volume_capability=block())
    assert 'read-only' in message
    world.kubelet.unpublish(volume_id, target)
    world.kubelet.publish(volume_id, target, block(), staging)
    put(target, b'written')
    # Where somebody writes, a reader shares the device.
    world.kubelet.publish(volume_id, other, block(), staging, readonly=True)
    assert os.stat(other).st_rdev == os.stat(target).st_rdev
    # One that comes after all of them has its own, which refuses writes, although it is staged for writing.
    for path in (target, other):
        world.kubelet.unpublish(volume_id, path)
    world.kubelet.publish(volume_id, other, block(), staging, readonly=True)
    with pytest.raises(OSError):
        put(other, b'x')
    assert image(world, volume_id).read_bytes()[:7] == b'written'
    # One that comes after the writer of a reader who is there still shares what the writer had, and so on.
    world.kubelet.unpublish(volume_id, other)
    for path, readonly in ((target, False), (other, True)):
        world.kubelet.publish(volume_id, path, block(), staging, readonly=readonly)
    world.kubelet.unpublish(volume_id, target)
    world.kubelet.publish(volume_id, target, block(), staging, readonly=True)
    assert os.stat(other).st_rdev == os.stat(target).st_rdev
    for path in (target, other):
        world.kubelet.unpublish(volume_id, path)
    # A writer's process that outlives its pod for a moment keeps its own device, which nobody else gets.
    world.kubelet.publish(volume_id, target, block(), staging)
    (name,) = world.loops()
    with open(f'/dev/{name}', 'r+b', buffering=0):
        world.kubelet.unpublish(volume_id, target)
        message = world.client.fails('ABORTED', 'NodePublishVolume', volume_id=volume_id, readonly=True,
                                     target_path=str(target), staging_target_path=str(staging),
                                     volume_capability=block())
        assert 'somebody still has' in message and name in message
    world.kubelet.publish(volume_id, target, block(), staging, readonly=True)
    with pytest.raises(OSError):
        put(target, b'x')


def test_what_a_number_remembers(build, sandbox, disk):
    """Read-only, without discards, with a large read-ahead: that outlived the file and met the next volume."""
    def queue(name, attribute):
        return int((pathlib.Path('/sys/block') / name / 'queue' / attribute).read_text(encoding='ascii'))

    world = pool_world(build, sandbox, disk[1])
    thick = world.create('thick', 16 * MIB, mount(), parameters={'provisioning': 'thick'})
    world.kubelet.stage(thick, mount())
    (name,) = world.loops()
    assert queue(name, 'discard_max_bytes') == 0
    # Without flushes an fsync() in a pod leaves its bytes in the node's memory.
    cache = pathlib.Path('/sys/block') / name / 'queue/write_cache'
    assert cache.read_text(encoding='ascii') == 'write back\n'
    cache.write_text('write through', encoding='ascii')
    world.kubelet.stage(thick, mount())
    assert cache.read_text(encoding='ascii') == 'write back\n'
    cache.write_text('write through', encoding='ascii')
    before = image(world, thick).stat().st_blocks
    subprocess.run(['fstrim', world.kubelet.staging(thick)], check=False, capture_output=True)
    assert image(world, thick).stat().st_blocks == before
    attach_ioctl(f'/dev/{name}', BLKROSET, (1).to_bytes(4, sys.byteorder))
    (pathlib.Path('/sys/block') / name / 'queue/read_ahead_kb').write_text('4096', encoding='ascii')
    world.kubelet.unstage(thick)
    csi.until(lambda: not world.loops())
    # Put back for whoever is next, also for others, who may have removed the number since.
    with contextlib.suppress(FileNotFoundError):
        assert queue(name, 'read_ahead_kb') < 4096
    thin = world.create('thin', 16 * MIB, mount())
    world.kubelet.stage(thin, mount())
    (name,) = world.loops()
    assert (pathlib.Path('/sys/block') / name / 'queue/write_cache').read_text(encoding='ascii') == 'write back\n'
    assert queue(name, 'discard_max_bytes') > queue(name, 'discard_max_hw_bytes') - MIB
    (world.kubelet.staging(thin) / 'file').write_text('written', encoding='ascii')
    end(world)


@pytest.mark.parametrize('how', ('renamed', 'removed', 'replaced'))
def test_the_file_of_a_volume_in_use_loses_its_name(world, how):
    """The loop device was looked up by the file's name, and stayed for ever."""
    volume_id = world.create('a', 16 * MIB, mount())
    path = image(world, volume_id)
    world.kubelet.stage(volume_id, mount())
    if how == 'renamed':
        path.rename(path.with_suffix('.old'))
    else:
        path.unlink()
    if how == 'replaced':
        path.write_bytes(bytes(16 * MIB))
        world.client.fails('FAILED_PRECONDITION', 'DeleteVolume', volume_id=volume_id)
    (name,) = all_loops(world)
    world.restart()
    world.kubelet.unstage(volume_id)
    csi.until(lambda: not all_loops(world))
    assert name
    world.client.DeleteVolume(volume_id=volume_id)


@pytest.mark.parametrize('how', ('renamed', 'removed', 'replaced', 'published'))
def test_what_is_in_use_is_not_what_has_the_name(build, sandbox, disk, how):
    """Snapshots and clones had the data of the file by that name, growth went there, and nobody said a word."""
    world = pool_world(build, sandbox, disk[1])
    client, capability = world.client, block() if how == 'published' else mount()
    volume_id = world.create('a', 16 * MIB, capability)
    path, target = image(world, volume_id), world.kubelet.block_target('p', 'a')
    if how == 'published':
        world.kubelet.publish(volume_id, target, capability, world.kubelet.block_staging('a'))
    else:
        world.kubelet.stage(volume_id, capability)
        target = world.kubelet.publish(volume_id, world.kubelet.target('p', 'a'), capability)

    def condition():
        return client.NodeGetVolumeStats(volume_id=volume_id, volume_path=str(target)).volume_condition

    assert not condition().abnormal
    if how in ('replaced', 'published'):
        shutil.copyfile(path, path.with_suffix('.new'))
        path.with_suffix('.new').rename(path)
    elif how == 'renamed':
        path.rename(path.with_suffix('.old'))
    else:
        path.unlink()
    origin, files = {'volume': {'volume_id': volume_id}}, world.files()
    for method, fields in (('CreateSnapshot', {'source_volume_id': volume_id, 'name': 's'}),
                           ('CreateVolume', {'name': 'clone', 'volume_capabilities': [capability],
                                             'volume_content_source': origin}),
                           ('NodeExpandVolume', {'volume_id': volume_id, 'volume_path': str(target),
                                                 'capacity_range': {'required_bytes': 32 * MIB}})):
        assert 'removed or replaced while in use' in client.fails('FAILED_PRECONDITION', method, **fields)
    assert world.files() == files
    for _ in range(2):
        assert condition().abnormal and 'copy the data out' in condition().message
        status = client.ControllerGetVolume(volume_id=volume_id).status
        assert status.volume_condition.abnormal
        world.restart()
        client = world.client
    world.kubelet.unpublish(volume_id, target)
    end(world)


def all_loops(world):
    """Also of files that have no name any more."""
    found = []
    for entry in pathlib.Path('/sys/block').glob('loop*'):
        with contextlib.suppress(OSError):
            if (entry / 'loop/backing_file').read_text(encoding='utf-8').startswith(str(world.pool)):
                found.append(entry.name)
    return found


def test_a_number_that_btrfs_remembers(world, sandbox):
    """The number had a part of another btrfs once: the mount of a clone beside its original failed, for ever."""
    if not has_btrfs_twice():
        return
    origin = world.create('a', 256 * MIB, mount('btrfs'))
    world.kubelet.stage(origin, mount('btrfs'))
    clone = world.create('b', 256 * MIB, mount('btrfs'),
                         volume_content_source={'volume': {'volume_id': origin}})
    parts = [sandbox.path / name for name in ('one', 'two')]
    for part in parts:
        part.touch()
        os.truncate(part, 256 * MIB)
    subprocess.run(['mkfs.btrfs', '--quiet', *parts], check=True)
    device = subprocess.run(['losetup', '--find', '--show', parts[0]], check=True, capture_output=True,
                            text=True).stdout.strip()
    place = sandbox.path / 'place'
    place.mkdir()
    try:
        subprocess.run(['btrfs', 'device', 'scan', device], check=True, capture_output=True)
        subprocess.run(['mount', '-o', 'degraded,ro', device, place], check=True)
        subprocess.run(['umount', place], check=True)
        subprocess.run(['losetup', '--detach', device], check=True)
        world.kubelet.stage(clone, mount('btrfs'))
        world.kubelet.unstage(clone)
    finally:
        subprocess.run(['btrfs', 'device', 'scan', '--forget', device], check=False, capture_output=True)


def backing_file(name):
    return pathlib.Path(f'/sys/block/{name}/loop/backing_file').read_text(encoding='utf-8')


def test_somebody_elses_loop_device_on_our_file(world):
    """Two writers that know nothing of each other."""
    volume_id = world.create('a', 16 * MIB, mount())
    device = subprocess.run(['losetup', '--find', '--show', '--offset=4096', image(world, volume_id)], check=True,
                            capture_output=True, text=True).stdout.strip()
    message = world.client.fails('FAILED_PRECONDITION', 'NodeStageVolume', volume_id=volume_id,
                                 volume_capability=mount(),
                                 staging_target_path=str(world.kubelet.staging(volume_id)))
    assert device in message
    subprocess.run(['losetup', '-d', device], check=True)
    # Whoever looks at it meanwhile, another test's daemon too, keeps it that long.
    csi.until(lambda: not pathlib.Path(f'/sys/block/{device[5:]}/loop').exists())
    world.kubelet.stage(volume_id, mount())


def without_tag(device):
    """As release 0.1.0 made them: LOOP_SET_STATUS64 with an empty lo_file_name."""
    with open(device, 'rb') as file:
        info = bytearray(fcntl.ioctl(file, 0x4c05, bytes(232)))
        info[56:120] = bytes(64)
        fcntl.ioctl(file, 0x4c04, bytes(info))


@pytest.mark.parametrize('tag', ('losetup', 'none'))
def test_a_look_at_the_whole_file_stays(world, tag):
    """An administrator's loop device was detached at the next start, and its number went to a tenant."""
    volume_id = world.create('a', 32 * MIB, mount())
    world.kubelet.stage(volume_id, mount())
    world.kubelet.unstage(volume_id)
    device = subprocess.run(['losetup', '--find', '--show', image(world, volume_id)], check=True, capture_output=True,
                            text=True).stdout.strip()
    if tag == 'none':
        without_tag(device)
    world.restart()
    csi.until(lambda: f'its data file is on {device}, which is not of our making' in world.daemon.log())
    assert all_loops(world) == [pathlib.Path(device).name]
    if tag == 'none':
        world.kubelet.stage(volume_id, mount())
        assert all_loops(world) == [pathlib.Path(device).name]
        world.kubelet.unstage(volume_id)
        csi.until(lambda: not all_loops(world))
        return
    message = world.client.fails('FAILED_PRECONDITION', 'NodeStageVolume', volume_id=volume_id,
                                 volume_capability=mount(),
                                 staging_target_path=str(world.kubelet.staging(volume_id)))
    assert f'losetup -d {device}' in message
    world.kubelet.unstage(volume_id)
    assert all_loops(world) == [pathlib.Path(device).name]
    subprocess.run(['losetup', '-d', device], check=True)
    world.kubelet.stage(volume_id, mount())


def test_a_look_with_a_lower_number_hides_nothing(world):
    """The first device on the file was believed to be the only one: ours was not found, and never given back."""
    low = world.create('low', 16 * MIB, mount())
    volume_id = world.create('a', 16 * MIB, mount())
    for one in (low, volume_id):
        world.kubelet.stage(one, mount())
    (ours,) = [name for name in all_loops(world) if volume_id in backing_file(name)]
    looks = [subprocess.run(['losetup', '--find', '--show', *option, image(world, volume_id)], check=True,
                            capture_output=True, text=True).stdout.strip() for option in ((), ('--offset=4096',))]
    world.kubelet.unstage(low)
    csi.until(lambda: not [name for name in all_loops(world) if low in backing_file(name)])
    looks += [subprocess.run(['losetup', '--find', '--show', *option, image(world, volume_id)], check=True,
                             capture_output=True, text=True).stdout.strip() for option in ((), ('--offset=4096',))]
    # Of release 0.1.0: nothing says where it was.
    without_tag(f'/dev/{ours}')
    world.restart()
    message = world.client.fails('FAILED_PRECONDITION', 'DeleteVolume', volume_id=volume_id)
    assert ours in message
    world.kubelet.unstage(volume_id)
    csi.until(lambda: ours not in all_loops(world))
    assert sorted(all_loops(world)) == sorted(pathlib.Path(device).name for device in looks)
    for device in looks:
        subprocess.run(['losetup', '-d', device], check=True)


def test_not_released_is_not_the_end(world):
    """A device that others had for a moment at its unstage stayed, and no snapshot could be made from then on."""
    volume_id = world.create('a', 16 * MIB, block())
    staging = world.kubelet.block_staging('a')
    world.kubelet.stage(volume_id, block(), staging)
    target = world.kubelet.publish(volume_id, world.kubelet.block_target('pod', 'a'), block(), staging)
    # A namespace that has a copy of the node.
    holder = subprocess.Popen(['unshare', '--mount', '--propagation', 'private', 'sh', '-c', 'echo; read x'],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    holder.stdout.readline()
    exclusive = os.open(f'/dev/{world.loops()[0]}', os.O_RDONLY | os.O_EXCL)
    world.kubelet.unpublish(volume_id, target)
    world.kubelet.unstage(volume_id, staging)
    assert len(world.loops()) == 1
    holder.communicate(b'\n')
    os.close(exclusive)
    world.client.CreateSnapshot(source_volume_id=volume_id, name='s')
    csi.until(lambda: not world.loops())


def disk_sequence(name):
    return pathlib.Path(f'/sys/block/{name}/diskseq').read_text(encoding='ascii')


@pytest.mark.parametrize('named', (True, False), ids=('kubelet has it', 'nobody has it'))
def test_a_raw_block_volume_between_stage_and_publish(world, named):
    """The look that follows a start gave its device back, and another one was published."""
    volume_id = world.create('a', 16 * MIB, block())
    staging = world.kubelet.block_staging('pv')
    world.kubelet.stage(volume_id, block(), staging)
    (loop,) = world.loops()
    sequence = disk_sequence(loop)
    note = world.root / 'plugins/kubernetes.io/csi/volumeDevices/pv/data/vol_data.json'
    note.parent.mkdir(parents=True)
    note.write_text(json.dumps({'volumeHandle': volume_id if named else 'another'}), encoding='utf-8')
    # What the look does last, so that it is over: an inline volume whose pod is gone.
    inline, target = 'csi-' + 64 * 'a', world.kubelet.target('pod', 'v')
    world.client.NodePublishVolume(volume_id=inline, target_path=str(target), volume_capability=mount(),
                                   volume_context={**world.kubelet.context('pod', 'true'), 'size': '8Mi'})
    world.client.close()
    world.daemon.kill()
    sandbox_module.umount(target)
    shutil.rmtree(target.parents[4])
    (world.root / 'pods/another').mkdir(parents=True)
    world.start()
    csi.until(lambda: not [name for name in world.files() if name.startswith('eph-')])
    csi.until(lambda: len(world.loops()) == (1 if named else 0))
    target = world.kubelet.block_target('pod-1', 'pv')
    world.kubelet.publish(volume_id, target, block(), staging)
    if named:
        assert (world.loops(), disk_sequence(loop)) == ([loop], sequence)
    world.kubelet.unpublish(volume_id, target)
    world.kubelet.unstage(volume_id, staging)
    assert not world.loops()


def test_an_inline_volume_stays_where_kubelet_has_no_pod_at_all(world):
    """Another kubelet's directory, or one whose disk is not mounted yet: after a reboot its pod's data was gone."""
    def fields(volume_id, target):
        return {'volume_id': volume_id, 'target_path': str(target), 'volume_capability': mount(),
                'volume_context': {**world.kubelet.context('pod', 'true'), 'size': '8Mi'}}

    target = world.kubelet.target('pod', 'v')
    world.client.NodePublishVolume(**fields('csi-a', target))
    (target / 'file').write_text('data')
    # The look comes to it after the inline volume.
    last = world.create('a', MIB, block())
    world.kubelet.stage(last, block(), world.kubelet.block_staging('pv'))
    assert len(world.loops()) == 2 and 'csi-a' < last
    world.client.close()
    world.daemon.kill()
    sandbox_module.umount(target)
    pods, away = world.root / 'pods', world.root / 'away'
    pods.rename(away)
    pods.mkdir()
    world.start()
    csi.until(lambda: not world.loops())
    assert [name for name in world.files() if name.startswith('eph-')]
    # The disk is there, and the pod starts again.
    pods.rmdir()
    away.rename(pods)
    world.client.NodePublishVolume(**fields('csi-a', target))
    assert (target / 'file').read_text() == 'data'
    world.kubelet.unpublish('csi-a', target)
    assert not [name for name in world.files() if name.startswith('eph-')]


def test_a_staging_mount_that_nobody_has(world):
    """Kubelet cannot unstage what it has no note of: mount and loop device stayed for ever."""
    top = world.root / 'plugins/kubernetes.io/csi' / world.kubelet.driver
    places = {}
    # The one that goes is mounted, and so looked at, last.
    for name in ('noted', 'young', 'published', 'elsewhere', 'gone'):
        volume_id = world.create(name, 16 * MIB, mount())
        digest = hashlib.sha256(volume_id.encode()).hexdigest()
        path = (top if name != 'elsewhere' else top.with_name('another.driver')) / digest / 'globalmount'
        path.mkdir(parents=True)
        world.kubelet.stage(volume_id, mount(), path)
        places[name] = (volume_id, path)
        if name == 'noted':
            (path.parent / 'vol_data.json').write_text('{}', encoding='ascii')
        elif name == 'published':
            target = world.kubelet.publish(volume_id, world.kubelet.target('pod', 'pv'), mount(), path)
        if name != 'young':
            os.utime(path.parent, (1, 1))
    world.restart()
    csi.until(lambda: not os.path.ismount(places['gone'][1]))
    assert {name for name, (_, path) in places.items() if os.path.ismount(path)} == set(places) - {'gone'}
    csi.until(lambda: len(world.loops()) == 4)
    assert "neither a pod nor a note of kubelet's is left: unmounted" in world.daemon.log()
    world.kubelet.unpublish(places['published'][0], target)
    for volume_id, path in places.values():
        world.kubelet.unstage(volume_id, path)
        world.client.DeleteVolume(volume_id=volume_id)


@pytest.mark.parametrize('more', (20 * MIB, 20 * MIB + 100))
def test_a_data_file_that_is_longer_than_its_record(world, more):
    """Staged after a restart and not before it: what cannot shrink is as large as it is."""
    volume_id = world.create('a', 40 * MIB, mount())
    world.kubelet.stage(volume_id, mount())
    (world.kubelet.staging(volume_id) / 'file').write_text('kept', encoding='ascii')
    world.kubelet.unstage(volume_id)
    csi.until(lambda: not world.loops())
    os.truncate(image(world, volume_id), 40 * MIB + more)
    world.kubelet.stage(volume_id, mount())
    size = 60 * MIB if more == 20 * MIB else 60 * MIB + 4096
    assert image(world, volume_id).stat().st_size == size
    record = json.loads(image(world, volume_id).with_suffix('.json').read_text(encoding='utf-8'))
    assert size in record.values()
    assert (world.kubelet.staging(volume_id) / 'file').read_text(encoding='ascii') == 'kept'
    assert f'has {40 * MIB + more} bytes, not {40 * MIB}' in world.daemon.log()
    # Also while it is attached.
    os.truncate(image(world, volume_id), 80 * MIB)
    target = world.kubelet.publish(volume_id, world.kubelet.target('pod', 'pv'), mount())
    world.kubelet.unpublish(volume_id, target)
    world.kubelet.unstage(volume_id)
    world.kubelet.stage(volume_id, mount())
    world.kubelet.unstage(volume_id)


def test_another_image_gets_the_number_before_it_is_opened(world, build, sandbox):
    """Between the proof of a loop device and its opening: an image of the same size was mounted as the volume."""
    volume_id = world.create('a', 16 * MIB, mount())
    world.kubelet.stage(volume_id, mount())
    world.kubelet.unstage(volume_id)
    csi.until(lambda: not world.loops())
    other = sandbox.path / 'other.img'
    shutil.copyfile(image(world, volume_id), other)
    before = hashlib.sha256(other.read_bytes()).digest()
    exchanged = []

    def stage_held_at(n):
        """Whether there is an n-th open of a loop device."""
        stopper = Stopper(pathlib.Path(build), world.daemon.process.pid, n, ['open-loop'])
        call = world.client.start('NodeStageVolume', volume_id=volume_id, volume_capability=mount(),
                                  staging_target_path=str(world.kubelet.staging(volume_id)))
        where, n_before = stopper.held(call), len(exchanged)
        if where:
            exchanged.extend(f'/dev/{name}' for name in world.loops() if exchange(f'/dev/{name}', other))
        stopper.end()
        outcome = outcome_of(call)
        for device in exchanged[n_before:]:
            assert not [m for m in sandbox_module.mounts_below('/') if m[3] == device], outcome
            assert backing_file(device[5:]).strip() == str(other)
            attach_ioctl(device, LOOP_CLR_FD)
        world.kubelet.unstage(volume_id)
        csi.until(lambda: not world.loops())
        assert hashlib.sha256(other.read_bytes()).digest() == before, outcome
        assert where or outcome == ('OK', '')
        return bool(where)

    for _ in range(5):
        n = 1
        while not exchanged and stage_held_at(n):
            n += 1
    if not exchanged:
        pytest.skip('others on this machine took the number each time')


def test_a_stage_that_waits_for_a_copy_says_so(build, sandbox):
    """For hours a pod was told that another operation is under way, and not which."""
    world = pool_world(build, sandbox, sandbox.mounted(sandbox.loop(256 * MIB, ['mkfs.ext4', '-q']), 'ext4'))
    volume_id = world.create('a', 16 * MIB, mount())
    world.kubelet.stage(volume_id, mount())
    (world.kubelet.staging(volume_id) / 'file').write_bytes(os.urandom(4 * MIB))
    world.kubelet.unstage(volume_id)
    csi.until(lambda: not world.loops())
    stopper = Stopper(pathlib.Path(build), world.daemon.process.pid, 1, ['copy_file_range'])
    call = world.client.start('CreateSnapshot', source_volume_id=volume_id, name='s')
    assert stopper.held(call)
    fields = {'volume_id': volume_id, 'staging_target_path': str(world.kubelet.staging(volume_id)),
              'volume_capability': mount()}
    message = world.client.fails('ABORTED', 'NodeStageVolume', **fields)
    assert f'volume {volume_id} is being copied to snapshot snap-' in message and '% done' in message
    stopper.end()
    snapshot = call.result().snapshot
    world.client.NodeStageVolume(**fields)
    assert snapshot.source_volume_id == volume_id
    world.kubelet.unstage(volume_id)
    end(world)


# --- the pool itself ---

@pytest.fixture(name='disk')
def disk_fixture(sandbox):
    """A disk of its own for a pool, and where it is mounted."""
    device = sandbox.loop(256 * MIB, ['mkfs.ext4', '-q'])
    return device, sandbox.mounted(device, 'ext4')


def pool_world(build, sandbox, place, argv=()):
    pool = place / 'pool'
    pool.mkdir(mode=0o700, exist_ok=True)
    return World(build, sandbox, pool, argv)


def start_unready(world):
    """It serves, and says that it is not ready."""
    world.daemon.start(ready_seconds=0)
    csi.until(world.daemon.socket_path.exists)
    world.client = world.kubelet.client = csi.Client(world.daemon.socket_path)
    csi.until(lambda: probed(world.client) is not None)
    assert probed(world.client) is False


def probed(client):
    try:
        return client.Probe().ready.value
    except csi.Failure:
        return None


def refused(world, volume_id, capability):
    """What every call says when the pool is not there."""
    staging = str(world.kubelet.staging(volume_id))
    calls = {
        'CreateVolume': {'name': 'new', 'volume_capabilities': [capability]},
        'DeleteVolume': {'volume_id': volume_id},
        'ValidateVolumeCapabilities': {'volume_id': volume_id, 'volume_capabilities': [capability]},
        'ListVolumes': {}, 'GetCapacity': {}, 'ListSnapshots': {},
        'CreateSnapshot': {'name': 's', 'source_volume_id': volume_id},
        'DeleteSnapshot': {'snapshot_id': 'snap-00'},
        'NodeStageVolume': {'volume_id': volume_id, 'staging_target_path': staging, 'volume_capability': capability},
    }
    return [world.client.fails('UNAVAILABLE', method, **fields) for method, fields in calls.items()]


def test_a_pool_whose_disk_is_not_mounted(build, sandbox, disk):
    """CreateVolume filled the root disk, and DeleteVolume of a volume on the missing disk answered OK."""
    device, place = disk
    world = pool_world(build, sandbox, place)
    volume_id = world.create('a', 16 * MIB, mount())
    world.client.close()
    world.daemon.stop()
    sandbox_module.umount(place)
    (place / 'pool').mkdir(mode=0o700)
    start_unready(world)
    for message in refused(world, volume_id, mount()):
        assert 'not mounted' in message
    assert not list((place / 'pool').iterdir())
    # It is served as soon as the disk is there; nobody restarts anything.
    sandbox_module.mount(device, place, 'ext4')
    csi.until(lambda: probed(world.client))
    assert [e.volume.volume_id for e in world.client.ListVolumes().entries] == [volume_id]
    # It goes while the plugin runs.
    sandbox_module.umount(place, flags=2)
    for message in refused(world, volume_id, mount()):
        assert 'not at its path any more' in message
    assert not list((place / 'pool').iterdir())
    sandbox_module.mount(device, place, 'ext4')
    world.client.DeleteVolume(volume_id=volume_id)
    assert world.files() == []
    end(world)


def test_another_disk_in_the_place_of_the_pool(build, sandbox, disk):
    _, place = disk
    world = pool_world(build, sandbox, place)
    volume_id = world.create('a', 16 * MIB, mount())
    world.client.close()
    world.daemon.stop()
    sandbox_module.umount(place)
    other = sandbox.loop(256 * MIB, ['mkfs.ext4', '-q'])
    sandbox_module.mount(other, place, 'ext4')
    (place / 'pool').mkdir(mode=0o700)
    made = subprocess.run([f'{build}/csi/berth-csi', 'pool', 'init', place / 'pool'], check=True, capture_output=True,
                          text=True).stdout
    uuid = json.loads((place / 'pool/pool.json').read_text(encoding='utf-8'))['uuid']
    assert uuid in made
    start_unready(world)
    for message in refused(world, volume_id, mount()):
        assert uuid in message and 'another disk' in message
    # Meant: the note goes.
    world.client.close()
    world.daemon.stop()
    (world.daemon.directory / 'pool.id').unlink()
    world.start()
    assert not world.client.ListVolumes().entries
    end(world)


@pytest.mark.parametrize('spelled', ('{0}/', '//{0}', '{0}/.', '{1}', '{2}'))
def test_a_pool_by_another_name_whose_disk_is_not_mounted(build, sandbox, disk, spelled):
    """A slash at the end was another path: a pool was made in the empty mount point, and a delete answered OK."""
    device, place = disk
    world = World(build, sandbox, place)
    volume_id = world.create('a', 16 * MIB, mount())
    uuid = json.loads((place / 'pool.json').read_text(encoding='utf-8'))['uuid']
    world.client.close()
    world.daemon.stop()
    sandbox_module.umount(place)
    link, other = sandbox.path / 'link', sandbox.path / 'other'
    link.symlink_to(place)
    other.mkdir(mode=0o700)
    path = spelled.format(place, link, other)
    world.daemon.argv.append(f'--pool={path}')
    start_unready(world)
    for message in refused(world, volume_id, mount()):
        assert uuid in message and ('not mounted' in message or str(place) in message)
    assert not list(place.iterdir()) and not list(other.iterdir())
    # It is asked for by name, beside the other one, which is not forgotten.
    if path == str(other):
        subprocess.run([f'{build}/csi/berth-csi', 'pool', 'init', other], check=True, capture_output=True)
        csi.until(lambda: probed(world.client))
        world.client.close()
        world.daemon.stop()
        world.daemon.argv[-1] = f'--pool={place}/'
        start_unready(world)
    sandbox_module.mount(device, place, 'ext4')
    csi.until(lambda: probed(world.client))
    assert [e.volume.volume_id for e in world.client.ListVolumes().entries] == [volume_id]
    assert f'{uuid} {place}\n' in (world.daemon.directory / 'pool.id').read_text(encoding='utf-8')
    end(world)


def test_a_new_pool_is_asked_for(build, sandbox):
    directory = sandbox.path / 'd'
    directory.mkdir()
    daemon = csi.Daemon(build, directory, kubelet_root=sandbox.shared_directory('kubelet'))
    daemon.argv.remove('--pool-init')
    daemon.start(ready_seconds=0)
    csi.until(daemon.socket_path.exists)
    with csi.Client(daemon.socket_path) as client:
        csi.until(lambda: probed(client) is False)
        message = client.fails('UNAVAILABLE', 'CreateVolume', name='a', volume_capabilities=[mount()])
        assert 'pool init' in message and not list(daemon.pool.iterdir())
        for word in ('made', 'has'):
            done = subprocess.run([f'{build}/csi/berth-csi', 'pool', 'init', daemon.pool], check=True,
                                  capture_output=True, text=True)
            assert word in done.stdout
        client.CreateVolume(name='a', volume_capabilities=[mount()])
    daemon.kill()


def test_a_pool_is_made_in_a_directory_of_its_own(build, sandbox):
    """What others keep there, and what does not count: hidden names, lost+found, what a killed start left."""
    directory = sandbox.path / 'd'
    directory.mkdir()
    daemon = csi.Daemon(build, directory, kubelet_root=sandbox.shared_directory('kubelet'))
    theirs = daemon.pool / 'theirs'
    theirs.touch()
    done = subprocess.run([f'{build}/csi/berth-csi', 'pool', 'init', daemon.pool], capture_output=True, text=True)
    daemon.start(ready_seconds=0)
    assert daemon.process.wait(30) == done.returncode == 1
    for text in (done.stderr, daemon.log().replace('\\', '')):
        assert f'"theirs" is in it, and a pool wants a directory of its own, such as {daemon.pool}/pool' in text
    assert not (daemon.pool / 'pool.json').exists() and not (daemon.pool / 'volumes').exists()
    theirs.unlink()
    for name in ('lost+found', '.snapshots', 'volumes'):
        (daemon.pool / name).mkdir(mode=0o700)
    with daemon:
        # One that is there is served whatever lies beside it.
        theirs.touch()
        daemon.stop()
        daemon.start()


def test_a_pool_from_before_pools_had_names(build, sandbox):
    world = World(build, sandbox)
    volume_id = world.create('a', 16 * MIB, mount())
    world.client.close()
    world.daemon.stop()
    (world.pool / 'pool.json').write_text('{"format": 1}\n', encoding='utf-8')
    (world.daemon.directory / 'pool.id').unlink()
    world.daemon.argv.remove('--pool-init')
    world.start()
    assert [e.volume.volume_id for e in world.client.ListVolumes().entries] == [volume_id]
    uuid = json.loads((world.pool / 'pool.json').read_text(encoding='utf-8'))['uuid']
    assert (world.daemon.directory / 'pool.id').read_text(encoding='utf-8') == f'{uuid} {world.pool}\n'
    end(world)


def autoclear(path):
    return pathlib.Path(f'/sys/block/{pathlib.Path(path).name}/loop/autoclear').read_text(encoding='ascii').strip()


@pytest.mark.parametrize('how', ['disk', 'directory'])
def test_a_copy_of_the_pool_gives_back_nothing_of_it(build, sandbox, disk, how):
    """A second instance served a restored copy beside the original, and detached the original's raw volumes, which the
    copy has no record of: they carry the same tag."""
    device, place = disk
    world = pool_world(build, sandbox, place)
    if how == 'disk':
        os.sync()
        image = sandbox.path / 'copy.img'
        shutil.copyfile(device, image)
        copy = sandbox.path / 'copy'
        copy.mkdir()
        subprocess.run(['mount', '-o', 'loop', image, copy], check=True)
        copy = copy / 'pool'
    else:
        copy = place / 'copy'
        subprocess.run(['cp', '-a', world.pool, copy], check=True)
    volume_id = world.create('a', 16 * MIB, block())
    world.kubelet.stage(volume_id, block())
    loop, = world.loops()
    second = csi.Daemon(build, sandbox.shared_directory('second'),
                        [f'--pool={copy}', '--driver-name=rescue.example.org'],
                        kubelet_root=sandbox.shared_directory('second-kubelet'))
    client = second.start()
    client.fails('NOT_FOUND', 'ControllerGetVolume', volume_id=volume_id)
    client.DeleteVolume(volume_id=volume_id)
    client.NodeUnstageVolume(volume_id=volume_id, staging_target_path=str(second.kubelet_root / 'x'))
    assert 'loop device of no volume' not in second.log()
    assert world.loops() == [loop] and autoclear(loop) == '0'
    client.close()
    second.stop()
    world.kubelet.unstage(volume_id)
    assert world.loops() == []
    end(world)


@pytest.mark.parametrize('size', ['more', 'less'])
def test_a_volume_that_becomes_thick_leaves_the_reserve(build, sandbox, size):
    """It took all that was free, and kept it when that was not enough."""
    place = sandbox.mounted(sandbox.loop(256 * MIB, ['mkfs.ext4', '-q', '-m', '0']), 'ext4')
    world = pool_world(build, sandbox, place, ['--pool-reserve=20%', '--pool-overcommit=400'])

    def free():
        return os.statvfs(place).f_bavail * os.statvfs(place).f_frsize
    before = free()
    volume_id = world.create('a', 400 * MIB if size == 'more' else before - 24 * MIB, mount())
    message = world.client.fails('RESOURCE_EXHAUSTED', 'ControllerModifyVolume', volume_id=volume_id,
                                 mutable_parameters={'provisioning': 'thick'})
    assert 'thick' in message
    assert before - free() < MIB
    fits = world.create('b', 32 * MIB, mount())
    world.client.ControllerModifyVolume(volume_id=fits, mutable_parameters={'provisioning': 'thick'})
    assert 32 * MIB <= before - free() < 40 * MIB
    end(world)


def overwrite(world, volume_id, size):
    """The whole of a raw block volume, through its pod's device."""
    target = world.kubelet.block_target('p', volume_id)
    if not target.exists():
        world.kubelet.stage(volume_id, block())
        world.kubelet.publish(volume_id, target, block())
    with open(target, 'r+b', buffering=0) as file:
        for at in range(0, size, MIB):
            os.pwrite(file.fileno(), os.urandom(MIB), at)
        os.fsync(file.fileno())


@pytest.mark.parametrize('fstype, what', [('xfs', 'clone'), ('xfs', 'snapshot'), ('xfs', 'thick'), ('btrfs', 'clone')])
def test_what_is_promised_can_be_written(build, sandbox, fstype, what):
    """Blocks that files share counted in each of them: clones and snapshots cost nothing, and writes to what had been
    promised failed when the first of them was written."""
    place = sandbox.mounted(sandbox.loop(500 * MIB, [f'mkfs.{fstype}', '-q']), fstype)
    with open(place / 'of others', 'wb') as file:
        os.posix_fallocate(file.fileno(), 0, 100 * MIB)
    world = pool_world(build, sandbox, place, ['--pool-reserve=5%'])
    size = 32 * MIB
    of = {'parameters': {'provisioning': 'thick'}} if what == 'thick' else {}
    victim = world.create('victim', size, block())
    source = world.create('source', size, block(), **of)
    overwrite(world, source, size)
    made = []
    with pytest.raises(csi.Failure, match='RESOURCE_EXHAUSTED'):
        while True:
            before = world.client.GetCapacity().available_capacity
            if what == 'snapshot':
                world.client.CreateSnapshot(source_volume_id=source, name=f's{len(made)}')
                made.append(source)
            else:
                made.append(world.create(f'c{len(made)}', size, block(),
                                         volume_content_source={'volume': {'volume_id': source}}))
            assert before - world.client.GetCapacity().available_capacity >= size * 3 // 4
            overwrite(world, made[-1], size if what == 'snapshot' else MIB)
    assert len(made) >= 2
    for volume_id in [*made, source, victim]:
        overwrite(world, volume_id, size)
    for volume_id in {*made, source, victim}:
        world.kubelet.unpublish(volume_id, world.kubelet.block_target('p', volume_id))
        world.kubelet.unstage(volume_id)
    assert world.loops() == []
    end(world)


@pytest.mark.parametrize('kind', ['volumes', 'snapshots'])
def test_data_without_a_record_is_not_deleted(world, kind):
    """DeleteVolume answered OK, and the data of a volume whose record a half restore had left out stayed for ever."""
    made = world.create('a', 16 * MIB, mount())
    name, field = 'DeleteVolume', 'volume_id'
    if kind == 'snapshots':
        made = world.client.CreateSnapshot(source_volume_id=made, name='s').snapshot.snapshot_id
        name, field = 'DeleteSnapshot', 'snapshot_id'
    record = world.pool / kind / f'{made}.json'
    kept = record.read_bytes()
    world.client.close()
    world.daemon.stop()
    record.unlink()
    world.start()
    assert f'{made}.json' in world.client.fails('FAILED_PRECONDITION', name, **{field: made})
    assert (world.pool / kind / f'{made}.img').exists()
    world.client.close()
    world.daemon.stop()
    record.write_bytes(kept)
    world.start()
    getattr(world.client, name)(**{field: made})
    assert not (world.pool / kind / f'{made}.img').exists()


@pytest.mark.parametrize('what', ('bytes', 'inodes'))
def test_a_full_pool_can_be_emptied(build, sandbox, what):
    """DeleteVolume wanted room for the word "deleting"."""
    device = sandbox.loop(64 * MIB, ['mkfs.ext4', '-q', '-N', '64', '-m', '0'])
    place = sandbox.mounted(device, 'ext4')
    world = pool_world(build, sandbox, place, ['--pool-reserve=0'])
    volume_id = world.create('a', 16 * MIB, mount())
    snapshot = world.client.CreateSnapshot(source_volume_id=volume_id, name='s').snapshot.snapshot_id
    world.kubelet.stage(volume_id, mount())
    fill(place, what)
    world.restart()
    world.kubelet.unstage(volume_id)
    world.client.DeleteSnapshot(snapshot_id=snapshot)
    fill(place, what)
    world.client.DeleteVolume(volume_id=volume_id)
    assert world.files() == []
    world.restart()
    end(world)


def fill(place, what):
    with contextlib.suppress(OSError):
        for number in range(200 if what == 'inodes' else 0):
            (place / f'i{os.urandom(4).hex()}-{number}').touch()
    if what == 'bytes':
        for size in (1 << 20, 512):
            with contextlib.suppress(OSError), open(place / 'full', 'ab', buffering=0) as file:
                for _ in range(200):
                    file.write(bytes(size))


def test_a_read_only_pool(build, sandbox, disk):
    """What is mounted stays served, what goes can go, and the scheduler is told."""
    _, place = disk
    world = pool_world(build, sandbox, place)
    volume_id = world.create('a', 16 * MIB, mount())
    pod, inline = 'pod-1', 'csi-' + 64 * 'a'
    target = world.kubelet.target(pod, 'v')
    world.client.NodePublishVolume(volume_id=inline, target_path=str(target), volume_capability=mount(),
                                   volume_context={**world.kubelet.context(pod, 'true'), 'size': '10Mi'})
    world.client.close()
    world.daemon.kill()
    # The machine starts again, and the pool's disk is read-only from now on.
    sandbox_module.umount(target)
    assert sandbox_module.detach_below(world.pool) == []
    subprocess.run(['mount', '-o', 'remount,ro', place], check=True)
    start_unready(world)
    assert world.client.GetCapacity().available_capacity == 0
    world.kubelet.unpublish(inline, target)
    csi.until(lambda: not world.loops())
    assert volume_id in str(world.client.ListVolumes())
    end(world)


def make_of_all(world):
    """Volumes mounted, as raw block and inline, published all; a snapshot, a group and its two volumes."""
    client, kubelet, made = world.client, world.kubelet, {}
    made['mounted'] = world.create('mounted', 16 * MIB, mount())
    made['block'] = world.create('block', MIB, block())
    idle = [world.create(name, MIB, block()) for name in ('g1', 'g2')]
    made['snapshot'] = client.CreateSnapshot(source_volume_id=idle[0], name='s').snapshot.snapshot_id
    made['group'] = client.CreateVolumeGroupSnapshot(name='g', source_volume_ids=idle).group_snapshot
    kubelet.stage(made['mounted'], mount())
    made['target'] = kubelet.publish(made['mounted'], kubelet.target('pod-1', 'mounted'), mount())
    staging = kubelet.block_staging('block')
    kubelet.stage(made['block'], block(), staging)
    made['device'] = kubelet.publish(made['block'], kubelet.block_target('pod-1', 'block'), block(), staging=staging)
    made['inline'] = 'csi-' + 64 * 'a'
    made['inline_target'] = kubelet.target('pod-2', 'v')
    client.NodePublishVolume(volume_id=made['inline'], target_path=str(made['inline_target']),
                             volume_capability=mount(),
                             volume_context={**kubelet.context('pod-2', 'true'), 'size': '4Mi'})
    made['volumes'] = [made['mounted'], made['block'], *idle]
    return made


@pytest.mark.parametrize('restarts', (False, True), ids=('it runs', 'it starts again'))
@pytest.mark.parametrize('what', ('bytes', 'inodes', 'ro', 'gone'))
def test_whatever_gives_back_needs_no_room(build, sandbox, what, restarts):
    """Each call that frees something, on a pool that takes nothing any more."""
    place = sandbox.mounted(sandbox.loop(128 * MIB, ['mkfs.ext4', '-q', '-N', '128', '-m', '0']), 'ext4')
    world = pool_world(build, sandbox, place, ['--pool-reserve=0', '--inline-per-pod=50%'])
    made = make_of_all(world)
    if what == 'ro':
        subprocess.run(['mount', '-o', 'remount,ro', place], check=False)
        subprocess.run(['mount', '-o', 'remount,abort', place], check=False)
    elif what == 'gone':
        sandbox_module.umount(place, flags=2)
    else:
        fill(place, what)
    if restarts:
        world.client.close()
        world.daemon.kill()
        start_unready(world) if what in ('ro', 'gone') else world.start()  # pylint: disable=expression-not-assigned
    elif what in ('ro', 'gone'):
        csi.until(lambda: probed(world.client) is False)
    client, kubelet = world.client, world.kubelet
    kubelet.unpublish(made['mounted'], made['target'])
    kubelet.unstage(made['mounted'])
    kubelet.unpublish(made['block'], made['device'])
    kubelet.unstage(made['block'], kubelet.block_staging('block'))
    kubelet.unpublish(made['inline'], made['inline_target'])
    if what != 'gone':
        csi.until(lambda: not world.loops())
    group = {'group_snapshot_id': made['group'].group_snapshot_id,
             'snapshot_ids': [s.snapshot_id for s in made['group'].snapshots]}
    if what in ('ro', 'gone'):
        client.fails('UNAVAILABLE', 'DeleteVolumeGroupSnapshot', **group)
        client.fails('UNAVAILABLE', 'DeleteSnapshot', snapshot_id=made['snapshot'])
        for volume_id in made['volumes']:
            client.fails('UNAVAILABLE', 'DeleteVolume', volume_id=volume_id)
    else:
        for again in (
                lambda: client.DeleteVolumeGroupSnapshot(**group),
                lambda: client.DeleteSnapshot(snapshot_id=made['snapshot']),
                *(lambda volume_id=one: client.DeleteVolume(volume_id=volume_id) for one in made['volumes'])):
            fill(place, what)
            again()
        assert world.files() == []
    end(world)


# --- what nobody comes for again ---

def test_the_pool_looks_after_itself(world):
    """At a start: a device that nobody uses, one of no volume, and an inline volume without a pod."""
    kubelet, client = world.kubelet, world.client
    targets = {}
    for pod in ('gone', 'stays'):
        targets[pod] = kubelet.target(pod, 'v')
        volume_id = f'csi-{pod}'
        (targets[pod].parent / 'vol_data.json').write_text(json.dumps({'volumeHandle': volume_id}), encoding='utf-8')
        client.NodePublishVolume(volume_id=volume_id, target_path=str(targets[pod]), volume_capability=mount(),
                                 volume_context={**kubelet.context(pod, 'true'), 'size': '10Mi'})
    unused, orphan, used = (world.create(name, 16 * MIB, block()) for name in ('unused', 'orphan', 'used'))
    for volume_id in (unused, orphan, used):
        kubelet.stage(volume_id, block(), kubelet.block_staging(volume_id))
    target = kubelet.publish(used, kubelet.block_target('pod', 'used'), block(), kubelet.block_staging(used))
    assert len(all_loops(world)) == 5
    client.close()
    world.daemon.kill()
    for path in targets.values():
        sandbox_module.umount(path)
    (targets['gone'].parent / 'vol_data.json').unlink()
    (world.pool / 'volumes' / f'{orphan}.json').unlink()
    world.start()
    csi.until(lambda: len(all_loops(world)) == 1)
    csi.until(lambda: len([name for name in world.files() if name.startswith('eph-')]) == 2)
    assert 'whose pod is gone' in world.daemon.log()
    # What is published stays, and is held again: its pod cannot free the number.
    attach_ioctl(target, LOOP_CLR_FD)
    put(target, b'mine')
    assert image(world, used).read_bytes()[:4] == b'mine'


# --- what one tenant may take ---

def test_inline_volumes_have_a_bound(build, sandbox, disk):
    """They need no claim and no quota: a pod, or a namespace of many, left nothing of the pool for others."""
    world = pool_world(build, sandbox, disk[1], ['--pool-reserve=0', '--inline-per-pod=64Mi',
                                                 '--inline-per-namespace=50%'])

    def call(pod, name, size, namespace='default'):
        return {'volume_id': f'csi-{pod}-{name}', 'target_path': str(world.kubelet.target(pod, name)),
                'volume_capability': mount(),
                'volume_context': {**world.kubelet.context(pod, 'true'), 'size': size,
                                   'csi.storage.k8s.io/pod.namespace': namespace}}

    publish, fails = world.client.NodePublishVolume, world.client.fails
    publish(**call('one', 'a', '40Mi'))
    message = fails('RESOURCE_EXHAUSTED', 'NodePublishVolume', **call('one', 'b', '40Mi'))
    for word in ('size', str(40 * MIB), str(24 * MIB), str(64 * MIB), 'pod one', '--inline-per-pod'):
        assert word in message
    publish(**call('one', 'a', '40Mi'))
    world.restart()
    publish, fails = world.client.NodePublishVolume, world.client.fails
    assert 'pod one' in fails('RESOURCE_EXHAUSTED', 'NodePublishVolume', **call('one', 'b', '40Mi'))
    publish(**call('two', 'a', '60Mi'))
    message = fails('RESOURCE_EXHAUSTED', 'NodePublishVolume', **call('three', 'a', '60Mi'))
    assert 'namespace default' in message and '--inline-per-namespace' in message
    publish(**call('four', 'a', '60Mi', 'other'))
    # What went counts no more.
    world.kubelet.unpublish('csi-two-a', world.kubelet.target('two', 'a'))
    publish(**call('three', 'a', '60Mi'))
    end(world)


def test_the_default_bound_of_inline_volumes(build, sandbox, disk):
    world = pool_world(build, sandbox, disk[1])
    message = world.client.fails(
        'RESOURCE_EXHAUSTED', 'NodePublishVolume', volume_id='csi-a', volume_capability=mount(),
        target_path=str(world.kubelet.target('p', 'a')),
        volume_context={**world.kubelet.context('p', 'true'), 'size': '30Mi'})
    assert '--inline-per-pod' in message
    assert world.files() == []
    end(world)


# --- a pool whose disk does not answer, or takes nothing any more ---

FIFREEZE, FITHAW = 0xC0045877, 0xC0045878


@contextlib.contextmanager
def frozen(place):
    """Whoever writes there hangs, and cannot be killed."""
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(fd, FIFREEZE, 0)
        try:
            yield
        finally:
            fcntl.ioctl(fd, FITHAW, 0)
    finally:
        os.close(fd)


def read_only_calls(world, volume_id, snapshot_id):
    """What needs room is told that there is none, so that another node is tried."""
    fails = world.client.fails
    return [
        fails('RESOURCE_EXHAUSTED', 'CreateVolume', name='new', volume_capabilities=[mount()]),
        fails('UNAVAILABLE', 'ControllerModifyVolume', volume_id=volume_id,
              mutable_parameters={'provisioning': 'thick'}),
        fails('UNAVAILABLE', 'CreateSnapshot', name='t', source_volume_id=volume_id),
        fails('UNAVAILABLE', 'DeleteVolume', volume_id=volume_id),
        fails('UNAVAILABLE', 'DeleteSnapshot', snapshot_id=snapshot_id),
    ]


@pytest.mark.parametrize('how', ('ro', 'abort'))
def test_a_pool_that_turns_read_only(build, sandbox, disk, how):
    """After an error ext4 takes nothing any more, and ST_RDONLY does not say so (since Linux 6.15)."""
    _, place = disk
    world = pool_world(build, sandbox, place)
    volume_id = world.create('a', 16 * MIB, mount())
    snapshot = world.client.CreateSnapshot(source_volume_id=volume_id, name='s').snapshot.snapshot_id
    if how == 'ro':
        world.client.close()
        world.daemon.kill()
        subprocess.run(['mount', '-o', 'remount,ro', place], check=True)
        start_unready(world)
    else:
        subprocess.run(['mount', '-o', 'remount,abort', place], check=True)
    csi.until(lambda: probed(world.client) is False)
    # Said once, at the start as well as later.
    assert world.daemon.log().count('is read-only: what is mounted is served') == 1
    assert world.client.GetCapacity().available_capacity == 0
    for message in read_only_calls(world, volume_id, snapshot):
        assert 'cannot be written' in message or 'read-only' in message
    assert volume_id in str(world.client.ListVolumes())
    # What is not there is deleted.
    world.client.DeleteVolume(volume_id='vol-' + 32 * '0')
    end(world)


@pytest.mark.parametrize('when', ('while it runs', 'at its start'))
def test_a_pool_that_hangs(build, sandbox, disk, when):
    """A delete hung, and with it whoever came after; a start hung before the socket was there."""
    _, place = disk
    world = pool_world(build, sandbox, place)
    volume_id = world.create('a', 16 * MIB, mount())
    inline, target = 'csi-' + 64 * 'a', world.kubelet.target('pod-1', 'v')
    world.client.NodePublishVolume(volume_id=inline, target_path=str(target), volume_capability=mount(),
                                   volume_context={**world.kubelet.context('pod-1', 'true'), 'size': '10Mi'})
    if when == 'at its start':
        world.client.close()
        world.daemon.kill()
        sandbox_module.umount(target)
        target.rmdir()
    else:
        world.client.GetCapacity()
    with frozen(place):
        if when == 'at its start':
            start_unready(world)
        else:
            csi.until(lambda: probed(world.client) is False)
        for message in refused(world, volume_id, mount()):
            assert 'does not answer' in message
        message = world.client.fails('UNAVAILABLE', 'NodeUnstageVolume', volume_id=volume_id,
                                     staging_target_path=str(world.kubelet.staging(volume_id)))
        assert 'does not answer' in message
        if when == 'at its start':
            world.kubelet.unpublish(inline, target)
    csi.until(lambda: probed(world.client))
    world.client.DeleteVolume(volume_id=volume_id)
    assert not [name for name in world.files() if name.startswith('vol-')]
    end(world)


def test_a_disk_that_does_not_answer_at_the_last_unmount(build, sandbox, disk):
    """The unmount held the volume and a thread for ever; given back is only what all was written to."""
    _, place = disk
    world = pool_world(build, sandbox, place)
    volume_id = world.create('a', 64 * MIB, mount())
    world.kubelet.stage(volume_id, mount())
    staging = world.kubelet.staging(volume_id)
    unstage = {'volume_id': volume_id, 'staging_target_path': str(staging)}
    with frozen(place):
        (staging / 'data').write_bytes(os.urandom(8 * MIB))
        for timeout in (7, 2):
            message = world.client.fails('UNAVAILABLE', 'NodeUnstageVolume', timeout=timeout, **unstage)
            assert 'still being unmounted' in message
        assert not os.path.ismount(staging) and world.loops()

    def is_unstaged():
        try:
            world.client.NodeUnstageVolume(**unstage)
        except csi.Failure as failure:
            assert failure.code == 'UNAVAILABLE'
            return False
        return True
    csi.until(is_unstaged)
    assert not world.loops()
    world.kubelet.stage(volume_id, mount())
    assert len((staging / 'data').read_bytes()) == 8 * MIB
    world.kubelet.unstage(volume_id)
    end(world)


def test_a_pool_that_hangs_after_it_was_looked_at(build, sandbox, disk):
    """More calls than threads hang, past every look: what needs no disk is served, and all of them end."""
    _, place = disk
    world = pool_world(build, sandbox, place)
    client, kubelet = world.client, world.kubelet
    used = world.create('used', 16 * MIB, mount())
    kubelet.stage(used, mount())
    target = kubelet.publish(used, kubelet.target('pod-1', 'used'), mount())
    staging = kubelet.staging(used)
    # Where the freeze takes longer than what is known lasts, the first call looks, and the others do not hang.
    for _ in range(10):
        volumes = [world.create(f'v{number}', MIB, block()) for number in range(48)]
        client.GetCapacity()
        with frozen(place):
            hanging = [client.start('DeleteVolume', volume_id=one) for one in volumes[:40]]
            hanging += [client.start('CreateSnapshot', name=one, source_volume_id=one) for one in volumes[40:]]
            # What it knew for a second is over.
            csi.until(lambda: 'does not answer' in failure_of(client.GetCapacity), 20)
            many_hang = len([call for call in hanging if not call.done()]) > 32
            if many_hang:
                begin = time.monotonic()
                kubelet.unpublish(used, target)
                client.NodeGetInfo()
                assert 'does not answer' in client.fails('UNAVAILABLE', 'DeleteVolume', volume_id=volumes[0])
                assert 'does not answer' in client.fails('UNAVAILABLE', 'CreateSnapshot', name='s',
                                                         source_volume_id=used)
                assert client.NodeGetVolumeStats(volume_id=used, volume_path=str(staging)).usage
                assert time.monotonic() - begin < 15
        ended = [call.exception(60) for call in hanging]
        csi.until(lambda: probed(client))
        for one in client.ListSnapshots().entries:
            client.DeleteSnapshot(snapshot_id=one.snapshot.snapshot_id)
        if many_hang:
            break
    assert many_hang and not ended[0]
    kubelet.unstage(used)
    for volume_id in [*volumes, used]:
        client.DeleteVolume(volume_id=volume_id)
    assert world.files() == []
    end(world)


def failure_of(call):
    try:
        call()
    except csi.Failure as failure:
        return str(failure)
    return ''


# --- a mkfs that was killed ---

def test_a_refusal_that_is_about_the_content_names_no_holder(world):
    """It ended with "who it is cannot be seen from here", though nobody has the device."""
    volume_id = world.create('a', 16 * MIB, mount())
    with open(image(world, volume_id), 'r+b') as file:
        file.write(b'\x01' * 4096)
    message = world.client.fails('FAILED_PRECONDITION', 'NodeStageVolume', volume_id=volume_id,
                                 volume_capability=mount(),
                                 staging_target_path=str(world.kubelet.staging(volume_id)))
    assert 'is not blank' in message and 'lsof' not in message


@pytest.mark.parametrize('kind', ('ext4', 'xfs'))
def test_killed_mkfs_without_a_note_of_kubelets(build, sandbox, kind):
    """The next start detached the loop device that the note of the mkfs names: every stage failed from then on."""
    tools = sandbox.path / 'tools'
    tools.mkdir()
    tool, start = {'ext4': ('mke2fs', 2), 'xfs': ('mkfs.xfs', 0)}[kind]
    real = shutil.which(tool, path=f'{os.environ["PATH"]}:/usr/sbin:/sbin')
    (tools / tool).write_text(f'''#!/bin/sh
case "$*" in *-V*) exec {real} "$@";; esac
[ ! -e {tools}/once ] || exec {real} "$@"
: > {tools}/once
{real} "$@" >/dev/null
dd if=/dev/zero of=/proc/self/fd/3 bs=512 seek={start} count=1 conv=notrunc,fsync 2>/dev/null
kill -9 $PPID
''', encoding='ascii')
    (tools / tool).chmod(0o755)
    world = World.__new__(World)
    world.root = sandbox.shared_directory('kubelet')
    world.daemon = csi.Daemon(build, sandbox.path, [], kubelet_root=world.root,
                              environment={'PATH': f'{tools}:{os.environ["PATH"]}'})
    world.pool = world.daemon.pool
    world.start()
    volume_id = world.create('a', 512 * MIB, mount(kind))
    staging = world.kubelet.staging(volume_id)
    assert not (staging.parent / 'vol_data.json').exists()
    call = world.client.start('NodeStageVolume', volume_id=volume_id, staging_target_path=str(staging),
                              volume_capability=mount(kind))
    assert call.exception(20)
    (loop,) = world.loops()
    world.daemon.process.wait(10)
    world.client.close()
    world.start()
    csi.until(lambda: 'may be what a mkfs left' in world.daemon.log())
    assert world.loops() == [loop]
    world.kubelet.stage(volume_id, mount(kind))
    world.kubelet.unstage(volume_id)
    csi.until(lambda: not world.loops())
    end(world)


def test_unstaged_after_a_killed_mkfs(build, sandbox):
    """The unstage removed the note of it, and the half-made filesystem could never be staged again."""
    tools, real = sandbox.path / 'bin', shutil.which('mke2fs')
    tools.mkdir()
    # All but the superblock, as mke2fs leaves it until the end.
    (tools / 'mke2fs').write_text(f'''#!/bin/sh
case "$*" in *-V*) exec {real} "$@" ;; esac
test ! -e {tools}/whole || exec {real} "$@"
{real} "$@"
for device in "$@"; do :; done
dd if=/dev/zero of=$device bs=1024 seek=1 count=1 conv=notrunc,fsync 2>/dev/null
exec sleep 299.5
''', encoding='utf-8')
    (tools / 'mke2fs').chmod(0o755)
    world = World.__new__(World)
    world.root = sandbox.shared_directory('kubelet')
    world.daemon = csi.Daemon(build, sandbox.path, [], kubelet_root=world.root,
                              environment={'PATH': f'{tools}:{os.environ["PATH"]}'})
    world.pool = world.daemon.pool
    world.start()
    volume_id = world.create('a', 64 * MIB, mount())
    staging = world.kubelet.staging(volume_id)
    call = world.client.start('NodeStageVolume', volume_id=volume_id, staging_target_path=str(staging),
                              volume_capability=mount())
    # It is confined, and cannot say so itself.
    csi.until(lambda: subprocess.run(['pgrep', '-f', '^sleep 299.5'], check=False, capture_output=True).returncode == 0,
              15)
    world.restart()
    assert call.exception(20)
    (tools / 'whole').touch()
    world.kubelet.unstage(volume_id)
    assert not staging.exists() or not list(staging.iterdir())
    # Blank again: nothing but that is needed to stage it, here or elsewhere.
    assert not any(image(world, volume_id).read_bytes())
    world.kubelet.stage(volume_id, mount())


def test_a_pool_that_failed_and_a_restart(build, sandbox):
    """LOOP_GET_STATUS64 fails then, so that nothing said which device was the volume's; and the start failed."""
    device = sandbox.loop(320 * MIB, ['mkfs.xfs', '-q'])
    place = sandbox.mounted(device, 'xfs')
    world = pool_world(build, sandbox, place)
    volume_id = world.create('a', 16 * MIB, mount())
    world.kubelet.stage(volume_id, mount())
    (name,) = world.loops()
    world.client.close()
    world.daemon.kill()
    fd = os.open(place, os.O_RDONLY)
    fcntl.ioctl(fd, XFS_IOC_GOINGDOWN, (2).to_bytes(4, sys.byteorder))
    os.close(fd)
    start_unready(world)
    world.client.fails('UNAVAILABLE', 'CreateVolume', name='b', volume_capabilities=[mount()])
    world.kubelet.unstage(volume_id)
    backing = pathlib.Path('/sys/block') / name / 'loop/backing_file'
    csi.until(lambda: not backing.exists() or volume_id not in backing.read_text(encoding='utf-8'))
    end(world)


def loops_of_file(name):
    """Loop devices on a file of that name, also of a disk that fails."""
    found = []
    for path in pathlib.Path('/sys/block').glob('loop*/loop/backing_file'):
        with contextlib.suppress(OSError):
            found += [path.parts[3]] if path.read_text(encoding='utf-8').strip().endswith(name) else []
    return found


def inline(world, volume_id, pod):
    target = world.kubelet.target(pod, 'v')
    world.client.NodePublishVolume(volume_id=volume_id, target_path=str(target), volume_capability=mount(),
                                   volume_context={**world.kubelet.context(pod, 'true'), 'size': '16Mi'})
    return target


def fail_disk(place):
    fd = os.open(place, os.O_RDONLY)
    fcntl.ioctl(fd, XFS_IOC_GOINGDOWN, (2).to_bytes(4, sys.byteorder))
    os.close(fd)


@pytest.mark.parametrize('how, restarts', (('fails', False), ('gone', True)), ids=('fails', 'gone at a restart'))
def test_a_pool_that_failed_is_free_to_be_repaired(build, sandbox, how, restarts):
    """The loop device of an inline volume stayed for ever, and with it the pool's filesystem."""
    device = sandbox.loop(320 * MIB, ['mkfs.xfs', '-q'])
    place = sandbox.mounted(device, 'xfs')
    world = pool_world(build, sandbox, place, ['--inline-per-pod=50%', '--inline-per-namespace=50%'])
    volume_id = world.create('claim-of-a-pool-that-failed', 16 * MIB, mount())
    world.kubelet.stage(volume_id, mount())
    target = world.kubelet.publish(volume_id, world.kubelet.target('p', 'v'), mount())
    inlines = [(name, inline(world, name, name)) for name in ('csi-unpublished', 'csi-busy')]
    names = [name for name in world.files() if name.endswith('.img')]
    assert len(names) == 3 and all(loops_of_file(name) for name in names)
    os.sync()
    if how == 'fails':
        fail_disk(place)
    else:
        sandbox_module.umount(place, flags=2)
    if restarts:
        world.client.close()
        world.daemon.kill()
        start_unready(world)
    else:
        csi.until(lambda: probed(world.client) is False)
    # A copy of the mounts keeps one of them for a moment.
    with subprocess.Popen(['unshare', '-m', '--propagation', 'private', 'sh', '-c', 'echo; read x'],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        for name, path in inlines:
            world.kubelet.unpublish(name, path)
        world.kubelet.unpublish(volume_id, target)
        world.kubelet.unstage(volume_id)
        other.communicate(b'\n')
    # Asked again, or looked for at a start: nothing of it stays.
    log = world.daemon.log()
    assert f'volume={volume_id} ' not in '\n'.join(line for line in log.splitlines() if 'inline volume' in line)
    world.client.close()
    world.daemon.kill()
    start_unready(world)
    csi.until(lambda: not any(loops_of_file(name) for name in names))
    world.client.close()
    world.daemon.kill()
    if how == 'fails':
        sandbox_module.umount(place)
    sandbox_module.mount(device, place, 'xfs')
    world.start()
    world.client.DeleteVolume(volume_id=volume_id)
    end(world)


# --- a frozen filesystem, copies of mounts ---

def is_frozen(place):
    fd = os.open(place, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, FIFREEZE, 0)
        fcntl.ioctl(fd, FITHAW, 0)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def test_killed_between_freeze_and_thaw(build, sandbox, disk):
    """The pod's writes would hang for ever."""
    world = pool_world(build, sandbox, disk[1])
    volume_id = world.create('a', 100 * MIB, mount())
    world.kubelet.stage(volume_id, mount())
    staging = world.kubelet.staging(volume_id)
    (staging / 'data').write_bytes(os.urandom(64 * MIB))
    stopper = Stopper(pathlib.Path(build), world.daemon.process.pid, 1, ['thaw'])
    call = world.client.start('CreateSnapshot', source_volume_id=volume_id, name='s')
    assert stopper.held(call)
    world.daemon.kill()
    stopper.end()
    call.exception()
    world.client.close()
    assert is_frozen(staging)
    world.start()
    subprocess.run(['touch', staging / 'written'], check=True, timeout=10)
    assert 'thawed' in world.daemon.log()
    world.client.CreateSnapshot(source_volume_id=volume_id, name='s')
    end(world)


def test_what_cannot_be_copied_in_time_stops_nobody(build, sandbox, disk):
    """Without reflink: writes stood still for five seconds, for a snapshot that was then refused."""
    world = pool_world(build, sandbox, disk[1])
    volume_id = world.create('a', 100 * MIB, mount())
    world.kubelet.stage(volume_id, mount())
    staging = world.kubelet.staging(volume_id)
    (staging / 'data').write_bytes(os.urandom(64 * MIB))
    fields = {'source_volume_id': volume_id, 'name': 's'}
    stopper = Stopper(pathlib.Path(build), world.daemon.process.pid, 2, ['copy_file_range'])
    call = world.client.start('CreateSnapshot', **fields)
    # It copies, which takes longer now than its writers may wait.
    assert stopper.held(call)
    # That no start thaws what is not frozen by us, nor was.
    notes = [json.loads(path.read_text(encoding='utf-8')) for path in (world.pool / 'snapshots').glob('*.json')]
    assert [note['froze'] for note in notes] == [False]
    subprocess.run(['touch', staging / 'while'], check=True, timeout=2)
    time.sleep(3.1)
    stopper.end()
    message = call.exception().details()
    assert 'more data than can be copied while its writers wait' in message and 'reflink' in message
    assert not list((world.pool / 'snapshots').glob('*'))
    assert not is_frozen(staging)
    # What is frozen by somebody else makes nobody wait, and may take longer.
    with frozen_by_a_hook(world, volume_id, staging):
        stopper = Stopper(pathlib.Path(build), world.daemon.process.pid, 2, ['copy_file_range'])
        call = world.client.start('CreateSnapshot', **fields)
        assert stopper.held(call)
        time.sleep(3.1)
        stopper.end()
        assert call.exception() is None
    end(world)


def test_a_copy_has_what_was_written_while_it_was_made(build, sandbox, disk):
    """Without reflink most is copied before the freeze: what came and went since is as it is at the freeze."""
    world = pool_world(build, sandbox, disk[1])
    volume_id = world.create('a', 64 * MIB, mount())
    world.kubelet.stage(volume_id, mount())
    staging = world.kubelet.staging(volume_id)
    for name in ('kept', 'changed', 'gone'):
        (staging / name).write_bytes(name.encode() * MIB)
    # Once before the copy, once after it.
    stopper = Stopper(pathlib.Path(build), world.daemon.process.pid, 2, ['syncfs'])
    call = world.client.start('CreateSnapshot', source_volume_id=volume_id, name='s')
    assert stopper.held(call)
    put(staging / 'changed', b'later')
    (staging / 'gone').unlink()
    (staging / 'new').write_bytes(b'new' * MIB)
    subprocess.run(['sync', '--file-system', staging], check=True)
    subprocess.run(['fstrim', staging], check=True)
    stopper.end()
    assert call.exception() is None
    (copy,) = (world.pool / 'snapshots').glob('*.img')
    assert copy.stat().st_blocks <= image(world, volume_id).stat().st_blocks + 64
    subprocess.run(['e2fsck', '-fn', copy], check=True, stdout=subprocess.DEVNULL)
    made = world.create('b', 64 * MIB, mount(), volume_content_source={
        'snapshot': {'snapshot_id': call.result().snapshot.snapshot_id}})
    world.kubelet.stage(made, mount())
    there = world.kubelet.staging(made)
    assert sorted(path.name for path in there.iterdir()) == ['changed', 'kept', 'lost+found', 'new']
    for name in ('changed', 'kept', 'new'):
        assert (there / name).read_bytes() == (staging / name).read_bytes()
    end(world)


def test_killed_after_the_thaw(build, sandbox, disk):
    """The next start thawed what somebody else had frozen meanwhile."""
    world = pool_world(build, sandbox, disk[1])
    volume_id = world.create('a', 16 * MIB, mount())
    world.kubelet.stage(volume_id, mount())
    staging = world.kubelet.staging(volume_id)
    # Of its metadata three times: it is being made, may be left frozen, and is not. Then the snapshot is protected.
    stopper = Stopper(pathlib.Path(build), world.daemon.process.pid, 4, ['fchmod'])
    call = world.client.start('CreateSnapshot', source_volume_id=volume_id, name='s')
    assert stopper.held(call)
    (note,) = (world.pool / 'snapshots').glob('*.json')
    assert not json.loads(note.read_text(encoding='utf-8'))['froze']
    with frozen_by_a_hook(world, volume_id, staging):
        world.daemon.kill()
        stopper.end()
        world.client.close()
        world.start()
        assert 'thawed' not in world.daemon.log()
    end(world)


def test_snapshots_and_clones_at_once(world):
    """Each took the freeze of another for a stranger's: one of five was made."""
    volume_id = world.create('a', 16 * MIB, mount())
    world.kubelet.stage(volume_id, mount())
    calls = [('CreateSnapshot', {'source_volume_id': volume_id, 'name': f's{number}'}) for number in range(6)]
    calls += [('CreateVolume', {'name': f'c{number}', 'volume_capabilities': [mount()],
                                'volume_content_source': {'volume': {'volume_id': volume_id}}}) for number in range(2)]
    started = [world.client.start(method, **fields) for method, fields in calls]
    errors = [call.exception() for call in started]
    # A slow machine may let one of them wait for too long.
    assert all('by another snapshot or clone' in error.details() for error in errors if error)
    assert errors.count(None) > 1
    assert not is_frozen(world.kubelet.staging(volume_id))


@contextlib.contextmanager
def frozen_by_a_hook(world, volume_id, target=None):
    """A pod with the volume, whose backup has run `fsfreeze --freeze` in it."""
    target = target or world.kubelet.target('pod', volume_id)
    subprocess.run(['fsfreeze', '--freeze', target], check=True)
    try:
        yield
        # Not thawed by anybody meanwhile.
        assert is_frozen(target)
    finally:
        subprocess.run(['fsfreeze', '--unfreeze', target], check=False)


def used_by_a_pod(world, name, fstype):
    volume_id = world.create(name, 320 * MIB, mount(fstype))
    world.kubelet.stage(volume_id, mount(fstype))
    target = world.kubelet.publish(volume_id, world.kubelet.target('pod', volume_id), mount(fstype))
    (target / 'data').write_bytes(name.encode() * 100000)
    # What btrfs discards of it later is no write.
    (target / 'gone').write_bytes(os.urandom(4 * MIB))
    subprocess.run(['sync', '--file-system', target], check=True)
    (target / 'gone').unlink()
    return volume_id


def cut(world, volumes):
    """A group; a slow machine does not always copy one while its writers wait."""
    for _ in range(20):
        try:
            return world.client.CreateVolumeGroupSnapshot(name='g', source_volume_ids=volumes).group_snapshot
        except csi.Failure as failure:
            assert 'more data than can be copied' in failure.message
    return pytest.fail('never in time')


def restored(world, name, source, fstype):
    """What is in a volume that was made of a snapshot."""
    volume_id = world.create(f'of-{name}', 320 * MIB, mount(fstype), volume_content_source={
        'snapshot': {'snapshot_id': source}})
    world.kubelet.stage(volume_id, mount(fstype))
    text = (world.kubelet.staging(volume_id) / 'data').read_bytes()
    world.kubelet.unstage(volume_id)
    world.client.DeleteVolume(volume_id=volume_id)
    return text


@pytest.mark.parametrize('pool,fstype', (('xfs', 'ext4'), ('xfs', 'xfs'), ('xfs', 'btrfs'), ('ext4', 'ext4')))
def test_the_freeze_of_a_backups_hook(build, sandbox, pool, fstype):
    """Every CreateSnapshot was ABORTED for as long as it lasted, so that such a backup never ended."""
    world = pool_world(build, sandbox, sandbox.mounted(sandbox.loop(2048 * MIB, [f'mkfs.{pool}', '-q']), pool))
    client = world.client
    first, second = (used_by_a_pod(world, name, fstype) for name in ('first', 'second'))
    with frozen_by_a_hook(world, first):
        one = client.CreateSnapshot(name='s', source_volume_id=first).snapshot.snapshot_id
        group = cut(world, [first, second])
        # What is ours is thawed, and only that; by the next start too.
        assert not is_frozen(world.kubelet.staging(second))
        world.restart()
        assert 'thawed' not in world.daemon.log()
    assert restored(world, 's', one, fstype) == b'first' * 100000
    assert sorted(restored(world, entry.snapshot_id, entry.snapshot_id, fstype) for entry in group.snapshots) == [
        b'first' * 100000, b'second' * 100000]
    end(world)


@pytest.mark.parametrize('pool', ('xfs', 'ext4'))
def test_the_freeze_of_a_hook_outlives_a_crash(build, sandbox, pool):
    """The metadata said that a filesystem may be left frozen by us before that was known."""
    world = pool_world(build, sandbox, sandbox.mounted(sandbox.loop(1024 * MIB, [f'mkfs.{pool}', '-q']), pool))
    volume_id = used_by_a_pod(world, 'a', 'ext4')
    with frozen_by_a_hook(world, volume_id):
        # Where it copies: before, after, and when it knows whose the freeze is.
        stopper = Stopper(pathlib.Path(build), world.daemon.process.pid, 2 if pool == 'xfs' else 3, ['syncfs'])
        call = world.client.start('CreateSnapshot', name='s', source_volume_id=volume_id)
        assert stopper.held(call)
        world.restart()
        stopper.end()
        assert 'thawed' not in world.daemon.log()
    assert not world.client.ListSnapshots().entries
    world.client.CreateSnapshot(name='s', source_volume_id=volume_id)
    end(world)


@pytest.mark.parametrize('pool,whose', (('xfs', 'hook'), ('xfs', 'berth'), ('ext4', 'hook')))
def test_thawed_by_somebody_else(build, sandbox, pool, whose):
    """The pod writes into what is being read: a group is of one moment, and a copy is no mixture."""
    world = pool_world(build, sandbox, sandbox.mounted(sandbox.loop(1024 * MIB, [f'mkfs.{pool}', '-q']), pool))
    volumes = [used_by_a_pod(world, name, 'ext4') for name in ('a', 'b')]
    targets = [world.kubelet.target('pod', volume_id) for volume_id in volumes]
    frozen_before = targets if whose == 'hook' else targets[1:]
    for target in frozen_before:
        subprocess.run(['fsfreeze', '--freeze', target], check=True)
    # The first is ready to be read, the second not yet. Each is synced before that, twice where it is copied.
    n_before = 2 if pool == 'xfs' else 4
    stopper = Stopper(pathlib.Path(build), world.daemon.process.pid, n_before + len(frozen_before), ['syncfs'])
    call = world.client.start('CreateVolumeGroupSnapshot', name='g', source_volume_ids=volumes)
    assert stopper.held(call)
    subprocess.run(['fsfreeze', '--unfreeze', targets[0]], check=True)
    put(targets[0] / 'data', b'later')
    stopper.end()
    assert 'was thawed' in call.exception().details()
    subprocess.run(['fsfreeze', '--unfreeze', targets[1]], check=True)
    assert not world.client.ListSnapshots().entries
    cut(world, volumes)
    end(world)


@pytest.mark.parametrize('fstype', ('ext4', 'xfs', 'btrfs'))
def test_frozen_by_somebody_who_died(world, fstype):
    """The kernel kept it without any mount, and the loop device; the next stage was OK, and its writes hung."""
    capability = mount(fstype)
    volume_id = world.create('a', 320 * MIB, capability)
    staging = world.kubelet.staging(volume_id)
    world.kubelet.stage(volume_id, capability)
    target = world.kubelet.publish(volume_id, world.kubelet.target('p', 'a'), capability)
    (target / 'data').write_bytes(b'before')
    subprocess.run(['fsfreeze', '--freeze', target], check=True)
    # It is still mounted, and whoever froze it may be there.
    world.kubelet.unpublish(volume_id, target)
    assert is_frozen(staging)
    world.kubelet.unstage(volume_id)
    assert not world.loops() and 'is thawed' in world.daemon.log()
    world.kubelet.stage(volume_id, capability)
    # It lost its mounts by another hand.
    subprocess.run(['fsfreeze', '--freeze', staging], check=True)
    subprocess.run(['umount', staging], check=True)
    assert world.loops()
    world.kubelet.stage(volume_id, capability)
    subprocess.run(['touch', staging / 'written'], check=True, timeout=10)
    assert (staging / 'data').read_bytes() == b'before'
    assert 'thawed a filesystem that was left frozen' in world.daemon.log()
    world.kubelet.unstage(volume_id)
    assert not world.loops()


@pytest.mark.parametrize('who', ('snapshot', 'restart'))
def test_a_mount_that_another_namespace_keeps(build, sandbox, disk, who):
    """Its loop device stayed for ever, and a snapshot was refused as that of a raw block volume in use."""
    world = pool_world(build, sandbox, disk[1])
    volume_id = world.create('a', 16 * MIB, mount())
    world.kubelet.stage(volume_id, mount())
    holder = subprocess.Popen(['unshare', '--mount', '--propagation', 'private', 'sh', '-c', 'echo; read x'],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    holder.stdout.readline()
    world.kubelet.unstage(volume_id)
    assert len(world.loops()) == 1
    message = world.client.fails('ABORTED', 'CreateSnapshot', source_volume_id=volume_id, name='s')
    assert 'another mount namespace' in message
    assert 'in use' in world.client.fails('FAILED_PRECONDITION', 'DeleteVolume', volume_id=volume_id)
    holder.communicate(b'\n')
    if who == 'snapshot':
        world.client.CreateSnapshot(source_volume_id=volume_id, name='s')
    else:
        world.restart()
    csi.until(lambda: not world.loops())
    end(world)


LOOP_SET_DIRECT_IO, LOOP_SET_BLOCK_SIZE = 0x4C08, 0x4C09
LO_FLAGS_PARTSCAN = 8


def test_what_a_pod_sets_on_its_loop_device(build, sandbox, disk):
    """Partitions on the host, no direct I/O, other sectors: none of it needs a privilege."""
    world = pool_world(build, sandbox, disk[1])
    volume_id, staging, target = raw(world, 'a')
    (name,) = world.loops()
    sysfs = pathlib.Path('/sys/block') / name

    def look(attribute):
        return (sysfs / attribute).read_text(encoding='ascii').strip()

    before = {attribute: look(attribute) for attribute in ('loop/dio', 'queue/logical_block_size')}
    fd = os.open(target, os.O_RDWR)
    info = bytearray(232)
    fcntl.ioctl(fd, LOOP_GET_STATUS64, info)
    info[52:56] = (int.from_bytes(info[52:56], sys.byteorder) | LO_FLAGS_PARTSCAN).to_bytes(4, sys.byteorder)
    fcntl.ioctl(fd, LOOP_SET_STATUS64, bytes(info))
    # As the kernel does when it knows the table on it.
    subprocess.run(['addpart', f'/dev/{name}', '1', '2048', '4096'], check=True)
    fcntl.ioctl(fd, LOOP_SET_DIRECT_IO, 0)
    fcntl.ioctl(fd, LOOP_SET_BLOCK_SIZE, 4096 if before['queue/logical_block_size'] == '512' else 512)
    os.close(fd)
    assert list(sysfs.glob(f'{name}p*')) and look('loop/partscan') == '1'
    other = world.kubelet.publish(volume_id, world.kubelet.block_target('other', 'a'), block(), staging)
    assert os.stat(other).st_rdev == os.stat(target).st_rdev
    # Whoever looks at all block devices in this moment has the partition open, and the next call takes it away.
    csi.until(lambda: world.kubelet.publish(volume_id, other, block(), staging) and not list(sysfs.glob(f'{name}p*')))
    assert {attribute: look(attribute) for attribute in before} == before
    # What only a detach ends, ends as soon as nobody has the device.
    world.kubelet.unpublish(volume_id, target)
    world.kubelet.unpublish(volume_id, other)
    world.kubelet.publish(volume_id, target, block(), staging)
    (name,) = world.loops()
    assert (pathlib.Path('/sys/block') / name / 'loop/partscan').read_text(encoding='ascii').strip() == '0'
    end(world)


BLKTRACESETUP, BLKTRACETEARDOWN = 0xC0481273, 0x1276


def trace(path):
    """As a pod can: the kernel allocates a buffer for each processor, which no cgroup is charged for."""
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, BLKTRACESETUP, bytearray(struct.pack('32sH2xII4xQQI4x', b'', 0xffff, 65536, 2, 0, 0, 0)))
    finally:
        os.close(fd)


def test_what_a_pod_traces_ends_with_its_volume(build, sandbox, disk):
    """The buffers outlived the pod, its volume, and whoever had the number after it."""
    world = pool_world(build, sandbox, disk[1])
    volume_id, staging, target = raw(world, 'a')
    (name,) = world.loops()
    try:
        trace(target)
    except OSError as error:
        pytest.skip(f'the kernel has no blktrace: {error}')
    with pytest.raises(OSError, match='busy'):
        trace(target)
    world.kubelet.unpublish(volume_id, target)
    world.kubelet.unstage(volume_id, staging)
    csi.until(lambda: not world.loops())
    with contextlib.suppress(FileNotFoundError):  # the number may be gone by now, and its buffers with it
        trace(f'/dev/{name}')
        fd = os.open(f'/dev/{name}', os.O_RDONLY)
        fcntl.ioctl(fd, BLKTRACETEARDOWN)
        os.close(fd)
    end(world)
