"""The master: lets devices in by their licence, names their p2p servers, answers lookups (protocol, 4 and 5.1)."""

import hashlib
import random
from typing import Any, NamedTuple

from upeer.base.errors import LocalError, ProtocolError
from upeer.base.wire import LOOKUP_ANSWER, ROLE_MASTER, header, pack_address, with_size
from upeer.crypto.aead import Aead, check_key
from upeer.crypto.noise import NKPSK0, Noise
from upeer.crypto.x25519 import public_key
from upeer.signalling.control import KEYS, SERVERS
from upeer.signalling.lookup import ANSWER_SIZE, FOUND, NOT_FOUND, QUESTION_SIZE, TOKEN_SIZE
from upeer_server.config import MasterConfig, ServerEntry
from upeer_server.cookie import CLIENT, Address
from upeer_server.hub import Hub, Keys
from upeer_server.limits import Buckets, prefix
from upeer_server.registrar import LoginRequest, Registrar
from upeer_server.relay import RelayTicket, seal_relay_ticket
from upeer_server.session import Session
from upeer_server.tickets import (
    CLIENT_TICKET_LIFE_S,
    DEVICE_TICKET_LIFE_S,
    ClientTicket,
    DeviceTicket,
    seal_client_ticket,
    seal_device_ticket,
)

P2P_PER_DEVICE = 3  # two may die with their masters, and the device is still reached
RELAYS_PER_ANSWER = 2
RELAY_TICKET_LIFE_S = 60
RELAY_RATE_KBPS = 4000
RELAY_CAP_MB = 4096

_REFRESH_MS = (DEVICE_TICKET_LIFE_S - 900) * 1000
_NO_DID = b"????-??????-?????"


class _Peer(NamedTuple):
    """A p2p server or relay as answers name it."""

    entry: ServerEntry
    name: bytes  # id and address
    aead: Aead


def _peers(entries: list[ServerEntry]) -> dict[int, _Peer]:
    """Return the servers by id; hosts are IPv4 addresses by now, others are left out."""
    peers = {}
    for entry in entries:
        check_key(entry.ticket_key)
        try:
            name = bytes((entry.id,)) + pack_address(entry.host, entry.port)
        except (LocalError, ValueError):
            continue
        peers[entry.id] = _Peer(entry, name, Aead(entry.ticket_key))
    return peers


