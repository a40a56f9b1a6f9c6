"""Pacing of packets by a token bucket: RFC 9002 7.7. Loaded only where windows are large."""

from upeer.base.clock import ticks_add, ticks_diff
from upeer.base.compat import const

_UNPACED_RTT8 = const(64)  # below 8 ms a tick is no measure: bursts
_BURST_PACKETS = const(10)


class Pacer:
    """`tokens` is how many bytes may go out at once; `deadline` is when one that is now refused will pass."""

    def __init__(self):
        self.tokens = 0
        self.deadline = None
        self._filled = 0

    def has_room(self, recovery, now: int) -> bool:
        """Return whether a packet may go out now; the bucket fills at 1.25, in slow start 2, windows a round trip."""
        self.deadline = None
        if recovery.rtt8 < _UNPACED_RTT8:
            return True
        window = recovery.window
        rate = window * (20 if window < recovery.threshold else 10) // recovery.rtt8 + 1  # bytes a ms
        elapsed = ticks_diff(now, self._filled)
        if elapsed:
            self._filled = now
            tokens = self.tokens + (elapsed if 0 < elapsed < 1000 else 1000) * rate
            self.tokens = min(tokens, (window >> 2) + _BURST_PACKETS * recovery.packet_size)
        if self.tokens > 0:
            return True
        self.deadline = ticks_add(now, 1 - self.tokens // rate)
        return False
