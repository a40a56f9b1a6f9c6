"""Private files and folders: 0600 and 0700 from the first byte, replaced as a whole or not at all."""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from upeer_office.errors import INTEGRITY, OfficeError


def make_private_folder(path: Path) -> None:
    """Make a folder that only its owner may enter; its parents follow the umask."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    path.chmod(0o700)


def create_private_file(path: Path, data: bytes = b"") -> None:
    """Write a new file with mode 0600, safe on disk when this returns; FileExistsError if it is there already."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    _sync_folder(path.parent)


def replace_private_file(path: Path, data: bytes) -> None:
    """Write a file anew: a power cut leaves the old content or the new one, never a mixture."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        create_private_file(scratch, data)
        os.replace(scratch, path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def touch_private_file(path: Path) -> None:
    """Make sure that a file exists and that only its owner may read it; SQLite's side files take over its mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    path.chmod(0o600)


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Replace a private file by a JSON document."""
    replace_private_file(path, json.dumps(document, indent=1).encode() + b"\n")


def read_json(path: Path, kind: str) -> dict[str, Any]:
    """Return the JSON document of a file whose `format` is kind; OfficeError when it is another or damaged."""
    try:
        document = json.loads(path.read_bytes())
    except ValueError as error:
        raise OfficeError(f"{path} is damaged", "take it from a backup", INTEGRITY) from error
    if not isinstance(document, dict) or document.get("format") != kind or document.get("version") != 1:
        raise OfficeError(f"{path} is not what it should be ({kind}, version 1)", "take it from a backup", INTEGRITY)
    return document


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one office command at a time change a platform's folder."""
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
