"""The device's agent: stays logged in, keeps sessions going, hands connections and commands to the application's side.

A shell: it pumps the core (`Registrar`, `Endpoint`) between one UDP socket, the clock and asyncio, and decides nothing
about the protocol. What happens seldom is in `link` (the network), `invites` and `late` (dropping modules).
"""

# The sockets are made by `link`, which is loaded late.
# mypy: disable-error-code="attr-defined"

import asyncio
import gc

from upeer.aio import Connection
from upeer.base.clock import earlier, ticks_add, ticks_diff, ticks_ms
from upeer.base.compat import const
from upeer.base.wire import LAN_INVITE
from upeer.crypto.aead import random_bytes
from upeer.endpoint import FROM_LAN, Endpoint
from upeer.session.session import EVENT_CLOSED
from upeer.signalling.registrar import Registrar

_MAX_DATAGRAM = const(1200)
_IDLE_TIMEOUT_S = const(60)
_BURST = const(8)  # datagrams read, or written, before others get their turn
_BUSY_MS = const(10)
_QUIET_MS = const(250)
_TROUBLE_MS = const(500)
_QUIET_LOG_MS = const(5000)
_SPARES = const(2)
_LATE_MS = const(1000)  # modules that pass are kept this long: more may need them
_STRANGER_MS = const(62)  # of the budget of invites, before anything is loaded for one from the local network
_NEXT_KEY_MS = const(3000)  # the first moments of a session are its own
_ROLES = ("", "master", "p2p")
_PATHS = ("lan", "direct", "direct", "relay")


def log(text: str) -> None:
    """Print one line for the console. Secrets are never passed here."""
    print("upeer:", text)


def readable(sock):
    """Wait, as an awaitable, until a datagram can be read."""
    yield asyncio.core._io_queue.queue_read(sock)


class DeviceConnection(Connection):
    """A client's connection: `client_id` (8 bytes), `role` (OWNER, USER, GUEST, SETUP of upeer.handshake.pairs)."""

    def __init__(self, session, agent):
        super().__init__(session, agent.flush, agent.on_command)
        self.client_id = session.user[0]
        self.role = session.user[1]

    def path(self) -> str:
        """Return how datagrams go now: "lan", "direct", "relay" or "none"."""
        active = self.session.paths.active
        return _PATHS[active.kind] if active else "none"


