"""`upeer licence`: issue, show, list, revoke, export and import licences."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from upeer_cli.common import UserError, examples, json_option, report
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
from upeer_office import exchange, names
from upeer_office.errors import USAGE
from upeer_office.licences import Licence


@click.group(epilog=examples("upeer licence issue shop", "upeer licence show shop ABCD-000001-GHKLM --setup-code"))
def licence() -> None:
    """Issue, show, list, revoke, export and import licences."""


@licence.command(
    epilog=examples("upeer licence issue shop", "upeer licence issue shop --count 1000 --setup-codes --json")
)
@folder_argument
@office_key_option
@click.option(
    "--count", "-n", type=click.IntRange(1, names.LAST_SERIAL), default=1, show_default=True, help="How many."
)
@click.option("--prefix", metavar="ABCD", help="Vendor prefix instead of the platform's.")
@click.option("--expires", metavar="YYYY-MM-DD", help="Last day (UTC); without it a licence is valid for life.")
@click.option(
    "--setup-codes",
    is_flag=True,
    help="Print the setup codes too, for labels: they are secrets of the devices' buyers.",
)
@json_option
def issue(
    folder: Path,
    office_key: Path | None,
    count: int,
    prefix: str | None,
    expires: str | None,
    setup_codes: bool,
    json_mode: bool,
) -> None:
    """Issue licences and print their IDs."""
    end = _end_of_day(expires) if expires else None
    with opened_office(folder, office_key) as office:
        ids = office.issue(count, prefix, end)
        rows = [_label(office.show(text)) if setup_codes else _id_row(text) for text in ids]
    lines = (f"{row['id']}  {row['setup_code']}" if setup_codes else row["id"] for row in rows)
    report({"licences": rows}, json_mode, "\n".join(lines))


@licence.command(
    epilog=examples(
        "upeer licence show shop ABCD-000001-GHKLM", "upeer licence show shop ABCD-000001-GHKLM,PQRSTU --setup-code"
    )
)
@folder_argument
@click.argument("did", metavar="DID")
@office_key_option
@click.option(
    "--setup-code", is_flag=True, help="Show the setup code too, for the label: it is a secret of the device's buyer."
)
@json_option
def show(folder: Path, did: str, office_key: Path | None, setup_code: bool, json_mode: bool) -> None:
    """Show one licence; never its key."""
    with opened_office(folder, office_key) as office:
        found = office.show(did)
    row = _public(found) | (_label(found) if setup_code else {})
    lines = [f"{row['id']}: {row['state']}, issued {_day(found.issued)}, valid {_until(found.expires)}"]
    lines += [f"setup code {row['setup_code']}"] if setup_code else []
    report(row, json_mode, "\n".join(lines))


@licence.command(epilog=examples("upeer licence record shop ABCD-000001-GHKLM --out one.licence"))
@folder_argument
@click.argument("did", metavar="DID")
@office_key_option
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), required=True, help="New file, mode 0600.")
@json_option
def record(folder: Path, did: str, office_key: Path | None, out: Path, json_mode: bool) -> None:
    """Write what the factory burns into one device: its keys, so keep the file secret and remove it afterwards."""
    with opened_office(folder, office_key) as office:
        fields = office.device_record(did)
    plain = {name: value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}
    write_new_file(out, plain)
    report({"file": str(out), "did": fields["did"]}, json_mode, f"wrote {out}: keep it secret")


@licence.command("list", epilog=examples("upeer licence list shop", "upeer licence list shop --state revoked --json"))
@folder_argument
@office_key_option
@click.option("--state", type=click.Choice(["valid", "expired", "revoked"]), help="Only licences in this state.")
@json_option
def list_licences(folder: Path, office_key: Path | None, state: str | None, json_mode: bool) -> None:
    """List licences."""
    with opened_office(folder, office_key) as office:
        rows = [row for row in office.rows() if state in (None, row["state"])]
    human = (f"{row['did']},{row['code']}  {row['state']:8} {_until(row['expires'])}" for row in rows)
    report({"licences": rows, "count": len(rows)}, json_mode, lambda: "\n".join(human) or "no licences")


@licence.command(epilog=examples("upeer licence revoke shop ABCD-000001-GHKLM"))
@folder_argument
@click.argument("did", metavar="DID")
@office_key_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_context
def revoke(ctx: click.Context, folder: Path, did: str, office_key: Path | None, yes: bool, json_mode: bool) -> None:
    """Revoke a licence for good; running servers drop the device at once."""
    with opened_office(folder, office_key) as office:
        name = office.show(did).did
        _confirm(f"Revoke {name} for good?", yes)
        office.revoke(name)
        told = tell_servers(folder, {"op": "revoke", "did": name})
    report({"did": name, "servers": told_json(told)}, json_mode, "\n".join([f"{name} is revoked", *told_lines(told)]))
    ctx.exit(check_told(told))


@licence.command(
    "export",
    epilog=examples("upeer licence export shop --out licences.json", "upeer licence export shop DID --out one.json"),
)
@folder_argument
@click.argument("dids", metavar="[DID]...", nargs=-1)
@office_key_option
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), required=True, help="New file, mode 0600.")
@click.option(
    "--passphrase-file",
    metavar="FILE",
    help="Read the passphrase from a file's first line ('-': stdin) instead of asking.",
)
@json_option
def export_licences(
    folder: Path,
    dids: tuple[str, ...],
    office_key: Path | None,
    out: Path,
    passphrase_file: str | None,
    json_mode: bool,
) -> None:
    """Write licences, all or the given ones, to a file sealed under a passphrase."""
    with opened_office(folder, office_key) as office:
        passphrase = _passphrase(passphrase_file, confirm=True)
        count = exchange.export_licences(out, office.all(dids or None), passphrase)
    report({"file": str(out), "count": count}, json_mode, f"wrote {count} licences to {out}")


@licence.command("import", epilog=examples("upeer licence import shop licences.json"))
@folder_argument
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@office_key_option
@click.option(
    "--passphrase-file",
    metavar="FILE",
    help="Read the passphrase from a file's first line ('-': stdin) instead of asking.",
)
@click.option("--skip-existing", is_flag=True, help="Import only licences that are not here yet.")
@json_option
def import_licences(
    folder: Path, file: Path, office_key: Path | None, passphrase_file: str | None, skip_existing: bool, json_mode: bool
) -> None:
    """Take in licences that another office exported; all of them or none."""
    with opened_office(folder, office_key) as office:
        licences = exchange.import_licences(file, _passphrase(passphrase_file, confirm=False))
        count = office.add(licences, skip_existing)
    report({"count": count, "skipped": len(licences) - count}, json_mode, f"imported {count} licences")


def _public(shown: Licence) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": names.make_id(shown.did, shown.code),
        "did": shown.did,
        "code": shown.code,
        "state": shown.state,
    }
    return row | {"issued": shown.issued, "expires": shown.expires, "revoked": shown.revoked}


def _label(shown: Licence) -> dict[str, Any]:
    return _id_row(names.make_id(shown.did, shown.code)) | {"setup_code": names.encode_setup_code(shown.setup_code)}


def _id_row(text: str) -> dict[str, Any]:
    did, code = names.parse_id(text)
    return {"id": text, "did": did, "code": code}


def _end_of_day(text: str) -> int:
    """Return the Unix time at which the given last day is over."""
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise UserError(f"{text!r} is no date", "write YYYY-MM-DD", USAGE) from error
    return int((day + timedelta(days=1)).timestamp())


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def _until(expires: int | None) -> str:
    return "for life" if expires is None else f"until {_day(expires - 1)}"


def _confirm(question: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError("this cannot be undone and nobody can be asked here", "add --yes if you mean it", USAGE)
    click.confirm(question, abort=True, err=True)


def _passphrase(source: str | None, confirm: bool) -> str:
    """Return the passphrase from a file, stdin or a prompt; never from the command line."""
    if source is None:
        if not sys.stdin.isatty():
            raise UserError(
                "there is no terminal to ask for the passphrase", "give --passphrase-file FILE, or - for stdin", USAGE
            )
        typed: str = click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
        return typed
    if source == "-":
        return sys.stdin.readline().rstrip("\r\n")
    with Path(source).open(encoding="utf-8") as file:
        return file.readline().rstrip("\r\n")
