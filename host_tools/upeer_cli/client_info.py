"""`upeer info DID`: what a device tells about itself, its memory above all."""

import asyncio
import json
from typing import Any

import click

from upeer_cli.client_common import Link, link_options, open_link
from upeer_cli.common import UserError, examples, json_option, report

_DID = "ABCD-123456-GHKLM"


@click.command(epilog=examples(f"upeer info {_DID}", f"upeer info {_DID} --json"))
@click.argument("did", metavar="DID")
@link_options
@json_option
def info(did: str, link: Link, json_mode: bool) -> None:
    """Show a device's uptime, servers, sessions, memory and faults."""

    async def run() -> dict[str, Any]:
        async with open_link(link, did) as connection:
            status, answer = await connection.command("status")
            if status:
                raise UserError(f"{did} does not tell: {bytes(answer).decode(errors='replace')}")
            found: dict[str, Any] = json.loads(bytes(answer))
            return found

    found = asyncio.run(run())
    report(found, json_mode, "\n".join(lines(found)))


def lines(found: dict[str, Any]) -> list[str]:
    """Return what people read of a device's answer."""
    text = [
        f"{found['did']}, up for {found.get('uptime_s', 0)} s, protocol version {found.get('version', '?')}",
        f"logged in to {found.get('masters', 0)} masters and {found.get('p2p_servers', 0)} p2p servers",
        f"{found.get('sessions', 0)} sessions open, {found.get('pairs', 0)} clients paired",
    ]
    memory = found.get("memory")
    if memory:
        text.append(
            f"memory: {_kb(memory['live'])} of {_kb(memory['limit'])} KB in use, at most {_kb(memory['peak'])};"
            f" {_kb(memory['reserve'])} KB left for Wi-Fi, at least {_kb(memory['reserve_least'])};"
            f" {memory['refused']} requests refused for want of it"
        )
    return text + [f"fault: {fault}" for fault in found.get("faults", [])]


def _kb(size: int) -> int:
    return size >> 10
