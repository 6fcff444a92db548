# SPDX-License-Identifier: Apache-2.0
"""Providers hetzner, linode, scaleway and cloudscale: their disks are SCSI disks of QEMU, which say who they are.

Each has a made machine with loop devices for its disks, and a metadata service that answers as the cloud's does.
Encrypted volumes are in test_luks.py.
"""

import json
import os
import subprocess
import threading
import time

import pytest

import disks
import metadata
from csi import SINGLE_NODE_SINGLE_WRITER, Client, block_capability, mount_capability, pairs

UUID = '6b1d2c3e-4f50-4a6b-8c7d-9e0f1a2b3c4d'
OTHER_UUID = '6b1d2c3e-4f50-4a6b-8c7d-000000000000'


class Hetzner:
    provider, driver, vendor, service = 'hetzner', 'csi.hetzner.cloud', 'Hetzner', metadata.Hetzner
    volume, other = '98765432', '98765433'
    publish_context = {'devicePath': '/dev/disk/by-id/scsi-0HC_Volume_98765432'}
    link = '/dev/disk/by-id/scsi-0HC_Volume_98765432'
    node_id, segments, limit = '48291017', {'csi.hetzner.cloud/location': 'fsn1'}, 16
    capabilities = [('service', 1), ('service', 2), ('expansion', 1), ('expansion', 2)]
    node_capabilities = {2, 3}
    stages = False

    @staticmethod
    def disk(tree, name, volume, **more):
        return tree.scsi(name, f'0:0:{ord(name[-1]) - 97}:1', 'HC', 'Volume', pg80=disks.page_80(volume),
                         pg83=disks.page_83(disks.designator(0, volume.encode())), **more)


class Linode:
    provider, driver, vendor, service = 'linode', 'linodebs.csi.linode.com', 'Akamai', metadata.Linode
    volume, other = '1234567-pvc0123456789abcdef', '1234568-pvcffffffffffffffff'
    publish_context = {'devicePath': '/dev/disk/by-id/scsi-0Linode_Volume_pvc0123456789abcdef'}
    link = '/dev/disk/by-id/scsi-0Linode_Volume_pvc0123456789abcdef'
    # 4 GiB: the least, 8, without the instance's own disk.
    node_id, segments, limit = '12345678', {'topology.linode.com/region': 'us-east'}, 7
    capabilities = [('service', 1), ('service', 2), ('expansion', 2)]
    node_capabilities = {1, 2, 3, 4, 5}
    stages = True

    @staticmethod
    def disk(tree, name, volume, **more):
        label = volume.partition('-')[2][:32]
        return tree.scsi(name, f'0:0:{ord(name[-1]) - 97}:1', 'Linode', 'Volume',
                         pg83=disks.page_83(disks.designator(0, label.encode())), **more)


class Scaleway:
    provider, driver, vendor, service = 'scaleway', 'csi.scaleway.com', 'Scaleway', metadata.Scaleway
    volume, other = f'fr-par-1/{UUID}', f'fr-par-1/{OTHER_UUID}'
    publish_context = {'csi.scaleway.com/volume-id': UUID, 'csi.scaleway.com/volume-name': 'pvc-1',
                       'csi.scaleway.com/volume-zone': 'fr-par-1'}
    link = f'/dev/disk/by-id/scsi-0SCW_sbs_volume-{UUID}'
    node_id, segments = 'fr-par-1/11111111-2222-4333-8444-555555555555', {'topology.csi.scaleway.com/zone': 'fr-par-1'}
    limit = 15
    capabilities = [('service', 1), ('service', 2), ('expansion', 1)]
    node_capabilities = {1, 2, 3, 5}
    stages = True

    @staticmethod
    def disk(tree, name, volume, model='sbs', **more):
        text = 'volume-' + volume.partition('/')[2]
        return tree.scsi(name, f'0:0:{ord(name[-1]) - 97}:1', 'SCW', model,
                         pg83=disks.page_83(disks.designator(0, text.encode())), **more)


