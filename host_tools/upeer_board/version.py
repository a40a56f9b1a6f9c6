"""Which MicroPython an app is: the text that `sys.version` and the REPL's banner show, `MicroPython v1.26.1 on DATE`.

Stock images leave the application description empty, so this text is the one mark they carry. It stands there more
than once, and a frozen module may hold another one: `sys.version`'s own, "3.4.0; ...", decides then.
"""

from __future__ import annotations

import re

OLDEST = (1, 24)
_TEXT = re.compile(
    rb"(3\.4\.0; )?MicroPython (v\d{1,3}\.\d{1,3}(?:\.\d{1,3})?(?:-[0-9A-Za-z.-]{1,40})?) on \d{4}-\d\d-\d\d"
)
_NUMBERS = re.compile(r"v(\d+)\.(\d+)(?:\.(\d+))?(-preview)?")
_HINT = "take a .bin of MicroPython 1.24 or later from https://micropython.org/download/"


def find(app: bytes) -> str:
    """Return "v1.26.1" or what else the app calls its MicroPython, "" if it says nothing or contradicts itself."""
    matches = _TEXT.findall(app)
    named = {text for is_sys_version, text in matches if is_sys_version} or {text for _, text in matches}
    return named.pop().decode() if len(named) == 1 else ""


def check(found: str) -> None:
    """Raise ValueError, one line, on a MicroPython that this firmware does not run on, or an unknown one."""
    numbers = _NUMBERS.match(found)
    if numbers is None:
        raise ValueError(f"the app in this image does not say which MicroPython it is: {_HINT}")
    major, minor, patch, preview = numbers.groups()
    if (int(major), int(minor)) < OLDEST or (preview and (int(major), int(minor), int(patch or 0)) == (*OLDEST, 0)):
        raise ValueError(f"MicroPython {found} is too old, this firmware needs 1.24 or later: {_HINT}")
