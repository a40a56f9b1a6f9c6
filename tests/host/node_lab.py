"""Servers, devices and clients in one process, without sockets: what the tests of signalling are made of."""

import hashlib
from typing import Any

from upeer.base.clock import ticks_add, ticks_diff
from upeer.base.wire import ROLE_MASTER, ROLE_P2P
from upeer.handshake.invite import lookup_token
from upeer.signalling.control import Control
from upeer.signalling.login import Login, login_key
from upeer.signalling.lookup import Answer, ClientInvite, Lookup
from upeer_server.config import Generation, MasterConfig, NodeConfig, ServerEntry
from upeer_server.node import Node

DID = "ABCD-123456-GHKLM"
OTHER_DID = "ABCD-654321-QRSTU"
DEVICE = ("192.0.2.33", 40717)
CLIENT = ("198.51.100.7", 50000)
SERVER = ("203.0.113.5", 7000)
START = 2**30 - 5000  # ticks; just before they wrap
UNIX = 1_800_000_000

Address = tuple[str, int]


def key(name: str, size: int = 32) -> bytes:
    """Return fixed bytes of that name."""
    return hashlib.shake_128(name.encode()).digest(size)


class Random:
    """Entropy that is the same at every run."""

    def __init__(self, seed: str = "seed") -> None:
        self._seed = seed
        self._count = 0

    def __call__(self, size: int) -> bytes:
        self._count += 1
        return key(f"{self._seed} {self._count}", size)


class Verifiers:
    """Licences in memory; a master has no more than login keys."""

    def __init__(self, master_id: int, generations: list[Generation]) -> None:
        self.master_id = master_id
        self.generations = generations
        self.licences = {did: key("licence " + did) for did in (DID, OTHER_DID)}
        self.epochs: dict[str, int] = {}
        self.asked = 0

    def login_key(self, did: str, key_id: int) -> bytes | None:
        self.asked += 1
        licence = self.licences.get(did)
        crc_keys = [generation.crc_key for generation in self.generations if generation.key_id == key_id]
        return login_key(licence, crc_keys[0], did, self.master_id) if licence and crc_keys else None

    def last_epoch(self, did: str) -> int:
        return self.epochs.get(did, 0)

    def set_epoch(self, did: str, epoch: int) -> None:
        self.epochs[did] = epoch


class Identity:
    """What a device or a client knows of the platform; epochs count up."""

    def __init__(self, generation: Generation, did: str = DID, epoch: int = 1) -> None:
        self.key_id = generation.key_id
        self.crc_key = generation.crc_key
        self.p2p_key = generation.p2p_key
        self.did = did
        self.flags = 1
        self.nat_class = 2
        self.epoch = epoch

    def next_epoch(self) -> int:
        self.epoch += 1
        return self.epoch - 1


def generation(number: int = 1) -> Generation:
    """Return the platform keys of a generation."""
    return Generation(number, key(f"CRCKey {number}"), key(f"P2PKey {number}"))


def p2p_entry(number: int = 1, address: Address = SERVER) -> ServerEntry:
    return ServerEntry("p2p", number, *address, key(f"p2p ticket key {number}"))


def relay_entry(number: int = 1, address: Address = SERVER) -> ServerEntry:
    return ServerEntry("relay", number, *address, key(f"relay ticket key {number}"))


