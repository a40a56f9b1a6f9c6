"""Who can read what in the pool: two keys, two seals on every licence.

- The **station key** opens what the line still needs: free, reserved and burned licences until their lot is closed.
  Scrapping a licence or closing a lot erases that seal, so that a stolen station key opens nothing of earlier lots.
- The **office key** (the licence office's own, never at the line) opens the second seal, which stays for ever. The pool
  has only its public half: an ephemeral X25519 key per imported batch, HKDF, the project's AEAD.
"""

import secrets
from pathlib import Path

from upeer.base.errors import CryptoError, LocalError
from upeer.crypto.aead import Aead, Hmac, derive
from upeer.crypto.cpython import public_key, shared_secret
from upeer_factory.errors import POOL_DATA, WRONG_KEY, FactoryError
from upeer_office.files import create_private_file

STATION_KEY_FILE = "station.key"
_KEY_SIZE = 32


class StationKey:
    """What a station may do: open what is to be burned, tag the audit."""

    def __init__(self, key: bytes) -> None:
        self._rows = Aead(derive(key, b"pool rows"))
        self._marks = Hmac(derive(key, b"pool marks"))
        self._tags = Hmac(derive(key, b"pool audit"))
        self.check = derive(key, b"pool check", size=16)

    def seal(self, name: str, secret: bytes) -> bytes:
        """Return a secret sealed for the stations, bound to its name."""
        return self._rows.seal(secrets.randbits(128), secret, name.encode())

    def open(self, name: str, sealed: bytes | None) -> bytes:
        """Return what was sealed; FactoryError when the seal is gone or damaged."""
        if sealed is None:
            raise FactoryError(WRONG_KEY, f"the lot of {name} is closed: stations no longer open it", "ask the office")
        try:
            return bytes(self._rows.open(sealed, name.encode()))
        except CryptoError as error:
            raise FactoryError(POOL_DATA, f"{name} is damaged in the pool") from error

    def mark(self, licence_key: bytes) -> bytes:
        """Return 16 bytes by which the same licence key is known again, and nothing else."""
        return self._marks.tag(licence_key)

    def tag(self, text: str) -> str:
        """Return the tag of an audit row's hash: without the station key nobody makes rows that fit."""
        return self._tags.digest(text.encode()).hex()


class OfficeSeal:
    """Seals one imported batch for the office; `public` is what the office needs to open it."""

    def __init__(self, office_public: bytes) -> None:
        private = secrets.token_bytes(_KEY_SIZE)
        self.public = public_key(private)
        self._aead = Aead(_batch_key(shared_secret(private, office_public), self.public, office_public))

    def seal(self, did: str, secret: bytes) -> bytes:
        """Return a licence's secret, which only the office opens again."""
        return self._aead.seal(secrets.randbits(128), secret, did.encode())


class OfficeKey:
    """The office's private half, made from its office key."""

    def __init__(self, office_key: bytes) -> None:
        self._private = derive(office_key, b"factory pool")
        self.public = public_key(self._private)
        self._batches: dict[bytes, Aead] = {}

    def open(self, batch_public: bytes, did: str, sealed: bytes) -> bytes:
        """Return what a batch's OfficeSeal sealed; FactoryError if this is another office or the row is damaged."""
        try:
            if batch_public not in self._batches:
                secret = shared_secret(self._private, batch_public)
                self._batches[batch_public] = Aead(_batch_key(secret, batch_public, self.public))
            return bytes(self._batches[batch_public].open(sealed, did.encode()))
        except CryptoError as error:
            raise FactoryError(POOL_DATA, f"{did} is damaged in the pool") from error


def make_station_key(path: Path) -> bytes:
    """Write a new station key; an existing one is never overwritten."""
    key = secrets.token_bytes(_KEY_SIZE)
    try:
        create_private_file(path, key.hex().encode() + b"\n")
    except FileExistsError as error:
        raise FactoryError(WRONG_KEY, f"{path} exists already", "name another file with --station-key") from error
    return key


def read_station_key(path: Path) -> StationKey:
    """Return the station key in a file."""
    try:
        return StationKey(bytes.fromhex(path.read_text().strip()))
    except FileNotFoundError as error:
        raise FactoryError(WRONG_KEY, f"the station key is not at {path}", "name it with --station-key") from error
    except (ValueError, LocalError) as error:
        raise FactoryError(WRONG_KEY, f"{path} holds no station key", "take it from a backup") from error


def _batch_key(secret: bytes, batch_public: bytes, office_public: bytes) -> bytes:
    return bytes(derive(secret, b"pool batch", batch_public, office_public))
