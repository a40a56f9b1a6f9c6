"""Which ports have a board now: polled, so that no system service is needed. A folder of links counts as ports too.

A chip with its own USB leaves the bus for a moment when it resets; only a port that was away for longer was unplugged.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from upeer_factory.flash import ports

GONE_SECONDS = 1.5


class Watch:
    """Tells what was plugged and unplugged since the last `poll(now)`."""

    def __init__(
        self, names: Sequence[str] = (), folder: Path | None = None, gone_seconds: float = GONE_SECONDS,
        list_ports: Callable[[], list[ports.Port]] = ports.list_ports,
    ) -> None:  # fmt: skip
        self._names, self._folder, self._gone_seconds = list(names), folder, gone_seconds
        self._list_ports = list_ports
        self._seen: dict[str, float] = {}

    def poll(self, now: float) -> list[tuple[str, str]]:
        """Return [("plugged" or "unplugged", port)], in the order of their names."""
        there = self._there()
        events = [("plugged", port) for port in there if port not in self._seen]
        self._seen.update(dict.fromkeys(there, now))
        gone = sorted(port for port, at in self._seen.items() if now - at > self._gone_seconds)
        for port in gone:
            del self._seen[port]
        return events + [("unplugged", port) for port in gone]

    def _there(self) -> list[str]:
        """Return the ports that are there: those that were named, those in the folder, else all of the machine."""
        if self._names:
            return [name for name in self._names if ports.exists(name)]
        if self._folder is not None:
            return [str(path) for path in sorted(self._folder.glob(ports.VISIBLE)) if path.exists()]
        return [port.name for port in self._list_ports()]
