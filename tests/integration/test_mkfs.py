#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`fs plan` against the real mkfs: what it prints is never refused, and what is made carries what it says.

The product of sizes, options, kernels and tools, on sparse files. Read back by the tools' own dump programs. The
installed tools by default; BERTH_MKFS_TOOLS names directories with those of other versions, colon-separated.
BERTH_MKFS_WHOLE=I/N walks the I-th of N parts (0/1: all), else a sample that is the same every time.
"""

import itertools
import json
import os
import random
import re
import shutil
import subprocess
import time

import pytest

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
PART, N_PARTS = map(int, os.environ.get('BERTH_MKFS_WHOLE', '0/0').split('/'))
WHOLE = N_PARTS > 0
SAMPLE = 45
KERNELS = ('4.18', '5.4', '6.1', '6.18')

SIZES = (MIB, 2 * MIB, 4 * MIB, 8 * MIB - 4096, 8 * MIB, 16 * MIB, 46 * MIB, 64 * MIB, 109 * MIB, 128 * MIB - 512,
         256 * MIB, 299 * MIB, 300 * MIB, 512 * MIB, GIB, 3 * GIB + 12345 * 512, 100 * GIB, TIB, 4 * TIB,
         16 * TIB - 4096, 16 * TIB, 17 * TIB, 64 * TIB)

EXT_FEATURES = ('has_journal', 'ext_attr', 'resize_inode', 'dir_index', 'sparse_super2', 'fast_commit', 'stable_inodes',
                'orphan_file', 'filetype', 'meta_bg', 'extent', '64bit', 'mmp', 'flex_bg', 'ea_inode', 'large_dir',
                'inline_data', 'encrypt', 'casefold', 'metadata_csum_seed', 'sparse_super', 'large_file', 'huge_file',
                'uninit_bg', 'dir_nlink', 'extra_isize', 'quota', 'bigalloc', 'metadata_csum', 'project', 'verity')
OPTIONS = {
    'ext4': ['', '-b 1024', '-b 2048', '-b 65536', '-I 128', '-I 1024', '-i 1024', '-i 65536', '-N 16', '-N 100000',
             '-m 5', '-m 0.5', '-L label', '-e remount-ro', '-j', '-G 64', '-E discard,stride=16,stripe_width=64',
             '-E lazy_itable_init=0,lazy_journal_init=0', '-J size=4', '-J size=64', '-J size=1024',
             '-O bigalloc -C 16384', '-O bigalloc -C 1m', '-C 65536', '-b 1024 -O bigalloc', '-O none', '-O extents',
             *(f'-O {sign}{name}' for name in EXT_FEATURES for sign in ('', '^')),
             '-O ^has_journal,orphan_file', '-O ^extent,^64bit', '-O ^sparse_super,^resize_inode', '-b 1024 -I 1024'],
    'ext3': ['', '-b 1024', '-O ^has_journal', '-O extent'],
    'ext2': ['', '-b 1024', '-j', '-O dir_index'],
    'xfs': ['', '-b size=512', '-b size=1024', '-b size=2048', '-b size=16384', '-b size=65536', '-s size=512',
            '-b size=1024 -s size=512', '-b size=1k -i size=512', '-d agcount=2', '-d agcount=8', '-d agcount=64',
            '-d agcount=5000', '-d agsize=128m', '-d agsize=1g', '-d su=64k,sw=4', '-d sunit=128,swidth=512',
            '-d su=5k,sw=2', '-d su=64k', '-d noalign', '-i size=256', '-i size=1024', '-i size=2048', '-i maxpct=5',
            '-l size=64m', '-l size=20m', '-l size=512m', '-l su=32k', '-l lazy-count=1,version=2,internal=1',
            '-n size=8192', '-n size=65536', '-n version=ci', '-L label',
            *(f'-{where}={value}' for where in ('m crc', 'm finobt', 'm rmapbt', 'm reflink', 'm inobtcount',
                                               'm bigtime', 'm metadir', 'i sparse', 'i nrext64', 'i exchange',
                                               'n parent')
              for value in '01'),
            '-m crc=0,finobt=1', '-m crc=0 -b size=512', '-m crc=0 -i size=256', '-m crc=0,inobtcount=1', '-m finobt=0',
            '-m finobt=0,inobtcount=1', '-m crc=0 -n version=ci', '-m rmapbt=1 -d agcount=4 -b size=1024'],
    'btrfs': ['', '-s 8192', '-s 16384', '-s 65536', '-n 4096', '-n 8192', '-n 65536', '-s 16384 -n 8192', '-d dup',
              '-m single', '-d dup -m single', '-M', '-M -n 4096', '-M -n 16384', '-M -d dup', '-M -d dup -m single',
              '--mixed --sectorsize 8192', '-L label', '--csum crc32c', '--csum xxhash', '--csum sha256',
              '--csum blake2', '--nodiscard', *(f'-{where} {sign}{name}' for where, name in
                               (('O', 'no-holes'), ('O', 'extref'), ('O', 'skinny-metadata'), ('O', 'block-group-tree'),
                                ('O', 'squota'), ('R', 'free-space-tree'), ('O', 'free-space-tree'))
                               for sign in ('', '^')),
              '-O ^no-holes,block-group-tree', '-R ^free-space-tree -O block-group-tree'],
    'f2fs': ['', '-l label', '-o 5', '-s 2', '-s 4 -z 2', '-a 0', '-t 0', '-i',
             *(f'-O {name}' for name in ('encrypt', 'extra_attr', 'project_quota', 'inode_checksum', 'quota',
                                         'inode_crtime', 'lost_found', 'verity', 'sb_checksum', 'compression',
                                         'flexible_inline_xattr')),
             '-O extra_attr,project_quota,inode_checksum,inode_crtime', '-O extra_attr,compression'],
}
#: refused by name in every version, for what they would do to the node or the volume
REFUSED = {
    'ext4': ('-e panic', '-T largefile', '-r 0', '-r 1', '-U clear', '-c', '-l x', '-d x', '-z x', '-n', '-S', '-F',
             '-J device=x', '-o hurd', '-E offset=4096', '-E test_fs', '-O journal_dev', '-O nonsense', '-g 8192'),
    'xfs': ('-c options=x', '-c defaults=x', '-c makecfg=x', '-r rtdev=x', '-r extsize=64k', '-p x', '-N', '-f',
            '-d name=x', '-d file=1', '-d size=1g', '-l logdev=x', '-m uuid=1', '-m nonsense=1', '-b size=4095'),
    'btrfs': ('-r x', '--rootdir x', '-U x', '-b 100m', '-A 1m', '-f', '-d raid1', '-m raid0', '-O zoned', '-O raid56'),
    'f2fs': ('-c x', '-m', '-U x', '-O ro', '-O casefold', '-f', '-d 1'),
}

MKFS = {'ext4': 'mke2fs', 'ext3': 'mke2fs', 'ext2': 'mke2fs', 'xfs': 'mkfs.xfs', 'btrfs': 'mkfs.btrfs',
        'f2fs': 'mkfs.f2fs'}


class Tools:
    """One directory of tools, or the installed ones."""

    def __init__(self, directory):
        self.path = os.environ['PATH'] if directory is None else f'{directory}:{os.environ["PATH"]}'
        self.directory = directory
        self.versions = {}

    def run(self, *argv, shell=False):
        return subprocess.run(argv[0] if shell else argv, shell=shell, env={**os.environ, 'PATH': self.path},
                              capture_output=True, text=True, errors='replace', timeout=300, check=False)

    def version(self, fstype):
        if fstype not in self.versions:
            done = self.run(MKFS[fstype], '--version' if fstype == 'btrfs' else '-V')
            self.versions[fstype] = re.search(r'(?:^|[ v])(\d+\.\d+(?:\.\d+)?)', done.stdout + done.stderr).group(1)
        return self.versions[fstype]


def all_tools():
    return [Tools(None), *(Tools(one) for one in os.environ.get('BERTH_MKFS_TOOLS', '').split(':') if one)]


def plan(build, tools, fstype, size, kernel, options, *more):
    """The plan as JSON and as a command; or why there is none."""
    done = subprocess.run([build / 'fs/berth-fs', 'fs', 'plan', '--type', fstype, '--size', str(size),
                           '--min-kernel', kernel, '--tools', tools.version(fstype), '--device', 'IMAGE', '--json',
                           *more, '--', *options.split()], capture_output=True, text=True, timeout=30, check=False)
    # 3: it is planned, by a guess of what that kernel was built with.
    if done.returncode not in (0, 3):
        assert done.returncode in (2, 64), f'{fstype} {size} {options}: {done.stderr}'
        return None, done.stderr
    found = json.loads(done.stdout)
    return found, found['command']


# --- what was made, by the tools' own words ---


def dump_ext(image):
    text = subprocess.run(['dumpe2fs', '-h', image], capture_output=True, text=True, check=True).stdout
    fields = dict(re.findall(r'^([^:\n]+):[ \t]+(.*)$', text, re.M))
    features = set(fields['Filesystem features'].split()) - {'(none)'}
    return {'features': features, 'errors': fields['Errors behavior'], 'mntopts': fields['Default mount options'],
            'hash': fields.get('Default directory hash', 'half_md4'),
            'block': int(fields['Block size']), 'blocks': int(fields['Block count']),
            'isize': int(fields['Inode size'])}


def dump_xfs(image):
    text = subprocess.run(['xfs_db', '-r', '-c', 'sb 0', '-c', 'p', image], capture_output=True, text=True,
                          check=True).stdout
    return dict(re.findall(r'^(\w+) = (.*)$', text, re.M))


def dump_btrfs(image):
    text = subprocess.run(['btrfs', 'inspect-internal', 'dump-super', image], capture_output=True, text=True,
                          check=True).stdout
    return dict(re.findall(r'^(\w+)\t+(\S+)', text, re.M))


def word(plan_json, name):
    return int(plan_json['words'].get(name, '0x0'), 16)


def check_ext(made, argv, size):
    """dumpe2fs' list is the -O list, name by name; and nothing comes from a mke2fs.conf."""
    wanted = set(argv[argv.index('-O') + 1].split(',')) - {'none'}
    assert made['features'] == wanted, f'{sorted(made["features"] ^ wanted)}'
    assert made['mntopts'] == 'user_xattr acl' and made['hash'] == 'half_md4'
    assert made['errors'] == ('Remount read-only' if 'remount-ro' in argv else 'Continue')
    assert made['block'] == int(argv[argv.index('-b') + 1]) and made['isize'] == int(argv[argv.index('-I') + 1])
    assert 0 <= size - made['blocks'] * made['block'] < made['block'] * 4096


