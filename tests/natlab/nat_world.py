"""A served platform, a device and a client inside a NatLab: each in a thread whose network namespace is its own.

with NatWorld(folder, "full-cone", "symmetric") as world:
    client = world.client()                                   # a Client, open, in the client's namespace
    connection = world.on_client(client.connect(world.did))
"""

import asyncio
import hashlib
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Self, TypeVar

import namespaces
import nat_kinds as kinds
from board_heap import HEAP
from lab import NatLab
from office_tools import make_office
from python_device import PythonDevice

import upeer_client
from upeer.session.paths import RELAY
from upeer_board import image
from upeer_board.boards import load_board
from upeer_board.virtual import VirtualBoard
from upeer_office import bundle, names
from upeer_office.platforms import client_config
from upeer_server.serve import Service

_Result = TypeVar("_Result")

MASTERS = 3
PORT = 32100
TIME_OUT_S = 90.0
_CLIENT_ID = b"natworld"


class NamespaceLoop:
    """An asyncio loop in a thread that lives in a network namespace, with all sockets it makes."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._main, name=namespace, daemon=True)
        self._thread.start()

    def run(self, call: Coroutine[Any, Any, _Result], timeout_s: float = TIME_OUT_S) -> _Result:
        """Run a coroutine there to its end and return its result."""
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(call, timeout_s), self._loop).result(timeout_s + 5)

    def close(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _main(self) -> None:
        with namespaces.inside(self._namespace):
            self._loop.run_forever()


class NatWorld:
    """Masters 1 to 3, each with a p2p server and a relay, at public addresses; a paired device; clients.

    `lab` has the knobs; `services[n]` is what serves master n. The device is a PythonDevice, paired with the client, or
    with `board` True a virtual board, to be booted and paired.
    """

    def __init__(self, folder: Path, kind_a: str, kind_b: str, *, board: bool = False, **options: Any) -> None:
        self.lab = NatLab(kind_a, kind_b, **options)
        self.folder = folder
        self.services: dict[int, Service] = {}
        self.device: PythonDevice | None = None
        addresses = tuple(f"{self.lab.server(index).ip}:{PORT}" for index in range(MASTERS))
        self.office = make_office(folder / "platform", addresses)
        self.did = self.office.issue(1)[0].partition(",")[0]
        self.record = self.office.device_record(self.did)
        self.setup_code = names.encode_setup_code(self.record["setup_code"])
        self.log: list[str] = []
        self._has_board = board
        self._board: VirtualBoard | None = None
        self._clients: list[upeer_client.Client] = []
        self._loops: list[NamespaceLoop] = []

    def __enter__(self) -> Self:
        try:
            self.lab.open()
            self.internet = self._loop(self.lab.server(0).namespace)
            self._client_side = self._loop(self.lab.client.namespace)
            for number in range(1, MASTERS + 1):
                self.start_master(number)
            if not self._has_board:
                self._device_side = self._loop(self.lab.device.namespace)
                self._start_device()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End all of it."""
        for client in self._clients:
            self.on_client(client.close())
        if self._board is not None:
            self._board.stop()
        if self.device is not None:
            self._device_side.run(_call(self.device.stop))
        for number in list(self.services):
            self.stop_master(number)
        for loop in self._loops:
            loop.close()
        self.lab.close()
        self.office.close()

    # who is there

    def start_master(self, number: int) -> None:
        """Serve one master, its p2p server and its relay."""
        folder = self.folder / "platform"
        service = Service(lambda: bundle.load_nodes(folder, None, number), self._log)
        self.internet.run(service.start())
        self.services[number] = service

    def stop_master(self, number: int) -> None:
        """Stop one master, its p2p server and its relay, which say goodbye to devices."""
        self.internet.run(self.services.pop(number).stop())

    def kill_master(self, number: int) -> None:
        """End one master, its p2p server and its relay without a word, as kill -9 does."""

        async def kill(service: Service) -> None:
            service._close()
            assert service._admin is not None
            await service._admin.stop()

        self.internet.run(kill(self.services.pop(number)))

    def boot_board(self) -> VirtualBoard:
        """Boot a virtual board, real MicroPython, at the device's place; it is online when this returns."""
        folder = self.folder / "board"
        image.build(load_board("UNIX"), folder, image.Options(wifi=("lab", ""), licence=self.record))
        self._board = VirtualBoard.start(folder, netns=self.lab.device.namespace, heap=HEAP)
        self.wait_until_found()
        return self._board

    def wait_until_found(self, timeout_s: float = TIME_OUT_S) -> None:
        """Wait until every master knows the device's lookup tokens, and a p2p server too."""
        deadline = time.monotonic() + timeout_s
        while not self.internet.run(self._is_found()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the device is not found; its console: {self._board and self._board.output}")
            time.sleep(0.02)

    async def _is_found(self) -> bool:
        states = [place.node.status() for service in self.services.values() for place in service._places]
        counts = [[state[role]["tokens"] for state in states] for role in ("master", "p2p")]
        return all(counts[0]) and any(counts[1])

    def client(self, name: str = "client") -> upeer_client.Client:
        """Return an open client; it shares the pair of others with its name."""
        home = self.folder / name
        client = upeer_client.Client(self.config(), home)
        if not self._has_board and not client.pairs.all():
            pair = upeer_client.Pair(self.did, _CLIENT_ID, b"p" * 32)
            client.pairs.begin(pair)
            client.pairs.confirm(pair, "owner")
        self.on_client(client.__aenter__())
        self._clients.append(client)
        return client

    def config(self) -> upeer_client.Config:
        """Return what a client of this platform ships with."""
        document = client_config(self.office.platform)
        return upeer_client.Config.open(document["key_id"], bytes.fromhex(document["p2p_key"]), document["init_string"])

    def on_client(self, call: Coroutine[Any, Any, _Result], timeout_s: float = TIME_OUT_S) -> _Result:
        """Run a coroutine at the client's place."""
        return self._client_side.run(call, timeout_s)

    def on_device(self, call: Coroutine[Any, Any, _Result]) -> _Result:
        """Run a coroutine at the device's place."""
        return self._device_side.run(call)

    # knobs

    def address_of(self, side: str) -> str:
        """Return the public address of a side: what the other one's datagrams are for."""
        gateway = self.lab.gateway(side)
        return self.lab.host(side).ip if gateway.kind == kinds.OPEN else gateway.wan_ip

    def block_direct(self, blocked: bool = True) -> None:
        """Let nothing pass between the two sides but through relays."""
        (self.lab.block_udp if blocked else self.lab.unblock_udp)("client", self.address_of("device"))

    def _log(self, event: str, **fields: Any) -> None:
        self.log.append(f"{event} {fields}")

    def _loop(self, namespace: str) -> NamespaceLoop:
        self._loops.append(NamespaceLoop(namespace))
        return self._loops[-1]

    def _start_device(self) -> None:
        self.device = self.on_device(self._make_device())
        self.on_device(self.device.online(MASTERS, 2))

    async def _make_device(self) -> PythonDevice:
        state: dict[str, Any] = {}
        device = PythonDevice(self.record, host=self.lab.device.ip, state=state)
        device.identity.pairs.add(_CLIENT_ID, b"p" * 32, b"lab")
        await device.start()
        return device


async def _call(function: Any) -> None:
    function()


async def echoed(
    connection: Any, size: int, channel_number: int = 1, pace_s: float = 0.0, until: asyncio.Event | None = None
) -> None:
    """Send bytes through the echo service and see them come back, by hash; AssertionError when they differ.

    With `pace_s` in pieces, that far apart. With `until` it goes on, again and again, for as long as that is not set.
    """
    channel = await connection.open("echo", channel_number)
    pattern = bytes(range(251)) * (size // 251 + 1)
    data = pattern[:size]
    sent, received = hashlib.sha256(), hashlib.sha256()
    counts = [0, 0]

    async def send() -> None:
        step = max(size // 64, 1024) if pace_s else size
        while True:
            for at in range(0, size, step):
                await channel.write(data[at : at + step])
                sent.update(data[at : at + step])
                if pace_s and not (until and until.is_set()):
                    await asyncio.sleep(pace_s)
            counts[0] += size
            if until is None or until.is_set():
                break
        channel.close()

    sending = asyncio.ensure_future(send())
    try:
        while part := await channel.read(1 << 16):
            received.update(part)
            counts[1] += len(part)
        await sending
    finally:
        sending.cancel()
    assert counts[0] == counts[1] >= size, f"{counts[1]} of {counts[0]} bytes came back"
    assert received.digest() == sent.digest(), "other bytes came back"


async def path_becomes(connection: Any, wanted: set[str], timeout_s: float = 60) -> float:
    """Wait until data go on such a path; return the seconds that took, or raise TimeoutError with the path."""
    started = time.monotonic()
    while connection.path["kind"] not in wanted:
        if time.monotonic() - started > timeout_s or connection.closed is not None:
            raise TimeoutError(f"the path is {connection.path}, not {wanted}; closed: {connection.closed}")
        await asyncio.sleep(0.005)
    return time.monotonic() - started


def relay_in_use(connection: Any) -> str | None:
    """Return the IP of the relay that a connection's data go through, None when there is none."""
    active = connection.session.paths.active
    return active.addr[0] if active is not None and active.kind == RELAY else None
