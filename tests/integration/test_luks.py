# SPDX-License-Identifier: Apache-2.0
"""Encrypted volumes: LUKS by the providers that have it, on a kernel with device mapper.

Loop devices stand for the disks. `meson test --suite vm` runs this in a virtual machine where the running kernel has
no dm-crypt.
"""

import os
import pathlib
import re
import subprocess
import sys
import time

import pytest

import disks
import metadata
from csi import Daemon, block_capability, mount_capability

SECRET = 'correct-horse-battery-staple-0123456789'
UUID = '6b1d2c3e-4f50-4a6b-8c7d-9e0f1a2b3c4d'
MIB = 1 << 20
# A virtual machine without help of its processor takes its time for a key derivation.
SLOW_SECONDS = 300


def why_not():
    """Why there can be no encrypted volume here; None: there can."""
    if not pathlib.Path('/dev/mapper/control').exists():
        return 'the kernel has no device mapper'
    done = subprocess.run(['dmsetup', 'targets'], capture_output=True, text=True, check=False)
    if not re.search('^crypt ', done.stdout, re.MULTILINE):
        return 'the kernel has no dm-crypt (or it is not loaded)'
    return None


pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


class Linode:
    """LUKS2, cipher and key size by the volume's context."""
    provider, driver, service = 'linode', 'linodebs.csi.linode.com', metadata.Linode
    volume, mapper, key = '1234567-pvc0123456789abcdef', 'pvc0123456789abcdef', 'luksKey'
    contexts = {'volume_context': {'linodebs.csi.linode.com/luks-encrypted': 'true',
                                   'linodebs.csi.linode.com/luks-cipher': 'aes-xts-plain64',
                                   'linodebs.csi.linode.com/luks-key-size': '512'}}
    plain = {'volume_context': {}}
    version, bits = 2, 512

    @staticmethod
    def disk(tree, name, volume, **more):
        label = volume.partition('-')[2]
        return tree.scsi(name, f'0:0:{ord(name[-1]) - 97}:1', 'Linode', 'Volume',
                         pg83=disks.page_83(disks.designator(0, label.encode())), **more)


class Scaleway:
    provider, driver, service = 'scaleway', 'csi.scaleway.com', metadata.Scaleway
    volume, mapper, key = f'fr-par-1/{UUID}', f'scw-luks-{UUID}', 'encryptionPassphrase'
    contexts = {'volume_context': {'encrypted': 'true'}}
    plain = {'volume_context': {'encrypted': 'false'}}
    version, bits = 2, 256

    @staticmethod
    def disk(tree, name, volume, **more):
        text = 'volume-' + volume.partition('/')[2]
        return tree.scsi(name, f'0:0:{ord(name[-1]) - 97}:1', 'SCW', 'sbs',
                         pg83=disks.page_83(disks.designator(0, text.encode())), **more)


class Cloudscale:
    """LUKS1; all of it is in the publish context, the mapper's name as well."""
    provider, driver, service = 'cloudscale', 'csi.cloudscale.ch', metadata.Cloudscale
    volume, mapper, key = UUID, 'pvc-1', 'luksKey'
    contexts = {'publish_context': {'csi.cloudscale.ch/volume-name': 'pvc-1',
                                    'csi.cloudscale.ch/luks-encrypted': 'true',
                                    'csi.cloudscale.ch/luks-cipher': 'aes-xts-plain64',
                                    'csi.cloudscale.ch/luks-key-size': '512'}}
    plain = {'publish_context': {'csi.cloudscale.ch/volume-name': 'pvc-1'}}
    version, bits = 1, 512

    @staticmethod
    def disk(tree, name, volume, **more):
        return tree.scsi(name, f'0:0:{ord(name[-1]) - 97}:1', 'QEMU', 'QEMU HARDDISK',
                         pg83=disks.page_83(disks.designator(0, volume.encode())), **more)


