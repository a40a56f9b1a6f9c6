"""The simulator: dice, clock, links and NATs do what they say, and the same seed gives the same run."""

import hashlib
import sys

import nat_kinds as kinds
import pytest
from network import Address, Link, NatBox, Network, Node, SimulationError

from upeer.base.clock import ticks_add, ticks_diff


class Socket:
    """A protocol object with no protocol: keeps what comes in, sends what it is told."""

    def __init__(self) -> None:
        self.received: list[tuple[bytes, Address, int]] = []
        self.outgoing: list[tuple[bytes, Address]] = []

    def receive_datagram(self, data: bytes, addr: Address, now: int) -> None:
        self.received.append((data, addr, now))

    def handle_timer(self, now: int) -> None:
        raise AssertionError("no timer was set")

    def timer(self) -> int | None:
        return None

    def datagrams_to_send(self, now: int) -> list[tuple[bytes, Address]]:
        outgoing = self.outgoing[:]
        self.outgoing.clear()
        return outgoing


def ask(net: Network, sender: Node, target: Address, receiver: Node, data: bytes = b"x") -> Address | None:
    """Send one datagram and return the source that the receiver sees, or None."""
    receiver.protocol.received.clear()
    sender.protocol.outgoing.append((data, target))
    net.run(limit_ms=100)
    return receiver.protocol.received[0][1] if receiver.protocol.received else None


def socket_node(net: Network, nat: NatBox | None = None, ip: str | None = None, port: int = 5000) -> Node:
    node = net.node(ip, port, nat=nat)
    node.attach(Socket())
    return node


def one_way(seed: int, count: int = 2000, size: int = 100, gap_ms: float = 1, **link: float) -> tuple[Network, Node]:
    """Send numbered datagrams over one link and return the network and the receiver."""
    net = Network(seed, trace=True)
    sender, receiver = net.node(up=Link(**link)), socket_node(net)
    sender.attach(Socket())
    for number in range(count):
        datagram = (number.to_bytes(4, "big").ljust(size, b"\0"), receiver.address)
        net.call_later(number * gap_ms, sender.protocol.outgoing.append, datagram)
    net.run(limit_ms=count * gap_ms + 5000)
    return net, receiver


def numbers(receiver: Node) -> list[int]:
    return [int.from_bytes(data[:4], "big") for data, _, _ in receiver.protocol.received]


def times_us(net: Network, verdict: str) -> list[int]:
    return [row[0] for row in net.trace or [] if row[1] == verdict]


def test_loss_rate_is_near_what_was_asked() -> None:
    _, receiver = one_way(1, loss=0.1)
    assert 1740 <= len(receiver.protocol.received) <= 1860  # 1800 expected, 4 sigma is 54
    assert len(one_way(1)[1].protocol.received) == 2000


def test_duplicate_and_reorder_rates_are_near_what_was_asked() -> None:
    assert 2140 <= len(numbers(one_way(2, duplicate=0.1)[1])) <= 2260
    arrived = numbers(one_way(3, delay_ms=10, reorder=0.1, reorder_ms=3)[1])
    late = sum(after < before for before, after in zip(arrived, arrived[1:], strict=False))
    assert 140 <= late <= 260 and sorted(arrived) == list(range(2000))


def test_jitter_delays_but_keeps_the_order() -> None:
    net, receiver = one_way(4, delay_ms=10, jitter_ms=30)
    assert numbers(receiver) == list(range(2000))
    sent, arrived = times_us(net, "sent"), times_us(net, "delivered")
    delays = [(after - before) / 1000 for before, after in zip(sent, arrived, strict=True)]
    assert 10 <= min(delays) < 30 < max(delays) <= 41


def test_bandwidth_spaces_datagrams_and_a_full_queue_drops() -> None:
    net, receiver = one_way(5, count=100, size=972, gap_ms=0, kbit_per_s=8000, queue_size=50000)
    assert len(receiver.protocol.received) == 51  # each takes 1 ms: 50 wait, one is on the wire
    arrived = times_us(net, "delivered")
    assert {after - before for before, after in zip(arrived, arrived[1:], strict=False)} == {1000}


def test_same_seed_gives_the_same_trace_and_another_seed_another() -> None:
    runs = [transfer(seed, 40000).trace for seed in (7, 7, 8)]
    assert runs[0] == runs[1] != runs[2]


