# SPDX-License-Identifier: Apache-2.0
"""berth-cni on a command line: install, gc, status."""

import ctypes
import ctypes.util
import json
import os
import stat
import struct
import subprocess
import threading
import time

import pytest

import cni
import node as lib
import sandbox as sandbox_module

NAMES = ['bandwidth', 'bridge', 'firewall', 'host-local', 'loopback', 'portmap', 'ptp', 'static', 'tuning']


@pytest.fixture(name='berth')
def berth_fixture(build):
    def run(*argv, check=True, **kwargs):
        environment = {key: value for key, value in os.environ.items() if not key.startswith('CNI_')}
        done = subprocess.run([build / 'cni' / 'berth-cni', *map(str, argv)], capture_output=True, text=True,
                              timeout=60, env=environment, **kwargs)
        if check:
            assert done.returncode == 0, done.stderr
        return done
    return run


@pytest.fixture(name='root')
def root_fixture(sandbox):
    path = sandbox.path / 'root'
    path.mkdir()
    return path


# --- install ---

def test_install(berth, root, build):
    berth('install', '--root', root, '--subnet', '10.1.0.0/24', '--subnet', 'fd00:1::/64')
    plugins = root / 'opt/cni/bin'
    assert sorted(os.listdir(plugins)) == sorted(NAMES + ['berth-cni', 'flannel'])
    assert (plugins / 'berth-cni').read_bytes() == (build / 'cni' / 'berth-cni').read_bytes()
    assert stat.S_IMODE(os.stat(plugins / 'berth-cni').st_mode) == 0o755
    assert all(os.readlink(plugins / name) == 'berth-cni' for name in NAMES)
    conf = json.loads((root / 'etc/cni/net.d/10-berth.conflist').read_text())
    assert os.listdir(root / 'etc/cni/net.d') == ['10-berth.conflist']
    plugin, = conf['plugins']
    assert plugin['ipam']['ranges'] == [[{'subnet': '10.1.0.0/24'}], [{'subnet': 'fd00:1::/64'}]]
    # Again: nothing is written that is there already.
    before = os.stat(plugins / 'berth-cni').st_ino
    berth('install', '--root', root)
    assert os.stat(plugins / 'berth-cni').st_ino == before
    berth('install', '--root', root, '--uninstall')
    assert os.listdir(plugins) == [] and os.listdir(root / 'etc/cni/net.d') == []
    berth('install', '--root', root, '--uninstall')


def test_installed_plugin_works(berth, sandbox, root, build):
    """The list that install makes, called as a runtime would, by the installed file."""
    import cni
    berth('install', '--root', root, '--subnet', '10.1.0.0/24')
    conf = json.loads((root / 'etc/cni/net.d/10-berth.conflist').read_text())
    plugin = cni.Plugin(build, 'berth-cni', program=root / 'opt/cni/bin/berth-cni')
    one = {**conf['plugins'][0], 'name': conf['name'], 'cniVersion': conf['cniVersion']}
    sandbox.private_directory('/var/lib/cni')
    pod = sandbox.netns('pod')
    result = plugin.add(one, pod, 'a').ok()
    assert result['ips'][0]['address'] == '10.1.0.2/24'
    plugin.delete(one, pod, 'a', result=result).ok()


def test_install_on_a_kernel_without_rules_for_bridges(build, root):
    """The list would fail at each ADD: what it cannot do is left out, and said. Where nobody can tell, it stays."""
    path = root / 'etc/cni/net.d/10-berth.conflist'
    for error, mode, wanted in (('', 'bridge', True), ('EOPNOTSUPP', 'bridge', False), ('EPERM', 'bridge', True),
                                ('EOPNOTSUPP', 'routed', True)):
        wrapper = ['strace', '-o', '/dev/null', '-e', f'inject=sendmsg:error={error}'] if error else []
        done = subprocess.run([*wrapper, build / 'cni' / 'berth-cni', 'install', '--root', root, '--subnet',
                               '10.1.0.0/24', '--mode', mode], capture_output=True, text=True, check=True, timeout=60,
                              env={**os.environ, 'ASAN_OPTIONS': 'detect_leaks=0'})
        assert ('macspoofchk: left out: this kernel has no nftables for bridges' in done.stdout) == (not wanted)
        assert json.loads(path.read_text())['plugins'][0]['macspoofchk'] is wanted


