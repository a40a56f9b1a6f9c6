"""The device's file service from the client's side: get, put, list (firmware/device/services/files.py).

One request a stream. A file that arrives has its name only once its hash is right; nothing is left behind otherwise.
"""

import asyncio
import errno
import hashlib
import os
import re
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upeer.base.errors import ProtocolError
from upeer_client import errors
from upeer_client.connection import Connection, is_lost

SERVICE = "files"

_CHUNK = 1 << 18
_SIZE = re.compile(r"[0-9]{1,15}")
_ERRNO = re.compile(r"[0-9]{1,4}")
_DAMAGED = errno.EIO  # the device's word for a wrong hash
_MAX_LINE = 1024

Counter = Callable[[int], None]


@dataclass(frozen=True)
class Entry:
    """A file on the device: SHA-256 in hex, size in bytes, path."""

    hash: str
    size: int
    path: str


@dataclass(frozen=True)
class Listing:
    """Files by path, and the file system's bytes: free and in all; None from firmware that does not tell them."""

    entries: list[Entry]
    free: int | None = None
    size: int | None = None


async def get(
    connection: Connection, path: str, target: Path, progress: Counter | None = None, on_size: Counter | None = None
) -> Entry:
    """Copy a file of the device to target, which is replaced as a whole; return what was copied.

    on_size is told the size at the start, progress the count of bytes of every piece.
    """
    reader = await _request(connection, f"GET {path}", True)
    scratch = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        size = _numbers(await reader.answer(), 1, path)[0]
        if on_size is not None:
            on_size(size)
        with scratch.open("wb") as file:
            digest = await _receive(reader, file, size, progress)
        if (await reader.line()).strip() != digest:
            raise errors.DamagedData(f"{path} arrived damaged: its hash is wrong")
        await reader.end()
        os.replace(scratch, target)
    except BaseException:
        scratch.unlink(missing_ok=True)
        reader.give_up()
        raise
    return Entry(digest, size, path)


async def put(connection: Connection, source: Path, path: str, progress: Counter | None = None) -> Entry:
    """Copy a file to the device, once that has said that it has room; return what was copied."""
    size = source.stat().st_size
    with source.open("rb") as file:
        reader = await _request(connection, f"STORE {size} {path}", False)
        try:
            await _go_ahead(reader)
            digest, answer = await _sent(reader, _send(reader, file, size, progress))
            await reader.end()
        except BaseException:
            reader.give_up()
            raise
    if answer != [digest]:
        raise errors.DamagedData(f"{path} is damaged on the device: its hash is wrong")
    return Entry(digest, size, path)


async def list_files(connection: Connection, path: str = "") -> Listing:
    """Return the files below a folder of the device, by path, and how much room there is."""
    reader = await _request(connection, f"LIST {path}".strip(), True)
    words = await reader.answer()
    room = _numbers(words, 2, "its list of files") if words else []
    entries = []
    async for line in reader.lines():
        fields = line.split(" ", 2)
        if len(fields) != 3:
            raise errors.DamagedData("the device's list of files is damaged")
        entries.append(Entry(fields[0], _numbers(fields[1:2], 1, "its list of files")[0], fields[2]))
    return Listing(sorted(entries, key=lambda entry: entry.path), *room)


async def with_retries(connect: Callable[[], Any], action: Callable[[Connection], Any], delays: list[float]) -> Any:
    """Run action on a connection; when that is lost, connect anew after each of the delays (s) and run it again."""
    is_first = True
    for delay in [*delays, None]:
        connection = None
        try:
            connection = await connect()
            result = await action(connection)
            await connection.close()
            return result
        except (errors.ClientError, ProtocolError) as error:
            is_new = connection is None and is_first  # then it was never there
            is_gone = is_lost(error) or isinstance(error, errors.CannotReach | errors.NoAnswer)
            if connection is not None:
                connection.abort()
            if delay is None or is_new or not is_gone:
                raise
            is_first = False
        except BaseException:
            if connection is not None:
                connection.abort()
            raise
        await asyncio.sleep(delay)
    raise AssertionError("not reached")


