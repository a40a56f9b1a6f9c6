"""From a recipe to the pieces of flash that are written: bootloader, partition table, app, otadata, file system.

The licence partition `fctry` is never among them, so a licence survives; `blank_licence` is the one way to erase it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from upeer_board import boards, esp_image, frozen, image, partitions
from upeer_board.image import Part
from upeer_factory.flash import signing
from upeer_factory.flash.faults import INTEGRITY
from upeer_factory.flash.recipe import Recipe, RecipeError, check_sha256, load

_ERASED = b"\xff"
_OTADATA = (1, 0)  # type and subtype: which slot boots; blank says the first


@dataclass(frozen=True)
class Prepared:
    """A recipe whose every file was found and checked; `parts` in the order of the flash."""

    recipe: Recipe
    board: boards.Board
    parts: tuple[Part, ...]
    micropython: str
    hashes: dict[str, str] = field(default_factory=dict)
    public_key: bytes = b""

    @property
    def naive_size(self) -> int:
        """Bytes that a full image of this flash has."""
        return self.board.flash_size

    def merged(self) -> bytes:
        """Return one image from address 0 up to the end of the last part, for other flashers.

        It is blank where nothing belongs, the licence partition too: it is for boards without a licence.
        """
        return image.merge(list(self.parts), max(part.offset + len(part.data) for part in self.parts))


def prepare(path: Path, pin: str | None = None) -> Prepared:
    """Read the recipe and all that it names; RecipeError is one line that says which file is at fault."""
    recipe = load(path, pin)
    try:
        board = boards.load_board(recipe.board, layout=recipe.layout)
        if board.chip == "unix":
            raise ValueError("the virtual board is not flashed: 'upeer board run' boots its image")
        return _prepare(recipe, board)
    except RecipeError:
        raise
    except ValueError as error:
        raise RecipeError(str(error), f"see recipe {path}") from None


def _prepare(recipe: Recipe, board: boards.Board) -> Prepared:
    table = board.partitions.encode()
    check_sha256(table, recipe.partition_table.sha256, f"the partition table of {board.name}")
    data = recipe.read(recipe.micropython.file, recipe.micropython.sha256, "MicroPython image")
    stock = esp_image.split_stock(data, board.chip)
    if recipe.micropython.version not in ("", stock.version):
        raise ValueError(f"the image is MicroPython {stock.version}, the recipe says {recipe.micropython.version}")
    if recipe.application.frozen:
        frozen.check_app(board, stock.app.data)
    public_key = _check_signatures(recipe, stock, data, board)
    slot = min((row for row in board.partitions if row.type == 0), key=lambda row: row.offset)
    vfs = file_system(recipe, board)
    parts = [
        Part("bootloader", board.image_offset, _bootloader(recipe, stock, data, board)),
        Part("partition-table", partitions.TABLE_OFFSET, table),
        Part("app", slot.offset, _app(recipe, stock, data, board)),
        Part("vfs", board.partitions["vfs"].offset, vfs),
        *_blanks(recipe, board),
    ]
    parts.sort(key=lambda part: part.offset)
    _check_fit(parts, board, slot)
    hashes = {part.name: hashlib.sha256(part.data).hexdigest() for part in parts}
    return Prepared(recipe, board, tuple(parts), stock.version, hashes, public_key)


def _bootloader(recipe: Recipe, stock: esp_image.Stock, data: bytes, board: boards.Board) -> bytes:
    """Return the bootloader with the board's flash size; a signed one as it is, for a change would break it."""
    if recipe.signature is None:
        return esp_image.with_flash_size(stock.bootloader, board.flash_size)
    if stock.bootloader.flash_size != board.flash_size:
        raise ValueError(
            f"the signed bootloader says {stock.bootloader.flash_size >> 20} MB of flash, {board.name} has "
            f"{board.flash_size >> 20} MB: build and sign it for this board"
        )
    return signing.signed_part(data, len(stock.bootloader.data))


def _app(recipe: Recipe, stock: esp_image.Stock, data: bytes, board: boards.Board) -> bytes:
    if recipe.signature is None:
        return stock.app.data
    first = next(row for row in stock.table if row.type == 0)
    return signing.signed_part(data[first.offset - board.image_offset :], len(stock.app.data))


