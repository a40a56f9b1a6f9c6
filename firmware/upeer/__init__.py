"""µpeer protocol core: sans-IO, one source for MicroPython and CPython (docs/protocol.md)."""

VERSION = 1
