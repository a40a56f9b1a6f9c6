"""The memory of a session's channels: blocks that channels take as data comes and give back when it went.

Bytes come in as far as flow control allowed them: at most `window`. A channel's last block may reach beyond the data
in it, so it is a whole one for one channel at a time only, and for others as small as its data: what is held never
exceeds the window and a block. Bytes go out from as much, at least four blocks, of which each busy channel gets its
share, one block at least: if need be one for each of the eight beyond that number. While there are several channels,
whoever could take all blocks leaves one.
Called by `stream` and `receiving`.
"""

from upeer.base.compat import const

_BLOCKS = const(13)  # of a window: in one of 8424 bytes a packet fills two of 648
_FEWEST_SENT = const(4)  # two packets
_LARGEST = const(65536)
_SMALLEST = const(64)
_FREE = const(2)  # blocks that are kept for the next ones


class Pool:
    """`free` are whole blocks that serve again; sessions with windows of one size may share one list."""

    def __init__(self, window: int):
        self.block_size = min(max(window // _BLOCKS, _SMALLEST), _LARGEST)
        self.free = []
        self.tail = None  # the receive buffer whose last block is a whole one
        self.share = self.left = 0  # blocks for bytes that go out: all, those not taken
        self.resize(window)

    def resize(self, window: int) -> None:
        """Let bytes that go out have a window of another size from now on; what is taken stays."""
        share = max(window // self.block_size, _FEWEST_SENT)
        self.left += share - self.share
        self.share = share

    def take(self, size: int) -> memoryview:
        """Return a block of `size` bytes, at most block_size; MemoryError leaves all as it was."""
        if self.free and size == self.block_size:
            return self.free.pop()
        return memoryview(bytearray(size))

    def take_back(self, blocks: list, count: int) -> None:
        """Take the first `count` blocks out of a channel's list; None stands for one that never was."""
        free = self.free
        while count:
            block = blocks.pop(0)
            if block is not None and len(block) == self.block_size and len(free) < _FREE:
                free.append(block)
            count -= 1

    def take_to_send(self, held: int, streams: list) -> "memoryview | None":
        """Return a block for a stream that holds so many blocks of outgoing bytes; None if it has to wait for those.

        So it does when it has its share, and when memory has run out: MemoryError only if it holds none.
        """
        if not self.may_send(held, streams):
            return None
        try:
            return self.take(self.block_size)
        except MemoryError:
            if not held:
                raise
            return None

    def may_send(self, held: int, streams: list) -> bool:
        """Return whether a stream that holds so many blocks of outgoing bytes may have one more.

        One may always: else streams whose peer does not read would stop all others.
        """
        if not held:
            return True
        count = 0
        for stream in streams:
            if stream.blocks or stream.is_hungry:
                count += 1
        spare = len(streams) > 1
        return self.left > 0 and held + spare < self.share and (held + 1) * count <= self.share
