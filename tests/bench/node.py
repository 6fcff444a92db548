#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a node waits for: how long from the start of each part until it is of use, and what the two pods hold.

sudo tests/bench/node.py [--build DIR] [--runs N] [--json FILE]

storage: from the start of the daemon until kubelet has registered it, and how long the first pod's new volume takes to
be made, formatted, mounted and published by kubelet's own calls (tests/lib/kubelet.py).
network: from the start of `berth-cni install` until a running containerd says that the network is ready, and how long
containerd takes for the first pod after that, and for the next.
memory: PSS of the daemon after that, and with 50 volumes mounted; and of a container that sleeps, as the one that stays
of the network's pod does. Each run is in namespaces of its own.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / 'tests' / 'lib'))

import cgroups  # noqa: E402
import containerd as containerd_lib  # noqa: E402
import cri  # noqa: E402
import csi  # noqa: E402
import node as lib  # noqa: E402
import sandbox as sandbox_module  # noqa: E402
from kubelet import Kubelet, Pod  # noqa: E402

MIB = 1 << 20
MANY = 50


def pss_mib(pid):
    for line in pathlib.Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines():
        if line.startswith('Pss:'):
            return int(line.split()[1]) / 1024
    raise ValueError('no Pss')


def storage(sandbox, build):
    root = sandbox.private_directory('/var/lib/kubelet')
    sandbox.share(root)
    kubelet = Kubelet(root)
    socket = root / 'plugins/local.csi.berth.dev/csi.sock'
    daemon = csi.Daemon(build, sandbox.path, ['--registration', f'--endpoint={socket}', '--health-port=9808'],
                        kubelet_root=root)
    found = {}
    started = time.monotonic()
    daemon.start(ready_seconds=0)
    kubelet.register()
    found['registered ms'] = (time.monotonic() - started) * 1000
    found['PSS registered MiB'] = pss_mib(daemon.process.pid)
    began = time.monotonic()
    volume = kubelet.provision(64 * MIB, 'ext4')
    pod = Pod('first', [volume])
    kubelet.mount(pod)
    found['first pod: volume made, formatted, mounted ms'] = (time.monotonic() - began) * 1000
    kubelet.unmount(pod)
    began = time.monotonic()
    pod = Pod('second', [volume])
    kubelet.mount(pod)
    found['next pod: volume mounted ms'] = (time.monotonic() - began) * 1000
    for number in range(MANY - 1):
        kubelet.mount(Pod(f'p{number}', [kubelet.provision(16 * MIB, 'ext4')]))
    time.sleep(1)
    found[f'PSS with {MANY} volumes MiB'] = pss_mib(daemon.process.pid)
    daemon.stop()
    return found


def network(sandbox, build):
    lib.Node(sandbox, build)
    runtime = containerd_lib.Containerd(sandbox)
    found = {}
    try:
        runtime.start()
        runtime.load(sandbox.path)
        client = cri.Cri(runtime.socket, cgroups.NAME)
        lib.wait_for(lambda: client.ready()[0])
        started = time.monotonic()
        subprocess.run([build / 'cni' / 'berth-cni', 'install', '--subnet', '10.5.0.0/24'], check=True,
                       capture_output=True)
        found['installed ms'] = (time.monotonic() - started) * 1000
        while not client.ready()[1]:
            time.sleep(0.002)
        found['network ready ms'] = (time.monotonic() - started) * 1000
        for name in ('first', 'next'):
            began = time.monotonic()
            config = client.sandbox_config(name)
            pod = client.run_pod(config)
            assert client.addresses(pod)
            found[f'{name} pod sandbox, all of containerd ms'] = (time.monotonic() - began) * 1000
        config = client.sandbox_config('installed')
        pod = client.run_pod(config)
        client.run_container(pod, config, containerd_lib.IMAGE, '/bin/sleep', '1000')
        pids = subprocess.run(['pgrep', '-x', 'sleep'], check=True, capture_output=True, text=True).stdout.split()
        found['PSS of a sleeping container MiB'] = min(pss_mib(pid) for pid in pids)
    finally:
        if runtime.process.poll() is None:
            runtime.stop()
        cgroups.sweep(cgroups.NAME)
    return found


def run(workspace, part, build):
    directory = workspace.directory(part.__name__)
    out = directory / 'found.json'

    def inside():
        out.write_text(json.dumps(part(sandbox_module.Sandbox(directory), build)))
    status = sandbox_module.run(inside, directory, 300)
    if status != 0:
        sys.exit(f'{part.__name__}: ended with {status}')
    return json.loads(out.read_text())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--build', type=pathlib.Path, default=SOURCE / 'build')
    parser.add_argument('--runs', type=int, default=5)
    parser.add_argument('--json', type=pathlib.Path)
    arguments = parser.parse_args()
    workspace = sandbox_module.Workspace()
    found = {}
    try:
        for _ in range(arguments.runs):
            for part in (storage, network):
                for name, value in run(workspace, part, arguments.build.resolve()).items():
                    found.setdefault(name, []).append(value)
    finally:
        workspace.close()
    print('| | median | min | max |\n| --- | --- | --- | --- |')
    for name, values in found.items():
        print(f'| {name} | {statistics.median(values):.1f} | {min(values):.1f} | {max(values):.1f} |')
    if arguments.json:
        arguments.json.write_text(json.dumps(found))


if __name__ == '__main__':
    main()
