#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""images.py OUTPUT [ARCHITECTURE...]: builds the images, pushes them to a registry on loopback, pulls and runs them.

For each architecture the pulled files are unpacked and every program in them is started, under qemu's user mode where
it is not this machine's, in nothing but the image: so all that they need is in it. This machine's own image also
serves in a container, as the manifests start it. One architecture is built a second time, elsewhere and without a
cache: its digest must be the same.
"""

import contextlib
import json
import os
import pathlib
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time

import csi_sanity

SOURCE = pathlib.Path(__file__).resolve().parents[2]
ALL = ['amd64', 'arm64', 'armhf', 'ppc64le', 's390x']
EMULATORS = {'arm64': 'aarch64', 'armhf': 'arm', 'ppc64le': 'ppc64le', 's390x': 's390x'}
PLATFORMS = {'armhf': ('arm', 'v7')}
# The exit code is theirs: some say their version and fail.
PROGRAMS = {
    'csi': [['/usr/sbin/berth-csi', '--version'], ['/usr/sbin/berth-csi', 'serve', '--provider=?'],
            ['/usr/sbin/berth-luks'], ['/usr/sbin/mke2fs', '-V'], ['/usr/sbin/e2fsck', '-V'],
            ['/usr/sbin/resize2fs', '-h'], ['/usr/sbin/tune2fs', '-h'], ['/usr/sbin/mkfs.xfs', '-V'],
            ['/usr/sbin/xfs_repair', '-V'], ['/usr/sbin/xfs_growfs', '-V'], ['/usr/bin/btrfs', 'version'],
            ['/usr/sbin/mkfs.btrfs', '--version'], ['/usr/sbin/mount.nfs', '-V']],
    'cni': [['/berth-cni', '--version'], ['/berth-node', '--version']],
}


def run(*argv, **keywords):
    return subprocess.run([str(one) for one in argv], capture_output=True, text=True, check=False, **keywords)


def build(output, architectures, *more, **environment):
    done = run(SOURCE / 'images' / 'build', '--output', output, '--architectures', ','.join(architectures), *more,
               env={**os.environ, **environment})
    if done.returncode == 77:
        return None, done.stdout.strip().removeprefix('skipped: ')
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return [line.split() for line in done.stdout.splitlines() if ' sha256:' in line], None


@contextlib.contextmanager
def registry(directory):
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    config = {'version': 0.1, 'log': {'level': 'warn'}, 'storage': {'filesystem': {'rootdirectory': str(directory)}},
              'http': {'addr': f'127.0.0.1:{port}'}}
    path = directory / 'config.yml'
    path.write_text(json.dumps(config), encoding='utf-8')
    with open(directory / 'log', 'wb') as log:
        process = subprocess.Popen(['docker-registry', 'serve', path], stdout=log, stderr=log)
    try:
        for _ in range(200):
            with socket.socket() as peer:
                if peer.connect_ex(('127.0.0.1', port)) == 0:
                    break
            time.sleep(0.05)
        yield f'127.0.0.1:{port}'
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def inspect(name, *more):
    done = run('skopeo', 'inspect', '--tls-verify=false', *more, f'docker://{name}')
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def pull(name, architecture, target):
    """The files of one architecture's image, and its manifest."""
    arch, variant = PLATFORMS.get(architecture, (architecture, None))
    layout = target.with_suffix('.oci')
    done = run('skopeo', f'--override-arch={arch}', *([f'--override-variant={variant}'] if variant else []),
               '--override-os=linux', 'copy', '--src-tls-verify=false', f'docker://{name}', f'oci:{layout}:x')
    assert done.returncode == 0, done.stderr

    def blob(digest):
        return layout / 'blobs' / digest.replace(':', '/')
    index = json.loads((layout / 'index.json').read_text(encoding='utf-8'))
    manifest = json.loads(blob(index['manifests'][0]['digest']).read_text(encoding='utf-8'))
    config = json.loads(blob(manifest['config']['digest']).read_text(encoding='utf-8'))
    assert (config['architecture'], config['os']) == (arch, 'linux'), config
    target.mkdir()
    for layer in manifest['layers']:
        with tarfile.open(blob(layer['digest'])) as tar:
            tar.extractall(target)
    return manifest, config


