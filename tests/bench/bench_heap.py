"""The smallest `-X heapsize` in which a whole device runs: three masters, a pairing, one session, 64 KiB echoed.

The board is the real image under MicroPython; what its heap stands for on a chip: docs/board-model.md.
By hand: `python tests/bench/bench_heap.py [--layouts] [--from K] [--to K]`; with --layouts in all of them (`make
heaps`), and the worst must leave the margin.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import board_lab
import mpy_tools
from board_heap import GATE_K, MARGIN_K, image_of_layout
from figures import report

import upeer_client
from upeer.base.errors import ProtocolError

_STEP_K = 2
_WORK_S = 15
_SIZE = 65536


def passes(lab: board_lab.Lab, image: Path, heap_k: int, data: bytes) -> bool:
    """Tell whether a freshly flashed board does all of it in a heap of that many KiB."""
    flash = (image / "flash.bin").read_bytes()
    try:
        with lab.board(image, heap=f"{heap_k}K", boot_s=8) as board:
            board_lab.run_echo(lab, data, _WORK_S)
            return board.alive
    except (TimeoutError, AssertionError, ProtocolError, upeer_client.ClientError):
        return False
    finally:
        (image / "flash.bin").write_bytes(flash)


def smallest(lab: board_lab.Lab, image: Path, low: int, high: int) -> int | None:
    """Return the smallest heap in KiB between two limits, None if not even the upper one passes."""
    data = os.urandom(_SIZE)
    if not passes(lab, image, high, data):
        return None
    while high - low > _STEP_K:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(lab, image, middle, data) else (middle, high)
    return high


def in_all_layouts(lab: board_lab.Lab, low: int, high: int) -> int:
    """Print the smallest heap of each layout; return 1 if one lacks the margin."""
    worst = 0
    for number, layout in enumerate(mpy_tools.LAYOUTS):
        found = smallest(lab, image_of_layout(lab, layout, number), low, high)
        print(f"whole device, {layout}: {found}K", flush=True)
        worst = max(worst, found or high + 1)
    holds = worst <= GATE_K - MARGIN_K
    print(f"worst {worst}K, with a margin of {MARGIN_K}K below {GATE_K}K: {'yes' if holds else 'no'}")
    return 0 if holds else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="low", type=int, default=80, help="lower limit in KiB")
    parser.add_argument("--to", dest="high", type=int, default=320, help="upper limit in KiB")
    parser.add_argument("--layouts", action="store_true", help="in every layout of a heap, beside the gate")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lab = board_lab.Lab(Path(folder))
        with lab.serve():
            if arguments.layouts:
                return in_all_layouts(lab, arguments.low, arguments.high)
            found = smallest(lab, lab.build(), arguments.low, arguments.high)
    report("heap_smallest", found)
    return 0 if found and found <= GATE_K else 1


if __name__ == "__main__":
    sys.exit(main())
