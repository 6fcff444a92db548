# SPDX-License-Identifier: Apache-2.0
"""As much of a CRI client as pods need: the messages of runtime.v1 written by field number, over gRPC."""

import grpc


def varint(value):
    out = b''
    while True:
        out += bytes([value & 0x7f | (0x80 if value > 0x7f else 0)])
        value >>= 7
        if not value:
            return out


def encode(fields):
    """fields: (number, value): int, str, bytes, a list of fields (a message), or a list of those in a tuple."""
    out = b''
    for number, value in fields:
        if isinstance(value, tuple):
            out += b''.join(encode([(number, one)]) for one in value)
        elif isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            data = value if isinstance(value, bytes) else value.encode() if isinstance(value, str) else encode(value)
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def decode(data):
    """{number: [values]}; messages stay bytes."""
    found, at = {}, 0

    def take():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if not byte & 0x80:
                return value
    while at < len(data):
        tag = take()
        if tag & 7 == 0:
            value = take()
        elif tag & 7 == 2:
            n = take()
            value = data[at:at + n]
            at += n
        else:
            raise ValueError(f'wire type {tag & 7}')
        found.setdefault(tag >> 3, []).append(value)
    return found


class Cri:
    def __init__(self, socket, cgroup):
        self.cgroup = cgroup
        # Not the connection of another client before a restart, nor how long that one waits.
        self.channel = grpc.insecure_channel(f'unix://{socket}', options=[('grpc.use_local_subchannel_pool', 1)])

    def call(self, method, fields, seconds=60):
        stub = self.channel.unary_unary(f'/runtime.v1.RuntimeService/{method}')
        return decode(stub(encode(fields), timeout=seconds))

    def ready(self):
        """(runtime ready, network ready, why the network is not)."""
        conditions = decode(self.call('Status', [])[1][0]).get(1, [])
        found = {}
        for one in map(decode, conditions):
            found[one[1][0].decode()] = (bool(one.get(2, [0])[0]), one.get(4, [b''])[0].decode())
        return found['RuntimeReady'][0], found['NetworkReady'][0], found['NetworkReady'][1]

    def sandbox_config(self, name, ports=(), annotations=()):
        """ports: (host, pod, protocol number: 0 TCP, 1 UDP, 2 SCTP)."""
        return [
            (1, [(1, name), (2, f'uid-{name}'), (3, 'default'), (4, 0)]), (2, name), (3, '/run/log'),
            (5, tuple([(1, protocol), (2, pod), (3, host)] for host, pod, protocol in ports)),
            (7, tuple([(1, key), (2, value)] for key, value in annotations)),
            (8, [(1, f'/{self.cgroup}'), (2, [(1, [(1, 0), (2, 1)])])]),
        ]

    def run_pod(self, config):
        return self.call('RunPodSandbox', [(1, config)])[1][0].decode()

    def addresses(self, pod):
        network = decode(decode(self.call('PodSandboxStatus', [(1, pod)])[1][0])[5][0])
        return [network[1][0].decode(), *[decode(one)[1][0].decode() for one in network.get(2, [])]]

    def run_container(self, pod, config, image, *argv, mounts=(), devices=()):
        """mounts: (path in the container, path on the host, 1 for read-only), mount propagation HostToContainer.
        devices: (path in the container, path on the host)."""
        container = self.call('CreateContainer', [
            (1, pod), (2, [(1, [(1, argv[0].rsplit('/', 1)[-1]), (2, 0)]), (2, [(1, image)]), (3, tuple(argv)),
                           (7, tuple([(1, inside), (2, str(host)), (3, readonly), (5, 1)]
                                     for inside, host, readonly in mounts)),
                           (8, tuple([(1, inside), (2, str(host)), (3, 'rwm')] for inside, host in devices))]),
            (3, config)])[1][0].decode()
        self.call('StartContainer', [(1, container)])
        return container

    def exec(self, container, *argv):
        """(exit code, stdout)."""
        done = self.call('ExecSync', [(1, container), (2, tuple(argv)), (3, 20)])
        return done.get(3, [0])[0], done.get(1, [b''])[0].decode()

    def pods(self):
        """IDs of the pods that are ready."""
        items = map(decode, self.call('ListPodSandbox', []).get(1, []))
        return [one[1][0].decode() for one in items if one.get(3, [0])[0] == 0]

    def stop_pod(self, pod):
        self.call('StopPodSandbox', [(1, pod)])

    def remove_pod(self, pod):
        self.stop_pod(pod)
        self.call('RemovePodSandbox', [(1, pod)])
