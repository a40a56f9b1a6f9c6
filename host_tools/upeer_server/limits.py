"""Bounded work per source: token buckets by address and by /24."""

from collections.abc import Hashable


class Buckets:
    """One bucket per source: `burst` at once, then `per_second`. A full table forgets the source it heard of first."""

    def __init__(self, per_second: float, burst: float, size: int = 65536) -> None:
        self._per_ms = per_second / 1000
        self._burst = burst
        self._size = size
        self._buckets: dict[Hashable, tuple[float, int]] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def has(self, source: Hashable, ms: int) -> bool:
        """Tell whether `source` has anything left, and take nothing."""
        return self._level(source, ms) >= 1

    def take(self, source: Hashable, ms: int) -> bool:
        """Take one from the bucket of `source`; False when it is empty. `ms` is a clock that never goes back."""
        level = self._level(source, ms)
        taken = level >= 1
        buckets = self._buckets
        buckets.pop(source, None)
        if len(buckets) >= self._size:
            del buckets[next(iter(buckets))]
        buckets[source] = (level - 1 if taken else level, ms)
        return taken

    def _level(self, source: Hashable, ms: int) -> float:
        level, since = self._buckets.get(source, (self._burst, ms))
        return min(self._burst, level + (ms - since) * self._per_ms)


def prefix(ip: str) -> str:
    """Return the /24 of an IPv4 address."""
    return ip[: ip.rfind(".")]
