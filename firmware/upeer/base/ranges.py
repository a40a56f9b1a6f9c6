"""Sets of integers as sorted, disjoint, half-open ranges: packet numbers seen, bytes that came or got lost.

A set is a plain list, [start, stop, start, stop, ...], ascending; neighbours that touch are one. Called by the session.
"""


def add_range(bounds: list, start: int, stop: int) -> None:
    """Add start..stop-1 to the set. Cheapest at the top end; MemoryError leaves the set as it was."""
    after = len(bounds)
    while after and bounds[after - 2] > stop:
        after -= 2
    first = after
    while first and bounds[first - 1] >= start:
        first -= 2
    if first == after:
        bounds[first:first] = (start, stop)
        return
    if start < bounds[first]:
        bounds[first] = start
    after -= 1
    if stop < bounds[after]:
        stop = bounds[after]
    first += 1
    while after > first:
        bounds.pop(after)
        after -= 1
    bounds[first] = stop


def has_value(bounds: list, value: int) -> bool:
    """Return whether `value` is in the set."""
    i = len(bounds) - 2
    while i >= 0 and bounds[i] > value:
        i -= 2
    return i >= 0 and value < bounds[i + 1]


def keep_highest(bounds: list, count: int) -> int:
    """Drop the lowest ranges until `count` are left; return where the last of those dropped ended, or 0."""
    floor = 0
    while len(bounds) > 2 * count:
        bounds.pop(0)
        floor = bounds.pop(0)
    return floor