def test_oversize_down_unroutable_and_dropped_are_counted() -> None:
    net = Network(1)
    one, other = socket_node(net), socket_node(net)
    assert ask(net, one, other.address, other, bytes(1473)) is None
    assert ask(net, one, ("203.0.113.250", 1), other) is None
    net.drop_if = lambda _source, _target, data: data == b"bad"
    assert ask(net, one, other.address, other, b"bad") is None
    assert ask(net, one, other.address, other, b"good") == one.address
    other.is_up = False
    assert ask(net, one, other.address, other) is None
    expected = {"sent": 5, "delivered": 1, "oversize": 1, "unroutable": 1, "dropped": 1, "down": 1, "filtered": 0}
    assert net.counts == expected


EXPECTED = {  # same mapping toward all; hears another port of a contacted address; hears an address never contacted
    kinds.OPEN: (True, True, True),
    kinds.FULL_CONE: (True, True, True),
    kinds.ADDRESS_RESTRICTED: (True, True, False),
    kinds.PORT_RESTRICTED: (True, False, False),
    kinds.SYMMETRIC: (False, False, False),
    kinds.SEQUENTIAL: (False, False, False),
}


@pytest.mark.parametrize("kind", kinds.ALL_KINDS)
def test_kind_maps_and_filters_as_named(kind: str) -> None:
    net = Network(11)
    host = socket_node(net, net.nat(kind))
    server, third = socket_node(net, ip="203.0.113.1"), socket_node(net, ip="203.0.113.3")
    same_address, other = socket_node(net, ip="203.0.113.1", port=5001), socket_node(net, ip="203.0.113.2")
    external = ask(net, host, server.address, server)
    assert external and ask(net, server, external, host) == server.address
    assert (ask(net, same_address, external, host) is not None) is EXPECTED[kind][1]
    assert (ask(net, third, external, host) is not None) is EXPECTED[kind][2]
    assert (ask(net, host, other.address, other) == external) is EXPECTED[kind][0]


@pytest.mark.parametrize(("kind_a", "kind_b"), kinds.all_pairs(kinds.ALL_KINDS))
def test_pair_joins_directly_exactly_when_ice_can(kind_a: str, kind_b: str) -> None:
    net = Network(12)
    server, pair = socket_node(net), [socket_node(net, net.nat(kind)) for kind in (kind_a, kind_b)]
    external = [ask(net, node, server.address, server) for node in pair]
    targets, heard = external[::-1], set()
    for step in range(6):
        side = step % 2
        source = ask(net, pair[side], targets[side], pair[1 - side])
        if source:
            targets[1 - side] = source
            heard.add(1 - side)
    assert (heard == {0, 1}) is kinds.ice_can_connect_directly(kind_a, kind_b)


def test_mapping_times_out_and_rebind_changes_the_port() -> None:
    net = Network(13)
    nat = net.nat(kinds.FULL_CONE, timeout_ms=1000)
    host, server = socket_node(net, nat), socket_node(net)
    first = ask(net, host, server.address, server)
    assert first and ask(net, server, first, host)
    net.run(limit_ms=900)
    assert ask(net, server, first, host) is None
    second = ask(net, host, server.address, server)
    nat.rebind()
    assert second and ask(net, server, second, host) is None
    assert len({first, second, ask(net, host, server.address, server)}) == 3


@pytest.mark.parametrize("hairpin", [True, False])
def test_shared_nat_switches_locally_and_hairpins_only_when_asked(hairpin: bool) -> None:
    net = Network(14)
    nat = net.nat(kinds.FULL_CONE, hairpin=hairpin)
    one, other, server = socket_node(net, nat), socket_node(net, nat), socket_node(net)
    mine, theirs = ask(net, one, server.address, server), ask(net, other, server.address, server)
    assert theirs and ask(net, one, theirs, other) == (mine if hairpin else None)
    assert ask(net, one, other.address, other) == one.address
    assert ask(net, one, ("255.255.255.255", 5000), other) == one.address
    assert ask(net, socket_node(net, net.nat(kinds.OPEN)), other.address, other) is None


def test_move_leaves_the_old_address_dead() -> None:
    net = Network(15)
    host, server = socket_node(net), socket_node(net)
    old = host.address
    assert host.move() != old
    assert ask(net, server, old, host) is None
    assert ask(net, server, host.address, host) == server.address
    with pytest.raises(ValueError, match="taken"):
        host.move(*server.address)


