# SPDX-License-Identifier: Apache-2.0
"""Control groups belong to no namespace: those of a test are all below a name of its own, and swept by that name."""

import glob
import os
import pathlib
import signal
import time

PREFIX = 'berth-test-'
NAME = f'{PREFIX}{os.getpid()}'


def sweep(name=PREFIX + '*'):
    """Removes groups of that name in every hierarchy, and ends what runs there in this pid namespace."""
    for top in glob.glob(f'/sys/fs/cgroup/{name}') + glob.glob(f'/sys/fs/cgroup/*/{name}'):
        for path, _, _ in os.walk(top, topdown=False):
            try:
                for pid in pathlib.Path(path, 'cgroup.procs').read_text().split():
                    if pid != '0':  # that is one of another pid namespace
                        os.kill(int(pid), signal.SIGKILL)
            except OSError:
                pass
            for _ in range(50):
                try:
                    os.rmdir(path)
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.02)  # the last process is still going
