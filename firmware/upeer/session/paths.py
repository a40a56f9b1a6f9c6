"""Paths of a session, and which of them is sent on (protocol, chapter 7.6; consent of RFC 7675).

    PATH_CHALLENGE 0x1a | data (64)
    PATH_RESPONSE  0x1b | data (64) | address that the challenge came from (48)

Our data is 40 random bits, new for each series of challenges, and 24 bits of time: an answer tells its round trip.
"""

from upeer.base.clock import earlier, ticks_add, ticks_diff
from upeer.base.compat import const
from upeer.base.wire import pack_address, unpack_address

HOST = const(0)
SRFLX = const(1)
PRFLX = const(2)
RELAY = const(3)

_PATH_CHALLENGE = const(0x1A)
_PATH_RESPONSE = const(0x1B)

_RESTING = const(0)  # not challenged
_SEARCHING = const(1)  # long without an answer, and there is nothing better, or a relay only
_CHECKING = const(2)  # a candidate that the peer named
_TRIGGERED = const(3)  # a packet came from there: little more goes to a new address than came (A19)
_SUSPECT = const(4)  # asked again because the active path is in doubt
_IN_USE = const(5)  # the active path as long as it answers

# How a path is challenged in a state: ms until the first one, gap after it (doubles each time), longest gap, how many
# without an answer, state thereafter.
_STATES = (
    (0, 0, 0, 0, _RESTING),
    (2000, 4000, 30000, 99, _SEARCHING),
    (0, 20, 2000, 21, _SEARCHING),  # 0, 20, 60, 140, 300 ms ... then every 2 s until 30 s
    (0, 40, 40, 2, _SEARCHING),
    (0, 20, 2000, 9, _SEARCHING),
    (5000, 1000, 1000, 2, _SUSPECT),
)

_RANKS = b"\x00\x01\x01\x02"  # of a kind: lan, direct, relay
_CONSENT_MS = const(15000)
_CHALLENGES = const(3)  # so many without an answer are a failure when another path answered meanwhile
_PATHS_CLIENT = const(16)
_PATHS_DEVICE = const(10)


class Path:
    """A remote address, or a relay: `kind`, `addr`, `tag` (7 bytes, relays only), `valid` (it answers), `rtt_ms`."""

    def __init__(self, kind: int, addr: tuple, tag):
        self.kind = kind
        self.addr = addr
        self.tag = tag
        self.valid = False
        self.rtt_ms = 0
        self.state = _RESTING
        self.due = None
        self.gap = 0
        self.tries = 0  # challenges since it is in this state
        self.unanswered = 0  # challenges since the last answer, the first of them at `doubt`
        self.doubt = 0
        self.answered = 0
        self.data = None
        self.echo = None

    def is_stranger(self) -> bool:
        """Return whether the peer neither named this address nor ever answered from there."""
        return self.kind == PRFLX and not self.rtt_ms

    def rank(self) -> int:
        """Return what paths are ordered by: the kind's rank, then the round-trip time."""
        return _RANKS[self.kind] << 20 | self.rtt_ms


