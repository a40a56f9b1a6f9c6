"""The console as the chip's UART: Ctrl-C reaches a program from boot.py on, and kbd_intr(-1) lets every byte through.

The unix port's own kbd_intr would leave Ctrl-C to kill the process. The runner reads the marks that are set here from
the terminal's modes: VEOL2 = 1, bytes may come; NOFLSH, what goes out is binary.
"""

import os
import sys
import termios

import micropython as _real

_ISIG, _NOFLSH, _VEOL2 = (int(number) for number in os.getenv("UPEER_TTY").split())


def _set(lflag: int) -> None:
    modes = termios.tcgetattr(0)
    modes[3] = lflag
    modes[6][_VEOL2] = b"\x01"
    termios.tcsetattr(0, termios.TCSANOW, modes)


class _MicroPython:
    """The module `micropython` with the chip's kbd_intr."""

    def __getattr__(self, name):
        return getattr(_real, name)

    def kbd_intr(self, char):
        _set(_ISIG if char == 3 else _NOFLSH)


def open() -> None:
    """Let bytes and Ctrl-C in."""
    sys.modules["micropython"] = _MicroPython()
    _set(_ISIG)
