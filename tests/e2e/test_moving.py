# SPDX-License-Identifier: Apache-2.0
"""The walk-through of docs/moving-volumes.md, command by command: from this node to one with Linux 5.10 and back, with
the answers held against what those kernels do. Another goes to 64K pages on another architecture."""

import json
import pathlib
import re
import shutil
import subprocess

import pytest

import csi
from kubelet import Kubelet, Pod

SOURCE = pathlib.Path(__file__).resolve().parents[2]
VM = SOURCE / 'tests' / 'vm' / 'vm'
GUIDE = SOURCE / 'docs' / 'moving-volumes.md'
OTHER = '5.10-amd64'
MIB = 1 << 20

if not shutil.which('qemu-system-x86_64'):
    pytest.skip('needs qemu-system-x86', allow_module_level=True)


def vm(*argv, check=True):
    done = subprocess.run([VM, *map(str, argv)], check=False, capture_output=True, text=True, timeout=900)
    if done.returncode == 77:
        pytest.skip(done.stderr.strip())
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


class Here:
    """This node: berth-csi with a pool, and what the admin types there."""

    def __init__(self, sandbox, build):
        self.sandbox, self.program = sandbox, build / 'csi' / 'berth-csi'
        self.typed = []
        root = sandbox.private_directory('/var/lib/kubelet')
        sandbox.share(root)
        self.kubelet = Kubelet(root)
        self.daemon = None
        self.build = build

    def serve(self, *argv):
        if self.daemon:
            self.daemon.stop()
        socket = self.kubelet.root / 'plugins/local.csi.berth.dev/csi.sock'
        self.daemon = csi.Daemon(self.build, self.sandbox.path, ['--registration', f'--endpoint={socket}', *argv],
                                 kubelet_root=self.kubelet.root)
        self.daemon.socket_path = socket
        self.daemon.start(ready_seconds=0)
        self.kubelet.register()
        self.typed.append(['serve', *map(str, argv)])

    def berth(self, *argv):
        self.typed.append([str(one) for one in argv])
        return subprocess.run([self.program, *map(str, argv)], check=False, capture_output=True, text=True, timeout=60)

    def file_of(self, volume):
        return self.daemon.pool / 'volumes' / f'{volume.handle}.img'

    def with_pod(self, *volumes):
        pod = Pod('pod', volumes)
        return pod, [self.kubelet.mount(pod)[one.name] for one in volumes]


@pytest.fixture(name='here')
def here_fixture(sandbox, build):
    here = Here(sandbox, build)
    yield here
    if here.daemon and here.daemon.process.poll() is None:
        here.daemon.stop()


AWAY = '''
hostname node-2
echo "=facts="; {program} host --json
echo "=check good="; {program} fs check /dev/vda; echo "status $?"
echo "=check bad="; {program} fs check /dev/vdb; echo "status $?"
mkdir -p /run/m
if mount -t xfs /dev/vda /run/m; then cat /run/m/file; echo from node-2 >>/run/m/file; umount /run/m; fi
if mount -t xfs /dev/vdb /run/m 2>/dev/null; then echo "=bad is mounted="; fi
'''


def guide_commands():
    """Lines of the guide that are commands of berth-csi."""
    lines = [line.strip() for line in GUIDE.read_text().splitlines() if re.match(r' {4,}berth-csi ', line)]
    return [line.split(' > ')[0].split()[1:] for line in lines]


