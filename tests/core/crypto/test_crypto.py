"""SHA-256, HMAC, HKDF and A128CBC-HS256 against RFC 4231, 5869 and 7518; tampering; what a packet allocates."""

import gc

from helpers import raises, unhex

from upeer.base.compat import MICROPYTHON
from upeer.base.errors import CryptoError, LocalError, ProtocolError
from upeer.crypto import aead as crypto
from upeer.crypto.aead import Aead, Hmac, derive, hkdf, overhead

KEY = bytes(range(32))
HEADER = b"\x41header.."

# RFC 7518, appendix B.1
B1_PLAIN = (
    b"A cipher system must not be required to be secret, and it must be able to fall into the hands of the enemy"
    b" without inconvenience"
)
B1_AAD = b"The second principle of Auguste Kerckhoffs"
B1_IV = unhex("1af38c2dc2b96ffdd86694092341bc04")
B1_SEALED = B1_IV + unhex(
    """c80edfa32ddf39d5ef00c0b468834279a2e46a1b8049f792f76bfe54b903a9c9a94ac9b47ad2655c5f10f9aef71427e2
    fc6f9b3f399a221489f16362c703233609d45ac69864e3321cf82935ac4096c86e133314c54019e8ca7980dfa4b9cf1b
    384c486f3a54c51078158ee5d79de59fbd34d848b3d69550a67646344427ade54b8851ffb598f7f80074b9473c82e2db
    652c3fa36b0a7c5b3219fab3a30bc1c4"""
)


def packet(plaintext, aead, packet_number=1, header=HEADER):
    """Return a buffer with a sealed packet in it, and its end."""
    plain_end = len(header) + crypto.IV_SIZE + len(plaintext)
    buf = bytearray(len(header) + overhead(len(plaintext)))
    buf[: len(header)] = header
    buf[len(header) + crypto.IV_SIZE : plain_end] = plaintext
    return buf, aead.seal_packet(buf, len(header), plain_end, packet_number)


def opened(buf, end, aead):
    """Return the plaintext of the packet in buf[:end], None if it does not open."""
    plain_end = aead.open_packet(buf, len(HEADER), end)
    return None if plain_end < 0 else bytes(buf[len(HEADER) + crypto.IV_SIZE : plain_end])


