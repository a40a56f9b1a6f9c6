"""What masters and p2p servers share: logins, sessions in memory, tokens, clones, revocation (protocol, chapter 4).

Where a device's login key comes from, and what a login is answered with, is for Master and P2p to say. Everything is
bounded: sessions by `max_sessions`, one replaced session per device, tokens per session, tables by their sizes.
"""

from typing import Any, NamedTuple

from upeer.base.errors import ProtocolError
from upeer.base.wire import LOGIN_BEHIND, LOGIN_NO, LOGIN_OK, Reader, header, pack_address
from upeer.crypto.aead import Aead, Hmac, derive, equal
from upeer.signalling.login import BUSY, REFUSED
from upeer_server.clones import CLONE_POLICIES, CloneWatch
from upeer_server.cookie import DEVICE, LIFETIME_S, Address
from upeer_server.hub import Hub, Keys
from upeer_server.limits import Buckets
from upeer_server.session import Session

KEEP_ALIVE_S = 25
MAX_SESSIONS = 200_000
LOGOUT_DONE = 0
LOGOUT_REPLACED = 1
LOGOUT_REVOKED = 2
LOGOUT_SHUTTING_DOWN = 3

_MAX_LOGIN = 1200
_SWEEP_MS = 1000
_REPEAT_MS = 250
_RECENT_MS = 15_000
_MAX_RECENT = 16384
_MAX_USED = 262_144
_GHOST_GRACE_MS = 2000


class LoginRequest(NamedTuple):
    """What a LOGIN says; `proven` is all that its proof covers."""

    keys: Keys
    address: Address
    nonce: bytes
    cookie: bytes
    epoch: int
    flags: int
    nat_class: int
    did: bytes
    ticket: bytes
    proven: tuple[bytes, bytes]
    proof: bytes


