"""A lossy hop for real UDP: peers write to it, it passes their datagrams on to one target, and answers back.

Each source gets an upstream socket of its own, as behind a full-cone NAT: that socket's address is what the target sees
and may hand to third parties. A third party that writes to it reaches the source from an alias socket, and what the
source answers there goes back to that third party. Delay, loss and the rest are those of the simulator's `Link`.

    with Hop(("127.0.0.1", 7000), loss=0.05, delay_ms=20, seed=1) as hop:
        peer.sendto(b"hello", hop.address)

    python tests/interop/hop.py --target 127.0.0.1:7000 --loss 0.05 --delay-ms 20 --seed 1
"""

import argparse
import contextlib
import heapq
import json
import random
import selectors
import signal
import socket
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

sys.path.append(str(Path(__file__).resolve().parents[1] / "sim"))

from link import Link

Address = tuple[str, int]

_DATAGRAM_SIZE = 65535
_DRAIN_COUNT = 64  # datagrams read from one socket before the others get their turn
_BUFFER_SIZE = 1 << 20
_IDLE_S = 1.0


class _Flow:
    """One source and the sockets that stand for it (upstream) and for third parties toward it (aliases)."""

    def __init__(self, source: Address, upstream: socket.socket) -> None:
        self.source = source
        self.upstream = upstream
        self.aliases: dict[Address, socket.socket] = {}


