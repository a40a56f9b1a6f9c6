"""What an application on the device uses: listen, accept, services, commands.

device = Device()
@device.service("greet")
async def greet(channel): ...
await device.start()
"""

# The agent is made in `start`, so its type is not known here.
# mypy: disable-error-code="attr-defined"

import asyncio

import machine
import network

from device.agent import Agent
from device.heap import collect
from device.loader import drop_group, load_group, read_mailboxes, use_groups
from device.log import log, log_fault
from upeer.base.clock import ticks_add, ticks_diff, ticks_ms
from upeer.base.compat import const
from upeer.base.errors import LocalError, ProtocolError

_BUILT_IN = ("echo", "files")
_NEVER_MS = const(0x3FFFFFFF)
_MINUTE_MS = const(60000)
_WATCH_MS = const(500)
_ASK_AGAIN_MS = const(5000)
_BACKLOG = const(4)
_SETUP = const(3)  # role of a session by setup code
_FAILED = const(1)
_NOT_FOUND = const(2)
_FORBIDDEN = const(3)
_OUT_OF_MEMORY = const(4)


class Device:
    """One device: its licence, its network, its connections.

    `watchdog_s`: 0 for none. Raises ValueError, one line that says what to do, when there is no usable licence.
    """

    def __init__(self, watchdog_s: int = 0):
        load_group("start")
        from device.startup import load

        self.identity, self._masters, self.faults = load()
        for fault in self.faults:
            log(fault)
        self.did = self.identity.did
        self._network_key = None  # (ssid, password)
        self.agent = None
        self.services = {}
        self._commands = {}
        self._watchdog_s = watchdog_s
        self._watchdog = None
        self._waiting = []
        self._is_listening = False
        self._arrived = asyncio.Event()
        self._since = self._asked = ticks_ms()
        self._minutes = 0
        self._tasks = []

    # the application's side

    def service(self, name: str):
        """Decorate `async def handler(channel)`: clients open it by name. The channel is reset if it raises."""

        def register(handler):
            self.services[name] = handler
            return handler

        return register

    def command(self, name: str):
        """Decorate `def handler(connection, data) -> bytes`: clients call it by name; LocalError's text goes back."""

        def register(handler):
            self._commands[name] = handler
            return handler

        return register

    async def start(self) -> None:
        """Join the network and log in, and stay so in the background. ValueError when no network is stored."""
        found, clock = await use_groups(("start",), self._prepare)
        drop_group("start")
        self._network_key = await use_groups(("storage",), self._recall_network)
        drop_group("storage")
        await asyncio.sleep_ms(0)
        collect()
        await asyncio.sleep_ms(0)
        self.agent = Agent(self.identity, found, self, clock)
        self.agent.set_clock(True)
        if self._watchdog_s:
            self._watchdog = machine.WDT(timeout=self._watchdog_s * 1000)
        self._tasks = [asyncio.create_task(self.agent.run()), asyncio.create_task(self._watch_network())]

    async def _prepare(self) -> tuple:
        from device.startup import limits, tidy_files

        found = limits()
        await asyncio.sleep_ms(0)
        tidy_files()
        await asyncio.sleep_ms(0)
        return found

    def _recall_network(self):
        from device.memory import credentials

        return credentials(self.identity)

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
        load_group("storage")
        from device.memory import share_bandwidth

        share_bandwidth(self.identity, on)

    def login_status(self) -> int:
        """Return how many masters this device is logged in to."""
        return self.agent.registrar.count() if self.agent else 0

    def uptime_s(self) -> int:
        """Return the seconds since the start."""
        return self._minutes * 60 + ticks_diff(ticks_ms(), self._since) // 1000

    def release(self) -> None:
        """Log out, and leave the board to a person: no task runs on, the watchdog waits for good."""
        if self._watchdog:
            machine.WDT(timeout=_NEVER_MS)
        for task in self._tasks:
            task.cancel()
        if self.agent and self.agent.udp:
            load_group("login")
            from device.link import stop

            stop(self.agent)
        asyncio.new_event_loop()

    # the agent's side

    def on_tick(self) -> None:
        """Feed the watchdog, count time; several times a second."""
        if self._watchdog:
            self._watchdog.feed()
        if ticks_diff(ticks_ms(), self._since) >= _MINUTE_MS:
            self._minutes += 1
            self._since = ticks_add(self._since, _MINUTE_MS)

    def on_connection(self, connection) -> None:
        """Keep a new connection for `accept`."""
        if connection.role != _SETUP and self._is_listening and len(self._waiting) < _BACKLOG:
            self._waiting.append(connection)
            self._arrived.set()

    def on_command(self, connection, request_id: int, name: str, data) -> None:
        """Answer a client's command: here, or in a task that loads what it needs."""
        try:
            self._handle(connection, request_id, name, bytes(data))
        except Exception as error:  # noqa: BLE001 - an application's fault must not end the agent
            self._refuse(connection, request_id, name, error)

    def _handle(self, connection, request_id: int, name: str, data: bytes) -> None:
        handler = self._commands.get(name)
        if name == "ping":
            connection.session.answer(request_id, 0)  # at once: it shows the round trip of the path
        elif name == "open" and connection.role != _SETUP:
            self._open(connection, request_id, data)
        elif handler is None or connection.role == _SETUP:
            asyncio.create_task(self._run_transient("command", self._run_command, connection, request_id, name, data))
        else:
            connection.session.answer(request_id, 0, handler(connection, data) or b"")

    async def _run_transient(self, group: str, work, connection, *request) -> None:
        """Answer a request (its number, a name, data) by work(connection, *request) of a group."""
        try:
            await use_groups((group,), work, connection, *request)
        except Exception as error:  # noqa: BLE001 - the client hears of it
            self._refuse(connection, request[0], request[1], error)
        await asyncio.sleep_ms(0)
        connection.flush()

    def _run_command(self, connection, request_id: int, name: str, data: bytes):
        from device.commands import run

        return run(self, connection, request_id, name, data)

    def _refuse(self, connection, request_id: int, name: str, error) -> None:
        """Tell a client why its request failed: of our own errors the text, of others that there was one."""
        status, text = _FAILED, b"failed on the device"
        if isinstance(error, LocalError):
            status, text = _FORBIDDEN, str(error).encode()
        elif isinstance(error, ImportError):
            status, text = _NOT_FOUND, b"no such service"
        elif isinstance(error, MemoryError):
            status, text = _OUT_OF_MEMORY, b"out of memory on the device"
        if status == _FAILED:
            log_fault("command " + name, error)
        if connection.closed is None:
            connection.session.answer(request_id, status, text)

    def _open(self, connection, request_id: int, data: bytes) -> None:
        name = data[1:].decode()
        handler = self.services.get(name)
        if data[0] > 7 or (handler is None and name not in _BUILT_IN):
            return connection.session.answer(request_id, _NOT_FOUND, b"no such service")
        if handler is None:
            work = self._run_transient(name, self._serve_built_in, connection, request_id, name, data[0])
            asyncio.create_task(work)
        else:
            asyncio.create_task(self._serve(handler, connection, request_id, name, data[0]))

    def _serve_built_in(self, connection, request_id: int, name: str, number: int):
        handler = __import__("device.services." + name, None, None, ("serve",)).serve
        return self._serve(handler, connection, request_id, name, number)

    async def _serve(self, handler, connection, request_id: int, name: str, number: int) -> None:
        """Take a channel, tell the client so, and have it served; a client whose channel cannot be had is told why."""
        channel = None
        try:
            for _ in read_mailboxes():
                await asyncio.sleep_ms(0)
            channel = await connection.free_channel(number)
            connection.session.answer(request_id, 0)
            connection.flush()
            await handler(channel)
            return
        except Exception as error:  # noqa: BLE001 - a task's top: one service's fault is not another's
            if channel is None and connection.closed is None:
                self._refuse(connection, request_id, name, error)
            elif not isinstance(error, (ProtocolError, EOFError)):  # which say that the peer went away
                log_fault("service " + name, error)
        collect()
        if connection.closed is None:
            if channel:
                channel.reset()
            connection.flush()

    # the network

    async def _watch_network(self) -> None:
        wlan = network.WLAN(network.STA_IF)
        is_full = False
        while True:
            try:
                await self._check_network(wlan)
                if is_full != bool(self.agent.endpoint.sessions):
                    is_full = not is_full  # power save adds bursts of 100 ms
                    wlan.config(pm=wlan.PM_NONE if is_full else wlan.PM_PERFORMANCE)
            except (AttributeError, ValueError):
                pass  # a build without power save
            except Exception as error:  # noqa: BLE001 - a task's top
                log_fault("network", error)
            await asyncio.sleep_ms(_WATCH_MS)

    async def _check_network(self, wlan) -> None:
        agent = self.agent
        if not wlan.isconnected():
            await use_groups(("login",), self._join, wlan)
            log("network up, " + wlan.ifconfig()[0])
        elif agent.udp and agent.own_ip == wlan.ifconfig()[0]:
            if agent.unanswered and ticks_diff(ticks_ms(), self._asked) > _ASK_AGAIN_MS:
                await use_groups(("login",), self._find_masters)
            return
        await use_groups(("storage", "login"), self._open_sockets, wlan.ifconfig()[0])

    def _join(self, wlan):
        from device.wifi import join

        return join(wlan, self._network_key, self.did)

    def _open_sockets(self, own_ip: str):
        from device.link import open_sockets

        self._asked = ticks_ms()
        return open_sockets(self.agent, own_ip, self._masters)

    def _find_masters(self):
        from device.link import find_masters

        self._asked = ticks_ms()
        return find_masters(self.agent, self._masters)
