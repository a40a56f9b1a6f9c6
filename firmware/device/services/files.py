"""Files of the device below one folder: get, store, list and remove, each with SHA-256 (protocol, chapter 9.3).

One request a stream: a line `GET path`, `STORE size path`, `LIST path` or `DEL path`. Answers begin with `OK ...` or
`ERR code text`; codes are errno numbers. A file that is stored takes its name only once its hash matches, so there
must be room for it beside the one that it replaces: that is looked at before a byte is sent.
"""

import asyncio
import os
from binascii import hexlify
from hashlib import sha256

from upeer.base.compat import const

ROOT = "/files"
MOUNT = "/"  # of the file system that ROOT is on
_SIZE = const(1024)
_PART = ".part"
_EIO = const(5)
_EPERM = const(1)
_ENOSPC = const(28)
_EINVAL = const(22)
_FOLDER = const(0x4000)
_GUEST = const(2)
_ALL = const(0x1FFFFFFF)  # bytes that no file system here has


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


async def _folders(path: str) -> int:
    """Return the number of folders below a path; other file systems that are mounted there have no fourth field."""
    count = 0
    for entry in os.ilistdir(path):
        if entry[1] == _FOLDER and len(entry) > 3:
            count += 1 + await _folders(path.rstrip("/") + "/" + entry[0])
        await asyncio.sleep(0)  # an entry takes some 40 reads of the flash
    return count


async def room(size: int, path: str) -> tuple:
    """Return (bytes of flash that a new file needs, bytes free, bytes in all).

    Of each block 8 bytes are LittleFS's; entries take two more blocks, and so does each folder. VfsLfs2 counts folders
    twice: what is free is more than it says, which is looked at only if it does not say enough.
    """
    _make_folders(ROOT + "/")
    stat = os.statvfs(ROOT)
    block = stat[1]
    needed = (size // (block - 8) + 2 * path[len(ROOT) :].count("/") + 1) * block
    free = stat[3] - (1 << 32 if stat[3] > stat[2] else 0)
    if needed > free * block:
        free += 2 * await _folders(MOUNT)
    return needed, max(0, free) * block, stat[2] * block


async def _store(channel, path: str, size: int) -> None:
    if size < 0:
        raise ValueError("bad size")
    needed, free, _ = await room(size, path)
    if needed > free:
        return await channel.write(b"ERR %d %d %d\n" % (_ENOSPC, needed, free))
    await channel.write(b"OK\n")
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
    await channel.write(b"OK %d %d\n" % (await room(_ALL, ROOT))[1:])
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
    if verb in ("STORE", "DEL") and channel.connection.role >= _GUEST:
        raise OSError(_EPERM)
    if verb == "GET":
        await _get(channel, path_of(rest))
    elif verb == "STORE":
        size, name = rest.split(" ", 1)
        await _store(channel, path_of(name), int(size))
    elif verb == "LIST":
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
