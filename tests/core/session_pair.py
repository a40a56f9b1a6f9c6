"""Two sessions, a bad link between them and virtual time, for tests of the session on both interpreters."""

from upeer.base.clock import earlier, ticks_add, ticks_diff
from upeer.crypto.aead import Aead
from upeer.session.session import Session

START = 2**30 - 500  # the ticks wrap soon
SMALL = (8192, 4096, 1200, 30, 0)
KEYS = (b"\x01" * 32, b"\x02" * 32)


class OnePath:
    """The path and the Paths of a peer that was always there."""

    kind = 1
    tag = None
    valid = True

    def __init__(self, addr="peer", rtt_ms=0):
        self.addr = addr
        self.rtt_ms = rtt_ms
        self.active = self
        self.changes = 0
        self.seen = []  # sources of packets, names of calls
        self.probe = None
        self.due = None

    def on_packet(self, addr, tag, now):
        self.seen.append(addr)
        return self

    def on_challenge(self, path, data, now):
        self.probe = data
        self.due = now

    def on_response(self, path, data, observed, now):
        self.seen.append((data, observed))

    def next_probe(self, now):
        return self if self.probe is not None else None

    def write_frames(self, path, buf, pos, now):
        buf[pos] = 0x1B
        buf[pos + 1 : pos + 9] = self.probe
        buf[pos + 9 : pos + 15] = b"\x7f\x00\x00\x01\x10\x92"
        self.probe = self.due = None
        return pos + 15

    def on_pto(self, count, now):
        self.seen.append("pto")

    def on_progress(self, now):
        pass

    def handle_timer(self, now):
        pass

    def move(self, rtt_ms=0):
        self.changes += 1
        self.rtt_ms = rtt_ms


class Dice:
    """Small seeded random numbers."""

    def __init__(self, seed):
        self._state = seed * 7919 + 1

    def roll(self, limit):
        self._state = (self._state * 69069 + 12345) & 0xFFFFFFF
        return (self._state >> 8) % limit


class End:
    """A session, its path and its packet buffer."""

    def __init__(self, is_client, ours, theirs, number):
        self.paths = OnePath()
        keys = KEYS if is_client else (KEYS[1], KEYS[0])
        self.session = Session(is_client, b"cli" if is_client else b"dev", b"dev" if is_client else b"cli", *keys,
                               self.paths, (ours, theirs), START)  # fmt: skip
        if number:
            skip_packets(self.session, number)
        self.buf = bytearray(8 + max(ours[2], 1200))
        self.events = []
        self.arrived = {}
        self.work = None  # called with this End after packets and timers

    def drain(self):
        event = self.session.next_event()
        while event:
            self.events.append(event)
            event = self.session.next_event()


def skip_packets(session, number):
    """Let a fresh session have sent, and received, packets up to `number`."""
    session.recovery.next_number = number
    session.recovery._start(0)
    session._acks._expected = session._acks._floor = number


