# SPDX-License-Identifier: Apache-2.0
"""Somebody else acts between any two system calls of berth-csi.

Each scenario is one call of the CSI socket. The daemon is held before its N-th system call (tests/lib/stop-at.c), a
second actor does one thing to the volume, the device, the disk's name or the pool, and the daemon goes on. Then the
world is compared: nothing that is not this volume has changed, the call either succeeded on the right disk or said
why, and what is cleaned up afterwards leaves nothing behind.

A point is a call that the act can come before or after with a different world: stop-at.c leaves out what neither sees
nor changes anything of the act's, and says which calls those are. Points are sampled, another one each day; with
BERTH_ADVERSARY=every:K:I each K-th point from the I-th on is taken (every:1:0: all; suite slow has them in parts), with
BERTH_ADVERSARY=SCENARIO:ACT:N one. A point that is wrong does not end the others of its test.

Most of a point is waiting, for what a call that is held keeps from others: all points are walked by several workers,
each a process with mounts, a pool and a daemon of its own.
"""

import collections
import contextlib
import errno
import fcntl
import hashlib
import itertools
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import time
import traceback

import csi
import pytest
import sandbox as sandbox_module
from test_csi_local import Kubelet, block, mount

MIB = 1 << 20
SIZE = 40 * MIB
LOOP_SET_FD, LOOP_CLR_FD = 0x4C00, 0x4C01
WANTED = os.environ.get('BERTH_ADVERSARY', '')
EVERY, FIRST = map(int, WANTED.split(':')[1:]) if WANTED.startswith('every:') else (0, 0)
N_SAMPLES = 1
N_WORKERS = 4 * os.cpu_count() if EVERY else 1


def pattern(path, size, seed):
    """Bytes that no call may change."""
    with open(path, 'r+b' if os.path.exists(path) else 'wb') as file:
        file.write(random.Random(seed).randbytes(size))
        file.flush()
        os.fsync(file.fileno())


def sync(path):
    """Until then a hole may become data by itself."""
    with open(path, 'r+b') as file:
        os.fsync(file.fileno())


def digest(path, size=None):
    """Of what is written in the first bytes of a file, and where."""
    found = hashlib.sha256()
    with open(path, 'rb') as file:
        end = os.fstat(file.fileno()).st_size if size is None else size
        at = 0
        while at < end:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                break  # a hole is the rest
            n = min(os.lseek(file.fileno(), at, os.SEEK_HOLE), end) - at
            if n > 0:
                found.update(f'{at} {n}\n'.encode() + os.pread(file.fileno(), n, at))
            at += max(n, 1)
    return found.hexdigest()


