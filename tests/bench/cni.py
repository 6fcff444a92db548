#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""berth-cni against the upstream plugins and against the floor: time, CPU, execs, system calls, page faults.

sudo tests/bench/cni.py [--build DIR] [--peer DIR]... [--pods N] [--rounds N] [--json FILE] [PART]...

PART: single (one pod after the other), usual, full, udp, many (8 at once), growth (1000 pods), routed (4000 pods), flow
(pod to pod), far (from a pod of one node to that of another). Default: all.
--peer: a directory with upstream's plugins; /usr/lib/cni (Debian's) is always one, tests/bench/peers.sh makes another.

Each variant has a host of its own: a process with its own network and mount namespaces. Variants take turns pod by pod,
so that a load on the machine hits all alike. A pod's time runs from the start of the first process to the end of the
last; CPU and page faults are those of the whole tree, by wait4(2). Namespaces of pods are made before.
"""

import argparse
import concurrent.futures
import ctypes
import json
import multiprocessing
import os
import pathlib
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
DEBIAN = pathlib.Path('/usr/lib/cni')
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWNET, MS_REC, MS_PRIVATE, MS_BIND = 0x20000, 0x40000000, 0x4000, 1 << 18, 0x1000


def check(result):
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


# --- what each variant runs for one pod ---

def network(leases):
    return {'cniVersion': '1.0.0', 'name': 'net', 'bridge': 'br0', 'isDefaultGateway': True,
            'ipam': {'type': 'host-local', 'subnet': '10.1.0.0/16', 'dataDir': leases}}


LIMITS = {'ingressRate': 10000000, 'ingressBurst': 1000000, 'egressRate': 10000000, 'egressBurst': 1000000}


def extras(case, i):
    """What the runtime asks for with this pod."""
    if case not in ('full', 'udp'):
        return {}, {}
    protocol = 'udp' if case == 'udp' else 'tcp'
    return {'portMappings': [{'hostPort': 10000 + i, 'containerPort': 80, 'protocol': protocol}]}, {'bandwidth': LIMITS}


def berth_confs(case, i, leases, more):
    conf = {**network(leases), 'type': 'berth-cni', **more}
    if case in ('bridge', 'ptp'):
        conf['ipMasq'] = True
    elif case != 'single':
        ports, limits = extras(case, i)
        conf.update(ipMasq=True, hairpinMode=True, ingressPolicy='open', runtimeConfig={**ports, **limits},
                    capabilities={'portMappings': True, 'bandwidth': True})
    return [conf]


def upstream_ptp(leases):
    conf = {**network(leases), 'type': 'ptp', 'ipMasq': True}
    return [{**conf, 'ipam': {**conf['ipam'], 'routes': [{'dst': '0.0.0.0/0'}]}}]


def upstream_confs(case, i, leases):
    if case == 'ptp':
        return upstream_ptp(leases)
    if case == 'bridge':
        return [{**network(leases), 'type': 'bridge', 'ipMasq': True}]
    base = {'cniVersion': '1.0.0', 'name': 'net'}
    bridge = {**network(leases), 'type': 'bridge'}
    if case == 'single':
        return [bridge]
    ports, limits = extras(case, i)
    return [{**bridge, 'ipMasq': True, 'hairpinMode': True},
            {**base, 'type': 'portmap', 'snat': True, 'capabilities': {'portMappings': True}, 'runtimeConfig': ports},
            {**base, 'type': 'firewall'},
            {**base, 'type': 'bandwidth', 'capabilities': {'bandwidth': True}, 'runtimeConfig': limits}]


class Variant:
    """name, and for a verb the processes of one pod: (program, arguments, conf or None)."""

    def __init__(self, name, build, directory=None, more=None):
        self.name, self.build, self.directory, self.more = name, build, directory, more or {}
        self.filler = None  # who makes the pods that are not looked at; None: this one
        self.wire_bytes = 0  # what the wire between nodes takes, beyond 64 KiB

    @classmethod
    def by_name(cls, build, scratch):
        """Upstream's list, run by us under its plugins' names."""
        for one in ('bridge', 'portmap', 'firewall', 'bandwidth', 'host-local', 'ptp'):
            os.symlink(build / 'cni' / 'berth-cni', scratch / one)
        return cls('berth, by name', build, scratch)

    def steps(self, verb, case, i, leases):
        if self.directory:
            confs = upstream_confs(case, i, leases)
            found = [(str(self.directory / one['type']), [one['type']], one) for one in confs]
            return found if verb == 'ADD' else found[::-1]
        if self.name.startswith('floor'):
            bridge = '-' if case == 'ptp' else 'br0'
            arguments = ['floor', verb, f'/run/netns/p{i}', f'c{i}', f'{leases}/net', bridge]
            return [(str(self.build / 'tests' / 'bench' / 'floor'), arguments, None)]
        conf, = berth_confs(case, i, leases, self.more)
        return [(str(self.build / 'cni' / 'berth-cni'), ['berth-cni'], conf)]


# --- a host: one process with namespaces of its own ---

IFLA_GSO_MAX_SIZE, IFLA_GRO_MAX_SIZE, IFLA_GSO_IPV4_MAX_SIZE, IFLA_GRO_IPV4_MAX_SIZE = 41, 58, 63, 64


def take_big_packets(link, size):
    """As ip link set gso_max_size and the rest, of which iproute2 6.1 has only the first."""
    kinds = IFLA_GSO_MAX_SIZE, IFLA_GRO_MAX_SIZE, IFLA_GSO_IPV4_MAX_SIZE, IFLA_GRO_IPV4_MAX_SIZE
    body = struct.pack('=BxHiII', 0, 0, socket.if_nametoindex(link), 0, 0)
    body += b''.join(struct.pack('=HHI', 8, kind, size) for kind in kinds)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as rtnl:
        rtnl.send(struct.pack('=IHHII', 16 + len(body), 16, 5, 1, 0) + body)  # RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK
        assert struct.unpack_from('=i', rtnl.recv(4096), 16) == (0,)


class Host:
    def __init__(self, variant, case, n_pods):
        self.variant, self.case, self.n_pods = variant, case, n_pods
        self.results = {}
        self.translate = str  # of configurations

    def enter(self):
        check(LIBC.unshare(CLONE_NEWNET | CLONE_NEWNS))
        check(LIBC.mount(None, b'/', None, MS_REC | MS_PRIVATE, None))
        check(LIBC.mount(b'tmpfs', b'/run', b'tmpfs', 0, None))
        os.mkdir('/run/netns')
        self.leases = tempfile.mkdtemp(prefix='berth-bench-', dir='/var/tmp')
        # Without an address of the node the kernel looks through all links for one, for each route (inet_select_addr).
        subprocess.run('ip link set lo up; ip link add eth0 type veth peer name wire; ip link set wire up; '
                       'ip addr add 192.0.2.1/24 dev eth0; ip link set eth0 up; ip route add default via 192.0.2.2',
                       shell=True, check=True)
        for i in range(self.n_pods):
            self.make_netns(f'/run/netns/p{i}')
        if self.variant.name.startswith('floor'):
            os.makedirs(f'{self.leases}/net/.berth')
            subprocess.run('ip link add br0 type bridge; ip addr add 10.1.0.1/16 dev br0; ip link set br0 up',
                           shell=True, check=True)

    @staticmethod
    def make_netns(path):
        with open(path, 'w', encoding='utf-8'):
            pass
        pid = os.fork()
        if pid == 0:
            check(LIBC.unshare(CLONE_NEWNET))
            check(LIBC.mount(b'/proc/self/ns/net', os.fsencode(path), None, MS_BIND, None))
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0

    def leave(self):
        subprocess.run(['rm', '-rf', self.leases], check=True)

    def spawn(self, verb, i, program, arguments, conf, prefix=()):
        """One plugin. Return: its stdout, wait4's usage."""
        fds = [os.memfd_create('in'), os.memfd_create('out')]
        if conf is not None:
            previous = self.results.get(i)
            text = json.dumps({**conf, 'prevResult': previous} if previous else conf)
            os.write(fds[0], self.translate(text).encode())
            os.lseek(fds[0], 0, os.SEEK_SET)
        null = os.open('/dev/null', os.O_WRONLY)
        env = {'CNI_COMMAND': verb, 'CNI_CONTAINERID': f'c{i}', 'CNI_NETNS': f'/run/netns/p{i}', 'CNI_IFNAME': 'eth0',
               'CNI_PATH': str(self.variant.directory or self.variant.build / 'cni'),
               'CNI_ARGS': f'IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=p{i}',
               'PATH': '/usr/sbin:/usr/bin:/sbin:/bin'}
        actions = [(os.POSIX_SPAWN_DUP2, fds[0], 0), (os.POSIX_SPAWN_DUP2, fds[1], 1), (os.POSIX_SPAWN_DUP2, null, 2)]
        argv = [*prefix, program, *arguments[1:]] if prefix else arguments
        pid = os.posix_spawnp(prefix[0] if prefix else program, argv, env, file_actions=actions)
        _, status, usage = os.wait4(pid, 0)
        output = os.pread(fds[1], 1 << 20, 0)
        for fd in (*fds, null):
            os.close(fd)
        if status:
            raise RuntimeError(f'{self.variant.name} {verb} {program}: {output.decode()}')
        return output, usage

    def fill(self, first, end):
        """The pods from first on, by whoever is quick at it."""
        own = self.variant
        self.variant = own.filler or own
        for i in range(first, end):
            self.run('ADD', i)
            if own.filler and self.case == 'bridge':
                self.look(i)
        self.variant = own

    @staticmethod
    def look(i):
        """Upstream's bridge opens these in the pod, and the kernel remembers it (common/mount/procfs.h)."""
        with open('/proc/self/ns/net', 'rb') as back, open(f'/run/netns/p{i}', 'rb') as pod:
            check(LIBC.setns(pod.fileno(), CLONE_NEWNET))
            for one in ('ipv6/conf/eth0/accept_dad', 'ipv4/conf/eth0/arp_notify'):
                os.close(os.open(f'/proc/sys/net/{one}', os.O_RDONLY))
            check(LIBC.setns(back.fileno(), CLONE_NEWNET))

    def run(self, verb, i, prefix=()):
        """All plugins of one pod. Return: wall ms, CPU ms, page faults."""
        steps = self.variant.steps(verb, self.case, i, self.leases)
        cpu = faults = 0
        start = time.perf_counter()
        for program, arguments, conf in steps:
            output, usage = self.spawn(verb, i, program, arguments, conf, prefix)
            cpu += usage.ru_utime + usage.ru_stime
            faults += usage.ru_minflt
            if verb == 'ADD' and conf is not None:
                self.results[i] = json.loads(output)
        wall = time.perf_counter() - start
        if verb == 'DEL':
            self.results.pop(i, None)
        return wall * 1000, cpu * 1000, faults

    def count(self, verb, i):
        """Execs and system calls of the whole tree, by strace."""
        with tempfile.NamedTemporaryFile() as log:
            self.run(verb, i, ['strace', '-f', '-A', '-a0', '-e', 'signal=none', '-o', log.name])
            lines = pathlib.Path(log.name).read_text(encoding='utf-8', errors='replace').splitlines()
        calls = [one for one in lines if '(' in one and 'resumed>' not in one]
        return sum('execve(' in one and '= 0' in one or 'execve(' in one and 'unfinished' in one for one in calls), \
            len(calls)

    def at_once(self, verb, n_workers):
        """Every pod. Return: per second."""
        start = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(n_workers) as pool:
            list(pool.map(lambda i: self.run(verb, i), range(self.n_pods)))
        return self.n_pods / (time.perf_counter() - start)

    def pair(self):
        """Two pods of this node."""
        for i in range(2):
            self.run('ADD', i)

    def pair_of_nodes(self):
        """A pod of this node, one of another, and the wire between."""
        self.run('ADD', 1)
        for link in ('eth0', 'wire') if self.variant.wire_bytes else ():
            take_big_packets(link, self.variant.wire_bytes)
        self.make_netns('/run/netns/node')
        node = ['nsenter', '--net=/run/netns/node']
        subprocess.run(['ip', 'link', 'set', 'wire', 'netns', 'node'], check=True)
        subprocess.run([*node, 'sh', '-c', 'ip link set lo up; ip addr add 192.0.2.2/24 dev wire; ip link set wire up; '
                        'ip route add 10.1.0.0/16 via 192.0.2.1'], check=True)
        subprocess.run('ip route add 10.2.0.0/16 via 192.0.2.2', shell=True, check=True)
        self.translate = lambda text: text.replace('10.1.0.0/16', '10.2.0.0/16').replace('"net"', '"far"')
        self.run('ADD', 0, node)

    def flow(self, tool):
        """Gigabits per second of 1 and 4 streams, microseconds of a round trip, from the second pod to the first."""
        inside = ['nsenter', '--net=/run/netns/p0']
        address = self.results[0]['ips'][0]['address'].split('/')[0]
        with subprocess.Popen([*inside, tool, 'serve', '5000'], stdout=subprocess.PIPE, text=True) as server:
            server.stdout.readline()

            def ask(*argv):
                command = ['nsenter', '--net=/run/netns/p1', tool, argv[0], address, '5000', *argv[1:]]
                return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

            found = ask('stream', '3', '1'), ask('stream', '3', '4'), ask('turn', '2')
            server.kill()
        return found


