"""Files both ways, lost connections, damaged data, slow and silent devices, the blocking form."""

import asyncio
import contextlib
import hashlib
import os
import random

import pytest
from client_lab import Lab

from upeer.base.errors import ProtocolError
from upeer_client import blocking, errors, files
from upeer_client import client as client_module
from upeer_client.connection import is_lost

CONTENT = random.Random(1).randbytes(300_000)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A lab that tests leave as they found it."""
    with Lab(tmp_path_factory.mktemp("lab"), masters=1) as made:
        made.run(made.pair())
        (made.files / "data.bin").write_bytes(CONTENT)
        yield made


def _run_linked(lab, action, delays=()):
    async def run():
        async with lab.client() as client:
            return await files.with_retries(lambda: client.connect(lab.did, timeout=5), action, list(delays))

    return lab.run(run())


def test_get_and_put(lab, tmp_path):
    target = tmp_path / "copy.bin"
    seen = []
    entry = _run_linked(lab, lambda connection: files.get(connection, "data.bin", target, seen.append, seen.append))
    assert target.read_bytes() == CONTENT
    assert entry == files.Entry(hashlib.sha256(CONTENT).hexdigest(), len(CONTENT), "data.bin")
    assert seen[0] == sum(seen[1:]) == len(CONTENT)
    _run_linked(lab, lambda connection: files.put(connection, target, "back.bin"))
    assert (lab.files / "back.bin").read_bytes() == CONTENT
    (lab.files / "back.bin").unlink()


def test_empty_file_and_several_requests_on_one_connection(lab, tmp_path):
    (tmp_path / "empty").write_bytes(b"")

    async def action(connection):
        await files.put(connection, tmp_path / "empty", "empty")
        await files.get(connection, "empty", tmp_path / "empty2")
        for _ in range(5):
            await files.get(connection, "data.bin", tmp_path / "many")
        return await files.list_files(connection)

    listing = _run_linked(lab, action)
    assert (listing.free, listing.size) == lab.device.room
    assert [(entry.path, entry.size) for entry in listing.entries] == [("data.bin", len(CONTENT)), ("empty", 0)]
    assert (tmp_path / "empty2").read_bytes() == b""
    (lab.files / "empty").unlink()


def test_get_of_a_missing_file_leaves_nothing(lab, tmp_path):
    with pytest.raises(errors.FileRefused, match="no such file") as caught:
        _run_linked(lab, lambda connection: files.get(connection, "nothing", tmp_path / "copy"))
    assert caught.value.number == 2
    assert list(tmp_path.iterdir()) == []


def test_existing_target_survives_a_failure(lab, tmp_path):
    (tmp_path / "copy").write_bytes(b"old")
    with pytest.raises(errors.FileRefused):
        _run_linked(lab, lambda connection: files.get(connection, "nothing", tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == b"old"


@pytest.mark.parametrize(
    "answer",
    [
        b"OK 5\nhello" + b"0" * 64 + b"\n",
        b"OK 5\nhel",
        b"OK 5\nhello",
        b"OK",
        b"OK\n",
        b"OK -5\n",
        b"OK 5 5\nhello",
        b"OK " + b"9" * 900 + b"\n",
        "OK \u00b2\n".encode(),
        b"",
        b"ERR 5 file error\n",
    ],
)
def test_damaged_get_leaves_nothing(lab, tmp_path, answer):
    async def lie(channel):
        await channel.readline()
        await channel.write(answer)
        channel.close()

    true, lab.device.services["files"] = lab.device.services["files"], lie
    try:
        with pytest.raises(errors.DamagedData):
            _run_linked(lab, lambda connection: files.get(connection, "data.bin", tmp_path / "copy"))
    finally:
        lab.device.services["files"] = true
    assert list(tmp_path.iterdir()) == []


def _played(lab, serve, action):
    """Run a client's action against a device whose file service is `serve`; return what `serve` noted of it."""
    noted = []

    async def play(channel):
        noted.append((await channel.readline()).decode().strip())
        await serve(channel, noted)

    true, lab.device.services["files"] = lab.device.services["files"], play
    try:
        _run_linked(lab, action)
    finally:
        lab.device.services["files"] = true
        lab.noted = noted