class Stopper:
    """The daemon, held before its N-th system call; n=0 counts. words: which count (stop-at.c): one call by its name,
    or an act and kubelet's root for those that the act can come before or after with a different world."""

    def __init__(self, build, pid, n, words=()):
        self.process = subprocess.Popen([build / 'tests/lib/stop-at', str(pid), str(n), *words], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == 'ready\n'
        os.set_blocking(self.process.stdout.fileno(), False)

    def held(self, call):
        """True when the daemon is held; False when the call ended before."""
        while True:
            line = self.process.stdout.readline()
            if line:
                return line
            if call.done():
                return ''
            time.sleep(0.001)

    def end(self):
        self.process.stdin.close()
        os.set_blocking(self.process.stdout.fileno(), True)
        text = self.process.stdout.read()
        self.process.wait(30)
        return int(text.rsplit('seen ', 1)[1])


class Patient:
    """A client that asks again while it is told to, as kubelet and the sidecars do."""

    def __init__(self, client):
        self.client = client
        self.seconds = 30

    @contextlib.contextmanager
    def once(self):
        """Not while a call is held, for whose end it would wait."""
        self.seconds, before = 0, self.seconds
        yield
        self.seconds = before

    def __getattr__(self, name):
        call = getattr(self.client, name)
        if not name[0].isupper():
            return call

        def again(**fields):
            end = time.monotonic() + self.seconds
            while True:
                try:
                    return call(**fields)
                except csi.Failure as failure:
                    if failure.code not in ('ABORTED', 'UNAVAILABLE') or time.monotonic() > end:
                        raise
                time.sleep(0.02)
        return again


class World:
    """A pool on a filesystem of its own, a daemon, a tenant with a raw block volume, and a foreign image."""

    def __init__(self, build, sandbox, number=0):
        self.build, self.sandbox = build, sandbox
        self.root = sandbox.shared_directory(f'kubelet-{number}')
        self.disk = sandbox.loop(3072 * MIB, ['mkfs.xfs', '-q'])
        self.mount_point = sandbox.mounted(self.disk, 'xfs')
        self.pool = self.mount_point / 'pool'
        self.pool.mkdir(mode=0o700)
        # Where the daemon keeps what pool is this node's.
        state = sandbox.path / f'state-{number}'
        state.mkdir()
        self.daemon = csi.Daemon(build, state, [f'--pool={self.pool}', '--pool-reserve=0'],
                                 kubelet_root=self.root)
        self.daemon.argv = [word for word in self.daemon.argv if word != f'--pool={self.daemon.pool}']
        shutil.rmtree(self.daemon.pool, ignore_errors=True)
        self.foreign = sandbox.path / 'foreign.img'
        # As large as the volumes, and a filesystem: nothing but its identity tells it from one of them.
        self.foreign.touch()
        os.truncate(self.foreign, SIZE)
        subprocess.run(['mke2fs', '-q', '-F', '-t', 'ext4', '-b', '4096', self.foreign], check=True)
        sync(self.foreign)
        self.foreign_digest = digest(self.foreign)
        self.foreign_loop = None
        self.n = 0
        self.tenants = {}  # path of the published device: what is on it
        self.start()

    def start(self):
        self.client = Patient(self.daemon.start())
        self.kubelet = Kubelet(self.root, self.client)

    def stop(self):
        self.client.close()
        if self.daemon.process.poll() is None:
            self.daemon.kill()

    def create(self, name, capability, size=SIZE, **fields):
        return self.client.CreateVolume(name=name, capacity_range={'required_bytes': size},
                                        volume_capabilities=[capability], **fields).volume.volume_id

    def tenant(self):
        """A raw block volume of somebody else, published to a pod, with a pattern on it."""
        name = f'tenant-{self.n + 1}'
        volume = self.create(name, block())
        staging, target = self.kubelet.block_staging(name), self.kubelet.block_target('pod', name)
        self.kubelet.stage(volume, block(), staging)
        self.kubelet.publish(volume, target, block(), staging)
        self.n += 1
        pattern(target, 4 * MIB, self.n)
        self.tenants[target] = (volume, staging, self.read(target))
        return target

    @staticmethod
    def read(path):
        with open(path, 'rb', buffering=0) as file:
            return hashlib.sha256(file.read(4 * MIB)).hexdigest()

    def forget_tenants(self):
        for target, (volume, staging, _) in self.tenants.items():
            self.kubelet.unpublish(volume, target)
            self.kubelet.unstage(volume, staging)
            self.client.DeleteVolume(volume_id=volume)
        self.tenants = {}

    def image(self, volume):
        """The data file; volumes are named by their id."""
        found = [p for p in (self.pool / 'volumes').glob('*.img') if volume in p.name]
        assert len(found) <= 1
        return found[0] if found else None

    def loop_of(self, volume):
        image = self.image(volume)
        if not image:
            return None
        for name in os.listdir('/sys/block'):
            if name.startswith('loop') and sandbox_module.backing_file(name) == str(image):
                return f'/dev/{name}'
        return None


# --- what the call is; each returns how to begin it, and the volume that it is about ---

Scenario = collections.namedtuple('Scenario', 'volume capability begin undo')


def new_volume(world, fstype, size=SIZE):
    capability = mount(fstype)
    return world.create(f'v-{world.n}-{random.getrandbits(48):x}', capability, size), capability


def stage_fields(world, volume, capability):
    return {'volume_id': volume, 'staging_target_path': str(world.kubelet.staging(volume)),
            'volume_capability': capability}


def undo_stage(world, volume):
    def unstage():
        try:
            world.client.NodeUnstageVolume(volume_id=volume, staging_target_path=str(world.kubelet.staging(volume)))
            return True
        except csi.Failure as failure:
            assert failure.code in ('ABORTED', 'UNAVAILABLE', 'FAILED_PRECONDITION', 'INTERNAL'), failure
            return False
    csi.until(unstage, 30)


def stage_blank(world, fstype='ext4'):
    volume, capability = new_volume(world, fstype)
    fields = stage_fields(world, volume, capability)
    return Scenario(volume, capability, lambda: world.client.start('NodeStageVolume', **fields),
                    lambda: undo_stage(world, volume))


def staged_before(world, fstype='ext4', size=SIZE):
    volume, capability = new_volume(world, fstype, size)
    world.kubelet.stage(volume, capability)
    (world.kubelet.staging(volume) / 'file').write_text('kept', encoding='utf-8')
    return volume, capability


def stage_formatted(world):
    volume, capability = staged_before(world)
    world.kubelet.unstage(volume)
    csi.until(lambda: not world.loop_of(volume))
    fields = stage_fields(world, volume, capability)
    return Scenario(volume, capability, lambda: world.client.start('NodeStageVolume', **fields),
                    lambda: undo_stage(world, volume))


def stage_dirty(world):
    """Not unmounted: the journal has to be replayed."""
    volume, capability = staged_before(world)
    copy = world.sandbox.path / 'dirty.img'
    subprocess.run(['sync', '-f', world.kubelet.staging(volume)], check=True)
    shutil.copyfile(world.image(volume), copy)
    world.kubelet.unstage(volume)
    csi.until(lambda: not world.loop_of(volume))
    with open(copy, 'rb') as source, open(world.image(volume), 'r+b') as target:
        shutil.copyfileobj(source, target)
    fields = stage_fields(world, volume, capability)
    return Scenario(volume, capability, lambda: world.client.start('NodeStageVolume', **fields),
                    lambda: undo_stage(world, volume))


def unstage(world):
    volume, capability = staged_before(world)
    fields = {'volume_id': volume, 'staging_target_path': str(world.kubelet.staging(volume))}
    return Scenario(volume, capability, lambda: world.client.start('NodeUnstageVolume', **fields),
                    lambda: undo_stage(world, volume))


def node_expand(world):
    """XFS: the kernel grows a mounted ext4 only for who has CAP_SYS_RESOURCE, which tests often lack."""
    size = 320 * MIB
    volume, capability = staged_before(world, 'xfs', size)
    staging = str(world.kubelet.staging(volume))
    fields = {'volume_id': volume, 'volume_path': staging, 'staging_target_path': staging,
              'capacity_range': {'required_bytes': 2 * size}, 'volume_capability': capability}
    return Scenario(volume, capability, lambda: world.client.start('NodeExpandVolume', **fields),
                    lambda: undo_stage(world, volume))


def snapshot(world):
    volume, capability = staged_before(world)
    name = f's-{random.getrandbits(48):x}'

    def undo():
        for entry in world.client.ListSnapshots(source_volume_id=volume).entries:
            world.client.DeleteSnapshot(snapshot_id=entry.snapshot.snapshot_id)
        undo_stage(world, volume)
    return Scenario(volume, capability,
                    lambda: world.client.start('CreateSnapshot', source_volume_id=volume, name=name), undo)


def clone(world):
    volume, capability = staged_before(world)
    world.kubelet.unstage(volume)
    name = f'c-{random.getrandbits(48):x}'
    fields = {'name': name, 'capacity_range': {'required_bytes': SIZE}, 'volume_capabilities': [capability],
              'volume_content_source': {'volume': {'volume_id': volume}}}

    def undo():
        def gone():
            for entry in world.client.ListVolumes().entries:
                if entry.volume.content_source.volume.volume_id == volume:
                    try:
                        world.client.DeleteVolume(volume_id=entry.volume.volume_id)
                    except csi.Failure as failure:
                        assert failure.code in ('ABORTED', 'UNAVAILABLE'), failure
                        return False
            return True
        csi.until(gone)
    return Scenario(volume, capability, lambda: world.client.start('CreateVolume', **fields), undo)


def delete(world):
    volume, capability = staged_before(world)
    world.kubelet.unstage(volume)
    return Scenario(volume, capability, lambda: world.client.start('DeleteVolume', volume_id=volume), lambda: None)


SCENARIOS = {function.__name__: function for function in (
    stage_blank, stage_formatted, stage_dirty, unstage, node_expand, snapshot, clone, delete)}


# --- what the other one does; each returns what to check and put right when the call has ended ---

def nothing(_world, _scenario, _outcome):
    return


def act_delete(world, scenario):
    """Deletes the volume; whoever comes next gets its device number."""
    try:
        with world.client.once():
            world.client.DeleteVolume(volume_id=scenario.volume, timeout=30)
    except csi.Failure as failure:
        assert failure.code in ('ABORTED', 'FAILED_PRECONDITION', 'UNAVAILABLE'), failure
        return nothing

    def after(_world, _scenario, _outcome):
        world.tenant()
    try:
        with world.client.once():
            world.tenant()
    except csi.Failure as failure:
        # The thread that is held was looking at the pool, which answers nobody meanwhile; the tenant comes afterwards.
        assert failure.code == 'UNAVAILABLE', failure
        return after
    return nothing


def exchange(device, image):
    """Puts another file behind a loop device, at once, or somebody else on this machine has the number. False: the
    device is held open; it goes when that ends."""
    with open(image, 'r+b') as other:
        for request, argument in ((LOOP_CLR_FD, 0), (LOOP_SET_FD, other.fileno()), (LOOP_SET_FD, other.fileno())):
            # Newer kernels take the file away when the last one closes the device.
            with open(device, 'r+b', buffering=0) as file:
                try:
                    fcntl.ioctl(file, request, argument)
                    if request == LOOP_SET_FD:
                        return True
                except OSError:
                    continue
    return False


def act_number(world, scenario):
    """Detaches the volume's device, as any pod with a raw device can, and puts another image at its number."""
    device = world.loop_of(scenario.volume)
    try:
        if device and exchange(device, world.foreign):
            world.foreign_loop = device
    except OSError as error:
        assert error.errno == errno.ENXIO, error
        device = None  # detached since
    if not device:
        world.foreign_loop = subprocess.run(['losetup', '--find', '--show', world.foreign], check=True,
                                            capture_output=True, text=True).stdout.strip()

    def after(_world, _scenario, _outcome):
        if world.foreign_loop:
            assert sandbox_module.backing_file(world.foreign_loop[5:]) == str(world.foreign), 'detached what is foreign'
            assert not [m for m in sandbox_module.mounts_below('/') if m[3] == world.foreign_loop]
            with open(world.foreign_loop, 'rb') as file:
                os.fsync(file.fileno())
            subprocess.run(['losetup', '-d', world.foreign_loop], check=True)
            world.foreign_loop = None
    return after


def has_tool(world):
    """Whether a program of the daemon's runs; one that ended stays for as long as the thread is held that waits."""
    for path in pathlib.Path('/proc').glob('[0-9]*/stat'):
        with contextlib.suppress(OSError):
            state, parent = path.read_text(encoding='utf-8').rsplit(')', 1)[1].split()[:2]
            if int(parent) == world.daemon.process.pid and state != 'Z':
                return True
    return False


def act_format(world, scenario):
    """Formats the disk, writes a file and unmounts. Two mkfs that write at once are nobody's point: a tool of the
    daemon's goes on while a thread of it is held."""
    with contextlib.suppress(AssertionError):
        csi.until(lambda: not has_tool(world), 5)
    device = world.loop_of(scenario.volume)
    image = world.image(scenario.volume)
    if not image:
        return nothing
    extra = None
    if not device:
        device = extra = subprocess.run(['losetup', '--find', '--show', image], check=True, capture_output=True,
                                        text=True).stdout.strip()
    place = world.sandbox.path / 'theirs'
    place.mkdir(exist_ok=True)
    made = subprocess.run(['mkfs.ext4', '-q', '-F', '-L', 'THEIRS', device], capture_output=True).returncode == 0
    if made and subprocess.run(['mount', '-t', 'ext4', device, place], capture_output=True).returncode == 0:
        (place / 'theirs').write_text('written by somebody else', encoding='utf-8')
        subprocess.run(['umount', place], check=True)
    else:
        made = False
    if extra:
        subprocess.run(['losetup', '-d', extra], check=True)
        sync(image)

    def after(_world, scenario, _outcome):
        image = world.image(scenario.volume)
        if made and image:
            where = subprocess.run(['debugfs', '-R', 'cat /theirs', image], capture_output=True, text=True)
            assert 'written by somebody else' in where.stdout, f'their filesystem is gone: {where.stderr}'
    return after


def act_swap(world, scenario):
    """Another file stands at the name of the volume's."""
    image = world.image(scenario.volume)
    if not image:
        return nothing
    away, other = world.mount_point / 'away.img', world.mount_point / 'other.img'
    size = image.stat().st_size
    with open(other, 'wb') as file:
        file.truncate(size)
    pattern(other, 8 * MIB, 7)
    before = digest(other)
    # The thread that is held may be another than the one that deletes it.
    try:
        os.rename(image, away)
    except FileNotFoundError:
        other.unlink()
        return nothing
    os.rename(other, image)

    def after(_world, _scenario, _outcome):
        if image.exists() and image.stat().st_ino != away.stat().st_ino:
            assert digest(image, size) == before, 'the other file was written to'
            os.rename(away, image)
        else:
            away.unlink()
    return after


def act_unmount(world, _scenario):
    """The pool's disk goes away from its name."""
    subprocess.run(['umount', '-l', world.mount_point], check=True)

    def after(_world, _scenario, _outcome):
        assert list(world.mount_point.iterdir()) == [], 'something was made where the pool is not'
        sandbox_module.mount(world.disk, world.mount_point, 'xfs')
    return after


def act_fill(world, _scenario):
    """Not a byte is free in the pool."""
    filler = world.mount_point / 'filler'
    with open(filler, 'wb') as file:
        space = os.statvfs(world.mount_point)
        left = space.f_bavail * space.f_frsize
        while left >= 4096:
            try:
                os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, left)
            except OSError:
                left //= 2

    def after(_world, _scenario, _outcome):
        filler.unlink()
    return after


