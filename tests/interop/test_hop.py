"""The lossy hop: it forwards per source, loses what it is told to, lets third parties in, and stays bounded."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hop import Hop

_QUIET_S = 0.15


def udp_socket() -> socket.socket:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    udp.settimeout(60)
    return udp


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    """A server and three peers."""
    made = [udp_socket() for _ in range(4)]
    yield made
    for udp in made:
        udp.close()


def drain(udp: socket.socket) -> list[bytes]:
    """Return what arrives until the socket is quiet."""
    udp.settimeout(_QUIET_S)
    arrived = []
    while True:
        try:
            arrived.append(udp.recv(2048))
        except TimeoutError:
            return arrived


def send_numbered(udp: socket.socket, hop: Hop, count: int) -> list[bytes]:
    sent = [b"%04d" % number for number in range(count)]
    for data in sent:
        udp.sendto(data, hop.address)
        time.sleep(0.0002)
    return sent


def test_each_source_has_its_own_upstream_and_gets_its_own_answer(sockets: list[socket.socket]) -> None:
    server, one, other, _ = sockets
    with Hop(server.getsockname()) as hop:
        seen = []
        for peer in (one, other):
            peer.sendto(peer.getsockname()[1].to_bytes(2, "big"), hop.address)
            data, source = server.recvfrom(64)
            server.sendto(data, source)
            seen.append(source)
        assert seen[0] != seen[1]
        for peer in (other, one):
            assert peer.recvfrom(64) == (peer.getsockname()[1].to_bytes(2, "big"), hop.address)
        assert hop.statistics()["up"] == hop.statistics()["down"] == hop.statistics()["flows"] == 2


def test_zero_length_datagram_passes(sockets: list[socket.socket]) -> None:
    server, peer, *_ = sockets
    with Hop(server.getsockname()) as hop:
        peer.sendto(b"", hop.address)
        assert server.recvfrom(64)[0] == b""


def test_third_party_reaches_the_source_and_is_answered(sockets: list[socket.socket]) -> None:
    server, peer, third, stranger = sockets
    with Hop(server.getsockname()) as hop:
        peer.sendto(b"login", hop.address)
        reflexive = server.recvfrom(64)[1]
        third.sendto(b"punch", reflexive)
        data, alias = peer.recvfrom(64)
        assert data == b"punch" and alias != hop.address
        peer.sendto(b"answer", alias)
        assert third.recvfrom(64) == (b"answer", reflexive)
        stranger.sendto(b"spoof", alias)
        assert drain(third) == []
        assert hop.counts["strangers"] == 1


def test_loss_is_near_what_was_asked_and_changes_in_mid_run(sockets: list[socket.socket]) -> None:
    server, peer, *_ = sockets
    with Hop(server.getsockname(), loss=0.2, seed=3) as hop:
        send_numbered(peer, hop, 200)
        assert 137 <= len(drain(server)) <= 183  # 160 expected, 4 sigma is 23
        hop.up.loss = 0.0
        assert send_numbered(peer, hop, 100) == drain(server)
        hop.up.loss = 1.0
        send_numbered(peer, hop, 10)
        assert drain(server) == []


def test_same_seed_loses_the_same_datagrams(sockets: list[socket.socket]) -> None:
    server, peer, *_ = sockets
    runs = []
    for seed in (5, 5, 6):
        with Hop(server.getsockname(), loss=0.3, duplicate=0.1, seed=seed) as hop:
            send_numbered(peer, hop, 100)
            runs.append(sorted(drain(server)))
    assert runs[0] == runs[1] != runs[2]


def test_delay_both_ways(sockets: list[socket.socket]) -> None:
    server, peer, *_ = sockets
    with Hop(server.getsockname(), delay_ms=30, jitter_ms=5) as hop:
        started = time.monotonic()
        peer.sendto(b"ping", hop.address)
        data, source = server.recvfrom(64)
        server.sendto(data, source)
        peer.recvfrom(64)
        assert time.monotonic() - started >= 0.06


def test_duplicate_and_reorder(sockets: list[socket.socket]) -> None:
    server, peer, *_ = sockets
    with Hop(server.getsockname(), duplicate=0.2, reorder=0.1, reorder_ms=10, seed=9) as hop:
        sent = send_numbered(peer, hop, 150)
        arrived = drain(server)
    assert set(arrived) == set(sent) and 160 <= len(arrived) <= 200
    assert any(after < before for before, after in zip(arrived, arrived[1:], strict=False))


def test_rebind_changes_the_upstream_address(sockets: list[socket.socket]) -> None:
    server, peer, *_ = sockets
    with Hop(server.getsockname()) as hop:
        peer.sendto(b"1", hop.address)
        before = server.recvfrom(64)[1]
        hop.rebind()
        server.sendto(b"lost", before)
        peer.sendto(b"2", hop.address)
        after = server.recvfrom(64)[1]
        server.sendto(b"back", after)
        assert after != before and drain(peer) == [b"back"]


def test_flows_aliases_and_queue_are_bounded(sockets: list[socket.socket]) -> None:
    server, peer, third, other = sockets
    with Hop(server.getsockname(), max_flows=1, max_aliases=1, max_queued=5, delay_ms=100) as hop:
        send_numbered(peer, hop, 20)
        assert len(drain(server)) == 5 and hop.counts["overflow"] == 15
        hop.up.delay_ms = hop.down.delay_ms = 0
        other.sendto(b"x", hop.address)
        reflexive = server.recvfrom(64)[1]
        assert hop.statistics()["flows"] == 1 and hop.counts["flows_evicted"] == 1
        for stranger in (third, peer):
            stranger.sendto(b"hi", reflexive)
        assert drain(other) == [b"hi"] and hop.counts["strangers"] == 1


def test_stop_closes_everything_and_may_be_repeated(sockets: list[socket.socket]) -> None:
    hop = Hop(sockets[0].getsockname()).start()
    hop.stop()
    hop.stop()
    again = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    again.bind(hop.address)
    again.close()


def test_program_prints_its_address_and_its_statistics(sockets: list[socket.socket]) -> None:
    server, peer, *_ = sockets
    argv = [sys.executable, str(Path(__file__).with_name("hop.py")), "--delay-ms", "5", "--seed", "4", "--target"]
    argv.append("{}:{}".format(*server.getsockname()))
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        word, address = process.stdout.readline().split()
        host, port = address.split(":")
        peer.sendto(b"hello", (host, int(port)))
        assert word == "listening" and server.recvfrom(64)[0] == b"hello"
        process.send_signal(signal.SIGTERM)
        assert json.loads(process.stdout.readline())["up"] == 1
    assert process.returncode == 0
