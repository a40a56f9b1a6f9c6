"""Terminals of the virtual board: pty modes, and reads and writes that never block."""

from __future__ import annotations

import os
import termios
import tty
from typing import Any

CHUNK = 4096
# What shims/_terminal.py must know of this system's numbers.
MARKS = f"{termios.ISIG} {termios.NOFLSH} {termios.VEOL2}"

# The child makes the pty its controlling terminal, so that Ctrl-C reaches the interpreter, and becomes it.
LEADER = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"


def set_modes(terminal: int) -> None:
    """Let bytes pass unchanged; the shims turn Ctrl-C on (ISIG) when the board is ready for it."""
    tty.setraw(terminal)
    modes = termios.tcgetattr(terminal)
    control = modes[6]
    for name in (termios.VQUIT, termios.VSUSP, termios.VEOL2):
        control[name] = b"\0"
    control[termios.VINTR] = b"\x03"
    termios.tcsetattr(terminal, termios.TCSANOW, modes)


def is_ready(master: int) -> bool:
    """Tell whether the board takes bytes: its shims have marked the terminal."""
    return bool(_modes(master)[6][termios.VEOL2] == b"\x01")


def is_text(master: int) -> bool:
    """Tell whether text is on its way: mpremote's mount takes Ctrl-C away around its binary messages."""
    return not _modes(master)[3] & termios.NOFLSH


def _modes(master: int) -> list[Any]:
    return termios.tcgetattr(master)


def read(descriptor: int) -> bytes:
    """Return what is there; nothing when the other side is gone."""
    try:
        return os.read(descriptor, CHUNK)
    except OSError:
        return b""


def write(descriptor: int, data: bytes | bytearray) -> int:
    """Write what the terminal takes now; return how much that was."""
    try:
        return os.write(descriptor, data[:CHUNK])
    except OSError:
        return 0
