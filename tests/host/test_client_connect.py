"""Reaching a device: modes, pairing, and a distinct error for everything that can be in the way."""

import asyncio
import json
import time

import pytest
from client_lab import Lab

from upeer_client import calls, client, errors
from upeer_client.store import Pair
from upeer_office import bundle, platforms


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A lab that tests leave as they found it."""
    with Lab(tmp_path_factory.mktemp("lab")) as made:
        made.run(made.pair())
        yield made


@pytest.fixture
def own_lab(tmp_path):
    """A lab of this test, without discovery in the local network, so that only servers tell."""
    with Lab(tmp_path, masters=2, lan=False) as made:
        yield made


async def _echo(connection, data):
    channel = await connection.open("echo", 1)
    await channel.write(data)
    channel.close()
    got = b""
    while part := await channel.read(1 << 16):
        got += part
    return got


async def _connect(lab, mode="all", timeout=8.0):
    async with lab.client() as made:
        connection = await made.connect(lab.did, mode, timeout)
        await connection.close()


@pytest.mark.parametrize(("mode", "kind"), [("all", "lan"), ("lan", "lan"), ("direct", "lan"), ("relay", "relay")])
def test_connect_in_every_mode(lab, mode, kind):
    async def run():
        async with lab.client() as made, await made.connect(lab.did, mode) as connection:
            assert await _echo(connection, bytes(range(256)) * 1000) == bytes(range(256)) * 1000
            return connection.stats()

    stats = lab.run(run())
    assert stats["path"]["kind"] == kind
    assert stats["path"]["remote_port"] and stats["path"]["local_port"]
    assert stats["path_ms"] >= stats["invite_ms"]
    assert ("lookup_ms" in stats) == (mode in ("direct", "relay") or "lookup_ms" in stats)
    assert ("direct_ms" in stats) == (mode != "relay")
    assert stats["bytes_in"] > 256000 and stats["first_byte_ms"] >= stats["path_ms"]


@pytest.mark.parametrize("times", [2, 3])
def test_service_of_a_device_that_lacks_memory_for_a_moment_is_asked_for_again(lab, monkeypatch, times):
    monkeypatch.setattr("upeer_client.connection._MEMORY_WAIT_S", 0.01)

    async def run():
        async with lab.client() as made, await made.connect("lamp") as connection:
            lab.device.lacks_memory = times
            if times > 2:
                with pytest.raises(errors.ServiceRefused, match="out of memory on the device"):
                    await connection.open("echo", 1)
            assert await _echo(connection, b"again") == b"again"

    lab.run(run())


def test_commands_packets_and_buffers(lab):
    async def run():
        async with lab.client() as made, await made.connect("lamp") as connection:
            assert connection.role == "owner"
            status, answer = await connection.command("status")
            assert not status and json.loads(bytes(answer))["did"] == lab.did
            assert (await connection.command("nonsense"))[0] == 2
            assert connection.send_packet(3, b"unreliable")
            channel = connection.channel(2)
            await channel.write(b"x" * 100)
            await channel.drain()
            assert connection.check_buffer(2) == (0, 0)
            with pytest.raises(errors.ServiceRefused, match="no such service"):
                await connection.open("nonsense", 4)
            with pytest.raises(errors.UsageError):
                connection.channel(8)

    lab.run(run())


def test_one_client_has_many_connections(lab):
    async def run():
        async with lab.client() as made:
            connections = [await made.connect(lab.did, mode) for mode in ("lan", "relay", "direct")]
            got = await asyncio.gather(*[_echo(item, b"abc" * 9999) for item in connections])
            assert got == [b"abc" * 9999] * 3
            for item in connections:
                await item.close()

    lab.run(run())


def test_connection_that_is_closed_says_so(lab):
    async def run():
        async with lab.client() as made:
            connection = await made.connect(lab.did)
            channel = await connection.open("echo", 1)
            lab.device.connections[-1].abort(9, "")
            with pytest.raises(errors.ClosedByPeer, match="shutting down") as caught:
                await channel.read(1)
            assert caught.value.reason == 9
            with pytest.raises(errors.ClosedByPeer):
                await connection.command("status")

    lab.run(run())


def test_not_paired_and_wrong_arguments(lab):
    async def run(did, error, **options):
        async with lab.client() as made:
            with pytest.raises(error):
                await made.connect(did, **options)

    lab.run(run("TEST-000099-ABCDE", errors.NotPaired))
    lab.run(run("no did", errors.UsageError))
    lab.run(run(lab.did, errors.UsageError, mode="magic"))


def test_setup_code_that_is_wrong_or_used(lab):
    async def run(code):
        async with lab.client() as made:
            with pytest.raises(errors.CannotReach, match="by this setup code"):
                await made.pair(lab.did, code)

    lab.run(run("0000-0000-0000-0001"))
    lab.run(run(lab.setup_code))  # the device is paired: it answers setup sessions no more

    async def malformed():
        async with lab.client() as made:
            with pytest.raises(errors.UsageError, match="16 letters"):
                await made.pair(lab.did, "1234")

    lab.run(malformed())


def test_wrong_pair_key_is_as_good_as_unknown(lab):
    pair = lab.client().pairs.find(lab.did)

    async def run():
        async with lab.client() as made:
            made.pairs.find = lambda _name: Pair(pair.did, pair.client_id, b"k" * 32)
            with pytest.raises(errors.CannotReach):
                await made.connect(lab.did)
            made.pairs.find = lambda _name: Pair(pair.did, b"another1", pair.key)
            with pytest.raises(errors.TimedOut):
                await made.connect(lab.did, "direct", timeout=4)

    lab.run(run())


def test_busy_and_refusing_devices(lab):
    async def run(status, error):
        lab.device.refuses = status
        try:
            for mode in ("lan", "direct"):
                with pytest.raises(error):
                    await _connect(lab, mode)
        finally:
            lab.device.refuses = 0

    lab.run(run(1, errors.DeviceBusy))
    lab.run(run(2, errors.DeviceBusy))
    lab.run(run(3, errors.NotAllowed))


def test_device_without_memory_is_asked_again_and_one_without_room_is_not(lab, monkeypatch):
    waits = []

    def uniform(low, high):
        waits.append((low, high))
        if len(waits) == 2:
            lab.device.refuses = 0
        return 0.01

    monkeypatch.setattr("random.uniform", uniform)
    lab.device.refuses = 2
    lab.run(_connect(lab, "direct"))
    assert waits == [(0.5, 1)] * 2
    lab.device.refuses = 1
    try:
        with pytest.raises(errors.DeviceBusy, match="no room"):
            lab.run(_connect(lab, "direct"))
    finally:
        lab.device.refuses = 0
    assert len(waits) == 2


def test_clock_that_is_weeks_off(lab, monkeypatch):
    now = time.time()
    monkeypatch.setattr(client.time, "time", lambda: now - 30 * calls.WEEK_S)
    lab.run(_connect(lab, "direct"))


def test_unused_time_is_not_waited(lab):
    started = time.monotonic()
    lab.run(_connect(lab, timeout=60.0))
    assert time.monotonic() - started < 60


def test_offline_device_is_answered_by_all_masters(own_lab):
    async def run():
        await own_lab.pair()
        own_lab.device.stop()
        with pytest.raises(errors.CannotReach):  # not TimedOut: nobody waits for a device that is known to be away
            await _connect(own_lab, "direct")
        with pytest.raises(errors.CannotReach, match="does not answer in this network"):
            await _connect(own_lab, "lan")

    own_lab.run(run())


def test_one_master_is_enough(own_lab):
    async def run():
        await own_lab.pair()
        await own_lab.stop_master(1)
        await _connect(own_lab)
        await own_lab.stop_master(2)
        with pytest.raises(errors.NoAnswer, match="2 asked"):
            await _connect(own_lab, timeout=2.0)

    own_lab.run(run())


def test_device_whose_p2p_server_lost_it_is_reached_through_another(own_lab):
    async def run():
        await own_lab.pair()
        place = own_lab.services[1]._places[0].node
        place.p2p.shut_down()
        await _connect(own_lab)

    own_lab.run(run())


def test_direct_path_that_is_blocked(own_lab):
    own_lab.device.blocks_direct = True

    async def run():
        async with own_lab.client() as made:
            pair = await made.pair(own_lab.did, own_lab.setup_code)  # over a relay
            assert pair.role == "owner"
            connection = await made.connect(own_lab.did)
            assert connection.path["kind"] == "relay"
            with pytest.raises(errors.NoPath):
                await made.connect(own_lab.did, "direct", timeout=4)
            own_lab.device.blocks_direct = False
            while connection.path["kind"] == "relay":
                assert await _echo(connection, b"0123456789" * 1000) == b"0123456789" * 1000
                await asyncio.sleep(0.1)
            assert connection.upgraded and connection.stats()["direct_ms"] > connection.stats()["path_ms"]
            await connection.close()

    own_lab.run(run())


def test_connection_through_a_relay_moves_once_it_may(lab):
    async def run():
        async with lab.client() as made, await made.connect(lab.did, "relay") as connection:
            assert await _echo(connection, b"0123456789" * 10000) == b"0123456789" * 10000
            assert connection.path["kind"] == "relay" and not connection.upgraded
            connection.allow("all")
            while connection.path["kind"] == "relay":
                assert await _echo(connection, b"0123456789" * 1000) == b"0123456789" * 1000
            assert connection.upgraded
            with pytest.raises(errors.UsageError):
                connection.allow("magic")

    lab.run(run())


def test_no_relay(own_lab):
    async def run():
        await own_lab.pair()
        own_lab.device.blocks_direct = True
        for service in own_lab.services.values():
            service._places[0].node._handle_relay = lambda data, addr: None
            service._places[0].node._doors = service._places[0].node._make_doors()
        for mode in ("relay", "all"):
            with pytest.raises(errors.NoRelay):
                await _connect(own_lab, mode, timeout=4)

    own_lab.run(run())


def test_pairing_whose_answer_was_lost_is_found_out(own_lab):
    own_lab.device.loses_pair_answer = True

    async def run():
        async with own_lab.client() as made:
            pair = await made.pair(own_lab.did, own_lab.setup_code, "lamp")
            assert (pair.role, pair.name) == ("owner", "lamp")
            assert made.pairs.pending(own_lab.did) == []
            assert own_lab.device.commands.count("pair") == 1
            connection = await made.connect("lamp")
            assert await _echo(connection, b"hello") == b"hello"

    own_lab.run(run())


def test_owner_lets_a_second_client_pair(own_lab, tmp_path):
    async def run():
        await own_lab.pair()
        async with own_lab.client() as made, await made.connect(own_lab.did) as connection:
            assert (await connection.command("pair-open"))[0] == 0
        await asyncio.sleep(0.1)
        async with client.Client(own_lab.client_json, tmp_path / "home2") as second:
            assert (await second.pair(own_lab.did, own_lab.setup_code)).role == "user"
            async with await second.connect(own_lab.did) as connection:
                assert (await connection.command("pair-open"))[0] == 3

    own_lab.run(run())


def test_keys_that_changed(own_lab):
    """A newer client.json is found by itself; without one the error says that the keys are old."""
    own_lab.run(own_lab.pair())
    made, connection = own_lab.run(own_lab.connected())
    own_lab.run(connection.close())
    office = own_lab.office
    old = office.platform.current.key_id
    office.unpublish()
    platforms.start_generation(office.platform)
    platforms.retire_generation(office.platform)
    office.publish()
    bundle.write_bundles(office.platform)

    async def run():
        for number in (1, 2):
            await own_lab.stop_master(number)
            await own_lab.start_master(number)
        with pytest.raises(errors.WrongKeys, match=rf"generation {old}\b"):
            await made.connect(own_lab.did, timeout=4)
        own_lab.write_client_json()
        with pytest.raises(errors.CannotReach):  # the device has still the old keys; but masters answer
            await made.connect(own_lab.did, timeout=8)
        await made.close()

    own_lab.run(run())
