"""Tests the board itself for the production line: flash, RAM, clock, entropy, Wi-Fi, a session over the line's server.

Loaded on request only, through the raw REPL. The result is signed, so that the record shows what this very board said:
    tag = HMAC-SHA256(derive(licence key, "factory selftest"), nonce (32 bytes) | result, the JSON text)
"""

import gc
import json
import os
import sys
import time

import machine

from device.fctry import load
from upeer.crypto.aead import Hmac, derive, random_bytes

_FILE = "/selftest.tmp"
_BLOCK = 4096
_LEAST_RAM = 16384
_CLOCK_MS = 200
_JOIN_S = 15
_LOOP_S = 45


def run(nonce: bytes, options: dict) -> str:
    """Return {"result": JSON text, "tag"} as JSON, or {"error"}.

    `options`: skip (names of tests), min_aps; for the loop ssid, password, server ([IP, port]), loop_s.
    """
    try:
        record = load()[0]
    except ValueError as error:
        return json.dumps({"error": str(error)})
    options["nonce"] = nonce
    if "server" not in options:
        options["skip"] = list(options.get("skip", ())) + ["loop"]
    result = {"did": record["did"], "mac": machine.unique_id().hex(), "system": sys.version}
    result["ok"] = True
    for name, test in _TESTS:
        if name in options.get("skip", ()):
            continue
        gc.collect()
        try:
            good, figure = test(options)
        except (OSError, MemoryError, ValueError, ImportError, RuntimeError) as error:
            good, figure = False, "%s %s" % (type(error).__name__, error)
        result[name] = [good, figure]
        result["ok"] = result["ok"] and good
    text = json.dumps(result)
    tag = Hmac(derive(record["licence_key"], b"factory selftest")).digest(nonce, text.encode())
    return json.dumps({"result": text, "tag": tag.hex()})


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
    began_ms, began_us = time.ticks_ms(), time.ticks_us()
    time.sleep_ms(_CLOCK_MS)
    us = time.ticks_diff(time.ticks_us(), began_us)
    ms = time.ticks_diff(time.ticks_ms(), began_ms)
    return ms >= _CLOCK_MS - 2 and abs(us - ms * 1000) < 5000, us


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


def _test_loop(options: dict) -> tuple:
    """Join the line's network and hold a session through its own server."""
    import network

    wlan = network.WLAN(network.STA_IF)
    wlan.active(True)
    try:
        wlan.connect(options["ssid"], options.get("password", ""))
        end = time.ticks_add(time.ticks_ms(), _JOIN_S * 1000)
        while not wlan.isconnected():
            if time.ticks_diff(end, time.ticks_ms()) < 0:
                return False, "no network"
            time.sleep_ms(50)
        from device.loop import run as run_loop

        seconds = options.get("loop_s", _LOOP_S)
        return run_loop(load()[0], options["nonce"], wlan.ifconfig()[0], options["server"], seconds)
    finally:
        wlan.disconnect()


_TESTS = (
    ("flash", _test_flash),
    ("ram", _test_ram),
    ("clock", _test_clock),
    ("rng", _test_rng),
    ("wifi", _test_wifi),
    ("loop", _test_loop),
)
