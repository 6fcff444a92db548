#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""run.py TEST_FILE [PYTEST_ARGUMENT...]: runs pytest on files and tells the results in TAP on stdout.

pytest's own output goes to stderr. Each test function is one TAP line, a skipped one with its reason.
"""

import os
import sys


class Tap:
    def __init__(self, out):
        self.out = out
        self.n = 0
        self.left = {}

    def line(self, good, name, note=''):
        self.n += 1
        self.out.write(f'{"ok" if good else "not ok"} {self.n} - {name.replace("#", "")}{note}\n')
        self.out.flush()

    def pytest_collectreport(self, report):
        if report.failed:
            self.line(False, f'{report.nodeid} (cannot be loaded)')
        elif report.skipped:
            self.skip(report, report.nodeid)

    def skip(self, report, name):
        reason = report.longrepr[2] if isinstance(report.longrepr, (list, tuple)) else str(report.longrepr)
        self.line(True, name, f' # SKIP {reason.removeprefix("Skipped: ")}')

    def pytest_runtest_logreport(self, report):
        name = report.nodeid.split('::', 1)[-1]
        if report.skipped:
            self.skip(report, name)
        elif report.failed:
            # A test whose call passed and whose teardown failed has said "ok" already: then this is one more line.
            self.line(False, name if report.when == 'call' else f'{name} ({report.when})')
        elif report.when == 'call':
            self.line(True, name)

    def plan(self):
        self.out.write(f'1..{self.n}\n')
        self.out.flush()


def main():
    out = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)
    if os.geteuid() != 0:
        out.write('1..0 # SKIP needs root\n')
        return 0
    try:
        import pytest
    except ImportError:
        out.write(f'1..0 # SKIP needs pytest for {sys.executable} (Debian: python3-pytest)\n')
        return 0
    tap = Tap(out)
    code = pytest.main(['-q', '-p', 'no:cacheprovider', '--tb=short', *sys.argv[1:]], plugins=[tap])
    tap.plan()
    # 0 all passed, 1 some failed (their lines say so), 5 none collected.
    return 0 if code in (0, 1) else int(code)


if __name__ == '__main__':
    sys.exit(main())
