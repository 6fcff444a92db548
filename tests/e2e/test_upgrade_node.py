# SPDX-License-Identifier: Apache-2.0
"""A node with pods, volumes, host ports and snapshots goes from the version before (tests/e2e/before_tools.py) to this
one and back, by real containerd and a stand-in for kubelet: nothing restarts, nothing is lost, and either takes away
what the other made."""

import os
import pathlib

import pytest

import csi
import kubelet as kubelet_lib
import node as lib
import sandbox as sandbox_module
import test_node
from node import NODE
from test_node import MIB, SOCKET, WEB, Pod, Volume

BEFORE = pathlib.Path(os.environ.get('BERTH_BEFORE', '/none'))
if not (BEFORE / 'csi' / 'berth-csi').exists():
    pytest.skip('needs the version before (tests/e2e/before_tools.py)', allow_module_level=True)

SUBNETS = ('--subnet', '10.5.0.0/24', '--subnet', 'fd00:5::/64')


class World(test_node.World):
    """Its programs are those of either version in turn."""

    def __init__(self, sandbox, build):
        super().__init__(sandbox, build)
        # What reflink snapshots need, and what makes a pool of the disk of its own.
        self.place = sandbox.mounted(sandbox.loop(2048 * MIB, ['mkfs.xfs', '-q']), 'xfs')

    def use(self, build):
        """Both programs of that version, as a roll of the DaemonSets does it."""
        if self.daemon.process:
            assert self.daemon.stop() == 0
        argv = ['--registration', '--health-port=0', f'--endpoint={SOCKET}', f'--pool={self.place}/pool']
        (self.place / 'pool').mkdir(exist_ok=True)
        self.daemon = csi.Daemon(build, self.sandbox.path, argv, kubelet_root=self.root)
        self.daemon.socket_path = SOCKET
        if build == BEFORE:
            self.daemon.argv.remove('--pool-init')
        lib.sh(build / 'cni' / 'berth-cni', 'install', *SUBNETS)
        self.start_storage()

    def begin(self):
        self.start_runtime()
        self.use(BEFORE)
        lib.wait_for(lambda: self.runtime.ready()[1])
        self.containerd.load(self.sandbox.path)
        self.kubelet.provisioner_start()


