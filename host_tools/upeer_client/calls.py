"""The ways to call one device: through one master and its p2p servers, or into the local network. No IO.

Each is a protocol object that ends with a `session`, or with an `outcome` that says why there is none.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from upeer.base.clock import earlier, ticks_add, ticks_diff
from upeer.base.errors import ProtocolError, RemoteError
from upeer.base.wire import LAN_PORT
from upeer.connect import ClientEndpoint, Invitation, encode_lan_invite, parse_lan_answer
from upeer.handshake.invite import lan_key, lookup_token, session_psk
from upeer.session.paths import HOST, SRFLX
from upeer.signalling.lookup import Answer, ClientInvite, Lookup

Address = tuple[str, int]
Datagrams = list[tuple[bytes, Address]]

WEEK_S = 604800

# Outcomes of a call. What is worth more to the caller comes later.
NO_ANSWER = "no answer"
NOT_FOUND = "not found"
GONE = "gone"
SILENT = "silent"
REFUSED = "refused"

_LAN_WAITS_MS = (100, 200, 400, 800, 1600)
_NEXT_SERVER_MS = 250
_MAX_RELAYS = 3
_MAX_REFLEXIVES = 4


@dataclass(frozen=True)
class Platform:
    """What a client knows of a platform, its masters' names looked up: ((address, static public key), ...)."""

    key_id: int
    p2p_key: bytes = field(repr=False)
    masters: tuple[tuple[Address, bytes], ...]


@dataclass(frozen=True)
class Peer:
    """Whom to call: the key (32 bytes) is that of the pair, or the setup key."""

    did: str
    client_id: bytes
    key: bytes = field(repr=False)


@dataclass
class Caller:
    """What all calls of one attempt share. `cookies` spare a round trip, by master; `status` is a device's refusal.

    By `connection_id` the device sees that invites are of one attempt, and makes one session of them.
    """

    endpoint: ClientEndpoint
    platform: Platform
    peer: Peer
    allow: int
    epoch: int
    random_bytes: Callable[[int], bytes]
    cookies: dict[Address, Any]
    status: int = 0
    connection_id: int = field(init=False)

    def __post_init__(self) -> None:
        self.connection_id = self.endpoint.new_id()

    def invite(self, invite_id: bytes, relays: list[tuple[Any, ...]]) -> Invitation:
        """Return an invitation with our candidates of this moment."""
        psk = session_psk(self.peer.key, self.platform.p2p_key)
        whom = (psk, self.peer.did, self.peer.client_id, self.connection_id)
        return self.endpoint.invite(self.platform.key_id, invite_id, whom, relays[:_MAX_RELAYS], self.allow)

    def start(self, invitation: Invitation, message: bytes, now: int) -> Any:
        """Return the session, None when the message is not right or the device said no (then `status` is set)."""
        try:
            return self.endpoint.start(invitation, message, now)
        except RemoteError as error:
            self.status = error.code
        except ProtocolError:
            pass
        return None

    def add_reflexive(self, address: Address) -> None:
        """Remember our own address as a server sees it."""
        known = self.endpoint.candidates
        reflexives = [candidate for candidate in known if candidate[0] == SRFLX]
        if address not in [candidate[1] for candidate in known] and len(reflexives) < _MAX_REFLEXIVES:
            known.append((SRFLX, address))


class LanCall:
    """Invites the device in the local networks, first at `start`, repeated until answered; it is silent to others."""

    def __init__(self, caller: Caller, targets: list[str], start: int) -> None:
        self.session: Any = None
        self.outcome: str | None = None
        self._caller = caller
        self._targets = targets
        self._tries = 0
        self._due: int | None = start
        self._invite_id = caller.random_bytes(8)
        self._invitation = caller.invite(self._invite_id, [])
        key = lan_key(caller.peer.key)
        self._packet = encode_lan_invite(caller.platform.key_id, self._invite_id, key, self._invitation.message)

    @property
    def has_begun(self) -> bool:
        """Whether the first invite is out."""
        return self._tries > 0

    def receive_datagram(self, data: bytes, addr: Address, now: int) -> None:
        """Take a datagram that came from anywhere."""
        try:
            key_id, invite_id, message = parse_lan_answer(data)
        except ProtocolError:
            return
        if self.outcome is not None or (key_id, invite_id) != (self._caller.platform.key_id, self._invite_id):
            return
        self.session = self._caller.start(self._invitation, message, now)
        if self.session is not None:
            self.session.paths.add(HOST, addr)
        elif self._caller.status:
            self._end(REFUSED)

    def handle_timer(self, now: int) -> None:
        """Give up after the last repetition."""
        if self._due is not None and ticks_diff(self._due, now) <= 0 and self._tries > len(_LAN_WAITS_MS):
            self._end(NO_ANSWER)

    def timer(self) -> int | None:
        """Return when handle_timer or datagrams_to_send is due."""
        return self._due

    def datagrams_to_send(self, now: int) -> Datagrams:
        """Return what is to be sent now."""
        if self._due is None or self._tries > len(_LAN_WAITS_MS) or ticks_diff(self._due, now) > 0:
            return []
        waits = (*_LAN_WAITS_MS, 1000)
        self._due = ticks_add(now, waits[self._tries])
        self._tries += 1
        return [(self._packet, (target, LAN_PORT)) for target in self._targets]

    def _end(self, outcome: str) -> None:
        self.outcome = outcome
        self._due = None


