"""The device's agent: stays logged in, keeps sessions going, hands connections and commands to the application's side.

A shell: it pumps the core (`Registrar`, `Endpoint`) between one UDP socket, the clock and asyncio, and decides nothing
about the protocol. What happens seldom is in transient modules, `link` (the network) and `invites`; see `loader`.
"""

# The sockets are made by `link`, which is transient.
# mypy: disable-error-code="attr-defined"

import asyncio

import machine

from device.heap import collect, figures
from device.loader import admit, drop_all, drop_expired, load_group, load_steps, use_groups
from device.log import log, log_fault
from upeer.aio import Connection
from upeer.base.clock import earlier, ticks_add, ticks_diff, ticks_ms
from upeer.base.compat import const
from upeer.base.wire import LAN_INVITE
from upeer.crypto.aead import random_bytes
from upeer.endpoint import FROM_LAN, Endpoint
from upeer.signalling.registrar import Registrar

_MAX_DATAGRAM = const(1200)
_IDLE_TIMEOUT_S = const(60)
_MAILBOX = const(6)  # datagrams that wait for a socket, more are lost; so many are read in a turn at most
_READS = const(2)  # datagrams of sessions read before others get their turn
_WRITES = const(4)  # datagrams of sessions written before others get their turn
_BUSY_MS = const(10)
_QUIET_MS = const(250)
_TROUBLE_MS = const(500)
_QUIET_LOG_MS = const(5000)
_SWEEP_MS = const(250)  # between two looks for transient modules that nobody uses any more
_MANY = const(4)  # datagrams whose garbage is worth a collection as soon as there is time
_STRANGER_MS = const(62)  # of the budget of invites, before anything is loaded for one from the local network
_MAX_INVITES = const(4)  # that wait for their answer
_MAX_LAN_INVITES = const(2)  # of them from the local network, where strangers may send
_HANDSHAKES = const(2)  # under way at a time
_KEY_PAIRS = const(3)  # made ahead while no session wants that memory: so many clients may come at once
_NEXT_MS = const(1500)  # after a session began: another may come at once
_HANDSHAKE = ("handshake",)
_PAIRS = ("pairs",)
_KEY_PAIR = ()  # in `_running` instead of groups: a key pair under way, which is no handshake
_ROLES = ("", "master", "p2p")
_PATHS = ("lan", "direct", "direct", "relay")


def readable(sock):
    """Wait, as an awaitable, until a datagram can be read."""
    yield asyncio.core._io_queue.queue_read(sock)


def _load_login() -> None:
    load_group("login")


class DeviceConnection(Connection):
    """A client's connection: `client_id` (8 bytes), `role` (OWNER, USER, GUEST, SETUP of upeer.handshake.pairs)."""

    def __init__(self, session, agent):
        super().__init__(session, agent.flush_sessions, agent.on_command)
        self.client_id = session.user[0]
        self.role = session.user[1]

    def on_written(self, stream) -> None:
        """Send what was written when its writer waits, or within a tick: as one with what follows.

        At once if nothing is on its way.
        """
        if stream.start == stream.next:
            self.flush()
        else:
            self.is_corked = True

    def path(self) -> str:
        """Return how datagrams go now: "lan", "direct", "relay" or "none"."""
        active = self.session.paths.active
        return _PATHS[active.kind] if active else "none"


