# SPDX-License-Identifier: Apache-2.0
"""The metadata client against services on loopback that answer at the real addresses, as the real ones do."""

import json
import subprocess
import time

import pytest

import metadata

NODES = {
    'aws': (metadata.Aws, {'id': 'i-0a1b2c3d4e5f67890', 'region': 'eu-central-1', 'zone': 'eu-central-1b',
                           'type': 'm6i.xlarge', 'project': '123456789012'}),
    'azure': (metadata.Azure, {'id': '02aab8a4-74ef-476e-8182-f6d2ba4166a6', 'name': 'aks-nodepool1-31415926-vmss_2',
                               'region': 'westeurope', 'zone': '1', 'type': 'Standard_D4s_v5',
                               'project': '8d10da13-8125-4ba9-a717-bf7490507b3d'}),
    'gce': (metadata.Gce, {'id': '4567890123456789012', 'name': 'gke-prod-default-pool-4f1c2b7d-x1zq',
                           'zone': 'europe-west1-b', 'type': 'e2-standard-4', 'project': 'shop-prod'}),
    'openstack': (metadata.OpenStack, {'id': '83679162-1378-4288-a2d4-70e13ec132aa', 'name': 'worker-3', 'zone': 'nova',
                                       'project': 'f7ac731cc11f40efbc03a9f9e1d1d21f'}),
    'alibaba': (metadata.Alibaba, {'id': 'i-bp1abcdefghij', 'region': 'cn-hangzhou', 'zone': 'cn-hangzhou-i',
                                   'type': 'ecs.g7.xlarge', 'project': '1616151413121110'}),
    'digitalocean': (metadata.DigitalOcean, {'id': '447812345', 'name': 'pool-abc-1', 'region': 'fra1'}),
    'hetzner': (metadata.Hetzner, {'id': '48291017', 'name': 'cax-node-1', 'region': 'eu-central',
                                   'zone': 'fsn1-dc14'}),
    'linode': (metadata.Linode, {'id': '12345678', 'name': 'lke-node', 'region': 'us-east', 'type': 'g6-standard-2'}),
    'oracle': (metadata.Oracle, {'id': 'ocid1.instance.oc1.phx.exampleuniqueid', 'name': 'oke-cx5b2',
                                 'region': 'us-phoenix-1', 'zone': 'EMIr:PHX-AD-1', 'type': 'VM.Standard.A1.Flex'}),
    'scaleway': (metadata.Scaleway, {'id': '11111111-2222-4333-8444-555555555555', 'name': 'scw-k8s-1',
                                     'zone': 'fr-par-1', 'type': 'DEV1-M',
                                     'project': '3d3f1c2b-0000-4000-8000-000000000000'}),
    'vultr': (metadata.Vultr, {'id': 'a747bfz6385e-8f21', 'name': 'vke-1', 'region': 'EWR'}),
    'upcloud': (metadata.UpCloud, {'id': '00798b85-efdc-41ca-8021-f6ef457b8531', 'name': 'uks-1', 'region': 'de-fra1'}),
    'exoscale': (metadata.Exoscale, {'id': '7f0b3d5e-1111-4222-8333-444455556666', 'name': 'pool-1', 'zone': 'ch-gva-2',
                                     'type': 'Medium'}),
    'cloudscale': (metadata.Cloudscale, {'id': '47cec963-fcd2-482f-bdb6-24461b2d47b1', 'name': 'node-1',
                                         'zone': 'rma1'}),
}


@pytest.fixture(name='ask')
def ask_fixture(sandbox, build):  # pylint: disable=unused-argument
    """ask('aws', 'node', 'get /x', total=2000) -> [answer, ...], by tests/lib/metadata-try.c"""
    def ask(service, *commands, env=None, **flags):
        argv = [build / 'csi/cloud/metadata-try', service]
        argv += [word for name, value in flags.items() for word in (f'--{name}', str(value))]
        done = subprocess.run(argv, input='\n'.join(commands) + '\n', capture_output=True, text=True, timeout=60,
                              check=True, env=env)
        return [json.loads(line) for line in done.stdout.splitlines()]
    return ask


def text_of(answer):
    assert 'text' in answer, answer
    return answer['text']


@pytest.mark.parametrize('name', sorted(NODES))
def test_node(ask, name):
    cls, expected = NODES[name]
    service = cls().start()
    node = ask(name, 'node')[0]['node']
    assert {key: value for key, value in node.items() if value} == expected
    paths = service.paths()
    assert len(paths) == len(set(paths)), 'asked twice for one thing'


@pytest.mark.parametrize('name', ['aws', 'linode', 'oracle', 'scaleway'])
def test_ipv6_only(ask, name):
    """A node without IPv4 has no route to the first address; the second is then asked at once."""
    cls, expected = NODES[name]
    service = cls()
    service.start(address=service.address6)
    answers = ask(name, 'node', 'fresh-node')
    assert answers[0]['node']['id'] == expected['id']
    assert answers[1]['msecs'] < 1000


