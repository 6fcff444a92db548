# SPDX-License-Identifier: Apache-2.0
"""Disks of a cloud for a daemon with --root: a made sysfs and /dev in which loop devices stand for them.

    tree = Tree(sandbox)
    disk = tree.nvme('nvme1', serial='vol0123', model='Amazon Elastic Block Store')
    Daemon(build, sandbox.path, ['--root', tree.root], provider='aws')

What the files hold is what those of Linux hold; what is below device/ lies where the kernel has it, so that the
controllers above a disk are above it here too. Kubelet makes and removes what kubelet does around the calls.
"""

import contextlib
import os
import pathlib
import struct
import subprocess
import time

from csi import Daemon, Failure, mount_capability

GIB = 1 << 30


def page_80(serial):
    """Vital product data: the unit serial number."""
    data = serial.encode()
    return struct.pack('>BBH', 0, 0x80, len(data)) + data


def designator(kind, data, code_set=None, association=0):
    """One designator of page 0x83; kind: 0 vendor specific, 1 T10, 2 EUI-64, 3 NAA."""
    if code_set is None:
        code_set = 1 if kind >= 2 else 2
    return struct.pack('BBBB', code_set, association << 4 | kind, 0, len(data)) + data


def page_83(*designators):
    data = b''.join(designators)
    return struct.pack('>BBH', 0, 0x83, len(data)) + data


def t10(vendor, model, text):
    """A T10 designator as most hypervisors make it."""
    return designator(1, f'{vendor:<8}{model:<16}{text}'.encode())


class Disk:
    """name: as the kernel calls it. loop: the device that stands for it."""

    def __init__(self, tree, name, bus_directory, size_bytes, image=None):
        self.tree, self.name = tree, name
        self.device = bus_directory
        self.image = pathlib.Path(image or tree.sandbox.path / f'disk-{len(tree.disks)}.img')
        if not image:
            with open(self.image, 'wb') as file:
                file.truncate(size_bytes)
        done = subprocess.run(['losetup', '--find', '--show', '--partscan', str(self.image)], check=True,
                              capture_output=True, text=True)
        self.loop = done.stdout.strip()
        self.devno = os.stat(self.loop).st_rdev
        self.node = tree.root / 'dev' / name
        self.link = tree.root / 'sys/block' / name
        tree.disks.append(self)

    def appear(self, directory, node=True):
        """What the kernel makes for a new disk, the link in /sys/block last. directory: of the disk itself."""
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._write('dev', f'{os.major(self.devno)}:{os.minor(self.devno)}\n')
        self._write('size', f'{self.size() // 512}\n')
        if not (directory / 'device').is_symlink():
            # As sysfs has it: up to above the device, and down to it by its name.
            above = os.path.relpath(self.device.parent, directory)
            (directory / 'device').symlink_to(f'{above}/{self.device.name}')
        if node:
            self.make_node()
        self.link.symlink_to(os.path.relpath(directory, self.link.parent))

    def make_node(self, devno=None):
        self.node.unlink(missing_ok=True)
        os.mknod(self.node, 0o60600, self.devno if devno is None else devno)

    def _write(self, name, text):
        (self.directory / name).write_text(text)

    def size(self):
        return int(pathlib.Path('/sys/block', os.path.basename(self.loop), 'size').read_text(encoding='ascii')) * 512

    def set(self, **attributes):
        """Attributes of the disk itself: serial, nsid, eui, hidden."""
        for name, value in attributes.items():
            self._write(name, value + '\n')

    def grow(self, size_bytes):
        """The cloud makes the disk larger, and the kernel sees it."""
        os.truncate(self.image, size_bytes)
        subprocess.run(['losetup', '--set-capacity', self.loop], check=True)

    def asked_to_rescan(self):
        """Whether the daemon asked the kernel for the size since the last call of this."""
        for name in ('rescan', 'rescan_controller'):
            file = self.device / name
            if file.exists():
                text = file.read_text()
                file.write_text('')
                return text.strip() == '1'
        return False

    def partition(self, number, script=',,\n'):
        """Writes a partition table, and shows partition `number` of it. Returns its device number."""
        subprocess.run(['sfdisk', '--quiet', self.loop], input='label: gpt\n' + script, text=True, check=True,
                       capture_output=True)
        subprocess.run(['partx', '--update', self.loop], check=True, capture_output=True)
        return self.show_partition(number)

    def show_partition(self, number):
        """Shows a partition that the kernel knows."""
        loop = os.path.basename(self.loop)
        text = pathlib.Path(f'/sys/block/{loop}/{loop}p{number}/dev').read_text(encoding='ascii')
        name = f'{self.name}{"p" if self.name[-1].isdigit() else ""}{number}'
        directory = self.directory / name
        devno = os.makedev(*map(int, text.split(':')))
        # The last file is the one that makes it a partition: all else must be there when it is seen.
        os.mknod(self.tree.root / 'dev' / name, 0o60600, devno)
        directory.mkdir()
        (directory / 'dev').write_text(text)
        (directory / 'partition').write_text(f'{number}\n')
        return devno

    def vanish(self, keep_node=False):
        """As when it is detached. keep_node: nobody removes its name below /dev."""
        self.link.unlink()
        if not keep_node:
            self.node.unlink(missing_ok=True)

    def filesystem(self):
        """What is on it, by libblkid; '' nothing."""
        done = subprocess.run(['blkid', '-p', '-s', 'TYPE', '-o', 'value', self.loop], capture_output=True, text=True,
                              check=False)
        return done.stdout.strip()


