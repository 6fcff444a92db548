# SPDX-License-Identifier: Apache-2.0
"""berth-node: it installs, keeps the list in step, repairs when the kernel announces that something is gone, collects,
counts, and does nothing while nothing happens."""

import base64
import contextlib
import http.server
import json
import os
import pathlib
import re
import signal
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest
import yaml

import cgroups
import node as lib
from node import NODE, OUTSIDE, wait_for

PORT = 9810
SUBNET = '10.1.0.0/16'
LIST = '10-berth.conflist'
PORTS = [{'hostPort': 8080, 'containerPort': 80, 'protocol': 'tcp'}]


@pytest.fixture(name='node')
def node_fixture(sandbox, build):
    if not (build / 'cni' / 'berth-node').exists():
        pytest.skip('berth-node is not built')
    lib.sh('ip', 'link', 'set', 'lo', 'up')
    return lib.Node(sandbox, build)


class Daemon:
    """One berth-node; log: what it has said so far."""

    def __init__(self, node, *argv, **env):
        self.node, self.path = node, node.sandbox.path
        self.bin, self.conf, self.cache = (self.path / name for name in ('bin', 'net.d', 'cache'))
        for one in (self.bin, self.conf, self.cache / 'results'):
            one.mkdir(parents=True, exist_ok=True)
        self.lines, self.argv, self.env = [], argv, {**os.environ, **env}
        self.start()

    def command(self, *words):
        return [self.node.build / 'cni' / 'berth-node', *words, '--bin-dir', self.bin, '--conf-dir', self.conf]

    def start(self):
        self.process = subprocess.Popen(
            [*self.command(), '--cache-dir', self.cache, '--health-address', '127.0.0.1', *self.argv], env=self.env,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True).start()

    def _read(self, stream):
        for line in stream:
            self.lines.append(line.rstrip())

    def says(self, text):
        return any(text in line for line in self.lines)

    def get(self, path):
        """(status, text)."""
        try:
            with urllib.request.urlopen(f'http://127.0.0.1:{PORT}{path}', timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except urllib.error.URLError:
            return 0, ''

    def number(self, name):
        """Of a metric, by its name and labels."""
        found = re.search(rf'^{re.escape(name)} ([0-9.e+-]+)$', self.get('/metrics')[1], re.M)
        return float(found[1]) if found else None

    def hup(self):
        """All that it does, once more."""
        self.process.send_signal(signal.SIGHUP)

    def is_ready(self):
        return self.get('/readyz')[0] == 200

    def list(self):
        return json.loads((self.conf / LIST).read_text())

    def subnets(self):
        return [one[0]['subnet'] for one in self.list()['plugins'][0]['ipam']['ranges']]

    def stop(self, signum=signal.SIGTERM):
        self.process.send_signal(signum)
        assert self.process.wait(30) == (0 if signum == signal.SIGTERM else -signum)

    def note(self, pod, plugin, ports=()):
        """As a runtime notes it."""
        conflist = {'cniVersion': pod.conf['cniVersion'], 'name': 'net', 'plugins': [plugin]}
        text = {'kind': 'cniCacheV1', 'containerId': lib.container(pod.name), 'networkName': 'net', 'ifName': 'eth0',
                'netns': pod.netns.path, 'config': base64.b64encode(json.dumps(conflist).encode()).decode(),
                'capabilityArgs': {'portMappings': list(ports)}, 'result': pod.result}
        (self.cache / 'results' / f'net-{lib.container(pod.name)}-eth0').write_text(json.dumps(text))


@pytest.fixture(name='daemon')
def daemon_fixture(node):
    """Starts it with these flags; it ends with the test."""
    started = []

    def start(*argv, **env):
        started.append(Daemon(node, *argv, **env))
        return started[-1]
    yield start
    for one in started:
        print('\n'.join(one.lines))
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def ready(daemon, *argv, **env):
    one = daemon(*argv, **env)
    wait_for(one.is_ready)
    return one


# --- installing ------------------------------------------------------------------------------------------------------

def test_installs_and_leaves(daemon):
    one = ready(daemon, '--subnet', SUBNET)
    assert one.subnets() == [SUBNET] and one.list()['managedBy'] == 'berth-node'
    assert (one.bin / 'berth-cni').stat().st_mode & 0o777 == 0o755 and os.readlink(one.bin / 'bridge') == 'berth-cni'
    assert one.get('/livez') == (200, 'ok') and one.get('/nonsense')[0] == 404
    one.stop()
    assert one.says('the network stays as it is') and (one.conf / LIST).exists()
    done = subprocess.run(one.command('uninstall'), capture_output=True, text=True, check=True)
    assert not os.listdir(one.bin) + os.listdir(one.conf), done.stdout
    assert not os.path.exists('/run/berth')


def test_without_inotify(daemon, monkeypatch):
    """Pods of user 0 can have all of root's 128 instances: that kept it from starting, a node without a network."""
    if not shutil.which('strace'):
        pytest.skip('needs strace')
    inject = ('strace', '-D', '-qq', '-o', '/dev/null', '-e', 'inject=inotify_init1:error=EMFILE:when=1')
    command = Daemon.command
    monkeypatch.setattr(Daemon, 'command', lambda self, *words: [*inject, *command(self, *words)])
    one = ready(daemon, '--subnet', SUBNET)
    assert one.says('changes of files are seen with the next look only: inotify: Too many open files')
    assert one.subnets() == [SUBNET]
    # By then it has one: a list that somebody changed is put right at once.
    (one.conf / LIST).unlink()
    wait_for((one.conf / LIST).exists)


def test_mode_of_the_list(daemon):
    """Handed on to install, at the next start too."""
    one = ready(daemon, '--subnet', SUBNET, '--mode', 'routed')
    plugin = one.list()['plugins'][0]
    assert plugin['mode'] == 'routed' and 'bridge' not in plugin
    one.stop()
    one.argv = ['--subnet', SUBNET]
    one.start()
    wait_for(lambda: 'mode' not in one.list()['plugins'][0])


def test_another_network_that_comes_first(daemon):
    """A list that arrives later and sorts before ours has all new pods: the node is not ready, and says why."""
    one = ready(daemon, '--subnet', SUBNET)
    other = one.conf / '05-other.conflist'
    other.write_text(json.dumps({'cniVersion': '1.0.0', 'name': 'other', 'plugins': [{'type': 'bridge'}]}))
    wait_for(lambda: not one.is_ready())
    assert 'the list 05-other.conflist of network "other" sorts before 10-berth.conflist' in one.get('/readyz')[1]
    wait_for(lambda: any('level=error' in line and '05-other.conflist' in line for line in one.lines))
    assert one.number('berth_node_jobs_total{job="install",result="failed"}') >= 1
    other.unlink()
    wait_for(one.is_ready)


@pytest.mark.parametrize('what', ['list', 'program', 'link'])
def test_what_vanishes_comes_back(daemon, what):
    one = ready(daemon, '--subnet', SUBNET)
    path = {'list': one.conf / LIST, 'program': one.bin / 'berth-cni', 'link': one.bin / 'portmap'}[what]
    path.unlink()
    wait_for(path.exists)
    if what == 'list':
        (one.conf / LIST).write_text('{"cniVersion": "1.0.0", "name": "berth", "managedBy": "berth-node", "plugins": '
                                     '[{"type": "berth-cni"}]}')
        wait_for(lambda: one.list()['plugins'][0].get('ipam'))
        assert one.subnets() == [SUBNET]


def test_the_list_follows_the_file(daemon, node):
    """flanneld comes after it, changes its mind, and gets a second family."""
    file = node.sandbox.path / 'flannel' / 'subnet.env'
    file.parent.mkdir()
    one = daemon('--subnet-file', file)
    wait_for(lambda: one.get('/readyz')[0] == 500 and 'subnet.env' in one.get('/readyz')[1])
    assert not os.listdir(one.bin)
    text = 'FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.3.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n'
    file.write_text(text)
    wait_for(one.is_ready)
    plugin = one.list()['plugins'][0]
    assert (plugin['mtu'], plugin['ipMasq'], plugin['clusterCIDR']) == (1450, False, ['10.1.0.0/16'])
    written = (one.conf / LIST).stat().st_ino
    (file.parent / 'new').write_text(text.replace('1450', '1400') + 'FLANNEL_IPV6_SUBNET=fd00:3::1/64\n')
    os.rename(file.parent / 'new', file)
    wait_for(lambda: one.subnets() == ['10.1.3.0/24', 'fd00:3::/64'])
    assert one.list()['plugins'][0]['mtu'] == 1400 and (one.conf / LIST).stat().st_ino != written


def test_a_set_up_is_not_undone(daemon):
    """A pod of the DaemonSet that is made anew finds what somebody has set up by hand, or another network's list."""
    one = ready(daemon, '--subnet', SUBNET)
    one.stop()
    other = {**one.list(), 'name': 'mine'}
    del other['managedBy']
    other['plugins'][0]['mtu'] = 1450
    (one.conf / LIST).write_text(json.dumps(other))
    one.start()
    wait_for(lambda: one.says('left as it is: berth-node has not written it'))
    wait_for(one.is_ready)
    assert one.list() == other
    # Handed over.
    (one.conf / LIST).unlink()
    wait_for(lambda: (one.conf / LIST).exists() and one.list().get('managedBy'))
    one.stop()
    (one.conf / LIST).rename(one.conf / '05-other.conflist')
    one.start()
    wait_for(lambda: 'whose pods this node makes' in one.get('/readyz')[1])
    assert os.listdir(one.conf) == ['05-other.conflist']
    # And away: it is seen at once.
    (one.conf / '05-other.conflist').unlink()
    wait_for(one.is_ready)


def test_killed_at_any_moment(daemon):
    """SIGKILL between start and ready, again and again; then it converges."""
    one = daemon('--subnet', SUBNET)
    for pause in (0, 0.002, 0.01, 0.03, 0.05):
        time.sleep(pause)
        one.stop(signal.SIGKILL)
        one.start()
    wait_for(one.is_ready)
    assert one.subnets() == [SUBNET]
    wait_for(lambda: not [name for name in os.listdir(one.conf) + os.listdir(one.bin) if name.endswith('.tmp')])


# --- the API server --------------------------------------------------------------------------------------------------

class Api:
    """As much of an API server as one object needs, over TLS."""

    def __init__(self, path, node_object):
        self.path, self.node, self.token, self.seen, self.status = path, node_object, 'first', [], 200
        for name, days in (('ca', '1'), ('other', '1')):
            lib.sh('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days',
                   days, '-subj', '/CN=kubernetes', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout',
                   path / f'{name}.key', '-out', path / f'{name}.crt')
        (path / 'token').write_text('first\n')
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                api.seen.append((self.path, self.headers['Authorization']))
                status, answer = api.answer(self.path, self.headers['Authorization'])
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header('Content-Length', str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.server.daemon_threads = True
        self.use('ca')
        self.url = f'https://127.0.0.1:{self.server.server_port}'
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def use(self, name):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path / f'{name}.crt', self.path / f'{name}.key')
        raw = getattr(self, 'raw', self.server.socket)
        self.raw = raw
        self.server.socket = context.wrap_socket(raw.dup(), server_side=True)

    def answer(self, path, authorization):
        if self.status != 200:
            return self.status, {'kind': 'Status', 'message': 'etcdserver: request timed out'}
        if authorization != f'Bearer {self.token}':
            return 401, {'kind': 'Status', 'message': 'Unauthorized'}
        if path != '/api/v1/nodes/node-1':
            return 404, {'kind': 'Status', 'message': 'nodes not found'}
        return 200, self.node

    def flags(self):
        return ['--api-server', self.url, '--node-name', 'node-1', '--token-file', self.path / 'token', '--ca-file',
                self.path / 'ca.crt']


@pytest.fixture(name='api')
def api_fixture(node):
    path = node.sandbox.path / 'api'
    path.mkdir()
    api = Api(path, {'kind': 'Node', 'metadata': {'name': 'node-1'}, 'spec': {}})
    yield api
    api.server.shutdown()


def test_the_api_server_tells(daemon, api):
    """A node without podCIDR, then with one; a token that is replaced meanwhile, and is never in the log."""
    one = daemon(*api.flags())
    wait_for(lambda: 'the node has no podCIDR' in one.get('/readyz')[1])
    api.token = 'second'
    wait_for(lambda: 'Unauthorized' in one.get('/readyz')[1])
    (api.path / 'token').write_text('second')
    api.node['spec'] = {'podCIDR': '10.1.3.0/24', 'podCIDRs': ['10.1.3.0/24', 'fd00:3::/64']}
    wait_for(one.is_ready)
    assert one.subnets() == ['10.1.3.0/24', 'fd00:3::/64']
    assert not [line for line in one.lines if 'second' in line or 'first' in line]
    assert {path for path, _ in api.seen} == {'/api/v1/nodes/node-1'}


def test_the_api_server_is_another(node, api):
    """Whoever has not the cluster's certificate hears no token; with the right CA it does."""
    program = node.build / 'cni' / 'berth-node'
    api.node['spec'] = {'podCIDR': '10.1.3.0/24'}
    flags = api.flags()
    done = subprocess.run([program, 'subnets', *flags], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, 'POD_CIDR=10.1.3.0/24\n'), done.stderr
    seen = len(api.seen)
    done = subprocess.run([program, 'subnets', *flags[:-1], api.path / 'other.crt'], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 1 and 'the API server does not answer' in done.stderr and len(api.seen) == seen
    for name in ('../secrets', 'node_1', '', 'a' * 254, '-a'):
        done = subprocess.run([program, 'subnets', *flags, '--node-name', name], capture_output=True, text=True,
                              check=False)
        assert done.returncode == 1 and 'is not the name of a node' in done.stderr and len(api.seen) == seen
    # Over plain HTTP there is no token to hear.
    done = subprocess.run([program, 'subnets', *flags, '--api-server', api.url.replace('https', 'http')],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1 and len(api.seen) == seen
    api.status = 500
    done = subprocess.run([program, 'subnets', *flags], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and 'etcdserver: request timed out' in done.stderr


def test_who_asks_has_no_capabilities(node, api):
    """The process with the token and with somebody else's bytes."""
    trace = node.sandbox.path / 'trace'
    api.node['spec'] = {'podCIDR': '10.1.3.0/24'}
    # Leaks cannot be looked for under ptrace.
    lib.sh('env', 'ASAN_OPTIONS=detect_leaks=0', 'strace', '-f', '-e', 'trace=capset,prctl,connect', '-o', trace,
           node.build / 'cni' / 'berth-node', 'subnets', *api.flags())
    text = trace.read_text()
    assert re.search(r'capset\(.*effective=0, permitted=0', text) and 'PR_SET_NO_NEW_PRIVS' in text
    assert text.index('capset(') < text.index('connect(')


# --- repair ----------------------------------------------------------------------------------------------------------

@pytest.fixture(name='pods')
def pods_fixture(node, daemon):
    """Two pods with everything, and berth-node that has seen them; its minute is an hour, so that only announcements
    cause a repair."""
    for name in ('iptables', 'ip6tables'):
        lib.sh(name, '-P', 'FORWARD', 'DROP')
    lib.sh('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1')
    one = ready(daemon, '--subnet', SUBNET, '--repair-interval', '3600')
    base = node.conf(ipMasq=True, firewall=True, macspoofchk=True, capabilities={'portMappings': True})
    plugin = {key: value for key, value in base.items() if key not in ('name', 'cniVersion')}
    one.a = node.add({**base, 'runtimeConfig': {'portMappings': PORTS}}, 'a')
    one.b = node.add(base, 'b')
    one.note(one.a, plugin, PORTS)
    one.note(one.b, plugin)
    node.serve(node.outside, 'tcp', 80, 'outside')
    node.serve(one.a.netns, 'tcp', 80, 'a')
    return one


def is_whole(one):
    done = subprocess.run([one.bin / 'berth-cni', 'check', '--cache-dir', one.cache, '--bin-dir', one.bin],
                          capture_output=True, text=True, check=False)
    return (done.returncode, done.stdout) == (0, '')


BREAKS = {
    'nft flush ruleset': 'nft flush ruleset',
    'nft flush table': 'nft flush table ip berth',
    'iptables -F': 'iptables -F; iptables -X',
    'one element': 'nft flush set ip berth masq-10.1.0.0-16',
    'bridge address': 'ip addr flush dev cni0 scope global',
    'bridge down': 'ip link set cni0 down',
    'bridge gone': 'ip link del cni0',
    'connected route': 'ip route del 10.1.0.0/16 dev cni0',
    'port taken out': 'for l in $(ls /sys/class/net/cni0/brif); do ip link set $l nomaster; done',
    'port down': 'for l in $(ls /sys/class/net/cni0/brif); do ip link set $l down; done',
    'forwarding': 'sysctl -qw net.ipv4.ip_forward=0',
    'forwarding of IPv6': 'sysctl -qw net.ipv6.conf.all.forwarding=0',
}


def test_what_is_announced_heals(node, pods):
    """Each of them by itself, and the log has a line of it."""
    assert is_whole(pods)
    for what, command in BREAKS.items():
        said = len(pods.lines)
        lib.sh('sh', '-c', command)
        wait_for(lambda: any('op=repair' in line for line in pods.lines[said:]), what=what)
        wait_for(lambda: is_whole(pods), what=what)
        assert node.ask(pods.b.netns, 'tcp', OUTSIDE, 80) == f'outside {NODE}', what
        assert node.ask(node.outside, 'tcp', NODE, 8080) == f'a {OUTSIDE}', what


def test_pods_that_come_and_go_are_no_reason(node, pods):
    """Twenty of them, with everything: nothing is looked at because of that."""
    conf = {**pods.a.conf, 'runtimeConfig': {}}
    for i in range(20):
        node.delete(node.add(conf, f'c{i}'))
    wait_for(lambda: not lib.sh('ip', 'link', 'show', 'type', 'veth', 'up').stdout.count('berth/net/c'))
    # What was announced until now is looked at before this is.
    time.sleep(1.5)
    assert pods.number('berth_node_announcements_total') > 100
    assert pods.number('berth_node_suspicions_total') == 0
    assert pods.number('berth_node_jobs_total{job="repair",result="done"}') == 1


def test_what_nobody_announces(node, pods):
    """A sysctl of one link: at the next look at everything, which a signal brings forward."""
    lib.sh('sysctl', '-qw', 'net.ipv4.conf.cni0.route_localnet=0')
    assert not is_whole(pods)
    pods.hup()
    wait_for(lambda: is_whole(pods))


# --- collecting ------------------------------------------------------------------------------------------------------

def test_collects_what_nobody_owns(node, daemon):
    one = ready(daemon, '--subnet', SUBNET)
    conf = {**one.list()['plugins'][0], 'name': 'berth', 'cniVersion': '1.0.0'}
    conf['ipam']['dataDir'] = str(node.sandbox.path / 'leases')
    text = one.list()
    text['plugins'][0]['ipam']['dataDir'] = conf['ipam']['dataDir']
    del text['managedBy']
    (one.conf / LIST).write_text(json.dumps(text))
    gone, alive = node.add(conf, 'gone'), node.add(conf, 'alive')
    leases = node.sandbox.path / 'leases' / 'berth'
    for pod in (gone, alive):
        old = time.time() - 3600
        os.utime(leases / pod.address, (old, old))
    gone.netns.delete()
    wait_for(lambda: not lib.sh('ip', '-o', 'link', 'show', gone.host_link, check=False).stdout)
    one.hup()
    wait_for(lambda: not (leases / gone.address).exists())
    assert (leases / alive.address).exists()
    text['disableGC'] = True
    (one.conf / LIST).write_text(json.dumps(text))
    alive.netns.delete()
    one.hup()
    wait_for(lambda: one.says('its list says disableGC'))
    assert (leases / alive.address).exists()


# --- counting, and doing nothing -------------------------------------------------------------------------------------

def test_calls_are_counted(node, daemon):
    calls = '{type="berth-cni",command="%s"}'
    conf = node.conf(firewall=True)
    node.delete(node.add(conf, 'before'))
    one = ready(daemon, '--subnet', SUBNET)
    pod = node.add(conf, 'a')
    node.delete(node.add(conf, 'b'))
    node.plugin.add(conf, pod.netns, 'f' * 64).failed(103)
    assert one.number('berth_cni_calls_seconds_count' + calls % 'ADD') == 3
    assert one.number('berth_cni_calls_seconds_count' + calls % 'DEL') == 1
    took = one.number('berth_cni_calls_seconds_sum' + calls % 'ADD')
    assert 0 < took < 60
    assert one.number('berth_cni_failures_total{type="berth-cni",command="ADD",reason="conflict"}') == 1
    assert one.number('berth_node_pod_links') == 1
    assert one.number('berth_node_elements{family="ip",set="firewall"}') == 1
    # A new process goes on counting.
    one.stop(signal.SIGKILL)
    one.start()
    wait_for(one.is_ready)
    assert one.number('berth_cni_calls_seconds_count' + calls % 'ADD') == 3


def calls_for_the_count(node, name):
    """System calls of an ADD from the moment when it looks for the file of counts."""
    netns = node.sandbox.netns(name)
    trace = node.sandbox.path / f'{name}.trace'
    conf = node.conf()
    done = node.plugin.add(conf, netns, lib.container(name), wrapper=('strace', '-o', trace))
    node.delete(lib.Pod(node, name, netns, done.ok(), conf))
    lines = trace.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if '/run/berth/counters' in line)
    return [line.split('(')[0] for line in lines[start:] if not line.startswith(('exit', '+++'))]


def test_what_counting_costs(node, daemon):
    """One system call where nobody counts, and four where somebody does, behind the answer."""
    if b'libasan' in node.plugin.program.read_bytes():
        pytest.skip('a sanitizer has calls of its own')
    without = calls_for_the_count(node, 'without')
    ready(daemon, '--subnet', SUBNET)
    counted = calls_for_the_count(node, 'counted')
    assert counted[0] == 'openat' and 'fstat' in counted[1].replace('newfstatat', 'fstat')
    # What is closed at the end is the same.
    assert counted[2:4] == ['mmap', 'close'] and counted[4:] == without[1:]


def test_the_document_has_each_metric(node, daemon):
    one = ready(daemon, '--subnet', SUBNET)
    node.delete(node.add(node.conf(firewall=True), 'a'))
    node.plugin.add(node.conf(), '/none', 'f' * 64).failed()
    listed = set(re.findall(r'^\| `(berth_(?:cni|node)_\w+)` \|', DOCUMENT.read_text(), re.M))
    served = set(re.findall(r'^# TYPE (berth_\w+) ', one.get('/metrics')[1], re.M))
    assert listed == served


def waits_msecs(pid):
    """How long it sleeps in poll(2) at most, of its arguments; None while it does something else."""
    words = pathlib.Path(f'/proc/{pid}/syscall').read_text().split()
    return int(words[3], 16) if len(words) > 3 else None


def switches(pid):
    text = pathlib.Path(f'/proc/{pid}/status').read_text()
    return [int(one) for one in re.findall(r'ctxt_switches:\s+(\d+)', text)]


def test_does_nothing_when_nothing_happens(node, daemon):
    """No timer below half a minute, one thread, no child; and it is small."""
    one = ready(daemon, '--subnet', SUBNET)
    wait_for(lambda: one.number('berth_node_jobs_total{job="repair",result="done"}'))
    pid = one.process.pid
    assert os.listdir(f'/proc/{pid}/task') == [str(pid)]

    def sleeps():
        msecs = waits_msecs(pid)
        return msecs is not None and 30000 <= msecs <= 60000

    def is_quiet():
        """For a second and a half. A new network namespace announces for a while; a timer would for ever."""
        before = switches(pid)
        time.sleep(1.5)
        return sleeps() and switches(pid) == before
    wait_for(is_quiet)
    pss = sum(map(int, re.findall(r'^Pss:\s+(\d+) kB', pathlib.Path(f'/proc/{pid}/smaps_rollup').read_text(), re.M)))
    print(f'{pss} kB PSS')
    if not any(name.endswith('SAN_OPTIONS') for name in os.environ):
        assert pss <= 4096


# --- as the manifest runs it -----------------------------------------------------------------------------------------

DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / 'docs/metrics.md'
MANIFEST = pathlib.Path(__file__).resolve().parents[2] / 'manifests/base/cni/daemonset.yaml'
# A runtime's defaults, for a container that is not privileged.
READ_ONLY = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger']


def bundle(node, build, without):
    """What a runtime makes of the manifest's container, less one capability or one mount; the host's programs and
    libraries stand in for the image's."""
    pod = yaml.safe_load(MANIFEST.read_text())['spec']['template']['spec']
    container, = pod['containers']
    sources = {one['name']: one['hostPath']['path'] for one in pod['volumes'] if 'hostPath' in one}
    env = {one['name']: one.get('value', 'node-1') for one in container['env']}
    path = node.sandbox.path / 'bundle'
    root = path / 'rootfs'
    if not root.exists():
        for name in ('run', 'var', 'proc', 'tmp', 'usr', 'etc', 'dev', 'host/sys-net', 'opt/cni/bin', 'etc/cni/net.d',
                     'var/lib/cni', 'run/netns', 'run/berth'):
            (root / name).mkdir(parents=True, exist_ok=True)
        (root / 'var/run').symlink_to('../run')
        for name in ('lib', 'lib64', 'bin', 'sbin'):
            (root / name).symlink_to(f'usr/{name}')
        for name in ('berth-node', 'berth-cni'):
            shutil.copy(build / 'cni' / name, root / name)
    options = {'HostToContainer': 'rslave'}
    mounts = [{'destination': '/proc', 'type': 'proc', 'source': 'proc'},
              {'destination': '/usr', 'type': 'bind', 'source': '/usr', 'options': ['rbind', 'ro']}]
    mounts += [{'destination': one['mountPath'], 'type': 'bind', 'source': sources[one['name']],
                'options': ['rbind', 'rw', options.get(one.get('mountPropagation'), 'rprivate')]}
               for one in container['volumeMounts'] if one['name'] in sources and one['name'] != without]
    capabilities = [f'CAP_{one}' for one in container['securityContext']['capabilities']['add'] if one != without]
    argv = [re.sub(r'\$\((\w+)\)', lambda match: env[match[1]], one) for one in container['args']]
    (path / 'config.json').write_text(json.dumps({
        'ociVersion': '1.0.2', 'root': {'path': 'rootfs', 'readonly': True}, 'mounts': mounts,
        'process': {'args': [*container['command'], *argv, '--subnet', SUBNET, '--repair-interval', '3600'], 'cwd': '/',
                    'user': {'uid': 0, 'gid': 0}, 'env': [f'{key}={value}' for key, value in env.items()],
                    'capabilities': {kind: capabilities for kind in ('bounding', 'effective', 'permitted')}},
        'linux': {'namespaces': [{'type': 'mount'}, {'type': 'pid'}, {'type': 'ipc'}, {'type': 'uts'}],
                  'readonlyPaths': READ_ONLY, 'cgroupsPath': f'/{cgroups.NAME}/berth-node'}}))
    return path, list(sources)


@contextlib.contextmanager
def contained(node, build, without):
    path, _ = bundle(node, build, without)
    runc = ['runc', '--root', node.sandbox.path / 'runc']
    process = subprocess.Popen([*runc, 'run', '--bundle', path, 'node'], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    lines = []
    threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, '')), daemon=True).start()
    try:
        yield process, lines
    finally:
        subprocess.run([*runc, 'kill', 'node', 'KILL'], capture_output=True, check=False)
        process.wait(30)
        subprocess.run([*runc, 'delete', '-f', 'node'], capture_output=True, check=False)


NEEDED = {None: set(), 'NET_ADMIN': {'rules'}, 'SYS_ADMIN': {'in the pod', 'sysctl'}, 'bin': {'installed'},
          'conf': {'installed'}, 'run': {'counted'}, 'state': {'in the pod'}, 'netns': {'in the pod'},
          'sysctl': {'sysctl'}}


@pytest.mark.skipif(not shutil.which('runc'), reason='needs runc')
def test_the_manifest_has_what_is_needed_and_no_more(node, build):
    """Each capability and each mount, taken away, breaks what is said here."""
    for path in ('/opt/cni/bin', '/etc/cni/net.d', '/var/lib/cni'):
        node.sandbox.private_directory(path)
    pathlib.Path('/run/netns').mkdir(exist_ok=True)
    conf = node.conf(ipMasq=True)
    conf['ipam'].pop('dataDir')
    plugin = {key: value for key, value in conf.items() if key not in ('name', 'cniVersion')}
    pod = node.add(conf, 'a')
    one = Daemon.__new__(Daemon)
    one.cache = pathlib.Path('/var/lib/cni')
    (one.cache / 'results').mkdir()
    one.note(pod, plugin)
    installed = [pathlib.Path('/opt/cni/bin/berth-cni'), pathlib.Path('/etc/cni/net.d') / LIST]
    sysctl = pathlib.Path('/proc/sys/net/ipv4/conf/cni0/forwarding')
    assert {'NET_ADMIN', 'SYS_ADMIN', *bundle(node, build, None)[1], None} == set(NEEDED)
    some = NEEDED if 'BERTH_NODE_WHOLE' in os.environ else [None, 'SYS_ADMIN', 'netns']
    for without in some:
        broken = NEEDED[without]
        for file in installed:
            file.unlink(missing_ok=True)
        pathlib.Path('/run/berth/counters').unlink(missing_ok=True)
        pathlib.Path('/run/berth').mkdir(exist_ok=True)
        sysctl.write_text('0')
        lib.sh('sh', '-c', 'sysctl -qw net.ipv4.ip_forward=0; nft flush ruleset; ip -n a addr flush dev eth0')
        with contained(node, build, without) as (process, lines):
            def done():
                text = one.get('/metrics')[1]
                jobs = re.findall(r'berth_node_jobs_total.job="(install|repair)",result="\w+". [1-9]', text)
                return process.poll() is not None or len(set(jobs)) == 2
            wait_for(done)
            works = {'installed': all(file.exists() for file in installed),
                     'rules': bool(lib.elements()), 'in the pod': pod.address in lib.sh('ip', '-n', 'a', 'addr').stdout,
                     'sysctl': pathlib.Path('/proc/sys/net/ipv4/ip_forward').read_text() == '1\n',
                     'counted': os.path.exists('/run/berth/counters')}
            failed = {key for key, value in works.items() if not value}
            assert failed >= broken if broken else not failed, (without, failed, lines)


def test_a_taken_port_keeps_nothing_away(node, daemon):
    with contextlib.closing(socket.create_server(('127.0.0.1', PORT))) as taken:
        one = daemon('--subnet', SUBNET)
        wait_for((one.conf / LIST).exists)
        wait_for(lambda: one.says('cannot listen on 127.0.0.1 port 9810: Address already in use'))
        taken.close()
    wait_for(one.is_ready)
    assert one.says('health: listening on 127.0.0.1 port 9810')


@pytest.mark.parametrize('argv, words', [
    (['--mode', 'bridged'], '--mode: "bridged" must be'),
    (['--subnet', '10.0.0.0/33'], '--subnet: "10.0.0.0/33" is not a subnet'), (['--mtu', '5'], '--mtu: "5"'),
    (['--subnet', '10.1.0.0/16', '--cluster-cidr', '10.9.0.0/16'], 'does not hold'),
    (['--nonsense'], 'unknown flag --nonsense'), (['nonsense'], 'unknown command "nonsense"'),
    (['--subnet'], '--subnet: its value is missing'), (['--ask-interval', '5'], 'expected seconds from 30 to 86400'),
    (['--repair-interval', '29'], 'or 0'), (['--health-port', '65536'], 'expected a port'),
    (['--subnet', SUBNET, '--subnet-file', '/x'], 'only one of'), (['--api-server', 'ftp://x'], 'expected https://')])
def test_wrong_usage(build, argv, words):
    done = subprocess.run([build / 'cni' / 'berth-node', *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 64 and words in done.stderr and 'berth-node --help' in done.stderr, done.stderr
