"""One UDP address and the roles behind it, without IO: datagrams in, datagrams out (protocol, chapter 3)."""

from collections.abc import Callable
from typing import Any

from upeer.base.errors import LocalError
from upeer.base.wire import (
    ALIVE,
    CONTROL,
    HELLO,
    INVITE,
    JOIN,
    LOGIN,
    LOOKUP,
    RELAYED,
    ROLE_MASTER,
    ROLE_P2P,
    ROLE_RELAY,
)
from upeer_server.config import Generation, NodeConfig, ServerEntry
from upeer_server.cookie import Address
from upeer_server.hub import Hub
from upeer_server.master import Master
from upeer_server.p2p import P2p
from upeer_server.registrar import LOGOUT_DONE, Registrar
from upeer_server.relay import Relay

_ALIVE_SIZE = 28
_STUN_END = 0x40
_IDLE_MS = 60_000


class Node:
    """Master, p2p server and relay at one address, those that config names. Options are those of Master and P2p.

    `now` is ticks in ms that may wrap at 2**30. Whoever calls a door then sends what is in `out`, and clears it.
    """

    def __init__(
        self,
        config: NodeConfig,
        now: int,
        random_bytes: Callable[[int], bytes],
        unix_time: Callable[[], float],
        **options: Any,
    ) -> None:
        self.hub = Hub(config.generations, now, random_bytes, unix_time)
        self.out = self.hub.out
        self.master = Master(config.master, self.hub, **options) if config.master else None
        self.p2p = P2p(config.p2p, self.hub, **_common(options)) if config.p2p else None
        self.relay = Relay(config.relay, unix_time) if config.relay else None
        if self.master is not None and config.relay is not None:
            self.master.own_relay = config.relay.id
        self._registrars: list[Registrar] = [role for role in (self.master, self.p2p) if role is not None]
        self._by_role = {registrar.role: registrar for registrar in self._registrars}
        if self._registrars and not config.generations:
            raise LocalError("no platform keys")
        self._sessions = self.hub.sessions
        self._doors = self._make_doors()

    def receive_datagram(self, data: bytes, addr: Address, now: int) -> None:
        """Take a datagram from anywhere; answers go to `out`. Never raises."""
        hub = self.hub
        if now != hub.ticks:
            hub.advance(now)
        size = len(data)
        if size == _ALIVE_SIZE and data[0] == ALIVE:
            session = self._sessions.get(data[1:8])
            if session is not None:
                answer = session.answer_alive(data, addr, hub.ms)
                if answer is not None and (not session.attention or self._by_role[session.role].attend(session)):
                    self.out.append((answer, addr))
                return
            hub.drops["session"] += 1
        elif size:
            self._dispatch(data, addr)

    def handle_timer(self, now: int) -> None:
        """Repeat, expire, sweep: what timer() asked for."""
        self.hub.advance(now)
        for registrar in self._registrars:
            registrar.handle_timer()
        if self.relay is not None:
            self.relay.handle_timer(self.hub.ms)

    def timer(self) -> int:
        """Return the ticks at which handle_timer wants to be called; at most a minute from now."""
        times = [registrar.timer() for registrar in self._registrars]
        if self.relay is not None:
            times.append(self.relay.timer())
        return self.hub.ticks_at(min((time for time in times if time is not None), default=self.hub.ms + _IDLE_MS))

    def revoke(self, did: str) -> bool:
        """End a device's sessions at once; True when there was one."""
        ended = [registrar.revoke(did) for registrar in self._registrars]
        return any(ended)

    def drop(self, did: str) -> int:
        """End a device's sessions, it may log in again; return how many there were."""
        count = 0
        for registrar in self._registrars:
            session = registrar.session_of(did)
            if session is not None:
                registrar.end(session, LOGOUT_DONE)
                count += 1
        return count

    @property
    def p2p_servers(self) -> list[ServerEntry]:
        """The p2p servers that the master here names."""
        return self.master.p2p_servers if self.master is not None else []

    @property
    def relays(self) -> list[ServerEntry]:
        """The relays that the master here names."""
        return self.master.relays if self.master is not None else []

    def set_servers(self, p2p_servers: list[ServerEntry], relays: list[ServerEntry]) -> None:
        """Take new lists of servers; lookups name them from now on."""
        if self.master is not None:
            self.master.set_servers(p2p_servers, relays)

    def set_generations(self, generations: list[Generation]) -> None:
        """Take new platform keys, the current generation first; devices are told at their next keep-alive."""
        self.hub.set_generations(generations)
        if self.master is not None:
            self.master.on_generations()

    def shut_down(self) -> None:
        """Say LOGOUT to all devices; send what is in `out` before closing."""
        for registrar in self._registrars:
            registrar.shut_down()

    def status(self) -> dict[str, Any]:
        """Return counts by role, drops by reason and alerts."""
        status: dict[str, Any] = {"drops": dict(self.hub.drops), "key_ids": list(self.hub.generations)}
        for name, role in (("master", self.master), ("p2p", self.p2p), ("relay", self.relay)):
            if role is not None:
                status[name] = role.status()
        return status

    def _make_doors(self) -> dict[tuple[int, int], Callable[[bytes, Address], None]]:
        """Return what takes a message, by its type and the role addressed."""
        doors: dict[tuple[int, int], Callable[[bytes, Address], None]] = {}
        for registrar in self._registrars:
            doors[HELLO, registrar.role] = self.hub.answer_hello
            doors[LOGIN, registrar.role] = registrar.handle_login
        if self.master is not None:
            doors[LOOKUP, ROLE_MASTER] = self.master.handle_lookup
        if self.p2p is not None:
            doors[INVITE, ROLE_P2P] = self.p2p.handle_invite
        if self.relay is not None:
            doors[JOIN, ROLE_RELAY] = self._handle_relay
        return doors

    def _dispatch(self, data: bytes, addr: Address) -> None:
        kind = data[0]
        if not addr[1]:  # port 0: nobody can be answered there
            self.hub.drops["unknown"] += 1
        elif kind == RELAYED and self.relay is not None:
            self._handle_relay(data, addr)
        elif kind == CONTROL:
            session = self._sessions.get(data[1:8])
            if session is not None:
                self._by_role[session.role].handle_control(session, data, addr)
            else:
                self.hub.drops["session"] += 1
        elif kind < _STUN_END:
            if self.p2p is not None:
                self.p2p.stun.receive(data, addr)
        else:
            door = self._doors.get((kind, data[3])) if len(data) > 3 and data[1] == 1 else None
            if door is not None:
                door(data, addr)
            else:
                self.hub.drops["unknown"] += 1

    def _handle_relay(self, data: bytes, addr: Address) -> None:
        assert self.relay is not None
        self.out += self.relay.receive(data, addr, self.hub.ms)


def _common(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that are not for masters alone."""
    return {name: value for name, value in options.items() if not name.startswith("lookup")}