class Tree:
    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.root = sandbox.path / 'root'
        self.disks = []
        for name in ('sys/block', 'sys/devices', 'sys/class/scsi_host', 'sys/class/dmi/id', 'dev/disk/by-id'):
            (self.root / name).mkdir(parents=True)

    def dmi(self, **fields):
        for name, value in fields.items():
            (self.root / 'sys/class/dmi/id' / name).write_text(value + '\n')

    def link(self, path, disk_name):
        """What udev makes: /dev/disk/by-id/X -> ../../sdb."""
        link = self.root / path.lstrip('/')
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(self.root / 'dev' / disk_name, link.parent))
        return link

    def scsi_host(self, number=0):
        """A host that can be asked for new disks; returns the file that is written then."""
        directory = self.root / f'sys/class/scsi_host/host{number}'
        directory.mkdir()
        (directory / 'scan').write_text('')
        return directory / 'scan'

    def nvme(self, controller, serial, model, nsid=1, size_bytes=GIB, namespace=None, node=True, **attributes):
        device = self.root / f'sys/devices/pci0000:00/{controller}/nvme/{controller}'
        device.mkdir(parents=True, exist_ok=True)
        # As the fields of Identify Controller are: padded.
        (device / 'serial').write_text(f'{serial:<20}\n')
        (device / 'model').write_text(f'{model:<40}\n')
        (device / 'rescan_controller').write_text('')
        name = namespace or f'{controller}n{nsid}'
        disk = Disk(self, name, device, size_bytes)
        (device / name).mkdir()
        disk.directory = device / name
        disk.set(nsid=str(nsid), **attributes)
        disk.appear(device / name, node)
        return disk

    def scsi(self, name, address, vendor, model, pg80=None, pg83=None, parent='', size_bytes=GIB, node=True,
             wwid=None):
        """address: "2:0:0:1"; parent: directories of its controller, below /sys/devices."""
        host, channel, target, _ = address.split(':')
        device = self.root / 'sys/devices' / parent / f'host{host}' / f'target{host}:{channel}:{target}' / address
        device.mkdir(parents=True)
        (device / 'vendor').write_text(f'{vendor:<8}\n')
        (device / 'model').write_text(f'{model:<16}\n')
        (device / 'rescan').write_text('')
        if pg80 is not None:
            (device / 'vpd_pg80').write_bytes(pg80)
        if pg83 is not None:
            (device / 'vpd_pg83').write_bytes(pg83)
        if wwid is not None:
            (device / 'wwid').write_text(wwid + '\n')
        disk = Disk(self, name, device, size_bytes)
        disk.appear(device / 'block' / name, node)
        return disk

    def virtio(self, name, serial, size_bytes=GIB, node=True):
        """As virtio-blk has it: the first 20 bytes of the serial number."""
        device = self.root / f'sys/devices/pci0000:00/virtio{len(self.disks)}'
        device.mkdir(parents=True)
        disk = Disk(self, name, device, size_bytes)
        disk.directory = device / 'block' / name
        disk.directory.mkdir(parents=True)
        disk.set(serial=serial[:20])
        disk.appear(disk.directory, node)
        return disk

    def xen(self, name, size_bytes=GIB, node=True):
        device = self.root / f'sys/devices/vbd-{name}'
        device.mkdir(parents=True)
        disk = Disk(self, name, device, size_bytes)
        disk.appear(device / 'block' / name, node)
        return disk


