"""Packet numbers that came: replays are told from new ones, and what asks for it is acknowledged. Protocol 7.1, 7.5."""

from upeer.base.clock import ticks_add, ticks_diff
from upeer.base.compat import const
from upeer.base.ranges import add_range, has_value, keep_highest
from upeer.base.varint import put_varint

_ACK_DELAY_MS = const(25)
_KEPT_RANGES = const(32)  # so that any of the last 64 packets may be missing
_SENT_RANGES = const(32)  # twice the number of ranges beside the topmost one
_FEW_RANGES = const(8)
_SPAN = const(2048)  # packets below the largest that are worth telling once more
_ACK = const(0x02)


class Acks:
    """`deadline` is when an ACK has to go out, None if nothing is to be acknowledged; `every` so many packets ask."""

    def __init__(self, every: int = 2):
        self._every = every
        self.deadline = None
        self._received = []  # ranges of packet numbers
        self._expected = 0  # packet number after the largest
        self._floor = 0  # packet numbers below are as good as received
        self._largest_time = 0
        self._count = 0

    def number(self, buf) -> int:
        """Return the whole number of the packet buf (RFC 9000 A.3), -1 if that packet came before or is too old."""
        high = buf[4] << 8 | buf[5]
        low = buf[6] << 8 | buf[7]
        expected = self._expected
        number = high << 16 | low if high < 0x2000 else -1
        if number < 0 or expected > 0x1FFFFFFF:  # else small ints all the way
            number = expected >> 32 << 32 | high << 16 | low
            if number <= expected - 0x80000000:
                number += 0x100000000
            elif number > expected + 0x80000000 and number >= 0x100000000:
                number -= 0x100000000
        if number < expected and (number < self._floor or has_value(self._received, number)):
            return -1
        return number

    def on_received(self, number: int, eliciting: bool, now: int) -> None:
        """Note a packet; acknowledge at once the first that asks for it, what is out of order, and the every-th since.

        MemoryError leaves all as it was.
        """
        bounds = self._received
        if bounds and bounds[-1] == number:
            bounds[-1] = number + 1
        else:
            add_range(bounds, number, number + 1)
            self._floor = max(self._floor, keep_highest(bounds, _KEPT_RANGES))
            self._count = self._every
        if number >= self._expected:
            self._expected = number + 1
            self._largest_time = now
        if eliciting:
            self._count += 1
            if self._count >= self._every:
                self.deadline = now
            elif self.deadline is None:
                self.deadline = ticks_add(now, _ACK_DELAY_MS)

    def write(self, view, pos: int, is_short, now: int) -> int:
        """Write an ACK (something came before), 52 or 148 bytes at most; return the position behind it."""
        bounds = self._received
        top = len(bounds) - 1
        low = max(top - (_FEW_RANGES if is_short else _SENT_RANGES), 1)
        while bounds[low] < bounds[top] - _SPAN:
            low += 2
        view[pos] = _ACK
        pos = put_varint(view, pos + 1, bounds[top] - 1)
        delay_ms = ticks_diff(now, self._largest_time)
        if 0 <= delay_ms < 0x40:
            view[pos] = delay_ms
            pos += 1
        else:
            pos = put_varint(view, pos, max(delay_ms, 0))
        view[pos] = top - low >> 1
        pos += 1
        while True:
            pos = put_varint(view, pos, bounds[top] - bounds[top - 1] - 1)
            if top == low:
                return pos
            pos = put_varint(view, pos, bounds[top - 1] - bounds[top - 2] - 1)
            top -= 2

    def on_sent(self) -> None:
        """Note that all is acknowledged."""
        self.deadline = None
        self._count = 0
