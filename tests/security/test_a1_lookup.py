"""A1: a device's name opens nothing; unknown, offline, revoked and forbidden are one answer; lookups are limited."""

import pytest
from node_lab import CLIENT, DEVICE, DID, OTHER_DID, SERVER, Identity, Lab, generation, key, token

from upeer_server import master, registrar


def _ways_not_to_find():
    """Return, by name, (lab, token) of devices that nobody finds."""
    offline, revoked, logged_out = Lab(), Lab(), Lab()
    revoked.online()
    revoked.node.revoke(DID)
    revoked.take()
    session, _ = logged_out.online()
    session.log_out()
    logged_out.exchange(session, DEVICE)
    online = Lab()
    online.online()
    return {
        "unknown": (online, key("nobody", 16)),
        "forbidden": (online, token(OTHER_DID)),
        "DID instead of token": (online, DID.encode()[:16]),
        "offline": (offline, token(DID)),
        "revoked": (revoked, token(DID)),
        "logged out": (logged_out, token(DID)),
    }


def test_a1_not_found_is_one_answer():
    answers = set()
    for lab, wanted in _ways_not_to_find().values():
        lab.sent.clear()
        name, answer = lab.lookup(wanted)
        assert name == "answer" and not answer.is_found and not answer.p2p and not answer.relays
        assert answer.invite_id == bytes(8)
        answers.add((answer.unix_time, answer.reflexive, *[len(data) for data, _ in lab.sent]))
    assert len(answers) == 1


def test_a1_found_and_not_found_have_one_size():
    lab = Lab()
    lab.online()
    sizes = []
    for wanted in (token(DID), key("nobody", 16)):
        lab.sent.clear()
        lab.lookup(wanted)
        sizes.append([len(data) for data, _ in lab.sent])
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("wanted", [token(DID), token(OTHER_DID), key("nobody", 16)])
def test_a1_every_lookup_is_the_same_work(wanted, monkeypatch):
    lab = Lab()
    lab.online()
    counts = {}
    for name in ("seal_client_ticket", "seal_relay_ticket", "Noise", "public_key"):
        _count(monkeypatch, master, name, counts)
    lab.lookup(wanted)
    assert counts == {"seal_client_ticket": 1, "seal_relay_ticket": 1, "Noise": 1, "public_key": 1}


def _count(monkeypatch, module, name, counts):
    true = getattr(module, name)

    def counting(*arguments, **named):
        counts[name] = counts.get(name, 0) + 1
        return true(*arguments, **named)

    monkeypatch.setattr(module, name, counting)


def test_a1_refused_logins_are_one_answer_and_one_work(monkeypatch):
    lab = Lab()
    lab.login(Identity(generation(), epoch=10))
    wrong_licence = (1, SERVER, key("guess"), b"")
    cases = {
        "unknown": (Identity(generation(), "ZZZZ-999999-ZZZZZ"), wrong_licence),
        "wrong licence": (Identity(generation(), epoch=99), wrong_licence),
        "revoked": (Identity(generation(), OTHER_DID), None),
    }
    del lab.verifiers.licences[OTHER_DID]
    seen = set()
    for identity, server in cases.values():
        counts = {}
        for name in ("derive", "Hmac", "Aead"):
            _count(monkeypatch, registrar, name, counts)
        lab.verifiers.asked = 0
        lab.sent.clear()
        assert lab.login(identity, server) == ("failed", 1)
        refusal = lab.sent[-1][0]
        seen.add((len(refusal), refusal[:4], refusal[20], lab.verifiers.asked, *sorted(counts.items())))
        monkeypatch.undo()
    assert len(seen) == 1


def test_a1_lookups_are_limited_by_source_and_by_prefix():
    lab = Lab(lookups_per_s=1, lookup_burst=5)
    lab.online()
    first = lab.question(token(DID))
    lab.exchange(first, CLIENT)
    for _ in range(30):
        lab.lookup(token(DID), cookie=first.cookie_to_keep())
    assert lab.master.lookups == 5
    lab.lookup(token(DID), source=("198.51.100.8", 1))
    assert lab.master.lookups == 6
    for host in range(10, 60):
        lab.lookup(token(DID), source=(f"198.51.100.{host}", 1))
    assert lab.master.lookups == 20
    assert lab.lookup(token(DID), source=("203.0.113.1", 1))[1].is_found
    lab.pass_time(3000)
    assert lab.lookup(token(DID))[1].is_found


def test_a1_no_did_on_the_wire():
    lab = Lab()
    wire = []
    receive = lab.node.receive_datagram
    lab.node.receive_datagram = lambda data, addr, now: (wire.append(data), receive(data, addr, now))
    at_master, _ = lab.online()
    lab.lookup(token(DID))
    lab.keep_alive(at_master)
    everything = b"".join(wire + [data for data, _ in lab.sent])
    assert len(wire) > 8 and DID.encode() not in everything and token(DID) not in everything
