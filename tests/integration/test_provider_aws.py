# SPDX-License-Identifier: Apache-2.0
"""Provider aws: a made instance with loop devices for EBS volumes, and a metadata service that answers as IMDS does."""

import os
import subprocess
import threading
import time

import pytest

import disks
import metadata
from csi import MULTI_NODE_MULTI_WRITER, Client, block_capability, mount_capability, pairs

MODEL = 'Amazon Elastic Block Store'
VOLUME = 'vol-0a1b2c3d4e5f67890'
SERIAL = 'vol0a1b2c3d4e5f67890'
CONTEXT = {'publish_context': {'devicePath': '/dev/xvdaa'}}
DRIVER = 'ebs.csi.aws.com'


@pytest.fixture(name='tree')
def tree_fixture(sandbox):
    tree = disks.Tree(sandbox)
    tree.dmi(sys_vendor='Amazon EC2', product_name='m6i.xlarge', product_uuid='ec2f1a2b-0000-4000-8000-000000000000',
             board_asset_tag='i-0a1b2c3d4e5f67890')
    tree.nvme('nvme0', 'vol0000000000000root', MODEL)
    return tree


@pytest.fixture(name='make')
def make_fixture(tree, sandbox, build):
    """make(flags) -> Daemon"""
    with disks.daemons(build, sandbox, tree) as make:
        yield lambda *argv, **kwargs: make(*argv, **{'provider': 'aws', **kwargs})


def kubelet_of(daemon, client, **more):
    return disks.Kubelet(daemon, client, DRIVER, **{**CONTEXT, **more})


def test_who_it_is(make):
    service = metadata.Aws().start()
    with make().start() as client:
        info = client.GetPluginInfo()
        assert info.name == DRIVER
        kinds = [one.service.type for one in client.GetPluginCapabilities().capabilities]
        assert kinds == [1, 2]  # CONTROLLER_SERVICE, VOLUME_ACCESSIBILITY_CONSTRAINTS
        node = client.NodeGetInfo()
        assert node.node_id == 'i-0a1b2c3d4e5f67890'
        assert pairs(node.accessible_topology.segments) == {
            'topology.kubernetes.io/zone': 'eu-central-1b', 'topology.ebs.csi.aws.com/zone': 'eu-central-1b',
            'kubernetes.io/os': 'linux'}
        # m6i.xlarge: 27 shared, less a second interface, the root and one more disk of the start.
        assert node.max_volumes_per_node == 24
        service.macs += ['0e:49:61:0f:c3:13', '0e:49:61:0f:c3:14']
        assert client.NodeGetInfo().max_volumes_per_node == 22


def test_found_by_itself(make):
    """Without --provider."""
    metadata.Aws().start()
    daemon = make()
    daemon.argv = [word for word in daemon.argv if not word.startswith('--provider')]
    with daemon.start() as client:
        assert client.GetPluginInfo().name == DRIVER


@pytest.mark.parametrize('flags, expected', [
    (['--volume-limit=7'], 7), (['--reserved-volumes=3'], 23), (['--reserved-volumes=0'], 26),
    (['--instance-type=m7i.large'], 30), (['--instance-type=m4.large'], 37)])
def test_limits(make, flags, expected):
    metadata.Aws().start()
    with make(*flags).start() as client:
        assert client.NodeGetInfo().max_volumes_per_node == expected


def test_outpost(make):
    class Outpost(metadata.Aws):
        def content(self, path, headers):
            if path == '/latest/meta-data/outpost-arn':
                return 200, 'arn:aws:outposts:us-west-2:123456789012:outpost/op-1234567890abcdef0'
            return super().content(path, headers)
    Outpost().start()
    with make().start() as client:
        segments = pairs(client.NodeGetInfo().accessible_topology.segments)
        assert segments['topology.ebs.csi.aws.com/outpost-id'] == 'op-1234567890abcdef0'
        assert segments['topology.ebs.csi.aws.com/region'] == 'us-west-2'
        assert segments['topology.ebs.csi.aws.com/partition'] == 'aws'
        assert segments['topology.ebs.csi.aws.com/account-id'] == '123456789012'


