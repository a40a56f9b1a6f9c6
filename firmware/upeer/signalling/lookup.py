"""A client's half of signalling: where is the device (Lookup), the invite to it (ClientInvite); protocol, chapter 5.

LOOKUP         header (32 bits) | nonce (128) | cookie (160) | Noise NKpsk0 message 1: token (128) | flags (8)
               | zeros (120)
LOOKUP_ANSWER  header | nonce | Noise message 2: status (8) | Unix time (32) | reflexive (48) | invite id (64)
               | p2p count (8) | relay count (8) | entries | zeros up to 800 bytes
INVITE         header | invite id (64) | ticket length (8) | ticket | sealed: token (128) | Noise NNpsk0 message 1
INVITE_ANSWER  header | invite id | sealed: status (8) | client address (48) | Noise message 2
"""

from upeer.base.clock import ticks_add, ticks_diff
from upeer.base.compat import const
from upeer.base.errors import LocalError, ProtocolError
from upeer.base.wire import (
    INVITE,
    INVITE_ANSWER,
    LOOKUP,
    LOOKUP_ANSWER,
    ROLE_MASTER,
    ROLE_P2P,
    Reader,
    header,
    with_size,
)
from upeer.crypto.aead import Aead, check_key, derive
from upeer.crypto.noise import NKPSK0, Noise
from upeer.crypto.x25519 import public_key
from upeer.signalling.question import Question, client_hello_key

TOKEN_SIZE = const(16)
QUESTION_SIZE = const(32)
ANSWER_SIZE = const(800)
FOUND = const(0)
NOT_FOUND = const(1)
DEVICE_GONE = const(1)

_COOKIE_LIFE_MS = const(100000)  # the server's is 120 s
_FORGED_LIMIT = const(8)
_INVITE_TRIES = const(5)
_INVITE_WAIT_MS = const(400)


def lookup_psk(p2p_key) -> bytes:
    """Return the psk (32 bytes) of lookups."""
    return derive(p2p_key, b"lookup psk")


class Answer:
    """What a master says: `is_found`, `unix_time`, `reflexive`, `invite_id`,

    `p2p` [(id, address, client_key, ticket)] and `relays` [(id, address, relay_tag, client_key, device_key, ticket)].
    """

    def __init__(self, text: bytes):
        reader = Reader(text)
        self.is_found = reader.u8() == FOUND
        self.unix_time = reader.u32()
        self.reflexive = reader.address()
        self.invite_id = reader.bytes(8)
        counts = reader.u8(), reader.u8()
        self.p2p = [self._entry(reader, 32) for _ in range(counts[0])]
        self.relays = [self._entry(reader, 7, 16, 16) for _ in range(counts[1])]

    @staticmethod
    def _entry(reader: Reader, *sizes) -> tuple:
        fields = [reader.u8(), reader.address()]
        for size in sizes:
            fields.append(reader.bytes(size))
        fields.append(reader.bytes(reader.u8()))
        return tuple(fields)


