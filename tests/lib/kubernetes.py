# SPDX-License-Identifier: Apache-2.0
"""Kubernetes of one node in the sandbox of a test: etcd, API server, controller manager, scheduler and kubelet as
processes, containerd as runtime. directory: where kube-apiserver and the others are."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import textwrap
import time

import cgroups
import node as lib

PROGRAMS = ('etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kubectl', 'kubelet')
API = '127.0.0.1:16443'
ETCD = '127.0.0.1:12379'
PEER = '127.0.0.1:12380'
SERVICE = '10.233.0.1'  # the first of --service-cluster-ip-range: the API server as pods see it
TOKEN = 'sandbox-token'
NODE = 'node-1'


def missing(directory):
    """Why it cannot run here; None if it can."""
    if not shutil.which('openssl'):
        return 'needs openssl'
    absent = [one for one in PROGRAMS if not (directory / one).exists()]
    return f'needs {", ".join(absent)} in {directory}' if absent else None


class Kubernetes:
    def __init__(self, sandbox, directory, containerd, root='/var/lib/kubelet', address=lib.NODE, address6=None):
        self.directory, self.containerd, self.root, self.address = directory, containerd, root, address
        # With an IPv6 address of the node the cluster has two families.
        self.address6 = address6
        self.path = sandbox.path / 'kubernetes'
        self.path.mkdir()
        self.config = self.path / 'kubeconfig'
        self.processes = []
        self.config.write_text(json.dumps({
            'apiVersion': 'v1', 'kind': 'Config', 'current-context': 'c',
            'clusters': [{'name': 'c', 'cluster': {'server': f'https://{API}',
                                                   'certificate-authority': str(self.path / 'ca.crt')}}],
            'users': [{'name': 'u', 'user': {'token': TOKEN}}],
            'contexts': [{'name': 'c', 'context': {'cluster': 'c', 'user': 'u'}}]}))
        self.openssl('genrsa', '-out', 'sa.key', '2048')
        self.openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=sandbox',
                     '-keyout', 'ca.key', '-out', 'ca.crt')
        self.openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=kube-apiserver',
                     '-CA', 'ca.crt', '-CAkey', 'ca.key', '-keyout', 'api.key', '-out', 'api.crt', '-addext',
                     f'subjectAltName=DNS:kubernetes.default.svc,IP:127.0.0.1,IP:{SERVICE},IP:{address}')
        (self.path / 'tokens.csv').write_text(f'{TOKEN},admin,admin,system:masters\n')

    def openssl(self, *argv):
        subprocess.run(['openssl', *argv], check=True, capture_output=True, cwd=self.path)

    def run(self, name, *argv):
        with open(self.path / f'{name}.log', 'ab') as log:
            process = subprocess.Popen([self.directory / name, *map(str, argv)], stdout=log, stderr=log,
                                       cwd=self.path)
        self.processes.append((name, process))
        return process

    def kubectl(self, *argv, check=True, given=None, timeout=120):
        done = subprocess.run([self.directory / 'kubectl', '--kubeconfig', self.config, *map(str, argv)], check=False,
                              capture_output=True, text=True, input=given, timeout=timeout)
        assert not check or done.returncode == 0, f'kubectl {" ".join(map(str, argv))}: {done.stderr}'
        return done

    def get(self, *argv):
        return json.loads(self.kubectl('get', *argv, '-o', 'json').stdout)

    def apply(self, *objects):
        text = json.dumps({'apiVersion': 'v1', 'kind': 'List', 'items': list(objects)})
        self.kubectl('apply', '-f', '-', given=text)

    def wait(self, condition, seconds, what):
        end = time.monotonic() + seconds
        while not condition():
            for name, process in self.processes:
                assert process.poll() is None, f'{name} ended: {self.log(name)[-2000:]}'
            assert time.monotonic() < end, f'{what}: not within {seconds} s'
            time.sleep(0.2)

    def log(self, name):
        return (self.path / f'{name}.log').read_text(errors='replace')

    def both(self, first, second):
        return f'{first},{second}' if self.address6 else first

    def cluster_cidr(self):
        return self.both('10.5.0.0/16', 'fd00:5::/56')

    # --- the parts ---

    def start_control_plane(self):
        self.run('etcd', '--data-dir', self.path / 'etcd', '--listen-client-urls', f'http://{ETCD}',
                 '--advertise-client-urls', f'http://{ETCD}', '--listen-peer-urls', f'http://{PEER}',
                 '--initial-advertise-peer-urls', f'http://{PEER}', '--initial-cluster', f'default=http://{PEER}')
        issuer = 'https://kubernetes.default.svc'
        self.run('kube-apiserver', f'--etcd-servers=http://{ETCD}', f'--advertise-address={self.address}',
                 f'--secure-port={API.rsplit(":", 1)[1]}', '--tls-cert-file=api.crt', '--tls-private-key-file=api.key',
                 f'--service-account-issuer={issuer}', '--service-account-key-file=sa.key',
                 '--service-account-signing-key-file=sa.key', f'--api-audiences={issuer}',
                 f'--service-cluster-ip-range={self.both("10.233.0.0/24", "fd00:233::/112")}',
                 '--authorization-mode=RBAC',
                 '--token-auth-file=tokens.csv', '--allow-privileged=true',
                 '--kubelet-preferred-address-types=InternalIP')
        self.wait(lambda: self.kubectl('get', '--raw', '/readyz', check=False).stdout == 'ok', 90, 'API server')
        common = [f'--kubeconfig={self.config}', '--leader-elect=false', '--bind-address=127.0.0.1', '--cert-dir=pki']
        self.run('kube-controller-manager', *common, '--secure-port=11257', '--service-account-private-key-file=sa.key',
                 '--root-ca-file=ca.crt', '--allocate-node-cidrs', f'--cluster-cidr={self.cluster_cidr()}')
        self.run('kube-scheduler', *common, '--secure-port=11259')
        self.wait(lambda: self.kubectl('get', 'serviceaccount', 'default', check=False).returncode == 0, 60,
                  'service account')

    def stand_in_for_kube_proxy(self):
        """The one service that is needed, from pods and from the node."""
        port = API.rsplit(':', 1)[1]
        rule = f'ip daddr {SERVICE} tcp dport 443 dnat to {self.address}:{port}'
        lib.sh('nft', f'table ip kube-proxy {{ chain in {{ type nat hook prerouting priority -100; {rule}; }}; '
               f'chain out {{ type nat hook output priority -100; {rule}; }}; }}')

    def start_kube_proxy(self, mode='nftables'):
        """Services; what it would change of the whole machine's connection tracking is left alone."""
        return self.run('kube-proxy', f'--kubeconfig={self.config}', f'--proxy-mode={mode}',
                        f'--hostname-override={NODE}', f'--cluster-cidr={self.cluster_cidr()}',
                        '--conntrack-max-per-core=0',
                        '--conntrack-tcp-timeout-established=0', '--conntrack-tcp-timeout-close-wait=0')

    def start_kubelet(self, node=NODE, port=11250, root=None, address=None, containerd=None):
        """Of the node itself, or of another one beside it, which has all of these for itself."""
        root, address, containerd = root or self.root, address or self.address, containerd or self.containerd
        os.makedirs(f'/run/{cgroups.NAME}', exist_ok=True)
        (self.path / f'{node}.json').write_text(json.dumps({
            'apiVersion': 'kubelet.config.k8s.io/v1beta1', 'kind': 'KubeletConfiguration', 'address': address,
            'port': port, 'readOnlyPort': 0, 'healthzPort': 0, 'cgroupDriver': 'cgroupfs', 'cgroupsPerQOS': False,
            'cgroupRoot': f'/{cgroups.NAME}', 'enforceNodeAllocatable': [], 'failSwapOn': False, 'oomScoreAdj': 0,
            'maxOpenFiles': 10000, 'makeIPTablesUtilChains': False, 'failCgroupV1': False,
            'authentication': {'anonymous': {'enabled': True}, 'webhook': {'enabled': False}},
            'authorization': {'mode': 'AlwaysAllow'}, 'evictionHard': {'nodefs.available': '1%'},
            'containerRuntimeEndpoint': f'unix://{containerd.socket}', 'resolvConf': '',
            'volumePluginDir': str(self.path / 'exec-plugins')}))
        for top in pathlib.Path('/sys/fs/cgroup').iterdir():
            if top.is_dir() and not top.is_symlink():
                try:
                    (top / cgroups.NAME).mkdir(exist_ok=True)
                except OSError:
                    pass
        return self.run('kubelet', f'--config={self.path}/{node}.json', f'--kubeconfig={self.config}',
                        f'--root-dir={root}', f'--cert-dir=pki-{node}', f'--hostname-override={node}',
                        f'--node-ip={self.both(address, self.address6)}', '--v=2')

    def stop(self, name):
        for one in [one for one in self.processes if one[0] == name]:
            self.processes.remove(one)
            one[1].terminate()
            one[1].wait(30)

    def close(self):
        for name, process in self.processes[::-1]:
            process.send_signal(signal.SIGKILL)
            process.wait()
            print(f'--- {name}\n' + textwrap.indent(self.log(name)[-1500:], '  '))

    # --- what a test asks ---

    def node_is_ready(self, node=NODE):
        done = self.kubectl('get', 'node', node, '-o', 'json', check=False)
        if done.returncode != 0:
            return False
        return any(one['type'] == 'Ready' and one['status'] == 'True'
                   for one in json.loads(done.stdout)['status']['conditions'])

    def drivers(self, node=NODE):
        done = self.kubectl('get', 'csinode', node, '-o', 'json', check=False)
        if done.returncode != 0:
            return []
        return [one['name'] for one in json.loads(done.stdout)['spec'].get('drivers') or []]

    def phase(self, pod):
        done = self.kubectl('get', 'pod', pod, '-o', 'jsonpath={.status.phase}', check=False)
        return done.stdout

    def run_pod(self, spec, seconds=60):
        self.apply(spec)
        name = spec['metadata']['name']
        self.wait(lambda: self.phase(name) == 'Running', seconds,
                  f'pod {name}: {self.phase(name)}')
        return self.get('pod', name)['status']['podIP']

    def exec(self, pod, *argv):
        return self.kubectl('exec', pod, '--', *argv).stdout

    def delete(self, kind, name, seconds=60):
        self.kubectl('delete', kind, name, '--wait=true', f'--timeout={seconds}s', timeout=seconds + 10)
