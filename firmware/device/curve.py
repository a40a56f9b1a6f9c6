"""X25519 in slices between other work: the shared secret of a handshake, and the key pair of the next one ahead of
need.
"""

import asyncio

from upeer.base.compat import const
from upeer.crypto.aead import random_bytes
from upeer.crypto.x25519 import BASE, Ladder

_LADDER_STEPS = const(6)  # about 7 ms on an ESP32


async def multiply(private: bytes, public: bytes) -> bytes:
    """Return the product (32 bytes); CryptoError for a worthless public key."""
    ladder = Ladder(private, public)
    while not ladder.step(_LADDER_STEPS):
        await asyncio.sleep_ms(0)
    return ladder.result()


async def make_ephemeral(agent) -> None:
    """Make the key pair of the next handshake."""
    private = random_bytes(32)
    agent.endpoint.ephemeral = (private, await multiply(private, BASE))
