"""Every pair of NATs: a client reaches a device, directly where standard ICE would find a way, else over a relay."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import namespaces
import nat_kinds as kinds
import pytest
from nat_world import NatWorld, echoed, path_becomes

DIRECT = {"lan", "direct"}
_STAYS_S = 0.4  # long enough for eight challenges on each candidate
_SIZE = 96 << 10

PAIRS = [(a, b) for a in kinds.KINDS for b in kinds.KINDS]


@pytest.fixture(scope="module", autouse=True)
def _usable() -> None:
    reason = namespaces.why_not()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest, project_root: Path) -> Iterator[list[str]]:
    """Collects a line for each pair; they are printed at the end and kept in build/."""
    rows = [f"{'client':<20}{'device':<20}{'path':<8}{'remote':<18}{'connect':>9}{'direct':>9}{'moved':>9}"]
    yield rows
    text = "\n".join(rows)
    (project_root / "build").mkdir(exist_ok=True)
    (project_root / "build" / "nat_matrix.txt").write_text(text + "\n")
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    if reporter is not None:  # a worker of a parallel run has none
        reporter.write_line("\n" + text)


def row(kind_a: str, kind_b: str, stats: dict[str, Any], moved_ms: float | None = None) -> str:
    """Return one line of the table; times in ms since the call of connect, `moved` since the direct path was opened."""
    path = stats["path"]
    direct = str(stats["direct_ms"]) if path["kind"] in DIRECT else "-"
    moved = f"{moved_ms:.0f}" if moved_ms is not None else "-"
    words = f"{kind_a:<20}{kind_b:<20}{path['kind']:<8}{path['remote']:<18}"
    return f"{words}{stats['path_ms']:>9}{direct:>9}{moved:>9}"


async def _connect_and_settle(world: NatWorld, client: Any, is_direct: bool) -> dict[str, Any]:
    """Connect, see bytes go both ways and the path that was promised; return the statistics."""
    async with await client.connect(world.did) as connection:
        await echoed(connection, _SIZE)
        if is_direct:
            await path_becomes(connection, DIRECT)
        else:
            await asyncio.sleep(_STAYS_S)
        await echoed(connection, 4096, 2)
        stats: dict[str, Any] = connection.stats()
        return stats


async def _move(world: NatWorld, client: Any) -> float:
    """Start on the relay, open the direct path in mid-transfer, and return the ms it took to move there."""
    async with await client.connect(world.did) as connection:
        assert connection.path["kind"] == "relay"
        moved = asyncio.Event()
        transfer = asyncio.create_task(echoed(connection, _SIZE, pace_s=0.02, until=moved))
        await asyncio.sleep(0.05)
        assert connection.path["kind"] == "relay" and not transfer.done()
        await asyncio.to_thread(world.block_direct, False)
        opened = time.monotonic()
        await path_becomes(connection, DIRECT)
        moved_ms = (time.monotonic() - opened) * 1000
        assert not transfer.done(), "the transfer was over before the path moved"
        moved.set()
        await transfer
        await echoed(connection, 4096, 2)
        assert connection.upgraded and connection.path["kind"] in DIRECT
        return moved_ms


@pytest.mark.parametrize(("kind_a", "kind_b"), PAIRS)
def test_pair_connects_on_the_best_path(kind_a: str, kind_b: str, tmp_path: Path, table: list[str]) -> None:
    is_direct = kinds.ice_can_connect_directly(kind_a, kind_b)
    with NatWorld(tmp_path, kind_a, kind_b) as world:
        client = world.client()
        stats = world.on_client(_connect_and_settle(world, client, is_direct))
        assert (stats["path"]["kind"] in DIRECT) == is_direct
        moved_ms = None
        if is_direct:
            world.block_direct()
            moved_ms = world.on_client(_move(world, client))
    table.append(row(kind_a, kind_b, stats, moved_ms))


async def _path_by_mode(world: NatWorld, client: Any, mode: str) -> dict[str, Any]:
    async with await client.connect(world.did, mode) as connection:
        await echoed(connection, 4096)
        await path_becomes(connection, DIRECT)
        path: dict[str, Any] = connection.path
        return path


@pytest.mark.parametrize("hairpin", [False, True], ids=["no-hairpin", "hairpin"])
@pytest.mark.parametrize("kind", kinds.KINDS)
def test_pair_behind_one_nat_stays_in_the_lan(kind: str, hairpin: bool, tmp_path: Path, table: list[str]) -> None:
    with NatWorld(tmp_path, kind, kind, same_nat=True, hairpin=hairpin) as world:
        client = world.client()
        stats = world.on_client(_connect_and_settle(world, client, True))
        without_discovery = world.on_client(_path_by_mode(world, client, "direct"))
        for path in (stats["path"], without_discovery):
            assert path["kind"] == "lan" and path["remote"] == world.lab.device.ip
    table.append(row(kind, "same NAT, hairpin" if hairpin else "same NAT", stats))


def test_lan_is_enough_when_no_server_answers(tmp_path: Path) -> None:
    with NatWorld(tmp_path, kinds.PORT_RESTRICTED, kinds.PORT_RESTRICTED, same_nat=True) as world:
        client = world.client()
        for number in (1, 2, 3):
            world.kill_master(number)
        for mode in ("lan", "all"):
            assert world.on_client(_path_by_mode(world, client, mode))["kind"] == "lan"
