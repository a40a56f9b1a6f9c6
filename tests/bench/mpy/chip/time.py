"""The module time, whose ticks pass for those of ESP32: `base.clock` takes C functions there, and so it does here."""

import utime


def __getattr__(name):
    """Have the first ticks_add, by which `base.clock` finds out, wrap at 2**30; all else is the port's own."""
    value = globals()[name] = getattr(utime, name)
    return value if name != "ticks_add" else lambda ticks, delta: ticks + delta & (1 << 30) - 1
