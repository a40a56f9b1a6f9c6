"""Shared by the tests of boards and images: a small project, and stock MicroPython files made by the rules."""

import hashlib
import shutil
import struct

from upeer_board import boards
from upeer_board.partitions import Partition, PartitionTable

RECORD = {
    "did": "ABCD-000001-GHKLM",
    "licence_key": b"L" * 32,
    "key_id": 7,
    "crc_key": b"C" * 32,
    "p2p_key": b"P" * 32,
    "init_string": "BwAA",
    "setup_code": b"S" * 10,
}
_CORE = (
    "__init__.py",
    *(f"base/{name}.py" for name in ("__init__", "compat", "errors")),
    *(f"crypto/{name}.py" for name in ("__init__", "aead", "cpython")),
)


def small_project(folder, main="print('main runs')\n"):
    """Return a project with our boards and little firmware: boot.py, a main.py, fctry, store and crypto."""
    source = boards.project_root()
    shutil.copytree(source / "boards", folder / "boards")
    for inside in [f"upeer/{name}" for name in _CORE] + ["device/fctry.py", "device/store.py", "boot.py"]:
        target = folder / "firmware" / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / "firmware" / inside, target)
    (folder / "firmware" / "main.py").write_text(main)
    return folder


def interpreter_texts(version):
    """Return `sys.version` and the REPL's banner as they stand in an app: 256 bytes."""
    name = b"MicroPython %s on 2025-12-09" % version.encode()
    return (b"3.4.0; " + name + b"\0" + name + b"; Generic ESP32 module with ESP32\0").ljust(256, b"\0")


TEXTS = interpreter_texts("v1.27.0")


def esp_image(chip_id, segment, hashed=True, flash_code=2, entry=0x40080000):
    """Return an Espressif image with one segment."""
    head = (
        struct.pack("<BBBBI", 0xE9, 1, 2, flash_code << 4, entry)
        + b"\xee\0\0\0"
        + struct.pack("<H", chip_id)
        + bytes(9)
    )
    body = head + bytes((hashed,)) + struct.pack("<II", 0x3F400020, len(segment)) + segment
    checksum = 0xEF
    for byte in segment:
        checksum ^= byte
    body += bytes(15 - len(body) % 16) + bytes((checksum,))
    return body + (hashlib.sha256(body).digest() if hashed else b"")


def app_segment(size, texts=TEXTS):
    """Return the first segment of an app: its description, empty as stock images have it, the texts, then padding."""
    head = struct.pack("<I", 0xABCD5432) + bytes(252) + texts
    return head + bytes(range(256)) * ((size - len(head)) // 256)


def stock_file(chip_id, base, app_size=0x20000, texts=TEXTS):
    """Return a stock MicroPython file as micropython.org offers it, for a chip whose images start at `base`."""
    table = PartitionTable(
        [
            Partition("nvs", 1, 2, 0x9000, 0x6000),
            Partition("factory", 0, 0, 0x10000, 0x1F0000),
            Partition("vfs", 1, 0x81, 0x200000, 0x200000),
        ]
    )
    flash = bytearray(b"\xff" * 0x10000)
    bootloader = esp_image(chip_id, b"boot" * 3000)
    flash[base : base + len(bootloader)] = bootloader
    flash[0x8000:0x8C00] = table.encode()
    return bytes(flash[base:]) + esp_image(chip_id, app_segment(app_size, texts))
