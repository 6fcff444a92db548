# SPDX-License-Identifier: Apache-2.0
"""Debian's containerd, started privately in the sandbox of a test, with an image of one static busybox in it."""

import os
import shutil
import subprocess
import textwrap

import cgroups
import image
import node

BUSYBOX = '/usr/bin/busybox'
IMAGE = 'test.local/busybox:1'
PLUGINS = '/opt/cni/bin'
CONFIGURATIONS = '/etc/cni/net.d'


def missing():
    """Why it cannot run here; None if it can."""
    for tool in ('containerd', 'ctr', 'runc'):
        if not shutil.which(tool):
            return f'needs {tool}'
    if not os.path.exists(BUSYBOX) or b'statically' not in subprocess.run(
            ['file', '-L', BUSYBOX], capture_output=True, check=False).stdout:
        return 'needs a static busybox'
    return None


class Containerd:
    """Its state lies on a real filesystem. The directories of CNI are private to the sandbox, and empty until the first
    one fills them; others have them too, under a name of their own."""

    def __init__(self, sandbox, name='run'):
        self.run = sandbox.path / name
        self.run.mkdir()
        self.socket = self.run / 'c.sock'
        self.process = None
        if name == 'run':
            self._own_directories(sandbox)
        (self.run / 'config.toml').write_text(textwrap.dedent(f'''
            version = 2
            root = "{sandbox.path}/{name}-root"
            state = "{self.run}/state"
            [grpc]
              address = "{self.socket}"
            [ttrpc]
              address = "{self.run}/t.sock"
            [plugins."io.containerd.grpc.v1.cri"]
              sandbox_image = "{IMAGE}"
              disable_apparmor = true
              restrict_oom_score_adj = true
            [plugins."io.containerd.grpc.v1.cri".cni]
              bin_dir = "{PLUGINS}"
              conf_dir = "{CONFIGURATIONS}"
            [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
              runtime_type = "io.containerd.runc.v2"
            '''))

    @staticmethod
    def _own_directories(sandbox):
        cgroups.sweep()
        # Debian's containerd is set up for /usr/lib/cni; here it has the directories of other nodes.
        for path in ('/etc/containerd', CONFIGURATIONS, PLUGINS, '/var/lib/cni'):
            sandbox.private_directory(path)
        os.mkdir('/run/log')

    def start(self):
        with open(self.run / 'log', 'ab') as log:
            self.process = subprocess.Popen(['containerd', '-c', self.run / 'config.toml'], stdout=log, stderr=log)
        node.wait_for(lambda: subprocess.run(['ctr', '-a', self.socket, 'version'], capture_output=True,
                                             check=False).returncode == 0, 30)

    def load(self, directory):
        archive = image.make(directory / 'image.tar', IMAGE, BUSYBOX)
        node.sh('ctr', '-a', self.socket, '-n', 'k8s.io', 'images', 'import', archive)

    def stop(self):
        """Pods live on: their shims are processes of their own."""
        self.process.terminate()
        self.process.wait(30)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        if self.process and self.process.poll() is None:
            self.stop()
        print((self.run / 'log').read_text()[-3000:])
        cgroups.sweep(cgroups.NAME)