def test_install_dry_run(berth, root):
    out = berth('install', '--root', root, '--subnet', '10.1.0.0/24', '--dry-run').stdout
    assert 'berth-cni: would be installed' in out and '10.1.0.0/24' in out
    assert os.listdir(root) == []


def test_dry_run_prints_what_the_real_one_does(berth, root):
    """Into an empty root and beside programs of others, and taken away again: the same steps in the same words."""
    plugins = root / 'opt/cni/bin'
    plugins.mkdir(parents=True)
    for name in ('portmap', 'tuning'):
        (plugins / name).write_text('of somebody else')
    for argv in (['--subnet', '10.1.0.0/24', '--replace'], ['--names', 'none'], ['--uninstall'], ['--uninstall']):
        before = sorted(os.listdir(plugins))
        promised = berth('install', '--root', root, *argv, '--dry-run').stdout.splitlines()
        reported = json.loads(berth('install', '--root', root, *argv, '--dry-run', '--json').stdout)
        assert sorted(os.listdir(plugins)) == before
        done = berth('install', '--root', root, *argv).stdout.splitlines()
        assert [line.replace('would be ', '') for line in promised if ': would be ' in line or 'plugins: ' in line] \
            == done, argv
        assert [f'{one["file"]}: {one["done"]}' for one in reported['steps']] == done[1:]
        assert reported['pluginDirectory'] == '/opt/cni/bin' and reported['dryRun'] is True
        assert (reported.get('list') is not None) == (argv[0] == '--subnet')
    assert sorted(os.listdir(plugins)) == ['portmap', 'tuning']
    assert (plugins / 'portmap').read_text() == 'of somebody else'


def test_install_leaves_others(berth, root):
    plugins = root / 'opt/cni/bin'
    plugins.mkdir(parents=True)
    for name in ('bridge', 'portmap', 'calico'):
        (plugins / name).write_text(f'foreign {name}')
    for more in ([], ['--dry-run']):
        error = berth('install', '--root', root, *more, check=False)
        assert error.returncode == 1 and 'programs of somebody else: bridge, portmap' in error.stderr
    assert sorted(os.listdir(plugins)) == ['bridge', 'calico', 'portmap']
    berth('install', '--root', root, '--names', 'none')
    assert sorted(os.listdir(plugins)) == ['berth-cni', 'bridge', 'calico', 'portmap']
    out = berth('install', '--root', root, '--names', 'missing', '--dry-run').stdout
    assert 'loopback' in out and 'bridge' not in out and 'portmap' not in out
    berth('install', '--root', root, '--names', 'missing')
    assert os.readlink(plugins / 'loopback') == 'berth-cni'
    assert (plugins / 'bridge').read_text() == 'foreign bridge' and not (plugins / 'bridge.before-berth').exists()
    berth('install', '--root', root, '--replace')
    assert os.readlink(plugins / 'bridge') == 'berth-cni'
    assert (plugins / 'bridge.before-berth').read_text() == 'foreign bridge'
    berth('install', '--root', root, '--replace')
    berth('install', '--root', root, '--uninstall')
    assert {name: (plugins / name).read_text() for name in os.listdir(plugins)} == \
        {name: f'foreign {name}' for name in ('bridge', 'portmap', 'calico')}


