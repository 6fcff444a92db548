# SPDX-License-Identifier: Apache-2.0
"""`berth-csi fs check` and `fs plan` from outside: exit codes, JSON, width, no exec, little CPU, no root."""

import json
import os
import pathlib
import re
import random
import resource
import shutil
import subprocess

import pytest
from sandbox import mount

MIB = 1 << 20
MS_RDONLY = 1
NOBODY = 65534


def program(build):
    return build / 'fs/berth-fs'


def fs(build, *argv, code=0, **kwargs):
    """code: the exit code it must have; None: any."""
    done = subprocess.run([program(build), 'fs', *map(str, argv)], capture_output=True, text=True, timeout=30,
                          check=False, **kwargs)
    assert code in (None, done.returncode), f'{argv}: exit code {done.returncode}\n{done.stdout}{done.stderr}'
    return done


def image(path, size, *mkfs):
    with open(path, 'wb') as file:
        file.truncate(size)
    if mkfs:
        subprocess.run([*mkfs, path], check=True, capture_output=True)
    return path


@pytest.fixture(name='xfs')
def xfs_fixture(tmp_path):
    return image(tmp_path / 'xfs.img', 300 * MIB, 'mkfs.xfs', '-q', '-m', 'bigtime=1,rmapbt=0', '-i', 'nrext64=0')


def test_exit_codes(build, xfs, tmp_path):
    fs(build, 'check', xfs, '--kernel', '5.10')
    fs(build, 'check', xfs, '--kernel', '5.10', '--kernel', '5.4', code=2)
    ext4 = image(tmp_path / 'ext4.img', 64 * MIB, 'mke2fs', '-q', '-t', 'ext4', '-O', 'verity')
    fs(build, 'check', ext4, '--kernel', '5.3', code=1)
    fs(build, 'check', image(tmp_path / 'blank.img', 64 * MIB), code=2)
    fs(build, 'check', tmp_path / 'no-such', code=66)
    fs(build, 'check', tmp_path, code=66)
    fs(build, 'check', code=64)
    fs(build, 'check', xfs, '--kernel', 'new', code=64)
    fs(build, 'check', xfs, '--kernel', '5.4', '--page-sizes', '5K', code=64)
    fs(build, 'check', xfs, '--no-such', code=64)
    fs(build, 'plan', code=64)
    fs(build, 'plan', '--type', 'zfs', code=64)
    fs(build, 'plan', '--type', 'xfs', '--min-kernel', '5.4', '--', '-m', 'bigtime=1', code=2)
    fs(build, 'mend', code=64)
    fs(build, code=64)
    for argv in (['--help'], ['check', '--help'], ['plan', '--help']):
        text = fs(build, *argv).stdout
        assert text.startswith('Usage: berth-csi fs')
        assert max(map(len, text.splitlines())) <= 80


def test_says_why(build, xfs):
    text = fs(build, 'check', xfs, '--kernel', '5.4', code=2).stdout
    assert 'bigtime (incompat 0x8), which needs Linux 5.10' in re.sub(r'\s+', ' ', text)
    assert '\033' not in text


def test_fits_a_terminal(build, xfs, tmp_path):
    ext4 = image(tmp_path / 'ext4.img', 64 * MIB, 'mke2fs', '-q', '-t', 'ext4', '-O',
                 'casefold,encrypt,project,quota,verity,ea_inode,large_dir,inline_data,sparse_super2')
    for path in (os.path.relpath(xfs, tmp_path), os.path.relpath(ext4, tmp_path)):
        text = fs(build, 'check', path, '--all', cwd=tmp_path, code=None).stdout
        assert max(map(len, text.splitlines())) <= 80
        assert len([line for line in text.splitlines() if re.match(r'  \d+\.\d+', line)]) == 17