class Kubelet:
    """contexts: publish_context and volume_context of each call that has them."""

    def __init__(self, daemon, client, driver, **contexts):
        self.root = daemon.kubelet_root
        self.client, self.driver, self.contexts = client, driver, contexts

    def _name(self, volume_id):
        return volume_id.replace('/', '-').replace(':', '-')

    def staging(self, volume_id):
        path = self.root / 'plugins/kubernetes.io/csi' / self.driver / self._name(volume_id) / 'globalmount'
        path.mkdir(parents=True, exist_ok=True, mode=0o750)
        return path

    def target(self, pod, volume_id, is_block=False):
        if is_block:
            path = self.root / 'plugins/kubernetes.io/csi/volumeDevices/publish' / self._name(volume_id) / pod
        else:
            path = self.root / 'pods' / pod / 'volumes/kubernetes.io~csi' / self._name(volume_id) / 'mount'
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        return path

    def stage_fields(self, volume_id, capability=None, **more):
        return {'volume_id': volume_id, 'staging_target_path': str(self.staging(volume_id)),
                'volume_capability': capability or mount_capability(), **self.contexts, **more}

    def stage(self, volume_id, capability=None, timeout=40, **more):
        self.client.NodeStageVolume(timeout, **self.stage_fields(volume_id, capability, **more))
        return self.staging(volume_id)

    def stage_fails(self, code, volume_id, capability=None, timeout=40, **more):
        return self.client.fails(code, 'NodeStageVolume', timeout,
                                 **self.stage_fields(volume_id, capability, **more))

    def publish(self, pod, volume_id, capability=None, **more):
        capability = capability or mount_capability()
        path = self.target(pod, volume_id, 'block' in capability)
        self.client.NodePublishVolume(target_path=str(path), **self.stage_fields(volume_id, capability, **more))
        return path

    def unpublish(self, volume_id, path):
        self.client.NodeUnpublishVolume(volume_id=volume_id, target_path=str(path))
        assert not path.exists()
        # Block volumes of other pods lie beside it.
        if not any(path.parent.iterdir()):
            path.parent.rmdir()

    def unstage(self, volume_id):
        path = self.staging(volume_id)
        self.client.NodeUnstageVolume(volume_id=volume_id, staging_target_path=str(path))
        path.rmdir()

    def expand(self, volume_id, path, required_bytes):
        end = time.monotonic() + 300
        while True:
            try:
                return self.client.NodeExpandVolume(
                    volume_id=volume_id, volume_path=str(path), staging_target_path=str(self.staging(volume_id)),
                    capacity_range={'required_bytes': required_bytes}).capacity_bytes
            except Failure as failure:
                # It goes on by itself, and kubelet asks again; each call waits for some seconds.
                if 'still being grown' not in failure.message or time.monotonic() > end:
                    raise


def can_grow_mounted_ext():
    """CAP_SYS_RESOURCE, bit 24, which some containers and virtual machines take away."""
    with open('/proc/self/status', encoding='ascii') as file:
        effective = next(line.split()[1] for line in file if line.startswith('CapEff:'))
    return bool(int(effective, 16) >> 24 & 1)


def whole_life(kubelet, disk, volume_id, fs_type='', mode=1):
    """Stage, publish, write, expand, unpublish, unstage, stage again: the file is there. For each provider's test."""
    capability = mount_capability(fs_type, mode)
    size = disk.size()
    staging = kubelet.stage(volume_id, capability)
    assert os.path.ismount(staging)
    assert os.stat(staging).st_dev == disk.devno or fs_type == 'btrfs'
    kubelet.stage(volume_id, capability)  # kubelet restarted
    target = kubelet.publish('pod-1', volume_id, capability)
    kubelet.publish('pod-1', volume_id, capability)
    (target / 'file').write_text('kept')
    before = os.statvfs(target)
    disk.grow(2 * size)
    disk.asked_to_rescan()
    grows = fs_type in ('xfs', 'btrfs') or can_grow_mounted_ext()
    if grows:
        assert kubelet.expand(volume_id, target, 2 * size) == 2 * size
        after = os.statvfs(target)
        assert after.f_blocks * after.f_frsize > 1.7 * before.f_blocks * before.f_frsize
    else:
        fields = {'volume_id': volume_id, 'volume_path': str(target), 'capacity_range': {'required_bytes': 2 * size}}
        assert 'CAP_SYS_RESOURCE' in kubelet.client.fails('FAILED_PRECONDITION', 'NodeExpandVolume', **fields)
    reply = kubelet.client.NodeGetVolumeStats(volume_id=volume_id, volume_path=str(target))
    assert reply.usage[0].total > size // 2
    kubelet.unpublish(volume_id, target)
    kubelet.unstage(volume_id)
    staging = kubelet.stage(volume_id, capability)
    assert (staging / 'file').read_text() == 'kept'
    after = os.statvfs(staging)
    assert after.f_blocks * after.f_frsize > 1.7 * before.f_blocks * before.f_frsize
    kubelet.unstage(volume_id)


def whole_block_life(kubelet, disk, volume_id, capability):
    """The same of a raw block volume."""
    kubelet.stage(volume_id, capability)
    target = kubelet.publish('pod-1', volume_id, capability)
    assert os.stat(target).st_rdev == disk.devno
    disk.grow(2 * GIB)
    assert kubelet.expand(volume_id, target, 2 * GIB) == 2 * GIB
    assert disk.asked_to_rescan()
    kubelet.unpublish(volume_id, target)
    kubelet.unstage(volume_id)


@contextlib.contextmanager
def daemons(build, sandbox, tree):
    """make(*flags, provider=...) -> Daemon; in the end all are stopped and their logs are printed."""
    made = []

    def make(*argv, **kwargs):
        daemon = Daemon(build, sandbox.path, ['--root', tree.root, *argv], **kwargs)
        made.append(daemon)
        return daemon
    yield make
    for daemon in made:
        if daemon.process and daemon.process.poll() is None:
            daemon.stop()
        print(daemon.log()[-6000:])
