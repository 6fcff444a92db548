#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Frames as an attacker writes them, and a program that sends or catches them in some namespace.

frames.py send IFNAME HEX...     sends each, then one that says the end
frames.py catch IFNAME           says "ready", then prints each frame that comes in, in hexadecimal, until the end
"""

import ipaddress
import socket
import struct
import sys

BROADCAST = 'ff:ff:ff:ff:ff:ff'
# IPv4 of no protocol (253) from 0.0.0.0, which arrives everywhere and which no kernel answers.
END = bytes.fromhex('0800' '4500002e00000000' '40fd79d4' '00000000' 'ffffffff') + b'berth-end'.ljust(26, b'\0')

RS, RA, NS, NA, REDIRECT = 133, 134, 135, 136, 137


def mac_bytes(mac):
    return bytes.fromhex(mac.replace(':', ''))


def link_local(mac):
    """As RFC 4291, appendix A."""
    one = mac_bytes(mac)
    return str(ipaddress.IPv6Address(b'\xfe\x80' + bytes(6) + bytes([one[0] ^ 2]) + one[1:3] + b'\xff\xfe' + one[3:]))


def ethernet(source, destination, protocol, payload, tags=()):
    """tags: (protocol, VLAN), the outer one first."""
    text = mac_bytes(destination) + mac_bytes(source)
    for kind, vlan in tags:
        text += struct.pack('!HH', kind, vlan)
    return (text + struct.pack('!H', protocol) + payload).ljust(60, b'\0')


def arp(source, sender, target, operation=1, destination=BROADCAST, hardware=None, tags=()):
    """From the MAC address source: the address sender is at hardware, or else at source."""
    payload = struct.pack('!HHBBH', 1, 0x0800, 6, 4, operation)
    payload += mac_bytes(hardware or source) + socket.inet_aton(sender)
    payload += mac_bytes('00:00:00:00:00:00' if operation == 1 else destination) + socket.inet_aton(target)
    return ethernet(source, destination, 0x0806, payload, tags)


def reverse_arp(source, sender, destination=BROADCAST):
    payload = struct.pack('!HHBBH', 1, 0x0800, 6, 4, 4) + (mac_bytes(source) + socket.inet_aton(sender)) * 2
    return ethernet(source, destination, 0x8035, payload)


def in_snap(frame):
    """The same in a frame of IEEE 802.3: length, LLC, SNAP."""
    payload = bytes.fromhex('aaaa03000000') + frame[12:]
    return frame[:12] + struct.pack('!H', len(payload)) + payload


def ip4(source, address, to, protocol, body, destination=BROADCAST, fragment=0):
    header = struct.pack('!BBHHHBBH', 0x45, 0, 20 + len(body), 1, fragment, 255, protocol, 0)
    both = socket.inet_aton(address) + socket.inet_aton(to)
    header = header[:10] + struct.pack('!H', checksum(header + both))
    return ethernet(source, destination, 0x0800, header + both + body)


def udp4(source, address, to, ports, destination=BROADCAST, fragment=0):
    """ports: from, to. Without a checksum."""
    return ip4(source, address, to, 17, struct.pack('!HHHH', *ports, 40, 0) + bytes(32), destination, fragment)


def udp6(source, address, to, ports, destination, extension=b''):
    """extension: a header whose first byte says UDP, behind the number that announces it."""
    body = struct.pack('!HHHH', *ports, 40, 0xffff) + bytes(32)
    both = ipaddress.IPv6Address(address).packed + ipaddress.IPv6Address(to).packed
    kind, extension = (extension[0], extension[1:]) if extension else (17, b'')
    return ethernet(source, destination, 0x86dd,
                    struct.pack('!IHBB', 6 << 28, len(extension + body), kind, 255) + both + extension + body)


def checksum(data):
    total = sum(struct.unpack(f'!{len(data) // 2}H', data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def icmp6(source, kind, address, to, body, destination, options=b''):
    """options: an extension header for destinations, whose first byte says ICMPv6."""
    both = ipaddress.IPv6Address(address).packed + ipaddress.IPv6Address(to).packed
    message = struct.pack('!BBH', kind, 0, 0) + body
    total = checksum(both + struct.pack('!II', len(message), 58) + message)
    message = message[:2] + struct.pack('!H', total) + message[4:]
    header = struct.pack('!IHBB', 6 << 28, len(options + message), 60 if options else 58, 255) + both
    return ethernet(source, destination, 0x86dd, header + options + message)


def link_option(kind, mac):
    """kind 1: source, 2: target."""
    return bytes([kind, 1]) + mac_bytes(mac)


def advertise(source, target, to, destination, address=None, options=b''):
    """Unsolicited, overriding: target is at source."""
    body = struct.pack('!I', 0x20000000) + ipaddress.IPv6Address(target).packed + link_option(2, source)
    return icmp6(source, NA, address or target, to, body, destination, options)


def solicit(source, address, target, destination, to=None):
    """From "::" a probe, without the option."""
    body = bytes(4) + ipaddress.IPv6Address(target).packed
    body += b'' if address == '::' else link_option(1, source)
    return icmp6(source, NS, address, to or 'ff02::1', body, destination)


def main(verb, link, *frames):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3 if verb == 'catch' else 0)) as raw:
        raw.bind((link, 3 if verb == 'catch' else 0))
        for frame in frames:
            raw.send(bytes.fromhex(frame))
        if verb == 'send':
            raw.send(bytes([0xff] * 6) + raw.getsockname()[4] + END)
            return
        print('ready', flush=True)
        while True:
            frame, address = raw.recvfrom(4096)
            if address[2] == socket.PACKET_OUTGOING:
                continue
            if frame[12:] == END:
                return
            print(frame.hex(), flush=True)


if __name__ == '__main__':
    main(*sys.argv[1:])