async def _answer_and_count(channel, noted, *answers):
    """Send the first answer at once, each other one when something came; note what came in all."""
    for answer in answers:
        await channel.write(answer)
        await channel.drain()
        if answer is not answers[-1]:
            await channel.readexactly(1000)
    channel.close()
    with contextlib.suppress(ProtocolError):
        noted.append(len(await channel.read(1 << 20)))


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (b"ERR 28 122880 98304\n", errors.DeviceFull, "needs 120 KiB, 96 KiB are free on the device"),
        (b"ERR 28 122881 98303\n", errors.DeviceFull, "needs 121 KiB, 95 KiB are free on the device"),
        (b"ERR 28 file error\n", errors.DeviceFull, "its file system became full"),
        (b"ERR 1 file error\n", errors.FileRefused, "operation not permitted"),
        (b"ERR 22 unknown request\n", errors.FileRefused, "does not know what is asked of it"),
        (b"ERR 28 " + b"9" * 900 + b" 1\n", errors.DeviceFull, "its file system became full"),
        (b"ERR " + b"9" * 900 + b"\n", errors.FileRefused, "refuses new.bin"),
        ("ERR \u00b2\n".encode(), errors.FileRefused, "refuses new.bin"),
        (b"ERR\n", errors.FileRefused, "refuses new.bin"),
        (b"", errors.DamagedData, "too early"),
    ],
)
def test_put_that_is_refused_sends_no_byte(lab, tmp_path, answer, kind, says):
    (tmp_path / "new").write_bytes(CONTENT)
    with pytest.raises(kind, match=says):
        _played(
            lab,
            lambda channel, noted: _answer_and_count(channel, noted, answer),
            lambda connection: files.put(connection, tmp_path / "new", "new.bin"),
        )
    assert lab.noted[0] == "STORE 300000 new.bin" and sum(lab.noted[1:]) == 0


def test_put_ends_when_the_device_refuses_in_the_middle(lab, tmp_path):
    (tmp_path / "new").write_bytes(CONTENT * 4)  # far more than the device's window takes unread
    with pytest.raises(errors.DeviceFull, match="became full"):
        _played(
            lab,
            lambda channel, noted: _answer_and_count(channel, noted, b"OK\n", b"ERR 28 file error\n"),
            lambda connection: files.put(connection, tmp_path / "new", "new.bin"),
        )


@pytest.mark.parametrize("answer", [b"OK\n", b"OK 0 0\n", b"OK " + b"0" * 64 + b"\n"])
def test_put_whose_hash_does_not_come_back_is_damaged(lab, tmp_path, answer):
    (tmp_path / "new").write_bytes(b"x" * 2000)
    with pytest.raises(errors.DamagedData, match="damaged on the device"):
        _played(
            lab,
            lambda channel, noted: _answer_and_count(channel, noted, b"OK\n", answer),
            lambda connection: files.put(connection, tmp_path / "new", "new.bin"),
        )


@pytest.mark.parametrize("answer", [b"OK 1\n", b"OK a b\n", b"OK 1 2\n0 x name\n", b"OK 1 2\nname\n"])
def test_damaged_listing(lab, answer):
    with pytest.raises(errors.DamagedData, match="list of files"):
        _played(lab, lambda channel, noted: _answer_and_count(channel, noted, answer), files.list_files)


def test_put_into_a_full_device_leaves_the_old_file(lab, tmp_path):
    (tmp_path / "new").write_bytes(CONTENT)
    room, lab.device.room = lab.device.room, (len(CONTENT) - 1, 440 << 10)
    try:
        with pytest.raises(errors.DeviceFull) as caught:
            _run_linked(lab, lambda connection: files.put(connection, tmp_path / "new", "data.bin"))
        assert (caught.value.number, caught.value.exit_code) == (28, 7)
    finally:
        lab.device.room = room
    assert (lab.files / "data.bin").read_bytes() == CONTENT


def test_listing_of_firmware_that_does_not_tell_its_room(lab):
    async def action(connection):
        found = await files.list_files(connection)
        assert (found.entries, found.free, found.size) == ([], None, None)

    _played(lab, lambda channel, noted: _answer_and_count(channel, noted, b"OK\n"), action)


def test_connection_lost_in_mid_transfer_is_made_anew(lab, tmp_path):
    true = lab.device.services["files"]
    tries = []

    async def break_twice(channel):
        tries.append(channel)
        if len(tries) > 2:
            return await true(channel)
        await channel.readline()
        await channel.write(b"OK %d\n" % len(CONTENT) + CONTENT[:50_000])
        await channel.drain()
        channel.connection.abort(9, "")

    lab.device.services["files"] = break_twice
    target = tmp_path / "copy"
    try:
        _run_linked(lab, lambda connection: files.get(connection, "data.bin", target), (0.01, 0.01))
        assert target.read_bytes() == CONTENT and len(tries) == 3
        tries.clear()
        target.unlink()
        with pytest.raises(errors.ClosedByPeer):
            _run_linked(lab, lambda connection: files.get(connection, "data.bin", target), (0.01,))
    finally:
        lab.device.services["files"] = true
    assert list(tmp_path.iterdir()) == []


