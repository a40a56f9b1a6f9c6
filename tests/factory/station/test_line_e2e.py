"""The line from end to end: real esptool flashes, real MicroPython boots what was flashed, real mpremote proves it.

Boards are `line_board.LineBoard`s on a folder of ports, the station is a process. `UPEER_SOAK_STATIONS`,
`UPEER_SOAK_BOARDS` and `UPEER_SOAK_KILLS` make the last test larger (`make soak`).
"""

import contextlib
import os
import random
import threading
import time
from pathlib import Path

import pytest
from line_operator import Operator
from station_lab import StationLab, children_of, label_printer, licence_of

from upeer_factory.pool import audit

pytestmark = pytest.mark.usefixtures("micropython")
_BOARDS = int(os.environ.get("UPEER_SOAK_BOARDS", "3"))
_KILLS = int(os.environ.get("UPEER_SOAK_KILLS", "5"))
_STATIONS = int(os.environ.get("UPEER_SOAK_STATIONS", "1"))
_KILLED = 2  # of the stations
_PATIENCE_S = 60 + 10 * _BOARDS
_SELFTEST = "[selftest]\nmin_aps = 1\n"


@pytest.fixture
def lab(tmp_path):
    made = StationLab(tmp_path)
    yield made
    made.factory.pool.close()


