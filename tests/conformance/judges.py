#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""judges.py JUNIT...: the results of other people's suites as a table in Markdown, for docs/conformance.md.

One row per file: what ran, how many passed and failed, and why specs were skipped; a spec that was not selected is in
no number. Specs that failed are named below the table. Exit status 1 if one did.
"""

import collections
import pathlib
import re
import sys
import xml.etree.ElementTree


def reason_of(case):
    """Why a spec was skipped; None for one that the focus left out."""
    skipped = case.find('skipped')
    text = (skipped.get('message') or '') if skipped is not None else ''
    found = re.match(r'skipped - (.*)', text, re.DOTALL)
    if not found:
        return 'pending' if text == 'pending' else None
    reason = re.sub(r' --? skipping$', '', ' '.join(found[1].split()))
    return re.sub(r'^Driver "?[\w.]+"? ', '', reason)


def read(path):
    """({'passed': n, 'failed': n}, Counter of reasons, names that failed, date)"""
    numbers, reasons, failed = collections.Counter(), collections.Counter(), []
    root = xml.etree.ElementTree.parse(path).getroot()
    for case in root.iter('testcase'):
        name, status = case.get('name').removeprefix('[It] '), case.get('status')
        if status in ('skipped', 'pending'):
            reason = reason_of(case)
            if reason:
                reasons[reason] += 1
        elif status != 'passed':
            numbers['failed'] += 1
            failed.append(name)
        elif not name.startswith('['):
            numbers['passed'] += 1
    date = next((one.get('timestamp', '') for one in root.iter('testsuite')), '')[:10]
    return numbers, reasons, failed, date


def cell(text):
    return text.replace('|', '\\|')


def table(paths):
    lines, below = ['| what ran | passed | failed | skipped, and why | date |', '|---|---|---|---|---|'], []
    for path in paths:
        numbers, reasons, failed, date = read(path)
        why = '; '.join(f'{n}: {cell(reason)[:160]}' for reason, n in reasons.most_common()) or '0'
        lines.append(f'| {path.stem} | {numbers["passed"]} | {numbers["failed"]} | {why} | {date} |')
        below += [f'- {path.stem}: {one}' for one in failed]
    return '\n'.join(lines + ([''] + below if below else [])), bool(below)


def main():
    text, failed = table([pathlib.Path(one) for one in sys.argv[1:]])
    print(text)
    return int(failed)


if __name__ == '__main__':
    sys.exit(main())
