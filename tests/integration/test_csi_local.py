# SPDX-License-Identifier: Apache-2.0
"""berth-csi with the provider local, called as kubelet and the sidecars call it, for what csi-sanity does not cover.

The requests are those that a kubelet of Kubernetes 1.36 and an external-provisioner were seen to send, with kubelet's
own paths; what must be true of the node is looked at from outside: mounts, loop devices, files of the pool.
"""

import concurrent.futures
import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import stat
import subprocess

import csi
import pytest
import sandbox as sandbox_module

MIB = 1 << 20
MODE = csi.SINGLE_NODE_MULTI_WRITER
TOPOLOGY = 'topology.local.berth.dev/node'
XFS_IOC_GOINGDOWN = 0x8004587D
BLKGETSIZE64 = 0x80081272


class Kubelet:
    """Paths and requests of one kubelet."""

    def __init__(self, root, client, driver='local.csi.berth.dev'):
        self.root = pathlib.Path(root)
        self.client = client
        self.driver = driver

    def staging(self, volume_id):
        """Since 1.24; the directory is kubelet's."""
        name = hashlib.sha256(volume_id.encode()).hexdigest()
        path = self.root / 'plugins/kubernetes.io/csi' / self.driver / name / 'globalmount'
        with contextlib.suppress(OSError):  # one that is dead answers nothing
            path.mkdir(mode=0o750, parents=True, exist_ok=True)
        return path

    def old_staging(self, pv):
        """Until 1.23."""
        path = self.root / 'plugins/kubernetes.io/csi/pv' / pv / 'globalmount'
        path.mkdir(mode=0o750, parents=True, exist_ok=True)
        return path

    def target(self, pod, pv):
        """Kubelet makes the parent, the driver the last directory."""
        parent = self.root / 'pods' / pod / 'volumes/kubernetes.io~csi' / pv
        parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        (parent / 'vol_data.json').write_text(json.dumps({'driverName': self.driver}), encoding='utf-8')
        return parent / 'mount'

    def block_staging(self, pv):
        path = self.root / 'plugins/kubernetes.io/csi/volumeDevices/staging' / pv
        path.mkdir(mode=0o750, parents=True, exist_ok=True)
        return path

    def block_target(self, pod, pv):
        parent = self.root / 'plugins/kubernetes.io/csi/volumeDevices/publish' / pv
        parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        return parent / pod

    def context(self, pod, ephemeral='false'):
        return {'csi.storage.k8s.io/ephemeral': ephemeral, 'csi.storage.k8s.io/pod.name': pod,
                'csi.storage.k8s.io/pod.namespace': 'default', 'csi.storage.k8s.io/pod.uid': pod,
                'csi.storage.k8s.io/serviceAccount.name': ''}

    def stage(self, volume_id, capability, path=None):
        self.client.NodeGetCapabilities()
        self.client.NodeStageVolume(
            volume_id=volume_id, staging_target_path=str(path or self.staging(volume_id)), volume_capability=capability,
            volume_context={'storage.kubernetes.io/csiProvisionerIdentity': '1-8081-local'})

    def publish(self, volume_id, target, capability, staging=None, readonly=False):
        self.client.NodeGetCapabilities()
        self.client.NodePublishVolume(
            volume_id=volume_id, target_path=str(target), staging_target_path=str(staging or self.staging(volume_id)),
            volume_capability=capability, readonly=readonly, volume_context=self.context('p'))
        return target

    def unpublish(self, volume_id, target):
        self.client.NodeUnpublishVolume(volume_id=volume_id, target_path=str(target))
        assert not os.path.lexists(target)

    def unstage(self, volume_id, path=None):
        path = path or self.staging(volume_id)
        self.client.NodeUnstageVolume(volume_id=volume_id, staging_target_path=str(path))
        assert sandbox_module.mounts_below(path) == []


