# SPDX-License-Identifier: Apache-2.0
"""Kubernetes itself: API server, scheduler, controller manager and kubelet, built from their Go modules
(tests/e2e/kubernetes_tools.py), on a node whose network is berth-cni and whose volumes are berth-csi's."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import time

import pytest
import yaml

import containerd as containerd_lib
import csi
import image
import kubernetes
import node as lib
import sandbox as sandbox_module
from containerd import IMAGE
from kubernetes_node import CSI_DRIVER, DRIVER, STORAGE_CLASS, World
from node import NODE

PROGRAMS = pathlib.Path(os.environ.get('BERTH_KUBERNETES', '/none'))
MANIFESTS = pathlib.Path(__file__).resolve().parents[2] / 'manifests'
MIB = 1 << 20

for reason in (containerd_lib.missing(), kubernetes.missing(PROGRAMS)):
    if reason:
        pytest.skip(reason, allow_module_level=True)


def pod(name, *argv, volumes=None, ports=(), group=None):
    """A pod of one container; volumes: {mount path: volume source}."""
    volumes = volumes or {}
    return {
        'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': name, 'namespace': 'default'},
        'spec': {
            'terminationGracePeriodSeconds': 1, 'enableServiceLinks': False,
            'securityContext': {'fsGroup': group} if group else {},
            'containers': [{
                'name': 'c', 'image': IMAGE, 'imagePullPolicy': 'Never', 'command': list(argv),
                'ports': [{'containerPort': inside, 'hostPort': outside} for outside, inside in ports],
                'volumeMounts': [{'name': f'v{n}', 'mountPath': path} for n, path in enumerate(volumes)]}],
            'volumes': [{'name': f'v{n}', **source} for n, source in enumerate(volumes.values())]}}


CLAIM = {'apiVersion': 'v1', 'kind': 'PersistentVolumeClaim', 'metadata': {'name': 'data', 'namespace': 'default'},
         'spec': {'accessModes': ['ReadWriteOnce'], 'storageClassName': 'berth-local',
                  'resources': {'requests': {'storage': '64Mi'}}}}


@pytest.fixture(name='world')
def world_fixture(sandbox, build):
    world = World(sandbox, build, PROGRAMS)
    try:
        world.start()
        yield world
    finally:
        world.close()


def settled(world):
    """Nothing of any pod is left: no mount, no link, no lease, no loop device."""
    leases = [one for one in os.listdir('/var/lib/cni/networks/berth') if one[0].isdigit()]
    links = [one['ifname'] for one in lib.link_json() if one['ifname'].startswith('veth')]
    mounts = [one for one in sandbox_module.mounts_below('/var/lib/kubelet') if 'csi' in one[0]]
    return not (leases or links or lib.elements() or mounts or sandbox_module.loops_below(world.sandbox.path))


@pytest.mark.deadline(600)
def test_pods_and_volumes(world):
    cluster = world.cluster
    started = time.monotonic()
    world.daemon.start(ready_seconds=0)
    cluster.apply(CSI_DRIVER, STORAGE_CLASS)
    cluster.wait(lambda: DRIVER in cluster.drivers(), 60, 'CSINode')
    print(f'registered after {time.monotonic() - started:.2f} s')
    # Network: pod to pod, node to pod, host port from outside.
    started = time.monotonic()
    address = cluster.run_pod(pod('web', '/bin/httpd', '-f', '-p', '80', '-h', '/etc', ports=[(8080, 80)]))
    print(f'first pod running after {time.monotonic() - started:.2f} s')
    assert address.startswith('10.5.0.')
    inline = {'/scratch': {'csi': {'driver': DRIVER, 'volumeAttributes': {'size': '64Mi'}}}}
    started = time.monotonic()
    cluster.run_pod(pod('client', '/bin/sleep', '1000', volumes=inline, group=1234))
    print(f'pod with a new volume running after {time.monotonic() - started:.2f} s')
    assert cluster.exec('client', 'wget', '-qO-', f'http://{address}/passwd').startswith('root:')
    assert cluster.exec('client', 'wget', '-qO-', f'http://{NODE}:8080/passwd').startswith('root:')
    assert world.node.outside.run('busybox', 'wget', '-qO-', f'http://{NODE}:8080/passwd').stdout.startswith('root:')
    # Inline volume, kubelet's own fsGroup on it.
    cluster.exec('client', 'sh', '-c', 'echo x >/scratch/file')
    assert ' 1234 ' in ' '.join(cluster.exec('client', 'ls', '-ln', '/scratch').split())
    # A volume that is there already, as an admin binds it; write, delete, read in the next pod.
    client = csi.Client(world.daemon.socket_path)
    made = client.CreateVolume(name='by-hand', capacity_range={'required_bytes': 64 * MIB},
                               volume_capabilities=[csi.mount_capability('ext4')]).volume
    volume = {'apiVersion': 'v1', 'kind': 'PersistentVolume', 'metadata': {'name': 'by-hand'},
              'spec': {'capacity': {'storage': '64Mi'}, 'accessModes': ['ReadWriteOnce'],
                       'persistentVolumeReclaimPolicy': 'Retain', 'storageClassName': 'berth-local',
                       'csi': {'driver': DRIVER, 'volumeHandle': made.volume_id, 'fsType': 'ext4',
                               'volumeAttributes': csi.pairs(made.volume_context)}}}
    cluster.apply(volume, {**CLAIM, 'spec': {**CLAIM['spec'], 'volumeName': 'by-hand'}})
    source = {'/data': {'persistentVolumeClaim': {'claimName': 'data'}}}
    for name, command in (('first', 'echo kept >/data/file; sync'), ('second', 'cat /data/file')):
        cluster.run_pod(pod(name, '/bin/sleep', '1000', volumes=source))
        out = cluster.exec(name, 'sh', '-c', command)
        if name == 'second':
            assert out == 'kept\n'
            # Daemon, runtime and kubelet restart under the pod.
            world.daemon.stop()
            world.daemon.start(ready_seconds=0)
            world.containerd.stop()
            cluster.stop('kubelet')
            world.containerd.start()
            cluster.start_kubelet()
            cluster.wait(lambda: cluster.kubectl('exec', 'second', '--', 'cat', '/data/file', check=False).stdout
                         == 'kept\n', 60, 'exec after the restart')
        cluster.delete('pod', name)
    for name in ('web', 'client'):
        cluster.delete('pod', name)
    cluster.wait(lambda: settled(world), 60, 'clean node')


@pytest.mark.deadline(600)
@pytest.mark.skipif(not (PROGRAMS / 'csi-provisioner').exists(), reason='needs csi-provisioner')
def test_dynamic_provisioning(world):
    """external-provisioner beside the daemon, as the manifests run it: claim, pod, volume, and all of it goes again."""
    cluster = world.cluster
    world.daemon.start(ready_seconds=0)
    cluster.apply(CSI_DRIVER, STORAGE_CLASS)
    cluster.wait(lambda: DRIVER in cluster.drivers(), 60, 'CSINode')
    os.environ['NODE_NAME'] = kubernetes.NODE
    cluster.run('csi-provisioner', f'--kubeconfig={cluster.config}', f'--csi-address={world.daemon.socket_path}',
                '--node-deployment=true', '--strict-topology=true', '--immediate-topology=false',
                '--feature-gates=Topology=true', '--default-fstype=ext4', '--extra-create-metadata=true')
    cluster.apply(CLAIM)
    source = {'/data': {'persistentVolumeClaim': {'claimName': 'data'}}}
    for name, command in (('first', 'echo kept >/data/file; sync'), ('second', 'cat /data/file')):
        cluster.run_pod(pod(name, '/bin/sleep', '1000', volumes=source), 90)
        out = cluster.exec(name, 'sh', '-c', command)
        cluster.delete('pod', name)
    assert out == 'kept\n'
    volume = cluster.get('pvc', 'data')['spec']['volumeName']
    assert cluster.get('pv', volume)['spec']['nodeAffinity']
    assert len(list((world.daemon.pool / 'volumes').glob('*.img'))) == 1
    cluster.delete('pvc', 'data')
    cluster.wait(lambda: not list((world.daemon.pool / 'volumes').glob('*.img')), 60, 'deleted volume')
    cluster.wait(lambda: settled(world), 60, 'clean node')


def example(name):
    """The pod of an example, with the image that is here."""
    made = yaml.safe_load((MANIFESTS / 'examples' / name / 'pod.yaml').read_text())
    for one in made['spec']['containers']:
        one |= {'image': IMAGE, 'imagePullPolicy': 'Never', 'command': ['/bin/sleep', '1000']}
    return made


@pytest.mark.deadline(600)
def test_a_restricted_tenant_gets_volumes_and_network(world):
    """In a namespace that enforces the Pod Security Standard "restricted": a claim, an inline volume, the network. What
    the standard refuses is refused by the API server, and what a pod has of the rest does not work in it."""
    cluster = world.cluster
    world.daemon.start(ready_seconds=0)
    cluster.apply(CSI_DRIVER, STORAGE_CLASS)
    cluster.wait(lambda: DRIVER in cluster.drivers(), 60, 'CSINode')
    cluster.kubectl('label', 'namespace', 'default', 'pod-security.kubernetes.io/enforce=restricted')
    made = csi.Client(world.daemon.socket_path).CreateVolume(
        name='work', capacity_range={'required_bytes': 64 * MIB},
        volume_capabilities=[csi.mount_capability('ext4')]).volume
    claim = {**CLAIM, 'metadata': {**CLAIM['metadata'], 'name': 'work'},
             'spec': {**CLAIM['spec'], 'volumeName': 'work'}}
    cluster.apply({'apiVersion': 'v1', 'kind': 'PersistentVolume', 'metadata': {'name': 'work'},
                   'spec': {'capacity': {'storage': '64Mi'}, 'accessModes': ['ReadWriteOnce'],
                            'persistentVolumeReclaimPolicy': 'Retain', 'storageClassName': 'berth-local',
                            'csi': {'driver': DRIVER, 'volumeHandle': made.volume_id, 'fsType': 'ext4',
                                    'volumeAttributes': csi.pairs(made.volume_context)}}}, claim)
    tenant = example('restricted')
    tenant['spec']['volumes'][1]['csi']['volumeAttributes']['size'] = '64Mi'
    address = cluster.run_pod(tenant, 90)
    assert address.startswith('10.5.0.')

    def tries(script):
        done = cluster.kubectl('exec', 'worker', '--', 'sh', '-c', script, check=False)
        return done.returncode == 0
    assert tries('test $(id -u) = 1000 && echo x >/data/file && echo x >/scratch/file && sync')
    assert tries('httpd -p 8080 -h /data')
    assert lib.sh('busybox', 'wget', '-qO-', f'http://{address}:8080/file').stdout == 'x\n'
    status = cluster.exec('worker', 'cat', '/proc/self/status')
    assert re.search(r'CapEff:\s*0{16}\n', status) and re.search(r'CapBnd:\s*0{16}\n', status), status
    for script in ('arping -c 1 -I eth0 10.5.0.1', 'mknod /data/disk b 7 0', 'mount -t tmpfs x /data',
                   'ip link set eth0 address 02:00:00:00:00:99', 'ip addr add 10.5.0.99/24 dev eth0',
                   'cat /dev/loop-control', 'ls /var/lib/kubelet/plugins'):
        done = cluster.kubectl('exec', 'worker', '--', 'busybox', *script.split(), check=False)
        assert re.search('not permitted|denied|No such file', done.stderr), (script, done)
    lines = [line.split() for line in cluster.exec('worker', 'cat', '/proc/mounts').splitlines()]
    for line in lines:
        if line[1] in ('/data', '/scratch'):
            assert {'nosuid', 'nodev'} <= set(line[3].split(',')), line
    # Not by another pod either.
    for name, change in {'hostPort': {'ports': [{'containerPort': 80, 'hostPort': 8080}]},
                         'root': {'securityContext': {'runAsUser': 0, 'runAsNonRoot': False}},
                         'NET_RAW': {'securityContext': {'capabilities': {'drop': ['ALL'], 'add': ['NET_RAW']}}},
                         'privileged': {'securityContext': {'privileged': True}}}.items():
        other = example('restricted')
        other['metadata']['name'] = name.lower().replace('_', '-')
        other['spec']['containers'][0] |= change
        done = cluster.kubectl('apply', '-f', '-', given=json.dumps(other), check=False)
        assert done.returncode != 0 and 'violates PodSecurity "restricted' in done.stderr, (name, done.stderr)
    cluster.delete('pod', 'worker')
    cluster.wait(lambda: settled(world), 60, 'clean node')


# --- the token of a node ---

PROVISIONER = 'berth-csi'


def of_node(name, node, driver=DRIVER, key='topology.local.berth.dev/node', size='1Gi'):
    term = {'matchExpressions': [{'key': key, 'operator': 'In', 'values': [node]}]}
    return {'apiVersion': 'v1', 'kind': 'PersistentVolume', 'metadata': {'name': name},
            'spec': {'capacity': {'storage': size}, 'accessModes': ['ReadWriteOnce'],
                     'persistentVolumeReclaimPolicy': 'Retain', 'csi': {'driver': driver, 'volumeHandle': name},
                     'nodeAffinity': {'required': {'nodeSelectorTerms': [term]}}}}


@pytest.mark.deadline(300)
def test_the_provisioner_of_a_node_changes_its_own_volumes_only(sandbox, build):
    """components/own-node in the API server, with tokens that it made for pods of two nodes."""
    lib.Node(sandbox, build)
    cluster = kubernetes.Kubernetes(sandbox, PROGRAMS, None)
    try:
        cluster.start_control_plane()
        system(cluster, 'create', 'serviceaccount', PROVISIONER)
        cluster.kubectl('apply', '-f', MANIFESTS / 'overlays/providers/local/clusterrole.yaml')
        role = yaml.safe_load((MANIFESTS / 'overlays/providers/local/clusterrole.yaml').read_text())['metadata']['name']
        cluster.kubectl('create', 'clusterrolebinding', 'p', f'--clusterrole={role}',
                        f'--serviceaccount=kube-system:{PROVISIONER}')
        tokens = {'nobody': system(cluster, 'create', 'token', PROVISIONER).strip()}
        for node in ('node-a', 'node-b'):
            cluster.apply({'apiVersion': 'v1', 'kind': 'Node', 'metadata': {'name': node}},
                          {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': node, 'namespace': 'kube-system'},
                           'spec': {'nodeName': node, 'serviceAccountName': PROVISIONER,
                                    'containers': [{'name': 'c', 'image': IMAGE}]}})
            tokens[node] = system(cluster, 'create', 'token', PROVISIONER, '--bound-object-kind=Pod',
                                  f'--bound-object-name={node}').strip()

        # With its certificate alone: the token of kubeconfig is the administrator's.
        bare = cluster.path / 'bare'
        bare.write_text(json.dumps({**(text := json.loads(cluster.config.read_text())), 'users': [],
                                    'contexts': [{'name': 'c', 'context': {'cluster': 'c'}}],
                                    'clusters': text['clusters']}))

        def asks(who, *argv, given=None):
            """None where it is allowed, else what the API server says."""
            done = subprocess.run([PROGRAMS / 'kubectl', '--kubeconfig', bare, '--token', tokens[who], *argv],
                                  check=False, capture_output=True, text=True, timeout=60, cwd=cluster.path,
                                  input=json.dumps(given) if given else None)
            return None if done.returncode == 0 else done.stderr

        def makes(who, volume):
            return asks(who, 'create', '-f', '-', given=volume)
        # What the component is for: without it any of them deletes any volume.
        cluster.apply(of_node('theirs', 'node-b'), of_node('ours', 'node-a'),
                      of_node('cloud', 'node-a', 'ebs.csi.aws.com'))
        assert makes('node-a', of_node('early', 'node-b')) is None
        assert asks('node-a', 'delete', 'pv', 'early', '--wait=false') is None
        for one in ('policy', 'binding'):
            cluster.kubectl('apply', '-f', MANIFESTS / f'components/own-node/{one}.yaml')
        cluster.wait(lambda: makes('node-a', of_node('probe', 'node-b')) or asks('node-a', 'delete', 'pv', 'probe'), 60,
                     'the policy')
        cluster.kubectl('delete', 'pv', 'probe', '--ignore-not-found', '--wait=false')
        # Its own work.
        assert makes('node-a', of_node('new', 'node-a')) is None
        assert asks('node-a', 'patch', 'pv', 'new', '-p', '{"metadata": {"annotations": {"a": "b"}}}') is None
        assert asks('node-a', 'delete', 'pv', 'new', '--wait=false') is None
        assert makes('node-b', of_node('new-b', 'node-b')) is None
        # Another's.
        said = 'of that node only'
        open_term = of_node('x', 'node-a')
        open_term['spec']['nodeAffinity']['required']['nodeSelectorTerms'].append(
            {'matchExpressions': [{'key': 'topology.local.berth.dev/node', 'operator': 'In', 'values': ['node-b']}]})
        both = of_node('x', 'node-a')
        both['spec']['nodeAffinity']['required']['nodeSelectorTerms'][0]['matchExpressions'][0]['values'] += ['node-b']
        nowhere = of_node('x', 'node-a')
        del nowhere['spec']['nodeAffinity']
        host_path = of_node('x', 'node-a')
        del host_path['spec']['csi']
        host_path['spec']['hostPath'] = {'path': '/'}
        for volume in (of_node('x', 'node-b'), of_node('x', 'node-a', 'ebs.csi.aws.com'), open_term, both, nowhere,
                       host_path, of_node('x', 'node-a', key='kubernetes.io/hostname')):
            assert said in (makes('node-a', volume) or ''), volume
        assert said in makes('nobody', of_node('x', 'node-a'))
        for reference in ('nodeStageSecretRef', 'nodePublishSecretRef', 'nodeExpandSecretRef',
                          'controllerPublishSecretRef', 'controllerExpandSecretRef'):
            volume = of_node('x', 'node-a')
            volume['spec']['csi'][reference] = {'namespace': 'kube-system', 'name': 'of-others'}
            assert 'names a Secret' in (makes('node-a', volume) or ''), reference
        # An administrator made it: what the provisioner has to do with it goes on.
        keyed = of_node('keyed', 'node-a')
        keyed['spec']['csi']['nodeStageSecretRef'] = {'namespace': 'kube-system', 'name': 'of-its-own'}
        cluster.apply(keyed)
        assert asks('node-a', 'patch', 'pv', 'keyed', '-p', '{"metadata": {"annotations": {"a": "b"}}}') is None
        assert asks('node-a', 'delete', 'pv', 'keyed', '--wait=false') is None
        for volume in ('theirs', 'cloud', 'new-b'):
            assert said in asks('node-a', 'delete', 'pv', volume, '--wait=false')
            assert said in asks('node-a', 'patch', 'pv', volume, '-p', '{"metadata": {"annotations": {"a": "b"}}}')
        assert said in asks('node-a', 'delete', 'pv', '--all', '--wait=false')
        left = {one['metadata']['name'] for one in cluster.get('pv')['items']}
        assert {'theirs', 'cloud', 'new-b'} <= left
        # Who is not the provisioner is not asked.
        cluster.kubectl('delete', 'pv', 'theirs', '--wait=false')
    finally:
        cluster.close()


@pytest.mark.deadline(300)
def test_manifests_are_accepted(sandbox, build):
    """Every overlay and example, by the API server itself, with unknown fields as errors. Nothing is kept."""
    lib.Node(sandbox, build)
    cluster = kubernetes.Kubernetes(sandbox, PROGRAMS, None)
    refused, n = [], 0
    try:
        cluster.start_control_plane()
        wrong = '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "nmespace": "y"}}'
        done = cluster.kubectl('apply', '--dry-run=server', '--validate=strict', '-f', '-', given=wrong, check=False)
        assert done.returncode != 0 and 'nmespace' in done.stderr
        for path in sorted([*MANIFESTS.glob('overlays/**/kustomization.yaml'),
                            *MANIFESTS.glob('examples/**/kustomization.yaml')]):
            done = cluster.kubectl('apply', '--dry-run=server', '--validate=strict', '-k', path.parent, check=False)
            n += 1
            # Snapshots are kinds of a controller that is not here.
            words = [one for one in done.stderr.splitlines() if 'no matches for kind "VolumeSnapshot' not in one
                     and 'ensure CRDs are installed first' not in one]
            if done.returncode != 0 and words:
                refused.append(f'{path.parent.relative_to(MANIFESTS)}: {" ".join(words)[:400]}')
    finally:
        cluster.close()
    assert n > 10 and not refused, '\n'.join(refused)


# --- from a cluster that has nothing ---

def load_images(world):
    """Those of this tree, and stand-ins under names of our own for those that the manifests take elsewhere."""
    path = world.sandbox.path

    def load(archive, *flags):
        lib.sh('ctr', '-a', world.containerd.socket, '-n', 'k8s.io', 'images', 'import', *flags, archive)
    for name in ('berth-csi', 'berth-cni'):
        lib.sh('tar', '-C', PROGRAMS / 'images' / name, '-cf', path / f'{name}.tar', '.')
        load(path / f'{name}.tar', '--base-name', f'docker.io/library/{name}')
    for name in ('csi-provisioner', 'csi-snapshotter'):
        if (PROGRAMS / name).exists():
            files = path / f'{name}-files'
            files.mkdir()
            shutil.copy(PROGRAMS / name, files / name)
            load(image.make_of(path / f'{name}.tar', f'test.local/{name}:1', files, f'/{name}'))
    load(image.make(path / 'busybox.tar', 'docker.io/library/busybox:1.36'))


IMAGES = [{'name': f'registry.k8s.io/sig-storage/{name}', 'newName': f'test.local/{name}', 'newTag': '1'}
          for name in ('csi-provisioner', 'csi-snapshotter')]


def kustomization(world, name, resources, **more):
    """An admin's own: of these manifests, with the images of a registry of their own."""
    path = world.sandbox.path / name
    path.mkdir()

    def below(names):
        return [os.path.relpath(MANIFESTS / one, path) for one in names]
    (path / 'kustomization.yaml').write_text(json.dumps({
        'resources': below(resources), 'components': below(more.pop('components', ())), 'images': IMAGES, **more}))
    return path


