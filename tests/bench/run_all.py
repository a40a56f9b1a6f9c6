"""Run the benchmarks `bench_*.py` of this folder one by one and write build/bench.json: `run_all.py [name ...]`.

A name is that of a benchmark or of a figure. Each benchmark is a program of its own; one that fails does not stop the
others. bench.json is a list of {name, value, unit, peer, peer_value, ratio, goal, met}: what this run has measured.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import figures

_FOLDER = Path(__file__).resolve().parent
_BUILD = _FOLDER.parents[1] / "build"
_TIME_OUT_S = 1800


def choose(names: list[str]) -> dict[str, list[str]]:
    """Return {benchmark: its figures} for names of either; all of them without names. ValueError for a wrong one."""
    chosen: dict[str, list[str]] = {}
    left = set(names)
    for figure in figures.TABLE:
        if not names or figure.name in names or figure.bench in names:
            chosen.setdefault(figure.bench, []).append(figure.name)
            left -= {figure.name, figure.bench}
    if left:
        known = ", ".join(sorted({figure.bench for figure in figures.TABLE}))
        raise ValueError(f"unknown: {', '.join(sorted(left))}. There are {known}, and the figures of docs/figures.md")
    return chosen


def run(bench: str, names: list[str], rows: Path) -> bool:
    """Run one benchmark; its rows are added to a file. Return whether it ended well and told at least one."""
    print(f"== {bench}\n{figures.head()}", flush=True)
    before = len(_read(rows))
    command = [sys.executable, str(_FOLDER / f"bench_{bench}.py")]
    try:
        code = subprocess.run(
            command, env={**os.environ, **figures.environment(names, rows)}, timeout=_TIME_OUT_S, check=False
        ).returncode
    except subprocess.TimeoutExpired:
        code = 1
    return not code and len(_read(rows)) > before


def _read(rows: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in rows.read_text().splitlines()]


def main(names: list[str], build: Path = _BUILD) -> int:
    """Run what was asked for; return the exit code: 2 for a wrong name, 1 when a benchmark failed."""
    try:
        chosen = choose(names)
    except ValueError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        rows = Path(scratch) / "rows"
        rows.touch()
        failed = [bench for bench, wanted in chosen.items() if not run(bench, wanted, rows)]
        (build / "bench.json").write_text(json.dumps(_read(rows), indent=1) + "\n")
    if failed:
        print("bench: failed:", ", ".join(failed), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main([name for argument in sys.argv[1:] for name in argument.split(",") if name]))
