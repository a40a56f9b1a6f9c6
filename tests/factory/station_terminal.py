"""A station's screen for tests: the station runs on a pty, what it draws is read, keys are typed."""

import os
import pty
import re
import select
import subprocess
import termios
import time

from station_lab import UPEER

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
