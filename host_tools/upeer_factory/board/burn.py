"""Burns one licence into one board: `Burner(target, pool).run(on_step)`.

    mac -> reserve -> write -> read back -> boot -> prove [-> selftest] -> burned
The licence is the board's own, on the disk, before anything is written, and it is marked as burned only after the board
has proved that it holds it. So a crash at any point costs a repeat and nothing else; a repeat gets the same licence.
A board that is burned already only proves it again. Each step asks which board is there: a swapped one ends the run.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from upeer_board import fctry
from upeer_board.boards import FCTRY_SIZE
from upeer_factory.board import prove
from upeer_factory.board.line_server import LineServer, Place
from upeer_factory.board.targets import Target
from upeer_factory.errors import NO_PROOF, READ_BACK, SELFTEST, FactoryError
from upeer_factory.flash.faults import Fault
from upeer_factory.pool.pool import Pool, Reserved, parse_mac

STEPS = ("mac", "reserve", "write", "read back", "boot", "prove", "selftest", "burned")

OnStep = Callable[[str], None]
_T = TypeVar("_T")


@dataclass(frozen=True)
class Options:
    """How to burn. `selftest`: the options of firmware/device/selftest.py, None for none.

    `place`: where boards find this station, for a session through the line's own server, None for none.
    """

    selftest: dict[str, Any] | None = None
    rewrite: bool = False
    fctry_size: int = FCTRY_SIZE
    place: Place | None = None


@dataclass(frozen=True)
class Result:
    """A board that has proved its licence. `was_burned`: it had it before; `written`: it was written in this run."""

    mac: str
    did: str
    was_burned: bool
    written: bool
    seconds: float
    selftest: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Burner:
    """One run at one board."""

    def __init__(self, target: Target, pool: Pool, options: Options | None = None) -> None:
        self._target = target
        self._pool = pool
        self._options = options or Options()
        self._step = ""
        self._mac: str | None = None
        self._did: str | None = None

    def run(self, on_step: OnStep | None = None) -> Result:
        """Burn the board; FactoryError or Fault when it fails, which is in the audit then. May be run again at once."""
        return self._noted(self._run, on_step)

    def test(self, on_step: OnStep | None = None) -> Result:
        """Have a board that holds its licence test itself, and record it; burns nothing. Raises as `run` does."""
        return self._noted(self._test, on_step)

    def _noted(self, work: Callable[[float], Result], on_step: OnStep | None) -> Result:
        self._on_step = on_step or (lambda _step: None)
        try:
            return work(time.monotonic())
        except (FactoryError, Fault) as error:
            self._note_failure(error)
            raise

    def _read_mac(self) -> str:
        self._mac = self._do("mac", lambda: parse_mac(self._target.read_mac()))
        return self._mac

    def _test(self, began: float) -> Result:
        mac = self._read_mac()
        licence = self._pool.label_secrets(mac)
        self._did = licence.did
        found = self._selftest(licence)
        assert found is not None
        self._pool.note("selftest", did=licence.did, mac=mac, selftest=found.as_dict())
        is_burned = licence.state == "burned"
        return Result(mac, licence.did, is_burned, False, round(time.monotonic() - began, 3), found.lists())

    def _run(self, began: float) -> Result:
        mac = self._read_mac()
        licence = self._do("reserve", lambda: self._pool.reserve(mac))
        self._did = licence.did
        was_burned = licence.state == "burned"
        written = not (was_burned and not self._options.rewrite and self._has_proof(licence))
        if written:
            self._write(licence)
            self._do("prove", lambda: self._prove(licence))
        selftest = self._selftest(licence)
        self._do("burned", lambda: self._burned(licence, selftest))
        rows = selftest.lists() if selftest else {}
        return Result(mac, licence.did, was_burned, written, round(time.monotonic() - began, 3), rows)

    def _burned(self, licence: Reserved, selftest: prove.SelfTest | None) -> None:
        details = {"selftest": selftest.as_dict() if selftest else None}
        if not self._pool.burned(licence.mac, licence.did, **details):
            self._pool.note("proved again", did=licence.did, mac=licence.mac, **details)

    def _write(self, licence: Reserved) -> None:
        image = fctry.image(licence.record, self._options.fctry_size)
        self._do("write", lambda: self._target.write_fctry(image, licence.mac))
        if not self._do("read back", lambda: self._target.has_fctry(image, licence.mac)):
            raise FactoryError(READ_BACK, f"board {licence.mac} does not hold what was written")
        self._do("boot", self._target.boot)

    def _has_proof(self, licence: Reserved) -> bool:
        """Tell whether a board that was burned before still proves it; a board swapped meanwhile is an error."""
        try:
            self._do("prove", lambda: self._prove(licence))
        except FactoryError as error:
            if error.code == NO_PROOF:
                return False
            raise
        return True

    def _prove(self, licence: Reserved) -> None:
        nonce = prove.new_nonce()
        answer = self._target.prove(nonce, licence.mac)
        prove.check_proof(answer, nonce, licence.mac, licence.did, licence.licence_key)

    def _selftest(self, licence: Reserved) -> prove.SelfTest | None:
        options = self._options.selftest
        if options is None:
            return None
        found, loop_failure = self._do("selftest", lambda: self._run_selftest(licence, options))
        failed = found.failed + ([f"loop: {loop_failure}"] if loop_failure and "loop" not in found.failed else [])
        if failed or not found.good:
            self._pool.note("selftest failed", did=licence.did, mac=licence.mac, loop=loop_failure, **found.as_dict())
            raise FactoryError(SELFTEST, f"board {licence.mac} failed its test of {', '.join(failed)}")
        return found

    def _run_selftest(self, licence: Reserved, options: dict[str, Any]) -> tuple[prove.SelfTest, str]:
        """Return (the board's result, what was wrong with the session through the line's server or "")."""
        nonce = prove.new_nonce()
        if self._options.place is None:
            return self._checked(self._target.selftest(nonce, licence.mac, options), nonce, licence), ""
        with LineServer(self._options.place, licence, nonce) as line:
            options = {**options, "server": line.address}
            found = self._checked(self._target.selftest(nonce, licence.mac, options), nonce, licence)
            return found, line.check(found.rows.get("loop"))

    @staticmethod
    def _checked(answer: dict[str, Any], nonce: bytes, licence: Reserved) -> prove.SelfTest:
        return prove.check_selftest(answer, nonce, licence.mac, licence.licence_key)

    def _do(self, step: str, work: Callable[[], _T]) -> _T:
        self._step = step
        self._on_step(step)
        return work()

    def _note_failure(self, error: FactoryError | Fault) -> None:
        fields = {"did": self._did, "mac": self._mac, "port": self._target.name, "step": self._step}
        try:
            self._pool.note("failed", error=error.code, text=error.text, **fields)
        except FactoryError:
            return  # the pool is what failed; the error itself goes on
