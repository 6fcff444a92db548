# SPDX-License-Identifier: Apache-2.0
"""A pool as 0.1.0 left it, served by this version.

tests/data/pool/0.1.0.tar.gz was packed on XFS after the program of 0.1.0 (commit af04f89) had made what its file "ids"
names and was killed while a mkfs was about to begin: pool.json without a UUID, metadata, data.
"""

import json
import pathlib
import subprocess

import csi
import pytest
from test_csi_local import MIB, Kubelet, World, block, mount, usable_bytes

RECORD = pathlib.Path(__file__).resolve().parents[1] / 'data/pool/0.1.0.tar.gz'
# As that version wrote it into the staging directory, with a boot and a disk that are gone.
MARKER = '''berth format 1
boot b63dc08b-061b-4aac-8ab4-f65ec1f687da
disk 113095
size 16777216
volume {}
'''


@pytest.fixture(name='old')
def old_fixture(build, sandbox):
    """A world on the unpacked pool, not started, and the ids of what is in it."""
    place = sandbox.mounted(sandbox.loop(1024 * MIB, ['mkfs.xfs', '-q']), 'xfs')
    subprocess.run(['tar', '-C', place, '-xzf', RECORD], check=True)
    world = World.__new__(World)
    world.root = sandbox.shared_directory('kubelet')
    world.pool = place / 'pool'
    world.client = None
    world.daemon = csi.Daemon(build, sandbox.path, [f'--pool={world.pool}'], kubelet_root=world.root)
    world.daemon.argv.remove('--pool-init')
    ids = json.loads((world.pool / 'ids').read_text(encoding='utf-8'))
    (world.pool / 'ids').unlink()
    yield world, ids
    if world.client:
        world.client.close()
    if world.daemon.process and world.daemon.process.poll() is None:
        world.daemon.kill()


def listed(world):
    volumes = {e.volume.volume_id: e.volume for e in world.client.ListVolumes().entries}
    snapshots = {e.snapshot.snapshot_id for e in world.client.ListSnapshots().entries}
    return volumes, snapshots


def test_everything_is_there_and_works(old):
    world, ids = old
    world.start()
    client, kubelet = world.client, world.kubelet
    volumes, snapshots = listed(world)
    assert set(volumes) == {ids[name] for name in ('mounted', 'block', 'thick', 'blank', 'clone', 'half')}
    assert all(volume.capacity_bytes >= MIB for volume in volumes.values())
    assert snapshots == {ids['snapshot'], *ids['members']}
    assert json.loads((world.pool / 'pool.json').read_text(encoding='utf-8'))['uuid']
    # What was asked for then is what is there now.
    assert world.create('mounted', 32 * MIB, mount('ext4')) == ids['mounted']
    assert world.create('thick', 8 * MIB, mount('ext4'), parameters={'provisioning': 'thick'}) == ids['thick']
    # Stage, expand, snapshot, restore.
    for name in ('mounted', 'clone'):
        kubelet.stage(ids[name], mount('ext4'))
        assert (kubelet.staging(ids[name]) / 'file').read_text(encoding='utf-8') == 'kept'
    csi.expand(client, ids['mounted'], kubelet.staging(ids['mounted']), 64 * MIB)
    snapshot = client.CreateSnapshot(source_volume_id=ids['mounted'], name='new').snapshot.snapshot_id
    kubelet.unstage(ids['mounted'])
    kubelet.stage(ids['mounted'], mount('ext4'))
    assert usable_bytes(kubelet.staging(ids['mounted'])) > 50 * MIB
    for source in (ids['snapshot'], snapshot):
        restored = world.create(f'of-{source}', 64 * MIB, mount('ext4'),
                                volume_content_source={'snapshot': {'snapshot_id': source}})
        kubelet.stage(restored, mount('ext4'))
        assert (kubelet.staging(restored) / 'file').read_text(encoding='utf-8') == 'kept'
        kubelet.unstage(restored)
        client.DeleteVolume(volume_id=restored)
    # Raw block stays raw; what was never written to is formatted.
    target = kubelet.publish(ids['block'], kubelet.block_target('pod-2', 'block'), block(),
                             staging=kubelet.block_staging('block'))
    with open(target, 'rb') as file:
        assert file.read(8) == b'raw data'
    kubelet.unpublish(ids['block'], target)
    kubelet.unstage(ids['block'], kubelet.block_staging('block'))
    for name in ('thick', 'blank'):
        kubelet.stage(ids[name], mount('ext4'))
        kubelet.unstage(ids[name])
    for name in ('mounted', 'clone'):
        kubelet.unstage(ids[name])
    # Undone, all of it.
    group = client.GetVolumeGroupSnapshot(group_snapshot_id=ids['group']).group_snapshot
    assert {s.snapshot_id for s in group.snapshots} == set(ids['members'])
    client.DeleteVolumeGroupSnapshot(group_snapshot_id=ids['group'], snapshot_ids=ids['members'])
    for snapshot_id in (ids['snapshot'], snapshot):
        client.DeleteSnapshot(snapshot_id=snapshot_id)
    for volume_id in volumes:
        client.DeleteVolume(volume_id=volume_id)
    world.kubelet.unpublish(ids['inline'], world.kubelet.target('pod-1', 'v'))
    assert world.files() == []


def test_staged_before_and_given_back_after(old):
    """The former version's loop devices carry no name: the file tells whose they are."""
    world, ids = old
    image = world.pool / 'volumes' / f'{ids["mounted"]}.img'
    done = subprocess.run(['losetup', '--find', '--show', '--sector-size=4096', '--direct-io=on', image], check=True,
                          capture_output=True, text=True)
    staging = Kubelet(world.root, None).staging(ids['mounted'])
    subprocess.run(['mount', done.stdout.strip(), staging], check=True)
    world.start()
    world.kubelet.stage(ids['mounted'], mount('ext4'))
    target = world.kubelet.publish(ids['mounted'], world.kubelet.target('pod-1', 'pvc'), mount('ext4'))
    assert (target / 'file').read_text(encoding='utf-8') == 'kept'
    assert world.loops() == [pathlib.Path(done.stdout.strip()).name]
    world.kubelet.unpublish(ids['mounted'], target)
    world.kubelet.unstage(ids['mounted'])
    csi.until(lambda: not world.loops())


@pytest.mark.parametrize('content', ('blank', 'half-made'))
def test_a_note_of_the_former_version(old, content):
    """It names no UUID, so that nothing can be proven to be its: what is not blank is left as it is, for a person."""
    world, ids = old
    image = world.pool / 'volumes' / f'{ids["half"]}.img'
    if content == 'half-made':
        with open(image, 'r+b') as file:
            file.seek(4 * MIB)
            file.write(b'\x01' * 65536)
    before = image.read_bytes()
    world.start()
    staging = world.kubelet.staging(ids['half'])
    (staging / '.berth-format').write_text(MARKER.format(ids['half']), encoding='utf-8')
    (staging / '.berth-format').chmod(0o600)
    if content == 'blank':
        world.kubelet.stage(ids['half'], mount('ext4'))
        world.kubelet.unstage(ids['half'])
        assert list(staging.iterdir()) == []
    else:
        message = world.client.fails('FAILED_PRECONDITION', 'NodeStageVolume', volume_id=ids['half'],
                                     staging_target_path=str(staging), volume_capability=mount('ext4'))
        assert 'not blank' in message or 'data' in message
        world.kubelet.unstage(ids['half'])
        assert image.read_bytes() == before
    world.client.DeleteVolume(volume_id=ids['half'])
