"""Keeps a device logged in to all its masters and p2p servers (protocol, chapter 4): who, when, with which ticket.

The device's shell pumps it through the five doors; what it learns comes out as events:
    ("invite", control, invite_id, client address, key_id, lookup_token, Noise message 1)
    ("keys", key_id, crc_key, p2p_key)     a new generation of platform keys: store it, then put it into `identity`
    ("online", role, id), ("offline", role, id, reason)     reason: "no answer", "refused", "busy", "dead" or a LOGOUT code
    ("unanswered", id)     a master did not answer: its name may have a new address (`set_address`)
"""

from upeer.clock import earlier, ticks_add, ticks_diff
from upeer.compat import const
from upeer.login import NO_ANSWER, Login, login_key
from upeer.wire import ROLE_MASTER, ROLE_P2P

_MAX_P2P = const(4)
_REASONS = ("no answer", "refused", "busy")
_WEEK_S = const(604800)

NAT_UNKNOWN = const(0)
NAT_OPEN = const(1)
NAT_ENDPOINT_INDEPENDENT = const(2)
NAT_ADDRESS_DEPENDENT = const(3)


class _Server:
    """One server and how we stand with it: `login` while we try, `control` while we are in."""

    def __init__(self, role: int, number: int, address: tuple, key: bytes, ticket: bytes = b""):
        self.role = role
        self.number = number
        self.address = address
        self.key = key
        self.ticket = ticket
        self.failures = 0
        self.login = None
        self.control = None


