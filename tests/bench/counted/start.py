"""A device whose every step is counted: one for each request, between time.clock (callgrind begins anew there) and
time.ticks_cpu (callgrind writes down what it has). Garbage is collected between steps, where it does not count, when
the host says so: as often as on a chip, for what a step costs depends on where in the heap the search for room begins.
`start.py FOLDER`; see counted_board.py.
"""

import gc
import sys

import vfs

_ROOM = 256 << 10  # for the garbage of a step

_folder = vfs.VfsPosix(sys.argv[1])
vfs.umount("/")
vfs.mount(_folder, "/")
sys.path[:] = ["/shims", ".frozen", "/lib"]

import asyncio
import time

import host32
import machine
import network  # requests change its air


def boot():
    """What main.py does, with two services that move bytes one way."""
    from device.api import Device

    device = Device()

    @device.service("sink")
    async def sink(channel):
        buf = bytearray(1024)
        while await channel.readinto(buf):
            pass
        await channel.write(b"done")
        channel.close()

    @device.service("source")
    async def source(channel):
        left = int(await channel.readline())
        page = memoryview(bytes(1024))
        while left:
            size = min(left, len(page))
            await channel.write(page[:size])
            left -= size
        channel.close()

    async def main():
        await device.start()

    asyncio.create_task(main())


gc.disable()
while True:
    request = host32.take_request()
    garbage = 0
    if "run" in request:
        exec(request["run"])
    else:
        time.set_ms(request["at"])
        if request.get("collects") or gc.mem_free() < _ROOM:
            gc.collect()
        before = gc.mem_alloc()
        time.clock()
        if request.get("boots"):
            boot()
        else:
            asyncio.step(1)
        time.ticks_cpu()
        garbage = max(0, gc.mem_alloc() - before)
    host32.answer(wake=asyncio.idle_ms(), garbage=garbage, threshold=gc.threshold(), mhz=machine.freq() // 1000000)
