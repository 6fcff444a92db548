# SPDX-License-Identifier: Apache-2.0
r"""Host ports beside the real kube-proxy (tests/e2e/kubernetes_tools.py builds it), in each of its modes. Services are
told by tests/lib/kube_api.py; a machine outside is their endpoint. Where the kernel has no IPVS:

    tests/vm/pytest.sh 6.12-amd64 --memory 3072 --timeout 1500 --module ip_vs --module ip_vs_rr --module dummy -- \
        tests/e2e/test_kube_proxy.py -k ipvs
"""

import json
import os
import pathlib
import shutil
import subprocess

import pytest

import kube_api
import node as lib
from node import NODE, OUTSIDE

PROGRAM = pathlib.Path(os.environ.get('BERTH_KUBERNETES', '/none')) / 'kube-proxy'
# As slow as the machine, or as qemu.
SECONDS = 60 * int(os.environ.get('BERTH_TEST_PATIENCE', '1'))
NEEDS = {'iptables': ('iptables', 'ipset'), 'nftables': ('nft',), 'ipvs': ('iptables', 'ipset')}
NAME = 'node-1'

if not PROGRAM.exists():
    pytest.skip(f'needs {PROGRAM}', allow_module_level=True)

HOST_PORTS = [{'hostPort': host, 'containerPort': 80, 'protocol': 'tcp'} for host in (80, 443, 8080)]
NODE_PORT = {'hostPort': 30080, 'containerPort': 80, 'protocol': 'tcp'}
SERVICES = [('10.233.0.80', 80), ('10.233.0.44', 443), ('10.233.0.31', 8080), ('203.0.113.7', 8080),
            ('10.233.0.30', 80)]


def service(name, address, port, node_port=None, **more):
    """A Service, and the machine outside as its endpoint."""
    ports = [{'port': port, 'targetPort': 80, 'protocol': 'TCP', **({'nodePort': node_port} if node_port else {})}]
    return [
        {'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': name},
         'spec': {'type': 'NodePort' if node_port else 'ClusterIP', 'clusterIP': address, 'clusterIPs': [address],
                  'ipFamilies': ['IPv4'], 'ipFamilyPolicy': 'SingleStack', 'internalTrafficPolicy': 'Cluster',
                  'externalTrafficPolicy': 'Cluster', 'sessionAffinity': 'None', 'ports': ports, **more}},
        {'apiVersion': 'discovery.k8s.io/v1', 'kind': 'EndpointSlice', 'addressType': 'IPv4',
         'metadata': {'name': f'{name}-1', 'labels': {'kubernetes.io/service-name': name}},
         'ports': [{'name': '', 'port': 80, 'protocol': 'TCP'}],
         'endpoints': [{'addresses': [OUTSIDE], 'conditions': {'ready': True, 'serving': True, 'terminating': False}}]}]


class Cluster:
    def __init__(self, sandbox, build, mode):
        self.sandbox, self.build, self.mode, self.process = sandbox, build, mode, None
        lib.sh('ip', 'link', 'set', 'lo', 'up')
        self.node = lib.Node(sandbox, build)
        lib.sh('ip', 'route', 'add', 'default', 'via', OUTSIDE)
        self.node.serve(self.node.outside, 'tcp', 80, 'outside')
        self.api = kube_api.Api()
        self.api.apply({'apiVersion': 'v1', 'kind': 'Node', 'metadata': {'name': NAME, 'labels': {}},
                        'spec': {'podCIDR': '10.1.0.0/16', 'podCIDRs': ['10.1.0.0/16']},
                        'status': {'addresses': [{'type': 'InternalIP', 'address': NODE}]}},
                       *service('web', '10.233.0.80', 80), *service('secure', '10.233.0.44', 443),
                       *service('port', '10.233.0.30', 80, node_port=30080),
                       *service('outer', '10.233.0.31', 8080, externalIPs=['203.0.113.7']))
        (sandbox.path / 'kubeconfig').write_text(json.dumps({
            'apiVersion': 'v1', 'kind': 'Config', 'current-context': 'c', 'users': [{'name': 'u', 'user': {}}],
            'clusters': [{'name': 'c', 'cluster': {'server': self.api.url}}],
            'contexts': [{'name': 'c', 'context': {'cluster': 'c', 'user': 'u'}}]}))
        # What it would change of the whole machine's connection tracking is left alone.
        (sandbox.path / 'proxy.json').write_text(json.dumps({
            'apiVersion': 'kubeproxy.config.k8s.io/v1alpha1', 'kind': 'KubeProxyConfiguration', 'mode': mode,
            'hostnameOverride': NAME, 'clusterCIDR': '10.1.0.0/16',
            'conntrack': {'maxPerCore': 0, 'min': 0, 'tcpEstablishedTimeout': '0s', 'tcpCloseWaitTimeout': '0s'},
            'clientConnection': {'kubeconfig': str(sandbox.path / 'kubeconfig'), 'contentType': 'application/json'}}))

    def start(self):
        with open(self.sandbox.path / 'kube-proxy.log', 'ab') as log:
            self.process = subprocess.Popen([PROGRAM, f'--config={self.sandbox.path}/proxy.json'], stdout=log,
                                            stderr=log)
        self.wait_for('10.233.0.80', 80)

    def stop(self):
        self.process.terminate()
        self.process.wait(60)

    def wait_for(self, address, port):
        def answers():
            assert self.process.poll() is None, self.log()
            return self.ask(None, address, port, seconds=1) == 'outside'
        lib.wait_for(answers, SECONDS, f'Service {address}')

    def log(self):
        return (self.sandbox.path / 'kube-proxy.log').read_text(errors='replace')[-3000:]

    def ask(self, asker, address, port, **more):
        return self.node.ask(asker, 'tcp', address, port, **more).split()[0]

    def repair(self):
        subprocess.run([self.build / 'cni' / 'berth-cni', 'repair', '--cache-dir', self.sandbox.path / 'none'],
                       check=True, capture_output=True, timeout=SECONDS)


