"""Tells running servers at once what the office changed in their bundles."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upeer_office.errors import OfficeError
from upeer_office.runfile import Running, read_run_files
from upeer_server.admin import AdminError


@dataclass(frozen=True)
class Told:
    """How one serving process took a message: `told`, or else `running` when somebody has to look after it."""

    name: str
    told: bool
    running: bool
    reason: str = ""

    @property
    def text(self) -> str:
        """Return one line for people."""
        if self.told:
            return f"{self.name}: told"
        return (
            f"{self.name}: NOT told, it {self.reason}" if self.running else f"{self.name}: not running, nothing to tell"
        )


def tell(folder: Path, request: dict[str, Any], roles: Iterable[str] = ("master", "p2p")) -> list[Told]:
    """Send a request to every serving process with one of the roles; say for each whether it was told."""
    return [_tell(running, request) for running in read_run_files(folder) if running.has_role(*roles)]


def _tell(running: Running, request: dict[str, Any]) -> Told:
    try:
        running.ask(request)
    except (AdminError, OfficeError) as error:
        reached = isinstance(error, AdminError) and error.reached
        return Told(running.name, False, reached or is_alive(running.pid), str(error))
    return Told(running.name, True, True)


def is_alive(pid: int) -> bool:
    """Tell whether a process with this id exists on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
