"""The application on the boards of the interop tests: services and commands that show what reached the device.

It keeps next to nothing of that: the memory is for as many sessions as the board's file says.
"""

import asyncio

from device.api import Device
from upeer.base.errors import LocalError, ProtocolError

device = Device()
_ENDS = 4  # the last ones, which are told

counted = [0]
ends = []


@device.command("count")
def count(connection, data):
    counted[0] += 1
    return b"%d %s" % (counted[0], bytes(data))


@device.command("refuse")
def refuse(connection, data):
    raise LocalError("not today")


@device.command("fail")
def fail(connection, data):
    return counted[10**6]


@device.command("bye")
def bye(connection, data):
    connection.close(8, "going home")


@device.command("ends")
def show_ends(connection, data):
    return b";".join([b"%d %s" % (code, reason.encode()) for code, reason in ends])


@device.service("total")
async def total(channel):
    """Count what comes up to its end; only then tell."""
    buf = bytearray(512)
    size, check = 0, 0
    while True:
        got = await channel.readinto(buf)
        if not got:
            break
        size += got
        for i in range(0, got, 61):
            check = (check * 31 + buf[i]) & 0xFFFFFF
    await channel.write(b"%d\n" % size)
    channel.close()


@device.service("slow")
async def slow(channel):
    """Read little and late; tell how much it was."""
    buf = bytearray(1024)
    size = 0
    while True:
        got = await channel.readinto(buf)
        if not got:
            break
        size += got
        await asyncio.sleep_ms(10)
    await channel.write(b"%d\n" % size)
    channel.close()


@device.service("source")
async def source(channel):
    """Write as many bytes as the client's first line says: 0, 1, 2 .. 250, 0 ..."""
    size = int(await channel.readline())
    pattern = bytes([i % 251 for i in range(1004)])
    sent = 0
    while sent < size:
        part = min(1004, size - sent)
        await channel.write(memoryview(pattern)[:part])
        sent += part
    channel.close()


@device.service("breaks")
async def breaks(channel):
    await channel.read(1)
    raise OSError(5)


async def attend(connection):
    """Send packets back until the connection ends; note how it ended."""
    try:
        while True:
            number, data = await connection.recv_packet()
            connection.send_packet(number, bytes(data))
    except ProtocolError:
        ends.append(connection.closed)
        del ends[:-_ENDS]


async def main():
    await device.start()
    while True:
        asyncio.create_task(attend(await device.accept()))


asyncio.run(main())