@pytest.mark.deadline(1200)
def test_walk_through(here):
    kubelet, path = here.kubelet, here.sandbox.path
    # A volume as Berth makes it, and one that a tool made with a feature that 5.10 has not.
    here.serve()
    good, bad = kubelet.provision(400 * MIB, 'xfs'), kubelet.provision(400 * MIB, 'xfs')
    subprocess.run(['mkfs.xfs', '-q', '-f', '-s', 'size=4096', '-i', 'nrext64=1', here.file_of(bad)], check=True)
    pod, paths = here.with_pod(good, bad)
    for one in paths:
        (one / 'file').write_text('from node-1\n')
    # 1. What the nodes are.
    facts = here.berth('host', '--json')
    (path / 'node-1.json').write_text(facts.stdout)
    facts = vm('run', OTHER, '--', here.program, 'host', '--json').stdout
    assert json.loads(facts)['kernel'].startswith('5.10.')
    (path / 'node-2.json').write_text(facts)
    nodes = path / 'nodes.json'
    nodes.write_text((path / 'node-1.json').read_text() + facts)
    # 2. Asked while they are mounted.
    for volume, status, words in ((good, 0, 'read-write'), (bad, 2, 'nrext64')):
        done = here.berth('fs', 'check', here.file_of(volume), '--host', nodes)
        assert done.returncode == status and words in done.stdout, done.stdout + done.stderr
    assert 'needs Linux 5.19' in ' '.join(done.stdout.split()) and 'way out: ' in done.stdout
    # 3. Detached, attached there, asked there, mounted there, written there.
    kubelet.unmount(pod)
    out = vm('run', OTHER, '--module', 'xfs', '--disk', f'{here.file_of(good)}:good', '--disk',
             f'{here.file_of(bad)}:bad', '--', 'sh', '-c', AWAY.format(program=here.program)).stdout
    good_said, bad_said = out.split('=check good=')[1].split('=check bad=')
    assert 'status 0' in good_said and 'read-write' in good_said
    assert 'status 2' in bad_said and 'nrext64' in bad_said, bad_said
    assert 'from node-1\n' in bad_said and '=bad is mounted=' not in bad_said
    here.berth('fs', 'check', here.file_of(good))
    # ... and back.
    pod, (where,) = here.with_pod(good)
    assert (where / 'file').read_text() == 'from node-1\nfrom node-2\n'
    kubelet.unmount(pod)
    # A snapshot of it, taken to a volume of its own, gets the same answer.
    snapshot = None
    for _ in range(200):
        try:
            snapshot = kubelet.call('CreateSnapshot', source_volume_id=good.handle, name='s').snapshot
            if snapshot.ready_to_use:
                break
        except csi.Failure as failure:
            assert failure.code == 'ABORTED'  # a copy under way, with its percentage
    assert snapshot and snapshot.ready_to_use
    # 4. No: a volume that both can mount, and the data copied.
    plan = here.berth('fs', 'plan', '--type', 'xfs', '--host', nodes)
    assert plan.returncode == 0 and 'nrext64=0' in plan.stdout
    here.serve('--fs-nodes', nodes)
    new = kubelet.provision(400 * MIB, 'xfs')
    pod, (old, fresh) = here.with_pod(bad, new)
    subprocess.run(['cp', '-a', f'{old}/.', f'{fresh}/'], check=True)
    kubelet.unmount(pod)
    done = here.berth('fs', 'check', here.file_of(new), '--host', nodes)
    assert done.returncode == 0, done.stdout
    said = vm('mounts', OTHER, here.file_of(new), here.file_of(bad)).stdout
    assert f'{here.file_of(new)} xfs rw' in said and f'{here.file_of(bad)} xfs no' in said, said
    for volume in (bad, new, good):
        kubelet.delete(volume)
    # The guide names no command that was not typed here.
    typed = [[re.sub(r'.*/(nodes.json)$', r'\1', re.sub(r'.*\.img$', 'VOLUME', word)) for word in one]
             for one in here.typed]
    commands = guide_commands()
    assert len(commands) > 4 and not [one for one in commands if one not in typed]


@pytest.mark.deadline(1200)
def test_to_64k_pages_on_another_architecture(here):
    """Default filesystems of this node's tools go to ppc64le with 64K pages and are mounted there."""
    here.serve()
    volumes = [kubelet_volume(here, fs_type) for fs_type in ('ext4', 'xfs', 'btrfs')]
    for volume in volumes:
        done = here.berth('fs', 'check', here.file_of(volume), '--kernel', '6.1', '--page-sizes', '64K')
        assert done.returncode == 0, done.stdout
    said = vm('mounts', '6.1-ppc64el-64k', *[here.file_of(one) for one in volumes]).stdout
    for volume in volumes:
        assert f'{here.file_of(volume)} {volume.fs_type} rw' in said, said


def kubelet_volume(here, fs_type):
    volume = here.kubelet.provision(400 * MIB, fs_type)
    pod, (where,) = here.with_pod(volume)
    (where / 'file').write_text('from node-1\n')
    here.kubelet.unmount(pod)
    return volume
