"""What every command shares: errors as one plain line, `--json` reports, help examples and progress bars.

An expected failure is a `UserError`, an `OSError` or a `ProtocolError`; it becomes one line on stderr and an exit code.
"""

import errno
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from upeer_cli import exit_codes

_PROGRESS_AFTER_SECONDS = 2.0

_ERRNO_CODES = {
    errno.ENOSPC: exit_codes.NO_RESOURCE,
    errno.EDQUOT: exit_codes.NO_RESOURCE,
    errno.ENOMEM: exit_codes.NO_RESOURCE,
    errno.EMFILE: exit_codes.NO_RESOURCE,
    errno.ENOBUFS: exit_codes.NO_RESOURCE,
    errno.ECONNREFUSED: exit_codes.UNREACHABLE,
    errno.EHOSTUNREACH: exit_codes.UNREACHABLE,
    errno.ENETUNREACH: exit_codes.UNREACHABLE,
    errno.ETIMEDOUT: exit_codes.TIME_OUT,
}

_ERRNO_HINTS = {
    errno.ENOSPC: "free some space and run the command again",
    errno.EADDRINUSE: "stop the program that uses it, or choose another address or port",
    errno.EACCES: "check who owns it and its permissions",
    errno.ENOENT: "check the path",
}

_Function = TypeVar("_Function", bound=Callable[..., Any])


class UserError(Exception):
    """An expected failure: shown as one line, never with a stack trace.

    message says what is wrong; hint says what to do next; code is one of `exit_codes`.
    """

    def __init__(self, message: str, hint: str | None = None, code: int = exit_codes.FAILURE) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code


def examples(*lines: str) -> str:
    """Return an epilog with one example per line: `@click.command(epilog=examples("upeer ping ABCD-000001-GHKLM"))`."""
    return "\b\nExamples:\n" + "\n".join("  " + line for line in lines)


def json_option(function: _Function) -> _Function:
    """Add `--json` to a command; the function gets it as `json_mode`."""
    return click.option("--json", "json_mode", is_flag=True, help="Print one JSON document on stdout.")(function)


def report(data: Any, json_mode: bool, human: str | Callable[[], str] | None = None) -> None:
    """Print data as JSON in json_mode, otherwise the text that human is (or returns)."""
    if json_mode:
        click.echo(json.dumps(data, indent=2, sort_keys=True, default=_plain))
        return
    text = human() if callable(human) else human
    if text is not None:
        click.echo(text)


def fail(error: UserError) -> int:
    """Print an expected failure as one line on stderr and return its exit code."""
    line = one_line(error.message)
    if error.hint:
        line = f"{line.removesuffix('.')}; {one_line(error.hint)}"
    click.echo("upeer: " + line, err=True)
    return error.code


def as_user_error(error: BaseException) -> UserError | None:
    """Return the UserError that an expected exception stands for, None for one that nobody expected.

    A library's own error may carry `exit_code` and `hint`; both are used.
    """
    if isinstance(error, UserError):
        return error
    code = getattr(error, "exit_code", None)
    if isinstance(code, int):
        return UserError(str(error) or type(error).__name__, getattr(error, "hint", None), code)
    if isinstance(error, TimeoutError):
        return UserError(str(error) or "no answer in time", code=exit_codes.TIME_OUT)
    if isinstance(error, OSError):
        return _from_os_error(error)
    if _is_protocol_error(error):
        return UserError(str(error) or type(error).__name__)
    return None


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Yield `advance(byte_count)`: a bar on stderr, only on a terminal and only when the work takes longer than 2 s."""
    if not sys.stderr.isatty():
        yield lambda _count: None
        return
    bar = _LateBar(label, total)
    try:
        yield bar.advance
    finally:
        bar.stop()


def one_line(text: str) -> str:
    """Return text with every run of white space, line breaks too, made one space."""
    return " ".join(text.split())


class _LateBar:
    """A rich progress bar that shows itself two seconds after the start."""

    def __init__(self, label: str, total: int | None) -> None:
        self._label = label
        self._total = total
        self._done = 0
        self._start = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def advance(self, count: int) -> None:
        self._done += count
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done)
        elif time.monotonic() - self._start >= _PROGRESS_AFTER_SECONDS:
            self._show()

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(self._label, total=self._total, completed=self._done)
        self._bar.start()


def _from_os_error(error: OSError) -> UserError:
    text = error.strerror or str(error) or type(error).__name__
    if error.filename is not None:
        text = f"{text}: {error.filename}"
    number = error.errno if error.errno is not None else 0
    return UserError(text, _ERRNO_HINTS.get(number), _ERRNO_CODES.get(number, exit_codes.FAILURE))


def _is_protocol_error(error: BaseException) -> bool:
    """Tell whether error is the core's ProtocolError, without importing the core for commands that need none of it."""
    return any(base.__name__ == "ProtocolError" and base.__module__.startswith("upeer") for base in type(error).__mro__)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    return str(value)