class Master(Registrar):
    """One master. `lookups_per_s` and `lookup_burst` are for one address; a /24 has four times as much."""

    role = ROLE_MASTER

    def __init__(
        self, config: MasterConfig, hub: Hub, lookups_per_s: float = 10, lookup_burst: float = 100, **options: Any
    ) -> None:
        super().__init__(hub, **options)
        check_key(config.static_private)
        self.config = config
        self.static_public = public_key(config.static_private)
        self.own_relay = 0  # id of the relay in this process, 0 for none
        self.lookups = 0
        self.found = 0
        self._by_source = Buckets(lookups_per_s, lookup_burst)
        self._by_prefix = Buckets(4 * lookups_per_s, 4 * lookup_burst)
        self.set_servers(config.p2p_servers, config.relays)

    def set_servers(self, p2p_servers: list[ServerEntry], relays: list[ServerEntry]) -> None:
        """Take the lists of servers; valid for the next lookup, and devices hear of it at their next keep-alive."""
        self._p2p = _peers(p2p_servers)
        self._relays = _peers(relays)
        for session in self._by_did.values():
            session.attention = True

    @property
    def p2p_servers(self) -> list[ServerEntry]:
        """The p2p servers that devices and clients are told of."""
        return [peer.entry for peer in self._p2p.values()]

    @property
    def relays(self) -> list[ServerEntry]:
        """The relays that clients are told of."""
        return [peer.entry for peer in self._relays.values()]

    def on_generations(self) -> None:
        """See that devices with older platform keys get the new ones."""
        for session in self._by_did.values():
            session.attention = True

    def choose_p2p(self, did: str) -> tuple[int, ...]:
        """Return the ids of the servers where a device belongs: a rendezvous hash, so that all masters agree."""

        def weight(server_id: int) -> bytes:
            return hashlib.sha256(did.encode() + bytes((server_id,))).digest()

        return tuple(sorted(self._p2p, key=weight, reverse=True)[:P2P_PER_DEVICE])

    def status(self) -> dict[str, Any]:
        """Return counts and alerts."""
        servers = {"p2p_servers": len(self._p2p), "relays": len(self._relays)}
        return super().status() | {"lookups": self.lookups, "found": self.found} | servers

    # Login

    def find_login_key(self, request: LoginRequest) -> tuple[str, bytes | None, int]:
        """Look the device up among those that this master may let in."""
        did = request.did.decode("ascii", "replace")
        verifiers = self.config.verifiers
        return did, verifiers.login_key(did, request.keys.key_id), verifiers.last_epoch(did)

    def record_epoch(self, did: str, epoch: int) -> None:
        """Record an epoch for good."""
        self.config.verifiers.set_epoch(did, epoch)

    def entries_for(self, session: Session) -> bytes:
        """Return the p2p entries for a device, with tickets made now."""
        session.p2p_ids = self.choose_p2p(session.did)
        session.refresh_ms = self.hub.ms + _REFRESH_MS
        session.attention = session.key_id != self.hub.current.key_id
        return self._entries(session, session.p2p_ids)

    def _entries(self, session: Session, p2p_ids: tuple[int, ...]) -> bytes:
        text = bytes((len(p2p_ids),))
        for peer in [self._p2p[p2p_id] for p2p_id in p2p_ids]:
            key = self.hub.random_bytes(32)
            expiry = self.hub.unix + DEVICE_TICKET_LIFE_S
            ticket = DeviceTicket(expiry, key, session.epoch, session.did.encode())
            text += peer.name + key + with_size(seal_device_ticket(peer.aead, ticket, self.hub.random_bytes))
        return text

    # What sessions are told later

    def push(self, session: Session) -> bool:
        """Send new platform keys, and p2p entries when the list changed or tickets get old."""
        generation = self.hub.current.generation
        lacks_keys = session.key_id != generation.key_id
        if lacks_keys and session.pushed.get(KEYS) != generation.key_id:
            session.pushed[KEYS] = generation.key_id
            text = bytes((generation.key_id,)) + generation.crc_key + generation.p2p_key
            session.send_reliably(KEYS, [text], self.hub.ticks)
        p2p_ids = self.choose_p2p(session.did)
        lacks_servers = p2p_ids != session.p2p_ids or session.refresh_ms <= self.hub.ms
        if lacks_servers and session.pushed.get(SERVERS) != p2p_ids:
            session.pushed[SERVERS] = p2p_ids
            session.send_reliably(SERVERS, [self._entries(session, p2p_ids)], self.hub.ticks)
        return lacks_keys or lacks_servers

    def handle_ack(self, session: Session, kind: int, pushed: Any) -> None:
        """Take note of what the device has now."""
        if pushed is None:
            return
        if kind == KEYS:
            session.key_id = pushed
        elif kind == SERVERS:
            session.p2p_ids = pushed
            session.refresh_ms = self.hub.ms + _REFRESH_MS

    # Lookup

    def handle_lookup(self, data: bytes, address: Address) -> None:
        """Answer a LOOKUP: found, or the one answer for everything else."""
        hub = self.hub
        keys = hub.generations.get(data[2]) if len(data) == 152 else None
        cookie, nonce = data[20:40], data[4:20]
        if keys is None or data[1] != 1 or not hub.cookies.is_valid(cookie, hub.unix, address, nonce, CLIENT):
            hub.drops["lookup"] += 1
            return
        if not self._by_source.take(address[0], hub.ms) or not self._by_prefix.take(prefix(address[0]), hub.ms):
            hub.drops["limited"] += 1
            return
        try:
            noise, token = self._read_lookup(keys, data)
        except ProtocolError:
            hub.drops["lookup"] += 1
            return
        self.lookups += 1
        message = noise.write_message(self._answer(token, address))
        hub.send(header(LOOKUP_ANSWER, keys.key_id, ROLE_MASTER) + nonce + message, address)

    def _read_lookup(self, keys: Keys, data: bytes) -> tuple[Noise, bytes]:
        private = self.hub.random_bytes(32)
        static = (self.config.static_private, self.static_public)
        noise = Noise(NKPSK0, False, keys.lookup_psk, data[:40], static, None, (private, public_key(private)))
        question = noise.read_message(data[40:])
        if len(question) != QUESTION_SIZE:
            raise ProtocolError("malformed lookup")
        return noise, question[:TOKEN_SIZE]

    def _answer(self, token: bytes, address: Address) -> bytes:
        """Return the payload. The work is done for nobody's token as well; only what is sent differs."""
        session = self._tokens.get(token)
        did = session.did.encode() if session else _NO_DID
        p2p_ids = [i for i in session.p2p_ids if i in self._p2p] if session else []
        p2p_ids = p2p_ids or list(self.choose_p2p(did.decode()))
        invite_id = self.hub.random_bytes(8)
        entries = [self._p2p_entry(self._p2p[i], invite_id, token, address) for i in p2p_ids]
        p2p_count = len(entries)
        relays = self._choose_relays()
        entries += [self._relay_entry(peer) for peer in relays]
        text = bytes((p2p_count, len(relays))) + b"".join(entries)
        if session is None:
            text, invite_id = b"\0\0", bytes(8)
        else:
            self.found += 1
        status = NOT_FOUND if session is None else FOUND
        head = bytes((status,)) + self.hub.unix.to_bytes(4, "big") + pack_address(*address)
        return (head + invite_id + text).ljust(ANSWER_SIZE, b"\0")

    def _choose_relays(self) -> list[_Peer]:
        """Return the relay beside this master, which is up while the master is, and others by chance."""
        own = [peer for number, peer in self._relays.items() if number == self.own_relay]
        others = [peer for number, peer in self._relays.items() if number != self.own_relay]
        return own + random.sample(others, min(RELAYS_PER_ANSWER - len(own), len(others)))

    def _p2p_entry(self, peer: _Peer, invite_id: bytes, token: bytes, address: Address) -> bytes:
        key = self.hub.random_bytes(32)
        expiry = self.hub.unix + CLIENT_TICKET_LIFE_S
        ticket = ClientTicket(expiry, invite_id, pack_address(*address)[:4], key, token)
        return peer.name + key + with_size(seal_client_ticket(peer.aead, ticket, self.hub.random_bytes))

    def _relay_entry(self, peer: _Peer) -> bytes:
        tag, keys = self.hub.random_bytes(7), self.hub.random_bytes(32)
        expiry = self.hub.unix + RELAY_TICKET_LIFE_S
        ticket = RelayTicket(expiry, tag, keys[:16], keys[16:], RELAY_RATE_KBPS, RELAY_CAP_MB)
        sealed = seal_relay_ticket(peer.entry.ticket_key, ticket, self.hub.random_bytes(16))
        return peer.name + tag + keys + with_size(sealed)
