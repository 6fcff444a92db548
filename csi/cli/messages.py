#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""messages.py CATALOGUE > messages_table.c: the catalogue of messages as the tables that messages.h declares.

Headings are places; a list of lines "- `sentence`" is an entry, and the paragraphs under it are what is said of its
sentences. A row of a table is words that stand in a message, and what they mean. "…" is what differs from case to case.
"""

import dataclasses
import pathlib
import re
import sys
import textwrap

SENTENCE = re.compile(r'- `` ?(.+?) ?``|- `(.+?)`')
WIDTH = 78


@dataclasses.dataclass
class Entry:
    place: str
    sentences: list
    paragraphs: list


def link(found):
    """A terminal cannot follow it: a page is named, and a place in the catalogue is its own words."""
    text, target = found[1], found[2].partition('#')[0]
    page = target.removeprefix('../../')
    return text if not page else page if page.endswith(text) else f'{text} ({page})'


def paragraph(lines):
    return textwrap.fill(re.sub(r'\[([^]]+)\]\(([^)]+)\)', link, ' '.join(lines)), WIDTH, break_on_hyphens=False,
                         break_long_words=False)


def blocks(text):
    """Runs of lines without an empty one between them."""
    return [block.splitlines() for block in re.split(r'\n\s*\n', text) if block.strip()]


def read(text):
    """([Entry], [(words, a sentence about them)])"""
    entries, words, places = [], [], ['', '']
    for lines in blocks(text):
        if lines[0].startswith('#'):
            level, title = lines[0].split(' ', 1)
            places = [title, ''] if level == '##' else [places[0], title] if level == '###' else places
            entries.append(None)
        elif lines[0].startswith('|'):
            for line in lines[2:]:
                first, meaning = re.fullmatch(r'\| (.*) \| (.*) \|', line).groups()
                words += [(one, paragraph([f'"{one}": {meaning}.'])) for one in re.findall(r'`([^`]+)`', first)]
        elif SENTENCE.match(lines[0]):
            found = [SENTENCE.match(line) for line in lines]
            if None in found:
                sys.exit(f'messages.py: a list of sentences has another line: {lines}')
            entries.append(Entry(': '.join(one for one in places if one), [one[1] or one[2] for one in found], []))
        elif entries and entries[-1]:
            entries[-1].paragraphs.append(paragraph(lines))
    entries = [one for one in entries if one]
    for one in entries:
        if not one.paragraphs:
            sys.exit(f'messages.py: nothing is said of {one.sentences}')
    return entries, words


def quoted(text):
    return '"' + text.replace('\\', '\\\\').replace('"', '\\"').replace('\n', '\\n') + '"'


def table(entries, words):
    yield '/* SPDX-License-Identifier: Apache-2.0 */\n/* Made from messages.md. */\n'
    yield '#include "csi/cli/messages.h"\n\n#include <stddef.h>\n'
    for number, one in enumerate(entries):
        lines = ',\n        '.join(quoted(text) for text in one.sentences)
        yield f'static const char *const sentences_{number}[] = {{\n        {lines},\n        NULL,\n}};'
    yield 'const MessageEntry message_entries[] = {'
    for number, one in enumerate(entries):
        text = '\n\n'.join(one.paragraphs)
        yield f'        {{{quoted(one.place)}, sentences_{number},\n         {quoted(text)}}},'
    yield '        {NULL, NULL, NULL},\n};'
    yield 'const MessageWords message_words[] = {'
    for one, meaning in words:
        yield f'        {{{quoted(one)}, {quoted(meaning)}}},'
    yield '        {NULL, NULL},\n};'


if __name__ == '__main__':
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print('\n'.join(table(*read(pathlib.Path(sys.argv[1]).read_text(encoding='utf-8')))))
