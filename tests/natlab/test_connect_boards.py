"""Real MicroPython behind real NATs: a board is paired and reached, and lost and found again."""

import asyncio
import time
from pathlib import Path
from typing import Any

import mpy_tools
import namespaces
import nat_kinds as kinds
import pytest
from nat_world import NatWorld, echoed, path_becomes, relay_in_use

from upeer_client import errors

DIRECT = {"lan", "direct"}
PAIRS = [
    (kinds.PORT_RESTRICTED, kinds.PORT_RESTRICTED),
    (kinds.SYMMETRIC, kinds.ADDRESS_RESTRICTED),
    (kinds.OPEN, kinds.SYMMETRIC),
    (kinds.FULL_CONE, kinds.OPEN),
    (kinds.SYMMETRIC, kinds.SYMMETRIC),
]


@pytest.fixture(scope="module", autouse=True)
def _usable() -> None:
    reason = namespaces.why_not() or mpy_tools.missing_reason()
    if reason:
        pytest.skip(reason)


@pytest.mark.parametrize(("kind_a", "kind_b"), PAIRS)
def test_board_is_paired_and_reached(kind_a: str, kind_b: str, tmp_path: Path) -> None:
    wanted = DIRECT if kinds.ice_can_connect_directly(kind_a, kind_b) else {"relay"}

    async def run(client: Any) -> None:
        await client.pair(world.did, world.setup_code)
        async with await client.connect(world.did) as connection:
            await echoed(connection, 64 << 10)
            await path_becomes(connection, wanted)
            await echoed(connection, 64 << 10, 2)
            print(connection.stats())

    with NatWorld(tmp_path, kind_a, kind_b, board=True) as world:
        world.boot_board()
        world.on_client(run(world.client()))


def test_board_moves_from_relay_to_direct_and_back_in_mid_transfer(tmp_path: Path) -> None:
    async def run(client: Any) -> None:
        await client.pair(world.did, world.setup_code)
        async with await client.connect(world.did) as connection:
            assert connection.path["kind"] == "relay"
            moved = asyncio.Event()
            transfer = asyncio.create_task(echoed(connection, 64 << 10, pace_s=0.08, until=moved))
            await asyncio.sleep(0.3)
            await asyncio.to_thread(world.block_direct, False)
            await path_becomes(connection, DIRECT)
            await asyncio.sleep(0.5)
            await asyncio.to_thread(world.block_direct)
            await path_becomes(connection, {"relay"})
            assert not transfer.done()
            moved.set()
            await transfer
            assert connection.stats()["path_changes"] >= 2

    with NatWorld(tmp_path, kinds.PORT_RESTRICTED, kinds.FULL_CONE, board=True) as world:
        world.boot_board()
        world.block_direct()
        world.on_client(run(world.client()))


def test_board_loses_its_wifi_and_is_reached_again(tmp_path: Path) -> None:
    """The session of before goes on as well when the network is back in time."""

    async def run(client: Any) -> None:
        await client.pair(world.did, world.setup_code)
        async with await client.connect(world.did) as connection:
            transfer = asyncio.create_task(echoed(connection, 256 << 10, pace_s=0.05))
            await asyncio.sleep(0.5)
            await asyncio.to_thread(board.set_air, False)
            await asyncio.sleep(3)
            assert not transfer.done()
            await asyncio.to_thread(board.set_air, True)
            back = time.monotonic()
            await transfer
            print(f"the transfer was over {time.monotonic() - back:.2f} s after the network was back")
            async with await client.connect(world.did) as second:
                await echoed(second, 4096)

    with NatWorld(tmp_path, kinds.PORT_RESTRICTED, kinds.PORT_RESTRICTED, board=True) as world:
        board = world.boot_board()
        world.on_client(run(world.client()))


def test_board_gets_another_address(tmp_path: Path) -> None:
    async def run(client: Any) -> None:
        await client.pair(world.did, world.setup_code)
        async with await client.connect(world.did) as connection:
            transfer = asyncio.create_task(echoed(connection, 256 << 10, pace_s=0.05))
            await asyncio.sleep(0.5)
            address = await asyncio.to_thread(world.lab.change_address, "device")
            await asyncio.to_thread(board.set_air, True, None, address)
            await transfer
        await asyncio.to_thread(world.wait_until_found)
        async with await client.connect(world.did) as connection:
            await echoed(connection, 4096)

    with NatWorld(tmp_path, kinds.ADDRESS_RESTRICTED, kinds.PORT_RESTRICTED, board=True) as world:
        board = world.boot_board()
        world.on_client(run(world.client()))


def test_board_whose_relay_and_masters_die_goes_on(tmp_path: Path) -> None:
    async def run(client: Any) -> None:
        await client.pair(world.did, world.setup_code)
        async with await client.connect(world.did) as connection:
            await path_becomes(connection, {"relay"})
            transfer = asyncio.create_task(echoed(connection, 128 << 10, pace_s=0.05))
            await asyncio.sleep(0.5)
            used = relay_in_use(connection)
            number = next(n for n in (1, 2, 3) if world.lab.server(n - 1).ip == used)
            await asyncio.to_thread(world.kill_master, number)
            await transfer
            assert relay_in_use(connection) not in (None, used)
        async with await client.connect(world.did) as connection:
            await echoed(connection, 4096)

    with NatWorld(tmp_path, kinds.SYMMETRIC, kinds.SYMMETRIC, board=True) as world:
        world.boot_board()
        world.on_client(run(world.client()))


def test_board_without_servers_is_reached_in_the_lan_only(tmp_path: Path) -> None:
    async def run(client: Any) -> None:
        await client.pair(world.did, world.setup_code)
        for number in (1, 2, 3):
            await asyncio.to_thread(world.kill_master, number)
        async with await client.connect(world.did, "lan") as connection:
            await echoed(connection, 4096)
            assert connection.path["kind"] == "lan"
        with pytest.raises(errors.NoAnswer):
            await client.connect(world.did, "direct", 2.0)

    with NatWorld(tmp_path, kinds.SYMMETRIC, kinds.SYMMETRIC, same_nat=True, board=True) as world:
        world.boot_board()
        world.on_client(run(world.client()))
