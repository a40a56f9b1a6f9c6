"""The machine module of ESP32, as far as the firmware uses it."""

_hz = 160000000


def unique_id():
    return b"\x02up\0\0\x32"


def freq(hz=None):
    global _hz
    if hz is None:
        return _hz
    _hz = hz


def reset():
    raise SystemExit


def reset_cause():
    return 1


class WDT:
    def __init__(self, id=0, timeout=5000):
        pass

    def feed(self):
        pass