class Hetzner:
    """LUKS1, not staged: encrypted is what has a passphrase."""
    provider, driver, service = 'hetzner', 'csi.hetzner.cloud', metadata.Hetzner
    volume, mapper, key = '98765432', 'scsi-0HC_Volume_98765432', 'encryption-passphrase'
    contexts = {'publish_context': {'devicePath': '/dev/disk/by-id/scsi-0HC_Volume_98765432'}}
    plain = contexts
    version, bits = 1, 512

    @staticmethod
    def disk(tree, name, volume, **more):
        return tree.scsi(name, f'0:0:{ord(name[-1]) - 97}:1', 'HC', 'Volume', pg80=disks.page_80(volume), **more)


def mappers():
    """Name -> the kernel's own node: in /dev/mapper nobody makes one without udev."""
    return {(path / 'name').read_text().strip(): f'/dev/{path.parent.name}'
            for path in pathlib.Path('/sys/block').glob('dm-*/dm')}


def mapper_names():
    return set(mappers())


def close_all():
    """What a failed test left: nothing in these namespaces owns a mapper."""
    for name, node in mappers().items():
        subprocess.run(['umount', '--all-targets', node], capture_output=True, check=False)
        subprocess.run(['dmsetup', 'remove', '--retry', '--force', name], capture_output=True, check=False)


def state(pid):
    """What a process and its children wait for."""
    done = subprocess.run(['ps', '-eLo', 'pid,ppid,stat,wchan:30,etimes,args'], capture_output=True, text=True,
                          check=False)
    return f'{pid}\n{done.stdout}'


@pytest.fixture(name='world')
def world_fixture(sandbox, build):
    """world(cloud) -> (tree, kubelet); the daemon's log is printed."""
    tree = disks.Tree(sandbox)
    made = []

    def make(cloud, *argv, is_quick=True, more=(), wrapper=()):
        cloud.service().start(cloud.service.address)
        quick = pathlib.Path(build) / 'tests/lib/libquick-derivation.so'
        environment = {'LD_PRELOAD': str(quick), **dict(more)} if is_quick and quick.exists() else {}
        daemon = Daemon(build, sandbox.path, ['--root', tree.root, '--log-level=debug', *argv],
                        provider=cloud.provider, environment=environment, wrapper=wrapper)
        made.append(daemon)
        client = daemon.start(60)
        client.timeout = SLOW_SECONDS
        kubelet = Kubelet(daemon, client, cloud.driver, secrets={cloud.key: SECRET}, **cloud.contexts)
        kubelet.cloud, kubelet.daemon = cloud, daemon
        return tree, kubelet
    before = mapper_names()
    assert not before
    yield make
    log = ''
    for daemon in made:
        if daemon.process.poll() is None:
            daemon.process.terminate()
            try:
                daemon.process.wait(60)
            except subprocess.TimeoutExpired:
                print(f'still running: {state(daemon.process.pid)}')
                daemon.kill()
        log += daemon.log()
    print(log[-6000:])
    close_all()
    assert SECRET not in log


class Kubelet(disks.Kubelet):
    def unstaged_fields(self, capability=None, pod='pod-1', **more):
        capability = capability or mount_capability()
        path = self.target(pod, self.cloud.volume, 'block' in capability)
        return path, {'volume_id': self.cloud.volume, 'target_path': str(path), 'volume_capability': capability,
                      **self.contexts, **more}

    def fails(self, code, capability=None, **more):
        if self.cloud is Hetzner:
            _, fields = self.unstaged_fields(capability, **more)
            message = self.client.fails(code, 'NodePublishVolume', **fields)
        else:
            message = self.stage_fails(code, self.cloud.volume, capability, SLOW_SECONDS, **more)
        assert SECRET not in message
        return message

    def mount(self, capability=None, **more):
        """Staged, or published where there is no staging."""
        if self.cloud is Hetzner:
            path, fields = self.unstaged_fields(capability, **more)
            self.client.NodePublishVolume(**fields)
            return path
        return self.stage(self.cloud.volume, capability, SLOW_SECONDS, **more)

    def unmount(self, path):
        if self.cloud is Hetzner:
            self.unpublish(self.cloud.volume, path)
        else:
            self.unstage(self.cloud.volume)


