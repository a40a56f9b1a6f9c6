"""The frames of a session packet: docs/protocol.md 7.2. This is their codec; `session` means something by them.

    type (8) | fields, most of them varints

Frames are written where they are needed: `acks`, `stream`, `framer`, `paths`.
"""

from upeer.base.compat import const
from upeer.base.errors import RemoteError

_PING = const(0x01)
_ACK = const(0x02)
_STREAM = const(0x08)
_MAX_DATA = const(0x10)  # and MAX_STREAM_DATA
_CHALLENGE = const(0x1A)
_RESPONSE = const(0x1B)
_CLOSE = const(0x1C)

_ACK_RANGES = const(32)  # ranges of one ACK that are looked at
_PROTOCOL_ERROR = const(2)

# Frames without a method of their own: how many varints, and 16 times how many byte strings, each behind its length.
_FIELDS = {
    0x04: 3,  # RESET_STREAM
    0x05: 2,  # STOP_SENDING
    0x10: 1,  # MAX_DATA
    0x11: 2,  # MAX_STREAM_DATA
    0x14: 1,  # DATA_BLOCKED
    0x1C: 0x11,  # CLOSE
    0x30: 0x11,  # DATAGRAM
    0x31: 0x21,  # COMMAND
    0x32: 0x12,  # COMMAND_ANSWER
}


def bad(reason: str):
    """Raise what closes the session: the peer is authentic, and wrong."""
    raise RemoteError(_PROTOCOL_ERROR, reason)


class FrameReader:
    """Reads the frames of one packet after the other and hands them to `handler`, an object with the methods

    handle_ack(highs, lows, count, delay_ms): the ranges low..high, descending; the lists serve again
    handle_stream(stream_id, offset, pos, size, fin): the data are at pos in the buffer
    handle_frame(kind, fields): any other; its fields in a list, byte strings without their length
    """

    def __init__(self, handler):
        self.buf = b""
        self.pos = 0
        self._handler = handler
        self._highs: list = []
        self._lows: list = []

    def read(self, buf, pos: int, end: int) -> bool:
        """Handle all frames in buf[pos:end]; return whether one of them asks for an acknowledgement.

        RemoteError, IndexError or ValueError on anything malformed; frames before it have been handled.
        """
        self.buf = buf
        eliciting = False
        while pos < end:
            kind = buf[pos]
            self.pos = pos + 1
            if kind & 0xFE == _STREAM:
                if buf[pos + 1] < 0x40 and buf[pos + 2] >> 6 == 2 and buf[pos + 6] >> 6 == 1:  # as `stream` writes it
                    stream_id = buf[pos + 1]
                    offset = (buf[pos + 2] & 0x3F) << 24 | buf[pos + 3] << 16 | buf[pos + 4] << 8 | buf[pos + 5]
                    size = (buf[pos + 6] & 0x3F) << 8 | buf[pos + 7]
                    pos += 8
                else:
                    stream_id = self.varint()
                    offset = self.varint()
                    size = self.varint()
                    pos = self.pos
                if size > end - pos:
                    bad("frame too long")
                self._handler.handle_stream(stream_id, offset, pos, size, kind & 1)
                pos += size
                eliciting = True
                continue
            if kind == _ACK:
                self._ack(end)
            elif kind:
                if kind & 0xFE != _MAX_DATA and (kind < _CHALLENGE or kind > _CLOSE):
                    eliciting = True
                if kind != _PING:
                    self._handler.handle_frame(kind, self._fields(kind, end))
            pos = self.pos
        if pos > end:
            bad("frame too long")
        return eliciting

    def varint(self) -> int:
        """Return the varint at `pos` and move behind it. It knows no end but the buffer's: IndexError."""
        buf = self.buf
        pos = self.pos
        value = buf[pos]
        if value < 0x40:
            self.pos = pos + 1
            return value
        if value < 0x80:
            self.pos = pos + 2
            return (value & 0x3F) << 8 | buf[pos + 1]
        self.pos = pos + 4
        low = (value & 0x3F) << 24 | buf[pos + 1] << 16 | buf[pos + 2] << 8 | buf[pos + 3]
        if value < 0xC0:
            return low
        self.pos = pos + 8
        return low << 32 | buf[pos + 4] << 24 | buf[pos + 5] << 16 | buf[pos + 6] << 8 | buf[pos + 7]

    def _ack(self, end: int) -> None:
        high = self.varint()
        delay_ms = self.varint()
        more = self.varint()
        count = 0
        while True:
            low = high - self.varint()
            if low < 0 or self.pos > end:
                bad("ACK")
            if count < _ACK_RANGES:
                if count == len(self._lows):
                    self._highs.append(0)
                    self._lows.append(0)
                self._highs[count] = high
                self._lows[count] = low
                count += 1
            if not more:
                break
            more -= 1
            high = low - 2 - self.varint()
        self._handler.handle_ack(self._highs, self._lows, count, delay_ms)

    def _fields(self, kind: int, end: int) -> list:
        if kind == _CHALLENGE:
            return [self._bytes(8, end)]
        if kind == _RESPONSE:
            return [self._bytes(8, end), self._bytes(6, end)]
        count = _FIELDS.get(kind, 0)
        if not count:
            bad("unknown frame")
        fields: list = [self.varint() for _ in range(count & 15)]
        for _ in range(count >> 4):
            fields.append(self._bytes(self.varint(), end))
        return fields

    def _bytes(self, size: int, end: int) -> bytes:
        pos = self.pos
        self.pos = pos + size
        if size > end - pos:
            bad("frame too long")
        return bytes(self.buf[pos : pos + size])
