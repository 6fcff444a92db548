# SPDX-License-Identifier: Apache-2.0
"""host-local and static: allocation, leases on disk, and turns with upstream's host-local on one directory."""

import concurrent.futures
import fcntl
import json
import os
import pathlib
import re
import shutil
import subprocess
import time

import pytest

import cni

UPSTREAM = pathlib.Path('/usr/lib/cni/host-local')
NETNS = '/run/netns/none'

needs_upstream = pytest.mark.skipif(not UPSTREAM.exists(), reason='needs containernetworking-plugins')


class Leases:
    def __init__(self, sandbox, build):
        self.path = sandbox.path / 'leases'
        self.ours = cni.Plugin(build, 'host-local')
        self.theirs = cni.Plugin(build, 'host-local', program=UPSTREAM)

    def conf(self, **ipam):
        return {'cniVersion': '1.1.0', 'name': 'net', 'type': 'x',
                'ipam': {'type': 'host-local', 'dataDir': str(self.path), 'subnet': '10.1.0.0/24', **ipam}}

    def old(self, **ipam):
        """A configuration that Debian's host-local understands."""
        return {**self.conf(**ipam), 'cniVersion': '1.0.0'}

    def files(self):
        return sorted(one for one in os.listdir(self.path / 'net') if one[0].isdigit() or ':' in one)

    def content(self, name):
        return (self.path / 'net' / name).read_bytes()

    def index(self):
        directory = self.path / 'net' / '.berth'
        # Without the lengths of the subnets, as an earlier version and as this one has them.
        return {one: re.sub(r'/\d+|,0\.0\.0\.\d+', '', os.readlink(directory / one))
                for one in os.listdir(directory) if one != 'boot'}


@pytest.fixture(name='leases')
def leases_fixture(sandbox, build):
    return Leases(sandbox, build)


def address(done):
    return done.ok()['ips'][0]['address'].split('/')[0]


def test_layout_and_result(leases):
    conf = leases.conf(routes=[{'dst': '0.0.0.0/0'}], ranges=[[{'subnet': 'fd00::/64', 'gateway': 'fd00::9'}]])
    result = leases.ours.add(conf, NETNS, 'abc').ok()
    assert result == {'cniVersion': '1.1.0', 'ips': [{'address': '10.1.0.2/24', 'gateway': '10.1.0.1'},
                                                     {'address': 'fd00::1/64', 'gateway': 'fd00::9'}],
                      'routes': [{'dst': '0.0.0.0/0'}]}
    assert leases.files() == ['10.1.0.2', 'fd00::1']
    assert leases.content('10.1.0.2') == b'abc\r\neth0' and leases.content('last_reserved_ip.1') == b'fd00::1'
    assert (leases.path / 'net' / '10.1.0.2').stat().st_mode & 0o777 == 0o600
    assert (leases.path / 'net').stat().st_mode & 0o777 == 0o755
    leases.ours.check(conf, NETNS, 'abc').ok()
    assert leases.ours.delete(conf, NETNS, 'abc').stdout == ''
    assert leases.files() == [] and leases.index() == {}
    assert 'Failed to find address added by container abc' in str(leases.ours.check(conf, NETNS, 'abc').failed())


def test_round_robin(leases):
    conf = leases.conf(rangeStart='10.1.0.10', rangeEnd='10.1.0.12')
    assert [address(leases.ours.add(conf, NETNS, name)) for name in 'abc'] == ['10.1.0.10', '10.1.0.11', '10.1.0.12']
    leases.ours.delete(conf, NETNS, 'b').ok()
    leases.ours.delete(conf, NETNS, 'a').ok()
    assert address(leases.ours.add(conf, NETNS, 'd')) == '10.1.0.10'
    assert address(leases.ours.add(conf, NETNS, 'e')) == '10.1.0.11'
    error = leases.ours.add(conf, NETNS, 'f').failed(107)
    assert error['details'] == ('failed to allocate for range 0: no IP addresses available in range set: '
                                '10.1.0.10-10.1.0.12 (3 in use); berth-cni gc gives back what no running pod holds')
    assert 'f@eth0' not in leases.index()


