"""The devices this client is paired with, in `pairs.json` of its home folder. Keys leave it for handshakes only.

A pairing is written down as pending, with its key, before the device is asked: should the answer get lost, the key that
the device may have stored is known here as well, and the next try finds out.
"""

import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from upeer.base.errors import ProtocolError
from upeer.base.wire import check_did
from upeer.crypto.aead import check_key
from upeer_client import private_files
from upeer_client.config import home_folder
from upeer_client.errors import ConfigError, NotPaired, UsageError

ROLES = ("owner", "user", "guest")

_FORMAT = "upeer pairs"
_FILE = "pairs.json"
_HINT = "take it from a backup, or remove it and pair again"
_MAX_PENDING = 4


@dataclass(frozen=True)
class Pair:
    """One device: `client_id` (8 bytes) and `key` (32 bytes) are known to it and us; `name` is what we call it."""

    did: str
    client_id: bytes
    key: bytes = field(repr=False)
    role: str = "user"
    name: str = ""
    paired: int = 0


class PairStore:
    """All pairs, read anew at every call: another process may have changed them."""

    def __init__(self, home: Path | None = None) -> None:
        self.folder = home_folder(home)
        self.path = self.folder / _FILE

    def all(self) -> list[Pair]:
        """Return every pair, by DID."""
        pairs = self._load()[0]
        return [pairs[did] for did in sorted(pairs)]

    def find(self, name: str) -> Pair:
        """Return the pair of a DID, or of the only device with that name; NotPaired, UsageError."""
        pairs = self._load()[0]
        if name.upper() in pairs:
            return pairs[name.upper()]
        named = [pair for pair in pairs.values() if pair.name and pair.name == name]
        if len(named) == 1:
            return named[0]
        if named:
            raise UsageError(f"{len(named)} devices are called {name}", "give the DID")
        with suppress(UsageError):
            raise NotPaired(f"this client is not paired with {checked_did(name)}")
        raise UsageError(f"no paired device is called {name!r}, and it is no DID", "see 'upeer devices'")

    def pending(self, did: str) -> list[Pair]:
        """Return what a device may have stored in pairings whose answer got lost, newest first."""
        return self._load()[1].get(did, [])

    def begin(self, pair: Pair) -> None:
        """Write a pairing down before the device is asked."""
        with private_files.locked(self.folder):
            pairs, pending = self._load()
            pending[pair.did] = [pair, *pending.get(pair.did, [])][:_MAX_PENDING]
            self._save(pairs, pending)

    def confirm(self, pair: Pair, role: str) -> Pair:
        """Make a pending pairing the pair of its device."""
        done = replace(pair, role=role, paired=int(time.time()))
        with private_files.locked(self.folder):
            pairs, pending = self._load()
            pairs[done.did] = done
            pending.pop(done.did, None)
            self._save(pairs, pending)
        return done

    def drop_pending(self, pair: Pair) -> None:
        """Forget a pairing that the device refused."""
        with private_files.locked(self.folder):
            pairs, pending = self._load()
            kept = [other for other in pending.get(pair.did, []) if other.key != pair.key]
            pending[pair.did] = kept
            self._save(pairs, {did: rows for did, rows in pending.items() if rows})

    def remove(self, did: str) -> bool:
        """Forget a device; True when it was known."""
        with private_files.locked(self.folder):
            pairs, pending = self._load()
            found = pairs.pop(did, None) is not None
            pending.pop(did, None)
            self._save(pairs, pending)
        return found

    def _load(self) -> tuple[dict[str, Pair], dict[str, list[Pair]]]:
        if not self.path.exists():
            return {}, {}
        document = private_files.read_json(self.path, _FORMAT, _HINT)
        try:
            pairs = [_pair(item) for item in document["pairs"]]
            pending: dict[str, list[Pair]] = {}
            for item in document["pending"]:
                row = _pair(item)
                pending.setdefault(row.did, []).append(row)
        except (KeyError, TypeError, ValueError, ProtocolError) as error:
            raise ConfigError(f"{self.path} is damaged", _HINT) from error
        return {pair.did: pair for pair in pairs}, pending

    def _save(self, pairs: dict[str, Pair], pending: dict[str, list[Pair]]) -> None:
        document: dict[str, Any] = {"format": _FORMAT, "version": 1}
        document["pairs"] = [_row(pair) for pair in pairs.values()]
        document["pending"] = [_row(pair) for rows in pending.values() for pair in rows]
        private_files.write_json(self.path, document)


def checked_did(text: str) -> str:
    """Return a DID in capitals; UsageError when it is none."""
    try:
        return check_did(text.strip().upper())
    except ProtocolError as error:
        raise UsageError(f"{text!r} is no DID of the form ABCD-123456-GHKLM", "see 'upeer devices'") from error


def _pair(item: dict[str, Any]) -> Pair:
    pair = Pair(
        check_did(item["did"]),
        bytes.fromhex(item["client_id"]),
        bytes.fromhex(item["key"]),
        str(item["role"]),
        str(item["name"]),
        int(item["paired"]),
    )
    check_key(pair.key)
    if len(pair.client_id) != 8 or len(pair.key) != 32:
        raise ValueError("key of a wrong size")
    return pair


def _row(pair: Pair) -> dict[str, Any]:
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in asdict(pair).items()}
