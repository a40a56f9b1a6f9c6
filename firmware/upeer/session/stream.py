"""A stream: what goes out on one channel, and with `receiving` what comes in. RFC 9000 sections 2 to 4, protocol 7.3.

Called by `framer`. Outgoing bytes stand in blocks of the session's pool until they are acknowledged; the first block
begins at the stream offset `_base`. A copy allocates a view and two slices, and nothing else once the pool is warm.
"""

from struct import pack_into

from upeer.base.compat import const
from upeer.base.errors import LocalError
from upeer.base.ranges import add_range
from upeer.base.varint import encode, put_varint
from upeer.session.receiving import NOTHING, ReceiveBuffer

_RESET_STREAM = const(0x04)
_STOP_SENDING = const(0x05)
_STREAM = const(0x08)
_HEADER_SIZE = const(17)  # of a STREAM frame with a large offset
_WRITABLE = const(0x10000)  # in session.flags, shifted by the channel

# `fin`: 0, or how far the end of our direction is.
_FIN_WANTED = const(1)
_FIN_SENT = const(2)
_FIN_ACKED = const(3)
_RESET_SENT = const(4)


class Stream:
    """One generation of a channel, both directions. Made by `Session.stream` or by the peer's first frame.

    Outgoing bytes go from the first that is not acknowledged (`start`) over the first never sent (`next`) to `end`.
    """

    def __init__(self, session, stream_id: int, window: int, limit: int):
        self.id = stream_id
        self.channel = stream_id & 7
        self.incoming = ReceiveBuffer(session, stream_id & 7, window)
        self.stopped_code = None  # the peer's STOP_SENDING
        self.start = self._base = 0
        self.next = 0
        self.end = 0
        self.limit = limit  # the peer's flow control
        self.fin = 0
        self.sent_offset = 0  # the piece in the frame written last
        self.sent_length = 0
        self.is_hungry = False  # the application had more than there was room for
        self.blocks: list = []
        self.lost: list = NOTHING  # ranges to be sent again
        self._acked: list = NOTHING  # ranges behind one that is not acknowledged
        self._session = session

    def write(self, data, offset: int = 0) -> int:
        """Queue data[offset:]; return how many bytes were taken: fewer, even 0, when the pool has no more for them."""
        if self.fin:
            raise LocalError("stream is finished")
        wanted = len(data) - offset
        session = self._session
        if wanted <= 0 or not session.is_open:
            return 0
        self.is_hungry = True
        size = session.pool.block_size
        at = self.end - self._base
        view = memoryview(data)
        done = 0
        while done < wanted:
            index = at // size
            if index == len(self.blocks):
                block = session.pool.take_to_send(index, session.streams)
                if block is None:
                    self.end += done
                    return done
                self.blocks.append(block)
                session.pool.left -= 1
            pos = at % size
            count = min(size - pos, wanted - done)
            self.blocks[index][pos : pos + count] = view[offset : offset + count]
            offset += count
            done += count
            at += count
        self.end += done
        self.is_hungry = False
        return done

    def read_into(self, buf) -> int:
        """Move received bytes into `buf` (bytearray or view); return their number, 0 if there are none now."""
        return self.incoming.read_into(buf)

    def read(self, size: int) -> bytes:
        """Return up to `size` received bytes; b"" if there are none now, or no more (`finished_in`)."""
        return self.incoming.read(size)

    def __getattr__(self, name: str):
        """Compute an attribute. Properties would make MicroPython look for one at every store to the object.

        readable: how many bytes can be read now; unacked: how many written bytes the peer has not acknowledged.
        finished_in: all was read that will ever come; reset_code: of the peer's RESET_STREAM, or None; finished_out:
        the peer has all from us, or knows of our reset; is_done: both.
        """
        incoming = self.incoming
        if name == "readable":
            return incoming.ready - incoming.start
        if name == "unacked":
            return self.end - self.start
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
        if self.fin < _FIN_ACKED:
            self._session.post(encode(_RESET_STREAM, self.id, code, self.next), self._on_reset_acked)
            self._drop(_RESET_SENT)

    def stop(self, code: int) -> None:
        """Ask the peer to give up its direction; what it sends from now on is dropped."""
        if self.incoming.final < 0:
            self._session.post(encode(_STOP_SENDING, self.id, code), None)
        self.incoming.discard()

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
            self._copy_out(view, pos, offset, size)
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

    def _copy_out(self, view, pos: int, offset: int, size: int) -> None:
        block_size = self._session.pool.block_size
        at = offset - self._base
        index = at // block_size
        at %= block_size
        while True:
            count = min(block_size - at, size)
            view[pos : pos + count] = self.blocks[index][at : at + count]
            size -= count
            if not size:
                return
            pos += count
            index += 1
            at = 0

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
        acked = self._acked
        if acked or offset > self.start:
            if end > offset:
                acked = self._acked = acked or []
                add_range(acked, offset, end)
            if not acked or acked[0] > self.start:
                return
            acked.pop(0)
            end = acked.pop(0)
        if end > self.start:
            self.start = end
            self._trim(end)
            self._release()
        if self.start == self.end:
            self._session.flags |= _WRITABLE << self.channel

    def _release(self) -> None:
        """Give back the blocks whose bytes are all acknowledged, and have those told that wait for some."""
        session = self._session
        pool = session.pool
        blocks = self.blocks
        size = pool.block_size
        if self.start == self.end:
            count = len(blocks)
            self._base = self.end
        else:
            count = (self.start - self._base) // size
            self._base += count * size
        pool.left += count
        pool.take_back(blocks, count)
        if pool.left * 4 >= pool.share:
            for stream in session.streams:
                if stream.is_hungry:
                    session.flags |= _WRITABLE << stream.channel

    def on_lost(self, offset: int, length: int) -> None:
        """Send a piece again, but for what came by another packet and nothing is missing before it."""
        if length & 1 and self.fin == _FIN_SENT:
            self.fin = _FIN_WANTED
        end = min(offset + (length >> 1), self.end)
        offset = max(offset, self.start)
        if offset < end:
            self.lost = self.lost or []
            add_range(self.lost, offset, end)

    def _drop(self, fin: int) -> None:
        self.fin = fin
        self.start = self.end = self.next
        self.is_hungry = False
        self.lost = self._acked = NOTHING
        self._release()

    def _on_reset_acked(self) -> None:
        self.fin = _FIN_ACKED
        self._session.flags |= _WRITABLE << self.channel

    def retire(self) -> None:
        """Make way for the next generation: the peer has all of this one."""
        self._drop(_FIN_ACKED)
        self.incoming.retire()
