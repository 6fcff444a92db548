#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Public reports of filesystems that a kernel refused, asked of `berth-csi fs check`: where it was reported, the
image, the host that was asked about, the right answer, and a word of the reason. Besides, what was once wrong."""

import json
import random
import struct
import subprocess

import pytest

MIB = 1 << 20
XFS = ['mkfs.xfs', '-q', '-f']
EXT4 = ['mke2fs', '-q', '-F', '-t', 'ext4', '-b', '4096']
BTRFS = ['mkfs.btrfs', '-q', '-f']


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def xfs_edit(path, edits):
    """Puts bytes into an XFS superblock and its checksum right."""
    with open(path, 'r+b') as file:
        sector = bytearray(file.read(512))
        for at, data in edits:
            sector[at:at + len(data)] = data
        sector[0xe0:0xe4] = bytes(4)
        sector[0xe0:0xe4] = struct.pack('<I', crc32c(sector))
        file.seek(0)
        file.write(sector)


def check(build, path, *argv):
    command = [build / 'csi/berth-csi', 'fs', 'check', path, '--json', *argv]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    found = json.loads(done.stdout)
    return (found['verdicts'][0] if 'verdicts' in found else found), done.returncode


def image(tmp_path, size, *mkfs):
    path = tmp_path / 'image'
    with open(path, 'wb') as file:
        file.truncate(size)
    subprocess.run([*mkfs, path], check=True, capture_output=True)
    return path


OLD_XFS = [*XFS, '-m', 'bigtime=0,inobtcount=0,reflink=1']
CASEFOLD = [*EXT4, '-O', 'casefold']
NREXT64 = [*XFS, '-i', 'nrext64=1']
REPORTS = [
    ('bottlerocket-os/bottlerocket#4281', 300, NREXT64, ['5.15'], 'no', 'nrext64'),
    ('bottlerocket-os/bottlerocket#4281', 300, NREXT64, ['6.1'], 'rw', ''),
    ('metal-stack/csi-driver-lvm#111', 300, NREXT64, ['5.10.226-214.880.amzn2.x86_64'], 'no', 'nrext64'),
    ('flyingcircusio/fc-nixos#1049', 300, NREXT64, ['5.15'], 'no', 'nrext64'),
    ('openebs/zfs-localpv#759', 300, NREXT64, ['5.18'], 'no', 'nrext64'),
    ('openebs/zfs-localpv#759', 300, NREXT64, ['5.19'], 'rw', ''),
    ('kubernetes-sigs/aws-ebs-csi-driver#2110', 300, XFS, ['5.4.0-1112-aws'], 'no', 'bigtime'),
    ('ceph/ceph-csi#966', 300, [*XFS, '-m', 'bigtime=0,inobtcount=0,reflink=1'], ['3.10.0-1160.el7.x86_64'], 'ro',
     'reflink'),
    ('oamg/leapp-repository#1318', 300, [*XFS, '-m', 'crc=0'], ['6.12.0-55.el10.x86_64'], 'no',
     'CONFIG_XFS_SUPPORT_V4'),
    ('oamg/leapp-repository#1318', 300, XFS, ['6.12.0-55.el10.x86_64'], 'rw', ''),
    ('SUSE/suse-migration-services#478', 300, [*XFS, '-m', 'crc=0'], ['6.12.0-160000.5-default'], 'no',
     'CONFIG_XFS_SUPPORT_V4'),
    ('AmpereComputing/ampere-lts-kernel#139', 128, [*BTRFS, '-s', '4096'], ['5.10', '--page-sizes', '64K'], 'no',
     'sectorsize of 4K'),
    ('flatcar/coreos-overlay#1106', 128, [*BTRFS, '-s', '4096'], ['5.10', '--page-sizes', '64K'], 'no',
     'sectorsize of 4K'),
    ('raspberrypi/bookworm-feedback#136', 64, ['mkfs.f2fs', '-q', '-f'], ['6.6.20+rpt-rpi-2712'], 'no',
     'block size of 4K'),
    ('MichaIng/DietPi#8259', 128, [*BTRFS, '-s', '4096'], ['6.12.47+rpt-rpi-2712'], 'rw', ''),
    ('nohajc/anylinuxfs#25', 256, [*BTRFS, '-s', '16384', '-n', '16384'], ['6.12', '--page-sizes', '4K'], 'no',
     'sectorsize of 16K'),
    ('topolvm/topolvm#257', 300, OLD_XFS, ['3.10.0-1160.15.2.el7.x86_64'], 'ro', 'reflink'),
    ('elastio/elastio-snap#139', 300, [*OLD_XFS, '-i', 'sparse=0'], ['3.16.0-11-amd64'], 'ro', 'reflink'),
    ('kubernetes-sigs/vsphere-csi-driver#3168', 300, XFS, ['5.4.0-204-generic'], 'no', 'bigtime'),
    ('raspberrypi/linux#6808', 64, CASEFOLD, ['6.6.74+rpt-rpi-v8'], 'no', 'CONFIG_UNICODE'),
    ('microsoft/WSL#10371', 64, CASEFOLD, ['5.15.90.1-microsoft-standard-WSL2'], 'no', 'CONFIG_UNICODE'),
    ('friendlyarm/linux-3.4.y#20', 64, [*EXT4, '-O', '^orphan_file,^metadata_csum_seed'], ['3.4.39'], 'ro',
     'metadata_csum'),
    ('archlinuxarm/PKGBUILDs#1223', 128, [*BTRFS, '-O', '^no-holes', '-R', '^free-space-tree'], ['3.8.13.29-2'], 'no',
     'skinny_metadata'),
    ('tytso/e2fsprogs#147', 64, [*EXT4, '-O', 'orphan_file'], ['5.10'], 'rw', ''),
]


@pytest.mark.parametrize('report, size, mkfs, asked, answer, word', REPORTS,
                         ids=[f'{r[0]}-{r[3][0]}' for r in REPORTS])
def test_report(build, tmp_path, report, size, mkfs, asked, answer, word):
    verdict, _ = check(build, image(tmp_path, size * MIB, *mkfs), '--kernel', *asked)
    assert verdict['answer'] == answer, report
    assert word in verdict['sentence'], report


def told(tmp_path, **facts):
    """A host as a node tells of itself."""
    path = tmp_path / 'node.json'
    path.write_text(json.dumps({'name': 'node-1', **facts}), encoding='utf-8')
    return '--host', path


@pytest.mark.parametrize('report, features, tools, word', [
    ('rauc/rauc#1190', 'orphan_file', '1.46.5', 'orphan_file'),
    ('opencomputeproject/onie#912', 'metadata_csum', '1.42.13', 'metadata_csum'),
])
def test_tools_that_refuse_what_the_kernel_mounts(build, tmp_path, report, features, tools, word):
    path = image(tmp_path, 64 * MIB, *EXT4, '-O', f'none,has_journal,extent,{features}')
    verdict, code = check(build, path, *told(tmp_path, kernel='5.15', page_size=4096, tools={'e2fsprogs': tools}))
    assert (verdict['answer'], code) == ('rw', 0), report
    assert any(word in reason['text'] and tools in reason['text'] for reason in verdict['reasons'])


def test_a_number_does_not_tell_an_option(build, tmp_path):
    """NixOS/nixpkgs#109432: 5.10.5 without CONFIG_UNICODE; the same number with it mounts."""
    path = image(tmp_path, 64 * MIB, *CASEFOLD)
    verdict, code = check(build, path, '--kernel', '5.10.5')
    assert (verdict['answer'], verdict['confidence'], code) == ('rw', 'low', 3)
    verdict, code = check(build, path, *told(tmp_path, kernel='5.10.5', config={'CONFIG_UNICODE': False}))
    assert (verdict['answer'], code) == ('no', 2) and 'CONFIG_UNICODE' in verdict['sentence']


