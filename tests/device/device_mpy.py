"""Runs the tests that only MicroPython can run, `tests/device/mpy/test_*.py`, over the shims of the virtual board.

By hand: `python tests/device/device_mpy.py [--heap 200K | --smallest] [test_module ...]`.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import mpy_tools

MPY_TESTS = Path(__file__).resolve().parent / "mpy"
CORE_TESTS = mpy_tools.ROOT / "tests" / "core"
SHIMS = mpy_tools.ROOT / "host_tools" / "upeer_board" / "shims"


# Where the test itself needs more: both ends of a handshake, of modules that are not bundled.
HEAPS = {"test_invites": "512K"}


def device_modules() -> list[str]:
    """Return the names of the test modules."""
    return sorted(path.stem for path in MPY_TESTS.glob("test_*.py"))


def device_tree() -> Path:
    """Compile firmware, shims and device tests; return the folder."""
    tests = {name: CORE_TESTS / name for name in ("helpers.py", "run_mpy_main.py")}
    shims = {str(path.relative_to(SHIMS)): path for path in sorted(SHIMS.rglob("*.py"))}
    return mpy_tools.build_tree(mpy_tools.firmware_sources() | shims, tests | mpy_tools.tests_sources(MPY_TESTS))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heap", default=mpy_tools.DEFAULT_HEAP, help="heap size (default: %(default)s)")
    parser.add_argument("--smallest", action="store_true", help="find the smallest heap of each, over all layouts")
    parser.add_argument("modules", nargs="*", help="test modules, with or without .py (default: all)")
    arguments = parser.parse_args()
    names = [Path(name).stem for name in arguments.modules] or device_modules()
    if arguments.smallest:
        return mpy_tools.report_smallest(device_tree(), names)
    return mpy_tools.run_modules(device_tree(), names, arguments.heap)


if __name__ == "__main__":
    sys.exit(main())
