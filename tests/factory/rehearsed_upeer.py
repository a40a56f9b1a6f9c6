"""The command line that rehearses a plan once for all: `python rehearsed_upeer.py FILE ARGUMENTS...`.

FILE has a plan and what its rehearsal changed, from the first process, or test, that needed it; another plan is
rehearsed. All else is upeer itself.
"""

import json
import os
import sys
from pathlib import Path

from upeer_cli import main
from upeer_factory.efuses import run as security_run

_rehearse = security_run.rehearse


def command(file):
    """Return how to run upeer with the rehearsal in `file`."""
    return [sys.executable, __file__, str(file)]


def rehearse(file, plan, virtual=None):
    """Return what a plan's rehearsal changes."""
    wanted = json.loads(json.dumps(plan.as_dict()))
    kept = json.loads(file.read_text()) if file.exists() else None
    if virtual is None and kept and kept["plan"] == wanted:
        return kept["changed"]
    changed = _rehearse(plan, virtual)
    if virtual is None and kept is None:
        scratch = file.with_suffix(f".{os.getpid()}")
        scratch.write_text(json.dumps({"plan": wanted, "changed": changed}))
        scratch.replace(file)
    return changed


if __name__ == "__main__":
    kept_in = Path(sys.argv[1])
    security_run.rehearse = lambda plan, virtual=None: rehearse(kept_in, plan, virtual)
    sys.exit(main.run(sys.argv[2:]))
