"""Times and rates of a device on the chip's model: a counted board, real servers and clients, all in virtual time.

`python tests/bench/chip_model.py [--start-only]` prints {figure: value} as JSON: it is a process of its own, for its
time is virtual.
"""

import asyncio
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "board32"))

from counted_board import CountedBoard  # it puts tests/soak on the path
from virtual_world import run_in_world
from world import World

_MASTERS = 3
_GIVE_UP_MS = 60_000
_SETTLE_S = 8  # until the next key pair is made and nothing is loaded that was needed once
_SIZE = 65536
_HOMES = ("home", "second home", "third home")


class ChipModel:
    """Measures one thing after the other in a world; `found` has the figures."""

    def __init__(self, world: World) -> None:
        self.found: dict[str, float] = {}
        self._world = world
        self._clock = world.clock
        self._board: CountedBoard = world.board  # type: ignore[assignment]

    async def run(self, start_only: bool) -> None:
        """Start, connect, transfer, lose the Wi-Fi."""
        for number in range(1, _MASTERS + 1):
            self._world.serve(number)
        self._board.begin()
        self.found["chip_start"] = await self._logged_in(0, _MASTERS)
        if start_only:
            return
        await asyncio.sleep(_SETTLE_S)
        await self._world.pair()
        await asyncio.sleep(_SETTLE_S)
        async with self._world.client() as client:
            self.found["chip_connect"] = await self._first_byte(client)
            self.found["chip_connect_again"] = await self._first_byte(client)
            await asyncio.sleep(_SETTLE_S)
            async with await client.connect(self._world.did) as connection:
                self.found["chip_rate_in"] = await self._send(connection)
                self.found["chip_rate_out"] = await self._fetch(connection)
        await asyncio.sleep(_SETTLE_S)
        logins = self._board.logins()
        await self._world.lose_air(_SETTLE_S)
        self.found["chip_wifi"] = await self._logged_in(self._clock.ms, logins + _MASTERS)
        self.found["chip_mailbox_lost"] = self._board.lost
        for home in _HOMES[1:]:
            await self._world.pair_another(home)
        await asyncio.sleep(_SETTLE_S)
        self.found["chip_three"] = await self._three()

    async def _logged_in(self, began_ms: int, logins: int) -> float:
        while self._board.logins() < logins:
            if self._clock.ms - began_ms > _GIVE_UP_MS:
                raise TimeoutError(self._board.output[-1500:])
            await asyncio.sleep(0.01)
        return (self._clock.ms - began_ms) / 1000

    async def _first_byte(self, client: Any) -> float:
        began_ms = self._clock.ms
        async with await client.connect(self._world.did) as connection:
            await self._echo(connection)
            return (self._clock.ms - began_ms) / 1000

    @staticmethod
    async def _echo(connection: Any, number: int = 1) -> None:
        channel = await connection.open("echo", number)
        await channel.write(b"x")
        assert await channel.readexactly(1) == b"x"

    async def _three(self) -> float:
        """Let three clients connect at once and stay; return the seconds until the last one had its first byte."""
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(self._world.client(home)) for home in _HOMES]
            began_ms = self._clock.ms
            connections = await asyncio.gather(*(self._connect(client) for client in clients))
            seconds = (self._clock.ms - began_ms) / 1000
            for connection in connections:
                await self._echo(connection, 2)  # it is still there beside the others
            return seconds

    async def _connect(self, client: Any) -> Any:
        connection = await client.connect(self._world.did)
        await self._echo(connection)
        return connection

    async def _send(self, connection: Any) -> float:
        """Return the kbit/s of one channel to the device: from the first write to its word that all was read."""
        channel = await connection.open("sink", 1)
        began_ms = self._clock.ms
        await channel.write(bytes(_SIZE))
        channel.close()
        assert await channel.readexactly(4) == b"done"
        return _SIZE * 8 / (self._clock.ms - began_ms)

    async def _fetch(self, connection: Any) -> float:
        """Return the kbit/s of one channel from the device."""
        channel = await connection.open("source", 2)
        began_ms = self._clock.ms
        await channel.write(b"%d\n" % _SIZE)
        await channel.readexactly(_SIZE)
        return _SIZE * 8 / (self._clock.ms - began_ms)


def measure(start_only: bool = False, seed: int = 6) -> dict[str, float]:
    """Run it in this process, whose time and entropy are virtual from now on."""

    async def work(world: World) -> dict[str, float]:
        model = ChipModel(world)
        await model.run(start_only)
        return model.found

    return run_in_world(seed, work, CountedBoard)


if __name__ == "__main__":
    print(json.dumps(measure("--start-only" in sys.argv[1:])))
