"""What the line's commands share: which pool, which keys, who does it."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from upeer_cli.common import UserError
from upeer_factory.errors import POOL_DOWN, FactoryError
from upeer_factory.pool.audit import Actor
from upeer_factory.pool.keys import STATION_KEY_FILE, OfficeKey, StationKey, read_station_key
from upeer_factory.pool.pool import Pool, pool_folder
from upeer_factory.pool.sql import check_url, is_pool_error
from upeer_office.errors import USAGE
from upeer_office.platforms import read_office_key

_Function = TypeVar("_Function", bound=Callable[..., Any])


def pool_options(function: _Function) -> _Function:
    """Add --pool, --station-key, --station and --operator."""
    options = [
        click.option(
            "--pool", envvar="UPEER_POOL", show_envvar=True, required=True, metavar="DIR|URL",
            help="The pool: a folder (SQLite) or postgresql://HOST/DATABASE (password in ~/.pgpass or PGPASSWORD).",
        ),
        click.option(
            "--station-key", envvar="UPEER_STATION_KEY", show_envvar=True, metavar="FILE",
            type=click.Path(path_type=Path), help=f"The line's key; DIR/{STATION_KEY_FILE} by default.",
        ),
        click.option("--station", envvar="UPEER_STATION", metavar="NAME", default=_host(), help="Name in the records."),
        click.option("--operator", envvar="UPEER_OPERATOR", metavar="NAME", default="", help="Name in the records."),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def office_options(function: _Function) -> _Function:
    """Add --platform and --office-key: for what only the office may do."""
    options = [
        click.option(
            "--platform", required=True, metavar="DIR", type=click.Path(path_type=Path, file_okay=False),
            help="The platform's folder.",
        ),
        click.option(
            "--office-key", envvar="UPEER_OFFICE_KEY", show_envvar=True, type=click.Path(path_type=Path),
            help="The office's key; office.key in the platform's folder by default.",
        ),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def station_key_path(pool: str, station_key: Path | None) -> Path:
    """Return where the line's key is."""
    folder = pool_folder(pool)
    if station_key is None and folder is None:
        raise UserError("a PostgreSQL pool needs --station-key FILE", code=USAGE)
    return station_key or (folder or Path()) / STATION_KEY_FILE


@contextmanager
def opened_pool(pool: str, station_key: Path | None, station: str = "", operator: str = "") -> Iterator[Pool]:
    """Open a pool; what a database library reports becomes one line."""
    with pool_errors():
        check_url(pool)
        key: StationKey = read_station_key(station_key_path(pool, station_key))
        with Pool.open(pool, key, Actor(station, operator)) as opened:
            yield opened


@contextmanager
def pool_errors() -> Iterator[None]:
    """Turn the database libraries' own exceptions into FactoryError."""
    try:
        yield
    except Exception as error:
        if is_pool_error(error):
            text = " ".join(str(error).split())[:160]
            raise FactoryError(POOL_DOWN, f"the pool's database failed: {text}") from error
        raise


def office_key_of(platform: Path, office_key: Path | None) -> OfficeKey:
    """Return the office's private half."""
    return OfficeKey(read_office_key(platform, office_key))


def write_or_print(text: str, out: Path | None) -> None:
    """Write a text to a new file, or to stdout."""
    if out is None:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    try:
        with out.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
    except FileExistsError as error:
        raise UserError(f"{out} exists already", "choose another file") from error


def _host() -> str:
    return os.uname().nodename