def other_pool(path):
    """A patch: a pool that lies elsewhere."""
    where = '/spec/template/spec'
    patch = [{'op': 'test', 'path': f'{where}/containers/0/args/4', 'value': '--pool=/var/lib/berth/pool'},
             {'op': 'replace', 'path': f'{where}/containers/0/args/4', 'value': f'--pool={path}'},
             {'op': 'test', 'path': f'{where}/containers/0/volumeMounts/3/name', 'value': 'pool'},
             {'op': 'replace', 'path': f'{where}/containers/0/volumeMounts/3/mountPath', 'value': path},
             {'op': 'test', 'path': f'{where}/volumes/3/name', 'value': 'pool'},
             {'op': 'replace', 'path': f'{where}/volumes/3/hostPath/path', 'value': path}]
    return {'target': {'kind': 'DaemonSet', 'name': 'berth-csi-local'}, 'patch': json.dumps(patch)}


OURS = 'app.kubernetes.io/part-of=berth'


def system(cluster, *argv, **keywords):
    return cluster.kubectl('-n', 'kube-system', *argv, **keywords).stdout


def wait_for_daemonsets(cluster):
    done = system(cluster, 'rollout', 'status', 'daemonset', '-l', OURS, '--timeout=120s', timeout=130)
    assert done.count('successfully rolled out') == 2


