# SPDX-License-Identifier: Apache-2.0
"""A world of its own for each test.

A Workspace is one directory of one test run; it is locked for as long as the run lives, so that the next run knows
what was left behind by one that was killed. run() forks a child into new pid, mount, network, UTS and IPC namespaces
and calls a function there. Whatever the function leaves (processes, mounts, links) dies with the pid namespace, also
when the run itself is killed with SIGKILL. Loop devices belong to no namespace: they are found by their backing file,
which lies below the workspace, and detached when the child has gone or when the next run starts.
"""

import ctypes
import fcntl
import os
import pathlib
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

PREFIX = 'berth-test-'
# A workspace without a lock file is one being made, unless it is this old.
UNLOCKED_SECONDS = 3600

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
MS_REC = 0x4000
MS_BIND = 0x1000
MS_PRIVATE = 1 << 18
PR_SET_PDEATHSIG = 1
LOOP_CLR_FD = 0x4C01
LOOP_GET_STATUS64 = 0x4C05

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result, what):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f'{what}: {os.strerror(number)}')


def unshare(flags):
    _check(_libc.unshare(flags), 'unshare')


def mount(source, target, fstype=None, flags=0, data=None):
    def text(value):
        return None if value is None else os.fsencode(value)
    _check(_libc.mount(text(source), text(target), text(fstype), ctypes.c_ulong(flags), text(data)),
           f'mount {source} on {target}')


def umount(target, flags=0):
    _check(_libc.umount2(os.fsencode(target), flags), f'umount {target}')


def _die_with_parent():
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), 'prctl')


# --- loop devices ---

def backing_file(name):
    """Path of the file behind /dev/NAME, as seen from here; '' if there is none."""
    try:
        with open(f'/sys/block/{name}/loop/backing_file', 'rb') as file:
            return os.fsdecode(file.read().rstrip(b'\n'))
    except OSError:
        return ''


