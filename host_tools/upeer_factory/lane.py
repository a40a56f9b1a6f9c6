"""One board's run at one lane of a station: flash, burn, prove, self-test, label. Runs in a thread of its own.

A run asks nothing: a board that got half-way before, here or at another station, goes on with the same licence, because
the pool gives a MAC what it has. What failed is in the audit; a repeat is always allowed.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from upeer_factory import burn
from upeer_factory.errors import NO_BOARD, SWAPPED, FactoryError
from upeer_factory.faults import Fault
from upeer_factory.flash import FlashResult, Progress
from upeer_factory.pool import Pool, Reserved
from upeer_factory.targets import ReplTarget, Target

STEPS = ("flash", "burn", "label")
_PORT_BUSY = "F02"
_PAUSE_S = 0.25
_STATE_OF_STEP = {"prove": "prove", "selftest": "selftest"}

Tell = Callable[..., None]


class Flashes(Protocol):
    """What a lane needs of flash.Flasher."""

    def flash(
        self, port: str, on_progress: Callable[[Progress], None] | None = None, cancel: threading.Event | None = None
    ) -> FlashResult:
        """Flash and verify the board at a port."""


@dataclass
class Line:
    """What all lanes of a station share. Without a flasher boards are burned as they come."""

    pool: Pool
    flasher: Flashes | None = None
    burning: burn.Options = field(default_factory=burn.Options)
    label: Callable[[Reserved], None] | None = None
    make_target: Callable[[str], Target] = ReplTarget
    boot_seconds: float = 20.0
    busy_seconds: float = 10.0


@dataclass(frozen=True)
class Outcome:
    """What became of a board. `code`, `text`, `hint` and `step` are empty if it passed; `again`: it did so before."""

    lane: int
    port: str
    ok: bool
    seconds: float
    mac: str = ""
    did: str = ""
    again: bool = False
    step: str = ""
    code: str = ""
    text: str = ""
    hint: str = ""
    bytes_written: int = 0
    selftest: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON line of headless mode."""
        return {"event": "run", **asdict(self)}


