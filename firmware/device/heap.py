"""The memory budget of a board: what may still be allocated, when garbage is collected, what was refused.

The GC heap of an ESP32 grows in steps, 56 KB, 112 KB, then all that is left; the third step takes the memory of Wi-Fi
and lwIP. So nothing is begun that could lead there, nor when ESP-IDF's own heap has less than a reserve left. Figures
are bytes on the chip's scale: a board whose objects are larger (the unix port) has a larger `heap_limit` in its
board.toml, which stands for the same 112 KB.
"""

import gc

from upeer.base.compat import const

CHIP_LIMIT = const(114688)  # two steps of the GC heap
_RESERVE = const(20480)  # of ESP-IDF's heap: lwIP and Wi-Fi take their buffers from it
_GARBAGE = const(8192)  # what may be allocated between two collections
_LEAST_THRESHOLD = const(4096)
_MOST_THRESHOLD = const(16384)

# bytes that gc.mem_alloc may reach on this board; the most that it was, on the chip's scale; acts that did not fit
_figures = [CHIP_LIMIT, 0, 0]


def set_heap_limit(size: int) -> None:
    """Let gc.mem_alloc reach `size` bytes, or the whole heap if that is smaller. Called once, at the start."""
    _figures[0] = min(size, gc.mem_alloc() + gc.mem_free())


def allocated() -> int:
    """Return the bytes in use, garbage included, and remember the most that were."""
    size = gc.mem_alloc() * 64 // (_figures[0] * 64 // CHIP_LIMIT)
    if size > _figures[1]:
        _figures[1] = size
    return size


def free_bytes() -> int:
    """Return how many bytes may be allocated beside what is, with an allowance for garbage."""
    return CHIP_LIMIT - _GARBAGE - allocated()


def reserve() -> tuple:
    """Return (bytes free in ESP-IDF's heap, the least that ever were); both None on a board that cannot tell."""
    try:
        import esp32

        regions = esp32.idf_heap_info(esp32.HEAP_DATA)
    except (ImportError, AttributeError):
        return None, None
    return sum([row[1] for row in regions]), sum([row[3] for row in regions])


def admit(size: int) -> bool:
    """Tell whether an act that allocates `size` bytes may begin, and count it if it may not.

    Garbage is collected before the answer is no.
    """
    left = reserve()[0]
    if left is None or left >= _RESERVE:
        if free_bytes() < size:
            collect()
        if free_bytes() >= size:
            return True
    _figures[2] += 1
    return False


def collect() -> None:
    """Collect garbage now, and have the next collection come before the heap would grow into its third step."""
    allocated()
    gc.collect()
    gc.threshold(max(_LEAST_THRESHOLD, min(_MOST_THRESHOLD, (CHIP_LIMIT - allocated()) // 2)))


def heap_figures() -> dict:
    """Return what the command `status` tells of the memory, in bytes on the chip's scale."""
    collect()
    live, (left, least) = allocated(), reserve()
    return {
        "live": live,
        "peak": _figures[1],
        "limit": CHIP_LIMIT,
        "reserve": left,
        "reserve_least": least,
        "refused": _figures[2],
    }
