# SPDX-License-Identifier: Apache-2.0
"""Filesystems that grow unmounted: on a copy where the pool's files share blocks, and nothing is lost by any tool.

Real pools, real tools, and tools that fail, destroy what they work on, or never end.
"""

import hashlib
import os
import pathlib
import shutil
import signal
import subprocess

import csi
import pytest
from test_csi_local import MIB, World, can_resize_ext4, mount, usable_bytes

SYNCED = 500
SCRATCH = 'dd if=/dev/urandom of=/proc/self/fd/3 bs=64k seek={} count={} conv=notrunc 2>/dev/null\n'
# What does not end well, with the real one at hand; its device is /proc/self/fd/3.
TOOLS = {
    'fails half-way': SCRATCH.format(0, 32) + 'echo resize2fs 1.47.0 >&2\necho no luck today >&2\nexit 1\n',
    'destroys and says that all is well': 'real "$@" || exit\n' + SCRATCH.format(0, 64) + 'exit 0\n',
    'loses the root directory': 'real "$@" || exit\ndebugfs -w -R "clri <2>" /proc/self/fd/3 >&2\nexit 0\n',
    'loses files that a check throws away':
        'real "$@" || exit\ndebugfs -w -R "kill_file /directory/lost" /proc/self/fd/3 >&2\n'
        'debugfs -w -R "unlink /directory/lost" /proc/self/fd/3 >&2\nexit 0\n',
    'is killed': 'LD_PRELOAD=$module KILL_AT_WRITE=8 real "$@"\nkill -9 $$\n',
    'does nothing': 'exit 0\n',
}


def put_tool(tools, name, text):
    """In front of the real one, as which the text knows it."""
    real = shutil.which(name, path=os.environ['PATH'] + ':/sbin:/usr/sbin')
    module = pathlib.Path(os.environ['BERTH_BUILD']) / 'csi/node/kill-at-write.so'
    script = tools / name
    script.write_text(f'#!/bin/sh\nmodule={module}\nreal() {{ {real} "$@"; }}\n{text}', encoding='utf-8')
    script.chmod(0o755)
    return script


@pytest.fixture(name='sharing', params=('xfs', 'btrfs'))
def sharing_fixture(request, build, sandbox):
    """A world on a pool whose files share blocks, and a directory for tools."""
    if can_resize_ext4():
        pytest.skip('here ext4 grows while it is mounted')
    place = sandbox.mounted(sandbox.loop(1024 * MIB, [f'mkfs.{request.param}', '-q']), request.param)
    tools = sandbox.path / 'tools'
    tools.mkdir()
    (place / 'pool').mkdir(mode=0o700)
    world = World.__new__(World)
    world.root = sandbox.shared_directory('kubelet')
    world.pool = place / 'pool'
    world.daemon = csi.Daemon(build, sandbox.path, [f'--pool={world.pool}'], kubelet_root=world.root,
                              environment={'PATH': f'{tools}:{os.environ["PATH"]}'})
    world.start()
    yield world, tools
    world.client.close()
    if world.daemon.process.poll() is None:
        world.daemon.kill()


def fill(staging):
    (staging / 'directory').mkdir()
    for number in range(20):
        (staging / 'directory' / f'file-{number}').write_bytes(os.urandom(100000))
    (staging / 'directory' / 'lost').write_bytes(b'not lost')


def digest(staging):
    files = sorted(path for path in staging.rglob('*') if path.is_file())
    return [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]


def lengthen(world, volume_id, size):
    """The file has grown, and what is on it has not: as after a crash between the two, or where the kernel grows no
    mounted filesystem."""
    csi.until(lambda: not world.loops())
    world.client.close()
    assert world.daemon.stop() == 0
    os.truncate(world.pool / 'volumes' / f'{volume_id}.img', size)
    world.start()


