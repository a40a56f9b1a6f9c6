"""The module time, whose ticks pass for those of ESP32: `base.clock` takes C functions there, and so it does here."""

import utime

_MASK = (1 << 30) - 1
_asked = []


def __getattr__(name):
    """Have the first ticks_add, by which `base.clock` finds out, wrap at 2**30; all else is the port's own."""
    if name == "ticks_add" and not _asked:
        _asked.append(name)
        return lambda ticks, delta: ticks + delta & _MASK
    return getattr(utime, name)
