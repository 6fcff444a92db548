# SPDX-License-Identifier: Apache-2.0
"""The images that the pods of Kubernetes' end-to-end suite run, made of programs of this machine and of agnhost, which
is built with the suite. The names are those that the suite asks for, tag included."""

import re
import shutil
import subprocess

import image

# Beside busybox, whose wget and nc do not stand in for these.
TOOLS = ('curl', 'wget', 'openssl')
# Names of the suite: what a pod runs that gives no command. What asks for nginx here only runs a script in it: no web
# server of that name is made.
ENTRYPOINTS = {'busybox': (), 'agnhost': ('/agnhost',), 'pause': ('/agnhost', 'pause'), 'nginx': ()}


def libraries(program):
    done = subprocess.run(['ldd', program], capture_output=True, text=True, check=True)
    return re.findall(r'(/\S+) \(0x', done.stdout)


def rootfs(directory, agnhost):
    """Busybox under all its names, agnhost, and tools with the libraries that they need."""
    for one in ('bin', 'etc', 'tmp', 'proc', 'sys', 'dev', 'root', 'home', 'var/run', 'usr/bin'):
        (directory / one).mkdir(parents=True)
    (directory / 'tmp').chmod(0o1777)
    (directory / 'etc/passwd').write_text('root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n')
    (directory / 'etc/group').write_text('root:x:0:\nnobody:x:65534:\n')
    shutil.copy('/usr/bin/busybox', directory / 'bin/busybox')
    applets = subprocess.run(['busybox', '--list'], capture_output=True, text=True, check=True).stdout.split()
    for one in set(applets) - {'busybox', *TOOLS}:
        (directory / 'bin' / one).symlink_to('busybox')
    for tool in TOOLS:
        path = shutil.which(tool)
        for source in [path, *libraries(path)]:
            target = directory / source.lstrip('/')
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
        if not path.startswith('/usr/bin/'):
            (directory / 'usr/bin' / tool).symlink_to(path)
    shutil.copy(agnhost, directory / 'agnhost')
    return directory


def wanted(suite):
    """Names with tags that this e2e.test asks for, of those that can be made."""
    done = subprocess.run([suite, '--list-images'], capture_output=True, text=True, check=True)
    names = re.findall(r'(?m)^(\S+/([a-z-]+):\S+)$', done.stdout)
    return {name: ENTRYPOINTS[base] for name, base in names if base in ENTRYPOINTS and '/authenticated' not in name}


def load(containerd, programs, directory):
    files = rootfs(directory / 'e2e-files', programs / 'agnhost')
    for number, (name, entrypoint) in enumerate(sorted(wanted(programs / 'e2e.test').items())):
        path = image.make_of(directory / f'e2e-{number}.tar', name, files, *entrypoint)
        subprocess.run(['ctr', '-a', containerd.socket, '-n', 'k8s.io', 'images', 'import', path], check=True,
                       capture_output=True)
        path.unlink()
