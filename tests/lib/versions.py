# SPDX-License-Identifier: Apache-2.0
"""The pinned versions of what others made (tests/versions.txt), and how they compare with what is served today.

    versions.get('kubernetes')      # ('k8s.io/kubernetes', 'v1.37.2')
    versions.at('csi-spec')         # 'github.com/container-storage-interface/spec@v1.12.0'
"""

import pathlib
import re
import subprocess
import sys
import typing

PINS = pathlib.Path(__file__).resolve().parents[1] / 'versions.txt'


class Pin(typing.NamedTuple):
    name: str
    source: str
    version: str
    stays: bool


def read(text=None):
    """{name: Pin}"""
    pins = {}
    for number, line in enumerate((text or PINS.read_text(encoding='utf-8')).splitlines(), 1):
        fields = line.partition('#')[0].split()
        if not fields:
            continue
        if len(fields) not in (3, 4) or fields[3:] not in ([], ['stays']) or fields[0] in pins:
            raise ValueError(f'{PINS.name}:{number}: expected NAME SOURCE VERSION [stays], each name once: {line!r}')
        pins[fields[0]] = Pin(*fields[:3], len(fields) == 4)
    return pins


def get(name):
    pin = read()[name]
    return pin.source, pin.version


def at(name):
    source, version = get(name)
    return f'{source.removeprefix("pypi:")}=={version}' if source.startswith('pypi:') else f'{source}@{version}'


def parts(version):
    """What orders versions: numbers; one with a suffix (-rc.1) comes before the one without."""
    number, _, suffix = version.removeprefix('v').partition('-')
    return [int(one) for one in re.findall(r'\d+', number)], not suffix, suffix


def next_major(source):
    """Modules have another name from one major version to the next; None for one that does not say its major."""
    found = re.fullmatch(r'(.*/v)(\d+)', source)
    return f'{found[1]}{int(found[2]) + 1}' if found else None


def ask(argv):
    """(output, None) or (None, why not)"""
    try:
        done = subprocess.run(argv, cwd='/', capture_output=True, text=True, timeout=120, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired) as reason:
        return None, str(reason)
    if done.returncode != 0:
        return None, (done.stderr.strip() or 'no message').splitlines()[-1].strip()
    return done.stdout, None


def newest(source):
    """(source, version) of today's release, or (None, why not)."""
    if source.startswith('pypi:'):
        out, why = ask([sys.executable, '-m', 'pip', 'index', 'versions', source.removeprefix('pypi:')])
        found = re.search(r'\(([^)]+)\)', out or '')
        return (source, found[1]) if found else (None, why or 'no version')
    following = next_major(source)
    for module in [following, source] if following else [source]:
        out, why = ask(['go', 'list', '-m', '-mod=mod', '-f', '{{.Version}}', f'{module}@latest'])
        if out and not re.search(r'-\d{14}-', out):  # a commit that nobody released
            return module, out.strip()
    return None, why or 'no release'


def compare(pin, served, version):
    """'older', 'same' or 'newer': the pin beside what is served."""
    if served != pin.source:
        return 'older'
    ours, theirs = parts(pin.version), parts(version)
    return 'same' if ours == theirs else 'older' if ours < theirs else 'newer'


def main():
    """Each pin on a line; exit status 1 if one that does not stay is older than what is served."""
    old = 0
    for pin in read().values():
        served, version = newest(pin.source)
        verdict = 'unknown' if served is None else compare(pin, served, version)
        if pin.stays and verdict == 'older':
            verdict = 'stays'
        words = [verdict, pin.name, pin.version, version if verdict != 'same' else '',
                 served if served not in (None, pin.source) else '']
        print('{:8} {:22} {:16} {} {}'.format(*words).rstrip(), flush=True)
        old += verdict == 'older'
    return min(old, 1)
