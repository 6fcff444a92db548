# SPDX-License-Identifier: Apache-2.0
"""A node with pods and a machine outside, for tests of rules: real nftables, real traffic.

The sandbox is the node. It reaches the machine "outside" over a pair: node 192.0.2.1 and 2001:db8::1, outside
192.0.2.2 and 2001:db8::2.
"""

import json
import pathlib
import subprocess
import time

import cni

TALK = str(pathlib.Path(__file__).parent / 'talk.py')
PYTHON = '/usr/bin/python3'

NODE = '192.0.2.1'
NODE_SECOND = '192.0.2.3'
OUTSIDE = '192.0.2.2'
NODE6 = '2001:db8::1'
OUTSIDE6 = '2001:db8::2'


def sh(*argv, check=True):
    return subprocess.run(list(map(str, argv)), check=check, capture_output=True, text=True, timeout=60)


def wait_for(condition, seconds=60, what='waited in vain'):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


class Pod:
    def __init__(self, node, name, netns, result, conf):
        self.node, self.name, self.netns, self.result, self.conf = node, name, netns, result, conf
        addresses = [one['address'].split('/')[0] for one in result.get('ips', [])]
        self.address = next((one for one in addresses if ':' not in one), None)
        self.address6 = next((one for one in addresses if ':' in one), None)

    @property
    def host_link(self):
        return next(one['name'] for one in self.result['interfaces']
                    if not one.get('sandbox') and one['name'].startswith('veth'))


class Node:
    def __init__(self, sandbox, build):
        self.sandbox, self.build = sandbox, build
        self.plugin = cni.Plugin(build)
        self.outside = sandbox.netns('outside')
        self.servers = []
        sh('ip', 'link', 'add', 'uplink', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', 'outside')
        # Neighbours cannot be asked before the link-local address is proven, which takes a second.
        sh('sysctl', '-qw', 'net.ipv6.conf.uplink.accept_dad=0', 'net.ipv6.conf.default.accept_dad=0')
        self.outside.run('sysctl', '-qw', 'net.ipv6.conf.eth0.accept_dad=0')
        sh('ip', 'addr', 'add', f'{NODE}/24', 'dev', 'uplink')
        sh('ip', 'addr', 'add', f'{NODE_SECOND}/24', 'dev', 'uplink')
        sh('ip', 'addr', 'add', f'{NODE6}/64', 'dev', 'uplink', 'nodad')
        sh('ip', 'link', 'set', 'uplink', 'up')
        self.outside.run('ip', 'link', 'set', 'lo', 'up')
        self.outside.run('ip', 'addr', 'add', f'{OUTSIDE}/24', 'dev', 'eth0')
        self.outside.run('ip', 'addr', 'add', f'{OUTSIDE6}/64', 'dev', 'eth0', 'nodad')
        self.outside.run('ip', 'link', 'set', 'eth0', 'up')
        wait_for(lambda: 'fe80:' in self.outside.run('ip', '-6', 'addr').stdout)

    def conf(self, **more):
        """One entry with everything, dual stack on request (ranges)."""
        base = {
            'cniVersion': '1.1.0', 'name': 'net', 'type': 'berth-cni', 'bridge': 'cni0',
            'isDefaultGateway': True, 'hairpinMode': True,
            'ipam': {'type': 'host-local', 'dataDir': str(self.sandbox.path / 'leases'),
                     'ranges': [[{'subnet': '10.1.0.0/16'}], [{'subnet': 'fd00:1::/64'}]]},
        }
        return {**base, **more}

    def add(self, conf, name, plugin=None, **kwargs):
        """ADD that must succeed, in a new namespace of that name."""
        netns = self.sandbox.netns(name)
        result = (plugin or self.plugin).add(conf, netns, container(name), **kwargs).ok()
        return Pod(self, name, netns, result, conf)

    def delete(self, pod, plugin=None, **kwargs):
        done = (plugin or self.plugin).delete(kwargs.pop('conf', pod.conf), kwargs.pop('netns', pod.netns),
                                              container(pod.name), result=kwargs.pop('result', pod.result), **kwargs)
        done.ok()
        return done

    def check(self, pod, plugin=None, **kwargs):
        return (plugin or self.plugin).check(kwargs.pop('conf', pod.conf), pod.netns, container(pod.name),
                                             result=pod.result, **kwargs)

    def _argv(self, netns, *argv):
        return netns.argv(PYTHON, TALK, *argv) if netns else [PYTHON, TALK, *map(str, argv)]

    def serve(self, netns, protocol, port, name):
        """netns None: on the node itself."""
        process = subprocess.Popen(self._argv(netns, 'serve', protocol, port, name), stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == 'ready\n'
        self.servers.append(process)
        return process

    def ask(self, netns, protocol, address, port, *source, seconds=10):
        """The answer; 'none' after so many seconds without one, longer than TCP and neighbours take to try again."""
        done = subprocess.run(self._argv(netns, 'ask', protocol, address, port, seconds, *source), check=True,
                              capture_output=True, text=True, timeout=60)
        return done.stdout.strip()

    def is_silent(self, *question):
        return self.ask(*question, seconds=1) == 'none'

    def megabits(self, server, client, address, port=5000, seconds=2):
        """What flows from client to server, in megabits per second."""
        process = subprocess.Popen(self._argv(server, 'drain', port), stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == 'ready\n'
        subprocess.run(self._argv(client, 'fill', address, port, seconds), check=True, timeout=seconds + 30)
        total, took = process.stdout.readline().split()
        process.wait()
        return int(total) * 8 / 1e6 / float(took)


def container(name):
    """An ID as a runtime makes it, 64 hexadecimal digits, from a pod's name."""
    return (name.encode().hex() + '0' * 64)[:64]


def link_json():
    """Links of the node."""
    return json.loads(sh('ip', '-json', '-details', 'link').stdout)


def ruleset(run=sh):
    return json.loads(run('nft', '-j', 'list', 'ruleset').stdout)['nftables']


def ruleset_text():
    return sh('nft', 'list', 'ruleset').stdout


def elements(name=None, family=None, run=sh):
    """Elements of Berth's sets: (family, set, element), comments taken off; of one set, or of all that pods have.
    @run starts a command on the node."""
    found = []
    for item in ruleset(run):
        for kind in ('set', 'map'):
            one = item.get(kind)
            if not one or one['table'] != 'berth' or name not in (None, one['name']):
                continue
            if name is None and one['name'] in ('service-addresses', 'localnet'):
                continue  # of the node
            if family not in (None, one['family']):
                continue
            for element in one.get('elem', []):
                found.append((one['family'], one['name'], json.dumps(element)))
    return found
