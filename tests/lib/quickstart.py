#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""quickstart.py BUILD_DIRECTORY: what ./quickstart shows once the programs are built.

It talks to berth-csi over its socket as kubelet does, and runs berth-cni as a container runtime does, in namespaces of
its own (sandbox.py): the machine's network, mounts and loop devices stay as they are.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import cni
import csi
import sandbox

MIB = 1 << 20
DEADLINE_SECONDS = 110
CAP_SYS_RESOURCE = 24


class Failed(Exception):
    pass


class Steps:
    """Prints one line per step with its time, and stops with a clear message at the first failure."""

    def title(self, text):
        print(f'\n{text}')

    def note(self, text, prefix='      '):
        print(textwrap.indent(text.rstrip(), prefix), flush=True)

    def do(self, text, function):
        """function returns what to add to the line, or None."""
        started = time.monotonic()
        try:
            added = function()
        except (Failed, csi.Failure, AssertionError, OSError, subprocess.SubprocessError) as error:
            words = str(error).strip() or type(error).__name__
            if isinstance(error, subprocess.CalledProcessError) and error.stderr:
                words += f'\n{error.stderr.strip()}'
            print(f'  FAILED  {text}', flush=True)
            raise Failed(words) from error
        line = f'{text}: {added}' if added else text
        print(f'  {line:<98}{milliseconds(time.monotonic() - started):>9}', flush=True)


def milliseconds(seconds):
    return f'{seconds:.1f} s' if seconds >= 10 else f'{seconds * 1000:.0f} ms'


def mib(size):
    return f'{size / MIB:.0f} MiB'


def has_capability(number):
    for line in pathlib.Path('/proc/self/status').read_text(encoding='ascii').splitlines():
        if line.startswith('CapEff:'):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def kernel_has(fs_type):
    # A filesystem that is a module shows only once it is loaded; mount(2) loads it.
    if shutil.which('modprobe'):
        subprocess.run(['modprobe', '-q', fs_type], check=False)
    return f'\t{fs_type}\n' in pathlib.Path('/proc/filesystems').read_text(encoding='ascii')


def growing_fs_type():
    """ext4, unless the kernel denies its online growth to a process without CAP_SYS_RESOURCE."""
    if has_capability(CAP_SYS_RESOURCE):
        return 'ext4'
    for fs_type in ('xfs', 'btrfs'):
        if kernel_has(fs_type) and shutil.which(f'mkfs.{fs_type}'):
            return fs_type
    return 'ext4'


def resident_mib(pid):
    for line in pathlib.Path(f'/proc/{pid}/smaps_rollup').read_text(encoding='ascii').splitlines():
        if line.startswith('Pss:'):
            return int(line.split()[1]) / 1024
    return 0


