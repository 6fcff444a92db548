# SPDX-License-Identifier: Apache-2.0
"""Providers openstack, alibaba, digitalocean, vultr, upcloud, exoscale and vsphere: the real daemon, its metadata
service on loopback, loop devices as disks that say what that cloud's disks say."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import time

import pytest

import disks
import metadata
import sandbox
from cloud import MIB, Machine, Node, device_of
from csi import MULTI_NODE_MULTI_WRITER, Client, Failure, block_capability, mount_capability, pairs

UUID = '7f0b3d5e-1111-4222-8333-444455556666'
OTHER = '7f0b3d5e-1111-4222-8333-4444555566ff'
DIGITS = UUID.replace('-', '')


class Case:
    """One cloud: what its disks say, and what its driver says."""

    def __init__(self, provider, driver, service, node_id, topology, limit, volume_id, disk, context=None, name='vdb',
                 link=None, capabilities=(1, 2, 3, 4), node_name='node-1'):
        self.provider, self.driver, self.service, self.node_id = provider, driver, service, node_id
        self.topology, self.limit, self.volume_id, self.says = topology, limit, volume_id, disk
        self.context, self.name, self.link, self.capabilities = context or {}, name, link, capabilities
        self.node_name = node_name

    def __repr__(self):
        return self.provider


DO_NAME = 'pvc-0bd1bc5e-8e1c-4a65-9e5c-b7a9c8c00001'
CASES = [
    Case('openstack', 'cinder.csi.openstack.org', metadata.OpenStack, '83679162-1378-4288-a2d4-70e13ec132aa',
         {'topology.cinder.csi.openstack.org/zone': 'nova'}, 256, UUID, {'serial': UUID[:20]},
         {'DevicePath': '/dev/vdq'}, link=f'virtio-{UUID[:20]}'),
    Case('alibaba', 'diskplugin.csi.alibabacloud.com', metadata.Alibaba, 'i-bp1abcdefghij',
         {'alibabacloud.com/ecs-instance-id': 'i-bp1abcdefghij', 'topology.kubernetes.io/region': 'cn-hangzhou',
          'topology.diskplugin.csi.alibabacloud.com/zone': 'cn-hangzhou-i',
          'topology.kubernetes.io/zone': 'cn-hangzhou-i'}, 15, 'd-bp1f4q0abc2def3ghi4j',
         {'serial': 'bp1f4q0abc2def3ghi4j'}, {'serialNumber': 'bp1f4q0abc2def3ghi4j'},
         link='virtio-bp1f4q0abc2def3ghi4j'),
    Case('digitalocean', 'dobs.csi.digitalocean.com', metadata.DigitalOcean, '447812345', {'region': 'fra1'}, 7, UUID,
         {'vendor': 'DO', 'model': 'Volume', 'pg83': DO_NAME},
         {'dobs.csi.digitalocean.com/volume-name': DO_NAME}, name='sda', link=f'scsi-0DO_Volume_{DO_NAME}'),
    Case('vultr', 'block.csi.vultr.com', metadata.Vultr, 'a747bfz6385e-8f21', {'region': 'EWR'}, 11, UUID,
         {'serial': 'ewr-2f5d7a8b0c1d4e3f'}, {'mount_vol_name': 'ewr-2f5d7a8b0c1d4e3f', 'storage_type': 'block'},
         link='virtio-ewr-2f5d7a8b0c1d4e3f'),
    Case('upcloud', 'storage.csi.upcloud.com', metadata.UpCloud, 'uks-1', {'region': 'de-fra1'}, 14, UUID,
         {'serial': DIGITS[:20]}, link=f'virtio-{DIGITS[:20]}', capabilities=(1, 2, 4), node_name='uks-1'),
    Case('exoscale', 'csi.exoscale.com', metadata.Exoscale, 'ch-gva-2/7f0b3d5e-1111-4222-8333-444455556666',
         {'topology.csi.exoscale.com/zone': 'ch-gva-2'}, 5, f'ch-gva-2/{OTHER}', {'serial': OTHER[:20]},
         {'csi.exoscale.com/volume-id': OTHER}, link=f'virtio-{OTHER[:20]}', capabilities=(1, 2, 3, 4, 5)),
    Case('vsphere', 'csi.vsphere.vmware.com', None, '564d9a0c-1122-3344-5566-778899aabbcc', {}, 59,
         'c83a7b5e-fcd1', {'vendor': 'VMware', 'model': 'Virtual disk',
          'pg83': disks.page_83(disks.designator(3, bytes.fromhex(DIGITS)))},
         {'type': 'vSphere CNS Block Volume', 'diskUUID': DIGITS}, name='sdb', link=f'wwn-0x{DIGITS}'),
]
each = pytest.mark.parametrize('case', CASES, ids=repr)
each_whole = pytest.mark.parametrize('case', [one for one in CASES if one.provider != 'upcloud'], ids=repr)


@pytest.fixture(name='make')
def make_fixture(sandbox, build):
    made = []

    def make(case, argv=(), environment=None, serve=True, detect=False):
        machine = Machine(sandbox, case.provider)
        service = case.service().start() if case.service and serve else None
        node = Node(machine, build, case.provider, argv, environment, node_name=case.node_name)
        if detect:
            node.daemon.argv = [word for word in node.daemon.argv if not word.startswith('--provider')]
        node.service = service
        made.append(node)
        return machine, node
    yield make
    for node in made:
        if node.daemon.process and node.daemon.process.poll() is None:
            node.daemon.stop()
        if node.daemon.log_path.exists():
            print(node.daemon.log()[-6000:])


@each
def test_says_what_upstreams_driver_says(make, case):
    _, node = make(case, detect=True)
    with node.daemon as client:
        info = client.GetPluginInfo()
        assert info.name == case.driver and pairs(info.manifest)['provider'] == case.provider
        assert {one.rpc.type for one in client.NodeGetCapabilities().capabilities} == set(case.capabilities)
        assert {one.service.type for one in client.GetPluginCapabilities().capabilities
                if one.HasField('service')} == {1, 2}
        reply = client.NodeGetInfo()
        assert (reply.node_id, reply.max_volumes_per_node) == (case.node_id, case.limit)
        assert pairs(reply.accessible_topology.segments) == case.topology


@each
def test_limits_and_names_by_flags(make, case):
    flags = ['--volume-limit=3', '--node-id=me', '--region=r', '--zone=z']
    _, node = make(case, flags, serve=False)
    with node.daemon as client:
        reply = client.NodeGetInfo()
        assert reply.node_id == ('z/me' if case.provider == 'exoscale' else 'me')
        assert reply.max_volumes_per_node == 3
        values = set(pairs(reply.accessible_topology.segments).values())
        assert values and values <= {'r', 'z', 'me'}


@each_whole
def test_lifecycle(make, case):
    """With XFS, which any privileged process grows; ext4 is made below."""
    machine, node = make(case)
    disk = machine.disk(case.name, 400 * MIB, **case.says)
    more = {'capability': mount_capability('xfs'), 'publish_context': case.context}
    with node.daemon as client:
        staging = node.stage(client, case.volume_id, **more)
        assert device_of(staging) == disk.devno
        assert disk.filesystem() == 'xfs'
        (staging / 'file').write_text('data')
        node.stage(client, case.volume_id, **more)
        target = node.publish(client, case.volume_id, **more)
        assert (target / 'file').read_text() == 'data'
        node.publish(client, case.volume_id, **more)
        # A larger disk, as the controller would make it.
        disk.grow(600 * MIB)
        reply = client.NodeExpandVolume(volume_id=case.volume_id, volume_path=str(target),
                                        staging_target_path=str(staging),
                                        capacity_range={'required_bytes': 600 * MIB})
        assert reply.capacity_bytes == 600 * MIB
        usage = client.NodeGetVolumeStats(volume_id=case.volume_id, volume_path=str(target)).usage
        assert usage[0].total > 500 * MIB
        node.unpublish(client, case.volume_id)
        assert not target.exists()
        node.unstage(client, case.volume_id)
        node.unstage(client, case.volume_id)
        # Once more: what is on it stays.
        staging = node.stage(client, case.volume_id, **more)
        assert (staging / 'file').read_text() == 'data'
        node.unstage(client, case.volume_id)


@each
def test_raw_block(make, case):
    machine, node = make(case)
    disk = machine.disk(case.name, **case.says)
    more = {'capability': block_capability(), 'publish_context': case.context}
    with node.daemon as client:
        staging = node.stage(client, case.volume_id, **more)
        target = node.publish(client, case.volume_id, **more)
        assert os.stat(target).st_rdev == disk.devno
        if case.provider == 'alibaba':
            assert os.stat(staging / case.volume_id).st_rdev == disk.devno
        else:
            assert not list(staging.iterdir())
        node.unpublish(client, case.volume_id, block=True)
        node.unstage(client, case.volume_id)
        assert not target.exists() and not list(staging.iterdir())
        assert disk.filesystem() == ''


# What the wrong disk says: the same kind of disk, with another's name.
def wrong(case):
    says = {}
    for key, value in case.says.items():
        if key == 'serial':
            value = 'x' + value[1:]
        elif key == 'pg83':
            value = disks.page_83(disks.designator(3, bytes(16))) if isinstance(value, bytes) else 'pvc-other'
        says[key] = value
    return says


@each_whole
def test_a_link_to_the_wrong_disk_formats_nothing(make, case):
    machine, node = make(case)
    other = machine.disk(case.name, **wrong(case))
    machine.link(f'dev/disk/by-id/{case.link}', case.name)
    with node.daemon as client:
        path = node.staging(case.volume_id)
        message = client.fails('NOT_FOUND', 'NodeStageVolume', timeout=5, volume_id=case.volume_id,
                               staging_target_path=str(path), volume_capability=mount_capability(),
                               publish_context=case.context)
        assert f'leads to {case.name}, which is not it' in message
        assert other.filesystem() == ''


@each_whole
def test_the_disk_is_found_without_a_link_and_when_it_comes_late(make, case):
    machine, node = make(case)
    machine.disk('vdz', **{'serial': 'root'})
    with node.daemon as client:
        made = []

        def arrive():
            time.sleep(1)
            made.append(machine.disk(case.name, **case.says))
        thread = threading.Thread(target=arrive)
        thread.start()
        staging = node.stage(client, case.volume_id, timeout=30, publish_context=case.context)
        thread.join()
        assert device_of(staging) == made[0].devno
        assert made[0].filesystem() == 'ext4'
        node.unstage(client, case.volume_id)


@each_whole
def test_two_disks_with_one_identity_are_nobodys(make, case):
    machine, node = make(case)
    disks = [machine.disk(name, **case.says) for name in (case.name, case.name[:-1] + 'k')]
    with node.daemon as client:
        message = client.fails('FAILED_PRECONDITION', 'NodeStageVolume', timeout=10, volume_id=case.volume_id,
                               staging_target_path=str(node.staging(case.volume_id)),
                               volume_capability=mount_capability(), publish_context=case.context)
        assert 'cannot be told' in message
        assert [disk.filesystem() for disk in disks] == ['', '']


@each_whole
def test_a_name_that_was_used_again(make, case):
    """The disk was detached and another one got its name, before anybody looked."""
    machine, node = make(case)
    disk = machine.disk(case.name, **case.says)
    with node.daemon as client:
        node.stage(client, case.volume_id, publish_context=case.context)
        node.unstage(client, case.volume_id)
        disk.vanish()
        other = machine.disk(case.name, **wrong(case))
        client.fails('NOT_FOUND', 'NodeStageVolume', timeout=4, volume_id=case.volume_id,
                     staging_target_path=str(node.staging(case.volume_id)), volume_capability=mount_capability(),
                     publish_context=case.context)
        assert other.filesystem() == ''


@pytest.mark.parametrize('case', [one for one in CASES if one.service], ids=repr)
def test_waits_for_the_metadata_service(make, case):
    _, node = make(case, serve=False)
    node.daemon.start(ready_seconds=0)
    client = Client(node.daemon.socket_path)
    assert not client.call('Probe', timeout=30, wait_for_ready=True).ready.value
    assert node.daemon.process.poll() is None
    case.service().start()
    client.wait_ready(40)
    assert client.NodeGetInfo().node_id == case.node_id


# --- what only one of them has ---

def by_name(name):
    return next(one for one in CASES if one.provider == name)


@pytest.mark.parametrize('name, says', [
    ('vdb', {'serial': UUID[:20]}),
    ('sdb', {'vendor': 'QEMU', 'model': 'QEMU HARDDISK', 'pg80': UUID}),
    ('sdb', {'vendor': 'QEMU', 'model': 'QEMU HARDDISK', 'pg80': UUID[:20]}),
    ('sdb', {'vendor': 'QEMU', 'model': 'QEMU HARDDISK', 'pg83': UUID}),
    ('sdb', {'vendor': 'QEMU', 'model': 'QEMU HARDDISK',
             'pg83': disks.page_83(disks.t10('QEMU', 'QEMU HARDDISK', UUID))}),
    ('sdb', {'vendor': 'LSI', 'model': 'SAN', 'wwid': f'naa.{DIGITS}'}),
])
def test_openstack_every_bus(make, name, says):
    case = by_name('openstack')
    machine, node = make(case)
    disk = machine.disk(name, **says)
    with node.daemon as client:
        assert device_of(node.stage(client, UUID)) == disk.devno
        node.unstage(client, UUID)


ISO_FLAGS = {'iso9660': ('-ldots', '-allow-lowercase', '-allow-multidot', '-l', '-J', '-r'),
             'upper case': ('-l',), 'joliet': ('-J',)}
FAT_FLAGS = {'vfat': (64, ()), 'fat12': (2, ('-F', '12')), 'fat32': (64, ('-F', '32', '-s', '1'))}


def config_drive(sandbox, uuid, kind='iso9660', label='config-2', zone='az-drive', text=None):
    """As Nova makes it, and as others do."""
    content = pathlib.Path(tempfile.mkdtemp(dir=sandbox.path))
    latest = content / 'openstack/latest'
    latest.mkdir(parents=True)
    latest.joinpath('meta_data.json').write_text(text or json.dumps({
        'uuid': uuid, 'availability_zone': zone, 'name': 'w', 'devices': [], 'padding': 'x' * 5000}))
    image = content.with_suffix('.img')
    if kind in ISO_FLAGS:
        subprocess.run(['genisoimage', '-quiet', '-o', image, *ISO_FLAGS[kind], '-V', label, content], check=True,
                       capture_output=True)
        return image
    if not shutil.which('mcopy'):
        pytest.skip('mtools is not installed')
    size, flags = FAT_FLAGS[kind]
    with open(image, 'wb') as file:
        file.truncate(size * MIB)
    subprocess.run(['mkfs.vfat', *flags, '-n', label, image], check=True, capture_output=True)
    subprocess.run(['mcopy', '-s', '-i', image, content / 'openstack', '::'], check=True, capture_output=True)
    return image


@pytest.mark.parametrize('name, kind', [
    ('sr0', 'iso9660'), ('sr0', 'upper case'), ('sr0', 'joliet'), ('vdc', 'vfat'), ('vdc', 'fat12'), ('vdc', 'fat32')])
def test_openstack_configuration_drive(make, sandbox, name, kind):
    case = by_name('openstack')
    machine, node = make(case)
    machine.drive(name, config_drive(sandbox, case.node_id, kind))
    with node.daemon as client:
        reply = client.NodeGetInfo()
        assert reply.node_id == case.node_id
        assert pairs(reply.accessible_topology.segments) == {'topology.cinder.csi.openstack.org/zone': 'az-drive'}
        assert not node.service.requests, 'the service was asked although the drive tells'


def test_openstack_a_users_volume_is_no_configuration_drive(make, sandbox):
    """Anybody may give a volume that label: the firmware knows which one is ours."""
    case = by_name('openstack')
    machine, node = make(case)
    machine.drive('vdc', config_drive(sandbox, '11111111-1378-4288-a2d4-70e13ec132aa'))
    machine.drive('vdd', config_drive(sandbox, case.node_id))
    machine.drive('vde', config_drive(sandbox, '22222222-1378-4288-a2d4-70e13ec132aa'))
    with node.daemon as client:
        assert client.NodeGetInfo().node_id == case.node_id


def test_openstack_a_drive_of_another_machine_is_not_believed(make, sandbox):
    """A tenant's Cinder volume with that label became the node's identity, when there was no other one."""
    case = by_name('openstack')
    machine, node = make(case)
    machine.drive('vdc', config_drive(sandbox, '11111111-1378-4288-a2d4-70e13ec132aa'))
    with node.daemon as client:
        reply = client.NodeGetInfo()
        assert reply.node_id == case.node_id
        assert 'az-drive' not in pairs(reply.accessible_topology.segments).values()


def test_openstack_two_drives_that_differ_are_not_believed(make, sandbox):
    """Who knows the node's UUID can write a drive with it: it is not taken for better than the other one."""
    case = by_name('openstack')
    machine, node = make(case)
    machine.drive('sr0', config_drive(sandbox, case.node_id))
    machine.drive('vdc', config_drive(sandbox, case.node_id, zone='az-evil'))
    with node.daemon as client:
        assert not {'az-drive', 'az-evil'} & set(
            pairs(client.NodeGetInfo().accessible_topology.segments).values())
        assert 'differ' in node.daemon.log()