def make_grown(world):
    """A filled ext4 whose volume is larger by now. Returns its id and what is in it."""
    volume_id = world.create('a', 64 * MIB, mount('ext4'))
    staging = world.kubelet.staging(volume_id)
    world.kubelet.stage(volume_id, mount('ext4'))
    fill(staging)
    content = digest(staging)
    world.kubelet.unstage(volume_id)
    lengthen(world, volume_id, 256 * MIB)
    return volume_id, content


def expect_whole(world, volume_id, content, is_grown):
    """It is staged, and nothing of a copy is left."""
    staging = world.kubelet.staging(volume_id)
    assert digest(staging) == content
    assert (usable_bytes(staging) > 150 * MIB) == is_grown
    assert world.files() == [f'{volume_id}.img', f'{volume_id}.json']
    csi.until(lambda: len(world.loops()) == 1)


def expect_sound(world, volume_id):
    world.kubelet.unstage(volume_id)
    csi.until(lambda: not world.loops())
    subprocess.run(['e2fsck', '-f', '-n', world.pool / 'volumes' / f'{volume_id}.img'], check=True, capture_output=True)


def test_a_copy_is_grown_and_takes_the_place(sharing):
    world, tools = sharing
    volume_id, content = make_grown(world)
    put_tool(tools, 'resize2fs', 'real "$@"\n')
    image = world.pool / 'volumes' / f'{volume_id}.img'
    # As who counts the disk's quotas by owner has it.
    os.chown(image, 12, 34)
    image.chmod(0o640)
    before = image.stat()
    world.kubelet.stage(volume_id, mount('ext4'))
    expect_whole(world, volume_id, content, True)
    after = image.stat()
    assert after.st_ino != before.st_ino
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)
    # It is the volume to everybody else, too.
    (name,) = world.loops()
    assert os.stat(world.kubelet.staging(volume_id)).st_dev == os.stat(f'/dev/{name}').st_rdev
    snapshot = world.client.CreateSnapshot(source_volume_id=volume_id, name='s').snapshot.snapshot_id
    world.client.DeleteSnapshot(snapshot_id=snapshot)
    world.restart()
    world.kubelet.stage(volume_id, mount('ext4'))
    expect_sound(world, volume_id)
    world.client.DeleteVolume(volume_id=volume_id)
    assert world.files() == []


def test_the_owner_of_the_file_takes_cap_chown(sharing):
    """The one thing that docs/security.md keeps CAP_CHOWN for."""
    world, tools = sharing
    volume_id, content = make_grown(world)
    put_tool(tools, 'resize2fs', 'real "$@"\n')
    image = world.pool / 'volumes' / f'{volume_id}.img'
    os.chown(image, 12, 34)
    world.daemon.argv = ['setpriv', '--bounding-set=-chown', *world.daemon.argv]
    world.restart()
    world.kubelet.stage(volume_id, mount('ext4'))
    expect_whole(world, volume_id, content, True)
    assert image.stat().st_uid == 0
    assert 'has not the owner, mode or project of its file' in world.daemon.log()
    expect_sound(world, volume_id)


@pytest.mark.parametrize('how', TOOLS)
def test_a_tool_that_does_not_end_well(sharing, how):
    """The volume is what it was, is mounted, says that it did not grow, and grows with a better tool."""
    world, tools = sharing
    volume_id, content = make_grown(world)
    tool = put_tool(tools, 'resize2fs', TOOLS[how])
    world.kubelet.stage(volume_id, mount('ext4'))
    expect_whole(world, volume_id, content, False)
    reply = world.client.NodeGetVolumeStats(volume_id=volume_id, volume_path=str(world.kubelet.staging(volume_id)))
    assert reply.volume_condition.abnormal
    expect_sound(world, volume_id)
    tool.unlink()
    world.kubelet.stage(volume_id, mount('ext4'))
    expect_whole(world, volume_id, content, True)
    expect_sound(world, volume_id)