class Storage:
    """kubelet's calls for one volume of the provider local, from its creation to its end."""

    def __init__(self, steps, build, directory):
        self.steps = steps
        self.fs_type = growing_fs_type()
        self.kubelet = directory / 'kubelet'
        self.kubelet.mkdir()
        sandbox.mount(self.kubelet, self.kubelet, None, sandbox.MS_BIND)
        sandbox.mount(None, self.kubelet, None, 1 << 20)  # MS_SHARED, as kubelet's root directory is
        self.staging = self.kubelet / 'plugins/kubernetes.io/csi/local.csi.berth.dev/volume/globalmount'
        self.target = self.kubelet / 'pods/pod-1/volumes/kubernetes.io~csi/pvc-1/mount'
        self.capability = csi.mount_capability(self.fs_type)
        self.daemon = csi.Daemon(build, directory, kubelet_root=self.kubelet)
        self.client = None
        self.volume = None

    def volume_fields(self):
        context = csi.pairs(self.volume.volume_context)
        return {'volume_id': self.volume.volume_id, 'volume_context': context, 'volume_capability': self.capability}

    def start(self):
        self.client = self.daemon.start()
        info = self.client.GetPluginInfo()
        return f'{info.name} {info.vendor_version} answers, {resident_mib(self.daemon.process.pid):.1f} MiB of memory'

    def create(self):
        reply = self.client.CreateVolume(name='pvc-1', capacity_range={'required_bytes': 320 * MIB},
                                         volume_capabilities=[self.capability])
        self.volume = reply.volume
        return f'{self.volume.volume_id}, {mib(self.volume.capacity_bytes)}'

    def stage(self):
        self.staging.mkdir(parents=True, exist_ok=True)
        self.client.NodeStageVolume(staging_target_path=str(self.staging), **self.volume_fields())
        point, _, fs_type, source = sandbox.mounts_below(self.staging)[0]
        if point != str(self.staging) or fs_type != self.fs_type:
            raise Failed(f'{point} holds {fs_type}, expected {self.fs_type}')
        return f'{fs_type} from {source}'

    def publish(self):
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self.client.NodePublishVolume(staging_target_path=str(self.staging), target_path=str(self.target),
                                      **self.volume_fields())
        return 'pods/pod-1/volumes/kubernetes.io~csi/pvc-1/mount'

    def write(self):
        (self.target / 'file').write_text('written by the first pod\n', encoding='ascii')

    def size(self):
        reply = self.client.NodeGetVolumeStats(volume_id=self.volume.volume_id, volume_path=str(self.target))
        return next(usage for usage in reply.usage if usage.unit == 1)

    def usage(self):
        usage = self.size()
        return f'{mib(usage.used)} used, {mib(usage.available)} of {mib(usage.total)} free'

    def grow(self):
        before = self.size().total
        size = {'required_bytes': 640 * MIB}
        self.client.NodeExpandVolume(volume_id=self.volume.volume_id, volume_path=str(self.target),
                                     staging_target_path=str(self.staging), capacity_range=size,
                                     volume_capability=self.capability)
        after = self.size().total
        if after < before + 200 * MIB:
            raise Failed(f'the filesystem has {mib(after)}, and had {mib(before)}')
        return f'{mib(before)} -> {mib(after)}'

    def unpublish(self):
        self.client.NodeUnpublishVolume(volume_id=self.volume.volume_id, target_path=str(self.target))
        if self.target.exists():
            raise Failed(f'{self.target} is still there')

    def unstage(self):
        self.client.NodeUnstageVolume(volume_id=self.volume.volume_id, staging_target_path=str(self.staging))
        left = sandbox.mounts_below(self.staging)
        if left:
            raise Failed(f'still mounted: {left[0][0]}')

    def read_back(self):
        text = (self.target / 'file').read_text(encoding='ascii')
        if text != 'written by the first pod\n':
            raise Failed(f'the file holds {text!r}')
        return text.strip()

    def delete(self):
        self.client.DeleteVolume(volume_id=self.volume.volume_id)

    def nothing_left(self):
        mounts = [point for point, *_ in sandbox.mounts_below(self.kubelet) if point != str(self.kubelet)]
        loops = sandbox.loops_below(self.daemon.directory)
        images = [path for path in self.daemon.pool.rglob('*') if path.is_file() and path.stat().st_size >= MIB]
        if mounts or loops or images:
            raise Failed(f'left: mounts {mounts}, loop devices {loops}, files {images}')
        return 'no mount, no loop device, no file'

    def stop(self):
        code = self.daemon.stop()
        if code != 0:
            raise Failed(f'it ended with {code}; log:\n{self.daemon.log()[-2000:]}')

    def show(self):
        do = self.steps.do
        self.steps.title('Storage: berth-csi with the provider local, spoken to as kubelet does')
        try:
            do('start berth-csi on a private socket', self.start)
            do('CreateVolume', self.create)
            do('NodeStageVolume, makes the filesystem and mounts it', self.stage)
            do('NodePublishVolume into the pod', self.publish)
            do('the pod writes a file', self.write)
            do('NodeGetVolumeStats', self.usage)
            do('NodeExpandVolume, while it is mounted', self.grow)
            do('NodeUnpublishVolume', self.unpublish)
            do('NodeUnstageVolume', self.unstage)
            do('NodeStageVolume again, nothing is formatted', self.stage)
            do('NodePublishVolume into the next pod', self.publish)
            do('the next pod reads the file', self.read_back)
            do('NodeUnpublishVolume', self.unpublish)
            do('NodeUnstageVolume', self.unstage)
            do('DeleteVolume', self.delete)
            do('what is left', self.nothing_left)
            do('stop berth-csi', self.stop)
        except Failed as error:
            lines = self.daemon.log().splitlines() if self.daemon.log_path.exists() else []
            raise Failed('\n'.join([str(error), 'log of berth-csi:', *lines[-12:]])) from None
        finally:
            if self.daemon.process and self.daemon.process.poll() is None:
                self.daemon.kill()