ACTS = {'delete': act_delete, 'number': act_number, 'format': act_format, 'swap': act_swap, 'unmount': act_unmount,
        'fill': act_fill}
TAKES_MOUNT = ('stage_blank', 'stage_formatted', 'stage_dirty')


# --- one point ---

def outcome_of(call):
    try:
        call.result()
        return 'OK', ''
    except csi.grpc.RpcError as error:
        assert error.details(), f'{error.code().name} without a message'
        assert error.code().name not in ('UNKNOWN', 'DEADLINE_EXCEEDED', 'CANCELLED'), error
        return error.code().name, error.details()


def right_disk(world, scenario):
    """What is mounted at the staging path is the volume's file."""
    mounts = sandbox_module.mounts_below(world.kubelet.staging(scenario.volume))
    assert len(mounts) == 1, 'OK, and nothing is mounted'
    device = mounts[0][3]
    assert device.startswith('/dev/'), device
    assert world.foreign_loop != device
    backing = pathlib.Path(f'/sys/block/{device[5:]}/loop/backing_file')
    if backing.exists():
        assert scenario.volume in backing.read_text(encoding='utf-8')


def one_point(world, name, act, n, n_points):
    """Whether there is such a point: the call was held."""
    begin = time.monotonic()
    scenario = SCENARIOS[name](world)
    stopper = Stopper(world.build, world.daemon.process.pid, n, [act, str(world.root)])
    call = scenario.begin()
    where = stopper.held(call)
    after = nothing
    try:
        after = ACTS[act](world, scenario) if where else nothing
    finally:
        stopper.end()
    outcome = outcome_of(call)
    if outcome[0] == 'OK' and name in TAKES_MOUNT and act in ('number', 'fill', 'delete'):
        right_disk(world, scenario)
    scenario_undo(world, scenario, act)
    after(world, scenario, outcome)
    if act == 'unmount':
        world.stop()
        world.start()
        scenario_undo(world, scenario, act, restarted=True)
    compare(world)
    clean(world, scenario)
    seconds = time.monotonic() - begin
    print(f'{name} {act} {n} of {n_points}, {seconds:.2f} s, {where.strip() or "ended before"}: {outcome}', flush=True)
    return bool(where)


