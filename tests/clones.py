"""Prove the gate: `make test` from clean clones, in folders of different lengths, some beside loops that keep it busy.

    python tests/clones.py [--clones 5] [--busy 3] [--loops 4] [--folder DIR] [--commit HEAD]
`make clones` calls this. The last `--busy` clones run beside `--loops` processes that never rest. Each leaves a log
beside its folder; a clone that was green is removed. At the end comes one line per clone; the exit code is 1 if one
was red.
"""

import argparse
import multiprocessing
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_LENGTHS = (1, 8, 21, 34, 55)  # of the clones' folders, in characters


def folder_name(number: int) -> str:
    """Return the name of a clone's folder: its number, and x up to its length."""
    return f"{number:0<{max(_LENGTHS[number % len(_LENGTHS)], 2)}}".replace("0", "x")


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Keep `count` processes busy meanwhile."""
    loops = [multiprocessing.Process(target=_loop, daemon=True) for _ in range(count)]
    for loop in loops:
        loop.start()
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.join()


def _loop() -> None:
    while True:
        pass


def run_clone(
    folder: Path, commit: str, loops: int, command: Sequence[str] = ("make", "test"), source: Path = ROOT
) -> str:
    """Clone into `folder` and run the command there, its output in a log beside; return the line that tells of it."""
    subprocess.run(["git", "clone", "--quiet", source, folder], check=True)
    subprocess.run(["git", "checkout", "--quiet", "--detach", commit], cwd=folder, check=True)
    began = time.monotonic()
    log = folder.with_suffix(".log")
    with busy_loops(loops), log.open("w") as output:
        code = subprocess.run(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT).returncode
    minutes = (time.monotonic() - began) / 60
    if code == 0:
        shutil.rmtree(folder)
    beside = f"beside {loops} loops" if loops else "quiet"
    return f"{'RED' if code else 'green':5} {len(str(folder)):3} characters, {beside}: {minutes:.1f} min, {log}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clones", type=int, default=5, help="how many (default: %(default)s)")
    parser.add_argument("--busy", type=int, default=3, help="how many of them, the last ones, run beside loops")
    parser.add_argument("--loops", type=int, default=4, help="processes that never rest (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where (default: a temporary folder)")
    parser.add_argument("--commit", default="HEAD", help="what to test (default: %(default)s)")
    arguments = parser.parse_args()
    folder = (arguments.folder or Path(tempfile.mkdtemp(prefix="upeer-clones-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    commit = subprocess.run(
        ["git", "rev-parse", arguments.commit], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    lines = []
    for number in range(1, arguments.clones + 1):
        is_busy = number > arguments.clones - arguments.busy
        lines.append(run_clone(folder / folder_name(number), commit, arguments.loops if is_busy else 0))
        print(lines[-1], flush=True)
    print("\n".join(["== all clones", *lines]))
    return 1 if any(line.startswith("RED") for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