def volume_drive(sandbox, uuid, size=1 << 30, **more):
    """A Cinder volume, which has a gibibyte at least, that somebody made look like the drive."""
    image = config_drive(sandbox, uuid, **more)
    os.truncate(image, size)
    return image


@pytest.mark.parametrize('real', [True, False])
def test_openstack_a_forged_volume_is_not_read(make, sandbox, real):
    """A pod with user 0 reads the machine's UUID in /sys: its volume stood alone, or put the real drive aside."""
    case = by_name('openstack')
    machine, node = make(case)
    machine.drive('vdc', volume_drive(sandbox, case.node_id, zone='az-evil'))
    if real:
        machine.drive('vdd', volume_drive(sandbox, case.node_id, (1 << 30) - 512))
    with node.daemon as client:
        zones = list(pairs(client.NodeGetInfo().accessible_topology.segments).values())
        assert zones == ['az-drive'] if real else 'az-evil' not in zones


def test_openstack_loop_devices_do_not_hide_the_drive(make, sandbox):
    """Disks were counted before they were looked at, and volumes of pods are disks."""
    case = by_name('openstack')
    machine, node = make(case)
    machine.drive('vdc', config_drive(sandbox, case.node_id))
    for i in range(4000):
        machine.root.joinpath(f'sys/block/loop{i}').mkdir()
    with node.daemon as client:
        assert list(pairs(client.NodeGetInfo().accessible_topology.segments).values()) == ['az-drive']


