"""NewReno (RFC 9002 section 7) and pacing by a token bucket, in bytes. Called by `recovery`."""

from upeer.clock import ticks_add, ticks_diff
from upeer.compat import const

_INITIAL_PACKETS = const(10)
_MINIMUM_PACKETS = const(2)
_LIMIT = const(0x4000000)  # 64 MiB: ten windows are still a small int
_UNPACED_RTT8 = const(64)  # below 8 ms a tick is no measure: bursts


class NewReno:
    """`window` is the congestion window, `in_flight` what is out; both in bytes of whole packets."""

    def __init__(self, packet_size: int):
        self.packet_size = packet_size
        self.reset()

    def reset(self) -> None:
        """Start anew: another path. What is in flight on the old one does not count."""
        self.window = _INITIAL_PACKETS * self.packet_size
        self.in_flight = 0
        self.pace_deadline = None
        self._threshold = _LIMIT
        self._credit = 0
        self._tokens = self.window
        self._paced = 0

    def grow_packet(self, size: int) -> None:
        """Take note that packets may be larger from now on."""
        self.packet_size = size
        if self.window < _INITIAL_PACKETS * size and self._threshold == _LIMIT:
            self.window = _INITIAL_PACKETS * size

    def on_acked(self, size: int, growth: int) -> None:
        """Take `size` bytes out of flight; `growth` of them were sent since the last reduction and widen the window."""
        window = self.window
        is_used = self.in_flight * 2 >= window
        self.in_flight -= size
        if not is_used or not growth or window >= _LIMIT:
            return
        if window < self._threshold:
            self.window = window + growth
            return
        self._credit += growth
        if self._credit >= window:
            self._credit -= window
            self.window = window + self.packet_size

    def on_loss(self, is_persistent: bool) -> None:
        """Halve the window, or start over from the smallest."""
        minimum = _MINIMUM_PACKETS * self.packet_size
        window = 0 if is_persistent else self.window >> 1
        self.window = window if window > minimum else minimum
        if not is_persistent:
            self._threshold = self.window
        self._credit = 0

    def has_room(self, rtt8: int, now: int) -> bool:
        """Return whether a packet may go out now; if only pacing forbids it, `pace_deadline` says until when.

        `rtt8` is eight times the round-trip time in ms.
        """
        self.pace_deadline = None
        window = self.window
        if self.in_flight + self.packet_size > window:
            return False
        if rtt8 < _UNPACED_RTT8:
            return True
        rate = window * (20 if window < self._threshold else 10) // rtt8 + 1  # bytes a ms: twice or 1.25 times window / rtt
        elapsed = ticks_diff(now, self._paced)
        if elapsed:
            self._paced = now
            if elapsed < 0 or elapsed > 1000:
                elapsed = 1000
            limit = (window >> 2) + _INITIAL_PACKETS * self.packet_size
            tokens = self._tokens + elapsed * rate
            self._tokens = tokens if tokens < limit else limit
        if self._tokens > 0:
            return True
        self.pace_deadline = ticks_add(now, 1 - self._tokens // rate)
        return False

    def on_sent(self, size: int) -> None:
        """Count a packet that went out."""
        self.in_flight += size
        self._tokens -= size
