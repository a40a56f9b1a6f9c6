"""What does not fit on a board with the chip's limit is refused before anything is hurt, and told by a code."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import board_lab
import pytest

from upeer.base.errors import RemoteError
from upeer_client import errors

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("micropython")]

APP = Path(__file__).parent / "tight_app"
KB = 1024
ALL = 99_999
OUT_OF_MEMORY = 4  # status of a command
CHANNEL_OUT_OF_MEMORY = 7
LIMIT = 112 * KB
RESERVE = 20 * KB
SETTLE_S = 4  # until the next key pair is made and what made it is dropped
# Bytes that are left: a handshake's modules load (8300), and those that find its client (2500, dropped after), but a
# session (8192) has no room beside them; and so on.
TOO_LITTLE = {"session": 13_000, "channel": 1_500, "command": 1_200}


@pytest.fixture
def lab(tmp_path):
    made = board_lab.Lab(tmp_path, masters=1)
    with made.serve():
        yield made


def info(lab, tmp_path):
    """Return what `upeer info --json` tells of the memory."""
    config = tmp_path / "client.json"
    upeer = [sys.executable, "-m", "upeer_cli.main"]
    if not config.exists():
        subprocess.run([*upeer, "platform", "client", lab.platform, "--out", config], check=True, capture_output=True)
    variables = os.environ | {"UPEER_HOME": str(lab.folder / "client"), "UPEER_CLIENT": str(config)}
    command = [*upeer, "info", lab.dids[0], "--json"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)["memory"]


async def leave(connection, size):
    """Let the application take all but `size` bytes, or have it give all back if that is more than there is."""
    status, left = await connection.command("leave", b"%d" % size)
    assert status == 0 and (size == ALL or size - 512 < int(bytes(left)) <= size)


async def is_mirrored(channel):
    """See that a channel that was open before still works."""
    await channel.write(b"x")
    return await asyncio.wait_for(channel.readexactly(1), 10) == b"x"


async def ask_for_session(lab, client, connection):
    with pytest.raises(errors.DeviceBusy):
        await client.connect(lab.dids[0])


async def ask_for_channel(lab, client, connection):
    with pytest.raises(errors.ServiceRefused, match="out of memory on the device"):
        await connection.open("mirror", 2)
    channel = connection.channel(2)  # of a client that does not wait for the answer
    with pytest.raises(RemoteError) as found:
        await channel.write(b"x")
        await asyncio.wait_for(channel.readexactly(1), 10)
    assert found.value.code == CHANNEL_OUT_OF_MEMORY


async def ask_for_command(lab, client, connection):
    assert (await connection.command("status"))[0] == OUT_OF_MEMORY


@pytest.mark.parametrize("ask", [ask_for_session, ask_for_channel, ask_for_command], ids=list(TOO_LITTLE))
def test_what_does_not_fit_is_refused_and_the_rest_goes_on(lab, tmp_path, request, ask):
    kind = request.node.callspec.id

    async def work(client):
        await lab.pair(client)
        async with await client.connect(lab.dids[0]) as connection:
            channel = await connection.open("mirror", 1)
            assert await is_mirrored(channel)
            await asyncio.sleep(SETTLE_S)
            await leave(connection, TOO_LITTLE[kind])
            await ask(lab, client, connection)
            assert await is_mirrored(channel)
            await leave(connection, ALL)

    with lab.board(lab.build(app=APP)) as board:
        lab.run(work)
        told = info(lab, tmp_path)
        assert told["refused"] >= 1 and told["peak"] <= LIMIT and told["reserve_least"] >= RESERVE, told
        assert "Traceback" not in board.output and "Wi-Fi" not in board.output
        assert ("upeer: no memory for a session: " in board.output) is (kind == "session")


async def keep_busy(lab, client, channels, application=0):
    """Echo through so many channels of each of two sessions, beside an application of so many bytes."""
    await lab.pair(client)
    data = os.urandom(24 * KB)
    async with await client.connect(lab.dids[0]) as first:
        assert (await first.command("take", b"%d" % application))[0] == 0
        async with await client.connect(lab.dids[0]) as second:
            opened = [await link.open("echo", number) for link in (first, second) for number in range(1, channels + 1)]
            found = await asyncio.gather(*(board_lab.echo(channel, data) for channel in opened))
            assert found == [data] * len(opened)


@pytest.mark.parametrize(("channels", "application"), [(1, 8 * KB), (4, 0)], ids=["application", "channels"])
@pytest.mark.parametrize("chip_timing", [False, True], ids=["fast", "timed"])
def test_two_busy_sessions_fit(lab, tmp_path, channels, application, chip_timing):
    """An application of 8 KB beside them, or four channels in each: nothing is refused, Wi-Fi keeps its reserve."""
    with lab.board(lab.build(app=APP), chip_timing=chip_timing) as board:
        lab.run(lambda client: keep_busy(lab, client, channels, application), 120)
        told = info(lab, tmp_path)
        assert told["refused"] == 0 and told["peak"] <= LIMIT and told["reserve_least"] >= RESERVE, told
        assert "Traceback" not in board.output and "MemoryError" not in board.output
