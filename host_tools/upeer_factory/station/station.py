"""A station: one lane per port, a thread per run, and a pump that alone changes the lanes' states.

    station = Station(line, watch); while ...: for outcome in station.pump(0.1): ...; station.close()
A board that is plugged in starts its run; so does a board that is there when the station starts, which is how it goes
on after a crash. No lane waits for another, and the pump waits for none: the pool is asked in the lanes' threads.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upeer_factory.errors import FactoryError
from upeer_factory.flash import children, ports
from upeer_factory.flash.faults import Fault
from upeer_factory.pool.pool import Status
from upeer_factory.station import lane_state
from upeer_factory.station.lane import STEPS, LaneRun, Line, Outcome
from upeer_factory.station.lane_state import LaneState
from upeer_factory.station.stats import Stats
from upeer_factory.station.watch import Watch

UNEXPECTED = "E99"
_POLL_SECONDS = 0.2
_CLOSE_SECONDS = 30.0
_LOG_LINES = 200


@dataclass
class Settings:
    """How a station works. `low_stock`: warn when so few licences are free."""

    name: str = "station"
    low_stock: int = 100
    state_file: Path | None = None
    is_on: bool = True


class Station:
    """The lanes of a station; all methods are for one thread, the one that pumps."""

    def __init__(self, line: Line, watch: Watch, settings: Settings | None = None, names: Sequence[str] = ()) -> None:
        self.line, self.settings = line, settings or Settings()
        self.is_on = self.settings.is_on
        self.lanes: list[LaneState] = []
        self.stats = Stats(self.settings.state_file)
        self.stock: Status | None = None
        self.last_passed: LaneState | None = None
        self.log: deque[str] = deque(maxlen=_LOG_LINES)
        self._watch = watch
        self._news: queue.SimpleQueue[tuple[int, str, dict[str, Any]]] = queue.SimpleQueue()
        self._threads: dict[int, threading.Thread] = {}
        self._stop = threading.Event()
        self._polled = 0.0
        self._is_stock_old = True
        if line.efuses:
            self.note(f"eFuses are {line.efuses}")
        for name in names:
            self._lane_of(name)

    # -- what the pumping thread does -------------------------------------------------------------------------

    def pump(self, seconds: float = 0.1) -> list[Outcome]:
        """Wait up to so long for news, apply all there are, start what is to be started; return the runs that ended."""
        self._poll()
        ended: list[Outcome] = []
        end = time.monotonic() + seconds
        while (news := self._next(end)) is not None:
            self._apply(*news, ended)
            end = 0.0
        self._start_waiting()
        if self._is_stock_old and self._in_background(0, self._ask_stock):
            self._is_stock_old = False
        return ended

    @property
    def is_idle(self) -> bool:
        """Tell whether no lane runs and none is about to."""
        return not any(lane.is_running or (self.is_on and lane.state == lane_state.WAITING) for lane in self.lanes)

    @property
    def is_low(self) -> bool:
        """Tell whether the pool runs out soon."""
        return self.stock is not None and self.stock.free <= self.settings.low_stock

    def retry(self, number: int, steps: tuple[str, ...] = STEPS) -> bool:
        """Run the board at a lane once more, or some steps only; False while it runs or when there is none."""
        lane = self.lanes[number - 1]
        if lane.is_running or not (lane.has_board or ports.is_url(lane.port)):
            return False
        lane.handle("again" if lane.can("again") else "plugged", time.monotonic())
        return self._start(lane, steps)

    def reprint(self, number: int) -> bool:
        """Print the label of a lane's board again, else that of the last board that passed; False if there is none."""
        lane = self.lanes[number - 1] if number <= len(self.lanes) else None
        lane = lane if lane and lane.did and not lane.is_running else self.last_passed
        if lane is None or not lane.did or self.line.label is None:
            return False
        mac, did = lane.mac, lane.did
        return self._in_background(lane.number, lambda: self._label_again(mac, did))

    def scrap(self, number: int, reason: str) -> bool:
        """Scrap the licence of a lane's board, for good; False when the lane has no known board."""
        lane = self.lanes[number - 1]
        if lane.is_running or not lane.mac:
            return False
        mac = lane.mac
        return self._in_background(number, lambda: f"scrapped {self.line.pool.scrap(mac, reason).did}")

    def close(self) -> list[Outcome]:
        """Stop: end all programs that run at boards, wait for the lanes. Nothing of a board's licence is lost by it.

        Return the runs that ended and were not told yet; one that failed because of the stop is not counted.
        """
        ended = self._take_news(lambda _outcome: True)
        self._stop.set()
        end = time.monotonic() + _CLOSE_SECONDS
        children.end(list(self._threads.values()))
        while self._threads and time.monotonic() < end:
            for number, thread in list(self._threads.items()):
                thread.join(0.05)
                if not thread.is_alive():
                    del self._threads[number]
        return ended + self._take_news(lambda outcome: outcome.ok)

    # -- news and lanes ---------------------------------------------------------------------------------------

    def _next(self, end: float) -> tuple[int, str, dict[str, Any]] | None:
        """Return the next news that comes before `end`, without waiting once that has passed."""
        left = end - time.monotonic()
        try:
            return self._news.get(timeout=left) if left > 0 else self._news.get_nowait()
        except queue.Empty:
            return None

    def _take_news(self, is_counted: Callable[[Outcome], bool]) -> list[Outcome]:
        """Apply what has come, but of the runs that ended only those that count; return these."""
        ended: list[Outcome] = []
        while (news := self._next(0.0)) is not None:
            if news[1] != "outcome" or is_counted(news[2]["outcome"]):
                self._apply(*news, ended)
        return ended

    def _apply(self, number: int, event: str, fields: dict[str, Any], ended: list[Outcome]) -> None:
        if event == "stock":
            self.stock = fields["status"]
        elif event == "log":
            self.note(fields["text"], number)
        elif event == "progress":
            self.lanes[number - 1].show(**fields)
        elif event == "outcome":
            self._end(self.lanes[number - 1], fields["outcome"])
            ended.append(fields["outcome"])
        else:
            self.lanes[number - 1].handle(event, time.monotonic(), **fields)

    def _end(self, lane: LaneState, outcome: Outcome) -> None:
        now = time.monotonic()
        self._is_stock_old = True
        self.stats.count(outcome, now)
        told = {name: getattr(outcome, name) for name in ("code", "text", "hint", "step", "secured")}
        known = {"mac": outcome.mac or lane.mac, "did": outcome.did or lane.did}
        lane.handle("done" if outcome.ok else "failed", now, **known, **told)
        if outcome.ok and outcome.did:
            self.last_passed = LaneState(lane.number, lane.port, mac=outcome.mac, did=outcome.did)
        secured = f" eFuses burned {outcome.secured}" if outcome.secured else ""
        what = f"PASS{secured}" if outcome.ok else f"FAIL {outcome.code} {outcome.text} ({outcome.step})"
        self.note(f"{outcome.mac or '-'} {outcome.did or '-'} {what} {outcome.seconds} s", lane.number)

    def note(self, text: str, number: int = 0) -> None:
        """Add a line to the log that engineers see."""
        self.log.append(f"{time.strftime('%H:%M:%S')} {f'lane {number}' if number else 'station'}: {text}")

    def _poll(self) -> None:
        now = time.monotonic()
        if now - self._polled < _POLL_SECONDS:
            return
        self._polled = now
        for event, port in self._watch.poll(now):
            self._lane_of(port).handle(event, now)

    def _lane_of(self, port: str) -> LaneState:
        for lane in self.lanes:
            if lane.port == port:
                return lane
        self.lanes.append(LaneState(len(self.lanes) + 1, port))
        return self.lanes[-1]

    def _start_waiting(self) -> None:
        if self.is_on and not self._stop.is_set():
            for lane in self.lanes:
                if lane.state == lane_state.WAITING:
                    self._start(lane, STEPS)

    def _start(self, lane: LaneState, steps: tuple[str, ...]) -> bool:
        if not lane.handle("start", time.monotonic()):
            return False
        if lane.number in self._threads:
            self._threads[lane.number].join()  # it has told its outcome, its last act
        run = LaneRun(self.line, lane.number, lane.port, self._tell_of(lane.number), self._stop)
        return self._spawn(lane.number, lambda: self._run(run, lane.number, lane.port, steps))

    # -- in the threads ---------------------------------------------------------------------------------------

    def _tell_of(self, number: int) -> Callable[..., None]:
        return lambda event, **fields: self._news.put((number, event, fields))

    def _spawn(self, number: int, work: Callable[[], None]) -> bool:
        thread = self._threads[number] = threading.Thread(target=work, name=f"lane {number}", daemon=True)
        thread.start()
        return True

    def _run(self, run: LaneRun, number: int, port: str, steps: tuple[str, ...]) -> None:
        try:
            outcome = run.run(steps)
        except Exception as error:  # noqa: BLE001 - a thread's top; the text may quote anything, so only the type is told
            text = f"unexpected: {type(error).__name__}"
            outcome = Outcome(number, port, False, 0.0, code=UNEXPECTED, text=text, hint="call the engineer")
        self._news.put((number, "outcome", {"outcome": outcome}))

    def _in_background(self, number: int, work: Callable[[], str | None]) -> bool:
        """Do something beside the lanes' runs; what it returns, or an expected failure, goes to the log."""
        key = -1 - number
        thread = self._threads.get(key)
        if thread is not None and thread.is_alive():
            return False

        def top() -> None:
            try:
                text = work()
            except (FactoryError, Fault) as error:
                text = f"{error}; {error.hint}"
            if text:
                self._news.put((number, "log", {"text": text}))

        return self._spawn(key, top)

    def _label_again(self, mac: str, did: str) -> str:
        assert self.line.label is not None
        self.line.label(self.line.pool.label_secrets(mac))
        return f"label of {did} printed again"

    def _ask_stock(self) -> None:
        try:
            self._news.put((0, "stock", {"status": self.line.pool.status()}))
        except FactoryError as error:
            self._news.put((0, "log", {"text": str(error)}))
