"""The self-test's session through the line's own server: real MicroPython logs in, is invited, and echoes."""

import asyncio
import hashlib
import socket
import time

import pytest
from board_images import RECORD
from factory_lab import FileBoard, mac_of, make_factory
from office_tools import upeer

import upeer_client
from upeer_board import image
from upeer_board.boards import load_board
from upeer_board.virtual import VirtualBoard
from upeer_factory.board import line_server, prove
from upeer_factory.board.burn import Burner, Options
from upeer_factory.board.line_server import PORTS, LineServer, Place
from upeer_factory.board.targets import ReplTarget
from upeer_factory.errors import FactoryError
from upeer_factory.pool import audit
from upeer_factory.pool.pool import Reserved

HERE = Place("127.0.0.1")
_OTHERS = ["flash", "ram", "clock", "rng", "wifi"]
_STORED = """
from esp32 import NVS
_nvs, _found = NVS("upeer"), []
for _key in ("pairs0", "pairs1", "keys0", "keys1"):
    try:
        _nvs.get_blob(_key, bytearray(1400))
        _found.append(_key)
    except OSError:
        pass
print("upeer-answer", '{"stored": "%s"}' % " ".join(_found))
"""


@pytest.fixture(scope="module")
def target(tmp_path_factory, micropython):
    del micropython
    folder = tmp_path_factory.mktemp("looped")
    image.build(load_board("UNIX"), folder, image.Options(licence=RECORD))
    with VirtualBoard.start(folder) as running:
        yield ReplTarget(running.pty)


@pytest.fixture(scope="module")
def mac(target):
    return target.read_mac()


def _licence(mac, **changes):
    return Reserved(RECORD["did"], mac, "reserved", True, {**RECORD, **changes})


def _run(target, licence, **options):
    """Return (the board's row, what the station makes of it)."""
    nonce = prove.new_nonce()
    with LineServer(HERE, licence, nonce) as line:
        wanted = {"skip": _OTHERS, "ssid": "line", "server": line.address, **options}
        answer = target.selftest(nonce, licence.mac, wanted)
        row = prove.check_selftest(answer, nonce, licence.mac, RECORD["licence_key"]).rows["loop"]
        return row, line.check(row)


def test_board_is_reached_through_the_line_and_echoes(target, mac):
    row, failure = _run(target, _licence(mac))
    assert failure == ""
    good, (count, digest, path) = row
    assert good and count == 16384 and len(bytes.fromhex(digest)) == 32 and path in ("lan", "direct")


def test_nothing_of_the_session_stays(target, mac):
    before = target._ask(_STORED)
    assert _run(target, _licence(mac))[1] == ""
    assert target._ask(_STORED) == before == {"stored": ""}


@pytest.mark.parametrize("name", ["licence_key", "crc_key", "p2p_key"])
def test_server_that_lacks_a_key_is_not_believed(target, mac, name):
    row, failure = _run(target, _licence(mac, **{name: bytes(range(7, 39))}), loop_s=2)
    assert row == (False, "no login at the line's server")
    assert failure == "the board says: no login at the line's server"


def test_client_that_lacks_the_nonce_is_not_answered(target, mac):
    """The board logs in, but another nonce gives another pair key: nobody finds it."""
    nonce = prove.new_nonce()
    with LineServer(HERE, _licence(mac), prove.new_nonce()) as line:
        wanted = {"skip": _OTHERS, "ssid": "line", "server": line.address, "loop_s": 2}
        answer = target.selftest(nonce, mac, wanted)
        row = prove.check_selftest(answer, nonce, mac, RECORD["licence_key"]).rows["loop"]
        assert row == (False, "no client") and line.check(row) == "the board says: no client"


def test_other_bytes_and_a_board_that_lies_are_noticed(mac):
    with LineServer(HERE, _licence(mac), prove.new_nonce()) as line:
        digest = hashlib.sha256(b"").hexdigest()
        assert line.check(None) == "the board did not try"
        assert line.check((True, [16384, digest, "lan"])) == "the station says: the board did not come"
        line._failure = ""
        assert line.check((True, [16384, digest, "lan"])) == "the board and the station tell of different bytes"


def test_board_without_its_session_burns_nothing(tmp_path):
    factory = make_factory(tmp_path)
    board = FileBoard(tmp_path / "board", mac_of(1))
    with pytest.raises(FactoryError, match="failed its test of loop: the board did not try") as caught:
        Burner(board, factory.pool, Options(selftest={}, place=HERE)).run()
    assert caught.value.code == "E26" and factory.pool.status().burned == 0
    row = [row for row in audit.entries(factory.pool.database) if row["event"] == "selftest failed"][0]
    assert row["loop"] == "the board did not try"


