"""Run every benchmark `bench_*.py` of this folder, one by one; `python tests/bench/run_all.py [name ...]` picks some.

Each is a program of its own that prints its figures beside the goal; one that fails does not stop the others.
"""

import subprocess
import sys
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent
_TIME_OUT_S = 900


def main() -> int:
    wanted = sys.argv[1:]
    failed = []
    for script in sorted(_FOLDER.glob("bench_*.py")):
        name = script.stem.removeprefix("bench_")
        if wanted and name not in wanted:
            continue
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, str(script)], timeout=_TIME_OUT_S, check=False).returncode:
            failed.append(name)
    if failed:
        print("bench: failed:", ", ".join(failed), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
