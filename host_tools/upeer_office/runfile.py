"""Run files: what a serving process leaves beside its bundles so that the command line finds its admin listener.

`run-<first bundle>.json`, mode 0600, holds no key, only the name of the bundle whose admin key counts. A process that
was killed leaves a stale one: whoever asks there gets no authentic answer and takes the process as not running.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upeer_office import files
from upeer_office.bundle import NODE_FILE, bundle_name, read_bundle
from upeer_office.errors import OfficeError
from upeer_server.admin import AdminError, ask

_FORMAT = "upeer run"


@dataclass(frozen=True)
class Running:
    """One run file: the process, its admin listener, and the servers it said it runs."""

    path: Path
    pid: int
    admin: tuple[str, int]
    key_name: str
    servers: list[dict[str, Any]]
    started: int

    @property
    def name(self) -> str:
        """Return what to call this process to people: the names of its servers."""
        return "+".join(server["name"] for server in self.servers) or self.path.stem

    def has_role(self, *roles: str) -> bool:
        return any(server["name"].partition("-")[0] in roles for server in self.servers)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request to the process; AdminError when it is not running or refuses."""
        return ask(self.admin, self._admin_key(), request)

    def _admin_key(self) -> bytes:
        folder = self.path.parent
        for place in (folder / self.key_name, folder):
            if (place / NODE_FILE).is_file():
                document = read_bundle(place)
                if bundle_name(document) == self.key_name:
                    return bytes.fromhex(document["admin_key"])
        raise AdminError(f"has no bundle {self.key_name} beside its run file any more")


def write_run_file(folder: Path, admin: tuple[str, int], key_name: str, servers: list[dict[str, Any]]) -> Path:
    """Write this process's run file and return its path; stale ones, which name servers that are ours now, go away."""
    ours = {server["name"] for server in servers}
    for other in read_run_files(folder):
        if ours & {server["name"] for server in other.servers}:
            other.path.unlink(missing_ok=True)
    path = folder / f"run-{servers[0]['name']}.json"
    document: dict[str, Any] = {"format": _FORMAT, "version": 1, "pid": os.getpid(), "admin": list(admin)}
    document |= {"key": key_name, "servers": servers, "started": int(time.time())}
    files.write_json(path, document)
    return path


def read_run_files(folder: Path) -> list[Running]:
    """Return the run files in a platform's or bundle's folder and in the bundles below it, unreadable ones left out."""
    found = []
    for path in sorted([*folder.glob("run-*.json"), *folder.glob("*/run-*.json")]):
        try:
            document = files.read_json(path, _FORMAT)
            host, port = document["admin"]
            found.append(
                Running(path, document["pid"], (host, port), document["key"], document["servers"], document["started"])
            )
        except (OfficeError, OSError, KeyError, TypeError, ValueError):
            continue
    return found
