"""Millisecond ticks that wrap at 2**30, as on ESP32. Compare them with `ticks_diff`, over spans below 2**29 (6.2 days).

Ports whose ticks have that period (ESP32) lend their own functions; everywhere else (CPython, the 64-bit unix port) the
same arithmetic stands below, so that the wrap is the same, and is tested, on every machine.
"""

import time

from upeer.base.compat import MICROPYTHON, const

_MASK = const(0x3FFFFFFF)
_HALF = const(0x20000000)

if not (MICROPYTHON and time.ticks_add(0, -1) == _MASK):

    def ticks_ms() -> int:
        """Return the time in ms since some fixed point, 0 to 2**30 - 1."""
        return (time.ticks_ms() if MICROPYTHON else time.monotonic_ns() // 1000000) & _MASK

    def ticks_diff(a: int, b: int) -> int:
        """Return `a` - `b` in ms, negative if `a` is the earlier one."""
        return ((a - b + _HALF) & _MASK) - _HALF

    def ticks_add(ticks: int, delta_ms: int) -> int:
        """Return the ticks `delta_ms` after (before, if negative) `ticks`."""
        return (ticks + delta_ms) & _MASK

else:  # assigned, not imported: a linter takes an import that this file does not use away, and no ESP32 starts
    ticks_ms = time.ticks_ms
    ticks_diff = time.ticks_diff
    ticks_add = time.ticks_add


def earlier(a, b):
    """Return the earlier of two deadlines; None stands for never."""
    if a is None:
        return b
    if b is None:
        return a
    return a if ticks_diff(a, b) <= 0 else b
