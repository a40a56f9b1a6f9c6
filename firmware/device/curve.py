"""X25519 in slices between other work: the shared secret of a handshake, and the key pair of the next one ahead of
need. Transient, group "handshake".
"""

import asyncio
import gc

from device.heap import collect, free_bytes, limit_garbage
from upeer.base.compat import const
from upeer.crypto.aead import random_bytes
from upeer.crypto.x25519 import BASE, Ladder

_STEPS = const(7)  # a slice, about 20 ms on an ESP32 at 160 MHz
_FEW_STEPS = const(4)  # as long, when each number looks for its room at all that lives
_STEP_GARBAGE = const(1984)  # bytes of a step
_MOST_SLICES = const(2)  # between two collections
_HOLES = const(112)  # a fourth of those of a heap that are too small for a number
_FILLING = const(7168)  # bytes in all of them
_MOST_GARBAGE = const(_FILLING + _MOST_SLICES * _STEPS * _STEP_GARBAGE + 2048)  # with 2 KB of others
_PAUSE_MS = const(10)  # between two looks whether a shared secret is done

_under_way = [0]  # shared secrets that a client waits for


def _climb(ladder):
    """Do a curve operation; yield between its slices.

    MicroPython looks for room from the first hole of its heap on, and a number wants two blocks or more: after each
    collection it would look at all that lives, for every number. So garbage is collected between slices, as seldom as
    there is room for, and small objects fill the holes; where there is no room for these, slices are short. How much
    room there is is looked at each time: what a session receives meanwhile takes of it.
    """
    free = collect()
    slices = steps = limit = 0  # slices until the next collection, steps of each; gc.threshold for them
    while True:
        yield
        if limit and (not slices or gc.threshold() != limit):  # others set it: a slice would be full of collections
            slices = 0
            gc.collect()
            free = free_bytes()
            yield
        if not slices:
            slices, steps = _plan(free)
            if steps == _STEPS:
                _fill_holes(object)
                yield
            limit_garbage(free, _MOST_GARBAGE)  # as the last thing before the slice
            limit = gc.threshold()
        slices -= 1
        if ladder.step(steps):
            break
    yield
    collect()


def _plan(free: int) -> tuple:
    """Decide from the bytes free after a collection: (slices until the next one, steps of each)."""
    slices = (free - _FILLING) // (_STEPS * _STEP_GARBAGE)
    if slices > 0:
        return min(slices, _MOST_SLICES), _STEPS
    return 1, max(1, min(free // _STEP_GARBAGE, _FEW_STEPS))


def _fill_holes(make) -> None:
    for _ in range(_HOLES):
        make()
        make()
        make()
        make()


async def multiply(private: bytes, public: bytes) -> bytes:
    """Return the product (32 bytes); CryptoError for a worthless public key."""
    ladder = Ladder(private, public)
    _under_way[0] += 1
    try:
        await asyncio.sleep_ms(0)
        for _ in _climb(ladder):
            await asyncio.sleep_ms(0)
        await asyncio.sleep_ms(0)
        return ladder.result()
    finally:
        _under_way[0] -= 1


async def add_key_pair(agent) -> None:
    """Make one of the agent's key pairs; shared secrets go first. Beside a session only if an invite waits for it."""
    private = random_bytes(32)
    ladder = Ladder(private, BASE)
    for _ in _climb(ladder):
        await asyncio.sleep_ms(0)
        while _under_way[0]:
            await asyncio.sleep_ms(_PAUSE_MS)
        if agent.endpoint.sessions and not agent.is_key_awaited:
            return  # the room and time are the session's
    await asyncio.sleep_ms(0)
    agent.is_key_awaited = False
    agent.key_pairs.append((private, ladder.result()))
