"""SHA-256, HMAC, HKDF (RFC 5869) and the one AEAD of the protocol, A128CBC-HS256 (RFC 7518 5.2).

With its other half, crypto_cpython, the only module of the core that uses hashlib, cryptolib, `cryptography` and os.

A sealed text, and the body of a sealed packet, is
    IV (128 bits) | AES-128-CBC ciphertext, PKCS#7 padded (128 n bits, n > 0) | tag (128 bits)
    tag = first half of HMAC-SHA256(key[0:16], header | IV | ciphertext | header's length in bits (64 bits, big-endian))
AES takes key[16:32]. The IV is itself the encryption of a nonce block, a number in 128 bits, big-endian: the first
block of a CBC chain over nonce block | padded plaintext. `seal` starts the chain with zeros; `seal_packet` goes on from
the packet before. A receiver needs neither number nor chain: it decrypts IV | ciphertext and forgets the first block.

On MicroPython seal_packet and open_packet allocate four objects each, none of which stays: two hash states and two
digests; and the views of a packet when it has another size, or another buffer, than the one before. Make the packets
of which many are sent of 16 n - 1 bytes of plaintext: one byte of padding is checked faster than 16.
"""

import os
from struct import pack, pack_into

from upeer.base.compat import MICROPYTHON, const
from upeer.base.errors import CryptoError, LocalError

IV_SIZE = const(16)
TAG_SIZE = const(16)

if MICROPYTHON:
    from hashlib import sha256 as _sha256

    from cryptolib import aes

    _CBC = const(2)

    def sha256(*parts) -> bytes:
        """Return the SHA-256 (32 bytes) of the concatenated parts."""
        state = _sha256()
        for part in parts:
            state.update(part)
        return state.digest()

    def tag_matches(a, b) -> bool:
        """Compare the first 16 bytes of two byte strings in constant time. In one expression: half a loop's time."""
        return not (
            (a[0] ^ b[0] | a[1] ^ b[1] | a[2] ^ b[2] | a[3] ^ b[3] | a[4] ^ b[4] | a[5] ^ b[5])
            | (a[6] ^ b[6] | a[7] ^ b[7] | a[8] ^ b[8] | a[9] ^ b[9] | a[10] ^ b[10] | a[11] ^ b[11])
            | (a[12] ^ b[12] | a[13] ^ b[13] | a[14] ^ b[14] | a[15] ^ b[15])
        )

    def equal(a, b) -> bool:
        """Compare two byte strings in a time that depends on their lengths alone."""
        difference = len(a) ^ len(b)
        for i in range(min(len(a), len(b))):
            difference |= a[i] ^ b[i]
        return not difference

    def padding_size(buf, end: int) -> int:
        """Return the size (1 to 16) of the PKCS#7 padding that ends at `end`, 0 if it is none."""
        size = buf[end - 1]
        if size > 16:
            return 0
        for i in range(end - size, end - 1):
            if buf[i] != size:
                return 0
        return size

    def encryptor(key):
        """Return encrypt(data, out) of one AES-128-CBC chain; works in place."""
        return aes(key, _CBC, bytes(16)).encrypt

    def decryptor(key):
        """Return decrypt(data, out), the counterpart of `encryptor`."""
        return aes(key, _CBC, bytes(16)).decrypt

    class Hmac:
        """HMAC-SHA256 (RFC 2104) with one key and many messages; the pads are made once."""

        def __init__(self, key):
            if len(key) > 64:
                key = sha256(key)
            block = int.from_bytes(key, "big") << 8 * (64 - len(key))
            self._inner = (block ^ int.from_bytes(b"\x36" * 64, "big")).to_bytes(64, "big")
            self._outer = (block ^ int.from_bytes(b"\x5c" * 64, "big")).to_bytes(64, "big")

        def digest(self, first, second=b"", third=b"") -> bytes:
            """Return the 32-byte MAC of the concatenated parts."""
            state = _sha256(self._inner)
            state.update(first)
            state.update(second)
            if third:
                state.update(third)
            inner = state.digest()
            state = _sha256(self._outer)
            state.update(inner)
            return state.digest()

        def tag(self, *parts) -> bytes:
            """Return the first 16 bytes of the MAC."""
            return self.digest(*parts)[:16]

else:
    from upeer.crypto.cpython import Hmac, decryptor, encryptor, equal, padding_size, sha256, tag_matches  # noqa: F401


def random_bytes(size: int) -> bytes:
    """Return `size` bytes of the system's entropy; shells hand this function to the core."""
    return os.urandom(size)


def check_key(key) -> None:
    """Raise LocalError unless `key` has at least 16 bytes, not all of them zero: no default keys (attack A7)."""
    if not key or len(key) < 16 or not any(key):
        raise LocalError("key missing, too short or all zero")