def luks_dump(device):
    return subprocess.run(['cryptsetup', 'luksDump', device], capture_output=True, text=True, check=True).stdout


def content(disk, at=0, n=MIB):
    with open(disk.loop, 'rb') as file:
        file.seek(at)
        return file.read(n)


def mapper_devno(name):
    return os.stat(mappers()[name]).st_rdev


@pytest.mark.deadline(1500)
@pytest.mark.parametrize('cloud', [Linode, Scaleway, Cloudscale, Hetzner], ids=lambda cloud: cloud.provider)
def test_life(world, cloud):
    """A new volume, written, closed, opened by cryptsetup(8) with the same secret, opened again, expanded."""
    tree, kubelet = world(cloud, is_quick=cloud is not Linode)
    disk = cloud.disk(tree, 'sdb', cloud.volume, size_bytes=384 * MIB)
    capability = mount_capability('xfs' if cloud is Scaleway else '')
    size = disk.size()
    path = kubelet.mount(capability)
    assert os.stat(path).st_dev == mapper_devno(cloud.mapper)
    dump = luks_dump(disk.loop)
    assert re.search(rf'^Version:\s+{cloud.version}$', dump, re.MULTILINE)
    assert re.search(rf'(MK bits:\s+{cloud.bits}$|Cipher key:\s+{cloud.bits} bits)', dump, re.MULTILINE)
    assert cloud is not Linode or 'Memory:     65536' in dump
    kubelet.mount(capability)  # again: nothing to do
    (path / 'file').write_text('plain text that nobody may find')
    subprocess.run(['sync', '-f', str(path)], check=True)
    assert disk.filesystem() == 'crypto_LUKS'
    for at in range(0, size, 16 * MIB):
        assert b'plain text that nobody may find' not in content(disk, at, 16 * MIB)
    disk.grow(2 * size)
    if cloud is Scaleway or disks.can_grow_mounted_ext():
        before = os.statvfs(path)
        assert kubelet.expand(cloud.volume, path, 2 * size) == 2 * size
        after = os.statvfs(path)
        assert after.f_blocks * after.f_frsize > 1.8 * before.f_blocks * before.f_frsize
        assert disk.asked_to_rescan()
    kubelet.unmount(path)
    assert mapper_names() == set()
    subprocess.run(['cryptsetup', 'open', '--key-file', '-', disk.loop, 'other'], input=SECRET, text=True, check=True)
    subprocess.run(['cryptsetup', 'close', 'other'], check=True)
    path = kubelet.mount(capability)
    assert (path / 'file').read_text() == 'plain text that nobody may find'
    total = os.statvfs(path)
    assert total.f_blocks * total.f_frsize > 1.5 * size
    kubelet.unmount(path)
    assert mapper_names() == set()


@pytest.mark.deadline(1500)
def test_passphrase_is_nowhere(world, sandbox):
    """Not in the log, not in a message, not in a command line, not in the daemon's memory, not on the disk."""
    tree, kubelet = world(Linode)
    disk = Linode.disk(tree, 'sdb', Linode.volume, size_bytes=128 * MIB)
    watch = subprocess.Popen(['/usr/bin/python3', '-c', '''
import glob, sys, time
while True:
    for path in glob.glob("/proc/[0-9]*/cmdline") + glob.glob("/proc/[0-9]*/environ"):
        try:
            text = open(path, "rb").read()
        except OSError:
            continue
        if b"battery-staple" in text and b"glob.glob" not in text:
            print(path, text, flush=True)
    time.sleep(0.002)
'''], stdout=subprocess.PIPE, text=True)
    path = kubelet.mount()
    kubelet.unmount(path)
    kubelet.mount()
    watch.kill()
    assert watch.communicate()[0] == ''
    found = []
    pid = kubelet.daemon.process.pid
    with open(f'/proc/{pid}/maps', encoding='ascii') as maps, open(f'/proc/{pid}/mem', 'rb') as memory:
        for line in maps:
            words = line.split()
            if 'r' not in words[1] or words[-1] in ('[vvar]', '[vsyscall]', '[vdso]'):
                continue
            begin, end = (int(word, 16) for word in words[0].split('-'))
            memory.seek(begin)
            try:
                data = memory.read(end - begin)
            except OSError:
                continue
            found += [f'{words[0]} {words[-1]}' for _ in re.finditer(SECRET.encode(), data)]
    assert found == []
    assert SECRET.encode() not in content(disk, 0, 128 * MIB)
    for name in sandbox.path.rglob('*'):
        if name.is_file() and not name.is_symlink() and name.suffix == '.log':
            assert SECRET.encode() not in name.read_bytes()
    kubelet.unmount(path)


