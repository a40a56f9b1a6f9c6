"""A small coverage-guided fuzzer for `fuzz.py`: mutates inputs, keeps those that reach new line pairs, reports faults.

Coverage comes from sys.settrace and is limited to the project's own files. The random numbers are seeded, so that a run
with a number of tries instead of seconds repeats exactly.
"""

import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from targets import Target

_TRACED = tuple(str(Path(__file__).resolve().parents[2] / folder) + "/" for folder in ("firmware", "host_tools"))
_INTERESTING = (0, 1, 2, 7, 0x3F, 0x40, 0x7F, 0x80, 0x81, 0xC0, 0xFE, 0xFF)
_SLOW_S = 2.0


@dataclass
class Fault:
    """An input that broke a target, and how."""

    target: str
    data: bytes
    error: str


@dataclass
class Result:
    """What one run over one target did."""

    target: str
    tries: int = 0
    inputs: int = 0
    line_pairs: int = 0
    faults: list[Fault] = field(default_factory=list)


class Coverage:
    """The pairs of lines that ran one after the other in the project's own code."""

    def __init__(self) -> None:
        self.pairs: set[tuple[CodeType, int, int]] = set()
        self.grew = False
        self._last: dict[FrameType, int] = {}

    def run(self, function: Callable[[bytes], object], data: bytes) -> None:
        """Call function(data) and set `grew` when a new pair turned up. What it raises goes through."""
        before = len(self.pairs)
        previous = sys.gettrace()
        sys.settrace(self._on_call)
        try:
            function(data)
        finally:
            sys.settrace(previous)
            self._last.clear()
            self.grew = len(self.pairs) > before

    def _on_call(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        return self._on_line if frame.f_code.co_filename.startswith(_TRACED) else None

    def _on_line(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line":
            line = frame.f_lineno
            self.pairs.add((frame.f_code, self._last.get(frame, 0), line))
            self._last[frame] = line
        return self._on_line


class Mutator:
    """Makes new inputs out of kept ones."""

    def __init__(self, rng: random.Random, max_size: int) -> None:
        self._rng = rng
        self._max_size = max_size

    def mutate(self, corpus: list[bytes]) -> bytes:
        """Return a changed copy of a random input, one to four changes deep."""
        data = bytearray(self._rng.choice(corpus))
        for _ in range(self._rng.randint(1, 4)):
            change = self._rng.choice((self._flip, self._set, self._insert, self._cut, self._count, self._splice))
            change(data, corpus)
        return bytes(data[: self._max_size])

    def _at(self, data: bytearray) -> int:
        """Return a random offset, the first bytes more often: headers stand there."""
        return self._rng.randrange(min(len(data), 24) if self._rng.random() < 0.4 else len(data))

    def _flip(self, data: bytearray, _corpus: list[bytes]) -> None:
        if data:
            data[self._at(data)] ^= 1 << self._rng.randrange(8)

    def _set(self, data: bytearray, _corpus: list[bytes]) -> None:
        if data:
            data[self._at(data)] = self._rng.choice(_INTERESTING)

    def _insert(self, data: bytearray, _corpus: list[bytes]) -> None:
        at = self._rng.randint(0, len(data))
        data[at:at] = self._rng.randbytes(self._rng.choice((1, 2, 4, 16)))

    def _cut(self, data: bytearray, _corpus: list[bytes]) -> None:
        if data:
            at = self._at(data)
            end = len(data) if self._rng.random() < 0.3 else at + self._rng.randint(1, 8)
            del data[at:end]

    def _count(self, data: bytearray, _corpus: list[bytes]) -> None:
        if data:
            at = self._at(data)
            data[at] = (data[at] + self._rng.choice((-2, -1, 1, 2))) & 0xFF

    def _splice(self, data: bytearray, corpus: list[bytes]) -> None:
        other = self._rng.choice(corpus)
        if other:
            data[self._rng.randint(0, len(data)) :] = other[self._rng.randrange(len(other)) :]


def fuzz_target(target: Target, seconds: float | None = None, tries: int | None = None, seed: int = 1) -> Result:
    """Fuzz one target for that long or that often; stop it at its first ten different faults."""
    rng = random.Random(f"{target.name} {seed}")
    mutator = Mutator(rng, target.max_size)
    coverage = Coverage()
    result = Result(target.name)
    corpus: list[bytes] = []
    deadline = None if seconds is None else time.monotonic() + seconds
    queue = [b"", bytes(16), *target.seeds, *(seed[: len(seed) // 2] for seed in target.seeds)]
    known: set[str] = set()
    while len(known) < 10 and not _is_over(result.tries, tries, deadline, bool(queue)):
        is_seed = bool(queue)
        data = queue.pop(0) if queue else mutator.mutate(corpus)
        result.tries += 1
        error = try_input(target, data, coverage)
        if error is not None and error not in known:
            known.add(error)
            result.faults.append(Fault(target.name, data, error))
        if coverage.grew or is_seed:
            corpus.append(data)
    result.inputs = len(corpus)
    result.line_pairs = len(coverage.pairs)
    return result


def try_input(target: Target, data: bytes, coverage: Coverage) -> str | None:
    """Run a target on one input; return what is wrong with what it raised or with its time, None if nothing is."""
    start = time.monotonic()
    try:
        coverage.run(target.run, data)
    except target.allowed:
        pass
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        return _place(error)
    return f"took over {_SLOW_S} s" if time.monotonic() - start > _SLOW_S else None


def _is_over(done: int, tries: int | None, deadline: float | None, has_seeds: bool) -> bool:
    if tries is not None and done >= tries and not has_seeds:
        return True
    return deadline is not None and time.monotonic() > deadline


def _place(error: Exception) -> str:
    """Return class, text and last place of an error: the same fault has the same text, whatever the input."""
    trace = error.__traceback__
    place = ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file.startswith(_TRACED):
            place = f" at {file.rpartition('/')[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(error).__name__}{place}" if place else f"{type(error).__name__}: {error}"
