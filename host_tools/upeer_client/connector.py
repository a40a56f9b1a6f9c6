"""One attempt to reach a device: every path at once, the first that answers wins. No IO.

Masters are asked 50 ms apart until one knows the device; the invite through its servers names our addresses in the
local network too. Only when no master has found it within 0.3 s does an invite go into the local network by itself: a
device spends a curve operation on each. Events:
    ("session", session)    attach what takes its events, at once
    ("connected", session)  it has a path
    ("failed", ClientError)
"""

from typing import Any

from upeer.base.clock import earlier, ticks_add, ticks_diff
from upeer.connect import ALL, LAN_ONLY, RELAY_ONLY
from upeer.handshake.invite import NOT_ALLOWED, OUT_OF_MEMORY
from upeer_client import errors
from upeer_client.calls import (
    GONE,
    NO_ANSWER,
    NOT_FOUND,
    REFUSED,
    SILENT,
    Address,
    Caller,
    Datagrams,
    LanCall,
    MasterCall,
)

_NEXT_MASTER_MS = 50
_LAN_AFTER_MS = 300
_LAST_MASTER_MS = 1500  # for the other masters, after one did not know the device
_LOOKUP_MS = 6000
_LAN_MS = 1500  # while there are masters as well
_NEXT_INVITE_MS = 1000
_PATH_MS = 9000

_REACHING = "reaching"
_PROVING = "proving"
_DONE = "done"
_NEXT_STATES = {_REACHING: (_PROVING, _DONE), _PROVING: (_DONE,), _DONE: ()}