def serve(connection, host):
    host.enter()
    try:
        while True:
            name, arguments = connection.recv()
            if name == 'leave':
                break
            connection.send(getattr(host, name)(*arguments))
    finally:
        host.leave()


class Remote:
    """A Host in its own process."""

    def __init__(self, variant, case, n_pods):
        # ext4 looks past inodes that were freed in the last 5 s, one by one: the files of the host before.
        time.sleep(SETTLE_SECONDS if settle.pop('needed', False) else 0)
        self.variant = variant
        self.connection, other = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=serve, args=(other, Host(variant, case, n_pods)))
        self.process.start()

    def __call__(self, name, *arguments):
        self.connection.send((name, arguments))
        while not self.connection.poll(0.1):
            if not self.process.is_alive():
                raise RuntimeError(f'{self.variant.name}: its host died')
        return self.connection.recv()

    def close(self):
        settle['needed'] = True
        if self.process.is_alive():
            self.connection.send(('leave', ()))
        self.process.join()


SETTLE_SECONDS = 6
settle = {}


# --- the parts ---

def table(title, header, rows):
    print(f'\n### {title}\n')
    widths = [max(len(str(row[i])) for row in [header, *rows]) for i in range(len(header))]
    for row in (header, ['-' * one for one in widths], *rows):
        print('| ' + ' | '.join(str(one).ljust(width) for one, width in zip(row, widths)) + ' |')
    sys.stdout.flush()


