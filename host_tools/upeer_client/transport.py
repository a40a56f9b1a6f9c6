"""The client's one UDP socket in asyncio: moves datagrams between it, the endpoint and what else speaks on it.

A reader callback drains the socket, a bounded number of datagrams a wake, and sends at once what comes of them.
"""

import asyncio
import socket
from contextlib import suppress
from typing import Any, Protocol

from upeer.base.clock import earlier, ticks_diff, ticks_ms
from upeer.connect import ClientEndpoint

Address = tuple[str, int]

MAX_DATAGRAM = 65000
_PREFIX = 8
_BATCH = 64
_BUFFER = 8 << 20
_LONGEST_WAIT_S = 60
_IP_MTU_DISCOVER = 10  # Linux: set don't-fragment, and do not believe ICMP
_IP_PMTUDISC_PROBE = 3


class Party(Protocol):
    """What speaks on the socket beside the endpoint."""

    def receive_datagram(self, data: bytes, addr: Address, now: int) -> None: ...

    def handle_timer(self, now: int) -> None: ...

    def timer(self) -> int | None: ...

    def datagrams_to_send(self, now: int) -> list[tuple[bytes, Address]]: ...

    def step(self, now: int) -> None: ...


def open_socket(host: str = "0.0.0.0", port: int = 0) -> socket.socket:
    """Return a non-blocking UDP socket that may broadcast and never fragments where the system lets it."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        udp.setblocking(False)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            udp.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
        with suppress(OSError):
            udp.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_PROBE)
        udp.bind((host, port))
    except BaseException:
        udp.close()
        raise
    return udp


class Transport:
    """Pumps `endpoint` and `parties`; sessions hand their events to their attribute `connection`."""

    def __init__(self, endpoint: ClientEndpoint, udp: socket.socket) -> None:
        self.endpoint = endpoint
        self.udp = udp
        self.port: int = udp.getsockname()[1]
        self.parties: list[Party] = []
        self.unsent = 0
        self._in = bytearray(1 << 16)
        self._out = bytearray(MAX_DATAGRAM + 2 * _PREFIX)
        self._out_view = memoryview(self._out)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: int | None = None
        self._kept: tuple[bytes, Address] | None = None  # what the system had no room for
        self._is_busy = False
        self._loop.add_reader(udp.fileno(), self._drain)

    def close(self) -> None:
        """Close the socket."""
        if self._timer is not None:
            self._timer.cancel()
        if self.udp.fileno() >= 0:
            self._loop.remove_reader(self.udp.fileno())
            self._loop.remove_writer(self.udp.fileno())
            self.udp.close()

    def add(self, party: Party) -> None:
        """Let another one speak on the socket."""
        self.parties.append(party)
        self.flush()

    def remove(self, party: Party) -> None:
        """Stop listening to it."""
        if party in self.parties:
            self.parties.remove(party)

    def flush(self) -> None:
        """Send what there is to send, hand out events, wake up in time."""
        if self._is_busy or self.udp.fileno() < 0:
            return
        self._is_busy = True
        try:
            now = ticks_ms()
            self._send(now)
            if self._settle(now):
                self._send(now)
            self._plan(now)
        finally:
            self._is_busy = False

    # datagrams in

    def _drain(self) -> None:
        now = ticks_ms()
        buf, receive = self._in, self.udp.recvfrom_into
        take = self.endpoint.receive_datagram
        try:
            for _ in range(_BATCH):
                size, addr = receive(buf)
                if size and not take(buf, size, addr, now):
                    data = bytes(memoryview(buf)[:size])
                    for party in list(self.parties):
                        party.receive_datagram(data, addr, now)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.unsent += 1  # an error of something sent earlier
        self.flush()

    # datagrams out

    def _send(self, now: int) -> None:
        if self._kept is not None:
            return
        for party in list(self.parties):
            for data, addr in party.datagrams_to_send(now):
                self._send_one(data, addr)
        write, view, endpoint = self.endpoint.write_datagram, self._out_view, self.endpoint
        while self._kept is None:
            size = write(self._out, now)
            if not size:
                return
            start = endpoint.send_start
            self._send_one(view[start : start + size], endpoint.send_addr)

    def _send_one(self, data: Any, addr: Any) -> None:
        try:
            self.udp.sendto(data, addr)
        except BlockingIOError:
            if self._kept is None:
                self._kept = (bytes(data), addr)
                self._loop.add_writer(self.udp.fileno(), self._on_room)
        except (OSError, OverflowError):  # no route, too large for this path: as good as lost on the way
            self.unsent += 1

    def _on_room(self) -> None:
        self._loop.remove_writer(self.udp.fileno())
        kept, self._kept = self._kept, None
        if kept is not None:
            self._send_one(*kept)
        self.flush()

    # events and time

    def _settle(self, now: int) -> bool:
        """Let the parties see where things stand and hand out events; return whether there was any."""
        for party in list(self.parties):
            party.step(now)
        found = False
        while (item := self.endpoint.next_event()) is not None:
            found = True
            connection = getattr(item[0], "connection", None)
            if connection is not None:
                connection.on_event(item[1])
        return found or bool(self.parties)

    def _plan(self, now: int) -> None:
        due = self.endpoint.timer()
        for party in self.parties:
            due = earlier(due, party.timer())
        if due is None or (self._timer_at is not None and ticks_diff(due, self._timer_at) >= 0):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = due
        delay_s = min(max(ticks_diff(due, now), 1) / 1000, _LONGEST_WAIT_S)
        self._timer = self._loop.call_later(delay_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = self._timer_at = None
        now = ticks_ms()
        self.endpoint.handle_timer(now)
        for party in list(self.parties):
            party.handle_timer(now)
        self.flush()
