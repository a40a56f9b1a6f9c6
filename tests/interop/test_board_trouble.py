"""A board in trouble: servers and relay behind a bad link, a reset in mid-session, a server that comes and goes."""

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bad_links
import pytest
from board_heap import HEAP
from board_lab import Lab, echo

from upeer_client import client as client_module
from upeer_client import errors, files

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("micropython")]

PATTERN = bytes(range(251)) * 600


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path, masters=1)


@pytest.fixture
def short_idle(monkeypatch: pytest.MonkeyPatch) -> Iterator[float]:
    """Clients that give a silent device up after seconds."""
    monkeypatch.setattr(client_module, "_IDLE_TIMEOUT_S", 4)
    yield 4.0


async def until(condition: Any, timeout_s: float = 90) -> None:
    async with asyncio.timeout(timeout_s):
        while not await condition():
            await asyncio.sleep(0.1)


def test_everything_over_a_bad_link_to_the_servers(lab: Lab, tmp_path: Path) -> None:
    """Login, pairing, lookup, invite and relay lose 5 % each way at each of two passages; the file is whole."""
    source = tmp_path / "source.bin"
    source.write_bytes(PATTERN[: 48 << 10])

    async def work(client: Any) -> Any:
        assert (await lab.pair(client)).role == "owner"
        async with await client.connect(lab.dids[0], "relay") as connection:
            assert connection.path["kind"] == "relay"
            sent = await files.put(connection, source, "a.bin")
            got = await files.get(connection, "a.bin", tmp_path / "back.bin")
            assert sent.hash == got.hash == hashlib.sha256(source.read_bytes()).hexdigest()
            return connection.stats()

    with bad_links.server_hop(lab) as hop, lab.board(heap=HEAP):
        stats = lab.run(work, 120)
        lost = hop.up.lost + hop.down.lost
    assert lost > 10 and stats["retransmitted"] > 0
    print(f"{lost} datagrams lost, {stats}")


def test_soft_reset_in_mid_session_is_one_error_and_then_it_is_reached_again(lab: Lab, short_idle: float) -> None:
    async def work(client: Any) -> None:
        await lab.pair(client)
        connection = await client.connect(lab.dids[0], "direct")
        channel = await connection.open("echo", 1)
        await channel.write(b"before")
        assert await channel.read(6) == b"before"
        board.soft_reset()
        with pytest.raises(errors.ConnectionLost, match="is lost"):
            async with asyncio.timeout(short_idle + 60):
                while await channel.read(100):
                    pass
        for call in (channel.write(b"x"), connection.command("status"), connection.open("echo", 2)):
            with pytest.raises(errors.ConnectionLost):
                await call
        again = await files.with_retries(lambda: client.connect(lab.dids[0]), hello, [0.5, 1, 2])
        assert again == b"after"

    async def hello(connection: Any) -> bytes:
        return await echo(await connection.open("echo", 1), b"after")

    with lab.serve(), lab.board(heap=HEAP) as board:
        lab.run(work, 120)
        assert board.lives == 2


def test_reset_in_mid_upload_leaves_the_old_file(lab: Lab, short_idle: float, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"the old contents")
    new.write_bytes(PATTERN)

    async def work(client: Any) -> None:
        await lab.pair(client)
        async with await client.connect(lab.dids[0], "direct") as connection:
            await files.put(connection, old, "conf")
        connection = await client.connect(lab.dids[0], "direct")
        with bad_links.direct_hop(kbit_per_s=2000):
            slow = await client.connect(lab.dids[0], "direct")
            sending = asyncio.create_task(files.put(slow, new, "conf"))
            await asyncio.sleep(0.3)
            assert not sending.done()
            board.hard_reset()
            with pytest.raises(errors.ConnectionLost):
                await sending
        connection.abort()
        listed = await files.with_retries(
            lambda: client.connect(lab.dids[0]), lambda found: files.list_files(found), [0.5, 1, 2]
        )
        assert [(entry.path, entry.size) for entry in listed.entries] == [("conf", 16)]

    with lab.serve(), lab.board(heap=HEAP) as board:
        lab.run(work, 120)


def test_servers_that_restart_find_the_device_again(lab: Lab) -> None:
    """The session does not notice; the device logs in anew by itself."""

    async def work(client: Any) -> None:
        await lab.pair(client)
        connection = await client.connect(lab.dids[0], "direct")
        servers[0].end()
        with lab.serve() as fresh:
            assert fresh.ready

            async def is_found() -> bool:
                try:
                    async with await client.connect(lab.dids[0], "direct"):
                        return True
                except errors.ClientError:
                    return False

            await until(is_found)
            assert await echo(await connection.open("echo", 1), PATTERN[:9000]) == PATTERN[:9000]
            await connection.close()

    servers = []
    with lab.serve() as first, lab.board(heap=HEAP):
        servers.append(first)
        lab.run(work, 120)
