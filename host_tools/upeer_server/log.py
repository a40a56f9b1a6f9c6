"""Structured logs: one event a line, as text or JSON, without secrets. Bytes are never written, only their count."""

import json
import sys
import time
from typing import Any, TextIO

_MAX_TEXT = 200


class Log:
    """Writes events to a stream, stderr by default; a reader that has gone away harms nobody."""

    def __init__(self, json_lines: bool = False, stream: TextIO | None = None) -> None:
        self._json_lines = json_lines
        self._stream = stream or sys.stderr

    def __call__(self, event: str, **fields: Any) -> None:
        """Write one event with its fields."""
        now = time.time()
        plain = {name: _plain(value) for name, value in fields.items()}
        if self._json_lines:
            line = json.dumps({"time": round(now, 3), "event": event} | plain)
        else:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
            line = " ".join([stamp, event, *(f"{name}={_word(value)}" for name, value in plain.items())])
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return


def fault_place(error: BaseException) -> str:
    """Return where an exception was raised, as file:line; its text may quote data and stays out of logs."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "?"
    return f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if isinstance(value, int | float | bool) or value is None:
        return value
    return " ".join(str(value).split())[:_MAX_TEXT]


def _word(value: Any) -> str:
    text = str(value)
    return json.dumps(text) if " " in text or not text else text
