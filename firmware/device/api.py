"""What an application on the device uses: listen, accept, services, commands.

    device = Device()
    @device.service("greet")
    async def greet(channel): ...
    await device.start()
"""

import asyncio
import gc
import json
import socket

import machine

from upeer import VERSION
from upeer.clock import ticks_diff, ticks_ms
from upeer.errors import LocalError, ProtocolError
from upeer.invite import pair_key
from upeer.pairs import OWNER, SETUP

from device.agent import Agent, log
from device.identity import Identity

_BUILT_IN = ("echo", "files")
_NEVER_MS = 2**31 - 1
_NOT_FOUND = 2
_FAILED = 1
_FORBIDDEN = 3


class Device:
    """One device: its licence, its network, its connections.

    `watchdog_s`: 0 for none. Raises ValueError, one line that says what to do, when there is no usable licence.
    """

    def __init__(self, watchdog_s: int = 0):
        from upeer.initstring import open_init_string

        from device.fctry import load

        record, copy, faults = load()
        for fault in faults:
            log(fault + ", using copy %d" % copy)
        self._masters = open_init_string(record["init_string"], "device", record["crc_key"], record["p2p_key"])
        self.identity = Identity(record)
        self.did = self.identity.did
        self.agent = None
        self.wifi = None
        self._watchdog_s = watchdog_s
        self._watchdog = None
        self._services = {}
        self._commands = {"open": self._open, "status": self._status, "pair": self._pair, "pair-open": self._pair_open}
        self._waiting = []
        self._is_listening = False
        self._arrived = asyncio.Event()
        self._started = ticks_ms()
        self._uptime_s = 0

    # the application's side

    def service(self, name: str):
        """Decorate `async def handler(channel)`: clients open it by name. The channel is reset if it raises."""

        def register(handler):
            self._services[name] = handler
            return handler

        return register

    def command(self, name: str):
        """Decorate `def handler(connection, data) -> bytes`: clients call it by name; LocalError's text goes back."""

        def register(handler):
            def answer(connection, request_id, data):
                connection.session.answer(request_id, 0, handler(connection, data) or b"")

            self._commands[name] = answer
            return handler

        return register

    async def start(self) -> None:
        """Join the network and log in, and stay so in the background."""
        limits = (2, 16384, 4096)
        try:
            import board

            limits = (board.MAX_SESSIONS, board.STREAM_BUFFER * 4, board.STREAM_BUFFER)
        except ImportError:
            pass
        self.agent = Agent(self.identity, limits, self._on_connection, self._on_command)
        if self._watchdog_s:
            self._watchdog = machine.WDT(timeout=self._watchdog_s * 1000)
        asyncio.create_task(self.agent.run(self._feed))
        asyncio.create_task(self._watch_network())

    def listen(self, on: int = 1) -> None:
        """Take connections for `accept` from now on; 0 stops that. Services and commands work either way."""
        self._is_listening = bool(on)

    async def accept(self):
        """Wait for the next connection of a paired client."""
        self.listen()
        while True:
            while self._waiting:
                connection = self._waiting.pop(0)
                if connection.closed is None:
                    return connection
            self._arrived.clear()
            await self._arrived.wait()

    def share_bandwidth(self, on: int) -> None:
        """Allow (1) or forbid (0) that this device serves as a relay for others. Stored."""
        self.identity.share_bandwidth(on)

    def login_status(self) -> int:
        """Return how many masters this device is logged in to."""
        return self.agent.registrar.count() if self.agent else 0

    def release(self) -> None:
        """Log out and leave the watchdog so much time that a person can work on the board."""
        if self.agent and self.agent.udp:
            self.agent.stop()
        if self._watchdog:
            machine.WDT(timeout=_NEVER_MS)

    # the network

    def _feed(self) -> None:
        if self._watchdog:
            self._watchdog.feed()
        passed_s = ticks_diff(ticks_ms(), self._started) // 1000
        if passed_s > 1000:
            self._uptime_s += passed_s
            self._started = ticks_ms()

    async def _watch_network(self) -> None:
        from device.wifi import Wifi, credentials

        ssid, password = credentials(self.identity.store)
        self.wifi = Wifi(ssid, password, self.did)
        while True:
            if not self.wifi.is_up():
                await self.wifi.join()
                log("network up, %s" % self.wifi.address())
                self.agent.start(self.wifi.address())
                await self._find_masters()
            elif self.agent.udp is None or self.agent.own_ip != self.wifi.address():
                self.agent.start(self.wifi.address())
                await self._find_masters()
            elif self.agent.unanswered:
                await self._find_masters()
            await asyncio.sleep_ms(500)

    async def _find_masters(self) -> None:
        """Look up the masters' names; numeric addresses need no asking."""
        self.agent.unanswered.clear()
        for number, host, port in self._masters:
            try:
                address = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_DGRAM)[0][-1]
                self.agent.registrar.set_master(number, (address[0], address[1]), ticks_ms())
            except OSError:
                log("the name of master %d does not resolve" % number)
            await asyncio.sleep_ms(0)
        self.agent.flush()

    # connections

    def _on_connection(self, connection) -> None:
        if connection.role != SETUP and self._is_listening and len(self._waiting) < 4:
            self._waiting.append(connection)
            self._arrived.set()

    def _on_command(self, connection, request_id: int, name: str, data) -> None:
        handler = self._commands.get(name)
        session = connection.session
        try:
            if handler is None:
                session.answer(request_id, _NOT_FOUND, b"no such command")
            elif connection.role == SETUP and name != "pair":
                session.answer(request_id, _FORBIDDEN, b"pair first")
            else:
                handler(connection, request_id, data)
        except LocalError as error:
            session.answer(request_id, _FORBIDDEN, str(error).encode())
        except Exception as error:  # an application's fault must not end the agent
            log("command %s failed: %s" % (name, type(error).__name__))
            session.answer(request_id, _FAILED, b"failed on the device")

    def _open(self, connection, request_id: int, data) -> None:
        name = bytes(data[1:]).decode()
        handler = self._services.get(name)
        if handler is None and name in _BUILT_IN:
            try:
                handler = getattr(__import__("device.services." + name, None, None, ("serve",)), "serve")
            except ImportError:
                pass  # this firmware left it out
        if handler is None or not data or data[0] > 7:
            connection.session.answer(request_id, _NOT_FOUND, b"no such service")
            return
        channel = connection.channel(data[0])
        asyncio.create_task(self._serve(handler, channel, name))
        connection.session.answer(request_id, 0)

    async def _serve(self, handler, channel, name: str) -> None:
        try:
            await handler(channel)
            return
        except (ProtocolError, EOFError):
            pass  # the peer went away
        except Exception as error:  # a task's top: one service's fault is not another's
            log("service %s failed: %s" % (name, type(error).__name__))
        gc.collect()
        if channel.connection.closed is None:
            channel.reset()

    def _status(self, connection, request_id: int, data) -> None:
        self._feed()
        registrar = self.agent.registrar
        status = {
            "did": self.did,
            "version": VERSION,
            "uptime_s": self._uptime_s + ticks_diff(ticks_ms(), self._started) // 1000,
            "heap_free": gc.mem_free(),
            "masters": registrar.count(),
            "p2p_servers": registrar.count(2),
            "nat_class": registrar.nat_class(self.agent.own_ip),
            "sessions": len(self.agent.endpoint.sessions),
            "pairs": len(self.identity.pairs.rows),
            "dropped": self.agent.endpoint.dropped,
        }
        connection.session.answer(request_id, 0, json.dumps(status).encode())

    def _pair(self, connection, request_id: int, data) -> None:
        client_id = bytes(data[:8])
        if connection.role != SETUP or len(client_id) != 8:
            raise LocalError("pairing needs a session by setup code")
        key = pair_key(connection.session.exporter, self.did, client_id)
        role = self.identity.pairs.add(client_id, key, bytes(data[8:]))
        self.identity.save_pairs()
        self.agent.update_tokens()
        log("paired, role %d" % role)
        connection.session.answer(request_id, 0, bytes((role,)))

    def _pair_open(self, connection, request_id: int, data) -> None:
        if connection.role != OWNER:
            raise LocalError("only the owner opens pairing")
        self.identity.pairs.open()
        self.identity.save_pairs()
        self.agent.update_tokens()
        connection.session.answer(request_id, 0)
