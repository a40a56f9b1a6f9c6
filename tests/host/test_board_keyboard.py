"""Ctrl-C at a virtual board: never inside a garbage collection, and never its death."""

import os
import signal
import subprocess
import sys
import time

import pytest
from board_images import RECORD

from upeer_board import image
from upeer_board.boards import load_board
from upeer_board.keyboard import CTRL_C, Keyboard
from upeer_board.virtual import VirtualBoard


@pytest.fixture
def program():
    """Start Python programs; yield what starts one and returns its pid."""
    started = []

    def start(text):
        started.append(subprocess.Popen([sys.executable, "-c", text]))
        return started[-1].pid

    yield start
    for process in started:
        process.kill()
        process.wait()


def _until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.005)
    return found


def test_ctrl_c_waits_until_the_program_rests(program, tmp_path):
    mark = tmp_path / "rests"
    pid = program(f"import time\nopen({str(mark)!r}, 'w')\ntime.sleep(600)")
    _until(mark.exists)
    keyboard = Keyboard()
    keyboard.type(b"ab\x03cd")
    assert keyboard.next_chunk(pid, True) == b"ab"
    keyboard.drop(2, True)
    assert _until(lambda: keyboard.next_chunk(pid, True)) == CTRL_C
    keyboard.drop(1, True)
    assert keyboard.next_chunk(pid, True) == b""  # its effect is awaited
    keyboard.hear()
    assert keyboard.next_chunk(pid, True) == b"cd"


def test_busy_program_gets_it_after_some_work(program):
    pid = program("while True: pass")
    keyboard = Keyboard()
    keyboard.type(CTRL_C)
    assert _until(lambda: keyboard.next_chunk(pid, True)) == CTRL_C


def test_binary_messages_are_not_looked_into():
    keyboard = Keyboard()
    keyboard.type(b"a\x03b")
    assert keyboard.next_chunk(os.getpid(), False) == b"a\x03b"


def test_only_an_interrupted_interpreter_is_excused():
    keyboard = Keyboard()
    output = b"Traceback ...\r\nFATAL: uncaught NLR 0x7f\r\n"
    assert keyboard.explain(1, output) is None
    keyboard.type(CTRL_C)
    keyboard.drop(1, True)
    assert keyboard.explain(1, output) == keyboard.explain(-signal.SIGINT, b"") == "prompt"
    assert keyboard.explain(1, b"Traceback") is None
    keyboard.begin()
    assert keyboard.explain(1, output) is None


@pytest.mark.usefixtures("micropython")
def test_ctrl_c_while_the_board_starts_leads_to_the_prompt(tmp_path):
    image.build(load_board("UNIX"), tmp_path, image.Options(licence=RECORD))
    for number in range(12):
        with VirtualBoard.start(tmp_path) as board:
            time.sleep(number * 0.01)
            board.write(b"\r\x03\r\x01")
            board.wait_for("raw REPL; CTRL-B", 60)
            board.write(b"print(6 * 7)\x04")
            board.wait_for("OK42", 60)


@pytest.mark.usefixtures("micropython")
def test_interpreter_that_dies_of_ctrl_c_comes_back_at_its_prompt(tmp_path):
    """Without main.py, as on the chip. A signal that nobody typed ends the board with an error."""
    image.build(load_board("UNIX"), tmp_path, image.Options(licence=RECORD))
    with VirtualBoard.start(tmp_path) as board:
        board.wait_for(">>> ", 60)
        board.write(CTRL_C)
        board.wait_for(">>> ", 60, count=2)
        os.kill(board.pid, signal.SIGINT)
        board.wait_for(">>> ", 60, count=3)
        assert board.lives == 2 and board.output.count("upeer: ") == 1
        os.kill(board.pid, signal.SIGINT)
        _until(lambda: not board.alive)
        assert "status -2" in board.error
