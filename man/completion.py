#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the completion of one program for one shell, from the program's manual page.

    completion.py bash|zsh|fish PAGE > FILE

Commands and short forms come from SYNOPSIS. Flags come from the lists of the sections "OPTIONS", "Options of ..." and
"Flags of ...": the first sentence of an item describes it, its .Ar says what its value is (directory, file), and the
.Cm words after it are values that can be chosen.
"""
import dataclasses
import pathlib
import re
import sys

FILES = {'file', 'device', 'path', 'socket'}


@dataclasses.dataclass(frozen=True)
class Flag:
    name: str
    value: str = ''  # what .Ar calls it; '': a switch
    words: tuple = ()
    text: str = ''
    only: tuple = ()  # the commands that its text begins with: "gc, status: ..."


HELP, VERSION = Flag('help', text='print a help text'), Flag('version', text='print the version')


def plain(line, program):
    """A line of mdoc without its macros."""
    if line.startswith('.'):
        line = re.sub(r'\b(Ns|No|Pq|Dq|Sq|Ql|Cm|Ar|Ev|Pa|Dv|Er|Xr) ', '', line[1:])
        line = re.sub(r'^Nm(?= |$)( berth)?', lambda found: 'berth' if found[1] else program, line)
        line = re.sub(r'\bFl -', '--', line)
    return re.sub(r' ([,.:;)])', r'\1', line).strip()


def flag_of(item, lines, program):
    """@item: 'Fl -name Ar value' or 'Fl -name Cm one | other'; its text is the first sentence of @lines."""
    found = re.match(r'Fl -([a-z-]+)(?: (Ar|Cm) (.*))?', item)
    words = re.findall(r'[a-z0-9]+', found[3]) if found[2] == 'Cm' else []
    value = {'Cm': 'word', 'Ar': (found[3] or '').split(' ')[0]}.get(found[2], '')
    for line in lines:
        # A list of names that goes over lines.
        if value and line.count(' , ') >= 3 and line.startswith('.Cm '):
            words += re.findall(r'[a-z0-9]+', line[4:])
    text = ' '.join(plain(line, program) for line in lines)
    only, text = re.fullmatch(r'(?:((?:[a-z]+, )*[a-z]+): )?(.*)', text).groups()
    sentence = re.split(r'(?<=[^ ][.]) ', text)[0]
    return Flag(found[1], value, tuple(words), sentence, tuple(only.split(', ')) if only else ())


def flags_of(lines, program):
    """Of a section's list; and, before it, the names of those that another section describes."""
    text = '\n'.join(lines)
    before, *parts = re.split(r'^\.It ', text, flags=re.M)
    flags = [Flag(name) for name in re.findall(r'^\.Fl -([a-z-]+)', before, re.M)]
    heads = []
    for part in parts:
        head, *rest = re.split(r'^\.(?:El|Bl).*', part, flags=re.M)[0].splitlines()
        heads += head.split(' , ')
        if rest:  # what has no text shares the next one's
            flags += [flag_of(item, rest, program) for item in heads if item.startswith('Fl ')]
            heads = []
    return flags


def sections_of(page):
    sections, title = {}, ''
    for line in page.read_text().splitlines():
        found = re.match(r'\.S[hs] (.*)', line)
        if found:
            title = found[1]
        else:
            sections.setdefault(title, []).append(line)
    return sections


def read(page):
    """Return: the program's name, and its flags by command; '' is the program without one."""
    sections, commands, program = sections_of(page), {}, page.stem
    for form in '\n'.join(sections['SYNOPSIS']).split('.Nm\n')[1:]:
        named = re.match(r'\.Cm (.*)', form)
        for name in named[1].split(' | ') if named else ['']:
            commands.setdefault(name, [HELP] if named else [HELP, VERSION]).extend(
                Flag(*found) for found in re.findall(r'Fl -([a-z-]+)(?: Ar ([a-z]+))?', form))
    for name in list(commands):
        commands.setdefault(name.split(' ')[0], [HELP])
    for title, lines in sections.items():
        found = re.match(r'(?:Options|Flags) of (.*)', title)
        names = re.split(r', | and ', found[1]) if found else list(commands) if title == 'OPTIONS' else []
        for flag in flags_of(lines, program) if names else ():
            for name in flag.only or names:
                commands[name].append(flag)
    known = {flag.name: flag for flags in commands.values() for flag in flags if flag.text}
    for name, flags in commands.items():
        own = {flag.name: flag for flag in flags if flag.text}
        commands[name] = [own.get(one, known.get(one)) for one in sorted({flag.name for flag in flags}) if one in known]
    return program, dict(sorted(commands.items()))


