"""The firmware as an image has it, linked, with the scripts of tests/bench/mpy beside it, which see its names."""

import hashlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import mpy_tools

from upeer_board import image, linker

_SCRIPTS = Path(__file__).resolve().parent / "mpy"
_SOURCES = mpy_tools.ROOT / "build" / "linked"
SHIMS = mpy_tools.ROOT / "host_tools" / "upeer_board" / "shims"


def tree() -> Path:
    """Return a folder with all of it compiled; what did not change since is not linked again."""
    scripts = {path.name: path.read_text() for path in sorted(_SCRIPTS.glob("*.py"))}
    sources = image.firmware_sources()
    digest = hashlib.sha256(repr((sorted(sources.items()), sorted(scripts.items()))).encode()).hexdigest()
    folder = _SOURCES / digest[:24]
    files = {}
    for name, text in linker.link(sources, scripts).files.items():
        files[name] = folder / name
        files[name].parent.mkdir(parents=True, exist_ok=True)
        files[name].write_text(text)
    return mpy_tools.build_tree(files, {})


def search_path() -> list[Path]:
    """Return where MicroPython finds the scripts: with the chip's ticks, over the virtual board's other shims."""
    return [_SCRIPTS / "chip", SHIMS, tree()]
