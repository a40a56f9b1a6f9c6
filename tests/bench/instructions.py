"""Count the host instructions of a MicroPython script with callgrind: a cost that repeats where wall clock does not.

The script takes its number of iterations as its only argument. It runs twice, for N and for 2N; the difference over N
is the cost of one iteration, without start-up. AES and SHA, hardware on a chip, are told apart by function name. An
instruction outside them is about 15 ns on an ESP32. By hand: `python tests/bench/instructions.py SCRIPT [--count N]`.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import mpy_tools

_CRYPTO = re.compile(r"mbedtls_(?:internal_)?(aes|sha256)")  # the C library; its MicroPython wrappers stay outside
_NAMED = re.compile(r"\((\d+)\)(?: (.*))?")
_RUN_TIME_OUT_S = 300


@dataclass(frozen=True)
class Cost:
    """Host instructions: all of them, those inside AES, those inside SHA-256."""

    total: int
    aes: int
    sha: int

    @property
    def beside_crypto(self) -> int:
        """Instructions outside AES and SHA-256: the part that the interpreter pays."""
        return self.total - self.aes - self.sha


def per_iteration(
    script: Path, count: int, search_path: Iterable[Path | str] = (), heap: str = mpy_tools.DEFAULT_HEAP
) -> Cost:
    """Return the cost of one iteration of a script, the mean of count iterations."""
    search_path = list(search_path)
    once = run_cost(script, count, search_path, heap)
    twice = run_cost(script, 2 * count, search_path, heap)
    parts = zip((once.total, once.aes, once.sha), (twice.total, twice.aes, twice.sha), strict=True)
    return Cost(*((second - first) // count for first, second in parts))


def run_cost(script: Path, count: int, search_path: Iterable[Path | str], heap: str) -> Cost:
    """Return the cost of one whole run of a script under callgrind."""
    with tempfile.TemporaryDirectory() as scratch:
        profile = Path(scratch) / "callgrind.out"
        command = [
            *("valgrind", "--tool=callgrind", "--toggle-collect=main_", f"--callgrind-out-file={profile}"),
            *(sys.executable, str(mpy_tools.MICROPYTHON), "-X", f"heapsize={heap}", str(script), str(count)),
        ]
        path = ":".join([*map(str, search_path), ".frozen"])
        variables = {**os.environ, "PYTHONHASHSEED": "0", "MICROPYPATH": path}
        result = subprocess.run(
            command,
            cwd=mpy_tools.ROOT,
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_RUN_TIME_OUT_S,
            check=False,
        )
        if result.returncode or not profile.exists():
            raise RuntimeError(f"{script.name} failed under callgrind:\n{result.stdout}{result.stderr}")
        return read_profile(profile).cost


@dataclass(frozen=True)
class Profile:
    """A callgrind file added up: its cost, and by function name how often it was called and what that took in all."""

    cost: Cost
    calls: dict[str, int]
    inclusive: dict[str, int]


def read_profile(profile: Path) -> Profile:
    """Add up a callgrind file; what AES and SHA-256 call themselves (memcpy) counts as theirs.

    Where callgrind was told to begin anew, the costs of functions now and then hold some from before; its own sum,
    which is what the outermost function took, does not.
    """
    total = 0
    crypto = {"aes": 0, "sha256": 0}
    calls: Counter[str] = Counter()
    inclusive: Counter[str] = Counter()
    with profile.open() as file:
        lines = file.readlines()
        told = [int(line.split()[1]) for line in lines if line.startswith("summary: ")]
        for function, called, count, cost in _cost_lines(lines):
            found = _CRYPTO.match(function)
            if called:
                calls[called] += count
                inclusive[called] += cost
            else:
                total += cost
            if found and not (called and _CRYPTO.match(called)):
                crypto[found[1]] += cost
    return Profile(Cost(told[0] if told else total, crypto["aes"], crypto["sha256"]), dict(calls), dict(inclusive))


def _cost_lines(lines: Iterable[str]) -> Iterator[tuple[str, str, int, int]]:
    """Yield (function, "", 0, own cost) and (function, called function, number of calls, inclusive cost of them)."""
    names: dict[str, str] = {}
    function = called = ""
    count: int | None = None  # 0 for a call that began before the counting did
    for line in lines:
        if line.startswith("fn="):
            function = _resolve(line[3:].strip(), names)
        elif line.startswith("cfn="):
            called = _resolve(line[4:].strip(), names)
        elif line.startswith("calls="):
            count = int(line[6:].split()[0])
        elif line[:1] in "0123456789+-*" and line.strip():
            yield function, "" if count is None else called, count or 0, int(line.split()[-1])
            count = None


def _resolve(text: str, names: dict[str, str]) -> str:
    """Return the name that `(id) name` introduces or `(id)` repeats."""
    found = _NAMED.fullmatch(text)
    if found is None:
        return text
    if found[2] is not None:
        names[found[1]] = found[2]
    return names[found[1]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("script", type=Path)
    parser.add_argument("--count", type=int, default=100)
    arguments = parser.parse_args()
    tree = mpy_tools.build_tree(mpy_tools.firmware_sources(), {})
    cost = per_iteration(arguments.script.resolve(), arguments.count, [tree])
    print(f"{arguments.script.stem}: {cost.total} instructions per iteration")
    print(f"  AES {cost.aes}, SHA-256 {cost.sha}, beside them {cost.beside_crypto}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
