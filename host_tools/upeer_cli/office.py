"""`upeer platform` and `upeer relay`: make a platform, rotate its keys, configure clients, change relays."""

from pathlib import Path
from typing import Any

import click

from upeer_cli.common import UserError, examples, json_option, report
from upeer_cli.licence import licence as licence  # the table of commands finds all three groups here
from upeer_cli.office_common import (
    check_told,
    folder_argument,
    office_key_option,
    opened_office,
    tell_servers,
    told_json,
    told_lines,
    write_new_file,
)
from upeer_office import bundle, files, platforms
from upeer_office.platforms import Platform, Server


@click.group(epilog=examples("upeer platform init shop --master 192.0.2.1:7000 --master 192.0.2.2:7000"))
def platform() -> None:
    """Make a platform and rotate its keys."""


@platform.command(epilog=examples("upeer platform init shop --master 192.0.2.1:7000 --relay 192.0.2.9:7000"))
@folder_argument
@click.option("--master", "masters", metavar="HOST:PORT", multiple=True, required=True, help="A master; one to three.")
@click.option(
    "--p2p", "p2p_servers", metavar="HOST:PORT", multiple=True, help="A p2p server; by default every master is one."
)
@click.option("--relay", "relays", metavar="HOST:PORT", multiple=True, help="A relay; by default every master is one.")
@click.option("--prefix", metavar="ABCD", help="Vendor prefix of the DIDs; four random letters by default.")
@click.option(
    "--office-key",
    type=click.Path(path_type=Path),
    help="Where to write the new office key; DIR/office.key by default.",
)
@json_option
def init(
    folder: Path,
    masters: list[str],
    p2p_servers: list[str],
    relays: list[str],
    prefix: str | None,
    office_key: Path | None,
    json_mode: bool,
) -> None:
    """Make a platform in DIR, which is new or empty."""
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty", "choose a new folder")
    addresses = platforms.Addresses(list(masters), list(p2p_servers), list(relays))
    made = platforms.init_platform(folder, addresses, prefix, office_key)
    bundle.write_bundles(made)
    _show(made, json_mode)


@platform.command(epilog=examples("upeer platform show shop", "upeer platform show shop --json"))
@folder_argument
@json_option
def show(folder: Path, json_mode: bool) -> None:
    """Show a platform's servers and key ids, none of its keys."""
    _show(platforms.load_platform(folder), json_mode)


@platform.command(epilog=examples("upeer platform client shop --out shop-client.json"))
@folder_argument
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), required=True, help="New file, mode 0600.")
@json_option
def client(folder: Path, out: Path, json_mode: bool) -> None:
    """Write what a client needs: the P2PKey, its id and the InitString."""
    document = platforms.client_config(platforms.load_platform(folder))
    write_new_file(out, document)
    report(
        {"file": str(out), "key_id": document["key_id"]},
        json_mode,
        f"wrote {out}: keep it secret, hand it to clients only",
    )


@platform.command(epilog=examples("upeer platform rotate shop", "upeer platform rotate shop --retire"))
@folder_argument
@office_key_option
@click.option("--retire", is_flag=True, help="End the overlap period: the keys before the current ones become void.")
@json_option
@click.pass_context
def rotate(ctx: click.Context, folder: Path, office_key: Path | None, retire: bool, json_mode: bool) -> None:
    """Make a new CRCKey and P2PKey; the ones before stay valid until --retire."""
    with opened_office(folder, office_key) as office:
        if retire:
            retired = platforms.retire_generation(office.platform)
            bundle.write_bundles(office.platform)
            told = tell_servers(folder, {"op": "reload"})
            office.drop_void_verifiers()
            text = f"keys {retired} are void"
        else:
            platforms.check_can_rotate(office.platform)
            office.unpublish()
            current = platforms.start_generation(office.platform)
            office.publish()
            bundle.write_bundles(office.platform)
            told = tell_servers(folder, {"op": "reload"})
            text = f"keys {current.key_id} are current; devices get them from their masters, clients need a new file"
        key_ids = [generation.key_id for generation in office.platform.generations]
    report({"key_ids": key_ids, "servers": told_json(told)}, json_mode, "\n".join([text, *told_lines(told)]))
    ctx.exit(check_told(told))


@click.group(epilog=examples("upeer relay list shop", "upeer relay add shop 192.0.2.9:7000"))
def relay() -> None:
    """Add, remove and list relay servers."""


@relay.command("add", epilog=examples("upeer relay add shop 192.0.2.9:7000"))
@folder_argument
@click.argument("address", metavar="HOST:PORT")
@json_option
@click.pass_context
def add_relay(ctx: click.Context, folder: Path, address: str, json_mode: bool) -> None:
    """Add a relay; masters hand it out for new sessions at once."""
    _change_relays(ctx, folder, address, json_mode, adding=True)


@relay.command("remove", epilog=examples("upeer relay remove shop 4", "upeer relay remove shop 192.0.2.9:7000"))
@folder_argument
@click.argument("name", metavar="ID|HOST:PORT")
@json_option
@click.pass_context
def remove_relay(ctx: click.Context, folder: Path, name: str, json_mode: bool) -> None:
    """Remove a relay; sessions that it carries go on, new ones do without it."""
    _change_relays(ctx, folder, name, json_mode, adding=False)


@relay.command("list", epilog=examples("upeer relay list shop --json"))
@folder_argument
@json_option
def list_relays(folder: Path, json_mode: bool) -> None:
    """List the relays of a platform."""
    relays = platforms.load_platform(folder).relays
    human = "\n".join(f"{item.id:3}  {item.host}:{item.port}" for item in relays) or "no relays"
    report({"relays": [_address(item) for item in relays]}, json_mode, human)


def _change_relays(ctx: click.Context, folder: Path, name: str, json_mode: bool, adding: bool) -> None:
    platforms.load_platform(folder)
    with files.locked(folder):
        loaded = platforms.load_platform(folder)
        changed = platforms.add_relay(loaded, name) if adding else platforms.remove_relay(loaded, name)
        bundle.write_bundles(loaded)
        told = tell_servers(folder, {"op": "reload"})
    lines = [
        f"{'added' if adding else 'removed'} relay {changed.id} at {changed.host}:{changed.port}",
        *told_lines(told),
    ]
    if adding:
        lines.append(f"run it where it stands: upeer serve {folder / f'relay-{changed.id}'}")
    report({"relay": _address(changed), "servers": told_json(told)}, json_mode, "\n".join(lines))
    ctx.exit(check_told(told))


def _show(shown: Platform, json_mode: bool) -> None:
    data: dict[str, Any] = {"folder": str(shown.folder), "prefix": shown.prefix, "created": shown.created}
    data["key_ids"] = [generation.key_id for generation in shown.generations]
    lines = [
        f"platform {shown.folder}: prefix {shown.prefix}, key ids {', '.join(map(str, data['key_ids']))}; current first"
    ]
    for name, servers in (("masters", shown.masters), ("p2p_servers", shown.p2p_servers), ("relays", shown.relays)):
        data[name] = [_address(server) for server in servers]
        lines.append(
            f"{name.replace('_', ' '):12} "
            + ", ".join(f"{server.id} at {server.host}:{server.port}" for server in servers)
        )
    report(data, json_mode, "\n".join(lines))


def _address(server: Server) -> dict[str, Any]:
    return {"id": server.id, "host": server.host, "port": server.port}
