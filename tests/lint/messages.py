#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every error sentence that the programs can print has an entry in csi/cli/messages.md, which `berth-csi explain`
answers out of, and no entry is for a sentence that nobody prints any more.

The sentences are the formats of error_set(), error_set_errno() and of what calls them with a format of its own. In the
document an entry's sentences are its lines that start with "- `"; "…" stands for what differs from case to case. An
entry may be for any other text of the programs too: a line of the log, a volume's condition, an answer of /healthz.
--list prints the sentences, --missing those without an entry.
"""

import pathlib
import re
import sys

SOURCE = pathlib.Path(__file__).resolve().parents[2]
GUIDE = SOURCE / 'csi' / 'cli' / 'messages.md'
CALL = re.compile(r'\b(error_set|error_set_errno)\s*\(')
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
CHARACTER = re.compile(r"'(?:[^'\\]|\\.[0-7]*)'")
# Neighbours are one; between them the conversions of <inttypes.h>.
LITERAL = re.compile(r'"(?:[^"\\]|\\.)*"(?:\s*(?:PRI[a-zA-Z0-9]+\s*)?"(?:[^"\\]|\\.)*")*')
COMMENT = re.compile(r'/\*.*?\*/', re.DOTALL)
PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|\b[A-Z_a-z][A-Z_a-z0-9]*\b')
# A conversion of PRIu64 and the like has become "%%s" here.
CONVERSION = re.compile(r'%(?=%s)|%[-+ #0]*(?:\d+|\*)?(?:\.(?:\d+|\*))?(?:hh|h|ll|l|z|j|t)?[diouxXcspm%]')
# With fewer letters it is another's sentence with a name before it; and an entry would stand for everything.
LETTERS = 4


def arguments(text, start):
    """Top-level arguments of the call whose "(" is before start."""
    found, depth, at, begin = [], 1, start, start
    while depth:
        if text[at] == '"':
            at = STRING.match(text, at).end()
            continue
        if text[at] == "'":
            at = CHARACTER.match(text, at).end()
            continue
        if text[at] in '([{':
            depth += 1
        elif text[at] in ')]}':
            depth -= 1
        elif text[at] == ',' and depth == 1:
            found.append(text[begin:at])
            begin = at + 1
        at += 1
    found.append(text[begin:at - 1])
    return found


def formats(text):
    """Sentences of all calls in a C source, with … for what differs."""
    text = COMMENT.sub('', text)
    for call in CALL.finditer(text):
        words = arguments(text, call.end())
        if len(words) < 3:
            continue
        if '"' not in words[2]:
            continue  # a format that is passed on; its origin is found by itself
        if call[1] == 'error_set':
            ending = ''
        else:
            ending = ': Cannot allocate memory' if words[1].strip() in ('ENOMEM', '-ENOMEM') else ': %s'
        # Either of two formats: both are sentences. A name between strings is a macro's text.
        choice = '?' in STRING.sub('', words[2])
        pieces = STRING.findall(words[2]) if choice else [
            ''.join(one[1:-1] if one[0] == '"' else '%s' for one in PIECE.findall(words[2]))]
        for one in pieces:
            sentence = plain(one + ending)
            if len(re.sub(r'[^A-Za-z]', '', sentence)) >= LETTERS:
                yield sentence


def plain(text):
    text = CONVERSION.sub(lambda m: '%' if m[0] == '%%' else '…', text)
    return re.sub(r'…(?:\s*…)*', '…', text.replace('\\"', '"').replace('\\n', ' ')).strip()


def texts(text):
    """All other text in a C source, likewise."""
    for literal in LITERAL.finditer(COMMENT.sub('', text)):
        yield plain(''.join(one[1:-1] if one[0] == '"' else '%s' for one in PIECE.findall(literal[0])))


def sources():
    for room in ('common', 'fs', 'csi', 'cni'):
        for path in sorted((SOURCE / room).rglob('*.c')):
            if not path.name.startswith('test-') and '/test' not in str(path.relative_to(SOURCE)):
                yield path


def sentences():
    """{sentence: the first file that prints it}."""
    found = {}
    for path in sources():
        for sentence in formats(path.read_text()):
            found.setdefault(sentence, str(path.relative_to(SOURCE)))
    return found


def entries():
    """[(line number, sentence, what matches it)]."""
    found = []
    for number, line in enumerate(GUIDE.read_text().splitlines(), 1):
        match = re.match(r'- `` ?(.+?) ?``|- `(.+?)`', line)
        if match:
            text = match[1] or match[2]
            expression = '.*'.join(re.escape(one) for one in text.split('…'))
            found.append((number, text, re.compile(expression + r'\Z', re.DOTALL)))
    return found


def main():
    known = sentences()
    if '--list' in sys.argv:
        print('\n'.join(f'{path}: {text}' for text, path in sorted(known.items(), key=lambda one: one[::-1])))
        return 0
    bad, used = [], set()
    listed = entries()
    for text, path in sorted(known.items(), key=lambda one: one[::-1]):
        matching = [number for number, _, expression in listed if expression.match(text)]
        used.update(matching)
        if not matching:
            bad.append(f'{path}: no entry for "{text}"')
    others = {text for path in sources() for text in texts(path.read_text())}
    for number, text, expression in listed:
        if number not in used and not any(expression.match(one) for one in others):
            bad.append(f'{GUIDE.name}:{number}: nobody prints "{text}"')
        if len(re.sub(r'[^A-Za-z]', '', text)) < LETTERS - 1:
            bad.append(f'{GUIDE.name}:{number}: "{text}" says too little')
    print('\n'.join(bad))
    return 1 if bad or not known else 0


if __name__ == '__main__':
    sys.exit(main())
