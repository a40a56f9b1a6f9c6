"""The agent on a real board in trouble: bad storage, no network, lost servers, a person at the REPL."""

import asyncio
import socket
import time
from pathlib import Path

import board_lab
import pytest
from board_heap import HEAP
from office_tools import upeer, upeer_json

from upeer_board.boards import load_board
from upeer_board.virtual import VirtualBoard

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("micropython")]

APP = Path(__file__).parent / "board_app"
PROMPT = ">>> "
_BLOCK = 4096


@pytest.fixture
def lab(tmp_path):
    return board_lab.Lab(tmp_path, masters=1)


def test_no_licence_is_one_line_and_a_free_repl(lab):
    with VirtualBoard.start(lab.build(device=None), heap=HEAP) as board:
        board.wait_for(PROMPT)
        assert "no licence on this device" in board.output and "Traceback" not in board.output
        board.write(b"print(6*7)\r")
        board.wait_for("42")
        assert board.lives == 1


def test_no_network_stored_is_one_line_and_a_free_repl(lab):
    with VirtualBoard.start(lab.build(wifi=None), heap=HEAP) as board:
        board.wait_for(PROMPT)
        assert "upeer: no network stored" in board.output and "Traceback" not in board.output


def test_licence_of_another_platform_is_one_line(lab, tmp_path):
    other = board_lab.Lab(tmp_path / "other", masters=1)
    record = dict(lab.records[0], init_string=other.records[0]["init_string"])
    with VirtualBoard.start(lab.build(), licence=record, heap=HEAP) as board:
        board.wait_for(PROMPT)
        assert "is for another platform" in board.output and "Traceback" not in board.output


@pytest.mark.parametrize("copy", [0, 1])
def test_damaged_licence_copy_is_reported_and_the_other_used(lab, copy):
    folder = lab.build()
    flash = folder / "flash.bin"
    at = load_board("UNIX").partitions["fctry"].offset + copy * _BLOCK + 100
    data = bytearray(flash.read_bytes())
    data[at] ^= 1
    flash.write_bytes(data)
    with lab.serve(), lab.board(folder, heap=HEAP) as board:
        assert f"fctry copy {copy + 1}: wrong checksum, using copy {2 - copy}" in board.output


def test_ctrl_c_logs_out_and_leaves_a_repl_from_which_it_starts_again(lab):
    with lab.serve(), lab.board(heap=HEAP) as board:
        board.write(b"\x03")
        board.wait_for(PROMPT)
        end = time.monotonic() + 15  # a device that does not log out is missed after 22 s at the earliest
        while '"online": 0' not in (shown := upeer("status", lab.platform, "--json").replace("online_count", "online")):
            assert time.monotonic() < end, shown
            time.sleep(0.1)
        board.write(b"import main\r")
        board.wait_for("online master 1", count=2)


def test_lost_wifi_is_joined_again_and_servers_find_the_device(lab):
    with lab.serve(), lab.board(heap=HEAP) as board:
        board.set_air(up=False)
        time.sleep(1.5)
        board.set_air(up=True)
        board.wait_for("network up", count=2)
        board.wait_for("online master 1", count=2)
        board.wait_for("online p2p 1", count=2)


def test_master_that_starts_late_is_found(lab):
    with lab.board(heap=HEAP, online=0) as board:
        board.wait_for("offline master 1: no answer")
        with lab.serve():
            board.wait_for("online master 1")


def test_zero_length_datagrams_reopen_the_sockets(lab):
    async def status(client):
        import json

        async with await client.connect(lab.dids[0]) as connection:
            return json.loads(bytes((await connection.command("status"))[1])), connection.path["remote_port"]

    async def work(client):
        await lab.pair(client)
        _, port = await status(client)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for _ in range(3):
                stranger.sendto(b"", ("127.0.0.1", port))
                await asyncio.sleep(0.2)
        return await status(client)

    with lab.serve(), lab.board(heap=HEAP):
        after, _ = lab.run(work)
    assert after["reopened"] >= 1 and after["masters"] == 1


def test_service_that_raises_resets_its_channel_only(lab):
    async def work(client):
        await lab.pair(client)
        async with await client.connect(lab.dids[0]) as connection:
            channel = await connection.open("raise", 1)
            await channel.write(b"go\n")
            with pytest.raises(Exception, match="gave the stream up"):
                await channel.read(1)
            assert await board_lab.echo(await connection.open("echo", 2), b"still here") == b"still here"

    with lab.serve(), lab.board(lab.build(app=APP), heap=HEAP) as board:
        lab.run(work)
        assert "service raise failed: ValueError planted" in board.output


def test_new_platform_keys_are_taken_while_it_runs_and_kept(lab):
    with lab.serve():
        with lab.board(heap=HEAP) as board:
            new = upeer_json("platform", "rotate", lab.platform)["key_ids"][0]
            board.wait_for(f"new platform keys, generation {new}\r\n", 120)
            board.wait_for("online master 1", count=2)

            async def work(client):
                await lab.pair(client)
                await (await client.connect(lab.dids[0])).close()

            lab.run(work)
            board.soft_reset()
            board.wait_for("online master 1", count=3)
