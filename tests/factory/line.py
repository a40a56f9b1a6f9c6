"""Shared by the tests of the line: a recipe on disk with all that it names, built from a small project."""

import hashlib
import os
from contextlib import contextmanager
from pathlib import Path

import board_images

from upeer_board import boards, esp_image
from upeer_factory.flash import parts, recipe

CHIP_IDS = {name: number for number, name in esp_image.CHIP_IDS.items()}


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def small_project(folder, chips=("esp32",)):
    """Make a project with little firmware and a 4 MB board per chip, `LINE_<CHIP>`; return its folder."""
    board_images.small_project(folder)
    source = folder / "boards" / "ESP32_GENERIC"
    for chip in chips:
        target = folder / "boards" / f"LINE_{chip.upper()}"
        target.mkdir()
        text = (source / "board.toml").read_text().replace('chip = "esp32"', f'chip = "{chip}"')
        (target / "board.toml").write_text(text.replace('mpy_march = "xtensawin"', 'mpy_march = ""'))
        for table in source.glob("partitions*.csv"):
            (target / table.name).write_text(table.read_text())
    return folder


@contextmanager
def project(folder):
    """Let the project be the one below `folder`."""
    before = os.environ.get("UPEER_ROOT")
    os.environ["UPEER_ROOT"] = str(folder)
    try:
        yield folder
    finally:
        os.environ.pop("UPEER_ROOT") if before is None else os.environ.update(UPEER_ROOT=before)


def write_recipe(folder, board_name="LINE_ESP32", app_size=0x20000, micropython=None, extra="", layout="default"):
    """Write recipe.toml, the MicroPython image and an application below `folder`; return (path, pin)."""
    folder.mkdir(parents=True, exist_ok=True)
    board = boards.load_board(board_name, layout=layout)
    data = micropython or board_images.stock_file(CHIP_IDS[board.chip], board.image_offset, app_size)
    (folder / "micropython.bin").write_bytes(data)
    app = folder / "app"
    app.mkdir(exist_ok=True)
    if not (app / "app.py").exists():
        (app / "app.py").write_text("print('the application')\n")
    text = f"""board = "{board_name}"
layout = "{layout}"
[micropython]
file = "micropython.bin"
sha256 = "{sha256(data)}"
[application]
source = "app"
sha256 = "{sha256(parts.build_file_system(board, app))}"
[partition_table]
sha256 = "{sha256(board.partitions.encode())}"
{extra}"""
    path = folder / "recipe.toml"
    path.write_text(text)
    return path, sha256(text.encode())


def prepared(folder, **kwargs):
    """Return a prepared recipe."""
    path, pin = write_recipe(Path(folder), **kwargs)
    return parts.prepare(path, pin)


__all__ = ["prepared", "project", "recipe", "sha256", "small_project", "write_recipe"]
