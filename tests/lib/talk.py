#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Small talk over a network, as a program to be started in some namespace.

talk.py serve PROTOCOL PORT NAME      answers every question with "NAME ADDRESS-OF-THE-ASKER"; says "ready" first
talk.py ask PROTOCOL ADDRESS PORT SECONDS [SOURCE-PORT [SOURCE-ADDRESS]]
                                      prints the answer, or "none" when there was none for so long
talk.py drain PORT                    reads from one connection, prints bytes and seconds at its end
talk.py fill ADDRESS PORT SECONDS     writes to one for so long
PROTOCOL: tcp, udp, sctp.
"""

import socket
import sys
import time


def new_socket(protocol, family):
    kinds = {'tcp': (socket.SOCK_STREAM, 0), 'udp': (socket.SOCK_DGRAM, 0),
             'sctp': (socket.SOCK_STREAM, socket.IPPROTO_SCTP)}
    made = socket.socket(family, *kinds[protocol])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return made


def plain(address):
    return address.removeprefix('::ffff:')


def serve(protocol, port, name):
    server = new_socket(protocol, socket.AF_INET6)
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    server.bind(('::', int(port)))
    if protocol != 'udp':
        server.listen(16)
    print('ready', flush=True)
    while True:
        if protocol == 'udp':
            _, peer = server.recvfrom(100)
            server.sendto(f'{name} {plain(peer[0])}'.encode(), peer)
            continue
        client, peer = server.accept()
        client.sendall(f'{name} {plain(peer[0])}'.encode())
        client.close()


def receive(client, protocol, seconds):
    """A datagram may be lost: the question is asked again each second."""
    if protocol != 'udp':
        return client.recv(100)
    client.settimeout(1)
    for left in reversed(range(int(seconds))):
        client.send(b'?')
        try:
            return client.recv(100)
        except TimeoutError:
            if left == 0:
                raise


def ask(protocol, address, port, seconds, source_port=0, source_address=''):
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    client = new_socket(protocol, family)
    client.settimeout(int(seconds))
    try:
        if int(source_port) or source_address:
            client.bind((source_address, int(source_port)))
        client.connect((address, int(port)))
        print(receive(client, protocol, seconds).decode() or 'none')
    except OSError:
        print('none')


def drain(port):
    server = new_socket('tcp', socket.AF_INET6)
    server.bind(('::', int(port)))
    server.listen(1)
    print('ready', flush=True)
    client, _ = server.accept()
    total, start = 0, time.monotonic()
    while True:
        try:
            data = client.recv(65536)
        except ConnectionResetError:
            break
        if not data:
            break
        total += len(data)
    print(total, time.monotonic() - start, flush=True)


def fill(address, port, seconds):
    client = socket.create_connection((address, int(port)))
    client.settimeout(float(seconds))
    end = time.monotonic() + float(seconds)
    block = b'x' * 16384
    while time.monotonic() < end:
        try:
            client.send(block)
        except socket.timeout:
            break
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\x01\x00\x00\x00\x00\x00\x00\x00')
    client.close()


if __name__ == '__main__':
    {'serve': serve, 'ask': ask, 'drain': drain, 'fill': fill}[sys.argv[1]](*sys.argv[2:])