def scenario_undo(world, scenario, act, restarted=False):
    try:
        with world.client.once() if act == 'unmount' and not restarted else contextlib.nullcontext():
            scenario.undo()
    except (csi.Failure, AssertionError):
        if act != 'unmount':
            raise


def compare(world):
    assert digest(world.foreign) == world.foreign_digest, 'the foreign image has changed'
    for target, (_, _, before) in world.tenants.items():
        assert world.read(target) == before, f'{target}: another tenant\'s bytes have changed'


def clean(world, scenario):
    def deleted():
        try:
            world.client.DeleteVolume(volume_id=scenario.volume)
            return True
        except csi.Failure as failure:
            assert failure.code in ('ABORTED', 'FAILED_PRECONDITION', 'UNAVAILABLE'), failure
            return False
    world.forget_tenants()
    csi.until(deleted, 30)
    assert not world.image(scenario.volume)
    csi.until(lambda: not sandbox_module.loops_below(world.pool), 30)


def n_calls(world, name, act):
    scenario = SCENARIOS[name](world)
    stopper = Stopper(world.build, world.daemon.process.pid, 0, [act, str(world.root)])
    call = scenario.begin()
    assert outcome_of(call)[0] == 'OK'
    n = stopper.end()
    scenario.undo()
    clean(world, scenario)
    return n