@pytest.mark.deadline(1500)
def test_wrong_passphrase(world):
    tree, kubelet = world(Linode)
    disk = Linode.disk(tree, 'sdb', Linode.volume, size_bytes=128 * MIB)
    path = kubelet.mount()
    (path / 'file').write_text('kept')
    kubelet.unmount(path)
    before = content(disk, 0, 128 * MIB)
    message = kubelet.fails('FAILED_PRECONDITION', secrets={'luksKey': 'never-heard-of-it'})
    assert 'secrets[luksKey] does not open' in message and 'nothing was changed' in message
    assert 'never-heard-of-it' not in message + kubelet.daemon.log()
    for secrets in ({}, {'luksKey': ''}, {'encryptionPassphrase': SECRET}):
        assert 'secrets[luksKey]' in kubelet.fails('INVALID_ARGUMENT', secrets=secrets)
    assert content(disk, 0, 128 * MIB) == before
    assert mapper_names() == set()
    path = kubelet.mount()
    assert (path / 'file').read_text() == 'kept'
    kubelet.unmount(path)


@pytest.mark.deadline(1500)
@pytest.mark.parametrize('cloud', [Linode, Hetzner], ids=lambda cloud: cloud.provider)
def test_plain_and_encrypted_do_not_mix(world, cloud):
    tree, kubelet = world(cloud)
    disk = cloud.disk(tree, 'sdb', cloud.volume, size_bytes=128 * MIB)
    encrypted = dict(kubelet.contexts)
    kubelet.contexts = dict(cloud.plain)
    path = kubelet.mount()
    (path / 'file').write_text('plain')
    kubelet.unmount(path)
    kubelet.contexts = encrypted
    message = kubelet.fails('FAILED_PRECONDITION')
    assert 'asked for as encrypted' in message and 'ext4' in message
    assert disk.filesystem() == 'ext4'
    # Garbage is not blank.
    subprocess.run(['wipefs', '-aq', disk.loop], check=True)
    subprocess.run(['dd', 'if=/dev/urandom', f'of={disk.loop}', 'bs=1M', 'count=2', 'conv=fsync'], check=True,
                   capture_output=True)
    assert 'neither blank nor LUKS' in kubelet.fails('FAILED_PRECONDITION')
    subprocess.run(['dd', 'if=/dev/zero', f'of={disk.loop}', 'bs=1M', 'count=128', 'conv=fsync'], check=False,
                   capture_output=True)
    path = kubelet.mount()
    kubelet.unmount(path)
    kubelet.contexts = dict(cloud.plain)
    message = kubelet.fails('FAILED_PRECONDITION')
    assert 'LUKS' in message
    assert disk.filesystem() == 'crypto_LUKS'


@pytest.mark.deadline(1500)
def test_blank_and_read_only(world):
    tree, kubelet = world(Linode)
    disk = Linode.disk(tree, 'sdb', Linode.volume, size_bytes=128 * MIB)
    assert 'first use for writing' in kubelet.fails('FAILED_PRECONDITION', mount_capability('', 2))
    assert content(disk) == bytes(MIB)