def test_failure_of_a_later_range_gives_all_back(leases):
    conf = leases.conf(ranges=[[{'subnet': '10.2.0.0/30'}]])
    leases.ours.add(conf, NETNS, 'a').ok()
    assert 'failed to allocate for range 1' in str(leases.ours.add(conf, NETNS, 'b').failed())
    assert leases.files() == ['10.1.0.2', '10.2.0.2'] and list(leases.index()) == ['a@eth0']


@pytest.mark.parametrize('how', ['args', 'cni-args', 'capability'])
def test_requested(leases, how):
    conf, args = leases.conf(), None
    if how == 'args':
        conf['args'] = {'cni': {'ips': ['10.1.0.77']}}
    elif how == 'capability':
        conf['runtimeConfig'] = {'IPs': ['10.1.0.77/24']}
    else:
        args = 'IP=10.1.0.77'
    assert address(leases.ours.add(conf, NETNS, 'a', args=args)) == '10.1.0.77'
    error = leases.ours.add(conf, NETNS, 'b', args=args).failed()
    assert 'requested IP address 10.1.0.77 is not available in range set 10.1.0.1-10.1.0.254' in error['details']
    assert leases.files() == ['10.1.0.77']


@pytest.mark.parametrize('ip, words', [('10.1.0.1', "requested ip 10.1.0.1 is subnet's gateway"),
                                       ('10.9.0.1', 'failed to allocate all requested IPs: 10.9.0.1'),
                                       ('x', 'requested "x" is not an IP address')])
def test_requested_in_vain(leases, ip, words):
    assert words in str(leases.ours.add(leases.conf(), NETNS, 'a', args=f'IP={ip}').failed(7))
    assert not (leases.path / 'net').exists() or leases.files() == []


def test_ip_ranges_of_the_runtime(leases):
    conf = leases.conf()
    conf['runtimeConfig'] = {'ipRanges': [[{'subnet': '10.7.0.0/24'}]]}
    assert [one['address'] for one in leases.ours.add(conf, NETNS, 'a').ok()['ips']] == ['10.7.0.2/24', '10.1.0.2/24']


def test_resolv_conf(leases, sandbox):
    path = sandbox.path / 'resolv.conf'
    path.write_text('nameserver 10.0.0.1\nsearch a b\noptions ndots:5\n')
    result = leases.ours.add(leases.conf(resolvConf=str(path)), NETNS, 'a').ok()
    assert result['dns'] == {'nameservers': ['10.0.0.1'], 'search': ['a', 'b'], 'options': ['ndots:5']}
    path.unlink()
    os.mkfifo(path)
    assert 'is not a regular file' in str(leases.ours.add(leases.conf(resolvConf=str(path)), NETNS, 'b').failed(7))
    path.unlink()
    assert 'resolvConf' in str(leases.ours.add(leases.conf(resolvConf=str(path)), NETNS, 'b').failed())
    assert leases.files() == ['10.1.0.2']


@pytest.mark.parametrize('make', [os.mkfifo, pathlib.Path.mkdir, lambda path: path.symlink_to('/dev/null'),
                                  lambda path: path.symlink_to(path.with_name('new'))],
                         ids=['fifo', 'directory', 'link', 'dangling'])
