#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""kubernetes_tools.py [ARGUMENT...]: builds Kubernetes from its Go modules, then runs tests/lib/run.py ARGUMENT...

`go install` refuses modules with replace directives, which Kubernetes has for its staging modules; these are published
as v0.MINOR.PATCH, so a copy of the module that names them so is what the release was built from. What is built is kept
in .cache/kubernetes/VERSION of the source tree, or where BERTH_KUBERNETES says (500 MB; ten minutes on two idle
processors, and 3 GB in Go's own caches). Without Go or without its modules the tests are skipped, with the reason.
Beside it, Berth's own images are built from this tree; without them only the tests that need them are skipped.

Versions are those of tests/versions.txt; BERTH_KUBERNETES_PIN=kubernetes-oldest takes the oldest minor.
"""

import contextlib
import json
import os
import pathlib
import re
import platform
import shutil
import subprocess
import sys

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / 'tests' / 'lib'))
import go_tools  # noqa: E402
import versions  # noqa: E402

KUBERNETES, VERSION = versions.get(os.environ.get('BERTH_KUBERNETES_PIN', 'kubernetes'))
CACHE = pathlib.Path(os.environ.get('BERTH_KUBERNETES', SOURCE / '.cache' / 'kubernetes' / VERSION))
MINOR, PATCH = VERSION.split('.')[1:]
FLAGS = ' '.join(['-s', '-w', *(f'-X k8s.io/component-base/version.{name}={value}' for name, value in (
    ('gitVersion', VERSION), ('gitMajor', 1), ('gitMinor', MINOR)))])
COMMANDS = ('kubelet', 'kube-apiserver', 'kube-scheduler', 'kube-controller-manager', 'kubectl', 'kube-proxy')
# Beside the claims: what grows them, attaches them, and takes snapshots.
SIDECARS = {'csi-provisioner': ['csi-provisioner'], 'csi-resizer': ['csi-resizer'], 'csi-attacher': ['csi-attacher'],
            'csi-snapshotter': ['csi-snapshotter', 'snapshot-controller']}


def go(*argv, cwd='/'):
    return go_tools.go(*argv, cwd=cwd, GOFLAGS='-mod=mod -p=2')


def directory_of(module):
    return json.loads(go('mod', 'download', '-json', module))['Dir']


@contextlib.contextmanager
def copy_of(module, siblings=None):
    """A writable copy of a module's source, in which modules beside it have the version siblings."""
    copy = CACHE / 'source'
    go_tools.copy_writable(directory_of(module), copy)
    shutil.rmtree(copy / 'vendor', ignore_errors=True)
    for one in ('go.work', 'go.work.sum'):
        (copy / one).unlink(missing_ok=True)
    path = copy / 'go.mod'
    path.write_text(re.sub(r'(?m)(\S+) => \.\.?/(?!FORBIDDEN)\S+', rf'\1 => \1 {siblings}', path.read_text()))
    yield copy
    shutil.rmtree(copy)


def build(source, name, package, *, ldflags='-s -w', test=False):
    """Into the cache. What was compiled before an interruption Go has kept."""
    verb = ['test', '-c', '-vet=off'] if test else ['build']
    go(*verb, '-ldflags', ldflags, '-o', str(CACHE / name), package, cwd=source)


@contextlib.contextmanager
def once(*pins):
    """Whether what these pins make has still to be made; it has been when the block ends well."""
    parts = [versions.get(one)[1] if one != 'kubernetes' else VERSION for one in pins]
    marker = CACHE / f'made-{pins[0]}-{"-".join(parts)}'
    yield not marker.exists()
    marker.touch()


def make_kubernetes():
    with once('kubernetes', 'etcd') as wanted:
        if not wanted:
            return
        with copy_of(versions.at('etcd'), versions.get('etcd')[1]) as source:
            build(source, 'etcd', '.')
        with copy_of(f'{KUBERNETES}@{VERSION}', f'v0.{MINOR}.{PATCH}') as source:
            for command in COMMANDS:
                build(source, command, f'./cmd/{command}', ldflags=FLAGS)


def make_suite():
    """Kubernetes' own end-to-end suite, what runs it on several processors, and what its pods run."""
    with once('kubernetes') as wanted:
        if not wanted:
            return
        with copy_of(f'{KUBERNETES}@{VERSION}', f'v0.{MINOR}.{PATCH}') as source:
            build(source, 'e2e.test', './test/e2e', ldflags=FLAGS, test=True)
            build(source, 'ginkgo', 'github.com/onsi/ginkgo/v2/ginkgo')
            build(source, 'agnhost', './test/images/agnhost')


def make_sidecars():
    for pin, commands in SIDECARS.items():
        with once(pin) as wanted:
            if not wanted:
                continue
            version = versions.get(pin)[1]
            with copy_of(versions.at(pin), version) as source:
                for command in commands:
                    build(source, command, f'./cmd/{command}', ldflags=f'-s -w -X main.version={version}')


def make_definitions():
    """crd/: what the API server is told of snapshots."""
    with once('csi-snapshot-crds') as wanted:
        if not wanted:
            return
        crd = CACHE / 'crd'
        shutil.rmtree(crd, ignore_errors=True)
        crd.mkdir()
        client = pathlib.Path(directory_of(versions.at('csi-snapshot-crds')))
        for path in client.glob('config/crd/snapshot.storage.k8s.io_*.yaml'):
            shutil.copyfile(path, crd / path.name)


def make_images():
    """Into images/ of the cache: berth-csi and berth-cni as OCI layouts."""
    output = CACHE / 'images'
    ready = output / 'ready'
    ready.unlink(missing_ok=True)
    if platform.machine() != 'x86_64':
        return
    done = subprocess.run([SOURCE / 'images' / 'build', '--architectures', 'amd64', '--output', output],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f'# no images: {(done.stdout + done.stderr).strip()[-300:]!r}', flush=True)
        return
    ready.touch()


def make_or_say(what):
    try:
        what()
    except go_tools.Missing as reason:
        print(f'# {what.__name__}: {reason}', flush=True)


def make():
    make_kubernetes()
    for what in (make_sidecars, make_definitions):
        make_or_say(what)
    if os.environ.get('BERTH_KUBERNETES_SUITE'):
        make_suite()
    make_images()


def main():
    if os.geteuid() != 0:
        print('1..0 # SKIP needs root')
        return 0
    return go_tools.run(CACHE, 'BERTH_KUBERNETES', make)


if __name__ == '__main__':
    sys.exit(main())