@pytest.mark.deadline(1500)
def test_bad_cipher(world):
    """Refused before anything is written."""
    tree, kubelet = world(Linode)
    disk = Linode.disk(tree, 'sdb', Linode.volume, size_bytes=128 * MIB)
    context = Linode.contexts['volume_context']
    for cipher, bits in (('aes', '512'), ('aes-xts-plain64', '0'), ('aes-xts-plain64', 'many'), ('a/b-c', '512')):
        kubelet.contexts['volume_context'] = {**context, 'linodebs.csi.linode.com/luks-cipher': cipher,
                                              'linodebs.csi.linode.com/luks-key-size': bits}
        assert 'luks-' in kubelet.fails('INVALID_ARGUMENT')
    assert content(disk, 0, 20 * MIB) == bytes(20 * MIB)
    kubelet.contexts['volume_context'] = context
    kubelet.unmount(kubelet.mount())


@pytest.mark.deadline(1500)
def test_stale_mappers(world):
    """One of another disk, unused: closed. The same in use: refused. What is no crypt: left alone."""
    tree, kubelet = world(Linode)
    disk = Linode.disk(tree, 'sdb', Linode.volume, size_bytes=128 * MIB)
    other = Linode.disk(tree, 'sdc', '7654321-pvcffffffffffffffff', size_bytes=128 * MIB)
    subprocess.run(['cryptsetup', 'luksFormat', '-q', '--type', 'luks1', '--pbkdf-force-iterations', '1000',
                    '--key-file', '-', other.loop], input='x', text=True, check=True)
    subprocess.run(['cryptsetup', 'open', '--key-file', '-', other.loop, Linode.mapper], input='x', text=True,
                   check=True)
    with open(mappers()[Linode.mapper], 'rb'):
        message = kubelet.fails('FAILED_PRECONDITION')
        assert 'is in use' in message and 'another disk' in message
        assert mapper_names() == {Linode.mapper}
        assert content(disk) == bytes(MIB)
    path = kubelet.mount()
    assert os.stat(path).st_dev == mapper_devno(Linode.mapper)
    assert disk.filesystem() == other.filesystem() == 'crypto_LUKS'
    assert 'closed a stale mapper' in kubelet.daemon.log()
    kubelet.unmount(path)
    # A linear device of that name is somebody else's.
    subprocess.run(['dmsetup', 'create', Linode.mapper, '--table', f'0 1000 linear {other.loop} 0'], check=True)
    assert 'is not an encrypted volume' in kubelet.fails('FAILED_PRECONDITION')
    assert mapper_names() == {Linode.mapper}
    subprocess.run(['dmsetup', 'remove', Linode.mapper], check=True)
    # Opened under another name.
    subprocess.run(['cryptsetup', 'open', '--key-file', '-', disk.loop, 'elsewhere'], input=SECRET, text=True,
                   check=True)
    assert 'another name' in kubelet.fails('FAILED_PRECONDITION')
    subprocess.run(['cryptsetup', 'close', 'elsewhere'], check=True)
    kubelet.unmount(kubelet.mount())


