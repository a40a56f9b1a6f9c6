"""What the firmware takes of the chip's heap when it is frozen: bytecode and constants lie in flash then, and what is
left is what running a module's body makes: its globals, functions and classes.

Measured on 32-bit MicroPython (tests/support/mpy32.py): each module is compiled there and run twice; what the second
run adds is what a frozen module takes. `python tests/size/frozen_ram.py` prints it per module.
"""

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import groups
import mpy32

from upeer_board import image, linker, mpy

_CHIP = mpy32.STUBS.with_name("chip")
_MODULE = 48  # the module object itself and its place in sys.modules
_FIRST = "code = compile(open({file!r}).read(), {file!r}, 'exec'); first = {{'__name__': {name!r}}}; exec(code, first)"
_SECOND = "second = {{'__name__': {name!r}}}; exec(code, second)"


def measure(folder: Path, sources: Mapping[str, str] | None = None) -> dict[str, int]:
    """Return the bytes of heap of each module of the firmware, or of other sources, frozen; `folder` takes files."""
    sources = sources or {path: text for path, text in image.firmware_sources().items() if path not in groups.HOST_HALF}
    files = mpy32.stub_files() | mpy32.stub_files(_CHIP)
    for path, text in sources.items():
        place = folder / path.replace("/", "-")
        place.write_text(text)
        place.with_suffix(".mpy").write_bytes(mpy.compile_text(text, path))
        files |= {f"/src/{path}": place, f"/lib/{path[:-3]}.mpy": place.with_suffix(".mpy")}
    names = {path: linker.module_name(path) for path in sources if not path.endswith("__init__.py")}
    steps = [("load", f"__import__({name!r})") for name in names.values()]
    for path, name in names.items():
        words = {"file": f"/src/{path}", "name": name}
        steps += [("clear", "second = None"), ("first", _FIRST.format(**words)), (path, _SECOND.format(**words))]
    found = mpy32.run(mpy32.Job(files, steps))
    if failed := [step for step in found if step.error]:
        raise RuntimeError(f"{failed[0].name}: {failed[0].error}")
    return {
        after.name: after.alloc - before.alloc + _MODULE
        for before, after in zip(found, found[1:], strict=False)
        if after.name in sources
    }


def resident(sizes: dict[str, int]) -> int:
    """Return the bytes of what stays loaded in a logged-in device."""
    return sum(sizes.get(path, 0) for path in linker.resident(image.firmware_sources()))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        sizes = measure(Path(folder))
    for path, size in sorted(sizes.items(), key=lambda row: -row[1]):
        print(f"{size:7}  {path}")
    print(f"{resident(sizes):7}  what stays loaded")


if __name__ == "__main__":
    main()
