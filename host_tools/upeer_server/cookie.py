"""Stateless cookies (protocol, chapter 4.1): a source proves that it gets what is sent to its address.

cookie: time (32 bits) | tag (128) under a secret of this process, renewed every two minutes
"""

from collections.abc import Callable

from upeer.base.wire import pack_address
from upeer.crypto.aead import Hmac, equal

DEVICE = 0
CLIENT = 1

LIFETIME_S = 120

Address = tuple[str, int]


class Cookies:
    """Makes and checks cookies; keeps nothing but two secrets."""

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes
        self._secrets: dict[int, Hmac] = {}

    def make(self, unix: int, address: Address, nonce: bytes, kind: int) -> bytes:
        """Return a cookie (20 bytes) for an address, a nonce and a kind (DEVICE or CLIENT)."""
        time = unix.to_bytes(4, "big")
        return time + self._secret(unix).tag(time, pack_address(*address), nonce, bytes((kind,)))

    def is_valid(self, cookie: bytes, unix: int, address: Address, nonce: bytes, kind: int) -> bool:
        """Tell whether `make` made this cookie for the same address, nonce and kind at most 120 s ago."""
        made = int.from_bytes(cookie[:4], "big")
        secret = self._secrets.get(made // LIFETIME_S)
        if secret is None or not 0 <= unix - made <= LIFETIME_S:
            return False
        return equal(secret.tag(cookie[:4], pack_address(*address), nonce, bytes((kind,))), cookie[4:])

    def _secret(self, unix: int) -> Hmac:
        period = unix // LIFETIME_S
        secret = self._secrets.get(period)
        if secret is None:
            secret = Hmac(self._random_bytes(32))
            self._secrets = {number: old for number, old in self._secrets.items() if number == period - 1}
            self._secrets[period] = secret
        return secret
