# SPDX-License-Identifier: Apache-2.0
"""The manual pages, --help and the completions name the same commands and flags; what is said of exit codes is so."""

import pathlib
import re
import shutil
import subprocess

import pytest

MAN = pathlib.Path(__file__).resolve().parents[2] / 'man'

# What --help of each command lists is described in this page.
HELP = [
    ('csi/berth-csi', ['serve', '--help'], 'berth-csi.8'),
    ('csi/berth-csi', ['host', '--help'], 'berth-csi.8'),
    ('csi/berth-csi', ['fs', 'check', '--help'], 'berth-csi.8'),
    ('csi/berth-csi', ['fs', 'plan', '--help'], 'berth-csi.8'),
    ('csi/berth-csi', ['--help'], 'berth-csi.8'),
    ('cni/berth-cni', ['--help'], 'berth-cni.8'),
    ('cni/berth-cni', ['install', '--help'], 'berth-cni.8'),
    ('cni/berth-cni', ['gc', '--help'], 'berth-cni.8'),
    ('cni/berth-node', ['--help'], 'berth-node.8'),
]


@pytest.fixture(autouse=True)
def programs(build):
    for program in ('csi/berth-csi', 'cni/berth-cni', 'cni/berth-node'):
        if not (build / program).exists():
            pytest.skip(f'{program} is not built')


def run(build, program, *argv):
    return subprocess.run([build / program, *argv], capture_output=True, text=True, timeout=30)


def flags_of_help(build, program):
    found = set()
    for other, argv, _ in HELP:
        if other == program:
            done = run(build, program, *argv)
            assert done.returncode == 0, f'{program} {argv}: {done.stderr}'
            assert done.stdout and not done.stderr
            found |= set(re.findall(r'--([a-z][a-z0-9-]+)', done.stdout))
    return found


def flags_of_man(page):
    text = (MAN / page).read_text(encoding='ascii')
    return set(re.findall(r'\bFl -([a-z][a-z0-9-]+)', text))


@pytest.mark.parametrize('program, page', [('csi/berth-csi', 'berth-csi.8'), ('cni/berth-cni', 'berth-cni.8'),
                                           ('cni/berth-node', 'berth-node.8')])
def test_same_flags(build, program, page):
    in_help, in_man = flags_of_help(build, program), flags_of_man(page)
    # A switch has its "no-" form in the text of either.
    both = in_help | in_man
    switches = {f'no-{name}' for name in both}
    assert in_help - in_man - switches == set(), 'not in the page'
    assert in_man - in_help - switches == set(), 'not in --help'


def test_commands_are_in_the_page(build):
    for program, page in (('csi/berth-csi', 'berth-csi.8'), ('cni/berth-cni', 'berth-cni.8'),
                          ('cni/berth-node', 'berth-node.8')):
        text = (MAN / page).read_text(encoding='ascii')
        usage = run(build, program, '--help').stdout
        for command in re.findall(r'^(?:  |(?:Usage:| +) +berth-(?:csi|cni|node) )([a-z]+) ', usage, re.M):
            assert f'Cm {command}' in text, f'{command} is not in {page}'


@pytest.mark.parametrize('argv', [['nonsense'], ['serve', '--nonsense'], ['serve', '--health-port=x'], ['--nonsense']])
def test_wrong_usage_is_64(build, argv):
    done = run(build, 'csi/berth-csi', *argv)
    assert done.returncode == 64
    assert done.stderr and not done.stdout


# Asks the shell itself: the words before the cursor, and what it offers there.
BASH = r'''source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
    $(complete -p "$1" | sed 's/.* -F \([^ ]*\) .*/\1/'); printf '%s\n' "${COMPREPLY[@]}"'''
FISH = 'source $argv[1]; complete -C (string join -- " " $argv[2..-1])'
# zsh offers only at a terminal: what is given to its _arguments is taken instead.
ZSH = r'''_arguments() { print -rl -- $@ }; file=$1; shift; words=($@) CURRENT=$#; source $file'''


def complete(build, shell, *words):
    """What @shell offers at the end of @words."""
    name = words[0]
    path = build / 'man' / {'bash': name, 'fish': f'{name}.fish', 'zsh': f'_{name}'}[shell]
    argv = {'bash': ['bash', '--norc', '-c', BASH, 'bash', path, *words],
            'fish': ['fish', '-N', '-c', FISH, path, *words],
            'zsh': ['zsh', '-f', '-c', ZSH, 'zsh', path, *words]}[shell]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return set(re.findall(r'^[*]?([a-z-][a-z0-9-]*)', done.stdout, re.M))


