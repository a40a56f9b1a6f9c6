"""The platform's keys in the pool: the part of a licence record that all boards of one vendor prefix share.

Sealed under the station key; written by the office, read for every board.
"""

import json
from typing import Any

from upeer_factory.errors import POOL_DATA, FactoryError
from upeer_factory.pool.keys import StationKey
from upeer_factory.pool.sql import Transaction
from upeer_office.platforms import Platform

_ANY = "*"
_BYTES = ("crc_key", "p2p_key", "previous_crc_key", "previous_p2p_key")


def platform_fields(platform: Platform) -> dict[str, Any]:
    """Return what every device of a platform is burned with."""
    current, *before = platform.generations
    fields: dict[str, Any] = {"key_id": current.key_id, "crc_key": current.crc_key, "p2p_key": current.p2p_key}
    fields["init_string"] = current.device_init
    for old in before:
        fields |= {"previous_key_id": old.key_id, "previous_crc_key": old.crc_key, "previous_p2p_key": old.p2p_key}
    return fields


def write_platform(tx: Transaction, key: StationKey, fields: dict[str, Any], prefix: str | None = None) -> None:
    """Store a platform's keys, for the licences of one prefix or for all that have none of their own."""
    plain = {name: value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}
    name = prefix or _ANY
    sealed = key.seal("platform " + name, json.dumps(plain).encode())
    tx.change("DELETE FROM platforms WHERE prefix = ?", name)
    tx.change("INSERT INTO platforms (prefix, sealed) VALUES (?, ?)", name, sealed)


def read_platform(tx: Transaction, key: StationKey, did: str) -> dict[str, Any]:
    """Return the platform's part of a DID's record."""
    for name in (did.partition("-")[0], _ANY):
        found = tx.row("SELECT sealed FROM platforms WHERE prefix = ?", name)
        if found is not None:
            plain = json.loads(key.open("platform " + name, bytes(found[0])))
            return {field: bytes.fromhex(value) if field in _BYTES else value for field, value in plain.items()}
    raise FactoryError(POOL_DATA, f"the pool has no platform keys for {did}", "run 'upeer pool platform'")