def points(n, worker):
    """Which to try; while all are walked also behind @n, as far as the call goes this time."""
    if EVERY:
        return itertools.count(1 + FIRST + EVERY * worker, EVERY * N_WORKERS)
    if WANTED:
        return [int(WANTED.split(':')[2])]
    return sorted(random.Random(time.strftime('%j')).sample(range(1, n + 1), min(N_SAMPLES, n)))


def walk(build, sandbox, name, act, worker=0):
    """What was wrong, and how many points there were."""
    wrong, n_reached = [], 0
    world = World(build, sandbox)
    try:
        n = n_calls(world, name, act)
        for point in points(n, worker):
            reached = True
            try:
                reached = one_point(world, name, act, point, n)
            except (AssertionError, csi.Failure, OSError, subprocess.SubprocessError):
                wrong.append(f'BERTH_ADVERSARY={name}:{act}:{point}\n{traceback.format_exc()}')
                print(wrong[-1], flush=True)
                world.stop()
                world = World(build, sandbox, len(wrong))
            n_reached += reached
            if not reached and point >= n:
                break
    finally:
        world.stop()
    return wrong, n_reached


def work(sandbox, worker, function, path):
    """A worker: its own mounts, and a directory of its own. What came out is at @path."""
    sandbox_module.unshare(sandbox_module.CLONE_NEWNS)
    place = sandbox.path / f'worker-{worker}'
    place.mkdir()
    path.write_text(json.dumps(function(sandbox_module.Sandbox(place), worker)), encoding='utf-8')


