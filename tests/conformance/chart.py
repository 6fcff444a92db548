#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""chart.py: charts/berth renders to the objects that manifests/ renders to, and Helm finds nothing to say of it.

Every provider and every distribution, with the network, both ways; then what values change, and what the schema
refuses. Helm and kustomize come as Go modules and are kept in $XDG_CACHE_HOME/berth. One that cannot be had skips by
name.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import yaml

import csi_sanity
import manifests
from csi_sanity import versions

CHART = manifests.SOURCE / 'charts/berth'
HELM = '{}/cmd/helm@{}'.format(*versions.get('helm'))
REGISTRY = 'registry.example'
# What has no component of its own.
USUAL = ('kubeadm', 'kind', 'minikube')
DISTRIBUTIONS = sorted([*USUAL, *(p.name for p in manifests.MANIFESTS.glob('components/distributions/*'))])
PROVIDERS = sorted(p.name for p in manifests.MANIFESTS.glob('overlays/providers/*'))


def need_helm():
    program = shutil.which('helm')
    if program:
        return program, None
    path = manifests.CACHE / f'helm-{HELM.rsplit("@", 1)[1]}' / 'helm'
    if not path.exists():
        go = csi_sanity.find_go()
        if go is None:
            return None, 'there is no helm and no Go'
        environment = {**os.environ, 'GOBIN': str(path.parent), 'CGO_ENABLED': '0', 'GOFLAGS': '-modcacherw'}
        done = subprocess.run([go, 'install', HELM], env=environment, capture_output=True, text=True, timeout=1200,
                              check=False)
        if done.returncode != 0:
            return None, f'helm cannot be installed: {(done.stderr.strip().splitlines() or ["?"])[-1]}'
    return str(path), None


def by_name(text):
    """{(kind, name): object}; each once."""
    objects = [one for one in yaml.safe_load_all(text) if one]
    found = {(one['kind'], one['metadata']['name']): one for one in objects}
    assert len(found) == len(objects), [one['metadata']['name'] for one in objects]
    return found


class Chart:
    def __init__(self, helm):
        self.helm = helm

    def run(self, *argv):
        return subprocess.run([self.helm, *argv], capture_output=True, text=True, check=False)

    def template(self, *values, namespace='kube-system'):
        arguments = [word for value in values for word in ('--set-json' if value.endswith('[]') else '--set', value)]
        done = self.run('template', 'berth', str(CHART), '--namespace', namespace, *arguments)
        assert done.returncode == 0, done.stderr
        return by_name(done.stdout)

    def refuses(self, value, words):
        done = self.run('template', 'berth', str(CHART), '--set', value)
        assert done.returncode != 0 and words in done.stderr, (value, done.stderr)


def pairs():
    """(provider, distribution): each provider on one, the provider local on all."""
    for number, provider in enumerate(PROVIDERS):
        yield provider, DISTRIBUTIONS[number % len(DISTRIBUTIONS)]
    yield from (('local', distribution) for distribution in DISTRIBUTIONS)


