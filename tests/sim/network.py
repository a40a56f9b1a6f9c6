"""In-process network with virtual time: seeded, so that the same seed gives the same run to the last datagram.

Protocol objects have the doors `receive_datagram`, `handle_timer`, `timer` and `datagrams_to_send`, and see ticks that
wrap at 2**30 ms and by default begin five seconds before that. A datagram passes the sender's NAT, its `up` link, the
receiver's NAT and its `down` link.

    net = Network(seed)
    server = net.node()
    client = net.node(nat=net.nat("symmetric"), up=Link(20, loss=0.02), down=Link(20, loss=0.02))
    server.attach(Server(...)); client.attach(Client(..., net.random_bytes))
    assert net.run(until=lambda: client.protocol.is_done, limit_ms=60000)
"""

import heapq
import random
from collections.abc import Callable
from typing import Any

import nat_kinds as kinds
from link import Link
from nat_box import Address, NatBox

from upeer.base.clock import ticks_diff

__all__ = ["Address", "Link", "NatBox", "Network", "Node", "SimulationError"]

_MASK = 2**30 - 1
_LAN_DELAY_US = 200
_MAX_STANDSTILL = 100000
_BROADCAST = "255.255.255.255"
_PRIVATE = ("192.168.", "10.")


class SimulationError(AssertionError):
    """A protocol object misbehaves in a way that would never end: its timer spins, or time stands still."""


class Node:
    """One UDP socket: an address, a NAT in front of it perhaps, its two links and the protocol object attached."""

    def __init__(
        self, net: "Network", address: Address, nat: NatBox | None, up: Link | None, down: Link | None
    ) -> None:
        self.address = address
        self.nat = nat
        self.up = up
        self.down = down
        self.is_up = True
        self.protocol: Any = None
        self.on_activity: Callable[[Any, int], None] | None = None
        self.wanted_us: int | None = None
        self.scheduled_us: int | None = None
        self._net = net

    def attach(self, protocol: Any, on_activity: Callable[[Any, int], None] | None = None) -> Any:
        """Put a protocol object on this socket and return it.

        `on_activity(protocol, now)` is called after every datagram and timer: the place for the application to take
        events, read and write.
        """
        self.protocol, self.on_activity = protocol, on_activity
        return protocol

    def move(self, ip: str | None = None, port: int | None = None) -> Address:
        """Give the node a new address (by default the next free one in its network) and return it."""
        self._net.move(self, ip, port)
        return self.address


