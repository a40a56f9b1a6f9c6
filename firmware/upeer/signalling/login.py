"""A device's login at one master or p2p server (protocol, chapter 4). Control goes on without this module.

LOGIN     header (32 bits) | nonce (128) | cookie (160) | sealed: epoch (32) | flags (16) | NAT class (8)
          | DID length (8) | DID | ticket length (8) | ticket | proof (256)
LOGIN_OK  header | nonce | sealed: session id (56) | session key (256) | reflexive (48) | keep-alive in s (16)
          | Unix time (32) | count (8) | p2p entries
LOGIN_NO  header | nonce | code (8) | tag (128)
LOGIN_BEHIND  header | nonce | sealed: last epoch (32)
"""

from upeer.base.clock import ticks_add
from upeer.base.compat import const
from upeer.base.errors import LocalError, ProtocolError
from upeer.base.wire import LOGIN, LOGIN_BEHIND, LOGIN_NO, LOGIN_OK, ROLE_MASTER, Reader, header, u16, u32, with_size
from upeer.crypto.aead import Aead, Hmac, check_key, derive, equal
from upeer.signalling.control import Control, parse_servers
from upeer.signalling.question import Question, device_hello_key

NO_ANSWER = const(0)
REFUSED = const(1)
BUSY = const(2)

FLAG_PAIRING = const(1)
FLAG_SHARES = const(2)

_NO_SIZE = const(37)
_NO_WAIT_MS = const(500)  # a true LOGIN_OK may come behind a LOGIN_NO that another device has forged


def login_key(licence_key, crc_key, did: str, master_id: int) -> bytes:
    """Return the key (32 bytes) that proves a device to one master, and that master to the device."""
    check_key(crc_key)
    return derive(licence_key, b"login", bytes(crc_key), did.encode(), bytes((master_id,)))


def backoff_ms(failures: int, random_bytes) -> int:
    """Return how long to wait after that many failures in a row: 1 to 60 s, less up to a quarter by chance."""
    if not failures:
        return 0
    longest = min(1000 << min(failures - 1, 6), 60000)
    return longest - longest * random_bytes(1)[0] // 1024


class Login(Question):
    """One attempt to log in; it ends in one event:

    ("login", Control, Unix time, p2p entries), keep-alives running, ("failed", NO_ANSWER, REFUSED or BUSY), or
    ("behind", last epoch): proven, but the server has seen that epoch.
    `identity` has key_id, crc_key, p2p_key, did, flags, nat_class and next_epoch(), which never gives a number twice;
    `server` is (role, address, login key, ticket), the ticket empty at masters. Starts after the back-off for
    `failures` in a row. LocalError if a key is missing.
    """

    def __init__(self, identity, server: tuple, random_bytes, now: int, failures: int = 0):
        check_key(identity.crc_key)
        check_key(identity.p2p_key)
        check_key(server[2])
        if len(server[2]) != 32:
            raise LocalError("login key is not of 32 bytes")
        hello_key = device_hello_key(identity.crc_key, identity.p2p_key)
        super().__init__(identity.key_id, server[0], hello_key, server[1], random_bytes)
        self._identity = identity
        self._key = server[2]
        self._ticket = server[3]
        self._answer: Aead | None = None
        self._refused = NO_ANSWER
        if failures:
            self._deadline = ticks_add(now, backoff_ms(failures, random_bytes))
        else:
            self._say_hello(now)

    def _question(self) -> bytes:
        identity = self._identity
        before = header(LOGIN, self._key_id, self._role) + self._nonce + self._cookie
        did = identity.did.encode() if self._role == ROLE_MASTER else b""
        text = u32(identity.next_epoch()) + u16(identity.flags) + bytes((identity.nat_class,))
        text += with_size(did) + with_size(self._ticket)
        proof = Hmac(self._key).digest(b"proof", before, text)
        both = bytes(identity.crc_key) + bytes(identity.p2p_key)
        self._answer = Aead(derive(self._key, b"login answer", self._nonce, self._cookie))
        return before + Aead(derive(both, b"login seal", self._nonce, self._cookie)).seal(0, text + proof, before)

    def _handle_answer(self, data: bytes, now: int) -> None:
        assert self._answer
        if data[0] == LOGIN_OK:
            self._handle_ok(Reader(self._answer.open(data[20:], data[:20])), now)
        elif data[0] == LOGIN_NO:
            self._handle_no(data, now)
        elif data[0] == LOGIN_BEHIND:
            self._finish(("behind", Reader(self._answer.open(data[20:], data[:20])).u32()))
        else:
            raise ProtocolError("not an answer")

    def _handle_ok(self, reader: Reader, now: int) -> None:
        control = Control(self.address, reader.bytes(7), reader.bytes(32))
        control.reflexive = reader.address()
        interval_s = reader.u16()
        unix_time = reader.u32()
        entries = parse_servers(reader)
        control.start_keep_alive(max(interval_s, 1), now)
        self._finish(("login", control, unix_time, entries))

    def _handle_no(self, data: bytes, now: int) -> None:
        if len(data) != _NO_SIZE or not equal(self._hello.tag(data[:21]), data[21:]):
            raise ProtocolError("not authentic")
        if not self._refused:
            self._refused = BUSY if data[20] == BUSY else REFUSED
            self._deadline = ticks_add(now, _NO_WAIT_MS)

    def _may_repeat(self) -> bool:
        return not self._refused and super()._may_repeat()

    def _failure(self) -> tuple:
        return ("failed", self._refused)
