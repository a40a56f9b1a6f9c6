"""A2: who knows the DID, and even the platform keys, cannot log in as the device, nor push it out."""

from node_lab import DEVICE, DID, OTHER_DID, SERVER, Identity, Lab, generation, key, token

from upeer.signalling.login import NO_ANSWER, REFUSED, login_key

THIEF = ("192.0.2.66", 6666)


def test_a2_did_without_licence_is_refused():
    lab = Lab()
    for guess in (key("guess"), b"\1" * 32, key("licence " + DID)):
        server = (1, SERVER, guess, b"")
        assert lab.login(Identity(generation(), epoch=100), server, THIEF) == ("failed", REFUSED)
    assert lab.master.status()["online"] == 0


def test_a2_licence_of_another_device_is_refused():
    lab = Lab()
    identity = Identity(generation(), DID, 100)
    other = login_key(key("licence " + OTHER_DID), identity.crc_key, OTHER_DID, 1)
    assert lab.login(identity, (1, SERVER, other, b""), THIEF) == ("failed", REFUSED)


def test_a2_failed_thief_disturbs_nothing():
    lab = Lab()
    session, _ = lab.online()
    lab.login(Identity(generation(), epoch=100), (1, SERVER, key("guess"), b""), THIEF)
    assert lab.verifiers.last_epoch(DID) < 100
    assert [data[0] for data in lab.keep_alive(session)] == [0x8A]
    assert lab.lookup(token(DID))[1].is_found
    assert lab.master.session_of(DID).address == DEVICE


def test_a2_without_crc_key_not_even_a_cookie():
    lab = Lab()
    for name in ("crc_key", "p2p_key"):
        identity = Identity(generation())
        setattr(identity, name, key("guess"))
        assert lab.login(identity) == ("failed", NO_ANSWER)
    assert lab.sent == [] and lab.node.hub.drops["hello"] == 10


def test_a2_replaced_device_is_told():
    lab = Lab()
    session, _ = lab.online()
    lab.login(Identity(generation(), epoch=50), source=THIEF)
    lab.pass_time(3000)
    answers = lab.keep_alive(session)
    assert [data[0] for data in answers] == [0x88] and session.next_event() == ("logout", 1)
