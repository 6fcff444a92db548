# SPDX-License-Identifier: Apache-2.0
"""`berth-csi explain`: what the programs print, pasted as people find it, and what it answers."""

import json
import os
import pathlib
import re
import subprocess

import csi
import pytest

MIB = 1 << 20
SOURCE = pathlib.Path(__file__).resolve().parents[2]


def explain(build, *argv, text=None):
    return subprocess.run([build / 'csi/berth-csi', 'explain', *argv], input=text, capture_output=True, text=True,
                          timeout=60, check=False)


def said(build, text, sentence, *words):
    """Standard input and arguments are answered alike: with this sentence, and with these words."""
    done = explain(build, '-', text=text)
    assert done.returncode == 0, (text, done.stderr)
    assert done.stdout.splitlines()[0].strip() == sentence, (text, done.stdout)
    for one in words:
        assert one in done.stdout, (one, done.stdout)
    assert explain(build, text).stdout == done.stdout
    return done.stdout


def printed(program, *argv, text='', **environment):
    done = subprocess.run([program, *argv], input=text, capture_output=True, text=True, timeout=60, check=False,
                          env={**os.environ, **environment})
    assert done.returncode != 0
    return done.stdout + done.stderr


@pytest.mark.parametrize('program, argv, sentence, words', [
    ('csi/berth-csi', ['serve', '--health-port=x'], '--…: "…", expected …', '`berth-csi --help` lists flags'),
    ('csi/berth-csi', ['serve', '--fs-min-kernel=foo'],
     '"…" is not a kernel release (expected one that starts like 5.10)', 'first kernel'),
    ('csi/berth-csi', ['pool', 'init', 'relative'], 'pool path "…" is not absolute', 'Provider local'),
    ('csi/berth-csi', ['fs', 'check', '/no/such'], 'open …: …', '"No such file or directory"'),
    ('cni/berth-cni', ['install', '--subnet=0.0.0.0/0'], 'the subnet … is every address there is: give the node\'s own',
     'berth-cni install'),
    ('cni/berth-cni', ['status', 'nosuch'], 'no network "…" in …', '--conf-dir'),
    ('cni/berth-node', ['--health-port=x'], '--health-port: "…", expected a port', 'man berth-node'),
])
def test_what_a_terminal_shows(build, program, argv, sentence, words):
    said(build, printed(build / program, *argv), sentence, words)


def test_the_error_that_a_runtime_logs(build):
    conf = {'cniVersion': '1.0.0', 'name': 'x', 'type': 'bridge', 'bridge': 'a/b'}
    text = printed(build / 'cni/berth-cni', text=json.dumps(conf), CNI_COMMAND='ADD', CNI_CONTAINERID='a',
                   CNI_IFNAME='e', CNI_NETNS='/proc/self/ns/net', CNI_PATH='/x')
    sentence = '"bridge": "…" is not a link name, which has up to … bytes and no "/", ":", "%" or space'
    answer = said(build, text, sentence, 'CONFIGURATION')
    # As the event has it, on one line and behind other words.
    details = json.JSONDecoder().raw_decode(text)[0]['details']
    event = ('Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "a": '
             'plugin type="bridge" failed (add): invalid network config; ' + details)
    assert said(build, event, sentence) == answer


def test_the_answer_to_kubelet_and_the_log(build, sandbox):
    root = sandbox.shared_directory('k')
    daemon = csi.Daemon(build, sandbox.path, kubelet_root=root)
    with daemon as client:
        staging = root / 'plugins/kubernetes.io/csi/local.csi.berth.dev/x/globalmount'
        staging.mkdir(parents=True)
        capability = csi.mount_capability('ext4')
        volume = client.CreateVolume(name='one', capacity_range={'required_bytes': 64 * MIB},
                                     volume_capabilities=[capability]).volume.volume_id
        with open(daemon.pool / 'volumes' / f'{volume}.img', 'r+b') as file:
            file.seek(MIB)
            file.write(b'something')
        details = client.fails('FAILED_PRECONDITION', 'NodeStageVolume', volume_id=volume,
                               staging_target_path=str(staging), volume_capability=capability)
    event = f'MountVolume.MountDevice failed for volume "pvc-1" : rpc error: code = FailedPrecondition desc = {details}'
    answer = explain(build, event).stdout
    assert 'Nothing is formatted that might hold data' in answer
    assert '"code = FailedPrecondition": it stays so' in answer
    [line] = [one for one in daemon.log().splitlines() if 'level=error' in one]
    assert explain(build, '-', text=line).stdout.splitlines()[0] == answer.splitlines()[0]


def test_what_is_not_ours(build):
    done = explain(build, 'Back-off restarting failed container')
    assert done.returncode == 1 and not done.stdout and 'No sentence of Berth' in done.stderr
    done = explain(build, 'rpc error: code = Aborted desc = nothing to see')
    assert done.returncode == 0 and 'another operation' in done.stdout and 'somebody else' in done.stderr
    # What somebody remembers of it.
    done = explain(build, 'the hostPort is used by some program of the host')
    assert done.returncode == 1 and 'hostPort …/… is in use by a program of this host' in done.stderr


def test_wrong_usage(build):
    for argv in ([], [''], ['  '], ['--all', 'x']):
        done = explain(build, *argv)
        assert done.returncode == 64 and 'Try: berth-csi explain --help' in done.stderr and not done.stdout, argv
    assert 'Usage: berth-csi explain' in explain(build, '--help').stdout
    done = explain(build, '-', text='\0' + 'x' * (1 << 20))
    assert done.returncode == 64
    done = explain(build, '-', text='x' * (1 << 20))
    assert done.returncode == 1 and len(done.stderr) < 1000


def test_the_example_of_the_document(build):
    text = (SOURCE / 'docs/troubleshooting.md').read_text(encoding='utf-8')
    [(message, shown)] = re.findall(r"^    \$ berth-csi explain '(.*)'\n((?:    .*\n|\n)+?)\n(?=`)", text, re.M)
    wanted = [line.removeprefix('    ') for line in shown.splitlines()]
    assert explain(build, message).stdout.rstrip('\n').splitlines() == wanted


def test_all_of_it(build):
    done = explain(build, '--all')
    assert done.returncode == 0 and done.stdout.count('\n    ') > 400
    assert max(len(line) for line in done.stdout.splitlines() if not line.startswith('    ')) <= 80
