"""Writes a recipe onto boards: `Flasher(prepared).flash(port, on_progress, cancel)`, one thread per port.

What a board holds already is not sent again: esptool compares MD5 sums with the flash (--skip-flashed), and where it
is known what this MAC got last, only the sectors that changed are written (--diff-with). Every write is verified by
MD5 in the chip. One retry, at a lower baud rate, for what a retry can help.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from upeer_board.image import Part
from upeer_factory.flash import ports
from upeer_factory.flash.esptool_run import Report, Run
from upeer_factory.flash.faults import Fault
from upeer_factory.flash.parts import Prepared, blank_licence
from upeer_factory.flash.state import FlashState, default_folder

_CONNECT_ATTEMPTS = 3


@dataclass(frozen=True)
class Options:
    """How a Flasher works; the station's operator may not change these, its engineer may."""

    state: Path | None = None
    verify: bool = False
    erase_licence: bool = False
    full: bool = False
    retries: int = 1
    wait_for_port: float = 5.0
    log: Path | None = None
    stage_seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """How far a board is: `done` of `total` bytes of flash are as they should be."""

    port: str
    stage: str
    part: str
    done: int
    total: int
    mac: str = ""
    attempt: int = 1


@dataclass(frozen=True)
class FlashResult:
    """A board that was flashed and verified; sizes in bytes."""

    port: str
    mac: str
    chip: str
    board: str
    recipe: str
    micropython: str
    seconds: float
    bytes_written: int
    bytes_sent: int
    bytes_total: int
    parts_skipped: tuple[str, ...]
    attempts: int
    baud: int
    method: str
    verified: bool = True
    layout: str = ""
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON and the audit record."""
        return asdict(self)


OnProgress = Callable[[Progress], None]


class Flasher:
    """Flashes boards by one recipe; one object serves all ports at once."""

    def __init__(self, prepared: Prepared, options: Options | None = None) -> None:
        self.prepared = prepared
        self.options = options or Options()
        self._state = FlashState(self.options.state or default_folder())
        self._parts: list[Part] = list(prepared.parts)
        if self.options.erase_licence:
            self._parts.append(blank_licence(prepared.board))
            self._parts.sort(key=lambda part: part.offset)
        self._files = self._state.add_parts(self._parts)
        self._state.prune()
        self._log_lock = threading.Lock()

    @property
    def total(self) -> int:
        """Bytes of flash that a board must hold in the end."""
        return sum(len(part.data) for part in self._parts)

    def flash(
        self, port: str, on_progress: OnProgress | None = None, cancel: threading.Event | None = None
    ) -> FlashResult:
        """Flash the board at `port` and return what was done; Fault says what went wrong and what to do."""
        one = _OneBoard(self, port, on_progress or (lambda _progress: None), cancel or threading.Event())
        started = time.monotonic()
        first: Fault | None = None
        for attempt in range(1, self.options.retries + 2):
            try:
                return one.attempt(attempt, started)
            except Fault as fault:
                if first is not None and fault.code == "F01":
                    raise first from None  # the port went with the cable: the cable is what to tell of
                if not fault.is_worth_a_retry or attempt > self.options.retries:
                    raise
                first = first or fault
                ports.wait_for(port, self.options.wait_for_port, one.cancel)
        raise AssertionError("no attempt was made")

    def probe(self, port: str, cancel: threading.Event | None = None) -> Report:
        """Return chip and MAC of the board at `port`; Fault if it is another chip than the recipe's."""
        arguments = [*self.arguments(port, self.prepared.recipe.flash.retry_baud), "--after", "no-reset", "read-mac"]
        return Run(port, arguments, self.options.stage_seconds).follow(
            lambda _report: None, cancel or threading.Event()
        )

    def arguments(self, port: str, baud: int) -> list[str]:
        """Return esptool's options for a port; no secret is among them."""
        chip = self.prepared.board.chip
        return ["--chip", chip, "--port", port, "--baud", str(baud), "--connect-attempts", str(_CONNECT_ATTEMPTS)]

    def write_arguments(self, last: dict[int, Path]) -> tuple[str, list[str]]:
        """Return (method, arguments of write-flash): what a board holds is skipped or compared with `last`."""
        pairs = [text for part in self._parts for text in (hex(part.offset), str(self._files[part.offset]))]
        if self.options.full:
            return "full", ["write-flash", *pairs]
        if last and last != self._files:
            diff = [str(last.get(part.offset, "skip")) for part in self._parts]
            return "diff", ["write-flash", "--diff-with", *diff, "--flash-size", "keep", *pairs]
        return "skip-flashed", ["write-flash", "--skip-flashed", *pairs]

    def verify_arguments(self) -> list[str]:
        """Return the arguments of a second, separate verification."""
        return ["verify-flash", *[t for part in self._parts for t in (hex(part.offset), str(self._files[part.offset]))]]

    def last_written(self, port: str, cancel: threading.Event) -> tuple[str, dict[int, Path]]:
        """Return (MAC, what it got last) when a comparison may pay, else ("", {}): it costs a connection."""
        if self.options.full or not self._state.has_other_than(self._files):
            return "", {}
        mac = self.probe(port, cancel).mac
        return mac, self._state.last(mac)

    def remember(self, mac: str) -> None:
        """Keep what the board holds now, for the next time."""
        self._state.written(mac, self._files)

    def forget(self, mac: str) -> None:
        """Drop what is known of a board whose flashing broke off."""
        self._state.forget(mac)

    def log(self, port: str, attempt: int, output: str) -> None:
        """Append what esptool said to the log file, if there is to be one; no secret passes through esptool here."""
        if self.options.log is not None:
            head = f"== {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {port} attempt {attempt}\n"
            with self._log_lock, self.options.log.open("a", encoding="utf-8") as file:
                file.write(head + output)

    def position(self, report: Report) -> tuple[str, int]:
        """Return (part under way, bytes done) of a report."""
        done, name = 0, ""
        for part in self._parts:
            if part.offset < report.offset:
                done += len(part.data)
            elif part.offset == report.offset:
                name = part.name
                done += int(len(part.data) * report.percent / 100)
        return name, done

    def names(self, offsets: Sequence[int]) -> tuple[str, ...]:
        """Return the names of the parts at these offsets."""
        return tuple(part.name for part in self._parts if part.offset in offsets)


