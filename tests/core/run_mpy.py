"""Run the core's tests under MicroPython: `python tests/core/run_mpy.py [--heap 200K | --smallest] [test_module ...]`.

One process per module; firmware and tests are compiled first, so that the heap is the one a board would have.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import mpy_tools

CORE = Path(__file__).resolve().parent


def core_modules() -> list[str]:
    """Return the names of the core's test modules."""
    return sorted(path.stem for path in CORE.rglob("test_*.py"))


def core_tree() -> Path:
    """Compile firmware and core tests; return the folder."""
    return mpy_tools.build_tree(mpy_tools.firmware_sources(), mpy_tools.tests_sources(CORE))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heap", default=mpy_tools.DEFAULT_HEAP, help="heap size (default: %(default)s)")
    parser.add_argument("--smallest", action="store_true", help="find the smallest heap of each, over all layouts")
    parser.add_argument("modules", nargs="*", help="test modules, with or without .py (default: all)")
    arguments = parser.parse_args()
    names = [Path(name).stem for name in arguments.modules] or core_modules()
    if arguments.smallest:
        return mpy_tools.report_smallest(core_tree(), names)
    return mpy_tools.run_modules(core_tree(), names, arguments.heap)


if __name__ == "__main__":
    sys.exit(main())
