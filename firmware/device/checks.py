"""What the self-test looks at on the board alone: flash, RAM, clock, entropy, Wi-Fi. Dropped before the session begins.

Each check takes the options of `selftest.run` and returns (whether it is good, a figure for the record).
"""

import gc
import os
import time

from device.fctry import load
from upeer.crypto.aead import random_bytes

_FILE = "/selftest.tmp"
_BLOCK = 4096
_LEAST_RAM = 16384
_CLOCK_MS = 200
_APART_US = 1000
_READINGS = 100


def _test_flash(options: dict) -> tuple:
    """Write blocks through the file system and read them back; both copies of the licence must be good."""
    faults = load()[2]
    data = random_bytes(256)
    try:
        with open(_FILE, "wb") as file:
            for number in range(2 * _BLOCK // 256):
                file.write(bytes((byte ^ number) & 255 for byte in data))
        with open(_FILE, "rb") as file:
            for number in range(2 * _BLOCK // 256):
                if file.read(256) != bytes((byte ^ number) & 255 for byte in data):
                    return False, "block %d" % (number * 256 // _BLOCK)
    finally:
        try:
            os.remove(_FILE)
        except OSError:
            pass  # it was never made
    return not faults, faults[0] if faults else "%d bytes" % (2 * _BLOCK)


def _test_ram(options: dict) -> tuple:
    """Fill most of the free heap with patterns and look at them again."""
    patterns = b"\x55" * 1024, b"\xaa" * 1024  # made while there is room
    free = gc.mem_free()
    blocks = []
    try:
        while len(blocks) * 1024 < free * 3 // 4:
            blocks.append(bytearray(1024))
    except MemoryError:
        pass  # that was all
    for pattern in patterns:
        for block in blocks:
            block[:] = pattern
        for block in blocks:
            if block != pattern:
                return False, "a bit does not hold"
    return len(blocks) * 1024 >= _LEAST_RAM, len(blocks) * 1024


def _test_clock(options: dict) -> tuple:
    """Let the millisecond and the microsecond clock agree over 200 ms."""
    began_ms, began_us = _read_clocks()
    time.sleep_ms(_CLOCK_MS)
    ended_ms, ended_us = _read_clocks()
    us = time.ticks_diff(ended_us, began_us)
    ms = time.ticks_diff(ended_ms, began_ms)
    return ms >= _CLOCK_MS - 2 and abs(us - ms * 1000) < 5000, us


def _read_clocks() -> tuple:
    """Return (ms, us) of one moment: the reading of the first is taken again if other work came between it and us."""
    for _ in range(_READINGS):
        before = time.ticks_us()
        ms = time.ticks_ms()
        us = time.ticks_us()
        if time.ticks_diff(us, before) < _APART_US:
            break
    return ms, us


def _test_rng(options: dict) -> tuple:
    """Count bits in 1024 bytes of entropy: half of them, give or take seven deviations; nothing comes twice."""
    ones, seen = 0, set()
    for _ in range(64):
        part = random_bytes(16)
        seen.add(part)
        for byte in part:
            while byte:
                ones += byte & 1
                byte >>= 1
    return len(seen) == 64 and abs(ones - 4096) < 318, ones


def _test_wifi(options: dict) -> tuple:
    """Scan: at least `min_aps` networks (1 by default)."""
    import network

    wlan = network.WLAN(network.STA_IF)
    wlan.active(True)
    found = wlan.scan()
    best = max([row[3] for row in found]) if found else -127
    return len(found) >= options.get("min_aps", 1), [len(found), best]


CHECKS = (
    ("flash", _test_flash),
    ("ram", _test_ram),
    ("clock", _test_clock),
    ("rng", _test_rng),
    ("wifi", _test_wifi),
)