def hkdf(salt, ikm, info, size: int) -> bytes:
    """Return `size` bytes (at most 8160) of HKDF-SHA256, extract and expand."""
    mac = Hmac(Hmac(salt).digest(ikm))
    block = output = b""
    while len(output) < size:
        block = mac.digest(block, info, bytes((len(output) // 32 + 1,)))
        output += block
    return output[:size]


def derive(key, label: bytes, *context, size: int = 32) -> bytes:
    """Return a key for the purpose `label`, bound to the byte strings `context`, each taken with its length.

    LocalError if `key` is missing, shorter than 16 bytes or all zero.
    """
    check_key(key)
    info = label
    for part in context:
        if len(part) > 0xFFFF:
            raise LocalError("context too long")
        info += pack(">H", len(part)) + part
    return hkdf(b"upeer 1", key, info, size)


def overhead(size: int) -> int:
    """Return how many bytes `size` bytes of plaintext take when sealed: 33 to 48 more."""
    return (size | 15) + 1 + IV_SIZE + TAG_SIZE


class Aead:
    """A128CBC-HS256 with one 32-byte key; LocalError if that is of another size or all zero.

    Ciphers are made at first use: a key that serves one direction holds one of them. Not for two threads at once.
    """

    overhead = staticmethod(overhead)

    _encrypt = _decrypt = None  # of the class until it is set: a packet's end only does one of them

    def __init__(self, key):
        check_key(key)
        if len(key) != 32:
            raise LocalError("AEAD key is not of 32 bytes")
        self._mac = Hmac(key[:16])
        self._key = bytes(key[16:])
        self._header_size = -1
        self._header_bits = b""  # the header's length in bits, as the MAC takes it
        self.forget()

    def forget(self) -> None:
        """Hold no buffer."""
        self._buf = self._signed = self._text = self._tag = self._room = None
        self._end = 0

    def seal(self, nonce: int, plaintext, aad=b"") -> bytes:
        """Return IV | ciphertext | tag of `plaintext`, bound to `aad`. A nonce (below 2**128) serves once per key."""
        if nonce < 0 or nonce >> 128:
            raise LocalError("nonce out of range")
        start = len(aad)
        plain_end = start + IV_SIZE + len(plaintext)
        buf = bytearray(start + overhead(len(plaintext)))
        buf[:start] = aad
        buf[start : start + IV_SIZE] = nonce.to_bytes(16, "big")
        buf[start + IV_SIZE : plain_end] = plaintext
        self._seal(encryptor(self._key), buf, start, plain_end)
        self.forget()
        return bytes(memoryview(buf)[start:])

    def open(self, sealed, aad=b"") -> bytes:
        """Return the plaintext of what `seal` made; CryptoError, always the same, if anything is wrong."""
        start = len(aad)
        buf = bytearray(start + len(sealed))
        buf[:start] = aad
        buf[start:] = sealed
        plain_end = self.open_packet(buf, start, len(buf))
        self.forget()
        if plain_end < 0:
            raise CryptoError("sealed data does not open")
        return bytes(memoryview(buf)[start + IV_SIZE : plain_end])

    def seal_packet(self, buf, header_size: int, plain_end: int, packet_number: int) -> int:
        """Seal a packet in place and return its end.

        `buf` (bytearray or writable memoryview) holds the header, 16 bytes of room for the IV, then the plaintext up to
        `plain_end`; it has room for 32 bytes more. A packet number (below 2**62) serves once per key.
        """
        pack_into(">QQ", buf, header_size, 0, packet_number)
        encrypt = self._encrypt
        if encrypt is None:
            encrypt = self._encrypt = encryptor(self._key)
        return self._seal(encrypt, buf, header_size, plain_end)

    def open_packet(self, buf, header_size: int, end: int) -> int:
        """Open the packet buf[:end] in place; return the end of the plaintext, which starts at header_size + 16, or -1.

        Never raises. A packet that is not authentic stays as it was.
        """
        end -= TAG_SIZE
        size = end - header_size
        if size < 32 or size & 15 or header_size < 0 or end + TAG_SIZE > len(buf):
            return -1
        if buf is not self._buf or end != self._end or header_size != self._header_size:
            self._make_views(buf, header_size, end)
        if not tag_matches(self._mac.digest(self._signed, self._header_bits), self._tag):
            return -1
        if self._decrypt is None:
            self._decrypt = decryptor(self._key)
        self._decrypt(self._text, self._room)
        padding = padding_size(buf, end)
        return end - padding if padding else -1

    def _seal(self, encrypt, buf, header_size: int, plain_end: int) -> int:
        padding = 16 - (plain_end - header_size & 15)
        word = padding * 0x01010101
        pack_into("<4I", buf, plain_end, word, word, word, word)  # what is too much of it makes way for the tag
        end = plain_end + padding
        if buf is not self._buf or end != self._end or header_size != self._header_size:
            self._make_views(buf, header_size, end)
        encrypt(self._text, self._room)
        pack_into("16s", buf, end, self._mac.digest(self._signed, self._header_bits))
        return end + TAG_SIZE

    def _make_views(self, buf, header_size: int, end: int) -> None:
        """Make the views of a packet whose ciphertext ends at `end`: packets of one size in one buffer share them."""
        if header_size != self._header_size:
            self._header_size = header_size
            self._header_bits = pack(">Q", header_size << 3)
        view = memoryview(buf)
        self._signed = view[:end]
        self._text = view[header_size:end]
        self._tag = view[end : end + TAG_SIZE]
        self._room = self._text if MICROPYTHON else view[header_size:]
        self._buf = buf
        self._end = end
