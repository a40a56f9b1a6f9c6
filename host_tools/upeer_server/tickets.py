"""The tickets to p2p servers that masters give out, sealed under the key of that server (protocol, 4.2 and 5.1).

device ticket: expiry (32 bits) | login key (256) | epoch (32) | DID (136)
client ticket: expiry (32) | invite id (64) | client's IP (32) | client key (256) | lookup token (128)
Those to relays are in upeer_server.relay.
"""

import struct
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from upeer.base.errors import ProtocolError
from upeer.crypto.aead import Aead

DEVICE_TICKET_LIFE_S = 3600
CLIENT_TICKET_LIFE_S = 60

_DEVICE = (struct.Struct(">I32sI17s"), b"device ticket")
_CLIENT = (struct.Struct(">I8s4s32s16s"), b"client ticket")

RandomBytes = Callable[[int], bytes]


class DeviceTicket(NamedTuple):
    """Lets one device log in at one p2p server."""

    expiry: int
    login_key: bytes
    epoch: int
    did: bytes


class ClientTicket(NamedTuple):
    """Lets one client address send one invite; `client_ip` is 4 bytes."""

    expiry: int
    invite_id: bytes
    client_ip: bytes
    client_key: bytes
    lookup_token: bytes


Ticket = TypeVar("Ticket", DeviceTicket, ClientTicket)


def seal_device_ticket(key: Aead, ticket: DeviceTicket, random_bytes: RandomBytes) -> bytes:
    """Return the sealed ticket, 96 bytes."""
    return _seal(_DEVICE, key, ticket, random_bytes)


def seal_client_ticket(key: Aead, ticket: ClientTicket, random_bytes: RandomBytes) -> bytes:
    """Return the sealed ticket, 112 bytes."""
    return _seal(_CLIENT, key, ticket, random_bytes)


def open_device_ticket(key: Aead, sealed: bytes, unix: int) -> DeviceTicket:
    """Return the ticket; ProtocolError when it is not authentic or has expired."""
    return _unexpired(DeviceTicket(*_open(_DEVICE, key, sealed)), unix)


def open_client_ticket(key: Aead, sealed: bytes, unix: int) -> ClientTicket:
    """Return the ticket; ProtocolError when it is not authentic or has expired."""
    return _unexpired(ClientTicket(*_open(_CLIENT, key, sealed)), unix)


def _seal(form: tuple[struct.Struct, bytes], key: Aead, fields: tuple, random_bytes: RandomBytes) -> bytes:  # type: ignore[type-arg]
    return key.seal(int.from_bytes(random_bytes(16), "big"), form[0].pack(*fields), form[1])


def _open(form: tuple[struct.Struct, bytes], key: Aead, sealed: bytes) -> tuple:  # type: ignore[type-arg]
    text = key.open(sealed, form[1])
    if len(text) != form[0].size:
        raise ProtocolError("not a ticket")
    return form[0].unpack(text)


def _unexpired(ticket: Ticket, unix: int) -> Ticket:
    if ticket.expiry < unix:
        raise ProtocolError("ticket has expired")
    return ticket