def test_openstack_a_malformed_drive_is_passed_over(make, sandbox):
    """It kept the plugin from ever being ready."""
    case = by_name('openstack')
    machine, node = make(case)
    machine.drive('vdc', config_drive(sandbox, case.node_id, text='{"uuid": 5'))
    cut = config_drive(sandbox, case.node_id)
    os.truncate(cut, 40960)
    machine.drive('vdd', cut)
    machine.drive('sr0', config_drive(sandbox, case.node_id))
    with node.daemon as client:
        reply = client.NodeGetInfo()
        assert reply.node_id == case.node_id
        assert list(pairs(reply.accessible_topology.segments).values()) == ['az-drive']


def test_openstack_mounted_configuration_drive(make):
    case = by_name('openstack')
    machine, node = make(case, serve=False)
    latest = machine.root / 'mnt/config/openstack/latest'
    latest.mkdir(parents=True)
    latest.joinpath('meta_data.json').write_text(f'{{"uuid": "{case.node_id}", "availability_zone": "az-9"}}')
    with node.daemon as client:
        reply = client.NodeGetInfo()
        assert reply.node_id == case.node_id
        assert list(pairs(reply.accessible_topology.segments).values()) == ['az-9']


def test_openstack_a_broken_drive_leaves_the_service(make):
    case = by_name('openstack')
    machine, node = make(case)
    latest = machine.root / 'mnt/config/openstack/latest'
    latest.mkdir(parents=True)
    latest.joinpath('meta_data.json').write_text('{"uuid": 5')
    with node.daemon as client:
        assert client.NodeGetInfo().node_id == case.node_id
        assert 'configuration drive' in node.daemon.log()


