"""The session of a device with a server after login: sealed control packets and keep-alives (protocol, chapter 4.3).

CONTROL          type (8 bits) | session id (56) | packet number (32) | sealed: kind (8) | request id (16) | body
ALIVE, ALIVE_OK  type (8) | session id (56) | packet number (32) | tag (128)
The device uses Control as it is; a server's Session builds on it (`is_server`). Keys are derived when they are needed,
so that five sessions fit a small heap.
"""

from struct import pack_into

from upeer.base.clock import earlier, ticks_add, ticks_diff
from upeer.base.compat import const
from upeer.base.errors import ProtocolError
from upeer.base.wire import ALIVE, ALIVE_OK, CONTROL, Reader, u16, u32
from upeer.crypto.aead import Aead, Hmac, check_key, derive, tag_matches

TOKENS = const(1)
INVITE = const(2)
ANSWER = const(3)
LOGOUT = const(4)
ADDRESS = const(5)
KEYS = const(6)
SERVERS = const(7)
ACK = const(0x80)

TOKENS_PER_PACKET = const(48)
ALIVE_SIZE = const(28)
SESSION_ID_SIZE = const(7)
_HEAD_SIZE = const(12)
_TEXT_START = const(28)  # behind head and IV
_WINDOW = const(64)
_TRIES = const(4)
_MAX_EVENTS = const(8)
_TOKEN_SIZE = const(16)


def parse_servers(reader: Reader) -> list:
    """Return the p2p entries of LOGIN_OK and SERVERS: [(id, address, login_key, ticket)]."""
    entries = []
    for _ in range(reader.u8()):
        entries.append((reader.u8(), reader.address(), reader.bytes(32), reader.bytes(reader.u8())))
    reader.done()
    return entries


def _wait_ms(tries: int) -> int:
    """Return how long the answer to try number 1, 2, 3, 4 is awaited: 1, 2, 4, 4 s."""
    return 1000 << min(tries - 1, 2)


