# SPDX-License-Identifier: Apache-2.0
"""Provider gcp: a made instance with loop devices for persistent disks, and a metadata service as GCE's."""

import os
import pathlib
import subprocess
import threading

import pytest

import disks
import metadata
from csi import (MULTI_NODE_MULTI_WRITER, MULTI_NODE_READER_ONLY, block_capability, mount_capability, pairs)

DRIVER = 'pd.csi.storage.gke.io'
VOLUME = 'projects/shop-prod/zones/europe-west1-b/disks/pvc-3f7e'
REGIONAL = 'projects/shop-prod/regions/europe-west1/disks/pvc-3f7e'


def persistent_disk(tree, name, device_name, vendor='Google', model='PersistentDisk', **more):
    """As GCE's virtio-scsi shows it: a vendor specific designator, and page 0x80 with the same."""
    host = 'abcdefgh'.index(name[-1])
    return tree.scsi(name, f'0:0:{host}:0', vendor, model, pg80=disks.page_80(device_name),
                     pg83=disks.page_83(disks.designator(0, device_name.encode())), parent='pci0000:00/virtio0', **more)


@pytest.fixture(name='tree')
def tree_fixture(sandbox):
    tree = disks.Tree(sandbox)
    tree.dmi(sys_vendor='Google', product_name='Google Compute Engine', product_serial='GoogleCloud-0123456789ABCDEF')
    persistent_disk(tree, 'sda', 'persistent-disk-0')
    return tree


@pytest.fixture(name='make')
def make_fixture(tree, sandbox, build):
    """make(flags) -> Daemon"""
    with disks.daemons(build, sandbox, tree) as make:
        yield lambda *argv, **kwargs: make(*argv, **{'provider': 'gcp', **kwargs})


def kubelet_of(daemon, client, **contexts):
    return disks.Kubelet(daemon, client, DRIVER, **contexts)


def test_who_it_is(make):
    metadata.Gce().start()
    with make().start() as client:
        assert client.GetPluginInfo().name == DRIVER
        assert [one.service.type for one in client.GetPluginCapabilities().capabilities] == [1, 2]
        node = client.NodeGetInfo()
        assert node.node_id == 'projects/shop-prod/zones/europe-west1-b/instances/gke-prod-default-pool-4f1c2b7d-x1zq'
        assert pairs(node.accessible_topology.segments) == {'topology.gke.io/zone': 'europe-west1-b'}
        assert node.max_volumes_per_node == 127


@pytest.mark.parametrize('flags, limit', [
    (['--volume-limit=40'], 40), (['--instance-type=e2-micro'], 15), (['--instance-type=c4-standard-8'], 31),
    (['--reserved-volumes=7'], 120)])
def test_limits(make, flags, limit):
    metadata.Gce().start()
    with make(*flags).start() as client:
        assert client.NodeGetInfo().max_volumes_per_node == limit


def test_another_metadata_host(make):
    service = metadata.Gce().start(address='127.0.0.1', port=8988)
    with make(environment={'GCE_METADATA_HOST': '127.0.0.1:8988'}).start() as client:
        assert pairs(client.NodeGetInfo().accessible_topology.segments) == {'topology.gke.io/zone': 'europe-west1-b'}
    assert service.requests


def test_by_flags_alone(make):
    service = metadata.Gce().start()
    node = 'projects/p/zones/us-east1-c/instances/n'
    with make('--node-id', node, '--zone', 'us-east1-c', '--instance-type', 'n2-standard-4').start() as client:
        assert client.NodeGetInfo().node_id == node
    assert not service.requests


@pytest.mark.parametrize('volume', [VOLUME, REGIONAL])
@pytest.mark.parametrize('fs_type', ['', 'xfs', 'btrfs'])
def test_life(make, tree, volume, fs_type):
    metadata.Gce().start()
    zonal = persistent_disk(tree, 'sdb', 'pvc-3f7e')
    regional = persistent_disk(tree, 'sdc', 'pvc-3f7e_regional')
    disk, other = (zonal, regional) if volume == VOLUME else (regional, zonal)
    daemon = make()
    with daemon.start() as client:
        disks.whole_life(kubelet_of(daemon, client), disk, volume, fs_type)
        assert disk.filesystem() == (fs_type or 'ext4') and other.filesystem() == ''


def test_block(make, tree):
    metadata.Gce().start()
    disk = persistent_disk(tree, 'sdb', 'pvc-3f7e')
    capability = block_capability(MULTI_NODE_MULTI_WRITER)
    daemon = make()
    with daemon.start() as client:
        kubelet = kubelet_of(daemon, client)
        disks.whole_block_life(kubelet, disk, VOLUME, capability)


