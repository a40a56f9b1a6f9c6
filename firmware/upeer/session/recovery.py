"""Loss recovery and NewReno: RFC 9002, one packet number space. Knows what each packet carried until its fate is known.

Records of ack-eliciting packets stand in a ring of parallel lists, made once, in the order of sending; nothing is
allocated per packet. A packet that held stream data names the Stream and the piece of it, and tells it `on_acked` or
`on_lost`; all else that it carried is a bit mask, of which the owner is told: on_delivery(carried, number, is_acked).
"""

from upeer.base.clock import earlier, ticks_add, ticks_diff
from upeer.base.compat import const
from upeer.session.frames import bad

_PROBE = const(0x800)  # bit of the mask: a path MTU probe, whose loss says nothing about congestion
_INITIAL_PACKETS = const(10)
_INITIAL_RTT_MS = const(333)
_THRESHOLD = const(3)
_ACK_DELAY_MS = const(25)
_GRANULARITY_MS = const(10)
_BACKOFF_LIMIT = const(6)
_PTO_LIMIT_MS = const(8000)
_WINDOW_LIMIT = const(0x4000000)  # 64 MiB: ten windows are still a small int
_PACED_RECORDS = const(64)
_FREE = const(-1)


class Recovery:
    """`records` is how many packets may be out at once, a power of two.

    `window` and `in_flight` are in bytes of whole packets; `rtt8` is the smoothed round-trip time in ms, times eight.
    """

    def __init__(self, owner, records: int, packet_size: int, max_burst: int = 0):
        self.next_number = 0
        self.probes = 0  # packets that may go out whatever the window says
        self.pto_count = 0
        self.blocked = 0  # 0, or 1 and how often the peer was asked for more credit since there is none
        self.lost = 0
        self.packet_size = packet_size
        self.pacer = None
        self._initial = min(max_burst or _INITIAL_PACKETS, _INITIAL_PACKETS)
        self._owner = owner
        self._records = records
        self._mask = records - 1
        self._first = 0  # oldest record whose fate is open, counted from the start of the session
        self._next = 0
        self._largest = -1  # acknowledged
        self._numbers = [0] * records
        self._times = [_FREE] * records
        self._sizes = [0] * records
        self._carried = [0] * records
        self._streams = [None] * records
        self._offsets = [0] * records
        self._lengths = [0] * records  # size of the piece * 2 + FIN
        self._latest = 0
        self._loss_time = None
        self._last_sent = 0
        if records > _PACED_RECORDS:
            from upeer.session.pacing import Pacer

            self.pacer = Pacer()
        self._start(0)

    def _start(self, rtt: int) -> None:
        """Know nothing about a path but, perhaps, a round-trip time in ms."""
        self._has_sample = False
        self._set_rtt(rtt or _INITIAL_RTT_MS)
        self._path_number = self._reduced = self.next_number  # lower: another path, window
        self.window = self._initial * self.packet_size
        self.in_flight = 0
        self.threshold = _WINDOW_LIMIT
        self._growth = 0

    def _set_rtt(self, rtt: int) -> None:
        self._minimum = rtt
        self.rtt8 = rtt * 8
        self._var4 = rtt * 2

    def on_path_change(self, rtt_ms: int) -> None:
        """Start anew on another path whose round-trip time is about `rtt_ms` (0: unknown).

        What is out on the old one stays recorded until it is acknowledged, or overdue by the old path's measure.
        """
        self._old_delay = self._loss_delay()
        self._sizes = [0] * self._records
        self.pto_count = self._latest = 0
        self._start(rtt_ms)

    def pto(self) -> int:
        """Return the probe time-out in ms, without back-off."""
        return (self.rtt8 >> 3) + max(self._var4, _GRANULARITY_MS) + _ACK_DELAY_MS

    def _loss_delay(self) -> int:
        return (max(self.rtt8 >> 3, self._latest) * 9 >> 3) + 2

    def has_room(self, now: int) -> bool:
        """Return whether an ack-eliciting packet may go out now."""
        if self._next - self._first > self._mask:
            return False
        if self.probes:
            return True
        if self.in_flight + self.packet_size > self.window:
            return False
        return self.pacer is None or self.pacer.has_room(self, now)

    def on_sent(self, size: int, carried: int, stream, now: int) -> None:
        """Record the ack-eliciting packet next_number; `stream` is the Stream that it carries a piece of, or None."""
        slot = self._next & self._mask
        self._next += 1
        if carried & _PROBE:
            size = 0
        self._numbers[slot] = self.next_number
        self._times[slot] = self._last_sent = now
        self._sizes[slot] = size
        self._carried[slot] = carried
        self._streams[slot] = stream
        if stream is not None:
            self._offsets[slot] = stream.sent_offset
            self._lengths[slot] = stream.sent_length
        if self.probes:
            self.probes -= 1
        self.in_flight += size
        if self.pacer is not None:
            self.pacer.tokens -= size

    def on_ack(self, highs: list, lows: list, count: int, delay_ms: int, now: int) -> bool:
        """Handle an ACK; return whether it was the first for some packet. RemoteError for a packet never sent."""
        largest = highs[0]
        if largest >= self.next_number:
            bad("ACK of a packet not sent")
        times = self._times
        growth = 0
        is_used = self.in_flight * 2 >= self.window
        newest = sent = -1
        i = self._first
        while i != self._next:
            slot = i & self._mask
            number = self._numbers[slot]
            if number > largest:
                break
            i += 1
            while highs[count - 1] < number:
                count -= 1
            if times[slot] >= 0 and lows[count - 1] <= number:
                self._settle(slot, True)  # MemoryError: as if it had not been acknowledged
                newest = number
                sent = times[slot]
                if number >= self._reduced:
                    growth += self._sizes[slot]
                self._free(slot)
        if largest > self._largest:
            self._largest = largest
            if newest == largest and newest >= self._path_number:
                self._sample_rtt(ticks_diff(now, sent), delay_ms)
        elif newest < 0:
            return False
        if is_used:
            self._grow(growth)
        self._detect_lost(now)
        if newest >= 0:
            self.pto_count = 0
        return newest >= 0

    def _settle(self, slot: int, is_acked: bool) -> None:
        """Tell those concerned what became of a packet, or, at a time-out, that its content is to be sent once more."""
        stream = self._streams[slot]
        if stream is not None:
            if is_acked:
                stream.on_acked(self._offsets[slot], self._lengths[slot])
            else:
                stream.on_lost(self._offsets[slot], self._lengths[slot])
        if self._carried[slot]:
            self._owner.on_delivery(self._carried[slot], self._numbers[slot], is_acked)

    def _sample_rtt(self, rtt: int, delay_ms: int) -> None:
        self._latest = rtt
        if not self._has_sample:
            self._has_sample = True
            self._set_rtt(rtt)
            return
        self._minimum = min(rtt, self._minimum)
        delay_ms = min(delay_ms, _ACK_DELAY_MS)
        if rtt - delay_ms >= self._minimum:
            rtt -= delay_ms
        difference = rtt - (self.rtt8 >> 3)
        self.rtt8 += difference
        self._var4 += abs(difference) - (self._var4 >> 2)

    def _free(self, slot: int) -> None:
        """Take a packet whose fate is known out of flight."""
        self._times[slot] = _FREE
        self.in_flight -= self._sizes[slot]
        self._streams[slot] = None

    def _grow(self, growth: int) -> None:
        """Widen the window by bytes that were sent since its last reduction and are acknowledged."""
        window = self.window
        if window >= _WINDOW_LIMIT:
            return
        if window < self.threshold:
            self.window = window + growth
            return
        self._growth += growth
        if self._growth >= window:
            self._growth -= window
            self.window = window + self.packet_size

    def _reduce(self, window: int) -> None:
        self.window = max(window, 2 * self.packet_size)
        self._growth = 0

    def _detect_lost(self, now: int) -> None:
        """Find what is lost by packet or time threshold; free the records at the front whose fate is known."""
        self._loss_time = None
        begin = _FREE  # when the first of a run of lost packets was sent
        i = self._first
        first = -1
        while i != self._next and self._numbers[i & self._mask] <= self._largest:
            slot = i & self._mask
            number = self._numbers[slot]
            sent = self._times[slot]
            i += 1
            if sent < 0:
                begin = _FREE
                continue
            is_old = number < self._path_number  # nothing can be said from its order
            deadline = ticks_add(sent, self._old_delay if is_old else self._loss_delay())
            if ticks_diff(deadline, now) > 0 and (is_old or number > self._largest - _THRESHOLD):
                self._loss_time = earlier(self._loss_time, deadline)
                begin = _FREE
                if first < 0:
                    first = i - 1
                continue
            self._on_lost(slot, number)
            if begin < 0:
                begin = sent
            elif self._has_sample and not is_old and ticks_diff(sent, begin) > 3 * self.pto():
                self._reduce(0)  # persistent congestion
        self._first = i if first < 0 else first

    def _on_lost(self, slot: int, number: int) -> None:
        self._settle(slot, False)
        self._free(slot)
        if number >= self._reduced and not self._carried[slot] & _PROBE:
            self._reduced = self.next_number
            self._reduce(self.window >> 1)
            self.threshold = self.window
        self.lost += 1

    def is_waiting(self) -> bool:
        """Return whether `timer` has something to say."""
        return self._first != self._next or self.blocked > 0

    def timer(self):
        """Return when `handle_timer` is due, or None."""
        if self._loss_time is not None:
            return self._loss_time
        if self._first != self._next:
            count = self.pto_count
        elif self.blocked:
            count = self.blocked - 1
        else:
            return None
        wait = self.pto() << min(count, _BACKOFF_LIMIT)
        return ticks_add(self._last_sent, min(wait, _PTO_LIMIT_MS))

    def handle_timer(self, now: int) -> bool:
        """Look for lost packets; return whether a probe time-out passed: then send up to two packets as probes.

        Likewise when the peer's flow control has blocked us for so long: what gave more may have got lost.
        """
        deadline = self.timer()
        if deadline is None or ticks_diff(deadline, now) > 0:
            return False
        if self._loss_time is not None:
            self._detect_lost(now)
            return False
        self._last_sent = now
        if self._first == self._next:
            self.blocked += 1
            self.probes = 1
            return False
        self.pto_count += 1
        self.probes = 0
        i = self._first
        while i != self._next and self.probes < 2:
            slot = i & self._mask
            if self._times[slot] >= 0:
                self._settle(slot, False)
                self.probes += 1
            i += 1
        return True
