# SPDX-License-Identifier: Apache-2.0
"""Provider azure: a made virtual machine with loop devices for managed disks, and a metadata service as Azure's."""

import copy
import os
import pathlib
import threading

import pytest

import disks
import metadata
from csi import MULTI_NODE_MULTI_WRITER, block_capability, mount_capability, pairs

NODE_NAME = 'aks-nodepool1-31415926-vmss000002'
DRIVER = 'disk.csi.azure.com'
VOLUME = ('/subscriptions/8d10da13-8125-4ba9-a717-bf7490507b3d/resourceGroups/mc_shop/providers/Microsoft.Compute/'
          'disks/pvc-7a1c')
ROOT = 'VMBUS:00/00000000-0000-8899-0000-000000000000'
SYSTEM = 'VMBUS:00/f8b3781a-1e82-4818-a1c3-63d806ec15bb'
DATA = 'VMBUS:00/f8b3781b-1e82-4818-a1c3-63d806ec15bb'
SECOND = 'VMBUS:00/f8b3781c-1e82-4818-a1c3-63d806ec15bb'
NVME = 'MSFT NVMe Accelerator v1.0'


def data_disk(tree, name, lun, parent=DATA, **more):
    host = {DATA: 1, SECOND: 2, SYSTEM: 0, ROOT: 0}[parent]
    return tree.scsi(name, f'{host}:0:0:{lun}', 'Msft', 'Virtual Disk', parent=parent, **more)


@pytest.fixture(name='tree')
def tree_fixture(sandbox):
    tree = disks.Tree(sandbox)
    tree.dmi(sys_vendor='Microsoft Corporation', chassis_asset_tag='7783-7084-3265-9085-8269-3286-77')
    data_disk(tree, 'sda', 0, SYSTEM)
    data_disk(tree, 'sdb', 1, SYSTEM)
    return tree


@pytest.fixture(name='make')
def make_fixture(tree, sandbox, build):
    """make(flags) -> Daemon"""
    with disks.daemons(build, sandbox, tree) as make:
        yield lambda *argv, **kwargs: make(*argv, **{'provider': 'azure', 'node_name': NODE_NAME, **kwargs})


def kubelet_of(daemon, client, lun='1', **volume_context):
    return disks.Kubelet(daemon, client, DRIVER, publish_context={'LUN': lun}, volume_context=volume_context)


def test_who_it_is(make):
    metadata.Azure().start()
    with make().start() as client:
        assert client.GetPluginInfo().name == DRIVER
        assert [one.service.type for one in client.GetPluginCapabilities().capabilities] == [1, 2]
        kinds = {one.rpc.type for one in client.NodeGetCapabilities().capabilities}
        assert kinds >= {1, 2, 3, 5}
        node = client.NodeGetInfo()
        assert node.node_id == 'aks-nodepool1-31415926-vmss000002'
        assert pairs(node.accessible_topology.segments) == {
            'topology.disk.csi.azure.com/zone': 'westeurope-1', 'topology.kubernetes.io/zone': 'westeurope-1'}
        assert node.max_volumes_per_node == 8  # Standard_D4s_v5


@pytest.mark.parametrize('change, flags, zone, limit', [
    ({'zone': ''}, [], '', 8),
    ({'location': 'EastUS2', 'zone': '3'}, ['--reserved-volumes=2'], 'eastus2-3', 6),
    ({'vmSize': 'Standard_Unheard_of'}, ['--volume-limit=5'], 'westeurope-1', 5),
    ({}, ['--zone=westus-2', '--instance-type=Standard_D16s_v5'], 'westus-2', 32),
    ({}, ['--zone=0', '--instance-type=Standard_D2s_v5'], '', 4)])
def test_node_info(make, change, flags, zone, limit):
    service = metadata.Azure()
    service.instance = copy.deepcopy(service.instance)
    service.instance['compute'].update(change)
    service.start()
    with make(*flags).start() as client:
        node = client.NodeGetInfo()
        segments = pairs(node.accessible_topology.segments)
        assert segments['topology.disk.csi.azure.com/zone'] == zone
        assert ('topology.kubernetes.io/zone' in segments) == bool(zone)
        assert node.max_volumes_per_node == limit
        # Labels of the node are enough, and then nobody is asked.
        assert ('--zone' in ' '.join(flags)) == (not service.requests)


@pytest.mark.parametrize('fs_type', ['', 'xfs', 'btrfs'])
def test_life(make, tree, fs_type):
    metadata.Azure().start()
    disk = data_disk(tree, 'sdc', 1)
    daemon = make()
    with daemon.start() as client:
        disks.whole_life(kubelet_of(daemon, client), disk, VOLUME, fs_type)
        assert disk.filesystem() == (fs_type or 'ext4')
        assert all(other.filesystem() == '' for other in tree.disks if other is not disk)


def test_block(make, tree):
    metadata.Azure().start()
    disk = data_disk(tree, 'sdc', 4)
    capability = block_capability(MULTI_NODE_MULTI_WRITER)
    daemon = make()
    with daemon.start() as client:
        kubelet = kubelet_of(daemon, client, '/dev/disk/azure/scsi1/lun4')
        disks.whole_block_life(kubelet, disk, VOLUME, capability)