class Lookup(Question):
    """Ask one master for a device; it ends in one event: ("answer", Answer) or ("failed", 0).

    `platform` has key_id and p2p_key; `master` is (address, static public key) or (address, static public key, cookie),
    the cookie being what `cookie_to_keep` of an earlier lookup at this master gave, or None.
    """

    def __init__(self, platform, master: tuple, token: bytes, random_bytes, now: int):
        check_key(token)
        if len(token) != TOKEN_SIZE:
            raise LocalError("lookup token is not of 16 bytes")
        super().__init__(platform.key_id, ROLE_MASTER, client_hello_key(platform.p2p_key), master[0], random_bytes)
        self._psk = lookup_psk(platform.p2p_key)
        self._static_public = master[1]
        self._token = token
        private = random_bytes(32)
        self._ephemeral = (private, public_key(private))
        self._random = random_bytes
        self._noise: Noise | None = None
        self._forged = 0
        self._got_cookie_at = now
        cookie: tuple = master[2] if len(master) > 2 and master[2] else ()
        self._is_old_cookie = bool(cookie) and ticks_diff(now, cookie[2]) < _COOKIE_LIFE_MS
        if self._is_old_cookie:
            self._nonce, self._cookie, self._got_cookie_at = cookie
            self._ask(now)
        else:
            self._say_hello(now)

    def cookie_to_keep(self) -> tuple | None:
        """Return what spares the next lookup at this master one round trip, None before there is a cookie."""
        return (self._nonce, self._cookie, self._got_cookie_at) if self._cookie else None

    def _handle_cookie(self, data, now: int) -> None:
        self._got_cookie_at = now
        super()._handle_cookie(data, now)

    def _question(self) -> bytes:
        before = header(LOOKUP, self._key_id, self._role) + self._nonce + self._cookie
        self._noise = Noise(NKPSK0, True, self._psk, before, None, self._static_public, self._ephemeral)
        return before + self._noise.write_message(self._token + bytes(QUESTION_SIZE - TOKEN_SIZE))

    def _handle_answer(self, data: bytes, now: int) -> None:
        if data[0] != LOOKUP_ANSWER or self._forged == _FORGED_LIMIT:
            raise ProtocolError("not an answer")
        assert self._noise
        try:
            answer = Answer(self._noise.read_message(data[20:]))
        except ProtocolError:  # forged: the same message leads back to the state before
            self._forged += 1
            self._question()
            raise
        self._finish(("answer", answer))

    def _may_repeat(self) -> bool:
        return super()._may_repeat() and not (self._is_old_cookie and self._tries == 2)

    def _has_old_cookie(self) -> bool:
        return self._is_old_cookie

    def _say_hello(self, now: int) -> None:
        """Start afresh: a key pair and a nonce serve one cookie."""
        if self._is_old_cookie:
            private = self._random(32)
            self._ephemeral = (private, public_key(private))
            self._nonce = self._random(16)
            self._cookie = None
            self._is_old_cookie = False
        super()._say_hello(now)

    def _failure(self) -> tuple:
        return ("failed", 0)


class ClientInvite:
    """Send Noise message 1 to a device through one p2p server, again after 0.4, 0.8, 1.6, 3.2 s: a device takes 0.7 s.

    Ends in one event: ("answer", status, our address, Noise message 2), status 0 or DEVICE_GONE, or ("failed", 0).
    `entry` is one of Answer.p2p, `text` the lookup token and Noise message 1.
    """

    def __init__(self, key_id: int, entry: tuple, invite_id: bytes, text: bytes, now: int):
        self.address = entry[1]
        self.invite_id = invite_id
        self.dropped = 0
        self._key_id = key_id
        self._aead = Aead(entry[2])
        before = header(INVITE, key_id, ROLE_P2P) + invite_id + with_size(entry[3])
        self._packet = before + self._aead.seal(0, text, before)
        self._is_due = True
        self._tries = 1
        self._deadline: int | None = ticks_add(now, _INVITE_WAIT_MS)
        self._event: tuple | None = None

    def timer(self) -> int | None:
        """Return the ticks at which handle_timer wants to be called, None for never."""
        return self._deadline

    def handle_timer(self, now: int) -> None:
        """Repeat, or give up."""
        if self._deadline is None or ticks_diff(self._deadline, now) > 0:
            return
        if self._tries == _INVITE_TRIES:
            self._finish(("failed", 0))
            return
        self._is_due = True
        self._deadline = ticks_add(now, _INVITE_WAIT_MS << self._tries)
        self._tries += 1

    def datagram_to_send(self, now: int) -> bytes | None:
        """Return the next datagram for `address`, None when there is none."""
        if self._is_due:
            self._is_due = False
            return self._packet
        return None

    def next_event(self) -> tuple | None:
        """Return what became of the invite, once."""
        event = self._event
        self._event = None
        return event

    def receive_datagram(self, data, addr: tuple, now: int) -> None:
        """Take a datagram that came from anywhere."""
        data = bytes(data)
        before = header(INVITE_ANSWER, self._key_id, ROLE_P2P) + self.invite_id
        try:
            if self._deadline is None or data[:12] != before:
                raise ProtocolError("not our answer")
            reader = Reader(self._aead.open(data[12:], before))
            self._finish(("answer", reader.u8(), reader.address(), reader.rest()))
        except ProtocolError:
            self.dropped += 1

    def _finish(self, event: tuple) -> None:
        self._deadline = None
        self._is_due = False
        self._event = event
