"""The chip's model: what a step costs, when a wait ends, what a mailbox holds; a device starts in it in time."""

import json
import subprocess
import sys
from collections import deque

import chip_model
import pytest
from counted_board import CountedBoard
from instructions import Cost, Profile
from virtual_time import Clock, Network

MOST_START_S = 2.0  # measured 1.7: start of main.py to three logins; the budget is 4
FROM = ("192.0.2.1", 1)


class Board(CountedBoard):
    """A board without a device behind it: `profile` is what its step cost."""

    def __init__(self, profile=None):
        self._network = Network(Clock(0), 10)
        self._at_ms = 0.0
        self._garbage = 0.0
        self._due_ms = self.wake_ms = None
        self._left = {}
        self._places = {1: (FROM, deque())}
        self.lost = 0
        self._read = lambda: profile


def cost_ms(garbage=0, received=0, threshold=16384, mhz=160, **counts):
    """Return what a step with these counts costs."""
    cost = Cost(counts.get("total", 0), counts.get("aes", 0), counts.get("sha", 0))
    names = {"loaded": "mp_raw_code_load_file", "collected": "gc_collect", "looked": "gc_info"}
    calls = {names[key]: count for key, count in counts.items() if key in names}
    board = Board(Profile(cost, calls, dict.fromkeys(calls, counts.get("inside", 0))))
    return board._cost_ms({"garbage": garbage, "threshold": threshold, "mhz": mhz}, received)


def test_step_costs_instructions_reads_of_the_flash_and_collections():
    assert cost_ms(total=1_000_000) == pytest.approx(15)
    assert cost_ms(total=1_000_000, aes=400_000, sha=200_000) == pytest.approx(6 + 2 + 0.5)
    assert cost_ms(total=1_000_000, loaded=2, inside=600_000) == pytest.approx(6 + 320)
    assert cost_ms(total=1_000_000, collected=1, inside=800_000) == pytest.approx(3 + 7.7)
    assert cost_ms(total=1_000_000, looked=1, inside=800_000) == pytest.approx(3 + 0.8 * 15 * 7 / 32)


def test_all_of_it_is_faster_at_240_mhz():
    assert cost_ms(total=1_000_000, loaded=1, collected=1, mhz=240) == pytest.approx((15 + 160 + 7.7) / 1.5)


def test_garbage_is_collected_when_it_has_come_to_the_threshold():
    assert cost_ms(garbage=16000) == 0  # 64-bit bytes
    assert cost_ms(garbage=24500) == pytest.approx(7.7)
    assert cost_ms(received=13) == pytest.approx(7.7)
    assert cost_ms(received=13, threshold=-1) == 0


def test_wait_ends_on_the_next_tick_of_10_ms():
    board = Board()
    board._due_ms = 13.0
    assert not board._wakes(13) and board.wake_ms == 20
    assert board._wakes(20) and board._at_ms == 20
    board._due_ms = None
    assert not board._wakes(21) and board.wake_ms is None
    board._places[1][1].append((b"x", FROM))
    assert not board._wakes(21) and board.wake_ms == 30


def test_mailbox_keeps_six_datagrams():
    board = Board()
    board._places[1][1].extend([(b"x", FROM)] * 9)
    assert len(board._take_mail()) == 6 and board.lost == 3
    board._left = {"1": 4}
    board._places[1][1].extend([(b"x", FROM)] * 3)
    assert len(board._take_mail()) == 2 and board.lost == 4


def test_device_starts_and_logs_in_within_what_is_recorded(micropython, valgrind):
    command = [sys.executable, chip_model.__file__, "--start-only"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=110, check=True)
    assert 1 < json.loads(result.stdout)["chip_start"] <= MOST_START_S