def look_at_it(cluster):
    """What docs/ tells an admin to ask."""
    columns = 'NODE:.metadata.name,DRIVERS:.spec.drivers[*].name'
    assert cluster.kubectl('get', 'csinodes', '-o', f'custom-columns={columns}').stdout.split()[-2:] == [
        kubernetes.NODE, DRIVER]
    daemon = system(cluster, 'get', 'pods', '-l', 'app.kubernetes.io/name=berth-csi', '-o', 'name').strip()
    assert f'kubelet registered driver {DRIVER}' in system(cluster, 'logs', daemon)
    host = json.loads(system(cluster, 'exec', daemon, '--', 'berth-csi', 'host', '--json'))
    assert host['kernel'] == os.uname().release
    address = system(cluster, 'get', daemon, '-o', 'jsonpath={.status.podIP}')
    metrics = lib.sh('busybox', 'wget', '-qO-', f'http://{address}:9808/metrics').stdout
    assert 'csi_operations_seconds_bucket' in metrics


def starts(cluster):
    """Runs the example that notes each of its starts on its volume: how many there were."""
    cluster.kubectl('apply', '-k', MANIFESTS / 'examples/pvc')
    cluster.wait(lambda: cluster.phase('writer') == 'Running', 90, 'pod writer')
    return len(cluster.kubectl('logs', 'writer').stdout.splitlines())