@pytest.mark.parametrize('provider, more, code, message', [
    ('openstack', {'publish_context': {'ConnectionInfo': '{}'}}, 'FAILED_PRECONDITION', 'os-brick'),
    ('openstack', {'volume_id': 'short'}, 'INVALID_ARGUMENT', 'expected a UUID'),
    ('digitalocean', {'publish_context': {}}, 'INVALID_ARGUMENT', 'dobs.csi.digitalocean.com/volume-name'),
    ('vultr', {'publish_context': {'mount_vol_name': 'x', 'storage_type': 'vfs'}}, 'FAILED_PRECONDITION',
     'no Vultr File System'),
    ('vultr', {'publish_context': {}}, 'INVALID_ARGUMENT', 'mount_vol_name'),
    ('exoscale', {'volume_id': UUID}, 'INVALID_ARGUMENT', '<zone>/<uuid>'),
    ('vsphere', {'publish_context': {'type': 'vSphere CNS File Volume'}}, 'FAILED_PRECONDITION', 'no file volumes'),
    ('vsphere', {'publish_context': {'diskUUID': 'zz'}}, 'INVALID_ARGUMENT', '32 hexadecimal'),
    ('alibaba', {'publish_context': {}}, 'NOT_FOUND', 'the controller did not attach'),
    ('alibaba', {'volume_context': {'dataCacheSize': '10Gi'}}, 'FAILED_PRECONDITION', 'data caches'),
    ('alibaba', {'volume_context': {'sysConfig': '../../x=1'}}, 'INVALID_ARGUMENT', 'queue/<attribute>'),
    ('vsphere', {'capability': mount_capability('btrfs')}, 'INVALID_ARGUMENT', 'btrfs'),
    ('digitalocean', {'capability': mount_capability(mode=MULTI_NODE_MULTI_WRITER)}, 'FAILED_PRECONDITION', 'writing'),
])
def test_refused_with_the_reason(make, provider, more, code, message):
    case = by_name(provider)
    machine, node = make(case)
    if 'capability' in more:
        machine.disk(case.name, **case.says)
    fields = {'volume_id': case.volume_id, 'publish_context': case.context, **more}
    capability = fields.pop('capability', None) or mount_capability()
    with node.daemon as client:
        path = node.staging(fields['volume_id'])
        assert message in client.fails(code, 'NodeStageVolume', timeout=4, staging_target_path=str(path),
                                       volume_capability=capability, **fields)


