# SPDX-License-Identifier: Apache-2.0
"""Kubernetes' own end-to-end suite (tests/e2e/kubernetes_tools.py builds it) against one node whose volumes are
berth-csi's and whose network is berth-cni's, in shards. The results are kept as JUnit files in judges/ of the build
directory, or in $BERTH_JUDGES; tests/conformance/judges.py makes rows for docs/conformance.md of them."""

import json
import os
import pathlib
import re
import subprocess
import xml.etree.ElementTree

import pytest
import yaml

import containerd as containerd_lib
import e2e_images
import kubernetes
import kubernetes_node
from kubernetes_node import DRIVER

PROGRAMS = pathlib.Path(os.environ.get('BERTH_KUBERNETES', '/none'))
MANIFESTS = pathlib.Path(__file__).resolve().parents[2] / 'manifests'
PROCESSES = os.environ.get('BERTH_E2E_PROCESSES', '4')
# Then what has been run is told, and what was running counts as failed.
TIMEOUT = os.environ.get('BERTH_E2E_TIMEOUT', '110m')

for reason in (containerd_lib.missing(), kubernetes.missing(PROGRAMS),
               None if (PROGRAMS / 'e2e.test').exists() else f'needs e2e.test in {PROGRAMS}'):
    if reason:
        pytest.skip(reason, allow_module_level=True)

# What the driver has. Sizes: 300 MiB is the least that mkfs.xfs takes.
CAPABILITIES = ('persistence', 'block', 'fsGroup', 'exec', 'snapshotDataSource', 'pvcDataSource', 'multipods',
                'controllerExpansion', 'nodeExpansion', 'onlineExpansion', 'singleNodeVolume', 'topology', 'capacity',
                'readWriteOncePod', 'multiplePVsSameID')
DEFINITION = {
    'SnapshotClass': {'FromName': True},
    'InlineVolumes': [{'Attributes': {'size': '64Mi'}}],
    'DriverInfo': {
        'Name': DRIVER,
        'SupportedSizeRange': {'Min': '320Mi', 'Max': '8Gi'},
        'SupportedFsType': {'': {}, 'ext4': {}, 'xfs': {}, 'btrfs': {}},
        'SupportedMountOption': {'noatime': {}},
        'TopologyKeys': ['topology.local.berth.dev/node'],
        'StressTestOptions': {'NumPods': 4, 'NumRestarts': 3},
        'VolumeSnapshotStressTestOptions': {'NumPods': 2, 'NumSnapshots': 2}}}
# The suite's own times are for a machine that does nothing else; BERTH_TEST_PATIENCE stretches them.
PATIENCE = float(os.environ.get('BERTH_TEST_PATIENCE', '1'))
MINUTES = {'PodStart': 5, 'PodStartShort': 2, 'PodStartSlow': 15, 'PodDelete': 5, 'ClaimProvision': 5,
           'ClaimProvisionShort': 1, 'DataSourceProvision': 5, 'ClaimBound': 3, 'PVReclaim': 3, 'PVBound': 3,
           'PVCreate': 3, 'PVDelete': 5, 'PVDeleteSlow': 20, 'SnapshotCreate': 5, 'SnapshotDelete': 5,
           'SnapshotControllerMetrics': 5}
CLASS = {'apiVersion': 'storage.k8s.io/v1', 'kind': 'StorageClass', 'metadata': {'name': 'e2e'}, 'provisioner': DRIVER,
         'volumeBindingMode': 'WaitForFirstConsumer', 'allowVolumeExpansion': True, 'reclaimPolicy': 'Delete'}

NETWORK = (r'\[sig-network\] (Networking Granular Checks|HostPort|Services|Connectivity|Conntrack|EndpointSlice|'
           r'NoSNAT|Proxy version)', r'\[Slow\]|\[Serial\]|\[Disruptive\]|\[Feature:')
# shard: (what is asked, what of it is not)
STORAGE = r'External.Storage'
GROWTH = r'volume-expand'
SLOW = r'\[Slow\]|\[Serial\]|\[Disruptive\]'
SHARDS = {
    # A few of each kind: minutes.
    'storage-quick': (STORAGE + r'.*(\(default fs\)\] volumes should store data|\(ext4\)\] volumes should store data|'
                      r'\(xfs\)\] volumes should store data|block volmode\)\] volumes should store data|'
                      r'readwriteoncepod|fsgroupchangepolicy.*Always.*FSGroup changed|'
                      r'ephemeral.*should create read/write inline|should access to two volumes with different)', SLOW),
    'storage-ext4': (STORAGE, rf'{SLOW}|\(xfs\)|\(btrfs\)|Snapshot|{GROWTH}|\[Feature:Volumes?Group'),
    # All of them are [Slow] in the suite.
    'storage-xfs': (STORAGE + r'.*\((xfs|btrfs)\)', rf'\[Serial\]|\[Disruptive\]|[Ss]napshot|{GROWTH}'),
    'storage-growth': (rf'{STORAGE}.*{GROWTH}', SLOW),
    'storage-snapshots': (STORAGE + r'.*Snapshot', rf'{SLOW}|[Gg]roup'),
    'storage-slow': (STORAGE + r'.*\[Slow\]', r'\[Serial\]|\[Disruptive\]|\(xfs\)|\(btrfs\)|[Gg]roup'),
    'storage-serial': (STORAGE + r'.*\[Serial\]', r'[Gg]roup'),
    # What a pod network owes; names are not resolved here, and policies and balancers are others'.
    'network': NETWORK,
    'network-iptables': NETWORK,
    'network-dual-stack': (r'\[sig-network\].*\[Feature:IPv6DualStack\]', rf'{SLOW}|SCTP'),
}