def test_sha256_takes_parts():
    assert crypto.sha256() == unhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    assert crypto.sha256(b"a", bytearray(b"b"), memoryview(b"c")) == unhex(
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_hmac_rfc4231():
    for key, data, expected in (
        (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
        (
            b"Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
        (
            b"\xaa" * 131,
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
    ):
        mac = Hmac(key)
        assert mac.digest(data) == unhex(expected)
        assert mac.digest(data[:5], b"", data[5:]) == unhex(expected)
        assert mac.tag(data) == unhex(expected)[:16]


def test_hkdf_rfc5869():
    ikm = b"\x0b" * 22
    assert hkdf(bytes(range(13)), ikm, bytes(range(0xF0, 0xFA)), 42) == unhex(
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )
    assert hkdf(bytes(range(0x60, 0xB0)), bytes(range(0x50)), bytes(range(0xB0, 0x100)), 82) == unhex(
        """b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09
        da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"""
    )
    assert hkdf(b"", ikm, b"", 42) == unhex(
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    )


def test_derive_is_hkdf_with_counted_context():
    assert derive(KEY, b"login", b"ab", b"", b"c") == hkdf(b"upeer 1", KEY, b"login\0\2ab\0\0\0\1c", 32)
    assert derive(KEY, b"x", size=80)[:32] == derive(KEY, b"x")
    assert derive(KEY, b"x", b"ab", b"c") != derive(KEY, b"x", b"a", b"bc")
    raises(LocalError, derive, KEY, b"x", range(65536))  # counts as too long; no board has room for real bytes


def test_derive_refuses_absent_keys():
    for key in (None, b"", b"short", bytes(16), bytes(32)):
        raises(LocalError, derive, key, b"login")


def test_aead_refuses_absent_keys():
    for key in (None, b"", bytes(32), bytes(64), KEY[:16], KEY[:31], KEY + b"x"):
        raises(LocalError, Aead, key)


def test_equal():
    assert crypto.equal(b"", b"")
    assert crypto.equal(KEY, bytearray(KEY))
    assert not crypto.equal(KEY, KEY[:31])
    for i in range(32):
        other = bytearray(KEY)
        other[i] ^= 0x80
        assert not crypto.equal(KEY, other)


def test_random_bytes():
    assert len(crypto.random_bytes(33)) == 33
    assert crypto.random_bytes(16) != crypto.random_bytes(16)


def test_open_rfc7518_b1():
    assert Aead(KEY).open(B1_SEALED, B1_AAD) == B1_PLAIN


def test_seal_rfc7518_b1():
    nonce_block = bytearray(16 + 15)
    crypto.decryptor(KEY[16:])(B1_IV, nonce_block)
    nonce = int.from_bytes(nonce_block[:16], "big")
    assert Aead(KEY).seal(nonce, B1_PLAIN, B1_AAD) == B1_SEALED


def test_seal_iv_is_the_encrypted_nonce():
    block = bytearray(16 + 15)
    crypto.encryptor(KEY[16:])(bytes(15) + b"\x07", block)
    assert Aead(KEY).seal(7, b"text")[:16] == bytes(block[:16])


def test_seal_is_deterministic_and_opens():
    aead = Aead(KEY)
    for size in (0, 1, 15, 16, 17, 31, 32, 600):
        plaintext = bytes(range(256))[:size] if size < 256 else b"z" * size
        sealed = aead.seal(size, plaintext, b"aad")
        assert len(sealed) == overhead(size)
        assert sealed == Aead(KEY).seal(size, plaintext, b"aad")
        assert Aead(KEY).open(sealed, b"aad") == aead.open(bytearray(sealed), bytearray(b"aad")) == plaintext


def test_seal_refuses_nonces_out_of_range():
    aead = Aead(KEY)
    for nonce in (-1, 1 << 128):
        raises(LocalError, aead.seal, nonce, b"")
    assert aead.open(aead.seal((1 << 128) - 1, b"x")) == b"x"


def test_open_fails_alike_whatever_is_wrong():
    aead = Aead(KEY)
    sealed = aead.seal(1, b"text", b"aad")
    errors = [raises(CryptoError, aead.open, sealed[:size], b"aad") for size in range(len(sealed))]
    errors.append(raises(CryptoError, aead.open, sealed, b"aae"))
    errors.append(raises(CryptoError, aead.open, sealed, b""))
    errors.append(raises(CryptoError, Aead(bytes(range(1, 33))).open, sealed, b"aad"))
    assert len({str(error) for error in errors}) == 1
    assert issubclass(CryptoError, ProtocolError)


def test_packet_round_trip_of_every_size():
    sender, receiver = Aead(KEY), Aead(KEY)
    for size in range(50):
        plaintext = bytes(range(size))
        buf, end = packet(plaintext, sender, size)
        assert end == len(buf) == len(HEADER) + overhead(size)
        assert buf[: len(HEADER)] == HEADER
        assert opened(buf, end, receiver) == plaintext


def test_packet_in_memoryview_with_room_behind():
    buf = bytearray(1400)
    end = Aead(KEY).seal_packet(memoryview(buf), 9, 9 + 16 + 1200, (1 << 62) - 1)
    assert end == 9 + overhead(1200)
    assert not any(buf[end:])
    assert Aead(KEY).open_packet(memoryview(buf), 9, end) == 9 + 16 + 1200
    assert not any(buf[25 : 25 + 1200])


def test_first_packet_is_what_seal_makes():
    buf, end = packet(b"hello", Aead(KEY), 5)
    assert bytes(buf[len(HEADER) : end]) == Aead(KEY).seal(5, b"hello", HEADER)


def test_packets_chain_and_open_in_any_order():
    sender = Aead(KEY)
    sealed = [packet(b"same text", sender, 1 + i) for i in range(6)]
    sender.seal(3, b"between")
    ivs = {bytes(buf[len(HEADER) : len(HEADER) + 16]) for buf, _ in sealed}
    assert len(ivs) == 6
    receiver = Aead(KEY)
    for i in (5, 0, 3, 1):
        assert opened(sealed[i][0], sealed[i][1], receiver) == b"same text"


def test_one_key_in_both_directions():
    aead = Aead(KEY)
    for i in range(3):
        buf, end = packet(b"text", aead, i)
        assert opened(buf, end, aead) == b"text"


def test_tampered_packet_stays_shut_and_unchanged():
    receiver = Aead(KEY)
    buf, end = packet(b"a text of two blocks", Aead(KEY))
    for i in range(end):
        for mask in (1, 0x80):
            buf[i] ^= mask
            before = bytes(buf)
            assert opened(buf, end, receiver) is None
            assert buf == before
            buf[i] ^= mask
    assert opened(buf, end, receiver) == b"a text of two blocks"


def test_packet_with_another_key_header_size_or_end_stays_shut():
    buf, end = packet(b"a text of two blocks", Aead(KEY))
    assert opened(buf, end, Aead(bytes(range(1, 33)))) is None
    receiver = Aead(KEY)
    for header_size in range(-20, end + 20):
        if header_size != len(HEADER):
            assert receiver.open_packet(buf, header_size, end) == -1
    for other_end in range(-5, end + 40):
        if other_end != end:
            assert receiver.open_packet(buf, len(HEADER), other_end) == -1
    assert opened(buf, end, receiver) == b"a text of two blocks"


def test_garbage_stays_shut():
    receiver = Aead(KEY)
    for size in range(0, 200, 7):
        assert opened(bytearray(crypto.random_bytes(size)), size, receiver) is None


def sealed_blocks(plain_blocks):
    """Return a sealed text whose tag is right, whose padding is whatever the blocks hold."""
    text = bytearray(16 + len(plain_blocks) + 15)
    crypto.encryptor(KEY[16:])(bytes(16) + plain_blocks, text)
    text = bytes(text[: 16 + len(plain_blocks)])
    return text + Hmac(KEY[:16]).tag(text, bytes(8))


def test_bad_padding_is_refused():
    aead = Aead(KEY)
    assert aead.open(sealed_blocks(bytes(15) + b"\x01")) == bytes(15)
    assert aead.open(sealed_blocks(b"\x10" * 16)) == b""
    for ending in (b"\x00", b"\x11", b"\xff", b"\x01\x02", b"\x02\x03\x03", b"\x0f" + b"\x10" * 15, b"\x11" * 17):
        raises(CryptoError, aead.open, sealed_blocks((bytes(32) + ending)[-32:]))


def test_packet_allocations():
    """On a 64-bit port: 3 views of 32 bytes, 2 hash states of 128, 2 digests of 96, arguments of 32; none stays."""
    if not MICROPYTHON:
        return
    sender, receiver, buf = Aead(KEY), Aead(KEY), bytearray(1300)
    receiver.open_packet(buf, 9, sender.seal_packet(buf, 9, 1225, 1))

    def allocated(function, *args):
        gc.mem_alloc()
        before = gc.mem_alloc()
        function(*args)
        return gc.mem_alloc() - before

    gc.collect()
    gc.disable()
    try:
        assert allocated(sender.seal_packet, buf, 9, 1225, 2) <= 576
        assert allocated(receiver.open_packet, buf, 9, 1257) <= 576
    finally:
        gc.enable()
    gc.collect()
    before = gc.mem_alloc()
    for number in range(3, 50):
        receiver.open_packet(buf, 9, sender.seal_packet(buf, 9, 1225, number))
    gc.collect()
    assert gc.mem_alloc() <= before
