"""The host's side of the licence partition: the codec is the device's own, firmware/device/fctry.py.

A licence file is either such an image (4 or 8 KiB) or JSON with the record's fields, keys and setup code in hex.
"""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from upeer_board import partitions
from upeer_board.boards import FCTRY_SIZE, project_root

Record = dict[str, Any]


@cache
def codec() -> ModuleType:
    """Return firmware/device/fctry.py as a module."""
    path = project_root() / "firmware" / "device" / "fctry.py"
    spec = importlib.util.spec_from_file_location("upeer_board._device_fctry", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def image(record: Record | None, size: int = FCTRY_SIZE) -> bytes:
    """Return the partition's contents: two copies of `record`, or blank flash; ValueError if the record is bad."""
    copies = b"" if record is None else bytes(codec().encode(record)) * 2
    return copies.ljust(size, b"\xff")


def decode_image(data: bytes) -> tuple[Record, int, list[str]]:
    """Return (record, copy 1 or 2, faults) of a partition's contents; ValueError if neither copy is good."""

    def readblocks(block: int, buf: bytearray) -> None:
        start = block * codec().BLOCK_SIZE
        buf[:] = data[start : start + len(buf)].ljust(len(buf), b"\xff")

    record, which, faults = codec().read(readblocks)
    return record, which, faults


def parse_licence(data: bytes) -> Record:
    """Return the record in a licence file; ValueError is one line and never quotes the file."""
    if data[:4] == b"uPfc":
        return decode_image(data)[0]
    try:
        fields = json.loads(data)
        known = [(name, kind) for name, _, kind, _ in codec().FIELDS if fields.get(name) is not None]
        record = {name: _value(fields[name], kind) for name, kind in known}
    except (ValueError, TypeError, AttributeError):
        raise ValueError("not a licence file: neither an fctry image nor JSON with the licence's fields") from None
    codec().encode(record)
    return record


def _value(value: Any, kind: str) -> Any:
    return bytes.fromhex(value) if kind in "ks" else int(value) if kind == "n" else str(value)


def burn(flash: Path, licence: Record | bytes) -> None:
    """Write a licence, a record or an fctry image, into the flash file; ValueError if it is none or has no room."""
    with open(flash, "r+b") as file:
        file.seek(partitions.TABLE_OFFSET)
        row = partitions.decode(file.read(partitions.TABLE_SIZE))["fctry"]
        data = image(licence, row.size) if isinstance(licence, dict) else licence.ljust(row.size, b"\xff")
        decode_image(data)
        file.seek(row.offset)
        file.write(data[: row.size])
    flash.chmod(0o600)