@pytest.mark.parametrize('how', ('mends nothing', 'destroys'))
def test_a_check_that_does_not_end_well(sharing, how):
    """e2fsck -p runs on a copy as well: after a refusal a person finds what there was."""
    world, tools = sharing
    volume_id, content = make_grown(world)
    image = world.pool / 'volumes' / f'{volume_id}.img'
    subprocess.run(['debugfs', '-w', '-R', 'ssv state 2', image], check=True, capture_output=True)
    before = hashlib.sha256(image.read_bytes()).digest()
    text = SCRATCH.format(0, 64) if how == 'destroys' else ''
    tool = put_tool(tools, 'e2fsck', f'case "$*" in *-V*) real "$@"; exit ;; esac\n{text}exit {0 if text else 4}\n')
    staging = str(world.kubelet.staging(volume_id))
    world.client.fails('FAILED_PRECONDITION', 'NodeStageVolume', volume_id=volume_id, staging_target_path=staging,
                       volume_capability=mount('ext4'))
    assert hashlib.sha256(image.read_bytes()).digest() == before
    assert world.files() == [f'{volume_id}.img', f'{volume_id}.json']
    tool.unlink()
    world.kubelet.stage(volume_id, mount('ext4'))
    expect_whole(world, volume_id, content, True)
    expect_sound(world, volume_id)


def test_the_plugin_dies_while_a_tool_works(sharing):
    """What the tool goes on doing is to a file without a name; nobody waits for it."""
    world, tools = sharing
    volume_id, content = make_grown(world)
    tool = put_tool(tools, 'resize2fs', SCRATCH.format(0, 64) + 'exec sleep 288.5\n')
    call = world.client.start('NodeStageVolume', volume_id=volume_id, volume_capability=mount('ext4'),
                              staging_target_path=str(world.kubelet.staging(volume_id)))
    csi.until(lambda: sleepers('288.5'), 20)
    assert f'{volume_id}.work' in world.files()
    # Whoever wants the volume meanwhile is told so.
    for method, fields in {'DeleteVolume': {}, 'NodeExpandVolume': {
            'volume_path': str(world.kubelet.staging(volume_id)),
            'capacity_range': {'required_bytes': 300 * MIB}}}.items():
        world.client.fails('ABORTED', method, volume_id=volume_id, **fields)
    world.client.fails('ABORTED', 'CreateSnapshot', source_volume_id=volume_id, name='s')
    tool.unlink()
    world.restart()
    assert call.exception(20)
    assert world.files() == [f'{volume_id}.img', f'{volume_id}.json']
    assert 'removed: a copy that a tool worked on' in world.daemon.log()
    world.kubelet.stage(volume_id, mount('ext4'))
    assert digest(world.kubelet.staging(volume_id)) == content
    for pid in sleepers('288.5'):
        os.kill(pid, signal.SIGKILL)
    expect_whole(world, volume_id, content, True)
    expect_sound(world, volume_id)


def sleepers(seconds):
    done = subprocess.run(['pgrep', '-f', f'^sleep {seconds}'], check=False, capture_output=True, text=True)
    return [int(word) for word in done.stdout.split()]


def test_no_room_for_a_copy(sharing):
    """A thick volume's copy needs its blocks again. Then the only one there is grows, in steps, as elsewhere."""
    world, _ = sharing
    if subprocess.run(['stat', '-f', '-c', '%T', world.pool], check=True, capture_output=True).stdout == b'btrfs\n':
        pytest.skip('btrfs shares blocks that nobody wrote to as well')
    volume_id = world.create('a', 320 * MIB, mount('ext4'), parameters={'provisioning': 'thick'})
    world.kubelet.stage(volume_id, mount('ext4'))
    staging = world.kubelet.staging(volume_id)
    fill(staging)
    content = digest(staging)
    world.kubelet.unstage(volume_id)
    lengthen(world, volume_id, 520 * MIB)
    world.kubelet.stage(volume_id, mount('ext4'))
    assert digest(staging) == content and usable_bytes(staging) > 400 * MIB
    assert f'no copy of volume {volume_id}' in world.daemon.log()
    expect_sound(world, volume_id)


