#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""csi_sanity.py BUILD: csi-sanity, the CSI community's own test suite, against berth-csi with the provider local.

It runs in namespaces of its own with a pool of its own: filesystem volumes on the disk of this machine, then raw block
volumes, then filesystem volumes on a pool that shares blocks, with thick volumes and with modification. Each of its
specs is one line of TAP; one that it skips must be in SKIPPED with the reason. Without a Go that can install it, all
is skipped by name. The program is kept in $XDG_CACHE_HOME/berth.
"""

import glob
import os
import pathlib
import shutil
import subprocess
import sys
import xml.etree.ElementTree

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import versions  # noqa: E402

MODULE, VERSION = versions.get('csi-sanity')

MIB = 1 << 20

# What csi-sanity leaves out for lack of a capability, by the beginning of its reason, and why Berth lacks it.
ATTACHED_BY_NODE = 'a local volume is attached by its own node: there is nothing for a controller to publish'
SKIPPED = {
    'ControllerPublishVolume not supported': ATTACHED_BY_NODE,
    'ControllerUnpublishVolume not supported': ATTACHED_BY_NODE,
    'Controller Publish, UnpublishVolume not supported': ATTACHED_BY_NODE,
    'ControllerExpandVolume not supported': 'a local volume is grown by its own node, in NodeExpandVolume',
    'SNAPSHOT_ACCESSIBILITY_CONSTRAINTS not supported': 'newer than CSI 1.12, and alpha',
    'ControllerGetVolumeHealth not supported': 'newer than CSI 1.12, and alpha; ControllerGetVolume has the condition',
    'ControllerListVolumeHealth not supported': 'newer than CSI 1.12, and alpha; ListVolumes has the condition',
    'NodeGetVolumeHealth not supported': 'newer than CSI 1.12, and alpha; NodeGetVolumeStats has the condition',
    'NodeGetStorageHealth not supported': 'newer than CSI 1.12, and alpha',
}
# What it cannot have on this machine: words of a failure. Elsewhere, as on most nodes, it is a test like the others.
OF_THE_MACHINE = {'only for a process with CAP_SYS_RESOURCE': 'root here lacks CAP_SYS_RESOURCE to grow a mounted ext4'}


class Tap:
    def __init__(self):
        self.out = os.fdopen(os.dup(1), 'w')
        os.dup2(2, 1)
        self.n = 0

    def line(self, good, name, note=''):
        self.n += 1
        self.out.write(f'{"ok" if good else "not ok"} {self.n} - {name.replace("#", "")}{note}\n')
        self.out.flush()

    def plan(self):
        self.out.write(f'1..{self.n}\n')
        self.out.flush()

    def skip_all(self, reason):
        self.out.write(f'1..0 # SKIP csi-sanity: {reason}\n')
        self.out.flush()


def find_go():
    """The newest Go here, or None."""
    found = {}
    for path in [shutil.which('go'), '/usr/local/go/bin/go', *glob.glob('/usr/lib/go-*/bin/go')]:
        if path and os.access(path, os.X_OK):
            done = subprocess.run([path, 'env', 'GOVERSION'], capture_output=True, text=True, check=False)
            numbers = done.stdout.strip().removeprefix('go').split('.')
            if done.returncode == 0 and all(n.isdigit() for n in numbers[:2]):
                found[tuple(int(n) for n in numbers[:2])] = path
    return found[max(found)] if found else None


def install():
    """Path of csi-sanity, or (None, why not)."""
    cache = pathlib.Path(os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache') / 'berth'
    program = cache / f'csi-sanity-{VERSION}'
    if program.exists():
        return program, None
    go = find_go()
    if go is None:
        return None, 'there is no Go'
    binary_directory = cache / f'install-{os.getpid()}'
    binary_directory.mkdir(parents=True, exist_ok=True)
    try:
        environment = {**os.environ, 'GOBIN': str(binary_directory), 'GOFLAGS': '-modcacherw', 'CGO_ENABLED': '0'}
        done = subprocess.run([go, 'install', f'{MODULE}/cmd/csi-sanity@{VERSION}'], env=environment,
                              capture_output=True, text=True, timeout=600, check=False)
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ['']
            return None, f'go install failed: {lines[-1]}'
        os.rename(binary_directory / 'csi-sanity', program)
    except subprocess.TimeoutExpired:
        return None, 'go install took longer than ten minutes'
    finally:
        shutil.rmtree(binary_directory, ignore_errors=True)
    return program, None


def sanity(program, build, directory, report, pool=None, flags=(), **parameters):
    """One run; the result is in report."""
    import csi
    root = directory / 'kubelet'
    daemon = csi.Daemon(build, directory, kubelet_root=root)
    if pool is not None:
        daemon.argv += [f'--pool={pool}']
    for name, text in parameters.items():
        (directory / f'{name}.yaml').write_text(text, encoding='utf-8')
        flags = [*flags, f'--csi.{name}={directory}/{name}.yaml']
    daemon.start().close()
    try:
        subprocess.run([program, f'--csi.endpoint=unix://{daemon.socket_path}', f'--csi.mountdir={root}/mount',
                        f'--csi.stagingdir={root}/staging', f'--csi.testvolumesize={64 * MIB}',
                        f'--csi.testvolumeexpandsize={128 * MIB}', f'--ginkgo.junit-report={report}',
                        '--ginkgo.no-color', *flags], check=False, timeout=600)
        left = sorted(p.name for kind in ('volumes', 'snapshots', 'groups')
                      for p in (pathlib.Path(pool or daemon.pool) / kind).iterdir())
        assert not left, f'left in the pool: {left}'
    finally:
        daemon.stop()
        print(daemon.log(), file=sys.stderr)


def shared_pool(directory):
    """A pool on xfs, made and mounted in the sandbox."""
    import sandbox
    world = sandbox.Sandbox(directory)
    pool = world.mounted(world.loop(4096 * MIB, ['mkfs.xfs', '-q']), 'xfs') / 'pool'
    pool.mkdir(mode=0o700)
    return pool


RUNS = {
    'filesystem': lambda *a: sanity(*a),
    'block': lambda *a: sanity(*a, flags=['--csi.testvolumeaccesstype=block']),
    'reflink': lambda *a: sanity(*a, pool=shared_pool(a[2]), testvolumeparameters='provisioning: thick\n',
                                 testvolumemutableparameters='provisioning: thin\n'),
}


def tell(tap, run, report):
    """The report of one run as lines."""
    for case in xml.etree.ElementTree.parse(report).getroot().iter('testcase'):
        name = f'{run}: {case.get("name").removeprefix("[It] ")}'
        status = case.get('status')
        if status == 'passed':
            tap.line(True, name)
        elif status == 'skipped':
            skipped = case.find('skipped')
            reason = (skipped.get('message') or '').removeprefix('skipped - ') if skipped is not None else ''
            why = next((text for start, text in SKIPPED.items() if reason.startswith(start)), None)
            tap.line(why is not None, name, f' # SKIP {reason}: {why}' if why else '')
        elif status == 'pending':
            tap.line(True, name, ' # SKIP pending: csi-sanity itself does not run it')
        elif name.endswith(('[BeforeSuite]', '[AfterSuite]', '[ReportAfterSuite]')):
            continue
        else:
            words = ' '.join(''.join(case.itertext()).split())
            why = next((text for start, text in OF_THE_MACHINE.items() if start in words), None)
            tap.line(why is not None, name, f' # SKIP {why}' if why else '')


def main():
    tap = Tap()
    build = pathlib.Path(sys.argv[1]).resolve()
    if os.geteuid() != 0:
        return tap.skip_all('needs root')
    program, reason = install()
    if program is None:
        return tap.skip_all(reason)
    import sandbox
    workspace = sandbox.Workspace()
    try:
        for run, function in RUNS.items():
            directory = workspace.directory(run)
            report = workspace.path / f'{run}.xml'
            status = sandbox.run(lambda f=function, d=directory, r=report: f(program, build, d, r), directory, 700)
            tap.line(status == 0, f'{run}: the daemon runs, stops, and its pool is empty')
            if report.exists():
                tell(tap, run, report)
            else:
                tap.line(False, f'{run}: csi-sanity has a result')
    finally:
        workspace.close()
    tap.plan()
    return None


if __name__ == '__main__':
    sys.exit(main())