class Paths:
    """All paths of one session.

    `active` is the path to send on, or None; `in_doubt` since it may have failed; `changes` counts its changes;
    `observed` is our own address as the peer sees it; `allow` is a bit mask of the kinds that may be used (connect
    modes). All that gets here is authentic.
    """

    def __init__(self, is_client: bool, random_bytes, now: int):
        self.active: Path | None = None
        self.changes = 0
        self.observed = None
        self.allow = 15
        self.all = []
        self._limit = _PATHS_CLIENT if is_client else _PATHS_DEVICE
        self._random_bytes = random_bytes
        self._now = now
        self._last = None  # path of the last packet: the next one mostly comes the same way
        self.due = None  # when handle_timer and next_probe are, if at all
        self._answered = now
        self.in_doubt = False

    def add(self, kind: int, addr: tuple, tag=None):
        """Take a candidate; return its path, None if its kind is not allowed or there is no room."""
        if not self.allow >> kind & 1 or not addr[1]:
            return None
        path = self._find(addr, tag)
        if path is None:
            if len(self.all) >= self._limit and not self._drop_worst():
                return None
            path = Path(kind, addr, tag)
            self.all.append(path)
            self._to(path, _CHECKING, self._now)
        elif kind < path.kind:
            path.kind = kind
        return path

    def check(self, now: int, tag=None) -> None:
        """Challenge all paths anew, or the one through that relay: our address changed, the relay is joined."""
        self._now = now
        for path in self.all:
            if not path.is_stranger() and (tag is None or path.tag == tag):
                self._to(path, _CHECKING, now)

    def on_packet(self, addr: tuple, tag, now: int):
        """Return the path that an authentic packet came on. A new or no longer valid one is challenged at once."""
        path = self._last
        if path is None or path.tag != tag or (tag is None and path.addr != addr):
            path = self._find(addr, tag)
            if path is None:
                return self._on_new_address(addr, tag, now)
            self._last = path
        if path.state <= _SEARCHING and not path.valid:
            self._to(path, _TRIGGERED, now)
        return path

    def on_challenge(self, path, data, now: int) -> None:
        """Owe an answer to the newest challenge (8 bytes, copied) on that path."""
        path.echo = bytes(data)
        if path.state == _CHECKING:
            path.due = now  # the triggered check of RFC 8445 7.3.1.4, in the same packet
        self.due = now

    def on_response(self, path, data, observed, now: int) -> None:
        """Take an answer: 8 bytes of data and our address as the peer sees it, 6 bytes."""
        data = bytes(data)
        rtt = now - int.from_bytes(data[5:], "big") & 0xFFFFFF
        if path.data is None or data[:5] != path.data or rtt > _CONSENT_MS:
            return
        path.data = None  # one answer a series
        path.rtt_ms = (path.rtt_ms * 3 + rtt) // 4 if path.rtt_ms else rtt or 1
        path.unanswered = 0
        path.valid = True
        path.answered = self._answered = now
        if path.kind != RELAY:
            self.observed = unpack_address(observed)
        if path is self.active:
            self.on_progress(now)
        self._to(path, _IN_USE if path is self.active else _RESTING, now)
        self._choose(now)

    def next_probe(self, now: int):
        """Return a path on which a packet with path frames is due, None if there is none."""
        if self.due is None or ticks_diff(self.due, now) > 0:
            return None
        self.due = None
        for path in self.all:
            if path.echo is not None or self._is_due(path, now):
                self.due = now
                return path
            self.due = earlier(self.due, path.due)
        return None

    def write_frames(self, path, buf, pos: int, now: int) -> int:
        """Write what is due on that path into buf at pos, at most 24 bytes; return the end."""
        if path.echo is not None:
            buf[pos] = _PATH_RESPONSE
            buf[pos + 1 : pos + 9] = path.echo
            buf[pos + 9 : pos + 15] = pack_address(path.addr[0], path.addr[1])
            path.echo = None
            pos += 15
        if self._is_due(path, now):
            self._on_challenge_sent(path, now)
            buf[pos] = _PATH_CHALLENGE
            buf[pos + 1 : pos + 6] = path.data
            buf[pos + 6 : pos + 9] = (now & 0xFFFFFF).to_bytes(3, "big")
            pos += 9
        return pos

    def on_pto(self, count: int, now: int) -> None:
        """Doubt the active path when the second, fourth ... probe time-out in a row passed."""
        if count and not count & 1:
            self._doubt(now)

    def on_progress(self, now: int) -> None:
        """Leave the other paths in peace: something new was acknowledged, or the active path answered."""
        if self.in_doubt:
            self.in_doubt = False
            for path in self.all:
                if path.state == _SUSPECT and path is not self.active:
                    self._to(path, _RESTING if path.valid else _SEARCHING, now)

    def handle_timer(self, now: int) -> None:
        """Leave paths that failed."""
        self._choose(now)

    def _to(self, path, state: int, now: int) -> None:
        if state == _SEARCHING and not self._is_wanted(path):
            state = _RESTING
        row = _STATES[state]
        path.state = state
        path.tries = 0
        path.gap = row[1]
        path.due = None if state == _RESTING else ticks_add(now, self._jitter(row[0]))
        self.due = now

    def _is_wanted(self, path) -> bool:
        """Return whether data would move to that path if it answered: there is none, or a relay and this is none."""
        active = self.active
        if active is None or active is path or active.kind == RELAY != path.kind:
            return not path.is_stranger()
        return False

    def _jitter(self, delay: int) -> int:
        return delay and delay * 4 // 5 + delay * self._random_bytes(1)[0] // 640

    def _find(self, addr, tag):
        for path in self.all:
            if path.tag == tag and (tag is not None or path.addr == addr):
                return path
        return None

    def _on_new_address(self, addr, tag, now):
        self._now = now
        path = self.add(PRFLX, addr) if tag is None else None
        if path is None:
            return Path(RELAY if tag else PRFLX, addr, tag)  # of no consequence: it gets no challenge and no answer
        self._to(path, _TRIGGERED, now)
        if self.active is not None and self.active.state == _IN_USE:
            self._to(self.active, _SUSPECT, now)  # the peer's address may have changed
        return path

    def _drop_worst(self) -> bool:
        """Make room: forget the oldest path that gave up, else the oldest peer-reflexive one that never answered."""
        for any_state in (False, True):
            for path in self.all:
                is_hopeless = path.kind == PRFLX if any_state else path.state == _RESTING and path.kind != RELAY
                if is_hopeless and not path.valid:
                    self.all.remove(path)
                    if path is self._last:
                        self._last = None
                    return True
        return False

    def _is_due(self, path, now: int) -> bool:
        return path.due is not None and ticks_diff(path.due, now) <= 0

    def _on_challenge_sent(self, path, now: int) -> None:
        if path.data is None:
            path.data = self._random_bytes(5)
        if not path.unanswered:
            path.doubt = now
        path.unanswered += 1
        path.tries += 1
        row = _STATES[path.state]
        if path.tries < row[3]:
            path.due = ticks_add(now, path.gap)
            path.gap = min(path.gap * 2, row[2])
        elif path.state == _IN_USE:
            self._doubt(now)
            path.due = ticks_add(now, _STATES[_SUSPECT][1])
        else:
            self._to(path, row[4], now)
        self._choose(now)

    def _doubt(self, now: int) -> None:
        self.in_doubt = True
        for path in self.all:
            if path.state != _CHECKING and path.state != _SUSPECT and not path.is_stranger():
                self._to(path, _SUSPECT, now)

    def _has_failed(self, path, now: int) -> bool:
        if ticks_diff(now, path.answered) > _CONSENT_MS:
            return True
        return (
            path.unanswered >= _CHALLENGES
            and ticks_diff(self._answered, path.doubt) > 0
            and ticks_diff(now, path.doubt) > 2 * path.rtt_ms + 50
        )

    def _choose(self, now: int) -> None:
        """Make the best valid path the active one; between equals of one rank change only for a clearly shorter way."""
        best = None
        for path in self.all:
            if path.valid:
                path.valid = not self._has_failed(path, now)
            if path.valid and (best is None or path.rank() < best.rank()):
                best = path
        old = self.active
        if best is old:
            return
        if old and old.valid and old.rank() >> 20 == best.rank() >> 20 and best.rtt_ms * 5 // 4 + 10 > old.rtt_ms:
            return
        self.active = best
        self.changes += 1
        if best is None:
            self.check(now)
            return
        self._to(best, _IN_USE, now)
        for path in self.all:
            if path.state == _SEARCHING or (path is old and path.state == _IN_USE):
                self._to(path, _RESTING if path.valid else _SEARCHING, now)
