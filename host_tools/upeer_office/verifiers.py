"""A master's own SQLite files: `verifiers.db`, written by the office, and `state.db`, the login epochs it has seen.

Epochs are committed with synchronous=NORMAL: they outlive the process, however it ends, but the last few may be lost
with the machine's power. That is enough, because a recorded login cannot be replayed to a restarted master anyway:
its cookie secret is new. A commit that waits for the disk would hold the whole server for milliseconds per login.
"""

import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path

from upeer_office.database import open_database, transaction

VERIFIERS_FILE = "verifiers.db"
STATE_FILE = "state.db"

_VERIFIERS = """
CREATE TABLE IF NOT EXISTS verifiers (
    did TEXT NOT NULL, key_id INTEGER NOT NULL, login_key BLOB NOT NULL, expires INTEGER,
    PRIMARY KEY (did, key_id)
) WITHOUT ROWID
"""
_EPOCHS = "CREATE TABLE IF NOT EXISTS epochs (did TEXT PRIMARY KEY, epoch INTEGER NOT NULL) WITHOUT ROWID"

Row = tuple[str, int, bytes, int | None]


class SqliteVerifiers:
    """The devices one master may let in; for one thread. What the office writes is seen at the next look-up."""

    def __init__(self, folder: Path) -> None:
        self._keys = open_verifiers(folder)
        self._state = open_database(folder / STATE_FILE, _EPOCHS, "NORMAL")

    def login_key(self, did: str, key_id: int) -> bytes | None:
        """Return the device's 32-byte login key here, None when it is unknown, revoked or its licence has run out."""
        query = "SELECT login_key, expires FROM verifiers WHERE did = ? AND key_id = ?"
        row = self._keys.execute(query, (did, key_id)).fetchone()
        if row is None or (row[1] is not None and row[1] <= time.time()):
            return None
        key: bytes = row[0]
        return key

    def last_epoch(self, did: str) -> int:
        """Return the highest login epoch seen from this device, 0 when none."""
        row = self._state.execute("SELECT epoch FROM epochs WHERE did = ?", (did,)).fetchone()
        return int(row[0]) if row else 0

    def set_epoch(self, did: str, epoch: int) -> None:
        """Record a login epoch; it outlives the process. A lower one than before changes nothing."""
        statement = (
            "INSERT INTO epochs VALUES (?, ?) ON CONFLICT (did) DO UPDATE SET epoch = MAX(epoch, excluded.epoch)"
        )
        self._state.execute(statement, (did, epoch))

    def revoke(self, did: str) -> None:
        """Forget a device for good."""
        remove_verifiers(self._keys, [did])

    def count(self) -> int:
        """Return how many devices there are."""
        return int(self._keys.execute("SELECT COUNT(DISTINCT did) FROM verifiers").fetchone()[0])

    def close(self) -> None:
        self._keys.close()
        self._state.close()


def open_verifiers(folder: Path) -> sqlite3.Connection:
    """Return a connection to a bundle's verifiers; the file is made when it is not there."""
    return open_database(folder / VERIFIERS_FILE, _VERIFIERS)


def put_verifiers(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Add or replace verifiers in one transaction."""
    with transaction(connection):
        connection.executemany("INSERT OR REPLACE INTO verifiers VALUES (?, ?, ?, ?)", rows)


def remove_verifiers(connection: sqlite3.Connection, dids: Iterable[str]) -> None:
    """Remove every verifier of some devices in one transaction."""
    with transaction(connection):
        connection.executemany("DELETE FROM verifiers WHERE did = ?", ((did,) for did in dids))


def keep_generations(connection: sqlite3.Connection, key_ids: Iterable[int]) -> None:
    """Remove the verifiers of generations that are void."""
    live = list(key_ids)
    marks = ",".join("?" * len(live))
    with transaction(connection):
        connection.execute(f"DELETE FROM verifiers WHERE key_id NOT IN ({marks})", live)
