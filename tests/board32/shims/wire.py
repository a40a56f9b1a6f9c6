"""Datagrams through the host's sockets, which take and give text."""

from binascii import hexlify, unhexlify

import host32


def send(number, data, address):
    return host32.send(number, hexlify(data).decode(), address[0], address[1])


def receive(number):
    """Return the next (data, address), None when there is none."""
    hex, ip, port = host32.receive(number).split(" ")
    return (unhexlify(hex), (ip, int(port))) if ip else None
