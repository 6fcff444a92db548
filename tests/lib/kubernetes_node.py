# SPDX-License-Identifier: Apache-2.0
"""One node of a real Kubernetes in the sandbox of a test: control plane, containerd and kubelet as processes, berth-cni
as its network and berth-csi as the driver of its volumes."""

import subprocess

import cgroups
import containerd as containerd_lib
import csi
import kubernetes
import node as lib

DRIVER = 'local.csi.berth.dev'
CSI_DRIVER = {'apiVersion': 'storage.k8s.io/v1', 'kind': 'CSIDriver', 'metadata': {'name': DRIVER},
              'spec': {'attachRequired': False, 'podInfoOnMount': True, 'fsGroupPolicy': 'File',
                       'volumeLifecycleModes': ['Persistent', 'Ephemeral']}}
STORAGE_CLASS = {'apiVersion': 'storage.k8s.io/v1', 'kind': 'StorageClass', 'metadata': {'name': 'berth-local'},
                 'provisioner': DRIVER, 'volumeBindingMode': 'WaitForFirstConsumer'}


class World:
    def __init__(self, sandbox, build, programs, dual_stack=False):
        self.build, self.sandbox, self.dual_stack = build, sandbox, dual_stack
        self.node = lib.Node(sandbox, build)
        lib.sh('ip', 'route', 'add', 'default', 'via', lib.OUTSIDE)  # kubelet wants a way out
        self.containerd = containerd_lib.Containerd(sandbox)
        root = sandbox.private_directory('/var/lib/kubelet')
        sandbox.share(root)
        for path in ('/var/log/pods', '/var/log/containers'):
            sandbox.private_directory(path)
        self.cluster = kubernetes.Kubernetes(sandbox, programs, self.containerd,
                                             address6=lib.NODE6 if dual_stack else None)
        socket = root / 'plugins' / DRIVER / 'csi.sock'
        self.daemon = csi.Daemon(build, sandbox.path, ['--registration', f'--endpoint={socket}', '--health-port=9808'],
                                 kubelet_root=root, node_name=kubernetes.NODE)
        self.daemon.socket_path = socket

    def start_cluster(self):
        self.containerd.start()
        self.containerd.load(self.sandbox.path)
        self.cluster.start_control_plane()
        self.cluster.start_kubelet()

    def start(self):
        self.start_cluster()
        second = ['--subnet', 'fd00:5::/64'] if self.dual_stack else []
        subprocess.run([self.build / 'cni' / 'berth-cni', 'install', '--subnet', '10.5.0.0/24', *second], check=True,
                       capture_output=True)
        self.cluster.wait(self.cluster.node_is_ready, 90, 'node')

    def close(self):
        if self.daemon.process and self.daemon.process.poll() is None:
            self.daemon.stop()
        if self.daemon.log_path.exists():
            print(self.daemon.log()[-3000:])
        self.cluster.close()
        self.containerd.close()
        cgroups.sweep(cgroups.NAME)
