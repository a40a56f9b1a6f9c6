"""What is typed at a virtual board, on its way to the interpreter; Ctrl-C goes when the interpreter is at rest.

The unix port raises KeyboardInterrupt inside its signal handler. In the midst of a garbage collection that leaves the
heap locked: the interpreter hangs, or dies with "uncaught NLR". The chip takes note of Ctrl-C and raises it later, so
here it waits until the interpreter waits for something itself.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

CTRL_C = b"\x03"
_BUSY_CPU_S = 0.5  # a program that never rests gets its Ctrl-C after so much of the processor's time
_ECHO_S = 0.25  # what follows Ctrl-C waits for its effect: a program that it ends takes along what was typed
_FATAL = b"FATAL: uncaught NLR"
_TICKS = os.sysconf("SC_CLK_TCK")


class Keyboard:
    """The bytes that were typed and not yet taken."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._asked_cpu_s: float | None = None  # since when Ctrl-C waits
        self._held_until = 0.0
        self._has_interrupted = False

    def __len__(self) -> int:
        return len(self._pending)

    def type(self, data: bytes, at_once: bool = False) -> None:
        """Add bytes, `at_once` before all others."""
        self._pending[:] = data + self._pending if at_once else self._pending + data

    def ends_with(self, data: bytes) -> bool:
        return self._pending.endswith(data)

    def begin(self, forget: bool = True) -> None:
        """A life of the interpreter begins; what was typed to the last one is lost unless Ctrl-C was its end."""
        if forget:
            self._pending.clear()
        self._asked_cpu_s, self._held_until, self._has_interrupted = None, 0.0, False

    def explain(self, status: int, output: bytes | bytearray) -> str | None:
        """Return "prompt" if the unix port died of Ctrl-C where the chip only ends its program and shows the prompt."""
        is_fatal = status == -signal.SIGINT or _FATAL in output[-100:]
        return "prompt" if is_fatal and self._has_interrupted else None

    def hear(self) -> None:
        """Take note that the board has said something: Ctrl-C had its effect."""
        self._held_until = 0.0

    def next_chunk(self, pid: int, is_text: bool) -> bytes:
        """Return what may be written to the interpreter's terminal now."""
        if not is_text:
            return bytes(self._pending)
        if time.monotonic() < self._held_until:
            return b""
        before, _, _ = self._pending.partition(CTRL_C)
        if before or not self._pending:
            return bytes(before)
        return CTRL_C if self._may_interrupt(pid) else b""

    def drop(self, count: int, is_text: bool) -> None:
        """Forget so many bytes: they are written."""
        if is_text and count and self._pending[:1] == CTRL_C:
            self._asked_cpu_s = None
            self._held_until = time.monotonic() + _ECHO_S
            self._has_interrupted = True
        del self._pending[:count]

    def _may_interrupt(self, pid: int) -> bool:
        is_at_rest, cpu_s = _activity(pid)
        if self._asked_cpu_s is None:
            self._asked_cpu_s = cpu_s
        return is_at_rest or cpu_s - self._asked_cpu_s >= _BUSY_CPU_S


def _activity(pid: int) -> tuple[bool, float]:
    """Return (whether a process waits for something, seconds of processor time it has used)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
    except OSError:
        return True, 0.0  # no such system, or no such process
    return fields[0] == b"S", (int(fields[11]) + int(fields[12])) / _TICKS
