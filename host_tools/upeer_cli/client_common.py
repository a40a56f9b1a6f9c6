"""What the client's commands share: how to reach a device, and the figures of a connection."""

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from upeer_client import files
from upeer_client.client import TIMEOUT_S, Client
from upeer_client.connection import MODES, Connection

RETRY_DELAYS_S = [0.5, 2.0, 5.0, 10.0]

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Link:
    """How to reach a device: the options of `link_options`."""

    config: Path | None
    home: Path | None
    mode: str = "all"
    timeout: float = TIMEOUT_S
    stats: bool = False


def client_options(*more: str) -> Callable[[_Function], Callable[..., Any]]:
    """Add --config, --home and more of the options of Link; the command gets them all as `link`."""
    return lambda function: _with_options(function, ("config", "home", *more))


def link_options(function: _Function) -> Callable[..., Any]:
    """Add all options of Link."""
    return _with_options(function, ("config", "home", "mode", "timeout", "stats"))


@asynccontextmanager
async def open_link(link: Link, did: str) -> AsyncIterator[Connection]:
    """Connect to a device for a while."""
    async with (
        Client(link.config, link.home) as client,
        await client.connect(did, link.mode, link.timeout) as connection,
    ):
        yield connection


def run_linked(
    link: Link, did: str, action: Callable[[Connection], Awaitable[_Result]], delays: list[float]
) -> tuple[_Result, dict[str, Any]]:
    """Connect, act, connect anew when the connection is lost; return the result and the connection's figures."""
    stats: dict[str, Any] = {}

    async def act(connection: Connection) -> _Result:
        result = await action(connection)
        stats.update(connection.stats())
        return result

    async def run() -> _Result:
        async with Client(link.config, link.home) as client:
            done: _Result = await files.with_retries(lambda: client.connect(did, link.mode, link.timeout), act, delays)
            return done

    return asyncio.run(run()), stats


def stats_line(stats: dict[str, Any]) -> str:
    """Return the figures of a connection in one line."""
    path = stats["path"]
    place = f" {path['remote']}:{path['remote_port']}" if path["kind"] != "none" else ""
    moved = ", moved to a better path" if path["upgraded"] else ""
    names = (("lookup", "lookup_ms"), ("path", "path_ms"), ("first byte", "first_byte_ms"), ("direct", "direct_ms"))
    times = ", ".join(f"{text} {stats[name]} ms" for text, name in names if name in stats)
    bytes_text = f"{stats['bytes_in']} bytes in, {stats['bytes_out']} out, {stats['retransmitted']} again"
    return f"{path['kind']}{place} from port {path['local_port']}{moved}; {times}; {bytes_text}; rtt {stats['srtt']} ms"


def print_stats(connection: Connection, json_mode: bool) -> None:
    """Print the figures of a connection to stderr."""
    stats = connection.stats()
    if json_mode:
        click.echo(json.dumps(stats, sort_keys=True), err=True)
    else:
        click.echo(stats_line(stats), err=True)


def _with_options(function: _Function, names: tuple[str, ...]) -> Callable[..., Any]:
    @functools.wraps(function)
    def command(*arguments: Any, **values: Any) -> Any:
        link = Link(**{name: values.pop(name) for name in names})
        return function(*arguments, link=link, **values)

    wrapped: Callable[..., Any] = command
    for name in reversed(names):
        wrapped = _OPTIONS[name](wrapped)
    return wrapped


_OPTIONS: dict[str, Callable[[Any], Any]] = {
    "config": click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        help="The platform's client.json; $UPEER_CLIENT or client.json in the home folder by default.",
    ),
    "home": click.option(
        "--home",
        envvar="UPEER_HOME",
        show_envvar=True,
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder of this client's pairs; ~/.upeer by default.",
    ),
    "mode": click.option(
        "--mode",
        type=click.Choice(list(MODES)),
        default="all",
        show_default=True,
        help="lan: no servers; direct: no relay; relay: nothing else.",
    ),
    "timeout": click.option(
        "--timeout",
        type=click.FloatRange(min=0.1),
        default=TIMEOUT_S,
        show_default=True,
        help="Seconds until an attempt to connect is given up.",
    ),
    "stats": click.option("--stats", is_flag=True, help="Add path, times and counters of the connection."),
}
