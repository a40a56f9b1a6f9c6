"""Fuzz targets with state: handshakes, paths, the datagram doors of Endpoint and Relay."""

import json
from pathlib import Path

from targets import target, vector_seeds

from upeer.base.clock import ticks_add
from upeer.base.errors import ProtocolError
from upeer.connect import ClientEndpoint, Invitation
from upeer.crypto.aead import Aead
from upeer.crypto.noise import NNPSK0, Noise
from upeer.crypto.x25519 import key_pair, shared_secret
from upeer.endpoint import FROM_LAN, FROM_SERVER, Endpoint
from upeer.handshake.invite import prologue
from upeer.handshake.messages import Params, Responder, parse_params
from upeer.session.paths import HOST, RELAY, Paths
from upeer_server.config import ServerEntry
from upeer_server.relay import Relay, open_relay_ticket

_VECTORS = json.loads((Path(__file__).resolve().parents[1] / "vectors" / "invite.json").read_text())
_KEY = bytes(range(32))
_PAIR = key_pair(lambda size: _KEY[:size])
_LIMITS = (4, 65536, 16384, 1200, 30, 6)
_START = 2**30 - 1000
_ADDR = ("203.0.113.1", 1000)
_RELAY = ("198.51.100.1", 3478)
_SEEDS = [bytes.fromhex(text) for part in ("handshake", "lan", "relay") for text in _VECTORS[part].values()]
_HANDSHAKE = {name: bytes.fromhex(text) for name, text in _VECTORS["handshake"].items()}
_ENTRY = (1, _RELAY, b"relay-1", b"c" * 16, b"d" * 16, bytes(96))


