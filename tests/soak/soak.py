"""Hours of a device's life in seconds: connects, transfers, lost Wi-Fi, servers that die, ticks that wrap.

In a world of virtual time (world.py) a device must be logged in again within a bound after every outage, every transfer
must arrive unchanged, and what the device holds at the end of a round must not grow. Entropy is
seeded, but runs of one seed still differ by some milliseconds.
`python tests/soak/soak.py --minutes 120`; what goes wrong ends it.
"""

import argparse
import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "board32"))

from virtual_world import run_in_world
from world import SERVERS, World

_MISSED_S = 80  # until a dead server is missed

ROUND_S = 300
LEAP_MS = (1 << 30) // 3  # 4.1 days: three of them wrap the ticks
# Until it is logged in everywhere again. Pauses between attempts at a server grow to a minute.
BOUNDS_S = {"Wi-Fi": 8, "server": 70, "leap": 70}
GROWTH = 128  # bytes, from the first third of the rounds to the last: eight blocks of its heap
_SETTLING = 2  # rounds until what is allocated once has been


class Soak:
    """Rounds in a world. `held`: bytes that the device held at the end of each; `slowest_ms`: of the logins."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.held: list[int] = []
        self.outages = 0
        self.slowest_ms = dict.fromkeys(BOUNDS_S, 0)

    async def run(self, rounds: int, leaps: int) -> None:
        """Live through rounds, with a leap after each of the first; what goes wrong is raised."""
        for number in (1, 2, 3):
            self.world.serve(number)
        await self.logged_in("Wi-Fi")
        await self.world.pair()
        for number in range(rounds):
            await self.round(number)
            if number < leaps:
                await self.leap()
            print(f"round {number + 1}: {self}", flush=True)
        assert self.growth() <= GROWTH, f"the device grows: {self.held}"

    async def round(self, number: int) -> None:
        """Transfer, lose the Wi-Fi, lose a server, transfer; at the end, always at the same time, see what is held."""
        world = self.world
        end_ms = world.clock.ms + ROUND_S * 1000
        await world.transfer(is_air_lost=number % 2 == 1)
        await world.lose_air(20)
        await self.logged_in("Wi-Fi")
        await self.lose_server(number % 3 + 1)
        await world.transfer(is_air_lost=False)
        await asyncio.sleep((end_ms - world.clock.ms) / 1000)
        self.held.append(world.board.allocated())

    async def logged_in(self, what: str) -> None:
        """Wait until the device is logged in everywhere; TimeoutError after the bound of that kind of outage."""
        world = self.world
        began = world.clock.ms
        while not world.is_logged_in():
            if world.clock.ms - began > BOUNDS_S[what] * 1000:
                raise TimeoutError(f"{what}: {world.board.logins()} of {SERVERS} logins; {world.board.output[-900:]}")
            await asyncio.sleep(0.25)
        self.slowest_ms[what] = max(self.slowest_ms[what], world.clock.ms - began)
        self.outages += 1

    async def lose_server(self, number: int) -> None:
        """Kill a master, and the p2p server with it, for as long as it takes to be missed; start it anew."""
        world = self.world
        world.kill(number)
        await asyncio.sleep(_MISSED_S)
        assert world.board.logins() == SERVERS - 2, world.board.output[-900:]
        world.serve(number)
        await self.logged_in("server")

    async def leap(self) -> None:
        """Let days pass at once, as for a device that was halted: its servers have forgotten it."""
        self.world.clock.ms += LEAP_MS
        await asyncio.sleep(1)
        await self.logged_in("leap")

    def growth(self) -> int:
        """Return how much more the device holds in the last third of the rounds than in the first."""
        settled = self.held[_SETTLING:]
        third = -(-len(settled) // 3)
        return (sum(settled[-third:]) - sum(settled[:third])) // third if settled else 0

    def __str__(self) -> str:
        world, slowest = self.world, ", ".join(f"{what} {ms}" for what, ms in self.slowest_ms.items())
        return (
            f"{world.transfers} transfers, {self.outages} outages, {world.board.wraps} wraps of the ticks, "
            f"holds {self.held[-1]} B, slowest logins in ms: {slowest}"
        )


def soak(rounds: int, leaps: int, seed: int = 6) -> Soak:
    """Run it in this process, whose time and entropy are virtual from now on."""

    async def work(world: World) -> Soak:
        result = Soak(world)
        await result.run(rounds, leaps)
        return result

    return run_in_world(seed, work)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=120, help="of the device's time, beside the leaps")
    parser.add_argument("--leaps", type=int, default=6, help="how often 4 days pass at once; three wrap the ticks")
    parser.add_argument("--seed", type=int, default=6)
    arguments = parser.parse_args()
    soak(arguments.minutes * 60 // ROUND_S, arguments.leaps, arguments.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