class Hop:
    """Forward UDP both ways between any number of sources and `target`, badly; runs in a thread of its own.

    `up` (toward the target) and `down` are Links whose attributes may be changed while it runs: `hop.up.loss = 1.0`.
    Bounded: `max_flows` sources (the least recently heard one goes first), `max_aliases` third parties for each,
    `max_queued` datagrams under way.
    """

    def __init__(
        self,
        target: Address,
        *,
        listen: Address = ("127.0.0.1", 0),
        seed: int = 0,
        max_flows: int = 64,
        max_aliases: int = 16,
        max_queued: int = 4096,
        **link: float,
    ) -> None:
        self.target = target
        self.up = Link(**link)  # type: ignore[arg-type]
        self.down = Link(**link)  # type: ignore[arg-type]
        self.counts = dict.fromkeys(("up", "down", "overflow", "strangers", "send_errors", "flows_evicted"), 0)
        self._random = random.Random(seed)
        self._limits = max_flows, max_aliases, max_queued
        self._selector = selectors.DefaultSelector()
        self._flows: OrderedDict[Address, _Flow] = OrderedDict()
        self._queue: list[tuple[int, int, socket.socket, bytes, Address]] = []
        self._sequence = 0
        self._calls: deque[Callable[[], None]] = deque()
        self._is_stopping = False
        self._listening = self._open_socket(listen, self._from_source, None)
        self.address: Address = self._listening.getsockname()
        self._bell, self._ring = socket.socketpair()
        self._bell.setblocking(False)
        self._selector.register(self._bell, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._run, name="hop", daemon=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Start forwarding."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop forwarding and close every socket. Safe to call twice."""
        if self._is_stopping:
            return
        self._is_stopping = True
        self._ring.send(b"!")
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()
        self._ring.close()

    def rebind(self) -> None:
        """Give every source a new upstream socket, as a NAT does that lost its mappings; returns when it is done."""
        done = threading.Event()

        def forget_flows() -> None:
            while self._flows:
                self._forget(next(iter(self._flows)))
            done.set()

        self._calls.append(forget_flows)
        self._ring.send(b"!")
        done.wait(60)

    def statistics(self) -> dict[str, Any]:
        """Return what was forwarded, and what each link lost, duplicated, reordered or dropped for a full queue."""
        names = ("lost", "queue_dropped", "duplicated", "reordered")
        links = {"up": self.up, "down": self.down}
        per_link = {f"{name}_{way}": getattr(link, name) for way, link in links.items() for name in names}
        return {**self.counts, **per_link, "flows": len(self._flows)}

    def _run(self) -> None:
        while not self._is_stopping:
            for key, _ in self._selector.select(self._wait_s()):
                if key.data is None:
                    self._answer_bell()
                elif key.fileobj.fileno() >= 0:  # type: ignore[union-attr]  # an earlier event may have closed it
                    self._drain(key.fileobj, *key.data)
            self._send_due()

    def _wait_s(self) -> float:
        if not self._queue:
            return _IDLE_S
        return max(0.0, self._queue[0][0] / 1e6 - time.monotonic())

    def _answer_bell(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._bell.recv(64)
        while self._calls:
            self._calls.popleft()()

    def _open_socket(self, bind: Address, handler: Callable[..., None], context: Any) -> socket.socket:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(bind)
        udp.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            udp.setsockopt(socket.SOL_SOCKET, option, _BUFFER_SIZE)
        self._selector.register(udp, selectors.EVENT_READ, (handler, context))
        return udp

    def _close_socket(self, udp: socket.socket) -> None:
        self._selector.unregister(udp)
        udp.close()

    @staticmethod
    def _drain(udp: Any, handler: Callable[..., None], context: Any) -> None:
        with contextlib.suppress(BlockingIOError):
            for _ in range(_DRAIN_COUNT):
                data, sender = udp.recvfrom(_DATAGRAM_SIZE)
                handler(data, sender, context)

    def _from_source(self, data: bytes, source: Address, _context: None) -> None:
        self._pass_up(data, self._flow(source), self.target)

    def _from_upstream(self, data: bytes, remote: Address, flow: _Flow) -> None:
        self.counts["down"] += 1
        outlet = self._listening if remote == self.target else self._alias(flow, remote)
        if outlet is not None:
            self._enqueue(self.down, outlet, data, flow.source)

    def _from_alias(self, data: bytes, sender: Address, context: tuple[_Flow, Address]) -> None:
        flow, remote = context
        if sender == flow.source:
            self._pass_up(data, flow, remote)
        else:
            self.counts["strangers"] += 1

    def _pass_up(self, data: bytes, flow: _Flow, target: Address) -> None:
        self.counts["up"] += 1
        self._enqueue(self.up, flow.upstream, data, target)

    def _flow(self, source: Address) -> _Flow:
        flow = self._flows.get(source)
        if flow is not None:
            self._flows.move_to_end(source)
            return flow
        if len(self._flows) >= self._limits[0]:
            self.counts["flows_evicted"] += 1
            self._forget(next(iter(self._flows)))
        flow = self._flows[source] = _Flow(source, self._listening)
        flow.upstream = self._open_socket((self.address[0], 0), self._from_upstream, flow)
        return flow

    def _alias(self, flow: _Flow, remote: Address) -> socket.socket | None:
        alias = flow.aliases.get(remote)
        if alias is None:
            if len(flow.aliases) >= self._limits[1]:
                self.counts["strangers"] += 1
                return None
            alias = self._open_socket((self.address[0], 0), self._from_alias, (flow, remote))
            flow.aliases[remote] = alias
        return alias

    def _forget(self, source: Address) -> None:
        flow = self._flows.pop(source)
        for udp in (flow.upstream, *flow.aliases.values()):
            self._close_socket(udp)

    def _enqueue(self, link: Link, outlet: socket.socket, data: bytes, target: Address) -> None:
        now_us = time.monotonic_ns() // 1000
        for due_us in link.arrivals(len(data), now_us, self._random):
            if due_us <= now_us:
                self._send(outlet, data, target)
            elif len(self._queue) >= self._limits[2]:
                self.counts["overflow"] += 1
            else:
                self._sequence += 1
                heapq.heappush(self._queue, (due_us, self._sequence, outlet, data, target))

    def _send_due(self) -> None:
        now_us = time.monotonic_ns() // 1000
        while self._queue and self._queue[0][0] <= now_us:
            self._send(*heapq.heappop(self._queue)[2:])

    def _send(self, outlet: socket.socket, data: bytes, target: Address) -> None:
        try:
            outlet.sendto(data, target)
        except OSError:  # a full buffer, or a socket that was forgotten while the datagram was under way
            self.counts["send_errors"] += 1


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return host or "127.0.0.1", int(port)


def main() -> None:
    """Run one hop until SIGTERM or Ctrl-C; prints its address as a line first and its statistics as JSON last."""
    parser = argparse.ArgumentParser(description="A lossy UDP hop.")
    parser.add_argument("--target", type=_address, required=True, metavar="HOST:PORT")
    parser.add_argument("--listen", type=_address, default=("127.0.0.1", 0), metavar="HOST:PORT")
    parser.add_argument("--seed", type=int, default=0)
    for name in ("loss", "delay-ms", "jitter-ms", "duplicate", "reorder", "reorder-ms"):
        parser.add_argument(f"--{name}", type=float, default=0.0)
    for name in ("kbit-per-s", "max-flows"):
        parser.add_argument(f"--{name}", type=int, default={"max-flows": 64}.get(name, 0))
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    with Hop(**vars(parser.parse_args())) as hop:
        print("listening {}:{}".format(*hop.address), flush=True)
        over.wait()
        print(json.dumps(hop.statistics()), flush=True)


if __name__ == "__main__":
    main()
