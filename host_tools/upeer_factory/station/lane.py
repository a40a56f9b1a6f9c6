"""One board's run at one lane of a station: flash, burn, prove, self-test, secure, label. Runs in its own thread.

A run asks nothing: a board that got half-way before, here or at another station, goes on with the same licence, because
the pool gives a MAC what it has. What failed is in the audit; a repeat is always allowed.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol, TypeVar

from upeer_factory.board import burn
from upeer_factory.board.targets import ReplTarget, Target
from upeer_factory.efuses.securing import ALREADY, ENCRYPT_SECONDS, Board, Securing, Seen
from upeer_factory.errors import NO_BOARD, SWAPPED, FactoryError
from upeer_factory.flash.faults import Fault
from upeer_factory.flash.flash import FlashResult, Progress
from upeer_factory.pool.pool import Pool, Reserved

STEPS = ("flash", "burn", "secure", "label")
_PORT_BUSY = "F02"
_PAUSE_S = 0.25
_LOOK_S = 3.0
_STATE_OF_STEP = {"prove": "prove", "selftest": "selftest"}

Tell = Callable[..., None]
_T = TypeVar("_T")


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
    securing: Securing | None = None
    efuses: str = ""


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
    secured: str = ""
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
        self._seen: Seen | None = None
        self._secured = ""

    def run(self, steps: tuple[str, ...] = STEPS) -> Outcome:
        """Do the steps and return what became of the board; never raises what is expected at a line."""
        began = time.monotonic()
        burned: burn.Result | None = None
        error: FactoryError | Fault | None = None
        try:
            if self._line.securing is not None and {"flash", "secure"} & set(steps):
                self._look(self._line.securing)
            if "flash" in steps and self._line.flasher is not None and not (self._seen and self._seen.is_ours):
                self._flash()
            if "burn" in steps:
                burned = self._burn()
                self._again = burned.was_burned and self._has_passed(burned.did)
            if "secure" in steps and self._line.securing is not None:
                self._secure(self._line.securing)
            if "label" in steps and self._line.label is not None and not self._again:
                self._print_label()
            if burned is not None and (self._secured or self._line.securing is None):
                self._note("passed", did=self._did)
        except (FactoryError, Fault) as caught:
            error = caught
        return self._outcome(burned, error, round(time.monotonic() - began, 2))

    def _outcome(self, burned: burn.Result | None, error: FactoryError | Fault | None, seconds: float) -> Outcome:
        outcome = Outcome(
            self._lane, self._port, error is None, seconds, self._mac, self._did,
            bytes_written=self._flashed.bytes_written if self._flashed else 0, secured=self._secured,
        )  # fmt: skip
        if error is not None:
            return replace(outcome, step=self._step, code=error.code, text=error.text, hint=error.hint)
        return replace(outcome, again=self._again, selftest=burned.selftest) if burned else outcome

    # -- the steps --------------------------------------------------------------------------------------------

    def _look(self, securing: Securing) -> None:
        """See what is burned at the board already: a locked one is not flashed, another line's is not touched."""
        self._step, pool = "look", self._line.pool
        with self._noted("look"):
            seen = self._when_free(lambda: securing.look(self._port, pool, lambda: self._target(_LOOK_S).read_mac()))
        self._seen, self._mac = seen, seen.mac

    def _flash(self) -> None:
        self._enter("flash")
        flasher = self._line.flasher
        assert flasher is not None
        with self._noted("flash"):
            done = self._when_free(lambda: flasher.flash(self._port, self._on_progress, self._cancel))
            if self._seen and done.mac != self._seen.mac:
                raise FactoryError(SWAPPED, f"board {self._seen.mac} was there before, {done.mac} was flashed")
        self._flashed, self._mac = done, done.mac
        self._note(
            "flashed", recipe=done.recipe, micropython=done.micropython, chip=done.chip, method=done.method,
            bytes_written=done.bytes_written, seconds=done.seconds,
            efuses="blank" if self._seen and self._seen.is_blank else None,
        )  # fmt: skip

    def _when_free(self, work: Callable[[], _T]) -> _T:
        """Use the port; one that a tool of a station that was killed still holds becomes free in a moment."""
        end = time.monotonic() + self._line.busy_seconds
        while True:
            try:
                return work()
            except Fault as fault:
                if fault.code != _PORT_BUSY or time.monotonic() > end or self._cancel.wait(_PAUSE_S):
                    raise

    @contextlib.contextmanager
    def _noted(self, step: str) -> Iterator[None]:
        """Write into the audit what fails; when the pool is what failed, the first error is told all the same."""
        try:
            yield
        except (FactoryError, Fault) as error:
            with contextlib.suppress(FactoryError):
                self._note("failed", error=error.code, text=error.text, step=step, did=self._did or None)
            raise

    def _target(self, seconds: float) -> "_SameBoard":
        return _SameBoard(self._line.make_target(self._port), self._mac, seconds, self._cancel)

    def _burn(self) -> burn.Result:
        self._enter("burn")
        target = self._target(self._boot_seconds)
        try:
            result = burn.Burner(target, self._line.pool, self._line.burning).run(self._on_burn_step)
        finally:
            self._mac = self._mac or target.seen
        self._mac, self._did = result.mac, result.did
        return result

    def _secure(self, securing: Securing) -> None:
        """Burn the eFuses that are missing, at this very board; from here on nothing can be undone."""
        self._enter("secure", did=self._did)
        board, pool = Board(self._port, self._mac, self._did, self._target(self._boot_seconds)), self._line.pool
        with self._noted("secure"):
            if self._seen and self._seen.is_done:
                securing.confirm(board, pool, {})
                self._secured = ALREADY
            else:
                self._secured = securing.secure(board, pool, self._stop_if_cancelled)

    @property
    def _boot_seconds(self) -> float:
        """How long a board may take to boot: longer if it encrypts its flash first."""
        needs_key = self._line.securing is not None and self._line.securing.plan.needs_key
        return max(self._line.boot_seconds, ENCRYPT_SECONDS) if needs_key else self._line.boot_seconds

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
        self._stop_if_cancelled()
        if step in _STATE_OF_STEP:
            self._tell(_STATE_OF_STEP[step], mac=self._mac)

    def _on_progress(self, at: Progress) -> None:
        self._mac = at.mac or self._mac
        self._tell("progress", done=at.done, total=at.total, part=at.part or at.stage, mac=at.mac)

    def _enter(self, step: str, **fields: str) -> None:
        self._step = step
        self._stop_if_cancelled()
        self._tell(step, mac=self._mac, **fields)

    def _stop_if_cancelled(self) -> None:
        if self._cancel.is_set():
            raise Fault("F11", "", self._port, self._step)

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
