"""Runs the device's agent. An application of its own replaces this file: see `examples/` and the README."""

import asyncio

from device.api import Device


async def main(device) -> None:
    await device.start()
    while True:
        await asyncio.sleep(3600)


def run() -> None:
    device = None
    try:
        device = Device(watchdog_s=120)
        asyncio.run(main(device))
    except ValueError as error:
        print("upeer:", error)
    finally:
        if device:
            device.release()


run()