class Cloudscale:
    provider, driver, vendor, service = 'cloudscale', 'csi.cloudscale.ch', 'QEMU', metadata.Cloudscale
    volume, other = UUID, OTHER_UUID
    publish_context = {'csi.cloudscale.ch/volume-name': 'pvc-1'}
    link = f'/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_{UUID}'
    node_id, segments = '47cec963-fcd2-482f-bdb6-24461b2d47b1', {'csi.cloudscale.ch/zone': 'rma1'}
    limit = 125
    capabilities = [('service', 1), ('service', 2), ('expansion', 1)]
    node_capabilities = {1, 2, 3}
    stages = True

    @staticmethod
    def disk(tree, name, volume, **more):
        return tree.scsi(name, f'0:0:{ord(name[-1]) - 97}:1', 'QEMU', 'QEMU HARDDISK',
                         pg83=disks.page_83(disks.designator(0, volume.encode())), **more)


CLOUDS = [Hetzner, Linode, Scaleway, Cloudscale]
each_cloud = pytest.mark.parametrize('cloud', CLOUDS, ids=lambda cloud: cloud.provider)


class Unstaged(disks.Kubelet):
    """Kubelet with a driver that does not stage: a volume is formatted and mounted by its publishing."""

    def publish_fields(self, pod, volume_id, capability=None, **more):
        capability = capability or mount_capability()
        path = self.target(pod, volume_id, 'block' in capability)
        return path, {'volume_id': volume_id, 'target_path': str(path), 'volume_capability': capability,
                      **self.contexts, **more}

    def publish(self, pod, volume_id, capability=None, **more):
        path, fields = self.publish_fields(pod, volume_id, capability, **more)
        self.client.NodePublishVolume(**fields)
        return path

    def stage_fails(self, code, volume_id, capability=None, timeout=None, **more):
        _, fields = self.publish_fields('pod-fails', volume_id, capability, **more)
        return self.client.fails(code, 'NodePublishVolume', timeout, **fields)

    def stage(self, volume_id, capability=None, **more):
        return self.publish('pod-staging', volume_id, capability, **more)

    def unstage(self, volume_id):
        self.unpublish(volume_id, self.target('pod-staging', volume_id))

    def expand(self, volume_id, path, required_bytes):
        return self.client.NodeExpandVolume(volume_id=volume_id, volume_path=str(path),
                                            capacity_range={'required_bytes': required_bytes}).capacity_bytes


@pytest.fixture(name='tree')
def tree_fixture(sandbox):
    tree = disks.Tree(sandbox)
    tree.scsi('sda', '0:0:0:0', 'QEMU', 'QEMU HARDDISK', pg80=disks.page_80('drive-scsi0-0-0-0'),
              pg83=disks.page_83(disks.designator(0, b'drive-scsi0-0-0-0')))
    (tree.root / 'sys/block/sda/device/type').write_text('0\n')
    return tree


@pytest.fixture(name='make')
def make_fixture(tree, sandbox, build):
    """make(cloud, *flags) -> Daemon"""
    with disks.daemons(build, sandbox, tree) as make_daemon:
        def make(cloud, *argv, **kwargs):
            tree.dmi(sys_vendor=cloud.vendor, product_serial='12345678')
            return make_daemon(*argv, **{'provider': cloud.provider, **kwargs})
        yield make


def kubelet_of(cloud, daemon, client, **more):
    kind = disks.Kubelet if cloud.stages else Unstaged
    return kind(daemon, client, cloud.driver, **{'publish_context': cloud.publish_context, **more})


def kinds(reply):
    return [('service', one.service.type) if one.HasField('service') else ('expansion', one.volume_expansion.type)
            for one in reply.capabilities]


# --- who it is ---

@each_cloud
def test_who_it_is(make, cloud):
    cloud.service().start(cloud.service.address)
    with make(cloud).start() as client:
        assert client.GetPluginInfo().name == cloud.driver
        assert kinds(client.GetPluginCapabilities()) == cloud.capabilities
        assert {one.rpc.type for one in client.NodeGetCapabilities().capabilities} >= cloud.node_capabilities
        assert (1 in {one.rpc.type for one in client.NodeGetCapabilities().capabilities}) == cloud.stages
        node = client.NodeGetInfo()
        assert node.node_id == cloud.node_id
        assert pairs(node.accessible_topology.segments) == cloud.segments
        assert node.max_volumes_per_node == cloud.limit


