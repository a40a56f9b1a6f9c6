"""SQLite as the office and the masters use it: WAL, explicit transactions, private files."""

import sqlite3
from pathlib import Path

from upeer_office import files
from upeer_office.errors import OfficeError


class transaction:
    """`with transaction(connection):` from BEGIN IMMEDIATE to COMMIT, or ROLLBACK when it raises."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        self._connection.execute("ROLLBACK" if kind else "COMMIT")


def open_database(path: Path, schema: str, synchronous: str = "FULL") -> sqlite3.Connection:
    """Return a connection in WAL mode, no implicit transactions; the file is private, deleted rows are overwritten."""
    files.touch_private_file(path)
    connection = sqlite3.connect(path, timeout=10, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA secure_delete = ON")
        connection.executescript(schema)
    except sqlite3.Error as error:
        connection.close()
        hint = "check the disk's free space and who else uses it; if it is damaged, take it from a backup"
        raise OfficeError(f"{path} cannot be used: {error}", hint) from error
    return connection
