"""What a datagram of 1200 bytes costs a device, in host instructions beside AES and SHA, and in bytes of garbage.

`python tests/bench/bench_datagram.py` counts by callgrind, under MicroPython with the heap of a chip, garbage
collection included; it repeats to 1 %. One host instruction is about 15 ns on an ESP32.
"""

import sys
from pathlib import Path

import garbage
import instructions
import mpy32  # garbage and instructions put their folders on the path
import run_mpy
from figures import report

_FOLDER = Path(__file__).resolve().parent

_COUNT = 400


def measure(script: str) -> int:
    """Return the instructions of one datagram at the device alone."""
    path = [run_mpy.core_tree(), _FOLDER / "mpy"]
    both, sender = (
        instructions.per_iteration(_FOLDER / "mpy" / f"session_1200{name}.py", _COUNT, path).beside_crypto
        for name in (script, "_sender")
    )
    return both - sender


def main() -> None:
    """Print the datagram received, opened and acknowledged; and with events, timer, reading and window updates too."""
    report("datagram_ack", measure("_ack"))
    report("datagram_read", measure(""))
    if mpy32.missing_reason():
        print(mpy32.missing_reason(), file=sys.stderr)
    else:
        report("garbage_ack", garbage.per_datagram("ACKNOWLEDGE"))
        report("garbage_read", garbage.per_datagram("READ"))


if __name__ == "__main__":
    main()