class World:
    """A daemon, a client and a kubelet on one node."""

    def __init__(self, build, sandbox, pool=None, argv=(), environment=None):
        self.root = sandbox.shared_directory('kubelet')
        self.daemon = csi.Daemon(build, sandbox.path, argv, kubelet_root=self.root, environment=environment)
        self.pool = pathlib.Path(pool or self.daemon.pool)
        if pool:
            self.daemon.argv.append(f'--pool={pool}')
        self.client = self.kubelet = None
        self.start()

    def start(self):
        self.client = self.daemon.start()
        self.kubelet = Kubelet(self.root, self.client)

    def restart(self, kill=True):
        self.client.close()
        if kill:
            self.daemon.kill()
        else:
            assert self.daemon.stop() == 0
        self.start()

    def create(self, name, size, capability, **fields):
        reply = self.client.CreateVolume(name=name, capacity_range={'required_bytes': size},
                                         volume_capabilities=[capability], **fields)
        assert reply.volume.capacity_bytes >= size
        return reply.volume.volume_id

    def loops(self):
        return sandbox_module.loops_below(self.pool)

    def files(self):
        return sorted(p.name for kind in ('volumes', 'snapshots', 'groups') for p in (self.pool / kind).iterdir())


@pytest.fixture(name='world')
def world_fixture(build, sandbox):
    world = World(build, sandbox)
    yield world
    world.client.close()
    if world.daemon.process.poll() is None:
        world.daemon.kill()


@pytest.fixture(name='sharing_world')
def sharing_world_fixture(build, sandbox):
    """On a pool whose files can share blocks."""
    device = sandbox.loop(3072 * MIB, ['mkfs.xfs', '-q'])
    pool = sandbox.mounted(device, 'xfs') / 'pool'
    pool.mkdir(mode=0o700)
    world = World(build, sandbox, pool)
    yield world
    world.client.close()
    if world.daemon.process.poll() is None:
        world.daemon.kill()


def mount(fstype='', **keywords):
    return csi.mount_capability(fstype, MODE, **keywords)


def block():
    return csi.block_capability(MODE)


def has_btrfs_twice():
    """Linux 6.7 mounts two filesystems with one UUID."""
    return tuple(int(number) for number in os.uname().release.split('.')[:2]) >= (6, 7)


def usable_bytes(path):
    found = os.statvfs(path)
    return found.f_blocks * found.f_frsize


def source(kind, identity):
    field = 'snapshot' if kind == 'snapshot' else 'volume'
    return {field: {f'{field}_id': identity}}


def can_resize_ext4():
    """The kernel wants CAP_SYS_RESOURCE for ext4's online growth."""
    with open('/proc/self/status', encoding='ascii') as file:
        line = next(line for line in file if line.startswith('CapEff'))
    return int(line.split()[1], 16) >> 24 & 1 == 1


# --- kubelet's sequences ---

@pytest.mark.parametrize('fstype', ('', 'xfs', 'btrfs', 'ext3', 'ext2'))
def test_pod_with_a_claim(world, fstype):
    client, kubelet, capability = world.client, world.kubelet, mount(fstype)
    assert client.GetPluginInfo().name == 'local.csi.berth.dev'
    client.Probe()
    services = {c.service.type for c in client.GetPluginCapabilities().capabilities}
    assert {1, 2} <= services
    client.ControllerGetCapabilities()
    info = client.NodeGetInfo()
    assert info.node_id == 'node-1' and csi.pairs(info.accessible_topology.segments) == {TOPOLOGY: 'node-1'}
    volume_id = world.create('pvc-aec9a967-9512-4d12-9dcb-b68f0056284b', 16 * MIB, capability)
    target = kubelet.target('115482da-f5e1-4eb9-a402-e56701854188', 'pvc-aec9a967')

    for _ in range(2):
        kubelet.stage(volume_id, capability)
    for _ in range(2):
        kubelet.publish(volume_id, target, capability)
    assert len(sandbox_module.mounts_below(target)) == 1
    (target / 'file').write_text('hello', encoding='utf-8')
    stats = client.NodeGetVolumeStats(volume_id=volume_id, volume_path=str(target))
    usage = {u.unit: u for u in stats.usage}
    assert usage[1].total > 0 and usage[1].available <= usage[1].total
    assert not stats.volume_condition.abnormal
    (name,) = world.loops()
    assert pathlib.Path(f'/sys/block/{name}/loop/dio').read_text(encoding='ascii').strip() == '1'

    for _ in range(2):
        kubelet.unpublish(volume_id, target)
    # What is in the way of the directory is not ours; the directory itself is kubelet's.
    assert target.parent.is_dir()
    client.fails('FAILED_PRECONDITION', 'DeleteVolume', volume_id=volume_id)
    for _ in range(2):
        kubelet.unstage(volume_id)
    csi.until(lambda: not world.loops())
    kubelet.stage(volume_id, capability)
    kubelet.publish(volume_id, target, capability)
    assert (target / 'file').read_text(encoding='utf-8') == 'hello'
    kubelet.unpublish(volume_id, target)
    kubelet.unstage(volume_id)
    for _ in range(2):
        client.DeleteVolume(volume_id=volume_id)
    assert world.files() == []
    csi.until(lambda: not world.loops())


