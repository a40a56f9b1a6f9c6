"""The relay server: joins, tickets, forwarding, caps, receipts."""

import json
from pathlib import Path

import pytest

from upeer.base.errors import ProtocolError
from upeer.crypto.aead import Aead, Hmac
from upeer.session.relay_end import encode_join, parse_join_ok
from upeer_server.config import ServerEntry
from upeer_server.relay import Relay, RelayTicket, encode_join_ok, open_relay_ticket, parse_join, seal_relay_ticket

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "invite.json").read_text())
KEYS = {name: bytes.fromhex(text) for name, text in VECTORS["relay"].items()}
TAG = bytes.fromhex(VECTORS["relay_tag"])
ENTRY = ServerEntry("relay", 1, "198.51.100.1", 3478, KEYS["ticket_key"])
CLIENT, DEVICE, STRANGER = ("203.0.113.7", 1000), ("203.0.113.8", 2000), ("203.0.113.9", 3000)
EXPIRY = 1_800_000_000
INNER = bytes((0x40,)) + bytes(range(60))


class Server:
    """A relay whose clocks the test turns."""

    def __init__(self, **limits: int) -> None:
        self.unix = EXPIRY - 30
        self.now = 5_000
        self.relay = Relay(ENTRY, lambda: self.unix, **limits)

    def receive(self, data: bytes, addr: tuple[str, int]) -> list[tuple[bytes, tuple[str, int]]]:
        return self.relay.receive(data, addr, self.now)

    def join(
        self, side: int, addr: tuple[str, int], sequence: int = 1, *, sealed: bytes = KEYS["ticket"], tag: bytes = TAG
    ) -> list[tuple[bytes, tuple[str, int]]]:
        data = encode_join(7, tag, side, sequence, sealed)
        return self.receive(data + Hmac(KEYS["device_key" if side else "client_key"]).tag(data), addr)

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1000
            self.unix += 1
            self.relay.handle_timer(self.now)


def ticket(*, expiry: int = EXPIRY, tag: bytes = TAG, rate: int = 1000, cap: int = 1) -> bytes:
    fields = RelayTicket(expiry, tag, KEYS["client_key"], KEYS["device_key"], rate, cap)
    return seal_relay_ticket(KEYS["ticket_key"], fields, bytes(range(16)))


def relayed(inner: bytes = INNER, tag: bytes = TAG) -> bytes:
    return b"\xc0" + tag + inner


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def joined(server: Server) -> Server:
    assert server.join(0, CLIENT) and server.join(1, DEVICE)
    return server


def test_ticket_of_the_vectors_opens() -> None:
    opened = open_relay_ticket(Aead(KEYS["ticket_key"]), KEYS["ticket"])
    assert opened == RelayTicket(EXPIRY, TAG, KEYS["client_key"], KEYS["device_key"], 125, 64)
    assert seal_relay_ticket(KEYS["ticket_key"], opened, (0x1234).to_bytes(16, "big")) == KEYS["ticket"]


def test_codec_gives_the_known_answers() -> None:
    assert parse_join(KEYS["join"]) == (7, TAG, 0, 5, KEYS["ticket"])
    data = encode_join_ok(7, TAG, 1, 9, ("203.0.113.7", 20000))
    assert data + Hmac(KEYS["device_key"]).tag(data) == KEYS["join_ok"]
    for wrong in (*(KEYS["join"][:size] for size in range(len(KEYS["join"]))), KEYS["join"] + b"\0", KEYS["join_ok"]):
        with pytest.raises(ProtocolError):
            parse_join(wrong)


def test_join_is_answered_with_the_reflexive_address_and_fewer_bytes(server: Server) -> None:
    [(data, addr)] = server.join(0, CLIENT)
    assert addr == CLIENT
    assert parse_join_ok(data) == (7, TAG, 0, 1, CLIENT)
    assert Hmac(KEYS["client_key"]).tag(data[:-16]) == data[-16:]
    assert len(data) < len(KEYS["join"])


def test_datagrams_pass_both_ways_unchanged(joined: Server) -> None:
    data = relayed()
    [(out, target)] = joined.receive(data, CLIENT)
    assert out is data and target == DEVICE
    assert joined.receive(data, DEVICE) == [(data, CLIENT)]


def test_nothing_passes_before_the_other_end_joined(server: Server) -> None:
    server.join(0, CLIENT)
    assert server.receive(relayed(), CLIENT) == []
    assert server.receive(relayed(), DEVICE) == []