def in_parallel(sandbox, function):
    """function(sandbox, worker) in N_WORKERS processes; what each returned. gRPC has not begun in this one."""
    children = {}
    for worker in range(N_WORKERS):
        path = sandbox.path / f'worker-{worker}.json'
        pid = os.fork()
        if pid == 0:
            status = 70
            try:
                work(sandbox, worker, function, path)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        children[pid] = path
    ended = {pid: os.waitpid(pid, 0)[1] for pid in children}
    assert not any(ended.values()), f'workers ended with {sorted(ended.values())}'
    return [json.loads(path.read_text(encoding='utf-8')) for path in children.values()]


@pytest.mark.deadline(14400 if EVERY else 120)
@pytest.mark.parametrize('act', ACTS)
@pytest.mark.parametrize('name', SCENARIOS)
def test_somebody_else_acts(build, sandbox, name, act):
    if WANTED and not EVERY and WANTED.split(':')[:2] != [name, act]:
        pytest.skip(f'only {WANTED} was asked for')
    if EVERY:
        found = in_parallel(sandbox, lambda place, worker: walk(build, place, name, act, worker))
    else:
        found = [walk(build, sandbox, name, act)]
    wrong = [text for texts, _ in found for text in texts]
    print(f'{name} {act}: {sum(n for _, n in found)} points, {len(wrong)} wrong', flush=True)
    assert not wrong, '\n'.join(wrong)