def test_pod_with_an_inline_volume(world):
    client, kubelet = world.client, world.kubelet
    pod = '92cd2730-59d6-4b1b-b2ac-b51c529d007d'
    volume_id = 'csi-be1419c8c2a28985eeb014710d6c98ce6851ad12c14b72beab2e0142fb635b1d'
    target = kubelet.target(pod, 'v')
    request = {'volume_id': volume_id, 'target_path': str(target), 'volume_capability': mount(),
               'volume_context': {**kubelet.context(pod, 'true'), 'size': '10Mi'}}
    for _ in range(2):
        client.NodePublishVolume(**request)
    assert len(sandbox_module.mounts_below(target)) == 1
    assert 5 * MIB < usable_bytes(target) <= 10 * MIB
    (target / 'file').write_text('scratch', encoding='utf-8')
    assert client.NodeGetVolumeStats(volume_id=volume_id, volume_path=str(target)).usage
    assert len(client.ListVolumes().entries) == 0
    # The plugin is updated while the pod runs.
    world.restart()
    client, kubelet = world.client, world.kubelet
    client.NodePublishVolume(**request)
    assert (target / 'file').read_text(encoding='utf-8') == 'scratch'
    for _ in range(2):
        kubelet.unpublish(volume_id, target)
    assert world.files() == []
    csi.until(lambda: not world.loops())
    request['volume_context'] = {**request['volume_context'], 'size': 'much'}
    assert 'much' in client.fails('INVALID_ARGUMENT', 'NodePublishVolume', **request)
    assert world.files() == [] and not target.exists()


def test_two_pods_of_one_claim(world):
    kubelet, capability = world.kubelet, mount()
    volume_id = world.create('pvc-1', 16 * MIB, capability)
    kubelet.stage(volume_id, capability)
    one = kubelet.publish(volume_id, kubelet.target('pod-1', 'pvc-1'), capability)
    two = kubelet.publish(volume_id, kubelet.target('pod-2', 'pvc-1'), capability, readonly=True)
    (one / 'file').write_text('shared', encoding='utf-8')
    assert (two / 'file').read_text(encoding='utf-8') == 'shared'
    with pytest.raises(OSError):
        (two / 'file').write_text('x', encoding='utf-8')
    kubelet.unpublish(volume_id, one)
    assert (two / 'file').read_text(encoding='utf-8') == 'shared'
    kubelet.unpublish(volume_id, two)
    kubelet.unstage(volume_id)
    csi.until(lambda: not world.loops())


