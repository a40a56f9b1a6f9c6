"""The licence office: `licences.db` in the platform's folder. Licence keys and setup codes are sealed
under the office key.

A change is committed here first, with `published` = 0, then carried into the masters' bundles; what a crash left
unpublished is caught up by the next command.
"""

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from upeer.base.errors import CryptoError
from upeer.crypto.aead import Aead, derive
from upeer_office import names
from upeer_office.database import open_database, transaction
from upeer_office.errors import AUTHENTICATION, INTEGRITY, UNREACHABLE, USAGE, OfficeError
from upeer_office.platforms import Platform, load_platform, read_office_key
from upeer_office.verifiers import Row, keep_generations, open_verifiers, put_verifiers, remove_verifiers

LICENCES_FILE = "licences.db"
_BATCH = 5000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS licences (
    did TEXT PRIMARY KEY, prefix TEXT NOT NULL, serial INTEGER NOT NULL, code TEXT NOT NULL, sealed BLOB NOT NULL,
    issued INTEGER NOT NULL, expires INTEGER, revoked INTEGER, published INTEGER NOT NULL DEFAULT 0,
    UNIQUE (prefix, serial)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS unpublished ON licences (did) WHERE published = 0;
CREATE TABLE IF NOT EXISTS serials (prefix TEXT PRIMARY KEY, next INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS office (one INTEGER PRIMARY KEY CHECK (one = 1), key_check BLOB NOT NULL);
"""
_COLUMNS = "did, code, sealed, issued, expires, revoked"

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Licence:
    """One licence; times are Unix seconds, `expires` and `revoked` None for never."""

    did: str
    code: str
    issued: int
    expires: int | None
    revoked: int | None
    licence_key: bytes = field(repr=False)
    setup_code: bytes = field(repr=False)

    @property
    def state(self) -> str:
        return state(self.expires, self.revoked)


def state(expires: int | None, revoked: int | None) -> str:
    """Return "valid", "expired" or "revoked"."""
    if revoked is not None:
        return "revoked"
    return "expired" if expires is not None and expires <= time.time() else "valid"


class Office:
    """The licences of one platform. One writer at a time: callers that change anything hold `files.locked(folder)`."""

    def __init__(self, platform: Platform, office_key: bytes) -> None:
        self.platform = platform
        self._aead = Aead(office_key)
        self._database = open_database(platform.folder / LICENCES_FILE, _SCHEMA)
        self._check_key(derive(office_key, b"key check", size=16))

    @classmethod
    def open(cls, folder: Path, office_key_file: Path | None = None) -> "Office":
        """Open the office in a platform's folder."""
        return cls(load_platform(folder), read_office_key(folder, office_key_file))

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> "Office":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def issue(self, count: int = 1, prefix: str | None = None, expires: int | None = None) -> list[str]:
        """Make licences, publish them to the bundles and return their ID forms; all of them or none."""
        prefix = names.check_prefix(prefix or self.platform.prefix)
        with transaction(self._database):
            first = self._take_serials(prefix, count)
            made = [self._new_licence(prefix, serial, expires) for serial in range(first, first + count)]
            self._insert(made)
        self.publish()
        return [names.make_id(licence.did, licence.code) for licence in made]

    def show(self, text: str) -> Licence:
        """Return the licence of a DID or an ID form; OfficeError if it is unknown or the licence code does not fit."""
        did, code = names.parse_id(text)
        row = self._database.execute(f"SELECT {_COLUMNS} FROM licences WHERE did = ?", (did,)).fetchone()
        if row is None:
            raise OfficeError(f"no licence was issued for {did}", "see 'upeer licence list'", UNREACHABLE)
        if code is not None and code != row[1]:
            raise OfficeError(f"{code} is not the licence code of {did}", "compare it with the label", AUTHENTICATION)
        return self._opened(row)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield did, code, issued, expires, revoked and state of every licence, without its secrets."""
        query = "SELECT did, code, issued, expires, revoked FROM licences ORDER BY prefix, serial"
        for did, code, issued, expires, revoked in self._database.execute(query):
            row = {"did": did, "code": code, "issued": issued, "expires": expires, "revoked": revoked}
            yield row | {"state": state(expires, revoked)}

    def all(self, dids: Iterable[str] | None = None) -> Iterator[Licence]:
        """Yield the given licences, or every one, with their secrets."""
        if dids is not None:
            yield from (self.show(did) for did in dids)
            return
        for row in self._database.execute(f"SELECT {_COLUMNS} FROM licences ORDER BY prefix, serial"):
            yield self._opened(row)

    def revoke(self, text: str) -> str:
        """Revoke a licence for good and publish it; return the DID. Revoking it twice changes nothing."""
        did = self.show(text).did
        with transaction(self._database):
            statement = "UPDATE licences SET revoked = COALESCE(revoked, ?), published = 0 WHERE did = ?"
            self._database.execute(statement, (int(time.time()), did))
        self.publish()
        return did

    def add(self, licences: Iterable[Licence], skip_existing: bool = False) -> int:
        """Take in licences from another office, publish them, return how many; OfficeError if one is here already."""
        added = list(licences)
        with transaction(self._database):
            known = [licence.did for licence in added if self._is_known(licence.did)]
            if known and not skip_existing:
                message = (
                    f"{len(known)} of {len(added)} licences, such as {known[0]}, are here already; nothing was imported"
                )
                raise OfficeError(message, "add --skip-existing to import only the others")
            skip = set(known)
            added = [licence for licence in added if licence.did not in skip]
            self._insert(added)
            for licence in added:
                prefix, serial = names.parse_did(licence.did)
                statement = (
                    "INSERT INTO serials VALUES (?, ?) ON CONFLICT DO UPDATE SET next = MAX(next, excluded.next)"
                )
                self._database.execute(statement, (prefix, serial + 1))
        self.publish()
        return len(added)

    def publish(self) -> None:
        """Carry every licence that changed into the bundles of all masters."""
        while True:
            query = f"SELECT {_COLUMNS} FROM licences WHERE published = 0 LIMIT {_BATCH}"
            rows = self._database.execute(query).fetchall()
            if not rows:
                return
            gone = [row[0] for row in rows if row[5] is not None]
            valid = [self._opened(row) for row in rows if row[5] is None]
            for master in self.platform.masters:
                with closing(open_verifiers(self.platform.folder / f"master-{master.id}")) as verifiers:
                    remove_verifiers(verifiers, gone)
                    put_verifiers(verifiers, self._verifiers(valid, master.id))
            with transaction(self._database):
                self._database.executemany(
                    "UPDATE licences SET published = 1 WHERE did = ?", [(row[0],) for row in rows]
                )

    def unpublish(self) -> None:
        """Mark every licence as not published; done before the generations change, so that a crash is caught up."""
        with transaction(self._database):
            self._database.execute("UPDATE licences SET published = 0")

    def drop_void_verifiers(self) -> None:
        """Remove the verifiers of generations that are void."""
        for master in self.platform.masters:
            with closing(open_verifiers(self.platform.folder / f"master-{master.id}")) as verifiers:
                keep_generations(verifiers, [generation.key_id for generation in self.platform.generations])

    def device_record(self, text: str) -> dict[str, Any]:
        """Return what the factory burns into the device with a DID: the fields of `device.fctry`."""
        licence = self.show(text)
        if licence.state != "valid":
            raise OfficeError(f"the licence of {licence.did} is {licence.state}", "issue a new one", AUTHENTICATION)
        current, *before = self.platform.generations
        record: dict[str, Any] = {"did": licence.did, "licence_key": licence.licence_key, "key_id": current.key_id}
        record |= {"crc_key": current.crc_key, "p2p_key": current.p2p_key, "init_string": current.device_init}
        record["setup_code"] = licence.setup_code
        for old in before:
            record["previous_key_id"] = old.key_id
            record |= {"previous_crc_key": old.crc_key, "previous_p2p_key": old.p2p_key}
        return record

    def _check_key(self, check: bytes) -> None:
        """Refuse another office key than the first: licences under two keys would be lost with either."""
        self._database.execute("INSERT OR IGNORE INTO office VALUES (1, ?)", (check,))
        if self._database.execute("SELECT key_check FROM office").fetchone()[0] != check:
            self.close()
            raise OfficeError("this is not the office key of this platform", "name the right file", AUTHENTICATION)

    def _take_serials(self, prefix: str, count: int) -> int:
        if count < 1:
            raise OfficeError("nothing to issue", "give a count of at least 1", USAGE)
        row = self._database.execute("SELECT next FROM serials WHERE prefix = ?", (prefix,)).fetchone()
        first = int(row[0]) if row else 1
        if first + count - 1 > names.LAST_SERIAL:
            left = names.LAST_SERIAL - first + 1
            raise OfficeError(
                f"prefix {prefix} has {left} serial numbers left", "issue the rest under another --prefix"
            )
        self._database.execute("INSERT OR REPLACE INTO serials VALUES (?, ?)", (prefix, first + count))
        return first

    def _new_licence(self, prefix: str, serial: int, expires: int | None) -> Licence:
        key = secrets.token_bytes(32)
        did = names.make_did(prefix, serial)
        setup_code = secrets.token_bytes(names.SETUP_CODE_SIZE)
        return Licence(did, names.licence_code(key), int(time.time()), expires, None, key, setup_code)

    def _insert(self, licences: Iterable[Licence]) -> None:
        self._database.executemany("INSERT INTO licences VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)", map(self._row, licences))

    def _row(self, licence: Licence) -> tuple[Any, ...]:
        nonce = secrets.randbits(128)
        sealed = self._aead.seal(nonce, licence.licence_key + licence.setup_code, licence.did.encode())
        prefix, serial = names.parse_did(licence.did)
        return licence.did, prefix, serial, licence.code, sealed, licence.issued, licence.expires, licence.revoked

    def _is_known(self, did: str) -> bool:
        return self._database.execute("SELECT 1 FROM licences WHERE did = ?", (did,)).fetchone() is not None

    def _opened(self, row: tuple[Any, ...]) -> Licence:
        did, code, sealed, issued, expires, revoked = row
        try:
            secret = self._aead.open(sealed, did.encode())
        except CryptoError as error:
            message = f"the licence of {did} is damaged"
            raise OfficeError(message, "take licences.db from a backup", INTEGRITY) from error
        return Licence(did, code, issued, expires, revoked, secret[:32], secret[32:])

    def _verifiers(self, licences: Iterable[Licence], master_id: int) -> Iterator[Row]:
        master = bytes([master_id])
        for licence in licences:
            for generation in self.platform.generations:
                login_key = derive(licence.licence_key, b"login", generation.crc_key, licence.did.encode(), master)
                yield licence.did, generation.key_id, login_key, licence.expires


def device_record(platform_dir: str | Path, did: str, office_key_file: str | Path | None = None) -> dict[str, Any]:
    """Return a device's fctry record: did, licence_key, key_id, crc_key, p2p_key, init_string, setup_code (10 B)."""
    with Office.open(Path(platform_dir), Path(office_key_file) if office_key_file else None) as office:
        return office.device_record(did)