def summary(samples):
    wall = sorted(one[0] for one in samples)
    return {'p50': statistics.median(wall), 'p99': wall[int(len(wall) * 0.99)], 'min': wall[0],
            'cpu': statistics.fmean(one[1] for one in samples), 'faults': statistics.median(one[2] for one in samples)}


def one_by_one(case, variants, n_pods):
    """ADD of every pod, then DEL, variants in turns."""
    hosts = [Remote(one, case, n_pods + 3) for one in variants]
    found = {one.name: {} for one in variants}
    try:
        for host in hosts:
            for verb in ('ADD', 'DEL'):
                host('run', verb, n_pods)  # tables, bridge, page cache
            host('run', 'ADD', n_pods + 1)
            found[host.variant.name] = {verb: dict(zip(('execs', 'calls'), host('count', verb, n_pods + 2)))
                                        for verb in ('ADD', 'DEL')}
        for verb in ('ADD', 'DEL'):
            samples = {one.name: [] for one in variants}
            for i in range(n_pods):
                for host in hosts:
                    samples[host.variant.name].append(host('run', verb, i))
            for name, one in samples.items():
                found[name][verb].update(summary(one))
    finally:
        for host in hosts:
            host.close()
    return found


def ratio(value, ours):
    return f'{value / ours:.1f}x'


