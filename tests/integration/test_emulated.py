# SPDX-License-Identifier: Apache-2.0
"""Programs of another architecture under qemu's user mode: a client talks to the server, and what both architectures
print about the same bytes is the same.

Emulation cannot mount or speak netlink as a kernel does; what needs that is tested on a real one (tests/vm).
BERTH_EMULATOR is the command that runs a program of BERTH_BUILD, BERTH_NATIVE a build for this machine.
"""

import json
import os
import pathlib
import re
import shlex
import subprocess

import csi
import pytest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
EMULATOR = shlex.split(os.environ.get('BERTH_EMULATOR', ''))
NATIVE = pathlib.Path(os.environ.get('BERTH_NATIVE', SOURCE / 'build'))

pytestmark = pytest.mark.skipif(not EMULATOR, reason='not a build for another architecture')


def run(wrapper, *argv, **keywords):
    return subprocess.run([*wrapper, *map(str, argv)], capture_output=True, text=True, timeout=60, check=False,
                          **keywords)


def without_time(text):
    return re.sub(r'^time=\S+ ', '', text, flags=re.M)


def same(build, program, *argv, codes=(0,), **keywords):
    """Both builds answer alike; returns the answer."""
    if not (NATIVE / program).exists():
        pytest.skip(f'no native build in {NATIVE}')
    foreign, native = run(EMULATOR, build / program, *argv, **keywords), run([], NATIVE / program, *argv, **keywords)
    assert foreign.returncode in codes, foreign.stderr
    assert (foreign.returncode, foreign.stdout) == (native.returncode, native.stdout)
    assert without_time(foreign.stderr) == without_time(native.stderr)
    return foreign.stdout or foreign.stderr


def test_the_csi_server_answers(build, sandbox):
    daemon = csi.Daemon(build, sandbox.path, wrapper=EMULATOR, node_name='big-or-little')
    with daemon as client:
        assert client.Probe().ready.value
        info = client.GetPluginInfo()
        assert info.name == 'local.csi.berth.dev' and info.vendor_version
        node = client.NodeGetInfo()
        assert node.node_id == 'big-or-little'
        assert csi.pairs(node.accessible_topology.segments) == {'topology.local.berth.dev/node': 'big-or-little'}
        names = {one.rpc.type for one in client.NodeGetCapabilities().capabilities}
        assert len(names) >= 3
        assert 'volume_id' in client.fails('INVALID_ARGUMENT', 'NodeStageVolume')
        assert client.GetCapacity().available_capacity > 1 << 20
    assert daemon.process.returncode == 0


def test_volumes_of_the_pool(build, sandbox):
    with csi.Daemon(build, sandbox.path, wrapper=EMULATOR) as client:
        create = dict(volume_capabilities=[csi.mount_capability('ext4')],
                      capacity_range={'required_bytes': 64 << 20})
        volume = client.CreateVolume(name='pvc-1', **create).volume
        assert volume.capacity_bytes == 64 << 20
        assert client.CreateVolume(name='pvc-1', **create).volume.volume_id == volume.volume_id
        assert [one.volume.volume_id for one in client.ListVolumes().entries] == [volume.volume_id]
        client.DeleteVolume(volume_id=volume.volume_id)
        assert not client.ListVolumes().entries


@pytest.mark.parametrize('make', [
    ['mkfs.ext4', '-q', '-O', 'bigalloc,metadata_csum', '-C', '65536'],
    ['mkfs.ext4', '-q', '-b', '1024', '-O', '^has_journal'],
    ['mkfs.xfs', '-q', '-m', 'bigtime=1,reflink=1'],
    ['mkfs.btrfs', '-q'],
], ids=lambda make: ' '.join(make[:4]))
def test_a_filesystem_is_read_alike(build, sandbox, make):
    image = sandbox.path / 'image'
    with open(image, 'wb') as file:
        file.truncate(512 << 20)
    subprocess.run([*make, image], check=True, capture_output=True)
    hosts = [f'--host={SOURCE}/tests/data/hosts/{name}.json' for name in ('aws-nitro-eks', 'bottlerocket')]
    text = same(build, 'csi/berth-csi', 'fs', 'check', image, '--json', *hosts, codes=(0, 1, 2, 3))
    assert json.loads(text)


def test_the_plugin_says_its_versions(build):
    environment = {**os.environ, 'CNI_COMMAND': 'VERSION'}
    text = same(build, 'cni/berth-cni', env=environment, input='{"cniVersion": "1.1.0"}')
    assert '1.1.0' in json.loads(text)['supportedVersions']


@pytest.mark.parametrize('conf', [
    '{"cniVersion": "1.1.0", "name": "net", "type": "bridge", "ipam": {"type": "host-local", "subnet": "10.1.0.0/33"}}',
    '{"cniVersion": "1.1.0", "name": "net", "type": "bridge", "ipam": {"type": "host-local", "ranges": [[{"subnet": '
    '"fd00::/64", "rangeStart": "fd01::1"}]]}}',
    '{"cniVersion": "1.1.0", "name": "net", "type": "bridge", "mtu": 4294967296}',
    '{"cniVersion": "9.0.0", "name": "net", "type": "bridge"}',
    '{"cniVersion"',
])
def test_the_plugin_refuses_alike(build, conf):
    environment = {**os.environ, 'CNI_COMMAND': 'STATUS', 'CNI_PATH': '/nowhere'}
    text = same(build, 'cni/berth-cni', env=environment, input=conf, codes=(1,))
    # 50: it could not add a pod.
    assert json.loads(text)['code'] in (1, 6, 7, 50)


def test_where_the_plugin_goes(build, sandbox):
    root = sandbox.path / 'host'
    (root / 'etc').mkdir(parents=True)
    (root / 'etc/os-release').write_text('ID=debian\n', encoding='utf-8')
    text = same(build, 'cni/berth-cni', 'install', f'--root={root}', '--subnet=10.244.3.0/24', '--dry-run')
    assert '10.244.3.0/24' in text
