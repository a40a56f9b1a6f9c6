"""`upeer serve` runs servers; `upeer status` asks the running ones."""

import asyncio
import json
from pathlib import Path
from typing import Any

import click

from upeer_cli import exit_codes
from upeer_cli.common import UserError, examples, json_option, report
from upeer_office import bundle
from upeer_office.errors import OfficeError
from upeer_office.platforms import parse_address
from upeer_office.push import is_alive
from upeer_office.runfile import Running, read_run_files, write_run_file
from upeer_server.admin import AdminError
from upeer_server.log import Log
from upeer_server.serve import Options, Service, run

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(epilog=examples("upeer serve shop", "upeer serve shop --roles relay", "upeer serve shop --master-id 2"))
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option("--roles", metavar="ROLE,...", help="Which of master, p2p and relay; all by default.")
@click.option("--master-id", type=click.IntRange(1, 255), help="Serve only the address of this master.")
@click.option("--bind", metavar="ADDRESS", help="Local address to listen on; by default the ones of the platform.")
@click.option(
    "--admin", metavar="HOST:PORT", help="Where 'status' and the office reach this process; loopback by default."
)
@click.option("--json", "json_mode", is_flag=True, help="Print the ready line and logs as JSON, one document a line.")
def serve(
    folder: Path, roles: str | None, master_id: int | None, bind: str | None, admin: str | None, json_mode: bool
) -> None:
    """Serve the platform in DIR, or one bundle of it, until Ctrl-C or SIGTERM.

    Prints one line that begins with `ready` when every address is open. Logs go to stderr.
    """
    chosen = _roles(roles)
    options = Options(bind, parse_address(admin) if admin else Options.admin)
    log = Log(json_mode)
    service = Service(lambda: bundle.load_nodes(folder, chosen, master_id), log, options)
    paths: list[Path] = []

    def on_ready() -> None:
        paths.append(write_run_file(folder, service.admin_address, service.servers[0]["name"], service.servers))
        click.echo(_ready_line(service, json_mode))

    def on_stop() -> None:
        for path in paths:
            path.unlink(missing_ok=True)

    asyncio.run(run(service, on_ready, on_stop))


@click.command(epilog=examples("upeer status shop", "upeer status shop --json"))
@click.argument("folder", metavar="DIR", type=_FOLDER)
@json_option
@click.pass_context
def status(ctx: click.Context, folder: Path, json_mode: bool) -> None:
    """Ask every server that runs from DIR who is online and how much went through it."""
    if not bundle.bundle_folders(folder):
        raise UserError(
            f"there is nothing to serve in {folder}", "give the folder of a platform or of one of its bundles"
        )
    answers = [_ask(running) for running in read_run_files(folder)]
    known = [bundle.bundle_name(bundle.read_bundle(path)) for path in bundle.bundle_folders(folder)]
    data = _summary(answers, known)
    report(data, json_mode, lambda: "\n".join(_lines(data)))
    ctx.exit(exit_codes.OK if data["running"] else exit_codes.UNREACHABLE)


def _roles(text: str | None) -> list[str]:
    chosen = [role.strip() for role in text.split(",")] if text else list(bundle.ROLES)
    unknown = [role for role in chosen if role not in bundle.ROLES]
    if unknown:
        raise UserError(f"{unknown[0]!r} is no role", "choose from master, p2p and relay", exit_codes.USAGE)
    return chosen


def _ready_line(service: Service, json_mode: bool) -> str:
    host, port = service.admin_address
    if json_mode:
        return json.dumps({"event": "ready", "servers": service.servers, "admin": f"{host}:{port}"})
    places = " ".join(f"{server['name']}={server['address']}" for server in service.servers)
    return f"ready {places} admin={host}:{port}"


def _ask(running: Running) -> dict[str, Any]:
    names = [server["name"] for server in running.servers]
    answer: dict[str, Any] = {"name": running.name, "servers": names, "pid": running.pid, "running": True}
    try:
        return answer | running.ask({"op": "status"})
    except (AdminError, OfficeError) as error:
        reason = str(error) if is_alive(running.pid) else "ended without a clean stop"
        return answer | {"running": False, "reason": reason, "nodes": []}


def _summary(answers: list[dict[str, Any]], known: list[str]) -> dict[str, Any]:
    """Return all answers together, with the servers that no running process has."""
    alive = [answer for answer in answers if answer["running"]]
    served = {name for answer in alive for name in answer["servers"]}
    online = {did for answer in alive for node in answer["nodes"] for dids in node["online"].values() for did in dids}
    data: dict[str, Any] = {"running": len(alive), "processes": answers, "online": sorted(online)}
    return data | {"online_count": len(online), "not_running": [name for name in known if name not in served]}


def _lines(data: dict[str, Any]) -> list[str]:
    lines = [f"{data['online_count']} devices online, {data['running']} processes"]
    for process in data["processes"]:
        if not process["running"]:
            lines.append(f"{process['name']}: not running ({process['reason']})")
            continue
        lines.append(f"{process['name']}: up {process['uptime_s']:.0f} s, process {process['pid']}")
        for node in process["nodes"]:
            counts = node["datagrams"]
            received, sent = counts["received"], counts["sent"]
            online = ", ".join(f"{len(dids)} at {role}" for role, dids in node["online"].items()) or "relay only"
            lines.append(f"  {node['address']}: {online}; {received} datagrams in, {sent} out")
    if data["not_running"]:
        lines.append("not running here: " + ", ".join(data["not_running"]))
    return lines
