"""X25519 in slices between other work: the shared secret of a handshake, and the key pair of the next one ahead of
need. Transient, group "handshake".
"""

import asyncio

from upeer.base.compat import const
from upeer.crypto.aead import random_bytes
from upeer.crypto.x25519 import BASE, Ladder

_STEPS = const(6)  # about 15 ms on an ESP32
_PAUSE_MS = const(10)  # between two looks whether a shared secret is done

_under_way = [0]  # shared secrets that a client waits for


async def multiply(private: bytes, public: bytes) -> bytes:
    """Return the product (32 bytes); CryptoError for a worthless public key."""
    ladder = Ladder(private, public)
    _under_way[0] += 1
    try:
        while not ladder.step(_STEPS):
            await asyncio.sleep_ms(0)
    finally:
        _under_way[0] -= 1
    return ladder.result()


async def add_key_pair(agent) -> None:
    """Make one of the agent's key pairs; shared secrets go first. Beside a session only if an invite waits for it."""
    private = random_bytes(32)
    ladder = Ladder(private, BASE)
    while not ladder.step(_STEPS):
        await asyncio.sleep_ms(0)
        while _under_way[0]:
            await asyncio.sleep_ms(_PAUSE_MS)
        if agent.endpoint.sessions and not agent.is_key_awaited:
            return  # the room and time are the session's
    agent.is_key_awaited = False
    agent.key_pairs.append((private, ladder.result()))
