# SPDX-License-Identifier: Apache-2.0
"""Whose an interface is: one attachment in two namespaces, a path that another pod has by now, repair beside DEL."""

import json
import os
import pathlib
import shutil
import signal
import subprocess

import pytest

import cni
import node as lib
from node import NODE
from test_cni_repair import PORTS, Cache


@pytest.fixture(name='node')
def node_fixture(sandbox, build):
    return lib.Node(sandbox, build)


def leases(node):
    return sorted(one.name for one in (node.sandbox.path / 'leases' / 'net').iterdir() if one.name[0] in '1f')


def addresses(pod):
    return sorted(one['local'] for one in json.loads(pod.netns.run('ip', '-json', 'addr', 'show', 'eth0').stdout)[0]
                  ['addr_info'] if one['scope'] == 'global')


def ranges(node, *subnets):
    return {**node.conf()['ipam'], 'ranges': [[{'subnet': one}] for one in subnets]}


@pytest.mark.parametrize('ipam', [(), ('10.1.128.0/17', 'fd00:1::/64'), ('10.2.0.0/16',)], ids=['same', 'other', 'one'])
def test_add_elsewhere(node, ipam):
    """A pair of the attachment in another namespace that is used: no lease is released, no link removed."""
    pod = node.add(node.conf(), 'a')
    before = leases(node), addresses(pod), pod.host_link
    again = node.sandbox.netns('again')
    conf = node.conf(ipam=ranges(node, *ipam)) if ipam else node.conf()
    error = node.plugin.add(conf, again, lib.container('a')).failed()
    assert f'{lib.container("a")} has eth0 in another network namespace' in error.get('details', error['msg'])
    assert (leases(node), addresses(pod), pod.host_link) == before
    assert pod.host_link in lib.sh('ip', 'link').stdout and 'eth0' not in again.run('ip', 'link').stdout
    assert node.check(pod).code == 0
    # Held by a process alone, without a path, it is used all the same.
    with subprocess.Popen(pod.netns.argv('cat'), stdin=subprocess.PIPE) as holder:
        inode = os.stat(pod.netns.path).st_ino
        lib.wait_for(lambda: os.stat(f'/proc/{holder.pid}/ns/net').st_ino == inode)
        lib.sh('ip', 'netns', 'del', 'a')
        assert 'is in use' in str(node.plugin.add(conf, again, lib.container('a')).failed())
        holder.kill()
    # Its DEL was lost, and the namespace is not used any more, once the kernel has let go of it.
    tries = []
    lib.wait_for(lambda: tries.append(node.plugin.add(node.conf(), again, lib.container('a'))) or tries[-1].code == 0)
    result = tries[-1].ok()
    assert leases(node) == sorted(one['address'].split('/')[0] for one in result['ips']) == before[0]


def test_add_elsewhere_of_a_chain(node, build):
    """The same where the pair is behind a name of its own: ptp, whose host's end is its gateway."""
    plugin = cni.Plugin(build, 'ptp')
    conf = {key: value for key, value in node.conf(type='ptp').items() if key in ('cniVersion', 'name', 'type', 'ipam')}
    pod = node.add(conf, 'a', plugin=plugin)
    before = leases(node)
    plugin.add({**conf, 'ipam': ranges(node, '10.2.0.0/16')}, node.sandbox.netns('again'), lib.container('a')).failed()
    assert leases(node) == before and addresses(pod)