def test_port_that_is_taken_gives_way_to_the_next_until_none_is_left(mac, monkeypatch):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first:
        first.bind(("0.0.0.0", 0))
        number = first.getsockname()[1]
        with LineServer(Place("127.0.0.1", number), _licence(mac), prove.new_nonce()) as line:
            assert number < line.address[1] < number + PORTS
        monkeypatch.setattr(line_server, "PORTS", 1)
        with pytest.raises(FactoryError, match=f"UDP ports {number} to {number} of .* are all taken") as caught:
            LineServer(Place("127.0.0.1", number), _licence(mac), prove.new_nonce())
        assert caught.value.code == "E27"


def test_board_without_a_licence_of_the_pool_is_not_tested(tmp_path):
    factory = make_factory(tmp_path)
    with pytest.raises(FactoryError, match="the pool has no licence for") as caught:
        Burner(FileBoard(tmp_path / "board", mac_of(1)), factory.pool, Options(selftest={})).test()
    assert caught.value.code == "E14" and factory.pool.status().reserved == 0


@pytest.mark.parametrize("text", ["here", "192.0.2.1:x", "0.0.0.0", "192.0.2.1:65500", "192.0.2.1:-1", "", "::1"])
def test_addresses_that_are_none(text):
    with pytest.raises(ValueError, match="address"):
        Place.parse(text)
    wanted = ["--selftest", "--wifi", "line", f"--server={text}"]
    assert "address" in upeer("burn", "--pool", "p", "--port", "p", *wanted, code=2)


def test_addresses():
    assert (Place.parse("192.0.2.1"), Place.parse("192.0.2.1:7000")) == (Place("192.0.2.1"), Place("192.0.2.1", 7000))


def test_station_that_stands_still_before_its_goodbye_gets_the_board_to_pass(target, mac, monkeypatch):
    """The board has sent all and cannot know that it came: it waits until the station says so."""
    real = LineServer._stream

    async def stream(self, channel):
        read = channel.read

        async def read_slowly(size):
            part = await read(size)
            if not part:
                time.sleep(4)  # nothing of the station runs, neither client nor server
            return part

        channel.read = read_slowly
        return await real(self, channel)

    monkeypatch.setattr(LineServer, "_stream", stream)
    row, failure = _run(target, _licence(mac))
    assert (failure, row[0]) == ("", True)


def test_stream_that_stands_still_is_begun_again(target, mac, monkeypatch):
    calls = []
    real = LineServer._stream

    async def stream(self, channel):
        calls.append(channel)
        if len(calls) == 1:
            await asyncio.sleep(0)
            raise TimeoutError
        return await real(self, channel)

    monkeypatch.setattr(LineServer, "_stream", stream)
    row, failure = _run(target, _licence(mac))
    assert (failure, row[0], len(calls)) == ("", True, 2)


def test_call_that_fails_is_made_again_until_the_board_is_reached(target, mac, monkeypatch):
    """However long the station takes for it: the board's patience begins anew with each thing that goes on."""
    real = upeer_client.Client.connect_pair
    times = []

    async def connect_pair(self, pair, mode, timeout):
        times.append(timeout)
        if len(times) < 4:
            raise upeer_client.errors.CannotReach("lost on the way")
        return await real(self, pair, mode, timeout)

    monkeypatch.setattr(upeer_client.Client, "connect_pair", connect_pair)
    row, failure = _run(target, _licence(mac))
    assert (failure, row[0], times) == ("", True, [10, 20, 40, 40])


def test_station_may_be_slow_at_each_step(target, mac, monkeypatch):
    """The board's patience is for a time in which nothing goes on: two steps of 5 s are more than 8 s, and pass."""
    real_call, real_stream = upeer_client.Client.connect_pair, LineServer._stream

    async def connect_pair(self, pair, mode, timeout):
        await asyncio.sleep(5)
        return await real_call(self, pair, mode, timeout)

    async def stream(self, channel):
        await asyncio.sleep(5)
        return await real_stream(self, channel)

    monkeypatch.setattr(upeer_client.Client, "connect_pair", connect_pair)
    monkeypatch.setattr(LineServer, "_stream", stream)
    row, failure = _run(target, _licence(mac), loop_s=8)
    assert (failure, row[0]) == ("", True)