class Ticker(Socket):
    """Wakes every second and notes the ticks."""

    def __init__(self, now: int) -> None:
        super().__init__()
        self.deadline = ticks_add(now, 1000)
        self.ticks: list[int] = []

    def timer(self) -> int | None:
        return self.deadline

    def handle_timer(self, now: int) -> None:
        self.ticks.append(now)
        self.deadline = ticks_add(self.deadline, 1000)


def test_timers_fire_on_time_across_the_wrap() -> None:
    net = Network(16)
    ticker = net.node().attach(Ticker(net.now))
    assert not net.run(limit_ms=10000)
    assert ticker.ticks == [2**30 - 4000 + 1000 * n for n in range(4)] + [1000 * n for n in range(6)]
    assert net.elapsed_ms == 10000 and net.now == 5000


def test_timer_that_spins_is_reported() -> None:
    net = Network(17)
    ticker = net.node().attach(Ticker(net.now))
    ticker.handle_timer = lambda now: None
    with pytest.raises(SimulationError, match="stands still"):
        net.run(limit_ms=2000)


class Bulk(Socket):
    """Sends bytes in numbered datagrams to the peer and again 100 ms later until acknowledged; receives likewise."""

    WINDOW = 16
    SIZE = 1150

    def __init__(self, data: bytes, peer: Address) -> None:
        super().__init__()
        self.chunks = [data[at : at + self.SIZE] for at in range(0, len(data), self.SIZE)]
        self.peer = peer
        self.unacked: dict[int, int] = {}  # number -> deadline
        self.next_number = 0
        self.got: dict[int, bytes] = {}
        self.acks: list[int] = []

    @property
    def is_sent(self) -> bool:
        return self.next_number == len(self.chunks) and not self.unacked

    def receive_datagram(self, data: bytes, addr: Address, now: int) -> None:
        number = int.from_bytes(data[1:4], "big")
        if data[:1] == b"A":
            self.unacked.pop(number, None)
        else:
            self.got[number] = data[4:]
            self.acks.append(number)

    def timer(self) -> int | None:
        deadline = None
        for candidate in self.unacked.values():
            if deadline is None or ticks_diff(candidate, deadline) < 0:
                deadline = candidate
        return deadline

    def handle_timer(self, now: int) -> None:
        for number, deadline in self.unacked.items():
            if ticks_diff(deadline, now) <= 0:
                self._send(number, now)

    def _send(self, number: int, now: int) -> None:
        self.unacked[number] = ticks_add(now, 100)
        self.outgoing.append((b"D" + number.to_bytes(3, "big") + self.chunks[number], self.peer))

    def datagrams_to_send(self, now: int) -> list[tuple[bytes, Address]]:
        while len(self.unacked) < self.WINDOW and self.next_number < len(self.chunks):
            self._send(self.next_number, now)
            self.next_number += 1
        self.outgoing += [(b"A" + number.to_bytes(3, "big"), self.peer) for number in self.acks]
        self.acks.clear()
        return super().datagrams_to_send(now)


def transfer(seed: int, size: int) -> Network:
    """Move `size` bytes both ways over a bad link, across the wrap of the ticks, and check their hashes."""
    net = Network(seed, start_ms=2**30 - 300, trace=True)
    bad = {"delay_ms": 10, "jitter_ms": 5, "loss": 0.05, "duplicate": 0.02, "reorder": 0.05}
    nodes = [net.node(up=Link(**bad), down=Link(**bad)) for _ in range(2)]
    sent = [net.random_bytes(size) for _ in range(2)]
    peers = [nodes[side].attach(Bulk(sent[side], nodes[1 - side].address)) for side in range(2)]
    assert net.run(until=lambda: all(peer.is_sent for peer in peers))
    for side in range(2):
        arrived = b"".join(peers[1 - side].got[number] for number in range(len(peers[side].chunks)))
        assert hashlib.sha256(arrived).digest() == hashlib.sha256(sent[side]).digest()
    return net


def test_reliable_transfer_over_a_bad_link_ends_whole() -> None:
    for seed in range(5):
        transfer(seed, 50000)


def test_network_costs_little_beside_a_protocol() -> None:
    """In calls of functions, of Python's and C's alike: they are the same on every machine."""
    calls = 0

    def count(_frame: object, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        net, receiver = one_way(20, count=5000, delay_ms=5, jitter_ms=2, loss=0.01)
    finally:
        sys.setprofile(None)
    assert len(receiver.protocol.received) > 4900 and net.counts["sent"] == 5000
    assert calls / 5000 < 60