def programs():
    """Return the command lines of all processes, as bytes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes())
    return found


def test_board_comes_blank_and_leaves_proved(lab):
    with lab.board(1) as board:
        with lab.station() as station:
            first = station.wait_for_pass([board.mac])[-1]
            assert (first["mac"], first["again"], first["code"]) == (board.mac, False, "")
            assert station.stop() == 0, station.story
        with lab.station("--runs", "1") as station:
            assert station.finish() == 0, station.story
    again = station.runs[-1]
    assert (again["ok"], again["again"], again["did"], again["bytes_written"]) == (True, True, first["did"], 0)
    lab.check([board])
    events = [row["event"] for row in audit.entries(lab.factory.pool.database)][2:]
    assert events == ["flashed", "reserved", "burned", "passed", "flashed", "proved again", "passed"]


def test_three_boards_at_once_with_selftest_and_labels(tmp_path):
    with label_printer() as (address, labels):
        lab = StationLab(tmp_path, extra=f'{_SELFTEST}[label]\nprinter = "{address}"\n')
        seen, done = set(), threading.Event()
        watcher = threading.Thread(
            target=lambda: [seen.update(programs()) for _ in iter(lambda: done.wait(0.02), True)]
        )
        with lab.board(1) as one, lab.board(2) as two, lab.board(3) as three, lab.station() as station:
            boards = [one, two, three]
            watcher.start()
            runs = station.wait_for_pass([board.mac for board in boards])
            station.stop()
            done.set()
            watcher.join()
        held = lab.check(boards)
        assert {name for run in runs for name in run["selftest"]} == {"flash", "ram", "clock", "rng", "wifi"}
        assert len({run["lane"] for run in runs}) == 3
        assert len(labels) == 3 and all(any(did.encode() in label for label in labels) for did in held.values())
        _no_secret(lab, boards, [repr(station.rows).encode(), station.errors.encode(), *seen])
        signed = [row for row in audit.entries(lab.factory.pool.database) if row["event"] == "burned"]
        assert all(row["selftest"]["tag"] and '"ok": true' in row["selftest"]["result"] for row in signed)
        lab.factory.pool.close()


def _no_secret(lab, boards, texts):
    """No licence key, platform key or setup code is in what the station printed, in argv or in a file it leaves."""
    own = (lab.factory.folder / "shop", lab.ports, *(board.folder for board in boards))
    files = [
        path for path in lab.folder.rglob("*") if path.is_file() and not any(path.is_relative_to(at) for at in own)
    ]
    texts = texts + [path.read_bytes() for path in files if path != lab.factory.key_file]
    for board in boards:
        record = licence_of(board)
        for name in ("licence_key", "setup_code", "crc_key", "p2p_key"):
            for secret in (record[name], record[name].hex().encode()):
                assert not any(secret in text for text in texts), f"{name} shows"


@pytest.mark.parametrize(
    "pull",
    [
        {"SYNC": 1}, {"MEM_DATA": 1}, {"FLASH_DEFL_DATA": 3}, {"SPI_FLASH_MD5": 4},
        {"REPL": 2}, {"REPL": 4}, {"REPL": 6}, {"REPL": 12},
    ],
    ids=lambda pull: "-".join(f"{name}-{number}" for name, number in pull.items()),
)  # fmt: skip
def test_pulled_cable_costs_one_retry(lab, pull):
    with lab.board(1, pull=pull, replug=0.6) as board, lab.station() as station:
        runs = station.wait_for_pass([board.mac])
        station.stop()
    assert len(runs) <= 2 and board.pulls == 1, runs
    lab.check([board])
    assert lab.factory.pool.status().free == 5


def test_board_swapped_after_flashing_is_noticed(lab):
    with lab.board(1) as first, lab.board(2) as second:
        with lab.station() as station:
            station.wait_for_pass([first.mac, second.mac])
            station.stop()
        before = lab.factory.pool.status()
        other = lab.ports.parent / "swapped"
        other.mkdir()
        port = other / "port"
        port.symlink_to(first.link)
        stop = threading.Event()

        def swap():
            count = len(first.commands)
            while "SPI_FLASH_MD5" not in first.commands[count:] and not stop.wait(0.005):
                pass
            scratch = other / "new"
            scratch.symlink_to(second.link)
            scratch.replace(port)

        thread = threading.Thread(target=swap)
        thread.start()
        text = lab.config.read_text().replace('port_folder = "ports"', f'ports = ["{port}"]')
        lab.config.write_text(text)
        with lab.station("--runs", "1") as station:
            assert station.finish() == 1, station.story
        stop.set()
        thread.join()
    assert (station.runs[0]["ok"], station.runs[0]["code"]) == (False, "E21")
    assert lab.factory.pool.status().burned == before.burned
    lab.check([first, second])


@pytest.mark.parametrize("wanted", ["SYNC", "FLASH_DEFL_DATA", "REPL"])
def test_term_ends_the_station_and_all_it_started(lab, wanted):
    with lab.board(1) as board, lab.station() as station:
        station.wait_for(lambda _runs: wanted in board.commands)
        below = children_of(station.process.pid)
        assert station.stop() == 0, station.story
        assert below and not [pid for pid in below if Path(f"/proc/{pid}").exists()]
        with lab.station("--runs", "1") as again:
            assert again.finish() == 0, again.story
    lab.check([board])


def test_empty_pool_stops_nothing_and_says_what_to_do(tmp_path):
    lab = StationLab(tmp_path, licences=1)
    with lab.board(1) as one, lab.board(2) as two, lab.station("--runs", "2") as station:
        assert station.finish() == 1, station.story
    by_ok = {run["ok"]: run for run in station.runs}
    assert (by_ok[False]["code"], by_ok[False]["hint"]) == ("E10", "import more licences with 'upeer pool import'")
    lab.check([one if one.mac == by_ok[True]["mac"] else two])
    lab.factory.pool.close()


def test_killed_again_and_again(tmp_path, pool_url):
    """SIGKILL at random points; the next station goes on by itself. No licence twice, none lost, the chain is whole.

    A board that is done leaves its port to a new one, so that every kill meets boards at all stages. Of several
    stations two are killed, and the others work on.
    """
    chance = random.Random(20261122)
    lab = StationLab(tmp_path, pool_url, licences=_BOARDS * (3 * _KILLS + 4), stations=_STATIONS)
    with contextlib.ExitStack() as stack:
        stations = {number: stack.enter_context(lab.station(number=number)) for number in range(1, _STATIONS + 1)}
        operator = Operator(lab, stack, stations, _BOARDS)
        for _ in range(_KILLS):
            number = chance.randint(1, min(_STATIONS, _KILLED))
            _let_work(stations[number], operator, chance)
            stations[number].kill()
            stations[number] = stack.enter_context(lab.station(number=number))
        operator.finish(60 + 10 * _BOARDS)
        for station in stations.values():
            assert station.stop() == 0, station.story
    lab.check_records(operator.records)
    assert len(operator.records) == len(operator.boards) >= _BOARDS
    print(f"{len(operator.boards)} boards, {_STATIONS} stations, {_KILLS} kills, repeats {dict(operator.failures)}")
    lab.factory.pool.close()


def _let_work(station, operator, chance):
    """Let a station work for a random time, half of the times until a board has ended."""
    station.wait_for(lambda _runs: station.rows, _PATIENCE_S, operator.look_after)
    if chance.random() < 0.5:
        station.wait_for(lambda runs: runs, _PATIENCE_S, operator.look_after)
    end = time.monotonic() + chance.uniform(0.1, 2.5)
    station.wait_for(lambda _runs: time.monotonic() > end, _PATIENCE_S, operator.look_after)
