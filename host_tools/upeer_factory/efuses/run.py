"""Burns a plan with espefuse, run as a program: on a virtual chip to rehearse it, then on a board.

Every burn is rehearsed first, and the state afterwards compared field by field: what the plan promises is there, what
it does not name is as before. Each step is a run of its own, so a burn that broke off goes on where it was. Such a run
tells the chip's MAC and asks before it burns: only the right board gets its BURN, on the very connection that told the
MAC. Keys go through a pipe to the program, what it prints goes to memory: a caller that dies does not break a burn off.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upeer_factory.efuses import state as security_state
from upeer_factory.efuses.plan import Plan, PlanError, Step
from upeer_factory.efuses.state import Summary
from upeer_factory.errors import NOT_SECURED, SWAPPED, FactoryError
from upeer_factory.flash.esptool_run import command, environment
from upeer_factory.flash.faults import INTEGRITY, classify

_SECONDS = 60
_POLL_SECONDS = 0.02
_KEY_SIZE = 32
_PORT_FAULTS = ("F01", "F02", "F03", "F04", "F05", "F07", "F12", "F16")
_QUESTION = "Type 'BURN'"
_MAC_LINE = re.compile(r"^MAC \(BLOCK\d+\)[^=]*= ((?:[0-9a-f]{2}:){5}[0-9a-f]{2})", re.MULTILINE)
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


@dataclass(frozen=True)
class Options:
    """How to burn. `resume`: go on where a burn broke off, be it at the end; `mac`: the board that it must be.

    `on_burn(mac, steps)` is called before the steps that are missing are burned; what it raises ends the run.
    """

    resume: bool = False
    mac: str = ""
    on_burn: Callable[[str, tuple[Step, ...]], None] | None = None


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
        _make_virtual(plan, target)
        before = summary(target)
        check_blank(plan, before, target)
        return _burn(plan, plan.steps, before, target)


def burn(
    plan: Plan, target: Target, options: Options | None = None, rehearsed: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Burn the plan for ever after a rehearsal, compare the state, and return the fields that changed.

    PlanError if the chip has any of it burned already, for a board is burned once; when going on, FactoryError if the
    chip is not on this plan's way.
    """
    options = options or Options()
    rehearsed = rehearse(plan) if rehearsed is None else rehearsed
    _make_virtual(plan, target)
    before = summary(target)
    mac = security_state.mac_of(before)
    _check_mac(options.mac, mac, target)
    if not options.resume:
        check_blank(plan, before, target)
    steps = security_state.missing(plan, before, target.name)
    if options.on_burn is not None:
        options.on_burn(mac, steps)
    changed = _burn(plan, steps, before, target)
    different = sorted(set(changed) - set(rehearsed) if options.resume else set(rehearsed) ^ set(changed))
    if different:
        raise _wrong(f"{target.name}: burned, but {different[0]} differs from the rehearsal")
    return changed


def _make_virtual(plan: Plan, target: Target) -> None:
    """Make a new virtual ESP32 one of revision 3, which Secure Boot V2 came with; others are new enough."""
    if target.file and not target.file.exists() and plan.chip == "esp32" and plan.locked:
        _espefuse(target, ["--do-not-confirm", "burn-efuse", "CHIP_VER_REV1", "1", "CHIP_VER_REV2", "1"])


def _burn(plan: Plan, steps: tuple[Step, ...], before: Summary, target: Target) -> dict[str, Any]:
    """Burn the steps, each in a run of its own, and return what changed."""
    mac = security_state.mac_of(before)
    for step in steps:
        _burn_step(plan, step, mac, target)
    after = summary(target) if steps else before
    _check_mac(mac, security_state.mac_of(after), target)
    return _compare(plan, before, after, target)


def _burn_step(plan: Plan, step: Step, mac: str, target: Target) -> None:
    with contextlib.ExitStack() as stack:
        pipes = _Pipes(stack)
        arguments = ["summary", *[_filled(text, plan, pipes) for text in step.arguments]]
        _espefuse(target, arguments, pipes.numbers, mac)


def _check_mac(expected: str, found: str, target: Target) -> None:
    if expected and found != expected:
        raise FactoryError(SWAPPED, f"another board is at {target.name}: {found} instead of {expected}")


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
            raise _wrong(f"{name} of {target.name} is not what was burned into it")
    for name in plan.unreadable:
        if after[name]["readable"] or after[name]["writeable"]:
            raise _wrong(f"{name} of {target.name} can still be read or written")
    for name in plan.locked:
        if after[name]["writeable"]:
            raise _wrong(f"{name} of {target.name} can still be written")
    if surprise := sorted(set(changed) - set(plan.expected) - set(plan.unreadable)):
        raise _wrong(f"{surprise[0]} of {target.name} changed, and the plan does not name it")
    return changed


def _wrong(message: str) -> PlanError:
    error = PlanError(message, "set the board aside: eFuses cannot be mended")
    error.exit_code = INTEGRITY
    return error


def _espefuse(target: Target, arguments: list[str], pipes: list[int] | None = None, mac: str = "") -> str:
    """Run espefuse and return what it printed; with a MAC it asks first, and gets a yes at that board alone."""
    with _Output() as output:
        process = subprocess.Popen(
            [*command("espefuse"), *target.arguments(), *arguments],
            stdin=subprocess.PIPE,
            stdout=output.number,
            stderr=subprocess.STDOUT,
            env=environment(),
            pass_fds=pipes or [],
            start_new_session=True,
        )
        try:
            if mac:
                _answer(process, output, mac, target)
        finally:
            is_late = not _has_ended(process)
        if is_late:
            text = f"{target.name}: espefuse did not end in {_SECONDS} s"
            raise FactoryError(NOT_SECURED, text, "unplug the board, plug it in and start again")
        if process.returncode:
            raise _failure(output.text(), target)
        return output.text()


def _answer(process: subprocess.Popen[bytes], output: _Output, mac: str, target: Target) -> None:
    """Wait for espefuse's question, look at the MAC that it told, and say BURN, or no."""
    assert process.stdin is not None
    end = time.monotonic() + _SECONDS
    while process.poll() is None and _QUESTION not in output.text():
        if time.monotonic() > end:
            return
        time.sleep(_POLL_SECONDS)
    if process.poll() is not None:
        return
    match = _MAC_LINE.search(output.text())
    found = match.group(1) if match else "no MAC"
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(b"BURN\n" if found == mac else b"NO\n")
        process.stdin.flush()
    _check_mac(mac, found, target)


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Let espefuse end by itself, also when the caller is interrupted: a burn is not broken off. False if it hangs."""
    try:
        process.communicate(timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return False
    return True


def _failure(text: str, target: Target) -> Exception:
    """Return a fault of the port as such, and what espefuse itself refused as one line of its own."""
    fault = classify(text, "burning", False, target.name)
    if target.port and fault.code in _PORT_FAULTS:
        return fault
    return FactoryError(NOT_SECURED, str(fault))


class _Output:
    """What a program prints, in memory that has no name; `text` may be asked while it runs."""

    def __enter__(self) -> _Output:
        self._file = tempfile.TemporaryFile() if not hasattr(os, "memfd_create") else None
        self.number = self._file.fileno() if self._file else os.memfd_create("espefuse")
        return self

    def __exit__(self, *_error: object) -> None:
        if self._file:
            self._file.close()
        else:
            os.close(self.number)

    def text(self) -> str:
        """Return all that was printed until now."""
        return os.pread(self.number, 1 << 22, 0).decode("utf-8", "replace")
