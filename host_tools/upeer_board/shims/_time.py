"""The clock in the module `time`: whole seconds since 2000, where a chip that nobody told the time begins."""

import os

import utime as _real

_YEAR_2000 = 946684800
_up_s = int(os.getenv("UPEER_UP_S") or 0)
_begun = _real.ticks_ms()


def time():
    return _up_s + (_real.ticks_ms() - _begun) // 1000


def time_ns():
    return _up_s * 1000000000 + (_real.ticks_ms() - _begun) * 1000000


def sleep(seconds):
    _real.sleep(seconds)


def gmtime(seconds=None):
    return _real.gmtime((time() if seconds is None else seconds) + _YEAR_2000)[:8]


localtime = gmtime


def mktime(moment):
    return _real.mktime(moment) - _YEAR_2000
