# SPDX-License-Identifier: Apache-2.0
"""A mkfs that is killed at one of its writes, alone or with the daemon: the next stage takes back what it left, or
takes what it completed, and the volume is used.

A sample of the writes; with BERTH_MKFS_WHOLE each of them.
"""

import itertools
import json
import os
import pathlib
import subprocess

import csi
import pytest
from test_csi_local import MIB, World, mount
from test_grow import put_tool

# tool, size, writes of the sample
KINDS = {'ext4': ('mke2fs', 16 * MIB, (2, 5, 9)), 'xfs': ('mkfs.xfs', 320 * MIB, (1, 20)),
         'btrfs': ('mkfs.btrfs', 128 * MIB, (2, 9))}
# Only what makes something counts.
ASKED = 'case "$*" in *-V*|*--version*) real "$@"; exit ;; esac\n'
KILLED = 'export LD_PRELOAD=$module KILL_AT_WRITE={}\nreal "$@" >/dev/null 2>&1\nrc=$?\n'
HOW = {
    'alone': ASKED + KILLED + '[ $rc -lt 128 ] || touch {}/killed\nexit $rc\n',
    # Its descriptor of the device is the tool's as well, so that nobody gets the number.
    'with the daemon': ASKED + 'kill -9 $PPID\n' + KILLED + '[ $rc -lt 128 ] || touch {}/killed\n',
}


@pytest.fixture(name='killing')
def killing_fixture(build, sandbox):
    tools = sandbox.path / 'tools'
    tools.mkdir()
    world = World.__new__(World)
    world.root = sandbox.shared_directory('kubelet')
    world.daemon = csi.Daemon(build, sandbox.path, kubelet_root=world.root,
                              environment={'PATH': f'{tools}:{os.environ["PATH"]}'})
    world.pool = pathlib.Path(world.daemon.pool)
    world.start()
    yield world, tools
    world.client.close()
    if world.daemon.process.poll() is None:
        world.daemon.kill()


def note_volume(world, volume_id):
    """As kubelet does before it asks for it."""
    (world.kubelet.staging(volume_id).parent / 'vol_data.json').write_text(
        json.dumps({'volumeHandle': volume_id}), encoding='utf-8')


def users(tool):
    done = subprocess.run(['pgrep', '-f', f'/{tool} '], capture_output=True, text=True, check=False)
    return done.stdout.split()


def stage(world, volume_id, fs_type):
    try:
        world.kubelet.stage(volume_id, mount(fs_type))
    except csi.Failure as failure:
        # What was left alone still ends.
        assert failure.code == 'UNAVAILABLE', failure
        return False
    return True


@pytest.mark.parametrize('how', HOW)
@pytest.mark.parametrize('fs_type', KINDS)
def test_a_mkfs_is_killed_at_a_write(killing, fs_type, how):
    world, tools = killing
    tool, size, sample = KINDS[fs_type]
    n_killed = 0
    for n in itertools.count(1) if os.environ.get('BERTH_MKFS_WHOLE') else sample:
        volume_id = world.create(f'a{n}', size, mount(fs_type))
        note_volume(world, volume_id)
        script = put_tool(tools, tool, HOW[how].format(n, world.pool.parent))
        killed = world.pool.parent / 'killed'
        try:
            world.kubelet.stage(volume_id, mount(fs_type))
        except csi.Failure:
            pass
        if how != 'alone':
            world.daemon.process.wait(60)
            csi.until(lambda script=script: not users(script.name))
            world.client.close()
            world.start()
        script.unlink()
        was_killed = killed.exists()
        killed.unlink(missing_ok=True)
        n_killed += was_killed
        csi.until(lambda volume_id=volume_id: stage(world, volume_id, fs_type))
        staging = world.kubelet.staging(volume_id)
        (staging / 'file').write_text('x', encoding='ascii')
        assert not list(staging.glob('.berth*'))
        world.kubelet.unstage(volume_id)
        assert not list(staging.glob('.berth*'))
        world.client.DeleteVolume(volume_id=volume_id)
        if not was_killed:
            break
    print(f'{fs_type} {how}: {n_killed} writes')
    assert n_killed >= 2
