"""A6: a server that holds the platform keys but not this device's login key, or the master's static key, is nobody."""

from node_lab import DID, SERVER, Identity, Lab, generation, key, token

from upeer.signalling.login import NO_ANSWER, REFUSED, Login, login_key
from upeer.signalling.lookup import Lookup


def _rogue():
    """Return a node with all platform keys and an invented list of devices."""
    lab = Lab()
    lab.verifiers.licences = {DID: key("invented")}
    return lab


def test_a6_rogue_master_logs_no_device_in():
    assert _rogue().login() == ("failed", REFUSED)


def test_a6_rogue_master_that_skips_the_proof_is_not_believed(monkeypatch):
    lab = _rogue()
    monkeypatch.setattr("upeer_server.registrar.equal", lambda a, b: True)
    login = Login(Identity(generation()), lab.at_master(Identity(generation())), lab.random, lab.now)
    lab.exchange(login, ("192.0.2.33", 1))
    assert any(data[0] == 0x83 for data, _ in lab.sent)
    assert login.next_event() is None and login.dropped == 1


def test_a6_verifier_of_one_master_is_worthless_at_another():
    licence, crc_key = key("licence"), key("CRCKey 1")
    keys = {login_key(licence, crc_key, DID, master_id) for master_id in (1, 2, 3)}
    assert len(keys) == 3
    lab = Lab()
    identity = Identity(generation())
    at_two = login_key(key("licence " + DID), identity.crc_key, DID, 2)
    assert lab.login(identity, (1, SERVER, at_two, b"")) == ("failed", REFUSED)


def test_a6_nothing_that_a_device_sends_tells_its_login_key():
    lab = Lab()
    wire = []
    receive = lab.node.receive_datagram
    lab.node.receive_datagram = lambda data, addr, now: (wire.append(data), receive(data, addr, now))
    identity = Identity(generation())
    lab.login(identity)
    secrets = [lab.at_master(identity)[2], key("licence " + DID), identity.crc_key, identity.p2p_key]
    assert wire and not any(secret in data for secret in secrets for data in wire)


def test_a6_client_does_not_believe_a_master_with_another_static_key():
    lab = Lab()
    lab.online()
    question = Lookup(Identity(generation()), (SERVER, key("another")), token(DID), lab.random, lab.now)
    lab.exchange(question, ("198.51.100.7", 1))
    assert question.next_event() is None and lab.master.lookups == 0


def test_a6_p2p_server_learns_no_key_that_serves_elsewhere():
    lab = Lab()
    _, _, _, entries = lab.login()
    assert lab.login(Identity(generation(), epoch=9), (1, SERVER, entries[0][2], b"")) == ("failed", REFUSED)
    assert lab.login(Identity(generation(2))) == ("failed", NO_ANSWER)
