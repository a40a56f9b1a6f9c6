"""A session between a client and an ESP32 as it was measured: what each datagram costs there, in virtual time.

The core is the real one. The chip waits for its socket in ticks of 10 ms, has a mailbox of six datagrams, takes 2.2 ms
of bytecode and 0.3 to 0.7 ms of AES and SHA for each, and collects its garbage by budget; the client takes no time.
"""

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any

from network import Network

from upeer.base.clock import ticks_diff
from upeer.session.paths import SRFLX, Paths
from upeer.session.session import Session

CLIENT = (4 << 20, 1 << 20, 1200, 60, 0)
DEVICE = (8424, 64, 1200, 60, 6)  # as of boards/ESP32_GENERIC
MAILBOX = 6

_KEYS = (b"\x11" * 32, b"\x22" * 32)
_TICK_US = 10000
_BYTECODE_US = 2200
_BURST = 8  # datagrams read, or written, in a row
_COLLECT_US = 7700
_GARBAGE_LIMIT = 16384
_GARBAGE = 2000  # of a datagram: 1.3 KB of it recvfrom's
_ON_AIR_US = 300  # between two datagrams of one sender


class End:
    """One end. `work(stream)` is its application: called after datagrams came and before some go."""

    def __init__(self, net: Network, is_client: bool, device: tuple = DEVICE) -> None:
        self.paths = Paths(is_client, net.random_bytes, net.now)
        keys, ids = (_KEYS, (b"cli", b"dev")) if is_client else (_KEYS[::-1], (b"dev", b"cli"))
        limits = (CLIENT, device) if is_client else (device, CLIENT)
        self.address = ("192.0.2.1", 1000) if is_client else ("192.0.2.2", 2000)
        self.session = Session(is_client, *ids, *keys, self.paths, limits, net.now)
        self.paths.add(SRFLX, ("192.0.2.2", 2000) if is_client else ("192.0.2.1", 1000))
        self.work: Callable[[Any], None] = lambda session: None
        self._buf = bytearray(1300)

    def receive(self, data: bytes, addr: tuple[str, int], now: int) -> None:
        self.session.receive_packet(bytearray(data), len(data), addr, None, now)

    def write(self, now: int) -> bytes:
        """Let the application work and return the next datagram, empty if there is none."""
        while self.session.next_event():
            pass
        self.work(self.session)
        timer = self.session.timer()
        if timer is not None and ticks_diff(timer, now) <= 0:
            self.session.handle_timer(now)
        size = self.session.write_datagram(self._buf, now)
        return bytes(self._buf[8 : 8 + size])


class ChipLink:
    """Runs both ends. `overflowed`: datagrams lost because the mailbox was full; `delay_ms`: one way."""

    def __init__(self, delay_ms: float, device: tuple = DEVICE, seed: int = 1) -> None:
        self.net = Network(seed)
        self.client, self.chip = End(self.net, True, device), End(self.net, False, device)
        self.overflowed = self.delivered = 0
        self.now_us = 0
        self._start = self.net.now
        self._delay_us = int(delay_ms * 1000)
        self._events: list[tuple[int, int, Callable[..., None], tuple]] = []
        self._order = count()
        self._mailbox: deque[bytes] = deque()
        self._is_awake = False
        self._drained = self._written = self._garbage = 0
        self._at(0, self._client_step)
        self._at(0, self._wake)

    @property
    def now(self) -> int:
        """Return the time in ticks of 1 ms."""
        return (self._start + self.now_us // 1000) & 0x3FFFFFFF

    def run(self, seconds: float) -> None:
        end = self.now_us + int(seconds * 1e6)
        while self._events and self._events[0][0] <= end:
            self.now_us, _, function, arguments = heapq.heappop(self._events)
            function(*arguments)
        self.now_us = end

    def _at(self, time_us: int, function: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self._events, (time_us, next(self._order), function, arguments))

    def _client_step(self, data: bytes = b"") -> None:
        if data:
            self.client.receive(data, self.chip.address, self.now)
        leaves = self.now_us
        while sent := self.client.write(self.now):
            self._at(leaves + self._delay_us, self._arrive, sent)
            leaves += _ON_AIR_US
        if not data:
            self._at(self.now_us + 1000, self._client_step)

    def _arrive(self, data: bytes) -> None:
        if len(self._mailbox) >= MAILBOX:
            self.overflowed += 1
            return
        self._mailbox.append(data)
        self.delivered += 1
        self._wake()

    def _wake(self) -> None:
        """Let the chip go on at its next tick, unless it is at work."""
        if not self._is_awake:
            self._is_awake = True
            self._at((self.now_us // _TICK_US + 1) * _TICK_US, self._chip_step)

    def _chip_step(self) -> None:
        """Take a datagram or write one, eight of each in turns; then wait for the next tick."""
        if self._mailbox and self._drained < _BURST:
            self._drained += 1
            data = self._mailbox.popleft()
            self.chip.receive(data, self.client.address, self.now)
            self._spend(len(data))
            return
        sent = self.chip.write(self.now) if self._written < _BURST else b""
        if sent:
            self._written += 1
            done = self._spend(len(sent))
            self._at(done + self._delay_us, self._client_step, sent)
            return
        is_done = not self._mailbox and self._written < _BURST
        self._drained = self._written = 0
        self._is_awake = False
        if is_done:
            self._at(self.now_us + _TICK_US, self._wake)  # the agent looks at its timers
        else:
            self._is_awake = True
            self._at(self.now_us, self._chip_step)

    def _spend(self, size: int) -> int:
        """Take the time that a datagram costs; return when it is over."""
        cost = _BYTECODE_US + 300 + size * 430 // 1200
        self._garbage += _GARBAGE
        if self._garbage > _GARBAGE_LIMIT:
            self._garbage = 0
            cost += _COLLECT_US
        self._at(self.now_us + cost, self._chip_step)
        return self.now_us + cost
