"""The budget of a device on a real board: three masters, a pairing, sessions, in a heap that stands for a chip's."""

import asyncio
import os
from pathlib import Path

import board_lab
import groups
import mpy_tools
import pytest
from board_heap import GATE_K, MARGIN_K, image_of_layout

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("micropython")]

GATE = f"{GATE_K}K"
_CHEAP = (1, 6)  # layouts; `make heaps` has all of them, and looks for the smallest heap of each
APP = Path(__file__).parent / "board_app"


@pytest.fixture
def lab(tmp_path):
    made = board_lab.Lab(tmp_path)
    with made.serve():
        yield made


@pytest.mark.parametrize("number", _CHEAP)
@pytest.mark.parametrize("margin_k", [0, MARGIN_K])
def test_agent_with_three_masters_echoes_64_kib_in_the_gate(lab, number, margin_k):
    """In the gate no allocation fails; with less one may, in a handshake, and is tried again: all of it works."""
    folder = image_of_layout(lab, mpy_tools.LAYOUTS[number], number)
    with lab.board(folder, heap=f"{GATE_K - margin_k}K") as board:
        board_lab.run_echo(lab, os.urandom(65536))
        assert board.alive and (margin_k or "MemoryError" not in board.output)


def test_what_stays_loaded_with_a_session_is_what_the_size_table_says(lab):
    async def work(client):
        await lab.pair(client)
        async with await client.connect(lab.dids[0]) as connection:
            await board_lab.echo(await connection.open("echo", 1), b"something")
            async with asyncio.timeout(60):
                while True:  # until the next handshake's key pair is made, and what made it dropped
                    await asyncio.sleep(1)
                    status, answer = await connection.command("modules")
                    assert status == 0
                    loaded = {name.replace(".", "/") + ".py" for name in bytes(answer).decode().split()}
                    if not loaded & groups.PASSING:
                        return loaded

    with lab.board(lab.build(app=APP), heap="256K"):
        loaded = lab.run(work)
    assert "device/core.py" in loaded and "upeer/session/session.py" not in loaded  # a part of the core


def test_twenty_sessions_in_a_row_leave_the_heap_as_it_was(lab):
    data = os.urandom(4096)

    async def session(client):
        async with await client.connect(lab.dids[0]) as connection:
            assert await board_lab.echo(await connection.open("echo", 1), data) == data
            return int(bytes((await connection.command("heap"))[1]))

    async def work(client):
        await lab.pair(client)
        return [await session(client) for _ in range(20)]

    with lab.board(lab.build(app=APP), heap=GATE) as board:
        used = lab.run(work, 100)
        assert "MemoryError" not in board.output
    assert min(used[15:]) <= min(used[8:12]) + 256, used  # the answers to the last 8 invites are kept
