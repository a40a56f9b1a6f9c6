"""The agent with an application that takes all memory but so many bytes, on the chip's scale, and a service."""

import asyncio
import gc

from board import HEAP_LIMIT

from device.api import Device
from device.loader import drop_all

_CHIP_LIMIT = 114688
_GARBAGE = 4096  # what the firmware keeps free for it
held = []
device = Device()


def free_bytes():
    """Return what the firmware still lets begin."""
    return _CHIP_LIMIT - _GARBAGE - gc.mem_alloc() * 64 // (HEAP_LIMIT * 64 // _CHIP_LIMIT)


@device.command("leave")
def leave(connection, data):
    held.clear()
    drop_all()
    while free_bytes() > int(data):
        held.append(bytearray(256))
    return b"%d" % free_bytes()


@device.command("take")
def take(connection, data):
    held.append(bytearray(int(data) * HEAP_LIMIT // _CHIP_LIMIT))


@device.service("mirror")
async def mirror(channel):
    while True:
        await channel.write(await channel.readexactly(1))


async def main():
    await device.start()
    while True:
        await asyncio.sleep(3600)


asyncio.run(main())
