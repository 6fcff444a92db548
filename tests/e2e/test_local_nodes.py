# SPDX-License-Identifier: Apache-2.0
"""Local volumes of two nodes under one Kubernetes: what a claim of one node asks of the other, and growth by kubectl
through the one external-resizer of the cluster, beside the plugin of a node that has only some of the volumes."""

import os
import pathlib
import time

import pytest

import containerd as containerd_lib
import csi
import kubernetes
import node as lib
import sandbox as sandbox_module
from containerd import IMAGE
from kubernetes_node import CSI_DRIVER, DRIVER, STORAGE_CLASS, World

PROGRAMS = pathlib.Path(os.environ.get('BERTH_KUBERNETES', '/none'))

for reason in (containerd_lib.missing(), kubernetes.missing(PROGRAMS), *(
        None if (PROGRAMS / one).exists() else f'needs {one}' for one in ('csi-provisioner', 'csi-resizer'))):
    if reason:
        pytest.skip(reason, allow_module_level=True)

FIRST, SECOND = kubernetes.NODE, 'node-2'


class TwoNodes(World):
    """The second is a kubelet, a runtime and a plugin beside the first; only links and addresses are shared."""

    def __init__(self, sandbox, build):
        super().__init__(sandbox, build, PROGRAMS)
        self.containerd2 = containerd_lib.Containerd(sandbox, 'run2')
        # Addresses of sockets are short.
        root = pathlib.Path('/run/k2')
        root.mkdir()
        (sandbox.path / 'k2').mkdir()
        sandbox_module.mount(sandbox.path / 'k2', root, None, sandbox_module.MS_BIND)
        sandbox.share(root)
        directory = sandbox.path / 'n2'
        directory.mkdir()
        socket = root / 'plugins' / DRIVER / 'csi.sock'
        self.daemon2 = csi.Daemon(build, directory, ['--registration', f'--endpoint={socket}'], kubelet_root=root,
                                  node_name=SECOND)
        self.daemon2.socket_path = socket
        self.root2 = root

    def start(self):
        super().start()
        cluster = self.cluster
        self.containerd2.start()
        self.containerd2.load(self.sandbox.path)
        cluster.start_kubelet(SECOND, 11251, self.root2, lib.NODE_SECOND, self.containerd2)
        cluster.wait(lambda: cluster.node_is_ready(SECOND), 90, 'second node')
        cluster.apply(CSI_DRIVER, {**STORAGE_CLASS, 'allowVolumeExpansion': True,
                                   'parameters': {'csi.storage.k8s.io/fstype': 'xfs'}})
        os.environ |= {'NAMESPACE': 'kube-system', 'POD_NAME': 'none'}
        for node, daemon in ((FIRST, self.daemon), (SECOND, self.daemon2)):
            daemon.start(ready_seconds=0)
            cluster.wait(lambda node=node: DRIVER in cluster.drivers(node), 60, f'CSINode {node}')
            os.environ['NODE_NAME'] = node
            cluster.run('csi-provisioner', f'--kubeconfig={cluster.config}', f'--csi-address={daemon.socket_path}',
                        '--node-deployment=true', '--strict-topology=true', '--immediate-topology=false',
                        '--extra-create-metadata=true', f'--http-endpoint=127.0.0.1:{9900 + len(cluster.processes)}')
        cluster.run('csi-resizer', f'--kubeconfig={cluster.config}', f'--csi-address={self.daemon.socket_path}',
                    '--leader-election=false', '--handle-volume-inuse-error=false',
                    '--feature-gates=VolumeAttributesClass=false')

    def close(self):
        if self.daemon2.process and self.daemon2.process.poll() is None:
            self.daemon2.stop()
        if self.daemon2.log_path.exists():
            print(self.daemon2.log()[-3000:])
        self.cluster.stop('kubelet')
        self.containerd2.close()
        super().close()

    def images(self, node):
        daemon = self.daemon if node == FIRST else self.daemon2
        return {one.stem for one in (daemon.pool / 'volumes').glob('*.img')}