def test_raw_block(world):
    client, kubelet = world.client, world.kubelet
    volume_id = world.create('pvc-b', 16 * MIB, block())
    staging, target = kubelet.block_staging('pvc-b'), kubelet.block_target('pod-1', 'pvc-b')
    for _ in range(2):
        kubelet.stage(volume_id, block(), staging)
        kubelet.publish(volume_id, target, block(), staging)
    assert stat.S_ISBLK(target.stat().st_mode)
    with open(target, 'r+b', buffering=0) as device:
        device.write(b'raw' + bytes(4093))
        os.fsync(device.fileno())
        # In use: the controller does not take it away.
        client.fails('FAILED_PRECONDITION', 'DeleteVolume', volume_id=volume_id)
        # Growth is seen by the pod's open device.
        client.NodeExpandVolume(volume_id=volume_id, volume_path=str(target), staging_target_path=str(staging),
                                capacity_range={'required_bytes': 32 * MIB}, volume_capability=block())
        size = bytearray(8)
        fcntl.ioctl(device, BLKGETSIZE64, size)
        assert int.from_bytes(size, 'little') == 32 * MIB
    assert client.NodeGetVolumeStats(volume_id=volume_id, volume_path=str(target)).usage[0].total == 32 * MIB
    kubelet.unpublish(volume_id, target)
    kubelet.unstage(volume_id, staging)
    csi.until(lambda: not world.loops())
    kubelet.stage(volume_id, block(), staging)
    kubelet.publish(volume_id, target, block(), staging)
    with open(target, 'rb') as device:
        assert device.read(3) == b'raw'
    kubelet.unpublish(volume_id, target)
    kubelet.unstage(volume_id, staging)
    client.DeleteVolume(volume_id=volume_id)
    assert world.files() == []


# --- growth, snapshots, clones ---

@pytest.mark.parametrize('fstype', ('ext4', 'xfs', 'btrfs'))
def test_growth_under_a_pod(world, fstype):
    if fstype == 'ext4' and not can_resize_ext4():
        pytest.skip('ext4 grows online only with CAP_SYS_RESOURCE, which this machine does not give')
    client, kubelet, capability = world.client, world.kubelet, mount(fstype)
    volume_id = world.create('pvc-1', 320 * MIB, capability)
    kubelet.stage(volume_id, capability)
    target = kubelet.publish(volume_id, kubelet.target('pod-1', 'pvc-1'), capability)
    before = usable_bytes(target)
    with open(target / 'file', 'w', encoding='utf-8') as file:
        for _ in range(2):
            client.NodeExpandVolume(volume_id=volume_id, volume_path=str(target),
                                    staging_target_path=str(kubelet.staging(volume_id)),
                                    capacity_range={'required_bytes': 640 * MIB}, volume_capability=capability)
        file.write('during')
    assert usable_bytes(target) > before + 250 * MIB
    message = client.fails('OUT_OF_RANGE', 'NodeExpandVolume', volume_id=volume_id, volume_path=str(target),
                           capacity_range={'required_bytes': MIB, 'limit_bytes': 2 * MIB})
    assert 'shrink' in message
    # The code after which kubelet lets the pod start all the same.
    assert 'left for' in client.fails('FAILED_PRECONDITION', 'NodeExpandVolume', volume_id=volume_id,
                                      volume_path=str(target), capacity_range={'required_bytes': 1 << 60})
    kubelet.unpublish(volume_id, target)
    kubelet.unstage(volume_id)


