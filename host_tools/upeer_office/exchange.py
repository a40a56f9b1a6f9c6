"""Moves licences from one office to another: a file sealed under a passphrase (scrypt), with a checksum of its own.

JSON: format, version, count, kdf (salt, n, r, p), checksum (SHA-256 of what is sealed), sealed (base64, a JSON list).
The checksum tells a damaged file from a wrong passphrase; only the AEAD proves anything.
"""

import base64
import binascii
import hashlib
import json
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from upeer.base.errors import CryptoError
from upeer.crypto.aead import Aead
from upeer_office import files, names
from upeer_office.errors import AUTHENTICATION, INTEGRITY, USAGE, OfficeError
from upeer_office.licences import Licence

MIN_PASSPHRASE = 10
_FORMAT = "upeer licences"
_SCRYPT = {"n": 2**16, "r": 8, "p": 1}
_MAX_N, _MAX_R, _MAX_P = 2**20, 16, 4  # 2 GiB at most: a file must not take the machine down


def export_licences(path: Path, licences: Iterable[Licence], passphrase: str) -> int:
    """Write licences to a new private file, sealed; return how many."""
    if len(passphrase) < MIN_PASSPHRASE:
        raise OfficeError("this passphrase is too short", f"choose one of at least {MIN_PASSPHRASE} characters", USAGE)
    records = [_record(licence) for licence in licences]
    kdf = {"salt": secrets.token_hex(16), **_SCRYPT}
    head: dict[str, Any] = {"format": _FORMAT, "version": 1, "count": len(records), "kdf": kdf}
    sealed = Aead(_key(passphrase, kdf)).seal(secrets.randbits(128), json.dumps(records).encode(), _bound(head))
    head["checksum"] = hashlib.sha256(sealed).hexdigest()
    head["sealed"] = base64.b64encode(sealed).decode()
    try:
        files.create_private_file(path, json.dumps(head).encode() + b"\n")
    except FileExistsError as error:
        raise OfficeError(f"{path} exists already", "choose another file") from error
    return len(records)


def import_licences(path: Path, passphrase: str) -> list[Licence]:
    """Return the licences in a file that `export_licences` wrote; OfficeError tells damage from a wrong passphrase."""
    document = files.read_json(path, _FORMAT)
    try:
        sealed = base64.b64decode(document["sealed"], validate=True)
        bound, kdf = _bound(document), document["kdf"]
        is_affordable = 2 <= kdf["n"] <= _MAX_N and 1 <= kdf["r"] <= _MAX_R and 1 <= kdf["p"] <= _MAX_P
        if hashlib.sha256(sealed).hexdigest() != document["checksum"] or not is_affordable:
            raise ValueError
        aead = Aead(_key(passphrase, kdf))
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise OfficeError(f"{path} is damaged", "export it again", INTEGRITY) from error
    try:
        records = json.loads(aead.open(sealed, bound))
    except CryptoError as error:
        raise OfficeError("the passphrase does not open this file", "try again", AUTHENTICATION) from error
    licences = [_licence(record) for record in records]
    if len({licence.did for licence in licences}) != document["count"]:
        raise OfficeError(f"{path} holds a licence twice", "export it again", INTEGRITY)
    return licences


def _key(passphrase: str, kdf: dict[str, Any]) -> bytes:
    scrypt = Scrypt(salt=bytes.fromhex(kdf["salt"]), length=32, n=kdf["n"], r=kdf["r"], p=kdf["p"])
    return scrypt.derive(passphrase.encode())


def _bound(head: dict[str, Any]) -> bytes:
    return json.dumps([head["format"], head["version"], head["count"], head["kdf"]], sort_keys=True).encode()


def _record(licence: Licence) -> dict[str, Any]:
    record: dict[str, Any] = {
        "did": licence.did,
        "licence_key": licence.licence_key.hex(),
        "setup_code": licence.setup_code.hex(),
    }
    return record | {"issued": licence.issued, "expires": licence.expires, "revoked": licence.revoked}


def _licence(record: dict[str, Any]) -> Licence:
    names.parse_did(record["did"])
    key, code = bytes.fromhex(record["licence_key"]), bytes.fromhex(record["setup_code"])
    if len(key) != 32 or len(code) != names.SETUP_CODE_SIZE:
        raise OfficeError(f"the licence of {record['did']} is damaged", "export it again", INTEGRITY)
    return Licence(
        record["did"], names.licence_code(key), record["issued"], record["expires"], record["revoked"], key, code
    )
