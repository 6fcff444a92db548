#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""images.py OUTPUT [ARCHITECTURE...]: builds the images, pushes them to a registry on loopback, pulls and runs them.

For each architecture the pulled files are unpacked and every program in them is started, under qemu's user mode where
it is not this machine's, in nothing but the image: so all that they need is in it. This machine's own image also
serves in a container, as the manifests start it. One architecture is built a second time, elsewhere and without a
cache: its digest must be the same.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import platform
import re
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
        assert all(name in ('berth-cni', 'berth-node') or name.startswith(('usr/lib/', 'lib', 'usr/share/', 'etc/',
                                                                           'var/lib/dpkg/')) for name in names), names
        assert os.readlink(target / 'var/run') == '../run'
    start_programs(kind, architecture, target)
    check_documents(kind, target, labels['org.opencontainers.image.licenses'])
    # The list of what is in it: well-formed, nothing unknown, and attached to the image.
    arch = PLATFORMS.get(architecture, (architecture, None))[0]
    path = output / 'context' / arch / f'sbom-{kind}.spdx.json'
    sbom = json.loads(path.read_text(encoding='utf-8'))
    assert sbom['spdxVersion'] == 'SPDX-2.3' and len(sbom['packages']) > 2
    identifiers = {one['SPDXID'] for one in sbom['packages']} | {'SPDXRef-DOCUMENT'}
    assert all({r['spdxElementId'], r['relatedSpdxElement']} <= identifiers for r in sbom['relationships'])
    listed = {one.name for one in (target / 'var/lib/dpkg/status.d').iterdir()}
    assert listed == {one['name'] for one in sbom['packages']} - {f'berth-{kind}'}
    check_referrer(kind, name, architecture, path.read_bytes(), output)


def owners(architecture, path):
    """Packages that have a file of this name, by what dpkg-deb has listed."""
    sysroots = pathlib.Path(os.environ.get('BERTH_SYSROOTS', '/var/cache/berth-tests/sysroot'))
    lines = (sysroots / f'{architecture}-image/files').read_text(encoding='utf-8').splitlines()
    return {line.split(' ', 1)[0] for line in lines if line.endswith('/' + path.name)}


def check_documents(kind, target, label):
    """Of every file the package, of every package the licence: for people, and as a scanner reads them."""
    status = target / 'var/lib/dpkg/status.d'
    admin = target.with_suffix('.dpkg')
    admin.mkdir()
    (admin / 'status').write_text('\n'.join(one.read_text(encoding='utf-8') for one in sorted(status.iterdir())),
                                  encoding='utf-8')
    done = run('dpkg-query', f'--admindir={admin}', '-W', '-f', '${Package} ${source:Package} ${Version}\n')
    assert done.returncode == 0 and not done.stderr, done.stderr
    packages = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert packages.keys() == {one.name for one in status.iterdir()}
    assert {'libc6', 'libcurl4', 'base-files'} <= packages.keys() and packages['libcurl4'][0] == 'curl'
    for name in [*packages, f'berth-{kind}']:
        text = (target / 'usr/share/doc' / name / 'copyright').read_text(encoding='utf-8', errors='replace')
        assert len(text) > 500, name
        for named in re.findall(r'/usr/share/common-licenses/([A-Za-z0-9.-]*[A-Za-z0-9])', text):
            assert (target / 'usr/share/common-licenses' / named).stat().st_size > 1000, (name, named)
    for path in target.rglob('*'):
        inside = str(path.relative_to(target))
        if path.is_symlink() or path.is_dir() or path.name.startswith(('berth-', 'libcurl', 'qemu-')):
            continue
        if inside.startswith(('usr/share/', 'var/', 'etc/os-release')):
            continue
        assert owners(target.name.split('-')[1], path) & packages.keys(), inside
    # Those that speak LDAP, RTMP, SSH and another TLS came with the distribution's libcurl.
    libraries = {path.name.split('.so')[0] for path in target.rglob('*.so.*')}
    assert not libraries & {'libldap-2.5', 'librtmp', 'libssh2', 'libgnutls', 'libnghttp2'}, libraries
    os_release = (target / 'etc/os-release').read_text(encoding='utf-8')
    assert '\nID=debian\n' in os_release and (target / 'etc/debian_version').exists()
    terms = set(label.split(' AND '))
    assert {'Apache-2.0', 'curl', 'LGPL-2.1-or-later'} <= terms
    if kind == 'csi':
        assert {'GPL-2.0-only', 'GPL-2.0-or-later'} <= terms
        assert {'e2fsprogs', 'xfsprogs', 'btrfs-progs'} <= packages.keys()


def check_referrer(kind, name, architecture, sbom, output):
    """The list can be had from the registry by the image's digest, and is in the directory too."""
    arch = PLATFORMS.get(architecture, (architecture, None))[0]
    image = next(m for m in inspect(name, '--raw')['manifests'] if m['platform']['architecture'] == arch)
    repository = name.rsplit(':', 1)[0]
    index = inspect(f'{repository}:{image["digest"].replace(":", "-")}', '--raw')
    listed, = index['manifests']
    # Old versions of skopeo leave it out of the index.
    assert listed.get('artifactType', 'application/spdx+json') == 'application/spdx+json'
    manifest = inspect(f'{repository}@{listed["digest"]}', '--raw')
    assert manifest['subject']['digest'] == image['digest'] and manifest['artifactType'] == 'application/spdx+json'
    layer, = manifest['layers']
    assert layer['digest'] == 'sha256:' + hashlib.sha256(sbom).hexdigest() and layer['size'] == len(sbom)
    layout = output / f'berth-{kind}'
    entries = json.loads((layout / 'index.json').read_text(encoding='utf-8'))['manifests']
    assert listed['digest'] in {one['digest'] for one in entries}
    assert (layout / 'blobs' / layer['digest'].replace(':', '/')).read_bytes() == sbom


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
