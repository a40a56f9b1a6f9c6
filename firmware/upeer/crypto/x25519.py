"""X25519 (RFC 7748), in one go or in slices.

`Ladder` is the curve on big integers, cut into steps, so that a MicroPython shell spreads its 0.3 s over its loop.
Big integers do not take constant time: ephemeral keys only. CPython's one-shot functions go through `cryptography`.
"""

from upeer.base.compat import MICROPYTHON
from upeer.base.errors import CryptoError, LocalError

BASE = b"\x09" + bytes(31)
_P = (1 << 255) - 19

# 1 / z = z**(p - 2) by an addition chain. A row is three bytes: which of the values so far to start from (0 is z), how
# often to square it, which value to multiply it with; what it gives is the next value.
_INVERSE = (
    b"\x00\x01\x00"  # 1: z**3
    b"\x00\x03\x01"  # 2: z**11
    b"\x01\x01\x00"  # 3: z**7
    b"\x03\x02\x01"  # 4: z**(2**5 - 1)
    b"\x04\x05\x04"  # 5: z**(2**10 - 1)
    b"\x05\x0a\x05"  # 6: z**(2**20 - 1)
    b"\x06\x14\x06"  # 7: z**(2**40 - 1)
    b"\x07\x0a\x05"  # 8: z**(2**50 - 1)
    b"\x08\x32\x08"  # 9: z**(2**100 - 1)
    b"\x09\x64\x09"  # 10: z**(2**200 - 1)
    b"\x0a\x32\x08"  # 11: z**(2**250 - 1)
    b"\x0b\x05\x02"  # 12: z**(2**255 - 21)
)


def _multiply(k: bytes, u: int):
    """Yield after each of 255 ladder steps and 40 parts of the inverse, then yield the u coordinate of k * (u, v)."""
    x2, z2, x3, z3, swapped = 1, 0, u, 1, 0
    for t in range(254, -1, -1):
        bit = k[t >> 3] >> (t & 7) & 1
        if bit != swapped:
            x2, z2, x3, z3, swapped = x3, z3, x2, z2, bit
        a = x2 + z2
        b = x2 - z2
        aa = a * a % _P
        bb = b * b % _P
        e = aa - bb
        da = (x3 - z3) * a % _P
        cb = (x3 + z3) * b % _P
        x3 = da + cb
        x3 = x3 * x3 % _P
        z3 = da - cb
        z3 = z3 * z3 % _P * u % _P
        x2 = aa * bb % _P
        z2 = e * (aa + 121665 * e) % _P
        yield None
    # The lowest bit of a clamped scalar is 0, so the ladder never ends swapped.
    values = [z2]
    for row in range(0, len(_INVERSE), 3):
        power = values[_INVERSE[row]]
        for count in range(_INVERSE[row + 1]):
            power = power * power % _P
            if count & 7 == 7:
                yield None
        values.append(power * values[_INVERSE[row + 2]] % _P)
        yield None
    yield x2 * values[-1] % _P


class Ladder:
    """One multiplication on the curve, in 296 steps of about 2 ms on an ESP32.

    With `BASE` as the public key the result is the public key of `private`.
    """

    def __init__(self, private: bytes, public: bytes):
        if len(private) != 32 or len(public) != 32:
            raise LocalError("X25519 key is not of 32 bytes")
        top = 1 << 254
        k = int.from_bytes(private, "little") % top // 8 * 8 + top
        self._steps = _multiply(k.to_bytes(32, "little"), int.from_bytes(public, "little") % (2 * top) % _P)
        self._result = None

    def step(self, count: int) -> bool:
        """Do up to `count` steps; return whether the result is there."""
        while count > 0 and self._result is None:
            self._result = next(self._steps)
            count -= 1
        return self._result is not None

    def result(self) -> bytes:
        """Return the 32 bytes; CryptoError if all zero (a public key of low order), LocalError if too early."""
        if self._result is None:
            raise LocalError("ladder not done")
        if not self._result:
            raise CryptoError("worthless public key")
        return self._result.to_bytes(32, "little")


if MICROPYTHON:

    def shared_secret(private: bytes, public: bytes) -> bytes:
        """Return the shared secret (32 bytes) in one go; CryptoError if it is all zero."""
        ladder = Ladder(private, public)
        ladder.step(999)
        return ladder.result()

    def public_key(private: bytes) -> bytes:
        """Return the public key (32 bytes) in one go."""
        return shared_secret(private, BASE)

else:
    from upeer.crypto.cpython import public_key, shared_secret


def key_pair(random_bytes) -> tuple:
    """Return a fresh (private, public) pair of 32 bytes each; random_bytes(32) gives the entropy."""
    private = random_bytes(32)
    return private, public_key(private)
