"""The module time as on ESP32: ticks of 30 bits, small ints of 31. Put before the unix port's own, whose ticks have 62.

UPEER_TICKS=N is what ticks_ms says at first. asyncio, C code in half, keeps the unix port's ticks, which no program
sees; its waits are bounded as on the chip. The clock, which counts from 2000, is in `_time`.
"""

import gc
import os
import sys

import _host
import utime as _real
from micropython import const

_MASK = const(0x3FFFFFFF)
_HALF = const(0x20000000)

_start = int(os.getenv("UPEER_TICKS") or 0)
_ms = _start - _real.ticks_ms()
_us = _start * 1000 - _real.ticks_us()


def _small(number):
    """Refuse what is no small int on the chip."""
    if not -_MASK <= number + 1 <= _MASK + 1:
        raise OverflowError("no small int on the chip: %s" % number)
    return number


def ticks_ms():
    return (_real.ticks_ms() + _ms) & _MASK


def ticks_us():
    return (_real.ticks_us() + _us) & _MASK


ticks_cpu = ticks_us


def ticks_add(ticks, delta):
    if not -_HALF < delta < _HALF:
        raise OverflowError("ticks interval overflow")
    return (_small(ticks) + delta) & _MASK


def ticks_diff(ticks1, ticks2):
    return ((_small(ticks1) - _small(ticks2) + _HALF) & _MASK) - _HALF


def sleep_ms(ms):
    _real.sleep_ms(_small(ms))


def sleep_us(us):
    _real.sleep_us(_small(us))


def __getattr__(name):
    """Load what few programs use when it is asked for."""
    return getattr(_host.load("_time"), name)


def _load_asyncio():
    """Load asyncio over the unix port's ticks, and bound its waits; return what it took of the heap."""
    before = gc.mem_alloc()
    own = sys.modules["time"]
    sys.modules["time"] = _real
    import asyncio

    asyncio.core.ticks_add = _add_bounded
    sys.modules["time"] = own
    return gc.mem_alloc() - before


def _add_bounded(ticks, delta):
    ticks_add(0, delta)
    return _real.ticks_add(ticks, delta)


asyncio_size = _load_asyncio()
