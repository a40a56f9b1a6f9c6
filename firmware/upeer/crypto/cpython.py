"""CPython's side of `crypto` and `x25519`, on hashlib and `cryptography`. Devices do without this file.

The same names as the MicroPython branch of `crypto`; kept fast, because servers run through here for every packet:
hash states are copied instead of made anew, cipher contexts stay open.
"""

import hashlib
from hmac import compare_digest as equal

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from upeer.base.errors import CryptoError

_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))
_PADDINGS = [bytes((size,)) * size for size in range(17)]
_ZERO_IV = bytes(16)


def sha256(*parts) -> bytes:
    """Return the SHA-256 (32 bytes) of the concatenated parts."""
    return hashlib.sha256(b"".join(parts)).digest()


def tag_matches(digest: bytes, tag) -> bool:
    """Compare the first 16 bytes of `digest` with the 16 of `tag` in constant time."""
    return equal(digest[:16], tag)


def padding_size(buf, end: int) -> int:
    """Return the size (1 to 16) of the PKCS#7 padding that ends at `end`, 0 if it is none."""
    size = buf[end - 1]
    return size if 0 < size <= 16 and buf[end - size : end] == _PADDINGS[size] else 0


def encryptor(key: bytes):
    """Return encrypt(data, out) of one AES-128-CBC chain; `out` has 15 bytes of room behind the result."""
    return Cipher(algorithms.AES(key), modes.CBC(_ZERO_IV)).encryptor().update_into


def decryptor(key: bytes):
    """Return decrypt(data, out), the counterpart of `encryptor`."""
    return Cipher(algorithms.AES(key), modes.CBC(_ZERO_IV)).decryptor().update_into


class Hmac:
    """HMAC-SHA256 (RFC 2104) with one key and many messages."""

    def __init__(self, key: bytes):
        if len(key) > 64:
            key = sha256(key)
        block = bytes(key).ljust(64, b"\0")
        self._inner = hashlib.sha256(block.translate(_INNER))
        self._outer = hashlib.sha256(block.translate(_OUTER))

    def digest(self, *parts) -> bytes:
        """Return the 32-byte MAC of the concatenated parts."""
        inner = self._inner.copy()
        for part in parts:
            inner.update(part)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()

    def tag(self, *parts) -> bytes:
        """Return the first 16 bytes of the MAC."""
        return self.digest(*parts)[:16]


def public_key(private: bytes) -> bytes:
    """Return the X25519 public key (32 bytes) of a private one."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def shared_secret(private: bytes, public: bytes) -> bytes:
    """Return the X25519 shared secret (32 bytes); CryptoError if `public` is of low order."""
    try:
        return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(bytes(public)))
    except ValueError:
        raise CryptoError("worthless public key")
