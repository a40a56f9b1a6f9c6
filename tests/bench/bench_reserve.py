"""What a virtual board leaves of ESP-IDF's heap, and how high its own rises: two sessions of four busy channels.

The board's status command tells it, on the chip's scale: the least that was ever free beside MicroPython's heap, as the
shims of the chip's memory count it, and the most that was allocated, garbage included.
"""

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import board_lab
from board_heap import ROOMY
from figures import report

import upeer_client

_CHANNELS = 4
_SIZE = 32768
_SETTLE_S = 3
_UNKNOWN = 1 << 28  # what a board tells that has no such heap


async def _keep_busy(lab: board_lab.Lab, client: upeer_client.Client) -> dict[str, Any]:
    """Echo through four channels of each of two sessions; return what the status command tells of the memory."""
    await lab.pair(client)
    await asyncio.sleep(_SETTLE_S)
    data = os.urandom(_SIZE)
    async with await client.connect(lab.dids[0]) as first, await client.connect(lab.dids[0]) as second:
        opened = [await link.open("echo", number) for link in (first, second) for number in range(1, _CHANNELS + 1)]
        assert await asyncio.gather(*(board_lab.echo(channel, data) for channel in opened)) == [data] * len(opened)
        status, answer = await first.command("status")
        assert status == 0
        memory: dict[str, Any] = json.loads(bytes(answer))["memory"]
        return memory


def main() -> None:
    """Run one board and tell both figures; the reserve only where the board knows it."""
    with tempfile.TemporaryDirectory() as folder:
        lab = board_lab.Lab(Path(folder))
        with lab.serve(), lab.board(heap=ROOMY):
            memory = lab.run(lambda client: _keep_busy(lab, client), 120)
    report("heap_peak", memory["peak"] / 1024)
    if memory["reserve_least"] < _UNKNOWN:
        report("reserve_least", memory["reserve_least"] / 1024)


if __name__ == "__main__":
    main()
