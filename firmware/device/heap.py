"""The memory budget of a board: what may still be allocated, when garbage is collected, what was refused.

The GC heap of an ESP32 grows in steps, 56 KB, 112 KB, then all that is left; the third step takes the memory of Wi-Fi
and lwIP. So nothing is begun that could lead there, nor when ESP-IDF's own heap has less than a reserve left. Sizes are
bytes on the chip's scale: a board whose objects are larger (the unix port) has a larger `heap_limit` in its board.toml,
which stands for the same 112 KB.
"""

import gc

import esp32

from upeer.base.compat import const

CHIP_LIMIT = const(114688)  # two steps of the GC heap
RESERVE = const(20480)  # of ESP-IDF's heap: lwIP and Wi-Fi take their buffers from it
_GARBAGE = const(4096)  # beside what acts ask for: garbage, and what lives on without asking
_THRESHOLD = const(1536)  # of that, what comes between two collections; the rest stays whole: a datagram is one piece
_STEP = const(2560)  # what a step of the loop may take without a collection: at the edge of memory, of the rest
_MOST_THRESHOLD = const(24576)
_NO_LIMIT = const(0x10000000)  # until the board's file is read

# Bytes that gc.mem_alloc may reach on this board; the most that it was, on the chip's scale; acts that did not fit;
# whether a collection is due: an act began while garbage took much of what was free.
figures = [_NO_LIMIT, 0, 0, False]


def _scale() -> int:
    """Return how many bytes of this board stand for 64 of the chip's; before the board's file is read, many."""
    return figures[0] * 64 // CHIP_LIMIT


def allocated() -> int:
    """Return the bytes in use, garbage included, and remember the most that were. It takes 4 ms on a chip."""
    size = gc.mem_alloc() * 64 // _scale()
    if size > figures[1]:
        figures[1] = size
    return size


def free_bytes() -> int:
    """Return how many bytes may be allocated beside what is, with an allowance for garbage."""
    return CHIP_LIMIT - _GARBAGE - allocated()


def reserve(column: int = 1) -> int:
    """Return the bytes free in ESP-IDF's heap, or with column 3 the least that ever were."""
    try:
        return sum([row[column] for row in esp32.idf_heap_info(esp32.HEAP_DATA)])
    except AttributeError:
        return _NO_LIMIT  # a board that cannot tell


def collect() -> int:
    """Collect garbage now, and have the next collection come before the heap would grow into its third step.

    Return the bytes that are free then, as `free_bytes`.
    """
    allocated()
    gc.collect()
    figures[3] = False
    free = free_bytes()
    limit_garbage(free)
    return free


def limit_garbage(free: int, most: int = _MOST_THRESHOLD) -> None:
    """Have the next collection come before what is free is used up, and after `most` bytes at the latest.

    `free` is what `free_bytes` told, which leaves an allowance on top. gc.threshold counts bytes of this board: more
    than the chip's by `_scale`, of which at most twice is believed before the board's file is read.
    """
    size = min(most, free + _THRESHOLD)
    if size < _STEP:
        size = max(_THRESHOLD, min(_STEP, free + _STEP))
    gc.threshold(size * min(_scale(), 2 * 64) // 64)