@pytest.fixture(name='shell', params=('bash', 'fish', 'zsh'))
def shell_fixture(request):
    if not shutil.which(request.param):
        pytest.skip(f'no {request.param}')
    return request.param


@pytest.mark.parametrize('program, command', sorted({(program, tuple(argv[:-1])) for program, argv, _ in HELP}))
def test_completed_is_what_help_says(build, shell, program, command):
    offered = complete(build, shell, program.split('/')[1], *command, '--')
    text = run(build, program, *command, '--help').stdout
    flags = set(re.findall(r'^ +(--[a-z][a-z0-9-]+)', text, re.M))
    if not command and 'node' not in program:
        flags = {'--help', '--version'}
    assert flags and flags <= offered | {'--no-' + flag[2:] for flag in offered}, sorted(flags - offered)


WRONG = [
    ('csi/berth-csi', [], 'what to do is missing'),
    ('csi/berth-csi', ['pol'], 'unknown command "pol"; did you mean pool?'),
    ('csi/berth-csi', ['nosuch'], 'unknown command "nosuch"\n'),
    ('csi/berth-csi', ['help', 'pol'], 'did you mean pool?'),
    ('csi/berth-csi', ['serve', '--provder=local'], 'unknown flag --provder; did you mean --provider?'),
    ('csi/berth-csi', ['--provder=local'], 'did you mean --provider?'),
    ('csi/berth-csi', ['serve', 'x'], 'unexpected argument "x"'),
    ('csi/berth-csi', ['pool', 'init'], 'the directory is missing'),
    ('csi/berth-csi', ['pool'], 'what to do is missing'),
    ('csi/berth-csi', ['pool', 'init', '/x', '/y'], 'unexpected argument /y'),
    ('csi/berth-csi', ['host', '--jsno'], 'did you mean --json?'),
    ('csi/berth-csi', ['fs'], 'expected check or plan'),
    ('csi/berth-csi', ['fs', 'cheek'], 'did you mean check?'),
    ('csi/berth-csi', ['fs', 'check', '--sector', '5', 'x'], '--sector: "5", expected a power of two'),
    ('csi/berth-csi', ['fs', 'plan'], '--type is missing'),
    ('csi/berth-csi', ['fs', 'plan', '--size', 'x'], '--size: "x", expected a size such as 100Gi'),
    ('cni/berth-cni', ['stauts'], 'unknown command "stauts"; did you mean status?'),
    ('cni/berth-cni', ['uninstall'], 'unknown command "uninstall"; did you mean install --uninstall?'),
    ('cni/berth-cni', ['unistall'], 'did you mean install --uninstall?'),
    ('cni/berth-cni', ['gc'], 'the network is missing'),
    ('cni/berth-cni', ['gc', '--keep', 'x', 'net'], '--keep: "x", expected ID/IFNAME'),
    ('cni/berth-cni', ['install', '--subnets=1'], 'did you mean --subnet?'),
    ('cni/berth-cni', ['install', '--subnet'], '--subnet: its value is missing'),
    ('cni/berth-node', ['install'], 'unknown command "install"\n'),
    ('cni/berth-node', ['subnet'], 'unknown command "subnet"; did you mean subnets?'),
    ('cni/berth-node', ['--mtuu=9000'], 'did you mean --mtu?'),
    ('cni/berth-node', ['--stay=yes'], '--stay takes no value'),
]


@pytest.mark.parametrize('program, argv, words', WRONG, ids=[' '.join([p[4:], *a]) for p, a, _ in WRONG])
def test_wrong_usage(build, program, argv, words):
    """One exit code in all programs, what is wrong in words, and where to read on."""
    done = run(build, program, *argv)
    name = program.split('/')[1]
    assert done.returncode == 64 and not done.stdout, done
    assert done.stderr.startswith(name) and words in done.stderr, done.stderr
    assert re.search(rf'^Try: {name}( [a-z]+)* --help$', done.stderr, re.M), done.stderr


@pytest.mark.parametrize('program', ['csi/berth-csi', 'cni/berth-cni', 'cni/berth-node'])
def test_help_and_version_are_words_too(build, program):
    name = program.split('/')[1]
    for words, flag in (('help', '--help'), ('version', '--version')):
        done = run(build, program, words)
        assert done.returncode == 0 and done.stdout == run(build, program, flag).stdout and not done.stderr
    assert re.fullmatch(rf'{name} \d+\.\d+\.\d+\n', run(build, program, 'version').stdout)
    assert run(build, 'csi/berth-csi', 'help', 'fs').stdout == run(build, 'csi/berth-csi', 'fs', '--help').stdout
