"""What one datagram leaves as garbage on the chip: bytes that the linked core allocates, on 32-bit MicroPython.

AES is a stand-in that changes nothing and takes what the chip's takes, as its C code does its work in place; SHA-256 is
the port's own. Nothing is collected within one step, so that what is allocated is what was.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import linked
import mpy32

_FOLDER = Path(__file__).resolve().parent
_SHIMS = _FOLDER.parent / "board32" / "shims"
_COUNT = 200
_STEP = "a = gc.mem_alloc(); session_1200.main({count}, session_1200.{mode}); print(gc.mem_alloc() - a)"


def per_datagram(mode: str) -> int:
    """Return the bytes that a device allocates for a datagram of 1200 bytes; mode: ACKNOWLEDGE, READ."""
    both, sender = (_per_iteration(name) for name in (mode, "SENDER"))
    return both - sender


def _per_iteration(mode: str) -> int:
    """Return the bytes of one iteration, without what is allocated once."""
    files = mpy32.tree_files(linked.tree()) | mpy32.stub_files() | mpy32.stub_files(_FOLDER / "mpy" / "stubs", "/free")
    files |= {f"/free/{path.name}": path for path in _SHIMS.glob("*.py") if path.stem not in ("os", "cryptolib")}
    counts = (_COUNT, 2 * _COUNT)
    steps = [("import", "import gc, session_1200")]
    steps += [(f"{mode} {count}", _STEP.format(count=count, mode=mode)) for count in counts]
    done = mpy32.run(mpy32.Job(files, steps, search_path=("/free", "/lib", "/stubs")))
    failed = [step.error for step in done if step.error]
    if failed:
        raise RuntimeError(failed[0])
    once, twice = (int(step.printed) for step in done[1:])
    return (twice - once) // _COUNT
