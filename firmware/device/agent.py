"""The device's agent: stays logged in, answers clients' invites, hands connections and services to the application.

A shell: it pumps the core (`Registrar`, `Endpoint`) between one UDP socket, the clock and asyncio, and decides nothing about the protocol.
"""

import asyncio
import gc
import sys

from upeer.aio import Connection
from upeer.clock import earlier, ticks_diff, ticks_ms
from upeer.compat import const
from upeer.crypto import random_bytes
from upeer.endpoint import FROM_LAN, FROM_SERVER, Endpoint
from upeer.errors import ProtocolError
from upeer.path import HOST, SRFLX
from upeer.registrar import Registrar
from upeer.wire import LAN_INVITE, LAN_PORT

from device.udp import Udp

_MAX_DATAGRAM = const(1232)
_IDLE_TIMEOUT_S = const(60)
_BURST = const(8)  # datagrams read, or written, before others get their turn
_BUSY_MS = const(10)
_QUIET_MS = const(250)
_LADDER_STEPS = const(6)  # about 7 ms on an ESP32
_BACKLOG = const(4)


def log(text: str) -> None:
    """Print one line for the console. Secrets are never passed here."""
    print("upeer:", text)


def readable(sock):
    """Wait, as an awaitable, until a datagram can be read."""
    yield asyncio.core._io_queue.queue_read(sock)