class _Dice:
    """Entropy that is the same in each run."""

    def __init__(self) -> None:
        self._state = 1

    def __call__(self, size: int) -> bytes:
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) % 2**64
        return self._state.to_bytes(8, "big") * (size // 8) + bytes((self._state >> 32 & 255,)) * (size % 8)


@target("handshake.encode_again", allowed=(ProtocolError,), seeds=vector_seeds("invite*"), max_size=400)
def encode_again(data: bytes) -> None:
    assert parse_params(parse_params(data).encode()).encode() == parse_params(data).encode()


@target("handshake.responder", allowed=(ProtocolError,), seeds=[_HANDSHAKE["message_1"]], max_size=500)
def responder(data: bytes) -> None:
    Responder(_HANDSHAKE["psk"], _HANDSHAKE["prologue"], _PAIR, data)


@target("handshake.payload", allowed=(ProtocolError,), seeds=[_HANDSHAKE["payload_1"]], max_size=400)
def payload(data: bytes) -> None:
    """What stands behind the AEAD of message 1: the sender holds the pair key and means harm."""
    message = Noise(NNPSK0, True, _KEY, b"prologue", ephemeral=_PAIR).write_message(data)
    peer = Responder(_KEY, b"prologue", _PAIR, message).peer
    paths = Paths(False, _Dice(), _START)
    for candidate in peer.candidates:
        paths.add(*candidate[:2], candidate[2] if candidate[0] == RELAY else None)


@target("handshake.answer", allowed=(ProtocolError,), seeds=[_HANDSHAKE["message_2"]], max_size=400)
def answer(data: bytes) -> None:
    Invitation(_KEY, b"prologue", Params(1, 4096, 4096, 30), lambda size: _KEY[:size]).read_answer(data)


def _joined_relay() -> Relay:
    relay = Relay(ServerEntry("relay", 1, *_RELAY, bytes.fromhex(_VECTORS["relay"]["ticket_key"])), lambda: 0)
    assert relay.receive(bytes.fromhex(_VECTORS["relay"]["join"]), _ADDR, 0)
    return relay


_relay = _joined_relay()
_RELAYED = b"\xc0" + bytes.fromhex(_VECTORS["relay_tag"])


@target("relay.receive", seeds=[*_SEEDS, _RELAYED + bytes(60), b"", b"\xc0"])
def relay_receive(data: bytes) -> None:
    for addr in (_ADDR, _RELAY):
        for out, _ in _relay.receive(data, addr, 1000):
            assert len(out) <= len(data)


@target(
    "relay.ticket", allowed=(ProtocolError,), seeds=[bytes(48), bytes(4) + b"relay-1" + _KEY + bytes(6)], max_size=80
)
def relay_ticket(data: bytes) -> None:
    """A ticket that a master sealed, for a JOIN of nobody."""
    relay = Relay(ServerEntry("relay", 1, *_RELAY, _KEY), lambda: 0)
    sealed = Aead(_KEY).seal(1, data, b"relay ticket")
    join = b"\xa0\1\1\3relay-1\0" + bytes(4) + bytes((len(sealed),)) + sealed + bytes(16)
    assert relay.receive(join, _ADDR, 0) == []
    open_relay_ticket(Aead(_KEY), sealed)


def _endpoints() -> tuple[ClientEndpoint, Endpoint]:
    """Return a client and a device that have one session, by a relay and direct."""
    client, device = ClientEndpoint(_LIMITS, _Dice(), _START), Endpoint(False, _LIMITS, _Dice(), _START)
    client.candidates = device.candidates = [(HOST, _ADDR)]
    device.ephemeral = _PAIR
    invitation = client.invite(1, b"invite01", (_KEY, "ABCD-123456-GHKLM", b"client01"), [_ENTRY])
    found = _KEY, prologue(1, b"invite01", "ABCD-123456-GHKLM", b"client01"), 1, None
    invited = device.handle_invite(b"invite01", invitation.message, lambda: found, FROM_SERVER, _START)
    shared = shared_secret(invited.private, invited.peer_public)
    client.start(invitation, device.finish_invite(invited, shared, 0, _START)[0], _START)
    return client, device


_client, _device = _endpoints()
_buf = bytearray(2048)


def _first_packets() -> list[bytes]:
    packets = []
    while size := _client.write_datagram(_buf, _START):
        packets.append(bytes(_buf[_client.send_start : _client.send_start + size]))
    return packets


@target(
    "endpoint.receive", seeds=[*_first_packets(), b"\xa1" + bytes(37), b"\xc0relay-1" + bytes(60), b"\x40" + bytes(70)]
)
def endpoint_receive(data: bytes) -> None:
    _buf[: len(data)] = data
    for addr in (_ADDR, _RELAY):
        _device.receive_datagram(_buf, len(data), addr, _START)
    assert len(_device.sessions) == 1 and len(_device.sessions[0].paths.all) == 2


@target("endpoint.invite", seeds=[_HANDSHAKE["message_1"]], max_size=400)
def endpoint_invite(data: bytes) -> None:
    found = _KEY, b"prologue", 1, None
    device = Endpoint(False, _LIMITS, _Dice(), _START)
    device.ephemeral = _PAIR
    assert device.handle_invite(data[:8], data, lambda: found, FROM_LAN, _START) is None


@target("path.frames", seeds=[bytes(range(64)), b"\x00" * 32, b"\x03" * 60], max_size=200)
def path_frames(data: bytes) -> None:
    """A paired client that means harm: any order of packets, challenges and answers from any address."""
    paths = Paths(False, _Dice(), _START)
    paths.add(HOST, _ADDR)
    now, out = _START, bytearray(24)
    for i in range(0, len(data) - 15, 5):
        now = ticks_add(now, data[i] << 4)
        path = paths.on_packet((f"10.0.0.{data[i + 1] & 31}", data[i + 1] >> 5), None, now)
        if data[i] & 1:
            paths.on_challenge(path, data[i + 2 : i + 10], now)
        if data[i] & 2:
            paths.on_response(path, out[1:9] if data[i] & 4 else data[i + 2 : i + 10], data[i + 9 : i + 15], now)
        if data[i] & 8:
            paths.on_pto(data[i] >> 4, now)
        paths.handle_timer(now)
        probe = paths.next_probe(now)
        if probe is not None:
            assert paths.write_frames(probe, out, 0, now) <= 24
    assert len(paths.all) <= 10
