"""What a datagram of 1200 bytes costs a device, in host instructions beside AES and SHA, and in bytes of garbage.

`python tests/bench/bench_datagram.py` counts by callgrind, on the core as images have it: linked. Garbage collection is
included; it repeats to 1 %. One host instruction is about 15 ns on an ESP32.
Of the garbage 512 bytes are the least with a stock hashlib, whose SHA-256 can be neither copied nor used again: a MAC
takes two states and two digests (384), and every third datagram is acknowledged (128).
"""

import sys
from pathlib import Path

import garbage
import instructions
import linked
import mpy32  # garbage puts its folder on the path
from figures import report

_MODES = Path(__file__).resolve().parent / "mpy" / "modes"
_COUNT = 400
_HEAP = "512K"  # room for sender and script; what garbage costs is its own figure


def measure(mode: str, count: int = _COUNT) -> int:
    """Return the instructions of one datagram at the device alone; mode: acknowledge, read."""
    path = linked.search_path()
    both, sender = (
        instructions.per_iteration(_MODES / f"{name}.py", count, path, _HEAP).beside_crypto for name in (mode, "sender")
    )
    return both - sender


def main() -> None:
    """Print the datagram received, opened and acknowledged; and with events, timer, reading and window updates too."""
    report("datagram_ack", measure("acknowledge"))
    report("datagram_read", measure("read"))
    if mpy32.missing_reason():
        print(mpy32.missing_reason(), file=sys.stderr)
    else:
        report("garbage_ack", garbage.per_datagram("ACKNOWLEDGE"))
        report("garbage_read", garbage.per_datagram("READ"))


if __name__ == "__main__":
    main()
