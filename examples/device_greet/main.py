"""A device with one service of its own: send it a line, it greets. As in the README.

Build it into an image: `upeer image build --board UNIX --out board1 --app examples/device_greet ...`.
"""

import asyncio

from device.api import Device

device = Device()


@device.service("greet")  # clients open it by this name
async def greet(channel):
    name = await channel.readline()
    await channel.write(b"hello " + name)
    channel.close()


async def main():
    await device.start()  # Wi-Fi, login, keep-alive: all in the background
    while True:
        connection = await device.accept()
        print("a client came over", connection.path())


asyncio.run(main())
