#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every test that docs/security.md names is there: functions of Python and C, files, and lints."""

import pathlib
import re
import sys

SOURCE = pathlib.Path(__file__).resolve().parents[2]


def there():
    """Names of functions and files."""
    names = set()
    for path in [*SOURCE.glob('tests/**/*.py'), *SOURCE.glob('[cf]*/**/test-*.c')]:
        names.add(path.name)
        names |= set(re.findall(r'^(?:def|static void) (test_\w+)', path.read_text(encoding='utf-8'), re.MULTILINE))
    return names


def main():
    text = (SOURCE / 'docs' / 'security.md').read_text(encoding='utf-8')
    named = {word.rsplit('/', 1)[-1] for word in re.findall(r'`([\w/.-]+)`', text)
             if re.match(r'test[_-]', word.rsplit('/', 1)[-1]) or word in ('drivers.py',)}
    missing = sorted(named - there())
    for name in missing:
        print(f'docs/security.md: {name}: there is no such test')
    if len(named) < 40:
        print(f'docs/security.md: {len(named)} tests named, expected 40 and more')
    return 1 if missing or len(named) < 40 else 0


if __name__ == '__main__':
    sys.exit(main())