@pytest.mark.parametrize('cloud', [Hetzner, Linode, Scaleway], ids=lambda cloud: cloud.provider)
def test_found_by_itself(make, cloud):
    """Without --provider, by the firmware."""
    cloud.service().start(cloud.service.address)
    daemon = make(cloud)
    daemon.argv = [word for word in daemon.argv if not word.startswith('--provider')]
    with daemon.start() as client:
        assert client.GetPluginInfo().name == cloud.driver


@each_cloud
def test_flags_instead_of_metadata(make, cloud):
    """Nobody answers, and nobody needs to: the command line knows, and wins over upstream's numbers."""
    argv = ['--node-id=i-1', '--zone=nbg1', '--region=nbg1', '--volume-limit=5']
    with make(cloud, *argv).start() as client:
        node = client.NodeGetInfo()
        assert node.node_id == ('nbg1/i-1' if cloud is Scaleway else 'i-1')
        assert list(pairs(node.accessible_topology.segments).values()) == ['nbg1']
        assert node.max_volumes_per_node == 5


@each_cloud
def test_slow_metadata(make, cloud):
    """Not ready with the reason, alive, and ready once the service answers."""
    service = cloud.service()
    service.statuses = [503] * 200
    service.start(cloud.service.address)
    daemon = make(cloud)
    daemon.start(ready_seconds=0)
    while not daemon.socket_path.exists():
        time.sleep(0.01)
    with Client(daemon.socket_path) as client:
        assert not client.Probe(wait_for_ready=True).ready.value
        assert '503' in client.fails('UNAVAILABLE', 'NodeGetInfo', timeout=20)
        service.statuses = []
        client.wait_ready(20)
        assert client.NodeGetInfo().node_id == cloud.node_id
    assert daemon.process.poll() is None


def test_hetzner_environment(make):
    metadata.Hetzner().start()
    environment = {'HCLOUD_VOLUME_DEFAULT_LOCATION': 'hel1', 'ENABLE_PROVIDED_BY_TOPOLOGY': 'true'}
    with make(Hetzner, environment=environment).start() as client:
        assert pairs(client.NodeGetInfo().accessible_topology.segments) == {
            'csi.hetzner.cloud/location': 'hel1', 'instance.hetzner.cloud/provided-by': 'cloud'}


@pytest.mark.parametrize('zone', ['fsn1', 'fsn1-dc14-x', '-dc14', 'fsn1-'])
def test_hetzner_strange_zone(make, zone):
    service = metadata.Hetzner()
    service.values = {**service.values, 'availability-zone': zone}
    service.start()
    with make(Hetzner).start() as client:
        assert 'availability zone' in client.fails('UNAVAILABLE', 'NodeGetInfo')


@pytest.mark.parametrize('memory, limit', [(1024, 7), (8192, 7), (16384, 15), (65536, 63), (196608, 63)])
def test_linode_limit_follows_memory(make, memory, limit):
    class Service(metadata.Linode):
        def content(self, path, headers):
            status, body = super().content(path, headers)[:2]
            return status, {**body, 'specs': {'memory': memory}}
    Service().start()
    with make(Linode).start() as client:
        assert client.NodeGetInfo().max_volumes_per_node == limit


def test_linode_limit_counts_own_disks(make, tree):
    metadata.Linode().start()
    tree.scsi('sdx', '0:0:9:0', 'QEMU', 'QEMU HARDDISK')
    (tree.root / 'sys/block/sdx/device/type').write_text('0\n')
    Linode.disk(tree, 'sdb', Linode.volume)
    cd = tree.scsi('sr0', '1:0:0:0', 'QEMU', 'QEMU DVD-ROM')
    (cd.device / 'type').write_text('5\n')
    with make(Linode).start() as client:
        assert client.NodeGetInfo().max_volumes_per_node == 6


def test_linode_id_of_firmware(make):
    """Without a metadata service the firmware knows the ID; the region must be told."""
    with make(Linode, environment={'NODE_REGION': 'eu-west'}).start() as client:
        node = client.NodeGetInfo()
        assert node.node_id == '12345678'
        assert pairs(node.accessible_topology.segments) == {'topology.linode.com/region': 'eu-west'}


def test_scaleway_scratch_volumes(make):
    class Service(metadata.Scaleway):
        def answer(self, method, path, headers):
            status, body = super().answer(method, path, headers)
            return status, {**body, 'volumes': {'0': {'volume_type': 'b_ssd'}, '1': {'volume_type': 'scratch'},
                                                '2': {'volume_type': 'scratch'}}}
    Service().start(metadata.Scaleway.address)
    with make(Scaleway).start() as client:
        assert client.NodeGetInfo().max_volumes_per_node == 13


