"""The line's own server, for the self-test of one board: a master and a p2p server at one UDP port, and a client.

    with LineServer(place, licence, nonce) as line:   # the board logs in at line.address, the client reaches it
        answer = target.selftest(...)
        line.check(answer's row "loop")
It lives as long as the board's test, knows that board's licence only, and is of no platform; the board stores nothing
of it. The pair key is made of the licence key and the nonce, as the board makes it (firmware/device/loop.py).
A busy station is slow, and that is no fault of the board: the client begins sessions until a stream came back whole,
and no time ends that before the board's own patience does.
"""

import asyncio
import contextlib
import hashlib
import ipaddress
import secrets
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any

from upeer.base.clock import ticks_ms
from upeer.crypto.aead import derive
from upeer.crypto.x25519 import public_key
from upeer.signalling.login import login_key
from upeer_client import Client, ClientError, Config, Pair
from upeer_client.config import Master
from upeer_factory.errors import LINE_SERVER, FactoryError
from upeer_factory.pool.pool import Reserved
from upeer_server.config import Generation, MasterConfig, NodeConfig, ServerEntry
from upeer_server.node import Node
from upeer_server.pump import Pump, open_udp

CLIENT_ID = b"factory\0"
PORTS = 64
_MASTER = 1
_SIZE = 16384
_BLOCK = 1024
_ATTEMPT_S = 10.0
_SLOWEST_ATTEMPT_S = 40.0
_SILENCE_S = 10.0  # of a stream
_GOODBYE_S = 30.0
WHOLE = "whole"
_TICK_S = 0.02
_AGAIN_S = 0.2


@dataclass(frozen=True)
class Place:
    """Where boards find the station: its IPv4 address in the line's network; of `port` on the first free of 64 is used,
    of 0 any.
    """

    host: str
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Read "IP" or "IP:PORT"; ValueError with one line."""
        host, _, port = text.partition(":")
        try:
            address = ipaddress.IPv4Address(host)
            number = int(port or 0)
        except ValueError:
            raise ValueError(f"{text!r} is no address: write IP or IP:PORT, as boards see this station") from None
        if address.is_unspecified or not 0 <= number <= 0xFFFF - PORTS:
            raise ValueError(f"{text!r}: boards need an address of this station, and a port up to {0xFFFF - PORTS}")
        return cls(str(address), number)


class LineServer:
    """Serves one board and reaches it. `address` is [IP, port] for the board."""

    def __init__(self, place: Place, licence: Reserved, nonce: bytes) -> None:
        self._udp = _open(place)
        self.address: list[Any] = [place.host, self._udp.getsockname()[1]]
        self._licence = licence
        self._key = derive(licence.licence_key, b"factory loop", nonce)
        self._private = secrets.token_bytes(32)
        self._data = secrets.token_bytes(_SIZE)
        self._failure = "the board did not come"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="line server", daemon=True)

    def __enter__(self) -> "LineServer":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def check(self, row: tuple[bool, Any] | None) -> str:
        """Return "" if the board's row tells of just the bytes that came back here, else what went wrong."""
        if row is None or not row[0]:
            return f"the board says: {row[1]}" if row else "the board did not try"
        if self._failure:
            return f"the station says: {self._failure}"
        count, digest, _path = row[1]
        if (count, digest) != (_SIZE, hashlib.sha256(self._data).hexdigest()):
            return "the board and the station tell of different bytes"
        return ""

    # -- in the thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except (ClientError, OSError) as error:
            self._failure = str(error) or self._failure

    async def _serve(self) -> None:
        node = Node(self._node_config(), ticks_ms(), secrets.token_bytes, time.time)
        pump = Pump(self._udp, node, lambda _event, **_fields: None)
        pump.start()
        work: asyncio.Task[None] | None = None
        try:
            while not self._stop.is_set():
                await asyncio.sleep(_TICK_S)
                if work is None and _has_board(node):
                    work = asyncio.create_task(self._reach(node))
                elif work is not None and work.done():
                    work.result()
        finally:
            if work is not None:
                work.cancel()
                with contextlib.suppress(asyncio.CancelledError, ClientError, OSError):
                    await work
            pump.stop()

    async def _reach(self, node: Node) -> None:
        """Hold a session with the board, which has logged in; another one for as long as none went well."""
        host, port = self.address
        master = Master(_MASTER, host, port, public_key(self._private))
        config = Config(self._licence.record["key_id"], self._licence.record["p2p_key"], (master,))
        attempt_s = _ATTEMPT_S
        while self._failure:
            try:
                async with Client(config) as client:
                    await self._hold_session(node, client, attempt_s)
            except (ClientError, OSError):
                await asyncio.sleep(_AGAIN_S)  # it has just logged in: its lookup tokens may come a moment later
            attempt_s = min(2 * attempt_s, _SLOWEST_ATTEMPT_S)

    async def _hold_session(self, node: Node, client: Client, attempt_s: float) -> None:
        self._failure = "the session did not come about"
        pair = Pair(self._licence.did, CLIENT_ID, self._key, "owner")
        async with await client.connect_pair(pair, "direct", attempt_s) as connection:
            self._failure = "the stream did not come back whole"
            if await self._stream(connection.channel(0)) == self._data:
                reached = node.p2p is not None and node.p2p.answers
                self._failure = "" if reached else "the board was reached, but not through the server"
                await connection.close(reason=WHOLE, timeout=_GOODBYE_S)

    async def _stream(self, channel: Any) -> bytes:
        """Send the data, and return what comes back; TimeoutError once nothing comes any more."""
        came = bytearray()
        writer = asyncio.create_task(channel.write(self._data))
        writer.add_done_callback(lambda task: task.cancelled() or task.exception() or channel.close())
        try:
            while True:
                async with asyncio.timeout(_SILENCE_S):
                    part = await channel.read(_BLOCK)
                if not part:
                    return bytes(came)
                came += part
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    def _node_config(self) -> NodeConfig:
        record = self._licence.record
        host, port = self.address
        generation = Generation(record["key_id"], record["crc_key"], record["p2p_key"])
        p2p = ServerEntry("p2p", 1, host, port, secrets.token_bytes(32))
        master = MasterConfig(_MASTER, self._private, _OneBoard(self._licence), [p2p], [])
        return NodeConfig(host, port, [generation], secrets.token_bytes(32), master, p2p)


def _has_board(node: Node) -> bool:
    """Tell whether the board is logged in at both servers."""
    return all(role is not None and role.online() for role in (node.master, node.p2p))


class _OneBoard:
    """The verifiers of a master that lets one board in."""

    def __init__(self, licence: Reserved) -> None:
        record = licence.record
        self._did, self._key_id = licence.did, record["key_id"]
        self._key = login_key(licence.licence_key, record["crc_key"], licence.did, _MASTER)
        self._epoch = 0

    def login_key(self, did: str, key_id: int) -> bytes | None:
        return self._key if (did, key_id) == (self._did, self._key_id) else None

    def last_epoch(self, did: str) -> int:
        return self._epoch if did == self._did else 0

    def set_epoch(self, did: str, epoch: int) -> None:
        self._epoch = epoch

    def revoke(self, did: str) -> None:
        self._did = ""

    def close(self) -> None:
        pass


def _open(place: Place) -> socket.socket:
    """Return a socket on all of the station's addresses; FactoryError if none of the ports is free."""
    for port in range(place.port, place.port + PORTS) if place.port else (0,):
        with contextlib.suppress(OSError):
            return open_udp("0.0.0.0", port)
    last = place.port + PORTS - 1
    raise FactoryError(LINE_SERVER, f"UDP ports {place.port} to {last} of this station are all taken")
