# SPDX-License-Identifier: Apache-2.0
"""`berth-csi fs check` and `fs plan` from outside: exit codes, JSON, width, no exec, little CPU, no root."""

import json
import os
import re
import resource
import shutil
import subprocess

import pytest

MIB = 1 << 20
NOBODY = 65534


def program(build):
    return build / 'csi/fs/berth-fs'


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


def test_no_exec_and_little_cpu(build, sandbox):
    """A device, on this node: the number that the README promises."""
    if not shutil.which('strace'):
        pytest.skip('no strace')
    for mkfs in (['mke2fs', '-q', '-t', 'ext4'], ['mkfs.xfs', '-q'], ['mkfs.btrfs', '-q']):
        device = sandbox.loop(320 * MIB, mkfs)
        trace = subprocess.run(['strace', '-f', '-e', 'trace=execve,clone,clone3,fork,vfork', program(build), 'fs',
                                'check', device], capture_output=True, text=True, timeout=30, check=True).stderr
        assert trace.count('execve(') == 1 and 'clone' not in trace and 'fork' not in trace
        fs(build, 'check', device)
        used = []
        for _ in range(20):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([program(build), 'fs', 'check', device], stdout=subprocess.DEVNULL, check=True, timeout=30)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            used.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000)
        print(f'{mkfs[0]}: {min(used):.2f} ms of CPU, process start included')
        # The least of many: other work on the machine only adds to it. Sanitizers cost several times as much.
        assert min(used) < (25 if 'asan' in str(build) else 5)


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