def test_aws_token_is_used_again(ask):
    aws = metadata.Aws().start()
    answers = ask('aws', 'node', 'get /latest/meta-data/network/interfaces/macs/', 'get /latest/meta-data/outpost-arn')
    assert [method for method, _, _ in aws.requests] == ['PUT', 'GET', 'GET', 'GET']
    assert text_of(answers[1]).splitlines() == ['0e:49:61:0f:c3:11/', '0e:49:61:0f:c3:12/']
    assert answers[2]['code'] == 'not_found' and answers[2]['negative']
    assert '404' in answers[2]['message']
    put = aws.requests[0]
    assert put[2]['Content-Length'] == '0'
    assert 'Expect' not in put[2]


def test_aws_expired_token(ask):
    """A token may be refused before its time: the instance was restored from a snapshot. One new one, no more."""
    aws = metadata.Aws().start()
    give = aws.token

    def short(headers):
        answer = give(headers)
        if len(aws.tokens) == 1:
            aws.tokens[answer[1]] = 0
        return answer
    aws.token = short
    assert ask('aws', 'node')[0]['node']['id'] == 'i-0a1b2c3d4e5f67890'
    assert [method for method, _, _ in aws.requests] == ['PUT', 'GET', 'PUT', 'GET']


def test_aws_all_tokens_refused(ask):
    aws = metadata.Aws().start()
    aws.content = lambda path, headers: (401, 'Unauthorized')
    answer = ask('aws', 'node')[0]
    assert answer['code'] == 'denied' and answer['negative']
    assert len(aws.requests) == 4


def test_aws_hop_limit(ask):
    """In a pod the answer to the PUT dies on its way; the GET works, if the instance allows it without a token."""
    aws = metadata.Aws().start()
    aws.silent = {'PUT'}
    aws.token_required = False
    answers = ask('aws', 'node', 'fresh-node', request=2000)
    assert answers[0]['node']['id'] == 'i-0a1b2c3d4e5f67890'
    assert answers[1]['msecs'] < 1500, 'the lost token is waited for each time'


def test_aws_hop_limit_with_required_token(ask):
    aws = metadata.Aws().start()
    aws.silent = {'PUT'}
    answer = ask('aws', 'node', request=700)[0]
    assert answer['code'] == 'denied'
    assert 'hop limit of 2' in answer['message']


def test_aws_no_tokens_at_all(ask):
    """An imitation of IMDS that knows version 1 only."""
    aws = metadata.Aws().start()
    aws.token_required = False
    aws.token_path = '/not/there'
    assert ask('aws', 'node')[0]['node']['zone'] == 'eu-central-1b'


def test_aws_switched_off(ask):
    metadata.Aws().start().answer = lambda *_: (403, 'Forbidden')
    answer = ask('aws', 'node')[0]
    assert answer['code'] == 'denied'
    assert 'switched off' in answer['message']


def test_token_that_is_none(ask):
    """It goes into a header: nothing that could be a second one, nothing binary, nothing endless."""
    for bad in ('a\r\nX-Evil: 1', 'a b', '', 'x' * 300, b'a\0b', b'\xff\xfe'):
        aws = metadata.Aws()
        aws.token = lambda headers, bad=bad: (200, bad)
        aws.start()
        answer = ask('aws', 'node', tries=1)[0]
        assert answer['code'] == 'unavailable' and 'is not a token' in answer['message'], bad
        assert all(method == 'PUT' for method, _, _ in aws.requests)
        aws.stop()


def test_linode_wants_its_token(ask):
    linode = metadata.Linode().start()
    linode.silent = {'PUT'}
    answer = ask('linode', 'node', request=300, tries=2)[0]
    assert answer['code'] == 'unavailable'
    assert all(method == 'PUT' for method, _, _ in linode.requests)


def test_retries(ask):
    service = metadata.OpenStack().start()
    service.statuses = [503, 429, 500]
    answer = ask('openstack', 'node')[0]
    assert answer['node']['zone'] == 'nova'
    assert len(service.requests) == 4
    assert 300 < answer['msecs'] < 6000


def test_retries_end(ask):
    service = metadata.OpenStack().start()
    service.statuses = [503] * 9
    answer = ask('openstack', 'node', tries=3)[0]
    assert answer['code'] == 'unavailable' and answer['negative']
    assert '503' in answer['message'] and 'openstack' in answer['message']
    assert len(service.requests) == 3


