"""Sends back what it receives: a test of the way between two ends."""

from upeer.base.compat import const

_SIZE = const(1024)


async def serve(channel) -> None:
    """Echo a channel until its peer ends."""
    buf = bytearray(_SIZE)
    view = memoryview(buf)
    while True:
        size = await channel.readinto(buf)
        if not size:
            break
        await channel.write(view[:size])
    channel.close()