@pytest.mark.parametrize('path, text, plugins, configurations', [
    ('etc/containerd/config.toml', '[plugins.x.cni]\n  bin_dir = "/a/bin"\n  conf_dir = "/a/net.d/"\n', 'a/bin',
     'a/net.d'),
    ('etc/containerd/config.toml', "version = 3\n bin_dirs = [\n  '/b/bin',\n '/c']\n", 'b/bin', 'etc/cni/net.d'),
    ('etc/crio/crio.conf', 'network_dir = "/d"\nplugin_dirs = ["/e/bin", "/f"]\n', 'e/bin', 'd'),
    ('var/lib/rancher/k3s/agent/etc/containerd/config.toml', 'bin_dir = "/g"\nconf_dir = "/h"\n', 'g', 'h'),
    ('etc/containerd/config.toml', '# bin_dir = "/a/bin"\nversion = 2\n', 'opt/cni/bin', 'etc/cni/net.d'),
    ('home/kubernetes/bin/kubelet', '', 'home/kubernetes/bin', 'etc/cni/net.d'),
    ('var/snap/microk8s/current/args/kubelet', '', 'var/snap/microk8s/current/opt/cni/bin',
     'var/snap/microk8s/current/args/cni-network'),
    ('var/lib/rancher/k3s/data/cni/bridge', '', 'var/lib/rancher/k3s/data/cni',
     'var/lib/rancher/k3s/agent/etc/cni/net.d'),
    ('etc/os-release', 'ID=rhcos\n', 'var/lib/cni/bin', 'etc/kubernetes/cni/net.d'),
])
def test_install_finds_directories(berth, root, path, text, plugins, configurations):
    (root / path).parent.mkdir(parents=True)
    (root / path).write_text(text)
    berth('install', '--root', root, '--subnet', '10.1.0.0/24', '--replace')
    assert (root / plugins / 'berth-cni').is_file() and (root / configurations / '10-berth.conflist').is_file()


def test_install_refuses_places(berth, sandbox, root):
    for name, flags, words in (('ro', 1, 'read-only'), ('noexec', 8, 'mounted noexec')):
        place = root / name
        place.mkdir()
        sandbox_module.mount('tmpfs', place, 'tmpfs', flags)
        error = berth('install', '--root', root, '--bin-dir', f'/{name}', check=False)
        assert error.returncode == 1 and words in error.stderr, error.stderr
        assert os.listdir(place) == []
    error = berth('install', '--root', root, '--bin-dir', '/ro/deep/er', check=False)
    assert 'file system is read-only' in error.stderr
    (root / 'file').write_text('')
    assert berth('install', '--root', root, '--bin-dir', '/file', check=False).returncode == 1
    assert not (root / 'etc').exists()


@pytest.mark.parametrize('text, words', [
    ('{', 'line 1'), ('{"name": "x", "plugins": []}', 'has no plugins'),
    ('{"name": "..", "plugins": [{"type": "x"}]}', 'is not a name'),
    ('{"name": "x", "plugins": [{}]}', 'has no type'),
])
def test_install_refuses_lists(berth, root, text, words):
    error = berth('install', '--root', root, '--conf', '-', check=False, input=text)
    assert error.returncode == 1 and words in error.stderr
    assert os.listdir(root) == []


def test_install_beside_another_network(berth, root):
    """The runtime's first list has all pods of the node: it is not taken over without being told to."""
    directory = root / 'etc/cni/net.d'
    directory.mkdir(parents=True)
    (directory / '10-calico.conflist').write_text(json.dumps({'cniVersion': '1.0.0', 'name': 'k8s-pod-network',
                                                              'plugins': [{'type': 'calico'}]}))
    (directory / '200-loopback.conf').write_text(json.dumps({'cniVersion': '1.0.0', 'name': 'lo', 'type': 'loopback'}))
    argv = ('install', '--root', root, '--subnet', '10.1.0.0/24')
    for more in ([], ['--dry-run']):
        done = berth(*argv, *more, check=False)
        assert done.returncode == 1
        assert 'the list 10-calico.conflist of network "k8s-pod-network"' in done.stderr and '--beside' in done.stderr
    assert not (root / 'opt/cni/bin/berth-cni').exists() and len(os.listdir(directory)) == 2
    berth('install', '--root', root, '--names', 'none')
    berth(*argv, '--beside')
    text = json.loads((directory / '10-berth.conflist').read_text())
    assert text['cniVersions'] == ['1.0.0', '1.1.0'] and text['plugins'][0]['firewall'] is True
    berth(*argv)  # ours is there already
    (directory / '10-calico.conflist').unlink()
    (directory / '10-berth.conflist').unlink()
    berth(*argv)


def test_install_keeps_a_link_of_the_root_inside(berth, sandbox, root):
    """/opt/cni/bin of the host may be a link; it is followed below the root, not out of it."""
    (root / 'opt/cni').mkdir(parents=True)
    (root / 'opt/cni/bin').symlink_to('/usr/lib/cni-here')
    (root / 'usr/lib/cni-here').mkdir(parents=True)
    berth('install', '--root', root, '--names', 'none')
    assert (root / 'usr/lib/cni-here/berth-cni').is_file()


