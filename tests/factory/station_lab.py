"""A production line for tests: recipe, pool, stations' files, boards on folders of ports, stations as processes."""

import atexit
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import factory_lab
import line
from line_board import LineBoard

from upeer_board import boards, fctry, image
from upeer_factory.pool import audit

UPEER = [sys.executable, "-m", "upeer_cli.main"]


class StationLab:
    """Everything stations need, in one folder; `factory.pool` is the pool they take licences from.

    Each of the `stations` has its file and its folder of ports: `config` and `ports` are the first one's.
    """

    def __init__(self, folder, pool_url=None, licences=6, extra="", recipe=None, stations=1):
        self.folder = folder
        self.factory = factory_lab.make_factory(folder, pool_url, licences)
        recipe, pin = recipe or _recipe()
        self.recipe_options = ["--recipe", str(recipe), "--pin", pin]
        pool = self.factory.url if pool_url else "pool"
        shared = f'recipe = "{recipe}"\npin = "{pin}"\npool = "{pool}"\n'
        shared += f'station_key = "{self.factory.key_file.name}"\ngone_seconds = 0.2\n'
        for number in range(1, stations + 1):
            self.ports_of(number).mkdir()
            own = f'name = "line-{number}"\nport_folder = "{self.ports_of(number).name}"\n'
            self.config_of(number).write_text(own + shared + extra)
        self.config, self.ports = self.config_of(1), self.ports_of(1)

    def config_of(self, station):
        """Return the file of a station."""
        return self.folder / ("station.toml" if station == 1 else f"station-{station}.toml")

    def ports_of(self, station):
        """Return the folder of a station's ports."""
        return self.folder / ("ports" if station == 1 else f"ports-{station}")

    def board(self, number, port=None, station=1, **options):
        """Return a factory-new board, for the port of its number unless it is to be another."""
        folder = self.folder / f"board-{number}"
        link = self.ports_of(station) / f"port-{port or number}"
        return LineBoard(folder, link, factory_lab.mac_of(number), **options)

    def upeer(self, *arguments):
        """Run a command to its end."""
        return subprocess.run([*UPEER, *arguments], capture_output=True, text=True, check=False, timeout=300)

    def station(self, *options, number=1):
        """Start a headless station."""
        return RunningStation(self.config_of(number), options)

    def check(self, boards):
        """Every board holds its own licence, the pool tells the same, the chain is whole; return {MAC: DID}."""
        for board in boards:
            assert not board.crashes, board.crashes
        return self.check_records({board.mac: licence_of(board) for board in boards})

    def check_records(self, records):
        """The same of what the boards were found to hold, {MAC: record}; there are no others."""
        summary = audit.verify(self.factory.pool.database, self.factory.pool.key)
        keys = {item.did: item.licence_key for item in self.factory.licences}
        held = {}
        for mac, record in records.items():
            entry = self.factory.pool.find(mac)
            assert (entry.did, entry.state) == (record["did"], "burned")
            assert record["licence_key"] == keys[entry.did]
            held[mac] = entry.did
        assert len(set(held.values())) == len(records), "a licence was given twice"
        status = self.factory.pool.status()
        assert status.free + status.reserved + status.burned + status.scrapped == len(self.factory.licences)
        assert (status.reserved, status.burned, summary.burned) == (0, len(records), len(records))
        return held


@cache
def _recipe():
    """Return a recipe for the whole process: little MicroPython, the whole firmware and one small app."""
    made = tempfile.TemporaryDirectory(prefix="upeer-line-")
    atexit.register(made.cleanup)
    return make_recipe(Path(made.name), "ESP32_GENERIC")


def for_unix_port(board):
    """Return a chip's board whose heap limit is on the scale of the unix port, which boots it here."""
    return replace(board, limits=board.limits | {"heap_limit": boards.load_board("UNIX").limits["heap_limit"]})


def make_recipe(folder, board_name, micropython=None):
    """Write a recipe whose application is an image that was built; return (path, pin)."""
    board = boards.load_board(board_name)
    path, _ = line.write_recipe(folder, board_name=board.name, micropython=micropython)
    image.build(board if micropython else for_unix_port(board), folder / "image", image.Options(app=folder / "app"))
    built = line.sha256((folder / "image" / "image.json").read_bytes())
    fields = f'image = "image"\nsha256 = "{built}"\n'
    text = re.sub(r'source = "app"\nsha256 = ".*"\n', fields, path.read_text())
    path.write_text(text)
    return path, line.sha256(text.encode())


def licence_of(board):
    """Return the licence record in a board's flash."""
    row = boards.load_board("ESP32_GENERIC").partitions["fctry"]
    return fctry.decode_image(board.flash()[row.offset : row.offset + row.size])[0]


def children_of(pid):
    """Return the processes that a process started and that are alive."""
    done = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(text) for text in done.stdout.split()]


@contextlib.contextmanager
def label_printer():
    """Listen where a label printer would; yield (address, labels so far)."""
    labels = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        done = threading.Event()

        def work():
            while not done.is_set():
                with contextlib.suppress(TimeoutError):
                    line, _ = listener.accept()
                    with line:
                        labels.append(line.makefile("rb").read())

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}", labels
        finally:
            done.set()
            thread.join()


class RunningStation:
    """A headless station as a process; `rows` are its JSON lines so far."""

    def __init__(self, config, options=()):
        self.rows, self.errors = [], ""
        command = [*UPEER, "station", "--config", str(config), "--headless", "--json", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read, self._read_errors)]
        for thread in self._threads:
            thread.start()

    def _read(self):
        for text in self.process.stdout:
            self.rows.append(json.loads(text))

    def _read_errors(self):
        for text in self.process.stderr:
            self.errors += text

    @property
    def runs(self):
        """The boards that ended, in order."""
        return [row for row in self.rows if row["event"] == "run"]

    @property
    def story(self):
        """What the station told so far, for the message of an assertion."""
        return f"exit code {self.process.poll()}, rows {self.rows}, errors {self.errors!r}"

    def wait_for(self, condition, seconds=60, meanwhile=lambda: None):
        """Wait until `condition(runs)` holds; `meanwhile` is called again and again."""
        end = time.monotonic() + seconds
        while not condition(self.runs):
            assert self.process.poll() is None, f"the station ended: {self.story}"
            assert time.monotonic() < end, f"only this came: {self.story}"
            meanwhile()
            time.sleep(0.02)
        return self.runs

    def wait_for_pass(self, macs, seconds=60):
        """Wait until all these boards have passed."""
        return self.wait_for(lambda runs: set(macs) <= {run["mac"] for run in runs if run["ok"]}, seconds)

    def kill(self):
        """SIGKILL, as a power cut does it."""
        self.process.send_signal(signal.SIGKILL)
        self.finish(20)

    def stop(self, seconds=20):
        """SIGTERM; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.finish(seconds)

    def finish(self, seconds=60):
        """Wait for the station's end and for all that it printed; return the exit code."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the station did not end in {seconds} s: {self.story}") from None
        for thread in self._threads:
            thread.join(5)
        return self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)
            self.finish(20)
