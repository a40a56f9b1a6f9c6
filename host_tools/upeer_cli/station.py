"""`upeer station`: the production line's screen; headless it prints one JSON line per board."""

import sys
from pathlib import Path

import click

from upeer_cli import exit_codes
from upeer_cli.common import UserError, examples


@click.command(
    epilog=examples(
        "upeer station --config station.toml",
        "upeer station --config station.toml --headless --json --runs 100",
        "upeer station --make-password",
    )
)
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="The station's file.")
@click.option("--headless", is_flag=True, help="No screen and no keys: one line per board on stdout.")
@click.option("--json", "json_mode", is_flag=True, help="Headless: each line is a JSON document.")
@click.option("--runs", type=click.IntRange(0), default=0, help="Headless: end after so many boards (0: never).")
@click.option("--make-password", is_flag=True, help="Ask for the engineer's password; print the line for the file.")
def station(config: Path | None, headless: bool, json_mode: bool, runs: int, make_password: bool) -> int:
    """Flash, burn, prove and label whatever is plugged in, a lane per port; keys start, stop and retry.

    After a crash or a power cut start it again: boards that got half-way go on with their own licence.
    """
    if make_password:
        return _make_password()
    if config is None:
        raise UserError("no station file", "name it with --config FILE", exit_codes.USAGE)
    if headless != json_mode:
        raise UserError("--headless and --json go together", "give both, or neither", exit_codes.USAGE)
    if not headless and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UserError("the screen needs a terminal", "add --headless --json", exit_codes.USAGE)
    return _run(config, headless, runs)


def _run(config: Path, headless: bool, runs: int) -> int:
    from upeer_factory.station import config as station_config
    from upeer_factory.station import run as station_run
    from upeer_factory.station.keys import Keys
    from upeer_factory.station.station import Station

    file = station_config.load(config)
    with station_run.stopped_by_signals() as stop:
        line = station_config.make_line(file)
        try:
            works = Station(line, station_config.make_watch(file), station_config.make_settings(file), file.ports)
            if headless:
                failed = station_run.run_headless(works, stop, runs)
                return exit_codes.FAILURE if failed and runs else exit_codes.OK
            keys = Keys(lambda text: station_config.is_password(text, file.engineer_password))
            station_run.run_screen(works, keys, stop)
        finally:
            line.pool.close()
    return exit_codes.OK


def _make_password() -> int:
    from upeer_factory.station.config import hash_password

    password = click.prompt("the engineer's password", hide_input=True, confirmation_prompt=True, err=True)
    try:
        click.echo(f'engineer_password = "{hash_password(password)}"')
    except ValueError as error:
        raise UserError(str(error), "choose a longer one") from None
    return exit_codes.OK
