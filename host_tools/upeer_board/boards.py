"""Boards are folders of data, `boards/<NAME>/`: board.toml, partitions*.csv, manifest.py. Nothing else names them.

board.toml has
    title, chip (esp32, esp32s2, esp32s3, esp32c3, esp32c6, unix), flash_size ("4M"), wifi (true or false)
    heap        what the board's MicroPython heap is on the virtual board, as `-X heapsize` takes it
    mpy_march   -march of mpy-cross for native modules, "" for none
    image_offset (optional)  where stock MicroPython images of the chip start: 0x1000 on ESP32 and S2, else 0
    [limits]    max_sessions, channels, datagram_queue: what the agent may use; session_buffer: bytes each way that the
                channels of a session share; heap_limit: bytes that MicroPython may allocate there before memory runs
                short (112 KB on chips without PSRAM)
    [clock]     idle_mhz, busy_mhz (optional): the CPU's clock, fast while somebody waits for the board
    [pins]      name = GPIO number
    [firmware]  exclude (optional): files under firmware/ that this board goes without
    [partitions.csv]  ESP-IDF's form; `vfs` and `fctry` (two 4 KiB copies) must be there, and every offset
partitions-<LAYOUT>.csv beside it is another layout of the same board; the licence is at the same place in all of them.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from upeer_board import esp_image, partitions

_FIELDS: dict[str, type] = {
    "title": str,
    "chip": str,
    "flash_size": str,
    "wifi": bool,
    "heap": str,
    "mpy_march": str,
    "limits": dict,
}
_OPTIONAL: dict[str, type] = {"image_offset": int, "clock": dict, "pins": dict, "firmware": dict}
_LIMITS = {"max_sessions", "channels", "session_buffer", "datagram_queue", "heap_limit"}
_CLOCK = {"idle_mhz", "busy_mhz"}
_MARCHES = {"", "xtensa", "xtensawin", "rv32imc", "x64"}
FCTRY_SIZE = 0x2000
DEFAULT_LAYOUT = "default"  # that of partitions.csv


@dataclass(frozen=True)
class Board:
    """One board as its folder describes it; sizes in bytes."""

    name: str
    folder: Path
    title: str
    chip: str
    flash_size: int
    image_offset: int
    wifi: bool
    heap: str
    mpy_march: str
    limits: dict[str, int]
    partitions: partitions.PartitionTable
    clock: dict[str, int] = field(default_factory=dict)
    pins: dict[str, int] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    layout: str = DEFAULT_LAYOUT


def project_root() -> Path:
    """Return the checkout's top folder, which holds boards/ and firmware/; `UPEER_ROOT` overrides it."""
    root = Path(os.environ.get("UPEER_ROOT") or Path(__file__).resolve().parents[2])
    if not (root / "boards").is_dir() or not (root / "firmware").is_dir():
        raise ValueError(f"no boards and firmware under {root}: set UPEER_ROOT to a checkout of the project")
    return root


def list_boards(root: Path | None = None) -> list[str]:
    """Return the names of all boards."""
    return sorted(path.parent.name for path in ((root or project_root()) / "boards").glob("*/board.toml"))


def list_layouts(name: str, root: Path | None = None) -> list[str]:
    """Return the layouts of a board, the default one first."""
    paths = ((root or project_root()) / "boards" / name).glob("partitions-*.csv")
    return [DEFAULT_LAYOUT, *sorted(path.stem.removeprefix("partitions-") for path in paths)]


def load_board(name: str, root: Path | None = None, layout: str = DEFAULT_LAYOUT) -> Board:
    """Read and check a board in one of its layouts; ValueError is one line that names the file and the fault."""
    folder = (root or project_root()) / "boards" / name
    path = folder / "board.toml"
    if not name or Path(name).name != name or not path.is_file():
        raise ValueError(f"no board {name!r}; there are: {', '.join(list_boards(root))}")
    try:
        data = tomllib.loads(path.read_text())
        _check_fields(data)
        flash_size = partitions.parse_size(data["flash_size"])
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path}: {error}") from None
    table = _load_layout(folder, layout, flash_size, list_layouts(name, root))
    return Board(
        name=name,
        folder=folder,
        title=data["title"],
        chip=data["chip"],
        flash_size=flash_size,
        image_offset=data.get("image_offset", esp_image.IMAGE_OFFSETS[data["chip"]]),
        wifi=data["wifi"],
        heap=data["heap"],
        mpy_march=data["mpy_march"],
        limits=data["limits"],
        partitions=table,
        clock=data.get("clock", {}),
        pins=data.get("pins", {}),
        exclude=tuple(data.get("firmware", {}).get("exclude", ())),
        layout=layout,
    )


