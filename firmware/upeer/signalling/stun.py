"""STUN Binding requests and responses (RFC 8489), for p2p servers and `upeer netcheck`; hosts only.

0 0 | type (14 bits) | length (16) | magic cookie (32) | transaction id (96) | attributes
attribute: type (16) | length (16) | value, padded to 32 bits
"""

from binascii import crc32
from struct import pack, unpack_from

from upeer.base.compat import const
from upeer.base.errors import ProtocolError
from upeer.base.wire import unpack_address

BINDING_REQUEST = const(0x0001)
BINDING_RESPONSE = const(0x0101)
HEADER_SIZE = const(20)
TRANSACTION_ID_SIZE = const(12)

XOR_MAPPED_ADDRESS = const(0x0020)
FINGERPRINT = const(0x8028)
_FIRST_OPTIONAL = const(0x8000)
_IPV4 = const(1)
_FINGERPRINT_XOR = 0x5354554E
_COOKIE = b"\x21\x12\xa4\x42"


class Message:
    """A parsed message: `kind`, `transaction_id` (12 bytes), `mapped` address or None, `has_fingerprint`.

    `unknown` lists the types of attributes that one must understand and this module does not.
    """

    def __init__(self, kind: int, transaction_id: bytes):
        self.kind = kind
        self.transaction_id = transaction_id
        self.mapped: tuple | None = None
        self.has_fingerprint = False
        self.unknown: list = []


def encode_request(transaction_id: bytes) -> bytes:
    """Return a Binding request without attributes, 20 bytes."""
    return pack(">HH", BINDING_REQUEST, 0) + _COOKIE + transaction_id


def encode_response(transaction_id: bytes, address: bytes, fingerprint: bool) -> bytes:
    """Return a Binding response, 32 bytes, 40 with FINGERPRINT; `address` is the 6 bytes of the request's source."""
    mask = b"\x21\x12" + _COOKIE
    port_and_ip = address[4:] + address[:4]
    value = bytes(a ^ b for a, b in zip(port_and_ip, mask))
    body = pack(">HHBB", XOR_MAPPED_ADDRESS, 8, 0, _IPV4) + value
    size = len(body) + (8 if fingerprint else 0)
    message = pack(">HH", BINDING_RESPONSE, size) + _COOKIE + transaction_id + body
    return message + _fingerprint(message) if fingerprint else message


def parse(data) -> Message:
    """Return the message in `data`; ProtocolError when it is none, or its FINGERPRINT is wrong."""
    data = bytes(data)
    if len(data) < HEADER_SIZE or data[0] & 0xC0 or data[4:8] != _COOKIE:
        raise ProtocolError("not STUN")
    kind, size = unpack_from(">HH", data)
    if size & 3 or HEADER_SIZE + size != len(data):
        raise ProtocolError("wrong length")
    message = Message(kind, data[8:20])
    pos = HEADER_SIZE
    while pos < len(data):
        pos = _parse_attribute(message, data, pos)
    return message


def _parse_attribute(message: Message, data: bytes, pos: int) -> int:
    """Take one attribute; return where the next one starts."""
    kind, size = unpack_from(">HH", data, pos)
    start = pos + 4
    end = start + (size + 3 & ~3)
    if end > len(data) or message.has_fingerprint:  # that one must be the last
        raise ProtocolError("attribute too long or out of place")
    value = data[start : start + size]
    if kind == FINGERPRINT:
        if data[pos:] != _fingerprint(data[:pos]):
            raise ProtocolError("wrong fingerprint")
        message.has_fingerprint = True
    elif kind == XOR_MAPPED_ADDRESS:
        if size == 8 and value[1] == _IPV4 and not message.mapped:
            mask = b"\x21\x12" + _COOKIE
            plain = bytes(a ^ b for a, b in zip(value[2:], mask))
            message.mapped = unpack_address(plain[2:] + plain[:2])
    elif kind < _FIRST_OPTIONAL:
        message.unknown.append(kind)
    return end


def _fingerprint(before: bytes) -> bytes:
    """Return the attribute FINGERPRINT for a message whose length field counts it already."""
    crc = crc32(before) & 0xFFFFFFFF ^ _FINGERPRINT_XOR
    return pack(">HHI", FINGERPRINT, 4, crc)
