# SPDX-License-Identifier: Apache-2.0
"""Who waits takes no thread, and what hangs keeps nobody else: the real node, pool, mkfs and kernel."""

import contextlib
import ctypes
import fcntl
import os
import select
import struct
import subprocess
import threading
import time
import urllib.request

import pytest

import csi
from csi import held_mkfs, n_called, until

DRIVER = 'local.csi.berth.dev'
CAPABILITY = csi.mount_capability('ext4')


def staging(daemon, name):
    path = daemon.kubelet_root / 'plugins/kubernetes.io/csi' / DRIVER / name / 'globalmount'
    path.mkdir(parents=True)
    return path


def target(daemon, name):
    path = daemon.kubelet_root / 'pods' / name / 'volumes/kubernetes.io~csi/pvc/mount'
    path.parent.mkdir(parents=True)
    return path


def make(client, name):
    return client.CreateVolume(name=name, volume_capabilities=[CAPABILITY],
                               capacity_range={'required_bytes': 32 << 20}).volume.volume_id


def stage_fields(daemon, volume, name):
    return {'volume_id': volume, 'staging_target_path': str(staging(daemon, name)), 'volume_capability': CAPABILITY}


def n_threads(daemon):
    return len(os.listdir(f'/proc/{daemon.process.pid}/task'))


def timed(call, seconds):
    start = time.monotonic()
    result = call()
    assert time.monotonic() - start < seconds
    return result


# More than the workers either way; the default suites have the small one.
WAITING = [(24, ['--workers=8']), *([(130, [])] if os.environ.get('BERTH_WAITING_WHOLE') else [])]