def test_install_under_running_plugins(berth, root, build):
    """Whoever runs the plugin while it is installed again gets the old or the new file, whole."""
    berth('install', '--root', root)
    program = root / 'opt/cni/bin/bridge'
    stop, failures = threading.Event(), []

    def call():
        while not stop.is_set():
            done = subprocess.run([program], env={'CNI_COMMAND': 'VERSION'}, capture_output=True, check=False)
            if done.returncode != 0:
                failures.append(done)
    thread = threading.Thread(target=call)
    thread.start()
    for _ in range(20):
        with open(root / 'opt/cni/bin/berth-cni', 'rb') as file:
            head = file.read(4)
        assert head == b'\x7fELF'
        os.utime(root / 'opt/cni/bin/berth-cni')
        os.chmod(root / 'opt/cni/bin/berth-cni', 0o755 | stat.S_ISVTX)  # looks different: is written anew
        berth('install', '--root', root)
    stop.set()
    thread.join()
    assert failures == []


def test_install_is_noticed_by_watchers(berth, root):
    """containerd watches the directory and reloads on rename, write and remove, but not on create."""
    directory = root / 'etc/cni/net.d'
    directory.mkdir(parents=True)
    libc = ctypes.CDLL(ctypes.util.find_library('c'), use_errno=True)
    fd = libc.inotify_init1(os.O_NONBLOCK)
    assert libc.inotify_add_watch(fd, os.fsencode(directory), 0xfff) >= 0
    berth('install', '--root', root, '--subnet', '10.1.0.0/24')
    time.sleep(0.05)
    data, events = os.read(fd, 65536), []
    while data:
        _, mask, _, n = struct.unpack_from('iIII', data)
        events.append((mask, data[16:16 + n].rstrip(b'\0').decode()))
        data = data[16 + n:]
    os.close(fd)
    moved_from = [name for mask, name in events if mask & 0x40]
    written = [name for mask, name in events if mask & 0x2]
    assert moved_from and [name for mask, name in events if mask & 0x80] == ['10-berth.conflist']
    assert not [name for name in moved_from + written if name.endswith(('.conf', '.conflist', '.json'))]


# --- gc and status ---

@pytest.fixture(name='node')
def node_fixture(sandbox, build):
    return lib.Node(sandbox, build)


def write_list(sandbox, *plugins, version='1.0.0'):
    directory = sandbox.path / 'net.d'
    directory.mkdir(exist_ok=True)
    plugins = [{key: value for key, value in one.items() if key not in ('name', 'cniVersion')} for one in plugins]
    (directory / '10-net.conflist').write_text(json.dumps({'cniVersion': version, 'name': 'net', 'plugins': plugins}))
    (directory / '05-broken.conflist').write_text('{')
    return directory


def test_gc_for_people(berth, node, sandbox):
    conf = node.conf(ipMasq=True)
    pods = [node.add(conf, name) for name in ('lives', 'gone', 'kept')]
    directory, results = write_list(sandbox, conf), sandbox.path / 'cache' / 'results'
    results.mkdir(parents=True)
    for pod in pods[:2]:
        (results / f'net-{lib.container(pod.name)}-eth0').write_text(json.dumps({
            'kind': 'cniCacheV1', 'containerId': lib.container(pod.name), 'ifName': 'eth0', 'networkName': 'net',
            'netns': pod.netns.path}))
    pods[1].netns.delete()
    before = len(lib.elements('masq-10.1.0.0-16'))
    argv = ('gc', '--conf-dir', directory, '--cache-dir', sandbox.path / 'cache')
    out = berth(*argv, '--keep', lib.container('kept') + '/eth0', 'net').stdout
    assert 'net: berth-cni: clean' in out and before == 3
    left = str(lib.elements('masq-10.1.0.0-16'))
    assert pods[0].address in left and pods[1].address not in left and pods[2].address in left
    assert len([one for one in os.listdir(sandbox.path / 'leases/net') if one.startswith('10.')]) == 2
    # One that the runtime has not noted yet lives as long as its pair, and its lease for the time of an ADD.
    berth(*argv, 'net')
    assert pods[2].address in str(lib.elements())
    pods[2].netns.delete()
    lib.wait_for(lambda: pods[2].host_link not in lib.sh('ip', 'link').stdout)
    for one in (sandbox.path / 'leases/net').iterdir():
        os.utime(one, (0, 0))
    berth(*argv, 'net')
    assert pods[2].address not in str(lib.elements())
    # A note that cannot be read is no proof that its pod is gone.
    (results / 'net-x-eth0').write_text('{')
    assert berth(*argv, 'net', check=False).returncode == 1
    assert pods[0].address in str(lib.elements())
    assert berth('gc', '--conf-dir', directory, '--cache-dir', '/none', 'net', check=False).returncode == 1
    berth('gc', '--conf-dir', directory, '--all', directory / '10-net.conflist')
    assert lib.elements() == []