class Connector:
    """`timeline` tells when what was reached, in ms since the start: lookup_ms, invite_ms, path_ms."""

    def __init__(self, caller: Caller, lan_targets: list[str], timeout_ms: int, now: int) -> None:
        self.session: Any = None
        self.timeline: dict[str, int] = {}
        self.started = now
        self._caller = caller
        self._deadline = ticks_add(now, timeout_ms)
        self._state = _REACHING
        self._events: list[tuple[str, Any]] = []
        has_lan = caller.allow in (ALL, LAN_ONLY)
        masters = caller.platform.masters if caller.allow != LAN_ONLY else ()
        self._masters = [MasterCall(caller, master) for master in masters]
        lan_start = ticks_add(now, _LAN_AFTER_MS) if masters else now
        self._lan = LanCall(caller, lan_targets, lan_start) if has_lan else None
        self._next_master_at: int | None = now
        self._next_invite_at = now
        self._lookups_until: int | None = ticks_add(now, _LOOKUP_MS)  # None once that has passed
        self._lan_until: int | None = ticks_add(now, _LAN_MS) if masters else None
        self._is_lan_over = not has_lan

    def receive_datagram(self, data: bytes, addr: Address, now: int) -> None:
        """Take a datagram that is not of a session."""
        if self._state == _REACHING:
            for call in self._calls():
                call.receive_datagram(data, addr, now)
            self.step(now)

    def handle_timer(self, now: int) -> None:
        """Do what is due."""
        if self._state == _REACHING:
            for call in self._calls():
                call.handle_timer(now)
        self.step(now)

    def timer(self) -> int | None:
        """Return when handle_timer wants to be called, None once it is over."""
        if self._state == _DONE:
            return None
        deadline: int = self._deadline
        if self._state == _REACHING:
            for call in self._calls():
                deadline = earlier(deadline, call.timer())
            deadline = earlier(deadline, self._next_master_at)
            deadline = earlier(deadline, earlier(self._lookups_until, self._lan_until))
            if any(self._can_invite(call) for call in self._masters):
                deadline = earlier(deadline, self._next_invite_at)
        return deadline

    def datagrams_to_send(self, now: int) -> Datagrams:
        """Return what is to be sent now; the session's own datagrams are the endpoint's."""
        if self._state != _REACHING:
            return []
        return [datagram for call in self._calls() for datagram in call.datagrams_to_send(now)]

    def next_event(self) -> tuple[str, Any] | None:
        """Return the next event, None when there is none."""
        return self._events.pop(0) if self._events else None

    def cancel(self) -> None:
        """Give up without an event."""
        if self._state != _DONE:
            self._to(_DONE)
            if self.session is not None:
                self.session.abort()

    def step(self, now: int) -> None:
        """Look where things stand; called after everything else, the endpoint's doors too."""
        if self._state == _REACHING:
            self._take_session(now)
        if self._state == _REACHING:
            self._go_on(now)
        if self._state == _PROVING:
            self._prove(now)
        if self._state != _DONE and ticks_diff(self._deadline, now) <= 0:
            self._fail(self._time_out())

    # reaching

    def _calls(self) -> list[Any]:
        started = [call for call in self._masters if call.is_started]
        return [self._lan, *started] if self._lan is not None else started

    @staticmethod
    def _can_invite(call: MasterCall) -> bool:
        return call.found is not None and not call.is_inviting

    def _take_session(self, now: int) -> None:
        for call in self._calls():
            if call.session is not None:
                self.session = call.session
                self._mark("invite_ms", now)
                self._to(_PROVING)
                self._deadline = earlier(self._deadline, ticks_add(now, _PATH_MS))
                self._events.append(("session", self.session))
                return

    def _go_on(self, now: int) -> None:
        if any(call.found for call in self._masters):
            self._mark("lookup_ms", now)
            self._next_master_at = None
            if self._lan is not None and not self._lan.has_begun:
                self._lan = None
                self._is_lan_over = True
        self._ask_next_master(now)
        self._invite_next(now)
        if self._lookups_until is not None and any(call.outcome == NOT_FOUND for call in self._masters):
            self._lookups_until = earlier(self._lookups_until, ticks_add(now, _LAST_MASTER_MS))
        self._look_at_clock(now)
        if self._caller.status or (self._is_lan_over and all(self._has_ended(call) for call in self._masters)):
            self._fail(self._reason())

    def _look_at_clock(self, now: int) -> None:
        if self._lookups_until is not None and ticks_diff(self._lookups_until, now) <= 0:
            self._lookups_until = None
        if self._lan_until is not None and ticks_diff(self._lan_until, now) <= 0:
            self._lan_until = None
            self._is_lan_over = True
        if self._lan is not None and self._lan.outcome is not None:
            self._is_lan_over = True

    def _has_ended(self, call: MasterCall) -> bool:
        return call.outcome is not None or (self._lookups_until is None and call.found is None)

    def _ask_next_master(self, now: int) -> None:
        """Ask another master when it is time, and at once when all that were asked are through without success."""
        waiting = [call for call in self._masters if not call.is_started]
        asked = [call for call in self._masters if call.is_started]
        is_stuck = all(call.outcome is not None for call in asked)
        is_due = self._next_master_at is not None and ticks_diff(self._next_master_at, now) <= 0
        if not waiting:
            self._next_master_at = None
        elif is_due or is_stuck:
            if not any(call.found and call.outcome is None for call in asked):
                waiting[0].start(now)
            self._next_master_at = ticks_add(now, _NEXT_MASTER_MS)

    def _invite_next(self, now: int) -> None:
        """Invite through the next master's servers: those before failed, or have been silent for long."""
        ready = [call for call in self._masters if self._can_invite(call)]
        inviting = [call for call in self._masters if call.is_inviting and call.outcome is None]
        if ready and (ticks_diff(self._next_invite_at, now) <= 0 or (not inviting and self._has_invited())):
            ready[0].invite(now)
            self._next_invite_at = ticks_add(now, _NEXT_INVITE_MS)

    def _has_invited(self) -> bool:
        return any(call.is_inviting for call in self._masters)

    # proving

    def _prove(self, now: int) -> None:
        if self.session.paths.active is not None:
            self._mark("path_ms", now)
            self._to(_DONE)
            self._events.append(("connected", self.session))
        elif self.session.is_closed or not self.session.is_open:
            self._fail(self._no_path())

    def _no_path(self) -> errors.ClientError:
        relays = self._caller.endpoint.relays_of(self.session)
        name = self._caller.peer.did
        if self._caller.allow == RELAY_ONLY:
            return errors.NoRelay(f"no relay carries datagrams between us and {name}")
        if self._caller.allow == ALL and not any(end.reflexive for end in relays):
            return errors.NoRelay(f"there is no direct path to {name}, and no relay answers")
        hint = "try again; the device's network may have changed" if self._caller.allow == ALL else None
        return errors.NoPath(f"{name} answered, but no datagram passes between it and us", hint)

    # the end

    def _reason(self) -> errors.ClientError:
        name = self._caller.peer.did
        outcomes = [call.outcome for call in self._masters]
        if self._caller.status == NOT_ALLOWED:
            return errors.NotAllowed(f"{name} does not accept this client")
        if self._caller.status == OUT_OF_MEMORY:
            busy = errors.DeviceBusy(f"{name} has no memory for another session now")
            busy.passes = True
            return busy
        if self._caller.status or REFUSED in outcomes:
            return errors.DeviceBusy(f"{name} has no room for another session")
        if not self._masters:
            return errors.CannotReach(f"{name} does not answer in this network", "allow the servers with '--mode all'")
        if SILENT in outcomes:
            return errors.TimedOut(f"{name} is online but does not answer")
        if NOT_FOUND in outcomes or GONE in outcomes:
            return errors.CannotReach(f"{name} cannot be reached")
        if any(call.has_answered for call in self._masters):
            return errors.WrongKeys("a master answers, but not as the one that this client knows")
        return errors.NoAnswer(f"no master answers ({len(self._masters)} asked)")

    def _time_out(self) -> errors.ClientError:
        if self._state == _PROVING:
            return self._no_path()
        known = [call for call in self._masters if call.outcome not in (None, NO_ANSWER)]
        if known or any(call.is_inviting for call in self._masters):
            return errors.TimedOut(f"{self._caller.peer.did} did not answer in time")
        return self._reason()

    def _mark(self, name: str, now: int) -> None:
        self.timeline.setdefault(name, ticks_diff(now, self.started))

    def _fail(self, error: errors.ClientError) -> None:
        self._to(_DONE)
        if self.session is not None:
            self.session.abort()
        self._events.append(("failed", error))

    def _to(self, state: str) -> None:
        assert state in _NEXT_STATES[self._state]
        self._state = state
