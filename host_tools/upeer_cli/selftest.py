"""`upeer selftest`: a burned board tests itself; and what `upeer burn --selftest` shares with it."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from upeer_cli.common import UserError, examples, json_option, report
from upeer_cli.factory_common import opened_pool, pool_options
from upeer_cli.licence import _passphrase as read_secret
from upeer_factory.board.burn import Burner, OnStep, Options, Result
from upeer_factory.board.line_server import Place
from upeer_factory.board.targets import ReplTarget
from upeer_office.errors import USAGE

_Function = TypeVar("_Function", bound=Callable[..., Any])


def test_options(function: _Function) -> _Function:
    """Add --min-aps, --wifi, --wifi-password-file and --server."""
    options = [
        click.option(
            "--min-aps", type=click.IntRange(0), default=1, show_default=True, help="Networks that it must see."
        ),
        click.option("--wifi", metavar="SSID", help="The line's network, for a session through the line's own server."),
        click.option("--wifi-password-file", metavar="FILE", help="Its password ('-': stdin); none: an open network."),
        click.option(
            "--server", metavar="IP[:PORT]", help="This station's address there; the first of 64 UDP ports to use."
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def read_tests(
    min_aps: int, wifi: str | None, password_file: str | None, server: str | None
) -> tuple[dict[str, Any], Place | None]:
    """Return the options of firmware/device/selftest.py, and where boards find this station."""
    if (wifi is None) != (server is None):
        raise UserError("--wifi and --server go together", code=USAGE)
    if wifi is None or server is None:
        return {"min_aps": min_aps}, None
    try:
        place = Place.parse(server)
    except ValueError as error:
        raise UserError(str(error), code=USAGE) from None
    password = read_secret(password_file, confirm=False) if password_file else ""
    return {"min_aps": min_aps, "ssid": wifi, "password": password}, place


def step_shower(json_mode: bool) -> OnStep | None:
    """Return what shows each step on a terminal, None where nobody looks."""
    if json_mode or not sys.stderr.isatty():
        return None
    return lambda step: click.echo(f"upeer: {step}", err=True)


def describe_tests(rows: dict[str, Any]) -> list[str]:
    """Return a line per test."""
    return [f"  {name:6} {'good' if row[0] else 'BAD'}  {row[1]}" for name, row in rows.items()]


@click.command(
    epilog=examples(
        "upeer selftest --pool line --port /dev/ttyUSB0",
        "upeer selftest --pool line --port a0 --wifi line --wifi-password-file pw --server 192.0.2.1",
    )
)
@pool_options
@click.option("--port", required=True, metavar="PORT", help="Serial port, or a virtual board's.")
@test_options
@json_option
def selftest(
    pool: str, station_key: Path | None, station: str, operator: str, port: str,
    min_aps: int, wifi: str | None, wifi_password_file: str | None, server: str | None, json_mode: bool,
) -> None:  # fmt: skip
    """Have the burned board at PORT test itself; the signed result joins the record. Nothing is burned.

    Flash, RAM, clock, entropy and a Wi-Fi scan; with --wifi and --server also a session through the line's own server,
    which this command runs for the time of the test.
    """
    tests, place = read_tests(min_aps, wifi, wifi_password_file, server)
    with opened_pool(pool, station_key, station, operator) as opened:
        result = Burner(ReplTarget(port), opened, Options(tests, place=place)).test(step_shower(json_mode))
    report(result.as_dict(), json_mode, lambda: _describe(result))


def _describe(result: Result) -> str:
    head = f"PASS {result.did} at {result.mac}: tested in {result.seconds:.1f} s"
    return "\n".join([head, *describe_tests(result.selftest)])