@pytest.fixture(name='clean')
def clean_fixture(sandbox, build):
    """A cluster that has nothing, and images for it. What its pods say when a test fails is printed."""
    if not (PROGRAMS / 'images/ready').exists():
        pytest.skip('needs images (tests/e2e/kubernetes_tools.py)')
    world = World(sandbox, build, PROGRAMS)
    # As every mount is where systemd has started: berth-node sees namespaces that come later.
    namespaces = pathlib.Path('/run/netns')
    namespaces.mkdir(exist_ok=True)
    sandbox.share(namespaces)
    try:
        world.start_cluster()
        world.cluster.stand_in_for_kube_proxy()
        load_images(world)
        yield world
    finally:
        print(world.cluster.kubectl('describe', 'pod', '-A', check=False).stdout[-6000:])
        world.close()


def install(world, *resources):
    # Shared, as all of a node is below systemd: the daemon sees what is mounted there later (HostToContainer).
    pool = world.sandbox.shared_directory('node-pool')
    overlay = kustomization(world, 'overlay', resources, patches=[other_pool(str(pool))])
    started = time.monotonic()
    world.cluster.kubectl('apply', '-k', overlay)
    wait_for_daemonsets(world.cluster)
    world.cluster.wait(lambda: world.cluster.node_is_ready() and DRIVER in world.cluster.drivers(), 60, 'node')
    print(f'DaemonSets ready after {time.monotonic() - started:.2f} s')
    return overlay