@pytest.fixture(name='cluster')
def cluster_fixture(sandbox, build, mode):
    missing = [one for one in NEEDS[mode] if not shutil.which(one)]
    if missing:
        pytest.skip(f'needs {", ".join(missing)}')
    if mode == 'ipvs' and not os.path.exists('/proc/net/ip_vs'):
        pytest.skip('this kernel has no IPVS')
    cluster = Cluster(sandbox, build, mode)
    try:
        cluster.start()
        yield cluster
    finally:
        if cluster.process:
            cluster.process.kill()
            cluster.process.wait()
        print(cluster.log())


@pytest.mark.deadline(1800)
@pytest.mark.parametrize('mode', NEEDS)
def test_services_stay_services(cluster, mode):
    """Whatever ports pods have on the host; and host ports are pods'. In IPVS mode NodePorts are in no rule, so there a
    pod may have one, as with upstream's plugin, unless the list has nodePortRange (docs/security.md)."""
    node = cluster.node
    ports = HOST_PORTS if mode == 'ipvs' else [*HOST_PORTS, NODE_PORT]
    ingress = node.add(node.conf(ipMasq=True, firewall=True, runtimeConfig={'portMappings': ports}), 'ingress')
    client = node.add(node.conf(ipMasq=True, firewall=True), 'client')
    node.serve(ingress.netns, 'tcp', 80, 'ingress')

    def audit(services):
        for asker in (client.netns, ingress.netns, None):
            for address, port in services:
                assert cluster.ask(asker, address, port) == 'outside', (asker, address, port)
        for port in (80, 443, 8080):
            for asker in (node.outside, client.netns):
                assert cluster.ask(asker, NODE, port) == 'ingress', (asker, port)
        assert cluster.ask(node.outside, NODE, 30080) == 'outside'
        assert cluster.ask(None, '127.0.0.1', 8080) == 'ingress'
        assert cluster.ask(client.netns, OUTSIDE, 80) == 'outside'
        node.check(ingress).ok()
        node.plugin.status(ingress.conf).ok()

    audit(SERVICES)
    # One that comes later: at the next repair, which berth-node makes when its address is announced.
    cluster.api.apply(*service('late', '10.233.0.99', 443))
    if mode == 'ipvs':
        lib.wait_for(lambda: '10.233.0.99' in lib.sh('ip', 'addr', 'show', 'dev', 'kube-ipvs0').stdout, SECONDS)
        cluster.repair()
    cluster.wait_for('10.233.0.99', 443)
    audit([*SERVICES, ('10.233.0.99', 443)])
    # kube-proxy begins anew, and finds the pods' rules beside its own.
    cluster.stop()
    cluster.start()
    audit([*SERVICES, ('10.233.0.99', 443)])
    for one in (ingress, client):
        node.delete(one)
    assert lib.elements() == []
    cluster.wait_for('10.233.0.80', 80)
