#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""rootfs.py ARCHITECTURE BUILD SYSROOT RUNTIME LIBCURL CONTEXT: one architecture's files of both images, and SBOMs.

BUILD is a build of cross/build against SYSROOT; RUNTIME is a directory of cross/sysroot with the packages of
contents.txt; LIBCURL is what images/libcurl has built. Writes CONTEXT/<name of the architecture in images>/{cni,csi}/,
and beside them sbom-{cni,csi}.spdx.json. Takes the files that are listed, and each library that one of them needs.

Of each package that a file is of, or that is linked in, the image has the licence (/usr/share/doc/NAME/copyright, and
the texts in /usr/share/common-licenses that these name) and what dpkg says of it (/var/lib/dpkg/status.d/NAME, where
scanners look in images without a dpkg).
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
# Built into the programs: the packages of their static libraries.
STATIC = {'cni': ('libc6-dev', 'libgcc-12-dev', 'libjansson-dev', 'libnl-3-dev', 'libnl-route-3-dev'),
          'csi': ('libgrpc-dev', 'libabsl-dev', 'libc-ares-dev', 'zlib1g-dev', 'libprotobuf-c-dev', 'libjansson-dev',
                  'libblkid-dev', 'libstdc++-12-dev', 'libgcc-12-dev')}
# What a scanner reads of a package, in dpkg's order.
STATUS_FIELDS = ('Package', 'Source', 'Version', 'Architecture', 'Maintainer', 'Installed-Size', 'Section', 'Priority',
                 'Multi-Arch', 'Homepage', 'Description')
# How scanners tell that these are Debian's packages, and of which release.
RELEASE_FILES = ('usr/lib/os-release', 'etc/debian_version')


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


def licenses():
    """SPDX expressions by source package."""
    lines = (HERE / 'licenses.txt').read_text(encoding='utf-8').splitlines()
    return dict(line.split(None, 1) for line in lines if line and not line.startswith('#'))


def expression(parts):
    """One expression of many: each term once."""
    return ' AND '.join(sorted({term for part in parts for term in part.split(' AND ')}))


def stanzas(directory, names):
    """{package: {field: value}} by what apt knows of a directory of cross/sysroot: first lines of fields."""
    installed = versions(directory)
    done = subprocess.run(['apt-cache', '-c', directory / 'apt/apt.conf', 'show',
                           *(f'{name}={installed[name]}' for name in names)],
                          capture_output=True, text=True, check=False)
    found = {}
    for text in done.stdout.split('\n\n'):
        fields = dict(line.partition(': ')[::2] for line in text.splitlines() if not line.startswith(' '))
        if fields and fields['Version'] == installed.get(fields['Package']):
            found[fields['Package']] = fields
    missing = set(names) - found.keys()
    if missing:
        sys.exit(f'rootfs: apt does not know {", ".join(sorted(missing))} in {directory}: {done.stderr.strip()}')
    return found


class Package:
    """What dpkg says of one. @how: SPDX's word for how an image has it."""

    def __init__(self, directory, fields, how):
        self.name, self.version, self.how, self.fields = fields['Package'], fields['Version'], how, fields
        self.copyright = directory / 'root/usr/share/doc' / self.name / 'copyright'
        # "gcc-12 (12.2.0-14)" where the version differs.
        self.source, _, other = fields.get('Source', self.name).partition(' ')
        self.source_version = other.strip('()') or re.sub(r'\+b\d+$', '', self.version)
        known = licenses()
        if self.source not in known:
            sys.exit(f'rootfs: the licence of source package {self.source} ({self.name}) is not in images/licenses.txt')
        self.license = known[self.source]
        if not self.copyright.exists():
            sys.exit(f'rootfs: {self.name} has no copyright file')

    def status(self):
        lines = [f'{key}: {self.fields[key]}' for key in STATUS_FIELDS if key in self.fields]
        lines.insert(1, 'Status: install ok installed')
        return '\n'.join(lines) + '\n'


def put(target, path, text):
    place = target / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding='utf-8')
    os.chmod(place, 0o644)


def document(target, name, runtime, packages):
    """Licences and dpkg's facts, for people and scanners."""
    put(target, f'usr/share/doc/{name}/copyright', (HERE.parent / 'LICENSE').read_text(encoding='utf-8'))
    put(target, f'usr/share/doc/{name}/SOURCES',
        'Of these Debian source packages come the programs and libraries in this image that are not of\n'
        'Berth itself. Debian keeps the source of every version: apt-get source NAME=VERSION, and its\n'
        'snapshot archive for what is no longer in a release.\n\n' +
        ''.join(f'{one}\n' for one in sorted({f'{p.source} {p.source_version}' for p in packages})))
    first = {}
    named = set()
    for package in packages:
        put(target, f'var/lib/dpkg/status.d/{package.name}', package.status())
        text = package.copyright.read_text(encoding='utf-8', errors='replace')
        named |= set(re.findall(r'/usr/share/common-licenses/([A-Za-z0-9.-]*[A-Za-z0-9])', text))
        path = f'usr/share/doc/{package.name}/copyright'
        if text in first:
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).symlink_to(f'../{first[text]}/copyright')
        else:
            first[text] = package.name
            put(target, path, text)
    for license_name in sorted(named):
        source = runtime / 'root/usr/share/common-licenses' / license_name
        if source.exists():
            put(target, f'usr/share/common-licenses/{license_name}', source.read_text(encoding='utf-8'))


