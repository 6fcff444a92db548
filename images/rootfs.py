#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""rootfs.py ARCHITECTURE BUILD SYSROOT RUNTIME CONTEXT: one architecture's files of both images, and their SBOMs.

BUILD is a build of cross/build against SYSROOT; RUNTIME is a directory of cross/sysroot with the packages of
contents.txt. Writes CONTEXT/<name of the architecture in images>/{cni,csi}/, and beside them sbom-{cni,csi}.spdx.json.
Takes the files that are listed, and each library that one of them needs; nothing else of any package.
"""

import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
# As Debian, compilers and image platforms call them.
TRIPLETS = {'amd64': 'x86_64-linux-gnu', 'arm64': 'aarch64-linux-gnu', 'armhf': 'arm-linux-gnueabihf',
            'ppc64le': 'powerpc64le-linux-gnu', 's390x': 's390x-linux-gnu'}
IMAGE_NAMES = {'armhf': 'arm'}
# Built into berth-csi and berth-cni, by source package names of their static libraries.
STATIC = {'cni': ('libc6-dev', 'libjansson-dev', 'libnl-3-dev', 'libnl-route-3-dev'),
          'csi': ('libgrpc-dev', 'libabsl-dev', 'libupb-dev', 'libc-ares-dev', 'zlib1g-dev', 'libprotobuf-c-dev',
                  'libjansson-dev', 'libblkid-dev', 'libstdc++-12-dev')}


def elf(path):
    """(libraries it needs, its loader); nothing for what is no ELF file."""
    done = subprocess.run(['readelf', '-ldW', path], capture_output=True, text=True, check=False)
    loader = re.search(r'program interpreter: (/[^\]]+)', done.stdout)
    return re.findall(r'\(NEEDED\).*\[([^\]]+)\]', done.stdout), loader.group(1) if loader else None


class Rootfs:
    def __init__(self, target, runtime, triplet):
        self.target, self.runtime = target, runtime
        self.directories = [runtime / 'usr/lib' / triplet, runtime / 'usr/lib']
        self.taken = {}  # path below the target: file it came from

    def take(self, source, path):
        """One file, with what it needs. @path: below the root."""
        path = path.lstrip('/')
        # One /usr, as Debian has it.
        for name in ('lib64', 'lib', 'sbin', 'bin'):
            if path.startswith(name + '/') and not name.endswith('64'):
                path = 'usr/' + path
        if path in self.taken:
            return
        if not source.exists():
            sys.exit(f'rootfs: {source} is not there')
        self.taken[path] = source
        target = self.target / path
        target.parent.mkdir(parents=True, exist_ok=True)
        # mkfs.ext4 is mke2fs under another name.
        other = next((p for p, s in self.taken.items() if p != path and os.path.samefile(s, source)), None)
        if other:
            target.symlink_to(os.path.relpath(self.target / other, target.parent))
            return
        shutil.copyfile(source, target)
        os.chmod(target, 0o755 if os.access(source, os.X_OK) else 0o644)
        needed, loader = elf(source)
        if loader:
            # Debian 13 has it below /usr, with a link that is no package's.
            found = self.runtime / loader.lstrip('/')
            self.take(found if found.exists() else self.runtime / 'usr' / loader.lstrip('/'), loader)
        for name in needed:
            if re.match(r'ld(-linux|64)', name):
                continue  # the loader itself
            found = next((d / name for d in self.directories if (d / name).exists()), None)
            if found is None:
                sys.exit(f'rootfs: {source} needs {name}, which is in no package')
            self.take(found, str(found.relative_to(self.runtime)))

    def close(self):
        for name in ('lib', 'sbin', 'bin'):
            if (self.target / 'usr' / name).is_dir():
                os.symlink(f'usr/{name}', self.target / name)


def versions(directory):
    """Versions of the packages of a directory of cross/sysroot."""
    lines = (directory / 'versions').read_text(encoding='utf-8').split('\n')
    return {name: version for name, version, _ in (line.split() for line in lines if line)}


def owners(directory, sources):
    """Packages that have these files."""
    found = set()
    listed = {}
    for line in (directory / 'files').read_text(encoding='utf-8').splitlines():
        package, path = line.split(' ', 1)
        listed.setdefault(path, package)
    for source in sources:
        for path in {source, source.resolve()}:
            name = str(path.relative_to(directory / 'root'))
            for candidate in (name, name.removeprefix('usr/')):
                if candidate in listed:
                    found.add(listed[candidate])
    return found


def sbom(name, version, architecture, packages):
    """SPDX 2.3. packages: {name: (version, how it is contained)}"""
    created = time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(int(os.environ['SOURCE_DATE_EPOCH'])))
    items = [{'SPDXID': f'SPDXRef-{name}', 'name': name, 'versionInfo': version, 'licenseDeclared': 'Apache-2.0',
              'licenseConcluded': 'Apache-2.0', 'copyrightText': 'NOASSERTION', 'downloadLocation': 'NOASSERTION',
              'filesAnalyzed': False}]
    relations = [('SPDXRef-DOCUMENT', 'DESCRIBES', f'SPDXRef-{name}')]
    for package, (package_version, how) in sorted(packages.items()):
        reference = 'SPDXRef-Package-' + re.sub(r'[^A-Za-z0-9.-]', '-', package)
        items.append({'SPDXID': reference, 'name': package, 'versionInfo': package_version,
                      'supplier': 'Organization: Debian', 'licenseDeclared': 'NOASSERTION',
                      'licenseConcluded': 'NOASSERTION', 'copyrightText': 'NOASSERTION',
                      'downloadLocation': 'NOASSERTION', 'filesAnalyzed': False,
                      'externalRefs': [{'referenceCategory': 'PACKAGE-MANAGER', 'referenceType': 'purl',
                                        'referenceLocator': f'pkg:deb/debian/{package}@{package_version}'
                                                            f'?arch={architecture}'}]})
        relations.append((f'SPDXRef-{name}', how, reference))
    digest = hashlib.sha256(json.dumps(items, sort_keys=True).encode()).hexdigest()
    return {'spdxVersion': 'SPDX-2.3', 'dataLicense': 'CC0-1.0', 'SPDXID': 'SPDXRef-DOCUMENT',
            'name': f'{name}-{version}-{architecture}',
            'documentNamespace': f'https://berth.example/spdx/{name}-{version}-{architecture}-{digest[:16]}',
            'creationInfo': {'created': created, 'creators': ['Tool: berth images/build']},
            'packages': items,
            'relationships': [{'spdxElementId': a, 'relationshipType': b, 'relatedSpdxElement': c}
                              for a, b, c in relations]}


def write(path, document):
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + '\n', encoding='utf-8')


def main():
    architecture = sys.argv[1]
    build, sysroot, runtime, context = (pathlib.Path(one).resolve() for one in sys.argv[2:])
    triplet = TRIPLETS[architecture]
    target = context / IMAGE_NAMES.get(architecture, architecture)
    shutil.rmtree(target, ignore_errors=True)
    version = re.search(r"version: '([^']+)'", (HERE.parent / 'meson.build').read_text(encoding='utf-8')).group(1)
    strip = f'{triplet}-strip'
    debian = {'ppc64le': 'ppc64el'}.get(architecture, architecture)
    built = versions(sysroot)

    (target / 'cni').mkdir(parents=True)
    subprocess.run([strip, '-o', target / 'cni' / 'berth-cni', build / 'cni' / 'berth-cni'], check=True)
    os.chmod(target / 'cni' / 'berth-cni', 0o755)
    # berth-node stands beside it, and loads libcurl to ask the API server.
    node = Rootfs(target / 'cni', runtime / 'root', triplet)
    subprocess.run([strip, '-o', build / 'berth-node.stripped', build / 'cni' / 'berth-node'], check=True)
    node.take(build / 'berth-node.stripped', 'berth-node')
    node.take(runtime / 'root/usr/lib' / triplet / 'libcurl.so.4', f'usr/lib/{triplet}/libcurl.so.4')
    node.close()
    # Runtimes note namespaces as /var/run/netns/NAME.
    for name in ('run', 'var'):
        (target / 'cni' / name).mkdir()
    (target / 'cni/var/run').symlink_to('../run')
    packages = {p: (built[p], 'STATIC_LINK') for p in STATIC['cni'] if p in built}
    contained = [source for path, source in node.taken.items() if path != 'berth-node']
    packages.update({p: (versions(runtime)[p], 'CONTAINS') for p in owners(runtime, contained)})
    write(target / 'sbom-cni.spdx.json', sbom('berth-cni', version, debian, packages))

    rootfs = Rootfs(target / 'csi', runtime / 'root', triplet)
    for program in ('berth-csi', 'berth-luks'):
        subprocess.run([strip, '-o', build / f'{program}.stripped', build / 'csi' / program], check=True)
        rootfs.take(build / f'{program}.stripped', f'usr/sbin/{program}')
    for line in (HERE / 'contents.txt').read_text(encoding='utf-8').splitlines():
        for path in line.split('#')[0].replace('@TRIPLET@', triplet).split()[1:]:
            rootfs.take(runtime / 'root' / path, path)
    rootfs.close()
    packages = {p: (built[p], 'STATIC_LINK') for p in STATIC['csi'] if p in built}
    installed = versions(runtime)
    sources = [source for path, source in rootfs.taken.items() if not path.startswith('usr/sbin/berth-')]
    packages.update({p: (installed[p], 'CONTAINS') for p in owners(runtime, sources)})
    write(target / 'sbom-csi.spdx.json', sbom('berth-csi', version, debian, packages))


if __name__ == '__main__':
    main()
