# SPDX-License-Identifier: Apache-2.0
"""`berth-csi serve` as a whole, with the real node and provider: what it concludes from command line and machine."""

import os
import pathlib
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request

import csi
import grpc
import pytest
import sandbox as sandbox_module
from csi import held_mkfs, n_called, until

DRIVER = 'local.csi.berth.dev'
ALL = ['--registration', '--health-port=9808']


@pytest.fixture
def short(sandbox):
    """A directory with a short path: addresses of sockets have 107 bytes."""
    sandbox_module.mount('tmpfs', '/mnt', 'tmpfs')
    return pathlib.Path('/mnt')


def http(path):
    try:
        with urllib.request.urlopen(f'http://127.0.0.1:9808{path}', timeout=30) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def registered(path):
    """What kubelet is told on a registration socket."""
    with grpc.insecure_channel(f'unix:{path}') as channel:
        return channel.unary_unary('/pluginregistration.Registration/GetInfo',
                                   response_deserializer=csi.registration_pb2.PluginInfo.FromString)(b'', timeout=30)


@pytest.mark.parametrize('argv, message', [
    (['--nosuch'], 'unknown flag --nosuch'),
    (['serve', '--provider=nosuch'], '--provider: "nosuch", expected one of'),
    (['--driver-name=../../etc'], '--driver-name: "../../etc", expected 1 to 63 letters'),
    (['--driver-name=' + 'x' * 64], 'expected 1 to 63 letters'),
    (['--kubelet-root=var'], '--kubelet-root: "var", expected an absolute path'),
    (['--endpoint=tcp://0.0.0.0:1'], '--endpoint: "tcp://0.0.0.0:1", expected unix:///path'),
    (['--endpoint=unix:///a/'], 'names no socket'),
    ([], 'berth-csi serve'),
    # What is said of the first volume otherwise, when the roll-out of a typo is over.
    (['serve', '--fs-min-kernel=foo'], '--fs-min-kernel: "foo"'),
    (['serve', '--fs-min-kernel=none', '--fs-page-sizes=5K'], '--fs-page-sizes: "5K"'),
    (['serve', '--fs-nodes=-'], '--fs-nodes: "-", expected a file'),
    (['serve', '--metadata-url=169.254.169.254'], '--metadata-url: "169.254.169.254", expected http://HOST'),
])
def test_wrong_usage_says_what_is_expected(build, argv, message):
    run = subprocess.run([build / 'csi' / 'berth-csi', *argv], capture_output=True, text=True, timeout=60)
    assert run.returncode == 64
    assert message in run.stderr
    assert not run.stdout


@pytest.mark.parametrize('text, message', [(None, 'No such file'), ('{', 'nodes.json'), ('[]', 'nodes.json')])
def test_facts_of_nodes_are_read_at_the_start(build, tmp_path, text, message):
    path = tmp_path / 'nodes.json'
    if text:
        path.write_text(text, encoding='utf-8')
    run = subprocess.run([build / 'csi' / 'berth-csi', 'serve', f'--fs-nodes={path}'], capture_output=True, text=True,
                         timeout=60)
    assert run.returncode in (1, 64)
    assert '--fs-nodes: ' in run.stderr and message in run.stderr