def test_slow_metadata(make):
    """Not ready with the reason, alive, and ready once IMDS answers."""
    service = metadata.Aws()
    service.statuses = [503] * 200
    service.start()
    daemon = make()
    daemon.start(ready_seconds=0)
    while not daemon.socket_path.exists():
        time.sleep(0.01)
    with Client(daemon.socket_path) as client:
        assert not client.Probe(wait_for_ready=True).ready.value
        message = client.fails('UNAVAILABLE', 'NodeGetInfo', timeout=20)
        assert '503' in message and '--node-id' in message
        service.statuses = []
        client.wait_ready(20)
        assert client.NodeGetInfo().node_id == 'i-0a1b2c3d4e5f67890'
    assert daemon.process.poll() is None


def test_without_metadata(make):
    """The firmware tells instance and type, the manifest the zone."""
    daemon = make(environment={'AWS_EC2_METADATA_DISABLED': 'true', 'NODE_ZONE': 'us-east-1c'})
    with daemon.start() as client:
        node = client.NodeGetInfo()
        assert node.node_id == 'i-0a1b2c3d4e5f67890'
        assert pairs(node.accessible_topology.segments)['topology.kubernetes.io/zone'] == 'us-east-1c'
        assert node.max_volumes_per_node == 26
    daemon.stop()
    daemon = make(environment={'AWS_EC2_METADATA_DISABLED': 'true'})
    daemon.start(ready_seconds=0)
    while not daemon.socket_path.exists():
        time.sleep(0.01)
    with Client(daemon.socket_path) as client:
        assert '--zone' in client.fails('FAILED_PRECONDITION', 'Probe')


@pytest.mark.parametrize('fs_type', ['', 'ext3', 'xfs'])
def test_life(make, tree, fs_type):
    metadata.Aws().start()
    disk = tree.nvme('nvme1', SERIAL, MODEL)
    daemon = make()
    with daemon.start() as client:
        disks.whole_life(kubelet_of(daemon, client), disk, VOLUME, fs_type)
        assert disk.filesystem() == (fs_type or 'ext4')


def test_block(make, tree):
    metadata.Aws().start()
    disk = tree.nvme('nvme1', SERIAL, MODEL)
    capability = block_capability(MULTI_NODE_MULTI_WRITER)
    daemon = make()
    with daemon.start() as client:
        kubelet = kubelet_of(daemon, client)
        disks.whole_block_life(kubelet, disk, VOLUME, capability)
        message = kubelet.stage_fails('FAILED_PRECONDITION', VOLUME, mount_capability('', MULTI_NODE_MULTI_WRITER))
        assert 'access mode' in message
    assert disk.filesystem() == ''


def test_parameters(make, tree):
    """StorageClass parameters that become mkfs options, and those that are for another type."""
    metadata.Aws().start()
    disk = tree.nvme('nvme1', SERIAL, MODEL)
    daemon = make()
    with daemon.start() as client:
        kubelet = kubelet_of(daemon, client, volume_context={
            'blocksize': '2048', 'inodesize': '512', 'numberofinodes': '4096', 'ext4bigalloc': 'true',
            'ext4clustersize': '16384', 'storage.kubernetes.io/csiProvisionerIdentity': 'x'})
        assert 'is not a parameter of xfs' in kubelet.stage_fails('INVALID_ARGUMENT', VOLUME, mount_capability('xfs'))
        kubelet.stage(VOLUME)
        dump = subprocess.run(['dumpe2fs', '-h', disk.loop], capture_output=True, text=True, check=True).stdout
        values = {key.strip(): value.strip() for key, _, value in (line.partition(':') for line in dump.splitlines())}
        assert values['Block size'] == '2048' and values['Inode size'] == '512'
        assert values['Cluster size'] == '16384' and 'bigalloc' in values['Filesystem features']
        assert int(values['Inode count']) < 10000
        assert values['Reserved block count'] == '0'
        kubelet.unstage(VOLUME)


