"""The chip's memory: MicroPython's heap grows out of the one of ESP-IDF, in steps, and starves Wi-Fi with the last one.

Bytes are the chip's: what MicroPython has allocated here, less the shims, by a measured factor. docs/board-model.md
explains each figure. `look` is called before lwIP would need memory, `start` once, before boot.py.
"""

import gc
import os
import time

from micropython import const

_PERCENT = const(148)  # bytes here for 100 bytes on the chip
_AT_BOOT = const(6144)  # allocated before anything is imported
_FIRST = const(57344)  # MicroPython's heap at first, and what its second step adds
_POOL = const(204800)  # ESP-IDF's heap with MicroPython's in it
DRIVERS = const(8192)  # network interfaces, made with the first WLAN
WIFI = const(46080)  # a station that is switched on, lwIP's buffers with it
_SOCKET = const(512)
_DATAGRAM = const(1640)  # a received one, until it is read
_LEFT = const(512)  # what the last step leaves
_LOOK_MS = const(20)
SEND_NEEDS = const(2048)
SOCKET_NEEDS = const(2048)
STATION_NEEDS = const(1024)

_limit = _FIRST
_second = 2 * _FIRST  # where the third step begins
heap = _FIRST  # MicroPython's
drivers = wifi = sockets = 0  # what lwIP and Wi-Fi have: bytes, bytes, number
waiting = 0  # datagrams in mailboxes: of the heap of ESP-IDF
_own = _least = _looked = None


def start():
    """Note what the shims have taken. UPEER_FROZEN is how many bytes here a frozen build would have in flash."""
    global _own, _least, _looked
    gc.collect()
    _own = gc.mem_alloc() - time.asyncio_size + int(os.getenv("UPEER_FROZEN") or 0)
    _least = free()
    _looked = time.ticks_ms()


def leave_out(size):
    """Count a module of the shims that came later, or went, to what they take."""
    global _own
    if _own is not None:
        _own += size


def allocated():
    """Return the bytes that MicroPython has allocated, as the chip counts them."""
    return _AT_BOOT + max(gc.mem_alloc() - _own, 0) * 100 // _PERCENT


def free():
    """Return the bytes that are free in the heap of ESP-IDF."""
    return _POOL - heap - drivers - wifi - sockets * _SOCKET - waiting * _DATAGRAM


def look(at_once=False):
    """Let MicroPython's heap grow if it is full, garbage collected; it never shrinks."""
    global _least, _looked
    if _own is None:
        return
    now = time.ticks_ms()
    if at_once or time.ticks_diff(now, _looked) >= _LOOK_MS:
        _looked = now
        if allocated() > _limit:
            gc.collect()
            while allocated() > _limit:
                _grow()
    _least = min(_least, free())


def _grow():
    """Take the next step: as much again, or all that is left."""
    global heap, _limit
    if _limit == _FIRST and free() > _FIRST + _LEFT:
        heap += _FIRST
        _limit = _second
    else:
        heap += max(free() - _LEFT, 0)
        _limit = 1 << 29


def lacks(size):
    """Return whether ESP-IDF cannot give `size` bytes now."""
    look()
    return _own is not None and free() < size


def info():
    """Return what esp32.idf_heap_info tells: (total, free, largest block, least that was ever free)."""
    look(True)
    return _POOL - heap, free(), free(), min(_least or free(), free())
