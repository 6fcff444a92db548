# SPDX-License-Identifier: Apache-2.0
"""What kubelet and external-provisioner do with a CSI driver, call by call, as recorded from Kubernetes v1.36
(tests/data/kubelet/): the registration, the directories and files that are kubelet's own, a new connection for each
step, NodeGetCapabilities as often as kubelet asks for it. Directories are removed as kubelet removes them, only when
they are empty: what a driver leaves behind is an error here, and a pod that never goes there.
"""

import hashlib
import json
import os
import pathlib
import stat
import time
import uuid

import grpc

import csi

PROVISIONER = '1795494386311-8081-provisioner'


class Volume:
    """name: of the PersistentVolume, or of the volume in the pod's specification when it is ephemeral."""

    def __init__(self, name, handle='', context=None, fs_type='', block=False, ephemeral=False, group=None):
        self.name, self.handle, self.context = name, handle, context or {}
        self.fs_type, self.block, self.ephemeral, self.group = fs_type, block, ephemeral, group


class Pod:
    def __init__(self, name, volumes=()):
        self.name, self.volumes, self.uid = name, list(volumes), str(uuid.uuid4())
        self.paths = {}


class Kubelet:
    """root: kubelet's root directory, with shared propagation. calls: (method, fields) in the order they were made."""

    def __init__(self, root, node='node-1'):
        self.root = pathlib.Path(root)
        self.node = node
        self.driver = self.endpoint = self.node_id = None
        self.calls = []
        self.modes = None
        (self.root / 'plugins_registry').mkdir(mode=0o750, exist_ok=True)
        self.staged = {}

    # --- calls ---

    def call(self, method, **fields):
        self.calls.append((method, fields))
        with csi.Client(self.endpoint) as client:
            return client.call(method, **fields)

    def capabilities(self, times=1):
        """Asked before nearly every call, each time anew."""
        for _ in range(times):
            self.call('NodeGetCapabilities')

    def register(self, seconds=60):
        """The plugin watcher: a socket appears, is asked what it is, and the driver is asked what the node is.

        Names that begin with a dot it leaves alone; they are there before the socket is listened on.
        """
        directory = self.root / 'plugins_registry'
        end = time.monotonic() + seconds
        while not (found := sorted(directory.glob('[!.]*-reg.sock'))):
            assert time.monotonic() < end, 'no driver asks to be registered'
            time.sleep(0.002)
        with grpc.insecure_channel(f'unix:{found[0]}') as channel:
            def ask(method, request, reply):
                return channel.unary_unary(f'/pluginregistration.Registration/{method}',
                                           request_serializer=lambda message: message.SerializeToString(),
                                           response_deserializer=reply.FromString)(request, timeout=30)
            info = ask('GetInfo', csi.registration_pb2.InfoRequest(), csi.registration_pb2.PluginInfo)
            assert info.type == 'CSIPlugin' and '1.0.0' in info.supported_versions
            self.driver, self.endpoint = info.name, info.endpoint or str(found[0])
            self.node_id = self.call('NodeGetInfo').node_id
            ask('NotifyRegistrationStatus', csi.registration_pb2.RegistrationStatus(plugin_registered=True),
                csi.registration_pb2.RegistrationStatusResponse)
        return self.driver

    # --- external-provisioner ---

    def provisioner_start(self):
        for method in ('GetPluginInfo', 'Probe', 'GetPluginInfo', 'GetPluginCapabilities',
                       'ControllerGetCapabilities'):
            self.call(method)

    def provision(self, size_bytes, fs_type='', block=False, group=None, parameters=None):
        name = f'pvc-{uuid.uuid4()}'
        fields = {'name': name, 'capacity_range': {'required_bytes': size_bytes},
                  'volume_capabilities': [self.capability(fs_type, block)]}
        if parameters:
            fields['parameters'] = parameters
        made = self.call('CreateVolume', **fields).volume
        return Volume(name, made.volume_id, csi.pairs(made.volume_context), fs_type, block, group=group)

    def delete(self, volume):
        self.call('DeleteVolume', volume_id=volume.handle)

    # --- a pod comes ---

    def capability(self, fs_type, block):
        many = csi.csi_pb2.NodeServiceCapability.RPC.SINGLE_NODE_MULTI_WRITER
        if self.modes is None:
            with csi.Client(self.endpoint) as client:
                self.modes = {one.rpc.type for one in client.NodeGetCapabilities().capabilities}
        mode = csi.SINGLE_NODE_MULTI_WRITER if many in self.modes else csi.SINGLE_NODE_WRITER
        kind = {'block': {}} if block else {'mount': {'fs_type': fs_type} if fs_type else {}}
        return {**kind, 'access_mode': {'mode': mode}}

    def _context(self, pod, volume):
        more = {} if volume.ephemeral else {'storage.kubernetes.io/csiProvisionerIdentity': PROVISIONER}
        return {**volume.context, **more,
                'csi.storage.k8s.io/pod.name': pod.name, 'csi.storage.k8s.io/pod.namespace': 'default',
                'csi.storage.k8s.io/pod.uid': pod.uid, 'csi.storage.k8s.io/serviceAccount.name': '',
                'csi.storage.k8s.io/ephemeral': 'true' if volume.ephemeral else 'false'}

    def _plugins(self):
        return self.root / 'plugins' / 'kubernetes.io' / 'csi'

    def staging(self, volume):
        if volume.block:
            return self._plugins() / 'volumeDevices' / 'staging' / volume.name
        digest = hashlib.sha256(volume.handle.encode()).hexdigest()
        return self._plugins() / self.driver / digest / 'globalmount'

    def target(self, pod, volume):
        if volume.block:
            return self._plugins() / 'volumeDevices' / 'publish' / volume.name / pod.uid
        return self.root / 'pods' / pod.uid / 'volumes' / 'kubernetes.io~csi' / volume.name / 'mount'

    def stage(self, volume):
        path = self.staging(volume)
        path.mkdir(mode=0o750, parents=True, exist_ok=True)
        if not volume.block:
            (path.parent / 'vol_data.json').write_text(json.dumps(
                {'volumeHandle': volume.handle, 'driverName': self.driver}))
        self.capabilities(3)
        self.call('NodeStageVolume', volume_id=volume.handle, staging_target_path=str(path),
                  volume_capability=self.capability(volume.fs_type, volume.block),
                  volume_context={**volume.context, 'storage.kubernetes.io/csiProvisionerIdentity': PROVISIONER})

    def publish(self, pod, volume):
        path = self.target(pod, volume)
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        if not volume.block:
            (path.parent / 'vol_data.json').write_text(json.dumps(
                {'specVolID': volume.name, 'volumeHandle': volume.handle, 'driverName': self.driver,
                 'nodeName': self.node, 'volumeLifecycleMode': 'Ephemeral' if volume.ephemeral else 'Persistent'}))
        staging = {} if volume.ephemeral else {'staging_target_path': str(self.staging(volume))}
        self.capabilities(2 if volume.ephemeral else 3)
        self.call('NodePublishVolume', volume_id=volume.handle, target_path=str(path), **staging,
                  volume_capability=self.capability(volume.fs_type, volume.block),
                  volume_context=self._context(pod, volume))
        if volume.group is not None and not volume.block:
            give_to_group(path, volume.group)

    def mount(self, pod):
        """All volumes of a pod; returns where each is, by its name."""
        for volume in pod.volumes:
            if volume.ephemeral:
                volume.handle = 'csi-' + hashlib.sha256((pod.uid + volume.name).encode()).hexdigest()
            elif not self.staged.get(volume.handle):
                self.stage(volume)
            self.publish(pod, volume)
            self.staged.setdefault(volume.handle, set()).add(pod.uid)
            pod.paths[volume.name] = self.target(pod, volume)
        return pod.paths

    def stats(self, pod, volume):
        self.capabilities()
        return self.call('NodeGetVolumeStats', volume_id=volume.handle, volume_path=str(self.target(pod, volume)))

    def expand(self, pod, volume, size_bytes):
        self.capabilities(2)
        return self.call('NodeExpandVolume', volume_id=volume.handle, volume_path=str(self.target(pod, volume)),
                         staging_target_path=str(self.staging(volume)), capacity_range={'required_bytes': size_bytes},
                         volume_capability=self.capability(volume.fs_type, volume.block))

    # --- a pod goes ---

    def unmount(self, pod):
        for volume in pod.volumes:
            path = self.target(pod, volume)
            self.call('NodeUnpublishVolume', volume_id=volume.handle, target_path=str(path))
            assert not os.path.lexists(path), f'{path} is left'
            if not volume.block:
                (path.parent / 'vol_data.json').unlink()
            path.parent.rmdir()
            users = self.staged[volume.handle]
            users.discard(pod.uid)
            if not users:
                del self.staged[volume.handle]
                if not volume.ephemeral:
                    self.unstage(volume)
        for path in (self.root / 'pods' / pod.uid / 'volumes' / 'kubernetes.io~csi',
                     self.root / 'pods' / pod.uid / 'volumes', self.root / 'pods' / pod.uid):
            if path.exists():
                path.rmdir()

    def unstage(self, volume):
        path = self.staging(volume)
        self.capabilities()
        self.call('NodeUnstageVolume', volume_id=volume.handle, staging_target_path=str(path))
        if path.exists():
            path.rmdir()
        if not volume.block:
            (path.parent / 'vol_data.json').unlink()
            path.parent.rmdir()


def give_to_group(top, group):
    """fsGroup: kubelet does this itself after the driver has published."""
    for directory, _, files in os.walk(top):
        for path in [directory, *[os.path.join(directory, one) for one in files]]:
            info = os.lstat(path)
            os.lchown(path, -1, group)
            if not stat.S_ISLNK(info.st_mode):
                extra = 0o2770 if stat.S_ISDIR(info.st_mode) else 0o660
                os.chmod(path, stat.S_IMODE(info.st_mode) | extra)
