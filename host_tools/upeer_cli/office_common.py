"""What the office's commands share: their DIR argument, the office key, the lock, and news for running servers."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from upeer_cli import exit_codes
from upeer_cli.common import UserError
from upeer_office import files
from upeer_office.licences import Office
from upeer_office.platforms import load_platform
from upeer_office.push import Told, tell

_Function = TypeVar("_Function", bound=Callable[..., Any])


def folder_argument(function: _Function) -> _Function:
    """Add the argument DIR, the platform's folder, as `folder`."""
    return click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))(function)


def office_key_option(function: _Function) -> _Function:
    """Add `--office-key`, as `office_key`."""
    text = "File with the key that seals licences at rest; DIR/office.key by default."
    option = click.option(
        "--office-key", envvar="UPEER_OFFICE_KEY", show_envvar=True, type=click.Path(path_type=Path), help=text
    )
    return option(function)


@contextmanager
def opened_office(folder: Path, office_key: Path | None) -> Iterator[Office]:
    """Open the office for one command at a time; what the database reports becomes one line."""
    load_platform(folder)
    try:
        with files.locked(folder), Office.open(folder, office_key) as office:
            yield office
    except sqlite3.Error as error:
        raise UserError(
            f"the licence database failed: {error}", "check the disk's free space and who else uses it"
        ) from error


def tell_servers(folder: Path, request: dict[str, Any]) -> list[Told]:
    """Tell every running master and p2p server what changed."""
    return tell(folder, request)


def told_lines(told: list[Told]) -> list[str]:
    """Return what to print about servers that were told, or that none runs."""
    return [item.text for item in told] or ["no server runs from this folder: nothing to tell"]


def told_json(told: list[Told]) -> list[dict[str, Any]]:
    """Return the same for `--json`."""
    return [{"server": item.name, "told": item.told, "running": item.running, "reason": item.reason} for item in told]


def check_told(told: list[Told]) -> int:
    """Return the exit code: 3 when a server runs that does not know yet."""
    return exit_codes.UNREACHABLE if any(item.running and not item.told for item in told) else exit_codes.OK


def write_new_file(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON document with secrets to a new private file; an existing file is left alone."""
    try:
        files.create_private_file(path, json.dumps(document, indent=1).encode() + b"\n")
    except FileExistsError as error:
        raise UserError(f"{path} exists already", "choose another file") from error
