"""Device tests: what stands in `mpy/` runs under MicroPython only, through test_device_on_micropython.py."""

collect_ignore = ["mpy"]