def report_single(title, found, ours):
    for verb in ('ADD', 'DEL'):
        rows = []
        for name, one in found.items():
            data, base = one[verb], found[ours][verb]
            rows.append([name, f"{data['p50']:.2f}", f"{data['p99']:.1f}", f"{data['min']:.2f}", f"{data['cpu']:.2f}",
                         data['execs'], data['calls'], int(data['faults']), ratio(data['p50'], base['p50']),
                         ratio(data['cpu'], base['cpu'])])
        table(f'{title}: {verb}', ['', 'p50 ms', 'p99 ms', 'min ms', 'CPU ms', 'execs', 'system calls', 'page faults',
                                   f'p50 / {ours}', f'CPU / {ours}'], rows)


def many(variants, n_pods, n_workers=8):
    found = {}
    for variant in variants:
        host = Remote(variant, 'usual', n_pods)
        try:
            found[variant.name] = {verb: host('at_once', verb, n_workers) for verb in ('ADD', 'DEL')}
        finally:
            host.close()
    ours = found['berth']
    header = ['', 'ADD/s', 'DEL/s', 'ADD: berth is', 'DEL: berth is']
    table(f'{n_workers} at once, {n_pods} pods, the usual pod', header,
          [[name, f"{one['ADD']:.1f}", f"{one['DEL']:.1f}", ratio(ours['ADD'], one['ADD']),
            ratio(ours['DEL'], one['DEL'])] for name, one in found.items()])
    return found


