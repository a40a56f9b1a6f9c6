"""A stream: a send and a receive buffer of fixed size, RFC 9000 sections 2 to 4 and protocol 7.3. Called by `session`.

Buffers are rings: the byte at stream offset n stands at n modulo the size. They are made at first use. A copy
allocates a view, two where it passes the ring's end, and nothing else.
"""

from struct import pack_into

from upeer.base.compat import const
from upeer.base.errors import LocalError, RemoteError
from upeer.base.ranges import Ranges
from upeer.base.varint import encode, put_varint
from upeer.session.frames import bad

_RESET_STREAM = const(0x04)
_STOP_SENDING = const(0x05)
_STREAM = const(0x08)
_HEADER_SIZE = const(17)  # of a STREAM frame with a large offset
_FLOW_CONTROL = const(3)
_MAX_GAPS = const(64)
_MAX_DATA = const(0x100)  # in session.pending, as bit c is MAX_STREAM_DATA of channel c
_WRITABLE = const(0x10000)  # in session.flags, shifted by the channel

_FIN_WANTED = const(1)
_FIN_SENT = const(2)
_FIN_ACKED = const(3)


def copy_in(ring, offset: int, source, pos: int, size: int) -> None:
    """Copy size bytes from the view `source` at `pos` to the ring."""
    at = offset % len(ring)
    first = len(ring) - at
    if size <= first:
        ring[at : at + size] = source[pos : pos + size]
    else:
        ring[at:] = source[pos : pos + first]
        ring[: size - first] = source[pos + first : pos + size]


def copy_out(ring, offset: int, target, pos: int, size: int) -> None:
    """Copy size bytes from the ring to the view `target` at `pos`."""
    at = offset % len(ring)
    first = len(ring) - at
    if size <= first:
        target[pos : pos + size] = ring[at : at + size]
    else:
        target[pos : pos + first] = ring[at:]
        target[pos + first : pos + size] = ring[: size - first]


class ReceiveBuffer:
    """Bytes from the first not yet read (`start`) over the first missing one (`ready`) to the last one come (`top`)."""

    def __init__(self, session, channel: int, size: int):
        self.start = 0
        self.ready = 0
        self.top = 0
        self.final = -1  # size of the whole, once known
        self.limit = size
        self.size = size
        self.reset_code = None
        self._session = session
        self._channel = channel
        self._ring: "memoryview | None" = None
        self._ranges = Ranges()

    def receive(self, source, pos: int, offset: int, size: int, fin: int) -> bool:
        """Take the data of a STREAM frame; return whether there is more to read, or the end, than before.

        RemoteError if the peer broke a rule, MemoryError if the piece cannot be kept: it has to come again.
        """
        end = offset + size
        if fin or end > self.top:
            self._check_size(end, fin)
        ready = self.ready
        if end > ready:
            if offset < ready:
                pos += ready - offset
                offset = ready
            bounds = self._ranges.bounds
            if offset > ready and len(bounds) >= 2 * _MAX_GAPS:
                raise MemoryError
            if self._ring is None:
                self._ring = self._session.new_ring(self.size)
            size = end - offset
            at = offset % self.size
            if at + size <= self.size:
                self._ring[at : at + size] = source[pos : pos + size]
            else:
                copy_in(self._ring, offset, source, pos, size)
            if offset > ready or bounds:
                self._ranges.add(offset, end)
                if bounds[0] == ready:
                    bounds.pop(0)
                    self.ready = bounds.pop(0)
            else:
                self.ready = end
        if fin:
            self.final = end
        return self.ready > ready or (self.final == self.ready and fin > 0)

    def _check_size(self, end: int, is_final) -> None:
        """Check that the stream may reach to `end`, and count what is new in it."""
        grown = end - self.top
        if self.final >= 0 and (grown > 0 or is_final and grown) or is_final and grown < 0:
            bad("final size")
        if grown > 0:
            session = self._session
            session.data_received += grown
            if end > self.limit or session.data_received > session.data_limit:
                raise RemoteError(_FLOW_CONTROL, "flow control")
            self.top = end

    def on_reset(self, code: int, final: int) -> None:
        """Handle RESET_STREAM: what was not read is gone."""
        self._check_size(final, True)
        if self.ready < final or self.final < 0:
            self.final = self.ready = final
            self.reset_code = code
            self._ranges.bounds.clear()
            self._consume(final - self.start)

    def read_into(self, target) -> int:
        """Move what has come, as much as fits, into `target`; return how many bytes that is."""
        size = min(self.ready - self.start, len(target))
        if size:
            copy_out(self._ring, self.start, target, 0, size)
            self._consume(size)
        return size

    def _consume(self, size: int) -> None:
        """Move `start`; when a quarter of a window is free the peer is told."""
        self.start += size
        session = self._session
        if session is None:
            return
        session.data_consumed += size
        if (session.data_consumed + session.data_window - session.data_limit) * 4 >= session.data_window:
            session.pending |= _MAX_DATA
        if self.final < 0 and (self.start + self.size - self.limit) * 4 >= self.size:
            session.pending |= 1 << self._channel

    def skip(self) -> None:
        """Drop what could be read."""
        self._consume(self.ready - self.start)

    def retire(self, successor) -> None:
        """Leave the session: a new generation has come. What is still here can be read on, at nobody's expense."""
        start = self.start
        self._consume(self.ready - start)
        if start == self.start:
            successor._ring = self._ring
        self.start = start
        self._session = None


