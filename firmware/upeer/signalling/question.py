"""What every question to a server shares: hello keys, HELLO and COOKIE, and asking again (protocol, chapter 4.1).

HELLO   header (32 bits) | nonce (128) | zeros (224) | tag (128)
COOKIE  header (32) | nonce (128) | cookie (160) | tag (128)
"""

from upeer.base.clock import ticks_add, ticks_diff
from upeer.base.compat import const
from upeer.base.errors import ProtocolError
from upeer.base.wire import COOKIE, HELLO, header
from upeer.crypto.aead import Hmac, derive, equal

HELLO_SIZE = const(64)
NONCE_SIZE = const(16)
_COOKIE_SIZE = const(56)
_FIRST_WAIT_MS = const(300)
_TRIES = const(5)

_WAITING = const(0)
_HELLO_SENT = const(1)
_ASKED = const(2)
_DONE = const(3)
_NEXT = ((_HELLO_SENT, _ASKED), (_ASKED, _DONE), (_HELLO_SENT, _DONE), ())


def device_hello_key(crc_key, p2p_key) -> bytes:
    """Return the key (32 bytes) of HELLO, COOKIE and LOGIN_NO between devices and servers."""
    return derive(bytes(crc_key) + bytes(p2p_key), b"hello device")


def client_hello_key(p2p_key) -> bytes:
    """Return the key (32 bytes) of HELLO and COOKIE between clients and servers."""
    return derive(p2p_key, b"hello client")


class Question:
    """HELLO until there is a cookie, then a question until its answer. Login and Lookup say what is asked.

    Each waits 0.3, 0.6, 1.2, 2.4 and 4.8 s for its answer. All datagrams go to `address`; where answers come from does
    not matter, their nonce and their authenticity do. `dropped` counts what was neither.
    """

    def __init__(self, key_id: int, role: int, hello_key, address: tuple, random_bytes):
        self.address = address
        self.dropped = 0
        self._key_id = key_id
        self._role = role
        self._hello = Hmac(hello_key)
        self._nonce = random_bytes(NONCE_SIZE)
        self._cookie: bytes | None = None
        self._packet: bytes | None = None
        self._is_due = False
        self._tries = 0
        self._deadline: int | None = None
        self._state = _WAITING
        self._event: tuple | None = None

    def timer(self) -> int | None:
        """Return the ticks at which handle_timer wants to be called, None for never."""
        return self._deadline

    def datagram_to_send(self, now: int) -> bytes | None:
        """Return the next datagram for `address`, None when there is none."""
        if self._is_due:
            self._is_due = False
            return self._packet
        return None

    def next_event(self) -> tuple | None:
        """Return what became of the question, once; None before and after that."""
        event = self._event
        self._event = None
        return event

    def handle_timer(self, now: int) -> None:
        """Start, ask again or give up when the deadline has passed."""
        if self._deadline is None or ticks_diff(self._deadline, now) > 0:
            return
        if self._state == _WAITING:
            self._say_hello(now)
        elif self._may_repeat():
            self._send(now)
        elif self._state == _ASKED and self._has_old_cookie():
            self._say_hello(now)
        else:
            self._finish(self._failure())  # type: ignore[attr-defined]

    def receive_datagram(self, data, addr: tuple, now: int) -> None:
        """Take a datagram that came from anywhere."""
        try:
            if not self._is_ours(data):
                self.dropped += 1
            elif data[0] == COOKIE:
                self._handle_cookie(data, now)
            elif self._state != _ASKED:
                self.dropped += 1
            else:
                self._handle_answer(bytes(data), now)  # type: ignore[attr-defined]
        except ProtocolError:
            self.dropped += 1

    def _is_ours(self, data) -> bool:
        return (
            len(data) >= 20
            and bytes(data[1:4]) == header(0, self._key_id, self._role)[1:]
            and bytes(data[4:20]) == self._nonce
        )

    def _handle_cookie(self, data, now: int) -> None:
        if self._state != _HELLO_SENT:
            return
        if len(data) != _COOKIE_SIZE or not equal(self._hello.tag(data[:40]), bytes(data[40:])):
            raise ProtocolError("not a cookie")
        self._cookie = bytes(data[20:40])
        self._ask(now)

    def _say_hello(self, now: int) -> None:
        message = header(HELLO, self._key_id, self._role) + self._nonce + bytes(28)
        self._to(_HELLO_SENT)
        self._packet = message + self._hello.tag(message)
        self._send(now)

    def _ask(self, now: int) -> None:
        self._to(_ASKED)
        self._packet = self._question()  # type: ignore[attr-defined]
        self._send(now)

    def _send(self, now: int) -> None:
        self._is_due = True
        self._deadline = ticks_add(now, _FIRST_WAIT_MS << self._tries)
        self._tries += 1

    def _finish(self, event: tuple) -> None:
        self._to(_DONE)
        self._deadline = None
        self._is_due = False
        self._event = event

    def _to(self, state: int) -> None:
        assert state in _NEXT[self._state]
        self._state = state
        self._tries = 0

    def _may_repeat(self) -> bool:
        return self._tries < _TRIES

    def _has_old_cookie(self) -> bool:
        return False