def _check_signatures(recipe: Recipe, stock: esp_image.Stock, data: bytes, board: boards.Board) -> bytes:
    """Verify bootloader and app by the recipe's public key and return it; nothing without [signature]."""
    if recipe.signature is None:
        return b""
    pem = recipe.read(recipe.signature.public_key, recipe.signature.sha256, "public key")
    for what, part in (
        ("bootloader", _bootloader(recipe, stock, data, board)),
        ("app", _app(recipe, stock, data, board)),
    ):
        try:
            signing.verify(part, pem)
        except ValueError as error:
            raise RecipeError(f"the {what} in {recipe.micropython.file}: {error}", None, INTEGRITY) from None
    return pem


def file_system(recipe: Recipe, board: boards.Board) -> bytes:
    """Return the file system image that the recipe names or has us build."""
    wanted = recipe.application
    if wanted.source is not None:
        folder = recipe.folder / wanted.source if wanted.source else None
        if folder and not folder.is_dir():
            raise ValueError(f"no application folder {folder}")
        data = build_file_system(board, folder, wanted.frozen)
        check_sha256(data, wanted.sha256, f"the file system built from {folder or 'the firmware'}")
        return data
    assert wanted.image is not None
    manifest = _manifest(recipe, board)
    row = next((part for part in manifest["parts"] if part["file"] == "vfs.bin"), None)
    if row is None or row["secret"]:
        raise ValueError(f"{wanted.image} holds a Wi-Fi password in clear: build it again without --wifi")
    return recipe.read(f"{wanted.image}/vfs.bin", row["sha256"], "application image")


def build_file_system(board: boards.Board, source: Path | None, is_frozen: bool = False) -> bytes:
    """Build the file system image of a board: the firmware, unless it is frozen, and the application in `source`."""
    return image.littlefs_image(image.firmware_files(board, source, is_frozen), board.partitions["vfs"].size)


def _manifest(recipe: Recipe, board: boards.Board) -> dict[str, Any]:
    """Return image.json of the application image, checked."""
    name = f"{recipe.application.image}/image.json"
    data = recipe.read(name, recipe.application.sha256, "application image")
    try:
        manifest: dict[str, Any] = json.loads(data)
        if manifest["board"] != board.name:
            raise ValueError(f"{name} was built for {manifest['board']}, the recipe is for {board.name}")
        if manifest["layout"] != board.layout:
            raise ValueError(f"{name} has the layout {manifest['layout']!r}, the recipe {board.layout!r}")
        if manifest["frozen"] != recipe.application.frozen:
            raise ValueError(f"{name} and the recipe do not agree on where the firmware is: frozen or not")
        if not all(isinstance(part["file"], str) and isinstance(part["secret"], bool) for part in manifest["parts"]):
            raise TypeError
    except (KeyError, TypeError, json.JSONDecodeError):
        raise ValueError(f"{name} is no image.json of 'upeer image build'") from None
    return manifest


def _blanks(recipe: Recipe, board: boards.Board) -> list[Part]:
    """Return blank parts: the OTA choice, so that the new app boots, and what the recipe wants erased."""
    rows = [row for row in board.partitions if (row.type, row.subtype) == _OTADATA]
    rows += [board.partitions[name] for name in recipe.flash.erase]
    wrong = [row.name for row in rows if row.name == "vfs" or row.type == 0]
    if wrong:
        raise ValueError(f"{wrong[0]} cannot be erased: it is written")
    return [Part(row.name, row.offset, _ERASED * row.size) for row in dict.fromkeys(rows)]


def blank_licence(board: boards.Board) -> Part:
    """Return the part that erases a board's licence."""
    row = board.partitions["fctry"]
    return Part("fctry", row.offset, _ERASED * row.size)


def _check_fit(parts: list[Part], board: boards.Board, slot: partitions.Partition) -> None:
    """Raise ValueError where parts overlap, leave their partition, or touch the licence."""
    licence, end = board.partitions["fctry"], 0
    for part in parts:
        stop = part.offset + len(part.data)
        if part.offset < end:
            raise ValueError(f"{part.name} at {part.offset:#x} overlaps what is before it")
        if part.name == "app" and stop > slot.end:
            raise ValueError(f"the app is {len(part.data) >> 10} KiB, {slot.name} holds {slot.size >> 10} KiB")
        if part.offset < licence.end and stop > licence.offset:
            raise ValueError(f"{part.name} would overwrite the licence")
        end = -(-stop // partitions.SECTOR) * partitions.SECTOR