class Agent:
    """The pump. limits: (sessions, max_data, max_channel_data); clock: None or MHz (idle, busy).

    The owner has on_connection(connection), on_command(connection, request_id, name, data) and on_tick().
    `invites` are those that wait for an answer: (invite_id, datagram or event, where from, since when). `key_pairs`
    are made ahead for their handshakes.
    """

    def __init__(self, identity, limits: tuple, owner, clock: "tuple | None" = None):
        now = ticks_ms()
        self.identity = identity
        self.registrar = Registrar(identity, random_bytes, now)
        self.registrar.before_enrol = _load_login
        self.endpoint = Endpoint(False, limits + (_MAX_DATAGRAM, _IDLE_TIMEOUT_S, _MAILBOX), random_bytes, now)
        self.endpoint.admit = admit
        self.own_ip = ""
        self.udp = self.lan = None
        self.unanswered = False
        self.epoch = 0
        self.invites = []
        self.on_command = owner.on_command
        self._owner = owner
        self._out = bytearray(_MAX_DATAGRAM + 16)
        self._out_view = memoryview(self._out)
        self._is_flushing = False
        self._readers = []
        self._running = []  # the groups of transient modules that tasks use
        self.key_pairs = []
        self.is_key_awaited = False  # by an invite
        self.received = 0  # datagrams since the last collection, of which garbage is left
        self._clock = clock
        self._is_fast = False
        self._sweep_at = self._quiet_until = self._keys_at = now

    # reading

    def start_reading(self) -> None:
        """Begin to read from the sockets."""
        for udp in (self.udp, self.lan):
            if udp:
                self._readers.append(asyncio.create_task(self._read(udp)))

    def cancel_reading(self) -> None:
        """Stop to read from the sockets."""
        for task in self._readers:
            task.cancel()
        self._readers = []

    async def _read(self, udp) -> None:
        while True:
            if udp.sock is None:
                await asyncio.sleep_ms(_TROUBLE_MS)
            else:
                await readable(udp.sock)
            try:
                left = _READS
                for _ in range(_MAILBOX):
                    size = udp.receive()
                    if not size:
                        break
                    left -= self._take(udp, size)
                    if left <= 0 or figures[3]:
                        break
                if figures[3]:
                    await self._collect()
                self.flush(False)
                await asyncio.sleep_ms(0)  # what the application makes of it goes along with the acknowledgements
                while self.flush():  # before more is read, which may lead to more again
                    await asyncio.sleep_ms(0)
            except Exception as error:  # noqa: BLE001 - a task's top
                self._on_trouble(error)
            await asyncio.sleep_ms(0)

    async def _collect(self) -> None:
        """Collect garbage in a turn of its own."""
        await asyncio.sleep_ms(0)
        collect()
        await asyncio.sleep_ms(0)

    def _take(self, udp, size: int) -> int:
        """Handle one datagram; return its weight: 0 of a stranger, who takes little time, _READS of a server."""
        now = ticks_ms()
        self.received += 1
        endpoint = self.endpoint
        dropped = endpoint.dropped
        if endpoint.receive_datagram(udp.buf, size, udp.addr, now):
            return int(endpoint.dropped == dropped)
        data = bytes(memoryview(udp.buf)[:size])
        if data[0] != LAN_INVITE:
            return _READS if self.registrar.receive_datagram(data, udp.addr, now) else 0
        if size > 2 and data[2] in self.identity.p2p_keys and endpoint.may_spend(FROM_LAN, _STRANGER_MS, now):
            self._queue_invite(data[4:12], data, udp.addr, _MAX_LAN_INVITES)
            return _READS
        return 0

    def _queue_invite(self, invite_id: bytes, item, source, most: int) -> None:
        """Have an invite answered as soon as there is time and a key pair for it; repetitions wait only once."""
        known = self.endpoint.answered(invite_id)
        if known and known[1] is None:
            return  # its handshake is under way
        if len(self.invites) >= most:
            return
        for waiting in self.invites:
            if waiting[0] == invite_id:
                return
        self.invites.append((invite_id, item, source, ticks_ms()))
        if self._running.count(_HANDSHAKE) < _HANDSHAKES:
            self.begin(_HANDSHAKE, self._answer_invites)

    def _answer_invites(self):
        from device.invites import answer_invites

        return answer_invites(self)

    def _on_trouble(self, error) -> None:
        drop_all()
        now = ticks_ms()
        if ticks_diff(self._quiet_until, now) > 0:
            return
        self._quiet_until = ticks_add(now, _QUIET_LOG_MS)
        log_fault("agent", error)  # a MemoryError is tried again: what was under way comes once more

    # time

    async def run(self) -> None:
        """Keep time for as long as the device runs."""
        while True:
            now = ticks_ms()
            wait_ms = _BUSY_MS if self.endpoint.sessions or self.registrar.busy else _QUIET_MS
            deadline = earlier(self.registrar.timer(), self.endpoint.timer())
            if deadline is not None:
                wait_ms = min(wait_ms, max(ticks_diff(deadline, now), 1))
            received = self.received
            await asyncio.sleep_ms(wait_ms)
            try:
                self._owner.on_tick()
                if self.udp:
                    await self._tick(ticks_ms(), self.received == received)
            except Exception as error:  # noqa: BLE001 - a task's top
                self._on_trouble(error)
                await asyncio.sleep_ms(_TROUBLE_MS)

    async def _tick(self, now: int, is_idle: bool) -> None:
        registrar = self.registrar
        if registrar.busy or registrar.deferred or registrar.login_due(now):
            for _ in load_steps("login"):
                await asyncio.sleep_ms(0)
                now = ticks_ms()
        registrar.handle_timer(now)
        self.endpoint.handle_timer(now)
        if figures[3]:
            await self._collect()
        await self.flush_all()
        if not self._running and not registrar.busy:
            self._plan_work(now)
        self.set_clock(bool(self._running or registrar.busy or self.endpoint.sessions))
        is_garbage = is_idle and self.received >= _MANY
        if ticks_diff(self._sweep_at, now) <= 0:
            self._sweep_at = ticks_add(now, _SWEEP_MS)
            await asyncio.sleep_ms(0)
            is_garbage = drop_expired(now, not self.endpoint.sessions) or is_garbage
        if is_garbage:
            self.received = 0
            await self._collect()

    def _plan_work(self, now: int) -> None:
        """Begin what is made ahead of need: the tokens of a new week, the key pairs of the next handshakes."""
        if self.registrar.epoch(now) != self.epoch:
            self.begin(_PAIRS, self._upload_tokens)
        elif len(self.key_pairs) < _KEY_PAIRS and not self.endpoint.sessions and ticks_diff(self._keys_at, now) <= 0:
            self.make_key_pair()

    def set_clock(self, is_busy: bool) -> None:
        """Run fast while something waits for us, where the board's file says how fast that is."""
        if self._clock and is_busy != self._is_fast:
            self._is_fast = is_busy
            machine.freq(self._clock[is_busy] * 1000000)

    async def update_tokens(self) -> None:
        """Tell the servers by which tokens clients find us, once these have changed: the next one may come at once."""
        await use_groups(_PAIRS, self._upload_tokens)
        await asyncio.sleep_ms(0)
        await self.flush_all()

    def _upload_tokens(self):
        from device.pairing import upload_tokens

        return upload_tokens(self)

    def make_key_pair(self, is_awaited: bool = False) -> None:
        """Begin to make a key pair of `key_pairs`, unless that is under way; in haste if an invite waits for it."""
        self.is_key_awaited = is_awaited
        if _KEY_PAIR not in self._running:
            self.begin(_KEY_PAIR, use_groups, _HANDSHAKE, self._add_key_pair)

    def _add_key_pair(self):
        from device.curve import add_key_pair

        return add_key_pair(self)

    def begin(self, groups: tuple, work, *args) -> None:
        """Run work(*args), which uses groups of transient modules, as a task that logs what it raises."""
        self._running.append(groups)
        self.set_clock(True)
        asyncio.create_task(self._run(groups, work, args))

    async def _run(self, groups: tuple, work, args: tuple) -> None:
        try:
            await use_groups(groups, work, *args)
            await asyncio.sleep_ms(0)
            await self.flush_all()
        except Exception as error:  # noqa: BLE001 - a task's top
            self._on_trouble(error)
        finally:
            self._running.remove(groups)

    # writing

    async def flush_all(self) -> None:
        """Deliver events, and send all that there is to send; others have their turn between its steps."""
        while self.flush():
            await asyncio.sleep_ms(0)

    def flush(self, sends: bool = True) -> bool:
        """Deliver events, and send a step of what there is: a datagram to a server, or as `flush_sessions`.

        Return whether there may be more.
        """
        if sends and self.udp is not None:
            data = self.registrar.datagram_to_send(ticks_ms())
            if data is not None:
                self.udp.send(data, self.registrar.send_address)
                self.flush_sessions(False)
                return True
        return self.flush_sessions(sends)

    def flush_sessions(self, sends: bool = True) -> bool:
        """Deliver events, and send what sessions have to send; return whether there may be more than one step sends."""
        if self._is_flushing or self.udp is None:
            return False
        self._is_flushing = True
        try:
            now = ticks_ms()
            self._deliver_events(now)
            return sends and self._send(now)
        except MemoryError as error:
            self._on_trouble(error)
        finally:
            self._is_flushing = False
        return False

    def _send(self, now: int) -> bool:
        endpoint = self.endpoint
        for _ in range(_WRITES):
            size = endpoint.write_datagram(self._out, now)
            if not size:
                return False
            start = endpoint.send_start
            self.udp.send(self._out_view[start : start + size], endpoint.send_addr)
        return True

    def _deliver_events(self, now: int) -> None:
        registrar = self.registrar
        while registrar.events:
            self._on_event(registrar.next_event(), now)
        endpoint = self.endpoint
        for session in endpoint.sessions:
            if session.flags and session.connection:  # there was memory for it
                session.flags = 0
                session.connection.on_change()
        while True:
            item = endpoint.next_event()
            if item is None:
                break
            if item[0].connection:
                item[0].connection.on_event(item[1])

    def _on_event(self, event: tuple, now: int) -> None:
        kind = event[0]
        if kind == "invite":
            self._queue_invite(event[2], event, event[1], _MAX_INVITES)
        elif kind == "online":
            log("online %s %d" % (_ROLES[event[1]], event[2]))
            self.begin(("login",), self._go_online)
        elif kind == "offline":
            log("offline %s %d: %s" % (_ROLES[event[1]], event[2], event[3]))
        elif kind == "unanswered":
            self.unanswered = True
        elif kind == "keys":
            self.begin(("storage", "login"), self._use_keys, event)

    def _go_online(self):
        from device.link import go_online

        return go_online(self)

    def _use_keys(self, event: tuple):
        from device.link import use_keys

        return use_keys(self, event)

    def connect(self, session) -> None:
        """Hand a new session to the owner."""
        self._keys_at = ticks_add(ticks_ms(), _NEXT_MS)
        session.connection = DeviceConnection(session, self)
        self._owner.on_connection(session.connection)
