"""The smallest heap in which a good board passes its whole self-test: `python tests/factory/selftest_heap.py`."""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "host"))

import mpy_tools
from board_heap import GATE_K, MARGIN_K
from board_images import RECORD

from upeer_board import image
from upeer_board.boards import load_board
from upeer_board.virtual import VirtualBoard
from upeer_factory.board import prove
from upeer_factory.board.line_server import LineServer, Place
from upeer_factory.board.targets import ReplTarget
from upeer_factory.errors import FactoryError
from upeer_factory.pool.pool import Reserved

_LOW_K, _HIGH_K = 96, 192
_LOOP_S = 10  # a heap that is too small is not waited for
_STEP_K = 2


def passes(folder: Path, heap_k: int, loop_s: int = 45) -> str:
    """Return what a board with that heap fails, nothing if it passes all of its self-test."""
    image.build(load_board("UNIX"), folder, image.Options(licence=RECORD))
    with VirtualBoard.start(folder, heap=f"{heap_k}K") as board:
        target = ReplTarget(board.pty)
        try:
            licence = Reserved(RECORD["did"], target.read_mac(), "reserved", True, RECORD)
            nonce = prove.new_nonce()
            with LineServer(Place("127.0.0.1"), licence, nonce) as line:
                wanted = {"ssid": "line", "server": line.address, "loop_s": loop_s}
                answer = target.selftest(nonce, licence.mac, wanted)
                found = prove.check_selftest(answer, nonce, licence.mac, RECORD["licence_key"])
                return " ".join(found.failed) or line.check(found.rows["loop"])
        except FactoryError as error:
            return str(error)


def smallest(folder: Path) -> int:
    """Return the smallest heap in KiB, within a step."""
    low, high = _LOW_K, _HIGH_K
    while high - low > _STEP_K:
        middle = (low + high) // 2
        low, high = (low, middle) if not passes(folder, middle, _LOOP_S) else (middle, high)
    return high


def main() -> int:
    """Print it for folders of several lengths; return 1 if one lacks the margin."""
    worst = 0
    with tempfile.TemporaryDirectory() as scratch:
        for size in sorted({layout.path_size for layout in mpy_tools.LAYOUTS}):
            found = smallest(Path(scratch) / ("b" + "x" * size))
            print(f"self-test, a path of {size} more: {found}K", flush=True)
            worst = max(worst, found)
    holds = worst <= GATE_K - MARGIN_K
    print(f"worst {worst}K, with a margin of {MARGIN_K}K below {GATE_K}K: {'yes' if holds else 'no'}")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