KEPT = {'ds': {'meta_data': {'id': 'aaaaaaaa-0000-4000-8000-000000000001', 'location': {'zone_id': 'nl-ams-2'},
                             'volumes': {'0': {'volume_type': 'scratch'}}}}}


def test_scaleway_cloud_init(make, tree):
    """As upstream: what cloud-init kept is taken, and no service is asked."""
    (tree.root / 'run/cloud-init').mkdir(parents=True)
    (tree.root / 'run/cloud-init/instance-data.json').write_text(json.dumps(KEPT | {'v1': {'platform': 'scaleway'}}))
    with make(Scaleway).start() as client:
        node = client.NodeGetInfo()
        assert node.node_id == 'nl-ams-2/aaaaaaaa-0000-4000-8000-000000000001'
        assert node.max_volumes_per_node == 14


@pytest.mark.parametrize('text', ['', '{', '{"ds": {"meta_data": {"id": 7}}}', '[]',
                                  # A tenant's volume with the label "cidata" was cloud-init's source.
                                  json.dumps(KEPT), json.dumps(KEPT | {'v1': {'platform': 'nocloud'}}),
                                  json.dumps(KEPT | {'v1': {'platform': 'configdrive', 'cloud_name': 'scaleway'}})])
def test_scaleway_broken_cloud_init(make, tree, text):
    metadata.Scaleway().start(metadata.Scaleway.address)
    (tree.root / 'run/cloud-init').mkdir(parents=True)
    (tree.root / 'run/cloud-init/instance-data.json').write_text(text)
    with make(Scaleway).start() as client:
        assert client.NodeGetInfo().node_id == Scaleway.node_id


@pytest.mark.parametrize('value, limit', [('60', 60), ('many', 125)])
def test_cloudscale_environment(make, value, limit):
    metadata.Cloudscale().start()
    with make(Cloudscale, environment={'CLOUDSCALE_MAX_CSI_VOLUMES_PER_NODE': value}).start() as client:
        assert client.NodeGetInfo().max_volumes_per_node == limit


# --- volumes ---

@pytest.mark.parametrize('fs_type', ['', 'xfs'])
@each_cloud
def test_life(make, tree, cloud, fs_type):
    cloud.service().start(cloud.service.address)
    disk = cloud.disk(tree, 'sdb', cloud.volume)
    other = cloud.disk(tree, 'sdc', cloud.other)
    daemon = make(cloud)
    with daemon.start() as client:
        disks.whole_life(kubelet_of(cloud, daemon, client), disk, cloud.volume, fs_type)
    assert disk.filesystem() == (fs_type or 'ext4')
    assert other.filesystem() == ''


@each_cloud
def test_block(make, tree, cloud):
    cloud.service().start(cloud.service.address)
    disk = cloud.disk(tree, 'sdb', cloud.volume)
    daemon = make(cloud)
    with daemon.start() as client:
        kubelet = kubelet_of(cloud, daemon, client)
        if cloud.stages:
            kubelet.stage(cloud.volume, block_capability())
        target = kubelet.publish('pod-1', cloud.volume, block_capability())
        assert os.stat(target).st_rdev == disk.devno
        disk.grow(2 * disks.GIB)
        assert kubelet.expand(cloud.volume, target, 2 * disks.GIB) == 2 * disks.GIB
        assert disk.asked_to_rescan()
        kubelet.unpublish(cloud.volume, target)
        if cloud.stages:
            kubelet.unstage(cloud.volume)
    assert disk.filesystem() == ''


@each_cloud
def test_wrong_disk_is_refused(make, tree, cloud):
    """The link of udev is of the disk that was there before: it is not formatted, and the message says so."""
    cloud.service().start(cloud.service.address)
    other = cloud.disk(tree, 'sdb', cloud.other)
    tree.link(cloud.link, 'sdb')
    daemon = make(cloud)
    with daemon.start() as client:
        message = kubelet_of(cloud, daemon, client).stage_fails('NOT_FOUND', cloud.volume, timeout=6)
        assert 'leads to sdb, which is not it' in message
        assert other.filesystem() == ''
        disk = cloud.disk(tree, 'sdd', cloud.volume)
        kubelet_of(cloud, daemon, client).stage(cloud.volume)
        assert disk.filesystem() == 'ext4' and other.filesystem() == ''
        kubelet_of(cloud, daemon, client).unstage(cloud.volume)


