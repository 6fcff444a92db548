#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""confine.py PROFILE PROGRAM [ARGUMENT...]: runs a program under a seccomp profile in the form of the OCI runtimes.

What the profile does not allow kills the whole process, also where a runtime would only answer ENOSYS: nothing that is
missing goes unseen. But for clone3, which every libc tries first and is answered ENOSYS. Names that this machine's
libseccomp does not know are left out, as runtimes do, but for those that have the same number everywhere.
"""

import errno
import json
import os
import sys

import seccomp

# Newer than the libseccomp of a distribution may be.
NUMBERS = {'fchmodat2': 452, 'statmount': 457, 'listmount': 458}


def load(path):
    with open(path, encoding='utf-8') as file:
        profile = json.load(file)
    assert profile['defaultAction'] == 'SCMP_ACT_ERRNO', profile['defaultAction']
    rules = seccomp.SyscallFilter(defaction=seccomp.KILL_PROCESS)
    rules.add_rule(seccomp.ERRNO(errno.ENOSYS), 'clone3')
    for group in profile['syscalls']:
        assert group['action'] == 'SCMP_ACT_ALLOW', group
        assert set(group) <= {'names', 'action', 'comment', 'args'}, group
        arguments = [seccomp.Arg(one['index'], getattr(seccomp, one['op'].removeprefix('SCMP_CMP_')), one['value'],
                                 one['valueTwo']) for one in group.get('args', [])]
        for name in group['names']:
            try:
                rules.add_rule(seccomp.ALLOW, name, *arguments)
            except (RuntimeError, ValueError, OSError):
                if name in NUMBERS:
                    rules.add_rule(seccomp.ALLOW, NUMBERS[name])
    rules.load()


def main():
    load(sys.argv[1])
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == '__main__':
    main()