@pytest.mark.parametrize('fstype', ('ext4', 'xfs', 'btrfs'))
@pytest.mark.parametrize('pool', ('world', 'sharing_world'))
def test_restore_to_a_larger_volume_beside_its_source(request, pool, fstype):
    world = request.getfixturevalue(pool)
    client, kubelet, capability = world.client, world.kubelet, mount(fstype)
    volume_id = world.create('pvc-1', 320 * MIB, capability)
    kubelet.stage(volume_id, capability)
    target = kubelet.publish(volume_id, kubelet.target('pod-1', 'pvc-1'), capability)
    (target / 'file').write_text('not synced', encoding='utf-8')
    # Mounted and in use.
    snapshot = client.CreateSnapshot(source_volume_id=volume_id, name='snapshot-1').snapshot
    assert snapshot.ready_to_use and snapshot.size_bytes == 320 * MIB
    (target / 'file').write_text('later', encoding='utf-8')
    restored = world.create('pvc-2', 640 * MIB, capability,
                            volume_content_source=source('snapshot', snapshot.snapshot_id))
    if fstype == 'btrfs' and not has_btrfs_twice():
        # Older kernels take a second device of one UUID for a part of the first filesystem.
        message = client.fails('FAILED_PRECONDITION', 'NodeStageVolume', volume_id=restored,
                               volume_capability=capability, staging_target_path=str(kubelet.staging(restored)))
        assert 'same UUID is mounted' in message and 'unmount the other' in message
        kubelet.unpublish(volume_id, target)
        kubelet.unstage(volume_id)
    kubelet.stage(restored, capability)
    other = kubelet.publish(restored, kubelet.target('pod-2', 'pvc-2'), capability)
    assert (other / 'file').read_text(encoding='utf-8') == 'not synced'
    if fstype == 'btrfs' and not has_btrfs_twice():
        return
    assert (target / 'file').read_text(encoding='utf-8') == 'later'
    # Grown to the device at stage.
    assert usable_bytes(other) > 540 * MIB
    kubelet.unpublish(volume_id, target)
    kubelet.unstage(volume_id)
    # The original is attached anew, by now with a file that shares blocks.
    kubelet.stage(volume_id, capability)
    kubelet.publish(volume_id, target, capability)
    assert (target / 'file').read_text(encoding='utf-8') == 'later'
    clone = world.create('pvc-3', 320 * MIB, capability, volume_content_source=source('volume', restored)) \
        if pool == 'sharing_world' else None
    for name, path in ((volume_id, target), (restored, other)):
        kubelet.unpublish(name, path)
        kubelet.unstage(name)
    client.DeleteSnapshot(snapshot_id=snapshot.snapshot_id)
    for name in filter(None, (volume_id, restored, clone)):
        client.DeleteVolume(volume_id=name)
    assert world.files() == []
    csi.until(lambda: not world.loops())


def test_group_snapshot_of_mounted_volumes(sharing_world):
    world = sharing_world
    client, kubelet, capability = world.client, world.kubelet, mount()
    ids, targets = [], []
    for name in ('data', 'log'):
        ids.append(world.create(name, 32 * MIB, capability))
        kubelet.stage(ids[-1], capability)
        targets.append(kubelet.publish(ids[-1], kubelet.target('pod-1', name), capability))
        (targets[-1] / 'file').write_text('before', encoding='utf-8')
    group = client.CreateVolumeGroupSnapshot(name='g', source_volume_ids=ids).group_snapshot
    assert group.ready_to_use and len(group.snapshots) == 2
    for target in targets:
        (target / 'file').write_text('after', encoding='utf-8')
    for number, snapshot in enumerate(group.snapshots):
        restored = world.create(f'r{number}', 0, capability,
                                volume_content_source=source('snapshot', snapshot.snapshot_id))
        kubelet.stage(restored, capability)
        path = kubelet.publish(restored, kubelet.target('pod-2', restored), capability)
        assert (path / 'file').read_text(encoding='utf-8') == 'before'
        kubelet.unpublish(restored, path)
        kubelet.unstage(restored)
    client.fails('INVALID_ARGUMENT', 'DeleteSnapshot', snapshot_id=group.snapshots[0].snapshot_id)
    client.DeleteVolumeGroupSnapshot(group_snapshot_id=group.group_snapshot_id,
                                     snapshot_ids=[s.snapshot_id for s in group.snapshots])
    assert len(client.ListSnapshots().entries) == 0


def test_raw_block_in_use_is_not_snapshotted_without_reflink(world):
    client, kubelet = world.client, world.kubelet
    volume_id = world.create('pvc-b', 16 * MIB, block())
    staging = kubelet.block_staging('pvc-b')
    kubelet.stage(volume_id, block(), staging)
    if subprocess.run(['cp', '--reflink=always', '/etc/hostname', world.pool / 'probe'], check=False,
                      capture_output=True).returncode == 0:
        pytest.skip('the disk of this machine shares blocks')
    target = kubelet.publish(volume_id, kubelet.block_target('pod-1', 'pvc-b'), block(), staging)
    message = client.fails('FAILED_PRECONDITION', 'CreateSnapshot', source_volume_id=volume_id, name='s')
    assert 'reflink' in message
    kubelet.unpublish(volume_id, target)
    kubelet.unstage(volume_id, staging)
    client.CreateSnapshot(source_volume_id=volume_id, name='s')