@each_cloud
def test_late_disk(make, tree, cloud):
    """It comes while the call waits; the SCSI hosts are asked for it."""
    cloud.service().start(cloud.service.address)
    scan = tree.scsi_host()
    daemon = make(cloud)
    with daemon.start() as client:
        timer = threading.Timer(1.5, lambda: cloud.disk(tree, 'sdb', cloud.volume))
        timer.start()
        kubelet_of(cloud, daemon, client).stage(cloud.volume)
        timer.join()
        kubelet_of(cloud, daemon, client).unstage(cloud.volume)
    assert scan.read_text() == '- - -'


@each_cloud
def test_twice(make, tree, cloud):
    cloud.service().start(cloud.service.address)
    pair = [cloud.disk(tree, name, cloud.volume) for name in ('sdb', 'sdc')]
    daemon = make(cloud)
    with daemon.start() as client:
        message = kubelet_of(cloud, daemon, client).stage_fails('FAILED_PRECONDITION', cloud.volume)
        assert '2 disks' in message
    assert [disk.filesystem() for disk in pair] == ['', '']


@pytest.mark.parametrize('cloud, volume', [
    (Hetzner, '../../x'), (Hetzner, '12a'), (Hetzner, '9' * 30), (Linode, 'pvc-1'), (Linode, '12'), (Linode, '12-'),
    (Scaleway, 'fr-par-1/x'), (Scaleway, 'a/b/c'), (Scaleway, UUID.upper()), (Cloudscale, 'short'),
    (Cloudscale, '/dev/sda0123456789012345')])
def test_strange_handles(make, cloud, volume):
    cloud.service().start(cloud.service.address)
    daemon = make(cloud)
    with daemon.start() as client:
        kubelet_of(cloud, daemon, client).stage_fails('NOT_FOUND', volume, timeout=20)


def test_hetzner_xfs_is_old(make, tree):
    """XFS as the oldest profile of xfsprogs makes it, as upstream; the volume's own words count more."""
    metadata.Hetzner().start()
    disk = Hetzner.disk(tree, 'sdb', Hetzner.volume)
    daemon = make(Hetzner)
    with daemon.start() as client:
        kubelet = kubelet_of(Hetzner, daemon, client)
        kubelet.stage(Hetzner.volume, mount_capability('xfs'))
        info = subprocess.run(['xfs_info', str(kubelet.target('pod-staging', Hetzner.volume))], check=True,
                              capture_output=True, text=True).stdout
        kubelet.unstage(Hetzner.volume)
        for word in ('reflink=0', 'bigtime=0', 'inobtcount=0', 'nrext64=0'):
            assert word in info
        subprocess.run(['wipefs', '-aq', disk.loop], check=True)
        subprocess.run(['blkdiscard', '-f', '-z', disk.loop], check=True)
        kubelet.contexts['volume_context'] = {'fsFormatOptions': "-m reflink=1 -L 'data set'"}
        kubelet.stage(Hetzner.volume, mount_capability('xfs'))
        info = subprocess.run(['xfs_info', str(kubelet.target('pod-staging', Hetzner.volume))], check=True,
                              capture_output=True, text=True).stdout
        kubelet.unstage(Hetzner.volume)
        assert 'reflink=1' in info and 'bigtime=0' in info
        label = subprocess.run(['blkid', '-p', '-s', 'LABEL', '-o', 'value', disk.loop], check=True,
                               capture_output=True, text=True).stdout
        assert label.strip() == 'data set'


def test_hetzner_two_pods(make, tree):
    """Without staging a second pod mounts it again, as kubelet has it for ReadWriteOnce on one node."""
    metadata.Hetzner().start()
    Hetzner.disk(tree, 'sdb', Hetzner.volume)
    daemon = make(Hetzner)
    with daemon.start() as client:
        kubelet = kubelet_of(Hetzner, daemon, client)
        first = kubelet.publish('pod-1', Hetzner.volume)
        (first / 'file').write_text('shared')
        second = kubelet.publish('pod-2', Hetzner.volume)
        assert (second / 'file').read_text() == 'shared'
        kubelet.unpublish(Hetzner.volume, first)
        assert (second / 'file').read_text() == 'shared'
        kubelet.unpublish(Hetzner.volume, second)