@pytest.mark.deadline(1500)
def test_after_upstream(world):
    """Opened by cryptsetup(8) as upstream's driver does it, with its key in the keyring: taken over as it is, expanded
    with the secret alone, and closed."""
    tree, kubelet = world(Scaleway)
    disk = Scaleway.disk(tree, 'sdb', Scaleway.volume, size_bytes=384 * MIB)
    subprocess.run(['cryptsetup', '-q', 'luksFormat', '--hash', 'sha256', '--cipher', 'aes-xts-plain64', '--key-size',
                    '256', '--pbkdf-memory', '32768', '--pbkdf-force-iterations', '4', disk.loop, '--key-file', '-'],
                   input=SECRET, text=True, check=True)
    subprocess.run(['cryptsetup', 'luksOpen', disk.loop, Scaleway.mapper, '--key-file', '-'], input=SECRET, text=True,
                   check=True)
    mapper = f'/dev/mapper/{Scaleway.mapper}'
    subprocess.run(['mkfs.xfs', '-q', mapper], check=True)
    kubelet.contexts['secrets'] = {}
    path = kubelet.mount(mount_capability('xfs'))
    assert os.stat(path).st_dev == mapper_devno(Scaleway.mapper)
    disk.grow(768 * MIB)
    fields = {'volume_id': Scaleway.volume, 'volume_path': str(path), 'capacity_range': {'required_bytes': 768 * MIB}}
    table = subprocess.run(['dmsetup', 'table', Scaleway.mapper], capture_output=True, text=True, check=True).stdout
    if ':logon:' in table:
        message = kubelet.client.fails('FAILED_PRECONDITION', 'NodeExpandVolume', **fields)
        assert 'node-expand-secret-name' in message
        assert 'not the one' in kubelet.client.fails('FAILED_PRECONDITION', 'NodeExpandVolume',
                                                     secrets={Scaleway.key: 'wrong'}, **fields)
    kubelet.client.NodeExpandVolume(secrets={Scaleway.key: SECRET}, **fields)
    total = os.statvfs(path)
    # 768 MiB less the header of 16 MiB and the log of 64 MiB.
    assert total.f_blocks * total.f_frsize > 660 * MIB
    kubelet.unmount(path)
    assert mapper_names() == set()


@pytest.mark.deadline(1500)
@pytest.mark.parametrize('cloud', [Scaleway, Cloudscale, Hetzner], ids=lambda cloud: cloud.provider)
def test_block(world, cloud):
    """A raw block volume is the mapper; it goes when the volume does, and not before."""
    tree, kubelet = world(cloud)
    disk = cloud.disk(tree, 'sdb', cloud.volume, size_bytes=64 * MIB)
    capability = block_capability()
    if cloud is not Hetzner:
        path = kubelet.mount(capability)
        kubelet.contexts['secrets'] = {}  # kubelet has the secret of staging for staging alone
    target, fields = kubelet.unstaged_fields(capability)
    fields['staging_target_path'] = str(kubelet.staging(cloud.volume))
    kubelet.client.NodePublishVolume(**fields)
    assert os.stat(target).st_rdev == mapper_devno(cloud.mapper)
    with open(target, 'r+b', buffering=0) as device:
        device.write(b'plain text'.ljust(4096))
        os.fsync(device.fileno())
    second, fields = kubelet.unstaged_fields(capability, 'pod-2')
    fields['staging_target_path'] = str(kubelet.staging(cloud.volume))
    kubelet.client.NodePublishVolume(**fields)
    disk.grow(128 * MIB)
    assert kubelet.expand(cloud.volume, target, 128 * MIB) == 128 * MIB
    kubelet.unpublish(cloud.volume, target)
    with open(second, 'rb') as device:
        assert device.read(10) == b'plain text'
    kubelet.unpublish(cloud.volume, second)
    if cloud is not Hetzner:
        assert mapper_names() == {cloud.mapper}
        kubelet.unmount(path)
    assert mapper_names() == set()
    assert disk.filesystem() == 'crypto_LUKS'


@pytest.mark.deadline(1500)
def test_not_staged(world):
    """Publishing a block volume that nobody staged has no secret, and says what is missing."""
    tree, kubelet = world(Scaleway)
    Scaleway.disk(tree, 'sdb', Scaleway.volume, size_bytes=64 * MIB)
    _, fields = kubelet.unstaged_fields(block_capability())
    fields.update(staging_target_path=str(kubelet.staging(Scaleway.volume)), secrets={})
    assert 'not staged' in kubelet.client.fails('FAILED_PRECONDITION', 'NodePublishVolume', **fields)


