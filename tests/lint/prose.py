#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Prose of the documents: lines that an editor shows whole, headings that a table of contents can be made of, no word
twice, and none that tells the reader what is easy.

Code (indented), tables, links and lists of sentences of the programs have the length that they have.
"""

import pathlib
import re
import sys

SOURCE = pathlib.Path(__file__).resolve().parents[2]
LENGTH = 160
# They say nothing, or that whoever does not manage is to blame; with what to write in place of some.
WORDS = {'simply': '', 'obviously': '', 'of course': '', 'easily': '', 'basically': '', 'trivially': '',
         'seamlessly': '', 'seamless': '', 'blazing': '', 'leverage': 'use', 'utilize': 'use', 'in order to': 'to',
         'please note': '', 'as well as': 'and'}
FORBIDDEN = re.compile(r'\b(' + '|'.join(WORDS) + r')\b', re.I)
TWICE = re.compile(r'\b([a-z]{2,}) \1\b', re.I)
CODE = re.compile(r'(`+).*?\1', re.S)


def documents():
    for pattern in ('*.md', 'docs/**/*.md', 'manifests/*.md', 'csi/cli/*.md'):
        yield from sorted(SOURCE.glob(pattern))


def prose(text):
    """(number, line) of what is neither code nor a table nor a sentence of a program."""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith(('    ', '|', '- `')):
            yield number, line


def heading_faults(text):
    level, seen = 0, set()
    for number, line in prose(text):
        found = re.match(r'(#+) (.*)', line)
        if not found:
            continue
        if len(found[1]) > level + 1:
            yield number, f'a heading of level {len(found[1])} below one of level {level}'
        # In CHANGELOG every version has the same ones.
        if found[0] in seen:
            yield number, f'the heading "{found[2]}" is there already: no link can mean this one'
        level = len(found[1])
        seen.add(found[0])


def line_faults(text):
    for number, line in prose(text):
        if len(line) > LENGTH and '](' not in line:
            yield number, f'{len(line)} columns, expected up to {LENGTH}'
        if line.startswith('```'):
            yield number, 'a fence: code is indented by four spaces'
    # Code in a line may go on in the next.
    for number, line in prose(CODE.sub(lambda found: '\n' * found[0].count('\n'), text)):
        for found in FORBIDDEN.findall(line):
            yield number, f'"{found}"' + (f': "{WORDS[found.lower()]}"' if WORDS[found.lower()] else ' says nothing')
        for found in TWICE.findall(line):
            yield number, f'"{found} {found}"'
    for number, line in enumerate(text.splitlines(), 1):
        if line != line.rstrip():
            yield number, 'white space at the end'


def main():
    bad = [f'{path.relative_to(SOURCE)}:{number}: {what}' for path in documents()
           for number, what in [*heading_faults(path.read_text(encoding='utf-8')),
                                *line_faults(path.read_text(encoding='utf-8'))] if path.name != 'CHANGELOG.md']
    print(*bad, sep='\n', end='\n' if bad else '')
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
