"""The client's own files: mode 0600 from the first byte, replaced as a whole or not at all."""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from upeer_client.errors import ConfigError


def read_json(path: Path, kind: str, hint: str) -> dict[str, Any]:
    """Return the JSON document of a file whose `format` is kind; ConfigError when it is damaged or another."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", hint) from error
    except ValueError as error:
        raise ConfigError(f"{path} is damaged", hint) from error
    if not isinstance(document, dict) or document.get("format") != kind or document.get("version") != 1:
        raise ConfigError(f"{path} is no file of the form '{kind}', version 1", hint)
    return document


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Replace a private file: a power cut leaves the old content or the new one."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(json.dumps(document, indent=1).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder if need be (mode 0700), and let one process at a time change what is in it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Have a folder's entries safe on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
