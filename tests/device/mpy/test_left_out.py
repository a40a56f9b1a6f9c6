"""What the shell does where a board or an image lacks something: both answers of each look at it."""

import asyncio
import sys

import device
from device import api, heap, loader, startup


class Module:
    """Stands in for a module that an image brings."""

    MAX_SESSIONS = 3
    SESSION_BUFFER = 5000
    CLOCK = (160, 240)
    HEAP_LIMIT = 1 << 20


def test_limits_with_and_without_a_boards_file():
    before = heap.figures[0]
    (sessions, size, _), clock = startup.limits()
    assert sessions == 2 and size != 5000 and clock is None
    sys.modules["board"] = Module()
    (sessions, size, _), clock = startup.limits()
    assert (sessions, size, clock) == (3, 5000, (160, 240)) and "board" not in sys.modules
    heap.figures[0] = before


def test_names_and_groups_that_an_image_brings_or_not():
    startup._load_names()
    sys.modules["device.names"] = device.names = Module()
    startup._load_names()
    assert "device.names" not in sys.modules
    assert loader._files("start") == loader.TRANSIENT["start"]
    sys.modules["device.start"] = Module()
    assert loader._files("start") == ()
    del sys.modules["device.start"]


def test_files_are_tidied_where_there_is_a_file_service():
    class Os:
        def stat(self, path):
            return path

    def fail(group):
        raise ImportError(group)

    real, load = startup.os, startup.load_group
    startup.os = Os()
    try:
        startup.tidy_files()
        startup.load_group = fail
        startup.tidy_files()
    finally:
        startup.os, startup.load_group = real, load


def test_reserve_of_a_board_that_tells_it_and_of_one_that_does_not():
    real = heap.esp32
    assert 0 < heap.reserve() < 1 << 20
    heap.esp32 = Module()
    assert heap.reserve() == 0x10000000  # no limit
    heap.esp32 = real


class Station:
    """A WLAN without power save."""

    STA_IF = PM_NONE = 0

    def WLAN(self, interface):
        return self


class Watcher:
    """What _watch_network asks of a Device."""

    def __init__(self):
        self.agent = self.endpoint = self
        self.sessions = [1]
        self.checked = 0

    async def _check_network(self, wlan):
        self.checked += 1


async def watch(watcher):
    task = asyncio.create_task(api.Device._watch_network(watcher))
    await asyncio.sleep_ms(20)
    task.cancel()


def test_the_network_is_watched_with_and_without_power_save():
    real = api.network
    watcher = Watcher()
    asyncio.run(watch(watcher))
    api.network = Station()
    asyncio.run(watch(watcher))
    api.network = real
    assert watcher.checked == 2
    asyncio.new_event_loop()
