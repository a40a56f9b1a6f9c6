"""The client without asyncio: the same calls, with a time-out in seconds each, for scripts and threads.

    with blocking.Client() as client, client.connect("ABCD-123456-GHKLM") as device:
        channel = device.open("echo", 1)
        channel.write(b"hello", timeout=5)
        print(channel.read(100, timeout=5))

An event loop runs in a thread of its own; all objects may be used from any thread, one call at a time each.
"""

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from upeer import aio
from upeer_client import client as asynchronous
from upeer_client import errors
from upeer_client.config import Config
from upeer_client.connection import Connection as AsyncConnection
from upeer_client.netcheck import Report
from upeer_client.store import Pair, PairStore

_Result = TypeVar("_Result")

TIMEOUT_S = asynchronous.TIMEOUT_S


class Client:
    """Connections to the devices of one platform; arguments as those of `upeer_client.Client`."""

    def __init__(self, config: Config | Path | str | None = None, home: Path | None = None) -> None:
        self._client = asynchronous.Client(config, home)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="upeer client", daemon=True)

    def __enter__(self) -> "Client":
        self._thread.start()
        try:
            self.run(self._client.__aenter__(), None)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        try:
            self.run(self._client.close(), None)
        finally:
            self._stop()

    @property
    def pairs(self) -> PairStore:
        """The devices this client is paired with."""
        return self._client.pairs

    def connect(self, name: str, mode: str = "all", timeout: float = TIMEOUT_S) -> "Connection":
        """Connect to a paired device."""
        return Connection(self, self.run(self._client.connect(name, mode, timeout), None))

    def pair(self, did: str, setup_code: str, name: str = "", timeout: float = TIMEOUT_S) -> Pair:
        """Pair with a device by its setup code."""
        return self.run(self._client.pair(did, setup_code, name, timeout=timeout), None)

    def netcheck(self, timeout: float = 3.0) -> Report:
        """Ask every master for an answer and for our address as it sees it."""
        return self.run(self._client.netcheck(timeout), None)

    def run(self, call: Coroutine[Any, Any, _Result], timeout: float | None) -> _Result:
        """Run a coroutine of the client's loop to its end; TimedOut after timeout s, None for never."""
        future = asyncio.run_coroutine_threadsafe(_limited(call, timeout), self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def call(self, function: Any, *arguments: Any) -> Any:
        """Call a plain function in the client's loop."""

        async def run() -> Any:
            return function(*arguments)

        return self.run(run(), None)

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Connection:
    """A session with a device; `asynchronous` is the same for asyncio."""

    def __init__(self, client: Client, connection: AsyncConnection) -> None:
        self.asynchronous = connection
        self._client = client

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, kind: object, _error: object, _trace: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def channel(self, number: int) -> "Channel":
        """Return the live stream of a channel, 0 to 7."""
        return Channel(self._client, self._client.call(self.asynchronous.channel, number))

    def open(self, service: str, number: int = 0, timeout: float = TIMEOUT_S) -> "Channel":
        """Bind a service of the device to a channel and return it."""
        return Channel(self._client, self._client.run(self.asynchronous.open(service, number), timeout))

    def command(self, name: str, data: bytes = b"", timeout: float = TIMEOUT_S) -> tuple[int, bytes]:
        """Send one command of at most 1000 bytes; return (status, answer)."""
        status, answer = self._client.run(self.asynchronous.command(name, data), timeout)
        return status, bytes(answer)

    def send_packet(self, number: int, data: bytes) -> bool:
        """Send one unreliable packet; False when the queue is full."""
        return bool(self._client.call(self.asynchronous.send_packet, number, data))

    def recv_packet(self, timeout: float = TIMEOUT_S) -> tuple[int, bytes]:
        """Wait for the next unreliable packet; return (channel, data)."""
        number, data = self._client.run(self.asynchronous.recv_packet(), timeout)
        return number, bytes(data)

    def check_buffer(self, number: int) -> tuple[int, int]:
        """Return (bytes not yet acknowledged, bytes readable) of a channel."""
        unacked, readable = self._client.call(self.asynchronous.check_buffer, number)
        return unacked, readable

    @property
    def path(self) -> dict[str, Any]:
        """How datagrams go now."""
        return dict(self._client.call(lambda: self.asynchronous.path))

    def stats(self) -> dict[str, Any]:
        """Return path, times and counters."""
        return dict(self._client.call(self.asynchronous.stats))

    def close(self, timeout: float = 5.0) -> None:
        """Close once the device has all that was written."""
        self._client.run(self.asynchronous.close(timeout=timeout), None)

    def abort(self) -> None:
        """Close now and drop what is not delivered."""
        self._client.call(self.asynchronous.abort)


class Channel:
    """A two-way byte stream. A read that times out raises TimedOut; what it had is in `partial`, and not lost."""

    def __init__(self, client: Client, channel: aio.Channel) -> None:
        self._client = client
        self._channel = channel

    def read(self, size: int, timeout: float = TIMEOUT_S) -> bytes:
        """Read at least one and up to size bytes; b"" at the end of the peer's data."""
        return bytes(self._client.run(self._channel.read(size), timeout))

    def readexactly(self, size: int, timeout: float = TIMEOUT_S) -> bytes:
        """Read size bytes; EOFError when the peer ends before, TimedOut with `partial` when they do not all come."""
        got = bytearray()
        try:
            self._client.run(self._fill(got, size), timeout)
        except errors.TimedOut as error:
            error.partial = bytes(got)
            raise
        return bytes(got)

    def readline(self, timeout: float = TIMEOUT_S) -> bytes:
        """Read up to and with the next newline; EOFError when there is none."""
        return bytes(self._client.run(self._channel.readline(), timeout))

    def write(self, data: bytes, timeout: float = TIMEOUT_S) -> None:
        """Write all of data; TimedOut when the device does not take it in time (a part may have gone)."""
        self._client.run(self._channel.write(data), timeout)

    def drain(self, timeout: float = TIMEOUT_S) -> None:
        """Wait until the device has acknowledged everything that was written."""
        self._client.run(self._channel.drain(), timeout)

    def close(self) -> None:
        """End our direction; what was written still arrives."""
        self._client.call(self._channel.close)

    def reset(self) -> None:
        """Give the stream up in both directions."""
        self._client.call(self._channel.reset)

    async def _fill(self, got: bytearray, size: int) -> None:
        while len(got) < size:
            part = await self._channel.read(size - len(got))
            if not part:
                raise EOFError
            got += part


async def _limited(call: Coroutine[Any, Any, _Result], timeout: float | None) -> _Result:
    limit = asyncio.timeout(timeout)
    try:
        async with limit:
            return await call
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise errors.TimedOut(f"nothing within {timeout:g} s") from error
