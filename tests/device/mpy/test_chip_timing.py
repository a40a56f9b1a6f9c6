"""The slowness of --chip-timing, on a clock of the test's own."""

import gc

import _timing


class Clock:
    """Stands in for utime; time passes in sleeps only."""

    def __init__(self):
        self.us = 3000
        self.real = _timing.utime

    def __enter__(self):
        _timing.utime = self
        return self

    def __exit__(self, *error):
        _timing.utime = self.real
        _timing.mhz = 160

    def ticks_ms(self):
        return self.us // 1000

    def sleep_ms(self, ms):
        self.us += ms * 1000

    def sleep_us(self, us):
        self.us += us


class Files:
    def open(self, path, mode="r"):
        return path, mode

    def stat(self, path):
        return "stat " + path


class Poller:
    """Ready `after_ms` from the first poll on."""

    def __init__(self, clock, after_ms):
        self.clock = clock
        self.at_ms = clock.ticks_ms() + after_ms

    def poll(self, ms):
        wait_ms = max(min(self.at_ms - self.clock.ticks_ms(), ms), 0)
        self.clock.sleep_ms(wait_ms)
        return ["ready"] if self.clock.ticks_ms() >= self.at_ms else []

    def register(self, *arguments):
        return arguments


def test_a_module_takes_its_time_and_no_other_file():
    with Clock() as clock:
        flash = _timing.Flash(Files())
        assert flash.open("/lib/a.mpy", "rb") == ("/lib/a.mpy", "rb") and clock.us == 163000
        assert flash.open("/main.py") == ("/main.py", "r") and flash.stat("/x") == "stat /x" and clock.us == 163000
        _timing.mhz = 240
        flash.open("/lib/a.mpy", "rb")
        assert clock.us == 163000 + 106666


def test_a_collection_takes_its_time():
    with Clock() as clock:
        _timing._Gc().collect()
        assert clock.us == 10700 and _timing._Gc().mem_alloc() > 0 and gc is not _timing._Gc()


def test_a_wait_for_sockets_ends_on_a_tick():
    with Clock() as clock:
        poller = _timing._Poller(Poller(clock, 4))
        assert poller.ipoll(1000) == ["ready"] and clock.us == 10000
        assert poller.ipoll(1000) == ["ready"] and clock.us == 10000  # nothing to wait for
        poller = _timing._Poller(Poller(clock, 12))
        assert poller.ipoll(5) == [] and clock.us == 20000
        assert poller.ipoll(0) == [] and clock.us == 20000
        assert poller.ipoll(5) == ["ready"] and clock.us == 30000 and poller.register(1, 2) == (1, 2)