def next_words(commands, command):
    """What may follow @command: the first words of commands after '', their second ones after the first."""
    before = f'{command} ' if command else ''
    return sorted({name[len(before):].split(' ')[0] for name in commands
                   if name.startswith(before) and name != command})


def all_flags(commands):
    return sorted({flag for flags in commands.values() for flag in flags}, key=lambda flag: (flag.name, flag.text))


def walk(commands, words):
    """The lines of a shell that find the command among @words."""
    yield f'    for word in {words}; do'
    yield '        case $command:$word in'
    for command in commands:
        if command:
            first, _, second = command.rpartition(' ')
            yield f"        '{first}:{second}') command='{command}' ;;"
    yield '        esac'
    yield '    done'
    yield '    case $command in'


def bash(name, commands):
    function = f'_{name.replace("-", "_")}'
    yield f'# Completion of {name} for bash, made from {name}(8).'
    yield f'{function}() {{'
    yield '    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}'
    yield '    local command="" word words'
    yield '    COMPREPLY=()'
    yield '    case $previous in'
    for flag in all_flags(commands):
        if not flag.value:
            continue
        how = ('-d' if flag.value == 'directory' else '-f' if flag.value in FILES else f'-W "{" ".join(flag.words)}"')
        yield f'    --{flag.name}) mapfile -t COMPREPLY < <(compgen {how} -- "$current"); return ;;'
    yield '    esac'
    yield from walk(commands, '"${COMP_WORDS[@]:1:COMP_CWORD-1}"')
    for command, flags in commands.items():
        words = next_words(commands, command) + [f'--{flag.name}' for flag in flags]
        yield f"    '{command}') words='{' '.join(words)}' ;;"
    yield '    esac'
    yield '    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")'
    yield '    [[ $current == -* || ${#COMPREPLY[@]} -gt 0 ]] || mapfile -t COMPREPLY < <(compgen -f -- "$current")'
    yield '}'
    yield f'complete -o filenames -F {function} {name}'


def quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


def zsh_flag(flag):
    value = f':{flag.value}:' if flag.value else ''
    if flag.words:
        value += f'({" ".join(flag.words)})'
    elif flag.value:
        value += '_directories' if flag.value == 'directory' else '_files' if flag.value in FILES else ' '
    return quoted(f'*--{flag.name}[' + re.sub(r'([\[\]:\\])', r'\\\1', flag.text) + f']{value}')


def zsh(name, commands):
    yield f'#compdef {name}'
    yield f'# Completion of {name} for zsh, made from {name}(8).'
    yield 'local command="" word'
    yield from walk(commands, '${words[2,CURRENT-1]}')
    for command, flags in commands.items():
        words = next_words(commands, command)
        yield f"    '{command}')"
        yield '        _arguments \\'
        for flag in flags:
            yield f'            {zsh_flag(flag)} \\'
        yield '            ' + (f"'*:command:({' '.join(words)})'" if words else "'*:file:_files'") + ' ;;'
    yield '    esac'


def fish(name, commands):
    yield f'# Completion of {name} for fish, made from {name}(8).'
    firsts = ' '.join(next_words(commands, ''))
    when = {'': f'not __fish_seen_subcommand_from {firsts}'}
    for command in next_words(commands, ''):
        when[command] = f'__fish_seen_subcommand_from {command}'
    for command in commands:
        if ' ' in command:
            parts = '; and '.join(f'__fish_seen_subcommand_from {word}' for word in command.split(' '))
            when[command] = f'begin; {parts}; end'
    for command in commands:
        for word in next_words(commands, command):
            yield f"complete -c {name} -f -n '{when[command]}; and not __fish_seen_subcommand_from {word}' -a {word}"
    for flag in all_flags(commands):
        where = [when[command] for command, flags in commands.items() if flag in flags]
        condition = '' if len(where) == len(commands) else f" -n '{'; or '.join(where)}'"
        value = ''
        if flag.words:
            value = f" -x -a '{' '.join(flag.words)}'"
        elif flag.value:
            value = ' -r' if flag.value in FILES else ' -x'
            if flag.value == 'directory':
                value += " -a '(__fish_complete_directories)'"
        text = flag.text.replace('\\', '\\\\').replace("'", "\\'")
        yield f"complete -c {name}{condition} -l {flag.name}{value} -d '{text}'"


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ('bash', 'zsh', 'fish'):
        sys.exit(__doc__)
    name, commands = read(pathlib.Path(sys.argv[2]))
    print('\n'.join({'bash': bash, 'zsh': zsh, 'fish': fish}[sys.argv[1]](name, commands)))


if __name__ == '__main__':
    main()
