"""The station's screen on a pty, as a worker sees it: keys, PASS, modes, a hidden password, and a clean end."""

import os
import signal
import subprocess
import termios

import pytest
from station_lab import UPEER, StationLab, children_of
from station_terminal import Terminal

from upeer_factory.station import config as station_config

pytestmark = pytest.mark.usefixtures("micropython")
_PASSWORD = "the engineer's own"


@pytest.fixture
def lab(tmp_path):
    made = StationLab(tmp_path, extra=f'engineer_password = "{station_config.hash_password(_PASSWORD)}"\n')
    yield made
    made.factory.pool.close()


def test_worker_sees_pass_and_leaves_with_q(lab):
    with Terminal(lab.config) as terminal:
        terminal.wait_for("Plug a board in.")
        with lab.board(1) as board:
            terminal.wait_for("passed 1")
            terminal.wait_for("PASS")
            terminal.whole()
            assert lab.factory.pool.find(board.mac).did in terminal.text and "operator mode" in terminal.text
            assert "LOW STOCK: 5 licences" in terminal.text and "yield 100.0 %" in terminal.text
            terminal.type("s")
            terminal.wait_for("stopped: press s to start")
            terminal.type("l")
            terminal.wait_for("no label to print again")
            terminal.type("q")
            assert terminal.end() == 0
        assert termios.tcgetattr(terminal._inner)[3] == terminal.modes[3], "the terminal is left as it was"
    lab.check([board])


def test_failure_says_what_to_do_and_r_runs_again(lab):
    with Terminal(lab.config) as terminal, lab.board(1, pull={"REPL": 4}, replug=None) as board:
        terminal.wait_for("failed 1", 60)
        terminal.whole()
        assert "→" in terminal.text and "faults E2" in terminal.text
        terminal.type("r")
        terminal.wait_for("lane 1 has no board")
        terminal.type("q")
        assert terminal.end() == 0
    assert lab.factory.pool.find(board.mac).state == "reserved"


def test_engineer_unlocks_scraps_and_sees_the_log(lab):
    with Terminal(lab.config) as terminal, lab.board(1) as board:
        terminal.wait_for("passed 1")
        terminal.type("e" + _PASSWORD + "\r")
        terminal.wait_for("engineer mode")
        terminal.type("gb")
        terminal.wait_for("again 1")
        terminal.type("1xSCRAP\r")
        terminal.wait_for("scrapped TEST-")
        assert lab.factory.pool.find(board.mac).state == "scrapped"
        assert _PASSWORD not in terminal.text
        terminal.type("q")
        assert terminal.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_in_a_run_leaves_nothing_behind(lab, number):
    with Terminal(lab.config) as terminal, lab.board(1) as board:
        while "FLASH_DEFL_DATA" not in board.commands:
            terminal.read(0.02)
        below = children_of(terminal.process.pid)
        terminal.process.send_signal(number)
        assert terminal.end() == 0 and below
        assert not [pid for pid in below if os.path.exists(f"/proc/{pid}")]
        assert termios.tcgetattr(terminal._inner)[3] == terminal.modes[3]


def test_station_without_a_terminal_says_so(lab):
    done = subprocess.run([*UPEER, "station", "--config", str(lab.config)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and "--headless --json" in done.stderr