def check_label(kind, packages):
    """The label of images/Containerfile is the sum of all."""
    text = (HERE / 'Containerfile').read_text(encoding='utf-8')
    stage = re.search(rf'^FROM scratch AS {kind}$(.*?)(?:^FROM |\Z)', text, re.M | re.S).group(1)
    label = re.search(r'licenses="([^"]*)"', stage).group(1)
    wanted = expression([licenses()['berth']] + [package.license for package in packages])
    if label != wanted:
        sys.exit(f'rootfs: label licenses of {kind} in images/Containerfile is to be "{wanted}"')


def sbom(name, version, architecture, packages):
    """SPDX 2.3."""
    created = time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(int(os.environ['SOURCE_DATE_EPOCH'])))
    items = [{'SPDXID': f'SPDXRef-{name}', 'name': name, 'versionInfo': version, 'licenseDeclared': 'Apache-2.0',
              'licenseConcluded': 'Apache-2.0', 'copyrightText': 'NOASSERTION', 'downloadLocation': 'NOASSERTION',
              'filesAnalyzed': False}]
    relations = [('SPDXRef-DOCUMENT', 'DESCRIBES', f'SPDXRef-{name}')]
    for package in packages:
        reference = 'SPDXRef-Package-' + re.sub(r'[^A-Za-z0-9.-]', '-', package.name)
        items.append({'SPDXID': reference, 'name': package.name, 'versionInfo': package.version,
                      'supplier': 'Organization: Debian', 'licenseDeclared': package.license,
                      'licenseConcluded': 'NOASSERTION', 'copyrightText': 'NOASSERTION',
                      'downloadLocation': 'NOASSERTION', 'filesAnalyzed': False,
                      'sourceInfo': f'Debian source package {package.source} {package.source_version}',
                      'externalRefs': [{'referenceCategory': 'PACKAGE-MANAGER', 'referenceType': 'purl',
                                        'referenceLocator': f'pkg:deb/debian/{package.name}@{package.version}'
                                                            f'?arch={architecture}'}]})
        relations.append((f'SPDXRef-{name}', package.how, reference))
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


def finish(kind, rootfs, sysroot, runtime, version):
    """What is said of an image's files, once they are all there."""
    ours = [path for path in rootfs.taken if path.rsplit('/', 1)[-1].startswith('berth-')]
    files = [source for path, source in rootfs.taken.items() if path not in ours and 'libcurl' not in path]
    linked = stanzas(sysroot, [*STATIC[kind], 'libcurl4'])
    # libcurl is built of the source of that version, with less in it.
    packages = [Package(sysroot, fields, 'CONTAINS' if name == 'libcurl4' else 'STATIC_LINK')
                for name, fields in linked.items()]
    packages += [Package(runtime, fields, 'CONTAINS')
                 for fields in stanzas(runtime, owners(runtime, files)).values()]
    packages.sort(key=lambda package: package.name)
    check_label(kind, packages)
    document(rootfs.target, f'berth-{kind}', runtime, packages)
    write(rootfs.target.parent / f'sbom-{kind}.spdx.json',
          sbom(f'berth-{kind}', version, packages[0].fields['Architecture'], packages))


def main():
    architecture = sys.argv[1]
    build, sysroot, runtime, libcurl, context = (pathlib.Path(one).resolve() for one in sys.argv[2:])
    triplet = TRIPLETS[architecture]
    target = context / IMAGE_NAMES.get(architecture, architecture)
    shutil.rmtree(target, ignore_errors=True)
    version = re.search(r"version: '([^']+)'", (HERE.parent / 'meson.build').read_text(encoding='utf-8')).group(1)

    def start(kind, programs):
        """An image's root with programs of ours: (directory of the build, name, path in the image)."""
        rootfs = Rootfs(target / kind, runtime / 'root', triplet)
        for room, name, path in programs:
            subprocess.run([f'{triplet}-strip', '-o', build / f'{name}.stripped', build / room / name], check=True)
            rootfs.take(build / f'{name}.stripped', path)
        # Both programs load it when they have something to ask.
        rootfs.take(libcurl, f'usr/lib/{triplet}/libcurl.so.4')
        for path in RELEASE_FILES:
            rootfs.take(runtime / 'root' / path, path)
        (target / kind / 'etc/os-release').symlink_to('../usr/lib/os-release')
        return rootfs

    node = start('cni', [('cni', 'berth-cni', 'berth-cni'), ('cni', 'berth-node', 'berth-node')])
    node.close()
    finish('cni', node, sysroot, runtime, version)
    # Runtimes note namespaces as /var/run/netns/NAME.
    (target / 'cni/run').mkdir()
    (target / 'cni/var/run').symlink_to('../run')

    rootfs = start('csi', [('csi', name, f'usr/sbin/{name}') for name in ('berth-csi', 'berth-luks')])
    for line in (HERE / 'contents.txt').read_text(encoding='utf-8').splitlines():
        for path in line.split('#')[0].replace('@TRIPLET@', triplet).split()[1:]:
            rootfs.take(runtime / 'root' / path, path)
    rootfs.close()
    finish('csi', rootfs, sysroot, runtime, version)


if __name__ == '__main__':
    main()
