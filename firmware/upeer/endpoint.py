"""All sessions behind one UDP socket: answers invites, joins relays, sorts datagrams (protocol, chapters 3, 5.2 and 6).

The device's agent uses Endpoint; the client's, ClientEndpoint, is in `connect`. Sans-IO, its doors are
receive_datagram, write_datagram, timer, handle_timer and next_event. Signalling is not for it.
"""

from struct import pack_into

from upeer.base.clock import earlier, ticks_add, ticks_diff
from upeer.base.compat import const
from upeer.base.errors import LocalError, ProtocolError
from upeer.base.wire import JOIN_OK, RELAYED
from upeer.session.paths import RELAY, Paths
from upeer.session.relay_end import RelayEnd
from upeer.session.session import Session

FROM_SERVER = const(0)
FROM_LAN = const(1)

_PREFIX = const(8)
_SMALLEST = const(56)
_RELAYS = const(3)  # of one session
_REJOIN_MS = const(2000)
_PLENTY = const(65536)  # with less of max_data the sessions share it: each has blocks, Streams and frames beside
_NO_PATH = const(10)  # code of a session's end
_SILENCE_MS = const(10000)  # a session nothing came through by then was a replayed invite, or has no path

# Invites take their time from a budget that fills by itself: 8 a second may be tried, about one a second accepted.
_TRY_MS = const(125)
_BUDGET_MS = const(4000)