def test_json(build, xfs, tmp_path):
    found = json.loads(fs(build, 'check', xfs, '--kernel', '5.4', '--json', code=2).stdout)
    assert found['volume']['type'] == 'xfs' and found['volume']['checksum'] == 'good'
    verdict, = found['verdicts']
    assert verdict['answer'] == 'no' and verdict['reasons'][0]['feature'] == 'bigtime'
    assert len(verdict['sentence'].encode()) <= 400
    matrix = json.loads(fs(build, 'check', xfs, '--all', '--json').stdout)['verdicts']
    assert len(matrix) == 1 + 17 * 3
    plan = json.loads(fs(build, 'plan', '--type', 'xfs', '--min-kernel', '4.19', '--json').stdout)
    assert plan['argv'][0] == 'mkfs.xfs' and plan['words'] == {'ro_compat': '0x1', 'incompat': '0x3',
                                                                'version': '0x20'}
    odd = image(tmp_path / 'a "quoted"\\name.img', 64 * MIB)
    assert json.loads(fs(build, 'check', odd, '--json', code=2).stdout)['find'] == 'blank'


def keys_of(value, prefix=''):
    """Dotted paths of a document; maps whose keys are data are not entered."""
    if isinstance(value, list):
        return set().union(*(keys_of(one, prefix) for one in value)) if value else set()
    if not isinstance(value, dict):
        return set()
    found = set()
    for key, inner in value.items():
        path = f'{prefix}{key}'
        found.add(path)
        if key not in ('words', 'drivers', 'config', 'features', 'tools'):
            found |= keys_of(inner, f'{path}.')
    return found


def test_json_is_documented(build, xfs, tmp_path):
    """Every key that is printed is in docs/filesystems.md, and the other way round."""
    text = (pathlib.Path(__file__).parents[2] / 'docs/filesystems.md').read_text()
    tables = [set(re.findall(r'`([^`]+)`', ' '.join(re.findall(r'^\| (`.*?) \|', part, re.MULTILINE))))
              for part in (rest.split('\n\n')[0] for rest in text.split('\n| key | |\n')[1:])]
    assert len(tables) == 3
    seen = keys_of(json.loads(fs(build, 'check', xfs, '--kernel', '5.4', '--json', code=2).stdout))
    seen |= keys_of(json.loads(fs(build, 'check', image(tmp_path / 'blank', MIB), '--json', code=2).stdout))
    assert seen == tables[0]
    assert keys_of(json.loads(fs(build, 'plan', '--type', 'xfs', '--min-kernel', '4.19', '--json').stdout)) == tables[1]
    done = subprocess.run([build / 'csi/berth-csi', 'host', '--json'], capture_output=True, text=True, check=True,
                          timeout=60)
    # Only Debian and Ubuntu tell a stable number, only some drivers the rest.
    missing = tables[2] - keys_of(json.loads(done.stdout)['filesystems'])
    assert missing <= {'kernel_stable', 'ntfs_driver', 'btrfs_temp_fsid', 'ext4_large_blocks'}
    assert keys_of(json.loads(done.stdout)['filesystems']) <= tables[2]


def test_hosts_from_json(build, xfs, tmp_path):
    nodes = tmp_path / 'nodes.json'
    nodes.write_text(json.dumps([
        {'name': 'old', 'kernel': '4.19.0', 'page_size': 4096},
        {'name': 'backported', 'kernel': '5.4.0-custom', 'page_size': 65536,
         'features': {'xfs': {'incompat': '0xf', 'ro_compat': '0xf'}}},
    ]))
    found = json.loads(fs(build, 'check', xfs, '--host', nodes, '--json', code=2).stdout)['verdicts']
    assert [(one['host'], one['answer']) for one in found] == [('old', 'no'), ('backported', 'rw')]
    from_stdin = fs(build, 'check', xfs, '--host', '-', code=0,
                    input='{"kernel": "6.1", "name": "piped"}').stdout
    assert 'piped (4K pages): read-write' in from_stdin
    nodes.write_text('[{"kernel": 5}]')
    fs(build, 'check', xfs, '--host', nodes, code=64)


