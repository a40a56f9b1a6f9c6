"""Runs a station until it is told to stop: on a terminal with keys, or headless with one JSON line per run."""

import json
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from upeer_factory.station.keys import ESCAPE, Keys
from upeer_factory.station.lane import STEPS
from upeer_factory.station.station import Station

_DRAW_SECONDS = 0.15
_PUMP_SECONDS = 0.05
_STEPS = {"retry": STEPS, "flash only": ("flash",), "burn only": ("burn",)}


class Stop:
    """Set by SIGTERM and Ctrl-C."""

    def __init__(self) -> None:
        self.is_set = False

    def __call__(self, *_signal: Any) -> None:
        self.is_set = True


@contextmanager
def stopped_by_signals() -> Iterator[Stop]:
    """Let SIGTERM, SIGHUP and Ctrl-C end the station in good order."""
    stop = Stop()
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def run_headless(station: Station, stop: Stop, runs: int = 0, out: TextIO = sys.stdout) -> int:
    """Print each run that ended as one JSON line; end after so many runs (0: never). Return how many failed."""
    count = failed = 0
    efuses = {"efuses": station.line.efuses} if station.line.efuses else {}
    _print(out, {"event": "started", "station": station.settings.name, **efuses, **station.stats.as_dict()})
    was_low = False
    while not stop.is_set and not (runs and count >= runs):
        for outcome in station.pump(0.1):
            count += 1
            failed += not outcome.ok
            _print(out, outcome.as_dict())
        if station.is_low != was_low:
            was_low = station.is_low
            _print(out, {"event": "low stock" if was_low else "stock", "free": station.stock and station.stock.free})
    for outcome in station.close():
        failed += not outcome.ok
        _print(out, outcome.as_dict())
    _print(out, {"event": "stopped", **station.stats.as_dict()})
    return failed


def _print(out: TextIO, row: dict[str, Any]) -> None:
    out.write(json.dumps(row) + "\n")
    out.flush()


def run_screen(station: Station, keys: Keys, stop: Stop) -> None:
    """Draw the station on the terminal and obey its keys, until q or a signal."""
    from rich.console import Console
    from rich.live import Live

    from upeer_factory.station.screen import render

    console = Console()
    options: dict[str, Any] = {"console": console, "screen": True, "auto_refresh": False}
    with _one_key_at_a_time() as read_keys, Live(render(station, keys, console.width), **options) as live:
        drawn = 0.0
        while not stop.is_set:
            station.pump(_PUMP_SECONDS)
            for key in read_keys():
                obey(station, keys, keys.press(key, time.monotonic()), stop)
            if time.monotonic() - drawn > _DRAW_SECONDS:
                drawn = time.monotonic()
                live.update(render(station, keys, console.width), refresh=True)
        keys.message = "stopping"
        live.update(render(station, keys, console.width), refresh=True)
        station.close()


def obey(station: Station, keys: Keys, action: str | None, stop: Stop) -> None:
    """Do what a key asks for; what cannot be done is told in the screen's last line."""
    if action is None:
        return
    if action == "quit":
        stop()
    elif action == "start or stop":
        station.is_on = not station.is_on
    elif action == "label again":
        keys.message = "printing" if station.reprint(keys.selected) else "no label to print again"
    elif keys.selected > len(station.lanes):
        keys.message = f"there is no lane {keys.selected}"
    elif action in _STEPS and not station.retry(keys.selected, _STEPS[action]):
        keys.message = f"lane {keys.selected} has no board, or is at work"
    elif action == "scrap":
        done = station.scrap(keys.selected, "scrapped at the station")
        keys.message = "scrapping: see the log" if done else "no board known at this lane"


@contextmanager
def _one_key_at_a_time() -> Iterator[Callable[[], str]]:
    """Put the terminal into a mode without echo; yield a function that returns the keys typed since."""
    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    tty.setcbreak(number)
    try:
        yield lambda: _typed(number)
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)


def _typed(number: int) -> str:
    """Return what was typed, without the escape sequences of arrows and the like."""
    if not select.select([number], [], [], 0)[0]:
        return ""
    text = os.read(number, 256).decode("utf-8", "ignore")
    return "" if text.startswith(ESCAPE) and len(text) > 1 else text