def test_readers(make, tree):
    """Read-only on several nodes: not formatted by a reader, and a journal is not replayed."""
    metadata.Gce().start()
    disk = persistent_disk(tree, 'sdb', 'pvc-3f7e')
    capability = mount_capability('ext4', MULTI_NODE_READER_ONLY)
    daemon = make()
    with daemon.start() as client:
        kubelet = kubelet_of(daemon, client)
        assert 'blank' in kubelet.stage_fails('FAILED_PRECONDITION', VOLUME, capability)
        subprocess.run(['mkfs.ext4', '-q', disk.loop], check=True)
        staging = kubelet.stage(VOLUME, capability)
        with pytest.raises(OSError):
            (staging / 'file').write_text('x')
        kubelet.unstage(VOLUME)


def test_wrong_disk_is_refused(make, tree):
    metadata.Gce().start()
    other = persistent_disk(tree, 'sdb', 'pvc-other')
    tree.link('/dev/disk/by-id/google-pvc-3f7e', 'sdb')
    foreign = persistent_disk(tree, 'sdc', 'pvc-3f7e', 'QEMU', 'QEMU HARDDISK')
    daemon = make()
    with daemon.start() as client:
        message = kubelet_of(daemon, client).stage_fails('NOT_FOUND', VOLUME, timeout=6)
        assert 'google-pvc-3f7e leads to sdb, which is not it' in message
        assert 'sdc has its SCSI designator' in message and 'sdb (pvc-other)' in message
    assert other.filesystem() == '' and foreign.filesystem() == ''


def test_no_link_and_late(make, tree):
    """There is no udev, and the disk comes after the call."""
    metadata.Gce().start()
    timer = threading.Timer(1, lambda: persistent_disk(tree, 'sdb', 'pvc-3f7e'))
    timer.start()
    daemon = make()
    with daemon.start() as client:
        kubelet_of(daemon, client).stage(VOLUME)
        kubelet_of(daemon, client).unstage(VOLUME)
    timer.join()


def test_two_with_one_name(make, tree):
    metadata.Gce().start()
    pair = [persistent_disk(tree, name, 'pvc-3f7e') for name in ('sdb', 'sdc')]
    daemon = make()
    with daemon.start() as client:
        assert 'sdc' in kubelet_of(daemon, client).stage_fails('FAILED_PRECONDITION', VOLUME)
    assert [disk.filesystem() for disk in pair] == ['', '']


@pytest.mark.parametrize('volume', ['pvc-3f7e', 'projects/p/zones/z/disks/', 'projects/p/zones/z/instances/i',
                                    'projects/p/global/z/disks/d', 'projects//zones/z/disks/d',
                                    'projects/p/zones/z/disks/a/b'])
def test_bad_handle(make, volume):
    metadata.Gce().start()
    daemon = make()
    with daemon.start() as client:
        assert 'expected' in kubelet_of(daemon, client).stage_fails('NOT_FOUND', volume)


def test_pseudo_mount_options(make, tree):
    metadata.Gce().start()
    disk = persistent_disk(tree, 'sdb', 'pvc-3f7e')
    setting = pathlib.Path('/sys/block', os.path.basename(disk.loop), 'queue/read_ahead_kb')
    before = setting.read_text(encoding='ascii')
    flags = ['read_ahead_kb=8', 'noatime', 'btrfs-allocation-data-bg_reclaim_threshold=90',
             'btrfs-bdi-read_ahead_kb=16']
    daemon = make()
    with daemon.start() as client:
        kubelet = kubelet_of(daemon, client)
        try:
            staging = kubelet.stage(VOLUME, mount_capability('btrfs', flags=flags))
            uuid = subprocess.run(['blkid', '-p', '-s', 'UUID', '-o', 'value', disk.loop], capture_output=True,
                                  text=True, check=True).stdout.strip()
            assert setting.read_text(encoding='ascii') == '8\n'
            btrfs = pathlib.Path('/sys/fs/btrfs', uuid)
            assert (btrfs / 'allocation/data/bg_reclaim_threshold').read_text(encoding='ascii') == '90\n'
            assert (btrfs / 'bdi/read_ahead_kb').read_text(encoding='ascii') == '16\n'
            target = kubelet.publish('pod-1', VOLUME, mount_capability('btrfs', flags=flags))
            kubelet.unpublish(VOLUME, target)
        finally:
            setting.write_text(before, encoding='ascii')
        assert os.path.ismount(staging)
        kubelet.unstage(VOLUME)
        message = kubelet.stage_fails('INVALID_ARGUMENT', VOLUME, mount_capability('btrfs', flags=['read_ahead_kb=x']))
        assert 'read_ahead_kb' in message


def test_data_cache_is_refused(make, tree):
    metadata.Gce().start()
    disk = persistent_disk(tree, 'sdb', 'pvc-3f7e')
    daemon = make()
    with daemon.start() as client:
        kubelet = kubelet_of(daemon, client, publish_context={'data-cache-size': '100', 'data-cache-mode': 'writeback'})
        assert 'data cache' in kubelet.stage_fails('FAILED_PRECONDITION', VOLUME)
    assert disk.filesystem() == ''