class Pair:
    """Client `a` and device `b`. `loss`, `twice`, `late` are per cent; `delay` in ms one way."""

    def __init__(self, seed=1, small=SMALL, large=SMALL, number=0):
        self.now = START
        self.a = End(True, large, small, number)
        self.b = End(False, small, large, number)
        self.loss = self.twice = self.late = 0
        self.delay = 10
        self.dice = Dice(seed)
        self.flying = []  # (due, order, end that gets it, bytes)
        self.order = 0
        self.filter = None  # called with (receiver, bytes); False drops
        self.sent = 0

    def pump(self, end):
        """Let one end write all that it can."""
        if end.work:
            end.work(end)
        while True:
            size = end.session.write_datagram(end.buf, self.now)
            if not size:
                break
            self.sent += 1
            self.send(self.b if end is self.a else self.a, bytes(end.buf[8 : 8 + size]))
        end.drain()

    def send(self, receiver, data):
        dice = self.dice
        if self.filter and not self.filter(receiver, data):
            return
        if dice.roll(100) < self.loss:
            return
        for _ in range(2 if dice.roll(100) < self.twice else 1):
            due = ticks_add(self.now, self.delay + (dice.roll(30) if dice.roll(100) < self.late else 0))
            self.order += 1
            self.flying.append((due, self.order, receiver, data))

    def step(self, end=None):
        """Go to the next moment at which something happens, unless that is after `end`, and let it happen."""
        self.pump(self.a)
        self.pump(self.b)
        due = earlier(self.a.session.timer(), self.b.session.timer())
        for item in self.flying:
            due = earlier(due, item[0])
        if due is None or (end is not None and ticks_diff(due, end) > 0):
            return False
        if ticks_diff(due, self.now) > 0:
            self.now = due
        ready = [item for item in self.flying if ticks_diff(item[0], self.now) <= 0]
        self.flying = [item for item in self.flying if ticks_diff(item[0], self.now) > 0]
        ready.sort(key=lambda item: item[1])
        for item in ready:
            item[2].session.receive_packet(bytearray(item[3]), len(item[3]), "peer", None, self.now)
        for side in (self.a, self.b):
            timer = side.session.timer()
            if timer is not None and ticks_diff(timer, self.now) <= 0:
                side.session.handle_timer(self.now)
            side.drain()
        return True

    def settle(self, ms=1000):
        """Let all happen that does within some time."""
        end = ticks_add(self.now, ms)
        while self.step(end):
            pass
        self.now = end

    def run(self, until, limit_ms=60000):
        """Step until the condition holds; fail after so much virtual time."""
        end = ticks_add(self.now, limit_ms)
        while not until():
            assert ticks_diff(end, self.now) > 0, "too slow"
            assert self.step(), "nothing left to happen"


class Transfer:
    """The work of one end: writes `size` seeded bytes on a channel, reads and checks what comes, finishes."""

    def __init__(self, channel, size, seed, peer_seed):
        self.stream = None
        self.written = 0
        self.received = 0
        self._channel = channel
        self._size = size
        self._sent_block = pattern(_BLOCK, seed)
        self._got_block = pattern(_BLOCK, peer_seed)

    def __call__(self, end):
        if self.stream is None:
            self.stream = end.session.stream(self._channel)
        stream = self.stream
        for _ in range(3):
            size = min(_PIECE, self._size - self.written)
            self.written += stream.write(piece(self._sent_block, self.written, size)) if size else 0
        while stream.readable:
            data = stream.read(_PIECE)
            assert data == piece(self._got_block, self.received, len(data)), "wrong bytes"
            self.received += len(data)
        if self.written == self._size:
            stream.finish()

    def is_done(self):
        return self.written == self.received == self._size


_BLOCK = 509
_PIECE = 900


def pattern(size, seed):
    """Return bytes in which a shifted or repeated piece shows."""
    dice = Dice(seed)
    return bytes(dice.roll(256) for _ in range(size))


def piece(block, offset, size):
    """Return a piece of an endless repetition of a block."""
    at = offset % len(block)
    return (block * ((at + size) // len(block) + 1))[at : at + size]


def transfer(pair, size, limit_ms=60000):
    """Transfer both ways on channel 1 until both ends have all; return the two works."""
    a = pair.a.work = Transfer(1, size, 1, 2)
    b = pair.b.work = Transfer(1, size, 2, 1)
    pair.run(lambda: a.is_done() and b.is_done(), limit_ms)
    return a, b


def sealed(plaintext, number=0, key=KEYS[0]):
    """Return a packet to the device, made by hand."""
    buf = bytearray(24) + plaintext + bytearray(32)
    buf[0:4] = b"\x40dev"
    buf[4:8] = (number & 0xFFFFFFFF).to_bytes(4, "big")
    end = Aead(key).seal_packet(buf, 8, 24 + len(plaintext), number)
    return buf[:end]
