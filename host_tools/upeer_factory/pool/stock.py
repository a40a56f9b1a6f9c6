"""What the office does with a pool: make it, fill it, take out what was burned.

Import takes the office's sealed export (`upeer_office.exchange`), or a vendor's CSV: a header with the columns did,
licence_key, setup_code (hex) and, if wanted, expires (Unix seconds), and at its end the line `# sha256 <hex>` over
everything before it. All of a file is taken or nothing.
"""

import csv
import hashlib
import io
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from upeer_factory.errors import POOL_DATA, POOL_DOWN, FactoryError
from upeer_factory.pool import audit
from upeer_factory.pool.audit import Actor
from upeer_factory.pool.keys import OfficeSeal, StationKey
from upeer_factory.pool.platform_keys import platform_fields, write_platform
from upeer_factory.pool.pool import Pool
from upeer_factory.pool.sql import Database, Row, Transaction, is_duplicate
from upeer_office import exchange, names
from upeer_office.errors import OfficeError
from upeer_office.licences import Licence
from upeer_office.platforms import Platform

_CHUNK = 500
_COLUMNS = "did, state, mac, batch, mark, sealed, office_sealed, expires"
_KEY_SIZE = 32


def create_pool(url: str, key: StationKey, office_public: bytes, platform: Platform, actor: Actor) -> Pool:
    """Make a pool with a platform's keys; FactoryError when there is one already."""
    database = Database(url)
    database.create()

    def work(tx: Transaction) -> None:
        if tx.row("SELECT 1 FROM head") is not None:
            raise FactoryError(POOL_DOWN, f"there is a pool in {url} already", "choose another place")
        values = (audit.FIRST_HASH, key.check, office_public)
        tx.change("INSERT INTO head VALUES (1, 0, ?, 0, 0, 0, 0, ?, ?)", *values)
        write_platform(tx, key, platform_fields(platform))
        audit.append(tx, key, actor, "pool made", key_id=platform.current.key_id)

    database.run(work)
    return Pool(database, key, actor)


def set_platform(pool: Pool, platform: Platform, prefix: str | None = None) -> None:
    """Give the pool a platform's keys as they are now: after a rotation, or for another vendor prefix."""

    def work(tx: Transaction) -> None:
        write_platform(tx, pool.key, platform_fields(platform), prefix)
        pool.append(tx, "platform keys", key_id=platform.current.key_id, prefix=prefix)

    pool.database.run(work)


def read_file(path: Path, passphrase: str | None = None) -> list[Licence]:
    """Return the licences of a vendor's CSV, or of an office's export with its passphrase."""
    if is_sealed(path):
        return exchange.import_licences(path, passphrase or "")
    return parse_vendor_file(path.read_bytes(), path.name)


def is_sealed(path: Path) -> bool:
    """Tell whether a file is the office's export, which needs a passphrase."""
    with path.open("rb") as file:
        return file.read(64).lstrip().startswith(b"{")


def parse_vendor_file(data: bytes, name: str) -> list[Licence]:
    """Return the licences of a vendor's CSV; FactoryError names the line and never quotes it."""
    body, mark, last = data.rpartition(b"# sha256 ")
    if not mark:
        raise FactoryError(POOL_DATA, f"{name} has no checksum line", "ask the vendor for the whole file")
    if hashlib.sha256(body).hexdigest() != last.decode("ascii", "replace").strip().lower():
        raise FactoryError(POOL_DATA, f"{name} is damaged: its checksum does not fit", "ask the vendor for it again")
    reader = csv.DictReader(io.StringIO(body.decode("utf-8-sig", "replace")))
    if not {"did", "licence_key", "setup_code"} <= set(reader.fieldnames or ()):
        raise FactoryError(POOL_DATA, f"{name} lacks a column", "it needs did, licence_key and setup_code")
    licences = []
    for number, row in enumerate(reader, 2):
        try:
            licences.append(_vendor_licence(row))
        except (ValueError, TypeError, AttributeError, OfficeError) as error:
            raise FactoryError(POOL_DATA, f"{name}, line {number}: no licence", "ask the vendor") from error
    return licences


