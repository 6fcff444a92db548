# SPDX-License-Identifier: Apache-2.0
"""Containers of a real podman with its CNI backend, first on the networks it makes itself (bridge, portmap, firewall,
tuning) with Berth under those names, then on one entry of ours."""

import json
import os
import shutil
import subprocess
import textwrap

import pytest

import cgroups
import image
import node as lib
from node import NODE, OUTSIDE

BUSYBOX = '/usr/bin/busybox'
IMAGE = 'test.local/busybox:1'

for tool in ('podman', 'conmon', 'runc'):
    if not shutil.which(tool):
        pytest.skip(f'needs {tool}', allow_module_level=True)
if not os.path.exists(BUSYBOX) or b'statically' not in subprocess.run(
        ['file', '-L', BUSYBOX], capture_output=True, check=False).stdout:
    pytest.skip('needs a static busybox', allow_module_level=True)


class Podman:
    def __init__(self, node, sandbox):
        self.node = node
        self.networks = sandbox.path / 'net.d'
        self.networks.mkdir()
        run = sandbox.path / 'podman'
        run.mkdir()
        (run / 'containers.conf').write_text(textwrap.dedent(f'''
            [engine]
            cgroup_manager = "cgroupfs"
            events_logger = "file"
            runtime = "runc"
            tmp_dir = "/run/podman"
            [network]
            network_backend = "cni"
            cni_plugin_dirs = ["/opt/cni/bin"]
            network_config_dir = "{self.networks}"
            default_network = "podman"
            [containers]
            default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
            '''))
        (run / 'storage.conf').write_text(textwrap.dedent(f'''
            [storage]
            driver = "vfs"
            graphroot = "{run}/store"
            runroot = "/run/podman-store"
            '''))
        self.environment = {**os.environ, 'CONTAINERS_CONF': str(run / 'containers.conf'), 'HOME': str(run),
                            'CONTAINERS_STORAGE_CONF': str(run / 'storage.conf'), 'TMPDIR': str(run)}
        archive = image.make(run / 'image.tar', IMAGE, BUSYBOX)
        self('load', '-i', archive)

    def __call__(self, *argv, check=True):
        done = subprocess.run(['podman', *map(str, argv)], env=self.environment, capture_output=True, text=True,
                              timeout=100, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done

    def address(self, name, network):
        return json.loads(self('inspect', name).stdout)[0]['NetworkSettings']['Networks'][network]['IPAddress']


@pytest.fixture(name='podman')
def podman_fixture(sandbox, build):
    cgroups.sweep()
    node = lib.Node(sandbox, build)
    for path in ('/etc/containerd', '/opt/cni/bin', '/var/lib/cni', '/var/lib/containers', '/etc/cni/net.d'):
        sandbox.private_directory(path)
    subprocess.run([build / 'cni' / 'berth-cni', 'install', '--bin-dir', '/opt/cni/bin'], check=True,
                   capture_output=True)
    made = Podman(node, sandbox)
    yield made
    made('rm', '-af', '-t', '0', check=False)
    cgroups.sweep(cgroups.NAME)


def run(podman, name, *argv):
    podman('run', '-d', '--cgroup-parent', f'/{cgroups.NAME}', '--name', name, *argv, IMAGE)


def run_web(podman, *argv):
    run(podman, 'web', *argv, '-p', '8080:80', '--entrypoint',
        '["/bin/sh", "-c", "while :; do echo web | nc -l -p 80; done"]')


def check(podman, network):
    web = podman.address('web', network)
    run(podman, 'client', '--network', network)
    # A neighbour, the host port from outside, from the node, and from the pod itself. Between two connections nobody
    # listens for a moment.
    lib.wait_for(lambda: podman('exec', 'client', 'nc', '-w', '2', web, '80', check=False).stdout == 'web\n')
    lib.wait_for(lambda: 'web' in podman.node.ask(podman.node.outside, 'tcp', NODE, 8080))
    lib.wait_for(lambda: 'web' in podman.node.ask(None, 'tcp', '127.0.0.1', 8080))
    lib.wait_for(lambda: podman('exec', 'web', 'nc', '-w', '2', NODE, '8080', check=False).stdout == 'web\n')
    podman.node.serve(podman.node.outside, 'tcp', 80, 'outside')
    assert podman('exec', 'client', 'nc', '-w', '2', OUTSIDE, '80').stdout == f'outside {NODE}'
    podman('rm', '-f', '-t', '0', 'web', 'client')
    assert lib.elements() == []
    assert [one['ifname'] for one in lib.link_json() if one['ifname'].startswith('veth')] == []


@pytest.mark.deadline(240)
def test_networks_that_podman_makes(podman):
    podman('network', 'create', '--subnet', '10.8.0.0/24', 'first')
    types = [one['type'] for one in json.loads((podman.networks / 'first.conflist').read_text())['plugins']]
    assert set(types) <= {'bridge', 'portmap', 'firewall', 'tuning'} and len(types) == 4
    run_web(podman, '--network', 'first', '--mac-address', '02:00:00:00:00:77')
    assert '02:00:00:00:00:77' in podman('exec', 'web', 'ip', 'link', 'show', 'eth0').stdout
    check(podman, 'first')


@pytest.mark.deadline(240)
def test_one_entry(podman):
    (podman.networks / 'berth.conflist').write_text(json.dumps({
        'cniVersion': '1.0.0', 'name': 'berth', 'plugins': [{
            'type': 'berth-cni', 'bridge': 'berth0', 'isGateway': True, 'isDefaultGateway': True, 'ipMasq': True,
            'hairpinMode': True, 'firewall': True, 'capabilities': {'portMappings': True, 'ips': True},
            'ipam': {'type': 'host-local', 'ranges': [[{'subnet': '10.9.0.0/24'}]]}}]}))
    run_web(podman, '--network', 'berth')
    check(podman, 'berth')