def board_module(board: Board) -> str:
    """Return the source of the device's `board` module: the board's name, limits and pins as constants."""
    clock = (board.clock["idle_mhz"], board.clock["busy_mhz"]) if board.clock else None
    lines = [f"NAME = {board.name!r}", f"CHIP = {board.chip!r}", f"WIFI = {board.wifi}", f"PINS = {board.pins!r}"]
    lines.append(f"CLOCK = {clock!r}")
    return "\n".join(lines + [f"{name.upper()} = {value}" for name, value in board.limits.items()]) + "\n"


def _load_layout(folder: Path, layout: str, flash_size: int, layouts: list[str]) -> partitions.PartitionTable:
    """Read and check a layout's partition table; one that moved the licence would lose it on boards in the field."""
    if layout not in layouts:
        raise ValueError(f"{folder.name} has no layout {layout!r}; there are: {', '.join(layouts)}")
    path = folder / "partitions.csv"
    default = partitions.load_csv(path, flash_size)
    _check_table(default, path)
    if layout == DEFAULT_LAYOUT:
        return default
    path = folder / f"partitions-{layout}.csv"
    table = partitions.load_csv(path, flash_size)
    _check_table(table, path)
    if table["fctry"] != default["fctry"]:
        raise ValueError(f"{path}: fctry must be where partitions.csv has it, or a board would lose its licence")
    return table


def _check_fields(data: dict[str, Any]) -> None:
    """Raise ValueError on fields that are unknown, missing or of the wrong type."""
    known = _FIELDS | _OPTIONAL
    for name in data:
        if name not in known:
            raise ValueError(f"unknown field {name!r}")
        if type(data[name]) is not known[name]:
            raise ValueError(f"{name!r} must be of type {known[name].__name__}")
    for name in _FIELDS:
        if name not in data:
            raise ValueError(f"field {name!r} is missing")
    if data["chip"] not in esp_image.IMAGE_OFFSETS:
        raise ValueError(f"chip {data['chip']!r} is not one of {', '.join(esp_image.IMAGE_OFFSETS)}")
    if data["mpy_march"] not in _MARCHES:
        raise ValueError(f"mpy_march {data['mpy_march']!r} is not known to mpy-cross")
    if wrong := set(data["limits"]) ^ _LIMITS:
        raise ValueError(f"[limits] must have exactly {', '.join(sorted(_LIMITS))}; look at {', '.join(sorted(wrong))}")
    if "clock" in data and (wrong := set(data["clock"]) ^ _CLOCK):
        raise ValueError(f"[clock] must have exactly {', '.join(sorted(_CLOCK))}; look at {', '.join(sorted(wrong))}")
    if wrong := set(data.get("firmware", {})) - {"exclude"}:
        raise ValueError(f"unknown field {sorted(wrong)[0]!r} in [firmware]")
    for section in ("limits", "clock", "pins"):
        for name, value in data.get(section, {}).items():
            if type(value) is not int or value < 0:
                raise ValueError(f"{name!r} in [{section}] must be a whole number")


def _check_table(table: partitions.PartitionTable, path: Path) -> None:
    for name in ("vfs", "fctry"):
        if table.find(name) is None:
            raise ValueError(f"{path}: there must be a row {name!r}")
    if table["fctry"].size < FCTRY_SIZE:
        raise ValueError(f"{path}: fctry needs {FCTRY_SIZE:#x} bytes for its two copies")
    if not any(row.type == 0 for row in table):
        raise ValueError(f"{path}: there must be a row of type app")