# --- restart, reboot, upgrade ---

def test_plugin_dies_under_running_pods(world):
    capability = mount('xfs')
    volume_id = world.create('pvc-1', 320 * MIB, capability)
    world.kubelet.stage(volume_id, capability)
    target = world.kubelet.publish(volume_id, world.kubelet.target('pod-1', 'pvc-1'), capability)
    loops = world.loops()
    with open(target / 'file', 'w', encoding='utf-8') as file:
        file.write('open ')
        for kill in (True, False):
            world.restart(kill)
            mounts = sandbox_module.mounts_below(world.root)
            world.kubelet.stage(volume_id, capability)
            world.kubelet.publish(volume_id, target, capability)
            assert sandbox_module.mounts_below(world.root) == mounts
            assert world.loops() == loops
        file.write('all the time')
    assert (target / 'file').read_text(encoding='utf-8') == 'open all the time'
    stats = world.client.NodeGetVolumeStats(volume_id=volume_id, volume_path=str(target))
    assert not stats.volume_condition.abnormal
    world.kubelet.unpublish(volume_id, target)
    world.kubelet.unstage(volume_id)
    csi.until(lambda: not world.loops())


def test_node_is_rebooted(world):
    capability = mount()
    volume_id = world.create('pvc-1', 16 * MIB, capability)
    world.kubelet.stage(volume_id, capability)
    target = world.kubelet.publish(volume_id, world.kubelet.target('pod-1', 'pvc-1'), capability)
    (target / 'file').write_text('kept', encoding='utf-8')
    world.client.close()
    world.daemon.kill()
    # No mount and no loop device is left, directories and the pool are; other numbers come first.
    for point, *_ in reversed(sandbox_module.mounts_below(world.root)):
        if point != str(world.root):
            sandbox_module.umount(point)
    assert sandbox_module.detach_below(world.pool) == []
    world.start()
    other = world.create('pvc-0', 16 * MIB, capability)
    world.kubelet.stage(other, capability)
    world.kubelet.stage(volume_id, capability)
    world.kubelet.publish(volume_id, target, capability)
    assert (target / 'file').read_text(encoding='utf-8') == 'kept'


def test_kubelet_is_upgraded_over_the_staging_layout(world):
    """A volume staged by a kubelet before 1.24 is staged once more at the new path and unstaged at the old one."""
    kubelet, capability = world.kubelet, mount()
    volume_id = world.create('pvc-1', 16 * MIB, capability)
    old = kubelet.old_staging('pvc-1')
    kubelet.stage(volume_id, capability, old)
    target = kubelet.publish(volume_id, kubelet.target('pod-1', 'pvc-1'), capability, old)
    (target / 'file').write_text('kept', encoding='utf-8')
    loops = world.loops()
    kubelet.stage(volume_id, capability)
    other = kubelet.publish(volume_id, kubelet.target('pod-2', 'pvc-1'), capability)
    assert (other / 'file').read_text(encoding='utf-8') == 'kept'
    assert world.loops() == loops
    kubelet.unpublish(volume_id, target)
    kubelet.unstage(volume_id, old)
    assert (other / 'file').read_text(encoding='utf-8') == 'kept'
    assert world.loops() == loops
    kubelet.unpublish(volume_id, other)
    kubelet.unstage(volume_id)
    csi.until(lambda: not world.loops())


def test_interrupted_create_is_undone_at_start(world):
    """Metadata that says "creating" is what a kill leaves first."""
    volume_id = world.create('pvc-1', 16 * MIB, mount())
    world.client.close()
    world.daemon.kill()
    path = world.pool / 'volumes' / f'{volume_id}.json'
    path.write_text(path.read_text(encoding='utf-8').replace('"ready"', '"creating"'), encoding='utf-8')
    world.start()
    assert world.files() == []
    assert f'object={volume_id}' in world.daemon.log() and 'interrupted' in world.daemon.log()


# --- condition ---

