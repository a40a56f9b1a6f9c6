"""The admin listener of a serving process and the question to it: TCP, on loopback unless told otherwise.

    server: nonce[16]                    at once, fresh for every connection
    client: length[4] nonce[16] sealed   the request, key derive(admin key, "admin request", server nonce, client nonce)
    server: length[4] sealed             the answer, key derive(admin key, "admin answer", server nonce, client nonce)
Requests and answers are JSON objects. Both sides prove the admin key, and nothing recorded serves again. A connection
that cannot prove it is closed without a word. One request per connection.
"""

import asyncio
import json
import secrets
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from upeer.base.errors import CryptoError
from upeer.crypto.aead import Aead, derive

NONCE_SIZE = 16
MAX_REQUEST = 65536
MAX_ANSWER = 64 << 20
_MAX_CONNECTIONS = 16
_REQUEST_TIME_OUT_S = 5.0

Handler = Callable[[dict[str, Any]], dict[str, Any]]


class AdminError(Exception):
    """A request got no answer, or the answer says that it failed; `reached` tells the two apart."""

    def __init__(self, message: str, reached: bool = False) -> None:
        super().__init__(message)
        self.reached = reached


class AdminListener:
    """Takes sealed requests and hands them to handler, which returns the answer or raises ValueError with a reason."""

    def __init__(self, admin_key: bytes, handler: Handler, log: Callable[..., None]) -> None:
        self._key = admin_key
        self._handler = handler
        self._log = log
        self._server: asyncio.Server | None = None
        self._open = 0

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> tuple[str, int]:
        """Listen and return the (host, port) that was taken."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=MAX_REQUEST)
        address: tuple[str, int] = self._server.sockets[0].getsockname()[:2]
        return address

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= _MAX_CONNECTIONS:
                await asyncio.wait_for(self._exchange(reader, writer), _REQUEST_TIME_OUT_S)
        except (CryptoError, ValueError, OSError, TimeoutError, EOFError):
            self._log("admin refused", peer=str(writer.get_extra_info("peername")))
        finally:
            self._open -= 1
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_nonce = secrets.token_bytes(NONCE_SIZE)
        writer.write(server_nonce)
        size = int.from_bytes(await reader.readexactly(4), "big")
        if not NONCE_SIZE < size <= MAX_REQUEST:
            raise ValueError("size")
        body = await reader.readexactly(size)
        nonces = server_nonce, body[:NONCE_SIZE]
        request = json.loads(_aead(self._key, b"admin request", nonces).open(body[NONCE_SIZE:]))
        answer = json.dumps(self._answer(request)).encode()
        sealed = _aead(self._key, b"admin answer", nonces).seal(0, answer)
        writer.write(len(sealed).to_bytes(4, "big") + sealed)
        await writer.drain()

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"ok": True} | self._handler(request)
        except (ValueError, KeyError, TypeError) as error:
            return {"ok": False, "error": str(error)}


def ask(address: tuple[str, int], admin_key: bytes, request: dict[str, Any], timeout_s: float = 5.0) -> dict[str, Any]:
    """Send one request to a serving process and return its answer; AdminError says why there is none."""
    try:
        with socket.create_connection(address, timeout_s) as connection:
            answer = _exchange(connection, admin_key, request, time.monotonic() + timeout_s)
    except (OSError, EOFError, CryptoError, ValueError) as error:
        reason = "is not running" if isinstance(error, ConnectionRefusedError) else "gave no authentic answer"
        raise AdminError(reason) from error
    if not answer.pop("ok"):
        raise AdminError(f"refused: {answer['error']}", reached=True)
    return answer


def _exchange(connection: socket.socket, admin_key: bytes, request: dict[str, Any], deadline: float) -> dict[str, Any]:
    nonces = _receive(connection, NONCE_SIZE, deadline), secrets.token_bytes(NONCE_SIZE)
    body = nonces[1] + _aead(admin_key, b"admin request", nonces).seal(0, json.dumps(request).encode())
    connection.sendall(len(body).to_bytes(4, "big") + body)
    size = int.from_bytes(_receive(connection, 4, deadline), "big")
    if size > MAX_ANSWER:
        raise ValueError("size")
    answer: dict[str, Any] = json.loads(
        _aead(admin_key, b"admin answer", nonces).open(_receive(connection, size, deadline))
    )
    return answer


def _receive(connection: socket.socket, size: int, deadline: float) -> bytes:
    data = bytearray()
    while len(data) < size:
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        part = connection.recv(min(size - len(data), 1 << 20))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


def _aead(admin_key: bytes, label: bytes, nonces: tuple[bytes, bytes]) -> Aead:
    return Aead(derive(admin_key, label, *nonces))