@pytest.mark.parametrize('kernel, options, code, word', [
    ('5.4', ['-O', 'casefold'], 3, 'CONFIG_UNICODE'),
    ('6.1.0-50-amd64', ['-O', 'casefold'], 0, ''),
    ('5.10.0-46-amd64', ['-O', 'casefold'], 2, 'CONFIG_UNICODE'),
    ('5.14.0-427.el9.x86_64', [], 3, 'this kernel has more or less'),
    ('4.4', [], 0, ''),
])
def test_a_plan_is_as_sure_as_its_verdicts(build, kernel, options, code, word):
    plan = [build / 'csi/berth-csi', 'fs', 'plan', '--type', 'ext4', '--min-kernel', kernel]
    done = subprocess.run([*plan, '--', *options], capture_output=True, text=True, check=False)
    assert done.returncode == code and word in done.stdout + done.stderr
    assert ('a guess' in done.stdout) == (code == 3)
    done = subprocess.run([*plan, '--json', '--', *options], capture_output=True, text=True, check=False)
    assert done.returncode == code
    if code != 2:
        assert (json.loads(done.stdout)['confidence'] == 'low') == (code == 3)


def test_clusters_above_a_page(build, tmp_path):
    """FlopKernel-Series/flop_exynos2100_kernel#4: an erofs of today on Linux 5.4."""
    source = tmp_path / 'tree'
    source.mkdir()
    (source / 'file').write_bytes(random.Random(1).randbytes(200000).hex().encode())
    path = tmp_path / 'image'
    made = subprocess.run(['mkfs.erofs', '-zlz4hc', '-C65536', path, source], capture_output=True, check=False)
    if made.returncode or path.stat().st_size < 8192:
        pytest.skip('mkfs.erofs makes no clusters of 64K here')
    verdict, code = check(build, path, '--kernel', '5.4.302')
    assert (verdict['answer'], code) == ('no', 2) and 'big_pcluster' in verdict['sentence']
    assert check(build, path, '--kernel', '5.15')[0]['answer'] == 'ro'


