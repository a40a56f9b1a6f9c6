"""A world of its own in virtual time for one program: the soak, the chip's model."""

import asyncio
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from lockstep import LockstepBoard
from virtual_time import Clock, Network, VirtualLoop, seed_entropy
from world import World

_UNIX_S = 1_790_000_000
_DELAY_MS = 10  # one way

Result = TypeVar("Result")


def run_in_world(seed: int, work: Callable[[World], Coroutine[Any, Any, Result]], make_board: Any = None) -> Result:
    """Run work(world) in this process, whose time and entropy are virtual from now on; return what it returns.

    `make_board` makes the device of the world, if it is not one on 32 bits in lockstep.
    """
    seed_entropy(seed)
    clock = Clock(_UNIX_S)
    clock.install()
    network = Network(clock, _DELAY_MS)
    loop = VirtualLoop(clock, network)
    asyncio.set_event_loop(loop)
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), loop, network, seed, make_board or LockstepBoard)
        with world.board:
            return loop.run_until_complete(work(world))