def test_condition(world):
    client, kubelet, capability = world.client, world.kubelet, mount('xfs')
    volume_id = world.create('pvc-1', 320 * MIB, capability)
    kubelet.stage(volume_id, capability)
    target = kubelet.publish(volume_id, kubelet.target('pod-1', 'pvc-1'), capability)
    assert not client.ControllerGetVolume(volume_id=volume_id).status.volume_condition.abnormal
    # The filesystem shuts down, as it does after an error it cannot go on with.
    fd = os.open(target, os.O_RDONLY)
    fcntl.ioctl(fd, XFS_IOC_GOINGDOWN, (2).to_bytes(4, 'little'))
    os.close(fd)
    condition = client.NodeGetVolumeStats(volume_id=volume_id, volume_path=str(target)).volume_condition
    assert condition.abnormal and condition.message
    kubelet.unpublish(volume_id, target)
    kubelet.unstage(volume_id)
    kubelet.stage(volume_id, capability)
    kubelet.publish(volume_id, target, capability)
    condition = client.NodeGetVolumeStats(volume_id=volume_id, volume_path=str(target)).volume_condition
    assert not condition.abnormal
    kubelet.unpublish(volume_id, target)
    kubelet.unstage(volume_id)
    # The data file is cut behind our back.
    os.truncate(world.pool / 'volumes' / f'{volume_id}.img', MIB)
    condition = client.ControllerGetVolume(volume_id=volume_id).status.volume_condition
    assert condition.abnormal and 'cut' in condition.message
    (entry,) = client.ListVolumes().entries
    assert entry.status.volume_condition.abnormal
    message = client.fails('FAILED_PRECONDITION', 'NodeStageVolume', volume_id=volume_id,
                           staging_target_path=str(kubelet.staging(volume_id)), volume_capability=capability)
    assert 'cut' in message
    # What is restored from it would be staged without a word.
    assert 'cut' in client.fails('FAILED_PRECONDITION', 'CreateSnapshot', name='s', source_volume_id=volume_id)
    assert 'cut' in client.fails('FAILED_PRECONDITION', 'CreateVolume', name='clone', volume_capabilities=[capability],
                                 capacity_range={'required_bytes': 320 * MIB},
                                 volume_content_source={'volume': {'volume_id': volume_id}})
    client.DeleteVolume(volume_id=volume_id)
    assert world.files() == []


# --- the controller ---

def test_topology_and_capacity(world):
    client = world.client
    here = {'segments': {TOPOLOGY: 'node-1'}}
    there = {'segments': {TOPOLOGY: 'node-2'}}
    assert client.GetCapacity(accessible_topology=there).available_capacity == 0
    free = client.GetCapacity(accessible_topology=here, volume_capabilities=[mount('xfs')])
    assert free.available_capacity > 0 and free.minimum_volume_size.value == 300 * MIB
    volume = client.CreateVolume(name='a', volume_capabilities=[mount()], capacity_range={'required_bytes': MIB},
                                 accessibility_requirements={'requisite': [there, here]}).volume
    assert csi.pairs(volume.accessible_topology[0].segments) == {TOPOLOGY: 'node-1'}
    client.fails('RESOURCE_EXHAUSTED', 'CreateVolume', name='b', volume_capabilities=[mount()],
                 accessibility_requirements={'requisite': [there]})
    message = client.fails('RESOURCE_EXHAUSTED', 'CreateVolume', name='c', volume_capabilities=[mount()],
                           capacity_range={'required_bytes': 1 << 60})
    assert 'node-1' in message
    message = client.fails('OUT_OF_RANGE', 'CreateVolume', name='d', volume_capabilities=[mount('xfs')],
                           capacity_range={'required_bytes': MIB, 'limit_bytes': 200 * MIB})
    assert 'xfs' in message and str(300 * MIB) in message
    message = client.fails('INVALID_ARGUMENT', 'CreateVolume', name='e', volume_capabilities=[mount()],
                           parameters={'type': 'gp3'})
    assert 'type' in message


