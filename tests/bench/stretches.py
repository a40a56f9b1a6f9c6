"""The longest stretches that a device's loop runs between two polls of its sockets, in host instructions.

A virtual board boots the flash image under callgrind, which makes it about as slow as a chip. It logs in to three
masters, is paired, serves two clients at once, loses its Wi-Fi and comes back. AES and SHA, hardware on a chip, do not
count, nor does the virtual board's flash driver, which is Python here and C there: what a chip takes to read a file,
0.16 s, is counted by `bench_chip.py`. Its mailbox would poll at every read, so the host's buffers take its place.
`python tests/bench/stretches.py [--most N]` lists the worst.
"""

import argparse
import asyncio
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import board_lab
import instructions
import mpy_tools
from board_heap import ROOMY

import upeer_client
from upeer_board import virtual
from upeer_board.virtual import VirtualBoard

GOAL = 3_300_000  # 50 ms on a chip
CHIP_NS = 15
APP = Path(__file__).with_name("stretch_app")
_BOOT_S = 120
_SIZE = 32768
_PINGS = 15  # each a datagram in a step of its own
_NEXT_KEY_S = 4
_CONNECTS = 3
_LINE = re.compile(r"stretch (\d+) (?:<generator object '(\w+)' at \w+>)? ?\+(\S*)")


@dataclass(frozen=True)
class Stretch:
    """One step of a task: host instructions beside AES and SHA, and what is in them."""

    number: int
    is_start: bool  # before the network was up
    task: str
    instructions: int
    collections: int  # of garbage
    collecting: int  # instructions of them
    loaded: int  # modules read out of the flash
    received: int  # datagrams
    sent: int
    modules: str  # those that were not there before

    def __str__(self) -> str:
        ms = self.instructions * CHIP_NS / 1e6
        inside = f"{self.collections} collections {self.collecting / 1e6:.1f} M, {self.loaded} modules loaded"
        return (
            f"{self.instructions / 1e6:6.1f} M ({ms:4.0f} ms) in {self.task or 'the loop'}: {inside}, "
            f"{self.received} datagrams in, {self.sent} out; new: {self.modules or '-'}"
        )


def program(folder: Path) -> Path:
    """Write a program that runs MicroPython under callgrind; its counts go to folder/stretch.1, .2 ..."""
    command = (
        f"valgrind -q --tool=callgrind --toggle-collect=main_ --zero-before=poll_ipoll --dump-before=time_ticks_cpu "
        f"--callgrind-out-file='{folder}/stretch' '{sys.executable}' '{mpy_tools.MICROPYTHON}'"
    )
    path = folder / "counted-micropython"
    path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    path.chmod(0o755)
    return path


def read(folder: Path, console: str, names: Mapping[str, str] | None = None) -> list[Stretch]:
    """Return what callgrind counted for each line of a console, longest first; `names` are those of `task_names`."""
    found = []
    is_start = True
    for line in console.splitlines():
        is_start = is_start and "network up" not in line
        match = _LINE.match(line)
        profile = folder / f"stretch.{match[1]}" if match else None
        if match and profile and profile.exists():
            task = (names or {}).get(match[2], match[2] or "")
            found.append(_stretch(int(match[1]), is_start, task, match[3], instructions.read_profile(profile)))
    return sorted(found, key=lambda stretch: -stretch.instructions)


def _stretch(number: int, is_start: bool, task: str, modules: str, profile: instructions.Profile) -> Stretch:
    calls = profile.calls
    counts = [calls.get(name, 0) for name in ("mp_raw_code_load_file", "socket_recvfrom", "socket_sendto")]
    collecting = profile.inclusive.get("gc_collect", 0)
    beside = profile.cost.beside_crypto - profile.inclusive.get("mp_vfs_blockdev_call_rw", 0)
    return Stretch(number, is_start, task, beside, calls.get("gc_collect", 0), collecting, *counts, modules)


def task_names(folder: Path) -> dict[str, str]:
    """Return {name in the image: name in the source} of the firmware's coroutines."""
    text = "".join(path.read_text() for path in mpy_tools.FIRMWARE.rglob("*.py"))
    coroutines = set(re.findall(r"async def (\w+)", text))
    tables = json.loads((folder / "names.json").read_text())["files"].values()
    names = {}
    for short, source in (item for table in tables for item in table.items()):
        name = source.partition(" ")[0].rpartition(":")[2].rpartition(".")[2]
        if name in coroutines:
            names[short.rpartition(".")[2]] = name
    return names


def measure() -> list[Stretch]:
    """Run the board through everything and return its stretches, longest first."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        lab = board_lab.Lab(folder)
        image = lab.build(app=APP)
        with mock.patch.object(virtual, "find_micropython", lambda: program(folder)), lab.serve():
            running = lab.board(image, heap=ROOMY, boot_s=_BOOT_S, datagram_queue=0, env={"PYTHONHASHSEED": "0"})
            with running as board:
                _exercise(lab, board)
                console = board.output
        return read(folder, console, task_names(image))


def _exercise(lab: board_lab.Lab, board: VirtualBoard) -> None:
    time.sleep(_NEXT_KEY_S)
    lab.run(lambda client: _two_clients(lab, client), _BOOT_S)
    board.set_air(up=False)
    time.sleep(_NEXT_KEY_S)
    board.set_air(up=True)
    board.wait_for("network up", _BOOT_S, count=2)
    for number in range(1, len(lab.ports) + 1):
        board.wait_for(f"online master {number}", _BOOT_S, count=2)
    time.sleep(_NEXT_KEY_S)


async def _connect(lab: board_lab.Lab, client: upeer_client.Client) -> upeer_client.Connection:
    """Connect, as often as it takes: on a busy machine the board is slower than a client waits."""
    for tries in range(_CONNECTS):
        try:
            return await client.connect(lab.dids[0])
        except upeer_client.ClientError:
            if tries == _CONNECTS - 1:
                raise
    raise AssertionError("not reached")


async def _two_clients(lab: board_lab.Lab, client: upeer_client.Client) -> None:
    await lab.pair(client)
    data = os.urandom(_SIZE)
    async with await _connect(lab, client) as first:
        assert await board_lab.echo(await first.open("echo", 1), data) == data
        for _ in range(_PINGS):
            assert (await first.command("ping"))[0] == 0
        await asyncio.sleep(_NEXT_KEY_S)
        async with await _connect(lab, client) as second:
            channels = [await connection.open("echo", 2) for connection in (first, second)]
            assert await asyncio.gather(*(board_lab.echo(channel, data) for channel in channels)) == [data, data]
            await second.command("status")
    async with await _connect(lab, client):
        pass


def longest(stretches: Iterable[Stretch], is_start: bool) -> int:
    """Return the instructions of the longest one, while starting or after the network was up."""
    return max((stretch.instructions for stretch in stretches if stretch.is_start == is_start), default=0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=30, help="how many to list")
    arguments = parser.parse_args()
    stretches = measure()
    over = sum(stretch.instructions > GOAL for stretch in stretches)
    print(f"{over} stretches over {GOAL / 1e6:.1f} M instructions (50 ms); number, what:")
    for stretch in stretches[: arguments.most]:
        print(f"{stretch.number:4}{' start' if stretch.is_start else '':6} {stretch}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
