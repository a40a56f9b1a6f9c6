"""Invite in the local network (protocol, chapter 5.3): broadcast to LAN_PORT, answered from the device's socket.

    LAN_INVITE 0x98 | header (24) | invite_id (64) | tag (128) | handshake message 1
    LAN_ANSWER 0x99 | header (24) | invite_id (64) | handshake message 2
tag = first half of HMAC(LAN key, header | invite_id | message 1). The role is 0: no server is meant. The client's end
is in `connect`.
"""

from upeer.base.compat import const
from upeer.base.errors import ProtocolError
from upeer.base.wire import LAN_ANSWER, LAN_INVITE, Reader, header
from upeer.crypto.aead import Hmac, equal

_TAG_START = const(12)
_MIN_MESSAGE = const(64)


class LanInvite:
    """A LAN_INVITE that came in: `key_id`, `invite_id`, `message`. Of whom it is, matches tells. ProtocolError."""

    def __init__(self, data: bytes):
        reader = Reader(data)
        self.key_id, role = reader.header(LAN_INVITE)
        self.invite_id = reader.bytes(8)
        self._tag = reader.bytes(16)
        self.message = reader.rest()
        self._start = bytes(data[:_TAG_START])
        if role or len(self.message) < _MIN_MESSAGE:
            raise ProtocolError("no LAN_INVITE")

    def matches(self, key: bytes) -> bool:
        """Return whether the holder of this LAN key made it; constant time."""
        return equal(Hmac(key).tag(self._start, self.message), self._tag)


def encode_answer(key_id: int, invite_id: bytes, message: bytes) -> bytes:
    """Return a LAN_ANSWER: 12 bytes and the handshake message."""
    return header(LAN_ANSWER, key_id, 0) + invite_id + message
