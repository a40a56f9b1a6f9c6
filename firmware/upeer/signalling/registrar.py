"""Keeps a device logged in to all its masters and p2p servers (protocol, chapter 4). How it gets in: `enrol`.

The device's shell pumps it through the five doors; what it learns comes out as events:
    ("invite", control, invite_id, client address, key_id, lookup_token, Noise message 1)
    ("keys", key_id, crc_key, p2p_key)     a new generation of platform keys: store it, then put it into `identity`
    ("online", role, id), ("offline", role, id, reason)     reason: "no answer", "refused", "busy", "dead", ...
    ("unanswered", id)     a master did not answer: its name may have a new address (`enrol.set_master`)
"""

from upeer.base.clock import earlier, ticks_add, ticks_diff
from upeer.base.compat import const
from upeer.base.wire import ROLE_MASTER

_WEEK_S = const(604800)
_MAX_DEFERRED = const(8)


class Registrar:
    """All logins of one device. `identity` is what Login wants, and has `licence_key` and `raise_epoch` besides.

    `servers` are Servers; `busy` is how many of them a login is under way with. A shell that drops the module
    `enrol` makes `before_enrol` what is to be called before it is imported. What needs that module while no login is
    under way then waits in `deferred` for the next handle_timer, so that the shell may load it in its own time.
    """

    def __init__(self, identity, random_bytes, now: int):
        self.identity = identity
        self.random_bytes = random_bytes
        self.send_address = None
        self.servers = []
        self.events = []
        self.tokens = b""
        self.busy = 0
        self.before_enrol = None
        self.deferred = []  # (server, its Control or Login, event)
        self._unix_time = 0
        self._unix_at = now
        self._deadline = None  # what `timer` told, until `handle_timer` or a datagram comes

    def set_time(self, unix_time: int, now: int) -> None:
        """Take the time that a server told."""
        self._unix_time = unix_time
        self._unix_at = now

    def unix_time(self, now: int) -> int:
        """Return the time in s since 1970 as a server told it, 0 before any has."""
        passed = ticks_diff(now, self._unix_at)
        if passed >= 60000:  # move the base along, the ticks wrap
            self._unix_time += passed // 1000 if self._unix_time else 0
            self._unix_at = ticks_add(now, -(passed % 1000))
            passed %= 1000
        return self._unix_time and self._unix_time + passed // 1000

    def epoch(self, now: int) -> int:
        """Return the epoch of lookup tokens, 0 before a server told the time."""
        return self.unix_time(now) // _WEEK_S

    def set_tokens(self, tokens: bytes, now: int) -> None:
        """Make `tokens` (16 bytes each) what clients find this device by, at every server."""
        for _ in self.token_steps(tokens, now):
            pass

    def token_steps(self, tokens: bytes, now: int):
        """Do the same in steps between which a shell lets others work: yield after each server."""
        self.tokens = tokens
        for server in list(self.servers):
            if server.control:
                server.control.upload_tokens(self.tokens, now)  # newer ones, if such came meanwhile
                yield

    def count(self, role: int = ROLE_MASTER) -> int:
        """Return how many servers of that role the device is logged in to."""
        count = 0
        for server in self.servers:
            if server.role == role and server.control:
                count += 1
        return count

    def receive_datagram(self, data, addr: tuple, now: int) -> bool:
        """Take a datagram of chapter 4, no longer than `data` is; return whether it may be one of our servers'."""
        self._deadline = None
        is_ours = False
        for server in self.servers:
            if server.control:
                if server.control.receive_datagram(data, addr, now):
                    self._take_events(server, now)
                    return True
            elif server.login and addr == server.address:
                server.login.receive_datagram(data, addr, now)
                self._take_events(server, now)
                is_ours = True
        return is_ours

    def timer(self) -> int | None:
        """Return the ticks at which handle_timer wants to be called, None for never."""
        deadline = None
        for server in self.servers:
            part = server.control or server.login
            deadline = earlier(deadline, part.timer() if part else server.due)
        self._deadline = deadline
        return deadline

    def login_due(self, now: int):
        """Return the server with which a login is to begin now, None when there is none."""
        for server in self.servers:
            if server.due is not None and ticks_diff(server.due, now) <= 0:
                return server
        return None

    def handle_timer(self, now: int) -> None:
        """Do what is due: nothing before the ticks that `timer` told, if that was called since anything came.

        One login begins in a call: each is some work, and others wait for their turn.
        """
        while self.deferred:
            server, part, event = self.deferred.pop(0)
            if part is (server.control or server.login):  # not over meanwhile
                self._on_event(server, event, now)
        deadline = self._deadline
        self._deadline = None
        if deadline is not None and ticks_diff(deadline, now) > 0:
            return
        for server in self.servers:
            part = server.control or server.login
            if part:
                part.handle_timer(now)
                self._take_events(server, now)
        server = self.login_due(now)
        if server:
            self._before_enrol()
            from upeer.signalling.enrol import start

            start(self, server, now)

    def datagram_to_send(self, now: int):
        """Return the next datagram, for `send_address`; None when there is none."""
        for server in self.servers:
            part = server.control or server.login
            data = part.datagram_to_send(now) if part else None
            if data:
                self.send_address = part.address
                return data
        return None

    def next_event(self) -> tuple | None:
        """Return the next event, None when there is none."""
        return self.events.pop(0) if self.events else None

    def _take_events(self, server, now: int) -> None:
        while True:
            part = server.control or server.login
            event = part.next_event() if part else None
            if event is None:
                return
            if event[0] == "invite":
                self.events.append(("invite", part) + event[1:])
            elif event[0] == "keys":
                self.events.append(event)
            elif event[0] != "address":
                if self.before_enrol and not self.busy and len(self.deferred) < _MAX_DEFERRED:
                    self.deferred.append((server, part, event))
                else:
                    self._on_event(server, event, now)

    def _on_event(self, server, event: tuple, now: int) -> None:
        self._before_enrol()
        from upeer.signalling.enrol import on_event

        on_event(self, server, event, now)

    def _before_enrol(self) -> None:
        if self.before_enrol:
            self.before_enrol()