def test_wrong_disk_is_refused(make, tree):
    """The link of udev is of the disk that was there before: it is not formatted, and the message says so."""
    metadata.Aws().start()
    other = tree.nvme('nvme1', 'vol0ffffffffffffffff', MODEL)
    tree.link(f'/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{SERIAL}', 'nvme1n1')
    daemon = make()
    with daemon.start() as client:
        message = kubelet_of(daemon, client).stage_fails('NOT_FOUND', VOLUME, timeout=6)
        assert 'leads to nvme1n1, which is not it' in message and 'vol0ffffffffffffffff' in message
        assert other.filesystem() == ''
        # The same with the disk there, at another name.
        disk = tree.nvme('nvme2', SERIAL, MODEL)
        kubelet_of(daemon, client).stage(VOLUME)
        assert disk.filesystem() == 'ext4' and other.filesystem() == ''
        kubelet_of(daemon, client).unstage(VOLUME)


def test_late_disk(make, tree):
    metadata.Aws().start()
    daemon = make()
    with daemon.start() as client:
        timer = threading.Timer(1.5, lambda: tree.nvme('nvme1', SERIAL, MODEL))
        timer.start()
        begin = time.monotonic()
        kubelet_of(daemon, client).stage(VOLUME)
        assert time.monotonic() - begin < 30
        timer.join()
        kubelet_of(daemon, client).unstage(VOLUME)


def test_twice(make, tree):
    metadata.Aws().start()
    pair = [tree.nvme(name, SERIAL, MODEL) for name in ('nvme1', 'nvme2')]
    daemon = make()
    with daemon.start() as client:
        message = kubelet_of(daemon, client).stage_fails('FAILED_PRECONDITION', VOLUME)
        assert '2 disks' in message and 'nvme1n1' in message and 'nvme2n1' in message
    assert [disk.filesystem() for disk in pair] == ['', '']


def test_wrong_model(make, tree):
    """A disk of the instance itself may have any serial number."""
    metadata.Aws().start()
    tree.nvme('nvme1', SERIAL, 'Amazon EC2 NVMe Instance Storage')
    daemon = make()
    with daemon.start() as client:
        message = kubelet_of(daemon, client).stage_fails('NOT_FOUND', VOLUME, timeout=6)
        assert 'another make' in message and 'nvme1n1' in message


def test_stale_name(make, tree):
    """Nobody keeps /dev: the name is of a disk that is gone, and then it is missing."""
    metadata.Aws().start()
    gone = tree.nvme('nvme1', 'vol0ffffffffffffffff', MODEL)
    gone.vanish(keep_node=True)
    disk = tree.nvme('nvme2', SERIAL, MODEL, namespace='nvme1n1', node=False)
    daemon = make()
    with daemon.start() as client:
        kubelet = kubelet_of(daemon, client)
        assert 'another device' in kubelet.stage_fails('FAILED_PRECONDITION', VOLUME, timeout=20)
        assert gone.filesystem() == '' and disk.filesystem() == ''
        gone.node.unlink()
        assert 'not there' in kubelet.stage_fails('UNAVAILABLE', VOLUME, timeout=20)
        disk.make_node()
        kubelet.stage(VOLUME)
        kubelet.unstage(VOLUME)
    assert disk.filesystem() == 'ext4' and gone.filesystem() == ''


def test_partition(make, tree):
    metadata.Aws().start()
    disk = tree.nvme('nvme1', SERIAL, MODEL)
    devno = disk.partition(1)
    daemon = make()
    with daemon.start() as client:
        kubelet = kubelet_of(daemon, client, volume_context={'partition': '1'})
        staging = kubelet.stage(VOLUME)
        assert os.stat(staging).st_dev == devno
        kubelet.unstage(VOLUME)
        kubelet.contexts['volume_context'] = {'partition': '7'}
        assert 'no partition 7' in kubelet.stage_fails('FAILED_PRECONDITION', VOLUME, timeout=20)
        # Without it the disk is meant, which holds a partition table and no filesystem.
        kubelet.contexts['volume_context'] = {'partition': '0'}
        assert 'not blank' in kubelet.stage_fails('FAILED_PRECONDITION', VOLUME)
        kubelet.contexts['volume_context'] = {'partition': 'first'}
        assert 'partition' in kubelet.stage_fails('INVALID_ARGUMENT', VOLUME)