@pytest.mark.parametrize('reads_first', [False, True])
def test_hetzner_reader_beside_writer(make, tree, reads_first):
    """A pod that only reads, beside one that writes: the second got EBUSY for as long as the first ran."""
    metadata.Hetzner().start()
    Hetzner.disk(tree, 'sdb', Hetzner.volume)
    daemon = make(Hetzner)
    with daemon.start() as client:
        kubelet = kubelet_of(Hetzner, daemon, client)
        kubelet.unpublish(Hetzner.volume, kubelet.publish('pod-0', Hetzner.volume))
        paths = {}
        for readonly in (reads_first, not reads_first):
            paths[readonly] = kubelet.publish(f'pod-{readonly}', Hetzner.volume, readonly=readonly)
        (paths[False] / 'file').write_text('written')
        assert (paths[True] / 'file').read_text() == 'written'
        with pytest.raises(OSError):
            (paths[True] / 'other').write_text('')
        for readonly, path in paths.items():
            # The same target in the other way: a writable one was "read-only already".
            assert 'the request asks for' in client.fails(
                'ALREADY_EXISTS', 'NodePublishVolume', volume_id=Hetzner.volume, target_path=str(path),
                volume_capability=mount_capability(), readonly=not readonly, **kubelet.contexts)
            kubelet.publish(f'pod-{readonly}', Hetzner.volume, readonly=readonly)
        for readonly in (reads_first, not reads_first):
            kubelet.unpublish(Hetzner.volume, paths[readonly])


def test_scaleway_old_volumes(make, tree):
    """b_ssd, and handles without a zone."""
    metadata.Scaleway().start(metadata.Scaleway.address)
    disk = Scaleway.disk(tree, 'sdb', Scaleway.volume, model='b_ssd')
    daemon = make(Scaleway)
    with daemon.start() as client:
        kubelet = kubelet_of(Scaleway, daemon, client)
        assert os.stat(kubelet.stage(UUID)).st_dev == disk.devno
        kubelet.unstage(UUID)
        kubelet.contexts['publish_context'] = {'csi.scaleway.com/volume-id': OTHER_UUID}
        assert 'volume-id' in kubelet.stage_fails('INVALID_ARGUMENT', UUID)


def test_linode_partition(make, tree):
    metadata.Linode().start()
    disk = Linode.disk(tree, 'sdb', Linode.volume)
    devno = disk.partition(1)
    daemon = make(Linode)
    with daemon.start() as client:
        kubelet = kubelet_of(Linode, daemon, client, volume_context={'partition': '1'})
        assert os.stat(kubelet.stage(Linode.volume)).st_dev == devno
        kubelet.unstage(Linode.volume)


def test_linode_long_label(make, tree):
    """Upstream's labels end after 32 characters, in the handle as on the disk."""
    metadata.Linode().start()
    volume = '77-' + 'pvc' + '0123456789' * 4
    disk = Linode.disk(tree, 'sdb', volume)
    daemon = make(Linode)
    with daemon.start() as client:
        kubelet = kubelet_of(Linode, daemon, client)
        assert os.stat(kubelet.stage(volume)).st_dev == disk.devno
        kubelet.unstage(volume)


def test_linode_single_writer(make, tree):
    """A second target is refused to SINGLE_NODE_SINGLE_WRITER."""
    metadata.Linode().start()
    Linode.disk(tree, 'sdb', Linode.volume)
    daemon = make(Linode)
    capability = mount_capability('', SINGLE_NODE_SINGLE_WRITER)
    with daemon.start() as client:
        kubelet = kubelet_of(Linode, daemon, client)
        kubelet.stage(Linode.volume, capability)
        target = kubelet.publish('pod-1', Linode.volume, capability)
        second = kubelet.target('pod-2', Linode.volume)
        client.fails('FAILED_PRECONDITION', 'NodePublishVolume', target_path=str(second),
                     **kubelet.stage_fields(Linode.volume, capability))
        kubelet.unpublish(Linode.volume, target)
        kubelet.unstage(Linode.volume)
