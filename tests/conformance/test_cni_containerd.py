# SPDX-License-Identifier: Apache-2.0
"""Pods of a real containerd, through CRI as kubelet runs them and through ctr, on a node where `berth-cni install`
was all that was done."""

import json
import os
import pathlib
import subprocess

import pytest

import cgroups
import containerd as containerd_lib
import node as lib
from containerd import IMAGE
from node import NODE, OUTSIDE

try:
    import cri
except ImportError:
    cri = None

if containerd_lib.missing():
    pytest.skip(containerd_lib.missing(), allow_module_level=True)


@pytest.fixture(name='containerd')
def containerd_fixture(sandbox, build):
    node = lib.Node(sandbox, build)
    runtime = containerd_lib.Containerd(sandbox)
    node.socket = runtime.socket
    try:
        runtime.start()
        runtime.load(sandbox.path)
        yield node
    finally:
        runtime.close()


def install(build, *subnets):
    argv = [build / 'cni' / 'berth-cni', 'install', '--names', 'all']
    for subnet in subnets:
        argv += ['--subnet', subnet]
    subprocess.run(argv, check=True, capture_output=True)


GET = 'printf "GET /passwd HTTP/1.0\\r\\n\\r\\n"'
FETCH = 'import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=3).read().decode())'


def fetch(netns, address, port):
    argv = [lib.PYTHON, '-c', FETCH, f'http://{address}:{port}/passwd']
    return netns.run(*argv).stdout if netns else lib.sh(*argv).stdout


@pytest.mark.skipif(cri is None, reason='needs python3-grpcio')
@pytest.mark.deadline(180)
def test_cri(containerd, build):
    runtime = cri.Cri(containerd.socket, cgroups.NAME)
    assert runtime.ready()[:2] == (True, False)
    install(build, '10.5.0.0/24', 'fd00:5::/64')
    lib.wait_for(lambda: runtime.ready()[1])  # the list is noticed by the running containerd
    web_config = runtime.sandbox_config('web', ports=[(8080, 80, 0), (8053, 53, 1)],
                                        annotations=[('kubernetes.io/ingress-bandwidth', '20M'),
                                                     ('kubernetes.io/egress-bandwidth', '20M')])
    web = runtime.run_pod(web_config)
    addresses = runtime.addresses(web)
    assert [one.rsplit('.', 1)[0].rsplit(':', 1)[0] for one in addresses] == ['10.5.0', 'fd00:5:']
    server = runtime.run_container(web, web_config, IMAGE, '/bin/httpd', '-f', '-p', '80', '-h', '/etc')
    # From outside through the host port, from the node by localhost, from another pod, and from the pod itself.
    assert fetch(containerd.outside, NODE, 8080).startswith('root:')
    assert fetch(None, '127.0.0.1', 8080).startswith('root:')
    other_config = runtime.sandbox_config('other')
    other = runtime.run_pod(other_config)
    client = runtime.run_container(other, other_config, IMAGE, '/bin/sleep', '1000')
    for container, address, port in ((client, addresses[0], 80), (client, NODE, 8080), (server, NODE, 8080),
                                     (client, addresses[1], 80)):
        code, out = runtime.exec(container, '/bin/sh', '-c', GET + f' | nc -w 3 {address} {port}')
        assert code == 0 and 'root:' in out, (address, port, out)
    # Pods go out under the node's address.
    containerd.serve(containerd.outside, 'tcp', 80, 'outside')
    assert runtime.exec(client, '/bin/nc', '-w', '3', OUTSIDE, '80') == (0, f'outside {NODE}')
    # Bandwidth annotations have made it into the kernel, and a second pod with the port says why it cannot be.
    assert [one for one in lib.link_json() if one.get('linkinfo', {}).get('info_kind') == 'ifb']
    with pytest.raises(cri.grpc.RpcError) as error:
        runtime.run_pod(runtime.sandbox_config('second', ports=[(8080, 80, 0)]))
    assert f'hostPort 8080/tcp is taken by container {web[:10]}' in error.value.details()
    for pod in (web, other):
        runtime.remove_pod(pod)
    # The failed one is removed by the runtime, too.
    assert lib.elements() == []
    assert [one['ifname'] for one in lib.link_json() if one['ifname'].startswith(('veth', 'bwp'))] == []
    assert [one for one in os.listdir('/var/lib/cni/networks/berth') if one[0].isdigit() or one[0] == 'f'] == []


@pytest.mark.skipif(cri is None, reason='needs python3-grpcio')
@pytest.mark.deadline(180)
def test_cri_with_a_chain_of_names(containerd, build):
    """The conflist a cluster had before, with Berth under the plugins' names."""
    runtime = cri.Cri(containerd.socket, cgroups.NAME)
    install(build)
    pathlib.Path('/etc/cni/net.d/.new').write_text(json.dumps({
        'cniVersion': '0.3.1', 'name': 'cbr0', 'plugins': [
            {'type': 'bridge', 'bridge': 'cni0', 'isDefaultGateway': True, 'ipMasq': True, 'hairpinMode': True,
             'ipam': {'type': 'host-local', 'subnet': '10.6.0.0/24'}},
            {'type': 'portmap', 'snat': True, 'capabilities': {'portMappings': True}},
            {'type': 'bandwidth', 'capabilities': {'bandwidth': True}},
            {'type': 'tuning', 'sysctl': {'net.core.somaxconn': '777'}},
        ]}))
    os.rename('/etc/cni/net.d/.new', '/etc/cni/net.d/10-flannel.conflist')
    lib.wait_for(lambda: runtime.ready()[1])
    config = runtime.sandbox_config('web', ports=[(8080, 80, 0)])
    pod = runtime.run_pod(config)
    container = runtime.run_container(pod, config, IMAGE, '/bin/httpd', '-f', '-p', '80', '-h', '/etc')
    assert runtime.addresses(pod) == ['10.6.0.2']
    assert fetch(containerd.outside, NODE, 8080).startswith('root:')
    assert runtime.exec(container, '/bin/cat', '/proc/sys/net/core/somaxconn') == (0, '777\n')
    runtime.remove_pod(pod)
    assert lib.elements() == []


@pytest.mark.deadline(180)
def test_ctr_run(containerd, build):
    install(build, '10.7.0.0/24')
    out = lib.sh('ctr', '-a', containerd.socket, '-n', 'k8s.io', 'run', '--cni', '--rm',
                 '--cgroup', f'/{cgroups.NAME}/one', IMAGE, 'one', '/bin/sh', '-c',
                 'ip addr show eth0; ping -c1 -W2 10.7.0.1').stdout
    assert '10.7.0.2/24' in out and '0% packet loss' in out
    assert lib.elements() == []
