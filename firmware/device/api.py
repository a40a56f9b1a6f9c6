"""What an application on the device uses: listen, accept, services, commands.

device = Device()
@device.service("greet")
async def greet(channel): ...
await device.start()
"""

# The agent is loaded late, so its type is not known here.
# mypy: disable-error-code="attr-defined"

import asyncio
import gc

import machine
import network

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


class Device:
    """One device: its licence, its network, its connections.

    `watchdog_s`: 0 for none. Raises ValueError, one line that says what to do, when there is no usable licence.
    """

    def __init__(self, watchdog_s: int = 0):
        from device.late import drop
        from device.startup import load

        self.identity, self._masters, self.faults = load()
        for fault in self.faults:
            print("upeer:", fault)
        drop()
        self.did = self.identity.did
        self.agent = None
        self.services = {}
        self._has_services = False  # built-in ones are loaded
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
        from device.late import drop
        from device.memory import open_store
        from device.startup import limits, tidy_files
        from device.wifi import credentials

        credentials(open_store(self.identity))
        tidy_files()
        found = limits()
        drop()
        from device.agent import Agent
        from device.late import drop, preload

        preload()
        drop()
        gc.threshold(4096)
        self.agent = Agent(self.identity, found, self)
        if self._watchdog_s:
            self._watchdog = machine.WDT(timeout=self._watchdog_s * 1000)
        self._tasks = [asyncio.create_task(self.agent.run()), asyncio.create_task(self._watch_network())]

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
        if self._has_services and not self.agent.endpoint.sessions:
            from device.late import SERVICES, drop

            self._has_services = False
            drop(SERVICES)

    def on_connection(self, connection) -> None:
        """Keep a new connection for `accept`."""
        if connection.role != _SETUP and self._is_listening and len(self._waiting) < _BACKLOG:
            self._waiting.append(connection)
            self._arrived.set()

    def on_command(self, connection, request_id: int, name: str, data) -> None:
        """Answer a client's command."""
        session = connection.session
        handler = self._commands.get(name)
        try:
            if name == "open" and connection.role != _SETUP:
                self._open(connection, request_id, data)
            elif handler is None or connection.role == _SETUP:
                self.agent.make_room()
                from device.commands import run

                run(self, connection, request_id, name, bytes(data))
            else:
                session.answer(request_id, 0, handler(connection, data) or b"")
        except LocalError as error:
            session.answer(request_id, _FORBIDDEN, str(error).encode())
        except Exception as error:  # noqa: BLE001 - an application's fault must not end the agent
            print("upeer: command %s failed: %s %s" % (name, type(error).__name__, error))
            session.answer(request_id, _FAILED, b"failed on the device")

    def _open(self, connection, request_id: int, data: bytes) -> None:
        name = data[1:].decode()
        handler = self.services.get(name)
        if handler is None and name in _BUILT_IN:
            try:
                handler = __import__("device.services." + name, None, None, ("serve",)).serve
                self._has_services = True
            except ImportError:
                pass  # this firmware left it out
        if handler is None or data[0] > 7:
            return connection.session.answer(request_id, _NOT_FOUND, b"no such service")
        asyncio.create_task(self._serve(handler, connection, data[0], name))
        connection.session.answer(request_id, 0)

    async def _serve(self, handler, connection, number: int, name: str) -> None:
        channel = None
        try:
            channel = await connection.free_channel(number)
            await handler(channel)
            return
        except (ProtocolError, EOFError):
            pass  # the peer went away
        except Exception as error:  # noqa: BLE001 - a task's top: one service's fault is not another's
            print("upeer: service %s failed: %s %s" % (name, type(error).__name__, error))
        gc.collect()
        if channel and connection.closed is None:
            channel.reset()

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
                print("upeer: network: %s %s" % (type(error).__name__, error))
            await asyncio.sleep_ms(_WATCH_MS)

    async def _check_network(self, wlan) -> None:
        agent = self.agent
        if not wlan.isconnected():
            from device.memory import open_store
            from device.wifi import credentials, join

            await agent.work(join(wlan, credentials(open_store(self.identity)), self.did))
            print("upeer: network up, %s" % wlan.ifconfig()[0])
        elif agent.udp and agent.own_ip == wlan.ifconfig()[0]:
            if agent.unanswered and ticks_diff(ticks_ms(), self._asked) > _ASK_AGAIN_MS:
                await self._find_masters()
            return
        from device.link import open_sockets

        open_sockets(agent, wlan.ifconfig()[0])
        await self._find_masters()

    async def _find_masters(self) -> None:
        from device.link import find_masters

        self._asked = ticks_ms()
        await self.agent.work(find_masters(self.agent, self._masters))
