"""Tests the board itself for the production line: flash, RAM, clock, entropy, Wi-Fi, a session over the line's server.

Loaded on request only, through the raw REPL. The result is signed, so that the record shows what this very board said:
    tag = HMAC-SHA256(derive(licence key, "factory selftest"), nonce (32 bytes) | result, the JSON text)
"""

import gc
import json
import sys
import time

import machine

from device.fctry import load
from device.loader import forget
from upeer.crypto.aead import Hmac, derive

_JOIN_S = 15
_LOOP_S = 45


def run(nonce: bytes, options: dict) -> str:
    """Return {"result": JSON text, "tag"} as JSON, or {"error"}.

    `options`: skip (names of tests), min_aps; for the loop ssid, password, server ([IP, port]), loop_s (patience).
    """
    try:
        record = load()[0]
    except ValueError as error:
        return json.dumps({"error": str(error)})
    skip = options.get("skip", ())
    result = {"did": record["did"], "mac": machine.unique_id().hex(), "system": sys.version}
    result["ok"] = True
    _run_checks(result, options, skip)
    if "server" in options and "loop" not in skip:
        _run(result, "loop", _test_loop, (options, record, nonce))
    text = json.dumps(result)
    tag = Hmac(derive(record["licence_key"], b"factory selftest")).digest(nonce, text.encode())
    return json.dumps({"result": text, "tag": tag.hex()})


def _run_checks(result: dict, options: dict, skip) -> None:
    """Run what needs no server, and drop it: the session that follows needs the room."""
    from device.checks import CHECKS

    for name, check in CHECKS:
        if name not in skip:
            _run(result, name, check, (options,))
    forget("device.checks")


def _run(result: dict, name: str, test, arguments: tuple) -> None:
    """Put a row into the result: [whether it is good, a figure or what went wrong]."""
    gc.collect()
    try:
        good, figure = test(*arguments)
    except (OSError, MemoryError, ValueError, ImportError, RuntimeError) as error:
        good, figure = False, "%s %s" % (type(error).__name__, error)
    result[name] = [good, figure]
    result["ok"] = result["ok"] and good


def _test_loop(options: dict, record: dict, nonce: bytes) -> tuple:
    """Join the line's network and hold a session through its own server."""
    import network

    forget("device.fctry")
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

        return run_loop(record, nonce, wlan.ifconfig()[0], options["server"], options.get("loop_s", _LOOP_S))
    finally:
        wlan.disconnect()