def test_distributions_build_what_they_build(build, tmp_path):
    """Checked against their configurations: tests/data/fs/kernel-configs.csv."""
    path = image(tmp_path, 64 * MIB, 'mkfs.f2fs', '-q', '-f')
    verdict, code = check(build, path, '--kernel', '6.12.118+deb13-cloud-amd64')
    assert (verdict['answer'], verdict['confidence'], code) == ('no', 'medium', 2)
    assert check(build, path, '--kernel', '6.12.118+deb13-amd64')[0]['answer'] == 'rw'
    assert check(build, path, '--kernel', '6.18.45-talos')[0]['answer'] == 'no'


def test_two_drivers_of_ntfs(build, tmp_path):
    """Debian has no driver in 6.1, ntfs3 in 6.12, and from 7.2 on `ntfs`, which wants sectors that the disk has."""
    boot = bytearray(512)
    boot[3:14] = b'NTFS    ' + struct.pack('<HB', 512, 8)
    boot[40:48] = struct.pack('<Q', 131071)
    boot[510:512] = b'\x55\xaa'
    path = tmp_path / 'image'
    path.write_bytes(bytes(boot) + bytes(64 * MIB - 512))
    answers = {release: check(build, path, '--kernel', release)[0]['answer']
               for release in ('6.1.0-50-amd64', '6.12.118+deb13-amd64', '7.3.4+deb13-amd64')}
    assert list(answers.values()) == ['no', 'rw', 'rw']
    assert check(build, path, '--kernel', '6.12.118+deb13-amd64', '--sector', '4096')[0]['answer'] == 'rw'
    assert check(build, path, '--kernel', '7.3.4+deb13-amd64', '--sector', '4096')[0]['answer'] == 'no'


def test_checksums_of_btrfs_need_no_option(build, tmp_path):
    """Debian 7.2 has no CONFIG_CRYPTO_XXHASH, and its btrfs has xxhash64."""
    path = image(tmp_path, 128 * MIB, *BTRFS, '--csum', 'xxhash64')
    node = told(tmp_path, kernel='7.2.12+deb13-amd64', config={'CONFIG_CRYPTO_XXHASH': False})
    verdict, code = check(build, path, *node)
    assert (verdict['answer'], code) == ('rw', 0)


def test_exchange_and_parent_before_6_10(build, tmp_path):
    """NixOS/nixpkgs#560887: incompat 0xc0 of a newer mkfs."""
    path = image(tmp_path, 300 * MIB, *XFS)
    with open(path, 'rb') as file:
        incompat = struct.unpack('>I', file.read(0xdc)[0xd8:])[0]
    xfs_edit(path, [(0xd8, struct.pack('>I', incompat | 0xc0))])
    verdict, code = check(build, path, '--kernel', '6.6')
    assert (verdict['answer'], code) == ('no', 2)
    assert 'exchange' in verdict['sentence'] and '6.10' in verdict['sentence']


def test_nil_uuid_is_refused(build, tmp_path):
    path = image(tmp_path, 300 * MIB, *XFS)
    xfs_edit(path, [(0x20, bytes(16))])
    verdict, code = check(build, path)
    assert (verdict['answer'], code) == ('no', 2)


def test_stripe_width_is_a_multiple_of_the_unit(build, tmp_path):
    path = image(tmp_path, 1024 * MIB, *XFS, '-d', 'su=64k,sw=2')
    assert check(build, path)[0]['answer'] == 'rw'
    xfs_edit(path, [(0xbc, struct.pack('>I', 33))])
    assert check(build, path)[0]['answer'] == 'no'


