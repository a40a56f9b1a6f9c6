"""The command line without one rehearsal: `python rehearsed_upeer.py FILE ARGUMENTS...`, for stations as processes.

FILE, written by `keep`, has a plan and what its rehearsal changed: that plan is not rehearsed again, every other one
is. All else is upeer itself.
"""

import json
import sys
from pathlib import Path

from upeer_cli import main
from upeer_factory import security_run


def keep(plan, file):
    """Rehearse a plan for all stations; return what changed."""
    changed = security_run.rehearse(plan)
    file.write_text(json.dumps({"plan": plan.as_dict(), "changed": changed}))
    return changed


def command(file):
    """Return how to run upeer with the rehearsal in `file`."""
    return [sys.executable, __file__, str(file)]


def _remembering(file):
    rehearse, kept = security_run.rehearse, json.loads(file.read_text())

    def remembered(plan, virtual=None):
        is_kept = virtual is None and json.loads(json.dumps(plan.as_dict())) == kept["plan"]
        return kept["changed"] if is_kept else rehearse(plan, virtual)

    return remembered


if __name__ == "__main__":
    security_run.rehearse = _remembering(Path(sys.argv[1]))
    sys.exit(main.run(sys.argv[2:]))