def growth_of(variant, case, n_pods, n_looked):
    """Rows of one variant: first and last ADDs, first and last DELs."""
    host = Remote(variant, case, n_pods + 2)
    try:
        host('run', 'ADD', n_pods)
        few = host('count', 'ADD', n_pods + 1)
        samples = [host('run', 'ADD', i) for i in range(n_pods)]
        host('run', 'DEL', n_pods + 1)
        full = host('count', 'ADD', n_pods + 1)
        gone = [host('run', 'DEL', i) for i in range(n_pods)]
    finally:
        host.close()
    parts = (('ADD, first pods', samples[:n_looked], few[1]),
             (f'ADD, last of {n_pods}', samples[-n_looked:], full[1]),
             (f'DEL, first of {n_pods}', gone[:n_looked], ''), ('DEL, last pods', gone[-n_looked:], ''))
    return [[f'{variant.name}: {name}', f"{summary(one)['p50']:.2f}", f"{summary(one)['cpu']:.2f}", calls]
            for name, one, calls in parts]


def growth(berth, floor, n_pods=1000, n_looked=50):
    """The kernel's own work on a bridge grows with its ports: the floor shows how much of it is that."""
    rows = growth_of(berth, 'usual', n_pods, n_looked) + growth_of(floor, 'single', n_pods, n_looked)
    table('Growth: the usual pod, and the floor of one without rules', ['', 'p50 ms', 'CPU ms', 'system calls'], rows)
    return rows


def routed(variants, marks=(0, 1000, 4000), n_looked=20):
    """ADD and DEL with so many pods on the node. variants: (Variant, case, marks that it reaches). A node of upstream's
    plugins is filled by us under their names, which leaves the same links, addresses, routes and leases."""
    rows, found = [], {}
    for variant, case, last in variants:
        host = Remote(variant, case, last + n_looked)
        try:
            there = 0
            for mark in [one for one in marks if one <= last]:
                host('fill', there, mark)
                there = mark
                samples = {verb: [host('run', verb, last + i) for i in range(n_looked)] for verb in ('ADD', 'DEL')}
                found[variant.name, mark] = {verb: summary(one) for verb, one in samples.items()}
        finally:
            host.close()
    ours = variants[0][0].name
    for (name, mark), one in found.items():
        base = found[ours, mark]
        rows.append([name, mark, *(f"{one[verb][key]:.2f}" for verb in ('ADD', 'DEL') for key in ('p50', 'min', 'cpu')),
                     *(ratio(one[verb]['p50'], base[verb]['p50']) for verb in ('ADD', 'DEL'))])
    table('With so many pods on the node', ['', 'pods', 'ADD p50 ms', 'min', 'CPU', 'DEL p50 ms', 'min', 'CPU',
                                           f'ADD / {ours}', f'DEL / {ours}'], rows)
    return rows


