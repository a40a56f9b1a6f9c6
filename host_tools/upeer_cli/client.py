"""`upeer pair|connect|ping|get|put|ls|netcheck|devices`: what an app does, from the command line."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import click

from upeer_cli import exit_codes
from upeer_cli.client_common import (
    RETRY_DELAYS_S,
    Link,
    client_options,
    link_options,
    open_link,
    print_stats,
    run_linked,
    stats_line,
)
from upeer_cli.client_ping import Pings
from upeer_cli.client_pipe import pipe
from upeer_cli.common import UserError, examples, json_option, progress, report
from upeer_client import files
from upeer_client.client import Client
from upeer_client.connection import Connection
from upeer_client.errors import CannotReach, ClientError, NoAnswer
from upeer_client.netcheck import Report, ServerReport
from upeer_client.store import Pair, PairStore, checked_did

_DID = "ABCD-123456-GHKLM"
_Function = TypeVar("_Function", bound=Callable[..., Any])


def _device(function: _Function) -> _Function:
    return click.argument("did", metavar="DID")(function)


@click.command(epilog=examples(f"upeer pair {_DID} --setup-code 01AB-CDEF-10GH-JKMN --name door"))
@_device
@click.option("--setup-code", metavar="CODE", help="From the device's label; asked for when it is not given.")
@click.option("--name", default="", help="What to call the device here; commands take it instead of the DID.")
@link_options
@json_option
def pair(did: str, setup_code: str | None, name: str, link: Link, json_mode: bool) -> None:
    """Pair with a device by its setup code. The first client to do so owns it."""
    did = checked_did(did)
    code = setup_code or click.prompt("Setup code", hide_input=True, err=True)

    async def run() -> Pair:
        async with Client(link.config, link.home) as client:
            return await client.pair(did, code, name, link.mode, link.timeout)

    made = asyncio.run(run())
    report({"did": made.did, "role": made.role, "name": made.name}, json_mode, f"paired with {made.did} as {made.role}")


@click.command(epilog=examples(f"echo hello | upeer connect {_DID} --service echo", f"upeer connect {_DID} --stats"))
@_device
@click.option("--service", default="echo", show_default=True, help="Which service of the device.")
@click.option("--channel", type=click.IntRange(0, 7), default=0, show_default=True, help="On which channel.")
@link_options
@json_option
def connect(did: str, service: str, channel: int, link: Link, json_mode: bool) -> None:
    """Join stdin and stdout to a service of a device, until both directions have ended.

    With --stats the figures go to stderr, with --json as a JSON document.
    """

    async def run() -> None:
        async with open_link(link, did) as connection:
            await pipe(await connection.open(service, channel))
            if link.stats or json_mode:
                print_stats(connection, json_mode)

    asyncio.run(run())


@click.command(epilog=examples(f"upeer get {_DID} notes.txt", f"upeer get {_DID} log/today.txt today.txt --stats"))
@_device
@click.argument("path")
@click.argument("target", required=False, type=click.Path(path_type=Path))
@link_options
@json_option
def get(did: str, path: str, target: Path | None, link: Link, json_mode: bool) -> None:
    """Copy the file PATH of a device to TARGET, by default its name in this folder. A broken copy leaves nothing."""
    name = Path(path).name
    if not name:
        raise UserError(f"{path!r} names no file", "see 'upeer ls'", exit_codes.USAGE)
    goal = target or Path(name)
    if goal.is_dir():
        goal /= name

    async def action(connection: Connection) -> files.Entry:
        with ExitStack() as stack:
            bars: list[Callable[[int], None]] = []
            return await files.get(
                connection,
                path,
                goal,
                lambda count: bars[0](count),
                lambda size: bars.append(stack.enter_context(progress(name, size))),
            )

    entry, stats = run_linked(link, did, action, RETRY_DELAYS_S)
    _report_copy(entry, str(goal), stats, link, json_mode)


@click.command(epilog=examples(f"upeer put {_DID} notes.txt", f"upeer put {_DID} today.txt log/today.txt"))
@_device
@click.argument("source", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("path", required=False)
@link_options
@json_option
def put(did: str, source: Path, path: str | None, link: Link, json_mode: bool) -> None:
    """Copy the file SOURCE to a device, as PATH or under its own name."""
    name = path or source.name

    async def action(connection: Connection) -> files.Entry:
        with progress(name, source.stat().st_size) as advance:
            return await files.put(connection, source, name, advance)

    entry, stats = run_linked(link, did, action, RETRY_DELAYS_S)
    _report_copy(entry, name, stats, link, json_mode)


@click.command(epilog=examples(f"upeer ls {_DID}", f"upeer ls {_DID} log --json"))
@_device
@click.argument("path", required=False, default="")
@link_options
@json_option
def ls(did: str, path: str, link: Link, json_mode: bool) -> None:
    """List a device's files, with sizes in bytes and SHA-256, and how much room is left."""

    async def action(connection: Connection) -> files.Listing:
        return await files.list_files(connection, path)

    found, stats = run_linked(link, did, action, [])
    rows = [vars(entry) for entry in found.entries]
    data: dict[str, Any] = {"files": rows, "free": found.free, "size": found.size} | _stats(stats, link)
    lines = [f"{entry.size:9}  {entry.hash[:16]}  {entry.path}" for entry in found.entries] or ["no files"]
    if found.free is not None and found.size is not None:
        lines.append(f"{found.free >> 10} of {found.size >> 10} KiB are free")
    report(data, json_mode, "\n".join(lines) + _stats_text(stats, link))