@pytest.mark.parametrize('n_stages, argv', WAITING, ids=['24', '130'][:len(WAITING)])
def test_many_stages_behind_two_mkfs_hold_nobody(build, tmp_path, n_stages, argv):
    """Undoing and asking are answered at once while more stages wait than threads exist; who goes leaves nothing."""
    daemon = csi.Daemon(build, tmp_path, argv=['--max-formatters=2', *argv])
    with daemon as client:
        ready = make(client, 'ready')
        fields = stage_fields(daemon, ready, 'ready')
        client.NodeStageVolume(**fields)
        published = target(daemon, 'p')
        client.NodePublishVolume(volume_id=ready, staging_target_path=fields['staging_target_path'],
                                 target_path=str(published), volume_capability=CAPABILITY)
    daemon.environment |= held_mkfs(tmp_path / 'bin')
    with daemon as client:
        volumes = [make(client, f'v{n}') for n in range(n_stages)]
        stages = [stage_fields(daemon, volume, f's{n}') for n, volume in enumerate(volumes)]
        other = make(client, 'other')
        calls = [client.start('NodeStageVolume', **stage) for stage in stages]
        until(lambda: n_called(tmp_path / 'bin') == 2)
        # Nothing is done that could be heard of; the threads go when they have had no work for ten seconds.
        assert timed(lambda: client.NodeGetVolumeStats(volume_id=ready, volume_path=str(published)), 5).usage
        assert timed(client.GetCapacity, 5).available_capacity
        timed(lambda: client.NodeUnpublishVolume(volume_id=ready, target_path=str(published)), 5)
        timed(lambda: client.NodeUnstageVolume(volume_id=ready, staging_target_path=fields['staging_target_path']), 5)
        timed(lambda: client.DeleteVolume(volume_id=other), 5)
        timed(client.Probe, 5)
        assert not any(call.done() for call in calls)
        until(lambda: n_threads(daemon) < 60)
        assert n_called(tmp_path / 'bin') == 2
        # What is waited for is held all the same.
        assert client.fails('ABORTED', 'NodeStageVolume', **stages[n_stages // 2])
        # Who goes before its deadline waits no more, and the others come in their order.
        for call in calls[10:]:
            call.cancel()
        until(lambda: daemon.log().count('cancelled while waiting') >= n_stages - 11)
        (tmp_path / 'bin' / 'go').touch()
        done = 0
        for call in calls[:10]:
            with contextlib.suppress(Exception):
                call.result(60)
                done += 1
        assert done >= 8
        for volume, stage in zip(volumes, stages):
            client.NodeUnstageVolume(volume_id=volume, staging_target_path=stage['staging_target_path'])
        for volume in volumes:
            client.DeleteVolume(volume_id=volume)


def test_45_publishes_of_one_volume_turn_nobody_away(build, tmp_path):
    daemon = csi.Daemon(build, tmp_path)
    with daemon as client:
        volume = make(client, 'shared')
        fields = stage_fields(daemon, volume, 's')
        client.NodeStageVolume(**fields)
        common = {'volume_id': volume, 'staging_target_path': fields['staging_target_path'],
                  'volume_capability': CAPABILITY}
        targets = [str(target(daemon, f'p{n}')) for n in range(30)]
        calls = [client.start('NodePublishVolume', target_path=path, **common) for path in targets]
        for call in calls:
            call.result(60)
        # The same again, some of them twice, and the way back of others in between.
        calls = [client.start('NodePublishVolume', target_path=path, **common) for path in targets[:15]]
        calls += [client.start('NodeUnpublishVolume', volume_id=volume, target_path=path) for path in targets[15:]]
        calls += [client.start('NodePublishVolume', target_path=path, **common) for path in targets[:15]]
        codes = [call.exception(60) for call in calls]
        assert codes == [None] * 45
        for path in targets:
            client.NodeUnpublishVolume(volume_id=volume, target_path=path)
            assert not os.path.lexists(path)
        client.NodeUnstageVolume(volume_id=volume, staging_target_path=fields['staging_target_path'])
        client.DeleteVolume(volume_id=volume)


class DeafFuse:
    """A filesystem whose server says hello and then nothing, as one that hangs: root may be looked up, no more."""

    INIT = 26

    def __init__(self, path):
        self.fd = os.open('/dev/fuse', os.O_RDWR)
        libc = ctypes.CDLL(None, use_errno=True)
        options = f'fd={self.fd},rootmode=40000,user_id=0,group_id=0,allow_other'
        if libc.mount(b'deaf', str(path).encode(), b'fuse', 0, options.encode()) < 0:
            raise OSError(ctypes.get_errno(), 'mount fuse')
        self.n_asked = 0
        self.wake = os.pipe()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        with contextlib.suppress(OSError):
            while self.wake[0] not in select.select([self.fd, self.wake[0]], [], [])[0]:
                request = os.read(self.fd, 1 << 20)
                _, opcode, unique = struct.unpack_from('=IIQ', request)
                if opcode == self.INIT:
                    body = struct.pack('=IIIIHHIIHHI7I', 7, 31, 65536, 0, 12, 9, 65536, 1, 16, 0, 0, *[0] * 7)
                    os.write(self.fd, struct.pack('=IiQ', 16 + len(body), 0, unique) + body)
                else:
                    self.n_asked += 1

    def close(self):
        """Everybody who waits is told that it is gone."""
        os.write(self.wake[1], b'x')
        self.thread.join()
        for fd in (self.fd, *self.wake):
            os.close(fd)


def test_a_deaf_fuse_at_one_target_holds_neither_the_others_nor_the_way_back(build, tmp_path):
    daemon = csi.Daemon(build, tmp_path)
    with daemon as client:
        volume = make(client, 'v')
        fields = stage_fields(daemon, volume, 's')
        client.NodeStageVolume(**fields)
        common = {'volume_id': volume, 'staging_target_path': fields['staging_target_path'],
                  'volume_capability': CAPABILITY}
        deaf, other = target(daemon, 'deaf'), target(daemon, 'other')
        client.NodePublishVolume(target_path=str(deaf), **common)
        fuse = DeafFuse(deaf)
        try:
            calls = [client.start('NodeGetVolumeStats', volume_id=volume, volume_path=str(deaf)) for _ in range(40)]
            calls += [client.start('NodePublishVolume', target_path=str(deaf), **common)]
            timed(lambda: client.NodePublishVolume(target_path=str(other), **common), 5)
            timed(lambda: client.NodeGetVolumeStats(volume_id=volume, volume_path=str(other)), 5)
            timed(lambda: client.NodeUnpublishVolume(volume_id=volume, target_path=str(other)), 5)
            for call in calls:
                call.exception(20)
            timed(lambda: client.NodeUnpublishVolume(volume_id=volume, target_path=str(deaf)), 20)
            timed(lambda: client.NodeUnstageVolume(volume_id=volume,
                                                   staging_target_path=fields['staging_target_path']), 20)
        finally:
            fuse.close()
        client.DeleteVolume(volume_id=volume)


def test_a_deaf_fuse_beside_all_directories_holds_no_tool(build, tmp_path):
    """What a tool may open is said of each directory of the root, also of one that does not answer."""
    beside = next(path for path in ('/mnt', '/media', '/srv') if os.path.isdir(path))
    daemon = csi.Daemon(build, tmp_path)
    with daemon as client:
        fuse = DeafFuse(beside)
        try:
            volume = make(client, 'v')
            fields = stage_fields(daemon, volume, 's')
            client.NodeStageVolume(timeout=20, **fields)
            client.NodeUnstageVolume(volume_id=volume, staging_target_path=fields['staging_target_path'])
        finally:
            fuse.close()
            subprocess.run(['umount', '-l', beside], check=True)


def test_a_tool_that_cannot_be_killed_is_left_behind(build, tmp_path):
    """mkfs in state D: its turn is the next one's, the volume says why it waits; it is served once the disk answers."""
    daemon = csi.Daemon(build, tmp_path, argv=['--max-formatters=1', '--mkfs-timeout=500ms', '--health-port=9808',
                                               '--health-address=127.0.0.1'])
    (tmp_path / 'deaf').mkdir()
    (tmp_path / 'bin').mkdir()
    tool = tmp_path / 'bin' / 'mke2fs'
    tool.write_text(f'''#!/bin/sh
case "$*" in *-V*) exec /sbin/mke2fs "$@" ;; esac
[ -e {tmp_path}/go ] || exec cat {tmp_path}/deaf/x
exec /sbin/mke2fs "$@"
''')
    tool.chmod(0o755)
    daemon.environment |= {'PATH': f'{tool.parent}:{os.environ["PATH"]}'}
    with daemon as client:
        hung, other = make(client, 'hung'), make(client, 'other')
        fields = stage_fields(daemon, hung, 'h')
        fuse = DeafFuse(tmp_path / 'deaf')
        try:
            assert client.fails('DEADLINE_EXCEEDED', 'NodeStageVolume', **fields)
            (tmp_path / 'go').touch()
            timed(lambda: client.NodeStageVolume(**stage_fields(daemon, other, 'o')), 20)
            assert 'has hung in the kernel' in client.fails('UNAVAILABLE', 'NodeStageVolume', **fields)
            with urllib.request.urlopen('http://127.0.0.1:9808/metrics', timeout=30) as reply:
                assert 'berth_csi_abandoned_tools_total{method_name="NodeStageVolume"} 1\n' in reply.read().decode()
        finally:
            fuse.close()

        def is_served():
            try:
                client.NodeStageVolume(**fields)
            except csi.Failure as failure:
                assert failure.code == 'UNAVAILABLE'
                return False
            return True
        until(is_served)


# --- a filesystem that is frozen, or whose disk does not answer ---

FIFREEZE, FITHAW = 0xC0045877, 0xC0045878


@contextlib.contextmanager
def frozen(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.ioctl(fd, FIFREEZE, 0)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            fcntl.ioctl(fd, FITHAW, 0)
        os.close(fd)


@pytest.mark.parametrize('fs_type, size', (('xfs', 320 << 20), ('btrfs', 256 << 20)))
def test_a_frozen_filesystem_does_not_grow_and_holds_nobody(build, tmp_path, fs_type, size):
    """The expand held the volume and its thread until somebody thawed it, and every unpublish was ABORTED."""
    daemon = csi.Daemon(build, tmp_path)
    capability = csi.mount_capability(fs_type)
    with daemon as client:
        volume = client.CreateVolume(name='v', volume_capabilities=[capability],
                                     capacity_range={'required_bytes': size}).volume.volume_id
        path, one, other = staging(daemon, 's'), target(daemon, 'one'), target(daemon, 'other')
        common = {'volume_id': volume, 'staging_target_path': str(path), 'volume_capability': capability}
        client.NodeStageVolume(**common)
        for each in (one, other):
            client.NodePublishVolume(target_path=str(each), **common)
        before = os.statvfs(one).f_blocks
        grow = {'volume_id': volume, 'volume_path': str(one), 'staging_target_path': str(path),
                'capacity_range': {'required_bytes': 2 * size}}
        with frozen(path):
            # By the staging path, or by the target: then that one is held by what waits, and goes all the same.
            order = [grow, {**grow, 'staging_target_path': ''}]
            for fields in order if fs_type == 'xfs' else reversed(order):
                assert 'frozen' in timed(lambda fields=fields: client.fails('UNAVAILABLE', 'NodeExpandVolume',
                                                                            **fields), 10)
            timed(lambda: client.NodeUnpublishVolume(volume_id=volume, target_path=str(one)), 5)
            assert not os.path.lexists(one)
            timed(lambda: client.NodePublishVolume(target_path=str(one), **common), 5)
            timed(lambda: client.NodeGetVolumeStats(volume_id=volume, volume_path=str(other)), 5)
            for each in (one, other):
                timed(lambda each=each: client.NodeUnpublishVolume(volume_id=volume, target_path=str(each)), 5)
            message = timed(lambda: client.fails('UNAVAILABLE', 'NodeUnstageVolume', volume_id=volume,
                                                 staging_target_path=str(path)), 5)
            assert 'fsfreeze --unfreeze' in message
        # The growth that waited is done now, by itself.
        until(lambda: os.statvfs(path).f_blocks > before)
        client.NodePublishVolume(target_path=str(one), **common)
        csi.until(lambda: grows(client, grow))
        client.NodeUnpublishVolume(volume_id=volume, target_path=str(one))
        client.NodeUnstageVolume(volume_id=volume, staging_target_path=str(path))
        client.DeleteVolume(volume_id=volume)


def grows(client, fields):
    try:
        client.NodeExpandVolume(**fields)
    except csi.Failure as failure:
        assert failure.code == 'UNAVAILABLE'
        return False
    return True
