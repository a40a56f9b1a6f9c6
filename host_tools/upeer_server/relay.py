"""The relay: joins by ticket, then datagrams from one end to the other, unread (protocol, chapter 6). No IO here.

It sees relay_tags, addresses and ciphertext. A ticket is sealed under the relay's ticket key with a random nonce:
    expiry (32) | relay_tag (56) | client_key (128) | device_key (128) | rate_kBps (16) | cap_MB (32)
A rate or cap of 0 lets nothing pass. `now`: milliseconds of a clock that never goes back; tickets expire by Unix time.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from upeer.base.errors import ProtocolError
from upeer.base.wire import JOIN, JOIN_OK, RELAYED, ROLE_RELAY, Reader, header, pack_address, u16, u32
from upeer.crypto.aead import Aead, Hmac, check_key, equal
from upeer.session.relay_end import MAC_SIZE
from upeer_server.config import ServerEntry

Address = tuple[str, int]

_HOLD_MS = 60_000
_SWEEP_MS = 1_000
_BURST_MS = 500
_MIN_BURST = 65536
_MAX_SESSIONS = 4096
_MAX_SPENT = 65536
_TICKET_CONTEXT = b"relay ticket"
_NONCE_SIZE = 16


@dataclass(frozen=True, repr=False)
class RelayTicket:
    """What a master signed: one session, its two keys, until when it may be joined, how much it may send."""

    expiry: int
    relay_tag: bytes
    client_key: bytes
    device_key: bytes
    rate_kbps: int
    cap_mb: int


def seal_relay_ticket(ticket_key: bytes, ticket: RelayTicket, nonce: bytes) -> bytes:
    """Return the ticket as it travels; nonce: 16 random bytes."""
    keys = ticket.relay_tag + ticket.client_key + ticket.device_key
    text = u32(ticket.expiry) + keys + u16(ticket.rate_kbps) + u32(ticket.cap_mb)
    return Aead(ticket_key).seal(int.from_bytes(nonce, "big"), text, _TICKET_CONTEXT)


def open_relay_ticket(aead: Aead, data: bytes) -> RelayTicket:
    """Return what seal_relay_ticket sealed; ProtocolError when it is not authentic."""
    reader = Reader(aead.open(data, _TICKET_CONTEXT))
    expiry, relay_tag = reader.u32(), reader.bytes(7)
    ticket = RelayTicket(expiry, relay_tag, reader.bytes(16), reader.bytes(16), reader.u16(), reader.u32())
    reader.done()
    check_key(ticket.client_key)
    check_key(ticket.device_key)
    return ticket


def parse_join(data: bytes) -> tuple[int, bytes, int, int, bytes]:
    """Return (key_id, relay_tag, side, sequence, ticket) of a JOIN whose tag is its last 16 bytes; ProtocolError."""
    reader = Reader(data, 0, len(data) - MAC_SIZE)
    key_id, role = reader.header(JOIN)
    fields = key_id, reader.bytes(7), reader.u8(), reader.u32(), reader.bytes(reader.u8())
    reader.done()
    if role != ROLE_RELAY or fields[2] > 1:
        raise ProtocolError("not for a relay or of no side")
    return fields


def encode_join_ok(key_id: int, relay_tag: bytes, side: int, sequence: int, reflexive: Address) -> bytes:
    """Return a JOIN_OK up to its tag."""
    start = header(JOIN_OK, key_id, ROLE_RELAY) + relay_tag + bytes((side,)) + u32(sequence)
    return start + pack_address(*reflexive)


@dataclass
class _End:
    """One side of a session: its key, where it is, how far its JOINs are, what it sent."""

    mac: Hmac
    addr: Address | None = None
    sequence: int = 0
    byte_count: int = 0
    datagram_count: int = 0


@dataclass
class RelaySession:
    """Two ends, what they may send, when they last joined. `ends` is (client, device)."""

    relay_tag: bytes
    ends: tuple[_End, _End]
    expiry: int
    rate_kbps: int
    bytes_left: int
    started: int
    joined: int
    allowance: int = 0
    refilled: int = 0
    dropped: int = 0

    def refill(self, now: int) -> None:
        """Grant what the rate gave since the last time, up to a burst."""
        burst = max(self.rate_kbps * _BURST_MS, _MIN_BURST)
        self.allowance = min(burst, self.allowance + (now - self.refilled) * self.rate_kbps)
        self.refilled = now


@dataclass(frozen=True)
class Receipt:
    """What a session that ended has carried, for the bandwidth report. Bytes are those of UDP payloads."""

    relay_tag: bytes
    started: int
    ended: int
    client_bytes: int
    device_bytes: int
    dropped: int


@dataclass
class _Counters:
    join: int = 0
    join_refused: int = 0
    forwarded: int = 0
    dropped: int = 0
    receipts: list[Receipt] = field(default_factory=list)


class Relay:
    """One relay server. `receive` is the hot path: a relayed datagram costs one look-up and two comparisons."""

    def __init__(self, entry: ServerEntry, unix_time: Callable[[], float], max_sessions: int = _MAX_SESSIONS) -> None:
        self.counters = _Counters()
        self._tickets = Aead(entry.ticket_key)
        self._unix_time = unix_time
        self._max_sessions = max_sessions
        self._sessions: dict[bytes, RelaySession] = {}  # by 0xC0 and relay_tag: the first 8 bytes of a datagram
        self._spent: dict[bytes, int] = {}  # relay_tags of sessions that are over, until their tickets have expired
        self._sweep_at: int | None = None

    def receive(self, data: bytes, addr: Address, now: int) -> list[tuple[bytes, Address]]:
        """Return the datagrams to send because this one came: none or one. Never raises."""
        session = self._sessions.get(data[:8])
        if session is not None:
            return self._forward(session, data, addr, now)
        if data[:1] == bytes((JOIN,)):
            try:
                return self._handle_join(bytes(data), addr, now)
            except ProtocolError:
                self.counters.join_refused += 1
                return []
        self.counters.dropped += 1
        return []

    def timer(self) -> int | None:
        """Return when handle_timer is due, None for never."""
        return self._sweep_at

    def handle_timer(self, now: int) -> None:
        """Forget sessions that nobody joined for a minute, and used tickets that expired."""
        if self._sweep_at is None or now < self._sweep_at:
            return
        for session in list(self._sessions.values()):
            if now - session.joined > _HOLD_MS:
                self._close(session, now)
        unix = self._unix_time()
        self._spent = {tag: expiry for tag, expiry in self._spent.items() if expiry >= unix}
        self._sweep_at = now + _SWEEP_MS if self._sessions or self._spent else None

    def take_receipts(self) -> list[Receipt]:
        """Return the receipts of the sessions that ended since the last call."""
        receipts, self.counters.receipts = self.counters.receipts, []
        return receipts

    def status(self) -> dict[str, int]:
        """Return counts for `upeer status`."""
        counters = self.counters
        live = sum(end.byte_count for session in self._sessions.values() for end in session.ends)
        return {
            "sessions": len(self._sessions),
            "session_bytes": live,
            "joins": counters.join,
            "joins_refused": counters.join_refused,
            "forwarded": counters.forwarded,
            "dropped": counters.dropped,
        }

    def _forward(self, session: RelaySession, data: bytes, addr: Address, now: int) -> list[tuple[bytes, Address]]:
        client, device = session.ends
        source, target = (client, device) if addr == client.addr else (device, client)
        size = len(data)
        if addr != source.addr or target.addr is None or not self._may_send(session, size, now):
            session.dropped += 1
            self.counters.dropped += 1
            if session.bytes_left < size:
                self._close(session, now)
            return []
        source.byte_count += size
        source.datagram_count += 1
        self.counters.forwarded += 1
        return [(data, target.addr)]

    def _may_send(self, session: RelaySession, size: int, now: int) -> bool:
        if session.allowance < size:
            session.refill(now)
        if session.allowance < size or session.bytes_left < size:
            return False
        session.allowance -= size
        session.bytes_left -= size
        return True

    def _handle_join(self, data: bytes, addr: Address, now: int) -> list[tuple[bytes, Address]]:
        key_id, relay_tag, side, sequence, sealed = parse_join(data)
        session = self._sessions.get(bytes((RELAYED,)) + relay_tag)
        is_new = session is None
        if session is None:
            session = self._open(relay_tag, sealed, now)
        end = session.ends[side]
        if not equal(end.mac.tag(data[:-MAC_SIZE]), data[-MAC_SIZE:]):
            raise ProtocolError("JOIN not authentic")
        if sequence <= end.sequence or (end.addr is None and session.expiry < self._unix_time()):
            raise ProtocolError("JOIN replayed or late")
        if is_new:
            self._sessions[bytes((RELAYED,)) + relay_tag] = session
            self._sweep_at = self._sweep_at or now + _SWEEP_MS
        end.sequence, end.addr, session.joined = sequence, addr, now
        self.counters.join += 1
        answer = encode_join_ok(key_id, relay_tag, side, sequence, addr)
        return [(answer + end.mac.tag(answer), addr)]

    def _open(self, relay_tag: bytes, sealed: bytes, now: int) -> RelaySession:
        """Return the session that a ticket allows; it counts only once a JOIN for it proved authentic."""
        if len(self._sessions) >= self._max_sessions or len(self._spent) >= _MAX_SPENT:
            raise ProtocolError("full")
        ticket = open_relay_ticket(self._tickets, sealed)
        if ticket.relay_tag != relay_tag or relay_tag in self._spent or ticket.expiry < self._unix_time():
            raise ProtocolError("ticket used, expired or of another session")
        ends = _End(Hmac(ticket.client_key)), _End(Hmac(ticket.device_key))
        session = RelaySession(relay_tag, ends, ticket.expiry, ticket.rate_kbps, ticket.cap_mb * 1_000_000, now, now)
        session.refilled = now - _BURST_MS
        return session

    def _close(self, session: RelaySession, now: int) -> None:
        del self._sessions[bytes((RELAYED,)) + session.relay_tag]
        self._spent[session.relay_tag] = session.expiry
        client, device = session.ends
        self.counters.receipts.append(
            Receipt(session.relay_tag, session.started, now, client.byte_count, device.byte_count, session.dropped)
        )