def routed_variants(build, named, peers):
    ours = Variant('berth, routed', build, more={'mode': 'routed'})
    found = [(ours, 'ptp', 4000), (Variant('berth', build), 'bridge', 1000),
             (Variant('floor, routed', build), 'ptp', 4000), (Variant('floor, bridge', build), 'bridge', 1000)]
    for peer in peers:
        for case, last in (('ptp', 4000), ('bridge', 1000)):
            one = Variant(f'{peer.name}, {case}', build, peer.directory)
            one.filler = named
            found.append((one, case, last))
    return found


def flow(variants, build, rounds, how, title):
    hosts = [Remote(one, 'single', 2) for one in variants]
    found = {one.name: [] for one in variants}
    try:
        for host in hosts:
            host(how)
        for _ in range(rounds):
            for host in hosts:
                found[host.variant.name].append(host('flow', str(build / 'tests' / 'bench' / 'flow')))
    finally:
        for host in hosts:
            host.close()
    table(f'{title}, median of {rounds} rounds', ['', '1 stream Gb/s', '4 streams Gb/s', 'round trip us'],
          [[name, *(f'{statistics.median(one[i] for one in all_rounds):.2f}' for i in range(3))]
           for name, all_rounds in found.items()])
    return found


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument('--build', type=pathlib.Path, default=SOURCE / 'build')
    parser.add_argument('--peer', type=pathlib.Path, action='append', default=[])
    parser.add_argument('--pods', type=int, default=40)
    parser.add_argument('--rounds', type=int, default=8)
    parser.add_argument('--json', type=pathlib.Path)
    parser.add_argument('part', nargs='*')
    options = parser.parse_args()
    build = options.build.resolve()
    parts = options.part or ['single', 'usual', 'full', 'udp', 'many', 'growth', 'routed', 'flow', 'far']
    peers = []
    for directory in [DEBIAN, *options.peer]:
        if (directory / 'bridge').exists():
            version = directory / 'VERSION'
            name = 'Debian 1.1.1' if directory == DEBIAN else version.read_text().strip() if version.exists() else \
                directory.name
            peers.append(Variant(f'upstream {name}', build, directory.resolve()))
    berth, floor = Variant('berth', build), Variant('floor', build)
    waiting = Variant('berth, waiting', build, more={'linkRemoval': 'wait'})
    scratch = tempfile.TemporaryDirectory(prefix='berth-names-')
    named = Variant.by_name(build, pathlib.Path(scratch.name))
    # A run of short processes must not be punished for being one of many.
    try:
        pathlib.Path('/proc/self/autogroup').write_text('-15', encoding='utf-8')
    except OSError:
        pass
    results = {}
    for case, title in (('single', 'bridge + host-local'), ('usual', 'the usual pod of a cluster'),
                        ('full', 'with a host port and limits'), ('udp', 'with a UDP host port and limits')):
        if case in parts:
            variants = [*([floor] if case == 'single' else []), berth, waiting, named, *peers]
            results[case] = one_by_one(case, variants, options.pods)
            report_single(title, results[case], 'berth')
    if 'many' in parts:
        results['many'] = many([berth, waiting, named, *peers], max(options.pods, 32))
    if 'growth' in parts:
        results['growth'] = growth(berth, floor)
    if 'routed' in parts:
        results['routed'] = routed(routed_variants(build, named, peers[-1:]))
    if 'flow' in parts or 'far' in parts:
        more = {'macspoofchk': {'macspoofchk': True}, 'gsoMaxSize': {'gsoMaxSize': 196608},
                'routed': {'mode': 'routed'}, 'routed, gsoMaxSize': {'mode': 'routed', 'gsoMaxSize': 196608}}
        found = [Variant(f'berth, {name}', build, more=keys) for name, keys in more.items()]
        for part, how, title in (('flow', 'pair', 'Pod to pod'), ('far', 'pair_of_nodes', 'From node to node')):
            if part in parts:
                results[part] = flow([berth, *found, *peers[-1:]], build, options.rounds, how, title)
            for one in list(found):
                if part == 'flow' and 'gsoMaxSize' in one.more:
                    found.append(Variant(f'{one.name}, wire too', build, more=one.more))
                    found[-1].wire_bytes = one.more['gsoMaxSize']
    if options.json:
        options.json.write_text(json.dumps(results, indent=1), encoding='utf-8')


if __name__ == '__main__':
    main()
