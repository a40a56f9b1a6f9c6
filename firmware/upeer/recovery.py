"""Loss recovery: RFC 9002, one packet number space. Knows what each ack-eliciting packet carried until its fate is known.

Records stand in a ring of parallel lists, made once, in the order of sending; nothing is allocated per packet. A packet that
held stream data names the SendBuffer and the piece of it, and tells it `on_acked` or `on_lost`; all else that it carried is
a bit mask, of which the owner is told: on_delivery(control, packet_number, is_acked).
"""

from upeer.clock import earlier, ticks_add, ticks_diff
from upeer.compat import const
from upeer.congestion import NewReno
from upeer.frames import bad

PROBE = const(0x800)  # bit of the mask: a path MTU probe, whose loss says nothing about congestion

_INITIAL_RTT_MS = const(333)
_PACKET_THRESHOLD = const(3)
_ACK_DELAY_MS = const(25)
_GRANULARITY_MS = const(10)
_BACKOFF_LIMIT = const(6)
_PTO_LIMIT_MS = const(8000)
_FREE = const(-1)


class Recovery:
    """`records` is how many packets may be out at once, a power of two."""

    def __init__(self, owner, records: int, packet_size: int):
        self.congestion = NewReno(packet_size)
        self.next_number = 0
        self.largest_acked = -1
        self.probes = 0  # packets that may go out whatever the window says
        self.pto_count = 0
        self.lost = 0
        self._owner = owner
        self._mask = records - 1
        self._first = 0  # oldest record whose fate is open, counted from the start of the session
        self._next = 0
        self._numbers = [0] * records
        self._times = [_FREE] * records
        self._sizes = [0] * records
        self._controls = [0] * records
        self._streams = [None] * records
        self._offsets = [0] * records
        self._lengths = [0] * records  # size of the piece * 2 + FIN
        self._reduced = 0  # packets below this number were sent before the last reduction of the window
        self._path_number = 0  # ... and these on another path
        self._old_delay = 0
        self._loss_time = None
        self._last_sent = 0
        self._set_rtt(0)

    def _set_rtt(self, rtt: int) -> None:
        self._has_sample = False
        self._latest = self._minimum = rtt
        rtt = rtt or _INITIAL_RTT_MS
        self.rtt8 = rtt * 8
        self._var4 = rtt * 2

    def pto(self) -> int:
        """Return the probe time-out in ms, without back-off."""
        var4 = self._var4
        return (self.rtt8 >> 3) + (var4 if var4 > _GRANULARITY_MS else _GRANULARITY_MS) + _ACK_DELAY_MS

    def _loss_delay(self) -> int:
        rtt = self.rtt8 >> 3
        if self._latest > rtt:
            rtt = self._latest
        return (rtt * 9 >> 3) + 2

    def is_full(self) -> bool:
        """Return whether there is no record for another packet."""
        return self._next - self._first > self._mask

    def has_room(self, now: int) -> bool:
        """Return whether an ack-eliciting packet may go out now."""
        return not self.is_full() and (self.probes > 0 or self.congestion.has_room(self.rtt8, now))

    def on_sent(self, number: int, size: int, control: int, stream, now: int) -> None:
        """Record an ack-eliciting packet; `stream` is the SendBuffer that it carries a piece of, or None."""
        slot = self._next & self._mask
        self._next += 1
        self._numbers[slot] = number
        self._times[slot] = self._last_sent = now
        self._sizes[slot] = size
        self._controls[slot] = control
        self._streams[slot] = stream
        if stream is not None:
            self._offsets[slot] = stream.sent_offset
            self._lengths[slot] = stream.sent_length
        if self.probes:
            self.probes -= 1
        self.congestion.on_sent(size)

    def on_ack(self, highs: list, lows: list, count: int, delay_ms: int, now: int) -> bool:
        """Handle an ACK; return whether it was the first for some packet. RemoteError for a packet never sent."""
        largest = highs[0]
        if largest >= self.next_number:
            bad("ACK of a packet not sent")
        numbers = self._numbers
        times = self._times
        acked = growth = 0
        newest = sent = -1
        i = self._first
        while i != self._next:
            slot = i & self._mask
            number = numbers[slot]
            if number > largest:
                break
            i += 1
            if times[slot] < 0:
                continue
            while highs[count - 1] < number:
                count -= 1
            if lows[count - 1] <= number:
                newest = number
                sent = times[slot]
                acked += self._sizes[slot]
                if number >= self._reduced:
                    growth += self._sizes[slot]
                self._on_acked(slot, number)
        if newest < 0 and largest <= self.largest_acked:
            return False
        if newest == largest and newest >= self._path_number:
            self._sample_rtt(ticks_diff(now, sent), delay_ms)
        if largest > self.largest_acked:
            self.largest_acked = largest
        self.congestion.on_acked(acked, growth)
        self._detect_lost(now)
        if newest >= 0:
            self.pto_count = 0
        return newest >= 0

    def _on_acked(self, slot: int, number: int) -> None:
        self._times[slot] = _FREE
        stream = self._streams[slot]
        if stream is not None:
            self._streams[slot] = None
            stream.on_acked(self._offsets[slot], self._lengths[slot])
        if self._controls[slot]:
            self._owner.on_delivery(self._controls[slot], number, True)

    def _sample_rtt(self, rtt: int, delay_ms: int) -> None:
        self._latest = rtt
        if not self._has_sample:
            self._set_rtt(rtt)
            self._latest = self._minimum = rtt
            self._has_sample = True
            self.rtt8 = rtt * 8
            self._var4 = rtt * 2
            return
        if rtt < self._minimum:
            self._minimum = rtt
        if delay_ms > _ACK_DELAY_MS:
            delay_ms = _ACK_DELAY_MS
        if rtt - delay_ms >= self._minimum:
            rtt -= delay_ms
        difference = rtt - (self.rtt8 >> 3)
        self.rtt8 += difference
        self._var4 += (difference if difference > 0 else -difference) - (self._var4 >> 2)

    def _detect_lost(self, now: int) -> None:
        """Find what is lost by packet or time threshold; free the records at the front whose fate is known."""
        self._loss_time = None
        delay = self._loss_delay()
        begin = _FREE  # when the first of a run of lost packets was sent
        i = self._first
        while i != self._next:
            slot = i & self._mask
            number = self._numbers[slot]
            if number > self.largest_acked:
                break
            i += 1
            sent = self._times[slot]
            if sent < 0:
                begin = _FREE
                continue
            is_old = number < self._path_number  # nothing can be said from its order
            deadline = ticks_add(sent, self._old_delay if is_old else delay)
            if ticks_diff(deadline, now) > 0 and (is_old or number > self.largest_acked - _PACKET_THRESHOLD):
                self._loss_time = earlier(self._loss_time, deadline)
                begin = _FREE
                continue
            self._on_lost(slot, number)
            if begin < 0:
                begin = sent
            if not is_old and self._has_sample and ticks_diff(sent, begin) > 3 * self.pto():
                self.congestion.on_loss(True)
        i = self._first
        while i != self._next and self._times[i & self._mask] < 0:
            i += 1
        self._first = i

    def _on_lost(self, slot: int, number: int) -> None:
        self._times[slot] = _FREE
        self.congestion.in_flight -= self._sizes[slot]
        if number >= self._reduced and not self._controls[slot] & PROBE:
            self._reduced = self.next_number
            self.congestion.on_loss(False)
        self.lost += 1
        self._requeue(slot)
        self._streams[slot] = None

    def _requeue(self, slot: int) -> None:
        stream = self._streams[slot]
        if stream is not None:
            stream.on_lost(self._offsets[slot], self._lengths[slot])
        if self._controls[slot]:
            self._owner.on_delivery(self._controls[slot], self._numbers[slot], False)

    def on_path_change(self, rtt_ms: int) -> None:
        """Start anew on another path whose round-trip time is about `rtt_ms` (0: unknown).

        What is out on the old one stays recorded until it is acknowledged, or overdue by the old path's measure.
        """
        delay = self._loss_delay() if self._has_sample else _INITIAL_RTT_MS
        self._old_delay = delay if delay > rtt_ms else rtt_ms
        self._path_number = self._reduced = self.next_number
        for slot in range(self._mask + 1):
            self._sizes[slot] = 0
        self.congestion.reset()
        self.pto_count = 0
        self._set_rtt(rtt_ms)

    def timer(self):
        """Return when `handle_timer` is due, or None."""
        if self._loss_time is not None:
            return self._loss_time
        if self._first == self._next:
            return None
        wait = self.pto()
        if wait < _PTO_LIMIT_MS:
            wait <<= self.pto_count if self.pto_count < _BACKOFF_LIMIT else _BACKOFF_LIMIT
            if wait > _PTO_LIMIT_MS:
                wait = _PTO_LIMIT_MS
        return ticks_add(self._last_sent, wait)

    def handle_timer(self, now: int) -> bool:
        """Look for lost packets; return whether a probe time-out passed: then send up to two packets as probes."""
        deadline = self.timer()
        if deadline is None or ticks_diff(deadline, now) > 0:
            return False
        if self._loss_time is not None:
            self._detect_lost(now)
            return False
        self.pto_count += 1
        self._last_sent = now
        self.probes = 0
        i = self._first
        while i != self._next and self.probes < 2:
            if self._times[i & self._mask] >= 0:
                self._requeue(i & self._mask)
                self.probes += 1
            i += 1
        return True