def start_programs(kind, architecture, root):
    emulator = []
    if architecture != {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(platform.machine()):
        name = f'qemu-{EMULATORS[architecture]}-static'
        shutil.copy(shutil.which(name), root / name)
        emulator = [f'/{name}']
    for argv in PROGRAMS[kind]:
        done = run('chroot', root, *emulator, *argv, timeout=300)
        text = done.stdout + done.stderr
        assert done.returncode in (0, 1, 2, 16, 64) and text, f'{architecture} {argv}: {done.returncode} {text}'
        for words in ('error while loading', 'cannot open shared object', 'Could not open', 'not found'):
            assert words not in text, f'{architecture} {argv}: {text}'


def serve_in_a_container(name, directory):
    """As the DaemonSet does: privileged, read-only root, kubelet's directory shared."""
    sys.path.insert(0, str(SOURCE / 'tests' / 'lib'))
    import csi
    root = directory / 'k'
    for path in (root / 'plugins_registry', root / 'pods', directory / 'pool'):
        path.mkdir(parents=True)
    subprocess.run(['mount', '--bind', root, root], check=True)
    subprocess.run(['mount', '--make-shared', root], check=True)
    podman = ['podman', '--root', directory / 's', '--runroot', directory / 'r', '--storage-driver', 'vfs',
              '--runtime', 'runc', '--cgroup-manager', 'cgroupfs', '--events-backend', 'file']
    try:
        done = run(*podman, 'run', '-d', '--name', 'berth', '--tls-verify=false', '--network', 'none', '--privileged',
                   '--read-only', '--ulimit', 'nofile=20000:20000', '--ulimit', 'nproc=16384:16384',
                   '-v', f'{root}:{root}:rshared', '-v', f'{directory}/pool:/pool', '-v', '/dev:/dev', name, 'serve',
                   '--provider=local', f'--kubelet-root={root}', '--pool=/pool', '--pool-init', '--node-name=n')
        assert done.returncode == 0, done.stderr
        with csi.Client(root / 'plugins/local.csi.berth.dev/csi.sock') as client:
            client.wait_ready(60)
            target = root / 'pods' / 'v'
            fields = {'volume_id': 'csi-1', 'target_path': str(target), 'volume_capability': csi.mount_capability(
                'ext4'), 'volume_context': [{'key': 'csi.storage.k8s.io/ephemeral', 'value': 'true'},
                                            {'key': 'size', 'value': '64Mi'}]}
            client.NodePublishVolume(**fields)
            # Made by the image's mkfs, mounted in the container, seen here.
            assert os.path.ismount(target)
            (target / 'file').write_text('x', encoding='utf-8')
            client.NodeUnpublishVolume(volume_id='csi-1', target_path=str(target))
            assert not target.exists()
    finally:
        log = run(*podman, 'logs', 'berth')
        print(log.stdout, log.stderr, file=sys.stderr)
        run(*podman, 'rm', '-f', '-t', '25', 'berth')
        subprocess.run(['umount', '-l', root], check=False)


def main():
    output = pathlib.Path(sys.argv[1]).resolve()
    architectures = sys.argv[2:] or ALL
    tap = csi_sanity.Tap()
    if os.geteuid() != 0:
        tap.out.write('1..0 # SKIP images: needs root\n')
        return 0
    for tool in ('buildah', 'skopeo', 'docker-registry', 'qemu-s390x-static', 'podman'):
        if not shutil.which(tool):
            tap.out.write(f'1..0 # SKIP images: no {tool} (images/packages.txt, cross/packages.txt)\n')
            return 0
    directory = pathlib.Path(tempfile.mkdtemp(prefix='berth-images-'))

    def check(name, function, *arguments):
        try:
            function(*arguments)
            tap.line(True, name)
        except (AssertionError, OSError, subprocess.SubprocessError, KeyError) as error:
            print(f'{name}: {error}', file=sys.stderr)
            tap.line(False, name)

    (directory / 'registry').mkdir()
    try:
        with registry(directory / 'registry') as place:
            names, why = build(output, architectures, '--push', f'{place}/berth', '--plain-http')
            if names is None:
                tap.out.write(f'1..0 # SKIP images: {why}\n')
                return 0
            tap.line(True, 'built and pushed')
            for kind, (name, digest) in zip(('csi', 'cni'), names):
                name = name.removeprefix('//')
                check(f'{kind}: manifest list', check_list, name, digest, architectures)
                for architecture in architectures:
                    check(f'{kind} {architecture}: pulled, and every program starts', pull_and_start, kind, name,
                          architecture, directory / f'{kind}-{architecture}', output)
            if platform.machine() == 'x86_64' and 'amd64' in architectures:
                check('csi: serves in a container', serve_in_a_container, names[0][0].removeprefix('//'),
                      pathlib.Path(tempfile.mkdtemp(prefix='b-', dir=directory)))
            check('the same input gives the same digest', check_again, directory, place, names, architectures[0])
    finally:
        subprocess.run(['rm', '-rf', directory], check=False)
    tap.plan()
    return 0


def check_list(name, digest, architectures):
    index = inspect(name, '--raw')
    found = {(m['platform']['architecture'], m['platform'].get('variant')) for m in index['manifests']}
    expected = {PLATFORMS.get(one, (one, None)) for one in architectures}
    assert {(a, v if a == 'arm' else None) for a, v in found} == expected, found
    assert inspect(f'{name.rsplit(":", 1)[0]}@{digest}', '--raw') == index


def pull_and_start(kind, name, architecture, target, output):
    manifest, config = pull(name, architecture, target)
    labels = config['config']['Labels']
    assert labels['org.opencontainers.image.title'] == f'berth-{kind}'
    assert labels['org.opencontainers.image.version'] and labels['org.opencontainers.image.revision']
    files = [path for path in target.rglob('*') if path.is_file() and not path.is_symlink()]
    print(f'size {kind} {architecture}: {sum(layer["size"] for layer in manifest["layers"])} bytes to pull, '
          f'{sum(path.stat().st_size for path in files)} unpacked, {len(files)} files', file=sys.stderr)
    if kind == 'cni':
        names = {str(path.relative_to(target)) for path in files}
        assert {'berth-cni', 'berth-node'} <= names
        assert all(name in ('berth-cni', 'berth-node') or name.startswith(('usr/lib/', 'lib')) for name in names), names
        assert os.readlink(target / 'var/run') == '../run'
    start_programs(kind, architecture, target)
    # The list of what is in it: well-formed, and nothing unknown.
    arch = PLATFORMS.get(architecture, (architecture, None))[0]
    sbom = json.loads((output / 'context' / arch / f'sbom-{kind}.spdx.json').read_text(encoding='utf-8'))
    assert sbom['spdxVersion'] == 'SPDX-2.3' and len(sbom['packages']) > 2
    identifiers = {one['SPDXID'] for one in sbom['packages']} | {'SPDXRef-DOCUMENT'}
    assert all({r['spdxElementId'], r['relatedSpdxElement']} <= identifiers for r in sbom['relationships'])
    if kind == 'csi':
        assert {'e2fsprogs', 'xfsprogs', 'libc6'} <= {one['name'] for one in sbom['packages']}


def check_again(directory, place, names, architecture):
    """A second time, in another directory, with nothing of the first."""
    again, _ = build(directory / 'again', [architecture], '--push', f'{place}/again', '--plain-http',
                     CCACHE_DISABLE='1')
    for (first, _), (second, _) in zip(names, again):
        digests = []
        for name in (first, second):
            index = inspect(name.removeprefix('//'), '--raw')
            digests += [m['digest'] for m in index['manifests']
                        if m['platform']['architecture'] == PLATFORMS.get(architecture, (architecture, None))[0]]
        print(f'{first}: {digests}', file=sys.stderr)
        assert len(digests) == 2 and digests[0] == digests[1], digests


if __name__ == '__main__':
    sys.exit(main())