# --- a copy that cannot be written, and a volume that is ---


@pytest.fixture(name='crashed')
def crashed_fixture(build, sandbox):
    """A volume on a small XFS pool whose journal has files that nobody replayed yet, after an error of the filesystem.

    Its e2fsck, with -p the first time, says that it runs and waits for a line.
    """
    place = sandbox.mounted(sandbox.loop(600 * MIB, ['mkfs.xfs', '-q']), 'xfs')
    tools = sandbox.path / 'tools'
    tools.mkdir()
    os.mkfifo(tools / 'go')
    put_tool(tools, 'e2fsck', 'case "$*" in *-V*) ;; *-p*)\n'
             f'[ -e {tools}/called ] || {{ echo > {tools}/called; read line < {tools}/go; }} ;;\nesac\nreal "$@"\n')
    (place / 'pool').mkdir(mode=0o700)
    world = World.__new__(World)
    world.root = sandbox.shared_directory('kubelet')
    world.pool = place / 'pool'
    world.daemon = csi.Daemon(build, sandbox.path, [f'--pool={world.pool}'], kubelet_root=world.root,
                              environment={'PATH': f'{tools}:{os.environ["PATH"]}'})
    world.start()
    yield world, tools, make_crashed(world, sandbox)
    world.client.close()
    if world.daemon.process.poll() is None:
        world.daemon.kill()


def make_crashed(world, sandbox):
    volume_id = world.create('a', 128 * MIB, mount('ext4'))
    staging = world.kubelet.staging(volume_id)
    image = world.pool / 'volumes' / f'{volume_id}.img'
    world.kubelet.stage(volume_id, mount('ext4'))
    for number in range(SYNCED):
        (staging / f'd{number}').mkdir()
        (staging / f'd{number}' / 'file').write_bytes(b'precious' * 300)
    with open(staging / f'd{SYNCED - 1}' / 'file', 'rb') as file:
        os.fsync(file.fileno())
    # What the disk has at a power cut.
    crashed = sandbox.path / 'crashed.img'
    subprocess.run(['dd', f'if={image}', f'of={crashed}', 'bs=1M', 'conv=sparse'], check=True, capture_output=True)
    world.kubelet.unstage(volume_id)
    csi.until(lambda: not world.loops())
    subprocess.run(['dd', f'if={crashed}', f'of={image}', 'bs=1M', 'conv=notrunc,fsync'], check=True,
                   capture_output=True)
    subprocess.run(['debugfs', '-w', '-R', 'ssv state 2', image], check=True, capture_output=True)
    return volume_id