@pytest.mark.parametrize('upstream', [False, True], ids=['alias', 'no-alias'])
def test_path_used_again(node, upstream):
    """The DEL was lost, and another pod is under the path that the note has: what the note says is of no pod."""
    cache = Cache(node)
    base = node.conf(ipMasq=True, firewall=True, macspoofchk=True, capabilities={'portMappings': True})
    plugin = {key: value for key, value in base.items() if key not in ('name', 'cniVersion')}
    old = node.add({**base, 'runtimeConfig': {'portMappings': PORTS}}, 'a')
    cache.note(old, [plugin], PORTS)
    lib.sh('ip', 'netns', 'del', 'a')
    lib.wait_for(lambda: old.host_link not in lib.sh('ip', 'link').stdout)
    if upstream:  # of a network of somebody else's, whose links have no alias
        netns = node.sandbox.netns('a')
        lib.sh('ip', 'link', 'add', 'other', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', 'a')
        netns.run('ip', 'addr', 'add', '10.9.0.9/24', 'dev', 'eth0')
        new = lib.Pod(node, 'b', netns, {}, base)
    else:
        netns = node.sandbox.netns('a')
        new = lib.Pod(node, 'b', netns, node.plugin.add(base, netns, lib.container('b')).ok(), base)
        cache.note(new, [plugin])
    before = addresses(new)
    for command in ('check', 'repair'):
        done = cache(command)
        assert done.returncode == 0 and not done.stdout, done.stdout + done.stderr
    assert addresses(new) == before
    assert lib.container('a') + ' eth0 10.1.0.2/16 fd00:1::2/64 8080:80/tcp (gone)' in cache('list').stdout
    (node.sandbox.path / 'net.conflist').write_text(json.dumps({'cniVersion': '1.1.0', 'name': 'net',
                                                                'plugins': [plugin]}))
    cache('gc', node.sandbox.path / 'net.conflist').check_returncode()
    left = {one for one in leases(node) if one in (old.address, old.address6)}
    assert not left and lib.container('a')[:12] not in lib.ruleset_text()
    assert addresses(new) == before


def waits_or_ended(process):
    """Is it behind another one of the same attachment: the holder's name, and its own connection to that?"""
    names = pathlib.Path('/proc/net/unix').read_text().count('@berth-cni/attachment/')
    return process.poll() is not None or names > 1


@pytest.mark.parametrize('at', [13, 19, 25, 31])  # from its look at a's elements to its last write
def test_repair_beside_del(node, tmp_path, at):
    """Repair stops after its AT-th message to the kernel, a DEL comes, repair goes on: nothing of the pod is left, and
    who gets the address next has nothing of it."""
    if not shutil.which('strace'):
        pytest.skip('needs strace')
    cache = Cache(node)
    base = node.conf(ipMasq=True, firewall=True, macspoofchk=True, capabilities={'portMappings': True})
    plugin = {key: value for key, value in base.items() if key not in ('name', 'cniVersion')}
    ports = {'runtimeConfig': {'portMappings': PORTS}}
    kept, pod = node.add(base, 'kept'), node.add({**base, **ports}, 'a')
    cache.note(kept, [plugin])
    cache.note(pod, [plugin], PORTS)
    lib.sh('nft', 'flush', 'ruleset')
    trace = tmp_path / 'trace'
    trace.touch()
    repair = subprocess.Popen(
        ['strace', '-D', '-q', '-o', trace, '-e', 'trace=sendmsg', '-e', f'inject=sendmsg:signal=STOP:when={at}',
         node.plugin.program, 'repair', '--cache-dir', cache.path, '--bin-dir', cache.bin], stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, env={**os.environ, 'ASAN_OPTIONS': 'detect_leaks=0'})
    lib.wait_for(lambda: repair.poll() is not None or 'stopped by SIGSTOP' in trace.read_text())
    conf = cni.with_result({**base, **ports}, pod.result)
    with subprocess.Popen([str(node.plugin.program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          env=node.plugin.environment('DEL', container_id=lib.container('a'), netns=pod.netns.path,
                                                      ifname='eth0')) as deletion:
        deletion.stdin.write(json.dumps(conf))
        deletion.stdin.close()
        lib.wait_for(lambda: waits_or_ended(deletion))
        repair.send_signal(signal.SIGCONT)
        said = repair.communicate()[0]
        assert deletion.wait() == 0, deletion.stdout.read()
    assert lib.container('a')[:12] not in lib.ruleset_text(), said
    taker = node.add({**base, 'capabilities': {'ips': True, 'portMappings': True},
                      'runtimeConfig': {'ips': [pod.address, pod.address6]}}, 'b')
    node.serve(taker.netns, 'tcp', 80, 'b')
    assert taker.address == pod.address and node.is_silent(node.outside, 'tcp', NODE, 8080)


def test_repair_within_del_of_a_chain(node):
    """Between the DELs of portmap and of bridge, which are two processes, the pair is there, and repair puts back."""
    cache, names = Cache(node), {'cniVersion': '1.0.0', 'name': 'net'}
    bridge = {'type': 'bridge', 'bridge': 'cni0', 'isGateway': True, 'ipMasq': True, 'ipam': node.conf()['ipam']}
    portmap = {'type': 'portmap', 'capabilities': {'portMappings': True}}
    pod = node.add({**bridge, **names}, 'a', plugin=cni.Plugin(node.build, 'bridge'))
    plugin, conf = cni.Plugin(node.build, 'portmap'), {**portmap, **names, 'runtimeConfig': {'portMappings': PORTS}}
    plugin.add(cni.with_result(conf, pod.result), pod.netns, lib.container('a')).ok()
    cache.note(pod, [bridge, portmap], PORTS)
    plugin.delete(conf, pod.netns, lib.container('a'), result=pod.result).ok()
    assert not lib.elements('ports')
    cache('repair').check_returncode()
    assert lib.elements('ports')
    node.delete(pod, plugin=cni.Plugin(node.build, 'bridge'))
    assert lib.elements() == []


def port(host_ip=None, protocol='tcp', host=7011):
    more = {'hostIP': host_ip} if host_ip else {}
    return {'hostPort': host, 'containerPort': 80, 'protocol': protocol, **more}


def published(node, name, *ports):
    """An ADD in a namespace of that name: conf, namespace, what came out."""
    conf = node.conf(capabilities={'portMappings': True}, runtimeConfig={'portMappings': list(ports)})
    netns = node.sandbox.netns(name)
    return conf, netns, node.plugin.add(conf, netns, lib.container(name))


@pytest.mark.parametrize('protocol', ['tcp', 'udp', 'sctp'])
@pytest.mark.parametrize('host_ip', [NODE, lib.NODE6])
def test_port_of_one_address_of_every_address(node, host_ip, protocol):
    """A port of every address has those of one: who comes later is told whose it is, and takes nothing away."""
    conf, netns, first = published(node, 'first', port(protocol=protocol))
    first.ok()
    error = published(node, 'second', port('192.0.2.77', protocol, 7010), port(host_ip, protocol))[2].failed()
    said = error.get('details', error['msg'])
    assert f'hostPort 7011/{protocol} of {host_ip} is taken by container {lib.container("first")}' in said
    assert lib.container('second')[:12] not in lib.ruleset_text()
    # The same pod may have both, and who is gone has nothing.
    node.plugin.delete(conf, netns, lib.container('first')).ok()
    published(node, 'third', port(host_ip, protocol), port(protocol=protocol))[2].ok()


def test_port_of_every_address_of_one_address(node):
    """The other way round, as upstream: who has it of one address keeps it, and the other one has the rest."""
    cache = Cache(node)
    pods = []
    for name, one in (('first', port(NODE)), ('second', port())):
        conf, netns, done = published(node, name, one)
        pods.append(lib.Pod(node, name, netns, done.ok(), conf))
        cache.note(pods[-1], [{key: conf[key] for key in conf if key not in ('name', 'cniVersion', 'runtimeConfig')}],
                   [one])
        node.serve(netns, 'tcp', 80, name)

    def answers():
        return [node.ask(node.outside, 'tcp', address, 7011).split()[0] for address in (NODE, lib.NODE_SECOND)]

    assert answers() == ['first', 'second']
    # Whichever of them repair comes to first.
    lib.sh('nft', 'flush', 'ruleset')
    cache('repair').check_returncode()
    assert cache('check').returncode == 0 and answers() == ['first', 'second']


def test_leases_removed(node):
    """check tells, repair takes them again; an ADD before that gives nobody the address of a pod that runs."""
    cache = Cache(node)
    conf = node.conf()
    pod = node.add(conf, 'a')
    cache.note(pod, [{key: conf[key] for key in conf if key not in ('name', 'cniVersion')}])
    leases_path = node.sandbox.path / 'leases' / 'net'
    for remove in (lambda: shutil.rmtree(leases_path), (leases_path / pod.address).unlink):
        remove()
        told = cache('check')
        assert told.returncode == 1 and f'lease of {pod.address}\n' in told.stdout, told.stdout + told.stderr
        cache('repair').check_returncode()
        done = cache('check')
        assert done.returncode == 0 and leases(node) == [pod.address, pod.address6], done.stdout
    # Where the runtime has its notes.
    pathlib.Path('/var/lib/cni').mkdir(parents=True, exist_ok=True)
    lib.sh('mount', '--bind', cache.path, '/var/lib/cni')
    shutil.rmtree(leases_path)
    other = node.add(conf, 'b')
    assert pod.address != other.address and pod.address6 != other.address6
    assert leases(node) == sorted([pod.address, pod.address6, other.address, other.address6])
    node.delete(pod)
    assert leases(node) == sorted([other.address, other.address6])
    # Another pod has it by now: nothing is taken from either, and it is said.
    (leases_path / other.address).write_text(f'{lib.container("c")}\r\neth0')
    cache.note(other, [{key: conf[key] for key in conf if key not in ('name', 'cniVersion')}])
    assert f'another container has the lease of {other.address}' in cache('repair').stdout


def test_routed_lists_of_one_subnet(node):
    """Each list has leases of its own: the host's route says that another pod has the address."""
    conf = node.conf(mode='routed')
    del conf['bridge'], conf['hairpinMode'], conf['isDefaultGateway']
    first = node.add(conf, 'a')
    netns = node.sandbox.netns('b')
    again = {**conf, 'name': 'renamed'}
    error = node.plugin.add(again, netns, lib.container('b')).failed()
    said = error.get('details', error['msg'])
    assert f'this host has a route to {first.address} already, by {first.host_link}' in said
    assert lib.sh('ip', 'route', 'show', first.address).stdout.count('dev') == 1
    assert not [one for one in (node.sandbox.path / 'leases' / 'renamed').iterdir() if one.name[0] == '1']
    node.delete(first)
    node.plugin.add(again, netns, lib.container('b')).ok()
