"""Proves to the production line that this board holds its licence. Loaded on request only, through the raw REPL.

    tag = HMAC-SHA256(derive(licence key, "factory proof"), nonce (32 bytes) | MAC (6 bytes) | DID)
The licence key stays where it is. The label keeps these tags apart from every login and session.
"""

import json

import machine

from device.fctry import load
from upeer.crypto.aead import Hmac, derive

_NONCE_SIZE = 32


def prove(nonce: bytes) -> str:
    """Return {"did", "mac", "tag", "faults"} as JSON, or {"error": what to do}; `nonce` is 32 bytes of the host's."""
    try:
        if len(nonce) != _NONCE_SIZE:
            raise ValueError("the nonce must have 32 bytes")
        record, _, faults = load()
    except ValueError as error:
        return json.dumps({"error": str(error)})
    mac = machine.unique_id()
    tag = Hmac(derive(record["licence_key"], b"factory proof")).digest(nonce, mac, record["did"].encode())
    return json.dumps({"did": record["did"], "mac": mac.hex(), "tag": tag.hex(), "faults": faults})
