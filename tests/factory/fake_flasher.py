"""Stands in for esptool in the tests of stations."""

import threading

import factory_lab

from upeer_factory.flash.flash import FlashResult, Progress

MAC = factory_lab.mac_of(1)


class FakeFlasher:
    """Stands in for esptool: tells the board's MAC, or raises what it is given."""

    def __init__(self, mac=MAC, faults=()):
        self.mac, self.faults = mac, list(faults)
        self.gate = threading.Event()
        self.gate.set()

    def flash(self, port, on_progress=None, cancel=None):
        assert self.gate.wait(60)
        if self.faults:
            raise self.faults.pop(0)
        on_progress(Progress(port, "writing", "app", 50, 100, self.mac))
        return FlashResult(port, self.mac, "ESP32", "B", "pin", "1.27", 0.1, 100, 50, 100, (), 1, 115200, "full")