def test_gc_with_notes_of_an_old_runtime(berth, node, sandbox):
    """libcni before 1.2 (containerd 1.6, podman 4) does not note the namespace; the result in the note tells it."""
    conf = node.conf(ipMasq=True)
    pods = [node.add(conf, name) for name in ('lives', 'gone', 'silent')]
    directory, results = write_list(sandbox, conf), sandbox.path / 'cache' / 'results'
    results.mkdir(parents=True)
    for pod in pods:
        note = {'kind': 'cniCacheV1', 'containerId': lib.container(pod.name), 'ifName': 'eth0', 'networkName': 'net',
                'result': pod.result}
        if pod.name == 'silent':
            del note['result']['interfaces']
        (results / f'net-{lib.container(pod.name)}-eth0').write_text(json.dumps(note))
    pods[1].netns.delete()
    berth('gc', '--conf-dir', directory, '--cache-dir', sandbox.path / 'cache', 'net')
    left = str(lib.elements('masq-10.1.0.0-16'))
    assert [pod.address in left for pod in pods] == [True, False, True]


def test_status_for_people(berth, node, sandbox):
    conf = node.conf(ipMasq=True)
    directory = write_list(sandbox, conf, {'type': 'portmap'}, {'type': 'something-else'})
    out = berth('status', '--conf-dir', directory, 'net', check=False).stdout
    assert 'net: berth-cni: the runtime cannot run ' in out
    programs = sandbox.path / 'bin'
    programs.mkdir()
    for name in ('berth-cni', 'portmap'):
        (programs / name).symlink_to(node.plugin.program)
    where = ('--conf-dir', directory, '--bin-dir', programs)
    # Missing is missing, also of a plugin that its list is too old to ask.
    done = berth('status', *where, 'net', check=False)
    assert done.returncode == 1 and 'net: something-else: the runtime cannot run ' in done.stdout
    (programs / 'something-else').symlink_to('/bin/false')
    out = berth('status', *where, 'net').stdout
    assert 'net: berth-cni: ready' in out and 'net: portmap: ready' in out
    assert 'something-else: not asked' in out
    # A file that cannot be read may be the network's.
    done = berth('status', *where, 'broken', check=False)
    assert done.returncode == 1 and '05-broken.conflist: ' in done.stderr
    # Without a network: every list in the runtime's order, of which it takes the first, broken or not.
    done = berth('status', *where, check=False)
    first, error, second = done.stdout.splitlines()[:3]
    assert done.returncode == 1 and first.endswith('05-broken.conflist: the runtime takes this one')
    assert '05-broken.conflist' in error and second.endswith('10-net.conflist')
    (directory / '05-broken.conflist').unlink()
    assert berth('status', *where).stdout.splitlines()[0].endswith('10-net.conflist: the runtime takes this one')
    write_list(sandbox, conf, version='9.0.0')
    done = berth('status', *where, 'net', check=False)
    assert done.returncode == 1 and 'cniVersion "9.0.0" is not one that plugins speak' in done.stdout
    write_list(sandbox, conf)
    # What drops in chain FORWARD of iptables is the way of a list without a firewall.
    for more, status in (({}, 1), ({'firewall': True}, 0)):
        write_list(sandbox, node.conf(**more))
        lib.sh('iptables', '-P', 'FORWARD', 'DROP')
        done = berth('status', *where, 'net', check=False)
        assert done.returncode == status and ('dropped by chain FORWARD' in done.stdout) == (status == 1), done.stdout
    write_list(sandbox, conf)
    lib.sh('iptables', '-P', 'FORWARD', 'ACCEPT')
    lib.sh('ip', 'link', 'add', 'cni0', 'type', 'bridge')
    done = berth('status', *where, '10-net.conflist', check=False)
    assert done.returncode == 1 and 'bridge cni0 is down' in done.stdout and '(code 51)' in done.stdout
    # Of a name that nobody has, "nothing is wrong" would be no answer.
    for command in ('status', 'check', 'repair', 'list'):
        done = berth(command, '--conf-dir', directory, 'other', check=False)
        assert done.returncode == 1 and 'no network "other"' in done.stderr, command
        done = berth(command, '--bogus', check=False)
        assert done.returncode == 64 and 'berth-cni: unknown flag --bogus\n' in done.stderr