def take_away(world, *examples):
    """Examples, and then their volumes: nothing of them stays in the pool."""
    for example in examples:
        world.cluster.kubectl('delete', '-k', MANIFESTS / 'examples' / example, '--timeout=90s', timeout=100)
    world.cluster.wait(lambda: not world.cluster.get('pv')['items'], 60, 'deleted volume')
    pool = world.sandbox.path / 'node-pool'
    assert not [*pool.glob('volumes/*'), *pool.glob('snapshots/*')]


@pytest.mark.deadline(900)
def test_from_a_clean_cluster(clean):
    """One kubectl apply: DaemonSets of the images, under their own service accounts, make network and volumes."""
    cluster = clean.cluster
    overlay = install(clean, 'overlays/distributions/kubeadm')
    started = time.monotonic()
    assert starts(cluster) == 1
    print(f'the first claim and its pod after {time.monotonic() - started:.2f} s')
    assert cluster.get('-n', 'kube-system', 'csistoragecapacities')['items'], 'no capacity for the scheduler'
    look_at_it(cluster)
    # An upgrade below a running pod, and back; then the pod itself goes and comes.
    for move in (('restart', 'daemonset'), ('undo', 'daemonset', '-l', OURS)):
        system(cluster, 'rollout', *move)
        wait_for_daemonsets(cluster)
    cluster.exec('writer', 'sh', '-c', 'echo another >>/data/starts')
    cluster.delete('pod', 'writer')
    assert starts(cluster) == 3
    cluster.kubectl('apply', '-k', MANIFESTS / 'examples/ephemeral')
    cluster.wait(lambda: cluster.phase('scratch') == 'Running', 60, 'pod with an inline volume')
    # And back.
    take_away(clean, 'ephemeral', 'pvc')
    cluster.kubectl('delete', '-k', overlay, '--timeout=90s', timeout=100)
    cluster.wait(lambda: settled(clean), 60, 'clean node')
    # What is on the node itself.
    assert os.listdir(containerd_lib.PLUGINS) and os.listdir(containerd_lib.CONFIGURATIONS)
    removal = kustomization(clean, 'removal', ['base/cni'], components=['components/remove-cni'])
    cluster.kubectl('apply', '-k', removal)
    system(cluster, 'rollout', 'status', 'daemonset', 'berth-cni', '--timeout=60s')
    assert not os.listdir(containerd_lib.PLUGINS) + os.listdir(containerd_lib.CONFIGURATIONS)
    cluster.kubectl('delete', '-k', removal, '--timeout=60s')