@pytest.mark.deadline(1500)
def test_hetzner_two_pods(world):
    """The mapper stays until the last pod has gone."""
    tree, kubelet = world(Hetzner)
    Hetzner.disk(tree, 'sdb', Hetzner.volume, size_bytes=64 * MIB)
    first = kubelet.mount()
    second, fields = kubelet.unstaged_fields(pod='pod-2')
    kubelet.client.NodePublishVolume(**fields)
    (first / 'file').write_text('x')
    kubelet.unmount(first)
    assert (second / 'file').read_text() == 'x'
    assert mapper_names() == {Hetzner.mapper}
    kubelet.unmount(second)
    assert mapper_names() == set()
    # cryptsetup(8) reads the first line of a pipe, and so did upstream when it made the volume.
    path = kubelet.mount(secrets={Hetzner.key: SECRET + '\nmore'})
    kubelet.unmount(path)


@pytest.mark.deadline(1500)
def test_new_volume_that_cannot_be_opened(world, build):
    """The header is taken away again, so that another node finds the disk as it was: blank."""
    if not (pathlib.Path(build) / 'tests/lib/libquick-derivation.so').exists():
        pytest.skip('built with sanitizers: nothing can be preloaded')
    tree, kubelet = world(Linode, more={'BERTH_TEST_FAIL_OPEN': '1'})
    disk = Linode.disk(tree, 'sdb', Linode.volume, size_bytes=128 * MIB)
    assert 'open the encryption' in kubelet.fails('FAILED_PRECONDITION')
    assert content(disk) == bytes(MIB) and disk.filesystem() == ''
    kubelet.daemon.stop()
    del kubelet.daemon.environment['BERTH_TEST_FAIL_OPEN']
    kubelet.client = kubelet.daemon.start(60)
    kubelet.client.timeout = SLOW_SECONDS
    kubelet.unmount(kubelet.mount())


@pytest.mark.deadline(1500)
def test_killed_while_encrypting(world):
    """Killed between the header and the filesystem: the next call begins anew, since its note says what it was."""
    tree, kubelet = world(Linode)
    disk = Linode.disk(tree, 'sdb', Linode.volume, size_bytes=128 * MIB)
    call = kubelet.client.start('NodeStageVolume', **kubelet.stage_fields(Linode.volume))
    end = time.monotonic() + SLOW_SECONDS
    while content(disk, 0, 4) != b'LUKS':
        assert time.monotonic() < end
        time.sleep(0.002)
    kubelet.daemon.kill()
    call.cancel()
    # berth-luks goes on for a moment, or was killed with the group.
    time.sleep(1)
    kubelet.client = kubelet.daemon.start(60)
    kubelet.client.timeout = SLOW_SECONDS
    path = kubelet.mount()
    (path / 'file').write_text('x')
    assert list(path.parent.glob('.berth*')) == []
    kubelet.unmount(path)
    assert mapper_names() == set()


