#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""grpc_tools.py [ARGUMENT...]: gets today's gRPC libraries for Go and Python, then runs tests/lib/run.py ARGUMENT...

What is built is kept in .cache/grpc of the source tree, or where BERTH_GRPC_TOOLS says. Versions: tests/versions.txt.
"""

import os
import pathlib
import shutil
import subprocess
import sys

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / 'tests' / 'lib'))
import go_tools  # noqa: E402
import versions  # noqa: E402

CACHE = pathlib.Path(os.environ.get('BERTH_GRPC_TOOLS', SOURCE / '.cache' / 'grpc'))
PROGRAM = SOURCE / 'tests' / 'conformance' / 'grpc' / 'client.go'


def make_go():
    target = CACHE / f'client-{versions.get("grpc-go")[1]}'
    if target.exists() and target.stat().st_mtime > PROGRAM.stat().st_mtime:
        return
    source = CACHE / 'source'
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir()
    shutil.copy(PROGRAM, source)
    (source / 'go.mod').write_text('module client\n\ngo 1.25\n')
    go_tools.go('get', versions.at('grpc-go'), cwd=source)
    go_tools.go('mod', 'tidy', cwd=source)
    go_tools.go('build', '-o', str(target), '.', cwd=source)


def make_python():
    target = CACHE / f'python-{versions.get("grpcio")[1]}'
    if target.exists():
        return
    fresh = CACHE / 'fresh'
    shutil.rmtree(fresh, ignore_errors=True)
    done = subprocess.run([sys.executable, '-m', 'pip', 'install', '-q', '--target', fresh, versions.at('grpcio')],
                          capture_output=True, text=True, check=False)
    if done.returncode == 0:
        fresh.rename(target)
    else:
        print(f'# {versions.at("grpcio")}: {done.stderr.strip()[-200:]!r}', flush=True)


def make():
    make_python()
    try:
        make_go()
    except go_tools.Missing as reason:
        print(f'# {reason}', flush=True)


if __name__ == '__main__':
    sys.exit(go_tools.run(CACHE, 'BERTH_GRPC_TOOLS', make))