@pytest.mark.parametrize('change', [['xfs_admin', '-U', 'generate'], ['xfs_repair', '-L']])
def test_a_log_that_a_tool_cleared_is_clean(build, tmp_path, change):
    path = image(tmp_path, 300 * MIB, *XFS)
    subprocess.run([*change, path], check=True, capture_output=True)
    done = subprocess.run([build / 'csi/berth-csi', 'fs', 'check', path], capture_output=True, text=True, check=True)
    assert 'log clean' in done.stdout


def test_boot_code_before_ext4_is_no_partition_table(build, tmp_path):
    path = image(tmp_path, 64 * MIB, *EXT4)
    with open(path, 'r+b') as file:
        file.seek(510)
        file.write(b'\x55\xaa')
    assert check(build, path)[0]['answer'] == 'rw'
    with open(path, 'r+b') as file:
        file.seek(446)
        file.write(bytes([0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 16, 0, 0]))
    assert check(build, path)[0]['find'] == 'other'


def test_the_command_says_what_a_node_says(build, tmp_path):
    """An md superblock at the end of an ext4."""
    path = image(tmp_path, 64 * MIB, *EXT4)
    with open(path, 'r+b') as file:
        file.seek(64 * MIB - 65536)
        file.write(struct.pack('<IIII', 0xa92b4efc, 0, 90, 0))
    found, code = check(build, path)
    assert (found['find'], code) == ('other', 2) and 'linux_raid_member' in found['why']


def test_sector_of_the_disk_on_other_hosts(build, tmp_path):
    path = image(tmp_path, 64 * MIB, 'mke2fs', '-q', '-F', '-t', 'ext4', '-b', '1024')
    assert check(build, path, '--kernel', '6.1')[0]['answer'] == 'rw'
    assert check(build, path, '--kernel', '6.1', '--sector', '4096')[0]['answer'] == 'no'
    large = image(tmp_path, 300 * MIB, *XFS, '-s', 'size=8192', '-b', 'size=8192')
    assert check(build, large, '--kernel', '6.12')[0]['answer'] == 'no'
    assert check(build, large, '--kernel', '6.15')[0]['answer'] == 'rw'
    assert check(build, large, '--kernel', '6.12.3-16k')[0]['answer'] == 'rw'


def test_squashfs_takes_sectors_up_to_a_page(build, tmp_path):
    (tmp_path / 'tree').mkdir()
    (tmp_path / 'tree/file').write_bytes(random.Random(1).randbytes(200000))
    path = tmp_path / 'image'
    subprocess.run(['mksquashfs', tmp_path / 'tree', path, '-quiet', '-noappend'], check=True, capture_output=True)
    for kernel, sector, answer in (('6.18', '4096', 'ro'), ('6.18', '8192', 'no'), ('6.12.3-16k', '16384', 'ro')):
        assert check(build, path, '--kernel', kernel, '--sector', sector)[0]['answer'] == answer


def test_orphan_file_of_more_than_512_blocks(build, tmp_path):
    """Linux 7c11c56eb32e, and the stable series that took it; 6.18.44 was asked."""
    path = image(tmp_path, 64 * MIB, *EXT4[:-2], '-b', '1024', '-O', 'orphan_file', '-E', 'orphan_file_size=2M')
    for kernel, answer, confidence in (('5.10', 'rw', 'high'), ('6.12.10', 'rw', 'high'), ('6.12.117', 'no', 'low'),
                                       ('6.18.44', 'no', 'high'), ('7.2', 'no', 'high')):
        verdict, _ = check(build, path, '--kernel', f'{kernel}-x86_64')
        assert (kernel, verdict['answer'], verdict['confidence']) == (kernel, answer, confidence)
    assert 'tune2fs -O ^orphan_file' in verdict['sentence']
    path = image(tmp_path, 64 * MIB, *EXT4[:-2], '-b', '4096', '-O', 'orphan_file', '-E', 'orphan_file_size=2M')
    assert check(build, path, '--kernel', '7.2')[0]['answer'] == 'rw'


def test_a_guess_is_never_high(build, tmp_path):
    v4 = image(tmp_path, 300 * MIB, *XFS, '-m', 'crc=0')
    verdict, code = check(build, v4, '--kernel', '6.1')
    assert (verdict['answer'], verdict['confidence'], code) == ('rw', 'low', 3)
    verdict, code = check(build, image(tmp_path, 300 * MIB, *XFS), '--kernel', '6.1')
    assert (verdict['answer'], verdict['confidence'], code) == ('rw', 'medium', 0)