def is_network(shard):
    return shard.startswith('network')


def has(program):
    return (PROGRAMS / program).exists()


def definition(path):
    """What the suite is told of the driver; without a sidecar not what it is for."""
    missing = [] if has('csi-resizer') else ['controllerExpansion', 'nodeExpansion', 'onlineExpansion']
    missing += [] if has('csi-snapshotter') else ['snapshotDataSource']
    (path / 'class.yaml').write_text(json.dumps(CLASS))
    info = {**DEFINITION['DriverInfo'], 'Capabilities': {
        **{one: one not in missing for one in CAPABILITIES}, 'offlineExpansion': False}}
    (path / 'driver.yaml').write_text(json.dumps({
        **DEFINITION, 'Timeouts': {name: f'{round(60 * PATIENCE * one)}s' for name, one in MINUTES.items()},
        'StorageClass': {'FromFile': str(path / 'class.yaml')}, 'DriverInfo': info}))
    return path / 'driver.yaml'


def judges():
    path = pathlib.Path(os.environ.get('BERTH_JUDGES', pathlib.Path(os.environ['BERTH_BUILD']) / 'judges'))
    path.mkdir(parents=True, exist_ok=True)
    return path


class Suite:
    def __init__(self, sandbox, build, shard):
        self.sandbox, self.shard = sandbox, shard
        self.world = kubernetes_node.World(sandbox, build, PROGRAMS, dual_stack=is_network(shard))
        self.cluster = self.world.cluster

    def start(self):
        self.world.start()
        e2e_images.load(self.world.containerd, PROGRAMS, self.sandbox.path)
        self.cluster.start_kube_proxy('iptables' if self.shard.endswith('iptables') else 'nftables')
        if not is_network(self.shard):
            self.start_storage()

    def start_storage(self):
        world, cluster = self.world, self.cluster
        world.daemon.start(ready_seconds=0)
        cluster.apply(yaml.safe_load((MANIFESTS / 'overlays/providers/local/csidriver.yaml').read_text()))
        cluster.wait(lambda: DRIVER in cluster.drivers(), 60, 'CSINode')
        os.environ |= {'NODE_NAME': kubernetes.NODE, 'NAMESPACE': 'kube-system', 'POD_NAME': 'none'}
        common = [f'--kubeconfig={cluster.config}', f'--csi-address={world.daemon.socket_path}']
        cluster.run('csi-provisioner', *common, '--node-deployment=true', '--strict-topology=true',
                    '--immediate-topology=false', '--default-fstype=ext4', '--extra-create-metadata=true',
                    '--enable-capacity', '--capacity-ownerref-level=-1', '--capacity-poll-interval=5s')
        if has('csi-resizer'):
            cluster.run('csi-resizer', *common, '--leader-election=false', '--handle-volume-inuse-error=false',
                        '--feature-gates=VolumeAttributesClass=false')
        if has('csi-snapshotter'):
            cluster.kubectl('apply', '-f', PROGRAMS / 'crd')
            cluster.run('snapshot-controller', f'--kubeconfig={cluster.config}', '--leader-election=false')
            cluster.run('csi-snapshotter', *common, '--leader-election=false')

    def run(self):
        """Runs the shard; the JUnit file of it is kept, with how it was made beside it."""
        focus, skip = SHARDS[self.shard]
        path = self.sandbox.path / 'e2e'
        path.mkdir()
        junit = judges() / f'kubernetes-{self.shard}.xml'
        argv = [PROGRAMS / 'ginkgo', f'--procs={PROCESSES}', f'--focus={focus}', f'--skip={skip}', '--no-color',
                f'--timeout={TIMEOUT}', '--silence-skips', f'--junit-report={junit.name}',
                f'--output-dir={junit.parent}',
                PROGRAMS / 'e2e.test', '--', '--provider=skeleton', f'--kubeconfig={self.cluster.config}',
                '--num-nodes=1', '--dump-logs-on-failure=true']
        argv += [] if is_network(self.shard) else [f'--storage.testdriver={definition(path)}']
        with open(junit.with_suffix('.log'), 'wb') as log:
            done = subprocess.run(argv, stdout=log, stderr=log, check=False, cwd=path)
        return done.returncode, junit

    def close(self):
        self.world.close()


@pytest.fixture(name='suite')
def suite_fixture(sandbox, build, shard):
    made = Suite(sandbox, build, shard)
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.mark.deadline(7200)
@pytest.mark.parametrize('shard', SHARDS)
def test_kubernetes(suite):
    code, junit = suite.run()
    cases = list(xml.etree.ElementTree.parse(junit).getroot().iter('testcase'))
    states = [(re.sub(r'^\[It\] ', '', one.get('name')), one.get('status')) for one in cases]
    failed = [name for name, state in states if state not in ('passed', 'skipped', 'pending')]
    passed = [name for name, state in states if state == 'passed' and not name.startswith('[')]
    assert not failed, '\n'.join(failed)
    assert code == 0 and passed
