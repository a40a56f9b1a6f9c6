"""What a device keeps in NVS beyond its licence record: newer platform keys, the login epoch, flags. Paired clients:
`pairing`.
"""

import asyncio
import os

from upeer.base.compat import const
from upeer.base.errors import LocalError

_KEY_SIZE = const(32)
_EPOCH_STEP = const(65536)
_PAIRING = const(1)  # of the flags of LOGIN
_SHARES = const(2)
_WIFI = "/wifi.json"


def open_store(identity):
    """Return the sealed store of this device."""
    from device.store import Store

    return Store(identity.licence_key, counters=identity.counters)


def recall(identity, record: dict) -> None:
    """Fill in what is stored; `record` is that of `fctry`."""
    store = open_store(identity)
    if "previous_key_id" in record:
        identity.p2p_keys[record["previous_key_id"]] = record["previous_p2p_key"]
    take_keys(identity, record["key_id"], record["crc_key"], record["p2p_key"])
    newer = store.get("keys")
    if newer:
        end = 1 + 2 * _KEY_SIZE
        identity.p2p_keys = {newer[end]: newer[end + 1 :]}
        take_keys(identity, newer[0], newer[1 : 1 + _KEY_SIZE], newer[1 + _KEY_SIZE : end])
    identity.saved_pairs = store.get("pairs")
    if store.get("share") == b"\x01":
        identity.flags = _SHARES
    set_pairing(identity, not identity.saved_pairs or bool(identity.saved_pairs[0]))


def take_keys(identity, key_id: int, crc_key: bytes, p2p_key: bytes) -> None:
    """Let these be the platform's keys from now on; nothing is stored."""
    identity.key_id = key_id
    identity.crc_key = crc_key
    identity.p2p_key = p2p_key
    identity.p2p_keys[key_id] = p2p_key


def set_pairing(identity, is_open: bool) -> None:
    """Let the flags of a login tell whether one more client may pair by setup code."""
    identity.flags = identity.flags & _SHARES | (_PAIRING if is_open else 0)


def next_epoch(identity, last: int = 0) -> int:
    """Return a login epoch that was never used before.

    With `last`, which a server has seen, go on above that, as far as one step may lead: a server that lies cannot use
    the numbers up.
    """
    store = open_store(identity)
    epoch = store.next_counter("epoch")
    if last:
        store.raise_counter("epoch", min(last, epoch + _EPOCH_STEP))
    return epoch


def set_keys(identity, key_id: int, crc_key: bytes, p2p_key: bytes) -> bool:
    """Store a new generation of platform keys, with the P2PKey before it, and use it; False when it is in use."""
    if key_id == identity.key_id:
        return False
    before = bytes((identity.key_id,)) + identity.p2p_key
    open_store(identity).set("keys", bytes((key_id,)) + crc_key + p2p_key + before)
    identity.p2p_keys = {identity.key_id: identity.p2p_key}
    take_keys(identity, key_id, crc_key, p2p_key)
    return True


async def store_pairs(identity, changed: tuple) -> None:
    """Store what `pairing.change_pairs` returned. LocalError if another change came first, which it would undo."""
    before, saved, is_open = changed
    store = open_store(identity)
    store.announce("pairs")
    await asyncio.sleep_ms(0)
    if identity.saved_pairs is not before:
        raise LocalError("another client is pairing, try again")
    store.set("pairs", saved)
    identity.saved_pairs = saved
    set_pairing(identity, is_open)


async def credentials(identity) -> tuple:
    """Return (ssid, password) as they are stored; a development network in /wifi.json is stored first.

    ValueError, one line that says what to do, when there is none.
    """
    import json

    store = open_store(identity)
    try:
        with open(_WIFI) as file:
            found = json.load(file)
    except OSError:
        found = None  # none there
    await asyncio.sleep_ms(0)
    if found:
        store.set("wifi", json.dumps([found["ssid"], found["password"] or ""]).encode())
        await asyncio.sleep_ms(0)
        os.remove(_WIFI)  # only now: it is stored
        await asyncio.sleep_ms(0)
    saved = store.get("wifi")
    if not saved:
        raise ValueError("no network stored: build the image with --wifi, or provision the device")
    return tuple(json.loads(saved))


def share_bandwidth(identity, on: int) -> None:
    """Store whether this device may serve as a relay."""
    open_store(identity).set("share", b"\x01" if on else b"\x00")
    identity.flags = identity.flags & _PAIRING | (_SHARES if on else 0)
