"""Times and rates of a device on the chip's model: counted instructions, reads of the flash, collections of garbage.

Every step of its loop takes what `counted_board.py` says that it takes on an ESP32 at 160 MHz; servers and clients are
the real ones, 20 ms there and back, all in virtual time. Joining the Wi-Fi takes no time here, and the board has room
for three sessions. How far the model can be trusted: of commit 49267be the chip made 240 to 440 kbit/s, and a curve
operation took it 1.0 s.
"""

import json
import subprocess
import sys
from pathlib import Path

from figures import report

_TIME_OUT_S = 900


def main() -> int:
    """Measure in a process of its own, whose time is virtual, and tell what it found."""
    command = [sys.executable, str(Path(__file__).with_name("chip_model.py"))]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=_TIME_OUT_S, check=False)
    if result.returncode:
        return 1
    for name, value in json.loads(result.stdout).items():
        report(name, value)
    return 0


if __name__ == "__main__":
    sys.exit(main())
