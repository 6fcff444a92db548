#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""summary.py BUILD_NAME TESTLOG_JSON LOG_PREFIX: what `meson test` found, one line per result for ./check.

passed|failed|skipped <tab> name <tab> reason of a skip, or the file with the output of a failure. A test that tells
its parts (TAP, cmocka) counts by its parts.
"""

import json
import re
import sys

CMOCKA = re.compile(r'^\[ *(OK|FAILED|SKIPPED) *\] (\w+)$')


def tap(test):
    """Lines "ok 3 - name", "not ok 4 - name", "ok 5 - name # SKIP reason"; names may be long and strange."""
    for line in test['stdout'].splitlines():
        bad = line.startswith('not ok ')
        if not bad and not line.startswith('ok '):
            continue
        name, _, directive = line.partition(' # SKIP')
        name = name.removeprefix('not ').removeprefix('ok ').lstrip('0123456789 ').removeprefix('- ')
        state = 'failed' if bad else 'skipped' if ' # SKIP' in line else 'passed'
        yield state, name.strip()[:200], directive.strip()


def cmocka(test):
    seen = {}
    for line in (test['stdout'] + '\n' + test.get('stderr', '')).splitlines():
        match = CMOCKA.match(line)
        if match:
            state, name = match.groups()
            seen[name] = {'OK': 'passed', 'FAILED': 'failed', 'SKIPPED': 'skipped'}[state]
    return [(state, name, '') for name, state in seen.items()]


def parts(test):
    if 'ok 1' in test['stdout'] and '1..' in test['stdout']:
        return list(tap(test))
    if '[==========]' in test['stdout'] + test.get('stderr', ''):
        return cmocka(test)
    return []


def skip_reason(test):
    text = (test['stdout'] + '\n' + test.get('stderr', '')).strip()
    for line in text.splitlines():
        match = re.search(r'(?:^skipped: |^SKIP: |# SKIP )(.*)', line, re.I)
        if match:
            return match.group(1)
    return text.splitlines()[-1] if text else 'no reason given'


def results(test):
    """(state, name, reason) of each part, or of the test as a whole."""
    found = [(state, f'{test["name"]}: {name}', reason) for state, name, reason in parts(test)]
    if test['result'] in ('OK', 'EXPECTEDFAIL'):
        return found or [('passed', test['name'], '')]
    if test['result'] == 'SKIP':
        return found or [('skipped', test['name'], skip_reason(test))]
    # It died, was too late, or failed outside of any part.
    if test['result'] != 'FAIL' or all(state != 'failed' for state, _, _ in found):
        found.append(('failed', f'{test["name"]} ({test["result"].lower()})', ''))
    return found


def main():
    build, path, prefix = sys.argv[1:]
    with open(path, encoding='utf-8') as file:
        tests = [json.loads(line) for line in file]
    for test in tests:
        name = test['name'].split(' / ')[-1]
        test['name'] = name
        log = f'{prefix}-{re.sub("[^A-Za-z0-9_.-]", "-", name)}.log'
        told = False
        for state, part, reason in results(test):
            text = reason
            if state == 'failed':
                text = '' if told else log
                told = True
            print(f'{state}\t{build}: {" ".join(part.split())}\t{" ".join(text.split())}')
        if told:
            with open(log, 'w', encoding='utf-8') as file:
                file.write(test['stdout'] + '\n' + test.get('stderr', ''))
    return 0


if __name__ == '__main__':
    sys.exit(main())
