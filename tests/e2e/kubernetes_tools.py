#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""kubernetes_tools.py [ARGUMENT...]: builds Kubernetes from its Go modules, then runs tests/lib/run.py ARGUMENT...

`go install` refuses modules with replace directives, which Kubernetes has for its staging modules; these are published
as v0.MINOR.PATCH, so a copy of the module that names them so is what the release was built from. What is built is kept
in .cache/kubernetes of the source tree (350 MB; ten minutes on two idle processors, and 3 GB in Go's own caches).
Without Go or without its modules the tests are skipped, with the reason. Beside it, Berth's own images are built from
this tree; without them only the test of the manifests is skipped.
"""

import json
import os
import pathlib
import re
import platform
import shutil
import subprocess
import sys

KUBERNETES = '1.34.2'
PROVISIONER = 'v5.3.0'
ETCD = 'v3.6.5'
SNAPSHOTTER = 'v8.7.0'

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / 'tests' / 'lib'))
sys.path.insert(0, str(SOURCE / 'images'))
import go_tools  # noqa: E402

CACHE = pathlib.Path(os.environ.get('BERTH_KUBERNETES', SOURCE / '.cache' / 'kubernetes'))
COMMANDS = ('kubelet', 'kube-apiserver', 'kube-scheduler', 'kube-controller-manager', 'kubectl')


def go(*argv, cwd='/'):
    return go_tools.go(*argv, cwd=cwd, GOFLAGS='-mod=mod -p=2')


def copy_of(module, siblings=None):
    """A writable copy of a module's source, in which modules beside it have the version siblings."""
    origin = json.loads(go('mod', 'download', '-json', module))['Dir']
    copy = CACHE / 'source'
    go_tools.copy_writable(origin, copy)
    shutil.rmtree(copy / 'vendor', ignore_errors=True)
    for one in ('go.work', 'go.work.sum'):
        (copy / one).unlink(missing_ok=True)
    path = copy / 'go.mod'
    path.write_text(re.sub(r'(?m)(\S+) => \.\.?/(?!FORBIDDEN)\S+', rf'\1 => \1 {siblings}', path.read_text()))
    return copy


def make_snapshotter():
    """Sidecar and controller of snapshots, and crd/ with what they are about."""
    marker = CACHE / f'made-snapshotter-{SNAPSHOTTER}'
    if marker.exists():
        return
    module = 'github.com/kubernetes-csi/external-snapshotter'
    source = copy_of(f'{module}/v8@{SNAPSHOTTER}', SNAPSHOTTER)
    for command in ('csi-snapshotter', 'snapshot-controller'):
        go('build', '-ldflags', '-s -w', '-o', str(CACHE / command), f'./cmd/{command}', cwd=source)
    shutil.rmtree(source)
    client = json.loads(go('mod', 'download', '-json', f'{module}/client/v8@{SNAPSHOTTER}'))['Dir']
    crd = CACHE / 'crd'
    shutil.rmtree(crd, ignore_errors=True)
    crd.mkdir()
    for path in pathlib.Path(client).glob('config/crd/snapshot.storage.k8s.io_*.yaml'):
        shutil.copyfile(path, crd / path.name)
    marker.touch()


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


def make_kubernetes():
    marker = CACHE / f'made-{KUBERNETES}-{PROVISIONER}-{ETCD}'
    if marker.exists():
        return
    minor, patch = KUBERNETES.split('.')[1:]
    source = copy_of(f'go.etcd.io/etcd/server/v3@{ETCD}', ETCD)
    go('build', '-ldflags', '-s -w', '-o', str(CACHE / 'etcd'), '.', cwd=source)
    shutil.rmtree(source)
    source = copy_of(f'k8s.io/kubernetes@v{KUBERNETES}', f'v0.{minor}.{patch}')
    version = 'k8s.io/component-base/version'
    flags = f'-s -w -X {version}.gitVersion=v{KUBERNETES} -X {version}.gitMajor=1 -X {version}.gitMinor={minor}'
    for command in COMMANDS:
        go('build', '-ldflags', flags, '-o', str(CACHE / command), f'./cmd/{command}', cwd=source)
    shutil.rmtree(source)
    source = copy_of(f'github.com/kubernetes-csi/external-provisioner/v5@{PROVISIONER}')
    go('build', '-ldflags', f'-s -w -X main.version={PROVISIONER}', '-o', str(CACHE / 'csi-provisioner'),
       './cmd/csi-provisioner', cwd=source)
    shutil.rmtree(source)
    marker.touch()


def make():
    make_kubernetes()
    try:
        make_snapshotter()
    except go_tools.Missing as reason:
        print(f'# no snapshotter: {reason}', flush=True)
    make_images()


def main():
    if os.geteuid() != 0:
        print('1..0 # SKIP needs root')
        return 0
    return go_tools.run(CACHE, 'BERTH_KUBERNETES', make)


if __name__ == '__main__':
    sys.exit(main())
