# SPDX-License-Identifier: Apache-2.0
"""Volumes that come and go at once: loop numbers are used again the moment that they are free."""

import concurrent.futures
import threading

import pytest

from csi import SINGLE_NODE_MULTI_WRITER, Client, Daemon, Failure, block_capability, mount_capability
from test_csi_node import MIB, Kubelet, create

LOOPS = 8
ROUNDS = 15


@pytest.fixture(name='daemon')
def daemon_fixture(sandbox, build):
    daemon = Daemon(build, sandbox.path, ['--log-level=debug'])
    yield daemon
    if daemon.process and daemon.process.poll() is None:
        daemon.stop()


def ask(daemon, done):
    """Asks for every volume that there is, all the time: nobody is in anybody's way. Returns what failed."""
    failures = []
    with Client(daemon.socket_path) as client:
        while not done.is_set():
            for entry in client.ListVolumes().entries:
                try:
                    client.ControllerGetVolume(volume_id=entry.volume.volume_id)
                except Failure as failure:
                    if failure.code != 'NOT_FOUND':
                        failures.append(str(failure))
    return failures


def churn(daemon, number, rounds):
    """Each call but a retry of a retryable one must succeed at once. Returns what failed."""
    failures = []
    capability = block_capability() if number % 4 == 3 else mount_capability('ext4', SINGLE_NODE_MULTI_WRITER)
    with Client(daemon.socket_path) as client:
        kubelet = Kubelet(daemon, client)
        for i in range(rounds):
            try:
                volume = create(client, f'churn-{number}-{i}', 16 * MIB, capability)
                kubelet.stage(volume, capability)
                if number % 2 == 0:
                    target = kubelet.publish(f'pod-{number}', volume, capability)
                    if 'mount' in capability:
                        (target / 'file').write_text(str(i))
                    kubelet.unpublish(volume, target)
                kubelet.unstage(volume)
                client.DeleteVolume(volume_id=volume)
            except Failure as failure:
                failures.append(str(failure))
    return failures


@pytest.mark.deadline(600)
def test_eight_loops(daemon):
    with daemon.start() as client:
        done = threading.Event()
        with concurrent.futures.ThreadPoolExecutor(LOOPS + 2) as pool:
            askers = [pool.submit(ask, daemon, done) for _ in range(2)]
            failures = sum(pool.map(lambda number: churn(daemon, number, ROUNDS), range(LOOPS)), [])
            done.set()
            failures += sum((asker.result() for asker in askers), [])
        assert not failures, '\n'.join(failures)
        assert not client.ListVolumes().entries
    assert not list((daemon.pool).glob('*/*'))
