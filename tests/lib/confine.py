#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""confine.py PROFILE PROGRAM [ARGUMENT...]: runs a program under a seccomp profile in the form of the OCI runtimes.

What the profile does not allow kills the whole process, also where a runtime would only answer EPERM: nothing that is
missing goes unseen. Names that this machine's libseccomp does not know are left out, as runtimes do, but for those that
have the same number everywhere.
"""

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
    for group in profile['syscalls']:
        assert group['action'] == 'SCMP_ACT_ALLOW' and set(group) <= {'names', 'action', 'comment'}, group
        for name in group['names']:
            try:
                rules.add_rule(seccomp.ALLOW, name)
            except (RuntimeError, ValueError, OSError):
                if name in NUMBERS:
                    rules.add_rule(seccomp.ALLOW, NUMBERS[name])
    rules.load()


def main():
    load(sys.argv[1])
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == '__main__':
    main()
