"""The licence pool: every licence is free, reserved, burned or scrapped, and a board's MAC holds at most one for ever.

        free ----reserve(mac)----> reserved ----burned(mac)----> burned
          \\---------- scrap -----------+----------- scrap ---------/  --> scrapped (final)
A change, the counters in `head` and its audit row are one transaction. Every call may be repeated after a crash: it
then finds what it did.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from upeer_board.fctry import Record
from upeer_factory.errors import POOL_DATA, POOL_EMPTY, SCRAPPED, WRONG_KEY, FactoryError
from upeer_factory.pool import audit
from upeer_factory.pool.audit import Actor
from upeer_factory.pool.keys import OfficeKey, StationKey
from upeer_factory.pool.platform_keys import read_platform
from upeer_factory.pool.sql import Database, Transaction
from upeer_office.licences import Licence as OfficeLicence
from upeer_office.names import SETUP_CODE_SIZE, licence_code

STATES = ("free", "reserved", "burned", "scrapped")
_KEY_SIZE = 32
_FOUND = "did, state, mac, sealed, expires"
_TAKE = """
UPDATE licences SET state = 'reserved', mac = ? WHERE did = (
    SELECT did FROM licences WHERE state = 'free' AND (expires IS NULL OR expires > ?) ORDER BY did LIMIT 1)
