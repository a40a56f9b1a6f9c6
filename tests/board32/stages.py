"""What a device holds on the chip's scale, stage by stage: started, logged in, with sessions and busy channels."""

import asyncio
import os
import time
from pathlib import Path

import board_lab
from board32 import Board32

import upeer_client

_BUSY_BYTES = 120_000
_SETTLE_S = 4
_LONGEST_S = 30
_ROUNDS = 5  # in which a stage is tried again when no look at it counted
# What is loaded beside the resident unit, the interface's stubs and the services in use.
_GROUPS = ("start", "login", "storage", "pairs", "command")
_READY = ("handshake",)  # stays while there is no session
_LOADED = "import sys\nprint(*(name for name in sys.modules if name in {}))"
PINNED = "objects of modules that were dropped"
# Prints how many objects the device holds that are of a class of no module that is loaded.
_PINNED = """
def pinned(thing, seen, classes):
    if thing is None or isinstance(thing, (str, bytes, bytearray, memoryview, int, type)) or id(thing) in seen:
        return []
    seen.add(id(thing))
    if isinstance(thing, dict):
        return [name for part in thing.values() for name in pinned(part, seen, classes)]
    if isinstance(thing, (list, tuple)):
        return [name for part in thing for name in pinned(part, seen, classes)]
    if not hasattr(thing, "__dict__") or type(thing) is type(sys):
        return []
    mine = [] if type(thing) in classes else [type(thing).__name__]
    return mine + [name for part in thing.__dict__.values() for name in pinned(part, seen, classes)]
import sys
modules = [module for module in sys.modules.values() if type(module) is type(sys)]
classes = [value for module in modules for value in module.__dict__.values() if isinstance(value, type)]
seen = set()
print(len(pinned(device, seen, classes)))
assert len(seen) > 100
del pinned, modules, classes, seen
"""


def measure(folder: Path) -> dict[str, int]:
    """Boot a device, let it do all of it with three masters and two clients; return the most that was live at each.

    And PINNED, when the modules of a handshake are dropped: how many objects are still of their classes.
    """
    lab = board_lab.Lab(folder)
    with Board32(folder / "board", lab.records[0]) as board:
        found = {"started": board.boot()}
        with lab.serve():
            for number in (1, 2, 3):
                board.wait_for(f"online master {number}")
            board.wait_for("online p2p", count=3)
            asyncio.run(_settle(board))  # what the first client will need is ready then
            found["logged in"] = board.allocated()
            return found | asyncio.run(_with_sessions(lab, board))


async def _with_sessions(lab: board_lab.Lab, board: Board32) -> dict[str, int]:
    found = {}
    async with lab.client(name="first") as one, lab.client(name="second") as two:
        await lab.pair(one)
        await _settle(board)
        async with await one.connect(lab.dids[0]) as first:
            found["one session"] = await _open_channel(board, first)
            found["one session, one busy channel"] = await _most_live(board, [first], 1)
            found["one session, four busy channels"] = await _most_live(board, [first], 4)
            await _settle(board)
            found[PINNED] = int(await asyncio.to_thread(board.run, _PINNED))
            status, _ = await first.command("pair-open")
            assert status == 0
            await lab.pair(two)
            await _settle(board)
            async with await two.connect(lab.dids[0]) as second:
                board.run("application = bytearray(8192)")
                found["two sessions, an application of 8 KB"] = await _most_live(board, [first, second], 1)
                board.run("application = None")
                found["two sessions, four busy channels each"] = await _most_live(board, [first, second], 4)
    return found


async def _loaded(board: Board32, groups: tuple[str, ...]) -> str:
    """Return which of the groups of transient modules are loaded now, as text."""
    code = _LOADED.format([f"device.{group}" for group in groups])
    return (await asyncio.to_thread(board.run, code)).strip()


async def _settle(board: Board32, groups: tuple[str, ...] = _GROUPS) -> None:
    """Wait until what acts needed is dropped."""
    await asyncio.sleep(_SETTLE_S)
    end = time.monotonic() + _LONGEST_S
    while loaded := await _loaded(board, groups):
        if time.monotonic() > end:
            raise TimeoutError(f"still loaded: {loaded}")
        await asyncio.sleep(0.2)


async def _open_channel(board: Board32, connection: "upeer_client.Connection") -> int:
    """Have a channel carry something both ways, and return what is live when all of that has arrived."""
    channel = await connection.open("echo", 1)
    data = os.urandom(_BUSY_BYTES // 4)
    writing = asyncio.create_task(channel.write(data))
    assert await channel.readexactly(len(data)) == data
    await writing
    await _settle(board, _GROUPS + _READY)
    live = await asyncio.to_thread(board.allocated)
    assert await board_lab.echo(channel, b"and more") == b"and more"
    return live


async def _most_live(board: Board32, connections: "list[upeer_client.Connection]", channels: int) -> int:
    """Keep channels of each connection busy with echoes, and return the most that was live meanwhile.

    This is what sessions hold: what the handshake needed is left time to be dropped before, and looks while modules
    are loaded for an act (an invite that some other client broadcasts, a login anew) do not count.
    """
    for _ in range(_ROUNDS):
        await _settle(board, _GROUPS + _READY)
        if seen := await _looks(board, connections, channels):
            return max(seen)
    raise TimeoutError(f"modules were loaded all along, {_ROUNDS} times")


async def _looks(board: Board32, connections: "list[upeer_client.Connection]", channels: int) -> list[int]:
    """Return what was live at each look that counts, while the channels are busy."""
    data = os.urandom(_BUSY_BYTES)
    opened = [await link.open("echo", number) for link in connections for number in range(1, channels + 1)]
    work = asyncio.gather(*(board_lab.echo(channel, data) for channel in opened))
    seen = []
    while True:
        before = await _loaded(board, _GROUPS + _READY)
        live = await asyncio.to_thread(board.allocated)
        if not before and not await _loaded(board, _GROUPS + _READY):
            seen.append(live)
        if work.done():
            break
        await asyncio.sleep(0.01)
    assert await work == [data] * len(opened)
    return seen
