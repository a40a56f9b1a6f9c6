"""A server's half of the session with a device: keep-alives answered fast, tokens put together, address followed.

The device's half, and what both have in common, is upeer.signalling.control. The registrar reads its events:
    ("tokens", set of tokens), ("answer", invite_id, Noise message 2), ("acked", kind, what was pushed), ("logout",)
"""

from collections import Counter
from collections.abc import Callable
from hmac import compare_digest
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from upeer.base.errors import ProtocolError
from upeer.base.wire import Reader, pack_address
from upeer.crypto.aead import derive
from upeer.signalling.control import ACK, ADDRESS, ANSWER, LOGOUT, TOKENS, TOKENS_PER_PACKET, Control
from upeer_server.cookie import Address

MAX_TOKEN_CHUNKS = 4
_SHA256 = SHA256()
_ALIVE_OK = b"\x8a"
_FULL_WINDOW = (1 << 64) - 1


class Session(Control):
    """One device at one role. `attention`: its registrar has to see to it when its next keep-alive has come.

    `drops` counts what was not right. The registrar keeps `role`, `seen_ms` and all that it knows of the device here.
    """

    is_server = True

    def __init__(
        self,
        address: Address,
        session_id: bytes,
        session_key: bytes,
        random_bytes: Callable[[int], bytes],
        drops: Counter[str],
    ) -> None:
        super().__init__(address, session_id, session_key)
        self.role = 0
        self.did = ""
        self.epoch = 0
        self.key_id = 0
        self.flags = 0
        self.nat_class = 0
        self.seen_ms = 0
        self.started_ms = 0
        self.attention = False
        self.replaced_ms: int | None = None
        self.ghost: Session | None = None
        self.tokens: tuple[bytes, ...] = ()
        self.p2p_ids: tuple[int, ...] = ()
        self.refresh_ms = 1 << 62
        self.pushed: dict[int, Any] = {}
        self._random_bytes = random_bytes
        self._drops = drops
        self._newest = 0
        self._new_address_id: int | None = None
        self._token_set: tuple[int, int, dict[int, bytes]] = (-1, 0, {})
        self._alive_in = HMAC(derive(session_key, b"alive", b"device"), _SHA256)
        self._alive_out = HMAC(derive(session_key, b"alive", b"server"), _SHA256)

    def answer_alive(self, data: bytes, address: Address, ms: int) -> bytes | None:
        """Return the ALIVE_OK to an ALIVE (28 bytes); None when it is not authentic or not new.

        The hot path of a server: what it does not need it does not do.
        """
        number = int.from_bytes(data[8:12], "big")
        ahead = number - self._largest
        if ahead != 1 and not self.is_new(number):
            self._drops["replayed"] += 1
            return None
        mac = self._alive_in.copy()
        mac.update(data[:12])
        if not compare_digest(mac.finalize()[:16], data[12:]):
            self._drops["forged"] += 1
            return None
        if ahead == 1:
            self._window = (self._window << 1 | 1) & _FULL_WINDOW
            self._largest = number
        else:
            self.mark(number)
        self.seen_ms = ms
        if address != self.address and ahead > 0:
            self._move(address)
        reply = _ALIVE_OK + data[1:12]
        mac = self._alive_out.copy()
        mac.update(reply)
        return reply + mac.finalize()[:16]

    @property
    def has_new_address(self) -> bool:
        """Whether nothing has shown yet that the device gets what is sent to `address`."""
        return self._new_address_id is not None

    def send_address(self) -> None:
        """Tell the device its address, which it acknowledges from there."""
        if self._new_address_id is None:
            self._new_address_id = self._next_request_id()
        self.send(ADDRESS, self._new_address_id, pack_address(*self.address))

    def take_out(self) -> list[bytes]:
        """Return the datagrams to send to `address`, and forget them."""
        out, self._out = self._out, []
        return out

    @property
    def is_busy(self) -> bool:
        """Whether something awaits its acknowledgement."""
        return self._deadline is not None

    def forget_queue(self) -> None:
        """Give up on what was not acknowledged."""
        self._queue = []
        self._deadline = None
        self.pushed.clear()

    def _move(self, address: Address) -> None:
        if not address[1]:
            return
        self.address = address
        self._new_address_id = self._next_request_id()
        self.attention = True

    def _on_authentic(self, addr: Address, now: int) -> None:
        if addr != self.address and self._newest == self._largest:
            self._move(addr)

    def _open(self, data: bytes) -> Reader:
        reader = super()._open(data)
        self._newest = int.from_bytes(data[8:12], "big")
        return reader

    def _next_request_id(self) -> int:
        return int.from_bytes(self._random_bytes(2), "big")

    def _handle(self, kind: int, request_id: int, reader: Reader) -> None:
        if kind == TOKENS:
            self._handle_tokens(request_id, reader)
        elif kind == ANSWER:
            self._events.append(("answer", reader.bytes(8), reader.rest()))
        elif kind == LOGOUT:
            self._events.append(("logout",))
        else:
            raise ProtocolError("unknown kind")

    def _handle_ack(self, request_id: int, now: int) -> None:
        if request_id == self._new_address_id:
            self._new_address_id = None
        super()._handle_ack(request_id, now)

    def _on_ack(self, kind: int) -> None:
        self._events.append(("acked", kind, self.pushed.pop(kind, None)))

    def _handle_tokens(self, request_id: int, reader: Reader) -> None:
        """Put a set together; its chunks have consecutive request ids."""
        index, total = reader.u8(), reader.u8()
        chunk = reader.rest()
        if not index < total <= MAX_TOKEN_CHUNKS or len(chunk) % 16 or len(chunk) > TOKENS_PER_PACKET * 16:
            raise ProtocolError("malformed TOKENS")
        first = (request_id - index) & 0xFFFF
        if self._token_set[:2] != (first, total):
            self._token_set = (first, total, {})
        chunks = self._token_set[2]
        chunks[index] = chunk
        self.send(ACK, request_id)
        if len(chunks) == total:
            text = b"".join(chunks[i] for i in range(total))
            self._events.append(("tokens", {text[i : i + 16] for i in range(0, len(text), 16)}))
            self._token_set = (-1, 0, {})