class Control:
    """One session with one server. All datagrams go to `address`.

    Events, as tuples: ("invite", invite_id, client address, key_id, lookup_token, Noise message 1),
    ("keys", key_id, crc_key, p2p_key), ("servers", entries), ("address", address), ("logout", code), ("dead",).
    After the last two the session is over.
    """

    is_server = False

    def __init__(self, address: tuple, session_id: bytes, session_key: bytes):
        self.address = address
        self.session_id = session_id
        self.reflexive: tuple | None = None
        self.is_over = False
        self.dropped = 0
        check_key(session_key)
        self._key = session_key
        self._number = 0
        self._largest = 0
        self._window = 0  # bit n: packet number _largest - n has come
        self._request_id = 0
        self._queue: list = []  # (kind, request_id, body) not yet acknowledged; the first one is under way
        self._tries = 0
        self._deadline: int | None = None
        self._out: list = []
        self._events: list = []

    def start_keep_alive(self, interval_s: int, now: int) -> None:
        """Begin with keep-alives (device)."""
        self._interval_ms = interval_s * 1000
        self._alive = bytearray(ALIVE_SIZE)
        self._alive[1:8] = self.session_id
        self._alive_is_due = False
        self._alive_tries = 0  # since the last answer
        self._alive_at = ticks_add(now, self._interval_ms)

    def timer(self) -> int | None:
        """Return the ticks at which handle_timer wants to be called, None for never."""
        return None if self.is_over else earlier(self._alive_at, self._deadline)

    def handle_timer(self, now: int) -> None:
        """Send and repeat what is due; end a session that no longer answers."""
        if self.is_over:
            return
        if ticks_diff(self._alive_at, now) <= 0:
            if self._alive_tries == _TRIES:
                return self._end(("dead",))
            self._alive_tries += 1
            self._alive_is_due = True
            self._alive_at = ticks_add(now, _wait_ms(self._alive_tries))
        if not self.repeat(now):
            self._end(("dead",))

    def repeat(self, now: int) -> bool:
        """Send the first of what awaits an ACK again if it is time; False when that was tried often enough."""
        if self._deadline is None or ticks_diff(self._deadline, now) > 0:
            return True
        if self._tries == _TRIES:
            return False
        self._send_first(now)
        return True

    def datagram_to_send(self, now: int) -> "bytes | bytearray | None":
        """Return the next datagram for `address`, None when there is none. Keep-alives share one buffer."""
        if self._out:
            return self._out.pop(0)
        if not self.is_over and self._alive_is_due:
            self._alive_is_due = False
            self._number += 1
            self._alive[0] = ALIVE
            pack_into(">I", self._alive, 8, self._number)
            pack_into("16s", self._alive, _HEAD_SIZE, self._alive_digest(b"device"))
            return self._alive
        return None

    def next_event(self) -> tuple | None:
        """Return the next event, None when there is none."""
        return self._events.pop(0) if self._events else None

    def receive_datagram(self, data, addr: tuple, now: int) -> bool:
        """Take a datagram; False when it belongs to another session."""
        size = len(data)
        if size < ALIVE_SIZE:
            return False
        session_id = self.session_id
        for i in range(SESSION_ID_SIZE):
            if data[i + 1] != session_id[i]:
                return False
        if data[0] == ALIVE_OK and size == ALIVE_SIZE:
            self._handle_alive_ok(data, now)
        elif data[0] == CONTROL:
            self.receive_control(data, addr, now)
        else:
            return False
        return True

    def receive_control(self, data, addr: tuple, now: int) -> bool:
        """Open and handle a CONTROL packet of this session; return whether it was authentic and new."""
        try:
            if self.is_over:
                return False
            reader = self._open(data)
        except ProtocolError:
            self.dropped += 1
            return False
        self._on_authentic(addr, now)
        try:
            kind = reader.u8()
            request_id = reader.u16()
            if kind == ACK:
                self._handle_ack(request_id, now)
            else:
                self._handle(kind, request_id, reader)
        except ProtocolError:  # authentic, and yet malformed: no reason to end the session
            self.dropped += 1
        return True

    def upload_tokens(self, tokens: bytes, now: int) -> None:
        """Make `tokens` (16 bytes each) the full set by which clients find this device; replaces a set under way."""
        size = TOKENS_PER_PACKET * _TOKEN_SIZE
        total = max(1, (len(tokens) + size - 1) // size)
        chunks = [bytes((i, total)) + tokens[i * size : i * size + size] for i in range(total)]
        self._queue = [item for item in self._queue if item[0] != TOKENS]
        self._deadline = None
        self.send_reliably(TOKENS, chunks, now)

    def send_reliably(self, kind: int, bodies: list, now: int) -> None:
        """Send messages, one at a time, until each is acknowledged."""
        for body in bodies:
            self._queue.append((kind, self._next_request_id(), body))
        if self._deadline is None:
            self._tries = 0
            self._send_first(now)

    def answer_invite(self, invite_id: bytes, message: bytes) -> None:
        """Send Noise message 2 to the client whose invite this was."""
        self.send(ANSWER, self._next_request_id(), invite_id + message)

    def log_out(self, code: int = 0) -> None:
        """Say goodbye, once; the session is over."""
        self.send(LOGOUT, self._next_request_id(), bytes((code,)))
        self._end(None)

    def send(self, kind: int, request_id: int, body: bytes = b"") -> None:
        """Seal one message and put it among the datagrams to send."""
        self._number += 1
        head = bytes((CONTROL,)) + self.session_id + u32(self._number)
        text = bytes((kind,)) + u16(request_id) + body
        self._out.append(head + self._aead(self.is_server).seal(self._number, text, head))

    def is_new(self, number: int) -> bool:
        """Tell whether a packet number is neither a repetition nor older than the window."""
        behind = self._largest - number
        return number > 0 and (behind < 0 or (behind < _WINDOW and not self._window >> behind & 1))

    def mark(self, number: int) -> None:
        """Record the packet number of an authentic packet."""
        ahead = number - self._largest
        if ahead > 0:
            self._window = (self._window << ahead | 1) & 0xFFFFFFFFFFFFFFFF if ahead < _WINDOW else 1
            self._largest = number
        else:
            self._window |= 1 << -ahead

    def _alive_digest(self, sender: bytes) -> bytes:
        """Return the MAC of our keep-alive, or of its answer; its key is made anew: that is cheaper than to keep it."""
        return Hmac(derive(self._key, b"alive", sender)).digest(memoryview(self._alive)[:_HEAD_SIZE])

    def _aead(self, from_server: bool) -> Aead:
        return Aead(derive(self._key, b"control", b"server" if from_server else b"device"))

    def _open(self, data) -> Reader:
        number = Reader(data, 8).u32()
        if not self.is_new(number):
            raise ProtocolError("replayed")
        buf = bytearray(data)
        aead = self._aead(not self.is_server)
        end = aead.open_packet(buf, _HEAD_SIZE, len(buf))
        aead.forget()
        if end < 0:
            raise ProtocolError("not authentic")
        self.mark(number)
        return Reader(buf, _TEXT_START, end)  # type: ignore[arg-type]

    def _on_authentic(self, addr: tuple, now: int) -> None:
        if self._alive_tries:
            self._alive_tries = 0
            self._alive_at = ticks_add(now, self._interval_ms)

    def _handle_alive_ok(self, data, now: int) -> None:
        """Compare with what the answer to our last ALIVE (or to the one before, while we repeat) must look like."""
        alive = self._alive
        difference = 0 if self._alive_tries else 1
        for i in range(8, 11):
            difference |= alive[i] ^ data[i]
        if difference or not 0 <= alive[11] - data[11] < 64:
            self.dropped += 1
            return
        last = alive[11]
        alive[0] = ALIVE_OK
        alive[11] = data[11]
        if tag_matches(self._alive_digest(b"server"), data[_HEAD_SIZE:]):
            self._alive_tries = 0
            self._alive_is_due = False
            self._alive_at = ticks_add(now, self._interval_ms)
        else:
            self.dropped += 1
        alive[11] = last

    def _handle(self, kind: int, request_id: int, reader: Reader) -> None:
        if kind == INVITE:
            if len(self._events) >= _MAX_EVENTS:
                raise ProtocolError("too many at once")
            self._events.append(
                ("invite", reader.bytes(8), reader.address(), reader.u8(), reader.bytes(16), reader.rest())
            )
            return
        if kind == LOGOUT:
            return self._end(("logout", reader.u8()))
        if kind == ADDRESS:
            self.reflexive = reader.address()
            event: tuple = ("address", self.reflexive)
        elif kind == KEYS:
            event = ("keys", reader.u8(), reader.bytes(32), reader.bytes(32))
        elif kind == SERVERS:
            event = ("servers", parse_servers(reader))
        else:
            raise ProtocolError("unknown kind")
        if len(self._events) < _MAX_EVENTS:  # else it comes again
            self.send(ACK, request_id)
            self._events.append(event)

    def _handle_ack(self, request_id: int, now: int) -> None:
        if self._queue and self._queue[0][1] == request_id:
            self._on_ack(self._queue.pop(0)[0])
            self._tries = 0
            self._deadline = None
            if self._queue:
                self._send_first(now)

    def _on_ack(self, kind: int) -> None:
        pass

    def _send_first(self, now: int) -> None:
        self._tries += 1
        self._deadline = ticks_add(now, _wait_ms(self._tries))
        kind, request_id, body = self._queue[0]
        self.send(kind, request_id, body)

    def _next_request_id(self) -> int:
        self._request_id = (self._request_id + 1) & 0xFFFF
        return self._request_id

    def _end(self, event) -> None:
        self.is_over = True
        self._queue = []
        self._deadline = None
        if event:
            self._events.append(event)
