"""Watches for licences that two devices hold (attack A20): signs, alerts, and what the policy makes of them."""

from collections import deque
from typing import Any

CLONE_POLICIES = ("newest", "both_out", "first_stays")

_WINDOW_MS = 600_000
_SIGNS = 4
_MAX_SUSPECTS = 4096
_MAX_ALERTS = 100
_QUARANTINE_MS = 3_600_000


class CloneWatch:
    """Signs by DID, bounded; `alerts` are dicts of kind, did, unix_time and role. ValueError for an unknown policy."""

    def __init__(self, policy: str, role: int) -> None:
        if policy not in CLONE_POLICIES:
            raise ValueError(f"no such policy for clones: {policy}")
        self.policy = policy
        self.alerts: deque[dict[str, Any]] = deque(maxlen=_MAX_ALERTS)
        self._role = role
        self._signs: dict[str, list[int]] = {}
        self._quarantine: dict[str, int] = {}

    def on_sign(self, did: str, now_ms: int, unix_time: int) -> bool:
        """Count a sign that two devices hold one licence: four within ten minutes are no accident.

        Returns whether the session that there is has to go.
        """
        times = [time for time in self._signs.pop(did, []) if now_ms - time < _WINDOW_MS]
        times.append(now_ms)
        if len(times) < _SIGNS:
            _make_room(self._signs)
            self._signs[did] = times
            return False
        self.alerts.append({"kind": "cloned licence", "did": did, "unix_time": unix_time, "role": self._role})
        _make_room(self._quarantine)
        self._quarantine[did] = now_ms + _QUARANTINE_MS
        return self.policy == "both_out"

    def is_barred(self, did: str, now_ms: int, is_online: bool) -> bool:
        """Tell whether the policy keeps a device out: for an hour, or while the first one is there."""
        if did not in self._quarantine or self.policy == "newest":
            return False
        if self._quarantine[did] <= now_ms:
            del self._quarantine[did]
            return False
        return self.policy == "both_out" or is_online

    @property
    def suspects(self) -> int:
        """How many DIDs there are signs of."""
        return len(self._signs)


def _make_room(table: dict[str, Any]) -> None:
    if len(table) >= _MAX_SUSPECTS:
        del table[next(iter(table))]