class Stream:
    """One generation of a channel, both directions. Made by `Session.stream` or by the peer's first frame.

    Outgoing bytes go from the first that is not acknowledged (`start`) over the first never sent (`next`) to `end`.
    """

    def __init__(self, session, stream_id: int, size: int, limit: int):
        self.id = stream_id
        self.channel = stream_id & 7
        self.incoming = ReceiveBuffer(session, stream_id & 7, size)
        self.is_stopped = False
        self.stopped_code = None  # the peer's STOP_SENDING
        self.start = 0
        self.next = 0
        self.end = 0
        self.limit = limit  # the peer's flow control
        self.fin = 0
        self.sent_offset = 0  # the piece in the frame written last
        self.sent_length = 0
        self.size = size
        self._is_hungry = False  # the application had more than there was room for
        self._is_reset = False
        self._session = session
        self._ring: "memoryview | None" = None
        self._lost = Ranges()
        self.lost = self._lost.bounds  # of what is to be sent again
        self._acked = Ranges()

    def write(self, data, offset: int = 0) -> int:
        """Queue data[offset:]; return how many bytes were taken: fewer, even 0, when the buffer is full."""
        if self.fin:
            raise LocalError("stream is finished")
        wanted = len(data) - offset
        size = min(wanted, self.size - self.end + self.start)
        self._is_hungry = wanted > size
        if size <= 0 or not self._session.is_open:
            return 0
        if self._ring is None:
            self._ring = self._session.new_ring(self.size)
        copy_in(self._ring, self.end, memoryview(data), offset, size)
        self.end += size
        return size

    def read_into(self, buf) -> int:
        """Move received bytes into `buf` (bytearray or view); return their number, 0 if there are none now."""
        return self.incoming.read_into(buf)

    def read(self, size: int) -> bytes:
        """Return up to `size` received bytes; b"" if there are none now, or no more (`finished_in`)."""
        buf = bytearray(min(size, self.readable))
        self.incoming.read_into(buf)
        return bytes(buf)

    def __getattr__(self, name: str):
        """Compute an attribute. Properties would make MicroPython look for one at every store to the object.

        readable: how many bytes can be read now; unacked: how many written bytes the peer has not acknowledged; room:
        how many `write` would take now. finished_in: all was read that will ever come; reset_code: of the peer's
        RESET_STREAM, or None; finished_out: the peer has all from us, or knows of our reset; is_done: both.
        """
        incoming = self.incoming
        if name == "readable":
            return incoming.ready - incoming.start
        if name == "unacked":
            return self.end - self.start
        if name == "room":
            return self.size - self.end + self.start
        if name == "reset_code":
            return incoming.reset_code
        is_read = incoming.start == incoming.final
        if name == "finished_in":
            return is_read
        is_sent = self.fin == _FIN_ACKED and self.start == self.end
        if name == "finished_out":
            return is_sent
        if name == "is_done":
            return is_read and is_sent
        raise AttributeError(name)

    def finish(self) -> None:
        """Say that nothing more will be written (FIN)."""
        if not self.fin:
            self.fin = _FIN_WANTED

    def reset(self, code: int) -> None:
        """Give up our direction: what was not delivered is dropped, the peer is told `code`."""
        if self.fin != _FIN_ACKED and not self._is_reset:
            self._is_reset = True
            self._drop(_FIN_SENT)
            self._session.post(encode(_RESET_STREAM, self.id, code, self.next), self._on_reset_acked)

    def stop(self, code: int) -> None:
        """Ask the peer to give up its direction; what it sends from now on is dropped."""
        if self.incoming.final < 0:
            self._session.post(encode(_STOP_SENDING, self.id, code), None)
        self.is_stopped = True
        self.incoming.skip()

    def write_frame(self, view, pos: int, end: int, credit: int) -> int:
        """Write a STREAM frame into view[pos:end] if there is something to send; return the position behind it.

        `credit` is how much more the session's flow control allows. The piece is then in sent_offset, sent_length.
        """
        lost = self.lost
        if lost:
            offset = lost[0]
            size = lost[1] - offset
        else:
            offset = self.next
            size = min(self.end, self.limit) - offset
            if size > credit:
                size = credit
        if size > end - pos - _HEADER_SIZE:
            size = end - pos - _HEADER_SIZE
        fin = self.fin == _FIN_WANTED and offset + size == self.end
        if size <= 0 and (size or not fin):
            return pos
        view[pos] = _STREAM + fin
        pos = put_varint(view, pos + 1, self.id)
        if offset <= 0x3FFFFFFF and size < 0x4000:
            pack_into(">HHH", view, pos, offset >> 16 | 0x8000, offset & 0xFFFF, size | 0x4000)
            pos += 6
        else:
            pos = put_varint(view, put_varint(view, pos, offset), size)
        if size:
            copy_out(self._ring, offset, view, pos, size)
        self.sent_offset = offset
        self.sent_length = size << 1 | fin
        if fin:
            self.fin = _FIN_SENT
        if lost:
            self._session.retransmitted += size
            self._trim(offset + size)
        else:
            self.next = offset + size
        return pos + size

    def _trim(self, offset: int) -> None:
        """Take what is below `offset` out of what is to be sent again."""
        lost = self.lost
        while lost and lost[0] < offset:
            lost[0] = min(offset, lost[1])
            if lost[0] == lost[1]:
                lost.pop(0)
                lost.pop(0)

    def on_acked(self, offset: int, length: int) -> None:
        """Handle the delivery of a piece."""
        end = offset + (length >> 1)
        if length & 1:
            self.fin = _FIN_ACKED
        bounds = self._acked.bounds
        if bounds or offset > self.start:
            if end > offset:
                self._acked.add(offset, end)
            if not bounds or bounds[0] > self.start:
                return
            bounds.pop(0)
            end = bounds.pop(0)
        if end > self.start:
            self.start = end
            self._trim(end)
        if self.start == self.end or (self._is_hungry and (self.size - self.end + self.start) * 4 >= self.size):
            self._session.flags |= _WRITABLE << self.channel

    def on_lost(self, offset: int, length: int) -> None:
        """Send a piece again, but for what came by another packet and nothing is missing before it."""
        if length & 1 and self.fin == _FIN_SENT:
            self.fin = _FIN_WANTED
        end = min(offset + (length >> 1), self.end)
        offset = max(offset, self.start)
        if offset < end:
            self._lost.add(offset, end)

    def _drop(self, fin: int) -> None:
        self.fin = fin
        self.start = self.end = self.next
        self._ring = None
        self.lost.clear()
        self._acked.bounds.clear()

    def _on_reset_acked(self) -> None:
        self.fin = _FIN_ACKED
        self._session.flags |= _WRITABLE << self.channel

    def retire(self, successor) -> None:
        """Make way for the next generation, which takes over the buffers: the peer has all of this one."""
        successor._ring = self._ring
        self._drop(_FIN_ACKED)
        self.incoming.retire(successor.incoming)
