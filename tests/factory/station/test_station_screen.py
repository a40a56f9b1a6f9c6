"""The station's screen on a pty, as a worker sees it: keys, PASS, modes, a hidden password, and a clean end."""

import os
import pty
import re
import select
import signal
import subprocess
import termios
import time

import pytest
from station_lab import UPEER, StationLab
from test_line_e2e import children_of

from upeer_factory.station import config as station_config

pytestmark = pytest.mark.usefixtures("micropython")
_PASSWORD = "the engineer's own"
_LAST = "1-9 lane"  # what is drawn last
_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|[()][A-Z0-9])")


class Terminal:
    """A station on a pty of 120 x 40; `text` is all that it drew, without colours."""

    def __init__(self, config):
        self.text = ""
        self._outer, inner = pty.openpty()
        termios.tcsetwinsize(inner, (40, 120))
        self.modes = termios.tcgetattr(inner)
        self._inner = inner
        command = [*UPEER, "station", "--config", str(config)]
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        environment["TERM"] = "xterm-256color"
        self.process = subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner, env=environment)

    def read(self, seconds=0.1):
        """Take what is drawn for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self._outer], [], [], 0.05)[0]:
                self.text += _ESCAPES.sub("", os.read(self._outer, 65536).decode("utf-8", "ignore"))

    def wait_for(self, text, seconds=60):
        """Wait until the screen shows a text that it has not shown since the last wait."""
        end = time.monotonic() + seconds
        self.text = ""
        while text not in self.text:
            assert self.process.poll() is None, self.text[-2000:]
            assert time.monotonic() < end, f"no {text!r} on the screen: {self.text[-6000:]}"
            self.read()

    def whole(self):
        """Read one whole screen at least."""
        self.text = ""
        while self.text.count(_LAST) < 2:
            self.read()

    def type(self, keys):
        """Type keys, one at a time as a person does."""
        for key in keys:
            os.write(self._outer, key.encode())
            self.read(0.1)

    def end(self, seconds=60):
        """Return the exit code; the screen is read meanwhile, so that nothing blocks."""
        end = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < end:
            self.read(0.05)
        return self.process.poll()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._outer)
        os.close(self._inner)


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
