"""`upeer pool`: make, fill, look at and empty the licence pool of a production line."""

from pathlib import Path
from typing import Any

import click

from upeer_cli.common import UserError, examples, json_option, report
from upeer_cli.factory_common import (
    office_key_of,
    office_options,
    opened_pool,
    pool_errors,
    pool_options,
    station_key_path,
)
from upeer_cli.licence import _confirm as confirm
from upeer_cli.licence import _passphrase as read_passphrase
from upeer_cli.office_common import opened_office
from upeer_factory.errors import POOL_DOWN, FactoryError
from upeer_factory.pool import stock
from upeer_factory.pool.audit import Actor
from upeer_factory.pool.keys import make_station_key, read_station_key
from upeer_factory.pool.pool import STATES
from upeer_factory.pool.sql import check_url
from upeer_office import names
from upeer_office.errors import USAGE
from upeer_office.files import make_private_folder
from upeer_office.platforms import load_platform

_PASSPHRASE_HELP = "Read the passphrase from a file's first line ('-': stdin) instead of asking."
_LOW = 100


@click.group(epilog=examples("upeer pool init --pool line --platform shop", "upeer pool status --pool line"))
def pool() -> None:
    """Make, fill, look at and empty the licence pool of a production line."""


@pool.command(
    epilog=examples(
        "upeer pool init --pool line --platform shop",
        "upeer pool init --pool postgresql://db.line/pool --station-key line.key --platform shop",
    )
)
@pool_options
@office_options
@json_option
def init(
    pool: str, station_key: Path | None, station: str, operator: str, platform: Path, office_key: Path | None,
    json_mode: bool,
) -> None:  # fmt: skip
    """Make an empty pool with a platform's keys, and the station key, which every station needs a copy of."""
    check_url(pool)
    key_file = station_key_path(pool, station_key)
    office = office_key_of(platform, office_key)
    found = load_platform(platform)
    if key_file.parent == Path(pool):
        make_private_folder(Path(pool))
    if not key_file.exists():
        make_station_key(key_file)
    with pool_errors():
        made = stock.create_pool(pool, read_station_key(key_file), office.public, found, Actor(station, operator))
        made.close()
    text = f"made the pool {pool}; the stations' key is {key_file}: keep it secret"
    report({"pool": pool, "station_key": str(key_file)}, json_mode, text)


@pool.command("import", epilog=examples("upeer pool import --pool line licences.json", "upeer pool import vendor.csv"))
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@pool_options
@click.option("--passphrase-file", metavar="FILE", help=_PASSPHRASE_HELP)
@json_option
def import_command(
    file: Path, pool: str, station_key: Path | None, station: str, operator: str, passphrase_file: str | None,
    json_mode: bool,
) -> None:  # fmt: skip
    """Take in licences: the office's sealed export, or a vendor's CSV with its checksum. All of them or none."""
    with opened_pool(pool, station_key, station, operator) as opened:
        passphrase = read_passphrase(passphrase_file, confirm=False) if stock.is_sealed(file) else None
        licences = stock.read_file(file, passphrase)
        count = stock.import_licences(opened, licences, file.name, stock.file_digest(file))
        free = opened.status().free
    report({"count": count, "free": free}, json_mode, f"imported {count} licences; {free} are free")


@pool.command(epilog=examples("upeer pool issue --pool line --platform shop --count 1000"))
@pool_options
@office_options
@click.option("--count", "-n", type=click.IntRange(1, names.LAST_SERIAL), required=True, help="How many.")
@json_option
def issue(
    pool: str, station_key: Path | None, station: str, operator: str, platform: Path, office_key: Path | None,
    count: int, json_mode: bool,
) -> None:  # fmt: skip
    """Have the licence office issue licences, straight into the pool."""
    with opened_pool(pool, station_key, station, operator) as opened, opened_office(platform, office_key) as office:
        opened.check_office(office_key_of(platform, office_key))
        dids = [names.parse_id(text)[0] for text in office.issue(count)]
        licences = list(office.all(dids))
        digest = f"issued {dids[0]} to {dids[-1]}"
        stock.import_licences(opened, licences, platform.name, digest)
        free = opened.status().free
    report({"count": count, "first": dids[0], "free": free}, json_mode, f"issued {count} licences; {free} are free")


@pool.command("platform", epilog=examples("upeer pool platform --pool line --platform shop"))
@pool_options
@office_options
@click.option("--prefix", metavar="ABCD", help="Only for licences with this vendor prefix.")
@json_option
def platform_command(
    pool: str, station_key: Path | None, station: str, operator: str, platform: Path, office_key: Path | None,
    prefix: str | None, json_mode: bool,
) -> None:  # fmt: skip
    """Give the pool a platform's keys as they are now: after 'upeer platform rotate', or for another prefix."""
    with opened_pool(pool, station_key, station, operator) as opened:
        opened.check_office(office_key_of(platform, office_key))
        found = load_platform(platform)
        stock.set_platform(opened, found, names.check_prefix(prefix) if prefix else None)
    key_id = found.current.key_id
    report({"key_id": key_id}, json_mode, f"boards are burned with keys {key_id} from now on")