def import_licences(pool: Pool, licences: Sequence[Licence], source: str, sha256: str) -> int:
    """Add licences to the pool as free ones, all or none; return how many. `sha256` is the file's."""
    if not licences:
        raise FactoryError(POOL_DATA, f"{source} holds no licence", "nothing was imported")
    bad = next((item.did for item in licences if item.state != "valid"), None)
    if bad:
        raise FactoryError(POOL_DATA, f"{bad} in {source} is revoked or expired", "nothing was imported")
    dids = {item.did for item in licences}
    if len(dids) != len(licences):
        raise FactoryError(POOL_DATA, f"{source} holds a DID twice", "nothing was imported")
    return pool.database.run(lambda tx: _import(tx, pool, licences, (source, sha256)))


def export_burned(pool: Pool, licences: Iterable[Licence], out: Path, passphrase: str) -> int:
    """Write licences to a file sealed under a passphrase, for `upeer licence import`; return how many."""
    count = exchange.export_licences(out, licences, passphrase)
    pool.note("exported", count=count)
    return count


def file_digest(path: Path) -> str:
    """Return a file's SHA-256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _import(tx: Transaction, pool: Pool, licences: Sequence[Licence], source: tuple[str, str]) -> int:
    office_public = tx.row("SELECT office_public FROM head")
    assert office_public is not None
    if tx.row("SELECT 1 FROM batches WHERE sha256 = ?", source[1]):
        raise FactoryError(POOL_DATA, f"{source[0]} was imported before", "nothing was imported")
    _refuse_known(tx, [item.did for item in licences])
    seal = OfficeSeal(bytes(office_public[0]))
    found = tx.row("SELECT COALESCE(MAX(batch), 0) + 1 FROM batches")
    assert found is not None
    tx.change("INSERT INTO batches VALUES (?, ?, ?)", found[0], source[1], seal.public)
    statement = f"INSERT INTO licences ({_COLUMNS}) VALUES (?, 'free', NULL, ?, ?, ?, ?, ?)"
    try:
        tx.change_many(statement, _rows(pool.key, seal, found[0], licences))
    except Exception as error:
        if is_duplicate(error):
            text = f"{source[0]} holds a licence key twice, or one that the pool has"
            raise FactoryError(POOL_DATA, text, "nothing was imported") from error
        raise
    tx.change("UPDATE head SET free = free + ?", len(licences))
    pool.append(tx, "imported", count=len(licences), source=source[0], sha256=source[1], batch=found[0])
    return len(licences)


def _refuse_known(tx: Transaction, dids: list[str]) -> None:
    known = []
    for at in range(0, len(dids), _CHUNK):
        chunk = dids[at : at + _CHUNK]
        marks = ", ".join("?" * len(chunk))
        known += [row[0] for row in tx.rows(f"SELECT did FROM licences WHERE did IN ({marks})", *chunk)]
    if known:
        text = f"{len(known)} of {len(dids)} licences, such as {known[0]}, are in the pool already"
        raise FactoryError(POOL_DATA, text, "nothing was imported")


def _rows(key: StationKey, seal: OfficeSeal, batch: int, licences: Iterable[Licence]) -> Iterator[Row]:
    for item in licences:
        secret = item.licence_key + item.setup_code
        mark = key.mark(item.licence_key)
        yield item.did, batch, mark, key.seal(item.did, secret), seal.seal(item.did, secret), item.expires


def _vendor_licence(row: dict[str, str]) -> Licence:
    names.parse_did(row["did"])
    key, code = bytes.fromhex(row["licence_key"]), bytes.fromhex(row["setup_code"])
    if len(key) != _KEY_SIZE or len(code) != names.SETUP_CODE_SIZE or not any(key) or not any(code):
        raise ValueError
    expires = int(row["expires"]) if row.get("expires") else None
    return Licence(row["did"], names.licence_code(key), int(time.time()), expires, None, key, code)
