"""SQLite on one host, PostgreSQL for a factory: one door, the same statements behind it.

Statements use `?`; only this module knows the differences: types, `FOR UPDATE`, how a lost connection looks. Every
transaction begins by locking the one row of `head`, so transactions follow each other whatever the number of stations:
the audit chain needs that anyway. SQLite locks the file (BEGIN IMMEDIATE), PostgreSQL the row.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from upeer_factory.errors import POOL_DOWN, FactoryError
from upeer_office.files import make_private_folder, touch_private_file

POOL_FILE = "pool.db"
_BUSY_S = 30
_ATTEMPTS = 3
_PAGE = 2000
_POSTGRES = ("postgresql://", "postgres://")
# A station that hangs inside a transaction must not stop the others; what is committed must be on the disk.
_POSTGRES_OPTIONS = (
    "-c synchronous_commit=on -c lock_timeout=30000 -c statement_timeout=600000 "
    "-c idle_in_transaction_session_timeout=60000 -c client_min_messages=warning"
)

SCHEMA = """
CREATE TABLE IF NOT EXISTS head (
    one INTEGER PRIMARY KEY CHECK (one = 1), number BIGINT NOT NULL, hash TEXT NOT NULL,
    free BIGINT NOT NULL, reserved BIGINT NOT NULL, burned BIGINT NOT NULL, scrapped BIGINT NOT NULL,
    key_check {blob} NOT NULL, office_public {blob} NOT NULL);
CREATE TABLE IF NOT EXISTS batches (
    batch BIGINT PRIMARY KEY, sha256 TEXT NOT NULL UNIQUE, public {blob} NOT NULL);
CREATE TABLE IF NOT EXISTS platforms (prefix TEXT PRIMARY KEY, sealed {blob} NOT NULL);
CREATE TABLE IF NOT EXISTS licences (
    did TEXT PRIMARY KEY, state TEXT NOT NULL CHECK (state IN ('free', 'reserved', 'burned', 'scrapped')), mac TEXT,
    batch BIGINT NOT NULL, mark {blob} NOT NULL, sealed {blob}, office_sealed {blob} NOT NULL, expires BIGINT,
    CHECK (state NOT IN ('reserved', 'burned') OR mac IS NOT NULL), CHECK (state <> 'free' OR mac IS NULL));
CREATE UNIQUE INDEX IF NOT EXISTS one_licence_per_board ON licences (mac) WHERE mac IS NOT NULL;
CREATE UNIQUE INDEX IF NOT EXISTS no_key_twice ON licences (mark);
CREATE INDEX IF NOT EXISTS free_licences ON licences (did) WHERE state = 'free';
CREATE TABLE IF NOT EXISTS audit (
    number BIGINT PRIMARY KEY, body TEXT NOT NULL, hash TEXT NOT NULL, tag TEXT NOT NULL, event TEXT NOT NULL,
    did TEXT);
