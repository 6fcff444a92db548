# SPDX-License-Identifier: Apache-2.0
"""Who waits takes no thread, and what hangs keeps nobody else: the real node, pool, mkfs and kernel."""

import contextlib
import ctypes
import os
import struct
import threading
import time

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


def test_130_stages_behind_two_mkfs_hold_nobody(build, tmp_path):
    """Undoing and asking are answered at once while more stages wait than there are threads; who goes leaves nothing."""
    daemon = csi.Daemon(build, tmp_path, argv=['--max-formatters=2'])
    with daemon as client:
        ready = make(client, 'ready')
        fields = stage_fields(daemon, ready, 'ready')
        client.NodeStageVolume(**fields)
        published = target(daemon, 'p')
        client.NodePublishVolume(volume_id=ready, staging_target_path=fields['staging_target_path'],
                                 target_path=str(published), volume_capability=CAPABILITY)
    daemon.environment |= held_mkfs(tmp_path / 'bin')
    with daemon as client:
        volumes = [make(client, f'v{n}') for n in range(130)]
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
        assert client.fails('ABORTED', 'NodeStageVolume', **stages[77])
        # Who goes before its deadline waits no more, and the others come in their order.
        for call in calls[10:]:
            call.cancel()
        until(lambda: daemon.log().count('cancelled while waiting') >= 119)
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
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                request = os.read(self.fd, 1 << 20)
                _, opcode, unique = struct.unpack_from('=IIQ', request)
                if opcode == self.INIT:
                    body = struct.pack('=IIIIHHIIHHI7I', 7, 31, 65536, 0, 12, 9, 65536, 1, 16, 0, 0, *[0] * 7)
                    os.write(self.fd, struct.pack('=IiQ', 16 + len(body), 0, unique) + body)
                else:
                    self.n_asked += 1

    def close(self):
        os.close(self.fd)


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
