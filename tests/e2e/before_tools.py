#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""before_tools.py [ARGUMENT...]: builds the version before from the history of this tree, then runs tests/lib/run.py
ARGUMENT...

It is kept in .cache/before/COMMIT of the source tree, or is what BERTH_BEFORE says. Without the history (a release's
archive, a shallow clone) the tests are skipped, with the reason.
"""

import os
import pathlib
import shutil
import subprocess
import sys

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / 'tests' / 'lib'))
import go_tools  # noqa: E402

COMMIT = 'af04f89'  # 0.1.0
CACHE = pathlib.Path(os.environ.get('BERTH_BEFORE', SOURCE / '.cache' / 'before' / COMMIT))


def run(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise go_tools.Missing(f'the version before: {argv[0]}: {" ".join(last)[:200]}')
    return done


def make():
    if (CACHE / 'csi' / 'berth-csi').exists() and (CACHE / 'cni' / 'berth-cni').exists():
        return
    source = CACHE / 'source'
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir()
    run('git', '-c', f'safe.directory={SOURCE}', '-C', SOURCE, 'archive', f'--output={CACHE}/source.tar', COMMIT)
    run('tar', '-C', source, '-xf', CACHE / 'source.tar')
    run('meson', 'setup', source / 'build', source)
    run('ninja', '-C', source / 'build', 'csi/berth-csi', 'cni/berth-cni')
    for name in ('csi/berth-csi', 'cni/berth-cni'):
        (CACHE / name).parent.mkdir(exist_ok=True)
        shutil.copy2(source / 'build' / name, CACHE / name)
    shutil.rmtree(source)


if __name__ == '__main__':
    sys.exit(go_tools.run(CACHE, 'BERTH_BEFORE', make))
