"""X25519 in slices between other work: the shared secret of a handshake, and the key pair of the next one ahead of
need. Transient, group "handshake".
"""

import asyncio

from upeer.base.compat import const
from upeer.crypto.aead import random_bytes
from upeer.crypto.x25519 import BASE, Ladder

_STEPS = const(6)  # about 15 ms on an ESP32
_PAUSE_MS = const(10)  # what sessions get between two slices of a key pair that nobody waits for
_QUIET = const(5)  # so many pauses without a datagram, longer than most round trips, and a slice is in nobody's way
_PAUSES = const(40)  # after so many it comes anyway

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
    """Make one of the agent's key pairs; shared secrets go first, sessions too unless an invite waits for it."""
    private = random_bytes(32)
    ladder = Ladder(private, BASE)
    while not ladder.step(_STEPS):
        await _give_way(agent)
    agent.is_key_awaited = False
    agent.key_pairs.append((private, ladder.result()))


async def _give_way(agent) -> None:
    """Let go first what is more urgent than a key pair: a slice is 20 ms, and its garbage a collection."""
    quiet = 0
    for _ in range(_PAUSES):
        received = agent.received
        is_urgent = not _under_way[0] and (agent.is_key_awaited or not agent.endpoint.sessions)
        await asyncio.sleep_ms(0 if is_urgent else _PAUSE_MS)
        quiet = quiet + 1 if agent.received == received else 0
        if is_urgent or quiet == _QUIET:
            return
