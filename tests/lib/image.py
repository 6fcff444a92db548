# SPDX-License-Identifier: Apache-2.0
"""Container images, above all of one static busybox, made without any registry or tool."""

import gzip
import hashlib
import io
import json
import platform
import tarfile

ARCHITECTURES = {'x86_64': 'amd64', 'aarch64': 'arm64', 'armv7l': 'arm', 'ppc64le': 'ppc64le', 's390x': 's390x'}


def _tar(entries):
    """entries: (name, content or None for a directory, or a str for a link)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w') as archive:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.mode = 0o755
            if content is None:
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def make(path, name, busybox='/usr/bin/busybox'):
    """Writes an image archive that containerd and podman load. name: "test.local/busybox:1"."""
    with open(busybox, 'rb') as file:
        program = file.read()
    applets = ['sh', 'sleep', 'cat', 'date', 'ip', 'ping', 'httpd', 'nc', 'wget', 'echo', 'ls', 'sysctl', 'head',
               'hexdump', 'sync']
    entries = [('bin', None), ('etc', None), ('tmp', None), ('proc', None), ('sys', None), ('dev', None),
               ('bin/busybox', program), *[(f'bin/{one}', 'busybox') for one in applets],
               ('etc/passwd', b'root:x:0:0::/:/bin/sh\n')]
    return write(path, name, _tar(entries), ['/bin/sleep', '1000000'])


def make_of(path, name, directory, *entrypoint):
    """The same of all files below a directory."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w') as archive:
        archive.add(directory, '.')
    return write(path, name, out.getvalue(), list(entrypoint))


def write(path, name, layer, entrypoint):
    """layer: a tar archive."""
    compressed = gzip.compress(layer, 1, mtime=0)

    def digest(data):
        return 'sha256:' + hashlib.sha256(data).hexdigest()
    config = json.dumps({
        'architecture': ARCHITECTURES.get(platform.machine(), platform.machine()), 'os': 'linux',
        'config': {'Entrypoint': entrypoint, 'Env': ['PATH=/usr/bin:/bin']},
        'rootfs': {'type': 'layers', 'diff_ids': [digest(layer)]},
    }).encode()
    manifest = json.dumps({
        'schemaVersion': 2, 'mediaType': 'application/vnd.oci.image.manifest.v1+json',
        'config': {'mediaType': 'application/vnd.oci.image.config.v1+json', 'digest': digest(config),
                   'size': len(config)},
        'layers': [{'mediaType': 'application/vnd.oci.image.layer.v1.tar+gzip', 'digest': digest(compressed),
                    'size': len(compressed)}],
    }).encode()
    index = json.dumps({
        'schemaVersion': 2, 'manifests': [{
            'mediaType': 'application/vnd.oci.image.manifest.v1+json', 'digest': digest(manifest),
            'size': len(manifest),
            'annotations': {'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': name}}],
    }).encode()
    blobs = [(f'blobs/sha256/{digest(data)[7:]}', data) for data in (config, manifest, compressed)]
    with open(path, 'wb') as file:
        file.write(_tar([('blobs', None), ('blobs/sha256', None), *blobs, ('index.json', index),
                         ('oci-layout', b'{"imageLayoutVersion":"1.0.0"}')]))
    return path