class _Reader:
    """Lines and bytes of a channel, read in large pieces."""

    def __init__(self, channel: Any, name: str) -> None:
        self.channel = channel
        self._name = name
        self._held = b""

    async def take(self, size: int) -> bytes:
        """Return up to size bytes; DamagedData at the end."""
        if self._held:
            data, self._held = self._held[:size], self._held[size:]
            return data
        data = await self._more(size)
        if not data:
            raise errors.DamagedData(f"the device ended {self._name} too early")
        return data

    async def line(self) -> str:
        """Return the next line without its end; DamagedData when there is none."""
        while b"\n" not in self._held:
            data = await self._more(_CHUNK) if len(self._held) < _MAX_LINE else b""
            if not data:
                raise errors.DamagedData(f"the device ended {self._name} too early")
            self._held += data
        line, _, self._held = self._held.partition(b"\n")
        return line.decode(errors="replace")

    async def lines(self) -> AsyncIterator[str]:
        """Yield lines up to the end."""
        while self._held or await self._fill():
            yield await self.line()

    async def answer(self) -> list[str]:
        """Return the words behind OK; FileRefused, DamagedData."""
        word, *rest = (await self.line()).split(" ")
        if word == "OK":
            return rest
        raise _refusal(self._name, rest)

    async def end(self) -> None:
        """Wait for the end of the stream, so that its channel serves again; DamagedData when more comes."""
        if self._held or await self._more(1):
            raise errors.DamagedData(f"the device sent more than {self._name}")

    def give_up(self) -> None:
        """Drop the stream, unless the connection is gone anyway."""
        if self.channel.connection.closed is None:
            self.channel.reset()

    async def _fill(self) -> bool:
        self._held = await self._more(_CHUNK)
        return bool(self._held)

    async def _more(self, size: int) -> bytes:
        data: bytes = await self.channel.read(size)
        return data


def _numbers(words: list[str], count: int, name: str) -> list[int]:
    """Return the sizes that a device tells, so many of them; DamagedData for other words."""
    if len(words) != count or not all(_SIZE.fullmatch(word) for word in words):
        raise errors.DamagedData(f"what the device says of {name} is damaged")
    return [int(word) for word in words]


def _refusal(name: str, words: list[str]) -> errors.ClientError:
    """Return the error of a device's words behind ERR: a number, and a text or what a file needs and what is free."""
    number = int(words[0]) if words and _ERRNO.fullmatch(words[0]) else 0
    text = " ".join(words[1:])
    if number == _DAMAGED:
        return errors.DamagedData(f"the device got {name} damaged, or its disk failed")
    if text == "unknown request":
        hint = "its firmware is of another version: update it, or use the upeer of its version"
        error = errors.FileRefused(f"the device does not know what is asked of it for {name}", hint)
    elif number == errno.ENOSPC:
        error = errors.DeviceFull(_no_room(name, [int(word) for word in words[1:] if _SIZE.fullmatch(word)]))
    else:
        why = os.strerror(number).lower() if number else text
        error = errors.FileRefused(f"the device refuses {name}: {why}", "see 'upeer ls' for its files")
    error.number = number
    return error


def _no_room(name: str, sizes: list[int]) -> str:
    if len(sizes) != 2:
        return f"the device refuses {name}: its file system became full"
    needed, free = -(-sizes[0] // 1024), sizes[1] // 1024
    return f"the device refuses {name}: needs {needed} KiB, {free} KiB are free on the device"


async def _go_ahead(reader: _Reader) -> None:
    """Wait for the device's OK to a file; a refusal ends both directions in good order: the channel serves again."""
    try:
        await reader.answer()
    except errors.FileRefused:
        reader.channel.close()
        await reader.end()
        raise


async def _sent(reader: _Reader, sending: Coroutine[Any, Any, str]) -> tuple[str, list[str]]:
    """Send and return (hash, the device's answer); one that comes early is a refusal, and ends the sending."""
    work, answer = asyncio.ensure_future(sending), asyncio.ensure_future(reader.answer())
    try:
        await asyncio.wait({work, answer}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            answer.result()
        return await work, await answer
    finally:
        for task in (work, answer):
            task.cancel()
        await asyncio.gather(work, answer, return_exceptions=True)


async def _request(connection: Connection, line: str, is_all: bool) -> _Reader:
    if "\n" in line:
        raise errors.UsageError("a path on the device has no line break")
    channel = await connection.open(SERVICE, 1)
    await channel.write(line.encode() + b"\n")
    if is_all:
        channel.close()
    return _Reader(channel, line.split(" ")[-1])


async def _receive(reader: _Reader, file: Any, size: int, progress: Counter | None) -> str:
    digest = hashlib.sha256()
    while size:
        data = await reader.take(min(size, _CHUNK))
        digest.update(data)
        file.write(data)
        size -= len(data)
        if progress is not None:
            progress(len(data))
    return digest.hexdigest()


async def _send(reader: _Reader, file: Any, size: int, progress: Counter | None) -> str:
    digest = hashlib.sha256()
    while size:
        data = file.read(min(size, _CHUNK))
        if not data:
            raise errors.FileRefused("the file became shorter while it was read", "run the command again")
        digest.update(data)
        await reader.channel.write(data)
        size -= len(data)
        if progress is not None:
            progress(len(data))
    await reader.channel.write(digest.hexdigest().encode() + b"\n")
    reader.channel.close()
    return digest.hexdigest()
