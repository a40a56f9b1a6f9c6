"""The agent with two commands that tell tests about its heap: what is loaded, how much is in use."""

import asyncio
import gc
import sys

from device.api import Device

device = Device()


@device.command("modules")
def modules(connection, data):
    return " ".join([name for name in sys.modules if name.startswith(("upeer.", "device."))]).encode()


@device.command("heap")
def heap(connection, data):
    from device.loader import drop_all

    drop_all()
    return b"%d" % gc.mem_alloc()


@device.service("raise")
async def fail(channel):
    await channel.readline()
    raise ValueError("planted")


async def main():
    await device.start()
    while True:
        await asyncio.sleep(3600)


try:
    asyncio.run(main())
finally:
    device.release()
