"""Run every group of the tests, one after the other, whatever becomes of those before; `make test` calls this.

    python tests/run_groups.py [--workers 3] [--only GROUP ...]
Each group prints as it goes. At the end come the tests that failed, then one line per group; the exit code is 1 if
one group is red.
"""

import argparse
import os
import select
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
_BAD = ("FAILED ", "ERROR ")
_LOOK_S = 0.2


class Group(NamedTuple):
    """One call of a program; it is green if the program ends with 0."""

    name: str
    command: Sequence[str]


class Outcome(NamedTuple):
    """What became of a group: `summary` is the last line that it printed, `failed` the tests that pytest named."""

    name: str
    code: int
    seconds: float
    summary: str
    failed: list[str]


def groups(workers: int) -> list[Group]:
    """Return all groups: lint, tests that share the machine, those that need it for themselves, the bench's console."""
    pytest = [sys.executable, "-m", "pytest"]
    together = ["-n", str(workers), "--dist", "loadfile", "--no-loadscope-reorder", "-m", "not serial"]
    embedded = ["-p", "pytest_embedded.plugin", "-W", "ignore::pytest.PytestExperimentalApiWarning"]
    return [
        Group("lint", ["make", "--no-print-directory", "lint"]),
        Group("parallel", [*pytest, *together]),
        Group("serial", [*pytest, "-m", "serial"]),
        Group("console", [*pytest, *embedded, "tests/hil/test_console.py"]),
    ]


def run_group(group: Group, show: Callable[[str], None] = sys.stdout.write) -> Outcome:
    """Run one group to its end; `show` gets each line at once."""
    show(f"== {group.name}: {shlex.join(group.command)}\n")
    began = time.monotonic()
    summary, failed = "", []
    with subprocess.Popen(group.command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        for line in _lines(process):
            show(line)
            sys.stdout.flush()
            summary = line.strip(" =\n") or summary
            if line.startswith(_BAD):
                failed.append(line.rstrip())
    return Outcome(group.name, process.returncode, time.monotonic() - began, summary, failed)


def _lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Yield what a program prints until it ends, whoever else still holds its pipe: a test may leave a process."""
    assert process.stdout is not None
    pipe, data, torn = process.stdout.fileno(), b"-", b""
    while data:
        has_ended = process.poll() is not None
        if select.select([pipe], [], [], 0 if has_ended else _LOOK_S)[0]:
            data = os.read(pipe, 1 << 16)
            *whole, torn = (torn + data).split(b"\n")
            yield from (line.decode(errors="replace") + "\n" for line in whole)
        elif has_ended:
            break
    if torn:
        yield torn.decode(errors="replace")


def report(outcomes: Iterable[Outcome]) -> list[str]:
    """Return the closing lines: what failed, then one line per group."""
    lines, closing = [], []
    for outcome in outcomes:
        lines += [f"{outcome.name}: {test}" for test in outcome.failed]
        colour = "RED" if outcome.code else "green"
        closing.append(f"{colour:5} {outcome.name:8} {outcome.seconds:5.0f} s  {outcome.summary[:150]}")
    return lines + closing


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=3, help="processes that run tests side by side")
    parser.add_argument("--only", nargs="+", metavar="GROUP", help="run these groups only")
    arguments = parser.parse_args()
    chosen = [group for group in groups(arguments.workers) if not arguments.only or group.name in arguments.only]
    outcomes = [run_group(group) for group in chosen]
    print("\n".join(["== all groups", *report(outcomes)]))
    return 1 if not outcomes or any(outcome.code for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