def test_plan_is_what_mkfs_makes(build, tmp_path):
    """The command as printed, run by a shell, and read back by check for the same hosts."""
    for fstype in ('ext4', 'xfs', 'btrfs'):
        path = image(tmp_path / f'{fstype}.img', 320 * MIB)
        text = fs(build, 'plan', '--type', fstype, '--min-kernel', '5.15', '--page-sizes', '4K,64K', '--size', '320Mi',
                  '--device', path).stdout
        subprocess.run(text.splitlines()[0], shell=True, check=True, capture_output=True)
        fs(build, 'check', path, '--kernel', '5.15', '--page-sizes', '4K,64K')


def test_without_root(build, xfs, tmp_path):
    os.chmod(tmp_path, 0o755)
    os.chmod(xfs, 0o644)

    def drop():
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    for path in [tmp_path, *tmp_path.parents]:
        if not path.stat().st_mode & 0o001:
            pytest.skip(f'{path} is closed to others')
    copy = tmp_path / 'berth-fs'
    shutil.copy(program(build), copy)
    done = subprocess.run([copy, 'fs', 'check', xfs], preexec_fn=drop, capture_output=True, text=True, timeout=30,
                          check=False)
    assert done.returncode == 0, done.stderr


def traced(*command):
    """The system calls of a program and of whom it starts, a line each."""
    return subprocess.run(['strace', '-f', *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          timeout=60, check=True,
                          # Leaks cannot be looked for under ptrace.
                          env={**os.environ, 'ASAN_OPTIONS': 'detect_leaks=0'}).stderr.splitlines()


def test_no_exec_and_few_calls(build, sandbox):
    """A device, on this node, counted in what noise cannot touch; the time is in docs/benchmarks.md."""
    if not shutil.which('strace'):
        pytest.skip('no strace')
    start = len(traced(program(build), 'regions', str(320 * MIB)))
    for mkfs in (['mke2fs', '-q', '-t', 'ext4'], ['mkfs.xfs', '-q'], ['mkfs.btrfs', '-q']):
        device = sandbox.loop(320 * MIB, mkfs)
        calls = traced(program(build), 'fs', 'check', device)
        assert sum('execve(' in call for call in calls) == 1
        assert not [call for call in calls if 'clone' in call or 'fork(' in call]
        used = []
        for _ in range(20):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([program(build), 'fs', 'check', device], stdout=subprocess.DEVNULL, check=True, timeout=30,
                           env={})
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            used.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000)
        print(f'{mkfs[0]}: {len(calls) - start} system calls, '
              f'{min(used):.2f} ms of CPU, process start included')
        # Some seventy are needed; a walk through /dev, /sys or the device would be hundreds.
        assert len(calls) - start < 300


def has_device_mapper():
    if not shutil.which('dmsetup'):
        return False
    done = subprocess.run(['dmsetup', 'targets'], capture_output=True, text=True, check=False)
    return 'error' in done.stdout and 'linear' in done.stdout


