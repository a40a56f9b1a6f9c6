"""The chip's slowness, where it is waiting and not computing. Loaded by `start` when UPEER_CHIP_TIMING is set.

A .mpy out of flash takes 0.16 s at 160 MHz, gc.collect 7.7 ms; a wait for sockets ends on a tick of 10 ms of the RTOS.
Bytecode runs 100 to 200 times faster than on the chip: that cannot be played.
"""

import gc as _gc
import sys

import utime
from micropython import const

_LOAD_US = const(160000)
_COLLECT_US = const(7700)
_TICK_MS = const(10)
_STOCK_MHZ = const(160)
mhz = _STOCK_MHZ


def _take(us):
    """Block for what takes `us` at 160 MHz."""
    utime.sleep_us(us * _STOCK_MHZ // mhz)


class _Gc:
    """The module gc; only collections that a program asks for are seen."""

    def __getattr__(self, name):
        return getattr(_gc, name)

    def collect(self):
        _take(_COLLECT_US)
        return _gc.collect()


class Flash:
    """A file system whose modules take their time."""

    def __init__(self, inner):
        self._inner = inner

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def open(self, path, mode="r"):
        if path.endswith(".mpy"):
            _take(_LOAD_US)
        return self._inner.open(path, mode)


class _Poller:
    """asyncio's poll object: what had to be waited for comes on a tick."""

    def __init__(self, inner):
        self._inner = inner

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def ipoll(self, ms):
        begun = utime.ticks_ms()
        ready = self._inner.poll(ms)
        if ms and utime.ticks_ms() != begun:
            utime.sleep_ms(-utime.ticks_ms() % _TICK_MS)
            ready = ready or self._inner.poll(0)
        return ready


def _patient(queue):
    """Return asyncio's queue of waits, made patient."""
    queue.poller = _Poller(queue.poller)
    return queue


def start():
    """Slow down what is loaded already."""
    import asyncio

    sys.modules["gc"] = _Gc()
    make = asyncio.core.IOQueue
    asyncio.core.IOQueue = lambda: _patient(make())
    asyncio.new_event_loop()
