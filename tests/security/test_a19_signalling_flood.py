"""A19 (signalling): strangers cost bounded work and no memory; no curve operation before something was authentic."""

import random

import pytest
from node_lab import CLIENT, DEVICE, DID, SERVER, Identity, Lab, generation, token

from upeer.signalling.login import Login
from upeer.signalling.lookup import ClientInvite


@pytest.fixture
def no_curve(monkeypatch):
    """Fail when anybody computes on the curve."""

    def fail(*_arguments):
        raise AssertionError("curve operation for a stranger")

    def arm():
        monkeypatch.setattr("upeer.crypto.x25519.shared_secret", fail)
        monkeypatch.setattr("upeer_server.master.public_key", fail)

    return arm


def _sizes(lab):
    """Return the sizes of everything that a node keeps."""
    tables = {}
    for name, role in (("hub", lab.node.hub), ("master", lab.master), ("p2p", lab.p2p)):
        for attribute, value in vars(role).items():
            if isinstance(value, dict | list | set) and attribute not in ("drops", "out"):
                tables[name + "." + attribute] = len(value)
    return tables


def test_a19_garbage_leaves_nothing_behind(no_curve):
    lab = Lab()
    lab.online()
    lab.lookup(token(DID))
    no_curve()
    before = _sizes(lab)
    chance = random.Random(3)
    session_id = next(iter(lab.node._sessions))
    heads = [bytes((kind, 1, 1, role)) for kind in (0x80, 0x82, 0x90, 0x92, 0xA0) for role in (1, 2, 3)]
    heads += [b"\x88" + session_id, b"\x89" + session_id, b"\x88" + bytes(7)]
    sizes = (28, 60, 64, 136, 152, 300, 1200)
    for _ in range(4000):
        data = (chance.choice(heads) + chance.randbytes(1200))[: chance.choice(sizes)]
        source = (f"10.{chance.randrange(256)}.{chance.randrange(256)}.1", chance.randrange(1, 65536))
        assert lab.receive(data, source) == []
    assert _sizes(lab) == before and lab.master.status()["online"] == 1


def test_a19_hellos_leave_nothing_behind():
    lab = Lab()
    before = _sizes(lab)
    hello = lab.question(token(DID)).datagram_to_send(lab.now)
    for number in range(3000):
        assert len(lab.receive(hello, (f"10.0.{number >> 8}.{number & 255}", 1))) == 1
    assert _sizes(lab) == before


def test_a19_lookup_without_cookie_costs_no_curve(no_curve):
    lab = Lab()
    lab.online()
    question = lab.question(token(DID))
    question.receive_datagram(lab.receive(question.datagram_to_send(lab.now), CLIENT)[0][0], SERVER, lab.now)
    data = question.datagram_to_send(lab.now)
    no_curve()
    assert lab.receive(data, ("198.51.100.9", 1)) == []
    assert lab.receive(data[:20] + bytes(20) + data[40:], CLIENT) == []


def test_a19_lookups_beyond_the_limit_cost_no_curve(no_curve):
    lab = Lab(lookups_per_s=1, lookup_burst=2)
    first = lab.question(token(DID))
    lab.exchange(first, CLIENT)
    lab.lookup(token(DID), cookie=first.cookie_to_keep())
    question = lab.question(token(DID), first.cookie_to_keep())
    no_curve()
    assert lab.receive(question.datagram_to_send(lab.now), CLIENT) == []


def test_a19_guessing_logins_is_slowed_down_by_source():
    lab = Lab()
    for number in range(80):
        server = (1, SERVER, bytes((number + 1,)) * 32, b"")
        lab.exchange(Login(Identity(generation(), epoch=1), server, lab.random, lab.now), ("192.0.2.66", 1))
    assert lab.master.refused == 50 and lab.node.hub.drops["limited"] == 30
    assert lab.login(source=DEVICE)[0] == "login"


def test_a19_forged_invites_leave_nothing_behind(no_curve):
    lab = Lab()
    lab.online()
    answer = lab.lookup(token(DID))[1]
    no_curve()
    for number in range(1, 500):
        forged = ClientInvite(1, (1, SERVER, bytes((7,)) * 32, bytes(112)), number.to_bytes(8, "big"), token(DID), 0)
        assert lab.receive(forged.datagram_to_send(0), CLIENT) == []
    stolen = (1, SERVER, bytes((7,)) * 32, answer.p2p[0][3])
    forged = ClientInvite(1, stolen, answer.invite_id, token(DID), 0)
    assert lab.receive(forged.datagram_to_send(0), CLIENT) == [] and not lab.p2p._invites


def test_a19_logins_of_one_device_keep_two_sessions_at_most():
    lab = Lab()
    for epoch in range(1, 200):
        lab.login(Identity(generation(), epoch=epoch))
    assert len(lab.node._sessions) == 2 and lab.master.status()["online"] == 1


def test_a19_tokens_of_one_device_are_bounded():
    lab = Lab()
    (
        session,
        _,
    ) = lab.online()
    session.upload_tokens(random.Random(1).randbytes(16 * 48 * 8), lab.now)
    lab.exchange(session, DEVICE)
    assert len(lab.master._tokens) <= 192