def test_who_may_not_mount_does_not_start(build, tmp_path):
    done = subprocess.run(['setpriv', '--bounding-set=-sys_admin', '--inh-caps=-sys_admin', build / 'csi' / 'berth-csi',
                           'serve', f'--endpoint={tmp_path}/csi.sock'], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and 'as root, in a pod as a privileged container' in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('number', (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
def test_signals_end_it_in_order(build, tmp_path, number):
    daemon = csi.Daemon(build, tmp_path)
    with daemon:
        daemon.process.send_signal(number)
        assert daemon.process.wait(30) == 0
        assert 'msg=stopped' in daemon.log() and not daemon.socket_path.exists()


def test_everything_follows_from_the_kubelet_root(build, short):
    root = short / 'k'
    (root / 'plugins_registry').mkdir(parents=True)
    daemon = csi.Daemon(build, short, ALL, kubelet_root=root)
    daemon.argv = [argument for argument in daemon.argv if not argument.startswith(('--endpoint', '--node-name'))]
    daemon.environment['KUBE_NODE_NAME'] = 'node-from-env'
    daemon.environment.pop('CSI_ENDPOINT', None)
    daemon.socket_path = root / 'plugins' / DRIVER / 'csi.sock'
    with daemon as client:
        assert (daemon.socket_path.parent.stat().st_mode & 0o777) == 0o750
        assert client.GetPluginInfo().name == DRIVER
        assert client.NodeGetInfo().node_id == 'node-from-env'
        registration = root / 'plugins_registry' / f'{DRIVER}-reg.sock'
        until(registration.exists)
        info = registered(registration)
        assert (info.name, info.endpoint) == (DRIVER, str(daemon.socket_path))
        assert http('/healthz') == (200, 'ok')
    assert not registration.exists()
    assert not daemon.socket_path.exists()
    # Only the pool's name: nothing else is left or made beside the sockets.
    left = sorted(str(path.relative_to(root)) for path in root.rglob('*'))
    assert left == ['plugins', f'plugins/{DRIVER}', f'plugins/{DRIVER}/pool.id', 'plugins_registry']


@pytest.mark.parametrize('endpoint', ['unix://{}', 'unix:{}', '{}'])
def test_an_endpoint_of_the_environment_is_told_as_the_host_has_it(build, short, endpoint):
    """As in the manifests of the clouds: the driver's directory is mounted elsewhere, the flags say nothing of it."""
    root = short / 'k'
    (root / 'plugins_registry').mkdir(parents=True)
    daemon = csi.Daemon(build, short, ALL, kubelet_root=root)
    daemon.argv = [word for word in daemon.argv if word != 'serve' and not word.startswith('--endpoint')]
    daemon.argv.append('--driver-name=disk.example.org')
    daemon.environment['CSI_ENDPOINT'] = endpoint.format(daemon.socket_path)
    with daemon as client:
        assert client.GetPluginInfo().name == 'disk.example.org'
        registration = root / 'plugins_registry' / 'disk.example.org-reg.sock'
        until(registration.exists)
        assert registered(registration).endpoint == f'{root}/plugins/disk.example.org/csi.sock'


def test_not_ready_until_kubelets_root_is_there(build, short):
    root = short / 'k'
    daemon = csi.Daemon(build, short, ALL, kubelet_root=root)
    root.rmdir()
    daemon.start(ready_seconds=0)
    until(lambda: 'msg=serving' in daemon.log())
    client = csi.Client(daemon.socket_path)
    message = client.fails('FAILED_PRECONDITION', 'Probe')
    assert f"kubelet's root {root} is not there" in message
    assert http('/healthz') == (500, message)
    # Cheap calls are answered all the same.
    assert client.NodeGetCapabilities().capabilities
    (root / 'plugins_registry').mkdir(parents=True)
    until(lambda: client.Probe().ready.value)
    until((root / 'plugins_registry' / f'{DRIVER}-reg.sock').exists)
    client.close()
    assert daemon.stop() == 0


@pytest.mark.parametrize('absent', ['mke2fs', 'e2fsck', 'resize2fs'])
def test_not_ready_without_what_is_run(build, short, absent):
    """The tools that are run, and not the names that distributions put beside them."""
    tools = short / 'tools'
    tools.mkdir()
    for name in {'mkfs.ext4', 'mke2fs', 'e2fsck', 'resize2fs'} - {absent}:
        (tools / name).symlink_to('/bin/true')
    daemon = csi.Daemon(build, short, ALL, environment={'PATH': str(tools)})
    daemon.start(ready_seconds=0)
    until(lambda: 'msg=serving' in daemon.log())
    with csi.Client(daemon.socket_path) as client:
        assert client.fails('FAILED_PRECONDITION', 'Probe').startswith(f'{absent} is not installed')
        (tools / absent).symlink_to('/bin/true')
        assert client.Probe().ready.value
    assert daemon.stop() == 0


@pytest.mark.parametrize('mode, group', [(0o777, 0), (0o770, 1234)])
def test_a_directory_that_others_may_write_is_refused(build, tmp_path, mode, group):
    (tmp_path / 'open').mkdir()
    os.chown(tmp_path / 'open', -1, group)
    os.chmod(tmp_path / 'open', mode)
    daemon = csi.Daemon(build, tmp_path, argv=[f'--endpoint=unix://{tmp_path}/open/csi.sock'])
    daemon.start(ready_seconds=0)
    assert daemon.process.wait(10) == 1
    assert 'others could replace the socket in it' in daemon.log()
    os.chmod(tmp_path / 'open', 0o1777)
    daemon.socket_path = tmp_path / 'open' / 'csi.sock'
    with daemon as client:
        assert client.Probe().ready.value


def test_a_provider_that_cannot_start_says_why(build, tmp_path):
    (tmp_path / 'file').touch()
    daemon = csi.Daemon(build, tmp_path, argv=[f'--pool={tmp_path}/file'])
    daemon.start(ready_seconds=0)
    assert daemon.process.wait(10) == 1
    assert re.search(r'level=error msg="provider local: .*', daemon.log())
    assert not daemon.socket_path.exists()


def test_capabilities_are_those_of_the_provider(build, tmp_path):
    with csi.Daemon(build, tmp_path) as client:
        node = [c.rpc.type for c in client.NodeGetCapabilities().capabilities]
        assert node[:3] == [1, 2, 3]
        controller = [c.rpc.type for c in client.ControllerGetCapabilities().capabilities]
        for method, number in (('CreateVolume', 1), ('ListVolumes', 3), ('GetCapacity', 4), ('CreateSnapshot', 5),
                               ('ListSnapshots', 6), ('ControllerExpandVolume', 9), ('ControllerGetVolume', 12)):
            try:
                client.call(method)
                code = 'OK'
            except csi.Failure as failure:
                code = failure.code
            # What is advertised is there, and what is not is not.
            assert (number in controller) == (code != 'UNIMPLEMENTED'), (method, code)


def test_cheap_calls_never_wait_for_mkfs(build, tmp_path):
    """Eight formats at once: probes and capabilities are answered at once, and so is a second stage, with ABORTED."""
    daemon = csi.Daemon(build, tmp_path, environment=held_mkfs(tmp_path / 'bin'), argv=['--max-formatters=4', *ALL])
    with daemon as client:
        capability = csi.mount_capability('ext4')
        stages = []
        for n in range(8):
            volume = client.CreateVolume(name=f'pvc-{n}', volume_capabilities=[capability],
                                         capacity_range={'required_bytes': 64 << 20}).volume
            path = daemon.kubelet_root / 'plugins/kubernetes.io/csi' / DRIVER / f'{n}' / 'globalmount'
            path.mkdir(parents=True)
            stages.append({'volume_id': volume.volume_id, 'staging_target_path': str(path),
                           'volume_capability': capability, 'volume_context': csi.pairs(volume.volume_context)})
        calls = [client.start('NodeStageVolume', **stage) for stage in stages]
        until(lambda: n_called(tmp_path / 'bin') == 4)
        times = []
        for _ in range(100):
            start = time.monotonic()
            client.NodeGetCapabilities()
            client.Probe()
            times.append(time.monotonic() - start)
        assert not any(call.done() for call in calls), [call.exception() for call in calls if call.done()]
        assert sorted(times)[98] < 2
        client.fails('ABORTED', 'NodeStageVolume', **stages[0])
        time.sleep(1)
        (tmp_path / 'bin' / 'go').touch()
        for call in calls:
            call.result()
        status, text = http('/metrics')
        assert status == 200
        assert 'berth_csi_mkfs_seconds_count{fs_type="ext4"} 8\n' in text
        # The four that were held took longer than a second.
        assert int(re.search(r'berth_csi_mkfs_seconds_bucket{fs_type="ext4",le="1"} (\d+)\n', text)[1]) <= 4
        for stage in stages:
            client.NodeUnstageVolume(volume_id=stage['volume_id'], staging_target_path=stage['staging_target_path'])
            client.DeleteVolume(volume_id=stage['volume_id'])


def test_sigterm_kills_a_format_and_the_next_start_goes_on(build, tmp_path):
    daemon = csi.Daemon(build, tmp_path, environment=held_mkfs(tmp_path / 'bin'), argv=['--drain-timeout=200ms'])
    client = daemon.start()
    capability = csi.mount_capability('ext4')
    volume = client.CreateVolume(name='pvc', volume_capabilities=[capability],
                                 capacity_range={'required_bytes': 64 << 20}).volume
    path = daemon.kubelet_root / 'plugins/kubernetes.io/csi' / DRIVER / 'x' / 'globalmount'
    path.mkdir(parents=True)
    stage = {'volume_id': volume.volume_id, 'staging_target_path': str(path), 'volume_capability': capability}
    call = client.start('NodeStageVolume', **stage)
    until(lambda: n_called(tmp_path / 'bin') == 1)
    start = time.monotonic()
    assert daemon.stop() == 0
    assert time.monotonic() - start < 30
    # Not a code that kubelet takes for final: it may ask for the rest, or for the undo.
    assert call.exception(30).code().name in ('UNAVAILABLE', 'CANCELLED', 'DEADLINE_EXCEEDED', 'ABORTED')
    assert subprocess.run(['pgrep', 'mke2fs'], check=False).returncode == 1
    client.close()
    daemon.environment.pop('PATH')
    daemon.environment['PATH'] = os.environ['PATH']
    with daemon as client:
        client.NodeStageVolume(**stage)
        client.NodeUnstageVolume(volume_id=volume.volume_id, staging_target_path=str(path))
        client.DeleteVolume(volume_id=volume.volume_id)
