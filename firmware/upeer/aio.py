"""What an application holds of a session, for asyncio: Connection and Channel, the same on a device and on a client.

The one module of this package that knows asyncio (MicroPython's or CPython's); it does no IO: its owner's `flush` does.
"""

import asyncio

from upeer.base.errors import LocalError, RemoteError
from upeer.session.session import (
    EVENT_ANSWER,
    EVENT_CLOSED,
    EVENT_COMMAND,
)


class Channel:
    """One of the eight two-way byte streams of a connection. Bytes arrive once, in order, or the connection fails."""

    def __init__(self, connection: "Connection", number: int):
        self.connection = connection
        self.number = number
        self.stream = connection.session.stream(number)

    async def readinto(self, buf) -> int:
        """Read up to len(buf) bytes into buf; return the count, 0 at the end of the peer's data."""
        incoming = self.stream.incoming
        if incoming.ready == incoming.start:
            await self._arrival()
        count = incoming.read_into(buf)
        if self.connection.session.pending:  # the peer is to be told that there is room again
            self.connection.flush()
        return count

    async def read(self, size: int) -> bytes:
        """Read up to size bytes; b"" at the end of the peer's data."""
        incoming = self.stream.incoming
        if incoming.ready == incoming.start:
            await self._arrival()
        data = incoming.read(size)
        if self.connection.session.pending:
            self.connection.flush()
        return data

    async def readexactly(self, size: int) -> bytes:
        """Read size bytes; EOFError when the peer ends before."""
        data = b""
        while len(data) < size:
            part = await self.read(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    async def readline(self, limit: int = 256) -> bytes:
        """Read up to and with the next newline; EOFError when there is none within limit bytes."""
        line = b""
        while not line.endswith(b"\n"):
            part = await self.read(1)
            if not part or len(line) == limit:
                raise EOFError
            line += part
        return line

    async def _arrival(self) -> None:
        """Wait until something can be read, or never will; RemoteError when the peer gave the stream up."""
        stream = self.stream
        while not stream.readable:
            if stream.reset_code is not None:
                raise RemoteError(stream.reset_code, "the peer gave the stream up")
            if stream.finished_in:
                return
            await self.connection.wait()

    async def write(self, data) -> None:
        """Write all of data; returns when the session has taken it (it may still be on its way)."""
        stream = self.stream
        connection = self.connection
        done = stream.write(data)
        while done < len(data):
            connection.flush()
            await connection.wait()
            done += stream.write(data, done)
        connection.on_written(stream)

    async def drain(self) -> None:
        """Wait until the peer has acknowledged everything that was written."""
        while self.stream.unacked:
            await self.connection.wait()

    def close(self) -> None:
        """End our direction; what was written still arrives."""
        self.stream.finish()
        self.connection.flush()

    def reset(self, code: int = 8) -> None:
        """Give the stream up in both directions; what is not yet delivered is dropped."""
        self.stream.reset(code)
        self.stream.stop(code)
        self.connection.flush()


class Connection:
    """A session with a peer. Its owner hands it the session's events (`on_event`); `flush` sends what there is to send.

    `closed` is None, or (code, reason) once the session is over. `is_corked`: something written waits for a flush.
    """

    def __init__(self, session, flush, on_command=None):
        self.session = session
        self.flush = flush
        self.closed = None
        self.is_corked = False
        self._on_command = on_command
        self._event = asyncio.Event()
        self._answers = {}

    def on_written(self, stream) -> None:
        """Send what the application wrote to a stream."""
        self.flush()

    def on_change(self) -> None:
        """Wake those who wait: something came, went or is acknowledged."""
        self._event.set()

    def on_event(self, event) -> None:
        """Take one event of the session."""
        kind = event[0]
        if kind == EVENT_CLOSED:
            self.closed = event[1:]
        elif kind == EVENT_ANSWER:
            if event[1] in self._answers:
                self._answers[event[1]] = event[2:]
        elif kind == EVENT_COMMAND and self._on_command:
            self._on_command(self, event[1], event[2], event[3])
        self._event.set()

    async def changed(self) -> None:
        """Wait until something happened."""
        self._event.clear()
        if self.is_corked:
            self.is_corked = False
            self.flush()  # which may tell of something at once
        await self._event.wait()

    async def wait(self) -> None:
        """Wait until something happened; raises when the session is over: what came before can still be read."""
        if self.closed:
            raise self.failure()
        await self.changed()

    def failure(self) -> Exception:
        """Return what the calls of a session that is over raise."""
        return RemoteError(*self.closed)  # type: ignore[misc]

    def channel(self, number: int) -> Channel:
        """Return the live stream of channel 0..7; a finished one gives way to its next generation."""
        return Channel(self, number)

    async def command(self, name: str, data=b"") -> tuple:
        """Send one command of at most 1000 bytes; return (status, answer)."""
        request_id = self.session.command(name, data)
        self._answers[request_id] = None
        try:
            self.flush()
            while self._answers[request_id] is None:
                await self.wait()
            return self._answers[request_id]
        finally:
            del self._answers[request_id]

    async def free_channel(self, number: int) -> Channel:
        """Return the live stream of a channel as soon as the one before, which is finished, is acknowledged too."""
        stream = self.session.stream(number)
        while stream.fin and stream.finished_in:
            await self.wait()
            stream = self.session.stream(number)
        return self.channel(number)

    async def open(self, service: str, number: int) -> Channel:
        """Bind a service of the peer to channel `number`; LocalError when it has none of that name."""
        channel = await self.free_channel(number)
        status, answer = await self.command("open", bytes((number,)) + service.encode())
        if status:
            raise LocalError("the peer refused the service %s: %s" % (service, bytes(answer).decode()))
        return channel

    def send_packet(self, number: int, data) -> bool:
        """Send one unreliable packet on a channel; False when the queue is full."""
        done = self.session.send_datagram(number, data)
        self.flush()
        return done

    async def recv_packet(self) -> tuple:
        """Wait for the next unreliable packet; return (channel, data)."""
        while True:
            packet = self.session.recv_datagram()
            if packet:
                return packet
            await self.wait()

    def check_buffer(self, number: int) -> tuple:
        """Return (bytes not yet acknowledged, bytes readable) of a channel."""
        stream = self.session.stream(number)
        return stream.unacked, stream.readable

    def close(self, code: int = 0, reason: str = "") -> None:
        """Close once the peer has all that was written."""
        self.session.close(code, reason)
        self.flush()

    def abort(self, code: int = 0, reason: str = "") -> None:
        """Close now and drop what is not delivered."""
        self.session.abort(code, reason)
        self.flush()
