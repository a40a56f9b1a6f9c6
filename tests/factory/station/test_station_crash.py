"""SIGKILL of whole stations at random points: eight of four lanes each, two of them killed and started again and again,
until 500 boards are through; on both databases.

Afterwards no licence is at two boards, none is lost, the chain is valid, and labels and counters are what
docs/factory.md promises.
"""

import random
import time
from collections import Counter, defaultdict

import factory_lab
import pytest
from factory_lab import mac_of
from file_station import AppBoard, FileStation, Printer

from upeer_factory.pool import audit

BOARDS = 500
SPARE = 7
STATIONS = 8
LANES = 4
KILLED = 2
MOST_A_LIFE = 3
LEAST_KILLS = BOARDS // STATIONS // MOST_A_LIFE
_LIMIT_S = 280  # it takes a tenth of that; only a hang ends there


class Killer:
    """Kills a station at a random time after it began, or after so many rows: each life may end anywhere.

    It gets MOST_A_LIFE boards through in a life at most: on a fast machine too it is killed often.
    """

    def __init__(self, station, chance):
        self._station, self._chance = station, chance
        self.kills = 0
        self._plan()

    def _plan(self):
        self._rows_wanted = self._chance.choice((0, 0, 1, 2, 4, 8, 12))
        self._pause_s = self._chance.uniform(0, 0.3)
        self._due = None

    def look(self):
        """Kill and start anew when it is time."""
        if self._station.is_done:
            return
        if self._due is None and (self._station.is_held or len(self._station.rows) >= self._rows_wanted):
            self._due = time.monotonic() + self._pause_s
        if self._due is not None and time.monotonic() >= self._due:
            self._station.kill()
            self.kills += 1
            self._station.start()
            self._plan()


def _run_line(stations, killers, printer):
    """Work at all stations until every board has passed."""
    end = time.monotonic() + _LIMIT_S
    while not all(station.is_done for station in stations):
        printer.take()
        for worker in (*stations, *killers):
            worker.look()
        for station in stations:
            assert station.process.is_alive(), f"station {station.number} ended: {station.rows[-3:]}"
            assert time.monotonic() < end, f"station {station.number} hangs: {station.rows[-3:]}"
        time.sleep(0.005)
    for station in stations:
        assert station.stop(30) == 0
    printer.take()


@pytest.mark.timeout(300)
def test_stations_killed_again_and_again(pool_url, tmp_path):
    factory = factory_lab.make_factory(tmp_path, pool_url, BOARDS + SPARE)
    factory.pool.close()
    (tmp_path / "boards").mkdir()
    printer, chance = Printer(tmp_path / "printer"), random.Random(4711)
    shares = [range(number - 1, BOARDS, STATIONS) for number in range(1, STATIONS + 1)]
    most = [MOST_A_LIFE] * KILLED + [BOARDS] * (STATIONS - KILLED)
    stations = [
        FileStation(tmp_path, number, LANES, share, printer, factory, most[number - 1])
        for number, share in enumerate(shares, 1)
    ]
    killers = [Killer(station, chance) for station in stations[:KILLED]]
    try:
        _run_line(stations, killers, printer)
    finally:
        factory_lab.end_all(station.process for station in stations)
    printer.close()
    assert all(killer.kills >= LEAST_KILLS for killer in killers)
    pool = factory.open()
    rows = defaultdict(list)
    for row in audit.entries(pool.database):
        rows[row["event"]].append(row)
    held = _check_licences(factory, pool, tmp_path / "boards", rows)
    _check_labels(held, rows, Counter(printer.labels), stations)
    _check_counters(rows, stations)
    print(f"{[killer.kills for killer in killers]} kills, {len(rows['label again'])} labels printed again")
    pool.close()


def _check_licences(factory, pool, boards, rows):
    """Every board holds one of its own, the pool's books agree with its rows and its chain; return {MAC: DID}."""
    status = pool.status()
    assert (status.free, status.reserved, status.burned, status.scrapped) == (SPARE, 0, BOARDS, 0)
    counted = pool.database.run(lambda tx: dict(tx.rows("SELECT state, COUNT(*) FROM licences GROUP BY state")))
    assert counted == {"free": SPARE, "burned": BOARDS}
    held = {entry.mac: entry.did for entry in pool.entries("burned")}
    keys = {item.did: item.licence_key for item in factory.licences}
    for number in range(BOARDS):
        board = AppBoard(boards / str(number))
        assert board.has_app() and board.record()["did"] == held[board.mac]
        assert board.record()["licence_key"] == keys[held[board.mac]]
    assert len(set(held.values())) == len(held) == BOARDS
    assert set(held.values()) | {entry.did for entry in pool.entries("free")} == set(keys)
    assert audit.verify(pool.database, pool.key).burned == BOARDS
    for event in ("reserved", "burned"):
        assert Counter(row["did"] for row in rows[event]) == dict.fromkeys(held.values(), 1)
    return held


def _check_labels(held, rows, printed, stations):
    """Each board has its label; a second one only if a kill fell between, none once it passed; all on record."""
    assert not rows["failed"]
    runs = Counter(row["mac"] for row in rows["flashed"])
    first_pass = {row["did"]: row["number"] for row in reversed(rows["passed"])}
    prints = defaultdict(list)
    for row in sorted(rows["label"] + rows["label again"], key=lambda row: row["number"]):
        prints[row["did"]].append((row["event"], row["print"]))
        assert row["number"] < first_pass[row["did"]]
    for mac, did in held.items():
        again = [("label again", number) for number in range(2, len(prints[did]) + 1)]
        assert prints[did] == [("label", 1), *again]
        assert 1 <= printed[did] <= len(prints[did]) <= runs[mac]
    assert set(printed) == set(held.values())
    for station in stations[KILLED:]:
        assert all(printed[held[mac_of(number)]] == runs[mac_of(number)] == 1 for number in station.passed)


def _check_counters(rows, stations):
    """Each board counts as passed, once; a kill in the moment between its record and the counter makes it `again`."""
    passes = Counter(row["mac"] for row in rows["passed"])
    for station in stations:
        counters, boards = station.counters, [mac_of(number) for number in station.passed]
        assert (counters["failed"], counters["codes"]) == (0, {})
        assert [passes[mac] for mac in boards].count(1) <= counters["passed"] <= len(boards)
        assert len(boards) <= counters["passed"] + counters["again"] <= sum(passes[mac] for mac in boards)
    for station in stations[KILLED:]:
        assert (station.counters["passed"], station.counters["again"]) == (len(station.passed), 0)
