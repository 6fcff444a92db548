#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""install.py BUILD_DIRECTORY: `meson install` with DESTDIR puts there what install.list lists, and nothing else."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile


def wanted(build):
    lines = pathlib.Path(__file__).with_name('install.list').read_text(encoding='ascii').splitlines()
    names = {line.split()[0] for line in lines if line and not line.startswith('#')}
    options = {option['name']: option['value'] for option in introspect(build)}
    # A build without one of the programs installs what belongs to the other.
    cni = {'berth-cni', 'berth-node'}
    return {name for name in names
            if (options['csi'] or 'csi' not in name) and (options['cni'] or not cni & set(re.split('[/._]', name)))
            if options['man'] or '/share/' not in name}


def introspect(build):
    done = subprocess.run(['meson', 'introspect', '--buildoptions', build], check=True, capture_output=True)
    return json.loads(done.stdout)


def installed(build, root):
    environment = {**os.environ, 'DESTDIR': root}
    subprocess.run(['meson', 'install', '-C', build, '--no-rebuild'], check=True, env=environment,
                   stdout=subprocess.DEVNULL)
    found = {}
    for path in pathlib.Path(root).rglob('*'):
        if path.is_file() or path.is_symlink():
            found[str(path.relative_to(root))] = path.stat().st_mode & 0o7777
    return found


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as root:
        found = installed(build, root)
    bad = [f'missing: {name}' for name in sorted(wanted(build) - set(found))]
    bad += [f'not listed: {name}' for name in sorted(set(found) - wanted(build))]
    for name, mode in found.items():
        expected = 0o755 if '/bin/' in name or '/libexec/' in name or '/sbin/' in name else 0o644
        if mode != expected:
            bad.append(f'{name}: mode {mode:04o}, expected {expected:04o}')
    print('\n'.join(bad))
    return 1 if bad or not found else 0


if __name__ == '__main__':
    sys.exit(main())
