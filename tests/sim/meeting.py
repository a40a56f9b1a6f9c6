"""A client and a device that meet in the simulator: real Endpoints, Sessions and Relays, NATs in between.

What signalling does (invite, reflexive addresses) is done by hand, with its delays; everything else is the product.
"""

import random
from collections.abc import Callable
from typing import Any

from network import Address, Link, Network, Node

from upeer.base.clock import earlier
from upeer.base.wire import pack_address, unpack_address
from upeer.connect import ALL, ClientEndpoint
from upeer.crypto.x25519 import key_pair, shared_secret
from upeer.endpoint import FROM_SERVER, Endpoint
from upeer.handshake.invite import prologue
from upeer.session.paths import HOST, SRFLX
from upeer.session.session import EVENT_CLOSED
from upeer_server.config import ServerEntry
from upeer_server.relay import Relay, RelayTicket, seal_relay_ticket

PSK = bytes(range(32))
DID = "ABCD-123456-GHKLM"
CLIENT_ID = b"client01"
LIMITS = (4, 131072, 65536, 1200, 30, 0)
PATTERN = random.Random(1).randbytes(1 << 20)
_INVITE_ID = b"invite01"
_SIGNALLING_MS = 30


class Mirror:
    """A server that tells everybody who writes to it where that came from."""

    def __init__(self) -> None:
        self._outgoing: list[tuple[bytes, Address]] = []

    def receive_datagram(self, data: bytes, addr: Address, now: int) -> None:
        self._outgoing.append((b"\0" + pack_address(*addr), addr))

    def handle_timer(self, now: int) -> None: ...

    def timer(self) -> int | None:
        return None

    def datagrams_to_send(self, now: int) -> list[tuple[bytes, Address]]:
        outgoing, self._outgoing = self._outgoing, []
        return outgoing


class RelayHost(Mirror):
    """A relay server on a node. `spoil` may replace what it sends: a relay that cheats."""

    def __init__(self, net: Network, number: int) -> None:
        super().__init__()
        self.net = net
        self.ticket_key = net.random_bytes(32)
        self.node = net.node(port=3478)
        entry = ServerEntry("relay", number, *self.node.address, self.ticket_key)
        self.relay = Relay(entry, lambda: 1000 + net.elapsed_ms / 1000)
        self.spoil: Callable[[bytes, Address], list[tuple[bytes, Address]]] | None = None
        self.node.attach(self)

    def receive_datagram(self, data: bytes, addr: Address, now: int) -> None:
        elapsed = int(self.net.elapsed_ms)
        self.relay.handle_timer(elapsed)
        for datagram, target in self.relay.receive(data, addr, elapsed):
            self._outgoing += self.spoil(datagram, target) if self.spoil else [(datagram, target)]

    def entry(self) -> tuple[Any, ...]:
        """Return a relay entry as a master puts it into its answer to a lookup."""
        tag, client_key, device_key = (self.net.random_bytes(size) for size in (7, 16, 16))
        ticket = RelayTicket(1060 + int(self.net.elapsed_ms / 1000), tag, client_key, device_key, 20000, 1000)
        sealed = seal_relay_ticket(self.ticket_key, ticket, self.net.random_bytes(16))
        return 1, self.node.address, tag, client_key, device_key, sealed


