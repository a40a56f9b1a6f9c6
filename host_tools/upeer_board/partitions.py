"""ESP-IDF partition tables: `partitions.csv` of a board, and the binary table at 0x8000.

A row of the binary is, little-endian, 32 bytes:
    magic AA 50 | type (8) | subtype (8) | offset (32) | size (32) | label (128, zero-padded) | flags (32)
then one row EB EB, fourteen FF, MD5 of the rows before; the rest of the 0xC00 bytes is FF.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path

TABLE_OFFSET = 0x8000
TABLE_SIZE = 0xC00
SECTOR = 0x1000
APP_ALIGNMENT = 0x10000
FIRST_OFFSET = TABLE_OFFSET + SECTOR

_ROW = struct.Struct("<2sBBII16sI")
_MAGIC = b"\xaa\x50"
_MD5_MAGIC = b"\xeb\xeb" + b"\xff" * 14
_TYPES = {"app": 0, "data": 1}
_SUBTYPES = {
    "app": {"factory": 0x00, "test": 0x20} | {f"ota_{slot}": 0x10 + slot for slot in range(16)},
    "data": {
        "ota": 0,
        "phy": 1,
        "nvs": 2,
        "coredump": 3,
        "nvs_keys": 4,
        "efuse": 5,
        "fat": 0x81,
        "spiffs": 0x82,
        "littlefs": 0x83,
    },
}


@dataclass(frozen=True)
class Partition:
    """One row: offsets and sizes in bytes."""

    name: str
    type: int
    subtype: int
    offset: int
    size: int
    encrypted: bool = False

    @property
    def end(self) -> int:
        return self.offset + self.size


class PartitionTable(list[Partition]):
    """The rows in the order of the table."""

    def find(self, name: str) -> Partition | None:
        """Return the partition of that name, or None."""
        return next((row for row in self if row.name == name), None)

    def __getitem__(self, key):  # type: ignore[no-untyped-def, override]
        """Return the row of that number or name; ValueError if there is no such name."""
        if not isinstance(key, str):
            return super().__getitem__(key)
        found = self.find(key)
        if found is None:
            raise ValueError(f"the partition table has no {key!r} row")
        return found

    def encode(self) -> bytes:
        """Return the binary table (0xC00 bytes) with its MD5 row."""
        rows = b"".join(
            _ROW.pack(_MAGIC, row.type, row.subtype, row.offset, row.size, row.name.encode(), int(row.encrypted))
            for row in self
        )
        if len(rows) + 2 * _ROW.size > TABLE_SIZE:
            raise ValueError("too many partitions")
        return (rows + _MD5_MAGIC + hashlib.md5(rows).digest()).ljust(TABLE_SIZE, b"\xff")


def decode(data: bytes) -> PartitionTable:
    """Parse a binary table; ValueError if it is none, or its MD5 is wrong."""
    table = PartitionTable()
    for at in range(0, min(len(data), TABLE_SIZE) - _ROW.size + 1, _ROW.size):
        row = data[at : at + _ROW.size]
        if row.startswith(_MD5_MAGIC):
            if row[16:] != hashlib.md5(data[:at]).digest():
                raise ValueError("the partition table's MD5 is wrong")
            return table
        if row == b"\xff" * _ROW.size:
            break
        magic, kind, subtype, offset, size, label, flags = _ROW.unpack(row)
        if magic != _MAGIC:
            raise ValueError("no partition table here")
        table.append(
            Partition(label.rstrip(b"\0").decode("ascii", "replace"), kind, subtype, offset, size, bool(flags & 1))
        )
    if not table:
        raise ValueError("no partition table here")
    return table


def _number(text: str, names: dict[str, int], what: str) -> int:
    if text in names:
        return names[text]
    try:
        return parse_size(text)
    except ValueError:
        raise ValueError(f"{what} {text!r} is not known") from None


def parse_size(text: str) -> int:
    """Return the bytes in `0x1000`, `4096`, `4K` or `2M`."""
    unit = {"K": 1024, "M": 1024 * 1024}.get(text[-1:].upper(), 1)
    return int(text[:-1] if unit > 1 else text, 0) * unit


def load_csv(path: Path, flash_size: int) -> PartitionTable:
    """Read and check `partitions.csv`; ValueError is one line with file and row."""
    table = PartitionTable()
    for number, line in enumerate(path.read_text().splitlines(), 1):
        text = line.split("#")[0].strip()
        if not text:
            continue
        try:
            table.append(_parse_row([field.strip() for field in text.split(",")]))
        except ValueError as error:
            raise ValueError(f"{path}:{number}: {error}") from None
    try:
        check(table, flash_size)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return table


def _parse_row(fields: list[str]) -> Partition:
    encrypted = fields[5:] == ["encrypted"]
    if encrypted or fields[5:] == [""]:
        fields.pop()
    if len(fields) != 5:
        raise ValueError("a row is: name, type, subtype, offset, size[, encrypted]")
    name, kind_text, subtype_text, offset, size = fields
    kind = _number(kind_text, _TYPES, "type")
    subtype = _number(subtype_text, _SUBTYPES.get(kind_text, {}), "subtype")
    if not 0 < len(name.encode()) <= 16:
        raise ValueError("a name has 1 to 16 characters")
    return Partition(name, kind, subtype, _number(offset, {}, "offset"), _number(size, {}, "size"), encrypted)


def check(table: PartitionTable, flash_size: int) -> None:
    """Raise ValueError on overlaps, bad alignment, rows outside the flash, names used twice."""
    end, before = FIRST_OFFSET, "the partition table"
    for row in sorted(table, key=lambda row: row.offset):
        alignment = APP_ALIGNMENT if row.type == 0 else SECTOR
        if row.offset % alignment:
            raise ValueError(f"{row.name} starts at {row.offset:#x}, which is no multiple of {alignment:#x}")
        if row.size <= 0 or row.size % SECTOR:
            raise ValueError(f"the size of {row.name}, {row.size:#x}, is no multiple of {SECTOR:#x}")
        if row.offset < end:
            raise ValueError(f"{row.name} at {row.offset:#x} overlaps {before}, which ends at {end:#x}")
        end, before = row.end, row.name
    if end > flash_size:
        raise ValueError(f"{before} ends at {end:#x}, behind the end of the flash ({flash_size:#x})")
    if len({row.name for row in table}) < len(table):
        raise ValueError("a name is used twice")