class Network:
    """A runtime's calls for two pods on one bridge."""

    def __init__(self, steps, build, box):
        self.steps = steps
        self.box = box
        self.leases = box.path / 'leases'
        self.plugin = cni.Plugin(build)
        self.conf = {
            'cniVersion': '1.0.0', 'name': 'quickstart', 'type': 'berth-cni', 'bridge': 'berth0',
            'isDefaultGateway': True, 'ipMasq': True,
            'ipam': {'type': 'host-local', 'dataDir': str(self.leases), 'ranges': [[{'subnet': '10.88.0.0/24'}]]},
        }
        self.pods = {}
        self.results = {}

    def add(self, name):
        self.pods[name] = self.box.netns(name)
        done = self.plugin.add(self.conf, self.pods[name], f'container-{name}')
        if done.code != 0:
            raise Failed(done.stdout.strip() or done.stderr.strip())
        self.results[name] = done.json
        return f'{self.address(name)} on eth0'

    def address(self, name):
        return self.results[name]['ips'][0]['address'].split('/')[0]

    def ping(self, name, address):
        try:
            done = self.pods[name].run('ping', '-n', '-c', '1', '-W', '5', address, timeout=15)
        except subprocess.CalledProcessError as error:
            raise Failed(f'no answer from {address}: {error.stdout.strip()}') from None
        return done.stdout.split('time=')[1].split('\n')[0]

    def check(self):
        for name, pod in self.pods.items():
            self.plugin.check(self.conf, pod, f'container-{name}', result=self.results[name]).ok()

    def delete(self):
        for name, pod in self.pods.items():
            self.plugin.delete(self.conf, pod, f'container-{name}', result=self.results[name]).ok()

    def nothing_left(self):
        links = [link['ifname'] for link in sandbox.ip_json('link', 'show', 'type', 'veth')]
        files = [path.name for path in self.leases.rglob('*') if path.name[0].isdigit()]
        links += [link['ifname'] for pod in self.pods.values() for link in pod.ip('link') if link['ifname'] != 'lo']
        if links or files:
            raise Failed(f'left: links {links}, leases {files}')
        return 'no link, no lease (the empty bridge stays)'

    def show(self):
        do = self.steps.do
        self.steps.title('Network: berth-cni, run as a container runtime does')
        do('ADD for pod-1 in a fresh network namespace', lambda: self.add('pod-1'))
        do('ADD for pod-2', lambda: self.add('pod-2'))
        self.steps.note(json.dumps(self.results['pod-2'], indent=2))
        do('ping from pod-1 to pod-2', lambda: self.ping('pod-1', self.address('pod-2')))
        do('ping from pod-2 to the gateway', lambda: self.ping('pod-2', self.results['pod-2']['ips'][0]['gateway']))
        do('CHECK of both', self.check)
        do('DEL of both', self.delete)
        do('what is left', self.nothing_left)


def show_host(steps, build):
    steps.title('This machine, as Berth sees it')
    output = []

    def run():
        done = subprocess.run([build / 'csi' / 'berth-csi', 'host'], capture_output=True, text=True, timeout=30,
                              check=True)
        output.append(done.stdout)
    steps.do('berth-csi host', run)
    steps.note(output[0])


def show(build, box):
    """Runs in the sandbox; its exit status is the answer."""
    steps = Steps()
    try:
        show_host(steps, build)
        Storage(steps, build, box.path).show()
        Network(steps, build, box).show()
    except Failed as error:
        print(f'\nquickstart: {error}', file=sys.stderr, flush=True)
        os._exit(1)
    except KeyboardInterrupt:
        os._exit(130)
    print('\nAll of it works on this machine, and nothing of it is left. README.md says how to go on to a cluster.',
          flush=True)


def stop(number, _frame):
    sys.exit(128 + number)


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    workspace = sandbox.Workspace()
    try:
        directory = workspace.directory('quickstart')
        status = sandbox.run(lambda: show(build, sandbox.Sandbox(directory)), directory, DEADLINE_SECONDS)
    except KeyboardInterrupt:
        status = 130
    finally:
        workspace.close()
    if status == 124:
        print(f'quickstart: not done after {DEADLINE_SECONDS} s', file=sys.stderr)
    if status in (130, 143):
        print('\nquickstart: interrupted; everything was cleaned up', file=sys.stderr)
    return status


if __name__ == '__main__':
    sys.exit(main())