class Agent:
    """The pump. limits: (sessions, bytes per session, bytes per channel).

    The owner has on_connection(connection), on_command(connection, request_id, name, data) and on_tick().
    """

    def __init__(self, identity, limits: tuple, owner):
        now = ticks_ms()
        self.identity = identity
        self.registrar = Registrar(identity, random_bytes, now)
        self.endpoint = Endpoint(False, limits + (_MAX_DATAGRAM, _IDLE_TIMEOUT_S), random_bytes, now)
        self.own_ip = ""
        self.udp = self.lan = None
        self.unanswered = False
        self.epoch = 0
        self.on_command = owner.on_command
        self._owner = owner
        self._out = bytearray(_MAX_DATAGRAM + 16)
        self._out_view = memoryview(self._out)
        self._is_flushing = False
        self._readers = []
        self._spare = []  # buffers of a channel, made while the heap is tidy
        self._spare_size = limits[2]
        self._working = 0  # tasks that use modules which pass
        self._late_until = self._ephemeral_at = self._quiet_until = now

    def _new_ring(self, size: int) -> memoryview:
        """Return the buffer of one direction of a session's channel."""
        return memoryview(self._spare.pop() if self._spare else bytearray(size))

    # reading

    def read_on(self) -> None:
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
                for _ in range(_BURST):
                    size = udp.receive()
                    if not size:
                        break
                    self._take(udp, size)
                self.flush()
            except Exception as error:  # noqa: BLE001 - a task's top
                self._on_trouble(error)
            await asyncio.sleep_ms(0)

    def _take(self, udp, size: int) -> None:
        now = ticks_ms()
        if self.endpoint.receive_datagram(udp.buf, size, udp.addr, now):
            return
        data = bytes(memoryview(udp.buf)[:size])
        if data[0] != LAN_INVITE:
            self.registrar.receive_datagram(data, udp.addr, now)
        elif self.endpoint.may_spend(FROM_LAN, _STRANGER_MS, now) and self._is_ready():
            from device.invites import on_lan_invite

            on_lan_invite(self, data, udp.addr, now)

    def _on_trouble(self, error) -> None:
        self._drop_late()
        gc.collect()
        now = ticks_ms()
        if ticks_diff(self._quiet_until, now) > 0:
            return
        self._quiet_until = ticks_add(now, _QUIET_LOG_MS)
        if isinstance(error, MemoryError):
            log("out of memory (%s): what was under way is tried again" % error)
        else:
            log("agent: %s %s" % (type(error).__name__, error))

    # time

    async def run(self) -> None:
        """Keep time for as long as the device runs."""
        while True:
            now = ticks_ms()
            wait_ms = _BUSY_MS if self.endpoint.sessions else _QUIET_MS
            deadline = earlier(self.registrar.timer(), self.endpoint.timer())
            if deadline is not None:
                wait_ms = min(wait_ms, max(ticks_diff(deadline, now), 1))
            await asyncio.sleep_ms(wait_ms)
            try:
                self._owner.on_tick()
                if self.udp:
                    self._tick(ticks_ms())
            except Exception as error:  # noqa: BLE001 - a task's top
                self._on_trouble(error)
                await asyncio.sleep_ms(_TROUBLE_MS)

    def _tick(self, now: int) -> None:
        self.registrar.handle_timer(now)
        self.endpoint.handle_timer(now)
        self.flush()
        if self.registrar.epoch(now) != self.epoch:
            self.make_room()
            from device.pairing import update_tokens

            update_tokens(self)
            self.flush()  # at once: a client that has just paired comes again
        elif self.registrar.busy or self._working:
            self.keep_late()
        elif self._late_until is not None:
            if ticks_diff(self._late_until, now) <= 0:
                self._drop_late()
        elif self.endpoint.ephemeral is None and ticks_diff(self._ephemeral_at, now) <= 0:
            self._make_ephemeral()

    def _drop_late(self) -> None:
        """Drop what passed, unless it is in use."""
        self._late_until = None
        if not self._working and not self.registrar.busy:
            from device.late import drop

            drop()
            if not self.endpoint.sessions:
                self.fill_spare()

    def fill_spare(self) -> None:
        """Make the buffers of the next session's channel, if there is room."""
        try:
            while len(self._spare) < _SPARES:
                self._spare.append(bytearray(self._spare_size))
        except MemoryError:
            pass  # then they are made when they are needed

    def make_room(self) -> None:
        """Drop what passed, for other modules that pass to be loaded."""
        self._drop_late()
        self.keep_late()

    def keep_late(self) -> None:
        """Keep what passes for a while: it is needed, and more may need it."""
        self._late_until = ticks_add(ticks_ms(), _LATE_MS)

    def _make_ephemeral(self) -> None:
        from device.curve import make_ephemeral

        self.begin(make_ephemeral(self))

    def _is_ready(self) -> bool:
        """Make room for a handshake, and tell whether the key pair for it is there; else make that now."""
        self.make_room()
        if self.endpoint.ephemeral is None and not self._working:
            self._make_ephemeral()
        return self.endpoint.ephemeral is not None

    def begin(self, work) -> None:
        """Run a coroutine that uses modules which pass: they stay from now on until it ends."""
        self._working += 1
        asyncio.create_task(self._run_work(work))

    async def work(self, work):
        """Await a coroutine that uses modules which pass."""
        self._working += 1
        try:
            return await work
        finally:
            self._end_work()

    async def _run_work(self, work) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - a task's top
            self._on_trouble(error)
        finally:
            self._end_work()

    def _end_work(self) -> None:
        self._working -= 1
        self._late_until = ticks_ms()

    # writing

    def flush(self) -> None:
        """Send what there is to send and hand out events."""
        if self._is_flushing or self.udp is None:
            return
        self._is_flushing = True
        try:
            now = ticks_ms()
            self._send(now)
            if self._hand_out_events(now):
                self._send(now)
        except MemoryError as error:
            self._on_trouble(error)
        finally:
            self._is_flushing = False

    def _send(self, now: int) -> None:
        registrar = self.registrar
        while True:
            data = registrar.datagram_to_send(now)
            if data is None:
                break
            self.udp.send(data, registrar.send_address)
        endpoint = self.endpoint
        for _ in range(_BURST):
            size = endpoint.write_datagram(self._out, now)
            if not size:
                return
            start = endpoint.send_start
            self.udp.send(self._out_view[start : start + size], endpoint.send_addr)

    def _hand_out_events(self, now: int) -> bool:
        found = False
        while True:
            event = self.registrar.next_event()
            if event is None:
                break
            found = True
            self._on_event(event, now)
        is_over = False
        while True:
            item = self.endpoint.next_event()
            if item is None:
                break
            found = True
            is_over = is_over or item[1][0] == EVENT_CLOSED
            item[0].connection.on_event(item[1])
        if is_over:
            self._drop_late()
        return found

    def _on_event(self, event: tuple, now: int) -> None:
        kind = event[0]
        self.keep_late()
        if kind == "invite":
            if self._is_ready():
                from device.invites import on_invite

                on_invite(self, event, now)
        elif kind == "online":
            from device.link import set_candidates

            log("online %s %d" % (_ROLES[event[1]], event[2]))
            set_candidates(self)
        elif kind == "offline":
            log("offline %s %d: %s" % (_ROLES[event[1]], event[2], event[3]))
        elif kind == "unanswered":
            self.unanswered = True
        elif kind == "keys":
            from device.link import use_keys

            use_keys(self, event)

    def connect(self, session) -> None:
        """Hand a new session to the owner."""
        session.connection = DeviceConnection(session, self)
        self._ephemeral_at = ticks_add(ticks_ms(), _NEXT_KEY_MS)
        session.new_ring = self._new_ring
        self._owner.on_connection(session.connection)
