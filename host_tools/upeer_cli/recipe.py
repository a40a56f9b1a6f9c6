"""`upeer image fetch` and `upeer image recipe`: where MicroPython comes from, and recipes for `upeer flash`."""

import hashlib
import os
from pathlib import Path
from typing import Any

import click

from upeer_board.boards import DEFAULT_LAYOUT
from upeer_cli import exit_codes
from upeer_cli.common import UserError, examples, json_option, report

_FILE = click.Path(path_type=Path, dir_okay=False)
_FROZEN_HELP = "The firmware is frozen into this MicroPython (docs/frozen-build.md): leave it out of the file system."
_LAYOUT_HELP = "Which partition table of the board: `upeer board list` names them."


def layout_option(function: Any) -> Any:
    """Add --layout."""
    option = click.option("--layout", default=DEFAULT_LAYOUT, show_default=True, metavar="NAME", help=_LAYOUT_HELP)
    return option(function)


frozen_option = click.option("--frozen", is_flag=True, help=_FROZEN_HELP)


@click.command(
    epilog=examples(
        "upeer image fetch --recipe line.toml",
        "upeer image fetch --recipe line.toml --file ~/Downloads/ESP32_GENERIC-OTA-20250911-v1.26.1.bin",
    )
)
@click.option("--recipe", "recipe_path", required=True, type=_FILE, metavar="FILE", help="The recipe (TOML).")
@click.option("--pin", metavar="SHA256", envvar="UPEER_RECIPE_PIN", help="SHA-256 of the recipe file.")
@click.option("--file", "file_path", type=_FILE, help="The download to check; without it, the file the recipe names.")
@json_option
def fetch(recipe_path: Path, pin: str | None, file_path: Path | None, json_mode: bool) -> None:
    """Say where the recipe's MicroPython image comes from, and check the file that you downloaded.

    Nothing is bundled and nothing is downloaded: you decide what runs on your boards.
    """
    from upeer_board import boards, esp_image
    from upeer_factory.flash import recipe as recipes

    recipe = recipes.load(recipe_path, pin)
    wanted = recipe.micropython
    path = file_path or recipe.folder / wanted.file
    if not path.is_file():
        page = f"{wanted.page}{_page(recipe.board, wanted.page)}"
        hint = f"get {Path(wanted.file).name} from {page} and put it at {path}"
        raise UserError(f"no MicroPython {wanted.version or 'image'} at {path}", hint, exit_codes.FAILURE)
    data = path.read_bytes()
    recipes.check_sha256(data, wanted.sha256, str(path))
    try:
        stock = esp_image.split_stock(data, boards.load_board(recipe.board).chip)
    except ValueError as error:
        raise UserError(f"{path}: {error}", code=exit_codes.INTEGRITY) from None
    row = {"file": str(path), "sha256": wanted.sha256, "version": stock.version, "chip": stock.app.chip}
    report(row, json_mode, f"{path}: MicroPython {stock.version} for {stock.app.chip}, SHA-256 as in the recipe")


def _page(board: str, page: str) -> str:
    return f"{board}/" if page.endswith("/download/") else ""


@click.command(
    "recipe",
    epilog=examples(
        "upeer image recipe --board ESP32_GENERIC --micropython fw.bin --source app --out line.toml",
        "upeer image recipe --board ESP32_GENERIC --micropython fw.bin --image build/line --out line.toml",
    ),
)
@click.option("--board", "board_name", required=True, metavar="NAME", help="One of `upeer board list`.")
@layout_option
@click.option("--micropython", required=True, type=_FILE, help="The MicroPython .bin for it.")
@click.option("--image", type=click.Path(path_type=Path, file_okay=False), help="Folder of `upeer image build`.")
@click.option("--source", type=click.Path(path_type=Path, file_okay=False), help="Folder of the application, or ''.")
@frozen_option
@click.option("--public-key", type=_FILE, help="Bootloader and app must be signed by this key (PEM).")
@click.option("--out", required=True, type=_FILE, help="The recipe to write; paths in it are relative to it.")
@json_option
def recipe_command(
    board_name: str,
    layout: str,
    micropython: Path,
    image: Path | None,
    source: Path | None,
    frozen: bool,
    public_key: Path | None,
    out: Path,
    json_mode: bool,
) -> None:
    """Write a recipe for `upeer flash` with all hashes in it, check it, and print its pin."""
    from upeer_board import boards, esp_image
    from upeer_board.image import write_file
    from upeer_factory.flash import parts

    if (image is None) == (source is None):
        raise UserError("give --image or --source, one of the two", code=exit_codes.USAGE)
    files = {"micropython": micropython, "public_key": public_key, "image": image, "source": source}
    try:
        board = boards.load_board(board_name, layout=layout)
        application = _application(board, files, frozen, out.parent)
        found = esp_image.split_stock(micropython.read_bytes(), board.chip).version
        text = _text(board, files, application, found, out.parent)
    except ValueError as error:
        raise UserError(str(error)) from None
    write_file(out, text.encode())
    prepared = parts.prepare(out)
    rows = [{"name": part.name, "offset": part.offset, "size": len(part.data)} for part in prepared.parts]
    data = {
        "recipe": str(out),
        "pin": prepared.recipe.pin,
        "layout": board.layout,
        "micropython": prepared.micropython,
        "parts": rows,
    }
    lines = [f"{row['offset']:#9x} {row['size']:9} {row['name']}" for row in rows]
    lines.append(f"MicroPython {prepared.micropython}")
    report(data, json_mode, "\n".join([*lines, f"upeer flash --recipe {out} --pin {prepared.recipe.pin} --port PORT"]))


def _application(board: Any, files: dict[str, Path | None], frozen: bool, folder: Path) -> list[str]:
    """Return what the recipe says of the file system: an image by its image.json, or one built from a folder."""
    from upeer_factory.flash import parts

    image, source = files["image"], files["source"]
    if image is not None:
        digest = _sha256((image / "image.json").read_bytes())
    else:
        digest = _sha256(parts.build_file_system(board, source if str(source) not in ("", ".") else None, frozen))
    kind = "image" if image else "source"
    lines = ["[application]", f"{kind} = {_quoted(_relative(files[kind], folder))}", f"sha256 = {_quoted(digest)}"]
    return lines + (["frozen = true"] if frozen else [])


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _text(board: Any, files: dict[str, Path | None], application: list[str], version: str, folder: Path) -> str:
    """Return the recipe's text; `files` are those that it names."""
    micropython, public_key = files["micropython"], files["public_key"]
    assert micropython is not None
    lines = [
        f"board = {_quoted(board.name)}",
        *([f"layout = {_quoted(board.layout)}"] if board.layout != DEFAULT_LAYOUT else []),
        "",
        "[micropython]",
        f"file = {_quoted(_relative(micropython, folder))}",
        f"sha256 = {_quoted(_sha256(micropython.read_bytes()))}",
        f"version = {_quoted(version)}",
        "",
        *application,
        "",
        "[partition_table]",
        f"sha256 = {_quoted(_sha256(board.partitions.encode()))}",
    ]
    if public_key is not None:
        key, digest = _relative(public_key, folder), _sha256(public_key.read_bytes())
        lines += ["", "[signature]", f"public_key = {_quoted(key)}", f"sha256 = {_quoted(digest)}"]
    return "\n".join(lines) + "\n"


def _relative(path: Any, folder: Path) -> str:
    if str(path) in ("", "."):
        return ""
    return os.path.relpath(path, folder)


def _quoted(text: str) -> str:
    """Return a TOML string."""
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise ValueError("a path with control characters does not go into a recipe")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
