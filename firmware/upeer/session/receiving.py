"""The bytes of one channel that came and were not read yet: RFC 9000 sections 2 to 4 and protocol 7.3. See `pool`.

Called by `stream` and `framer`. Blocks follow each other from the stream offset `base` on. A copy allocates a view and
two slices, and nothing else once the pool is warm.
"""

from upeer.base.compat import const
from upeer.base.errors import RemoteError
from upeer.base.ranges import add_range
from upeer.session.frames import bad

_FLOW_CONTROL = const(3)
_MAX_GAPS = const(64)
_MAX_DATA = const(0x100)  # in session.pending, as bit c is MAX_STREAM_DATA of channel c

NOTHING: list = ()  # type: ignore[assignment]  # no ranges: a list is made for the first one


class ReceiveBuffer:
    """Bytes from the first not yet read (`start`) over the first missing one (`ready`) to the last one come (`top`).

    `base` is where the first block begins, and what the peer is given credit from: `limit` is how far it may go.
    """

    reset_code: "int | None" = None  # of the class until it is set, see Session

    def __init__(self, session, channel: int, window: int):
        self.start = self.base = 0
        self.ready = 0
        self.top = 0
        self.final = -1  # size of the whole, once known
        self.limit = window
        self.told = 0  # `base` when the peer was told that limit
        self._session = session
        self._channel = channel
        self._blocks: list = []  # None: what comes is dropped
        self._ranges: list = NOTHING  # what came behind a gap

    def receive(self, source, pos: int, offset: int, size: int, fin: int) -> bool:
        """Take the data of a STREAM frame; return whether there is more to read, or the end, than before.

        RemoteError if the peer broke a rule, MemoryError if the piece cannot be kept: it has to come again.
        """
        end = offset + size
        if fin or self.final >= 0:
            self._check_final(end, fin)
        if end > self.top:
            session = self._session
            session.data_received += end - self.top
            if end > self.limit or session.data_received > session.data_limit:
                raise RemoteError(_FLOW_CONTROL, "flow control")
            self.top = end
        ready = self.ready
        if self._blocks is None:
            self._drop()
        elif end > ready and size:
            if offset < ready:
                pos += ready - offset
                offset = ready
            is_apart = offset > ready or len(self._ranges) > 0
            if offset > ready and len(self._ranges) >= 2 * _MAX_GAPS:
                raise MemoryError
            self._store(source, pos, offset, end)
            if is_apart:
                self._join(offset, end)
            else:
                self.ready = end
        if fin:
            self.final = end
        return self.ready > ready or (self.final == self.ready and fin > 0)

    def _check_final(self, end: int, fin) -> None:
        """Check that the stream may reach to `end`, or end there: its end is known, or told now."""
        if self.final >= 0 and (end > self.final or fin and end != self.final) or fin and end < self.top:
            bad("final size")

    def _join(self, offset: int, end: int) -> None:
        """Note a piece that was stored while something before it was missing, or is."""
        ranges = self._ranges = self._ranges or []
        add_range(ranges, offset, end)
        if ranges[0] == self.ready:
            ranges.pop(0)
            self.ready = ranges.pop(0)

    def _store(self, source, pos: int, offset: int, end: int) -> None:
        blocks = self._blocks
        pool = self._session.pool
        size = pool.block_size
        at = offset - self.base
        index = at // size
        at %= size
        while True:
            count = size - at
            if count > end - offset:
                count = end - offset
            if index < len(blocks):
                block = blocks[index]
                if block is None or len(block) < at + count:
                    block = self._new_block(index, block)
            elif index == len(blocks) and pool.free and pool.tail is self:
                block = pool.free.pop()
                blocks.append(block)
            else:
                block = self._new_block(index, None)
            block[at : at + count] = source[pos : pos + count]
            offset += count
            if offset == end:
                return
            pos += count
            index += 1
            at = 0

    def _new_block(self, index: int, old):
        """Put a block there, with what the smaller one there holds; MemoryError leaves all as it was.

        Only the last block may be a small one: the one before it is replaced first.
        """
        pool = self._session.pool
        blocks = self._blocks
        size = pool.block_size
        if index >= len(blocks) > 0 and blocks[-1] is not None and len(blocks[-1]) < size:
            self._new_block(len(blocks) - 1, blocks[-1])
        if not self._take_tail(pool):
            size = min(size, self.top - self.base - index * size)
        block = pool.take(size)
        if old is not None:
            block[: len(old)] = old
        while len(blocks) < index:
            blocks.append(None)
        if index < len(blocks):
            blocks[index] = block
        else:
            blocks.append(block)
        return block

    def _take_tail(self, pool) -> bool:
        """Be the one whose last block is a whole one, unless another is and holds something."""
        if pool.tail is None or not pool.tail._blocks:
            pool.tail = self
        return pool.tail is self

    def on_reset(self, code: int, final: int) -> None:
        """Handle RESET_STREAM: what was not read is gone."""
        is_known = self.final >= 0
        self.receive(b"", 0, final, 0, 1)
        if self.ready < final or not is_known:
            self.reset_code = code
            self._drop()

    def read_into(self, target) -> int:
        """Move what has come, as much as fits, into `target`; return how many bytes that is."""
        start = self.start
        size = self.ready - start
        if size > len(target):
            size = len(target)
        if not size:
            return 0
        done = 0
        at = start - self.base
        for block in self._blocks:
            end = done + len(block) - at
            if end <= size and not at:
                target[done:end] = block  # no slice of the block: slices are garbage
            else:
                end = min(end, size)
                target[done:end] = block[at : at + end - done]
                at = 0
            if end == size:
                break
            done = end
        self.consume(size)
        return size

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes of what has come."""
        size = min(self.ready - self.start, size)
        if not size:
            return b""
        at = self.start - self.base
        if at + size <= len(self._blocks[0]):
            data = bytes(self._blocks[0][at : at + size])
            self.consume(size)
            return data
        data = bytearray(size)
        self.read_into(memoryview(data))
        return bytes(data)

    def peek(self) -> memoryview:
        """Return a view of what has come in the first block (there is something); valid until it is consumed."""
        at = self.start - self.base
        block = self._blocks[0]
        return block[at : min(len(block), at + self.ready - self.start)]

    def consume(self, size: int) -> None:
        """Move `start`, and `base` with the blocks that are used up; the peer is told of 3/8 of a window."""
        self.start = start = self.start + size
        blocks = self._blocks
        base = old = self.base
        if start == self.top:
            count = len(blocks) if blocks else 0
            base = start
        else:  # all but the last block have one size, and that is not used up
            count = (start - base) // len(blocks[0])
            base += count * len(blocks[0])
        self.base = base
        session = self._session
        if session is None:
            while count:
                blocks.pop(0)
                count -= 1
        elif base > old:
            session.pool.take_back(blocks, count)
            session.data_consumed += base - old
            window = session.data_window
            if (session.data_consumed + window - session.data_limit) * 8 >= window * 3:
                session.pending |= _MAX_DATA
            if self.final < 0 and (base - self.told) * 8 >= (self.limit - self.told) * 3:
                session.pending |= 1 << self._channel

    def _drop(self) -> None:
        """Drop everything up to `top`, what is missing in it too."""
        self._ranges = NOTHING
        self.ready = self.top
        self.consume(self.top - self.start)

    def discard(self) -> None:
        """Drop what came and what will come: nobody reads it."""
        self._drop()
        self._blocks = None  # type: ignore[assignment]

    def retire(self) -> None:
        """Leave the session: a new generation has come. What is still here can be read on, at nobody's expense."""
        if self._session.pool.tail is self:
            self._session.pool.tail = None
        self._session.data_consumed += self.top - self.base
        self._session = None