def test_strangers_and_unknown_tags_are_dropped(joined: Server) -> None:
    assert joined.receive(relayed(), STRANGER) == []
    assert joined.receive(relayed(tag=b"unknown"), CLIENT) == []
    for junk in (b"", b"\xc0", b"\xa0", b"\x40" + bytes(50), relayed()[:7], KEYS["join"][:-1]):
        assert joined.receive(junk, CLIENT) == []
    status = joined.relay.status()
    assert status["dropped"] == 6 and status["joins_refused"] == 2 and status["sessions"] == 1


def test_replayed_join_does_not_move_the_end(joined: Server) -> None:
    assert joined.join(0, STRANGER, sequence=1) == []
    assert joined.receive(relayed(), CLIENT) == [(relayed(), DEVICE)]
    assert joined.join(0, STRANGER, sequence=2)
    assert joined.receive(relayed(), DEVICE) == [(relayed(), STRANGER)]


def test_join_with_the_other_sides_key_or_any_bit_flipped_is_refused(server: Server) -> None:
    data = encode_join(7, TAG, 1, 1, KEYS["ticket"])
    assert server.receive(data + Hmac(KEYS["client_key"]).tag(data), STRANGER) == []
    for i in range(len(KEYS["join"])):
        changed = bytearray(KEYS["join"])
        changed[i] ^= 4
        assert server.receive(bytes(changed), CLIENT) == [], i
    assert server.relay.status()["sessions"] == 0


def test_ticket_of_another_session_expired_or_under_another_key_is_refused(server: Server) -> None:
    assert server.join(0, CLIENT, sealed=ticket(tag=b"another")) == []
    assert server.join(0, CLIENT, sealed=ticket(expiry=server.unix - 1)) == []
    other = RelayTicket(EXPIRY, TAG, KEYS["client_key"], KEYS["device_key"], 1, 1)
    assert server.join(0, CLIENT, sealed=seal_relay_ticket(KEYS["client_key"] * 2, other, bytes(16))) == []
    zero = RelayTicket(EXPIRY, TAG, bytes(16), KEYS["device_key"], 1, 1)
    assert server.join(1, DEVICE, sealed=seal_relay_ticket(KEYS["ticket_key"], zero, bytes(16))) == []


def test_second_end_must_join_in_time(server: Server) -> None:
    assert server.join(0, CLIENT)
    server.unix = EXPIRY + 1
    assert server.join(1, DEVICE) == []
    assert server.join(0, CLIENT, sequence=2)


def test_session_lives_by_joins_and_its_ticket_serves_once(server: Server) -> None:
    sealed = ticket(expiry=EXPIRY + 600)
    server.join(0, CLIENT, sealed=sealed), server.join(1, DEVICE, sealed=sealed)
    server.wait(20)
    assert server.join(0, CLIENT, sequence=2, sealed=sealed)
    server.wait(59)
    assert server.receive(relayed(), CLIENT)
    server.wait(3)
    assert server.receive(relayed(), CLIENT) == []
    assert server.join(0, CLIENT, sequence=3, sealed=sealed) == []
    assert server.relay.status()["sessions"] == 0


def test_used_tickets_are_forgotten_when_they_expired(joined: Server) -> None:
    joined.unix = EXPIRY - 100
    joined.wait(62)
    assert joined.relay.status()["sessions"] == 0 and joined.relay.timer() is not None
    joined.wait(60)
    assert joined.relay.timer() is None
    assert joined.join(0, CLIENT) == []


def test_byte_cap_ends_the_session_and_its_ticket() -> None:
    server = Server()
    sealed = ticket(rate=65535, cap=1)
    server.join(0, CLIENT, sealed=sealed), server.join(1, DEVICE, sealed=sealed)
    sent = 0
    while server.receive(relayed(bytes(1192)), CLIENT):
        sent += 1200
    assert sent == 1_000_000 // 1200 * 1200
    assert server.join(0, CLIENT, sequence=2, sealed=sealed) == []
    [receipt] = server.relay.take_receipts()
    assert (receipt.client_bytes, receipt.device_bytes) == (sent, 0)
    assert server.relay.take_receipts() == []


def test_rate_is_limited_with_a_burst() -> None:
    server = Server()
    sealed = ticket(rate=200, cap=1000)
    server.join(0, CLIENT, sealed=sealed), server.join(1, DEVICE, sealed=sealed)
    sent = 0
    for _ in range(10_000):
        server.now += 1
        sent += sum(1200 for _ in range(2) if server.receive(relayed(bytes(1192)), CLIENT))
    assert 2_000_000 <= sent <= 2_000_000 + 200 * 500 + 1200


def test_number_of_sessions_is_bounded() -> None:
    server = Server(max_sessions=3)
    tags = [bytes((i,)) * 7 for i in range(1, 6)]
    answered = [bool(server.join(0, CLIENT, sealed=ticket(tag=tag), tag=tag)) for tag in tags]
    assert answered == [True, True, True, False, False]
