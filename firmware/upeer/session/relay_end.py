"""Using a relay: JOIN, JOIN_OK, one end's membership (protocol, chapter 6). The relay itself is upeer_server.relay.

    JOIN    0xA0 | header (24) | relay_tag (56) | side (8) | sequence (32) | size (8) | ticket | tag (128)
    JOIN_OK 0xA1 | header (24) | relay_tag (56) | side (8) | sequence (32) | reflexive (48) | tag (128)
Relayed datagrams are 0xC0 | relay_tag (56) | the datagram.
"""

from upeer.base.clock import ticks_add, ticks_diff
from upeer.base.compat import const
from upeer.base.errors import ProtocolError
from upeer.base.wire import JOIN, JOIN_OK, ROLE_RELAY, Reader, header, u32, with_size
from upeer.crypto.aead import Hmac, check_key, equal

MAC_SIZE = const(16)

JOINING = const(0)
JOINED = const(1)
FAILED = const(2)

# When JOIN is sent in a state: ms until the first one, gap after it (doubles each time), longest gap, how often.
_STATES = (
    (0, 200, 4000, 9),
    (20000, 1000, 8000, 9),  # a relay forgets us 60 s after the last JOIN
    (0, 0, 0, 0),
)


def encode_join(key_id: int, relay_tag: bytes, side: int, sequence: int, ticket: bytes) -> bytes:
    """Return a JOIN up to its tag, which Hmac(that side's key).tag gives."""
    return header(JOIN, key_id, ROLE_RELAY) + relay_tag + bytes((side,)) + u32(sequence) + with_size(ticket)


def parse_join_ok(data: bytes) -> tuple:
    """Return (key_id, relay_tag, side, sequence, reflexive) of a JOIN_OK; ProtocolError."""
    reader = Reader(data, 0, len(data) - MAC_SIZE)
    key_id, role = reader.header(JOIN_OK)
    fields = key_id, reader.bytes(7), reader.u8(), reader.u32(), reader.address()
    reader.done()
    if role != ROLE_RELAY:
        raise ProtocolError("role")
    return fields


class RelayEnd:
    """Our end of one relay session: joins, joins anew every 20 s, knows our address as the relay sees it.

    `state` is JOINING, JOINED (also while joining anew) or FAILED: no answer; `due` is when the next JOIN is, or None.
    """

    def __init__(self, is_client: bool, key_id: int, candidate: tuple, random_bytes, now: int):
        """candidate: (RELAY, address, relay_tag, our side's key of 16 bytes, ticket)."""
        check_key(candidate[3])
        self.addr = candidate[1]
        self.tag = candidate[2]
        self.reflexive = None
        self._key = candidate[3]
        self._ticket = candidate[4]
        self._side = 0 if is_client else 1
        self._key_id = key_id
        self._random_bytes = random_bytes
        self._sequence = 0
        self._to(JOINING, now)

    def rejoin(self, now: int, age_ms: int = 0) -> None:
        """Join at once, as our address may have changed, unless that is under way or was done in the last age_ms."""
        if self.state != JOINED:
            if not age_ms:
                self._to(JOINING, now)
        elif not self._tries and ticks_diff(self.due, now) <= _STATES[JOINED][0] - age_ms:
            self.due = now
            self._gap = _STATES[JOINING][1]

    def write_join(self, buf, now: int) -> int:
        """Write the JOIN that is due into buf; return its size, 0 if the relay did not answer and we gave up."""
        row = _STATES[self.state]
        if self._tries == row[3]:
            self._to(FAILED, now)
            return 0
        self._tries += 1
        self._sequence += 1
        self.due = ticks_add(now, self._gap * 7 // 8 + self._gap * self._random_bytes(1)[0] // 1024)
        self._gap = min(self._gap * 2, row[2])
        data = encode_join(self._key_id, self.tag, self._side, self._sequence, self._ticket)
        data += Hmac(self._key).tag(data)  # every 20 s: its pads are not kept
        buf[: len(data)] = data
        return len(data)

    def is_due(self, now: int) -> bool:
        """Return whether write_join is to be called."""
        return self.due is not None and ticks_diff(self.due, now) <= 0

    def on_join_ok(self, data: bytes, addr: tuple, now: int) -> bool:
        """Take a JOIN_OK with our relay_tag; return whether it tells anything new. ProtocolError when not authentic."""
        _, _, side, sequence, reflexive = parse_join_ok(data)
        is_ours = addr == self.addr and side == self._side and sequence == self._sequence
        if not is_ours or not equal(Hmac(self._key).tag(data[:-MAC_SIZE]), data[-MAC_SIZE:]):
            raise ProtocolError("JOIN_OK")
        is_news = self.state != JOINED or reflexive != self.reflexive
        self.reflexive = reflexive
        self._to(JOINED, now)
        return is_news

    def _to(self, state: int, now: int) -> None:
        row = _STATES[state]
        self.state = state
        self._tries = 0
        self._gap = row[1]
        self.due = None if state == FAILED else ticks_add(now, row[0])
