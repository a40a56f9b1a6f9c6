"""The smallest `-X heapsize` in which a whole device runs: three masters, a pairing, one session, 64 KiB echoed.

The board is the real image under MicroPython; of its heap the shims take 25 KB for what the chip has in C in its flash.
By hand: `python tests/bench/bench_heap.py [--from K] [--to K]`.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import board_lab
from figures import report

import upeer_client
from upeer.base.errors import ProtocolError

GATE_K = 176
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


def smallest(lab: board_lab.Lab, low: int, high: int) -> int | None:
    """Return the smallest heap in KiB between two limits, None if not even the upper one passes."""
    image = lab.build()
    data = os.urandom(_SIZE)
    if not passes(lab, image, high, data):
        return None
    while high - low > _STEP_K:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(lab, image, middle, data) else (middle, high)
    return high


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="low", type=int, default=80, help="lower limit in KiB")
    parser.add_argument("--to", dest="high", type=int, default=320, help="upper limit in KiB")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lab = board_lab.Lab(Path(folder))
        with lab.serve():
            found = smallest(lab, arguments.low, arguments.high)
    report("heap_smallest", found)
    return 0 if found and found <= GATE_K else 1


if __name__ == "__main__":
    sys.exit(main())
