"""The station's own work at eight lanes: boards per hour with flashing and boards that take no time, and how long the
screen's thread is ever kept from drawing. Pool, records and cryptography are the real ones, on SQLite.

A lane that flashes for 20 s makes 180 boards an hour, eight lanes 1440: that much the station must do, and draw 5
times a second meanwhile.
"""

import sys
import tempfile
import time
from pathlib import Path

from figures import report

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))

import factory_lab
from factory_lab import FileBoard, mac_of

from upeer_factory.flash.flash import FlashResult
from upeer_factory.station.keys import Keys
from upeer_factory.station.lane import Line
from upeer_factory.station.screen import render
from upeer_factory.station.station import Settings, Station
from upeer_factory.station.watch import Watch

_LANES = 8
_BOARDS = 50  # per lane


class _Feeder:
    """Boards that come one after the other at every lane: each flashes at once and is a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = dict.fromkeys(range(1, _LANES + 1), 0)

    def mac(self, port: str) -> str:
        lane = int(port.rpartition("-")[2])
        return mac_of(lane << 16 | self._count[lane])

    def flash(self, port: str, on_progress: object = None, cancel: object = None) -> FlashResult:
        del on_progress, cancel
        self._count[int(port.rpartition("-")[2])] += 1
        return FlashResult(port, self.mac(port), "ESP32", "B", "pin", "1.27", 0, 0, 0, 0, (), 1, 0, "skip-flashed")

    def target(self, port: str) -> FileBoard:
        return FileBoard(self._folder / f"{port}.flash", self.mac(port))


def main() -> None:
    """Run the station and tell both figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        factory = factory_lab.make_factory(folder, licences=_LANES * _BOARDS + 1)
        feeder = _Feeder(folder)
        line = Line(factory.pool, feeder, make_target=feeder.target)
        names = [f"port-{number}" for number in range(1, _LANES + 1)]
        station = Station(line, Watch(folder=folder / "none"), Settings("bench", state_file=folder / "counters"), names)
        seconds, slowest_ms = _run(station)
        station.close()
        factory.pool.close()
    per_hour = _LANES * _BOARDS * 3600 / seconds
    report("station_line", per_hour)
    report("station_draws", 1000 / slowest_ms)


def _run(station: Station) -> tuple[float, float]:
    """Run every lane's boards; return (seconds, milliseconds of the slowest round of pump and drawing)."""
    from rich.console import Console

    keys, done, slowest = Keys(lambda _text: False), dict.fromkeys(range(1, _LANES + 1), 0), 0.0
    console = Console(file=open("/dev/null", "w"), width=120, height=40)  # noqa: SIM115 - nobody looks
    began = time.monotonic()
    for lane in station.lanes:
        lane.handle("plugged", 0.0)
    drawn = 0.0
    while sum(done.values()) < _LANES * _BOARDS:
        round_began = time.monotonic()
        for outcome in station.pump(0.01):
            assert outcome.ok, outcome
            done[outcome.lane] += 1
            if done[outcome.lane] < _BOARDS:
                station.lanes[outcome.lane - 1].handle("plugged", 0.0)
        if time.monotonic() - drawn > 0.15:
            console.print(render(station, keys, 120))
            drawn = time.monotonic()
        slowest = max(slowest, time.monotonic() - round_began)
    return time.monotonic() - began, slowest * 1000


if __name__ == "__main__":
    main()