class Load:
    """Pods of one version: a web server behind a host port with a limit, and a pod with three kinds of volumes."""

    def __init__(self, world, name, port):
        self.world, self.port, kubelet = world, port, world.kubelet
        self.web, self.server = world.run(f'web-{name}', *WEB, ports=[(port, 80, 0)],
                                          annotations=[('kubernetes.io/ingress-bandwidth', '800M')])
        self.claim, self.raw = kubelet.provision(64 * MIB, 'ext4', group=1234), kubelet.provision(64 * MIB, block=True)
        self.scratch = Volume(f'scratch-{name}', context={'size': '64Mi'}, ephemeral=True)
        self.pod = Pod(name, [self.claim, self.raw, self.scratch])
        paths = kubelet.mount(self.pod)
        self.sandbox, self.container = world.run(
            name, '/bin/sleep', '10000',
            mounts=[('/data', paths[self.claim.name], 0), ('/scratch', paths[self.scratch.name], 0)],
            devices=[('/dev/claim', paths[self.raw.name])])
        world.sh(self.container, f'echo {name} >/data/file; echo {name} >/scratch/file; echo {name} >/dev/claim; sync')
        self.name, self.notes = name, [name]
        self.pids = self.running()
        self.snapshot = self.snap('of-itself')

    def running(self):
        return [self.world.sh(one, 'cat /proc/1/stat').split()[21] for one in (self.server, self.container)]

    def snap(self, name):
        reply = self.world.kubelet.call('CreateSnapshot', source_volume_id=self.claim.handle,
                                        name=f'{self.name}-{name}')
        return reply.snapshot.snapshot_id

    def look(self, note):
        """Nothing restarted, everything answers, and the volumes take another line."""
        world = self.world
        assert self.running() == self.pids
        for address in world.runtime.addresses(self.web):
            assert test_node.answers(world, self.container, address, 80), address
        got = world.node.outside.run('busybox', 'wget', '-qO-', f'http://{NODE}:{self.port}/passwd').stdout
        assert got.startswith('root:')
        world.sh(self.container, f'echo {note} >>/data/file; sync')
        self.notes.append(note)
        assert world.sh(self.container, 'cat /data/file').split() == self.notes
        assert world.sh(self.container, 'cat /scratch/file; head -n 1 /dev/claim').split() == [self.name] * 2
        # What kubelet asks again after its own restart.
        for volume in (self.claim, self.raw):
            world.kubelet.stage(volume)
            world.kubelet.publish(self.pod, volume)

    def restore(self, snapshot):
        """The file on a volume made of the snapshot."""
        kubelet = self.world.kubelet
        reply = kubelet.call(
            'CreateVolume', name=f'from-{snapshot}', capacity_range={'required_bytes': 64 * MIB},
            volume_capabilities=[csi.mount_capability('ext4')],
            volume_content_source={'snapshot': {'snapshot_id': snapshot}})
        volume = kubelet_lib.Volume(f'from-{snapshot}'[:40], handle=reply.volume.volume_id, fs_type='ext4',
                                    context=csi.pairs(reply.volume.volume_context))
        pod = Pod('reader', [volume])
        path = kubelet.mount(pod)[volume.name]
        text = (pathlib.Path(path) / 'file').read_text().split()
        kubelet.unmount(pod)
        kubelet.delete(volume)
        return text

    def remove(self):
        world = self.world
        for pod in (self.web, self.sandbox):
            world.runtime.remove_pod(pod)
        world.kubelet.unmount(self.pod)
        world.kubelet.delete(self.claim)
        world.kubelet.delete(self.raw)
        world.kubelet.call('DeleteSnapshot', snapshot_id=self.snapshot)


@pytest.fixture(name='world')
def world_fixture(sandbox, build):
    world = World(sandbox, build)
    try:
        world.begin()
        yield world
    finally:
        if world.daemon.process and world.daemon.process.poll() is None:
            world.daemon.stop()
        print(world.daemon.log()[-3000:])
        world.containerd.close()


def left(world):
    """What is still there of any pod, volume or snapshot."""
    pool = world.place / 'pool'
    return ([one for part in world.leftovers() for one in part], sandbox_module.loops_below(world.place),
            [one for one in sandbox_module.mounts_below(world.root) if one[0] != str(world.root)],
            [*pool.glob('volumes/*'), *pool.glob('snapshots/*')])


@pytest.mark.deadline(300)
def test_there_and_back(world, build):
    first, gone = Load(world, 'first', 8081), Load(world, 'gone', 8082)
    world.use(build)
    for load in (first, gone):
        load.look('new')
    assert first.restore(first.snapshot) == ['first']
    gone.remove()  # what the version before made, taken away by this one
    second = Load(world, 'second', 8083)
    second.look('new')
    between = first.snap('by-the-new')
    # Back, and what the new one made is read and taken away by the version before.
    world.use(BEFORE)
    first.look('old')
    second.look('old')
    assert second.restore(second.snapshot) == ['second']
    assert first.restore(between) == ['first', 'new']
    world.kubelet.call('DeleteSnapshot', snapshot_id=between)
    addresses = world.runtime.addresses(second.web)
    second.remove()
    assert not set(addresses) & set(world.leftovers()[2])
    # And there again. What sets have that the version before did not know, gc takes away (berth-node does by itself).
    world.use(build)
    lib.sh(build / 'cni' / 'berth-cni', 'gc', 'berth')
    first.look('new')
    first.remove()
    try:
        csi.until(lambda: not any(left(world)))
    finally:
        print(left(world))
