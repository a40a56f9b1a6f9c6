"""Sets of integers as sorted, disjoint, half-open ranges: packet numbers seen, bytes that came or got lost."""


class Ranges:
    """`bounds` is [start, stop, start, stop, ...], ascending; neighbours that touch are one. Users may read it."""

    def __init__(self):
        self.bounds = []

    def add(self, start: int, stop: int) -> None:
        """Add start..stop-1. Cheapest at the top end."""
        bounds = self.bounds
        after = len(bounds)
        while after and bounds[after - 2] > stop:
            after -= 2
        first = after
        while first and bounds[first - 1] >= start:
            first -= 2
        if first == after:
            bounds.insert(first, stop)
            bounds.insert(first, start)
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

    def has(self, value: int) -> bool:
        """Return whether `value` is in the set."""
        bounds = self.bounds
        i = len(bounds) - 2
        while i >= 0 and bounds[i] > value:
            i -= 2
        return i >= 0 and value < bounds[i + 1]

    def limit(self, count: int) -> int:
        """Drop the lowest ranges until `count` are left; return where the last of those dropped ended, or 0."""
        bounds = self.bounds
        floor = 0
        while len(bounds) > 2 * count:
            bounds.pop(0)
            floor = bounds.pop(0)
        return floor