@pytest.mark.parametrize('name', ['lock', 'last_reserved_ip.0', '10.1.0.3'])
def test_what_is_in_the_place_of_a_file(leases, name, make):
    """Nobody waits for a FIFO's other end, which kept the lock from all pods; nothing is followed or made by a link."""
    conf, directory = leases.conf(), leases.path / 'net'
    first = leases.ours.add(conf, NETNS, 'a').ok()
    path = directory / name
    path.unlink(missing_ok=True)
    make(path)
    done = leases.ours.add(conf, NETNS, 'b', timeout=20 * cni.PATIENCE)
    if name[0].isdigit():
        # Somebody's who is not known; what is empty is what a crash left.
        assert address(done) == ('10.1.0.3' if make is os.mkfifo else '10.1.0.4')
    else:
        assert f'{name}' in str(done.failed()) and 'is not a plain file: remove it' in str(done.failed())
    for act in (leases.ours.check, leases.ours.delete):
        done = act(conf, NETNS, 'a', result=first, timeout=20 * cni.PATIENCE)
        assert done.code == 0 or name == 'lock'
    leases.ours.gc(conf, [], timeout=20 * cni.PATIENCE)
    assert not (directory / 'new').exists()
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
    leases.ours.delete(conf, NETNS, 'b').ok()
    assert address(leases.ours.add(conf, NETNS, 'c')).startswith('10.1.0.')


def test_duplicate(leases):
    leases.ours.add(leases.conf(), NETNS, 'a').ok()
    error = leases.ours.add(leases.conf(), NETNS, 'a').failed()
    assert '10.1.0.2 has been allocated to a, duplicate allocation is not allowed' in error['details']
    assert leases.files() == ['10.1.0.2']
    assert address(leases.ours.add(leases.conf(), NETNS, 'a', ifname='net1')) == '10.1.0.3'


def test_delete_of_what_is_not_there(leases):
    leases.ours.delete(leases.conf(), NETNS, 'a').ok()
    leases.ours.add(leases.conf(), NETNS, 'a').ok()
    leases.ours.delete(leases.conf(), NETNS, 'b').ok()
    leases.ours.delete(leases.conf(), None, 'a', ifname='net1').ok()
    assert leases.files() == ['10.1.0.2']


def test_delete_after_the_ranges_changed(leases):
    leases.ours.add(leases.conf(), NETNS, 'a').ok()
    conf = leases.conf()
    conf['ipam'] = {'type': 'host-local', 'dataDir': str(leases.path), 'subnet': 'nonsense'}
    leases.ours.delete(conf, NETNS, 'a').ok()
    assert leases.files() == []


# --- what a crash and a boot leave ---

def test_torn_lease_is_free(leases):
    leases.ours.add(leases.conf(), NETNS, 'a').ok()
    (leases.path / 'net' / '10.1.0.3').write_bytes(b'')
    assert address(leases.ours.add(leases.conf(), NETNS, 'b')) == '10.1.0.3'


def test_leases_of_the_boot_before(leases):
    for name in 'abc':
        leases.ours.add(leases.conf(rangeEnd='10.1.0.4'), NETNS, name).ok()
    boot = leases.path / 'net' / '.berth' / 'boot'
    boot.unlink()
    boot.symlink_to('00000000-0000-0000-0000-000000000000')
    assert address(leases.ours.add(leases.conf(rangeEnd='10.1.0.4'), NETNS, 'd')) == '10.1.0.2'
    assert leases.files() == ['10.1.0.2'] and leases.index() == {'d@eth0': '10.1.0.2'}
    assert os.readlink(boot) == pathlib.Path('/proc/sys/kernel/random/boot_id').read_text().strip()


def test_full_range_gives_leases_of_an_older_boot_back(leases, sandbox, build):
    """Not in our index with its boot: made by host-local before a reboot. Who is noted as running keeps his."""
    conf = leases.conf(rangeEnd='10.1.0.5')
    for name in 'abcd':
        leases.ours.add(conf, NETNS, name).ok()
    results = sandbox.path / 'cni' / 'results'
    results.mkdir(parents=True)
    alive = sandbox.netns('alive')
    (results / 'net-a-eth0').write_text(json.dumps({
        'kind': 'cniCacheV1', 'containerId': 'a', 'ifName': 'eth0', 'networkName': 'net', 'netns': alive.path}))
    pathlib.Path('/var/lib/cni').mkdir(parents=True, exist_ok=True)
    subprocess.run(['mount', '--bind', str(sandbox.path / 'cni'), '/var/lib/cni'], check=True)
    assert 'berth-cni gc' in str(leases.ours.add(conf, NETNS, 'e').failed())
    for name in ('10.1.0.2', '10.1.0.3', '10.1.0.4'):
        os.utime(leases.path / 'net' / name, (1, 1))
    assert address(leases.ours.add(conf, NETNS, 'e')) == '10.1.0.3'
    assert leases.files() == ['10.1.0.2', '10.1.0.3', '10.1.0.5']
    leases.ours.delete(conf, NETNS, 'b').ok()
    assert '10.1.0.3' in leases.files()