class LaneRun:
    """One run; `tell(event, **fields)` gets the events of `lane_state` and "progress"."""

    def __init__(self, line: Line, lane: int, port: str, tell: Tell, cancel: threading.Event) -> None:
        self._line, self._lane, self._port, self._tell, self._cancel = line, lane, port, tell, cancel
        self._step = "start"
        self._mac = self._did = ""
        self._again = False
        self._flashed: FlashResult | None = None

    def run(self, steps: tuple[str, ...] = STEPS) -> Outcome:
        """Do the steps and return what became of the board; never raises what is expected at a line."""
        began = time.monotonic()
        burned: burn.Result | None = None
        error: FactoryError | Fault | None = None
        try:
            if "flash" in steps and self._line.flasher is not None:
                self._flash()
            if "burn" in steps:
                burned = self._burn()
                self._again = burned.was_burned and self._has_passed(burned.did)
            if "label" in steps and self._line.label is not None and not self._again:
                self._print_label()
            if burned is not None:
                self._note("passed", did=self._did)
        except (FactoryError, Fault) as caught:
            error = caught
        return self._outcome(burned, error, round(time.monotonic() - began, 2))

    def _outcome(self, burned: burn.Result | None, error: FactoryError | Fault | None, seconds: float) -> Outcome:
        outcome = Outcome(
            self._lane, self._port, error is None, seconds, self._mac, self._did,
            bytes_written=self._flashed.bytes_written if self._flashed else 0,
        )  # fmt: skip
        if error is not None:
            return replace(outcome, step=self._step, code=error.code, text=error.text, hint=error.hint)
        return replace(outcome, again=self._again, selftest=burned.selftest) if burned else outcome

    # -- the steps --------------------------------------------------------------------------------------------

    def _flash(self) -> None:
        self._enter("flash")
        assert self._line.flasher is not None
        try:
            done = self._flashed = self._when_free(self._line.flasher)
        except Fault as fault:
            self._note("failed", error=fault.code, text=fault.text, step="flash")
            raise
        self._mac = done.mac
        self._note(
            "flashed", recipe=done.recipe, micropython=done.micropython, chip=done.chip, method=done.method,
            bytes_written=done.bytes_written, seconds=done.seconds,
        )  # fmt: skip

    def _when_free(self, flasher: Flashes) -> FlashResult:
        """Flash; a port that a tool of a station that was killed still holds becomes free in a moment."""
        end = time.monotonic() + self._line.busy_seconds
        while True:
            try:
                return flasher.flash(self._port, self._on_progress, self._cancel)
            except Fault as fault:
                if fault.code != _PORT_BUSY or time.monotonic() > end or self._cancel.wait(_PAUSE_S):
                    raise

    def _burn(self) -> burn.Result:
        self._enter("burn")
        target = _SameBoard(self._line.make_target(self._port), self._mac, self._line.boot_seconds, self._cancel)
        try:
            result = burn.Burner(target, self._line.pool, self._line.burning).run(self._on_burn_step)
        finally:
            self._mac = self._mac or target.seen
        self._mac, self._did = result.mac, result.did
        return result

    def _print_label(self) -> None:
        self._enter("label", did=self._did)
        assert self._line.label is not None
        self._line.label(self._line.pool.label_secrets(self._mac))

    def _has_passed(self, did: str) -> bool:
        """Tell whether this board went through before: then it has its label, and another one only on demand."""
        query = "SELECT COUNT(*) FROM audit WHERE did = ? AND event = 'passed'"
        found = self._line.pool.database.run(lambda tx: tx.row(query, did))
        return found is not None and found[0] > 0

    # -- what the station hears -------------------------------------------------------------------------------

    def _on_burn_step(self, step: str) -> None:
        self._step = step
        if self._cancel.is_set():
            raise Fault("F11", "", self._port, step)
        if step in _STATE_OF_STEP:
            self._tell(_STATE_OF_STEP[step], mac=self._mac)

    def _on_progress(self, at: Progress) -> None:
        self._mac = at.mac or self._mac
        self._tell("progress", done=at.done, total=at.total, part=at.part or at.stage, mac=at.mac)

    def _enter(self, step: str, **fields: str) -> None:
        self._step = step
        if self._cancel.is_set():
            raise Fault("F11", "", self._port, step)
        self._tell(step, mac=self._mac, **fields)

    def _note(self, event: str, **fields: Any) -> None:
        self._line.pool.note(event, mac=self._mac or None, port=self._port, **fields)


class _SameBoard:
    """A board after it was flashed: it takes its time to boot, and it must be the one that was flashed."""

    def __init__(self, inner: Target, mac: str, boot_seconds: float, cancel: threading.Event) -> None:
        self._inner, self._mac, self._cancel = inner, mac, cancel
        self._boot_seconds = boot_seconds
        self.name = inner.name
        self.seen = ""

    def read_mac(self) -> str:
        """Wait for the board's REPL and return its MAC."""
        end = time.monotonic() + self._boot_seconds
        while True:
            try:
                self.seen = self._inner.read_mac()
                break
            except FactoryError as error:
                if error.code != NO_BOARD or time.monotonic() > end or self._cancel.wait(_PAUSE_S):
                    raise
        if self._mac and self.seen != self._mac:
            raise FactoryError(SWAPPED, f"board {self._mac} was flashed, {self.seen} is there now")
        return self.seen

    def write_fctry(self, image: bytes, mac: str) -> None:
        self._inner.write_fctry(image, mac)

    def has_fctry(self, image: bytes, mac: str) -> bool:
        return self._inner.has_fctry(image, mac)

    def boot(self) -> None:
        self._inner.boot()

    def prove(self, nonce: bytes, mac: str) -> dict[str, Any]:
        return self._inner.prove(nonce, mac)

    def selftest(self, nonce: bytes, mac: str, options: dict[str, Any]) -> dict[str, Any]:
        return self._inner.selftest(nonce, mac, options)
