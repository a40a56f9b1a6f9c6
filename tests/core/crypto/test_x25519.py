"""X25519 against RFC 7748, in one go and in slices; public keys that are worthless or written oddly."""

from helpers import raises, unhex

from upeer.base.compat import MICROPYTHON
from upeer.base.errors import CryptoError, LocalError
from upeer.crypto.aead import sha256
from upeer.crypto.x25519 import BASE, Ladder, key_pair, public_key, shared_secret

ALICE = unhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
BOB = unhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")


def ladder(private, public, slice_size=999):
    """Return the result of a ladder that is climbed in slices."""
    curve = Ladder(private, public)
    while not curve.step(slice_size):
        pass
    return curve.result()


def both(private, public):
    """Return the shared secret, which must be the same in one go and in slices."""
    result = shared_secret(private, public)
    assert ladder(private, public, 17) == result
    return result


def test_rfc7748_vectors():
    assert both(
        unhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
        unhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"),
    ) == unhex("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552")
    assert both(
        unhex("4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d"),
        unhex("e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493"),
    ) == unhex("95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957")


def test_rfc7748_diffie_hellman():
    alice_public = unhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    bob_public = unhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
    assert public_key(ALICE) == ladder(ALICE, BASE) == alice_public
    assert public_key(BOB) == bob_public
    shared = unhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
    assert both(ALICE, bob_public) == both(BOB, alice_public) == shared


def test_rfc7748_iterated_once():
    assert both(BASE, BASE) == unhex("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079")


def test_rfc7748_iterated_1000_times_cpython():
    if MICROPYTHON:
        return
    k = u = BASE
    for _ in range(1000):
        k, u = shared_secret(k, u), k
    assert k == unhex("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51")


def test_public_keys_written_oddly():
    """Case 1: the top bit does not count. Case 2: numbers from p to 2**255 - 1 stand for themselves modulo p."""
    assert both(ALICE, BASE[:31] + b"\x80") == public_key(ALICE)
    nine_plus_p = b"\xf6" + b"\xff" * 30 + b"\x7f"
    assert both(ALICE, nine_plus_p) == public_key(ALICE)


def test_public_keys_of_low_order_are_refused():
    for text in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ):
        raises(CryptoError, shared_secret, ALICE, unhex(text))
        raises(CryptoError, ladder, ALICE, unhex(text))


def test_ladder_counts_its_steps():
    curve = Ladder(ALICE, BASE)
    raises(LocalError, curve.result)
    steps = 1
    while not curve.step(1):
        steps += 1
    assert steps == 296
    assert curve.step(5)
    assert curve.result() == curve.result() == public_key(ALICE)


def test_keys_of_another_size_are_refused():
    raises(LocalError, Ladder, ALICE[:31], BASE)
    raises(LocalError, Ladder, ALICE, BASE + b"x")


def test_key_pair():
    asked = []

    def random_bytes(size):
        asked.append(size)
        return ALICE

    assert key_pair(random_bytes) == (ALICE, public_key(ALICE))
    assert asked == [32]


def test_seeded_pairs_agree():
    for seed in (b"1", b"2"):
        ours, theirs = sha256(b"ours", seed), sha256(b"theirs", seed)
        assert both(ours, public_key(theirs)) == shared_secret(theirs, public_key(ours))
