# SPDX-License-Identifier: Apache-2.0
"""A node whose firewall is firewalld: the real one, on a system bus of its own, in the sandbox's namespace."""

import os
import pathlib
import shutil
import socket
import struct
import subprocess
import threading
import time

import pytest

import cni
import node as lib
from node import NODE, OUTSIDE

BUS = pathlib.Path('/run/dbus/system_bus_socket')
BUS_CONF = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen>
<auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/>
<allow send_type="signal"/>
<allow send_requested_reply="true" send_type="method_return"/>
<allow send_requested_reply="true" send_type="error"/>
<allow receive_type="method_call"/><allow receive_type="method_return"/>
<allow receive_type="error"/><allow receive_type="signal"/></policy></busconfig>
"""

# firewalld takes seconds to start and to reload: its other backend and upstream's plugin are for suite "slow".
WHOLE = os.environ.get('BERTH_FIREWALLD_WHOLE') == '1'

needs_firewalld = pytest.mark.skipif(not (shutil.which('firewalld') and shutil.which('dbus-daemon')),
                                     reason='needs firewalld and dbus')


def bus_call(member, *arguments):
    return subprocess.run(['dbus-send', '--system', '--print-reply=literal', '--dest=org.fedoraproject.FirewallD1',
                           '/org/fedoraproject/FirewallD1', member, *arguments], capture_output=True, text=True,
                          timeout=60, check=False)


def sources(zone='trusted'):
    done = bus_call('org.fedoraproject.FirewallD1.zone.getSources', f'string:{zone}')
    assert done.returncode == 0, done.stderr
    return sorted(word for word in done.stdout.split() if '/' in word or '.' in word)


@pytest.fixture(name='node')
def node_fixture(sandbox, build):
    for path in ('/run', '/etc/firewalld', '/var/log'):
        if os.path.isdir(path):
            sandbox.private_directory(path)
    BUS.parent.mkdir(parents=True, exist_ok=True)
    return lib.Node(sandbox, build)


@pytest.fixture(name='firewalld')
def firewalld_fixture(node, sandbox):
    """Runs, with the uplink in its zone "public"; the packaged defaults."""
    (sandbox.path / 'bus.conf').write_text(BUS_CONF)
    (sandbox.path / 'firewalld').mkdir()
    started = []

    def start(backend='nftables'):
        (sandbox.path / 'firewalld' / 'firewalld.conf').write_text(f'FirewallBackend={backend}\nDefaultZone=public\n')
        # As before 1.0: nothing passes between links of the zone that has what is in none.
        (sandbox.path / 'firewalld' / 'zones').mkdir()
        (sandbox.path / 'firewalld' / 'zones' / 'public.xml').write_text('<zone><short>Public</short></zone>')
        started.append(subprocess.Popen(['dbus-daemon', '--nofork', f'--config-file={sandbox.path / "bus.conf"}']))
        lib.wait_for(BUS.exists)
        started.append(subprocess.Popen(['firewalld', '--nofork', '--nopid', '--log-file', str(sandbox.path / 'log'),
                                         '--system-config', str(sandbox.path / 'firewalld')],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        lib.wait_for(lambda: bus_call('org.freedesktop.DBus.Properties.Get', 'string:org.fedoraproject.FirewallD1',
                                      'string:state').stdout.split()[-1:] == ['RUNNING'])
        assert bus_call('org.fedoraproject.FirewallD1.zone.addInterface', 'string:public',
                        'string:uplink').returncode == 0
    yield start
    for process in started:
        process.kill()
        process.wait()


def is_open(node, pod):
    return node.ask(pod.netns, 'tcp', OUTSIDE, 80, seconds=2) == f'outside {NODE}'


@needs_firewalld
@pytest.mark.parametrize('backend', ['nftables', 'iptables'] if WHOLE else ['nftables'])
def test_pods_pass_and_are_forgotten(node, firewalld, backend):
    firewalld(backend)
    node.serve(node.outside, 'tcp', 80, 'outside')
    shut = node.add(node.conf(ipMasq=True), 'shut')
    assert not is_open(node, shut) and sources() == []
    # As berth-cni status asks of a list without the plugin; where it is, firewalld is told.
    for has, code in ((False, 50), (True, 0)):
        done = node.plugin.status(node.conf(ipMasq=True, **{'berth.dev/list-has-firewall': has}))
        assert done.code == 0 if has else 'dropped by chain' in str(done.failed(code))
        if backend == 'nftables' and not has:
            assert 'of table inet firewalld: a rule drops everything' in done.stdout
    conf = node.conf(ipMasq=True, firewall=True)
    pod = node.add(conf, 'pod')
    assert sources() == sorted([f'{pod.address}/32', f'{pod.address6}/128'])
    assert is_open(node, pod)
    node.check(pod).ok()
    # Reloaded: firewalld forgets what was not written down.
    assert bus_call('org.fedoraproject.FirewallD1.reload').returncode == 0
    assert sources() == []
    error = node.check(pod).failed()
    assert f'firewalld does not have {pod.address}/32 as a source of zone trusted' in str(error)
    # An address that is there already, and one that another has taken away.
    assert bus_call('org.fedoraproject.FirewallD1.zone.addSource', 'string:trusted',
                    f'string:{pod.address}/32').returncode == 0
    node.delete(pod)
    assert sources() == []
    node.delete(pod)
    # A DEL that knows nothing but the id, a pod whose DEL was lost, and an address that is given out again.
    node.add(conf, 'again')
    node.plugin.delete({**conf, 'cniVersion': '1.0.0'}, None, lib.container('again')).ok()
    assert sources() == []
    fixed = {'ipam': {'type': 'static', 'addresses': [{'address': '10.1.0.9/16', 'gateway': '10.1.0.1'}]}}
    lost, kept = node.add({**conf, **fixed}, 'lost'), node.add(conf, 'kept')
    lost.netns.delete()
    lib.wait_for(lambda: lost.host_link not in [one['ifname'] for one in lib.link_json()])
    lives = sorted([f'{kept.address}/32', f'{kept.address6}/128'])
    assert sources() == sorted([f'{lost.address}/32', *lives])
    if backend == 'nftables':
        node.plugin.gc(conf, [(lib.container('kept'), 'eth0')]).ok()
        assert sources() == lives
    new = node.add(node.conf(ipMasq=True, **fixed), 'new')
    assert sources() == lives
    node.delete(new)
    node.delete(kept)
    assert sources() == []


@needs_firewalld
@pytest.mark.skipif(not WHOLE, reason='takes long; in suite slow')
def test_as_upstreams_plugin(node, firewalld):
    """The plugin by its name, without and with the backend, another zone; upstream's takes away what ours added."""
    upstream = pathlib.Path('/usr/lib/cni/firewall')
    if not upstream.exists():
        pytest.skip('needs containernetworking-plugins')
    firewalld()
    pod = node.add(node.conf(cniVersion='1.0.0'), 'pod')
    ours, theirs = cni.Plugin(node.build, 'firewall'), cni.Plugin(node.build, 'firewall', program=upstream)
    wanted = sorted([f'{pod.address}/32', f'{pod.address6}/128'])
    for zone, more in (('trusted', {}), ('internal', {'backend': 'firewalld', 'firewalldZone': 'internal'})):
        conf = {'cniVersion': '1.0.0', 'name': 'net', 'type': 'firewall', **more}
        for adds, deletes in ((ours, theirs), (theirs, ours)):
            adds.add(cni.with_result(conf, pod.result), pod.netns, lib.container('pod')).ok()
            assert sources(zone) == wanted
            for plugin in (ours, theirs):
                plugin.check(conf, pod.netns, lib.container('pod'), result=pod.result)
            deletes.delete(conf, pod.netns, lib.container('pod'), result=pod.result).ok()
            assert sources(zone) == []
    # In another zone already: firewalld's own words, and nothing stays.
    assert bus_call('org.fedoraproject.FirewallD1.zone.addSource', 'string:internal',
                    f'string:{pod.address}/32').returncode == 0
    conf = {'cniVersion': '1.0.0', 'name': 'net', 'type': 'firewall'}
    error = ours.add(cni.with_result(conf, pod.result), pod.netns, lib.container('pod')).failed()
    assert f'firewalld refuses {pod.address}/32 as a source of zone trusted: ZONE_CONFLICT' in str(error)