class Registrar:
    """All logins of one device. `identity` is what Login wants, and has `licence_key` besides."""

    def __init__(self, identity, random_bytes, now: int):
        self.identity = identity
        self.send_address = None
        self._random_bytes = random_bytes
        self._servers = []
        self._events = []
        self._tokens = b""
        self._unix_time = 0
        self._unix_at = now

    def set_master(self, number: int, address: tuple, now: int) -> None:
        """Log in to that master, or go on at its new address."""
        for server in self._servers:
            if server.role == ROLE_MASTER and server.number == number:
                if server.address != address:
                    server.address = address
                    self._start(server, now)
                return
        identity = self.identity
        server = _Server(ROLE_MASTER, number, address, None)
        self._servers.append(server)
        server.key = login_key(identity.licence_key, identity.crc_key, identity.did, number)
        self._start(server, now)

    def restart(self, now: int) -> None:
        """Log in anew everywhere, at once: the network is another one, or the platform keys are."""
        identity = self.identity
        for server in self._servers:
            if server.role == ROLE_MASTER:
                server.key = login_key(identity.licence_key, identity.crc_key, identity.did, server.number)
            server.failures = 0
            self._start(server, now)

    def set_tokens(self, tokens: bytes, now: int) -> None:
        """Make `tokens` (16 bytes each) what clients find this device by, at every server."""
        self._tokens = tokens
        for server in self._servers:
            if server.control:
                server.control.upload_tokens(tokens, now)

    def log_out(self) -> None:
        """Say goodbye everywhere; datagrams to send remain."""
        for server in self._servers:
            if server.control:
                server.control.log_out()

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

    def count(self, role: int = ROLE_MASTER) -> int:
        """Return how many servers of that role the device is logged in to."""
        return len([server for server in self._servers if server.role == role and server.control])

    def reflexives(self) -> list:
        """Return the addresses at which servers see us, each once."""
        seen = []
        for server in self._servers:
            if server.control and server.control.reflexive and server.control.reflexive not in seen:
                seen.append(server.control.reflexive)
        return seen

    def nat_class(self, own_ip: str) -> int:
        """Return the class of the NAT in front of us, from what servers at different addresses see."""
        controls = [server.control for server in self._servers if server.control and server.control.reflexive]
        seen = self.reflexives()
        if len(seen) > 1:
            return NAT_ADDRESS_DEPENDENT
        if seen and seen[0][0] == own_ip:
            return NAT_OPEN
        if len({control.address[0] for control in controls}) > 1:
            return NAT_ENDPOINT_INDEPENDENT
        return NAT_UNKNOWN

    def receive_datagram(self, data, addr: tuple, now: int) -> bool:
        """Take a datagram of chapter 4; data must be no longer than the datagram."""
        for server in self._servers:
            if server.control:
                if server.control.receive_datagram(data, addr, now):
                    self._take_control_events(server, now)
                    return True
            elif server.login and addr == server.address:
                server.login.receive_datagram(data, addr, now)
                self._take_login_event(server, now)
        return False

    def timer(self) -> int | None:
        """Return the ticks at which handle_timer wants to be called, None for never."""
        deadline = None
        for server in self._servers:
            part = server.control or server.login
            deadline = earlier(deadline, part.timer() if part else None)
        return deadline

    def handle_timer(self, now: int) -> None:
        """Do what is due."""
        for server in self._servers:
            if server.control:
                server.control.handle_timer(now)
                self._take_control_events(server, now)
            elif server.login:
                server.login.handle_timer(now)
                self._take_login_event(server, now)

    def datagram_to_send(self, now: int):
        """Return the next datagram, for `send_address`; None when there is none."""
        for server in self._servers:
            part = server.control or server.login
            data = part.datagram_to_send(now) if part else None
            if data:
                self.send_address = part.address
                return data
        return None

    def next_event(self) -> tuple | None:
        """Return the next event, None when there is none."""
        return self._events.pop(0) if self._events else None

    def _start(self, server, now: int) -> None:
        server.control = None
        target = (server.role, server.address, server.key, server.ticket)
        server.login = Login(self.identity, target, self._random_bytes, now, server.failures)

    def _take_login_event(self, server, now: int) -> None:
        event = server.login.next_event()
        if event is None:
            return
        if event[0] == "behind":  # our counter was lost with the flash
            self.identity.raise_epoch(event[1])
            return self._on_failure(server, "behind", False, now)
        if event[0] == "failed":
            return self._on_failure(server, _REASONS[event[1]], event[1] == NO_ANSWER, now)
        server.login = None
        server.failures = 0
        server.control = event[1]
        self._unix_time, self._unix_at = event[2], now
        self._events.append(("online", server.role, server.number))
        if server.role == ROLE_MASTER:
            self._take_entries(event[3], now)
        if self._tokens:
            server.control.upload_tokens(self._tokens, now)

    def _on_failure(self, server, reason, unanswered: bool, now: int) -> None:
        server.failures += 1
        self._events.append(("offline", server.role, server.number, reason))
        if unanswered and server.role == ROLE_MASTER:
            self._events.append(("unanswered", server.number))
        self._start(server, now)

    def _take_entries(self, entries: list, now: int) -> None:
        """Take p2p servers and fresh tickets from a master."""
        for number, address, key, ticket in entries:
            server = None
            for known in self._servers:
                if known.role == ROLE_P2P and known.address == address:
                    server = known
            if server is None and self._count_p2p() < _MAX_P2P:
                server = _Server(ROLE_P2P, number, address, key, ticket)
                self._servers.append(server)
                self._start(server, now)
            elif server:
                server.key, server.ticket = key, ticket
                if server.login:
                    self._start(server, now)

    def _count_p2p(self) -> int:
        return len([server for server in self._servers if server.role == ROLE_P2P])

    def _take_control_events(self, server, now: int) -> None:
        control = server.control
        while control:
            event = control.next_event()
            if event is None:
                return
            kind = event[0]
            if kind == "invite":
                self._events.append(("invite", control) + event[1:])
            elif kind == "keys":
                self._events.append(event)
            elif kind == "servers":
                self._take_entries(event[1], now)
            elif kind in ("logout", "dead"):
                control = None
                self._on_failure(server, event[1] if kind == "logout" else kind, False, now)