class Endpoint:
    """Sessions by connection_id, relays by relay_tag.

    limits: (sessions, max_data, max_channel_data, max_datagram, idle_timeout_s, max_burst), as in Params, but for the
    first; a small max_data is that of all sessions together. `admit`: None, or a callable of the shell: may so many
    bytes be taken? The shell sets `candidates`, our own addresses as [(kind, address)], and keeps `ephemeral` filled
    with a fresh (private, public) key pair. After write_datagram, `send_addr` and `send_start` tell where to send, and
    which part of the buffer. `dropped` counts what was of no session or not authentic.
    """

    def __init__(self, is_client: bool, limits: tuple, random_bytes, now: int):
        self.candidates = []
        self.ephemeral = None
        self.sessions = []
        self.opening = 0  # sessions to come, of handshakes that end now
        self.over = []  # forgotten, but their last events are not yet told
        self.dropped = 0
        self.send_addr = None
        self.send_start = 0
        self.random_bytes = random_bytes
        self._is_client = is_client
        self.limits = limits
        self._by_id = {}
        self._relays = {}  # first 3 bytes of the relay_tag: (RelayEnd, session)
        self._turn = 0
        self._join_due = None
        self._deadline = None  # what `timer` told, until `handle_timer`
        # [invite_id, answer or None while the handshake is under way, since when, connection_id of the client, ours]
        self.answers = []
        self._busy = [now, now]
        self._buf = self._inner = None
        self.admit = None
        self._blocks = []  # for the pools of all sessions

    # datagrams in

    def receive_datagram(self, buf, size: int, addr: tuple, now: int) -> bool:
        """Take buf[:size], a writable buffer that may be changed; return whether it was a datagram of this chapter."""
        first = buf[0] if size else 0
        if first >> 6 == 1:
            self._receive_packet(buf, size, addr, None, now)
        elif first == RELAYED:
            self._receive_relayed(buf, size, addr, now)
        elif first == JOIN_OK:
            try:
                self._handle_join_ok(bytes(buf[:size]), addr, now)
            except ProtocolError:
                self.dropped += 1
        else:
            return False
        return True

    def _receive_packet(self, buf, size: int, addr, relay, now: int) -> None:
        session = self._by_id.get(buf[1] << 16 | buf[2] << 8 | buf[3]) if size >= _SMALLEST else None
        if session is None or (relay is not None and relay[1] is not session):
            self.dropped += 1
        elif not session.receive_packet(buf, size, addr, relay and relay[0].tag, now):
            self.dropped += 1

    def _receive_relayed(self, buf, size: int, addr, now: int) -> None:
        relay = self._relays.get(buf[1] << 16 | buf[2] << 8 | buf[3]) if size >= _PREFIX + _SMALLEST else None
        if relay is None or relay[0].addr != addr:
            self.dropped += 1
            return
        if buf is not self._buf:
            self._buf = buf
            self._inner = memoryview(buf)[_PREFIX:]
        self._receive_packet(self._inner, size - _PREFIX, addr, relay, now)

    def _handle_join_ok(self, data: bytes, addr, now: int) -> None:
        relay = self._relays.get(int.from_bytes(data[4:7], "big"))
        if relay is None:
            raise ProtocolError("relay_tag")
        if relay[0].on_join_ok(data, addr, now):
            relay[1].paths.check(now, relay[0].tag)
        self._plan_joins()

    # datagrams out

    def write_datagram(self, buf, now: int) -> int:
        """Fill buf (8 bytes larger than a datagram) with one; return its size, 0 for none. Sessions take turns."""
        if self._join_due is not None and ticks_diff(self._join_due, now) <= 0:
            size = self._write_join(buf, now)
            if size:
                return size
        sessions = self.sessions
        count = len(sessions)
        for _ in range(count):
            self._turn = turn = (self._turn + 1) % count
            session = sessions[turn]
            size = session.write_datagram(buf, now)
            if size:
                path = session.send_path
                self.send_addr = path.addr
                if path.tag is None:
                    self.send_start = _PREFIX
                    return size
                pack_into("B7s", buf, 0, RELAYED, path.tag)
                self.send_start = 0
                return size + _PREFIX
        return 0

    def _write_join(self, buf, now: int) -> int:
        for end, _ in self._relays.values():
            if end.is_due(now):
                size = end.write_join(buf, now)
                self._plan_joins()
                if size:
                    self.send_addr = end.addr
                    self.send_start = 0
                    return size
        return 0

    def _plan_joins(self) -> None:
        self._join_due = None
        for end, _ in self._relays.values():
            self._join_due = earlier(self._join_due, end.due)

    # time and events

    def timer(self):
        """Return when handle_timer is due, None for never."""
        deadline = self._join_due
        for session in self.sessions:
            due = session.timer()
            deadline = due if deadline is None else earlier(deadline, due)
            if not session.paths.changes:
                deadline = earlier(deadline, session.give_up)
        self._deadline = deadline
        return deadline

    def handle_timer(self, now: int) -> None:
        """Run the sessions' timers; give up those that nothing ever came through.

        Nothing is done before the ticks that `timer` told, if that was called since the last time.
        """
        deadline = self._deadline
        self._deadline = None
        if deadline is not None and ticks_diff(deadline, now) > 0:
            return
        for session in self.sessions:
            deadline = session.timer()
            if deadline is not None and ticks_diff(deadline, now) <= 0:
                session.handle_timer(now)
            if session.paths.in_doubt:
                self._rejoin(session, now)
            if not session.paths.changes and ticks_diff(session.give_up, now) <= 0:
                session.give_up = ticks_add(now, _SILENCE_MS)
                session.abort(_NO_PATH, "no path")

    def next_event(self):
        """Return (session, event), None when there is none. What is over is forgotten after its last event."""
        for session in self.over + self.sessions if self.over else self.sessions:
            event = session.next_event()
            if event is not None:
                return session, event
        self.over.clear()
        for session in self.sessions:
            if session.is_closed:
                self.forget(session)
                return self.next_event()
        return None

    def on_address_change(self, now: int) -> None:
        """Join and challenge everything anew: our network changed."""
        for session in self.sessions:
            self._rejoin(session, now, 0)
            session.paths.check(now)

    def _rejoin(self, session, now: int, age_ms: int = _REJOIN_MS) -> None:
        for end in self.relays_of(session):
            end.rejoin(now, age_ms)
        self._plan_joins()

    # invites (device)

    def answered(self, invite_id: bytes):
        """Return what `answers` has of an invite, None if it is not known."""
        for known in self.answers:
            if known[0] == invite_id:
                return known
        return None

    def handle_invite(self, invite_id: bytes, message: bytes, find, source: int, now: int):
        """Take handshake message 1 of an invite; source: FROM_SERVER or FROM_LAN.

        find() returns (psk, prologue, key_id, user), or None for nobody of ours; repetitions and floods do not call it.
        Return bytes (message 2 of an invite that is known: send it again), None (nothing to do), or a Responder: the
        shell makes its shared secret, then calls finish_invite.
        """
        known = self.answered(invite_id)
        if known:
            return known[1]
        if self.ephemeral is None or not self.may_spend(source, _TRY_MS, now):
            return None
        from upeer.handshake.answer import respond

        return respond(self, (invite_id, message, source), find, now)

    def finish_invite(self, responder, shared: bytes, status: int, now: int) -> tuple:
        """Return (message 2, session); session is None if status is not 0 or there is no room, as message 2 says.

        Thereafter the shell may drop the modules answer, handshake, lan, noise and x25519.
        """
        from upeer.handshake.answer import finish

        return finish(self, responder, shared, status, now)

    def may_spend(self, source: int, cost_ms: int, now: int) -> bool:
        """Take a cost from the budget of invites; False when too much was spent."""
        busy = ticks_diff(self._busy[source], now)
        if not 0 <= busy <= 2 * _BUDGET_MS:
            busy = 0  # idle, or for so long that ticks wrapped
        if busy > _BUDGET_MS + cost_ms:  # so that what passed at a lower cost is not stopped at the next one
            return False
        self._busy[source] = ticks_add(now, busy + cost_ms)
        return True

    # sessions

    def new_id(self) -> int:
        """Return a connection_id that no session has."""
        number = 0
        while not number or number in self._by_id:
            number = int.from_bytes(self.random_bytes(3), "big")
        return number

    def add_session(self, handshake, relays, now: int):
        """Return the session of a finished handshake. relays: candidates with our side's key, to be joined.

        Its attributes beside those of Session: `paths`, `exporter`, `user`.
        """
        ours = handshake.params
        peer = handshake.peer
        if ours.connection_id in self._by_id:
            raise LocalError("connection_id")
        paths = Paths(self._is_client, self.random_bytes, now)
        paths.allow = handshake.allow
        for candidate in peer.candidates:
            if candidate[0] != RELAY:
                paths.add(candidate[0], candidate[1])
        limits = (self.limits[1:], peer.limits())
        ids = (ours.connection_id.to_bytes(3, "big"), peer.connection_id.to_bytes(3, "big"))
        keys = (handshake.seal_key, handshake.open_key)
        session = Session(self._is_client, ids[0], ids[1], keys[0], keys[1], paths, limits, now)
        session.paths = paths
        session.exporter = handshake.exporter
        session.user = handshake.user
        session.number = ours.connection_id
        session.give_up = ticks_add(now, _SILENCE_MS)
        session.admit = self.admit
        session.data_limit = ours.max_data
        session.pool.free = self._blocks
        try:
            self._register(session, handshake.key_id, relays, now)
        except MemoryError:
            self.forget(session)
            raise
        return session

    def _register(self, session, key_id: int, relays, now: int) -> None:
        self.sessions.append(session)
        self._by_id[session.number] = session
        for candidate in relays[:_RELAYS]:
            key = int.from_bytes(candidate[2][:3], "big")
            if key not in self._relays and session.paths.add(RELAY, candidate[1], candidate[2]):
                end = RelayEnd(self._is_client, key_id, candidate, self.random_bytes, now)
                self._relays[key] = (end, session)
        self._plan_joins()
        self._share()

    def _share(self) -> None:
        """Divide the memory for channels among the sessions, where there is little; what was promised is kept."""
        for session in self.sessions:
            session.data_window = self.window(len(self.sessions))
            session.pool.resize(session.data_window)

    def window(self, count: int) -> int:
        """Return max_data of one of `count` sessions: one has all, several share nine sixteenths."""
        whole = self.limits[1]
        return whole * 9 // (16 * count) if count > 1 and whole < _PLENTY else whole

    def relays_of(self, session) -> list:
        """Return the RelayEnds of a session."""
        return [end for end, owner in self._relays.values() if owner is session]

    def forget(self, session) -> None:
        """Forget a session. It allocates nothing, so that it works when memory has run out."""
        if session in self.sessions:
            self.sessions.remove(session)
        self._by_id.pop(session.number, None)
        key = self._relay_key(session)
        while key is not None:
            del self._relays[key]
            key = self._relay_key(session)
        self._plan_joins()
        self._share()

    def _relay_key(self, session):
        for key in self._relays:
            if self._relays[key][1] is session:
                return key
        return None
