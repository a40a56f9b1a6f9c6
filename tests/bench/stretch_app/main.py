"""The plain agent, every step of its loop counted."""

import asyncio

import probe

from device.api import Device

device = Device()


async def main():
    await device.start()
    while True:
        await asyncio.sleep(3600)


probe.install()
asyncio.run(main())
