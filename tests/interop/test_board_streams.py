"""MicroPython device and CPython client over a bad link: files, commands, packets, channels, sessions, ends."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import bad_links
import pytest
from board_heap import ROOMY
from board_lab import Lab, echo

from upeer.base.errors import RemoteError
from upeer_board.boards import load_board
from upeer_client import errors, files

pytestmark = [pytest.mark.timeout(180), pytest.mark.usefixtures("micropython")]

APP = Path(__file__).parent / "board_app"
PATTERN = bytes(range(251)) * 400
_SESSIONS = load_board("UNIX").limits["max_sessions"]

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, micropython: Path) -> Iterator[Lab]:
    """One board, its servers, a paired client; the tests are guests of the same board."""
    made = Lab(tmp_path_factory.mktemp("lab"), masters=1)
    with made.serve(), made.board(made.build(app=APP), heap=ROOMY) as board:
        made.run(made.pair)
        made.console = board  # type: ignore[attr-defined]
        yield made
        planned = board.output.replace("service breaks failed", "").replace("command fail failed", "")
        assert "Traceback" not in planned and "failed" not in planned and "trouble" not in planned


@pytest.fixture(params=["clean", "bad"])
def run(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Run]:
    """Calls work(connection) on a direct path that is clean or bad."""

    def call(work: Callable[[Any], Any]) -> Any:
        async def main(client: Any) -> Any:
            async with await client.connect(lab.dids[0], "direct") as connection:
                return await work(connection)

        return lab.run(main, 120)

    if request.param == "clean":
        yield call
        return
    with bad_links.direct_hop(seed=len(request.node.name)) as hop:
        yield call
        assert hop.counts["up"] and hop.counts["down"]


def test_file_goes_there_and_back(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "source.bin"
    source.write_bytes(PATTERN[: 64 << 10])

    async def work(connection: Any) -> Any:
        sent = await files.put(connection, source, "dir/a.bin")
        got = await files.get(connection, "dir/a.bin", tmp_path / "back.bin")
        listed = await files.list_files(connection)
        assert sent.hash == got.hash and got.hash in [entry.hash for entry in listed.entries]
        return got.hash

    assert run(work) == hashlib.sha256(source.read_bytes()).hexdigest()
    assert (tmp_path / "back.bin").read_bytes() == source.read_bytes()


def test_file_without_room_is_refused_before_it_is_sent(run: Run, tmp_path: Path) -> None:
    with (tmp_path / "large.bin").open("wb") as file:
        file.truncate(10 << 20)

    async def work(connection: Any) -> None:
        before = await files.list_files(connection)
        assert before.free and before.size == 0x4EE000 and 4 << 20 < before.free < before.size
        sent: list[int] = []
        with pytest.raises(errors.DeviceFull, match=r"needs 102\d\d KiB, \d{4} KiB are free on the device"):
            await files.put(connection, tmp_path / "large.bin", "large.bin", sent.append)
        assert sent == [] and await files.list_files(connection) == before

    run(work)


def test_each_command_runs_once(run: Run) -> None:
    async def work(connection: Any) -> None:
        start = int((await connection.command("count", b"first"))[1].split()[0])
        for number in range(start + 1, start + 21):
            assert await connection.command("count", b"x%d" % number) == (0, b"%d x%d" % (number, number))
        asked = [connection.command("count", b"many%d" % number) for number in range(4)]
        answers = [bytes(answer).split() for _, answer in await asyncio.gather(*asked)]
        assert sorted(int(count) for count, _ in answers) == list(range(start + 21, start + 25))
        assert [name for _, name in answers] == [b"many%d" % number for number in range(4)]

    run(work)


def test_commands_that_fail_say_so(run: Run) -> None:
    async def work(connection: Any) -> None:
        assert await connection.command("refuse") == (3, b"not today")
        assert (await connection.command("fail"))[0] == 1
        assert await connection.command("nonsense") == (2, b"no such command")
        assert (await connection.command("count", bytes(900)))[0] == 0

    run(work)


def test_packets_arrive_whole_and_at_most_once(run: Run) -> None:
    """The next is sent when the last has come back, or has not in half a second: a slow machine loses none by that."""

    async def work(connection: Any) -> int:
        async def receive() -> None:
            while True:
                number, data = await connection.recv_packet()
                got.append((number, bytes(data)))
                came.set()

        got: list[tuple[int, bytes]] = []
        came = asyncio.Event()
        receiving = asyncio.create_task(receive())
        sent = [(number % 8, b"%03d" % number * 40) for number in range(100)]
        for packet in sent:
            came.clear()
            assert connection.send_packet(*packet)
            with suppress(TimeoutError):
                await asyncio.wait_for(came.wait(), 0.5)
        receiving.cancel()
        assert len(got) == len(set(got)) and set(got) <= set(sent)
        return len(got)

    assert run(work) > 70


def test_eight_channels_at_once(run: Run) -> None:
    async def work(connection: Any) -> None:
        channels = [await connection.open("echo", number) for number in range(8)]
        sent = [bytes((number,)) * (6000 + number) for number in range(8)]
        assert await asyncio.gather(*[echo(*pair) for pair in zip(channels, sent, strict=True)]) == sent
        again = await connection.open("echo", 3)  # the channel serves again
        assert await echo(again, b"again") == b"again"

    run(work)


def test_channel_serves_again_and_again(run: Run) -> None:
    """The next stream may begin while the end of the one before is still unacknowledged on either side."""

    async def work(connection: Any) -> None:
        for number in range(30):
            opened = await connection.open("echo", 3)
            assert await echo(opened, b"%02d" % number * 100) == b"%02d" % number * 100

    run(work)


def test_half_closed_stream_still_answers(run: Run) -> None:
    async def work(connection: Any) -> None:
        channel = await connection.open("total", 2)
        await channel.write(PATTERN[:30000])
        channel.close()
        assert await channel.readline() == b"30000\n"
        assert await channel.read(10) == b""

    run(work)


def test_reset_ends_one_stream_and_no_other(run: Run) -> None:
    async def work(connection: Any) -> None:
        kept, given_up = await connection.open("echo", 1), await connection.open("source", 2)
        await given_up.write(b"200000\n")
        assert len(await given_up.read(1000)) > 0
        given_up.reset(7)
        broken = await connection.open("breaks", 4)
        await broken.write(b"x")
        with pytest.raises((RemoteError, errors.ClientError)):
            assert await broken.read(1)
        assert await echo(kept, PATTERN[:5000]) == PATTERN[:5000]
        again = await connection.open("echo", 2)
        assert await echo(again, b"the channel serves again") == b"the channel serves again"

    run(work)


def test_reader_that_stalls_stops_its_own_stream_only(run: Run) -> None:
    """The client reads nothing of 100 KB for a while: flow control holds them back, in the board and on the way."""

    async def work(connection: Any) -> None:
        stalled = await connection.open("source", 5)
        await stalled.write(b"100000\n")
        for _ in range(5):
            await asyncio.sleep(0.1)
            other = await connection.open("echo", 6)
            assert await echo(other, b"0123456789" * 100) == b"0123456789" * 100
        assert stalled.stream.readable <= 16384
        got = await stalled.readexactly(100000)
        assert got == PATTERN[:100000] and await stalled.read(1) == b""

    run(work)


def test_writer_waits_for_a_slow_device(run: Run) -> None:
    async def work(connection: Any) -> None:
        channel = await connection.open("slow", 7)
        await channel.write(PATTERN[:40000] * 3)
        assert connection.check_buffer(7)[0] <= 65536  # what a session holds; the rest was taken by the device
        channel.close()
        assert await channel.readline() == b"120000\n"

    run(work)


def test_ends_are_told_with_code_and_reason(lab: Lab, run: Run) -> None:
    async def end(connection: Any) -> None:
        await connection.close(8, "the client had enough")

    async def ended(connection: Any) -> None:
        for _ in range(40):
            if b"8 the client had enough" in (await connection.command("ends"))[1]:
                return
            await asyncio.sleep(0.1)
        raise AssertionError("the device does not know how the session ended")

    async def be_closed(connection: Any) -> None:
        await connection.command("bye")
        with pytest.raises(errors.ClosedByPeer, match="going home") as caught:
            await connection.channel(1).read(1)
        assert caught.value.reason == 8

    run(end)
    run(ended)
    run(be_closed)


async def _wait_for_room(lab: Lab, client: Any) -> None:
    """Wait until the sessions of other tests are over: one whose goodbyes were all lost lasts 30 s more."""
    async with asyncio.timeout(60):
        while True:
            with suppress(errors.DeviceBusy):
                async with await client.connect(lab.dids[0], "direct") as connection:
                    if json.loads(bytes((await connection.command("status"))[1]))["sessions"] == 1:
                        return
            await asyncio.sleep(0.5)


def test_several_sessions_at_once_and_no_more_than_fit(lab: Lab) -> None:
    async def main(client: Any) -> None:
        await _wait_for_room(lab, client)
        connections = [await client.connect(lab.dids[0], "direct") for _ in range(_SESSIONS)]
        with pytest.raises(errors.DeviceBusy):
            await client.connect(lab.dids[0], "direct")
        opened = [await connection.open("echo", 1) for connection in connections]
        sent = [bytes((number,)) * 20000 for number in range(_SESSIONS)]
        assert await asyncio.gather(*[echo(*pair) for pair in zip(opened, sent, strict=True)]) == sent
        for connection in connections:
            await connection.close()
        async with await client.connect(lab.dids[0], "direct") as connection:
            assert await echo(await connection.open("echo", 1), b"room again") == b"room again"

    with bad_links.direct_hop():
        lab.run(main, 120)