class Registrar:
    """Logs devices in and keeps their sessions. Base of Master and P2p."""

    role = 0

    def __init__(
        self,
        hub: Hub,
        keep_alive_s: int = KEEP_ALIVE_S,
        max_sessions: int = MAX_SESSIONS,
        clone_policy: str = CLONE_POLICIES[0],
    ) -> None:
        self.hub = hub
        self.keep_alive_s = keep_alive_s
        self.max_sessions = max_sessions
        self.clones = CloneWatch(clone_policy, self.role)
        self.logins = 0
        self.refused = 0
        self._by_did: dict[str, Session] = {}
        self._all: dict[bytes, Session] = {}  # with replaced ones
        self._tokens: dict[bytes, Session] = {}
        self._busy: dict[bytes, Session] = {}  # those with something unacknowledged
        self._recent: dict[bytes, tuple[int, bytes, bytes]] = {}  # nonce: (ms, LOGIN, LOGIN_OK)
        self._used: dict[bytes, int] = {}  # nonces of proven logins, as long as their cookies live
        self._failures = Buckets(5, 50)
        self._dummy_key = hub.random_bytes(32)
        self._sweep_ms = 0
        self._sweep_list: list[Session] = []

    # What differs between roles

    def find_login_key(self, request: LoginRequest) -> tuple[str, bytes | None, int]:
        """Return (DID, login key or None, highest epoch seen), with the same work whether there is one or not."""
        raise NotImplementedError

    def record_epoch(self, did: str, epoch: int) -> None:
        """Record an epoch before the login is answered."""
        raise NotImplementedError

    def entries_for(self, session: Session) -> bytes:
        """Return the p2p entries of LOGIN_OK."""
        return b"\0"

    def push(self, session: Session) -> bool:
        """Send the session what it lacks; False when it lacked nothing."""
        return False

    def handle_ack(self, session: Session, kind: int, pushed: Any) -> None:
        """Take note of what a device has acknowledged."""

    def handle_answer(self, session: Session, invite_id: bytes, message: bytes) -> None:
        """Take a device's answer to an invite; there are none where no invite comes from."""
        session.dropped += 1

    # Login

    def handle_login(self, data: bytes, address: Address) -> None:
        """Answer a LOGIN; drop it without a word when its cookie or its seal is not right."""
        hub = self.hub
        recent = self._recent.get(data[4:20])
        if recent is not None and recent[1] == data:
            if hub.cookies.is_valid(data[20:40], hub.unix, address, data[4:20], DEVICE):
                hub.send(recent[2], address)
            return
        if not self._failures.has(address[0], hub.ms):
            hub.drops["limited"] += 1
            return
        try:
            request = self._open_login(data, address)
        except ProtocolError:
            hub.drops["login"] += 1
            return
        did, key, last_epoch = self.find_login_key(request)
        proof = Hmac(key or self._dummy_key).digest(b"proof", *request.proven)
        is_proven = equal(proof, request.proof) and key is not None
        if not is_proven or key is None or self._is_barred(did):
            self._refuse(request, REFUSED)
        elif request.epoch <= last_epoch:
            self._handle_old_epoch(request, did, key, last_epoch)
        elif did not in self._by_did and len(self._by_did) >= self.max_sessions:
            self._refuse(request, BUSY)
        else:
            self._accept(request, did, key, data)

    def _open_login(self, data: bytes, address: Address) -> LoginRequest:
        hub = self.hub
        keys = hub.generations.get(data[2]) if 88 <= len(data) <= _MAX_LOGIN else None
        nonce, cookie = data[4:20], data[20:40]
        if keys is None or data[1] != 1 or not hub.cookies.is_valid(cookie, hub.unix, address, nonce, DEVICE):
            raise ProtocolError("stale cookie or unknown keys")
        try:
            text = Aead(derive(keys.both, b"login seal", nonce, cookie)).open(data[40:], data[:40])
        except ProtocolError:
            self._failures.take(address[0], hub.ms)
            raise
        reader = Reader(text, 0, len(text) - 32) if len(text) > 32 else Reader(b"")
        epoch, flags, nat_class = reader.u32(), reader.u16(), reader.u8()
        did, ticket = reader.bytes(reader.u8()), reader.bytes(reader.u8())
        reader.done()
        proven = (data[:40], text[:-32])
        return LoginRequest(keys, address, nonce, cookie, epoch, flags, nat_class, did, ticket, proven, text[-32:])

    def _refuse(self, request: LoginRequest, code: int) -> None:
        self.refused += 1
        self._failures.take(request.address[0], self.hub.ms)
        message = header(LOGIN_NO, request.keys.key_id, self.role) + request.nonce + bytes((code,))
        self.hub.send(message + request.keys.device_hello.tag(message), request.address)

    def _handle_old_epoch(self, request: LoginRequest, did: str, key: bytes, last_epoch: int) -> None:
        """Tell a device that lost its counter how far it was; refuse a replay. Both may be signs of a clone."""
        if not self._is_first_use(request.nonce):
            return self._refuse(request, REFUSED)
        self._on_clone_sign(did)
        self.refused += 1
        self._failures.take(request.address[0], self.hub.ms)
        before = header(LOGIN_BEHIND, request.keys.key_id, self.role) + request.nonce
        answer = Aead(derive(key, b"login answer", request.nonce, request.cookie))
        self.hub.send(before + answer.seal(1, last_epoch.to_bytes(4, "big"), before), request.address)

    def _accept(self, request: LoginRequest, did: str, key: bytes, data: bytes) -> None:
        hub = self.hub
        old = self._by_did.get(did)
        self.record_epoch(did, request.epoch)
        self._is_first_use(request.nonce)
        session_key = hub.random_bytes(32)
        session = Session(request.address, self._new_session_id(), session_key, hub.random_bytes, hub.drops)
        session.role, session.seen_ms, session.started_ms = self.role, hub.ms, hub.ms
        session.did, session.epoch, session.key_id = did, request.epoch, request.keys.key_id
        session.flags, session.nat_class = request.flags, request.nat_class
        if old is not None:
            self._replace(old, session)
        self._by_did[did] = self._all[session.session_id] = hub.sessions[session.session_id] = session
        self.logins += 1
        text = session.session_id + session_key + pack_address(*request.address)
        text += self.keep_alive_s.to_bytes(2, "big") + hub.unix.to_bytes(4, "big") + self.entries_for(session)
        before = header(LOGIN_OK, request.keys.key_id, self.role) + request.nonce
        answer = before + Aead(derive(key, b"login answer", request.nonce, request.cookie)).seal(0, text, before)
        if len(self._recent) >= _MAX_RECENT:
            del self._recent[next(iter(self._recent))]
        self._recent[request.nonce] = (hub.ms, data, answer)
        hub.send(answer, request.address)

    def _is_first_use(self, nonce: bytes) -> bool:
        """Record the nonce of a proven login; False when it is a replay."""
        if nonce in self._used:
            return False
        if len(self._used) >= _MAX_USED:
            del self._used[next(iter(self._used))]
        self._used[nonce] = self.hub.ms
        return True

    def _new_session_id(self) -> bytes:
        session_id = self.hub.random_bytes(7)
        while session_id in self.hub.sessions:
            session_id = self.hub.random_bytes(7)
        return session_id

    # Sessions

    def handle_control(self, session: Session, data: bytes, address: Address) -> None:
        """Take a CONTROL packet of one of our sessions."""
        is_authentic = session.receive_control(data, address, self.hub.ticks)
        if session.replaced_ms is not None:
            if is_authentic:
                self._dismiss_ghost(session)
            return
        if is_authentic:
            session.seen_ms = self.hub.ms
            self._take_events(session)
        else:
            self.hub.drops["control"] += 1
        self.flush(session)

    def _take_events(self, session: Session) -> None:
        """Do what a packet of a session asks for."""
        while (event := session.next_event()) is not None:
            kind = event[0]
            if kind == "tokens":
                self.set_tokens(session, event[1])
            elif kind == "answer":
                self.handle_answer(session, event[1], event[2])
            elif kind == "acked":
                self.handle_ack(session, event[1], event[2])
            else:
                self.end(session)

    def attend(self, session: Session) -> bool:
        """See to a session whose keep-alive just came; False when that is answered already."""
        if session.replaced_ms is not None:
            self._dismiss_ghost(session)
            return False
        if session.has_new_address:
            session.send_address()
            self.flush(session)
            return False
        session.attention = self.push(session)
        self.flush(session)
        return True

    def flush(self, session: Session) -> None:
        """Pass on what a session has to send, and see that it is repeated."""
        for data in session.take_out():
            self.hub.send(data, session.address)
        if session.is_busy:
            self._busy[session.session_id] = session

    def set_tokens(self, session: Session, tokens: set[bytes]) -> None:
        """Make these the tokens of a session. One that another device holds stays with that one."""
        self._drop_tokens(session)
        for token in tokens:
            if any(token):
                self._tokens.setdefault(token, session)
        session.tokens = tuple(token for token in tokens if self._tokens.get(token) is session)

    def end(self, session: Session, code: int | None = None) -> None:
        """Forget a session and its tokens at once; with a code, say LOGOUT."""
        if code is not None:
            session.log_out(code)
            for data in session.take_out():
                self.hub.send(data, session.address)
        session.is_over = True
        self._drop_tokens(session)
        self._all.pop(session.session_id, None)
        self.hub.sessions.pop(session.session_id, None)
        self._busy.pop(session.session_id, None)
        if self._by_did.get(session.did) is session:
            del self._by_did[session.did]

    def revoke(self, did: str) -> bool:
        """End a device's session at once; True when there was one."""
        session = self._by_did.get(did)
        if session is None:
            return False
        self.end(session, LOGOUT_REVOKED)
        return True

    def shut_down(self) -> None:
        """Say LOGOUT to everybody."""
        for session in list(self._by_did.values()):
            self.end(session, LOGOUT_SHUTTING_DOWN)

    def session_of(self, did: str) -> Session | None:
        """Return the live session of a device."""
        return self._by_did.get(did)

    def status(self) -> dict[str, Any]:
        """Return counts and alerts."""
        return {
            "online": len(self._by_did),
            "tokens": len(self._tokens),
            "logins": self.logins,
            "refused": self.refused,
            "alerts": list(self.clones.alerts),
        }

    def online(self) -> list[str]:
        """Return the DIDs of those who are logged in."""
        return list(self._by_did)

    def _drop_tokens(self, session: Session) -> None:
        for token in session.tokens:
            if self._tokens.get(token) is session:
                del self._tokens[token]
        session.tokens = ()

    # Clones

    def _replace(self, old: Session, new: Session) -> None:
        """Let the old session wait for its next packet: only a device that still lives sends one, and is told."""
        self._drop_tokens(old)
        if old.ghost is not None:
            self.end(old.ghost)
            old.ghost = None
        old.forget_queue()
        self._busy.pop(old.session_id, None)
        old.replaced_ms = self.hub.ms
        old.attention = True
        new.ghost = old

    def _dismiss_ghost(self, ghost: Session) -> None:
        replaced_ms = ghost.replaced_ms or 0
        self.end(ghost, LOGOUT_REPLACED)
        if self.hub.ms - replaced_ms >= _GHOST_GRACE_MS:
            self._on_clone_sign(ghost.did)

    def _on_clone_sign(self, did: str) -> None:
        if self.clones.on_sign(did, self.hub.ms, self.hub.unix):
            session = self._by_did.get(did)
            if session is not None:
                self.end(session, LOGOUT_REPLACED)

    def _is_barred(self, did: str) -> bool:
        return self.clones.is_barred(did, self.hub.ms, did in self._by_did)

    # Time

    def timer(self) -> int | None:
        """Return when handle_timer is due on the hub's clock."""
        if self._busy:
            return self.hub.ms + _REPEAT_MS
        return self._sweep_ms if self._all or self._recent else None

    def handle_timer(self) -> None:
        """Repeat what was not acknowledged; every second look at an eighth of the sessions."""
        hub = self.hub
        for session in list(self._busy.values()):
            self._repeat(session)
        if hub.ms < self._sweep_ms:
            return
        self._sweep_ms = hub.ms + _SWEEP_MS
        self._forget_recent()
        if not self._sweep_list:
            self._sweep_list = list(self._all.values())
        share = len(self._all) // 8 + 64
        for session in self._sweep_list[-share:]:
            self._sweep(session)
        del self._sweep_list[-share:]

    def _sweep(self, session: Session) -> None:
        if session.is_over:
            return
        if self.hub.ms - session.seen_ms > 3000 * self.keep_alive_s:
            self.end(session)
        elif session.refresh_ms <= self.hub.ms:
            session.attention = True

    def _repeat(self, session: Session) -> None:
        if not session.is_busy or session.is_over:
            self._busy.pop(session.session_id, None)
        elif not session.has_new_address:
            if not session.repeat(self.hub.ticks):
                session.forget_queue()  # the next keep-alive starts over
            self.flush(session)

    def _forget_recent(self) -> None:
        recent, used, now = self._recent, self._used, self.hub.ms
        while recent and now - recent[nonce := next(iter(recent))][0] >= _RECENT_MS:
            del recent[nonce]
        while used and now - used[nonce := next(iter(used))] > 1000 * (LIFETIME_S + 1):
            del used[nonce]