@pytest.mark.parametrize('key', ['dobs.csi.digitalocean.com/noformat', 'com.digitalocean.csi.dobs/noformat'])
def test_digitalocean_never_formats_what_says_so(make, key):
    case = by_name('digitalocean')
    machine, node = make(case)
    disk = machine.disk(case.name, **case.says)
    with node.daemon as client:
        client.fails('FAILED_PRECONDITION', 'NodeStageVolume', volume_id=case.volume_id,
                     staging_target_path=str(node.staging(case.volume_id)), volume_capability=mount_capability(),
                     publish_context=case.context, volume_context={key: 'true'})
        assert disk.filesystem() == ''
        subprocess.run(['mkfs.ext4', '-q', disk.loop], check=True)
        node.stage(client, case.volume_id, publish_context=case.context, volume_context={key: ''})
        node.unstage(client, case.volume_id)


def test_alibaba_nvme_partition_and_tuning(make):
    case = by_name('alibaba')
    machine, node = make(case)
    disk = machine.disk('nvme1n1', serial='bp1f4q0abc2def3ghi4j', model='Alibaba Cloud Elastic Block Storage')
    part = disk.partition(1)
    subprocess.run(['mkfs.ext4', '-q', f'{disk.loop}p1'], check=True)
    read_ahead = pathlib.Path(f'/sys/block/{pathlib.Path(disk.loop).name}/queue/read_ahead_kb')
    with node.daemon as client:
        staging = node.stage(client, case.volume_id, publish_context=case.context,
                             volume_context={'sysConfig': 'queue/read_ahead_kb=512'})
        assert device_of(staging) == part
        assert read_ahead.read_text().strip() == '512'
        node.unstage(client, case.volume_id)
        # Raw block is the whole disk.
        more = {'capability': block_capability(), 'publish_context': case.context}
        node.stage(client, case.volume_id, **more)
        assert os.stat(node.publish(client, case.volume_id, **more)).st_rdev == disk.devno


