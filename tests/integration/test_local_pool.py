# SPDX-License-Identifier: Apache-2.0
"""The provider local on real pools: each case of build/csi/local/test-csi-local on each filesystem."""

import os
import pathlib
import subprocess

import pytest

import kills

CASES = ('lifecycle', 'refusals', 'snapshot', 'mounted', 'raw_block', 'group', 'paging', 'ephemeral', 'thick', 'lock',
         'strangers', 'condition', 'parallel', 'lookers', 'copy', 'copy_cut', 'work')
OPERATIONS = ('create', 'create_thick', 'clone', 'clone_thick', 'snapshot', 'snapshot_mounted', 'restore', 'expand',
              'expand_thick', 'delete', 'delete_snapshot', 'modify', 'group', 'group_delete', 'attach', 'release',
              'work', 'inline', 'inline_delete')
MIB = 1 << 20


@pytest.fixture(name='pool', params=('host', 'xfs', 'btrfs'))
def pool_fixture(request, sandbox):
    """A pool directory: on the disk of this machine, where blocks often cannot be shared, and where they can."""
    if request.param == 'host':
        path = sandbox.path / 'pool'
        path.mkdir(mode=0o700)
        return path
    device = sandbox.loop(3072 * MIB, [f'mkfs.{request.param}', '-q'])
    path = sandbox.mounted(device, request.param) / 'pool'
    path.mkdir(mode=0o700)
    return path


def run(build, program, *argv):
    done = subprocess.run([pathlib.Path(build) / 'csi/local' / program, *map(str, argv)], capture_output=True,
                          text=True, timeout=110 * int(os.environ.get('BERTH_TEST_PATIENCE', '1')))
    print(done.stdout)
    print(done.stderr[-4000:])
    assert done.returncode == 0, f'{program} ended with {done.returncode}'
    return done.stdout


def test_all_cases_are_here(build):
    assert run(build, 'test-csi-local').split() == list(CASES)
    assert run(build, 'test-csi-local-crash').split() == list(OPERATIONS)


@pytest.mark.parametrize('case', CASES)
def test_case(build, pool, case):
    run(build, 'test-csi-local', pool, case)


# Kill -9 at system calls that change something. What does not share blocks is the same on every filesystem.
SHARING = {'xfs': ('clone_thick', 'restore', 'snapshot_mounted', 'work'), 'btrfs': ('clone', 'group', 'work')}


@pytest.mark.parametrize('pool, operation', [
    *(('host', operation) for operation in OPERATIONS),
    *((name, operation) for name, operations in SHARING.items() for operation in operations),
], indirect=['pool'])
def test_kill_at_steps(build, pool, operation):
    run(build, 'test-csi-local-crash', pool, operation, kills.FIRST, kills.EVERY)
