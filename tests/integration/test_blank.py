# SPDX-License-Identifier: Apache-2.0
"""What is not blank is never called so, and what is blank is.

The places come from tests/data/blank, by owner and offset, not from Berth's own table. Sampled; with BERTH_BLANK_WHOLE
every image of every place.
"""

import os
import pathlib
import random
import shutil
import subprocess

import pytest
from test_csi_local import MIB, World, block, mount
from test_fs import fs, image

GIB = 1 << 30
WHOLE = bool(os.environ.get('BERTH_BLANK_WHOLE'))
PLACES = pathlib.Path(__file__).parents[1] / 'data/blank/places.tsv'
SIZES = (300 * MIB, 2 * GIB, 13 * GIB, 1100 * GIB)


def places():
    for line in PLACES.read_text().splitlines():
        if not line.startswith('#'):
            owner, rule, back, align, plus, magic = line.split('\t')
            yield owner, rule, int(back), int(align), int(plus), bytes.fromhex(magic)


def offsets_of(rule, back, align, plus, size):
    """Of a fraction: at every group but the first, or at that one alone."""
    if rule == 'start':
        return [plus]
    if rule == 'end':
        return [(size - back) // align * align + plus]
    group = -(-(size // align) // back) * align
    return [group * plus] if plus else [group * n for n in range(1, back)]


def is_promised(owner, rule, back, plus, made, now):
    """Not promised of a disk whose size changed (docs/filesystems.md): one copy that is alone where the old end, or the
    number of groups, decides its place."""
    return made == now or not (owner == 'zfs label 2' or (rule == 'fraction' and plus))


def images():
    """(what, size now, offsets, bytes, promised), each held something: its head is lost, it was grown, or cut."""
    for owner, rule, back, align, plus, magic in places():
        for made in SIZES:
            offsets = offsets_of(rule, back, align, plus, made)
            if magic == b'\x53\xef':
                group = {8389688: 1, 33554488: 1, 134217784: 1, 402653240: 3, 6576668728: 49, 34359738424: 1}[plus]
                magic = magic + bytes(32) + group.to_bytes(2, 'little')
            for what, now in (('as made', made), ('grown', made + made // 4), ('cut', made - made // 10)):
                # Where the end decides, what was cut off is gone; the head alone is the place itself.
                here = [at for at in offsets if at + len(magic) <= now]
                if here:
                    yield (f'{owner}, {what}, {made // MIB} MiB', now, here, magic,
                           is_promised(owner, rule, back, plus, made, now))
    dice = random.Random(7)
    for size in (GIB, 10 * GIB):
        for n in range(30):
            length = size // 1000 + 8192
            yield f'data {n}', size, [dice.randrange(0, size - length) & ~511], dice.randbytes(length), True


def hostile():
    return [case[:4] for case in images() if case[4]]


def not_promised():
    return [case[:4] for case in images() if not case[4]]


def is_blank(build, path):
    said = fs(build, 'check', path, code=None)
    assert said.returncode == 2, said.stdout + said.stderr
    return 'blank' in said.stdout + said.stderr and 'not blank' not in said.stdout


def missed(build, tmp_path, cases):
    """Which of these images are called blank."""
    found = []
    for what, size, offsets, data in cases:
        path = image(tmp_path / 'disk', size)
        with open(path, 'r+b') as file:
            for at in offsets:
                os.pwrite(file.fileno(), data, at)
        found += [what] if is_blank(build, path) else []
        path.unlink()
    return found


def test_hostile_images(build, tmp_path):
    cases = hostile()
    assert len(cases) >= 400
    wrong = missed(build, tmp_path, cases if WHOLE else random.Random(1).sample(cases, 60))
    print(f'{len(cases)} hostile images, {len(wrong)} called blank')
    assert not wrong


def test_what_is_not_promised(build, tmp_path):
    """The list is complete and short: what is in it may be called blank, and docs/filesystems.md says so."""
    cases = not_promised()
    wrong = missed(build, tmp_path, cases)
    print(f'{len(cases)} images that nothing is promised of, {len(wrong)} called blank: {wrong}')
    assert {what.split(',')[0] for what, *_ in cases} == {'zfs label 2', 'xfs group 3 of 4'}
    assert all('as made' not in what for what in wrong)


def test_blank_images(build, tmp_path):
    dice = random.Random(3)
    sizes = [dice.randrange(MIB, 2000 * GIB) & ~511 for _ in range(60)] + [(n + 1) * 37 * MIB for n in range(40)]
    for size in sizes if WHOLE else sizes[::5]:
        path = image(tmp_path / 'disk', size)
        assert is_blank(build, path), size
        path.unlink()


def lose_head(path):
    with open(path, 'r+b') as file:
        os.pwrite(file.fileno(), bytes(MIB), 0)


@pytest.mark.parametrize('made, now, mkfs', [
    (2 * GIB, 2 * GIB, ('mkfs.xfs', '-q', '-d', 'agcount=5')),
    (10 * GIB, 13 * GIB, ('mkfs.xfs', '-q')),
    (10 * GIB, 9 * GIB, ('mkfs.xfs', '-q')),
    (13 * GIB, 13 * GIB, ('mkfs.xfs', '-q', '-d', 'agcount=12')),
    (200 * GIB, 220 * GIB, ('mkfs.xfs', '-q', '-d', 'agcount=13')),
    (500 * GIB, 600 * GIB, ('mkfs.xfs', '-q', '-d', 'agcount=44')),
    (1000 * GIB, 1200 * GIB, ('mkfs.xfs', '-q', '-d', 'agcount=176')),
    (1023 * GIB, 1030 * GIB, ('mkfs.xfs', '-q')),
    (2 * GIB, 3 * GIB, ('mke2fs', '-q', '-t', 'ext4')),
    (GIB, 2 * GIB, ('mkfs.btrfs', '-q')),
    (GIB, 2 * GIB, ('mkfs.f2fs', '-q')),
])
def test_lost_heads_of_real_filesystems(build, tmp_path, made, now, mkfs):
    if not shutil.which(mkfs[0]):
        pytest.skip(f'no {mkfs[0]}')
    path = image(tmp_path / 'disk', made, *mkfs)
    os.truncate(path, now)
    lose_head(path)
    assert not is_blank(build, path)


def test_two_mib_of_a_gib(build, tmp_path):
    """Two of a thousand samples lie in it, whatever the phase."""
    for at in (512 * MIB, 333 * MIB + 4096, 777 * MIB):
        path = image(tmp_path / 'disk', GIB)
        with open(path, 'r+b') as file:
            os.pwrite(file.fileno(), random.Random(at).randbytes(2 * MIB), at)
        assert not is_blank(build, path)


@pytest.fixture(name='world')
def world_fixture(build, sandbox):
    world = World(build, sandbox)
    yield world
    world.client.close()
    if world.daemon.process.poll() is None:
        world.daemon.kill()


def stage(world, volume_id):
    return world.client.fails('FAILED_PRECONDITION', 'NodeStageVolume', volume_id=volume_id,
                              volume_capability=mount(), staging_target_path=str(world.kubelet.staging(volume_id)))


def test_local_volume_with_one_sector_is_not_formatted(world):
    """Samples would miss it; the pool knows."""
    volume_id = world.create('a', GIB, mount())
    file = world.pool / 'volumes' / f'{volume_id}.img'
    with open(file, 'r+b') as data:
        os.pwrite(data.fileno(), b'only this', 345 * MIB + 12345 * 512)
    before = subprocess.run(['sha256sum', file], check=True, capture_output=True).stdout
    assert 'holds data' in stage(world, volume_id)
    assert subprocess.run(['sha256sum', file], check=True, capture_output=True).stdout == before


def test_local_volume_for_block_is_not_mounted(world):
    volume_id = world.create('b', 64 * MIB, block())
    assert 'raw block' in stage(world, volume_id)