def test_jitter(ask):
    """The pauses differ between runs."""
    service = metadata.OpenStack().start()
    times = set()
    for _ in range(6):
        service.statuses = [503]
        times.add(ask('openstack', 'node')[0]['msecs'] // 5)
    assert len(times) > 1, times


def test_what_is_final_is_not_tried_again(ask):
    for status in (400, 403, 404):
        service = metadata.OpenStack().start()
        service.statuses = [status] * 9
        assert 'code' in ask('openstack', 'node')[0]
        assert len(service.requests) == 1
        service.stop()


def test_nobody_answers(ask):
    """No service at all: an answer in time, with the reason."""
    started = time.monotonic()
    answer = ask('hetzner', 'node', total=1500)[0]
    assert answer['code'] == 'unavailable'
    assert '169.254.169.254' in answer['message']
    assert time.monotonic() - started < 30


def test_silence(ask):
    """Something accepts and says nothing: each request ends, and all of them together."""
    service = metadata.Hetzner().start()
    service.silent = {'GET'}
    answer = ask('hetzner', 'node', request=300, total=2400)[0]
    assert answer['code'] == 'unavailable'
    assert answer['msecs'] < 3500
    assert 2 <= len(service.requests) <= 8


def test_cancel(ask):
    service = metadata.Hetzner().start()
    service.silent = {'GET'}
    answer = ask('hetzner', 'node', cancel=400)[0]
    assert answer['code'] == 'timeout' and 'cancelled' in answer['message']
    assert answer['msecs'] < 1000


def test_slow_but_there(ask):
    service = metadata.Azure().start()
    service.latency_seconds = 1
    assert ask('azure', 'node')[0]['node']['zone'] == '1'


def test_no_proxy(ask):
    """A pod's environment often names a proxy, which must not see the request, nor answer it."""
    proxy = metadata.Azure().start(address='127.0.0.1', port=3128)
    metadata.Azure().start()
    env = {name: 'http://127.0.0.1:3128' for name in ('http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY')}
    assert ask('azure', 'node', env=env)[0]['node']['region'] == 'westeurope'
    assert proxy.requests == []


def test_no_redirect(ask):
    other = metadata.OpenStack().start(address='127.0.0.1', port=8080)
    service = metadata.OpenStack().start()
    service.answer = lambda *_: (302, '', {'Location': 'http://127.0.0.1:8080/openstack/latest/meta_data.json'})
    answer = ask('openstack', 'node')[0]
    assert answer['code'] == 'unavailable' and '302' in answer['message']
    assert other.requests == []


def test_gce_flavor_is_wanted(ask):
    """A captive portal answers everything with 200."""
    service = metadata.Gce().start()
    service.headers = {}
    answer = ask('gce', 'node', tries=2)[0]
    assert answer['code'] == 'unavailable' and 'something else' in answer['message']
    service.headers = {'Metadata-Flavor': 'google '}
    assert 'node' in ask('gce', 'node')[0]


def test_too_large(ask):
    service = metadata.OpenStack().start()
    service.answer = lambda *_: (200, b'[' + b'1,' * 200000 + b'1]')
    answer = ask('openstack', 'node')[0]
    assert answer['code'] == 'unavailable' and 'too large' in answer['message']
    assert len(service.requests) == 1


NO_METADATA = {
    'empty': '',
    'text': 'no json',
    'array': '[]',
    'nothing': '{}',
    'float': '{"uuid": 5.5}',
    'newline': '{"uuid": "a\\nb"}',
    'deep': '[' * 5000,
    'empty-value': '{"uuid": ""}',
    'long': '{"uuid": "' + 'u' * 300 + '"}',
    'nul': '{"uuid": "\\u0000"}',
}


@pytest.mark.parametrize('name', NO_METADATA)
def test_no_metadata(ask, name):
    service = metadata.OpenStack().start()
    service.answer = lambda *_: (200, NO_METADATA[name])
    answer = ask('openstack', 'node')[0]
    assert answer['code'] == 'unavailable' and answer['negative'], answer


def test_azure_without_zones(ask):
    azure = metadata.Azure()
    azure.instance = {'compute': {**azure.instance['compute'], 'zone': ''}}
    azure.start()
    assert ask('azure', 'node')[0]['node']['zone'] == ''


def test_cache(ask):
    aws = metadata.Aws().start()
    macs = 'get /latest/meta-data/network/interfaces/macs/'
    answers = ask('aws', macs, macs, 'fresh-' + macs, cache=3600000)
    assert [text_of(answer).count('/') for answer in answers] == [2, 2, 2]
    assert len([path for path in aws.paths() if path.endswith('macs/')]) == 2


def test_cache_ends(ask):
    service = metadata.OpenStack().start()
    ask('openstack', 'node', 'node', 'sleep 400', 'node', cache=300)
    assert len(service.requests) == 2


def test_cache_has_an_end(ask):
    service = metadata.OpenStack().start()
    service.answer = lambda method, path, headers: (200, path)
    commands = [f'get /{i}' for i in range(40)] + ['get /39', 'get /0']
    answers = ask('openstack', *commands)
    assert [text_of(answer) for answer in answers] == [command.split()[1] for command in commands]
    assert len(service.requests) == 41


def test_base_of_tests(ask):
    """--metadata-url replaces all addresses."""
    service = metadata.Linode().start(address='127.0.0.1', port=8081)
    assert ask('linode', 'node', base='http://127.0.0.1:8081/')[0]['node']['region'] == 'us-east'
    assert service.paths() == ['/v1/token', '/v1/instance']
