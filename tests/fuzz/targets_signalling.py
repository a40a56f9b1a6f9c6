"""Fuzz targets for signalling: a node's doors, and behind every seal what the far end could have put there."""

import sys
import time
from pathlib import Path

from targets import target, vector_seeds

from upeer.base.errors import ProtocolError
from upeer.crypto.aead import Aead, derive
from upeer.signalling.control import Control
from upeer.signalling.login import Login
from upeer.signalling.lookup import Answer, ClientInvite, Lookup
from upeer_server.tickets import open_client_ticket, open_device_ticket

sys.path.append(str(Path(__file__).resolve().parents[1] / "host"))

from node_lab import CLIENT, DEVICE, DID, SERVER, Identity, Lab, Random, generation, key, token

_SEEDS = vector_seeds("signalling*")
_LAB = Lab(lookups_per_s=1 << 20, lookup_burst=1 << 20)
_AT_MASTER, _AT_P2P = _LAB.online()
_COOKIE = _LAB.node.hub.cookies.make(_LAB.node.hub.unix, DEVICE, bytes(16), 0)
_LOGIN_HEAD = bytes((0x82, 1, 1, 1)) + bytes(16) + _COOKIE
_SEAL = derive(generation().crc_key + generation().p2p_key, b"login seal", bytes(16), _COOKIE)


@target("node.datagram", seeds=[*_SEEDS, b"", b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12)])
def node_datagram(data: bytes) -> None:
    lab = _LAB
    lab.node.receive_datagram(data, DEVICE, lab.now)
    lab.take()


@target("node.login_text", seeds=[bytes(7) + b"\x11" + DID.encode() + b"\0" + bytes(32), bytes(41)], max_size=600)
def login_text(data: bytes) -> None:
    _LAB.node.receive_datagram(_LOGIN_HEAD + Aead(_SEAL).seal(0, data, _LOGIN_HEAD), DEVICE, _LAB.now)
    _LAB.take()


@target("node.control_text", seeds=[b"\1\0\1\0\1" + bytes(range(16)), b"\x80\0\1", b"\3\0\1" + bytes(20)], max_size=900)
def control_text(data: bytes) -> None:
    """Everything a device may say, LOGOUT apart, which would end the session under test."""
    session = _AT_P2P
    if data[:1] != b"\4":
        _send_text(session, data)
        for packet in iter(lambda: session.datagram_to_send(_LAB.now), None):
            _LAB.receive(bytes(packet), DEVICE)
        assert session.session_id in _LAB.node._sessions


def _send_text(session: Control, text: bytes) -> None:
    kind, request_id, body = text[:1] or b"\0", text[1:3].ljust(2, b"\0"), text[3:]
    session.send(kind[0], int.from_bytes(request_id, "big"), body)


@target(
    "control.text", seeds=[b"\2\0\1" + bytes(40), b"\5\0\1" + bytes(6), b"\6\0\1" + bytes(65), b"\7\0\1\1" + bytes(40)]
)
def device_control_text(data: bytes) -> None:
    device = Control(SERVER, bytes(7), key("session"))
    device.start_keep_alive(25, 0)
    server = Control(DEVICE, bytes(7), key("session"))
    server.is_server = True
    _send_text(server, data[:1100])
    device.receive_datagram(server.datagram_to_send(0), SERVER, 0)


@target("control.datagram", seeds=_SEEDS)
def control_datagram(data: bytes) -> None:
    device = Control(SERVER, data[1:8].ljust(7, b"\0"), key("session"))
    device.start_keep_alive(25, 0)
    device.handle_timer(25000)
    device.datagram_to_send(25000)
    device.receive_datagram(data, SERVER, 25000)


@target("login.answer", seeds=_SEEDS)
def login_answer(data: bytes) -> None:
    identity = Identity(generation())
    question = Login(identity, _LAB.at_master(identity), Random(), 0)
    question.receive_datagram(data, SERVER, 0)
    cookie = _LAB.receive(question.datagram_to_send(0), DEVICE)[0][0]
    question.receive_datagram(cookie, SERVER, 0)
    head = data[:1] + cookie[1:20]
    question.receive_datagram(head + data[20:], SERVER, 0)
    if question._answer is not None:  # what only the server could have sealed
        question.receive_datagram(head + question._answer.seal(0, data[20:], head), SERVER, 0)


@target("lookup.answer", seeds=[*_SEEDS, b"\x81" + bytes(55)])
def lookup_answer(data: bytes) -> None:
    master = (SERVER, _LAB.master.static_public, (bytes(16), bytes(20), 0))
    for known in (master, master[:2]):
        question = Lookup(Identity(generation()), known, token(DID), Random(), 0)
        question.receive_datagram(data[:1] + question._packet[1:20] + data[20:], SERVER, 0)


@target(
    "lookup.text", allowed=(ProtocolError,), seeds=[bytes(800), b"\0" + bytes(18) + b"\1\1" + bytes(400)], max_size=800
)
def lookup_text(data: bytes) -> None:
    Answer(data)


@target("lookup.invite_answer", seeds=_SEEDS)
def invite_answer(data: bytes) -> None:
    question = ClientInvite(1, (1, SERVER, key("client"), b"ticket"), bytes(8), token(DID) + b"message", 0)
    question.receive_datagram(data, SERVER, 0)
    head = bytes((0x93, 1, 1, 2)) + bytes(8)
    question.receive_datagram(head + Aead(key("client")).seal(1, data, head), SERVER, 0)


@target("tickets.open", allowed=(ProtocolError,), seeds=[bytes(57), bytes(64)], max_size=200)
def tickets(data: bytes) -> None:
    aead = Aead(key("ticket"))
    opener, label = (open_device_ticket, b"device ticket") if len(data) & 1 else (open_client_ticket, b"client ticket")
    opener(aead, aead.seal(1, data, label), int(time.time()))


@target("node.invite_text", seeds=[token(DID) + b"Noise message 1", bytes(16)], max_size=900)
def invite_text(data: bytes) -> None:
    answer = _ANSWER
    assert answer.is_found
    _, _, client_key, ticket = answer.p2p[0]
    head = bytes((0x92, 1, 1, 2)) + answer.invite_id + bytes((len(ticket),)) + ticket
    _LAB.p2p._invites.clear()
    _LAB.receive(head + Aead(client_key).seal(0, data, head), CLIENT)


@target("node.lookup", seeds=[bytes(112)], max_size=300)
def lookup_question(data: bytes) -> None:
    """A lookup with a cookie that is good: what is behind it comes to the curve only when it is authentic."""
    before = _LAB.master.status()["lookups"]
    _LAB.receive(_LOOKUP[:40] + data, CLIENT)
    assert _LAB.master.status()["lookups"] == before or data == _LOOKUP[40:]


def _lookup_datagram() -> bytes:
    question = _LAB.question(token(DID))
    question.receive_datagram(_LAB.receive(question.datagram_to_send(_LAB.now), CLIENT)[0][0], SERVER, _LAB.now)
    return bytes(question.datagram_to_send(_LAB.now))


_LOOKUP = _lookup_datagram()
_ANSWER: Answer = _LAB.lookup(token(DID))[1]
