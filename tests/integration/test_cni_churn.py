# SPDX-License-Identifier: Apache-2.0
"""A node's day, compressed: pods come and go 30 at once, calls are killed, rules are flushed and restored in between.

Nothing is left, nothing is lost, nothing grows. BERTH_CHURN_WHOLE=1: 20,000 calls instead of a sample.
"""

import base64
import concurrent.futures
import json
import os
import pathlib
import random
import subprocess

import pytest

import cni
import node as lib

WHOLE = bool(os.environ.get('BERTH_CHURN_WHOLE'))
N_CALLS, N_SLOTS, AT_ONCE = (20000, 120, 30) if WHOLE else (240, 45, 30)
LIMITS = {'ingressRate': 8000000, 'ingressBurst': 800000, 'egressRate': 8000000, 'egressBurst': 800000}
KILLED = 137


class Slot:
    """A namespace, in which one pod after the other lives."""

    def __init__(self, churn, i):
        self.churn, self.i, self.generation = churn, i, 0
        self.netns = churn.node.sandbox.netns(f's{i}')
        self.conf = self.result = None

    @property
    def container(self):
        return lib.container(f's{self.i}g{self.generation}')

    def renew(self):
        self.netns.delete()
        self.netns = self.churn.node.sandbox.netns(f's{self.i}g{self.generation}')

    def note(self):
        return self.churn.cache / 'results' / f'{self.conf["name"]}-{self.container}-eth0'


class Churn:
    def __init__(self, node, build, seed):
        self.node, self.random = node, random.Random(seed)
        self.kill_at = str(pathlib.Path(build) / 'tests' / 'lib' / 'kill-at')
        self.plugin = cni.Plugin(build)
        self.cache, programs = node.sandbox.path / 'cache', node.sandbox.path / 'bin'
        (self.cache / 'results').mkdir(parents=True)
        programs.mkdir()
        (programs / 'berth-cni').symlink_to(self.plugin.program)
        self.programs = programs
        self.slots = [Slot(self, i) for i in range(N_SLOTS)]
        self.saved = None
        self.counts = {'ADD': 0, 'DEL': 0, 'killed': 0}

    # --- one call ---

    def new_conf(self, slot):
        """Everything that pods have, in turns: bridge and routed, one family and two, ports, limits."""
        i, dice = slot.i, self.random
        routed = i % 3 == 0
        ranges = [[{'subnet': f'10.{2 if routed else 1}.0.0/16'}], [{'subnet': f'fd00:{2 if routed else 1}::/64'}]]
        conf = {'cniVersion': '1.1.0', 'name': 'far' if routed else 'net', 'type': 'berth-cni',
                'isDefaultGateway': True, 'ipMasq': True, 'firewall': True, 'macspoofchk': True,
                'ipam': {'type': 'host-local', 'dataDir': str(self.node.sandbox.path / 'leases'),
                         'ranges': ranges[:dice.choice((1, 2))]}}
        conf |= {'mode': 'routed'} if routed else {'bridge': 'cni0', 'hairpinMode': True}
        runtime = {}
        if dice.random() < 0.4:
            runtime['portMappings'] = [{'hostPort': 10000 + i, 'containerPort': 80,
                                        'protocol': 'udp' if dice.random() < 0.1 else 'tcp'}]
        if dice.random() < 0.2:
            runtime['bandwidth'] = LIMITS
        return {**conf, 'runtimeConfig': runtime} if runtime else conf

    def call(self, verb, slot, kill=0, result=None):
        """Return: what it printed; None when it was killed."""
        wrapper = [self.kill_at, str(kill)] if kill else []
        args = cni.KUBERNETES_ARGS % slot.container if slot.i % 2 else None
        done = self.plugin.exec(verb, cni.with_result(slot.conf, result), wrapper=wrapper, netns=slot.netns.path,
                                container_id=slot.container, ifname='eth0', args=args, timeout=120,
                                **({'extra': {'ASAN_OPTIONS': 'detect_leaks=0'}} if kill else {}))
        self.counts[verb] += 1
        if kill and done.code == KILLED:
            self.counts['killed'] += 1
            return None
        return done.ok() or {}

    def add(self, slot, kill):
        slot.generation += 1
        result = self.call('ADD', slot, kill)
        if result is None:
            # As a runtime: it deletes what it knows nothing of; or it was killed as well, and the namespace is gone.
            if kill % 2:
                self.call('DEL', slot)
            else:
                slot.renew()
            slot.conf = None
            return
        slot.result = result
        plugin = {key: value for key, value in slot.conf.items() if key not in ('name', 'cniVersion', 'runtimeConfig')}
        runtime = slot.conf.get('runtimeConfig', {})
        plugin['capabilities'] = {'portMappings': True, 'bandwidth': True}
        conflist = {'cniVersion': '1.1.0', 'name': slot.conf['name'], 'plugins': [plugin]}
        slot.note().write_text(json.dumps({
            'kind': 'cniCacheV1', 'containerId': slot.container, 'networkName': slot.conf['name'], 'ifName': 'eth0',
            'netns': slot.netns.path, 'config': base64.b64encode(json.dumps(conflist).encode()).decode(),
            'capabilityArgs': runtime, 'result': result}))

    def delete(self, slot, kill, told):
        if self.call('DEL', slot, kill, slot.result if told else None) is None or kill:
            self.call('DEL', slot, 0, slot.result if told else None)
        slot.note().unlink()
        slot.conf = slot.result = None

    def turn(self, slot, kill, told):
        if slot.conf:
            self.delete(slot, kill, told)
        else:
            slot.conf = self.new_conf(slot)
            self.add(slot, kill)

    def batch(self):
        slots = self.random.sample(self.slots, AT_ONCE)
        dice = [(self.random.randrange(1, 140) if self.random.random() < 0.08 else 0, self.random.random() < 0.9)
                for _ in slots]
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            running = [pool.submit(self.turn, slot, *one) for slot, one in zip(slots, dice)]
            for one in running:
                one.result()

    # --- what others do ---

    def live(self):
        return [one for one in self.slots if one.conf]

    def command(self, name):
        return subprocess.run([self.plugin.program, name, '--cache-dir', self.cache, '--bin-dir', self.programs],
                              capture_output=True, text=True, timeout=300, check=False)

    def collect(self):
        for name in ('net', 'far'):
            conf = {**self.new_conf(self.slots[0 if name == 'far' else 1]), 'name': name}
            self.plugin.gc(conf, [(one.container, 'eth0') for one in self.live() if one.conf['name'] == name]).ok()

    def disturb(self):
        what = self.random.choice(('flush', 'restore', 'switch', 'nothing'))
        if what == 'flush':
            lib.sh('nft', 'flush', 'ruleset')
        elif what == 'restore' and self.saved:
            # A ruleset that was saved while other pods lived.
            lib.sh('nft', 'flush', 'ruleset')
            lib.sh('nft', '-f', self.saved)
        elif what == 'switch':
            lib.sh('sysctl', '-qw', 'net.ipv4.ip_forward=0')
        self.collect()
        done = self.command('repair')
        assert done.returncode == 0, (what, done.stdout, done.stderr)
        path = self.node.sandbox.path / 'saved.nft'
        path.write_text(lib.ruleset_text())
        self.saved = path
        return what

    # --- what has to be true ---

    def audit(self, what):
        live = self.live()
        done = self.command('check')
        assert done.returncode == 0, (what, done.stdout, done.stderr)
        for name in ('net', 'far'):
            directory = self.node.sandbox.path / 'leases' / name
            leases = sorted(one for one in os.listdir(directory) if one[0].isdigit() or ':' in one) \
                if directory.exists() else []
            wanted = sorted(ip['address'].split('/')[0] for one in live if one.conf['name'] == name
                            for ip in one.result['ips'])
            assert leases == wanted and len(set(wanted)) == len(wanted), (what, leases, wanted)
        ports = [one['ifname'] for one in lib.link_json() if one['ifname'].startswith(('veth', 'bwp'))]
        n_limited = sum('bandwidth' in one.conf.get('runtimeConfig', {}) for one in live)
        assert len(ports) == len(live) + n_limited, (what, ports)

    def shape(self):
        """What of the ruleset does not belong to pods: chains, rules, sets without their elements."""
        kept = []
        for item in lib.ruleset():
            for kind, one in item.items():
                if kind in ('chain', 'rule', 'set', 'map') and one['table'] == 'berth':
                    kept.append((kind, one['family'], one.get('name') or one.get('chain')))
        return sorted(kept)


