"""The eFuses at a station's lane: a look before a board is flashed, the burn after it has proved its licence.

    look -> (flash, burn, prove, self-test) -> row "securing" -> each missing step -> compare -> row "secured" -> prove
The records tell our own boards from strangers': a key that is there already is accepted only at a board that was blank
when this line first saw it. So a run that broke off goes on, and no board gets a second key or another digest.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from upeer_factory.board import prove
from upeer_factory.board.targets import Target
from upeer_factory.efuses import run as security_run
from upeer_factory.efuses import state as security_state
from upeer_factory.efuses.plan import Plan, PlanError, Step
from upeer_factory.efuses.plan import plan as make_plan
from upeer_factory.errors import BURNED_ELSEWHERE, FUSES_DIFFER, NOT_SECURED, OTHER_RECIPE, FactoryError
from upeer_factory.flash.esptool_run import Run
from upeer_factory.flash.faults import INTEGRITY, Fault
from upeer_factory.flash.parts import Prepared
from upeer_factory.pool.pool import Pool

LEFT_ALONE = "left alone: the recipe has an [efuses] plan, and this station has no burn_efuses = true"
BURNED = "burned by the recipe's plan"
NOW, ALREADY = "now", "already"
ENCRYPT_SECONDS = 120.0  # the first boot after the key encrypts the whole flash
_PORT_CODES = ("F01", "F02", "F03", "F04")
_ROWS = "SELECT body FROM audit WHERE did = ? AND event IN ('securing', 'secured') ORDER BY number"
_BLANK_HERE = "SELECT COUNT(*) FROM audit WHERE event = 'flashed' AND body LIKE ?"


@dataclass(frozen=True)
class Seen:
    """A board before its run. `is_blank`: nothing of the plan is burned; `is_done`: all of it is, and here.

    `is_ours`: this line began to burn it, so it was flashed and holds its licence, and plain parts do not fit any more.
    """

    mac: str
    is_blank: bool = False
    is_ours: bool = False
    is_done: bool = False


@dataclass(frozen=True)
class Board:
    """The board of a lane that has proved its licence; `target` is how it is spoken to when it runs again."""

    port: str
    mac: str
    did: str
    target: Target


class Securing:
    """A recipe's plan, rehearsed once; for all lanes."""

    def __init__(self, plan: Plan, pin: str, rehearsed: dict[str, Any]) -> None:
        self.plan, self.pin = plan, pin
        self._rehearsed = rehearsed

    @classmethod
    def prepare(cls, prepared: Prepared) -> Securing:
        """Check that the firmware can live with the plan, and rehearse it; PlanError is one line."""
        plan = make_plan(prepared)
        return cls(plan, prepared.recipe.pin, security_run.rehearse(plan))

    @property
    def locks_flash(self) -> bool:
        """Whether a board is not flashed like a new one afterwards."""
        return self.plan.needs_key or bool(self.plan.locked)

    def look(self, port: str, pool: Pool, read_mac: Callable[[], str]) -> Seen:
        """Return what is burned at a port's board; FactoryError for one that this line must not touch."""
        with _one_line():
            try:
                state = security_run.summary(self._target(port))
            except (FactoryError, Fault, PlanError) as error:
                return self._sealed(error, pool, read_mac)
            mac = security_state.mac_of(state)
            if security_state.is_blank(self.plan, state):
                return Seen(mac, is_blank=True)
            self._check_recipe(pool, mac)
            steps = security_state.missing(self.plan, state, mac)
            is_ours = self._check_origin(pool, mac, steps)
        if is_ours and self.locks_flash:
            self._reset(port)
        is_ours = is_ours and self.locks_flash
        return Seen(mac, is_ours=is_ours, is_done=is_ours and not steps)

    def secure(self, board: Board, pool: Pool, check: Callable[[], None]) -> str:
        """Burn what is missing at a board, and let it prove its licence again; `check` may end it before a burn."""
        fields = self._fields(board)
        missing: list[Step] = []

        def on_burn(mac: str, steps: tuple[Step, ...]) -> None:
            if len(steps) < len(self.plan.steps):
                self._check_origin(pool, mac, steps)
            missing.extend(steps)
            check()
            if steps:
                pool.note("securing", burn=[name for step in steps for name in step.fields], **fields)

        with _one_line():
            options = security_run.Options(resume=True, mac=board.mac, on_burn=on_burn)
            changed = security_run.burn(self.plan, self._target(board.port), options, self._rehearsed)
        self.confirm(board, pool, changed, is_new=bool(missing))
        self._reset(board.port)
        self._prove(board, pool)
        return NOW if missing else ALREADY

    def confirm(self, board: Board, pool: Pool, changed: dict[str, Any], is_new: bool = False) -> None:
        """Note that a board is secured, unless that is in the records already: a station may have died before."""
        if is_new or not self._has_row(pool, board.mac, "secured"):
            pool.note("secured", chip=self.plan.chip, changed=changed, **self._fields(board))

    def _fields(self, board: Board) -> dict[str, str]:
        return {"did": board.did, "mac": board.mac, "port": board.port, "recipe": self.pin}

    def _prove(self, board: Board, pool: Pool) -> None:
        board.target.read_mac()
        nonce, licence = prove.new_nonce(), pool.reserve(board.mac)
        answer = board.target.prove(nonce, board.mac)
        prove.check_proof(answer, nonce, board.mac, licence.did, licence.licence_key)

    def _target(self, port: str) -> security_run.Target:
        return security_run.Target(self.plan.chip, port)

    def _reset(self, port: str) -> None:
        """Let the board run again: espefuse leaves it in its ROM bootloader."""
        arguments = ["--chip", self.plan.chip, "--port", port, "--no-stub", "--after", "hard-reset", "read-mac"]
        Run(port, arguments).follow(lambda _report: None, threading.Event())

    # -- what the records tell --------------------------------------------------------------------------------

    def _sealed(self, error: FactoryError | Fault | PlanError, pool: Pool, read_mac: Callable[[], str]) -> Seen:
        """Return a board that this line secured and that hides its eFuses since; else raise why it cannot be read."""
        if getattr(error, "code", "") in _PORT_CODES:
            raise error
        try:
            mac = read_mac()
        except (FactoryError, Fault):
            raise error from None
        if not self._has_row(pool, mac, "secured"):
            raise error
        self._check_recipe(pool, mac)
        return Seen(mac, is_ours=True, is_done=True)

    def _check_recipe(self, pool: Pool, mac: str) -> None:
        """Refuse a board that was secured here with another recipe: plain parts no longer fit its flash."""
        rows = _rows(pool, mac)
        if rows and rows[-1]["recipe"] != self.pin and self.locks_flash:
            raise FactoryError(OTHER_RECIPE, f"board {mac} was secured with the recipe {rows[-1]['recipe'][:12]}...")

    def _check_origin(self, pool: Pool, mac: str, steps: tuple[Step, ...]) -> bool:
        """Tell whether this line began with the board; refuse a finished one, or a key, that came from elsewhere."""
        if _rows(pool, mac) or self._was_blank_here(pool, mac):
            return True
        has_key = any(step.unreadable for step in self.plan.steps if step not in steps)
        if has_key or not steps:
            raise FactoryError(BURNED_ELSEWHERE, f"the eFuses of board {mac} were not burned by this line")
        return False

    def _has_row(self, pool: Pool, mac: str, event: str) -> bool:
        return any(row["event"] == event for row in _rows(pool, mac))

    def _was_blank_here(self, pool: Pool, mac: str) -> bool:
        """Tell whether it was blank when this line flashed it: a bootloader may burn keys by itself at its first boot.

        The whole audit is searched: it is asked for boards only that are burned and have no row of ours.
        """
        pattern = f'%"efuses":"blank"%"mac":"{mac}"%"recipe":"{self.pin}"%'
        found = pool.database.run(lambda tx: tx.row(_BLANK_HERE, pattern))
        return found is not None and found[0] > 0


def _rows(pool: Pool, mac: str) -> list[dict[str, Any]]:
    """Return the rows of a board's securing, in order."""
    found = pool.database.run(lambda tx: tx.row("SELECT did FROM licences WHERE mac = ?", mac))
    if found is None:
        return []
    return [json.loads(row[0]) for row in pool.database.run(lambda tx: tx.rows(_ROWS, found[0]))]


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    """Let what a plan refuses be a failure of the line, with a code."""
    try:
        yield
    except PlanError as error:
        code = FUSES_DIFFER if error.exit_code == INTEGRITY else NOT_SECURED
        raise FactoryError(code, str(error), error.hint) from None
