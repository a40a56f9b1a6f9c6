"""The station's counters of a day: passed, failed, yield, takt time, faults by code. They survive a crash in a file."""

import json
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any

from upeer_board.image import write_file
from upeer_factory.station.lane import Outcome

_TAKT_OVER = 20
_BREAK_SECONDS = 600.0


class Stats:
    """Counts runs. A board that is run again after it passed counts as `again`, not as one more."""

    def __init__(self, file: Path | None = None, today: str | None = None) -> None:
        self._file = file
        self._today = today or time.strftime("%Y-%m-%d")
        self.passed = self.failed = self.again = 0
        self.codes: Counter[str] = Counter()
        self._passes: deque[float] = deque(maxlen=_TAKT_OVER + 1)
        self._load()

    def count(self, outcome: Outcome, now: float) -> None:
        """Take a run that ended at `now` (seconds of a monotonic clock)."""
        if not outcome.ok:
            self.failed += 1
            self.codes[outcome.code] += 1
        elif outcome.again:
            self.again += 1
        else:
            self.passed += 1
            self._passes.append(now)
        self._save()

    @property
    def yield_percent(self) -> float | None:
        """Passed boards in a hundred runs that were no repeats; None before the first."""
        runs = self.passed + self.failed
        return round(100 * self.passed / runs, 1) if runs else None

    @property
    def takt_seconds(self) -> float | None:
        """Mean time between the last boards that passed; breaks do not count. None before the second."""
        times = list(self._passes)
        gaps = [gap for gap in (b - a for a, b in zip(times, times[1:], strict=False)) if gap < _BREAK_SECONDS]
        return round(sum(gaps) / len(gaps), 1) if gaps else None

    def as_dict(self) -> dict[str, Any]:
        """Return what is kept and shown."""
        counters = {"passed": self.passed, "failed": self.failed, "again": self.again, "codes": dict(self.codes)}
        return {"date": self._today, **counters, "yield": self.yield_percent, "takt_seconds": self.takt_seconds}

    def _load(self) -> None:
        """Go on from the file of this day; a damaged file, or another day's, starts from nought."""
        try:
            kept = json.loads(self._file.read_text()) if self._file else {}
            if kept.get("date") != self._today:
                return
            self.passed, self.failed, self.again = (int(kept[name]) for name in ("passed", "failed", "again"))
            self.codes = Counter({str(code): int(count) for code, count in kept["codes"].items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return

    def _save(self) -> None:
        if self._file is not None:
            write_file(self._file, json.dumps(self.as_dict()).encode())