def test_alibaba_mkfs_options(make):
    case = by_name('alibaba')
    machine, node = make(case)
    disk = machine.disk(case.name, **case.says)
    with node.daemon as client:
        node.stage(client, case.volume_id, publish_context=case.context,
                   volume_context={'mkfsOptions': '-I 512 -L bulk'})
        label = subprocess.run(['blkid', '-p', '-s', 'LABEL', '-o', 'value', disk.loop], check=True,
                               capture_output=True, text=True).stdout.strip()
        assert label == 'bulk'
        node.unstage(client, case.volume_id)


def test_alibaba_unstages_what_upstreams_driver_staged(make):
    """Its bind mount of a raw block volume would keep kubelet's directory for ever."""
    case = by_name('alibaba')
    machine, node = make(case)
    disk = machine.disk(case.name, **case.says)
    staging = node.staging(case.volume_id)
    (staging / case.volume_id).touch()
    subprocess.run(['mount', '--bind', disk.loop, staging / case.volume_id], check=True)
    with node.daemon as client:
        more = {'capability': block_capability(), 'publish_context': case.context}
        node.stage(client, case.volume_id, **more)
        node.unstage(client, case.volume_id)
        assert not list(staging.iterdir())


def test_alibaba_leaves_a_file_of_that_name_in_a_filesystem(make):
    case = by_name('alibaba')
    machine, node = make(case)
    machine.disk(case.name, **case.says)
    with node.daemon as client:
        staging = node.stage(client, case.volume_id, publish_context=case.context)
        (staging / case.volume_id).touch()
        node.unstage(client, case.volume_id)
        staging = node.stage(client, case.volume_id, publish_context=case.context)
        assert (staging / case.volume_id).exists()
        node.unstage(client, case.volume_id)


