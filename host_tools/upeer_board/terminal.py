"""Terminals of the virtual board: pty modes, and reads and writes that never block."""

from __future__ import annotations

import os
import termios
import tty

CHUNK = 4096

# The child makes the pty its controlling terminal, so that Ctrl-C reaches the interpreter, and becomes it.
LEADER = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"


def set_modes(terminal: int) -> None:
    """Bytes pass unchanged, but Ctrl-C interrupts."""
    tty.setraw(terminal)
    modes = termios.tcgetattr(terminal)
    modes[3] |= termios.ISIG
    control = modes[6]
    for name in (termios.VQUIT, termios.VSUSP):
        control[name] = b"\0"
    control[termios.VINTR] = b"\x03"
    termios.tcsetattr(terminal, termios.TCSANOW, modes)


def is_cooked(master: int) -> bool:
    """Tell whether text is on its way: mpremote's mount takes Ctrl-C away around its binary messages."""
    try:
        return bool(termios.tcgetattr(master)[6][termios.VINTR] == b"\x03")
    except termios.error:
        return True


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
