"""What breaks in mid-transfer: a path, a NAT's memory, an address, a relay, the servers. The session goes on."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import namespaces
import nat_kinds as kinds
import pytest
from nat_world import PORT, NatWorld, echoed, path_becomes, relay_in_use

pytestmark = pytest.mark.serial

DIRECT = {"lan", "direct"}
_SIZE = 192 << 10
_PACE_S = 0.02  # 64 pieces: about 1.3 s, so that something can break in the middle


@pytest.fixture(scope="module", autouse=True)
def _usable() -> None:
    reason = namespaces.why_not()
    if reason:
        pytest.skip(reason)


async def _break(world: NatWorld, client: Any, wanted: set[str], harm: Callable[[Any], None]) -> dict[str, Any]:
    """Do harm in the middle of a transfer that began on a wanted path.

    Returns the statistics at its end; their `path_changes` are those since the harm (a session that began on a relay
    has changed before).
    """
    async with await client.connect(world.did) as connection:
        await path_becomes(connection, wanted)
        transfer = asyncio.create_task(echoed(connection, _SIZE, pace_s=_PACE_S))
        await asyncio.sleep(0.3)
        assert not transfer.done()
        changed = connection.stats()["path_changes"]
        started = time.monotonic()
        await asyncio.to_thread(harm, connection)
        await transfer
        took = time.monotonic() - started
        await echoed(connection, 4096, 2)
        stats: dict[str, Any] = connection.stats() | {"took_s": took}
        stats["path_changes"] -= changed
        print(f"{took:.2f} s to the end of the transfer, path {stats['path']}")
        return stats


def test_blocked_path_falls_back_to_the_relay_and_comes_again(tmp_path: Path) -> None:
    async def run(client: Any) -> None:
        async with await client.connect(world.did) as connection:
            await path_becomes(connection, DIRECT)
            transfer = asyncio.create_task(echoed(connection, _SIZE, pace_s=_PACE_S))
            await asyncio.sleep(0.3)
            await asyncio.to_thread(world.block_direct)
            lost_s = await path_becomes(connection, {"relay"})
            await transfer
            await asyncio.to_thread(world.block_direct, False)
            back_s = await path_becomes(connection, DIRECT)
            await echoed(connection, 4096, 2)
            print(f"relay after {lost_s:.2f} s, direct again after {back_s:.2f} s")

    with NatWorld(tmp_path, kinds.PORT_RESTRICTED, kinds.FULL_CONE) as world:
        world.on_client(run(world.client()))


@pytest.mark.parametrize("side", ["client", "device"])
@pytest.mark.parametrize("kind", [kinds.FULL_CONE, kinds.PORT_RESTRICTED, kinds.SYMMETRIC])
def test_nat_forgets_its_mappings(kind: str, side: str, tmp_path: Path) -> None:
    kind_a, kind_b = (kind, kinds.PORT_RESTRICTED) if side == "client" else (kinds.PORT_RESTRICTED, kind)
    wanted = DIRECT if kinds.ice_can_connect_directly(kind_a, kind_b) else {"relay"}
    with NatWorld(tmp_path, kind_a, kind_b) as world:
        world.on_client(_break(world, world.client(), wanted, lambda _connection: world.lab.rebind(side)))


@pytest.mark.parametrize(("kind", "wanted"), [(kinds.FULL_CONE, DIRECT), (kinds.SYMMETRIC, {"relay"})])
def test_client_gets_another_address(kind: str, wanted: set[str], tmp_path: Path) -> None:
    with NatWorld(tmp_path, kind, kind) as world:

        def move(_connection: Any) -> None:
            world.lab.change_address("client")

        world.on_client(_break(world, world.client(), wanted, move))


def test_relay_dies_and_another_takes_over(tmp_path: Path) -> None:
    with NatWorld(tmp_path, kinds.SYMMETRIC, kinds.SYMMETRIC) as world:
        killed = []

        def kill(connection: Any) -> None:
            relay = relay_in_use(connection)
            killed.append(relay)
            world.kill_master(next(n for n in (1, 2, 3) if world.lab.server(n - 1).ip == relay))

        stats = world.on_client(_break(world, world.client(), {"relay"}, kill))
        assert stats["path"]["kind"] == "relay" and [stats["path"]["remote"]] != killed
        assert stats["path"]["remote_port"] == PORT and stats["path_changes"] >= 1


def test_all_servers_die_and_the_direct_session_goes_on(tmp_path: Path) -> None:
    with NatWorld(tmp_path, kinds.PORT_RESTRICTED, kinds.PORT_RESTRICTED) as world:

        def kill(_connection: Any) -> None:
            for number in (1, 2, 3):
                world.kill_master(number)

        stats = world.on_client(_break(world, world.client(), DIRECT, kill))
        assert stats["path"]["kind"] == "direct" and stats["path_changes"] == 0


def test_two_masters_stop_and_new_clients_still_connect(tmp_path: Path) -> None:
    with NatWorld(tmp_path, kinds.SYMMETRIC, kinds.PORT_RESTRICTED) as world:

        def stop(connection: Any) -> None:
            kept = next(n for n in (1, 2, 3) if world.lab.server(n - 1).ip == relay_in_use(connection))
            for number in {1, 2, 3} - {kept}:
                world.stop_master(number)

        client = world.client()
        world.on_client(_break(world, client, {"relay"}, stop))
        fresh = world.client()
        stats = world.on_client(_break(world, fresh, {"relay"}, lambda _connection: None))
        assert stats["path"]["kind"] == "relay"
