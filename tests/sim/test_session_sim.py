"""Two sessions with real paths in the simulator: two-way transfers on 200 bad links end with equal hashes."""

import hashlib
import random

import pytest
from network import Address, Link, Network, Node

from upeer.session.paths import HOST, SRFLX, Paths
from upeer.session.session import EVENT_CLOSED, Session

KEYS = (b"\x11" * 32, b"\x22" * 32)
DEVICE = (8424, 64, 1200, 60, 6)
CLIENT = (1 << 20, 1 << 19, 1200, 60, 0)
SIZE = 256 * 1024
SEEDS = 200
GROUPS = 10


class End:
    """A session as the simulator sees it, with an application that writes and hashes."""

    def __init__(self, net: Network, is_client: bool) -> None:
        self.paths = Paths(is_client, net.random_bytes, net.now)
        keys, ids = (KEYS, (b"cli", b"dev")) if is_client else (KEYS[::-1], (b"dev", b"cli"))
        limits = (CLIENT, DEVICE) if is_client else (DEVICE, CLIENT)
        self.session = Session(is_client, *ids, *keys, self.paths, limits, net.now)
        self.stream = self.session.stream(3)
        self.outgoing = b""
        self.written = self.received = 0
        self.hash = hashlib.sha256()
        self.closed: tuple | None = None
        self._buf = bytearray(1300)
        self._page = bytearray(8192)

    def receive_datagram(self, data: bytes, addr: Address, now: int) -> None:
        self.session.receive_packet(bytearray(data), len(data), addr, None, now)

    def timer(self) -> int | None:
        return self.session.timer()

    def handle_timer(self, now: int) -> None:
        self.session.handle_timer(now)

    def datagrams_to_send(self, now: int) -> list[tuple[bytes, Address]]:
        sent = []
        while size := self.session.write_datagram(self._buf, now):
            sent.append((bytes(self._buf[8 : 8 + size]), self.session.send_path.addr))
        return sent

    def work(self, _end: "End", _now: int) -> None:
        while event := self.session.next_event():
            if event[0] == EVENT_CLOSED:
                self.closed = event
        while size := self.stream.read_into(self._page):
            self.hash.update(self._page[:size])
            self.received += size
        if self.written < len(self.outgoing):
            self.written += self.stream.write(self.outgoing, self.written)
            if self.written == len(self.outgoing):
                self.stream.finish()

    def is_done(self) -> bool:
        return self.stream.is_done


def ends(net: Network, **link: float) -> tuple[Node, Node]:
    """Return the nodes of a client and of a device that know each other's address."""
    nodes = [net.node(up=Link(**link)), net.node(up=Link(**link))]
    for node, is_client in zip(nodes, (True, False), strict=True):
        end = End(net, is_client)
        node.attach(end, end.work)
    for node, peer in (nodes, nodes[::-1]):
        node.protocol.paths.add(SRFLX, peer.address)
    return nodes[0], nodes[1]


def transfer(net: Network, a: Node, b: Node, size: int, limit_ms: float = 300000) -> None:
    for node in (a, b):
        node.protocol.outgoing = net.random_bytes(size)
    assert net.run(lambda: a.protocol.is_done() and b.protocol.is_done(), limit_ms), (
        a.protocol.received,
        b.protocol.received,
        a.protocol.closed,
        b.protocol.closed,
    )
    for node, peer in ((a, b), (b, a)):
        assert node.protocol.hash.digest() == hashlib.sha256(peer.protocol.outgoing).digest()
        assert node.protocol.received == size


def bad_link(seed: int) -> dict[str, float]:
    """Return a link for this seed: half of them lose 10 %, the others something between nothing and that."""
    dice = random.Random(seed)
    return {
        "delay_ms": dice.choice((0, 1, 5, 20, 60, 150)),
        "jitter_ms": dice.choice((0, 3, 30)),
        "loss": 0.1 if seed & 1 else dice.random() / 10,
        "duplicate": dice.choice((0, 0.02, 0.1)),
        "reorder": dice.choice((0, 0.02, 0.1)),
        "kbit_per_s": dice.choice((0, 0, 2000, 20000)),
    }


@pytest.mark.parametrize("group", range(GROUPS))
def test_two_way_transfer_over_bad_links(group: int) -> None:
    for seed in range(group, SEEDS, GROUPS):
        net = Network(seed)
        transfer(net, *ends(net, **bad_link(seed)), SIZE)


@pytest.mark.parametrize("seed", range(8))
def test_address_changes_in_mid_transfer(seed: int) -> None:
    net = Network(seed)
    a, b = ends(net, delay_ms=15, loss=0.03, jitter_ms=5)
    mover = (a, b)[seed & 1]
    for at_ms in (400, 1500):
        net.call_later(at_ms, mover.move)
    transfer(net, a, b, SIZE)
    assert b.protocol.paths.changes + a.protocol.paths.changes >= 4


@pytest.mark.parametrize("seed", range(4))
def test_link_down_for_ten_seconds(seed: int) -> None:
    net = Network(seed)
    a, b = ends(net, delay_ms=15, loss=0.03)

    def set_up(is_up: bool) -> None:
        b.is_up = is_up

    net.call_later(300, set_up, False)
    net.call_later(10300, set_up, True)
    transfer(net, a, b, SIZE)


def test_peer_gone_ends_by_idle_time_out() -> None:
    net = Network(1)
    a, b = ends(net, delay_ms=15)
    a.protocol.outgoing = bytes(100000)
    net.call_later(200, setattr, b, "is_up", False)
    assert net.run(lambda: a.protocol.closed is not None, 70000)
    assert a.protocol.closed == (EVENT_CLOSED, 4, "idle")
    assert net.counts["sent"] < 500


def test_idle_session_stays_open_for_an_hour() -> None:
    net = Network(1)
    a, b = ends(net, delay_ms=15, loss=0.02)
    transfer(net, a, b, 1000)
    net.run(limit_ms=3600000)
    assert a.protocol.closed is None and b.protocol.closed is None
    assert net.counts["sent"] < 3600 * 1.2


def test_throughput_fills_a_link() -> None:
    net = Network(1)
    a, b = ends(net, delay_ms=20, kbit_per_s=8000, queue_size=40000)
    b.protocol.session.paths.add(HOST, a.address)
    a.protocol.outgoing = net.random_bytes(200000)
    assert net.run(lambda: b.protocol.received == 200000, 20000)
    assert net.elapsed_ms < 200000 / 8192 * 45 + 500  # the device's window of 8 KiB a round trip is the limit