@pytest.mark.deadline(7200 if WHOLE else 300)
def test_churn(sandbox, build):
    seed = int(os.environ.get('BERTH_CHURN_SEED', random.randrange(1 << 32)))
    print(f'BERTH_CHURN_SEED={seed}')
    node = lib.Node(sandbox, build)
    churn = Churn(node, build, seed)
    shapes = []
    n_batches = 0
    while churn.counts['ADD'] + churn.counts['DEL'] < N_CALLS:
        churn.batch()
        n_batches += 1
        if n_batches % (4 if WHOLE else 2) == 0:
            churn.audit(churn.disturb())
            shapes.append(churn.shape())
    print(churn.counts)
    for slot in churn.live():
        churn.delete(slot, 0, True)
    churn.collect()
    churn.audit('the end')
    lib.wait_for(lambda: [one['ifname'] for one in lib.link_json()] == ['lo', 'uplink', 'cni0'])
    index = [name for one in ('net', 'far') for name in os.listdir(node.sandbox.path / 'leases' / one / '.berth')]
    assert lib.elements() == [] and index == ['boot', 'boot']
    assert not list((churn.cache / 'results').iterdir())
    # Each set and chain is there once, and no rule comes twice, after however many rounds.
    last = churn.shape()
    assert all(last.count(one) == 1 for one in last if one[0] != 'rule')
    assert len(last) <= max(len(one) for one in shapes[:3])
    for slot in churn.slots:
        assert [one['ifname'] for one in slot.netns.ip('link')] == ['lo']
