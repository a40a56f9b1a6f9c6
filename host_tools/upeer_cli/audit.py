"""`upeer audit`: verify, export and push the records of a production line."""

import csv
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from upeer_cli.common import UserError, examples, json_option, report
from upeer_cli.factory_common import opened_pool, pool_options, write_or_print
from upeer_factory.errors import MES, RECORDS, FactoryError
from upeer_factory.pool import audit as chain
from upeer_factory.records.outbox import Outbox
from upeer_office.errors import USAGE

_FIRST_COLUMNS = ("number", "at", "event", "station", "operator", "did", "mac")
_SLEEP_S = 2.0


@click.group(epilog=examples("upeer audit verify --pool line", "upeer audit export --pool line --out records.csv"))
def audit() -> None:
    """Verify, export and push the records of a production line."""


@audit.command(
    epilog=examples("upeer audit verify --pool line", "upeer audit verify --file records.jsonl --head 5f3c...")
)
@click.option("--pool", envvar="UPEER_POOL", show_envvar=True, metavar="DIR|URL", help="The pool.")
@click.option("--station-key", envvar="UPEER_STATION_KEY", show_envvar=True, type=click.Path(path_type=Path))
@click.option("--file", metavar="FILE", type=click.Path(path_type=Path, exists=True), help="An export (JSONL) instead.")
@click.option("--head", metavar="HASH", help="The last hash that you noted: rows up to it must be there unchanged.")
@json_option
def verify(pool: str | None, station_key: Path | None, file: Path | None, head: str | None, json_mode: bool) -> None:
    """Check every row, the end of the chain, and that the pool's licences are in the states that the rows tell."""
    if file is not None:
        with file.open(encoding="utf-8") as lines:
            found = chain.verify_lines(lines)
        hashes = (json.loads(line)["hash"] for line in file.open(encoding="utf-8")) if head else iter(())
        _check_head(head, hashes)
    elif pool is None:
        raise UserError("name --pool or --file", code=USAGE)
    else:
        with opened_pool(pool, station_key) as opened:
            found = chain.verify(opened.database, opened.key)
            _check_head(head, (row["hash"] for row in chain.entries(opened.database)))
    data = {"rows": found.rows, "hash": found.hash, "burned": found.burned, "scrapped": found.scrapped}
    text = f"{found.rows} rows are as they were written: {found.burned} boards burned, {found.scrapped} scrapped\n"
    report(data, json_mode, text + f"last hash {found.hash}")


@audit.command(
    epilog=examples("upeer audit export --pool line --out records.csv", "upeer audit export --pool line --format jsonl")
)
@pool_options
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), help="By the name of --out, else jsonl.")
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="New file; stdout without it.")
@click.option("--after", type=int, default=0, help="Only rows after this number.")
@json_option
def export(
    pool: str, station_key: Path | None, station: str, operator: str, form: str | None, out: Path | None, after: int,
    json_mode: bool,
) -> None:  # fmt: skip
    """Write the records as CSV or JSONL; there is no secret in them."""
    del station, operator
    form = form or ("csv" if out is not None and out.suffix.lower() == ".csv" else "jsonl")
    with opened_pool(pool, station_key) as opened:
        rows = list(chain.entries(opened.database, after))
    if json_mode and out is None:
        report({"rows": rows}, True, "")
        return
    write_or_print(_csv(rows) if form == "csv" else "".join(_lines(rows)), out)
    if json_mode:
        report({"rows": len(rows), "format": form, "out": str(out)}, True, "")


@audit.command(
    epilog=examples(
        "upeer audit push --pool line --url https://mes.example/records --token-file mes.token",
        "upeer audit push --pool line --url http://127.0.0.1:8080/ --follow",
    )
)
@pool_options
@click.option("--url", required=True, metavar="URL", envvar="UPEER_MES", show_envvar=True, help="Where to POST rows.")
@click.option("--token-file", metavar="FILE", type=click.Path(path_type=Path), help="Bearer token in its first line.")
@click.option("--follow", is_flag=True, help="Go on until Ctrl-C.")
@click.option("--retry-parked", is_flag=True, help="Send what the MES has refused once more.")
@json_option
def push(
    pool: str, station_key: Path | None, station: str, operator: str, url: str, token_file: Path | None, follow: bool,
    retry_parked: bool, json_mode: bool,
) -> None:  # fmt: skip
    """Send the records to an MES, each once, in order; what it does not take now stays in the outbox."""
    token = token_file.read_text().split("\n", 1)[0].strip() if token_file else None
    with opened_pool(pool, station_key, station, operator) as opened:
        outbox = Outbox(opened, url, token)
        done = outbox.retry_parked() if retry_parked else outbox.push()
        while follow:
            if done.sent or done.parked:
                click.echo(f"{done.sent} sent, {done.waiting} waiting {done.error}".rstrip(), err=True)
            time.sleep(max(done.wait_s, _SLEEP_S))
            done = outbox.push(respect_wait=True)
        parked = [{"number": number, "reason": reason} for number, reason in outbox.parked()]
    if done.error:
        raise FactoryError(MES, f"{done.error}: {done.sent} records sent, {done.waiting} are waiting")
    data: dict[str, Any] = {"sent": done.sent, "waiting": done.waiting, "parked": parked}
    refused = f", {len(parked)} refused ({parked[-1]['reason']})" if parked else ""
    report(data, json_mode, f"{done.sent} records sent{refused}")


def _check_head(head: str | None, hashes: Iterator[str]) -> None:
    if head is not None and head.lower() not in hashes:
        raise FactoryError(RECORDS, "the hash that you noted is not in these records: they were made anew")


def _lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    return (json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n" for row in rows)


def _csv(rows: list[dict[str, Any]]) -> str:
    """Return the rows with one column per field that occurs; text that a spreadsheet would run is quoted by a '."""
    others = sorted({name for row in rows for name in row} - {*_FIRST_COLUMNS, "hash"})
    output = io.StringIO()
    writer = csv.writer(output)
    columns = [*_FIRST_COLUMNS, *others, "hash"]
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(name, "")) for name in columns])
    return output.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True)
    return "'" + value if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