@pytest.mark.parametrize('value, limit, topology', [('20', 20, True), ('0', 0, False)])
def test_alibaba_environment(make, value, limit, topology):
    _, node = make(by_name('alibaba'), environment={'MAX_VOLUMES_PERNODE': value, 'REGION_ID': 'cn-env'})
    with node.daemon as client:
        reply = client.NodeGetInfo()
        assert reply.max_volumes_per_node == limit
        segments = pairs(reply.accessible_topology.segments)
        assert (segments.get('topology.kubernetes.io/region') == 'cn-env') == topology
        assert bool(segments) == topology


def gpt_of(device):
    return json.loads(subprocess.run(['sfdisk', '--json', device], check=True, capture_output=True,
                                     text=True).stdout)['partitiontable']


class Shown:
    """Shows the first partition of a disk once there is one; kernels for tests may not read such tables themselves."""

    def __init__(self, disk):
        self.disk, self.devno = disk, None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.is_there():
            time.sleep(0.05)
        self.devno = self.disk.show_partition(1)

    def is_there(self):
        """And stays: who writes the table holds the disk, and has the kernel read it at the end, which forgets ours."""
        loop = pathlib.Path(self.disk.loop).name
        subprocess.run(['partx', '--update', self.disk.loop], check=False, capture_output=True)
        try:
            fd = os.open(self.disk.loop, os.O_RDONLY | os.O_EXCL)
        except OSError:
            return False
        found = pathlib.Path(f'/sys/block/{loop}/{loop}p1/dev').exists()
        os.close(fd)
        return found


def test_upcloud_a_blank_disk_gets_a_partition(make):
    case = by_name('upcloud')
    machine, node = make(case)
    disk = machine.disk(case.name, **case.says)
    shown = Shown(disk)
    with node.daemon as client:
        staging = node.stage(client, case.volume_id, timeout=30)
        assert device_of(staging) == shown.devno
        (staging / 'file').write_text('data')
        table = gpt_of(disk.loop)
        assert table['label'] == 'gpt' and len(table['partitions']) == 1
        part = table['partitions'][0]
        assert (part['start'], part['size'] * 512) == (2048, 62 * MIB)
        assert part['type'] == '0FC63DAF-8483-4772-8E79-3D69D8477DE4' and part['name'] == 'primary'
        assert subprocess.run(['sfdisk', '--verify', disk.loop], check=False, capture_output=True).returncode == 0
        target = node.publish(client, case.volume_id)
        assert (target / 'file').read_text() == 'data'
        node.unpublish(client, case.volume_id)
        node.unstage(client, case.volume_id)
        staging = node.stage(client, case.volume_id)
        assert (staging / 'file').read_text() == 'data'
        client.fails('UNIMPLEMENTED', 'NodeExpandVolume', volume_id=case.volume_id, volume_path=str(staging))
        node.unstage(client, case.volume_id)


def test_upcloud_a_blank_disk_that_is_only_read_stays_blank(make):
    case = by_name('upcloud')
    machine, node = make(case)
    disk = machine.disk(case.name, **case.says)
    with node.daemon as client:
        message = client.fails('FAILED_PRECONDITION', 'NodeStageVolume', timeout=10, volume_id=case.volume_id,
                               staging_target_path=str(node.staging(case.volume_id)),
                               volume_capability=mount_capability('ext4', flags=['ro']))
        assert 'has no partition 1' in message
        assert not any(pathlib.Path(disk.loop).read_bytes())


