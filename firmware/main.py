"""Runs the device's agent. An application of its own replaces this file: see `examples/` and the README."""

import asyncio

from device.api import Device


async def main(device) -> None:
    await device.start()
    while True:
        await asyncio.sleep(3600)


def run() -> None:
    try:
        device = Device(watchdog_s=120)
    except ValueError as error:
        print("upeer:", error)
        return
    try:
        asyncio.run(main(device))
    finally:
        device.release()


run()