class MasterCall:
    """Asks one master, then invites the device through the p2p servers that it names.

    `found` is set once the master knows the device; then the owner decides when to `invite`.
    """

    def __init__(self, caller: Caller, master: tuple[Address, bytes]) -> None:
        self.session: Any = None
        self.outcome: str | None = None
        self.found: Answer | None = None
        self.is_started = self.is_inviting = False
        self.has_answered = False
        self._caller = caller
        self._master = master
        self._epoch = caller.epoch
        self._lookup: Lookup | None = None
        self._invitation: Any = None
        self._servers: list[Any] = []  # entries not yet tried
        self._invites: list[ClientInvite] = []
        self._next_server_at: int | None = None
        self._was_silent = False

    def start(self, now: int) -> None:
        """Begin to look the device up."""
        self.is_started = True
        caller = self._caller
        token = lookup_token(caller.peer.key, self._epoch)
        cookie = caller.cookies.get(self._master[0])
        self._lookup = Lookup(caller.platform, (*self._master, cookie), token, caller.random_bytes, now)

    def invite(self, now: int) -> None:
        """Begin to invite the device."""
        assert self.found is not None
        self.is_inviting = True
        self._invitation = self._caller.invite(self.found.invite_id, self.found.relays)
        self._servers = list(self.found.p2p)
        self._next_server_at = now
        self._invite_next(now)

    def receive_datagram(self, data: bytes, addr: Address, now: int) -> None:
        """Take a datagram that came from anywhere."""
        if self._lookup is not None:
            self._lookup.receive_datagram(data, addr, now)
        for invite in self._invites:
            invite.receive_datagram(data, addr, now)
        self._take_events(now)

    def handle_timer(self, now: int) -> None:
        """Repeat, go to the next server, give up."""
        if self._lookup is not None:
            self._lookup.handle_timer(now)
        for invite in self._invites:
            invite.handle_timer(now)
        self._take_events(now)
        if self._next_server_at is not None and ticks_diff(self._next_server_at, now) <= 0:
            self._invite_next(now)

    def timer(self) -> int | None:
        """Return when handle_timer is due, None for never."""
        deadline = self._lookup.timer() if self._lookup is not None else None
        for invite in self._invites:
            deadline = earlier(deadline, invite.timer())
        return earlier(deadline, self._next_server_at)  # type: ignore[no-any-return]

    def datagrams_to_send(self, now: int) -> Datagrams:
        """Return what is to be sent now."""
        parts: list[Any] = [*self._invites] if self._lookup is None else [self._lookup, *self._invites]
        datagrams = []
        for part in parts:
            while (data := part.datagram_to_send(now)) is not None:
                datagrams.append((data, part.address))
        return datagrams

    def _take_events(self, now: int) -> None:
        event = self._lookup.next_event() if self._lookup is not None else None
        if event is not None:
            self._on_lookup_end(event, now)
        for invite in list(self._invites):
            event = invite.next_event()
            if event is not None and self.session is None:
                self._invites.remove(invite)
                self._on_invite_end(event, now)

    def _on_lookup_end(self, event: tuple[Any, ...], now: int) -> None:
        assert self._lookup is not None
        caller = self._caller
        caller.cookies[self._master[0]] = self._lookup.cookie_to_keep()
        self.has_answered = self._lookup.cookie_to_keep() is not None
        self._lookup = None
        if event[0] == "failed":
            self.outcome = NO_ANSWER
            return
        answer: Answer = event[1]
        caller.add_reflexive(answer.reflexive)
        epoch = answer.unix_time // WEEK_S
        if answer.is_found and answer.p2p:
            self.found = answer
        elif not answer.is_found and epoch != self._epoch:
            self._epoch = epoch  # our clock is wrong, not the master's
            self.start(now)
        else:
            self.outcome = NOT_FOUND

    def _invite_next(self, now: int) -> None:
        self._next_server_at = None
        if self._servers:
            assert self.found is not None
            token = lookup_token(self._caller.peer.key, self._epoch)
            invite_id, message = self.found.invite_id, self._invitation.message
            entry = self._servers.pop(0)
            self._invites.append(ClientInvite(self._caller.platform.key_id, entry, invite_id, token + message, now))
        if self._servers:
            self._next_server_at = ticks_add(now, _NEXT_SERVER_MS)

    def _on_invite_end(self, event: tuple[Any, ...], now: int) -> None:
        if event[0] == "failed":
            self._was_silent = True
        else:
            self._caller.add_reflexive(event[2])
            if event[1] == 0:
                self.session = self._caller.start(self._invitation, event[3], now)
                self._was_silent = True  # if that was not the device's answer, it may still come another way
        if self.session is not None:
            return
        if self._caller.status:
            self.outcome = REFUSED
            self._invites.clear()
            self._servers.clear()
        elif self._servers:
            self._invite_next(now)
        elif not self._invites:
            self.outcome = SILENT if self._was_silent else GONE
