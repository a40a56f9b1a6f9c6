"""The audit chain: one row per event, in the same transaction as the change that it records. Rows are only ever added.

    body = canonical JSON (sorted keys, no spaces): number, at, event, station, operator and what the event adds
    hash = SHA-256(hash of the row before | newline | body), in hex; 64 zeros stand before the first
    tag  = HMAC-SHA256(station key's audit key, hash): who can write the database but has no key makes no row that fits
`head` holds the last number and hash, so that rows cut off at the end are missed as well. No secret is in a body.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hmac import compare_digest
from typing import Any

from upeer_factory.errors import RECORDS, FactoryError
from upeer_factory.pool.keys import StationKey
from upeer_factory.pool.sql import Database, Row, Transaction

FIRST_HASH = "0" * 64
_SELECT = "SELECT number, body, hash, tag, event, did FROM audit WHERE number > ? ORDER BY number LIMIT ?"
_CANONICAL: dict[str, Any] = {"sort_keys": True, "separators": (",", ":"), "ensure_ascii": False}
_STATE_AFTER = {"reserved": "reserved", "burned": "burned", "scrapped": "scrapped"}


@dataclass(frozen=True)
class Actor:
    """Who does it: the station's name and the person at it."""

    station: str = ""
    operator: str = ""


@dataclass(frozen=True)
class Summary:
    """What `verify` found in a chain without faults."""

    rows: int
    hash: str
    burned: int
    scrapped: int


def append(tx: Transaction, key: StationKey, actor: Actor, event: str, **fields: Any) -> str:
    """Add a row in a running transaction; return its hash. None values are left out."""
    found = tx.row("SELECT number, hash FROM head")
    if found is None:
        raise FactoryError(RECORDS, "the pool has lost its audit's head")
    number = found[0] + 1
    body = {"number": number, "at": _now(), "event": event, "station": actor.station, "operator": actor.operator}
    text = json.dumps(body | {name: value for name, value in fields.items() if value is not None}, **_CANONICAL)
    digest = chain_hash(found[1], text)
    row = (number, text, digest, key.tag(digest), event, fields.get("did"))
    tx.change("INSERT INTO audit (number, body, hash, tag, event, did) VALUES (?, ?, ?, ?, ?, ?)", *row)
    tx.change("UPDATE head SET number = ?, hash = ?", number, digest)
    return digest


def chain_hash(before: str, body: str) -> str:
    """Return the hash of a row after the row whose hash is `before`."""
    return hashlib.sha256(f"{before}\n{body}".encode()).hexdigest()


def entries(database: Database, after: int = 0) -> Iterator[dict[str, Any]]:
    """Yield the bodies of all rows after a number, each with its `hash`."""
    for _number, body, digest, *_ in database.pages(_SELECT, after):
        yield json.loads(body) | {"hash": digest}


def verify(database: Database, key: StationKey | None = None) -> Summary:
    """Check every row, the end of the chain, and that the licences are in the states that the rows tell.

    FactoryError names the first row or licence that is wrong. Without the key the tags are not checked.
    """
    check = _Check(key)
    for row in database.pages(_SELECT, 0):
        check.take(row)
    return database.run(check.finish)


def verify_lines(lines: Iterable[str]) -> Summary:
    """Check an exported chain (JSONL); FactoryError names the first line that is wrong."""
    before, number, states = FIRST_HASH, 0, dict[str, tuple[str, str | None]]()
    for line in lines:
        number += 1
        try:
            entry = json.loads(line)
            digest = entry.pop("hash")
            body = json.dumps(entry, **_CANONICAL)
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise FactoryError(RECORDS, f"audit row {number} is damaged") from error
        before = chain_hash(before, body)
        if digest != before or entry.get("number") != number:
            raise FactoryError(RECORDS, f"audit row {number} was changed, or a row before it is missing")
        _follow(states, entry)
    return _summary(number, before, states)


class _Check:
    """Walks the chain; `finish` takes, in one transaction, what came meanwhile, and compares with the licences."""

    def __init__(self, key: StationKey | None) -> None:
        self._key = key
        self._number = 0
        self._before = FIRST_HASH
        self._states: dict[str, tuple[str, str | None]] = {}

    def take(self, row: Row) -> None:
        """Check the next row."""
        found, body, digest, tag, event, did = row
        self._number += 1
        if found != self._number:
            raise FactoryError(RECORDS, f"audit row {self._number} is missing")
        self._before = chain_hash(self._before, body)
        if digest != self._before:
            raise FactoryError(RECORDS, f"audit row {found} was changed")
        if self._key is not None and not compare_digest(self._key.tag(digest).encode(), tag.encode()):
            raise FactoryError(RECORDS, f"audit row {found} was written without the station key")
        entry = json.loads(body)
        if (entry["number"], entry["event"], entry.get("did")) != (found, event, did):
            raise FactoryError(RECORDS, f"audit row {found} was changed")
        _follow(self._states, entry)

    def finish(self, tx: Transaction) -> Summary:
        """Check the end of the chain and the licences' states."""
        for row in tx.pages(_SELECT, self._number):
            self.take(row)
        if tx.row("SELECT number, hash FROM head") != (self._number, self._before):
            raise FactoryError(RECORDS, f"audit row {self._number + 1} and later are missing, or the head was changed")
        left = dict(self._states)
        query = "SELECT did, state, mac FROM licences WHERE did > ? AND state <> 'free' ORDER BY did LIMIT ?"
        for did, state, mac in tx.pages(query, ""):
            if left.pop(did, None) != (state, mac):
                raise FactoryError(RECORDS, f"the pool says that {did} is {state} ({mac}); its records do not")
        for did, (state, _mac) in left.items():
            raise FactoryError(RECORDS, f"the records say that {did} is {state}; the pool does not")
        return _summary(self._number, self._before, self._states)


def _follow(states: dict[str, tuple[str, str | None]], entry: dict[str, Any]) -> None:
    state = _STATE_AFTER.get(entry["event"])
    if state:
        states[entry["did"]] = (state, entry.get("mac"))


def _summary(number: int, digest: str, states: dict[str, tuple[str, str | None]]) -> Summary:
    made = [state for state, _ in states.values()]
    return Summary(number, digest, made.count("burned"), made.count("scrapped"))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