CREATE INDEX IF NOT EXISTS audit_did ON audit (did, event) WHERE did IS NOT NULL;
CREATE TABLE IF NOT EXISTS outbox (
    url TEXT PRIMARY KEY, delivered BIGINT NOT NULL, attempts INTEGER NOT NULL, next_ms BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS parked (
    url TEXT NOT NULL, number BIGINT NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (url, number));
"""

_T = TypeVar("_T")
Row = tuple[Any, ...]


class Transaction:
    """What runs inside one transaction; statements with `?` in either dialect."""

    def __init__(self, cursor: Any, postgres: bool) -> None:
        self._cursor = cursor
        self._postgres = postgres

    def rows(self, statement: str, *values: Any) -> list[Row]:
        """Run a query, or a change with RETURNING; return its rows."""
        self._cursor.execute(self._dialect(statement), values)
        return [tuple(row) for row in self._cursor.fetchall()]

    def row(self, statement: str, *values: Any) -> Row | None:
        """Return the first row of a query, or None."""
        found = self.rows(statement, *values)
        return found[0] if found else None

    def change(self, statement: str, *values: Any) -> int:
        """Run a change; return how many rows it touched."""
        self._cursor.execute(self._dialect(statement), values)
        return int(self._cursor.rowcount)

    def change_many(self, statement: str, rows: Iterable[Row]) -> int:
        """Run a change for many rows; return how many it touched in all."""
        self._cursor.executemany(self._dialect(statement), rows)
        return int(self._cursor.rowcount)

    def pages(self, statement: str, first: Any) -> Iterator[Row]:
        """Yield the rows of a query `... WHERE key > ? ORDER BY key LIMIT ?` whose first column is the key."""
        while page := self.rows(statement, first, _PAGE):
            yield from page
            first = page[-1][0]

    def _dialect(self, statement: str) -> str:
        return statement.replace("?", "%s") if self._postgres else statement


class Database:
    """A connection, made again when it is lost. For any number of threads: they take turns."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_postgres = url.startswith(_POSTGRES)
        self._lock = threading.RLock()
        self._connection: Any = None

    def run(self, work: Callable[[Transaction], _T]) -> _T:
        """Return work(transaction), committed and on the disk; what it raises rolls everything back.

        When the connection is lost, work runs again on a new one: it must be one that may have happened already.
        """
        with self._lock:
            for attempt in range(_ATTEMPTS):
                try:
                    return self._once(work)
                except self._lost() as error:
                    self.close()
                    if attempt == _ATTEMPTS - 1:
                        raise FactoryError(POOL_DOWN, f"the licence pool does not answer: {_short(error)}") from error
                except Exception as error:
                    if is_pool_error(error) and not is_duplicate(error):
                        raise FactoryError(POOL_DOWN, f"the licence pool failed: {_short(error)}") from error
                    raise
        raise AssertionError

    def pages(self, statement: str, first: Any) -> Iterator[Row]:
        """Yield what Transaction.pages does, in a transaction per page: the line goes on meanwhile."""
        while True:
            last = first
            page = self.run(lambda tx, last=last: tx.rows(statement, last, _PAGE))  # type: ignore[misc]
            yield from page
            if len(page) < _PAGE:
                return
            first = page[-1][0]

    def create(self) -> None:
        """Make the tables in a database that has none."""
        if not self.is_postgres:
            make_private_folder(Path(self.url))
            touch_private_file(Path(self.url) / POOL_FILE)
        with self._lock:
            try:
                connection = self._connected()
                for statement in SCHEMA.format(blob="BYTEA" if self.is_postgres else "BLOB").split(";\n"):
                    if statement.strip():
                        connection.execute(statement)
            except self._lost() as error:
                raise FactoryError(POOL_DOWN, f"the licence pool cannot be made: {_short(error)}") from error

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _once(self, work: Callable[[Transaction], _T]) -> _T:
        with self._begun() as transaction:
            return work(transaction)

    @contextmanager
    def _begun(self) -> Iterator[Transaction]:
        connection = self._connected()
        cursor = connection.cursor()
        cursor.execute("BEGIN" if self.is_postgres else "BEGIN IMMEDIATE")
        try:
            if self.is_postgres:
                cursor.execute("SELECT one FROM head FOR UPDATE")
            yield Transaction(cursor, self.is_postgres)
        except BaseException:
            self._roll_back(connection)
            raise
        connection.execute("COMMIT")

    def _roll_back(self, connection: Any) -> None:
        try:
            connection.execute("ROLLBACK")
        except self._lost():
            self.close()

    def _connected(self) -> Any:
        if self._connection is None:
            self._connection = self._postgres() if self.is_postgres else self._sqlite()
        return self._connection

    def _sqlite(self) -> sqlite3.Connection:
        path = Path(self.url) / POOL_FILE
        if not path.is_file():
            raise FactoryError(POOL_DOWN, f"there is no licence pool in {self.url}", "make one with 'upeer pool init'")
        connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        for setting in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {setting}")
        return connection

    def _postgres(self) -> Any:
        psycopg = _psycopg()
        return psycopg.connect(
            self.url, autocommit=True, connect_timeout=5, options=_POSTGRES_OPTIONS, application_name="upeer"
        )

    def _lost(self) -> tuple[type[Exception], ...]:
        """Return the exceptions after which a new connection may help."""
        if not self.is_postgres:
            return (sqlite3.OperationalError,)
        psycopg = _psycopg()
        return (psycopg.OperationalError, psycopg.InterfaceError)


def is_duplicate(error: Exception) -> bool:
    """Tell whether an exception says that a UNIQUE index holds the value already."""
    return type(error).__name__ in ("IntegrityError", "UniqueViolation")


def is_pool_error(error: BaseException) -> bool:
    """Tell whether an exception comes from one of the two database libraries."""
    return type(error).__module__.split(".")[0] in ("sqlite3", "psycopg")


def check_url(url: str) -> str:
    """Return a pool's name, a folder or a postgresql:// address; no password may stand in it (argv is public)."""
    if url.startswith(_POSTGRES) and "@" in url and ":" in url.split("//", 1)[1].rsplit("@", 1)[0]:
        raise FactoryError(
            POOL_DOWN, "a password in the pool's address is seen by everybody", "put it into ~/.pgpass or PGPASSWORD"
        )
    return url


def _psycopg() -> Any:
    try:
        import psycopg
    except ImportError as error:
        raise FactoryError(
            POOL_DOWN, "a PostgreSQL pool needs psycopg", "install it with pip install 'upeer[factory]'"
        ) from error
    return psycopg


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
