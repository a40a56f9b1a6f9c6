"""A12, A16, A18, A19 and A1 against a real MicroPython board in mid-session: what strangers can do to it is little."""

import asyncio
import json
import os
import random
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from board_heap import HEAP
from board_lab import Lab, echo
from strangers import Flood, Spoofer, resident_kb

from upeer.connect import encode_lan_invite, parse_lan_answer
from upeer.crypto import random_bytes
from upeer.invite import lan_key, session_psk
from upeer.wire import LAN_PORT
from upeer_client import errors

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("micropython")]

_HEAP_NOISE = 4096
PATTERN = bytes(range(251)) * 600


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, micropython: Path) -> Iterator[Lab]:
    """One board, its server, a paired client."""
    made = Lab(tmp_path_factory.mktemp("lab"), masters=1)
    with made.serve() as server, made.board(heap=HEAP) as board:
        made.run(made.pair)
        made.server, made.console = server, board  # type: ignore[attr-defined]
        yield made
        assert board.lives == 1 and "Traceback" not in board.output


class Scene:
    """A direct session with the board: what an attacker who saw every clear byte of it knows."""

    def __init__(self, client: Any, connection: Any) -> None:
        self.client = client
        self.connection = connection
        self.ours = ("127.0.0.1", connection.path["local_port"])
        self.board = ("127.0.0.1", connection.path["remote_port"])
        self.to_board = b"\x40" + connection.session._peer_id
        self.to_us = b"\x40" + connection.session.connection_id

    async def status(self) -> dict[str, Any]:
        code, answer = await self.connection.command("status")
        assert code == 0
        return json.loads(bytes(answer))  # type: ignore[no-any-return]

    async def works(self, size: int = 20000, channel: int = 1) -> None:
        opened = await self.connection.open("echo", channel)
        assert await echo(opened, PATTERN[:size]) == PATTERN[:size]


def on_scene(lab: Lab, work: Any) -> Any:
    """Run work(scene) with a fresh direct session."""

    async def main(client: Any) -> Any:
        async with await client.connect(lab.dids[0], "direct") as connection:
            try:
                return await work(Scene(client, connection))
            except (TimeoutError, asyncio.CancelledError):
                print(connection.stats(), lab.console.output[-500:])  # type: ignore[attr-defined]
                raise

    return lab.run(main, 40)


def test_a12_close_data_and_probes_with_the_right_addresses_change_nothing(lab: Lab) -> None:
    """Both directions: connection ids, packet numbers and addresses are right, only the keys are not there."""
    dice = random.Random(12)

    def forged(head: bytes) -> list[bytes]:
        numbers = [*range(300), 2**31, 2**32 - 1]
        return [
            head + number.to_bytes(4, "big") + dice.randbytes(dice.choice((48, 64, 112, 1176))) for number in numbers
        ]

    async def work(scene: Scene) -> None:
        await scene.works()
        before, changes = await scene.status(), scene.connection.stats()["path_changes"]
        transfer = asyncio.create_task(scene.works(len(PATTERN), 2))
        with Spoofer() as spoofer:
            for data in forged(scene.to_board):
                spoofer.send(scene.ours, scene.board, data)
                await asyncio.sleep(0)
            for data in forged(scene.to_us):
                spoofer.send(scene.board, scene.ours, data)
                await asyncio.sleep(0)
        await transfer
        after = await scene.status()
        assert scene.connection.closed is None and after["sessions"] == before["sessions"]
        assert after["dropped"] > before["dropped"] + 50 and scene.connection.session.dropped > 50
        assert scene.connection.stats()["path_changes"] == changes

    on_scene(lab, work)


def test_a12_logout_keep_alive_and_invite_without_keys_change_nothing(lab: Lab) -> None:
    """The server's address towards the board, the board's towards the server."""
    server = ("127.0.0.1", lab.ports[0])

    async def work(scene: Scene) -> None:
        with Spoofer() as spoofer:
            for number in range(60):
                stranger.sendto(request, ("127.0.0.1", LAN_PORT))
                await asyncio.sleep(0.03 if answers else 0.2)  # strangers before us may have spent the budget
                with suppress(BlockingIOError):
                    answers.add(stranger.recv(2048))
                if answers and number > 20:
                    break
            assert len(answers) == 1 and len(answers.copy().pop()) <= len(request)
            assert parse_lan_answer(answers.pop())[1] == request[4:12]
        assert (await scene.status())["sessions"] <= 2  # that one ends by itself: nothing ever comes through
        assert lab.dids[0].encode() not in request
        await scene.works()

    on_scene(lab, work)


def test_a16_many_recorded_invites_leave_room_for_the_owner(lab: Lab) -> None:
    async def work(scene: Scene) -> None:
        requests = [_lan_invite(lab, scene.client) for _ in range(12)]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for request in requests * 3:
                stranger.sendto(request, ("127.0.0.1", LAN_PORT))
                await asyncio.sleep(0.02)
        await scene.works()
        started = time.monotonic()
        while True:
            try:
                second = await scene.client.connect(lab.dids[0], "direct")
                break
            except errors.DeviceBusy:  # until a session that nothing came through is two seconds old
                assert time.monotonic() - started < 4
                await asyncio.sleep(0.2)
        assert await echo(await second.open("echo", 1), b"room") == b"room"
        await second.close()

    on_scene(lab, work)


def test_a18_zero_length_datagrams_in_mid_transfer_cost_time_only(lab: Lab) -> None:
    """On the chip each of them makes a socket report the end of its stream for good, until it is opened anew."""

    async def work(scene: Scene) -> dict[str, Any]:
        before = await scene.status()
        flood = Flood([scene.board, ("127.0.0.1", LAN_PORT)], lambda _number: b"", 300)
        with flood.running():
            await scene.works(60000)
            await asyncio.sleep(0.2)
        after = await scene.status()
        assert scene.connection.closed is None and after["reopened"] > before["reopened"]
        assert (after["masters"], after["p2p_servers"]) == (1, 1)
        await scene.works(5000, 3)
        async with await scene.client.connect(lab.dids[0], "lan") as second:  # that socket was opened anew as well
            assert await echo(await second.open("echo", 1), b"lan") == b"lan"
        return {"sent": flood.sent, "reopened": after["reopened"] - before["reopened"]}

    print(on_scene(lab, work))
