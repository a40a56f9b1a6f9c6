"""What the runner tells the shims of a virtual board about the chip, and a board that lives by it."""

import mpy_tools
import pytest
from board_images import small_project

from upeer_board import chip, image
from upeer_board.boards import load_board
from upeer_board.virtual import VirtualBoard

WRAP = 1 << 30


def test_ticks_of_half_of_all_boards_start_just_before_their_wrap():
    starts = [chip.ticks_at_start(f"board {number}") for number in range(400)]
    before = [start for start in starts if start != 1]
    assert 160 < len(before) < 240
    assert {(WRAP - start) // 1000 for start in before} == set(range(1, 9))
    assert starts == [chip.ticks_at_start(f"board {number}") for number in range(400)]


def test_ticks_can_be_told(monkeypatch):
    monkeypatch.setenv("UPEER_TICKS", "5000")
    assert chip.ticks_at_start("any") == 5000
    assert chip.Clock("any", 7).begin("power") == b"ticks from 7\r\n"
    assert chip.Clock("any").begin("hard").endswith(b"boot:0x13 (SPI_FAST_FLASH_BOOT)\r\nticks from 5000\r\n")


def test_ticks_go_on_over_the_wrap_and_begin_anew(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(chip.time, "monotonic", lambda: now[0])
    clock = chip.Clock("board", WRAP - 1500)
    clock.begin("power")
    now[0] += 2.5
    assert clock.environment() == {"UPEER_TICKS": "1000", "UPEER_UP_S": "2"}
    clock.begin("wdt")
    assert clock.environment() == {"UPEER_TICKS": str(WRAP - 1500), "UPEER_UP_S": "0"}


@pytest.mark.parametrize(("heap", "size"), [("200K", 204800), ("1M", 1 << 20), ("90000", 90000), ("110kw", 225280)])
def test_the_models_own_memory_is_added_to_the_heap(heap, size):
    assert chip.real_heap(heap) == size + 12288


@pytest.mark.skipif(mpy_tools.missing_reason() is not None, reason=mpy_tools.missing_reason() or "")
def test_a_boards_ticks_go_on_over_a_soft_reset(tmp_path, monkeypatch):
    main = "import time\nfrom time import ticks_ms\nprint('now', ticks_ms(), time.time(), time.ticks_add(0, -1))\n"
    monkeypatch.setenv("UPEER_ROOT", str(small_project(tmp_path / "project", main)))
    image.build(load_board("UNIX"), tmp_path / "board")
    with VirtualBoard.start(tmp_path / "board", ticks=WRAP - 60000) as board:
        board.wait_for(">>> ")
        monkeypatch.setattr(chip.time, "monotonic", lambda real=chip.time.monotonic: real() + 70)
        board.soft_reset()
        board.wait_for("now", count=2)
        board.wait_for(">>> ", count=2)
        lines = [line.split()[1:] for line in board.output.splitlines() if line.startswith("now")]
    first, second = [[int(word) for word in line] for line in lines]
    assert first[0] >= WRAP - 60000 and 0 <= first[1] < 60
    assert 10000 <= second[0] < 120000 and second[1] >= 70
    assert first[2] == second[2] == WRAP - 1


@pytest.fixture
def timed(tmp_path, monkeypatch):
    """Return a function: the lines that a main.py prints under --chip-timing."""

    def run(main):
        monkeypatch.setenv("UPEER_ROOT", str(small_project(tmp_path / "project", main)))
        image.build(load_board("UNIX"), tmp_path / "board")
        with VirtualBoard.start(tmp_path / "board", chip_timing=True) as board:
            board.wait_for(">>> ")
            return [line for line in board.output.splitlines() if line.startswith("took")]

    if mpy_tools.missing_reason():
        pytest.skip(mpy_tools.missing_reason())
    return run


# Slept for, so at least that long anywhere; tests/device/mpy/test_chip_timing.py has the rest, on its own clock.
_LOADS = """
import time, machine, gc
def took(what, hz):
    machine.freq(hz)
    begun = time.ticks_us()
    what()
    print("took", time.ticks_diff(time.ticks_us(), begun), machine.freq())
def load():
    import board
took(load, 160000000)
took(gc.collect, 80000000)
try:
    machine.freq(100000000)
except ValueError as error:
    print("took", error)
"""


def test_modules_and_collections_take_the_chips_time(timed):
    slow = [line.split() for line in timed(_LOADS)]
    assert int(slow[0][1]) >= 160000 and slow[0][2] == "160000000"
    assert int(slow[1][1]) >= 15400 and slow[1][2] == "80000000"
    assert slow[2][1:3] == ["frequency", "must"]
