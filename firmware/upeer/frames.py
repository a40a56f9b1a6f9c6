"""The frames of a session packet: docs/protocol.md 7.2. The session writes and handles them; this is the codec.

    type (8) | fields, most of them varints | data
"""

from upeer.compat import const
from upeer.errors import RemoteError
from upeer.varint import Reader, encode, put_varint

_PING = const(0x01)
_ACK = const(0x02)
_RESET = const(0x04)
_STOP = const(0x05)
_STREAM = const(0x08)
_MAX_DATA = const(0x10)
_MAX_STREAM_DATA = const(0x11)
_CHALLENGE = const(0x1A)
_RESPONSE = const(0x1B)
_CLOSE = const(0x1C)
_DATAGRAM = const(0x30)
_COMMAND = const(0x31)
_ANSWER = const(0x32)

_ACK_RANGES = const(32)  # ranges of one ACK that are looked at
_ACK_SPAN = const(2048)  # packets below the largest that are worth telling once more

CODE_PROTOCOL = 2
TEXT_LIMIT = 1000


def bad(reason: str):
    """Raise the error that closes the session: the peer is authentic, and wrong."""
    raise RemoteError(CODE_PROTOCOL, reason)


def write_ack(buf, pos: int, bounds: list, delay_ms: int, limit: int) -> int:
    """Write an ACK of the `limit` topmost ranges of `bounds` (not empty), 8 bytes for each at most; return its end."""
    top = len(bounds) - 1
    low = top
    floor = bounds[top] - _ACK_SPAN
    while low > 1 and top - low < 2 * limit - 2 and bounds[low - 2] > floor:
        low -= 2
    buf[pos] = _ACK
    pos = put_varint(buf, pos + 1, bounds[top] - 1)
    pos = put_varint(buf, pos, delay_ms)
    pos = put_varint(buf, pos, (top - low) >> 1)
    pos = put_varint(buf, pos, bounds[top] - bounds[top - 1] - 1)
    while top > low:
        pos = put_varint(buf, pos, bounds[top - 1] - bounds[top - 2] - 1)
        top -= 2
        pos = put_varint(buf, pos, bounds[top] - bounds[top - 1] - 1)
    return pos


def encode_reset(stream_id: int, code: int, final_size: int) -> bytearray:
    """Return a RESET_STREAM frame."""
    return encode(_RESET, stream_id, code, final_size)


def encode_stop(stream_id: int, code: int) -> bytearray:
    """Return a STOP_SENDING frame."""
    return encode(_STOP, stream_id, code)


def encode_command(request_id: int, name: str, data) -> bytearray:
    """Return a COMMAND frame; the name takes 1 to 255 bytes."""
    name = name.encode()
    frame = encode(_COMMAND, request_id)
    frame.append(len(name))
    frame += name
    frame += encode(len(data))
    frame += data
    return frame


def encode_answer(request_id: int, status: int, data) -> bytearray:
    """Return a COMMAND_ANSWER frame."""
    frame = encode(_ANSWER, request_id, status, len(data))
    frame += data
    return frame


def encode_close(code: int, reason: str) -> bytearray:
    """Return a CLOSE frame."""
    text = reason.encode()
    frame = encode(_CLOSE, code, len(text))
    frame += text
    return frame


class FrameReader(Reader):
    """Reads the frames of one packet after the other and hands them to `handler`, an object with the methods

    handle_ack(highs, lows, count, delay_ms): the ranges low..high, descending; the lists serve again
    handle_stream(stream_id, offset, pos, size, fin), handle_datagram(channel, pos, size): data at pos in the buffer
    handle_reset(stream_id, code, final_size), handle_stop(stream_id, code)
    handle_max_data(maximum), handle_max_stream_data(stream_id, maximum)
    handle_challenge(data8), handle_response(data8, observed6), handle_close(code, reason)
    handle_command(request_id, name, data), handle_answer(request_id, status, data)
    """

    def __init__(self, handler):
        super().__init__()
        self._handler = handler
        self._highs = [0] * _ACK_RANGES
        self._lows = [0] * _ACK_RANGES

    def read(self, buf, pos: int, end: int) -> bool:
        """Handle all frames in buf[pos:end]; return whether one of them asks for an acknowledgement.

        RemoteError, IndexError or ValueError on anything malformed; frames before it have been handled.
        """
        self.buf = buf
        self.pos = pos
        eliciting = False
        while pos < end:
            kind = buf[pos]
            self.pos = pos + 1
            if kind == _STREAM or kind == _STREAM + 1:
                self._stream(kind - _STREAM, end)
                eliciting = True
            elif kind == _ACK:
                self._ack(end)
            elif kind >= _CHALLENGE and kind <= _CLOSE:
                self._path_or_close(kind, end)
            elif kind:
                self._other(kind, end)
                eliciting = True
            pos = self.pos
        if pos > end:
            bad("frame too long")
        return eliciting

    def _stream(self, fin: int, end: int) -> None:
        stream_id = self.varint()
        offset = self.varint()
        size = self.varint()
        pos = self.pos
        self.pos = pos + size
        if size > end - pos:
            bad("STREAM too long")
        self._handler.handle_stream(stream_id, offset, pos, size, fin)

    def _ack(self, end: int) -> None:
        varint = self.varint
        high = varint()
        delay_ms = varint()
        more = varint()
        count = 0
        while True:
            low = high - varint()
            if low < 0 or self.pos > end:
                bad("ACK")
            if count < _ACK_RANGES:
                self._highs[count] = high
                self._lows[count] = low
                count += 1
            if not more:
                break
            more -= 1
            high = low - 2 - varint()
        self._handler.handle_ack(self._highs, self._lows, count, delay_ms)

    def _path_or_close(self, kind: int, end: int) -> None:
        handler = self._handler
        if kind == _CLOSE:
            code = self.varint()
            handler.handle_close(code, self.take(self.varint(), end).decode())
            return
        data = self.take(8, end)
        if kind == _CHALLENGE:
            handler.handle_challenge(data)
        else:
            handler.handle_response(data, self.take(6, end))

    def _other(self, kind: int, end: int) -> None:
        handler = self._handler
        if kind == _PING:
            return
        if kind == _DATAGRAM:
            self._datagram(self._byte(), end)
            return
        first = self.varint()  # all of MAX_DATA; of the others an identifier
        if kind == _MAX_DATA:
            handler.handle_max_data(first)
        elif kind == _COMMAND:
            name = self.take(self._byte(), end).decode()
            handler.handle_command(first, name, self._text(end))
        else:
            second = self.varint()
            if kind == _MAX_STREAM_DATA:
                handler.handle_max_stream_data(first, second)
            elif kind == _ANSWER:
                handler.handle_answer(first, second, self._text(end))
            elif kind == _STOP:
                handler.handle_stop(first, second)
            elif kind == _RESET:
                handler.handle_reset(first, second, self.varint())
            else:
                bad("unknown frame")

    def _datagram(self, channel: int, end: int) -> None:
        size = self.varint()
        pos = self.pos
        self.pos = pos + size
        if channel > 7 or size > end - pos:
            bad("DATAGRAM")
        self._handler.handle_datagram(channel, pos, size)

    def _byte(self) -> int:
        self.pos += 1
        return self.buf[self.pos - 1]

    def _text(self, end: int) -> bytes:
        size = self.varint()
        if size > TEXT_LIMIT:
            bad("COMMAND too long")
        return self.take(size, end)
