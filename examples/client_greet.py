"""Greets a device that was paired: `python examples/client_greet.py DID`."""

import asyncio
import sys

import upeer_client


async def main(did: str) -> None:
    async with upeer_client.Client() as client, await client.connect(did) as device:
        channel = await device.open("greet", 1)
        await channel.write(b"you\n")
        print((await channel.readline()).decode().strip())


asyncio.run(main(sys.argv[1]))
