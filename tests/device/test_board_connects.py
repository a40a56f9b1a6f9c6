"""Clients that come all at once: each waits for the key pair of its handshake, none is turned away."""

import asyncio
import json
import os
from pathlib import Path

import board_lab
import mpy_tools
import pytest
from board_heap import ROOMY

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("micropython")]

APP = Path(__file__).parent / "board_app"
_CLIENTS = 3
# Stands before the firmware's own main.py, and tells of each change of the chip's clock.
_TELL_CLOCK = """
import machine

set_clock = machine.freq


def freq(hz):
    print("clock", hz // 1000000)
    set_clock(hz)


machine.freq = freq
"""


@pytest.fixture
def lab(tmp_path):
    made = board_lab.Lab(tmp_path, masters=1)
    with made.serve():
        yield made


async def _pair_all(lab, clients):
    """Pair clients with the board, the first as its owner, who opens pairing for the others."""
    await lab.pair(clients[0])
    for client in clients[1:]:
        async with await clients[0].connect(lab.dids[0]) as owner:
            assert (await owner.command("pair-open"))[0] == 0
        await lab.pair(client)


async def _echo_and_status(client, did):
    data = os.urandom(2000)
    connection = await client.connect(did)
    assert await board_lab.echo(await connection.open("echo", 1), data) == data
    return connection


def test_three_clients_that_connect_at_once_all_get_in(lab):
    async def work():
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            clients = [lab.client(f"client-{number}") for number in range(_CLIENTS)]
            for client in clients:
                await client.__aenter__()
            try:
                await _pair_all(lab, clients)
                await asyncio.sleep(1)
                coming = [tasks.create_task(_echo_and_status(client, lab.dids[0])) for client in clients]
                connections = [await task for task in coming]
                code, answer = await connections[0].command("status")
                assert code == 0
                return json.loads(bytes(answer))
            finally:
                for client in clients:
                    await client.__aexit__(None, None, None)

    with lab.board(heap=ROOMY) as board:
        status = asyncio.run(work())
        assert status["sessions"] == _CLIENTS and status["memory"]["refused"] == 0
        assert "MemoryError" not in board.output


def test_ping_is_answered_without_loading_anything(lab):
    async def work(client):
        await lab.pair(client)
        async with await client.connect(lab.dids[0]) as connection:
            await asyncio.sleep(4)  # what the handshake has loaded is dropped
            before = await connection.command("modules")
            assert await connection.command("ping") == (0, b"")
            return [set(bytes(answer).split()) for _, answer in (before, await connection.command("modules"))]

    with lab.board(lab.build(app=APP), heap=ROOMY):
        before, after = lab.run(work)
    assert after and after <= before and not [name for name in after if name.startswith(b"device.commands")]


def test_clock_is_fast_while_somebody_waits_and_slow_when_nobody_does(lab, tmp_path):
    """As the board's file says: 240 MHz for a login and for a session, 160 in between."""
    app = tmp_path / "app"
    app.mkdir()
    (app / "main.py").write_text(_TELL_CLOCK + (mpy_tools.FIRMWARE / "main.py").read_text())

    def clock() -> str:
        return board.output.rpartition("clock ")[2][:3]

    async def until(mhz: str) -> None:
        while clock() != mhz:
            await asyncio.sleep(0.05)

    async def work(client):
        await lab.pair(client)
        await until("160")
        async with await client.connect(lab.dids[0]) as connection:
            await until("240")
            await asyncio.sleep(1)
            assert clock() == "240"
            await connection.command("ping")
        await until("160")

    with lab.board(lab.build(app=app), heap=ROOMY) as board:
        board.wait_for("clock 160")
        assert "clock 240" in board.output
        lab.run(work)