class _OneBoard:
    """One board's way through its attempts."""

    def __init__(self, flasher: Flasher, port: str, on_progress: OnProgress, cancel: threading.Event) -> None:
        self.cancel = cancel
        self._flasher = flasher
        self._port = port
        self._on_progress = on_progress
        self._mac = ""
        self._warnings: list[str] = []

    def attempt(self, number: int, started: float) -> FlashResult:
        """Flash once; the second attempt goes at the lower baud rate."""
        flasher, recipe = self._flasher, self._flasher.prepared.recipe
        if not ports.exists(self._port):
            raise Fault("F01", "", self._port, "opening")
        baud = recipe.flash.baud if number == 1 else recipe.flash.retry_baud
        self._tell(Report(), number)
        mac, last = flasher.last_written(self._port, self.cancel)
        method, arguments = flasher.write_arguments(last)
        report = self._write(baud, arguments, number, mac)
        if self._flasher.options.verify:
            self._run(baud, flasher.verify_arguments(), number)
        flasher.remember(report.mac)
        board = flasher.prepared.board
        self._on_progress(Progress(self._port, "done", "", flasher.total, flasher.total, report.mac, number))
        return FlashResult(
            port=self._port, mac=report.mac, chip=report.chip, board=board.name, recipe=recipe.pin,
            micropython=flasher.prepared.micropython, seconds=round(time.monotonic() - started, 2),
            bytes_written=report.bytes_written, bytes_sent=report.bytes_sent, bytes_total=flasher.total,
            parts_skipped=flasher.names(report.skipped), attempts=number, baud=baud, method=method,
            warnings=tuple(self._warnings), layout=board.layout,
        )  # fmt: skip

    def _write(self, baud: int, arguments: list[str], number: int, expected: str) -> Report:
        """Run write-flash; the board must be the one that told its MAC first, in a probe or an attempt before.

        When esptool lost the board and found one again, it goes on where it was, on whatever board that is: everything
        is then compared once more, and what is missing written.
        """
        self._mac = self._mac or expected
        report = self._checked(self._run(baud, arguments, number))
        if not report.reconnected:
            return report
        again = self._checked(self._run(baud, self._flasher.write_arguments({})[1], number))
        again.bytes_written += report.bytes_written
        again.bytes_sent += report.bytes_sent
        return again

    def _checked(self, report: Report) -> Report:
        """Return the report if it is of the same board as before; the other board's licence would be at stake."""
        if not report.mac:
            raise Fault("F14", "it told no MAC address", self._port, report.stage)
        if self._mac and report.mac != self._mac:
            self._flasher.forget(self._mac)
            raise Fault("F13", f"{self._mac} before, {report.mac} now", self._port, report.stage)
        self._mac = report.mac
        return report

    def _run(self, baud: int, arguments: list[str], number: int) -> Report:
        """Run esptool once; a failure leaves a warning in the result of the attempt that succeeds."""
        flasher = self._flasher
        run = Run(self._port, [*flasher.arguments(self._port, baud), *arguments], flasher.options.stage_seconds)
        try:
            report = run.follow(lambda report: self._tell(report, number), self.cancel)
            if report.reconnected:
                self._warnings.append(f"attempt {number}: the cable was lost and found again")
            return report
        except Fault as fault:
            self._warnings.append(f"attempt {number}: {fault}")
            if run.report.mac:
                self._mac = self._mac or run.report.mac
                flasher.forget(run.report.mac)
            raise
        finally:
            flasher.log(self._port, number, run.report.output)

    def _tell(self, report: Report, number: int) -> None:
        part, done = self._flasher.position(report)
        self._on_progress(Progress(self._port, report.stage, part, done, self._flasher.total, report.mac, number))
