#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""client.py SOCKET N SECONDS: what client.go does, by grpcio; it pings every 100 ms."""

import collections
import concurrent.futures
import json
import sys
import time

import grpc

KINDS = ('quick', 'deadline', 'cancel', 'error', 'in time')


def request(name):
    return bytes([0x0a, len(name)]) + name.encode() + b'\x12\x02/s'


def code_of(future):
    try:
        future.result()
    except grpc.FutureCancelledError:
        return 'Canceled'
    except grpc.RpcError as error:
        return error.code().name.title().replace('_', '')
    return 'OK'


def one(unstage, kind):
    if kind == 'deadline':
        return code_of(unstage.future(request('sleep-600000'), timeout=0.005))
    if kind == 'cancel':
        future = unstage.future(request('sleep-600000'))
        time.sleep(0.005)
        future.cancel()
        return code_of(future)
    return code_of(unstage.future(request('error-2' if kind == 'error' else 'v'),
                                  timeout=3600 if kind == 'in time' else None))


def main():
    path, n, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    channel = grpc.insecure_channel(f'unix:{path}', options=[
        ('grpc.keepalive_time_ms', 100), ('grpc.keepalive_timeout_ms', 60000),
        ('grpc.keepalive_permit_without_calls', 1), ('grpc.http2.max_pings_without_data', 0)])
    unstage = channel.unary_unary('/csi.v1.Node/NodeUnstageVolume', request_serializer=None,
                                  response_deserializer=None)
    counts = {kind: collections.Counter() for kind in KINDS}
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for kind, code in zip((KINDS[i % len(KINDS)] for i in range(n)),
                              pool.map(lambda i: one(unstage, KINDS[i % len(KINDS)]), range(n))):
            counts[kind][code] += 1
    counts['pings'] = {code_of(unstage.future(request(f'sleep-{seconds}000'))): 1}
    json.dump(counts, sys.stdout)


if __name__ == '__main__':
    main()