@click.command(epilog=examples(f"upeer ping {_DID}", f"upeer ping {_DID} --count 20 --interval 0.2 --stats"))
@_device
@click.option("--count", type=click.IntRange(min=1), default=4, show_default=True, help="How many.")
@click.option("--interval", type=click.FloatRange(min=0.0), default=1.0, show_default=True, help="Seconds between two.")
@link_options
@json_option
@click.pass_context
def ping(ctx: click.Context, did: str, count: int, interval: float, link: Link, json_mode: bool) -> None:
    """Measure the way to a device: a small request and its answer, end to end."""

    async def run() -> dict[str, Any]:
        async with open_link(link, did) as connection:
            pings = Pings(connection, quiet=json_mode)
            await pings.run(count, interval)
            if not json_mode:
                click.echo("\n".join(pings.summary()))
            data = pings.data()
            return data | _stats(connection.stats(), link) | {"stats_text": _stats_text(connection.stats(), link)}

    data = asyncio.run(run())
    text = data.pop("stats_text").lstrip("\n")
    report(data, json_mode, text or None)
    ctx.exit(exit_codes.OK if data["received"] else exit_codes.TIME_OUT)


@click.command(epilog=examples("upeer netcheck", "upeer netcheck --json"))
@client_options()
@json_option
@click.pass_context
def netcheck(ctx: click.Context, link: Link, json_mode: bool) -> None:
    """Show which masters answer, how they see this computer, and the NAT in front of it."""

    async def run() -> Report:
        async with Client(link.config, link.home) as client:
            return await client.netcheck()

    found = asyncio.run(run())
    answering = [server for server in found.servers if server.lookup]
    report(_netcheck_data(found), json_mode, lambda: "\n".join(_netcheck_lines(found)))
    if not answering:
        is_there = any(server.stun for server in found.servers)
        ctx.exit(exit_codes.AUTHENTICATION if is_there else exit_codes.UNREACHABLE)


@click.command(epilog=examples("upeer devices", "upeer devices --check --json"))
@click.option("--check", is_flag=True, help="Connect to each, to see whether it can be reached.")
@client_options("mode", "timeout")
@json_option
def devices(check: bool, link: Link, json_mode: bool) -> None:
    """List the devices that this client is paired with."""
    pairs = PairStore(link.home).all()
    rows = [{"did": item.did, "name": item.name, "role": item.role, "paired": item.paired} for item in pairs]
    if check:
        for row, how in zip(rows, asyncio.run(_check_all(link, pairs)), strict=True):
            row["reachable"] = how
    lines = [_device_line(row) for row in rows]
    report({"devices": rows}, json_mode, "\n".join(lines) or "no devices; pair one with 'upeer pair'")


async def _check_all(link: Link, pairs: list[Pair]) -> list[str]:
    """Return how each device can be reached: lan, direct, relay or no."""

    async def one(client: Client, item: Pair) -> str:
        try:
            connection = await client.connect(item.did, link.mode, link.timeout)
        except (CannotReach, NoAnswer):
            return "no"
        except ClientError as error:
            return f"no: {error}"
        kind = str(connection.path["kind"])
        await connection.close(timeout=1.0)
        return kind

    async with Client(link.config, link.home) as client:
        return list(await asyncio.gather(*[one(client, item) for item in pairs]))


def _device_line(row: dict[str, Any]) -> str:
    reachable = f"  {row['reachable']}" if "reachable" in row else ""
    return f"{row['did']}  {row['role']:6}  {row['name'] or '-':16}{reachable}".rstrip()


def _report_copy(entry: files.Entry, name: str, stats: dict[str, Any], link: Link, json_mode: bool) -> None:
    data = {"file": name, "size": entry.size, "hash": entry.hash} | _stats(stats, link)
    text = f"{name}: {entry.size} bytes, SHA-256 {entry.hash[:16]}..."
    report(data, json_mode, text + _stats_text(stats, link))


def _stats(stats: dict[str, Any], link: Link) -> dict[str, Any]:
    return {"stats": stats} if link.stats else {}


def _stats_text(stats: dict[str, Any], link: Link) -> str:
    return "\n" + stats_line(stats) if link.stats else ""


def _netcheck_data(found: Report) -> dict[str, Any]:
    servers = [vars(server) | {"answers": server.lookup is not None} for server in found.servers]
    data: dict[str, Any] = {"masters": servers, "nat": found.nat, "reflexive": found.reflexives}
    return data | {"local_port": found.local_port, "interfaces": [vars(item) for item in found.interfaces]}


def _netcheck_lines(found: Report) -> list[str]:
    lines = [f"NAT: {found.nat}"]
    lines += [f"seen from outside as {ip}:{port}" for ip, port in found.reflexives]
    own = ", ".join(f"{item.address} ({item.name})" for item in found.interfaces)
    lines.append(f"own addresses: {own or 'none'}, port {found.local_port}")
    return lines + [_master_line(server) for server in found.servers]


def _master_line(server: ServerReport) -> str:
    place = f"master {server.id} at {server.address[0]}:{server.address[1]}"
    if server.lookup:
        return f"{place}: answers" + (f", {server.rtt_ms} ms" if server.rtt_ms is not None else "")
    if server.cookie:
        return f"{place}: answers, but not as the master that this client knows"
    if server.stun:
        return f"{place}: there, but does not know this client's keys; get a new client.json"
    return f"{place}: no answer"
