"""A serving process: sockets and nodes of a platform, their admin listener, a clean start and stop."""

import asyncio
import errno
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from upeer.base.clock import ticks_ms
from upeer_server.admin import AdminListener
from upeer_server.config import MasterConfig, NodeConfig
from upeer_server.node import Node
from upeer_server.pump import Pump, open_udp, received_buffer

Load = Callable[[], list[NodeConfig]]


class ServeError(Exception):
    """The process cannot start; `hint` says what to do."""

    exit_code = 1

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True)
class Options:
    """How to serve: `bind` is an address instead of the platform's own ones, `admin` where orders are taken."""

    bind: str | None = None
    admin: tuple[str, int] = ("127.0.0.1", 0)


@dataclass
class _Place:
    """One UDP address: its configuration, node and pump."""

    config: NodeConfig
    udp: socket.socket = field(repr=False)
    node: Node = field(repr=False)
    pump: Pump = field(repr=False)

    @property
    def address(self) -> str:
        host, port = self.udp.getsockname()
        return f"{host}:{port}"

    @property
    def names(self) -> list[str]:
        return server_names(self.config)

    def status(self) -> dict[str, Any]:
        """Return who is online at this address and what its roles count."""
        online = {role: held.online() for role in ("master", "p2p") if (held := getattr(self.node, role)) is not None}
        answer = {"address": self.address, "servers": self.names, "datagrams": dict(self.pump.counters)}
        return answer | {"online": online, "receive_buffer": received_buffer(self.udp)} | self.node.status()


class Service:
    """Serves the nodes that `load` returns; `load` is called again on reload."""

    def __init__(self, load: Load, log: Callable[..., None], options: Options | None = None) -> None:
        self.admin_address = ("", 0)
        self._load = load
        self._log = log
        self._options = options or Options()
        self._places: list[_Place] = []
        self._started = time.time()
        self._admin: AdminListener | None = None

    async def start(self) -> None:
        """Bind every address and begin; ServeError when one cannot be had, and then nothing is left open."""
        try:
            for config in self._load():
                self._places.append(self._open(config))
            self._admin = AdminListener(self._places[0].config.admin_key, self._handle, self._log)
            self.admin_address = await self._listen()
        except BaseException:
            self._close()
            raise
        for place in self._places:
            place.pump.start()
            self._log("serving", address=place.address, servers=",".join(place.names))

    async def stop(self) -> None:
        """Tell devices that this node shuts down, so that they find another one at once, and close everything."""
        for place in self._places:
            place.node.shut_down()
        if self._admin is not None:
            await self._admin.stop()
        self._close()
        self._log("stopped")

    @property
    def servers(self) -> list[dict[str, Any]]:
        """Name and address of every server in this process."""
        return [{"name": name, "address": place.address} for place in self._places for name in place.names]

    def _open(self, config: NodeConfig) -> _Place:
        host = self._options.bind or config.host
        try:
            udp = open_udp(host, config.port)
        except OSError as error:
            raise ServeError(*_bind_failure(error, host, config.port)) from error
        node = Node(config, ticks_ms(), secrets.token_bytes, time.time)
        return _Place(config, udp, node, Pump(udp, node, self._log))

    async def _listen(self) -> tuple[str, int]:
        assert self._admin is not None
        try:
            return await self._admin.start(*self._options.admin)
        except OSError as error:
            raise ServeError(*_bind_failure(error, *self._options.admin)) from error

    def _close(self) -> None:
        for place in self._places:
            place.pump.stop()
            _close_verifiers(place.config.master)
        self._places = []

    def _handle(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer an order that came authentic through the admin listener."""
        orders = {"status": self._status, "revoke": self._revoke, "drop": self._drop}
        orders |= {"reload": self._reload, "servers": self._servers}
        operation = str(request["op"])
        if operation not in orders:
            raise ValueError(f"unknown operation {operation!r}")
        answer = orders[operation](request)
        if operation != "status":
            self._log("admin", op=operation, did=request.get("did"))
        for place in self._places:
            place.pump.flush()
        return answer

    def _status(self, _request: dict[str, Any]) -> dict[str, Any]:
        nodes = [place.status() for place in self._places]
        return {"pid": os.getpid(), "uptime_s": round(time.time() - self._started, 1), "nodes": nodes}

    def _revoke(self, request: dict[str, Any]) -> dict[str, Any]:
        """Forget a device for good, in the master's own file too, and end its sessions."""
        did = str(request["did"])
        for place in self._places:
            if place.config.master is not None:
                place.config.master.verifiers.revoke(did)
            place.node.revoke(did)
        return {}

    def _drop(self, request: dict[str, Any]) -> dict[str, Any]:
        """End a device's sessions; it may log in again."""
        return {"dropped": sum(place.node.drop(str(request["did"])) for place in self._places)}

    def _reload(self, _request: dict[str, Any]) -> dict[str, Any]:
        """Take key generations and server lists anew from the bundles; addresses and roles stay as they are."""
        fresh = {(config.host, config.port): config for config in self._load()}
        for unused in fresh.values():
            _close_verifiers(unused.master)
        for place in self._places:
            config: NodeConfig | None = fresh.get((place.config.host, place.config.port))
            if config is not None and config.generations:
                place.node.set_generations(config.generations)
            if config is not None and config.master is not None:
                place.node.set_servers(config.master.p2p_servers, config.master.relays)
        return {}

    def _servers(self, _request: dict[str, Any]) -> dict[str, Any]:
        """Tell which p2p servers and relays the masters here hand out; no keys."""
        listed: dict[str, Any] = {}
        for place in self._places:
            master = place.config.master
            if master is not None:
                entries = place.node.p2p_servers + place.node.relays
                rows = [{"kind": item.kind, "id": item.id, "address": f"{item.host}:{item.port}"} for item in entries]
                listed[f"master-{master.master_id}"] = rows
        return {"masters": listed}


async def run(service: Service, on_ready: Callable[[], None], on_stop: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await service.start()
    try:
        on_ready()
        await stop.wait()
    finally:
        on_stop()
        await service.stop()


def server_names(config: NodeConfig) -> list[str]:
    """Return the names of the servers behind one address: master-1, p2p-1 ..."""
    names = [f"master-{config.master.master_id}"] if config.master else []
    return names + [f"{entry.kind}-{entry.id}" for entry in (config.p2p, config.relay) if entry]


def _close_verifiers(master: MasterConfig | None) -> None:
    if master is not None:
        master.verifiers.close()


def _bind_failure(error: OSError, host: str, port: int) -> tuple[str, str]:
    if error.errno == errno.EADDRINUSE:
        return f"{host}:{port} is in use", "stop the program that uses it ('upeer status DIR' shows ours)"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this machine", "add --bind 0.0.0.0 or one of its own addresses"
    if error.errno == errno.EACCES:
        return f"port {port} is not ours to take", "choose one above 1023, or allow it"
    return f"cannot listen on {host}:{port}: {error.strerror}", "check the address"
