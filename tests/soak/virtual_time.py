"""Virtual time and a network in memory for whole programs on asyncio: servers and clients run as they are.

A process that calls `Clock.install` has no other time from then on. When no program has anything to do, the clock jumps
to the next moment when one has: hours pass in seconds.
"""

import asyncio
import heapq
import os
import random
import secrets
import selectors
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any, Protocol

Address = tuple[str, int]

_FIRST_DESCRIPTOR = 1 << 20  # above every real one


class Machine(Protocol):
    """What runs beside the programs in the same time, step by step: a device."""

    wake_ms: float | None

    def advance(self, now_ms: int) -> None: ...


class Clock:
    """Virtual ms since the start; `install` makes it the time of this process."""

    def __init__(self, unix_s: int) -> None:
        self.ms = 0
        self._unix_s = unix_s

    def install(self) -> None:
        """Let the time module tell this clock's time."""
        time.monotonic = lambda: self.ms / 1000
        time.monotonic_ns = lambda: self.ms * 1_000_000
        time.time = lambda: self._unix_s + self.ms / 1000


def seed_entropy(seed: int) -> None:
    """Have this process draw the same random bytes in every run."""
    dice = random.Random(seed)
    os.urandom = dice.randbytes
    secrets.token_bytes = dice.randbytes  # type: ignore[assignment]


class Network:
    """Datagrams between addresses, each on its way for `delay_ms`; `is_lost(source, target)`: it never arrives."""

    def __init__(self, clock: Clock, delay_ms: int) -> None:
        self.is_lost: Callable[[Address, Address], bool] = lambda source, target: False
        self.lost = 0
        self.clock = clock
        self._delay_ms = delay_ms
        self._order = count()
        self._way: list[tuple[int, int, bytes, Address, Address]] = []
        self._inboxes: dict[Address, deque[tuple[bytes, Address]]] = {}

    def open(self, address: Address) -> deque[tuple[bytes, Address]]:
        """Return the inbox of an address, a new one."""
        self._inboxes[address] = inbox = deque()
        return inbox

    def close(self, address: Address) -> None:
        """Forget an address."""
        self._inboxes.pop(address, None)

    def send(self, data: bytes, source: Address, target: Address, at_ms: int | None = None) -> None:
        """Put a datagram on its way, now or later."""
        begin_ms = self.clock.ms if at_ms is None else at_ms
        heapq.heappush(self._way, (begin_ms + self._delay_ms, next(self._order), data, source, target))

    def arrive(self) -> None:
        """Put what is there by now into the inboxes."""
        while self._way and self._way[0][0] <= self.clock.ms:
            _, _, data, source, target = heapq.heappop(self._way)
            inbox = self._inboxes.get(target)
            if inbox is None or self.is_lost(source, target):
                self.lost += 1
            else:
                inbox.append((data, source))

    @property
    def next_ms(self) -> int | None:
        """When the next datagram arrives."""
        return self._way[0][0] if self._way else None


class UdpSocket:
    """What a program takes for its non-blocking UDP socket."""

    _descriptors = count(_FIRST_DESCRIPTOR)

    def __init__(self, network: Network, address: Address) -> None:
        self.inbox = network.open(address)
        self._network = network
        self._address = address
        self._descriptor = next(self._descriptors)

    def recvfrom_into(self, buf: Any) -> tuple[int, Address]:
        if not self.inbox:
            raise BlockingIOError
        data, source = self.inbox.popleft()
        buf[: len(data)] = data
        return len(data), source

    def sendto(self, data: Any, target: Address) -> int:
        self._network.send(bytes(data), self._address, (target[0], target[1]))
        return len(data)

    def getsockname(self) -> Address:
        return self._address

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        self._network.close(self._address)
        self._descriptor = -1


class _Selector(selectors.DefaultSelector):
    """Tells which sockets can be read; lets time pass while none can."""

    def __init__(self, clock: Clock, network: Network) -> None:
        super().__init__()
        self.machines: list[Machine] = []
        self.sockets: dict[int, UdpSocket] = {}
        self._clock = clock
        self._network = network
        self._keys: dict[int, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        if fileobj not in self.sockets:
            return super().register(fileobj, events, data)
        self._keys[fileobj] = key = selectors.SelectorKey(fileobj, fileobj, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj) if fileobj in self._keys else super().unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        self.unregister(fileobj)
        return self.register(fileobj, events, data)

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys[fileobj] if fileobj in self._keys else super().get_key(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        end_ms = None if timeout is None else self._clock.ms + max(0, -int(-timeout * 1000 // 1))
        while True:
            self._network.arrive()
            for machine in self.machines:
                machine.advance(self._clock.ms)
            ready = [(key, key.events) for number, key in self._keys.items() if self.sockets[number].inbox]
            ready += super().select(0)
            if ready or (end_ms is not None and end_ms <= self._clock.ms):
                return ready
            self._jump(end_ms)

    def _jump(self, end_ms: int | None) -> None:
        """Go to the next moment when anything happens."""
        moments = [end_ms, self._network.next_ms, *(machine.wake_ms for machine in self.machines)]
        known = [moment for moment in moments if moment is not None]
        if not known:
            raise RuntimeError("everybody waits for ever")
        self._clock.ms = max(self._clock.ms, int(min(known)))


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in a clock's time, over a network in memory, beside machines."""

    def __init__(self, clock: Clock, network: Network) -> None:
        self._clock = clock
        self._virtual = _Selector(clock, network)
        self.network = network
        super().__init__(self._virtual)

    def time(self) -> float:
        """Return the clock's time in s."""
        return self._clock.ms / 1000

    @property
    def machines(self) -> list[Machine]:
        """What runs in this loop's time."""
        return self._virtual.machines

    def udp(self, address: Address) -> Any:
        """Return a new socket at an address."""
        udp = UdpSocket(self.network, address)
        self._virtual.sockets[udp.fileno()] = udp
        return udp

    async def getaddrinfo(self, host: Any, port: Any, **_hints: Any) -> Any:
        """Resolve nothing but numeric addresses, at once."""
        return [(0, 0, 0, "", (host, port))]