def use_up(world, left_bytes):
    """The pool's filesystem has no more than this free."""
    for number in range(12):
        os.sync()
        status = os.statvfs(world.pool)
        free = status.f_bavail * status.f_frsize - left_bytes
        if free < 65536:
            return
        for part in (free, free // 2, free // 4):
            try:
                with open(world.pool.parent / f'filler-{number}', 'wb') as file:
                    os.posix_fallocate(file.fileno(), 0, part)
                break
            except OSError:
                pass


def start_stage(world, tools, volume_id):
    """Returns the call, once its e2fsck runs."""
    call = world.client.start('NodeStageVolume', volume_id=volume_id, volume_capability=mount('ext4'),
                              staging_target_path=str(world.kubelet.staging(volume_id)))
    csi.until((tools / 'called').exists, 20)
    return call


def go_on(tools):
    (tools / 'go').write_text('go\n', encoding='utf-8')


def expect_synced(world, volume_id):
    staging = world.kubelet.staging(volume_id)
    assert len(list(staging.glob('d*/file'))) == SYNCED
    assert list((staging / 'lost+found').iterdir()) == []
    assert world.files() == [f'{volume_id}.img', f'{volume_id}.json']
    expect_sound(world, volume_id)


def test_no_room_for_what_a_tool_writes(crashed):
    """Writes to the copy fail, e2fsck says that it corrected all, the page cache agrees. The volume has its blocks."""
    world, tools, volume_id = crashed
    image = world.pool / 'volumes' / f'{volume_id}.img'
    before = image.stat().st_ino
    call = start_stage(world, tools, volume_id)
    assert f'{volume_id}.work' in world.files()
    use_up(world, 0)
    go_on(tools)
    assert call.exception(60) is None
    assert 'no room for what a tool writes to a copy' in world.daemon.log()
    assert image.stat().st_ino == before
    expect_synced(world, volume_id)


def test_the_last_room_is_not_for_copies(crashed):
    world, tools, volume_id = crashed
    use_up(world, 24 * MIB)
    call = start_stage(world, tools, volume_id)
    assert f'{volume_id}.work' not in world.files()
    go_on(tools)
    assert call.exception(60) is None
    assert f'no copy of volume {volume_id}: the pool is nearly full' in world.daemon.log()
    expect_synced(world, volume_id)


def test_the_copy_of_a_thick_volume_needs_room(build, sandbox):
    """Its holes are filled: that took what the other volumes write to, down to nothing where it failed then."""
    place = sandbox.mounted(sandbox.loop(2048 * MIB, ['mkfs.xfs', '-q']), 'xfs')
    pool = place / 'pool'
    pool.mkdir(mode=0o700)
    world = World(build, sandbox, pool, ['--pool-reserve=20%'])
    volume_id = world.create('a', 600 * MIB, mount('ext4'), parameters={'provisioning': 'thick'})
    world.kubelet.stage(volume_id, mount('ext4'))
    world.kubelet.unstage(volume_id)
    subprocess.run(['debugfs', '-w', '-R', 'ssv state 2', pool / 'volumes' / f'{volume_id}.img'], check=True)
    status = os.statvfs(place)
    subprocess.run(['fallocate', '-l', str(status.f_bavail * status.f_frsize - 800 * MIB), place / 'other'], check=True)
    world.kubelet.stage(volume_id, mount('ext4'))
    assert f'no copy of volume {volume_id}: the pool is nearly full' in world.daemon.log()
    world.kubelet.unstage(volume_id)
    world.client.close()
    world.daemon.stop()


def test_a_volume_that_is_written_to_meanwhile(crashed):
    """It is not mounted by anybody, and what somebody wrote to its device is not thrown away."""
    world, tools, volume_id = crashed
    call = start_stage(world, tools, volume_id)
    loops = [name for name in world.loops()
             if pathlib.Path(f'/sys/block/{name}/loop/backing_file').read_text(encoding='utf-8').endswith('.img\n')]
    (device,) = [f'/dev/{name}' for name in loops]
    assert subprocess.run(['mount', '-t', 'ext4', device, tools], check=False, capture_output=True).returncode != 0
    assert subprocess.run(['mkfs.ext4', '-F', device], check=False, capture_output=True).returncode != 0
    with open(device, 'r+b', buffering=0) as file:
        file.seek(120 * MIB)
        file.write(b'acknowledged' + bytes(4084))
        os.fsync(file.fileno())
    go_on(tools)
    assert 'was written to while a tool worked on a copy' in call.exception(60).details()
    assert world.files() == [f'{volume_id}.img', f'{volume_id}.json']
    with open(world.pool / 'volumes' / f'{volume_id}.img', 'rb') as file:
        file.seek(120 * MIB)
        assert file.read(12) == b'acknowledged'
    # Asked again, it is mounted.
    world.kubelet.stage(volume_id, mount('ext4'))
    expect_synced(world, volume_id)


# --- bounds, and what a volume is made for ---

@pytest.fixture(name='world')
def world_fixture(build, sandbox):
    world = World(build, sandbox)
    yield world
    world.client.close()
    if world.daemon.process.poll() is None:
        world.daemon.kill()


def test_btrfs_grows_to_256_mib_at_least(world):
    """The kernel refuses less with "Invalid argument", and every stage after that failed."""
    client, capability = world.client, mount('btrfs')
    volume_id = world.create('a', 128 * MIB, capability)
    if client.ControllerGetVolume(volume_id=volume_id).volume.capacity_bytes >= 256 * MIB:
        pytest.fail('a btrfs of 128 MiB is not made any more: what is tested here?')
    world.kubelet.stage(volume_id, capability)
    staging = world.kubelet.staging(volume_id)
    (staging / 'file').write_text('kept', encoding='utf-8')
    fields = {'volume_id': volume_id, 'volume_path': str(staging), 'staging_target_path': str(staging)}
    client.fails('OUT_OF_RANGE', 'NodeExpandVolume', **fields,
                 capacity_range={'required_bytes': 160 * MIB, 'limit_bytes': 200 * MIB})
    reply = client.NodeExpandVolume(**fields, capacity_range={'required_bytes': 160 * MIB})
    assert reply.capacity_bytes == 256 * MIB
    assert usable_bytes(staging) > 240 * MIB
    world.kubelet.unstage(volume_id)
    # One that an older version let become too small for it is mounted as it is.
    other = world.create('b', 128 * MIB, capability)
    world.kubelet.stage(other, capability)
    world.kubelet.unstage(other)
    world.client.close()
    assert world.daemon.stop() == 0
    os.truncate(world.pool / 'volumes' / f'{other}.img', 200 * MIB)
    world.start()
    world.kubelet.stage(other, capability)
    assert usable_bytes(world.kubelet.staging(other)) < 130 * MIB
    message = world.client.fails('OUT_OF_RANGE', 'NodeExpandVolume', volume_id=other,
                                 volume_path=str(world.kubelet.staging(other)),
                                 staging_target_path=str(world.kubelet.staging(other)))
    assert '268435456' in message and 'expand the volume further' in message
    world.kubelet.unstage(other)


def has_meta_bg(image):
    """What lets an ext4 grow more than 1024 times."""
    text = subprocess.run(['dumpe2fs', '-h', image], check=True, capture_output=True, text=True).stdout
    return 'meta_bg' in next(line for line in text.splitlines() if line.startswith('Filesystem features')).split()


def test_made_to_grow(world):
    """The class's parameter reaches mkfs by the volume's context."""
    for size in ('', '1Ti'):
        parameters = {'berth.dev/fs-grow-to': size} if size else {}
        message = world.client.fails('INVALID_ARGUMENT', 'CreateVolume', name='w', volume_capabilities=[mount('ext4')],
                                     parameters={'berth.dev/fs-grow-to': 'large'})
        assert '"large"' in message
        reply = world.client.CreateVolume(name=f'v{size}', capacity_range={'required_bytes': 64 * MIB},
                                          volume_capabilities=[mount('ext4')], parameters=parameters)
        volume_id, context = reply.volume.volume_id, csi.pairs(reply.volume.volume_context)
        assert context.get('berth.dev/fs-grow-to', '') == size
        staging = str(world.kubelet.staging(volume_id))
        fields = {'volume_id': volume_id, 'staging_target_path': staging, 'volume_capability': mount('ext4')}
        if size:
            message = world.client.fails('INVALID_ARGUMENT', 'NodeStageVolume',
                                         volume_context={'berth.dev/fs-grow-to': 'large'}, **fields)
            assert 'large' in message and '1Ti' in message
        world.client.NodeStageVolume(volume_context=context, **fields)
        world.kubelet.unstage(volume_id)
        assert has_meta_bg(world.pool / 'volumes' / f'{volume_id}.img') == (size != '')
