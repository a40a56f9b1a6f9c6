"""`upeer connect`: stdin into a channel, the channel into stdout, each direction until it ends."""

import asyncio
import os
import sys
import threading
from typing import Any

_CHUNK = 1 << 16
_AHEAD = 8  # pieces of stdin read before the channel took them


async def pipe(channel: Any) -> None:
    """Carry bytes both ways; the end of stdin ends our direction, the device's end ends it all."""
    feeding = asyncio.create_task(_feed(channel))
    try:
        while data := await channel.read(_CHUNK):
            await asyncio.to_thread(_write_all, data)
    finally:
        feeding.cancel()


async def _feed(channel: Any) -> None:
    """Copy stdin; a thread reads it, for any kind of file may be there, and it must not hold up the end."""
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[bytes] = asyncio.Queue()
    room = threading.Semaphore(_AHEAD)

    def read() -> None:
        while room.acquire():
            try:
                data = os.read(sys.stdin.fileno(), _CHUNK)
            except OSError:
                data = b""
            try:
                loop.call_soon_threadsafe(pieces.put_nowait, data)
            except RuntimeError:  # the loop is closed: nobody wants it any more
                return
            if not data:
                return

    threading.Thread(target=read, daemon=True).start()
    while data := await pieces.get():
        await channel.write(data)
        room.release()
    channel.close()


def _write_all(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(sys.stdout.fileno(), view) :]