class App:
    """Writes PATTERN up to `total` bytes on channel 0 and checks every byte that comes the other way."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.sent = self.received = 0
        self.session: Any = None
        self.stream: Any = None
        self.kinds: list[int] = []  # kinds of the path in use, one after the other
        self.closed: tuple[int, ...] | None = None

    def start(self, session: Any) -> None:
        self.session = session
        self.stream = session.stream(0)

    @property
    def is_done(self) -> bool:
        return self.received == self.total and self.sent == self.total and not self.stream.unacked

    def on_activity(self, peer: "Peer", now: int) -> None:
        while True:
            event = peer.endpoint.next_event()
            if event is None:
                break
            if event[1][0] == EVENT_CLOSED:
                self.closed = event[1]
        if self.session is None or self.closed:
            return
        active = self.session.paths.active
        if active and (not self.kinds or self.kinds[-1] != active.kind):
            self.kinds.append(active.kind)
        self._transfer()

    def _transfer(self) -> None:
        while self.sent < self.total:
            count = self.stream.write(PATTERN[self.sent : min(self.total, self.sent + 16384)])
            self.sent += count
            if not count:
                break
        while data := self.stream.read(65536):
            assert data == PATTERN[self.received : self.received + len(data)], f"wrong data at {self.received}"
            self.received += len(data)


class Peer:
    """An Endpoint on a node, with its App."""

    def __init__(self, endpoint: Endpoint, node: Node, mirror: Address, total: int) -> None:
        self.endpoint = endpoint
        self.node = node
        self.app = App(total)
        self._mirror = mirror
        self._outgoing: list[tuple[bytes, Address]] = [(b"?", mirror)]
        self._buf = bytearray(1500)
        node.attach(self, self.app.on_activity)

    def receive_datagram(self, data: bytes, addr: Address, now: int) -> None:
        if addr == self._mirror:
            self.endpoint.candidates = [(HOST, self.node.address)]
            if unpack_address(data, 1) != self.node.address:
                self.endpoint.candidates.append((SRFLX, unpack_address(data, 1)))
        else:
            self.endpoint.receive_datagram(bytearray(data), len(data), addr, now)

    def handle_timer(self, now: int) -> None:
        self.endpoint.handle_timer(now)

    def timer(self) -> int | None:
        return earlier(None, self.endpoint.timer())

    def datagrams_to_send(self, now: int) -> list[tuple[bytes, Address]]:
        outgoing, self._outgoing = self._outgoing, []
        for _ in range(1000):
            size = self.endpoint.write_datagram(self._buf, now)
            if not size:
                return outgoing
            start = self.endpoint.send_start
            outgoing.append((bytes(self._buf[start : start + size]), self.endpoint.send_addr))
        raise AssertionError("it never stops sending")


class Meeting:
    """One network with one client and one device, connected after about 60 ms of virtual time."""

    def __init__(
        self, seed: int, client_kind: str, device_kind: str, *, relays: int = 1, total: int = 65536, **link: float
    ) -> None:
        self.net = net = Network(seed)
        self.link = link or {"delay_ms": 10}
        self.relays = [RelayHost(net, number) for number in range(1, relays + 1)]
        self._mirror = net.node(port=3479)
        self._mirror.attach(Mirror())
        self.client_nat = net.nat(client_kind)
        self.device_nat = net.nat(device_kind)
        self.total = total
        self.client = self._peer(ClientEndpoint(LIMITS, net.random_bytes, net.now), self.client_nat)
        self.device = self._peer(Endpoint(False, LIMITS, net.random_bytes, net.now), self.device_nat)

    def share_nat(self) -> None:
        """Put the device into the client's network (before meet)."""
        self.device = self._peer(Endpoint(False, LIMITS, self.net.random_bytes, self.net.now), self.client_nat)

    def meet(self, allow: int = ALL) -> "Meeting":
        """Exchange invite and answer; both apps have their sessions then."""
        net = self.net
        net.run(limit_ms=200)
        endpoint: Any = self.client.endpoint
        entries = [relay.entry() for relay in self.relays]
        invitation = endpoint.invite(1, _INVITE_ID, (PSK, DID, CLIENT_ID), entries, allow)
        net.run(limit_ms=_SIGNALLING_MS)
        net.call_later(0, self._answer, invitation)
        net.run(limit_ms=_SIGNALLING_MS + 5)
        return self

    def run(self, until: Callable[[], bool] | None = None, limit_ms: float = 60000) -> bool:
        return self.net.run(until, limit_ms)

    def transfer(self, limit_ms: float = 60000) -> None:
        """Let both apps finish."""
        apps = self.client.app, self.device.app
        assert self.run(lambda: all(app.is_done for app in apps), limit_ms), [(app.sent, app.received) for app in apps]

    def kinds(self) -> set[int]:
        """Return the kinds of the paths in use now."""
        active = [peer.app.session.paths.active for peer in (self.client, self.device)]
        return {path.kind if path else -1 for path in active}

    def _peer(self, endpoint: Endpoint, nat: Any) -> Peer:
        up, down = Link(**self.link), Link(**self.link)  # type: ignore[arg-type]
        return Peer(endpoint, self.net.node(nat=nat, up=up, down=down), self._mirror.address, self.total)

    def _answer(self, invitation: Any) -> None:
        device = self.device.endpoint
        device.ephemeral = key_pair(self.net.random_bytes)
        binding = prologue(1, _INVITE_ID, DID, CLIENT_ID)
        now = self.net.now
        responder = device.handle_invite(
            _INVITE_ID, invitation.message, lambda: (PSK, binding, 1, None), FROM_SERVER, now
        )
        shared = shared_secret(responder.private, responder.peer_public)
        answer, session = device.finish_invite(responder, shared, 0, now)
        self.device.app.start(session)
        self.net.call_later(_SIGNALLING_MS, self._start, invitation, answer)

    def _start(self, invitation: Any, answer: bytes) -> None:
        endpoint: Any = self.client.endpoint
        self.client.app.start(endpoint.start(invitation, answer, self.net.now))