def kept_by_another_namespace():
    """Its own copy of all mounts there are now."""
    holder = subprocess.Popen(['unshare', '--mount', '--propagation', 'private', 'sh', '-c', 'echo; read x'],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    holder.stdout.readline()
    return holder


def wait_until(condition):
    end = time.monotonic() + SLOW_SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def restart(kubelet):
    kubelet.client.close()
    kubelet.client = kubelet.daemon.start(60)
    kubelet.client.timeout = SLOW_SECONDS


@pytest.mark.deadline(1500)
def test_left_behind(world):
    """A mapper that nobody came for stayed for ever; what is not proven ours, or is asked for, stays."""
    tree, kubelet = world(Linode)
    Linode.disk(tree, 'sdb', Linode.volume, size_bytes=128 * MIB)
    other = Linode.disk(tree, 'sdc', '7654321-pvcffffffffffffffff', size_bytes=128 * MIB)
    notes = kubelet.daemon.directory / 'mappers'
    # Of another volume: where no pod is at all, nothing is proven.
    (kubelet.root / 'pods' / 'other').mkdir(parents=True, exist_ok=True)
    # In use elsewhere when it was unstaged; nothing of kubelet's is asked then.
    path = kubelet.mount()
    vol_data = path.parent / 'vol_data.json'
    vol_data.write_text(f'{{"volumeHandle": "{Linode.volume}"}}')
    assert len(list(notes.iterdir())) == 1
    holder = kept_by_another_namespace()
    # Without the rmdir(2) that would take it off the other namespace as well.
    kubelet.client.NodeUnstageVolume(volume_id=Linode.volume, staging_target_path=str(path))
    assert mapper_names() == {Linode.mapper}
    kubelet.daemon.kill()
    restart(kubelet)
    assert mapper_names() == {Linode.mapper}
    holder.communicate(b'\n')
    kubelet.daemon.kill()
    restart(kubelet)
    wait_until(lambda: not mapper_names())
    assert 'closed an encrypted volume that nobody uses or asks for' in kubelet.daemon.log()
    wait_until(lambda: not list(notes.iterdir()))
    # Killed before it was mounted. While kubelet has it, it stays, and so does what has our name and is another's.
    path = kubelet.mount()
    kubelet.daemon.kill()
    subprocess.run(['umount', path], check=True)
    foreign = notes / 'luks-foreign'
    foreign.write_text('{"mapper": "foreign", "uuid": "CRYPT-LUKS2-00000000000000000000000000000000-", "volume": "x", '
                       '"left": true}')
    subprocess.run(['cryptsetup', 'luksFormat', '-q', '--type', 'luks1', '--pbkdf-force-iterations', '1000',
                    '--key-file', '-', other.loop], input='x', text=True, check=True)
    subprocess.run(['cryptsetup', 'open', '--key-file', '-', other.loop, 'foreign'], input='x', text=True, check=True)
    restart(kubelet)
    wait_until(lambda: not foreign.exists())
    assert mapper_names() == {Linode.mapper, 'foreign'}
    kubelet.daemon.kill()
    vol_data.unlink()
    restart(kubelet)
    wait_until(lambda: mapper_names() == {'foreign'})
    # And nothing of it is in the way.
    kubelet.unmount(kubelet.mount())
    assert mapper_names() == {'foreign'}
    subprocess.run(['cryptsetup', 'close', 'foreign'], check=True)


# What berth-csi is started under: a container's /run, whose root is read-only, and a kernel without its interface of
# ciphers, for which libcryptsetup has its own or goes through a mapper.
CONTAINED = ['unshare', '--mount', '--propagation=unchanged', 'sh', '-c',
             'mount -t tmpfs -o ro none /run && exec "$@"', 'sh']
NO_AF_ALG = [sys.executable, '-c', """
import errno, os, seccomp, socket, sys
rules = seccomp.SyscallFilter(defaction=seccomp.ALLOW)
rules.add_rule(seccomp.ERRNO(errno.EAFNOSUPPORT), 'socket', seccomp.Arg(0, seccomp.EQ, socket.AF_ALG))
rules.load()
os.execvp(sys.argv[1], sys.argv[1:])
"""]


@pytest.mark.deadline(1500)
@pytest.mark.parametrize('wrapper', [[], NO_AF_ALG], ids=['with AF_ALG', 'without'])
def test_what_the_manifest_gives_is_enough(world, wrapper):
    """No device node and no owner is made for it, and nothing is written to /run."""
    tree, kubelet = world(Linode, wrapper=[*CONTAINED, *wrapper])
    disk = Linode.disk(tree, 'sdb', Linode.volume, size_bytes=128 * MIB)
    process = pathlib.Path(f'/proc/{kubelet.daemon.process.pid}')
    status = (process / 'status').read_text(encoding='ascii')
    bound, = re.findall(r'CapBnd:\t(\w+)', status)
    assert not int(bound, 16) & (1 << 27 | 1 << 4), 'CAP_MKNOD, CAP_FSETID'
    path = kubelet.mount()
    assert not pathlib.Path('/dev/mapper', Linode.mapper).exists()
    # What is mounted there is seen by the daemon alone, as its /run.
    inside = process / 'root' / path.relative_to('/')
    (inside / 'file').write_text('kept')
    kubelet.unmount(path)
    assert mapper_names() == set()
    disk.grow(192 * MIB)
    path = kubelet.mount()
    assert (inside / 'file').read_text() == 'kept'
    kubelet.unmount(path)
    assert mapper_names() == set()