RETURNING did, state, mac, sealed, expires
"""


@dataclass(frozen=True)
class Entry:
    """A licence as the pool lists it; nothing secret."""

    did: str
    state: str
    mac: str | None
    expires: int | None = None


@dataclass(frozen=True)
class Reserved:
    """The licence of one board. `record` is what `fctry` gets; `is_new`: it was free until now."""

    did: str
    mac: str
    state: str
    is_new: bool
    record: Record = field(repr=False)

    @property
    def licence_key(self) -> bytes:
        return bytes(self.record["licence_key"])

    @property
    def setup_code(self) -> bytes:
        return bytes(self.record["setup_code"])


@dataclass(frozen=True)
class Status:
    """How many licences are in each state, and how many audit rows there are."""

    free: int
    reserved: int
    burned: int
    scrapped: int
    audit_rows: int

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


class Pool:
    """An open pool; for any number of threads and processes. `actor` goes into every audit row."""

    def __init__(self, database: Database, key: StationKey, actor: Actor | None = None) -> None:
        self.database = database
        self.key = key
        self.actor = actor or Actor()
        check = database.run(lambda tx: tx.row("SELECT key_check FROM head"))
        if check is None or bytes(check[0]) != key.check:
            raise FactoryError(WRONG_KEY, "this is not the station key of this pool")

    @classmethod
    def open(cls, url: str, key: StationKey, actor: Actor | None = None) -> "Pool":
        """Open the pool in a folder (SQLite) or at a postgresql:// address."""
        return cls(Database(url), key, actor)

    def close(self) -> None:
        self.database.close()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def reserve(self, mac: str) -> Reserved:
        """Return this board's licence: the one it has, or a free one that is its own from now on, on the disk."""
        mac = parse_mac(mac)
        return self.database.run(lambda tx: self._reserve(tx, mac))

    def burned(self, mac: str, did: str, **details: Any) -> bool:
        """Mark a board's licence as burned; False when it was. `details` join the audit row."""
        return self.database.run(lambda tx: self._burned(tx, parse_mac(mac), did, details))

    def note(self, event: str, **fields: Any) -> None:
        """Add an audit row that changes no state: "failed", "swapped", "selftest" ..."""
        self.database.run(lambda tx: self.append(tx, event, **fields))

    def append(self, tx: Transaction, event: str, **fields: Any) -> None:
        """The same inside a running transaction."""
        audit.append(tx, self.key, self.actor, event, **fields)

    def find(self, name: str) -> Entry:
        """Return the licence with a DID or of a board's MAC; FactoryError when there is none."""
        found = self.database.run(lambda tx: self._find(tx, name))
        did, state, mac, _sealed, expires = found
        return Entry(did, state, mac, expires)

    def label_secrets(self, name: str) -> Reserved:
        """Return the licence of a DID or MAC that is reserved or burned, opened: for its label."""
        return self.database.run(lambda tx: self._label_secrets(tx, name))

    def scrap(self, name: str, reason: str = "") -> Entry:
        """Scrap a licence for good, by DID or MAC; its board gets no other one. Twice changes nothing."""
        return self.database.run(lambda tx: self._scrap(tx, name, reason))

    def close_lot(self) -> int:
        """Erase the stations' seal of all burned licences; return how many. Only the office opens them from now on."""

        def work(tx: Transaction) -> int:
            count = tx.change("UPDATE licences SET sealed = NULL WHERE state = 'burned' AND sealed IS NOT NULL")
            self.append(tx, "lot closed", count=count)
            return count

        return self.database.run(work)

    def status(self) -> Status:
        """Return the counters; takes no longer at a million licences than at one."""
        query = "SELECT free, reserved, burned, scrapped, number FROM head"
        found = self.database.run(lambda tx: tx.row(query))
        assert found is not None
        return Status(*found)

    def entries(self, state: str | None = None) -> Iterator[Entry]:
        """Yield the licences in a state, or all, by DID."""
        only = f"AND state = '{state}'" if state in STATES else ""
        query = f"SELECT did, state, mac, expires FROM licences WHERE did > ? {only} ORDER BY did LIMIT ?"
        for row in self.database.pages(query, ""):
            yield Entry(*row)

    def open_for_office(self, key: OfficeKey, state: str | None = None) -> Iterator[OfficeLicence]:
        """Yield licences with their secrets, as the licence office keeps them: with the office key only."""
        query = "SELECT batch, public FROM batches"
        batches = {row[0]: bytes(row[1]) for row in self.database.run(lambda tx: tx.rows(query))}
        self.check_office(key)
        only = f"AND state = '{state}'" if state in STATES else ""
        query = f"SELECT did, batch, office_sealed, expires FROM licences WHERE did > ? {only} ORDER BY did LIMIT ?"
        for did, batch, sealed, expires in self.database.pages(query, ""):
            secret = key.open(batches[batch], did, bytes(sealed))
            licence_key = secret[:_KEY_SIZE]
            code = licence_code(licence_key)
            yield OfficeLicence(did, code, int(time.time()), expires, None, licence_key, secret[_KEY_SIZE:])

    def check_office(self, key: OfficeKey) -> None:
        """Refuse another office's key."""
        found = self.database.run(lambda tx: tx.row("SELECT office_public FROM head"))
        if found is None or bytes(found[0]) != key.public:
            raise FactoryError(WRONG_KEY, "this is not the office key of this pool")

    # -- inside a transaction ---------------------------------------------------------------------------------

    def _reserve(self, tx: Transaction, mac: str) -> Reserved:
        found = tx.row(f"SELECT {_FOUND} FROM licences WHERE mac = ?", mac)
        if found is None:
            taken = tx.row(_TAKE, mac, int(time.time()))
            if taken is None:
                raise FactoryError(POOL_EMPTY, "no free licence is left in the pool")
            tx.change("UPDATE head SET free = free - 1, reserved = reserved + 1")
            self.append(tx, "reserved", did=taken[0], mac=mac)
            return self._opened(tx, taken, True)
        if found[1] == "scrapped":
            raise FactoryError(SCRAPPED, f"the licence of board {mac}, {found[0]}, is scrapped")
        return self._opened(tx, found, False)

    def _label_secrets(self, tx: Transaction, name: str) -> Reserved:
        found = self._find(tx, name)
        if found[1] not in ("reserved", "burned"):
            raise FactoryError(POOL_DATA, f"{found[0]} is {found[1]}: it has no label", "burn it first")
        return self._opened(tx, found, False)

    def _opened(self, tx: Transaction, found: tuple[Any, ...], is_new: bool) -> Reserved:
        did, state, mac, sealed, _expires = found
        secret = self.key.open(did, None if sealed is None else bytes(sealed))
        record: Record = {"did": did, "licence_key": secret[:_KEY_SIZE], **read_platform(tx, self.key, did)}
        if len(secret) != _KEY_SIZE + SETUP_CODE_SIZE:
            raise FactoryError(POOL_DATA, f"{did} is damaged in the pool")
        record["setup_code"] = secret[_KEY_SIZE:]
        return Reserved(did, mac, state, is_new, record)

    def _burned(self, tx: Transaction, mac: str, did: str, details: dict[str, Any]) -> bool:
        found = tx.row("SELECT did, state FROM licences WHERE mac = ?", mac)
        if found is None or found[0] != did or found[1] not in ("reserved", "burned"):
            raise FactoryError(POOL_DATA, f"{did} is not reserved for board {mac}")
        if found[1] == "burned":
            return False
        tx.change("UPDATE licences SET state = 'burned' WHERE did = ? AND state = 'reserved'", did)
        tx.change("UPDATE head SET reserved = reserved - 1, burned = burned + 1")
        self.append(tx, "burned", did=did, mac=mac, **details)
        return True

    def _scrap(self, tx: Transaction, name: str, reason: str) -> Entry:
        did, state, mac, _sealed, expires = self._find(tx, name)
        if state != "scrapped":
            tx.change("UPDATE licences SET state = 'scrapped', sealed = NULL WHERE did = ?", did)
            tx.change(f"UPDATE head SET {state} = {state} - 1, scrapped = scrapped + 1")
            self.append(tx, "scrapped", did=did, mac=mac, reason=reason, before=state)
        return Entry(did, "scrapped", mac, expires)

    def _find(self, tx: Transaction, name: str) -> tuple[Any, ...]:
        column, value = ("mac", parse_mac(name)) if is_mac(name) else ("did", name.strip().upper())
        found = tx.row(f"SELECT {_FOUND} FROM licences WHERE {column} = ?", value)
        if found is None:
            raise FactoryError(POOL_DATA, f"the pool has no licence for {name.strip()[:40]}", "see 'upeer pool status'")
        return found


def is_mac(text: str) -> bool:
    """Tell whether a text is a MAC, with or without separators."""
    return re.fullmatch(r"[0-9A-Fa-f]{12}", re.sub("[:.-]", "", text.strip())) is not None


def parse_mac(text: str) -> str:
    """Return a MAC as aa:bb:cc:dd:ee:ff; FactoryError unless it is one board's own address."""
    digits = re.sub("[:.-]", "", text.strip()).lower()
    if not is_mac(text) or not any(bytes.fromhex(digits)) or int(digits[:2], 16) & 1:
        raise FactoryError(POOL_DATA, f"{text.strip()[:40]!r} is no board's MAC", "check the board and its cable")
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2))


def pool_folder(url: str) -> Path | None:
    """Return the folder of a pool on this host, None for PostgreSQL."""
    return None if Database(url).is_postgres else Path(url)
