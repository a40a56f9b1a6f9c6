"""Tells running servers at once what the office changed in their bundles."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upeer_office.errors import OfficeError
from upeer_server.admin import AdminError
from upeer_server.runfile import Running, read_run_files


@dataclass(frozen=True)
class Told:
    """Whether one serving process was told; `text` is for people."""

    name: str
    told: bool
    text: str


def tell(folder: Path, request: dict[str, Any], roles: Iterable[str] = ("master", "p2p")) -> list[Told]:
    """Send a request to every serving process with one of the roles; say for each whether it was told."""
    return [_tell(running, request) for running in read_run_files(folder) if running.has_role(*roles)]


def _tell(running: Running, request: dict[str, Any]) -> Told:
    try:
        running.ask(request)
    except (AdminError, OfficeError) as error:
        return Told(running.name, False, f"{running.name}: not told, it {error}")
    return Told(running.name, True, f"{running.name}: told")
