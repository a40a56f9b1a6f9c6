"""What the virtual board's runner tells the shims about the chip that they play: ticks, mailboxes, memory, timing.

docs/board-model.md says where each figure comes from.
"""

from __future__ import annotations

import os
import time
from zlib import crc32

TICKS_PERIOD = 1 << 30
DATAGRAM_QUEUE = 6  # lwIP's mailbox of a UDP socket, whatever the datagrams' size
_BEFORE_WRAP_S = 8
_MODEL_BYTES = 12288  # on 64 bits: 7 KB of code and objects, 5 KB for what the port's receive and blocks waste
_UNITS = {"": 1, "k": 1024, "m": 1024 * 1024}
_HEADLINES = {
    "hard": b"\r\nrst:0xc (SW_CPU_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n",
    "wdt": b"\r\nrst:0x8 (TG1WDT_SYS_RESET)\r\n",
    "sleep": b"\r\nrst:0x5 (DEEPSLEEP_RESET)\r\n",
}


def real_heap(heap: str) -> int:
    """Return the bytes of the interpreter's heap for the one that a board was given: the model takes none of that."""
    text = heap.lower()
    words = 2 if text.endswith("w") else 1  # the unix port's suffix for 64-bit words
    digits = text.rstrip("kmw")
    return int(digits) * _UNITS[text[len(digits) :].rstrip("w")] * words + _MODEL_BYTES


def heap_option(heap: str) -> tuple[str, str]:
    """Return the interpreter's option for the heap of a board."""
    return "-X", f"heapsize={real_heap(heap)}"


def ticks_at_start(name: str) -> int:
    """Return what the ticks of a board of this name begin with: for half of all names 1 to 8 s before their wrap.

    UPEER_TICKS=N in the runner's environment is stronger: a failure is repeated with what the console said.
    """
    told = os.environ.get("UPEER_TICKS")
    if told:
        return int(told) % TICKS_PERIOD
    number = crc32(name.encode())
    if number & 1:
        return 1
    return TICKS_PERIOD - 1000 * (1 + (number >> 1) % _BEFORE_WRAP_S)


class Clock:
    """A board's ticks over its lives: they go on over a soft reset and begin anew with every other one."""

    def __init__(self, name: str, ticks: int | None = None) -> None:
        self._name = name
        self._told = ticks
        self._starts = 0

    def begin(self, kind: str) -> bytes:
        """Begin anew after power-on, a reset or deep sleep; return what the chip's console says of it, and the ticks'
        start, with which a failure is repeated.
        """
        self._starts += 1
        self._begun = time.monotonic()
        self.start = ticks_at_start(f"{self._name} {self._starts}") if self._told is None else self._told
        return _HEADLINES.get(kind, b"") + b"ticks from %d\r\n" % self.start

    def environment(self) -> dict[str, str]:
        """Return what the shim of `time` reads."""
        up_s = time.monotonic() - self._begun
        return {"UPEER_TICKS": str((self.start + int(up_s * 1000)) % TICKS_PERIOD), "UPEER_UP_S": str(int(up_s))}