def lines_of(cluster, claim):
    """What a pod finds in a claim of the example's data."""
    cluster.run_pod(pod(claim, '/bin/sleep', '1000', volumes={'/data': {'persistentVolumeClaim': {
        'claimName': claim}}}), 90)
    lines = cluster.exec(claim, 'cat', '/data/starts').splitlines()
    cluster.delete('pod', claim)
    return len(lines)


@pytest.mark.deadline(900)
@pytest.mark.skipif(not (PROGRAMS / 'crd').exists(), reason='needs csi-snapshotter')
def test_snapshots_and_clones(clean):
    """The overlay with snapshots, beside the cluster's own controller of them; and a raw block volume."""
    cluster = clean.cluster
    cluster.kubectl('apply', '-f', PROGRAMS / 'crd')
    cluster.run('snapshot-controller', f'--kubeconfig={cluster.config}', '--leader-election=false',
                '--enable-distributed-snapshotting')
    overlay = install(clean, 'base/cni', 'overlays/local-snapshots')
    assert starts(cluster) == 1
    cluster.kubectl('apply', '-k', MANIFESTS / 'examples/snapshot')
    cluster.kubectl('wait', 'volumesnapshot/data-1', '--for=jsonpath={.status.readyToUse}=true', '--timeout=60s')
    cluster.exec('writer', 'sh', '-c', 'echo later >>/data/starts; sync')
    cluster.kubectl('apply', '-k', MANIFESTS / 'examples/clone')
    assert (lines_of(cluster, 'data-restored'), lines_of(cluster, 'data-clone')) == (1, 2)
    cluster.kubectl('apply', '-k', MANIFESTS / 'examples/block')
    cluster.wait(lambda: cluster.phase('raw') == 'Running', 60, 'pod with a block volume')
    assert cluster.kubectl('logs', 'raw').stdout.split()[1:3] == ['0000', '0000']
    take_away(clean, 'block', 'clone', 'snapshot', 'pvc')
    cluster.kubectl('delete', '-k', overlay, '--timeout=90s', timeout=100)