@pytest.mark.parametrize('percent', (100, 300))
def test_overcommit(build, sandbox, percent):
    device = sandbox.loop(512 * MIB, ['mkfs.ext4', '-q'])
    pool = sandbox.mounted(device, 'ext4') / 'pool'
    pool.mkdir(mode=0o700)
    world = World(build, sandbox, pool, [f'--pool-overcommit={percent}', '--pool-reserve=10%'])
    client = world.client
    made = []
    for number in range(50):
        try:
            made.append(world.create(f'v{number}', 100 * MIB, mount()))
        except csi.Failure as failure:
            assert failure.code == 'RESOURCE_EXHAUSTED'
            break
    # Nine tenths of what is free of a filesystem of 512 MiB.
    assert len(made) == (4 if percent == 100 else 12)
    thick = client.GetCapacity(parameters={'provisioning': 'thick'}).available_capacity
    thin = client.GetCapacity().available_capacity
    assert thin < 100 * MIB and thick <= thin
    world.client.close()
    world.daemon.kill()


def test_mutable_provisioning(world):
    client = world.client
    volume_id = world.create('a', 64 * MIB, mount(), parameters={'provisioning': 'thin'})
    image = world.pool / 'volumes' / f'{volume_id}.img'
    assert image.stat().st_blocks * 512 < MIB
    client.ControllerModifyVolume(volume_id=volume_id, mutable_parameters={'provisioning': 'thick'})
    assert image.stat().st_blocks * 512 >= 64 * MIB
    client.fails('INVALID_ARGUMENT', 'ControllerModifyVolume', volume_id=volume_id, mutable_parameters={'iops': '3'})
    thick = world.create('b', 64 * MIB, mount(), mutable_parameters={'provisioning': 'thick'})
    assert (world.pool / 'volumes' / f'{thick}.img').stat().st_blocks * 512 >= 64 * MIB


def test_a_second_plugin_on_the_pool_is_refused(world, build, sandbox):
    directory = sandbox.path / 'second'
    directory.mkdir()
    second = csi.Daemon(build, directory, [f'--pool={world.pool}'], kubelet_root=world.root)
    second.start(ready_seconds=0)
    assert second.process.wait(30) == 1
    assert 'in use by another berth-csi' in second.log()
    world.client.Probe()


def test_other_loop_devices_are_left_alone(world, sandbox):
    kubelet, capability = world.kubelet, mount()
    foreign = sandbox.loop(8 * MIB)
    inside = world.pool / 'volumes' / 'somebody-elses.img'
    inside.write_bytes(bytes(MIB))
    other = subprocess.run(['losetup', '--find', '--show', inside], check=True, capture_output=True,
                           text=True).stdout.strip()
    volume_id = world.create('pvc-1', 16 * MIB, capability)
    kubelet.stage(volume_id, capability)
    kubelet.unstage(volume_id)
    world.client.DeleteVolume(volume_id=volume_id)
    world.restart()
    for device in (foreign, other):
        assert subprocess.run(['losetup', device], check=False, capture_output=True).returncode == 0
    assert inside.exists()


@pytest.mark.deadline(240)
def test_many_pods_at_once(world):
    kubelet, capability = world.kubelet, mount()

    def pod(number):
        name = f'pvc-{number}'
        volume_id = world.create(name, 16 * MIB, capability)
        kubelet.stage(volume_id, capability)
        target = kubelet.publish(volume_id, kubelet.target(f'pod-{number}', name), capability)
        (target / 'file').write_text(name, encoding='utf-8')
        world.client.NodeGetVolumeStats(volume_id=volume_id, volume_path=str(target))
        assert (target / 'file').read_text(encoding='utf-8') == name
        kubelet.unpublish(volume_id, target)
        kubelet.unstage(volume_id)
        world.client.DeleteVolume(volume_id=volume_id)

    with concurrent.futures.ThreadPoolExecutor(40) as workers:
        for one in [workers.submit(pod, number) for number in range(40)]:
            one.result()
    assert world.files() == []
    csi.until(lambda: not world.loops())
    with contextlib.suppress(csi.Failure):
        world.client.Probe()
