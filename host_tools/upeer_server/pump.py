"""Moves datagrams between one UDP socket and the protocol objects behind it: no queue, no task, no protocol.

A reader callback drains the socket, a bounded number of datagrams a wake, then sends all answers.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from upeer.base.clock import ticks_diff, ticks_ms
from upeer_server.log import fault_place

Address = tuple[str, int]

_BATCH = 256
_MAX_DATAGRAM = 2048
_RECEIVE_BUFFER = 8 << 20
_SEND_BUFFER = 2 << 20
_SO_RCVBUFFORCE = 33  # Linux; needs a privilege that servers often lack
_MAX_FAULT_LOGS = 20


class DatagramHandler(Protocol):
    """What stands behind a socket; `out` holds (data, address) to be sent."""

    out: list[tuple[bytes, Address]]

    def receive_datagram(self, data: bytes, addr: Address, now: int) -> None: ...

    def handle_timer(self, now: int) -> None: ...

    def timer(self) -> int | None: ...


class Pump:
    """One socket and its handler. `counters` tells what went through."""

    def __init__(self, udp: socket.socket, handler: DatagramHandler, log: Callable[..., None]) -> None:
        self.counters = {"received": 0, "sent": 0, "not_sent": 0, "faults": 0}
        self._udp = udp
        self._buf = bytearray(_MAX_DATAGRAM)
        self._view = memoryview(self._buf)
        self._handler = handler
        self._log = log
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: int | None = None

    def start(self) -> None:
        """Begin; call it in the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._udp.fileno(), self._drain)
        self.flush()

    def stop(self) -> None:
        """Send what is left and close the socket."""
        self.flush()
        if self._timer is not None:
            self._timer.cancel()
        if self._loop is not None:
            self._loop.remove_reader(self._udp.fileno())
        self._udp.close()

    def flush(self) -> None:
        """Send what the handler has made and wake up when it next wants to be called."""
        out = self._handler.out
        if out:
            self._send(out)
        due = self._handler.timer()
        if due is not None and (self._timer_at is None or ticks_diff(due, self._timer_at) < 0):
            self._set_timer(due)

    def _drain(self) -> None:
        """Take what waits in the socket, up to a bound, so that timers and other sockets get their turn."""
        now = ticks_ms()
        receive, handle = self._udp.recvfrom_into, self._handler.receive_datagram
        buf, view = self._buf, self._view
        count = 0
        try:
            for count in range(_BATCH):  # noqa: B007 - counted for the figures
                size, addr = receive(buf)
                handle(view[:size].tobytes(), addr, now)  # into a buffer and out: cheaper than recvfrom(2048)
        except BlockingIOError:
            pass
        except OSError as error:
            self._log("socket failed", error=error.strerror or "?")
        except Exception as error:  # noqa: BLE001 - a mistake of ours must not stop the server
            self._on_fault(error)
        else:
            count = _BATCH
        self.counters["received"] += count
        self.flush()

    def _send(self, out: list[tuple[bytes, Address]]) -> None:
        send = self._udp.sendto
        failed = 0
        for data, addr in out:
            try:
                send(data, addr)
            except (OSError, OverflowError):  # no room, no route, no such port: as good as lost on the way
                failed += 1
        self.counters["sent"] += len(out) - failed
        self.counters["not_sent"] += failed
        out.clear()

    def _set_timer(self, due: int) -> None:
        if self._loop is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = due
        delay_ms = max(1, ticks_diff(due, ticks_ms()))
        self._timer = self._loop.call_later(delay_ms / 1000, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = self._timer_at = None
        try:
            self._handler.handle_timer(ticks_ms())
        except Exception as error:  # noqa: BLE001 - a mistake of ours must not stop the server
            self._on_fault(error)
        self.flush()

    def _on_fault(self, error: Exception) -> None:
        self.counters["faults"] += 1
        if self.counters["faults"] <= _MAX_FAULT_LOGS:
            self._log("fault", kind=type(error).__name__, place=fault_place(error))


def open_udp(host: str, port: int) -> socket.socket:
    """Return a bound, non-blocking UDP socket with room for bursts; OSError when the address cannot be had."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        udp.setblocking(False)
        _enlarge(udp)
        udp.bind((host, port))
    except BaseException:
        udp.close()
        raise
    return udp


def received_buffer(udp: socket.socket) -> int:
    """Return how many bytes the kernel keeps for a socket."""
    return udp.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def _enlarge(udp: socket.socket) -> None:
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    with suppress(OSError):
        udp.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
