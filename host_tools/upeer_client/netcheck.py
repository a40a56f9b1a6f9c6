"""What this network is like: which masters answer, our address as each sees it, the NAT's class. No IO.

Each master is sent a Binding request (RFC 8489), and asked for a device that does not exist: its answer proves it.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from upeer.base.clock import earlier, ticks_add, ticks_diff
from upeer.base.errors import ProtocolError
from upeer.signalling import stun
from upeer.signalling.lookup import Lookup
from upeer_client.addresses import Interface
from upeer_client.calls import Address, Datagrams, Platform

NAT_CLASSES = ("unknown", "open", "endpoint-independent", "address-dependent", "blocked")

_STUN_WAITS_MS = (0, 250, 500, 1000)


@dataclass(frozen=True)
class ServerReport:
    """One master: `lookup` and `stun` are our address as it sees it, or None; `cookie`: it knows our keys."""

    id: int
    address: Address
    cookie: bool
    lookup: Address | None
    stun: Address | None
    rtt_ms: int | None
    unix_time: int | None


@dataclass(frozen=True)
class Report:
    """All of it; `local_port` is that of our socket, `nat` one of NAT_CLASSES."""

    servers: list[ServerReport]
    nat: str
    reflexives: list[Address]
    interfaces: list[Interface]
    local_port: int


class _Probe:
    """What goes to one master, and what came back."""

    def __init__(self, platform: Platform, master: tuple[Address, bytes], random_bytes: Any, now: int) -> None:
        self.address, self.public_key = master
        self.lookup: Lookup | None = Lookup(platform, master, random_bytes(16), random_bytes, now)
        self.answer: Any = None
        self.has_cookie = False
        self.mapped: Address | None = None
        self.rtt_ms: int | None = None
        self._transaction_id: bytes = random_bytes(stun.TRANSACTION_ID_SIZE)
        self._tries = 0
        self._sent = now
        self._due: int | None = now

    @property
    def is_done(self) -> bool:
        return self.lookup is None and (self.mapped is not None or self._due is None)

    def receive_datagram(self, data: bytes, addr: Address, now: int) -> None:
        if self.lookup is not None:
            self.lookup.receive_datagram(data, addr, now)
            self._take_event()
        if addr == self.address and self.mapped is None:
            self._take_binding(data, now)

    def handle_timer(self, now: int) -> None:
        if self.lookup is not None:
            self.lookup.handle_timer(now)
            self._take_event()

    def timer(self) -> int | None:
        due = self._due if self.mapped is None else None
        return earlier(due, self.lookup.timer() if self.lookup is not None else None)  # type: ignore[no-any-return]

    def datagrams_to_send(self, now: int) -> Datagrams:
        datagrams: Datagrams = []
        while self.lookup is not None and (data := self.lookup.datagram_to_send(now)) is not None:
            datagrams.append((data, self.address))
        if self.mapped is None and self._due is not None and ticks_diff(self._due, now) <= 0:
            if self._tries:
                self._sent = now
            if self._tries < len(_STUN_WAITS_MS):
                datagrams.append((stun.encode_request(self._transaction_id), self.address))
            self._tries += 1
            waits = (*_STUN_WAITS_MS[1:], 1000)
            self._due = ticks_add(now, waits[self._tries - 1]) if self._tries <= len(_STUN_WAITS_MS) else None
        return datagrams

    def _take_binding(self, data: bytes, now: int) -> None:
        try:
            message = stun.parse(data)
        except ProtocolError:
            return
        if message.kind == stun.BINDING_RESPONSE and message.transaction_id == self._transaction_id:
            self.mapped = message.mapped
            self.rtt_ms = ticks_diff(now, self._sent)

    def _take_event(self) -> None:
        assert self.lookup is not None
        self.has_cookie = self.lookup.cookie_to_keep() is not None
        event = self.lookup.next_event()
        if event is not None:
            self.answer = event[1] if event[0] == "answer" else None
            self.lookup = None


class NetCheck:
    """A party of the transport; `done` is set when every master answered, or the time is over."""

    def __init__(self, platform: Platform, random_bytes: Callable[[int], bytes], timeout_ms: int, now: int) -> None:
        self.done = asyncio.Event()
        self._deadline = ticks_add(now, timeout_ms)
        self._probes = [_Probe(platform, master, random_bytes, now) for master in platform.masters]

    def receive_datagram(self, data: bytes, addr: Address, now: int) -> None:
        """Take a datagram that came from anywhere."""
        for probe in self._probes:
            probe.receive_datagram(data, addr, now)

    def handle_timer(self, now: int) -> None:
        """Repeat what was not answered."""
        for probe in self._probes:
            probe.handle_timer(now)

    def timer(self) -> int | None:
        """Return when handle_timer is due, None when it is over."""
        if self.done.is_set():
            return None
        deadline: int = self._deadline
        for probe in self._probes:
            deadline = earlier(deadline, probe.timer())
        return deadline

    def datagrams_to_send(self, now: int) -> Datagrams:
        """Return what is to be sent now."""
        return [datagram for probe in self._probes for datagram in probe.datagrams_to_send(now)]

    def step(self, now: int) -> None:
        """See whether it is over."""
        if ticks_diff(self._deadline, now) <= 0 or all(probe.is_done for probe in self._probes):
            self.done.set()

    def report(self, masters: Iterable[Any], local_port: int, own: list[Interface]) -> Report:
        """Return what was found. masters: those of the configuration, for their ids."""
        ids = {master.public_key: master.id for master in masters}
        servers = [self._server(probe, ids[probe.public_key]) for probe in self._probes]
        reflexives = [address for server in servers for address in (server.lookup, server.stun) if address]
        nat = classify(servers, [item.address for item in own], local_port)
        return Report(servers, nat, list(dict.fromkeys(reflexives)), own, local_port)

    @staticmethod
    def _server(probe: _Probe, number: int) -> ServerReport:
        answer = probe.answer
        lookup, unix_time = (answer.reflexive, answer.unix_time) if answer is not None else (None, None)
        return ServerReport(number, probe.address, probe.has_cookie, lookup, probe.mapped, probe.rtt_ms, unix_time)


def classify(servers: list[ServerReport], own: list[str], local_port: int) -> str:
    """Return the class of the NAT in front of us, from what servers at different addresses see (RFC 4787)."""
    seen = {(server.address, address) for server in servers for address in (server.lookup, server.stun) if address}
    mapped = {address for _, address in seen}
    if not mapped:
        return "blocked"
    if len(mapped) > 1:
        return "address-dependent"
    (address,) = mapped
    if address[1] == local_port and address[0] in own:
        return "open"
    return "endpoint-independent" if len({server[0] for server, _ in seen}) > 1 else "unknown"
