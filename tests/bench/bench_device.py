"""What a device holds on the chip's scale, from started to two sessions of four busy channels: tests/board32."""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "board32"))

import mpy32
import stages
from figures import report

_NAMES = {
    "started": "device_started",
    "logged in": "device_logged_in",
    "one session": "device_session",
    "one session, one busy channel": "device_busy_channel",
    "one session, four busy channels": "device_four_channels",
    "two sessions, four busy channels each": "device_two_sessions",
}


def main() -> int:
    """Run a device through all of it and tell the most that was live at each stage."""
    if mpy32.missing_reason():
        print(mpy32.missing_reason(), file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        found = stages.measure(Path(folder))
    for stage, name in _NAMES.items():
        report(name, found[stage] / 1024)
    return 0


if __name__ == "__main__":
    sys.exit(main())
