"""Noise handshakes against an independent implementation's answers; strangers, tampering, calls out of turn."""

from helpers import load_json, raises, unhex

from upeer.base.errors import CryptoError, LocalError
from upeer.crypto import x25519
from upeer.crypto.aead import Aead, overhead, sha256
from upeer.crypto.noise import NKPSK0, NNPSK0, Noise

PSK = bytes(range(1, 33))
EPHEMERALS = [(private, x25519.public_key(private)) for private in (sha256(b"initiator"), sha256(b"responder"))]
STATIC = (sha256(b"static"), x25519.public_key(sha256(b"static")))


def initiator(pattern=NNPSK0, psk=PSK, prologue=b"p", remote_static=STATIC[1]):
    return Noise(pattern, True, psk, prologue, remote_static=remote_static, ephemeral=EPHEMERALS[0])


def responder(pattern=NNPSK0, psk=PSK, prologue=b"p", local_static=STATIC):
    return Noise(pattern, False, psk, prologue, local_static=local_static, ephemeral=EPHEMERALS[1])


def without_curve(function, *args):
    """Return function(*args), or the CryptoError that it raises; fail if it computes on the curve."""

    def fail(private, public):
        raise AssertionError("curve work")

    shared_secret = x25519.shared_secret
    x25519.shared_secret = fail
    try:
        return function(*args)
    except CryptoError as error:
        return error
    finally:
        x25519.shared_secret = shared_secret


def known_answer(case):
    """Return both sides of a vector's handshake, and the vector with its hex texts opened."""
    values = {key: value if key == "pattern" else unhex(value) for key, value in case.items()}
    pattern = NNPSK0 if values["pattern"] == "NNpsk0" else NKPSK0
    pairs = []
    for name in ("initiator_ephemeral", "responder_ephemeral", "responder_static"):
        pairs.append((values[name], x25519.public_key(values[name])))
    psk, prologue = values["psk"], values["prologue"]
    ours = Noise(pattern, True, psk, prologue, remote_static=pairs[2][1], ephemeral=pairs[0])
    theirs = Noise(pattern, False, psk, prologue, local_static=pairs[2], ephemeral=pairs[1])
    return ours, theirs, values


def test_known_answers():
    for case in load_json("noise.json"):
        ours, theirs, values = known_answer(case)
        assert ours.write_message(values["payload_1"]) == values["message_1"]
        assert theirs.read_message(values["message_1"]) == values["payload_1"]
        assert theirs.write_message(values["payload_2"]) == values["message_2"]
        assert ours.read_message(values["message_2"]) == values["payload_2"]
        for side in (ours, theirs):
            assert side.handshake_hash == values["handshake_hash"]
            assert side.split() == (values["key_to_responder"], values["key_to_initiator"])
            assert side.export(b"resume") == values["export_resume"]


def test_message_sizes():
    message = initiator().write_message(bytes(100))
    assert len(message) == 32 + overhead(100)


def test_responder_of_nnpsk0_reads_and_answers_without_curve_work():
    ours, theirs = initiator(), responder()
    message = ours.write_message(b"hello")
    assert theirs.peer_ephemeral == b""
    assert without_curve(theirs.read_message, message) == b"hello"
    assert theirs.peer_ephemeral == EPHEMERALS[0][1]
    ladder = x25519.Ladder(EPHEMERALS[1][0], theirs.peer_ephemeral)
    while not ladder.step(20):
        pass
    answer = without_curve(theirs.write_message, b"answer", ladder.result())
    assert ours.read_message(memoryview(answer)) == b"answer"
    assert ours.split() == theirs.split()


def test_initiator_takes_shared_secrets_made_elsewhere():
    es = x25519.shared_secret(EPHEMERALS[0][0], STATIC[1])
    ee = x25519.shared_secret(EPHEMERALS[0][0], EPHEMERALS[1][1])
    ours, theirs = initiator(NKPSK0), responder(NKPSK0)
    assert theirs.read_message(without_curve(ours.write_message, b"1", es)) == b"1"
    assert without_curve(ours.read_message, theirs.write_message(b"2"), ee) == b"2"


def test_a19_stranger_costs_no_curve_work():
    message = initiator(psk=bytes(range(32))).write_message(b"let me in")
    assert isinstance(without_curve(responder().read_message, message), CryptoError)


def test_a7_absent_keys_are_faults():
    for psk in (None, b"", bytes(32), PSK[:31], PSK + b"x"):
        raises(LocalError, initiator, NNPSK0, psk)
    raises(LocalError, Noise, NNPSK0, True, PSK, b"")
    raises(LocalError, initiator, NKPSK0, PSK, b"", None)
    raises(LocalError, responder, NKPSK0, PSK, b"", None)
    theirs = responder()
    theirs.read_message(initiator().write_message(b""))
    raises(LocalError, theirs.write_message, b"", bytes(32))


def test_read_refuses_what_differs():
    """Another prologue, pattern or static key; every byte flipped; every length."""
    message = initiator().write_message(b"hello")
    for theirs in (responder(prologue=b"q"), responder(NKPSK0), responder(psk=PSK[1:] + b"x")):
        raises(CryptoError, theirs.read_message, message)
    other_static = EPHEMERALS[0]
    raises(CryptoError, responder(NKPSK0, local_static=other_static).read_message, initiator(NKPSK0).write_message(b""))
    for i in range(len(message)):
        bad = bytearray(message)
        bad[i] ^= 1
        raises(CryptoError, responder().read_message, bad)
        raises(CryptoError, responder().read_message, message[:i])


def test_initiator_refuses_a_tampered_answer():
    theirs = responder()
    theirs.read_message(initiator().write_message(b""))
    answer = theirs.write_message(b"answer")
    for i in (0, 31, 32, 48, len(answer) - 1):
        ours = initiator()
        ours.write_message(b"")
        bad = bytearray(answer)
        bad[i] ^= 1
        raises(CryptoError, ours.read_message, bad)
        raises(LocalError, ours.read_message, answer)
        raises(LocalError, ours.split)


def test_a_low_order_ephemeral_key_is_refused():
    theirs = responder()
    ours = Noise(NNPSK0, True, PSK, b"p", ephemeral=(EPHEMERALS[0][0], bytes(32)))
    theirs.read_message(ours.write_message(b""))
    raises(CryptoError, theirs.write_message, b"")
    raises(LocalError, theirs.write_message, b"")


def test_calls_out_of_turn_are_refused_and_harmless():
    ours, theirs = initiator(), responder()
    raises(LocalError, ours.read_message, bytes(100))
    raises(LocalError, theirs.write_message, b"")
    raises(LocalError, ours.split)
    raises(LocalError, ours.export, b"x")
    theirs.read_message(ours.write_message(b""))
    raises(LocalError, ours.write_message, b"")
    ours.read_message(theirs.write_message(b""))
    raises(LocalError, theirs.read_message, bytes(100))
    raises(LocalError, ours.write_message, b"")
    assert ours.split() == theirs.split()


def test_keys_of_the_two_directions_and_exports_differ():
    ours, theirs = initiator(), responder()
    theirs.read_message(ours.write_message(b""))
    ours.read_message(theirs.write_message(b""))
    to_responder, to_initiator = ours.split()
    secrets = {to_responder, to_initiator, ours.export(b"a"), ours.export(b"b")}
    assert len(secrets) == 4
    assert Aead(to_responder).open(Aead(theirs.split()[0]).seal(0, b"x")) == b"x"