def test_lock_that_stays_taken(leases):
    leases.ours.add(leases.conf(), NETNS, 'a').ok()
    with open(leases.path / 'net' / 'lock', encoding='utf-8') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        start = time.monotonic()
        error = leases.ours.add(leases.conf(), NETNS, 'b').failed(11)
        assert 9 < time.monotonic() - start < 60
        assert 'held by another process for more than 10 seconds' in error['details']
    assert address(leases.ours.add(leases.conf(), NETNS, 'b')) == '10.1.0.3'


def test_directory_that_cannot_be_written(leases, sandbox):
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'ro', 'none', str(sandbox.path)], check=True)
    error = leases.ours.add(leases.conf(), NETNS, 'a').failed()
    assert 'Read-only file system' in str(error)
    assert 'Read-only file system' in str(leases.ours.status(leases.conf()).failed(50))


def full_disk(leases, sandbox, inodes):
    subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size=1m,nr_inodes={inodes}', 'none', str(sandbox.path)], check=True)
    return leases.conf(ranges=[[{'subnet': 'fd00::/64'}]])


@pytest.mark.parametrize('inodes', range(2, 10))
def test_full_disk(leases, sandbox, inodes):
    """Wherever ADD runs out of space, it leaves no lease, DEL is done, and STATUS knows."""
    conf = full_disk(leases, sandbox, inodes)
    assert 'No space left on device' in str(leases.ours.add(conf, NETNS, 'a').failed())
    leases.ours.delete(conf, NETNS, 'a').ok()
    assert not (leases.path / 'net').exists() or leases.files() == []
    fill_up(sandbox.path)
    error = str(leases.ours.status(conf).failed(50))
    assert 'is full' in error or 'No space left on device' in error


def fill_up(directory):
    for number in range(1000):
        try:
            (directory / f'full-{number}').write_bytes(b'x' * 100000)
        except OSError:
            return


def test_leases_are_given_back_on_a_full_disk(leases, sandbox):
    """Also when the index cannot be made: of another plugin's leases, and after a lost index."""
    conf = full_disk(leases, sandbox, 100)
    for name in 'abc':
        leases.ours.add(conf, NETNS, name).ok()
    shutil.rmtree(leases.path / 'net' / '.berth')
    (leases.path / 'net' / 'lock').unlink()
    fill_up(sandbox.path)
    files = leases.files()
    leases.ours.delete(conf, NETNS, 'a').ok()
    assert leases.files() == [one for one in files if one not in ('10.1.0.2', 'fd00::2')]
    fill_up(sandbox.path)
    leases.ours.gc(conf, [('b', 'eth0')]).ok()
    assert leases.files() == ['10.1.0.3', 'fd00::3']
    for path in sandbox.path.glob('full-*'):
        path.unlink()
    leases.ours.add(conf, NETNS, 'd').ok()
    index = leases.index()
    assert sorted(index.pop('b@eth0').split(',')) == ['10.1.0.3', 'fd00::3']
    assert index == {'d@eth0': '10.1.0.5,fd00::5'}


