# SPDX-License-Identifier: Apache-2.0
"""The harness keeps its promises: a world for each test, and nothing left, also after SIGKILL."""

import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import pytest

import sandbox as sandbox_module
import versions

LIB = pathlib.Path(sandbox_module.__file__).parent


def test_own_network(sandbox):
    names = [link['ifname'] for link in sandbox_module.ip_json('link')]
    assert names == ['lo']
    assert os.listdir('/sys/class/net') == ['lo']
    assert os.listdir('/run/netns') == []
    pod = sandbox.netns('pod')
    assert [link['ifname'] for link in pod.ip('link')] == ['lo']


def test_own_processes():
    assert sorted(int(name) for name in os.listdir('/proc') if name.isdigit())[:2] == [1, os.getpid()]


def test_loop_device_and_mounts(sandbox):
    device = sandbox.loop(16 << 20, ['mkfs.ext4', '-q'])
    where = sandbox.mounted(device, 'ext4')
    (where / 'file').write_text('x')
    assert sandbox_module.mounts_below(sandbox.path) == [(str(where), '/', 'ext4', device)]
    assert sandbox_module.loops_below(sandbox.path) == [os.path.basename(device)]


def test_private_directory(sandbox):
    path = sandbox.private_directory('/var/lib/berth-no-such/deep')
    (path / 'file').write_text('x')
    assert os.listdir('/var/lib/berth-no-such/deep') == ['file']


def test_shared_directory(sandbox):
    path = sandbox.shared_directory()
    with open('/proc/self/mountinfo', encoding='utf-8') as file:
        line = next(line for line in file if f' {path} ' in line)
    assert ' shared:' in line


# Run in a sandbox of a sandbox: attaches a loop on a loop, mounts, starts a daemon, tells its names, hangs.
HANG = textwrap.dedent('''
    import os, subprocess, sys, time
    sys.path.insert(0, sys.argv[1])
    import sandbox
    workspace = sandbox.Workspace()
    directory = workspace.directory('hang')

    def hang():
        box = sandbox.Sandbox(directory)
        outer = box.mounted(box.loop(64 << 20, ['mkfs.ext4', '-q']), 'ext4')
        inner = sandbox.Sandbox(outer).loop(16 << 20, ['mkfs.ext4', '-q'])
        box.mounted(inner, 'ext4')
        subprocess.Popen(['sleep', '4711'], start_new_session=True)
        print(workspace.path, *sandbox.loops_below(directory), flush=True)
        time.sleep(600)

    sandbox.run(hang, directory, 600)
''')

SWEEP = 'import sys; sys.path.insert(0, sys.argv[1]); import sandbox; sandbox.sweep()'


def sleepers():
    found = []
    for name in os.listdir('/proc'):
        if name.isdigit():
            try:
                found.append(pathlib.Path(f'/proc/{name}/cmdline').read_bytes())
            except OSError:
                pass
    return sum(1 for line in found if line == b'sleep\x004711\x00')


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_nothing_left_after_sigkill(sandbox):
    environment = {**os.environ, 'BERTH_TEST_DIR': str(sandbox.path)}
    run = subprocess.Popen([sys.executable, '-c', HANG, str(LIB)], stdout=subprocess.PIPE, text=True, env=environment)
    path, *loops = run.stdout.readline().split()
    assert len(loops) == 2
    assert sleepers() == 1
    run.send_signal(signal.SIGKILL)
    run.wait()
    # Both: the sleeper holds no lock, and the sweep rightly spares a run of which one process is still dying.
    wait_until(lambda: sleepers() == 0 and not sandbox_module.lives(path))
    subprocess.run([sys.executable, '-c', SWEEP, str(LIB)], check=True, env=environment)
    assert not os.path.exists(path)
    # By their files: somebody else may have been given a device of that name since.
    assert not sandbox_module.loops_below(sandbox.path)


def test_sweep_spares_the_living(sandbox):
    environment = {**os.environ, 'BERTH_TEST_DIR': str(sandbox.path)}
    run = subprocess.Popen([sys.executable, '-c', HANG, str(LIB)], stdout=subprocess.PIPE, text=True, env=environment)
    path, *loops = run.stdout.readline().split()
    subprocess.run([sys.executable, '-c', SWEEP, str(LIB)], check=True, env=environment)
    assert os.path.isdir(path)
    for name in loops:
        assert os.path.exists(f'/sys/block/{name}/loop/backing_file')
    run.kill()
    run.wait()
    wait_until(lambda: sleepers() == 0)


def test_versions(monkeypatch):
    """What the pins are compared with: released versions, also of the next major, whose module has another name."""
    pins = versions.read('a m/v5 v5.3.0\nb pypi:p 1.2 # why\nc m v0.9.1 stays\n')
    assert [one.stays for one in pins.values()] == [False, False, True]
    for bad in ('a m', 'a m v1 later', 'a m v1\na m v2'):
        with pytest.raises(ValueError):
            versions.read(bad)
    served = {'m/v5@latest': 'v5.10.0', 'm/v6@latest': 'v6.0.0-20260101120000-abcdef012345', 'm@latest': 'v1.0.0-rc.1'}

    def ask(argv):
        if 'pip' in argv:
            return 'p (1.10)\nAvailable versions: 1.10, 1.2\n', None
        return (served[argv[-1]], None) if argv[-1] in served else (None, 'not served')
    monkeypatch.setattr(versions, 'ask', ask)
    assert versions.newest('m/v5') == ('m/v5', 'v5.10.0')
    assert versions.compare(pins['a'], 'm/v5', 'v5.10.0') == 'older'
    assert versions.newest('pypi:p') == ('pypi:p', '1.10')
    assert versions.compare(pins['b'], 'pypi:p', '1.10') == 'older'
    assert versions.compare(pins['b'], 'pypi:p', '1.2') == 'same'
    assert versions.newest('n') == (None, 'not served')
    served['m/v6@latest'] = 'v6.0.1'
    assert versions.newest('m/v5') == ('m/v6', 'v6.0.1')
    assert versions.compare(pins['a'], 'm/v6', 'v6.0.1') == 'older'
    assert versions.parts('v1.0.0-rc.1') < versions.parts('v1.0.0') < versions.parts('v1.0.10')
    assert all(versions.at(one) for one in versions.read())


def test_judges_tell_what_was_skipped(tmp_path):
    """A spec that nobody selected is no skip; one that says why is; one that failed is named."""
    (tmp_path / 'suite.xml').write_text('''<testsuites><testsuite timestamp="2026-11-30T18:38:12">
        <testcase name="[It] a" status="passed"/><testcase name="[BeforeSuite]" status="passed"/>
        <testcase name="[It] b" status="skipped"><skipped message="skipped"/></testcase>
        <testcase name="[It] c" status="skipped"><skipped message="skipped - no such | thing"/></testcase>
        <testcase name="[It] d" status="failed"><failure message="x"/></testcase>
        <testcase name="[It] e" status="timedout"/></testsuite></testsuites>''')
    program = LIB.parent / 'conformance' / 'judges.py'
    done = subprocess.run([sys.executable, program, tmp_path / 'suite.xml'], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 1 and done.stderr == ''
    assert '| suite | 1 | 2 | 1: no such \\| thing | 2026-11-30 |' in done.stdout
    assert '- suite: d\n- suite: e\n' in done.stdout and 'b' not in done.stdout.split('2026')[1]