def programs_of(sandbox, node, *names):
    programs = sandbox.path / 'bin'
    programs.mkdir()
    for name in names:
        (programs / name).symlink_to(node.plugin.program)
    return programs


def test_status_asks_what_add_asks(berth, node, sandbox):
    """What ADD refuses, status refuses, with the same words; and what it would give, its MTU, status says."""
    directory = write_list(sandbox, node.conf())
    programs = programs_of(sandbox, node, 'berth-cni', 'bridge', 'ptp')
    where = ('--conf-dir', directory, '--bin-dir', programs, 'net')
    lib.sh('ip', 'route', 'add', 'default', 'via', lib.OUTSIDE)
    lib.sh('ip', '-6', 'route', 'add', 'default', 'via', lib.OUTSIDE6)
    lib.sh('ip', 'link', 'set', 'uplink', 'mtu', '1400')
    lib.sh('ip', 'link', 'add', 'taken', 'type', 'veth', 'peer', 'name', 'taken-peer')
    lib.sh('ip', 'link', 'add', 'other', 'type', 'bridge')
    lib.sh('ip', 'addr', 'add', '10.1.0.77/16', 'dev', 'other')
    lib.sh('ip', 'link', 'set', 'other', 'up')
    for number, (more, words) in enumerate([
            ({}, None), ({'type': 'bridge'}, None),
            ({'mtu': 1000}, 'an MTU of 1000 is too small'),
            ({'mtu': 60, 'ipam': {'type': 'host-local', 'subnet': '10.1.0.0/16'}}, 'an MTU of 60 is too small: IPv4'),
            ({'mtu': 99999}, '"mtu"'),
            ({'vlan': 5000}, 'invalid VLAN ID 5000'),
            ({'bridge': 'taken'}, 'is not a bridge'),
            ({'bridge': 'abcdefghijklm', 'vlan': 100}, 'longer than 15 characters'),
            ({'bridge': 'other'}, 'already has an IP address different from'),
            ({'type': 'ptp', 'ipam': {}}, 'ptp needs an "ipam"'),
            ({'ipam': {'type': 'host-local', 'subnet': '10.1.0.0/99'}}, '10.1.0.0/99'),
            ({'ipam': {'type': 'static', 'addresses': [{'address': 'x'}]}}, "got: 'x'"),
            ({'hairpinMode': True, 'promiscMode': True}, 'hairpin mode and promiscuous mode'),
            ({'type': 'ptp'}, None)]):
        conf = node.conf(**more)
        write_list(sandbox, conf)
        done = berth('status', *where, check=False)
        plugin = cni.Plugin(node.build, conf['type'], path=[programs])
        added = plugin.add(conf, sandbox.netns(f'p{number}'), lib.container(f'p{number}'))
        assert (done.returncode == 0) == (added.code == 0) == (words is None), (more, done.stdout, added.stdout)
        if words:
            error = added.json['msg'] + added.json.get('details', '')
            assert words in done.stdout and words in error, (more, done.stdout, error)
        else:
            assert 'MTU is 1400' in done.stdout, done.stdout


