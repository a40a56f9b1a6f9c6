"""Burns a plan with espefuse, run as a program: on a virtual chip to rehearse it, then on a board.

Every burn is rehearsed first, and the state afterwards compared field by field: what the plan promises is there, what
it does not name is as before. Keys go through a pipe to the program: they are in no file, argument or log.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upeer_factory.esptool_run import command, environment
from upeer_factory.faults import INTEGRITY, classify
from upeer_factory.security import Plan, PlanError

Summary = dict[str, dict[str, Any]]
_SECONDS = 60
_KEY_SIZE = 32
# Fields that change along with others: protection bits, and the copies of what was burned.
_BOOKKEEPING = {"WR_DIS", "RD_DIS"}


@dataclass(frozen=True)
class Target:
    """A chip: a board at a port, or a virtual one whose eFuses are a file."""

    chip: str
    port: str = ""
    file: Path | None = None

    def arguments(self) -> list[str]:
        """Return espefuse's options for it."""
        where = ["--virt", "--path-efuse-file", str(self.file)] if self.file else ["--port", self.port]
        return ["--chip", self.chip, *where]

    @property
    def name(self) -> str:
        """Return how messages call it."""
        return f"the virtual chip {self.file}" if self.file else self.port


def summary(target: Target) -> Summary:
    """Return all eFuses: {name: {value, readable, writeable, ...}}."""
    output = _espefuse(target, ["summary", "--format", "json"])
    try:
        found: Summary = json.loads(output[output.index("{") : output.rindex("}") + 1])
    except ValueError:
        raise PlanError("espefuse gave no summary", "run 'espefuse summary' at this port to see why") from None
    return found


def rehearse(plan: Plan, file: Path | None = None) -> dict[str, Any]:
    """Burn the plan on a virtual chip and return the fields that changed: {name: [before, after]}."""
    with tempfile.TemporaryDirectory(prefix="upeer-efuse-") as folder:
        target = Target(plan.chip, file=file or Path(folder) / "efuses")
        return _burn(plan, target)


def burn(plan: Plan, target: Target) -> dict[str, Any]:
    """Burn the plan for ever after a rehearsal, compare the state, and return the fields that changed.

    PlanError if the chip has any of it burned already: a board is burned once.
    """
    rehearsed = rehearse(plan)
    changed = _burn(plan, target)
    different = sorted(set(rehearsed) ^ set(changed))
    if different:
        raise PlanError(f"{target.name}: burned, but {different[0]} differs from the rehearsal", "set the board aside")
    return changed


def _make_virtual(plan: Plan, target: Target) -> None:
    """Make a new virtual ESP32 one of revision 3, which Secure Boot V2 came with; others are new enough."""
    if target.file and not target.file.exists() and plan.chip == "esp32" and plan.locked:
        _espefuse(target, ["--do-not-confirm", "burn-efuse", "CHIP_VER_REV1", "1", "CHIP_VER_REV2", "1"])


def _burn(plan: Plan, target: Target) -> dict[str, Any]:
    _make_virtual(plan, target)
    before = summary(target)
    check_blank(plan, before, target)
    with contextlib.ExitStack() as stack:
        pipes = _Pipes(stack)
        arguments = ["--do-not-confirm"]
        for step in plan.steps:
            arguments += [_filled(text, plan, pipes) for text in step.arguments]
        _espefuse(target, arguments, pipes.numbers)
    after = summary(target)
    return _compare(plan, before, after, target)


def _filled(text: str, plan: Plan, pipes: _Pipes) -> str:
    """Put the readable end of a pipe where the plan says KEY or PUBLIC."""
    if text == "KEY":
        return pipes.add(os.urandom(_KEY_SIZE))
    return pipes.add(plan.public_key) if text == "PUBLIC" else text


class _Pipes:
    """Small files that exist in memory only, as names that a child process can open."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self.numbers: list[int] = []

    def add(self, data: bytes) -> str:
        """Return a name for `data`, which fits a pipe's buffer."""
        readable, writable = os.pipe()
        self._stack.callback(os.close, readable)
        try:
            assert os.write(writable, data) == len(data)
        finally:
            os.close(writable)
        self.numbers.append(readable)
        return f"/dev/fd/{readable}"


def check_blank(plan: Plan, state: Summary, target: Target) -> None:
    """Raise PlanError if anything the plan burns is burned already, or the chip lacks a field."""
    for name in plan.must_be_blank:
        if name not in state:
            raise PlanError(f"{target.name} has no eFuse {name}", "is this the recipe for this chip?")
        field = state[name]
        if not field["readable"] or not field["writeable"] or int(field["raw_value"], 16):
            raise PlanError(f"{name} of {target.name} is burned already", "a board is burned once; set it aside")


def _compare(plan: Plan, before: Summary, after: Summary, target: Target) -> dict[str, Any]:
    """Return what changed; PlanError unless it is all that the plan promises and nothing else."""
    changed = {
        name: [before[name]["value"], field["value"]]
        for name, field in after.items()
        if name not in _BOOKKEEPING and field["value"] != before[name]["value"]
    }
    for name, value in plan.expected.items():
        if after[name]["value"] != value:
            raise _wrong(f"{name} of {target.name} is {after[name]['value']}, not {value}")
    for name in plan.unreadable:
        if after[name]["readable"] or after[name]["writeable"]:
            raise _wrong(f"{name} of {target.name} can still be read or written")
    for name in plan.locked:
        if after[name]["writeable"]:
            raise _wrong(f"{name} of {target.name} can still be written")
    if surprise := sorted(set(changed) - set(plan.expected) - set(plan.unreadable) - _side_effects(plan)):
        raise _wrong(f"{surprise[0]} of {target.name} changed, and the plan does not name it")
    return changed


def _side_effects(plan: Plan) -> set[str]:
    """Return the field that burning a flash key sets by itself, where the chip has it."""
    return {"KEY_PURPOSE_1"} if plan.needs_key else set()


def _wrong(message: str) -> PlanError:
    error = PlanError(message, "set the board aside: eFuses cannot be mended")
    error.exit_code = INTEGRITY
    return error


def _espefuse(target: Target, arguments: list[str], pipes: list[int] | None = None) -> str:
    """Run espefuse and return what it printed; PlanError with its reason."""
    try:
        done = subprocess.run(
            [*command("espefuse"), *target.arguments(), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            env=environment(),
            pass_fds=pipes or [],
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PlanError(f"{target.name}: espefuse did not end in {_SECONDS} s", "unplug the board, try again") from None
    if done.returncode:
        fault = classify(done.stdout + done.stderr, "burning", False, target.name)
        raise PlanError(str(fault), fault.hint)
    return done.stdout