def test_what_does_not_belong_there(leases):
    """Odd things under names of leases are nobody's addresses, and odd things in the index nobody's leases."""
    directory = leases.path / 'net'
    (directory / '.berth' / 'directory').mkdir(parents=True)
    (directory / '.berth' / 'file').write_text('x')
    (directory / '.berth' / 'a@eth0').symlink_to('10.1.0.2,nothing')
    (directory / '10.1.0.2').mkdir()
    (directory / '10.1.0.3').symlink_to('/etc/passwd')
    (directory / '10.1.0.4').write_bytes(b'..//../odd\xff' * 500)
    (directory / '10.1.0.6').write_bytes(b'x/../../escaped\r\n../eth')
    (directory / 'last_reserved_ip.0').write_bytes(b'\0garbage')
    leases.ours.delete(leases.conf(), NETNS, 'a').ok()
    assert address(leases.ours.add(leases.conf(), NETNS, 'a')) == '10.1.0.5'
    leases.ours.delete(leases.conf(), NETNS, 'a').ok()
    assert leases.files() == ['10.1.0.2', '10.1.0.3', '10.1.0.4', '10.1.0.6']
    assert [one.name for one in leases.path.iterdir()] == ['net']


def test_directory_that_leads_nowhere(leases, sandbox):
    leases.path.mkdir()
    (leases.path / 'net').symlink_to(sandbox.path / 'nowhere')
    assert 'symbolic links' in str(leases.ours.add(leases.conf(), NETNS, 'a').failed())
    leases.ours.delete(leases.conf(), NETNS, 'a').ok()


def test_gc(leases):
    for name in 'abcd':
        leases.ours.add(leases.conf(), NETNS, name).ok()
    (leases.path / 'net' / '10.1.0.99').write_bytes(b'foreign\r\neth0')
    leases.ours.gc(leases.conf(), [('b', 'eth0'), ('foreign', 'eth0')]).ok()
    assert leases.files() == ['10.1.0.3', '10.1.0.99']
    leases.ours.gc(leases.conf(), []).ok()
    assert leases.files() == [] and leases.index() == {}


# --- in turns with upstream's ---

def allocate(leases, plugin, name):
    return address(plugin.add(leases.old(), NETNS, name))


@needs_upstream
def test_turns(leases):
    """Each sees what the other gave, and gives back what the other gave."""
    ours, theirs = leases.ours, leases.theirs
    order = [ours, theirs, theirs, ours, ours, theirs, ours, theirs]
    got = [allocate(leases, plugin, f'c{i}') for i, plugin in enumerate(order)]
    assert got == [f'10.1.0.{i + 2}' for i in range(len(order))]
    assert len(leases.files()) == len(order)
    for i, plugin in enumerate(order):
        other = theirs if plugin is ours else ours
        other.check(leases.old(), NETNS, f'c{i}').ok()
        assert 'duplicate allocation' in str(other.add(leases.old(), NETNS, f'c{i}').failed())
        other.delete(leases.old(), NETNS, f'c{i}').ok()
        assert got[i] not in leases.files()
        other.delete(leases.old(), NETNS, f'c{i}').ok()
    assert leases.files() == []
    # The round goes on where the other left it.
    assert allocate(leases, ours, 'x') == '10.1.0.10'
    assert allocate(leases, theirs, 'y') == '10.1.0.11'
    ours.gc(leases.conf(), [('y', 'eth0')]).ok()
    assert leases.files() == ['10.1.0.11']


@needs_upstream
def test_upstream_reads_past_the_index(leases):
    ours, theirs = leases.ours, leases.theirs
    for i in range(20):
        allocate(leases, ours, f'c{i}')
    before = leases.index()
    assert 'Failed to find address' in str(theirs.check(leases.old(), NETNS, 'boot').failed())
    theirs.delete(leases.old(), NETNS, 'boot').ok()
    theirs.delete(leases.old(), NETNS, '10.1.0.2').ok()
    assert leases.index() == before and len(leases.files()) == 20


@needs_upstream
def test_both_at_once(leases):
    def one(i):
        return allocate(leases, leases.ours if i % 2 else leases.theirs, f'c{i}')

    def back(i):
        (leases.theirs if i % 3 else leases.ours).delete(leases.old(), NETNS, f'c{i}').ok()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        got = list(pool.map(one, range(60)))
        assert len(set(got)) == 60 and sorted(got) == leases.files()
        list(pool.map(back, range(60)))
    assert leases.files() == []
    leases.ours.check(leases.conf(), NETNS, 'c1').failed()
    assert leases.index() == {}