@pytest.fixture(name='world')
def world_fixture(sandbox, build):
    world = TwoNodes(sandbox, build)
    try:
        world.start()
        yield world
    finally:
        world.close()


def claim(name, source=None):
    spec = {'accessModes': ['ReadWriteOnce'], 'storageClassName': 'berth-local',
            'resources': {'requests': {'storage': '320Mi'}}}
    if source:
        spec['dataSource'] = {'kind': 'PersistentVolumeClaim', 'name': source}
    return {'apiVersion': 'v1', 'kind': 'PersistentVolumeClaim', 'metadata': {'name': name, 'namespace': 'default'},
            'spec': spec}


def pod(name, node=None):
    """With the claim of that name."""
    return {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': name, 'namespace': 'default'},
            'spec': {'terminationGracePeriodSeconds': 1, 'enableServiceLinks': False,
                     'nodeSelector': {'kubernetes.io/hostname': node} if node else {},
                     'containers': [{'name': 'c', 'image': IMAGE, 'imagePullPolicy': 'Never',
                                     'command': ['/bin/sleep', '10000'],
                                     'volumeMounts': [{'name': 'v', 'mountPath': '/data'}]}],
                     'volumes': [{'name': 'v', 'persistentVolumeClaim': {'claimName': name}}]}}


def handle(cluster, name):
    volume = cluster.get('pvc', name)['spec']['volumeName']
    return cluster.get('pv', volume)['spec']['csi']['volumeHandle']


def megabytes(cluster, name):
    """Of the filesystem, as the pod sees it."""
    return int(cluster.exec(name, 'df', '-m', '/data').splitlines()[-1].split()[1])


def grow(cluster, name, size, seconds=120):
    cluster.kubectl('patch', 'pvc', name, '-p', f'{{"spec": {{"resources": {{"requests": {{"storage": "{size}"}}}}}}}}')
    cluster.wait(lambda: cluster.get('pvc', name)['status']['capacity']['storage'] == size, seconds,
                 f'growth of {name}')


@pytest.mark.deadline(600)
def test_growth_and_sources_of_another_node(world):
    cluster = world.cluster
    for name, node in (('a', FIRST), ('b', SECOND)):
        cluster.apply(claim(name), pod(name, node))
        cluster.wait(lambda name=name: cluster.phase(name) == 'Running', 120, f'pod {name}')
        assert handle(cluster, name) in world.images(node)
        cluster.exec(name, 'sh', '-c', f'echo {name} >/data/file; sync')
    # The resizer asks node-1's plugin what the driver can do, and either node grows its own.
    for name in ('a', 'b'):
        before = megabytes(cluster, name)
        started = time.monotonic()
        grow(cluster, name, '640Mi')
        print(f'{name}: {before} to {megabytes(cluster, name)} MiB, {time.monotonic() - started:.1f} s')
        assert megabytes(cluster, name) > before + 250
        assert cluster.exec(name, 'cat', '/data/file') == f'{name}\n'
    # A clone of a claim of node-1 is tried on node-2, which says that it is another's: that is not final.
    cluster.kubectl('cordon', FIRST)
    clone = claim('clone', 'a')
    clone['spec']['resources']['requests']['storage'] = '640Mi'
    cluster.apply(clone, pod('clone'))

    def told():
        events = cluster.kubectl('get', 'events', '--field-selector=involvedObject.name=clone', '-o',
                                 'jsonpath={.items[*].message}').stdout
        return 'ResourceExhausted' in events and 'is not on this node' in events
    cluster.wait(told, 120, 'word of the other node')
    cluster.kubectl('uncordon', FIRST)
    cluster.kubectl('cordon', SECOND)
    cluster.wait(lambda: cluster.phase('clone') == 'Running', 180, 'pod clone')
    assert handle(cluster, 'clone') in world.images(FIRST)
    assert cluster.exec('clone', 'cat', '/data/file') == 'a\n'
    cluster.kubectl('uncordon', SECOND)
    for name in ('clone', 'a', 'b'):
        cluster.delete('pod', name)
        cluster.delete('pvc', name)
    cluster.wait(lambda: not world.images(FIRST) | world.images(SECOND), 60, 'deleted volumes')