def test_a_partition_takes_what_there_is(make, tree):
    """The disk grew, and its partition did not: OK, said once a call; when somebody makes it larger, all of it."""
    metadata.Aws().start()
    disk = tree.nvme('nvme1', SERIAL, MODEL)
    size = disk.size()
    disk.partition(1)
    daemon = make()
    with daemon.start() as client:
        kubelet = kubelet_of(daemon, client, volume_context={'partition': '1'})
        capability = mount_capability('xfs')
        kubelet.stage(VOLUME, capability)
        target = kubelet.publish('pod-1', VOLUME, capability)
        before = os.statvfs(target)
        disk.grow(2 * size)
        for _ in range(2):
            assert kubelet.expand(VOLUME, target, 2 * size) == 2 * size
        assert os.statvfs(target).f_blocks == before.f_blocks
        assert 'the filesystem takes those' in daemon.log()
        subprocess.run(['sfdisk', '--quiet', '--no-reread', '--force', '-N', '1', disk.loop], input=', +\n', text=True,
                       check=True, capture_output=True)
        subprocess.run(['partx', '--update', disk.loop], check=True, capture_output=True)
        assert kubelet.expand(VOLUME, target, 2 * size) == 2 * size
        assert os.statvfs(target).f_blocks > 1.8 * before.f_blocks
        kubelet.unpublish(VOLUME, target)
        kubelet.unstage(VOLUME)


def test_xen(make, tree):
    """On Xen the name that the controller attached it by is all there is."""
    metadata.Aws().start()
    disk = tree.xen('xvdba')
    other = tree.xen('xvdbb')
    daemon = make()
    with daemon.start() as client:
        kubelet = kubelet_of(daemon, client, publish_context={'devicePath': '/dev/xvdba'})
        staging = kubelet.stage(VOLUME)
        assert os.stat(staging).st_dev == disk.devno
        kubelet.unstage(VOLUME)
    assert other.filesystem() == ''


def test_local_volume(make, tree):
    """local-ebs: each node has a disk of its own, which the publish context names."""
    metadata.Aws().start()
    disk = tree.nvme('nvme1', SERIAL, MODEL)
    volume = 'local-ebs://dev/xvdbz'
    capability = mount_capability('ext4', MULTI_NODE_MULTI_WRITER)
    daemon = make()
    with daemon.start() as client:
        kubelet = kubelet_of(daemon, client, publish_context={'devicePath': '/dev/xvdbz', 'volumeID': VOLUME})
        staging = kubelet.stage(volume, capability)
        assert os.stat(staging).st_dev == disk.devno
        target = kubelet.publish('pod-1', volume, capability)
        kubelet.unpublish(volume, target)
        kubelet.unstage(volume)
        kubelet.contexts = CONTEXT
        assert 'volumeID' in kubelet.stage_fails('INVALID_ARGUMENT', volume, capability)


def test_size_comes_later(make, tree):
    """The controller grew the volume, and the kernel does not see it yet: kubelet asks again."""
    metadata.Aws().start()
    disk = tree.nvme('nvme1', SERIAL, MODEL)
    daemon = make()
    with daemon.start() as client:
        kubelet = kubelet_of(daemon, client)
        kubelet.stage(VOLUME, mount_capability('xfs'))
        target = kubelet.publish('pod-1', VOLUME, mount_capability('xfs'))
        message = client.fails('UNAVAILABLE', 'NodeExpandVolume', volume_id=VOLUME, volume_path=str(target),
                               capacity_range={'required_bytes': 2 * disks.GIB})
        assert 'not see it yet' in message
        assert disk.asked_to_rescan()
        disk.grow(2 * disks.GIB)
        assert kubelet.expand(VOLUME, target, 2 * disks.GIB) == 2 * disks.GIB
        kubelet.unpublish(VOLUME, target)
        kubelet.unstage(VOLUME)
