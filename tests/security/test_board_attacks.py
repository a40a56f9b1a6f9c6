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

import namespaces
import pytest
from board_heap import ROOMY
from board_lab import Lab, echo
from strangers import Flood, Spoofer, resident_kb

from upeer.base.wire import LAN_PORT
from upeer.connect import encode_lan_invite, parse_lan_answer
from upeer.crypto.aead import random_bytes
from upeer.handshake.invite import lan_key, session_psk
from upeer_client import errors

# Serial: the rates are meant for a board that has the machine for itself.
pytestmark = [pytest.mark.serial, pytest.mark.timeout(240), pytest.mark.usefixtures("micropython")]

_HEAP_NOISE = 4096
PATTERN = bytes(range(251)) * 600


@pytest.fixture(scope="module")
def own_network() -> Iterator[None]:
    """A network with nobody else in it, where that can be had: the LAN port is one for the whole machine."""
    if namespaces.why_not():
        yield
        return
    name = f"upl{os.getpid()}-0-attacks"
    namespaces.batch(f"netns add {name}\n")
    try:
        namespaces.batch("link set lo up\n", name)
        with namespaces.inside(name):
            yield
    finally:
        namespaces.delete([name])


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, micropython: Path, own_network: None) -> Iterator[Lab]:
    """One board, its server, a paired client."""
    made = Lab(tmp_path_factory.mktemp("lab"), masters=1)
    with made.serve() as server, made.board(heap=ROOMY) as board:
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
            except BaseException:
                print(connection.stats(), lab.console.output[-500:])  # type: ignore[attr-defined]
                raise

    return lab.run(main, 180)


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
            for data in forged(scene.to_us):
                spoofer.send(scene.board, scene.ours, data)
                await asyncio.sleep(0)
            for data in forged(scene.to_board):
                spoofer.send(scene.ours, scene.board, data)
                await asyncio.sleep(0.002)  # six at once wait at a board, more are lost before it sees them
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
            for number in range(200):
                for kind in (0x83, 0x84, 0x88, 0x8A, 0xA1, 0x93):
                    body = bytes((kind,)) + os.urandom(7) + number.to_bytes(4, "big") + os.urandom(48)
                    spoofer.send(server, scene.board, body)
                for kind in (0x82, 0x88, 0x89, 0xA0, 0x92):
                    spoofer.send(scene.board, server, bytes((kind, 1, 1, 1)) + os.urandom(60))
                await asyncio.sleep(0)
        await asyncio.sleep(0.2)
        status = await scene.status()
        assert (status["masters"], status["p2p_servers"]) == (1, 1)
        async with await scene.client.connect(lab.dids[0], "direct") as second:
            assert await echo(await second.open("echo", 1), b"still found") == b"still found"

    on_scene(lab, work)
    assert "offline" not in lab.console.output  # type: ignore[attr-defined]


def test_a19_floods_leave_the_memory_and_the_service_of_a_board(lab: Lab) -> None:
    """Invites, probes and noise from forty ports, 3 s long, at a rate that a radio would hardly carry."""
    dice = random.Random(19)

    async def work(scene: Scene) -> dict[str, Any]:
        key_id = lab.config().key_id
        heads = [scene.to_board, b"\xc0" + bytes(7), b"\x88" + bytes(7)]
        heads += [bytes((kind, 1, key_id, role)) for kind, role in ((0x98, 0), (0xA1, 3), (0x83, 1))]

        def make(number: int) -> bytes:
            return heads[number % len(heads)] + dice.randbytes(dice.choice((16, 60, 120, 400)))

        before = await scene.status()
        resident = resident_kb(lab.console.pid)  # type: ignore[attr-defined]
        flood = Flood([scene.board, ("127.0.0.1", LAN_PORT)], make, 1500)
        with flood.running():
            started = time.monotonic()
            while time.monotonic() - started < 3 or flood.sent < 3000:
                await scene.works(8000)
        after, over = await scene.status(), time.monotonic()
        while after["heap_free"] < before["heap_free"] - _HEAP_NOISE and time.monotonic() - over < 60:
            await asyncio.sleep(0.5)  # what was loaded for an invite is dropped after a while
            after = await scene.status()
        assert flood.answers == []
        assert after["heap_free"] > before["heap_free"] - _HEAP_NOISE
        assert resident_kb(lab.console.pid) < resident + 512  # type: ignore[attr-defined]
        assert after["sessions"] == before["sessions"] and after["dropped"] > before["dropped"] + 500
        assert (after["masters"], after["p2p_servers"]) == (1, 1)
        async with await scene.client.connect(lab.dids[0], "direct") as second:
            assert await echo(await second.open("echo", 1), b"after") == b"after"
        return {"sent": flood.sent, "heap_free": (before["heap_free"], after["heap_free"])}

    print(on_scene(lab, work))


def test_a16_lan_invite_without_the_key_is_not_answered(lab: Lab) -> None:
    """No answer, no session, whatever is in it; and no order reaches the board over the LAN port."""
    pair = lab.client().pairs.find(lab.dids[0])
    key_id = lab.config().key_id
    requests = [bytes((0x98, 1, key_id, 0)) + os.urandom(size) for size in (24, 104, 120, 300)]
    wrong_keys = bytes(range(32)), pair.key
    requests += [encode_lan_invite(key_id, os.urandom(8), key, os.urandom(100)) for key in wrong_keys]
    requests += [bytes((first,)) + body for first in range(256) for body in (b"reset\n", b'{"cmd": "reset"}')]
    requests += [encode_lan_invite(key_id, os.urandom(8), lan_key(pair.key), os.urandom(120))]  # only the tag fits

    async def work(scene: Scene) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.setblocking(False)
            for number, request in enumerate(requests):
                stranger.sendto(request, ("127.0.0.1", LAN_PORT))
                if not number % 20:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.5)
            with pytest.raises(BlockingIOError):
                stranger.recv(2048)
        assert (await scene.status())["sessions"] == 1
        await scene.works()

    on_scene(lab, work)


def _lan_invite(lab: Lab, client: Any) -> bytes:
    """Return what the client would broadcast."""
    pair = client.pairs.find(lab.dids[0])
    config = client.config()
    invite_id = random_bytes(8)
    peer = (session_psk(pair.key, config.p2p_key), pair.did, pair.client_id)
    invitation = client._running().endpoint.invite(config.key_id, invite_id, peer)
    return encode_lan_invite(config.key_id, invite_id, lan_key(pair.key), invitation.message)


def test_a16_replayed_lan_invite_makes_no_second_session(lab: Lab) -> None:
    """Who recorded a true one gets the same answer again, as long as it is known, and can use none."""

    async def work(scene: Scene) -> None:
        request = _lan_invite(lab, scene.client)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.setblocking(False)
            answers: set[bytes] = set()
            for number in range(100):
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
                assert time.monotonic() - started < 60
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