def _backing_device(name):
    """Number of the device with the filesystem that holds the file behind /dev/NAME, or None."""
    try:
        fd = os.open(f'/dev/{name}', os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        info = bytearray(232)
        fcntl.ioctl(fd, LOOP_GET_STATUS64, info)
        return int.from_bytes(info[0:8], sys.byteorder)
    except OSError:
        return None
    finally:
        os.close(fd)


def _detach(name):
    try:
        fd = os.open(f'/dev/{name}', os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.ioctl(fd, LOOP_CLR_FD)
    except OSError:
        pass
    finally:
        os.close(fd)


def loops_below(directory):
    """Names of loop devices whose backing file lies below directory, those on top of others first."""
    prefix = os.path.realpath(directory) + '/'
    backing = {name: backing_file(name) for name in os.listdir('/sys/block') if name.startswith('loop')}
    ours = [name for name, path in backing.items() if path.startswith(prefix)]
    if not ours:
        return []  # nor any on top of them; a device that somebody is detaching stays while others have it open
    # A file in a filesystem that is on one of our devices: its path starts at the root of that filesystem.
    rest = {name: _backing_device(name) for name, path in backing.items() if path and name not in ours}
    grew = True
    while grew:
        grew = False
        devices = {os.stat(f'/dev/{name}').st_rdev for name in ours}
        for name, device in rest.items():
            if name not in ours and device in devices:
                ours.append(name)
                grew = True
    return ours[::-1]


def detach_below(directory, seconds=5.0):
    """Detaches them; an unmount that is still under way in a dying namespace keeps one busy for a moment."""
    end = time.monotonic() + seconds
    while True:
        names = loops_below(directory)
        if not names:
            return []
        for name in names:
            _detach(name)
        if time.monotonic() > end:
            return loops_below(directory)
        time.sleep(0.02)


# --- the workspace of one run ---

def base_directory():
    return os.environ.get('BERTH_TEST_DIR', '/var/tmp')


class Workspace:
    def __init__(self):
        sweep()
        self.path = pathlib.Path(tempfile.mkdtemp(prefix=PREFIX, dir=base_directory()))
        self.path.chmod(0o755)
        self._lock = os.open(self.path / '.alive', os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._owner = os.getpid()
        self._n = 0

    def directory(self, name):
        self._n += 1
        clean = ''.join(c if c.isalnum() or c in '-_' else '-' for c in name)[:40]
        path = self.path / f'{self._n:03d}-{clean}'
        path.mkdir(mode=0o755)
        return path

    def close(self):
        if os.getpid() != self._owner:
            return
        left = detach_below(self.path)
        if left:
            print(f'sandbox: could not detach {" ".join(left)}', file=sys.stderr)
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def lives(path):
    """Whether a process of the run with this workspace is there: children hold the lock too, up to their very end."""
    fd = os.open(os.path.join(path, '.alive'), os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(fd)


def sweep():
    """Removes what runs that are dead by now have left: their loop devices and their directories."""
    for entry in os.scandir(base_directory()):
        if not entry.name.startswith(PREFIX) or not entry.is_dir(follow_symlinks=False):
            continue
        try:
            if lives(entry.path):
                continue
        except OSError:
            try:
                age = time.time() - entry.stat(follow_symlinks=False).st_mtime
            except FileNotFoundError:
                continue  # its run ended meanwhile
            if age > UNLOCKED_SECONDS:
                shutil.rmtree(entry.path, ignore_errors=True)
            continue
        detach_below(entry.path)
        shutil.rmtree(entry.path, ignore_errors=True)


# --- one child in namespaces of its own ---

def _private_system():
    """Mounts that show the new namespaces, and a /run of its own."""
    mount(None, '/', None, MS_REC | MS_PRIVATE)
    mount('proc', '/proc', 'proc')
    cgroup = os.path.ismount('/sys/fs/cgroup')
    mount('tmpfs', '/run', 'tmpfs', 0, 'mode=755')
    if cgroup:
        os.mkdir('/run/cgroup')
        mount('/sys/fs/cgroup', '/run/cgroup', None, MS_BIND | MS_REC)
    mount('sysfs', '/sys', 'sysfs')
    if cgroup:
        mount('/run/cgroup', '/sys/fs/cgroup', None, MS_BIND | MS_REC)
        umount('/run/cgroup', 2)  # MNT_DETACH
    for name in ('netns', 'lock'):
        os.mkdir(f'/run/{name}')
    subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)


def _init(function, directory, parent_alive):
    """Process 1 of the new pid namespace: starts the function, reaps orphans, ends with its status."""
    _die_with_parent()
    if select.select([parent_alive], [], [], 0)[0]:
        os._exit(70)  # the parent died before the line above
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _private_system()
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            null = os.open('/dev/null', os.O_RDONLY)
            os.dup2(null, 0)
            os.environ['TMPDIR'] = str(directory)
            tempfile.tempdir = None
            os.chdir(directory)
            function()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    while True:
        child, status = os.wait()
        if child == pid:
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _middle(function, directory):
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID)
    alive, held = os.pipe()
    init = os.fork()
    if init == 0:
        os.close(held)
        try:
            _init(function, directory, alive)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(70)
    # SIGTERM ends the namespace, and this process only after it: nothing of it is left then.
    signal.signal(signal.SIGTERM, lambda *_: os.kill(init, signal.SIGKILL))
    _, status = os.waitpid(init, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def run(function, directory, deadline_seconds):
    """Calls function in a sandbox; returns its exit status: 0, or 124 when the deadline passed."""
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            if os.getppid() == parent:
                _middle(function, directory)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(70)
    late = False
    fd = os.pidfd_open(pid)
    try:
        if not select.select([fd], [], [], deadline_seconds)[0]:
            late = True
    finally:
        # Nothing is left to end if it ended by itself; it is not reaped yet, so the number is still its own.
        os.kill(pid, signal.SIGTERM)
        _, status = os.waitpid(pid, 0)
        os.close(fd)
        detach_below(directory)
    return 124 if late else os.waitstatus_to_exitcode(status)


# --- what a test holds ---

class NetNs:
    """A named network namespace: what a runtime makes for a pod."""

    def __init__(self, name):
        self.name = name
        self.path = f'/run/netns/{name}'

    def argv(self, *argv):
        return ['ip', 'netns', 'exec', self.name, *map(str, argv)]

    def run(self, *argv, check=True, timeout=60, **kwargs):
        return subprocess.run(self.argv(*argv), check=check, timeout=timeout, capture_output=True, text=True,
                              **kwargs)

    def ip(self, *argv):
        """Output of `ip ARGV` in the namespace, decoded from JSON."""
        return ip_json(*argv, netns=self.name)

    def delete(self):
        subprocess.run(['ip', 'netns', 'del', self.name], check=True)


def ip_json(*argv, netns=None):
    import json
    where = ['-n', netns] if netns else []
    done = subprocess.run(['ip', '-json', '-details', *where, *map(str, argv)], check=True, capture_output=True,
                          text=True, timeout=30)
    return json.loads(done.stdout or '[]')


class Sandbox:
    """path: a directory of its own, on a real filesystem, gone after the test."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self._n = 0

    def netns(self, name):
        """A new network namespace with its loopback down, as a runtime hands it over."""
        subprocess.run(['ip', 'netns', 'add', name], check=True)
        return NetNs(name)

    def loop(self, size_bytes, mkfs=None):
        """A loop device on a new sparse file, formatted by the command line mkfs + [device]."""
        self._n += 1
        image = self.path / f'loop-{self._n}.img'
        with open(image, 'wb') as file:
            file.truncate(size_bytes)
        done = subprocess.run(['losetup', '--find', '--show', str(image)], check=True, capture_output=True, text=True)
        device = done.stdout.strip()
        if mkfs:
            subprocess.run([*mkfs, device], check=True, capture_output=True)
        return device

    def mounted(self, device, fstype, directory=None, options=''):
        """Mounts device (a path) and returns where."""
        self._n += 1
        target = pathlib.Path(directory or self.path / f'mount-{self._n}')
        target.mkdir(parents=True, exist_ok=True)
        mount(device, target, fstype, 0, options)
        return target

    def shared_directory(self, name='shared'):
        """A directory with shared propagation, as kubelet's root directory has."""
        path = self.path / name
        path.mkdir()
        mount(path, path, None, MS_BIND)
        self.share(path)
        return path

    def share(self, path):
        """Gives a mount point shared propagation."""
        mount(None, path, None, 1 << 20)  # MS_SHARED

    def private_directory(self, path):
        """An empty directory at an absolute path of the system, seen by this test only."""
        path = pathlib.Path(path)
        if not path.is_dir():
            exists = path
            while not exists.is_dir():
                exists = exists.parent
            self._n += 1
            top = pathlib.Path(f'/run/over-{self._n}')
            top.mkdir()
            mount('tmpfs', top, 'tmpfs')
            (top / 'upper').mkdir()
            (top / 'work').mkdir()
            mount('overlay', exists, 'overlay', 0, f'lowerdir={exists},upperdir={top}/upper,workdir={top}/work')
            path.mkdir(parents=True)
        mount('tmpfs', path, 'tmpfs')
        return path


def _unescape(field):
    return re.sub(r'\\([0-7]{3})', lambda match: chr(int(match.group(1), 8)), field)


def mounts_below(path):
    """(mount point, root, filesystem type, source) of each mount at or below path, of this mount namespace."""
    found = []
    with open('/proc/self/mountinfo', encoding='utf-8', errors='surrogateescape') as file:
        for line in file:
            left, _, right = line.rstrip('\n').partition(' - ')
            fields = left.split(' ')
            point, root = (_unescape(field) for field in (fields[4], fields[3]))
            if point == str(path) or point.startswith(str(path).rstrip('/') + '/'):
                fstype, source = right.split(' ')[:2]
                found.append((point, root, fstype, source))
    return found