def same(chart, renderer, name, target, *values):
    done = subprocess.run([*renderer, str(target)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected, found = by_name(done.stdout), chart.template(*values)
    assert found.keys() == expected.keys(), (name, found.keys() ^ expected.keys())
    for key, one in expected.items():
        assert found[key] == one, f'{name}: {key}:\n{yaml.safe_dump(found[key])}\n{yaml.safe_dump(one)}'


def check_same(chart, renderer, directory):
    parts = manifests.MANIFESTS
    for provider, distribution in dict.fromkeys(pairs()):
        component = [] if distribution in USUAL else [parts / 'components/distributions' / distribution]
        resources = [parts / 'overlays/providers' / provider, parts / 'base/cni']
        wanted = [(f'{provider} {distribution}', resources, component)]
        for name, target in manifests.written(directory, wanted):
            same(chart, renderer, name, target, f'csi.providers={{{provider}}}', f'distribution={distribution}')


def check_components(chart, renderer, directory):
    """What is a component there is a value here; a registry with a secret is one place in both."""
    components = manifests.MANIFESTS / 'components'
    overlay = manifests.MANIFESTS / 'overlays/local-snapshots'
    used = [components / name for name in ('local-growth', 'own-node', 'distributions/k0s', 'registry')]
    wanted = [('components', [overlay, manifests.MANIFESTS / 'base/cni'], used)]
    for name, target in manifests.written(directory, wanted):
        same(chart, renderer, name, target, 'csi.local.snapshots=true', 'csi.local.growth=true',
             'csi.local.ownNode=true', 'distribution=k0s', f'image.registry={REGISTRY}/berth',
             f'image.sidecarRegistry={REGISTRY}/sig-storage',
             'image.pullSecrets[0].name=registry-login')


def containers(objects):
    for one in objects.values():
        if one['kind'] == 'DaemonSet':
            pod = one['spec']['template']['spec']
            for container in pod['containers']:
                yield pod, container


def check_values(chart):
    """One place for images, one for each list of arguments."""
    objects = chart.template('image.registry=r.example:5000/x/', 'image.tag=t', 'image.pullSecrets[0].name=s',
                             'image.sidecarRegistry=m.example', 'image.pullPolicy=Always', 'csi.providers={aws,local}',
                             'csi.extraArgs={--log-level=debug}', 'cni.extraArgs={--mtu=1400}', namespace='other')
    assert {one['metadata'].get('namespace', 'other') for one in objects.values()} == {'other'}
    seen = list(containers(objects))
    assert len(seen) == 4, seen
    for pod, container in seen:
        assert pod['imagePullSecrets'] == [{'name': 's'}] and container['imagePullPolicy'] == 'Always'
        expected = r'm\.example/[a-z-]+:v.*' if 'sidecar' in container['image'] or container['image'].startswith('m.') \
            else r'r\.example:5000/x/berth-c[sn]i:t'
        assert re.fullmatch(expected, container['image']), container['image']
        if container['image'].endswith('berth-csi:t'):
            assert container['args'][-1] == '--log-level=debug' and '--provider' in ' '.join(container['args'])
        elif container['image'].endswith('berth-cni:t'):
            assert container['args'][-1] == '--mtu=1400'
    assert {kind for kind, _ in chart.template('csi.providers=[]')} == {'DaemonSet', 'ServiceAccount', 'ClusterRole',
                                                                      'ClusterRoleBinding'}
    assert not chart.template('csi.providers=[]', 'cni.enabled=false')
    moved = chart.template('kubeletRoot=/data/kubelet', 'distribution=k0s', 'cni.enabled=false')
    paths = [volume['hostPath']['path'] for pod, _ in containers(moved) for volume in pod['volumes']
             if volume['name'] == 'kubelet']
    assert set(paths) == {'/data/kubelet'}
    own = chart.template('csi.local.pool=/srv/pool', 'csi.local.poolInit=false', 'cni.enabled=false')
    [(pod, program), _] = containers(own)
    assert '--pool=/srv/pool' in program['args'] and '--pool-init' not in program['args']
    assert {'name': 'pool', 'hostPath': {'path': '/srv/pool', 'type': 'Directory'}} in pod['volumes']
    for value, words in (('distribution=k4s', 'distribution'), ('csi.providers={aswd}', 'providers'),
                         ('image.pullPolicy=Sometimes', 'pullPolicy'), ('csi.provider=aws', 'provider'),
                         ('kubeletRoot=data', 'kubeletRoot'), ('image.registry=https://x', 'registry'),
                         ('csi.local.pool=pool', 'pool'), ('csi.local.snapshots=yes please', 'snapshots')):
        chart.refuses(value, words)


def check_lint(chart):
    done = chart.run('lint', '--strict', str(CHART))
    assert done.returncode == 0 and '0 chart(s) failed' in done.stdout, done.stdout + done.stderr
    meson = (manifests.SOURCE / 'meson.build').read_text(encoding='utf-8')
    facts = yaml.safe_load((CHART / 'Chart.yaml').read_text(encoding='utf-8'))
    assert facts['version'] == facts['appVersion'] == re.search(r"version: '([^']+)'", meson).group(1)
    tags = [one for path in manifests.MANIFESTS.rglob('kustomization.yaml')
            for one in yaml.safe_load(path.read_text(encoding='utf-8')).get('images', []) if 'berth' in one['name']]
    assert len(tags) > 3 and {one['newTag'] for one in tags} == {facts['version']}, tags
    shown = chart.run('install', 'berth', str(CHART), '--dry-run=client', '--set', 'image.registry=r.example')
    assert shown.returncode == 0 and 'NOTES:' in shown.stdout, shown.stderr
    assert 'rollout status daemonset' in shown.stdout and 'No image.registry' not in shown.stdout


def main():
    tap = csi_sanity.Tap()
    helm, why = need_helm()
    renderer, why = manifests.need_renderer() if helm else (None, why)
    if not renderer:
        tap.out.write(f'1..0 # SKIP chart: {why}\n')
        return 0
    chart = Chart(helm)
    directory = pathlib.Path(tempfile.mkdtemp(prefix='berth-chart-'))

    def check(name, function, *arguments):
        try:
            function(*arguments)
            tap.line(True, name)
        except AssertionError as error:
            print(f'{name}: {error}', file=sys.stderr)
            tap.line(False, name)

    def check_generated():
        done = subprocess.run([sys.executable, CHART.parent / 'generate', '--check', *renderer], capture_output=True,
                              text=True, check=False)
        assert done.returncode == 0, done.stderr

    check('templates are those that charts/generate writes', check_generated)
    check('the objects of every provider and distribution', check_same, chart, renderer, directory)
    check('components and a registry', check_components, chart, renderer, directory)
    check('values', check_values, chart)
    check('helm lint, notes', check_lint, chart)
    shutil.rmtree(directory)
    tap.plan()
    return 0


if __name__ == '__main__':
    sys.exit(main())
