# SPDX-License-Identifier: Apache-2.0
"""What ./quickstart shows works, tells a failure in words, and leaves nothing behind when it is interrupted."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

import sandbox as sandbox_module

SCRIPT = pathlib.Path(sandbox_module.__file__).with_name('quickstart.py')


def start(build, sandbox):
    environment = {**os.environ, 'BERTH_TEST_DIR': str(sandbox.path)}
    return subprocess.Popen([sys.executable, SCRIPT, build], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=environment)


def left(sandbox):
    return list(sandbox.path.iterdir()) + sandbox_module.loops_below(sandbox.path)


@pytest.mark.deadline(180)
def test_quickstart(build, sandbox):
    run = start(build, sandbox)
    output, errors = run.communicate()
    assert run.returncode == 0, output + errors
    for step in ('NodeStageVolume', 'written by the first pod', 'ping from pod-1', 'no link, no lease'):
        assert step in output
    assert left(sandbox) == []


def reaches(run, moment):
    return any(moment in line for line in run.stdout)


# Short names: the path of a socket has 107 bytes.
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT], ids=['term', 'int'])
@pytest.mark.parametrize('moment', ['NodePublishVolume', 'ADD for pod-1'], ids=['csi', 'cni'])
@pytest.mark.deadline(180)
def test_stops(build, sandbox, moment, number):
    run = start(build, sandbox)
    reached = reaches(run, moment)
    run.send_signal(number)
    output, errors = run.communicate()
    assert reached and run.returncode == (143 if number == signal.SIGTERM else 130), output + errors
    assert left(sandbox) == []


@pytest.mark.deadline(180)
def test_killed(build, sandbox):
    """And started again."""
    run = start(build, sandbox)
    assert reaches(run, 'NodePublishVolume')
    run.kill()
    run.communicate()
    end = time.monotonic() + 60
    # The next start cleans up; the namespaces of the dead one may take a moment to go.
    while left(sandbox):
        assert time.monotonic() < end
        subprocess.run([sys.executable, '-c', 'import sandbox; sandbox.sweep()'], check=True, cwd=SCRIPT.parent,
                       env={**os.environ, 'BERTH_TEST_DIR': str(sandbox.path)})
        time.sleep(0.1)


def test_failure_is_told(build, sandbox):
    directory = sandbox.path / 'broken'
    (directory / 'csi').mkdir(parents=True)
    program = directory / 'csi' / 'berth-csi'
    program.write_text('#!/bin/sh\necho "the reason" >&2\nexit 1\n', encoding='ascii')
    program.chmod(0o755)
    run = start(directory, sandbox)
    output, errors = run.communicate()
    assert run.returncode == 1
    assert 'FAILED  berth-csi host' in output and 'the reason' in errors
