# SPDX-License-Identifier: Apache-2.0
"""The server behind the socket of berth-csi, called by grpc-go and grpcio as they are served today
(tests/conformance/grpc_tools.py gets them): 10,000 calls each, with deadlines, cancellations, errors and pings."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

import csi
import versions
from csi_double import serving

TOOLS = pathlib.Path(os.environ.get('BERTH_GRPC_TOOLS', '/none'))
CLIENTS = pathlib.Path(__file__).resolve().parent / 'grpc'
CALLS = 10000
# A server that takes pings for an attack says so at the third: grpc-go sends one in ten seconds.
SECONDS = {'grpc-go': 35, 'grpcio': 5}


def argv(name):
    at = TOOLS / {'grpc-go': 'client', 'grpcio': 'python'}[name]
    at = at.with_name(f'{at.name}-{versions.get(name)[1]}')
    if not at.exists():
        pytest.skip(f'needs {at}')
    if name == 'grpc-go':
        return [at], {}
    return [sys.executable, CLIENTS / 'client.py'], {'PYTHONPATH': str(at)}


def descriptors(server):
    return len(os.listdir(f'/proc/{server.process.pid}/fd'))


@pytest.mark.deadline(300)
@pytest.mark.parametrize('name', SECONDS)
def test_ten_thousand_calls(build, tmp_path, name):
    program, environment = argv(name)
    with serving(build, tmp_path) as (server, client):
        before = descriptors(server)
        done = subprocess.run([*program, server.socket_path, str(CALLS), str(SECONDS[name])], check=True, text=True,
                              stdout=subprocess.PIPE, env={**os.environ, **environment})
        each = CALLS // 5
        assert json.loads(done.stdout) == {
            'quick': {'OK': each}, 'in time': {'OK': each}, 'error': {'NotFound': each},
            'deadline': {'DeadlineExceeded': each}, 'cancel': {'Canceled': each}, 'pings': {'OK': 1}}
        csi.until(lambda: descriptors(server) <= before)
        assert client.Probe().ready.value
        assert server.stop() == 0
