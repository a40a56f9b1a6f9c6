"""Run the benchmarks `bench_*.py` of this folder one by one and write build/bench.json: `run_all.py [name ...]`.

A name is that of a benchmark or of a figure. Each benchmark is a program of its own; one that fails does not stop the
others. bench.json is a list of {name, value, unit, peer, peer_value, ratio, goal, met}: what this run has measured.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import figures
import figures_page

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


def main(names: list[str], build: Path = _BUILD, is_update: bool = False) -> int:
    """Run what was asked for, and write docs/figures.md; return 2 for a wrong name, 1 when a benchmark failed."""
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
        told = _read(rows)
    (build / "bench.json").write_text(json.dumps(told, indent=1) + "\n")
    if is_update:
        figures_page.update(told)
    if failed:
        print("bench: failed:", ", ".join(failed), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="benchmarks or figures, with blanks or commas between")
    parser.add_argument("--update", action="store_true", help="write docs/figures.md")
    arguments = parser.parse_args()
    wanted = [name for argument in arguments.names for name in argument.split(",") if name]
    sys.exit(main(wanted, is_update=arguments.update))