def test_without_firewalld(node):
    """No bus: as if there were no such thing; asked for by name it is said."""
    pod = node.add(node.conf(firewall=True), 'pod')
    node.check(pod).ok()
    node.delete(pod)
    error = node.plugin.add(node.conf(firewall=True, backend='firewalld'), node.sandbox.netns('b'),
                            lib.container('b')).failed()
    assert 'firewalld does not run on this node' in str(error)
    BUS.touch()
    node.delete(node.add(node.conf(firewall=True), 'c'))


def test_a_bus_that_hangs(node):
    """Without "firewall" it is not even asked; with it ADD and DEL are over in seconds, and firewalld is named."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(BUS))
        server.listen()
        server.setblocking(False)
        pod = node.add(node.conf(ipMasq=True), 'a')
        node.check(pod).ok()
        node.delete(pod)
        with pytest.raises(BlockingIOError):
            server.accept()
        if not WHOLE:
            return
        begin = time.monotonic()
        error = node.plugin.add(node.conf(firewall=True), node.sandbox.netns('b'), lib.container('b')).failed()
        assert 'firewalld: no answer over /run/dbus/system_bus_socket within 5 s' in str(error)
        assert 5 <= time.monotonic() - begin < 15  # asked, and asked to take it back
    assert [one for one in lib.link_json() if one['ifname'].startswith('veth')] == [] and lib.elements() == []


def test_a_bus_that_is_none(node):
    """Refuses, talks nonsense, promises gigabytes, ends in the middle: an error in words, at once, and no pod."""
    head = struct.pack('<4BIIIIII', ord('l'), 2, 0, 1, 0xfffffff0, 1, 8, 0, 0, 0)
    answers = [b'REJECTED EXTERNAL\r\n', b'x' * 4096, b'OK 0\r\n' + head, b'OK 0\r\n' + b'\0' * 64, b'OK 0\r\nl',
               b'OK 0\r\n' + struct.pack('<4BIII', ord('l'), 2, 0, 1, 0, 1, 7) + b'\5\1u\0\1\0\0\0', b'']
    for answer in answers:
        BUS.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(BUS))
            server.listen()

            def serve(server=server, answer=answer):
                while True:
                    try:
                        peer = server.accept()[0]
                    except OSError:
                        return
                    with peer:
                        peer.recv(65536)
                        peer.sendall(answer)

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            error = node.plugin.add(node.conf(firewall=True), node.sandbox.netns('a'), lib.container('a')).failed()
            assert 'firewalld: ask over /run/dbus/system_bus_socket' in str(error), answer
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
        lib.sh('ip', 'netns', 'del', 'a')
    assert [one for one in lib.link_json() if one['ifname'].startswith('veth')] == [] and lib.elements() == []
