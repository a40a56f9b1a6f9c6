"""What was written last onto which board: so that the next write of a new version sends changed sectors only.

A folder with flash.db (SQLite: the set of parts per MAC) and parts/<sha256>.bin. It is a cache: without it, or with a
wrong one, everything is still written right, for esptool compares MD5 sums with the flash itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from upeer_board.image import Part, write_file

_KEPT_SETS = 32
_SCHEMA = """
CREATE TABLE IF NOT EXISTS sets(id TEXT PRIMARY KEY, parts TEXT NOT NULL, used REAL NOT NULL);
CREATE TABLE IF NOT EXISTS boards(mac TEXT PRIMARY KEY, set_id TEXT NOT NULL, written REAL NOT NULL) WITHOUT ROWID;
"""


def default_folder() -> Path:
    """Return where the state of this user's stations lies: XDG's folder for state."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "upeer" / "flash"


class FlashState:
    """The last written parts of every board; safe for several stations on one host."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "parts").mkdir(parents=True, exist_ok=True)
        with self._open() as db:
            db.executescript(_SCHEMA)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._folder / "flash.db", timeout=30)) as db, db:
            yield db

    def add_parts(self, parts: Iterable[Part]) -> dict[int, Path]:
        """Keep the parts as files and return {offset: file}; they hold no secrets."""
        return {part.offset: self._add(part.data) for part in parts}

    def _add(self, data: bytes) -> Path:
        path = self._folder / "parts" / f"{hashlib.sha256(data).hexdigest()}.bin"
        if not path.is_file() or hashlib.sha256(path.read_bytes()).digest() != hashlib.sha256(data).digest():
            write_file(path, data)
        return path

    def written(self, mac: str, files: dict[int, Path]) -> None:
        """Remember what a board holds now."""
        text = json.dumps({str(offset): path.stem for offset, path in sorted(files.items())})
        set_id = hashlib.sha256(text.encode()).hexdigest()
        with self._open() as db:
            now = time.time()
            db.execute(
                "INSERT INTO sets VALUES(?,?,?) ON CONFLICT DO UPDATE SET used=excluded.used", (set_id, text, now)
            )
            db.execute(
                "INSERT INTO boards VALUES(?,?,?) ON CONFLICT DO UPDATE SET set_id=excluded.set_id, "
                "written=excluded.written",
                (mac, set_id, now),
            )

    def forget(self, mac: str) -> None:
        """Forget a board: what it holds is not known any more."""
        with self._open() as db:
            db.execute("DELETE FROM boards WHERE mac=?", (mac,))

    def last(self, mac: str) -> dict[int, Path]:
        """Return {offset: file} of what the board got last; empty if that is not known, or a file is gone."""
        with self._open() as db:
            row = db.execute("SELECT parts FROM boards JOIN sets ON set_id=id WHERE mac=?", (mac,)).fetchone()
        files = {int(offset): self._path(name) for offset, name in json.loads(row[0]).items()} if row else {}
        return files if all(path.is_file() for path in files.values()) else {}

    def has_other_than(self, files: dict[int, Path]) -> bool:
        """Tell whether any board got another set of parts than this: only then a comparison by MAC can pay."""
        text = json.dumps({str(offset): path.stem for offset, path in sorted(files.items())})
        with self._open() as db:
            return db.execute("SELECT 1 FROM sets WHERE parts<>? LIMIT 1", (text,)).fetchone() is not None

    def _path(self, name: str) -> Path:
        return self._folder / "parts" / f"{name}.bin"

    def prune(self) -> None:
        """Drop the sets that were not used for longest, and the files that only they had."""
        with self._open() as db:
            db.execute(
                "DELETE FROM sets WHERE id NOT IN (SELECT id FROM sets ORDER BY used DESC LIMIT ?)", (_KEPT_SETS,)
            )
            db.execute("DELETE FROM boards WHERE set_id NOT IN (SELECT id FROM sets)")
            kept = {name for (text,) in db.execute("SELECT parts FROM sets") for name in json.loads(text).values()}
        hour_ago = time.time() - 3600
        for path in (self._folder / "parts").glob("*.bin"):
            if path.stem not in kept and path.stat().st_mtime < hour_ago:
                path.unlink(missing_ok=True)
