"""Espressif app and bootloader images, and how a stock MicroPython file is laid out.

Header, little-endian, 24 bytes: E9 | segments (8) | SPI mode (8) | speed (4) and flash size (4) | entry (32) |
WP pin (8) | drive (24) | chip id (16) | revisions (40) | 0 (32) | hash appended (8); then segments of
address (32) | size (32) | data; then a checksum byte that ends a block of 16; then the SHA-256 of all, if so marked.

The first segment of an app, and of an app only, begins with the application description: ABCD5432 | ... In stock
MicroPython images name and version in it are empty: the version is found in the interpreter's own text (version.py).

A stock MicroPython file starts at IMAGE_OFFSETS[chip] with the bootloader; the partition table is at flash address
0x8000 and the app at 0x10000: in the file at 0x7000 and 0xF000 on ESP32 and S2, at 0x8000 and 0x10000 on later chips.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from upeer_board import partitions, version

IMAGE_OFFSETS = {"esp32": 0x1000, "esp32s2": 0x1000, "esp32s3": 0, "esp32c2": 0, "esp32c3": 0, "esp32c6": 0, "unix": 0}
CHIP_IDS = {0: "esp32", 2: "esp32s2", 5: "esp32c3", 9: "esp32s3", 12: "esp32c2", 13: "esp32c6", 16: "esp32h2"}
_HEADER = struct.Struct("<BBBBI4sHBHH4sB")
_MAGIC = 0xE9
_APP_MAGIC = (0xABCD5432).to_bytes(4, "little")
_APP_MAGIC_AT = 32  # behind the image's header and that of its first segment
_MAX_SEGMENTS = 16


@dataclass(frozen=True)
class Image:
    """One image found in a file: `data` is exactly the image, checksum and hash verified."""

    chip: str
    flash_size: int
    data: bytes
    hash_appended: bool


@dataclass(frozen=True)
class Stock:
    """The parts of a stock MicroPython file, and which MicroPython it is ("v1.26.1")."""

    bootloader: Image
    table: partitions.PartitionTable
    app: Image
    version: str


def parse(data: bytes, what: str) -> Image:
    """Parse and verify the image at the start of `data`; ValueError names `what` and the fault."""
    if len(data) < _HEADER.size or data[0] != _MAGIC:
        raise ValueError(f"no {what} here: the first byte is not 0xe9")
    _, segments, _, speed_size, _, _, chip_id, *_, hashed = _HEADER.unpack_from(data)
    if not 0 < segments <= _MAX_SEGMENTS:
        raise ValueError(f"the {what} has {segments} segments")
    at, checksum = _HEADER.size, 0xEF
    for _ in range(segments):
        size = struct.unpack_from("<I", data, at + 4)[0] if at + 8 <= len(data) else len(data)
        if at + 8 + size > len(data):
            raise ValueError(f"the {what} is cut short")
        for byte in _fold(data[at + 8 : at + 8 + size]):
            checksum ^= byte
        at += 8 + size
    end = at | 15
    if end >= len(data) or data[end] != checksum:
        raise ValueError(f"the checksum of the {what} is wrong: fetch the file again")
    end += 1
    if hashed == 1:
        if data[end : end + 32] != hashlib.sha256(data[:end]).digest():
            raise ValueError(f"the SHA-256 of the {what} is wrong: fetch the file again")
        end += 32
    flash_size = (1 << 20) << (speed_size >> 4)
    return Image(CHIP_IDS.get(chip_id, f"chip {chip_id}"), flash_size, data[:end], hashed == 1)


def _fold(data: bytes) -> bytes:
    """XOR `data` down to 4 bytes or fewer, so that a checksum over megabytes is quick."""
    value, size = int.from_bytes(data, "little"), len(data)
    while size > 4:
        size = (size + 1) // 2
        value = (value >> 8 * size) ^ (value & ((1 << 8 * size) - 1))
    return value.to_bytes(size, "little")


def is_app(data: bytes) -> bool:
    """Return whether the image at the start of `data` is an app: whatever the file is called, it says so itself."""
    return data[:1] == bytes((_MAGIC,)) and data[_APP_MAGIC_AT : _APP_MAGIC_AT + len(_APP_MAGIC)] == _APP_MAGIC


def split_stock(data: bytes, chip: str) -> Stock:
    """Take a stock MicroPython file for `chip` apart; ValueError is one line that says what to do."""
    base = IMAGE_OFFSETS[chip]
    if chip == "unix":
        raise ValueError("the virtual board needs no MicroPython image: leave --micropython out")
    if data[:4] == b"UF2\n":
        raise ValueError("this is a UF2 file: take the .bin of the same version")
    if is_app(data):
        raise ValueError(_without_bootloader(data))
    bootloader = parse(data, "bootloader")
    if bootloader.chip != chip:
        raise ValueError(f"this image is for {bootloader.chip}: take the file for the board's chip, {chip}")
    table = _table(data[partitions.TABLE_OFFSET - base :])
    at = next(row.offset for row in table if row.type == 0) - base
    app = parse(data[at:], "app")
    if app.chip != chip:
        raise ValueError(f"the app in this image is for {app.chip}: take the file for the board's chip, {chip}")
    if not is_app(app.data):
        raise ValueError("the app in this image has no application description: is this a stock MicroPython .bin?")
    found = version.find(app.data)
    version.check(found)
    return Stock(bootloader, table, app, found)


def _without_bootloader(data: bytes) -> str:
    """Return what to say of an app alone, an .app-bin: it updates a board that runs, a new board needs a bootloader."""
    app = parse(data, "app")
    return (
        f"this is an app for {app.chip} without bootloader (.app-bin, for updates of a board that runs): "
        "take the .bin of the same version"
    )


def _table(data: bytes) -> partitions.PartitionTable:
    """Return the partition table of a stock file, which has an app."""
    try:
        table = partitions.decode(data[: partitions.TABLE_SIZE])
    except ValueError as error:
        raise ValueError(f"{error} (at {partitions.TABLE_OFFSET:#x}): is this a stock MicroPython .bin?") from None
    if not any(row.type == 0 for row in table):
        raise ValueError("the image's partition table has no app: is this a stock MicroPython .bin?")
    return table


def with_flash_size(image: Image, flash_size: int) -> bytes:
    """Return the image with the board's flash size in its header and its hash made anew.

    The bootloader refuses partitions behind the end of the flash that its header names.
    """
    code = (flash_size >> 20).bit_length() - 1
    data = bytearray(image.data)
    data[3] = data[3] & 0x0F | code << 4
    if image.hash_appended:
        data[-32:] = hashlib.sha256(data[:-32]).digest()
    return bytes(data)
