# SPDX-License-Identifier: Apache-2.0
"""Metadata services on loopback, at the addresses of the real ones, which serve what the real ones serve.

They are as strict as those: a missing header, a token that was never given or an unknown path is refused. In a sandbox:

    service = metadata.Aws().start()        # 169.254.169.254 port 80, on lo
    service.requests                        # [(method, path, {header: value})]
    service.statuses = [503, 503]           # the next answers' status
    service.silent = {'PUT'}                # methods that get no answer
"""

import http.server
import json
import socket
import socketserver
import subprocess
import threading
import time

LINK_LOCAL = '169.254.169.254'


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64


class _Server6(_Server):
    address_family = socket.AF_INET6


class Service:
    address = LINK_LOCAL
    port = 80
    headers = {}

    def __init__(self):
        self.requests = []
        self.statuses = []
        self.silent = set()
        self.latency_seconds = 0
        self.servers = []

    # What a cloud's class says: (status, text or object), or (status, text, headers).
    def answer(self, method, path, headers):
        raise NotImplementedError

    def paths(self):
        return [path for _, path, _ in self.requests]

    def start(self, address=None, port=None):
        address = address or self.address
        subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
        if not address.startswith('127.'):
            prefix = ['/128', 'nodad'] if ':' in address else ['/32']
            subprocess.run(['ip', 'addr', 'replace', address + prefix[0], 'dev', 'lo', *prefix[1:]], check=True)
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def reply(self):
                self.rfile.read(int(self.headers.get('Content-Length', 0)))
                service.requests.append((self.command, self.path, dict(self.headers)))
                if self.command in service.silent:
                    time.sleep(30)
                    return
                time.sleep(service.latency_seconds)
                if service.statuses:
                    answer = (service.statuses.pop(0), 'later')
                else:
                    answer = service.answer(self.command, self.path, self.headers)
                status, body, headers = (answer + ({},))[:3]
                data = body if isinstance(body, bytes) else \
                    body.encode() if isinstance(body, str) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in {**service.headers, **headers}.items():
                    self.send_header(name, value)
                self.send_header('Content-Length', str(len(data)))
                self.end_headers()
                try:
                    self.wfile.write(data)
                except OSError:
                    pass

            do_GET = do_PUT = reply

            def log_message(self, format, *args):  # pylint: disable=redefined-builtin
                pass

        server = (_Server6 if ':' in address else _Server)((address, port or self.port), Handler)
        threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True).start()
        self.servers.append(server)
        return self

    def stop(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()
        self.servers = []


class _WithToken(Service):
    """token_path, ttl_header, token_header, max_ttl; token_required as an instance's HttpTokens."""
    token_required = True

    def __init__(self):
        super().__init__()
        self.tokens = {}

    def token(self, headers):
        ttl = headers.get(self.ttl_header)
        if ttl is None or not ttl.isdigit() or not 1 <= int(ttl) <= self.max_ttl:
            return 400, 'Bad Request'
        token = f'AQAAAK{len(self.tokens):04d}tokentokentoken=='
        self.tokens[token] = time.monotonic() + int(ttl)
        return 200, token, {self.ttl_header: ttl}

    def answer(self, method, path, headers):
        if path == self.token_path:
            return self.token(headers) if method == 'PUT' else (405, 'Not Allowed')
        token = headers.get(self.token_header)
        if token is None and self.token_required:
            return 401, 'Unauthorized'
        if token is not None and self.tokens.get(token, 0) < time.monotonic():
            return 401, 'Unauthorized'
        return self.content(path, headers)

    def content(self, path, headers):
        raise NotImplementedError


class Aws(_WithToken):
    address6 = 'fd00:ec2::254'
    headers = {'Server': 'EC2ws'}
    token_path = '/latest/api/token'
    ttl_header = 'X-aws-ec2-metadata-token-ttl-seconds'
    token_header = 'X-aws-ec2-metadata-token'
    max_ttl = 21600
    document = {'accountId': '123456789012', 'architecture': 'x86_64', 'availabilityZone': 'eu-central-1b',
                'billingProducts': None, 'devpayProductCodes': None, 'imageId': 'ami-0123456789abcdef0',
                'instanceId': 'i-0a1b2c3d4e5f67890', 'instanceType': 'm6i.xlarge', 'kernelId': None,
                'pendingTime': '2026-11-20T08:12:44Z', 'privateIp': '10.0.12.31', 'region': 'eu-central-1',
                'version': '2017-09-30'}

    def __init__(self):
        super().__init__()
        self.macs = ['0e:49:61:0f:c3:11', '0e:49:61:0f:c3:12']
        self.block_devices = ['ami', 'ebs2', 'root']

    def answer(self, method, path, headers):
        if 'X-Forwarded-For' in headers:
            return 403, 'Forbidden'
        return super().answer(method, path, headers)

    def content(self, path, headers):
        return {
            '/latest/dynamic/instance-identity/document': (200, json.dumps(self.document, indent=2)),
            '/latest/meta-data/network/interfaces/macs/': (200, '\n'.join(mac + '/' for mac in self.macs)),
            '/latest/meta-data/block-device-mapping/': (200, '\n'.join(self.block_devices)),
        }.get(path, (404, '<?xml version="1.0" encoding="iso-8859-1"?>\n<html><h1>404 - Not Found</h1></html>'))


class Azure(Service):
    instance = {'compute': {'azEnvironment': 'AzurePublicCloud', 'location': 'westeurope',
                            'name': 'aks-nodepool1-31415926-vmss_2', 'osType': 'Linux', 'platformFaultDomain': '0',
                            'subscriptionId': '8d10da13-8125-4ba9-a717-bf7490507b3d', 'tagsList': [],
                            'vmId': '02aab8a4-74ef-476e-8182-f6d2ba4166a6',
                            'vmScaleSetName': 'aks-nodepool1-31415926-vmss', 'vmSize': 'Standard_D4s_v5', 'zone': '1'},
                'network': {'interface': []}}

    def answer(self, method, path, headers):
        if headers.get('Metadata') != 'true':
            return 400, {'error': 'Bad request. Required metadata header not specified'}
        if path != '/metadata/instance?api-version=2021-10-01&format=json':
            return 404, {'error': 'Not found'}
        return 200, self.instance, {'Content-Type': 'application/json; charset=utf-8'}


class Gce(Service):
    headers = {'Metadata-Flavor': 'Google', 'Server': 'Metadata Server for VM'}
    values = {'instance/id': '4567890123456789012', 'instance/name': 'gke-prod-default-pool-4f1c2b7d-x1zq',
              'instance/zone': 'projects/987654321098/zones/europe-west1-b',
              'instance/machine-type': 'projects/987654321098/machineTypes/e2-standard-4',
              'project/project-id': 'shop-prod'}

    def answer(self, method, path, headers):
        if headers.get('Metadata-Flavor') != 'Google':
            return 403, 'Missing Metadata-Flavor:Google header.'
        value = self.values.get(path.removeprefix('/computeMetadata/v1/'))
        return (200, value) if value else (404, '<!DOCTYPE html>')


class OpenStack(Service):
    meta_data = {'uuid': '83679162-1378-4288-a2d4-70e13ec132aa', 'name': 'worker-3', 'hostname': 'worker-3.novalocal',
                 'availability_zone': 'nova', 'launch_index': 0, 'project_id': 'f7ac731cc11f40efbc03a9f9e1d1d21f',
                 'devices': [{'type': 'disk', 'bus': 'scsi', 'address': '0:0:0:2', 'serial': 'disk-vol-2352423'}]}

    def answer(self, method, path, headers):
        if path == '/openstack/latest/meta_data.json':
            return 200, self.meta_data
        return 404, '<html><head><title>404 Not Found</title></head></html>'


class Alibaba(_WithToken):
    address = '100.100.100.200'
    token_path = '/latest/api/token'
    ttl_header = 'X-aliyun-ecs-metadata-token-ttl-seconds'
    token_header = 'X-aliyun-ecs-metadata-token'
    max_ttl = 21600

    def content(self, path, headers):
        if path != '/latest/dynamic/instance-identity/document':
            return 404, 'Not Found'
        return 200, {'zone-id': 'cn-hangzhou-i', 'region-id': 'cn-hangzhou', 'instance-id': 'i-bp1abcdefghij',
                     'instance-type': 'ecs.g7.xlarge', 'owner-account-id': '1616151413121110', 'serial-number': 'x'}


class DigitalOcean(Service):
    def answer(self, method, path, headers):
        if path == '/metadata/v1.json':
            return 200, {'droplet_id': 447812345, 'hostname': 'pool-abc-1', 'region': 'fra1', 'vendor_data': '#cloud',
                         'interfaces': {'public': [{'type': 'public'}]}, 'dns': {'nameservers': ['67.207.67.2']}}
        texts = {'/metadata/v1/id': '447812345', '/metadata/v1/region': 'fra1'}
        return (200, texts[path]) if path in texts else (404, 'not found')


class Hetzner(Service):
    values = {'instance-id': '48291017', 'hostname': 'cax-node-1', 'region': 'eu-central',
              'availability-zone': 'fsn1-dc14'}

    def answer(self, method, path, headers):
        base = '/hetzner/v1/metadata'
        if path == base:
            return 200, ''.join(f'{key}: {value}\n' for key, value in self.values.items()) + \
                'network-config:\n  version: 1\npublic-keys: []\nvendor_data: |\n  Content-Type: multipart/mixed;\n'
        value = self.values.get(path.removeprefix(base + '/'))
        return (200, value) if value else (404, 'not found')


class Linode(_WithToken):
    address6 = 'fd00:a9fe:a9fe::1'
    token_path = '/v1/token'
    ttl_header = 'Metadata-Token-Expiry-Seconds'
    token_header = 'Metadata-Token'
    max_ttl = 86400

    def content(self, path, headers):
        if path != '/v1/instance':
            return 404, {'errors': [{'reason': 'Not found'}]}
        if headers.get('Accept') != 'application/json':
            return 200, 'id: 12345678\nlabel: lke-node\nregion: us-east\ntype: g6-standard-2\n'
        return 200, {'id': 12345678, 'label': 'lke-node', 'region': 'us-east', 'type': 'g6-standard-2',
                     'specs': {'vcpus': 2, 'memory': 4096, 'gpus': 0, 'transfer': 4000, 'disk': 81920}, 'tags': []}


class Oracle(Service):
    address6 = 'fd00:c1::a9fe:a9fe'

    def answer(self, method, path, headers):
        if headers.get('Authorization') != 'Bearer Oracle':
            return 404, 'Not Found'
        if path.rstrip('/') != '/opc/v2/instance':
            return 404, 'Not Found'
        return 200, {'id': 'ocid1.instance.oc1.phx.exampleuniqueid', 'displayName': 'oke-cx5b2', 'region': 'phx',
                     'canonicalRegionName': 'us-phoenix-1', 'availabilityDomain': 'EMIr:PHX-AD-1',
                     'shape': 'VM.Standard.A1.Flex', 'freeformTags': {}}


class Scaleway(Service):
    address = '169.254.42.42'
    address6 = 'fd00:42::42'

    def answer(self, method, path, headers):
        if path == '/conf':
            return 200, "ID=11111111-2222-4333-8444-555555555555\nLOCATION_ZONE_ID=fr-par-1\n"
        if path != '/conf?format=json':
            return 404, 'not found'
        return 200, {'id': '11111111-2222-4333-8444-555555555555', 'hostname': 'scw-k8s-1', 'commercial_type': 'DEV1-M',
                     'project': '3d3f1c2b-0000-4000-8000-000000000000', 'location': {'zone_id': 'fr-par-1'},
                     'volumes': {'0': {'id': 'a', 'volume_type': 'l_ssd'}}}


class Vultr(Service):
    def answer(self, method, path, headers):
        if path != '/v1.json':
            return 404, 'not found'
        return 200, {'hostname': 'vke-1', 'instanceid': '2001', 'instance-v2-id': 'a747bfz6385e-8f21',
                     'region': {'regioncode': 'EWR', 'countrycode': 'US'}, 'interfaces': []}


class UpCloud(Service):
    def answer(self, method, path, headers):
        if path != '/metadata/v1.json':
            return 404, 'not found'
        return 200, {'cloud_name': 'upcloud', 'instance_id': '00798b85-efdc-41ca-8021-f6ef457b8531',
                     'hostname': 'uks-1', 'platform': 'servers', 'region': 'de-fra1', 'storage': {'disks': []}}


class Exoscale(Service):
    values = {'instance-id': '7f0b3d5e-1111-4222-8333-444455556666', 'local-hostname': 'pool-1',
              'availability-zone': 'ch-gva-2', 'service-offering': 'Medium'}

    def answer(self, method, path, headers):
        value = self.values.get(path.removeprefix('/latest/meta-data/'))
        return (200, value) if value else (404, 'not found')


class Cloudscale(Service):
    def answer(self, method, path, headers):
        if path != '/openstack/2017-02-22/meta_data.json':
            return 404, 'not found'
        return 200, {'uuid': '0b9f0f3e-0000-4000-8000-0123456789ab', 'name': 'node-1', 'availability_zone': 'rma1',
                     'meta': {'cloudscale_uuid': '47cec963-fcd2-482f-bdb6-24461b2d47b1'}}
