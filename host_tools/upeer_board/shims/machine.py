"""The machine module: identity, resets, sleep, RTC memory, watchdog, pins. The board's runner plays the power supply.

A reset ends this process with a signal that the runner understands: USR1 hard reset, USR2 deep sleep, ALRM soft reset.
"""

import os
import time

import _host

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5


def _end(signal):
    os.system("kill -%s $PPID" % signal)
    while True:
        time.sleep_ms(1000)


def unique_id():
    return _host.read("mac") or b"\x02up\0\0\1"


def reset():
    _end("USR1")


def soft_reset():
    _end("ALRM")


def reset_cause():
    return int(os.getenv("UPEER_CAUSE") or PWRON_RESET)


def deepsleep(time_ms=0):
    _host.write("sleep", str(time_ms).encode())
    _end("USR2")


class WDT:
    """The runner resets the board when this was not fed for `timeout` ms."""

    def __init__(self, id=0, timeout=5000):
        self._timeout = timeout
        self._fed()

    def _fed(self):
        self._last = time.ticks_ms()
        _host.write("wdt", str(self._timeout).encode())

    def feed(self):
        if time.ticks_diff(time.ticks_ms(), self._last) > self._timeout >> 3:
            self._fed()


def __getattr__(name):
    """Load what few programs use when it is asked for."""
    return getattr(_host.load("_machine"), name)
