"""What the firmware's code takes of the chip's heap, measured on 32-bit MicroPython (tests/support/mpy32.py).

The core is imported as a device imports it, names included; then each of its functions and classes is overwritten, and
what that frees is its cost. Every other module is measured when its names are known and what it imports is loaded, as
on a device, which loads each of them once at its start: what is left is what it takes while it is loaded.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import mpy32

from upeer_board import image, linker

CHIP = mpy32.STUBS.with_name("chip")
_CORE = linker.CORE
_STAND_INS = "import asyncio, builtins, cryptolib, esp32, hashlib, json, machine, network, os, random, socket, struct"
_STAND_INS += ", time"
_TOOLS = """
import gc, json, micropython, sys
def drop(name):
    del sys.modules[name]
    package, _, last = name.rpartition(".")
    if package in sys.modules:
        delattr(sys.modules[package], last)
def drop_all(kept=None):
    for name in list(sys.modules):
        if name not in known and name != kept:
            drop(name)
def load(name):
    if name not in sys.modules:
        __import__(name)
def load_again(name):
    load(name)
    if name not in known:
        drop(name)
def members(thing, code, row):
    names = [n for n in sorted(thing.__dict__) if n not in ("__name__", "__module__", "__qualname__", "__file__")]
    names = [n for n in names if id(thing.__dict__[n]) not in foreign]
    return [[row + n, code + n + " = None"] for n in names if n[:2] != "__" or isinstance(thing, type)]
def parts(core):
    functions, classes, others = [], [], []
    for row in members(core, "core.", "part "):
        value = getattr(core, row[0][5:])
        if isinstance(value, type):
            functions += members(value, row[1][:-6] + ".", row[0] + ".")
            classes.append(row)
        else:
            (functions if callable(value) else others).append(row)
    return json.dumps([["settled", ""]] + functions + classes + others)
known = core = None
stand_ins = (asyncio, builtins, cryptolib, esp32, hashlib, json, machine, network, os, random, socket, struct, time)
foreign = {id(getattr(module, name)) for module in stand_ins for name in dir(module)}
"""


@dataclass
class Ram:
    """Bytes of the chip's heap: `core` as a device loads it, thereof `names`, and `tables` (of globals and constants,
    packages); `parts`, its classes, methods and functions; `modules` by path, each while it is loaded.
    """

    core: int
    names: int
    tables: int
    modules: dict[str, int]
    parts: dict[str, int]


def measure(shipped: Mapping[str, bytes], folder: Path, left_out: Collection[str] = ()) -> Ram:
    """Measure what the image builder ships under lib/; `folder` takes the files; devices never load `left_out`."""
    files = mpy32.stub_files() | mpy32.stub_files(CHIP)
    for name in (name for name in shipped if name.startswith("lib/")):
        path = folder / name.replace("/", "-")
        path.write_bytes(shipped[name])
        files["/" + name] = path
    modules = [name[4:-4] for name in shipped if name.startswith("lib/") and not name.endswith("__init__.mpy")]
    others = sorted(name.replace("/", ".") for name in modules if name + ".py" not in left_out)
    steps = mpy32.run(mpy32.Job(files, _steps(others)))
    for step in steps:
        if step.error:
            raise RuntimeError(f"{step.name}: {step.error}")
    return _sum_up(steps, others)


def long_names(parts: Mapping[str, int]) -> dict[str, int]:
    """Return the parts under the names that stand in the source, not those of the image."""
    names = image.shipped_sources().names["files"][_CORE.replace(".", "/") + ".py"]
    found = {}
    for name, size in parts.items():
        owner, dot, method = name.partition(".")
        long_name = names.get(name) or names.get(owner, owner).partition(" ")[0] + dot + method
        found[long_name.partition(" ")[0].rpartition(":")[2]] = size
    return found


def by_class(parts: Mapping[str, int]) -> dict[str, int]:
    """Return the bytes of each class with its methods, and of each function."""
    found: dict[str, int] = {}
    for name, size in parts.items():
        owner = name.partition(".")[0]
        found[owner] = found.get(owner, 0) + size
    return {owner: size for owner, size in found.items() if size}


def _steps(others: list[str]) -> list[tuple[str, str]]:
    """Return the steps of one measurement."""
    info = "\nmicropython.qstr_info()"
    steps = [("stand-ins", _STAND_INS), ("tools", _TOOLS + info), ("start", info)]
    steps += [("core", f"import {_CORE}{info}"), ("known", f"core = sys.modules[{_CORE!r}]; known = set(sys.modules)")]
    for module in others:
        steps += [("first", f"load({module!r})"), ("dropped", "drop_all()")]
    for module in others:
        steps += [(module, f"load_again({module!r})"), (module, f"load({module!r})"), ("dropped", "drop_all()")]
    return [*steps, ("whole", "more = parts(core)")]


def _sum_up(steps: list[mpy32.Step], others: list[str]) -> Ram:
    """Turn what was allocated after each step into what each thing takes."""
    rows: dict[str, list[mpy32.Step]] = {}
    for step in steps:
        rows.setdefault(step.name, []).append(step)
    modules = {name.replace(".", "/") + ".py": rows[name][1].alloc - rows[name][0].alloc for name in others}
    parts: dict[str, int] = {}
    before = rows["settled"][0].alloc
    for step in steps[steps.index(rows["settled"][0]) + 1 :]:
        parts[step.name.removeprefix("part ")] = before - step.alloc
        before = step.alloc
    core = rows["core"][0].alloc - rows["start"][0].alloc
    names = _names(rows["core"][0]) - _names(rows["start"][0])
    tables = core - names - sum(parts.values())
    return Ram(core, names, tables, {name: size for name, size in modules.items() if size}, parts)


def _names(step: mpy32.Step) -> int:
    """Return the bytes of all names, out of what micropython.qstr_info() printed."""
    return int(step.printed.rpartition("n_total_bytes=")[2].split()[0])
