"""The rest of the module `machine`: clock and RTC memory, pins, light sleep. Loaded when somebody asks."""

import sys
import time

import _host

_hz = 160000000


def lightsleep(time_ms=0):
    time.sleep_ms(time_ms)


def idle():
    time.sleep_ms(1)


def freq(hz=None):
    global _hz
    if hz is None:
        return _hz
    if hz not in (20000000, 40000000, 80000000, 160000000, 240000000):
        raise ValueError("frequency must be 20MHz, 40MHz, 80Mhz, 160MHz or 240MHz")
    _hz = hz
    if "_timing" in sys.modules:
        sys.modules["_timing"].mhz = hz // 1000000


def disable_irq():
    return 0


def enable_irq(state=0):
    pass


class RTC:
    """2048 bytes that outlive sleep and resets, not power; and a clock."""

    def memory(self, data=None):
        if data is None:
            return _host.read("rtc")
        if len(data) > 2048:
            raise ValueError("buffer too long")
        _host.write("rtc", data)

    def datetime(self, value=None):
        now = time.localtime()
        return (now[0], now[1], now[2], now[6], now[3], now[4], now[5], 0)


class Pin:
    """A pin that remembers its level."""

    IN = 1
    OUT = 3
    OPEN_DRAIN = 7
    PULL_UP = 2
    PULL_DOWN = 1
    IRQ_RISING = 1
    IRQ_FALLING = 2

    def __init__(self, id, mode=-1, pull=-1, value=None, **options):
        self._value = 1 if value is None and pull == self.PULL_UP else value or 0

    def init(self, mode=-1, pull=-1, value=None, **options):
        if value is not None:
            self._value = value

    def value(self, value=None):
        if value is None:
            return self._value
        self._value = 1 if value else 0

    __call__ = value

    def on(self):
        self._value = 1

    def off(self):
        self._value = 0

    def irq(self, handler=None, trigger=3, **options):
        pass
