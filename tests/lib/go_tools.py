# SPDX-License-Identifier: Apache-2.0
"""Programs that tests need and that are built from Go modules, once, before the tests that have no network.

    go_tools.run(CACHE, 'BERTH_CNI_TOOLS', make)    # make() builds into CACHE; then tests/lib/run.py ARGUMENT...

Without Go or without its modules the tests are skipped, with the reason.
"""

import fcntl
import os
import pathlib
import shutil
import subprocess
import sys


class Missing(Exception):
    pass


def go(*argv, cwd='/', timeout=None, **env):
    environment = {**os.environ, 'HOME': os.environ.get('HOME', '/root'), 'GOFLAGS': '-mod=mod', 'CGO_ENABLED': '0',
                   **env}
    try:
        done = subprocess.run(['go', *argv], cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout,
                              check=False)
    except FileNotFoundError:
        raise Missing('needs Go') from None
    except subprocess.TimeoutExpired:
        raise Missing(f'go {argv[0]} took too long') from None
    if done.returncode != 0:
        last = (done.stderr.strip() or 'no message').splitlines()[-1]
        raise Missing(f'needs Go modules: go {argv[0]}: {last[:200]}')
    return done.stdout


def copy_writable(origin, copy):
    """Go keeps modules read-only."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(origin, copy)
    for path in [copy, *copy.rglob('*')]:
        path.chmod(0o755 if path.is_dir() else 0o644)


def run(cache, variable, make):
    """Does not return but for a skip. One of several that are started at once builds."""
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / 'lock', 'w', encoding='utf-8') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            make()
        except Missing as reason:
            print(f'1..0 # SKIP {reason}')
            return 0
    os.environ[variable] = str(cache)
    program = pathlib.Path(__file__).resolve().parent / 'run.py'
    return os.execv(sys.executable, [sys.executable, str(program), *sys.argv[1:]])