def test_read_error_is_never_blank(build, sandbox):
    """A blank disk with one bad block, at either end of a hundred of the places that are looked at."""
    if not has_device_mapper():
        pytest.skip('this kernel has no device mapper, or dmsetup is not installed')
    size, block = 512 * MIB, 4096
    device = sandbox.loop(size)
    text = subprocess.run([program(build), 'regions', str(size)], check=True, capture_output=True, text=True).stdout
    regions = [tuple(map(int, line.split())) for line in text.splitlines()]
    assert regions[0][0] == 0 and sum(regions[-1]) == size
    bad = sorted({at // block * block for offset, n in regions for at in (offset, offset + n - 1)})
    # Samples begin elsewhere each time: a block that only one of them has is not read for certain.
    certain = {at // block * block for offset, n in regions if n > block for at in (offset, offset + n - 1)}
    bad = random.Random(1).sample([at for at in bad if at in certain], 100)
    for at in (*bad, None):
        parts = [(0, size, 'linear')] if at is None else [
            (0, at, 'linear'), (at, block, 'error'), (at + block, size - at - block, 'linear')]
        where = {'linear': device, 'error': ''}
        table = ''.join(f'{start // 512} {n // 512} {kind} {where[kind]} {start // 512 if where[kind] else ""}\n'
                        for start, n, kind in parts if n)
        subprocess.run(['dmsetup', 'create', '--noudevsync', '--noudevrules', 'berth-bad'], input=table, text=True,
                       check=True)
        try:
            minor = subprocess.run(['dmsetup', 'info', '-c', '--noheadings', '-o', 'minor', 'berth-bad'], check=True,
                                   capture_output=True, text=True).stdout.strip()
            done = fs(build, 'check', f'/dev/dm-{minor}', code=2 if at is None else 66)
            said = done.stdout + done.stderr
            assert ('blank' in said) == (at is None), f'bad block at {at}: {said}'
            assert at is None or 'Input/output error' in said
        finally:
            subprocess.run(['dmsetup', 'remove', '--retry', '--noudevsync', 'berth-bad'], check=True)
    assert len(bad) > 10


def test_what_else_is_there(build, tmp_path):
    """Real tools' signatures are named, and none is a filesystem or blank."""
    key = tmp_path / 'key'
    key.write_text('key')
    made = {'swap': ['mkswap']}
    if shutil.which('cryptsetup'):
        made['crypto_LUKS'] = ['cryptsetup', 'luksFormat', '-q', '--pbkdf', 'pbkdf2', '--pbkdf-force-iterations',
                               '1000',
                               '--key-file', key]
    if shutil.which('sfdisk'):
        made['gpt'] = ['sfdisk', '-q', '--label', 'gpt']
    for name, argv in made.items():
        path = image(tmp_path / f'{name}.img', 64 * MIB)
        subprocess.run([*argv, path], input=',\n', text=True, check=True, capture_output=True)
        done = json.loads(fs(build, 'check', path, '--json', code=2).stdout)
        assert done['find'] == 'other' and name in done['why'], done


@pytest.mark.parametrize('desc_size', ['128', '1024'])
def test_descriptors_are_summed_whole(build, sandbox, desc_size):
    """A checksum is of as many bytes as the superblock says that a descriptor has; the kernel mounts neither."""
    device = sandbox.loop(64 * MIB, ['mke2fs', '-q', '-t', 'ext4', '-O', '64bit,metadata_csum'])
    assert json.loads(fs(build, 'check', device, '--json').stdout)['verdicts'][0]['answer'] == 'rw'
    subprocess.run(['debugfs', '-w', '-R', f'set_super_value desc_size {desc_size}', device], check=True,
                   capture_output=True)
    assert 'superblock checksum good' in fs(build, 'check', device, code=None).stdout
    assert json.loads(fs(build, 'check', device, '--json', code=None).stdout)['verdicts'][0]['answer'] == 'no'
    for flags in (0, MS_RDONLY):
        target = sandbox.path / f'target-{flags}'
        target.mkdir()
        with pytest.raises(OSError):
            mount(device, target, 'ext4', flags)


# --- the tables against the tools and the kernel ---

class Table:
    """Rows of the feature tables; a name is written with _ or -."""

    def __init__(self, build):
        text = subprocess.run([program(build), 'table'], check=True, capture_output=True, text=True).stdout
        self.rows = [dict(zip(('kind', 'class', 'bit', 'name', 'kernel', 'tool', 'default', 'switch'),
                              line.split('\t'))) for line in text.splitlines()]

    def find(self, kind, name):
        name = {'extref': 'extended_iref', 'mixed-bg': 'mixed_groups', 'bgt': 'block_group_tree',
                'squota': 'simple_quota'}.get(name, name).replace('-', '_')
        return next((row for row in self.rows if row['kind'] == kind and row['name'].replace('-', '_') == name), None)


@pytest.fixture(name='table')
def table_fixture(build):
    return Table(build)


def test_table_knows_what_e2fsprogs_knows(table):
    """Every name that the installed e2fsprogs supports is in the table, and the other way round."""
    text = subprocess.run(['debugfs', '-R', 'supported_features'], check=True, capture_output=True, text=True).stdout
    filesystem, journal = text.split('Supported features:')[1].strip().splitlines()
    for name in filesystem.split():
        assert table.find('ext', name), name
    journal_names = {'journal_incompat_revoke': 'revoke', 'journal_64bit': 'journal 64bit',
                     'journal_async_commit': 'async_commit', 'journal_checksum_v2': 'csum_v2',
                     'journal_checksum_v3': 'csum_v3', 'FEATURE_I5': 'journal fast_commit'}
    for name in journal.split():
        assert table.find('ext', journal_names.get(name, name)), name
    done = subprocess.run(['mke2fs', '-V'], check=True, capture_output=True, text=True)
    version = tuple(map(int, re.search(r'mke2fs (\d+)\.(\d+)', done.stderr).groups()))
    for row in table.rows:
        if row['kind'] != 'ext' or not row['switch'] or row['name'] in filesystem.split():
            continue
        assert row['tool'] != 'any' and tuple(map(int, row['tool'].split('.')[:2])) > version, row


def test_table_knows_what_xfsprogs_knows(table):
    text = subprocess.run(['mkfs.xfs'], capture_output=True, text=True, check=False).stderr
    not_features = {'projid32bit', 'lazy-count', 'attr', 'version', 'autofsck', 'concurrency', 'start', 'reserved',
                    'zonesize', 'zonecapacity'}
    names = set(re.findall(r'([a-z0-9-]+)=0\|1', text)) - not_features
    assert 'reflink' in names
    for name in names:
        assert name == 'crc' or table.find('xfs', name), name


def test_table_knows_what_btrfs_progs_knows(table):
    """mkfs.btrfs prints the kernel and the release of each feature: they are ours."""
    done = subprocess.run(['mkfs.btrfs', '-O', 'list-all'], capture_output=True, text=True, check=False)
    lines = re.findall(r'^([a-z0-9-]+) +- .*\((.*)\)$', done.stdout + done.stderr, re.MULTILINE)
    assert len(lines) > 4
    for name, numbers in lines:
        row = table.find('btrfs', name)
        if name in ('quota', 'list-all'):
            continue
        assert row, name
        numbers = dict(part.split('=') for part in numbers.split(', ') if '=' in part)
        if row['kernel'] not in ('any', 'never'):
            assert numbers['compat'] == row['kernel'], name
        if 'default' in numbers and row['default'] != 'any':
            assert numbers['default'] == row['default'], name


# Files of /sys/fs/*/features that are abilities of the driver and no bits on a disk.
NOT_ON_DISK = {
    'ext4': {'lazy_itable_init', 'batched_discard', 'meta_bg_resize', 'encryption', 'test_dummy_encryption_v2',
             'encrypted_casefold', 'blocksize_gt_pagesize'},
    'btrfs': {'acl', 'rmdir_subvol', 'send_stream_version', 'supported_checksums', 'supported_rescue_options',
              'supported_sectorsizes', 'temp_fsid'},
    'f2fs': {'encryption', 'block_zoned', 'test_dummy_encryption_v2', 'encrypted_casefold', 'pin_file',
             'linear_lookup'},
    'erofs': {'compr_cfgs', 'compr_head2', 'sb_chksum', 'dedupe'},
}


def test_table_knows_what_the_kernel_shows(table):
    kernel = tuple(map(int, re.match(r'(\d+)\.(\d+)', os.uname().release).groups()))
    seen = 0
    for fs_type, ignored in NOT_ON_DISK.items():
        directory = f'/sys/fs/{fs_type}/features'
        if not os.path.isdir(directory):
            continue
        for name in set(os.listdir(directory)) - ignored:
            row = table.find('ext' if fs_type == 'ext4' else fs_type, name)
            assert row, f'{directory}/{name}'
            assert row['kernel'] == 'any' or tuple(map(int, row['kernel'].split('.')[:2])) <= kernel, row
            seen += 1
    if not seen:
        pytest.skip('this kernel shows no features')
