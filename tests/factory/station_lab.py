"""A production line for tests: recipe, pool, station file, boards on a folder of ports, the station as a process."""

import atexit
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from functools import cache
from pathlib import Path

import factory_lab
import line
from line_board import LineBoard

from upeer_board import boards, fctry, image
from upeer_factory import audit

UPEER = [sys.executable, "-m", "upeer_cli.main"]


class StationLab:
    """Everything a station needs, in one folder; `factory.pool` is the pool it takes licences from."""

    def __init__(self, folder, pool_url=None, licences=6, extra="", recipe=None):
        self.folder = folder
        self.factory = factory_lab.make_factory(folder, pool_url, licences)
        recipe, pin = recipe or _recipe()
        self.recipe_options = ["--recipe", str(recipe), "--pin", pin]
        self.ports = folder / "ports"
        self.ports.mkdir()
        self.config = folder / "station.toml"
        self.config.write_text(
            f"""name = "line-1"
recipe = "{recipe}"
pin = "{pin}"
pool = "{self.factory.url if pool_url else "pool"}"
station_key = "{self.factory.key_file.name}"
port_folder = "ports"
gone_seconds = 0.2
{extra}"""
        )

    def board(self, number, port=None, **options):
        """Return a factory-new board, for the port of its number unless it is to be another."""
        folder = self.folder / f"board-{number}"
        return LineBoard(folder, self.ports / f"port-{port or number}", factory_lab.mac_of(number), **options)

    def upeer(self, *arguments):
        """Run a command to its end."""
        return subprocess.run([*UPEER, *arguments], capture_output=True, text=True, check=False, timeout=300)

    def station(self, *options):
        """Start a headless station."""
        return RunningStation(self.config, options)

    def check(self, boards):
        """Every board holds its own licence, the pool tells the same, the chain is whole."""
        summary = audit.verify(self.factory.pool.database, self.factory.pool.key)
        held = {}
        for board in boards:
            assert not board.crashes, board.crashes
            record = licence_of(board)
            entry = self.factory.pool.find(board.mac)
            assert (entry.did, entry.state) == (record["did"], "burned")
            secret = next(item for item in self.factory.licences if item.did == entry.did)
            assert record["licence_key"] == secret.licence_key
            held[board.mac] = record["did"]
        assert len(set(held.values())) == len(boards), "a licence was given twice"
        status = self.factory.pool.status()
        assert status.free + status.reserved + status.burned + status.scrapped == len(self.factory.licences)
        assert (status.reserved, status.burned, summary.burned) == (0, len(boards), len(boards))
        return held


@cache
def _recipe():
    """Return a recipe for the whole process: little MicroPython, the whole firmware and one small app."""
    made = tempfile.TemporaryDirectory(prefix="upeer-line-")
    atexit.register(made.cleanup)
    return make_recipe(Path(made.name), "ESP32_GENERIC")


def make_recipe(folder, board_name, micropython=None):
    """Write a recipe whose application is an image that was built; return (path, pin)."""
    board = boards.load_board(board_name)
    path, _ = line.write_recipe(folder, board_name=board.name, micropython=micropython)
    image.build(board, folder / "image", image.Options(app=folder / "app"))
    built = line.sha256((folder / "image" / "image.json").read_bytes())
    fields = f'image = "image"\nsha256 = "{built}"\n'
    text = re.sub(r'source = "app"\nsha256 = ".*"\n', fields, path.read_text())
    path.write_text(text)
    return path, line.sha256(text.encode())


def licence_of(board):
    """Return the licence record in a board's flash."""
    row = boards.load_board("ESP32_GENERIC").partitions["fctry"]
    return fctry.decode_image(board.flash()[row.offset : row.offset + row.size])[0]


class RunningStation:
    """A headless station as a process; `rows` are its JSON lines so far."""

    def __init__(self, config, options=()):
        self.rows = []
        command = [*UPEER, "station", "--config", str(config), "--headless", "--json", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read, self._read_errors)]
        self.errors = ""
        for thread in self._threads:
            thread.start()

    def _read(self):
        for text in self.process.stdout:
            self.rows.append(json.loads(text))

    def _read_errors(self):
        self.errors = self.process.stderr.read()

    @property
    def runs(self):
        """The boards that ended, in order."""
        return [row for row in self.rows if row["event"] == "run"]

    def wait_for(self, condition, seconds=60):
        """Wait until `condition(runs)` holds."""
        end = time.monotonic() + seconds
        while not condition(self.runs):
            assert self.process.poll() is None, f"the station ended: {self.errors}"
            assert time.monotonic() < end, f"only this came: {self.rows}"
            time.sleep(0.02)
        return self.runs

    def wait_for_pass(self, macs, seconds=60):
        """Wait until all these boards have passed."""
        return self.wait_for(lambda runs: set(macs) <= {run["mac"] for run in runs if run["ok"]}, seconds)

    def kill(self):
        """SIGKILL, as a power cut does it."""
        self.process.send_signal(signal.SIGKILL)
        self._end()

    def stop(self, seconds=20):
        """SIGTERM; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self._end(seconds)

    def _end(self, seconds=20):
        try:
            return self.process.wait(seconds)
        finally:
            for thread in self._threads:
                thread.join(5)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)
            self._end()
