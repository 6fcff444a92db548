# SPDX-License-Identifier: Apache-2.0
"""Disks found in the real sysfs of a machine that real-disks.sh starts: no made tree, no udev."""

import os
import pathlib
import subprocess
import time

import pytest

import disks
from csi import Daemon, mount_capability

ZONE = 'europe-west1-b'
GOOGLE = 'projects/p/zones/europe-west1-b/disks/'
NODE = ['--node-id=projects/p/zones/europe-west1-b/instances/n', '--zone', ZONE, '--instance-type=n2-standard-4',
        '--region=europe-west1']


def attribute(name, text):
    return (pathlib.Path('/sys/block') / name / text).read_text(encoding='ascii').strip()


def scsi_disk(lun):
    """The kernel's name of the disk at that LUN; it depends on who was found first."""
    for link in pathlib.Path('/sys/block').glob('sd*'):
        if os.readlink(link / 'device').endswith(f':{lun}'):
            return link.name
    return None


@pytest.fixture(name='start')
def start_fixture(sandbox, build):
    if not os.path.exists('/sys/block/nvme0n1') or not scsi_disk(1):
        pytest.skip('no machine of real-disks.sh')
    made = []

    def start(provider):
        daemon = Daemon(build, sandbox.path, NODE, provider=provider)
        made.append(daemon)
        return daemon, daemon.start()
    yield start
    for daemon in made:
        if daemon.process and daemon.process.poll() is None:
            daemon.stop()
        print(daemon.log()[-6000:])


def is_blank(name):
    return subprocess.run(['blkid', '-p', f'/dev/{name}'], capture_output=True, check=False).returncode == 2


def test_google(start):
    daemon, client = start('gcp')
    with client:
        kubelet = disks.Kubelet(daemon, client, 'pd.csi.storage.gke.io')
        volume = GOOGLE + 'pvc-3f7e'
        name = scsi_disk(1)
        staging = kubelet.stage(volume, mount_capability('ext4'))
        assert os.stat(staging).st_dev == os.stat(f'/dev/{name}').st_rdev
        target = kubelet.publish('pod', volume)
        # The disk has its size; the kernel is asked for it all the same.
        assert kubelet.expand(volume, target, disks.GIB) == disks.GIB
        kubelet.unpublish(volume, target)
        kubelet.unstage(volume)
        regional = 'projects/p/regions/europe-west1/disks/pvc-3f7e'
        staging = kubelet.stage(regional, mount_capability('xfs'))
        assert os.stat(staging).st_dev == os.stat(f'/dev/{scsi_disk(2)}').st_rdev
        kubelet.unstage(regional)


def test_google_twice(start):
    daemon, client = start('gcp')
    with client:
        kubelet = disks.Kubelet(daemon, client, 'pd.csi.storage.gke.io')
        assert '2 disks' in kubelet.stage_fails('FAILED_PRECONDITION', GOOGLE + 'pvc-twice')
        message = kubelet.stage_fails('NOT_FOUND', GOOGLE + 'pvc-none', timeout=25)
        assert 'pvc-3f7e' in message
    assert is_blank(scsi_disk(3)) and is_blank(scsi_disk(4))


def test_google_rescan(start):
    """The kernel forgot the disk; its SCSI host is asked, and has it again."""
    daemon, client = start('gcp')
    with client:
        kubelet = disks.Kubelet(daemon, client, 'pd.csi.storage.gke.io')
        (pathlib.Path('/sys/block') / scsi_disk(1) / 'device/delete').write_text('1', encoding='ascii')
        while scsi_disk(1):
            time.sleep(0.01)
        volume = GOOGLE + 'pvc-3f7e'
        staging = kubelet.stage(volume)
        assert os.stat(staging).st_dev == os.stat(f'/dev/{scsi_disk(1)}').st_rdev
        kubelet.unstage(volume)


def test_virtio(start):
    """virtio-blk shows 20 bytes of the serial number."""
    name = next(link.name for link in pathlib.Path('/sys/block').glob('vd*')
                if attribute(link.name, 'serial').startswith('83679162'))
    assert attribute(name, 'serial') == '83679162-1378-4288-a'
    daemon, client = start('openstack')
    with client:
        kubelet = disks.Kubelet(daemon, client, 'cinder.csi.openstack.org',
                                publish_context={'DevicePath': '/dev/vdz'})
        volume = '83679162-1378-4288-a2d4-70e13ec132aa'
        staging = kubelet.stage(volume)
        assert os.stat(staging).st_dev == os.stat(f'/dev/{name}').st_rdev
        kubelet.unstage(volume)


def test_nvme_of_another_make(start):
    """The serial number of an EBS volume on a disk that is none."""
    assert attribute('nvme0n1', 'device/serial') == 'vol0a1b2c3d4e5f67890'
    daemon, client = start('aws')
    with client:
        kubelet = disks.Kubelet(daemon, client, 'ebs.csi.aws.com', publish_context={'devicePath': '/dev/xvdaa'})
        message = kubelet.stage_fails('NOT_FOUND', 'vol-0a1b2c3d4e5f67890', timeout=25)
        assert 'nvme0n1 has its serial number and is of another make' in message and 'QEMU NVMe Ctrl' in message
    assert is_blank('nvme0n1')


def test_lun_behind_another_controller(start):
    daemon, client = start('azure')
    with client:
        kubelet = disks.Kubelet(daemon, client, 'disk.csi.azure.com', publish_context={'LUN': '3'})
        message = kubelet.stage_fails('NOT_FOUND', '/subscriptions/s/disks/d', timeout=25)
        assert f'{scsi_disk(3)} has its LUN and is of another make or place (Google PersistentDisk)' in message
    assert is_blank(scsi_disk(3))