def check_xfs(found, made):
    # Fields of V5.
    for field, name in (('features_ro_compat', 'ro_compat'), ('features_incompat', 'incompat')):
        if field in made:
            assert int(made[field], 16) == word(found, name)
    for flag, field in (('-b', 'blocksize'), ('-s', 'sectsize')):
        value = found['argv'][found['argv'].index(flag) + 1].removeprefix('size=')
        assert int(made[field]) == (int(value[:-1]) << 10 if value.endswith('k') else int(value))


def check_btrfs(found, made):
    # big_metadata is set by newer tools for nodes above a page; default_subvol by none.
    assert int(made['incompat_flags'], 16) & ~0x20 == word(found, 'incompat') & ~0x20
    assert int(made['compat_ro_flags'], 16) == word(found, 'compat_ro')


def cells(tools):
    """(fstype, size, kernel, options), every one that has a tool here."""
    for fstype, options in OPTIONS.items():
        if not shutil.which(MKFS[fstype], path=tools.path):
            continue
        for size, option, kernel in itertools.product(SIZES, options, KERNELS):
            yield fstype, size, kernel, option


def chosen(tools):
    everything = list(cells(tools))
    if WHOLE:
        # What differs in the kernel alone goes to one part: most of it is one command.
        return [cell for i, cell in enumerate(everything) if i // len(KERNELS) % N_PARTS == PART]
    return random.Random(12).sample(everything, SAMPLE)


def make_and_check(build, tools, image, cell, before=None):
    """None: refused by the plan; 'full': more than this machine's memory; 'same': as planned and made before; else
    'made'. before: what a plan said and came to, by size, command and words."""
    fstype, size, kernel, options = cell
    found, command = plan(build, tools, fstype, size, kernel, options)
    if found is None:
        return None
    key = (size, command, json.dumps(found['words'], sort_keys=True))
    if before is not None and key in before:
        return 'same'
    image.unlink(missing_ok=True)
    with open(image, 'wb') as file:
        file.truncate(size)
    done = tools.run(command.replace('IMAGE', str(image)), shell=True)
    # mkfs.f2fs does not say why it cannot write.
    full = 'No space left|short write' + ('|Failed to initialise' if fstype == 'f2fs' and size >= TIB else '')
    if done.returncode != 0 and re.search(full, done.stdout + done.stderr):
        return 'full'
    assert done.returncode == 0, f'{command}\n{done.stdout}{done.stderr}'
    argv = [word_ if word_ != 'IMAGE' else str(image) for word_ in found['argv']]
    found['argv'] = argv
    if fstype.startswith('ext'):
        check_ext(dump_ext(image), argv, size)
    elif fstype == 'xfs':
        check_xfs(found, dump_xfs(image))
    elif fstype == 'btrfs':
        check_btrfs(found, dump_btrfs(image))
    if before is not None:
        before.add(key)
    return 'made'


@pytest.fixture(name='room')
def room_fixture(tmp_path):
    """A directory whose filesystem takes files of 64 TiB: a tmpfs."""
    place = tmp_path / 'room'
    place.mkdir()
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1500m', 'berth-test', place], check=True)
    yield place
    subprocess.run(['umount', place], check=True)


def walk(build, room):
    count = {'made': 0, 'same': 0, 'full': 0, None: 0}
    wrong = []
    begin = time.monotonic()
    for tools in all_tools():
        todo = chosen(tools)
        before = set()
        for i, cell in enumerate(todo):
            if WHOLE and i % 200 == 0:
                print(f'{tools.directory or "installed"}: {i} of {len(todo)} after {time.monotonic() - begin:.0f} s, '
                      f'{len(wrong)} wrong: {cell}', flush=True)
            try:
                count[make_and_check(build, tools, room / 'image', cell, before)] += 1
            except (AssertionError, subprocess.SubprocessError) as error:
                wrong.append(f'{tools.directory or "installed"} {cell}: {error}')
    print(f'{count["made"]} made as planned, {count["same"]} by the same command, {count[None]} refused by the plan, '
          f'{count["full"]} too large for this machine, {len(wrong)} wrong')
    assert not wrong, f'{len(wrong)} wrong:\n' + '\n'.join(wrong[:40])
    return count["made"]


@pytest.mark.deadline(3600 if WHOLE else 120)
def test_made_is_planned(build, sandbox, room):
    del sandbox
    assert walk(build, room) >= SAMPLE // 4


#: what no round size meets: where mke2fs gives up resize_inode for meta_bg; the largest group of XFS; plain numbers
BOUNDS = (('ext4', 736 * GIB, '-b 1024 -N 100000'), ('ext4', 737 * GIB, '-b 1024 -N 100000'),
          ('ext3', 1472 * GIB, '-b 1024 -N 16'), ('ext3', 1473 * GIB, '-b 1024 -N 16'),
          ('xfs', 4 * TIB, '-l size=64m -d agcount=5'), ('xfs', 2 * TIB - 8192, '-l size=64m -d agsize=1099511623680'),
          ('xfs', GIB, '-l size=67108864'), ('xfs', GIB, '-d agsize=268435456'),
          ('ext4', GIB, '-i 16777216'), ('ext4', GIB, '-O bigalloc -C 4194304'))


@pytest.mark.deadline(120)
def test_bounds_are_planned(build, sandbox, room):
    del sandbox
    for fstype, size, options in BOUNDS if WHOLE else BOUNDS[1::2]:
        assert make_and_check(build, Tools(None), room / 'image', (fstype, size, '6.1', options)) == 'made'


#: where stripes, large inodes or little overprovisioning leave no room: made as planned, or refused by the plan
NARROW = (*(('xfs', size * MIB, options) for size in (300, 310, 512, 600, 900)
            for options in ('-d su=64k,sw=4', '-d sunit=8,swidth=8', '-d su=16m,sw=2', '-d su=1m,sw=3 -l size=64m')),
          ('ext3', 5 * TIB, '-i 1024'), ('ext2', 5 * TIB, '-i 1024'), ('ext4', 8 * MIB, '-I 2048'),
          ('ext4', 8 * MIB, '-I 512 -i 1024'), ('ext3', 8 * MIB, '-I 2048 -i 4096'),
          ('ext4', 8 * MIB, '-I 2048 -i 64m'),
          *((fstype, size * MIB, options) for fstype in ('ext2', 'ext4') for size in (40, 80, 160)
            for options in ('-I 4096 -i 64m', '-I 1024 -i 64m', '-I 2048 -N 16', '-I 4096 -i 8m')),
          *(('f2fs', size * MIB, options) for size in (64, 100, 300, 480) for options in ('-o 1', '-o 2', '-o 5')))


@pytest.mark.deadline(120)
def test_narrow_ones_are_planned(build, sandbox, room):
    del sandbox
    made = [make_and_check(build, Tools(None), room / 'image', (fstype, size, '6.1', options))
            for fstype, size, options in NARROW]
    assert made.count('made') >= 8


def test_project_quota_has_its_inodes(build):
    """mkfs.f2fs makes quota_ino with it, which Linux before 4.16 does not know."""
    tools = Tools(None)
    found, why = plan(build, tools, 'f2fs', GIB, '4.14', '-O extra_attr,project_quota')
    assert found is None and 'quota_ino' in why


@pytest.mark.parametrize('fstype', sorted(REFUSED))
def test_refused_by_name(build, fstype):
    """One list for what a volume may not have: each names the option."""
    tools = Tools(None)
    for options in REFUSED[fstype]:
        found, why = plan(build, tools, fstype, GIB, '6.18', options)
        assert found is None, f'{options}: {found}'
        assert options.split()[0].lstrip('-')[0] in why


def test_growth_is_planned(build):
    """What it is meant to grow to decides the inode ratio, the groups, and how descriptors are found."""
    tools = Tools(None)
    small = plan(build, tools, 'ext4', 64 * MIB, '6.1', '')[0]['argv']
    large = plan(build, tools, 'ext4', 64 * MIB, '6.1', '', '--grow-to', '1Ti')[0]['argv']
    assert small[small.index('-i') + 1] == '4096' and large[large.index('-i') + 1] == '16384'
    assert 'resize_inode' in small[small.index('-O') + 1]
    assert 'meta_bg' in large[large.index('-O') + 1] and 'resize_inode' not in large[large.index('-O') + 1]
    assert 'agcount=2' in ' '.join(plan(build, tools, 'xfs', GIB, '6.1', '', '--grow-to', '100Gi')[0]['argv'])


@pytest.mark.parametrize('fstype, size, to, words', [
    ('xfs', 10 * GIB, '1Gi', 'expected at least --size'), ('ext4', 10 * GIB, '1', 'expected at least --size'),
    ('xfs', 10 * GIB, '0', 'expected a size'), ('xfs', 10 * GIB, '15Ei', 'at most 9223372036854775807 bytes'),
    ('xfs', 400 * MIB, '7Ei', 'groups of 200 MiB'), ('ext4', GIB, '2Ei', 'at most 1152921504606846976 bytes'),
    ('ext3', GIB, '17Ti', 'does not grow beyond'), ('btrfs', GIB, '9Ei', 'at most 9223372036854775807 bytes')])
def test_growth_that_cannot_be(build, fstype, size, to, words):
    found, why = plan(build, Tools(None), fstype, size, '6.1', '', '--grow-to', to)
    assert found is None and words in why
