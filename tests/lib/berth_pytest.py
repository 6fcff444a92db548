# SPDX-License-Identifier: Apache-2.0
"""pytest hooks: each test function runs in a sandbox (sandbox.py) of its own.

What a test may use: the fixture `sandbox`, `tmp_path` (the same directory), `build` (where the programs are).
A fixture of a wider scope than a function is made anew in each sandbox. A test that may take longer than
DEADLINE_SECONDS says @pytest.mark.deadline(seconds).
"""

import json
import os
import pathlib
import shutil
import signal

import pytest
from _pytest.runner import runtestprotocol

import sandbox as sandbox_module

DEADLINE_SECONDS = 120
# What is given on top before the whole sandbox is killed, so that the test can fail with a traceback first.
GRACE_SECONDS = 15

SOURCE = pathlib.Path(__file__).resolve().parents[2]

_state = {}


def build_directory():
    return pathlib.Path(os.environ.get('BERTH_BUILD', SOURCE / 'build')).resolve()


def pytest_configure(config):
    config.addinivalue_line('markers', 'deadline(seconds): how long the test may take')
    if os.geteuid() == 0 and not config.option.collectonly:
        _state['workspace'] = sandbox_module.Workspace()


def pytest_unconfigure(config):
    workspace = _state.pop('workspace', None)
    if workspace is not None:
        workspace.close()


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        for item in items:
            item.add_marker(pytest.mark.skip(reason='needs root'))


def _deadline(item):
    mark = item.get_closest_marker('deadline')
    # On an emulated machine everything takes longer.
    return (mark.args[0] if mark else DEADLINE_SECONDS) * int(os.environ.get('BERTH_TEST_PATIENCE', '1'))


def _too_late(seconds):
    def handler(_number, _frame):
        raise TimeoutError(f'the test took longer than {seconds} s')
    return handler


def _in_child(item, report_path, seconds):
    signal.signal(signal.SIGALRM, _too_late(seconds))
    signal.alarm(seconds)
    reports = runtestprotocol(item, log=False, nextitem=None)
    signal.alarm(0)
    data = [item.config.hook.pytest_report_to_serializable(config=item.config, report=r) for r in reports]
    report_path.write_text(json.dumps(data), encoding='utf-8')


def _crashed(item, status, seconds):
    text = f'took longer than {seconds} s' if status == 124 else f'the process of the test ended with {status}'
    return pytest.TestReport(item.nodeid, item.location, {}, 'failed', text, 'call')


def _run(item):
    workspace = _state['workspace']
    directory = workspace.directory(item.name)
    report_path = workspace.path / f'{directory.name}.json'
    seconds = _deadline(item)
    _state['directory'] = directory
    status = sandbox_module.run(lambda: _in_child(item, report_path, seconds), directory, seconds + GRACE_SECONDS)
    shutil.rmtree(directory, ignore_errors=True)
    try:
        data = json.loads(report_path.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return [_crashed(item, status, seconds)]
    hook = item.config.hook
    return [hook.pytest_report_from_serializable(config=item.config, data=one) for one in data]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item):
    if 'workspace' not in _state:
        return None  # not root: the skip mark does the rest
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in _run(item):
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.fixture(name='sandbox')
def sandbox_fixture():
    return sandbox_module.Sandbox(_state['directory'])


@pytest.fixture
def tmp_path(sandbox):
    return sandbox.path


@pytest.fixture
def build():
    """The build directory; $BERTH_BUILD, else build/ in the source tree."""
    return build_directory()