@pool.command(epilog=examples("upeer pool status --pool line", "upeer pool status --pool line --low 500 --json"))
@pool_options
@click.option("--low", type=int, default=_LOW, show_default=True, help="Warn below so many free licences.")
@json_option
def status(pool: str, station_key: Path | None, station: str, operator: str, low: int, json_mode: bool) -> None:
    """Show how many licences are free, reserved, burned and scrapped."""
    del station, operator
    with opened_pool(pool, station_key) as opened:
        counts: dict[str, Any] = opened.status().as_dict()
    counts["low"] = counts["free"] < low
    lines = [f"{state:9} {counts[state]:9}" for state in STATES] + [f"audit     {counts['audit_rows']:9} rows"]
    lines += (
        [f"low stock: fewer than {low} are free; 'upeer pool import' or 'issue' adds more"] if counts["low"] else []
    )
    report(counts, json_mode, "\n".join(lines))


@pool.command("list", epilog=examples("upeer pool list --pool line --state reserved"))
@pool_options
@click.option("--state", type=click.Choice(STATES), help="Only licences in this state.")
@json_option
def list_command(
    pool: str, station_key: Path | None, station: str, operator: str, state: str | None, json_mode: bool
) -> None:
    """List licences with their state and MAC; nothing secret."""
    del station, operator
    with opened_pool(pool, station_key) as opened:
        rows = [{"did": row.did, "state": row.state, "mac": row.mac} for row in opened.entries(state)]
    human = (f"{row['did']}  {row['state']:9} {row['mac'] or ''}".rstrip() for row in rows)
    report({"licences": rows, "count": len(rows)}, json_mode, lambda: "\n".join(human) or "no licences")


@pool.command(epilog=examples("upeer pool scrap --pool line ABCD-000001-GHKLM --reason 'broken antenna'"))
@click.argument("name", metavar="DID|MAC")
@pool_options
@click.option("--reason", default="", help="For the records.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def scrap(
    name: str, pool: str, station_key: Path | None, station: str, operator: str, reason: str, yes: bool,
    json_mode: bool,
) -> None:  # fmt: skip
    """Scrap a licence, and the board that has it, for good."""
    with opened_pool(pool, station_key, station, operator) as opened:
        entry = opened.find(name)
        board = f" and board {entry.mac}" if entry.mac else ""
        if entry.state != "scrapped":
            confirm(f"Scrap {entry.did} ({entry.state}){board} for good?", yes)
        entry = opened.scrap(entry.did, reason)
    report({"did": entry.did, "mac": entry.mac, "state": entry.state}, json_mode, f"{entry.did} is scrapped")


@pool.command("close-lot", epilog=examples("upeer pool close-lot --pool line"))
@pool_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def close_lot(pool: str, station_key: Path | None, station: str, operator: str, yes: bool, json_mode: bool) -> None:
    """Erase what stations can open of burned licences: no rework and no labels for them any more, only the office."""
    with opened_pool(pool, station_key, station, operator) as opened:
        confirm("Close the lot: no rework and no labels for boards burned so far?", yes)
        count = opened.close_lot()
    report({"count": count}, json_mode, f"{count} burned licences are open to the office alone")


@pool.command(
    epilog=examples(
        "upeer pool export --pool line --platform shop --out burned.json",
        "upeer pool export --pool line --platform shop --publish",
    )
)
@pool_options
@office_options
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="New file, sealed under a passphrase.")
@click.option("--publish", is_flag=True, help="Put what was burned into the platform's master bundles.")
@click.option("--state", type=click.Choice([*STATES, "all"]), default="burned", show_default=True)
@click.option("--passphrase-file", metavar="FILE", help=_PASSPHRASE_HELP)
@json_option
def export(
    pool: str, station_key: Path | None, station: str, operator: str, platform: Path, office_key: Path | None,
    out: Path | None, publish: bool, state: str, passphrase_file: str | None, json_mode: bool,
) -> None:  # fmt: skip
    """Take licences out with the office key: into a sealed file, or into the master bundles of what was burned."""
    if (out is None) == (not publish):
        raise UserError("choose --out FILE or --publish", code=USAGE)
    key = office_key_of(platform, office_key)
    with opened_pool(pool, station_key, station, operator) as opened:
        licences = list(opened.open_for_office(key, None if state == "all" else state))
        if not licences:
            raise FactoryError(POOL_DOWN, f"no licence is {state}: nothing to export", "see 'upeer pool status'")
        if out is not None:
            count = stock.export_burned(opened, licences, out, read_passphrase(passphrase_file, confirm=True))
            report({"file": str(out), "count": count}, json_mode, f"wrote {count} licences to {out}")
            return
        with opened_office(platform, office_key) as office:
            added = office.add(licences, skip_existing=True)
        opened.note("published", count=len(licences), added=added)
    text = f"{len(licences)} licences are in the master bundles, {added} of them are new there"
    report({"count": len(licences), "added": added}, json_mode, text)