def test_nvme(make, tree):
    """Remote disks of NVMe machines: namespace 2 is LUN 0."""
    metadata.Azure().start()
    system, first, second = (tree.nvme('nvme0', 'SN: 00001', NVME, nsid=nsid) for nsid in (1, 2, 3))
    local = tree.nvme('nvme1', 'SN: 00001', 'Microsoft NVMe Direct Disk v2', nsid=3)
    daemon = make()
    with daemon.start() as client:
        staging = kubelet_of(daemon, client, '1').stage(VOLUME)
        assert os.stat(staging).st_dev == second.devno
        kubelet_of(daemon, client).unstage(VOLUME)
    assert [disk.filesystem() for disk in (system, first, second, local)] == ['', '', 'ext4', '']


def test_system_disks_are_never_it(make, tree):
    """LUN 0 and 1 of the controller of the system's and the temporary disk; udev's link is stale."""
    metadata.Azure().start()
    tree.link('/dev/disk/azure/scsi1/lun1', 'sdb')
    daemon = make()
    with daemon.start() as client:
        message = kubelet_of(daemon, client).stage_fails('NOT_FOUND', VOLUME, timeout=6)
        assert 'lun1 leads to sdb, which is not it' in message
        assert 'of another make or place' in message
    assert [disk.filesystem() for disk in tree.disks] == ['', '']


def test_wrong_vendor(make, tree):
    metadata.Azure().start()
    disk = tree.scsi('sdc', '1:0:0:1', 'QEMU', 'QEMU HARDDISK', parent=DATA)
    daemon = make()
    with daemon.start() as client:
        message = kubelet_of(daemon, client).stage_fails('NOT_FOUND', VOLUME, timeout=6)
        assert 'sdc has its LUN' in message and 'QEMU' in message
    assert disk.filesystem() == ''


def test_two_controllers(make, tree):
    """The same LUN behind two controllers of data disks."""
    metadata.Azure().start()
    pair = [data_disk(tree, 'sdc', 1), data_disk(tree, 'sdd', 1, SECOND)]
    daemon = make()
    with daemon.start() as client:
        message = kubelet_of(daemon, client).stage_fails('FAILED_PRECONDITION', VOLUME)
        assert 'sdc' in message and 'sdd' in message
    assert [disk.filesystem() for disk in pair] == ['', '']


def test_host_is_asked(make, tree):
    """The disk is there once its SCSI host was told to look."""
    metadata.Azure().start()
    scan = tree.scsi_host(1)
    stop = threading.Event()

    def host():
        while not stop.wait(0.05):
            if scan.read_text() == '- - -':
                data_disk(tree, 'sdc', 1)
                return
    thread = threading.Thread(target=host)
    thread.start()
    daemon = make()
    try:
        with daemon.start() as client:
            kubelet_of(daemon, client).stage(VOLUME, timeout=30)
            kubelet_of(daemon, client).unstage(VOLUME)
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize('lun', ['', '64', '-1', 'one', '/dev/disk/azure/scsi1/lun', '/dev/sdc'])
def test_bad_lun(make, lun):
    metadata.Azure().start()
    daemon = make()
    with daemon.start() as client:
        assert 'LUN' in kubelet_of(daemon, client, lun).stage_fails('INVALID_ARGUMENT', VOLUME)


def test_wishes(make, tree):
    """The context's type counts, directmount never formats, settings of the profile are written."""
    metadata.Azure().start()
    disk = data_disk(tree, 'sdc', 1)
    setting = pathlib.Path('/sys/block', os.path.basename(disk.loop), 'queue/read_ahead_kb')
    before = setting.read_text(encoding='ascii')
    daemon = make()
    with daemon.start() as client:
        kubelet = kubelet_of(daemon, client, fstype='xfs')
        for flag in ('directmount', 'noformat'):
            message = kubelet.stage_fails('FAILED_PRECONDITION', VOLUME, mount_capability('', flags=[flag]))
            assert 'never to be formatted' in message
        assert disk.filesystem() == ''
        kubelet.stage(VOLUME, mount_capability('ext4'))
        assert disk.filesystem() == 'xfs'
        kubelet.unstage(VOLUME)
        kubelet = kubelet_of(daemon, client, fstype='xfs', perfProfile='x', perfprofile='Advanced',
                             **{'device-setting/queue/read_ahead_kb': '52'})
        try:
            kubelet.stage(VOLUME, mount_capability('ext4', flags=['directmount', 'noatime']))
            assert setting.read_text(encoding='ascii') == '52\n'
        finally:
            setting.write_text(before, encoding='ascii')
        kubelet.unstage(VOLUME)
        kubelet.contexts['volume_context'] = {'perfprofile': 'advanced', 'device-setting/queue/../../x': '1'}
        assert 'device-setting' in kubelet.stage_fails('INVALID_ARGUMENT', VOLUME)


def test_partition(make, tree):
    metadata.Azure().start()
    disk = data_disk(tree, 'sdc', 1)
    devno = disk.partition(1)
    daemon = make()
    with daemon.start() as client:
        kubelet = kubelet_of(daemon, client, partition='1')
        assert os.stat(kubelet.stage(VOLUME)).st_dev == devno
        kubelet.unstage(VOLUME)