class Agent:
    """The pump. `limits`: (sessions, bytes per session, bytes per channel). `services` of names, `commands` of names."""

    def __init__(self, identity, limits: tuple, on_connection, on_command):
        now = ticks_ms()
        self.identity = identity
        self.registrar = Registrar(identity, random_bytes, now)
        full = limits + (_MAX_DATAGRAM, _IDLE_TIMEOUT_S)
        self.endpoint = Endpoint(False, full, random_bytes, now)
        self.own_ip = ""
        self.udp = self.lan = None
        self.unanswered = set()
        self._out = bytearray(_MAX_DATAGRAM + 16)
        self._out_view = memoryview(self._out)
        self._on_connection = on_connection
        self._on_command = on_command
        self._epoch = 0
        self._is_flushing = False
        self._tasks = []

    # the network comes and goes

    def start(self, own_ip: str) -> None:
        """Open the sockets and begin to pump; called anew after the network changed."""
        now = ticks_ms()
        self.own_ip = own_ip
        for task in self._tasks:
            task.cancel()
        if self.udp is None:
            self.udp = Udp()
            self.lan = self._open_lan()
        else:
            self.udp.reopen()
            if self.lan:
                self.lan.reopen()
            self.registrar.restart(now)
        self._set_candidates()
        self.endpoint.on_address_change(now)
        self._tasks = [asyncio.create_task(self._read(self.udp))]
        if self.lan:
            self._tasks.append(asyncio.create_task(self._read(self.lan)))

    def stop(self) -> None:
        """Log out and close the sockets."""
        self.registrar.log_out()
        self.flush()
        for task in self._tasks:
            task.cancel()
        for udp in (self.udp, self.lan):
            if udp:
                udp.close()

    def _open_lan(self):
        try:
            return Udp(LAN_PORT, True)
        except OSError:
            log("port %d is taken: no discovery in the local network" % LAN_PORT)
            return None

    def _set_candidates(self) -> None:
        port = self.udp.port
        candidates = [(HOST, (self.own_ip, port))] if self.own_ip else []
        for address in self.registrar.reflexives():
            if address != (self.own_ip, port):
                candidates.append((SRFLX, address))
        self.endpoint.candidates = candidates[:4]
        self.identity.nat_class = self.registrar.nat_class(self.own_ip)

    # pumps

    async def _read(self, udp) -> None:
        while True:
            sock = udp.sock
            await readable(sock)
            for _ in range(_BURST):
                size = udp.receive()
                if not size:
                    break
                self._take(udp, size)
            self.flush()
            await asyncio.sleep_ms(0)

    def _take(self, udp, size: int) -> None:
        now = ticks_ms()
        try:
            if self.endpoint.receive_datagram(udp.buf, size, udp.addr, now):
                return
            data = bytes(memoryview(udp.buf)[:size])
            if data[0] == LAN_INVITE:
                self._on_lan_invite(data, udp.addr, now)
            else:
                self.registrar.receive_datagram(data, udp.addr, now)
        except MemoryError:
            gc.collect()
            log("out of memory: a datagram is dropped")

    async def run(self, feed) -> None:
        """Keep time for as long as the device runs; `feed()` is called several times a second."""
        while True:
            now = ticks_ms()
            wait_ms = _BUSY_MS if self.endpoint.sessions else _QUIET_MS
            deadline = earlier(self.registrar.timer(), self.endpoint.timer())
            if deadline is not None:
                wait_ms = min(wait_ms, max(ticks_diff(deadline, now), 1))
            await asyncio.sleep_ms(wait_ms)
            feed()
            if self.udp is None:
                continue
            try:
                self._tick(ticks_ms())
            except MemoryError:
                gc.collect()
                log("out of memory: trying again")

    def _tick(self, now: int) -> None:
        self.registrar.handle_timer(now)
        self.endpoint.handle_timer(now)
        epoch = self.registrar.epoch(now)
        if epoch != self._epoch:
            self.update_tokens()
        if self.endpoint.ephemeral is None:
            self.endpoint.ephemeral = ()
            asyncio.create_task(self._make_ephemeral())
        self.flush()

    def flush(self) -> None:
        """Send what there is to send and hand out events."""
        if self._is_flushing or self.udp is None:
            return
        self._is_flushing = True
        try:
            now = ticks_ms()
            self._send(now)
            self._hand_out_events(now)
            self._send(now)
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

    def _hand_out_events(self, now: int) -> None:
        while True:
            event = self.registrar.next_event()
            if event is None:
                break
            self._on_event(event, now)
        while True:
            item = self.endpoint.next_event()
            if item is None:
                break
            item[0].connection.on_event(item[1])

    def _on_event(self, event: tuple, now: int) -> None:
        kind = event[0]
        if kind == "invite":
            control = event[1]
            self._on_invite(event[2], event[4], event[5], event[6], control.answer_invite, now)
        elif kind == "online":
            log("online %s %d" % (("", "master", "p2p")[event[1]], event[2]))
            self._set_candidates()
        elif kind == "offline":
            log("offline %s %d: %s" % (("", "master", "p2p")[event[1]], event[2], event[3]))
        elif kind == "unanswered":
            self.unanswered.add(event[1])
        elif kind == "keys" and self.identity.set_keys(event[1], event[2], event[3]):
            log("new platform keys, generation %d" % event[1])
            self.registrar.restart(now)

    # invites

    def update_tokens(self) -> None:
        """Tell the servers by which tokens clients find us: the pairs changed, or the week."""
        now = ticks_ms()
        self._epoch = self.registrar.epoch(now)
        if self._epoch:
            self.registrar.set_tokens(self.identity.pairs.tokens(self._epoch), now)

    def _on_lan_invite(self, data: bytes, addr, now: int) -> None:
        from upeer.lan import LanInvite, encode_answer

        try:
            invite = LanInvite(data)
        except ProtocolError:
            return
        key_id, invite_id = invite.key_id, invite.invite_id

        def reply(invite_id, message):
            self.udp.send(encode_answer(key_id, invite_id, message), addr)

        find_row = lambda: self.identity.pairs.find_lan(invite)  # noqa: E731
        self._handle_invite(invite_id, key_id, invite.message, find_row, FROM_LAN, reply, now)

    def _on_invite(self, invite_id, key_id: int, token, message, reply, now: int) -> None:
        epoch = self.registrar.epoch(now)
        find_row = lambda: self.identity.pairs.find(token, epoch)  # noqa: E731
        self._handle_invite(invite_id, key_id, message, find_row, FROM_SERVER, reply, now)

    def _handle_invite(self, invite_id, key_id: int, message, find_row, source: int, reply, now: int) -> None:
        from upeer.invite import prologue, session_psk

        def find():
            p2p_key = self.identity.p2p_keys.get(key_id)
            row = find_row() if p2p_key else None
            if row is None:
                return None
            return session_psk(row[2], p2p_key), prologue(key_id, invite_id, self.identity.did, row[0]), key_id, row

        if not self.endpoint.ephemeral:
            return
        result = self.endpoint.handle_invite(invite_id, message, find, source, now)
        if isinstance(result, bytes):
            reply(invite_id, result)
        elif result is not None:
            asyncio.create_task(self._answer(result, invite_id, reply))

    async def _answer(self, responder, invite_id, reply) -> None:
        from upeer.x25519 import Ladder

        try:
            ladder = Ladder(responder.private, responder.peer_public)
            while not ladder.step(_LADDER_STEPS):
                await asyncio.sleep_ms(0)
            shared = ladder.result()
        except ProtocolError:
            return
        gc.collect()
        try:
            message, session = self.endpoint.finish_invite(responder, shared, 0, ticks_ms())
        except MemoryError:
            gc.collect()
            log("out of memory: a session is refused")
            return
        if session:
            self._connect(session, responder.user)
        reply(invite_id, message)
        self.flush()

    def _connect(self, session, row: tuple) -> None:
        connection = Connection(session, self.flush, self._on_command)
        connection.client_id = row[0]
        connection.role = row[1]
        session.connection = connection
        self._on_connection(connection)

    async def _make_ephemeral(self) -> None:
        """Make the key pair of the next handshake ahead of need."""
        from upeer.x25519 import BASE, Ladder

        private = random_bytes(32)
        ladder = Ladder(private, BASE)
        while not ladder.step(_LADDER_STEPS):
            await asyncio.sleep_ms(0)
        self.endpoint.ephemeral = (private, ladder.result())


def forget(*names) -> None:
    """Drop modules of the core that have done their work; the next import loads them again."""
    package = sys.modules["upeer"]
    for name in names:
        if sys.modules.pop("upeer." + name, None):
            delattr(package, name)
    gc.collect()
