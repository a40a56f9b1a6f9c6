"""One direction of a simulated link: delay, jitter, loss, duplication, reordering, bandwidth and a finite queue."""

import random

_HEADER_SIZE = 28  # IPv4 and UDP


class Link:
    """Decide when (and how often, if at all) a datagram arrives. Attributes may be changed in mid-run.

    Jitter keeps the order, as a queue does; a reordered datagram (fraction `reorder`) arrives `reorder_ms` late, and
    those behind it overtake. `kbit_per_s` 0 means no limit; beyond `queue_size` waiting bytes the link drops.
    """

    def __init__(
        self,
        delay_ms: float = 0,
        *,
        jitter_ms: float = 0,
        loss: float = 0.0,
        duplicate: float = 0.0,
        reorder: float = 0.0,
        reorder_ms: float = 0,
        kbit_per_s: int = 0,
        queue_size: int = 65536,
    ) -> None:
        self.delay_ms = delay_ms
        self.jitter_ms = jitter_ms
        self.loss = loss
        self.duplicate = duplicate
        self.reorder = reorder
        self.reorder_ms = reorder_ms or delay_ms + 5
        self.kbit_per_s = kbit_per_s
        self.queue_size = queue_size
        self.lost = self.queue_dropped = self.duplicated = self.reordered = 0
        self._busy_until_us = 0
        self._last_arrival_us = 0

    def arrivals(self, size: int, now_us: int, rng: random.Random) -> tuple[int, ...]:
        """Return the times in us at which a datagram of `size` bytes, sent now, arrives: none, one or two."""
        leaves_us = now_us
        if self.kbit_per_s:
            leaves_us = self._leave_queue(size + _HEADER_SIZE, now_us)
            if leaves_us < 0:
                self.queue_dropped += 1
                return ()
        if self.loss and rng.random() < self.loss:
            self.lost += 1
            return ()
        arrives_us = leaves_us + int(self.delay_ms * 1000)
        if self.jitter_ms:
            arrives_us += int(rng.random() * self.jitter_ms * 1000)
        if self.reorder and rng.random() < self.reorder:
            self.reordered += 1
            arrives_us += int(self.reorder_ms * 1000)
        else:
            arrives_us = self._last_arrival_us = max(arrives_us, self._last_arrival_us)
        if self.duplicate and rng.random() < self.duplicate:
            self.duplicated += 1
            return arrives_us, arrives_us + int(rng.random() * 2000)
        return (arrives_us,)

    def _leave_queue(self, size: int, now_us: int) -> int:
        starts_us = max(now_us, self._busy_until_us)
        if (starts_us - now_us) * self.kbit_per_s // 8000 > self.queue_size:
            return -1
        self._busy_until_us = starts_us + size * 8000 // self.kbit_per_s
        return self._busy_until_us
