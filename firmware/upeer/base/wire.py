"""What all messages share: types, clear header, addresses, DID, a bounded reader (protocol, chapters 2 and 3).

Clear header of signalling messages: type[1] version[1] key_id[1] role[1]. Address: ip[4] port[2].
"""

from upeer.base.compat import const
from upeer.base.errors import LocalError, ProtocolError

_VERSION = const(1)

HELLO = const(0x80)
COOKIE = const(0x81)
LOGIN = const(0x82)
LOGIN_OK = const(0x83)
LOGIN_NO = const(0x84)
LOGIN_BEHIND = const(0x85)
CONTROL = const(0x88)
ALIVE = const(0x89)
ALIVE_OK = const(0x8A)
LOOKUP = const(0x90)
LOOKUP_ANSWER = const(0x91)
INVITE = const(0x92)
INVITE_ANSWER = const(0x93)
LAN_INVITE = const(0x98)
LAN_ANSWER = const(0x99)
JOIN = const(0xA0)
JOIN_OK = const(0xA1)
RELAYED = const(0xC0)

ROLE_MASTER = const(1)
ROLE_P2P = const(2)
ROLE_RELAY = const(3)

_ADDRESS_SIZE = const(6)
LAN_PORT = const(40717)


class Reader:
    """Reads fields one after the other out of buf[pos:end]; what is too short raises ProtocolError."""

    def __init__(self, buf: bytes, pos: int = 0, end: int | None = None):
        self.buf = buf
        self.pos = pos
        self.end = len(buf) if end is None else end

    def _take(self, size: int) -> int:
        pos = self.pos
        if not 0 <= size <= self.end - pos:
            raise ProtocolError("too short")
        self.pos = pos + size
        return pos

    def u8(self) -> int:
        """Return the next byte."""
        return self.buf[self._take(1)]

    def u16(self) -> int:
        """Return the next 2 bytes as a number."""
        pos = self._take(2)
        return self.buf[pos] << 8 | self.buf[pos + 1]

    def u32(self) -> int:
        """Return the next 4 bytes as a number."""
        return self.u16() << 16 | self.u16()

    def bytes(self, size: int) -> bytes:
        """Return a copy of the next size bytes."""
        pos = self._take(size)
        return bytes(self.buf[pos : pos + size])

    def address(self) -> tuple:
        """Return the next 6 bytes as an address."""
        return unpack_address(self.buf, self._take(_ADDRESS_SIZE))

    def header(self, kind: int) -> tuple:
        """Read a clear header of that type; return its (key_id, role)."""
        if self.u8() != kind or self.u8() != _VERSION:
            raise ProtocolError("type")
        return self.u8(), self.u8()

    def rest(self) -> bytes:
        """Return a copy of all that is left."""
        return self.bytes(self.end - self.pos)

    def done(self) -> None:
        """Check that nothing is left."""
        if self.pos != self.end:
            raise ProtocolError("too long")


def header(kind: int, key_id: int, role: int) -> bytes:
    """Return the clear header of a signalling message, 4 bytes."""
    return bytes((kind, _VERSION, key_id, role))


def u16(number: int) -> bytes:
    """Return number as 2 bytes."""
    return number.to_bytes(2, "big")


def u32(number: int) -> bytes:
    """Return number as 4 bytes."""
    return number.to_bytes(4, "big")


def with_size(data: bytes) -> bytes:
    """Return data behind its 1-byte length."""
    return bytes((len(data),)) + data


def pack_address(ip: str, port: int) -> bytes:
    """Return the 6 bytes of an IPv4 address in text and a port; LocalError when it is none."""
    try:
        parts = [int(part) for part in ip.split(".")]
        if len(parts) == 4 and 0 < port < 65536 and min(parts) >= 0:
            return bytes(parts) + u16(port)
    except ValueError:
        pass
    raise LocalError("not an IPv4 address and port: %s:%s" % (ip, port))


def unpack_address(buf: bytes, pos: int = 0) -> tuple:
    """Return the address in buf[pos:pos + 6] as sockets on the ESP32 name it: ("1.2.3.4", 1234)."""
    return "%d.%d.%d.%d" % (buf[pos], buf[pos + 1], buf[pos + 2], buf[pos + 3]), buf[pos + 4] << 8 | buf[pos + 5]


def check_did(text: str) -> str:
    """Return text when it has the form ABCD-123456-GHKLM, else raise LocalError. The check letters are not computed."""
    form = "".join("A" if "A" <= letter <= "Z" else "0" if "0" <= letter <= "9" else letter for letter in text)
    if form != "AAAA-000000-AAAAA":
        raise LocalError("not a device ID of the form ABCD-123456-GHKLM")
    return text