def test_device_that_reboots_is_found_again(tmp_path):
    with Lab(tmp_path, masters=1, lan=False) as lab:
        (lab.files / "data.bin").write_bytes(CONTENT)

        async def run():
            await lab.pair()
            async with lab.client() as client:
                connection = await client.connect(lab.did)
                channel = await connection.open("echo", 1)
                for other in lab.device.connections:
                    other.abort(9, "")
                await lab.reboot(is_polite=False)
                with pytest.raises(errors.ClosedByPeer) as caught:
                    await channel.read(1)
                assert is_lost(caught.value)
                connection = await client.connect(lab.did)
                await files.get(connection, "data.bin", tmp_path / "copy")

        lab.run(run())
    assert (tmp_path / "copy").read_bytes() == CONTENT


def test_device_that_vanishes_in_mid_transfer(tmp_path, monkeypatch):
    monkeypatch.setattr(client_module, "_IDLE_TIMEOUT_S", 1)
    with Lab(tmp_path, masters=1, lan=False) as lab:
        (lab.folder / "out").mkdir()

        async def vanish(channel):
            await channel.readline()
            await channel.write(b"OK 100000\nhello")
            await channel.drain()
            lab.device.stop(is_polite=False)

        lab.device.services["files"] = vanish
        lab.run(lab.pair())
        with pytest.raises(errors.ConnectionLost, match="is lost"):
            _run_linked(lab, lambda connection: files.get(connection, "data.bin", lab.folder / "out" / "copy"))
        assert list((lab.folder / "out").iterdir()) == []


def test_stream_that_the_device_gives_up_is_an_error_not_an_end(lab):
    async def give_up(channel):
        await channel.write(b"half")
        channel.reset()

    lab.device.services["broken"] = give_up

    async def action(connection):
        channel = await connection.open("broken", 5)
        with pytest.raises(Exception, match="gave the stream up"):
            while await channel.read(10):
                pass

    _run_linked(lab, action)


def test_full_disk_is_one_error_and_leaves_nothing(lab, tmp_path, monkeypatch):
    def fail(*_arguments):
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        _run_linked(lab, lambda connection: files.get(connection, "data.bin", tmp_path / "copy"))
    assert list(tmp_path.iterdir()) == []


def test_cancelled_connect_leaves_no_session(lab):
    async def run():
        async with lab.client() as client:
            task = asyncio.create_task(client.connect(lab.did))
            while not client._transport.parties:  # until it has begun; nothing can have come back by then
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert client._transport.parties == []

    lab.run(run())


def test_blocking_client(lab, tmp_path):
    with blocking.Client(lab.client_json, lab.home) as client:
        assert [pair.name for pair in client.pairs.all()] == ["lamp"]
        assert client.netcheck().servers[0].lookup
        with client.connect("lamp") as device:
            assert device.command("status")[0] == 0
            channel = device.open("echo", 2)
            channel.write(b"hello\nworld")
            assert channel.readline() == b"hello\n"
            assert channel.readexactly(5) == b"world"
            channel.drain()
            assert device.check_buffer(2) == (0, 0)
            assert device.path["kind"] == "lan" and device.stats()["bytes_out"] > 0
            channel.close()
            assert channel.read(1) == b""


def test_blocking_reads_time_out_and_keep_what_came(lab):
    async def slow(channel):
        await channel.write(b"abc")
        await channel.readline()
        await channel.write(b"d")

    lab.device.services["slow"] = slow
    with blocking.Client(lab.client_json, lab.home) as client, client.connect("lamp") as device:
        channel = device.open("slow", 1)
        with pytest.raises(errors.TimedOut) as caught:
            channel.readexactly(4, timeout=2)
        assert caught.value.partial == b"abc"
        channel.write(b"go\n")
        assert channel.read(9) == b"d"
        with pytest.raises(errors.TimedOut):
            device.recv_packet(timeout=0.05)


def test_blocking_write_times_out_when_nobody_reads(lab):
    async def deaf(channel):
        await asyncio.sleep(30)

    lab.device.services["deaf"] = deaf
    with blocking.Client(lab.client_json, lab.home) as client:
        device = client.connect("lamp")
        channel = device.open("deaf", 1)
        with pytest.raises(errors.TimedOut):
            channel.write(os.urandom(8 << 20), timeout=0.5)
        device.abort()
        with pytest.raises(errors.ClosedByPeer):
            channel.read(1)


def test_blocking_client_without_configuration(tmp_path):
    with pytest.raises(errors.ConfigError), blocking.Client(tmp_path / "none.json", tmp_path):
        pass