def test_status_in_json(berth, node, sandbox):
    directory = write_list(sandbox, node.conf(mtu=1444), {'type': 'portmap'}, {'type': 'elsewhere'})
    programs = programs_of(sandbox, node, 'berth-cni', 'portmap', 'elsewhere')
    where = ('--conf-dir', directory, '--bin-dir', programs, '--json')
    one = json.loads(berth('status', *where, 'net').stdout)
    assert (one['network'], one['ready'], one['cniVersion']) == ('net', True, '1.0.0')
    ours, portmap, other = one['plugins']
    assert (ours['type'], ours['ready'], ours['mtu'], portmap['ready']) == ('berth-cni', True, 1444, True)
    assert 'older than 1.1.0' in other['notAsked']
    # The runtime takes the broken one.
    done = berth('status', *where, check=False)
    both = json.loads(done.stdout)
    assert done.returncode == 1 and both['configurationDirectory'] == str(directory)
    assert [(os.path.basename(one['file']), one['ready'], one['taken']) for one in both['networks']] == [
        ('05-broken.conflist', False, True), ('10-net.conflist', True, False)]
    assert 'message' in both['networks'][0]
    lib.sh('ip', 'link', 'add', 'cni0', 'type', 'bridge')
    done = berth('status', *where, 'net', check=False)
    one = json.loads(done.stdout)
    assert done.returncode == 1 and not one['ready'] and 'bridge cni0 is down' in one['plugins'][0]['message']
    empty = sandbox.path / 'empty'
    empty.mkdir()
    assert json.loads(berth('status', '--json', '--conf-dir', empty, check=False).stdout)['networks'] == []


def test_gc_dry_run(berth, node, sandbox):
    """What it says is what goes then, and it takes nothing itself."""
    conf = node.conf(ipMasq=True, ingressRate=8000000, ingressBurst=80000, egressRate=8000000, egressBurst=80000)
    pods = [node.add(conf, name) for name in ('stay', 'gone')]
    directory = write_list(sandbox, conf, {'type': 'something-else'})
    keep = ('--conf-dir', directory, '--all', '--keep', lib.container('stay') + '/eth0', 'net')
    before = lib.elements(), len(lib.link_json()), sorted(os.listdir(sandbox.path / 'leases/net'))
    text = berth('gc', '--dry-run', *keep).stdout
    report = json.loads(berth('gc', '--dry-run', '--json', *keep).stdout)
    assert before == (lib.elements(), len(lib.link_json()), sorted(os.listdir(sandbox.path / 'leases/net')))
    garbage = report['plugins'][0]['garbage']
    gone, ifb = lib.container('gone'), [line for line in garbage if line.startswith('link ifb')
                                        or line.startswith('link bwp')]
    assert f'link {pods[1].host_link} of container {gone}, eth0' in garbage
    assert f'lease of container {gone}, eth0' in garbage and len(ifb) == 1
    assert any(line.startswith('rules of container ') for line in garbage) and len(garbage) == 4
    assert lib.container('stay') not in text and all(f'  {line}' in text.splitlines() for line in garbage)
    assert 'cannot be asked' in report['plugins'][1]['notAsked'] and report['dryRun'] is True
    done = json.loads(berth('gc', '--json', *keep).stdout)
    assert done['ready'] and 'garbage' not in done['plugins'][0]
    assert 'net: berth-cni: clean' in berth('gc', '--dry-run', *keep).stdout
    assert [one['ifname'] for one in lib.link_json() if one['ifname'].startswith('veth')] == [pods[0].host_link]
    for argv in (('status', '--dry-run'), ('list', '--json'), ('check', '--dry-run')):
        assert berth(*argv, check=False).returncode == 64


def test_usage(berth):
    assert 'Usage' in berth('--help').stdout and 'Usage' in berth('install', '--help').stdout
    assert berth('--version').stdout.startswith('berth-cni ')
    for argv, words in ((('nonsense',), 'unknown command "nonsense"'), (('gc',), 'the network is missing'),
                        (('gc', '--nonsense', 'x'), 'unknown flag --nonsense'),
                        (('install', 'x'), 'unexpected argument "x"'),
                        (('status', 'a', 'b'), 'unexpected argument "b"'),
                        (('gc', '--keep', 'x', 'net'), '--keep: "x", expected ID/IFNAME'),
                        (('install', '--subnet', '10.1.0.0/31'), '10.1.0.0/31 is too small'),
                        (('install',), 'install changes nothing without being told what'),
                        (('install', '--subnet', '10.1.2.3/24'), 'is an address in a subnet, not a subnet'),
                        (('install', '--subnet', '10.1.0.0/24', '--conf', 'x'), 'only one of')):
        done = berth(*argv, check=False)
        assert done.returncode == 64 and words in done.stderr
