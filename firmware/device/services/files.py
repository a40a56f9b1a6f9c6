"""Files of the device below one folder: get, put, list and remove, each with SHA-256.

One request a stream: a line `GET path`, `PUT size path`, `LIST path` or `DEL path`. Answers begin with `OK ...` or
`ERR code text`. GET: `OK size`, the bytes, then their hash in hex as a last line. PUT: the bytes and a hash line
follow the request; the file takes its name only once the hash matches. LIST: lines `hash size path`. Codes are errno
numbers, 5 (EIO) for a wrong hash.
"""

import os
from binascii import hexlify
from hashlib import sha256

from upeer.base.compat import const

ROOT = "/files"
_SIZE = const(1024)
_PART = ".part"
_EIO = const(5)
_EPERM = const(1)
_EINVAL = const(22)
_FOLDER = const(0x4000)
_GUEST = const(2)


def path_of(name: str) -> str:
    """Return the path below ROOT; ValueError for one that leads out of it."""
    parts = [part for part in name.split("/") if part]
    if ".." in parts or "." in parts or name.endswith(_PART):
        raise ValueError("bad path")
    return "/".join([ROOT] + parts)


def _make_folders(path: str) -> None:
    at = path.find("/", 1)
    while at > 0:
        try:
            os.mkdir(path[:at])
        except OSError:
            pass  # it is there
        at = path.find("/", at + 1)


def _remove(path: str) -> None:
    try:
        os.remove(path)
    except OSError:
        pass  # nothing to remove


def remove_parts(folder: str = ROOT) -> None:
    """Remove what interrupted uploads left behind, at the start when none is under way."""
    try:
        entries = list(os.ilistdir(folder))
    except OSError:
        return  # no file was ever put here
    for entry in entries:
        path = folder + "/" + entry[0]
        if entry[1] == _FOLDER:
            remove_parts(path)
        elif path.endswith(_PART):
            _remove(path)


async def _get(channel, path: str) -> None:
    buf = bytearray(_SIZE)
    view = memoryview(buf)
    digest = sha256()
    with open(path, "rb") as file:
        await channel.write(b"OK %d\n" % os.stat(path)[6])
        while True:
            size = file.readinto(buf)
            if not size:
                break
            digest.update(view[:size])
            await channel.write(view[:size])
    await channel.write(hexlify(digest.digest()) + b"\n")


async def _receive(channel, file, left: int) -> bytes:
    """Copy `left` bytes of the channel into a file; return their hash in hex."""
    buf = bytearray(_SIZE)
    view = memoryview(buf)
    digest = sha256()
    while left:
        size = await channel.readinto(view[: min(left, _SIZE)])
        if not size:
            raise OSError(_EIO)
        digest.update(view[:size])
        file.write(view[:size])
        left -= size
    return hexlify(digest.digest())


async def _put(channel, path: str, size: int) -> None:
    _make_folders(path)
    part = path + _PART
    try:
        with open(part, "wb") as file:
            digest = await _receive(channel, file, size)
        if (await channel.readline()).strip() != digest:
            raise OSError(_EIO)
        os.rename(part, path)
    finally:
        _remove(part)
    await channel.write(b"OK " + digest + b"\n")


def _hash(path: str) -> bytes:
    buf = bytearray(_SIZE)
    view = memoryview(buf)
    digest = sha256()
    with open(path, "rb") as file:
        while True:
            size = file.readinto(buf)
            if not size:
                return hexlify(digest.digest())
            digest.update(view[:size])


async def _list(channel, path: str) -> None:
    await channel.write(b"OK\n")
    folders = [path]
    while folders:
        folder = folders.pop()
        for entry in os.ilistdir(folder):
            inner = folder + "/" + entry[0]
            if entry[1] == _FOLDER:
                folders.append(inner)
            elif not inner.endswith(_PART):
                line = b"%s %d %s\n" % (_hash(inner), os.stat(inner)[6], inner[len(ROOT) + 1 :].encode())
                await channel.write(line)


async def _handle(channel, line: str) -> None:
    verb, rest = (line.split(" ", 1) + [""])[:2]
    if verb in ("PUT", "DEL") and channel.connection.role >= _GUEST:
        raise OSError(_EPERM)
    if verb == "GET":
        await _get(channel, path_of(rest))
    elif verb == "PUT":
        size, name = rest.split(" ", 1)
        await _put(channel, path_of(name), int(size))
    elif verb == "LIST":
        _make_folders(ROOT + "/")
        await _list(channel, path_of(rest))
    elif verb == "DEL":
        os.remove(path_of(rest))
        await channel.write(b"OK\n")
    else:
        raise ValueError("unknown request")


async def serve(channel) -> None:
    """Serve one request."""
    try:
        await _handle(channel, (await channel.readline()).decode().strip())
    except OSError as error:
        await channel.write(b"ERR %d file error\n" % (error.errno or _EIO))
    except ValueError as error:
        await channel.write(b"ERR %d %s\n" % (_EINVAL, str(error).encode()))
    channel.close()
