"""What every firmware module takes, as .mpy and of the chip's heap, beside what is recorded, and the budget.

`make size` prints the table and fails on unrecorded growth; `make size UPDATE=1` records it in table.json, METHODS=1
prints every method of the core. Bytes of heap are measured on 32-bit MicroPython; without it that half is left out.
"""

import argparse
import ast
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import chip_ram
import groups
import mpy32

from upeer_board import boards, image

TABLE = Path(__file__).resolve().parent / "table.json"
_BOARD = "ESP32_GENERIC"
_CORE = "core, names and tables included"
# A module, a class or the whole core may grow by this much before it must be recorded; the heap's blocks have 16 bytes.
_SLACK_BYTES = {"mpy": 64, "ram": 96, "core": 96}
_TITLES = {"mpy": "of .mpy", "ram": "of the chip's heap", "core": "of the chip's heap in the core"}

Table = dict[str, dict[str, int]]


def measure() -> Table:
    """Return {"mpy": bytes of each module, "ram": of the chip's heap, "core": of its classes and functions}."""
    shipped = image.firmware_files(boards.load_board(_BOARD))
    modules = {name[4:-4] + ".py": len(data) for name, data in shipped.items() if name.startswith("lib/")}
    sizes = {"mpy": {name: size for name, size in modules.items() if "/" in name and name not in groups.HOST_HALF}}
    if not mpy32.missing_reason():
        ram = measure_ram(shipped)
        shares = {_CORE: ram.core, "names of the core": ram.names, "tables of the core": ram.tables}
        sizes["ram"] = shares | ram.modules
        sizes["core"] = chip_ram.by_class(chip_ram.long_names(ram.parts))
    return sizes


def measure_ram(shipped: dict[str, bytes] | None = None) -> chip_ram.Ram:
    """Return what the shipped modules take of the chip's heap."""
    with tempfile.TemporaryDirectory() as folder:
        shipped = shipped or image.firmware_files(boards.load_board(_BOARD))
        return chip_ram.measure(shipped, Path(folder), groups.HOST_HALF)


def recorded() -> Table:
    """Return the checked-in table."""
    return json.loads(TABLE.read_text()) if TABLE.exists() else {}


def loaded_size(sizes: dict[str, int]) -> int:
    """Return the bytes of .mpy that stay loaded in a logged-in device with one session."""
    return sum(size for name, size in sizes.items() if name not in groups.PASSING)


def faults(sizes: Table, table: Table) -> list[str]:
    """Return one line for every unrecorded growth, stale name or exceeded limit."""
    lines = []
    for kind, rows in sizes.items():
        lines += _growth(kind, rows, table.get(kind, {}))
    modules = sizes["mpy"]
    lines += [f"{name}: named in groups.py, but not there" for name in groups.PASSING if name not in modules]
    shipped = image.shipped_sources().files
    lines += pinned_by_imports({name: shipped.get(name, "") for name in modules})
    if loaded_size(modules) > groups.LOADED_LIMIT:
        lines.append(f"loaded: {loaded_size(modules)} bytes, over the limit of {groups.LOADED_LIMIT}")
    return lines


def _growth(kind: str, sizes: dict[str, int], table: dict[str, int]) -> list[str]:
    lines = []
    for name, size in sizes.items():
        if name not in table:
            lines.append(f"{name}: {size} bytes {_TITLES[kind]}, not recorded")
        elif size > table[name] + _SLACK_BYTES[kind]:
            lines.append(f"{name}: grew from {table[name]} to {size} bytes {_TITLES[kind]}")
    return lines + [f"{name}: recorded {_TITLES[kind]}, but not there" for name in table if name not in sizes]


def pinned_by_imports(sources: dict[str, str]) -> list[str]:
    """Return a line for every passing module that a loaded one imports at its top: it would never be dropped."""
    lines = []
    for name, source in sources.items():
        if name not in groups.PASSING:
            for imported in sorted(_top_imports(source) & set(groups.PASSING)):
                lines.append(f"{imported}: {name} stays loaded and imports it at its top, so it stays too")
    return lines


def _top_imports(source: str) -> set[str]:
    """Return the files that a module imports when it is itself imported."""
    modules: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module, *(f"{node.module}.{item.name}" for item in node.names)}
        elif isinstance(node, ast.Import):
            modules |= {item.name for item in node.names}
    return {module.replace(".", "/") + ".py" for module in modules}


def print_table(sizes: Table, table: Table) -> None:
    """Print both groups of modules and the core's parts, largest first, with the change against the recorded size."""
    print(f"{'bytes':<38}{'.mpy':>7}{'':>8}{'heap':>7}")
    for title, is_passing in (("loaded, logged in with one session", False), ("passing or on request", True)):
        names = [name for name in sizes["mpy"] if (name in groups.PASSING) == is_passing]
        print(f"{title}:")
        for name in sorted(names, key=lambda name: -sizes["mpy"][name]):
            print(f"  {name:<36}" + "".join(_cell(sizes, table, kind, name) for kind in ("mpy", "ram")))
        totals = [sum(sizes.get(kind, {}).get(name, 0) for name in names) for kind in ("mpy", "ram")]
        print(f"  {'total':<36}{totals[0]:>7}{'':>8}" + (f"{totals[1]:>7}" if is_passing and totals[1] else ""))
    _print_core(sizes, table)
    used = loaded_size(sizes["mpy"])
    print(f"loaded: {used} of {groups.LOADED_LIMIT} bytes of .mpy ({used * 100 // groups.LOADED_LIMIT} %)")


def _cell(sizes: Table, table: Table, kind: str, name: str) -> str:
    size = sizes.get(kind, {}).get(name)
    if size is None:
        return f"{'':>15}"
    change = size - table.get(kind, {}).get(name, 0)
    return f"{size:>7}{f'{change:+}' if change else '':>8}"


def _print_core(sizes: Table, table: Table) -> None:
    """Print what the core takes of the chip's heap: it and its names, then each class with its methods and function."""
    if "ram" not in sizes:
        print(f"no bytes of heap: {mpy32.missing_reason()}")
        return
    print("the core on the chip's heap:")
    for name in (_CORE, "names of the core", "tables of the core"):
        print(f"  {name:<36}{_cell(sizes, table, 'ram', name)}")
    for name, _ in sorted(sizes["core"].items(), key=lambda item: -item[1]):
        print(f"  {name:<36}{_cell(sizes, table, 'core', name)}")


def print_methods() -> None:
    """Print every method and function of the core, the largest first."""
    parts = chip_ram.long_names(measure_ram().parts)
    print("the core's methods and functions on the chip's heap:")
    for name, size in sorted(parts.items(), key=lambda item: -item[1]):
        if size:
            print(f"  {name:<44}{size:>6}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help="record the sizes as they are now")
    parser.add_argument("--methods", action="store_true", help="print every method of the core too")
    arguments = parser.parse_args()
    sizes = measure()
    print_table(sizes, recorded())
    if arguments.methods and "ram" in sizes:
        print_methods()
    if arguments.update:
        TABLE.write_text(json.dumps(recorded() | sizes, indent=2, sort_keys=True) + "\n")
    found = faults(sizes, recorded())
    for line in found:
        print("size:", line, file=sys.stderr)
    if found and not arguments.update:
        print("size: look at the growth; 'make size UPDATE=1' records it", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
