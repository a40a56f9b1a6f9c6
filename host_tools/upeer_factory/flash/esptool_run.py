"""Runs esptool, espefuse or espsecure as programs (they are GPL: never imported) and follows what they print.

One process per board. Its output is read as it comes; a stage that makes no progress for its time is ended, as is
everything on cancel: no process is left behind, nor a port that one holds.
"""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from upeer_factory.flash.faults import Fault, classify

# Stage: seconds without a new line after which it has failed.
STAGE_SECONDS = {"opening": 15.0, "connecting": 30.0, "loading": 20.0, "comparing": 60.0, "writing": 45.0,
                 "verifying": 60.0, "leaving": 15.0}  # fmt: skip
_TOTAL_SECONDS = 900.0
_KILL_AFTER_SECONDS = 2.0
_POLL_SECONDS = 0.2
_MAX_OUTPUT = 1 << 20

_STAGES = (
    ("connecting", re.compile(r"^Connecting")),
    ("loading", re.compile(r"^(Uploading|Running) stub|^Changing baud|^Configuring flash|^Connected to")),
    ("comparing", re.compile(r"^Comparing flash|^No changed sectors")),
    ("writing", re.compile(r"^Writing '|^Writing at|^Compressed \d|^Flash will be erased|^Reflashing")),
    ("verifying", re.compile(r"^Verifying|^Hash of data verified")),
    ("leaving", re.compile(r"^(Hard|Soft) resetting|^Staying in|^Leaving")),
)
_CHIP = re.compile(r"^Chip type:\s+(.+)")
_MAC = re.compile(r"^(?:BASE )?MAC:\s+((?:[0-9a-f]{2}:){5}[0-9a-f]{2})\s*$")
_FILE = re.compile(r"^Writing '.*' at (0x[0-9a-f]+)")
_PERCENT = re.compile(r"^Writing at (0x[0-9a-f]+).*?(\d+(?:\.\d+)?)% ")
_WROTE = re.compile(r"^Wrote (\d+) bytes(?: \((\d+) compressed\))? at")
_SKIPPED = re.compile(r"^'.*' at (0x[0-9a-f]+) (?:already in flash|verified)")


@dataclass
class Report:
    """What a run of esptool told so far."""

    stage: str = "opening"
    failing_stage: str = "opening"
    reconnected: bool = False
    chip: str = ""
    mac: str = ""
    offset: int = -1
    percent: float = 0.0
    bytes_written: int = 0
    bytes_sent: int = 0
    skipped: list[int] = field(default_factory=list)
    output: str = ""

    def take(self, line: str) -> None:
        """Learn from one line; what is not known is kept for the fault's text only."""
        self.output = (self.output + line + "\n")[-_MAX_OUTPUT:]
        for stage, pattern in _STAGES:
            if pattern.search(line):
                self.failing_stage = stage if stage != "leaving" else self.stage
                self.stage = stage
        if match := _CHIP.match(line):
            self.chip = match.group(1).strip()
        elif match := _MAC.match(line):
            self.mac = match.group(1)
        elif match := _FILE.match(line):
            self.offset, self.percent = int(match.group(1), 16), 0.0
        elif match := _PERCENT.match(line):
            self.percent = float(match.group(2))
        elif match := _WROTE.match(line):
            self.bytes_written += int(match.group(1))
            self.bytes_sent += int(match.group(2) or match.group(1))
            self.percent = 100.0
        elif line.startswith("Lost connection, retrying"):
            self.reconnected = True
        elif match := _SKIPPED.match(line):
            self.skipped.append(int(match.group(1), 16))
            self.percent = 100.0


def command(program: str) -> list[str]:
    """Return how to run one of esptool's programs with this very Python, whatever lies in the current folder."""
    return [sys.executable, "-P", "-u", "-m", program]


def environment() -> dict[str, str]:
    """Return a process environment in which the programs print plain, whole, untranslated lines at once."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ESPTOOL", "UPEER", "FORCE_"))}
    return {**kept, "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1", "COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"}


class Run:
    """One run of esptool at one port: `Run(port, arguments).follow(...)`."""

    def __init__(self, port: str, arguments: Sequence[str], stage_seconds: dict[str, float] | None = None) -> None:
        self.report = Report()
        self._port = port
        self._arguments = list(arguments)
        self._seconds = {**STAGE_SECONDS, **(stage_seconds or {})}

    def follow(self, on_change: Callable[[Report], None], cancel: threading.Event) -> Report:
        """Run to the end and return the report; Fault on failure, on a stage out of time, and on cancel."""
        try:
            process = subprocess.Popen(
                [*command("esptool"), *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment(),
                start_new_session=True,
            )
        except OSError as error:
            raise Fault("F12", error.strerror or str(error), self._port) from None
        try:
            self._read(process, on_change, cancel)
            code = process.wait(timeout=self._seconds["leaving"])
        except subprocess.TimeoutExpired:
            raise Fault("F08", self.report.stage, self._port, self.report.stage) from None
        finally:
            end(process)
        if code:
            raise self._fault()
        return self.report

    def _fault(self) -> Fault:
        if "No module named" in self.report.output:
            return Fault("F12", "it is not installed", self._port)
        stage = self.report.failing_stage
        return classify(self.report.output, stage, stage not in ("opening", "connecting"), self._port)

    def _read(
        self, process: subprocess.Popen[bytes], on_change: Callable[[Report], None], cancel: threading.Event
    ) -> None:
        """Feed the report until the output ends, watching the clock of the stage."""
        assert process.stdout is not None
        lines = _Lines()
        started = heard = time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while True:
                if cancel.is_set():
                    raise Fault("F11", "", self._port, self.report.stage)
                now = time.monotonic()
                limit = self._seconds[self.report.stage]
                if now - heard > limit or now - started > _TOTAL_SECONDS:
                    raise Fault("F08", f"{now - heard:.0f} s while {self.report.stage}", self._port, self.report.stage)
                if not selector.select(_POLL_SECONDS):
                    continue
                data = os.read(process.stdout.fileno(), 65536)
                if not data:
                    break
                for line in lines.feed(data):
                    heard = time.monotonic()
                    self.report.take(line)
                    on_change(self.report)  # each: a stage that passes within one read is told too
                if lines.rest.startswith("Connecting") and self.report.stage == "opening":
                    self.report.stage = self.report.failing_stage = "connecting"
                    heard = time.monotonic()
                    on_change(self.report)
        if lines.rest:
            self.report.take(lines.rest)


class _Lines:
    """Cuts a stream of bytes into lines; `rest` is the unfinished one."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that are complete now."""
        *lines, self._data = re.split(rb"[\r\n]+", self._data + data)
        return [line.decode("utf-8", "replace") for line in lines if line]

    @property
    def rest(self) -> str:
        return self._data.decode("utf-8", "replace")


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and what it started: politely, then not; its pipes are closed."""
    if process.poll() is None:
        _signal(process, signal.SIGTERM)
        try:
            process.wait(_KILL_AFTER_SECONDS)
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    """Signal the process group that `start_new_session` made."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        process.wait()
