"""How many packets may go to a peer at once whose mailbox is small: protocol 7.5. Loaded only for such peers."""

from upeer.base.clock import ticks_add, ticks_diff
from upeer.base.compat import const

_TAKES_MS = const(20)  # two ticks of the peer's RTOS: in that time it takes one at least


class BurstLimit:
    """`size` packets may wait for the peer; `ends` is when it has taken them, if that is waited for."""

    def __init__(self, size: int, now: int):
        self.ends = None
        self._size = size
        self._first = 0  # packets from this number on may still wait
        self._written = now

    def has_room(self, number: int, now: int) -> bool:
        """Return whether packet `number` may go out: one sent late enough came through, or time passed."""
        taken = ticks_diff(now, self._written) // _TAKES_MS
        if taken > 0:
            self._first = min(self._first + taken, number)
        if number - self._first >= self._size:
            self.ends = ticks_add(self._written, _TAKES_MS)
            return False
        self.ends = None
        return True

    def on_written(self, now: int) -> None:
        """Note that a packet went out."""
        self._written = now

    def on_ack(self, largest: int) -> None:
        """Note that the peer took the packet `largest`, and those before it."""
        if largest >= self._first:
            self._first = largest + 1
