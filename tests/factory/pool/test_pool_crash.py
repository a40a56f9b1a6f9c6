"""SIGKILL at random points: eight stations, two of them killed and started again and again, on both databases.

Afterwards no licence is at two boards, none is lost, every board proves the one that the pool says, the chain is valid.
"""

import multiprocessing
import os
import random
import signal
import time

import factory_lab
import pytest
from factory_lab import FileBoard, TornBoard, mac_of

from upeer_factory.board.burn import Burner
from upeer_factory.errors import FactoryError
from upeer_factory.pool import audit
from upeer_factory.pool.audit import Actor
from upeer_factory.pool.keys import read_station_key
from upeer_factory.pool.pool import Pool

BOARDS = 500
SPARE = 7
STATIONS = 8
KILLED = 2
MOST_A_LIFE = 4
LEAST_KILLS = KILLED * (BOARDS // STATIONS // MOST_A_LIFE)
_KILL_AFTER_S = (0.002, 0.04)
_LIMIT_S = 240  # it takes a hundredth of that; only a hang ends there


def _boards_of(index):
    return range(index, BOARDS, STATIONS)


def _station(index, url, key_file, folder):
    """Burn every STATIONS-th board; one that is done is put away (`.done`) and not asked for again.

    One that is to be killed does at most MOST_A_LIFE and waits for it: on a fast machine too it is killed often.
    """
    pool = Pool.open(url, read_station_key(key_file), Actor(f"station-{index}"))
    left = MOST_A_LIFE if index < KILLED else BOARDS
    for number in _boards_of(index):
        done = folder / f"{number}.done"
        if not done.exists():
            while not left:
                signal.pause()
            Burner(TornBoard(folder / str(number), mac_of(number)), pool).run()
            done.touch()
            left -= 1
    os._exit(0)


class Line:
    """The stations as processes; `kills` of each that is killed."""

    def __init__(self, factory, folder):
        self._folder = folder
        self._arguments = (factory.url, factory.key_file, folder)
        self._context = multiprocessing.get_context("fork")
        self.processes = [self._start(index) for index in range(STATIONS)]
        self.kills = 0

    def _start(self, index):
        process = self._context.Process(target=_station, args=(index, *self._arguments))
        process.start()
        return process

    def _done(self, index):
        return sum((self._folder / f"{number}.done").exists() for number in _boards_of(index))

    def run(self, chance):
        """Kill and restart the first KILLED stations at random moments until all are done.

        A station that got nothing done lives twice as long the next time: however slow the machine is, it gets on.
        """
        end = time.monotonic() + _LIMIT_S
        done, patience = [0] * KILLED, [1.0] * KILLED
        while alive := [index for index in range(KILLED) if self.processes[index].is_alive()]:
            index = chance.choice(alive)
            self.processes[index].join(chance.uniform(*_KILL_AFTER_S) * patience[index])
            if self.processes[index].is_alive():
                os.kill(self.processes[index].pid, signal.SIGKILL)
                self.processes[index].join()
                self.kills += 1
                before, done[index] = done[index], self._done(index)
                patience[index] = max(1.0, patience[index] / 2) if done[index] > before else patience[index] * 2
                self.processes[index] = self._start(index)
            assert time.monotonic() < end
        for process in self.processes:
            process.join(max(0.1, end - time.monotonic()))
            assert process.exitcode == 0


@pytest.mark.timeout(300)
def test_no_licence_twice_none_lost(pool_url, tmp_path):
    factory = factory_lab.make_factory(tmp_path, pool_url, BOARDS + SPARE)
    factory.pool.close()
    boards = tmp_path / "boards"
    boards.mkdir()
    line = Line(factory, boards)
    try:
        line.run(random.Random(4711))
    finally:
        factory_lab.end_all(line.processes)
    assert line.kills >= LEAST_KILLS
    print(f"{line.kills} kills")

    pool = factory.open()
    status = pool.status()
    assert (status.free, status.reserved, status.burned, status.scrapped) == (SPARE, 0, BOARDS, 0)
    found = {entry.mac: entry.did for entry in pool.entries("burned")}
    assert len(set(found.values())) == len(found) == BOARDS
    keys = {item.did: item.licence_key for item in factory.licences}
    for number in range(BOARDS):
        record = FileBoard(boards / str(number), mac_of(number)).record()
        assert record["did"] == found[mac_of(number)]
        assert record["licence_key"] == keys[record["did"]]
    given = set(found.values()) | {entry.did for entry in pool.entries("free")}
    assert given == set(keys)
    assert audit.verify(pool.database, pool.key).burned == BOARDS
    rows = [row["did"] for row in audit.entries(pool.database) if row["event"] == "reserved"]
    assert len(rows) == len(set(rows)) == BOARDS
    pool.close()


@pytest.mark.parametrize("pool_url", ["postgres"], indirect=True)
def test_lost_connection_is_made_again(factory):
    """The database server ends every connection: the next call goes on, on a new one, and nothing happens twice."""
    first = factory.pool.reserve(mac_of(1))
    for _ in range(3):
        other = factory.open()
        statement = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        other.database.run(lambda tx, statement=statement: tx.rows(statement + " AND application_name = 'upeer'"))
        other.close()
        assert factory.pool.reserve(mac_of(1)).did == first.did
    assert factory.pool.burned(mac_of(1), first.did)
    assert audit.verify(factory.pool.database, factory.pool.key).rows == 4


@pytest.mark.parametrize("pool_url", ["postgres"], indirect=True)
def test_database_that_is_gone_is_one_line(factory):
    factory.pool.close()
    factory.pool.database.url = "postgresql:///nowhere?host=/nonexistent&user=line"
    with pytest.raises(FactoryError, match="does not answer") as caught:
        factory.pool.reserve(mac_of(1))
    assert (caught.value.code, caught.value.exit_code) == ("E11", 3)