def test_upcloud_a_disk_that_a_pod_has_raw_gets_no_partition(make):
    """The table was written below the pod, and then the stage was refused."""
    case = by_name('upcloud')
    machine, node = make(case)
    sandbox.mount('tmpfs', machine.root / 'dev', 'tmpfs')  # as a node has it
    disk = machine.disk(case.name, **case.says)
    with node.daemon as client:
        node.stage(client, case.volume_id, block_capability())
        node.publish(client, case.volume_id, block_capability())
        with pytest.raises(Failure, match='FAILED_PRECONDITION.*is published as a raw block device'):
            node.stage(client, case.volume_id, mount_capability('ext4'), timeout=15)
        assert not any(disk.image.read_bytes())


def test_upcloud_a_partition_is_used_as_it_is(make):
    """What upstream's driver or parted made: the last partition counts."""
    case = by_name('upcloud')
    machine, node = make(case)
    disk = machine.disk(case.name, **case.says)
    first = disk.partition(1, ',16M\n,\n')
    last = disk.show_partition(2)
    subprocess.run(['mkfs.ext4', '-q', f'{disk.loop}p2'], check=True)
    before = gpt_of(disk.loop)
    with node.daemon as client:
        assert device_of(node.stage(client, case.volume_id)) == last != first
        assert gpt_of(disk.loop) == before
        node.unstage(client, case.volume_id)


def test_upcloud_what_is_not_blank_gets_no_partition(make):
    """A filesystem on the whole disk, which upstream's driver would write a partition table over."""
    case = by_name('upcloud')
    machine, node = make(case)
    disk = machine.disk(case.name, **case.says)
    subprocess.run(['mkfs.ext4', '-q', disk.loop], check=True)
    with node.daemon as client:
        message = client.fails('FAILED_PRECONDITION', 'NodeStageVolume', timeout=20, volume_id=case.volume_id,
                               staging_target_path=str(node.staging(case.volume_id)),
                               volume_capability=mount_capability())
        assert 'has no partition 1' in message
        assert disk.filesystem() == 'ext4'


def test_upcloud_a_table_that_was_half_written(make):
    """The machine lost power in the middle: the sectors that arrived are known as ours."""
    case = by_name('upcloud')
    machine, node = make(case)
    disk = machine.disk(case.name, **case.says)
    Shown(disk)
    with node.daemon as client:
        node.stage(client, case.volume_id, timeout=30)
        node.unstage(client, case.volume_id)
        table = pathlib.Path(disk.loop).read_bytes()[:34 * 512]
        (disk.directory / f'{disk.name}1/partition').unlink()
        (disk.directory / f'{disk.name}1/dev').unlink()
        (disk.directory / f'{disk.name}1').rmdir()
        (machine.root / f'dev/{disk.name}1').unlink()
        subprocess.run(['wipefs', '-qa', f'{disk.loop}p1'], check=True)
        subprocess.run(['partx', '-d', disk.loop], check=True)
        with open(disk.loop, 'r+b') as file:
            file.write(bytes(64 * MIB))
            file.seek(512)
            file.write(table[512:1536])
            file.flush()
            os.fsync(file.fileno())
        again = Shown(disk)
        assert device_of(node.stage(client, case.volume_id, timeout=30)) == again.devno
        assert pathlib.Path(disk.loop).read_bytes()[:34 * 512] == table
        node.unstage(client, case.volume_id)


def test_vsphere_topology_and_environment(make):
    _, node = make(by_name('vsphere'), ['--zone=zone-a', '--region=region-1'],
                   environment={'MAX_VOLUMES_PER_NODE': '255'})
    with node.daemon as client:
        reply = client.NodeGetInfo()
        assert reply.max_volumes_per_node == 255
        assert pairs(reply.accessible_topology.segments) == {'topology.csi.vmware.com/k8s-zone': 'zone-a',
                                                             'topology.csi.vmware.com/k8s-region': 'region-1'}


def test_vsphere_without_a_serial_number_says_what_to_set(sandbox, build):
    node = Node(Machine(sandbox, {'sys_vendor': 'VMware, Inc.', 'product_serial': 'None'}), build, 'vsphere')
    node.daemon.start(ready_seconds=0)
    client = Client(node.daemon.socket_path)
    assert '--node-id' in client.fails('FAILED_PRECONDITION', 'Probe', wait_for_ready=True)
    node.daemon.stop()