class Network:
    """The internet, its clock and its dice."""

    def __init__(self, seed: int, start_ms: int = 2**30 - 5000, *, mtu: int = 1472, trace: bool = False) -> None:
        self.random = random.Random(seed)
        self.trace: list[tuple[int, str, Address, Address, int]] | None = [] if trace else None
        self.counts = dict.fromkeys(("sent", "delivered", "oversize", "filtered", "unroutable", "dropped", "down"), 0)
        self.nodes: list[Node] = []
        self.drop_if: Callable[[Address, Address, bytes], bool] | None = None  # called where the sender's link ends
        self._mtu = mtu
        self._start_ms = start_ms
        self._time_us = 0
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = 0
        self._public: dict[Address, Node] = {}
        self._lans: dict[NatBox, dict[Address, Node]] = {}
        self._nats: dict[str, NatBox] = {}
        self._next_number = 10

    @property
    def now(self) -> int:
        """Ticks that the protocol objects see now: ms, wrapped at 2**30."""
        return (self._start_ms + self._time_us // 1000) & _MASK

    @property
    def elapsed_ms(self) -> float:
        """Virtual time since the start, not wrapped."""
        return self._time_us / 1000

    def random_bytes(self, size: int) -> bytes:
        """Return seeded entropy for protocol objects."""
        return self.random.randbytes(size)

    def nat(self, kind: str, *, ip: str | None = None, timeout_ms: int = 120000, hairpin: bool = False) -> NatBox:
        """Return a NAT of this kind with a public address; pass it to `node`. Hosts that share it share a LAN."""
        box = NatBox(kind, ip or f"198.51.100.{self._number()}", self.random, timeout_ms, hairpin)
        self._nats[box.ip] = box
        self._lans[box] = {}
        return box

    def node(
        self,
        ip: str | None = None,
        port: int = 5000,
        *,
        nat: NatBox | None = None,
        up: Link | None = None,
        down: Link | None = None,
    ) -> Node:
        """Add a socket with a public address, or a private one behind `nat`. No link means no delay and no loss."""
        if nat is not None and nat.kind == kinds.OPEN:
            nat = None
        node = Node(self, (ip or self._free_ip(nat), port), nat, up, down)
        self._register(node)
        self.nodes.append(node)
        return node

    def move(self, node: Node, ip: str | None = None, port: int | None = None) -> None:
        """Change a node's address; what is under way to the old one is lost."""
        del self._peers_of(node.nat)[node.address]
        node.address = (ip or self._free_ip(node.nat), port or node.address[1])
        self._register(node)

    def call_later(self, delay_ms: float, function: Callable[..., None], *args: Any) -> None:
        """Call a function at a later virtual time; afterwards every node may send."""
        self._push(self._time_us + int(delay_ms * 1000), self._call, (function, args))

    def run(self, until: Callable[[], bool] | None = None, limit_ms: float = 60000) -> bool:
        """Let time pass until the predicate holds (True) or `limit_ms` of virtual time are over (False)."""
        stop_us = self._time_us + int(limit_ms * 1000)
        heap, events_at_once = self._heap, 0
        self._pump_all()
        if until is not None and until():
            return True
        while heap and heap[0][0] <= stop_us:
            time_us, _, function, args = heapq.heappop(heap)
            events_at_once = events_at_once + 1 if time_us == self._time_us else 0
            if events_at_once > _MAX_STANDSTILL:
                raise SimulationError(f"time stands still at {self.elapsed_ms} ms")
            self._time_us = time_us
            function(*args)
            if until is not None and until():
                return True
        self._time_us = stop_us
        return False

    def _number(self) -> int:
        self._next_number += 1
        return self._next_number

    def _free_ip(self, nat: NatBox | None) -> str:
        number = self._number()
        return f"{'203.0' if nat is None else '192.168'}.{number // 250}.{number % 250 + 1}"

    def _peers_of(self, nat: NatBox | None) -> dict[Address, Node]:
        return self._public if nat is None else self._lans[nat]

    def _register(self, node: Node) -> None:
        peers = self._peers_of(node.nat)
        if node.address in peers:
            raise ValueError(f"address {node.address} is taken")
        peers[node.address] = node

    def _push(self, time_us: int, function: Callable[..., None], args: tuple[Any, ...]) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (time_us, self._sequence, function, args))

    def _note(self, verdict: str, source: Address, target: Address, size: int) -> None:
        self.counts[verdict] += 1
        if self.trace is not None:
            self.trace.append((self._time_us, verdict, source, target, size))

    def _call(self, function: Callable[..., None], args: tuple[Any, ...]) -> None:
        function(*args)
        self._pump_all()

    def _pump_all(self) -> None:
        for node in self.nodes:
            if node.protocol is not None:
                self._pump(node)

    def _pump(self, node: Node) -> None:
        """Let the application act, send what the protocol has, and note when it wants to be woken."""
        protocol, now = node.protocol, self.now
        if node.on_activity is not None:
            node.on_activity(protocol, now)
        for data, target in protocol.datagrams_to_send(now):
            self._send(node, bytes(data), target)
        deadline = protocol.timer()
        if deadline is None:
            node.wanted_us = None
            return
        wanted_us = max(self._time_us, (self._time_us // 1000 + ticks_diff(deadline, now)) * 1000)
        node.wanted_us = wanted_us
        if node.scheduled_us is None or wanted_us < node.scheduled_us:
            node.scheduled_us = wanted_us
            self._push(wanted_us, self._wake, (node, wanted_us))

    def _wake(self, node: Node, scheduled_us: int) -> None:
        if scheduled_us != node.scheduled_us:
            return  # an earlier wake-up took its place
        node.scheduled_us = None
        if node.wanted_us is None or node.protocol is None:
            return
        if node.wanted_us > self._time_us:
            node.scheduled_us = node.wanted_us
            self._push(node.wanted_us, self._wake, (node, node.wanted_us))
            return
        node.protocol.handle_timer(self.now)
        self._pump(node)

    def _send(self, node: Node, data: bytes, target: Address) -> None:
        self._note("sent", node.address, target, len(data))
        if len(data) > self._mtu:
            self._note("oversize", node.address, target, len(data))
        elif not node.is_up:
            self._note("down", node.address, target, len(data))
        elif node.nat is not None and self._is_local(target):
            self._send_local(node, node.nat, data, target)
        else:
            source = node.address
            if node.nat is not None:
                source = node.nat.outbound(source, target, self._time_us)
            for time_us in self._arrivals(node.up, len(data)):
                self._push(time_us, self._cross, (source, target, data))

    @staticmethod
    def _is_local(target: Address) -> bool:
        return target[0].startswith(_PRIVATE) or target[0] == _BROADCAST

    def _send_local(self, node: Node, nat: NatBox, data: bytes, target: Address) -> None:
        lan = self._lans[nat]
        if target[0] == _BROADCAST:
            receivers = [peer for address, peer in lan.items() if address[1] == target[1] and peer is not node]
        else:
            receivers = [lan[target]] if target in lan else []
        if not receivers:
            self._note("unroutable", node.address, target, len(data))
        for receiver in receivers:
            self._push(self._time_us + _LAN_DELAY_US, self._deliver, (receiver, data, node.address))

    def _arrivals(self, link: Link | None, size: int) -> tuple[int, ...]:
        return (self._time_us,) if link is None else link.arrivals(size, self._time_us, self.random)

    def _cross(self, source: Address, target: Address, data: bytes) -> None:
        """Take a datagram that left its sender's side to the receiver's."""
        if self.drop_if is not None and self.drop_if(source, target, data):
            self._note("dropped", source, target, len(data))
            return
        nat = self._nats.get(target[0])
        if nat is None:
            receiver = self._public.get(target)
        else:
            inner = nat.inbound(target[1], source, self._time_us)
            if inner is None:
                self._note("filtered", source, target, len(data))
                return
            receiver = self._lans[nat].get(inner)
        if receiver is None:
            self._note("unroutable", source, target, len(data))
        elif receiver.down is None:
            self._deliver(receiver, data, source)
        else:
            for time_us in self._arrivals(receiver.down, len(data)):
                self._push(time_us, self._deliver, (receiver, data, source))

    def _deliver(self, node: Node, data: bytes, source: Address) -> None:
        if not node.is_up or node.protocol is None:
            self._note("down", source, node.address, len(data))
            return
        self._note("delivered", source, node.address, len(data))
        node.protocol.receive_datagram(data, source, self.now)
        self._pump(node)
