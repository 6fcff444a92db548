# SPDX-License-Identifier: Apache-2.0
"""A machine of a cloud: the disks of disks.py with the cloud's firmware around them, and berth-csi on it.

    machine = cloud.Machine(sandbox, 'digitalocean')
    disk = machine.disk('sda', vendor='DO', model='Volume', pg83='pvc-1')     # disk.loop is the device
    node = cloud.Node(machine, build, provider='digitalocean')                # berth-csi serve --root=machine.root
    with node.daemon as client:
        staging = node.stage(client, 'volume-id', publish_context={...})
        target = node.publish(client, 'volume-id', publish_context={...})
"""

import os
import pathlib

import disks
from csi import Daemon

# What the firmware of each says, as common/platform knows it.
DMI = {
    'alibaba': {'sys_vendor': 'Alibaba Cloud', 'product_name': 'Alibaba Cloud ECS'},
    'aws': {'sys_vendor': 'Amazon EC2', 'product_uuid': 'ec2e1916-9099-7caf-fd21-012345abcdef'},
    'azure': {'sys_vendor': 'Microsoft Corporation', 'chassis_asset_tag': '7783-7084-3265-9085-8269-3286-77'},
    'cloudscale': {'product_name': 'OpenStack Compute', 'sys_vendor': 'cloudscale.ch'},
    'digitalocean': {'sys_vendor': 'DigitalOcean', 'product_name': 'Droplet'},
    'exoscale': {'sys_vendor': 'Exoscale', 'product_name': 'Exoscale Compute Platform'},
    'gcp': {'sys_vendor': 'Google', 'product_name': 'Google Compute Engine'},
    'hetzner': {'sys_vendor': 'Hetzner', 'product_name': 'vServer'},
    'linode': {'sys_vendor': 'Linode'},
    'openstack': {'sys_vendor': 'OpenStack Foundation', 'product_name': 'OpenStack Nova',
                  'product_uuid': '83679162-1378-4288-a2d4-70e13ec132aa'},
    'scaleway': {'sys_vendor': 'Scaleway', 'product_name': 'SCW-DEV1-M'},
    'upcloud': {'sys_vendor': 'UpCloud', 'product_name': 'Server'},
    'vsphere': {'sys_vendor': 'VMware, Inc.', 'product_name': 'VMware Virtual Platform',
                'product_serial': 'VMware-56 4d 9a 0c 11 22 33 44-55 66 77 88 99 aa bb cc'},
    'vultr': {'sys_vendor': 'Vultr', 'product_name': 'VHF'},
}

MIB = 1 << 20


class Machine(disks.Tree):
    """platform: a key of DMI, or a dict of such files."""

    def __init__(self, sandbox, platform=None):
        super().__init__(sandbox)
        self.dmi(**(DMI[platform] if isinstance(platform, str) else platform or {}))

    def disk(self, name, size_bytes=64 * MIB, serial='', vendor='', model='', pg80=None, pg83=None, wwid=None):
        """The bus is that of the name. pg80: a serial number; pg83: a vendor specific text, or a NAA in bytes."""
        if name.startswith('nvme'):
            return self.nvme(name.rpartition('n')[0], serial, model, size_bytes=size_bytes)
        if not name.startswith('sd'):
            return self.virtio(name, serial, size_bytes)
        page = None
        if pg83 is not None:
            page = pg83 if isinstance(pg83, bytes) else disks.page_83(disks.designator(0, pg83.encode()))
        return self.scsi(name, f'2:0:0:{len(self.disks)}', vendor, model, disks.page_80(pg80) if pg80 else None, page,
                         size_bytes=size_bytes, wwid=wwid)

    def drive(self, name, image):
        """A disk or CD with an image that is there."""
        device = self.root / f'sys/devices/{name}'
        device.mkdir(parents=True)
        disk = disks.Disk(self, name, device, 0, image)
        disk.appear(device / 'block' / name)
        return disk


class Node:
    """berth-csi on such a machine, and kubelet's calls."""

    def __init__(self, machine, build, provider, argv=(), environment=None, **more):
        self.machine = machine
        # A short path: addresses of sockets have 107 bytes.
        directory = pathlib.Path(machine.sandbox.private_directory('/mnt')) / 'd'
        self.daemon = Daemon(build, directory, [f'--root={machine.root}', *argv], provider=provider,
                             environment=environment, **more)

    def kubelet(self, client=None):
        return disks.Kubelet(self.daemon, client, 'driver')

    def staging(self, volume_id):
        return self.kubelet().staging(volume_id)

    def stage(self, client, volume_id, capability=None, **more):
        """Returns the staging path."""
        return self.kubelet(client).stage(volume_id, capability, **more)

    def publish(self, client, volume_id, capability=None, pod='pod-1', **more):
        """Returns the target."""
        return self.kubelet(client).publish(pod, volume_id, capability, **more)

    def unpublish(self, client, volume_id, pod='pod-1', block=False):
        target = self.kubelet().target(pod, volume_id, block)
        client.NodeUnpublishVolume(volume_id=volume_id, target_path=str(target))

    def unstage(self, client, volume_id):
        client.NodeUnstageVolume(volume_id=volume_id, staging_target_path=str(self.staging(volume_id)))


def device_of(path):
    """The device that is mounted at a path."""
    return os.stat(path).st_dev
