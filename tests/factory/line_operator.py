"""Who works at the stations: takes away a board that passed, plugs in the next, plugs one that failed in once more.

A port is empty for longer than its station overlooks, however busy the machine is. What left keeps no flash on the
disk: `records` has what it held.
"""

import time
from collections import Counter

from station_lab import licence_of

_AWAY_S, _LONGEST_AWAY_S = 1.0, 3.0  # per station that runs beside it
_MOST_REPEATS = 5
# What a station may say of a good board that the machine kept waiting; all other codes are a fault of the line.
_WORTH_A_REPEAT = ("E20", "F05", "F07", "F08", "F16")


class Operator:
    """At `count` ports of `lab`, spread over `stations`, a dictionary of running ones that the test may change.

    `boards` are all that were ever plugged in; `failures` counts the codes of runs that failed.
    """

    def __init__(self, lab, stack, stations, count):
        self.boards, self.records, self.failures = [], {}, Counter()
        self.stations = stations
        self._lab, self._stack = lab, stack
        self._at_ports, self._empty, self._repeats = {}, {}, Counter()
        self._seen, self._away_s = Counter(), min(_AWAY_S * len(stations), _LONGEST_AWAY_S)
        self._is_over = False
        for port in range(count):
            self._plug_in(port % len(stations) + 1, port // len(stations) + 1)

    def look_after(self):
        """Do what there is to do at all stations."""
        for number, station in self.stations.items():
            for run in station.runs[self._seen[station] :]:
                self._seen[station] += 1
                self._heed(number, run)
        for place, since in list(self._empty.items()):
            if time.monotonic() - since > self._away_s:
                del self._empty[place]
                self._plug_in(*place)

    def finish(self, seconds):
        """Let one more board come to each port that is empty, then no others; wait until all have passed."""
        self._is_over = True
        end = time.monotonic() + seconds
        while self._at_ports or self._empty:
            assert time.monotonic() < end, [(board.mac, self.failures) for board in self._at_ports.values()]
            for station in self.stations.values():
                assert station.process.poll() is None, station.story
            self.look_after()
            time.sleep(0.05)

    def _plug_in(self, station, port):
        board = self._stack.enter_context(self._lab.board(len(self.boards) + 1, port, station))
        self.boards.append(board)
        self._at_ports[station, port] = board

    def _heed(self, number, run):
        """Take a run's result, if its board is still there."""
        place = number, int(run["port"].rpartition("-")[2])
        board = self._at_ports.get(place)
        if not run["ok"]:
            self._repeat(board, run)
        elif board is not None and board.mac == run["mac"]:
            self._take_away(place, board)

    def _take_away(self, place, board):
        board.__exit__()
        assert not board.crashes, board.crashes
        self.records[board.mac] = licence_of(board)
        (board.folder / "flash.bin").unlink()
        del self._at_ports[place]
        if not self._is_over:
            self._empty[place] = time.monotonic()

    def _repeat(self, board, run):
        self.failures[run["code"]] += 1
        assert run["code"] in _WORTH_A_REPEAT, run
        if board is not None:
            self._repeats[board.mac] += 1
            assert self._repeats[board.mac] <= _MOST_REPEATS, run
            board.replug = self._away_s
            board.unplug()
