"""A real station as a process, at boards that are files: watch, lanes, pool, labels, headless loop are the product's.

A board is two files, its application and its licence, both written in pieces; a port is a link to it. What stands
outside the process is what a hand does: `FileStation` plugs boards in and takes those away that passed.
"""

import json
import multiprocessing
import os
import random
import re
import time
from collections import deque
from pathlib import Path

from factory_lab import TornBoard, mac_of, write_torn

from upeer_factory.errors import NO_BOARD, FactoryError
from upeer_factory.flash.faults import Fault
from upeer_factory.flash.flash import FlashResult, Progress
from upeer_factory.station import config as station_config
from upeer_factory.station.run import run_headless, stopped_by_signals
from upeer_factory.station.station import Station

_APP = bytes(range(256)) * 64
_PIECE = 2048
_PIECE_S = 0.002
_STAYS_S = 0.15
_STATION_FILE = """name = "line-{number}"
pool = "{pool}"
station_key = "{key}"
port_folder = "ports-{number}"
gone_seconds = 0.05
low_stock = 0
[label]
printer = "{printer}"
"""


class AppBoard(TornBoard):
    """A board that answers once its application is whole."""

    def __init__(self, path):
        super().__init__(path, mac_of(int(path.name)))
        self.app = path.with_suffix(".app")

    def has_app(self):
        return self.app.exists() and self.app.read_bytes() == _APP

    def read_mac(self):
        if not self.has_app():
            raise FactoryError(NO_BOARD, f"board {self.name} does not start")
        return super().read_mac()


class AppFlasher:
    """Stands in for esptool: what a flash holds already is not written again."""

    def flash(self, port, on_progress=None, cancel=None):
        board = at_port(port)

        def on_piece(done):
            time.sleep(_PIECE_S)
            if cancel.is_set():
                raise Fault("F11", "", port, "writing")
            on_progress(Progress(port, "writing", "app", done, len(_APP), board.mac))

        sent = 0 if board.has_app() else len(_APP)
        if sent:
            write_torn(board.app, _APP, _PIECE, on_piece)
        return FlashResult(
            port, board.mac, "ESP32", "B", "pin", "1.27", 0.0, sent, sent, len(_APP), (), 1, 460800, "full"
        )


def at_port(port):
    """Return the board that a port leads to now."""
    return AppBoard(Path(os.path.realpath(port)))


class _TellingWatch:
    """The station's watch; puts a row down for each port that is seen to be empty, as the screen shows it."""

    def __init__(self, watch, out):
        self._watch, self._out = watch, out

    def poll(self, now):
        events = self._watch.poll(now)
        for event, port in events:
            self._out.write(json.dumps({"event": event, "port": port}) + "\n")
            self._out.flush()
        return events


def _work(config, rows):
    """The station's process, as `upeer station --headless --json` runs it."""
    file = station_config.load(config)
    with stopped_by_signals() as stop, rows.open("w") as out:
        line = station_config.make_line(file)
        line.flasher, line.make_target = AppFlasher(), at_port
        watch = _TellingWatch(station_config.make_watch(file), out)
        run_headless(Station(line, watch, station_config.make_settings(file)), stop, out=out)
        line.pool.close()
    os._exit(0)


class Printer:
    """A label printer's device; `labels` are the DIDs that were printed, in order."""

    def __init__(self, path):
        self.path, self.labels, self._data = path, [], b""
        os.mkfifo(path)
        self._pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def take(self):
        """Print what has come."""
        try:
            self._data += os.read(self._pipe, 1 << 16)
        except BlockingIOError:
            return
        *whole, self._data = self._data.split(b"^XZ\n")
        self.labels += [re.search(rb"UPEER:([^;]+);", label)[1].decode() for label in whole]

    def close(self):
        os.close(self._pipe)


class FileStation:
    """A station, its folder of ports and the boards that are to pass at it, `numbers` of files in `boards`.

    A board that passed stays for a moment; a station that begins in this moment runs it once more. In one life of
    the station `most` boards are taken away: with that many it `is_held`, until it is killed or all have passed.
    """

    def __init__(self, folder, number, lanes, numbers, printer, factory, most):
        self.number, self.passed, self.lives = number, set(), 0
        self._most, self._taken = most, 0
        self._folder, self._boards = folder, folder / "boards"
        self._ports = folder / f"ports-{number}"
        self._ports.mkdir()
        self._config = folder / f"station-{number}.toml"
        fields = {"number": number, "pool": factory.url, "key": factory.key_file, "printer": printer.path}
        self._config.write_text(_STATION_FILE.format(**fields))
        self._waiting, self._numbers = deque(numbers), set(numbers)
        self._empty = {str(self._ports / f"lane-{lane}") for lane in range(lanes)}
        self._plugged, self._leaving = {}, {}
        self._chance = random.Random(number)
        self._fill(self._empty)
        self.start()

    @property
    def is_done(self):
        return self.passed == self._numbers

    @property
    def is_held(self):
        """In this life no more boards are taken away."""
        return self._taken >= self._most

    @property
    def counters(self):
        """The station's own count of the day."""
        return json.loads((self._folder / f"line-{self.number}.counters.json").read_text())

    def start(self):
        """Start the station; whatever is at its ports is its to find out."""
        self.lives += 1
        self._taken = 0
        self.rows = []
        self._rows_file = self._folder / f"rows-{self.number}-{self.lives}"
        self._rows_file.touch()
        self._reader, self._torn = self._rows_file.open(), ""  # a row of which the end is not written yet
        process = multiprocessing.get_context("fork").Process
        self.process = process(target=_work, args=(self._config, self._rows_file))
        self.process.start()

    def look(self):
        """Read what the station says; take away what passed, and fill ports that it has seen to be empty."""
        *whole, self._torn = (self._torn + self._reader.read()).split("\n")
        for text in whole:
            row = json.loads(text)
            self.rows.append(row)
            if row["event"] == "run":
                self._heed(row)
            elif row["event"] == "unplugged":
                self._fill({row["port"]})
        for port in [port for port, when in self._leaving.items() if time.monotonic() > when]:
            if not self.is_held:
                self._take_away(port)

    def kill(self):
        """SIGKILL; what the dead station no longer sees is done meanwhile."""
        self.process.kill()
        self.process.join()
        self.look()
        self._reader.close()
        self._leaving.clear()
        self._fill(set(self._empty))

    def stop(self, seconds):
        """SIGTERM; return the exit code."""
        self.process.terminate()
        self.process.join(seconds)
        self.look()
        self._reader.close()
        return self.process.exitcode

    def _heed(self, row):
        assert row["ok"], row
        number = self._plugged.get(row["port"])
        if number is not None and mac_of(number) == row["mac"]:
            self._leaving[row["port"]] = time.monotonic() + self._chance.uniform(0, _STAYS_S)

    def _take_away(self, port):
        del self._leaving[port]
        self._taken += 1
        Path(port).unlink()
        self.passed.add(self._plugged.pop(port))
        self._empty.add(port)

    def _fill(self, ports):
        for port in sorted(ports & self._empty):
            if self._waiting:
                number = self._plugged[port] = self._waiting.popleft()
                board = self._boards / str(number)
                board.touch()
                Path(port).symlink_to(board)
                self._empty.discard(port)
