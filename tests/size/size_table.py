"""The .mpy size of every firmware module beside the recorded one, and the budget of what stays loaded.

`make size` prints the table and fails on unrecorded growth; `make size UPDATE=1` records it in table.json.
"""

import argparse
import ast
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import groups
import mpy_tools

from upeer_board import boards, image

TABLE = Path(__file__).resolve().parent / "table.json"
_BOARD = "ESP32_GENERIC"
_SLACK_BYTES = 64  # a module may grow by this much before it must be recorded


def measure() -> dict[str, int]:
    """Return the bytes of .mpy, as the image builder ships them, of every module that a device imports."""
    shipped = image.firmware_files(boards.load_board(_BOARD))
    modules = {name[4:-4] + ".py": len(data) for name, data in shipped.items() if name.startswith("lib/")}
    return {name: size for name, size in modules.items() if "/" in name and name not in groups.HOST_HALF}


def recorded() -> dict[str, int]:
    """Return the checked-in table."""
    return json.loads(TABLE.read_text()) if TABLE.exists() else {}


def loaded_size(sizes: dict[str, int]) -> int:
    """Return the bytes that stay loaded in a logged-in device with one session."""
    return sum(size for name, size in sizes.items() if name not in groups.PASSING)


def faults(sizes: dict[str, int], table: dict[str, int]) -> list[str]:
    """Return one line for every unrecorded growth, stale name or exceeded limit."""
    lines = []
    for name, size in sizes.items():
        if name not in table:
            lines.append(f"{name}: {size} bytes, not recorded")
        elif size > table[name] + _SLACK_BYTES:
            lines.append(f"{name}: grew from {table[name]} to {size} bytes")
    lines += [f"{name}: recorded, but not there" for name in table if name not in sizes]
    lines += [f"{name}: named in groups.py, but not there" for name in groups.PASSING if name not in sizes]
    lines += pinned_by_imports(sizes)
    if loaded_size(sizes) > groups.LOADED_LIMIT:
        lines.append(f"loaded: {loaded_size(sizes)} bytes, over the limit of {groups.LOADED_LIMIT}")
    return lines


def pinned_by_imports(sizes: dict[str, int]) -> list[str]:
    """Return a line for every passing module that a loaded one imports at its top: it would never be dropped."""
    lines = []
    for name in sizes:
        source = mpy_tools.FIRMWARE / name
        if name in groups.PASSING or not source.exists():
            continue
        for imported in sorted(_top_imports(source.read_text()) & set(groups.PASSING)):
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


def print_table(sizes: dict[str, int], table: dict[str, int]) -> None:
    """Print both groups, largest module first, with the change against the recorded size."""
    passing = {name: size for name, size in sizes.items() if name in groups.PASSING}
    loaded = {name: size for name, size in sizes.items() if name not in groups.PASSING}
    for title, group in (("loaded, logged in with one session", loaded), ("passing or on request", passing)):
        print(f"{title}:")
        for name, size in sorted(group.items(), key=lambda item: -item[1]):
            change = size - table.get(name, 0)
            print(f"  {name:<36}{size:>7}{f'{change:+}' if change else '':>8}")
        print(f"  {'total':<36}{sum(group.values()):>7}")
    used = loaded_size(sizes)
    print(f"loaded: {used} of {groups.LOADED_LIMIT} bytes of .mpy ({used * 100 // groups.LOADED_LIMIT} %)")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help="record the sizes as they are now")
    arguments = parser.parse_args()
    sizes = measure()
    print_table(sizes, recorded())
    if arguments.update:
        TABLE.write_text(json.dumps(sizes, indent=2, sort_keys=True) + "\n")
    found = faults(sizes, recorded())
    for line in found:
        print("size:", line, file=sys.stderr)
    if found and not arguments.update:
        print("size: look at the growth; 'make size UPDATE=1' records it", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