@needs_upstream
def test_leases_of_an_old_directory(leases, sandbox):
    """A directory that upstream filled before we came, and one whose index somebody deleted."""
    for i in range(5):
        allocate(leases, leases.theirs, f'c{i}')
    assert allocate(leases, leases.ours, 'x') == '10.1.0.7'
    shutil.rmtree(leases.path / 'net' / '.berth')
    leases.ours.delete(leases.conf(), NETNS, 'c3').ok()
    assert leases.files() == ['10.1.0.2', '10.1.0.3', '10.1.0.4', '10.1.0.6', '10.1.0.7']
    leases.ours.delete(leases.conf(), NETNS, 'x').ok()
    assert len(leases.index()) == 4


# --- cost ---

def system_calls(plugin, command, conf, name, sandbox):
    log = sandbox.path / 'strace'
    plugin.exec(command, conf, netns=NETNS, container_id=name, ifname='eth0',
                extra={'ASAN_OPTIONS': 'detect_leaks=0'},  # which cannot be looked for under ptrace
                wrapper=['strace', '-f', '-o', str(log), '-a0', '-e', 'signal=none']).ok()
    return len([line for line in log.read_text().splitlines() if '(' in line])


@pytest.mark.skipif(not shutil.which('strace'), reason='needs strace')
def test_cost_does_not_grow(leases, sandbox, build):
    """System calls of ADD and DEL with 3 leases and with 2000."""
    conf = leases.conf(subnet='10.8.0.0/16')
    directory = sandbox.path / 'bin'
    directory.mkdir()
    (directory / 'host-local').symlink_to(pathlib.Path(build) / 'cni' / 'berth-cni')
    plugin = cni.Plugin(build, 'host-local', program=directory / 'host-local')

    def count(name):
        return [system_calls(plugin, command, conf, name, sandbox) for command in ('ADD', 'DEL')]

    for i in range(3):
        leases.ours.add(conf, NETNS, f'few{i}').ok()
    few = count('one')
    for i in range(2000):
        (leases.path / 'net' / f'10.8.{10 + i // 250}.{1 + i % 250}').write_bytes(b'c%d\r\neth0' % i)
    leases.ours.add(conf, NETNS, 'indexes').ok()  # makes the index anew, once
    assert count('two') == few
    assert len(leases.files()) == 2004


# --- static ---

def test_static(build):
    plugin = cni.Plugin(build, 'static')
    conf = {'cniVersion': '1.0.0', 'name': 'net', 'type': 'x', 'ipam': {
        'type': 'static', 'addresses': [{'address': '10.1.0.9/24', 'gateway': '10.1.0.1'}, {'address': 'fd00::9/64'}],
        'routes': [{'dst': '0.0.0.0/0'}], 'dns': {'domain': 'd'}}}
    result = plugin.add(conf, NETNS, 'a').ok()
    assert result == {'cniVersion': '1.0.0', 'ips': [{'address': '10.1.0.9/24', 'gateway': '10.1.0.1'},
                                                     {'address': 'fd00::9/64'}],
                      'routes': [{'dst': '0.0.0.0/0'}], 'dns': {'domain': 'd'}}
    plugin.check(conf, NETNS, 'a', result=result).ok()
    result['ips'][0]['gateway'] = '10.1.0.2'
    assert 'static: Failed to match addr 10.1.0.9' in str(plugin.check(conf, NETNS, 'a', result=result).failed())
    plugin.delete(conf, NETNS, 'a').ok()
    conf['runtimeConfig'] = {'ips': ['10.2.0.5/16']}
    assert plugin.add(conf, NETNS, 'a').ok()['ips'] == [{'address': '10.2.0.5/16'}]
