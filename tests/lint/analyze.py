#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""analyze.py tidy|gcc BUILD_DIRECTORY [FILE...]: clang-tidy, or gcc -fanalyzer, on every source of the build.

Two files at a time; a file that was clean is not looked at again until it, a header of ours that it includes, its
command line or the configuration changes. What was clean is remembered in BUILD_DIRECTORY/analyze/.

The paths of clang-tidy's static analyzer take nine tenths of its time, and gcc's analyzer walks them too. They are
looked at in what the last commits changed, and in a seventh of the rest, another one each day; with
BERTH_ANALYZE_EVERY=1, which ./check --all sets, and in files that are named, all of them.
"""

import concurrent.futures
import datetime
import hashlib
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import zlib

SOURCE = pathlib.Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 900
EVERY = int(os.environ.get('BERTH_ANALYZE_EVERY', '7'))
COMMITS = 10

# gcc 12's analyzer loses memory that is linked into a list or handed out; LeakSanitizer watches leaks in ./check.
# And it takes variables that are set where they are declared for unset once functions are inlined; clang-tidy does not.
GCC_OFF = ['-Wno-analyzer-malloc-leak', '-Wno-analyzer-use-of-uninitialized-value']


def is_test(path):
    return path.name.startswith(('test-', 'fuzz-')) or path.is_relative_to(SOURCE / 'tests')


def commands(build):
    """(source path, what the preprocessor and the language need of its command line) of each of our sources, once."""
    seen = set()
    for entry in json.loads((build / 'compile_commands.json').read_text(encoding='utf-8')):
        path = (pathlib.Path(entry['directory']) / entry['file']).resolve()
        if path in seen or path.is_relative_to(build) or not path.is_relative_to(SOURCE):
            continue
        seen.add(path)
        words = shlex.split(entry['command'])[1:]
        kept = [word for word in words if word.startswith(('-I', '-isystem', '-D', '-U', '-std='))]
        yield path, [word for word in kept if 'FORTIFY_SOURCE' not in word]


def own_files(build, path, arguments):
    """The source and our headers that it includes."""
    done = subprocess.run(['cc', *arguments, '-w', '-MM', str(path)], cwd=build,
                          capture_output=True, text=True)
    if done.returncode != 0:
        return None
    names = done.stdout.split(':', 1)[1].replace('\\\n', ' ').split()
    return sorted({(build / name).resolve() for name in names})


def digest(build, path, arguments):
    names = own_files(build, path, arguments)
    if names is None:
        return None
    value = hashlib.sha256(f'{arguments}'.encode())
    for name in [SOURCE / '.clang-tidy', *names]:
        value.update(name.read_bytes())
    return value.hexdigest()


def changed():
    """What git says that the working tree and the last commits changed; nothing where there is no git."""
    names = set()
    for command in (['diff', '--name-only', 'HEAD'], ['log', f'-{COMMITS}', '--name-only', '--format=']):
        done = subprocess.run(['git', *command], cwd=SOURCE, capture_output=True, text=True)
        names |= set(done.stdout.split('\n')) if done.returncode == 0 else set()
    return {SOURCE / name for name in names if name}


def has_turn(path, recent):
    """Whether the static analyzer looks at it today."""
    if path in recent or path.with_suffix('.h') in recent:
        return True
    day = datetime.date.today().toordinal()
    return (zlib.crc32(str(path.relative_to(SOURCE)).encode()) + day) % EVERY == 0


def tidy(build, path, arguments):
    return ['clang-tidy', '--quiet', str(path), '--', *arguments, f'-working-directory={build}']


def tidy_quick(build, path, arguments):
    return ['clang-tidy', '--checks=-clang-analyzer-*', *tidy(build, path, arguments)[1:]]


def gcc(_build, path, arguments):
    return ['gcc', *arguments, '-O1', '-fanalyzer', *GCC_OFF, '-S', '-o', '/dev/null', str(path)]


def look(tool, build, cache, path, arguments):
    key = digest(build, path, arguments)
    if key is None:
        return f'{path}: cannot be preprocessed\n'
    mark = cache / f'{tool.__name__}-{key}'
    if mark.exists() or (tool is tidy_quick and (cache / f'tidy-{key}').exists()):
        return ''
    done = subprocess.run(tool(build, path, arguments), cwd=build, capture_output=True, text=True,
                          timeout=DEADLINE_SECONDS)
    text = done.stdout + done.stderr
    bad = done.returncode != 0 or 'warning:' in text or 'error:' in text
    if bad:
        return text
    mark.touch()
    return ''


def main():
    tool = {'tidy': tidy, 'gcc': gcc}[sys.argv[1]]
    program = {'tidy': 'clang-tidy', 'gcc': 'gcc'}[sys.argv[1]]
    build = pathlib.Path(sys.argv[2]).resolve()
    wanted = {pathlib.Path(name).resolve() for name in sys.argv[3:]}
    if shutil.which(program) is None:
        print(f'skipped: no {program}')
        return 77
    cache = build / 'analyze'
    cache.mkdir(exist_ok=True)
    failed = 0
    recent = changed() if tool is tidy else set()

    def tool_of(path):
        return tidy_quick if tool is tidy and not wanted and not has_turn(path, recent) else tool

    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get('ANALYZE_JOBS', '2'))) as pool:
        waiting = {pool.submit(look, tool_of(path), build, cache, path, arguments): path
                   for path, arguments in commands(build)
                   # A test may use memory it did not check: it ends there, and that is its answer.
                   if (path in wanted or not wanted) and not (tool is gcc and is_test(path))}
        for future in concurrent.futures.as_completed(waiting):
            text = future.result()
            if text:
                failed += 1
                print(text, flush=True)
    print(f'{len(waiting)} files, {failed} with findings')
    return 1 if failed or not waiting else 0


if __name__ == '__main__':
    sys.exit(main())