class Lab:
    """A node with all roles, a clock, and the way of datagrams."""

    def __init__(self, generations: list[Generation] | None = None, **options: Any) -> None:
        self.generations = generations or [generation()]
        self.verifiers = Verifiers(1, self.generations)
        self.random = Random()
        self.now = START
        self.sent: list[tuple[bytes, Address]] = []
        entries = options.pop("p2p_servers", [p2p_entry()])
        master = MasterConfig(1, key("master static"), self.verifiers, entries, [relay_entry()])
        config = NodeConfig(*SERVER, self.generations, key("admin"), master, p2p_entry(), relay_entry())
        self.node = Node(config, self.now, Random("node"), lambda: UNIX + self.node_s, **options)
        assert self.node.master is not None and self.node.p2p is not None
        self.master, self.p2p = self.node.master, self.node.p2p

    @property
    def node_s(self) -> float:
        """Seconds since the start, up to 6 days."""
        return ticks_diff(self.now, START) / 1000

    def receive(self, data: bytes, source: Address) -> list[tuple[bytes, Address]]:
        """Hand a datagram to the node and return what it sends."""
        self.node.receive_datagram(bytes(data), source, self.now)
        return self.take()

    def take(self) -> list[tuple[bytes, Address]]:
        """Return what the node has to send."""
        out = list(self.node.out)
        self.node.out.clear()
        self.sent += out
        return out

    def pass_time(self, ms: int, step_ms: int = 250) -> list[tuple[bytes, Address]]:
        """Let time go by, in steps; return what the node sent on its own."""
        out = []
        for _ in range(0, ms, step_ms):
            self.now = ticks_add(self.now, step_ms)
            self.node.handle_timer(self.now)
            out += self.take()
        return out

    def exchange(self, question: Any, source: Address) -> None:
        """Carry datagrams between a question or session and the node until neither has more to say."""
        for _ in range(50):
            data = question.datagram_to_send(self.now)
            if data is None:
                return
            for answer, target in self.receive(data, source):
                if target == source:
                    question.receive_datagram(answer, SERVER, self.now)

    def login(
        self,
        identity: Identity | None = None,
        server: tuple[int, Address, bytes, bytes] | None = None,
        source: Address = DEVICE,
    ) -> tuple[Any, ...]:
        """Log a device in, at the master unless `server` says otherwise; return the event."""
        identity = identity or Identity(self.generations[0])
        question = Login(identity, server or self.at_master(identity), self.random, self.now)
        self.exchange(question, source)
        event: tuple[Any, ...] | None = question.next_event()
        while event is None:
            self.now = question.timer()
            question.handle_timer(self.now)
            self.exchange(question, source)
            event = question.next_event()
        return event

    def at_master(self, identity: Identity) -> tuple[int, Address, bytes, bytes]:
        licence = key("licence " + identity.did)
        return ROLE_MASTER, SERVER, login_key(licence, identity.crc_key, identity.did, 1), b""

    def online(self, identity: Identity | None = None, source: Address = DEVICE) -> tuple[Control, Control]:
        """Log a device in at master and p2p server, with its token for this week; return both sessions."""
        identity = identity or Identity(self.generations[0])
        _, at_master, _, entries = self.login(identity, source=source)
        _, address, login, ticket = entries[0]
        _, at_p2p, _, _ = self.login(identity, (ROLE_P2P, address, login, ticket), source)
        for session in (at_master, at_p2p):
            session.upload_tokens(token(identity.did), self.now)
            self.exchange(session, source)
        return at_master, at_p2p

    def lookup(self, wanted: bytes, source: Address = CLIENT, cookie: Any = None) -> tuple[Any, ...]:
        """Ask the master; return the event."""
        question = self.question(wanted, cookie)
        self.exchange(question, source)
        return question.next_event() or ("nothing",)

    def question(self, wanted: bytes, cookie: Any = None) -> Lookup:
        master = (SERVER, self.master.static_public, cookie)
        return Lookup(Identity(self.generations[0]), master, wanted, self.random, self.now)

    def invite(self, answer: Answer, message: bytes = b"Noise message 1") -> ClientInvite:
        return ClientInvite(1, answer.p2p[0], answer.invite_id, token(DID) + message, self.now)

    def keep_alive(self, session: Control, source: Address = DEVICE) -> list[bytes]:
        """Send one keep-alive; return what came back, which the session has then taken."""
        session._alive_at = self.now
        session.handle_timer(self.now)
        data = session.datagram_to_send(self.now)
        assert data is not None
        answers = [answer for answer, _ in self.receive(bytes(data), source)]
        for answer in answers:
            session.receive_datagram(answer, SERVER, self.now)
        return answers


def token(did: str) -> bytes:
    """Return the lookup token of our client for a device."""
    return lookup_token(key("pair " + did), UNIX // 604800)


def events(session: Control) -> list[tuple[Any, ...]]:
    """Return all events that a session has."""
    return list(iter(session.next_event, None))
