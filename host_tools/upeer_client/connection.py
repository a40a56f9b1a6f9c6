"""A connection to a device: what `upeer.aio` gives on both sides, and what only a client wants to know of it."""

import asyncio
import itertools
import random
from typing import Any

from upeer import aio
from upeer.base.clock import ticks_diff, ticks_ms
from upeer.base.errors import LocalError, RemoteError
from upeer.connect import ALL, DIRECT_ONLY, LAN_ONLY, RELAY_ONLY
from upeer.session.paths import RELAY
from upeer.session.session import EVENT_ANSWER, EVENT_DATAGRAM, EVENT_PATH, EVENT_READABLE
from upeer_client import errors

KINDS = ("lan", "direct", "direct", "relay")
MODES = {"all": ALL, "lan": LAN_ONLY, "direct": DIRECT_ONLY, "relay": RELAY_ONLY}

_CLOSE_S = 5.0
_MEMORY_TRIES = 3  # for what a device lacks memory for now
_MEMORY_WAIT_S = 1.0  # before the second, at most; twice that before the third
_CODE_IDLE = 4
_CODE_REVOKED = 6
_CODE_NO_PATH = 10
_REASONS = {1: "internal error", 2: "protocol error", 5: "too many sessions", 7: "out of memory", 9: "shutting down"}


def memory_wait_s(tries: int) -> float | None:
    """Return the seconds after which a device that lacked memory `tries` times is asked again; None: it is not."""
    if tries >= _MEMORY_TRIES:
        return None
    return _MEMORY_WAIT_S * (1 << tries - 1) * random.uniform(0.5, 1)


class Connection(aio.Connection):  # type: ignore[misc]
    """One session. `role` is ours on the device: owner, user, guest or setup; `upgraded` tells whether data moved

    to a better path than the first one. Its calls raise ClosedByPeer or ConnectionLost when it is over.
    """

    def __init__(self, session: Any, transport: Any, did: str, started: int) -> None:
        super().__init__(session, transport.flush)
        self.did = did
        self.role = ""
        self.timeline: dict[str, int] = {}
        self.upgraded = False
        self._transport = transport
        self._started = started
        self._first_rank: int | None = None
        session.connection = self

    def on_event(self, event: tuple[Any, ...]) -> None:
        """Take one event of the session."""
        kind = event[0]
        if kind == EVENT_PATH:
            self._on_path()
        elif kind in (EVENT_READABLE, EVENT_ANSWER, EVENT_DATAGRAM):
            self._mark("first_byte_ms")
        super().on_event(event)

    def failure(self) -> Exception:
        """Return the error that says how the connection ended."""
        code, reason = self.closed or (0, "")
        if code in (_CODE_IDLE, _CODE_NO_PATH):
            return errors.ConnectionLost(f"the connection to {self.did} is lost")
        if code == _CODE_REVOKED:
            return errors.NotAllowed(f"{self.did} no longer accepts this client")
        text = reason or _REASONS.get(code, "done" if not code else f"code {code}")
        error = errors.ClosedByPeer(f"the connection to {self.did} is closed: {text}")
        error.reason = code
        return error

    async def open(self, service: str, number: int = 0) -> aio.Channel:
        """Bind a service of the device to a channel, 0 to 7, and return it; ServiceRefused."""
        self._check_channel(number)
        for tries in itertools.count(1):
            try:
                return await super().open(service, number)
            except LocalError as error:
                is_short = "out of memory" in str(error)
                wait_s = memory_wait_s(tries) if is_short else None
                if wait_s is None:
                    hint = "close a channel" if is_short else "see the device's firmware for the services it has"
                    raise errors.ServiceRefused(str(error), hint) from error
            await asyncio.sleep(wait_s)
        raise AssertionError("not reached")

    def channel(self, number: int) -> aio.Channel:
        """Return the live stream of a channel, 0 to 7."""
        self._check_channel(number)
        return super().channel(number)

    def allow(self, mode: str) -> None:
        """Let data move to more kinds of path than the connection began with, say from "relay" to "all"."""
        if mode not in MODES:
            raise errors.UsageError(f"there is no mode {mode!r}", "choose all, lan, direct or relay")
        self._transport.endpoint.allow(self.session, MODES[mode])
        self.flush()

    async def close(  # type: ignore[override]
        self, code: int = 0, reason: str = "", timeout: float = _CLOSE_S
    ) -> None:
        """Close once the device has all that was written; drop the rest when that takes longer than timeout."""
        self.session.close(code, reason)
        self.flush()
        try:
            async with asyncio.timeout(timeout):
                while self.closed is None:
                    await self.changed()
        except TimeoutError:
            self.abort(code, reason)

    def abort(self, code: int = 0, reason: str = "") -> None:
        """Close now and drop what is not delivered."""
        self.session.abort(code, reason)
        self.flush()

    async def __aenter__(self) -> "Connection":
        return self

    async def __aexit__(self, kind: object, _error: object, _trace: object) -> None:
        if kind is None:
            await self.close()
        else:
            self.abort()

    @property
    def path(self) -> dict[str, Any]:
        """How datagrams go now: `kind` lan, direct, relay or none, own and remote port, remote address, upgraded."""
        active = self.session.paths.active
        info: dict[str, Any] = {"kind": "none", "local_port": self._transport.port, "upgraded": self.upgraded}
        if active is not None:
            info |= {"kind": KINDS[active.kind], "remote": active.addr[0], "remote_port": active.addr[1]}
            info["rtt_ms"] = active.rtt_ms
        return info

    def stats(self) -> dict[str, Any]:
        """Return path, times and counters, in bytes and ms."""
        counters = self.session.stats()
        path_changes = max(self.session.paths.changes - 1, 0)
        return {"did": self.did, "path": self.path, "path_changes": path_changes, **self.timeline, **counters}

    def _on_path(self) -> None:
        active = self.session.paths.active
        if active is None:
            return
        rank = (0, 1, 1, 2)[active.kind]
        if self._first_rank is None:
            self._first_rank = rank
        elif rank < self._first_rank:
            self.upgraded = True
        if active.kind != RELAY:
            self._mark("direct_ms")

    def _mark(self, name: str) -> None:
        self.timeline.setdefault(name, ticks_diff(ticks_ms(), self._started))

    @staticmethod
    def _check_channel(number: int) -> None:
        if not 0 <= number <= 7:
            raise errors.UsageError(f"there is no channel {number}", "choose one from 0 to 7")


def is_lost(error: BaseException) -> bool:
    """Tell whether a connection ended in a way that another one may mend."""
    if isinstance(error, errors.ClosedByPeer):
        return error.reason in (1, 7, 8, 9)
    return isinstance(error, errors.ConnectionLost | errors.TimedOut | RemoteError)
