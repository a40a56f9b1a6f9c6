"""Sends back what it receives: a test of the way between two ends.

One task does it for all channels of a connection, and no channel has a buffer: what came goes from the blocks that it
came into to those that it leaves from, as far as the peer takes it.
"""

_echoed: dict = {}  # connection: its channels that are echoed


async def serve(channel) -> None:
    """Echo a channel until its peer ends, and all that are opened on its connection meanwhile; those return at once."""
    connection = channel.connection
    channels = _echoed.get(connection)
    if channels is not None:
        channels.append(channel)
        _echo_all(channels)
        connection.flush()
        return
    channels = _echoed[connection] = [channel]
    try:
        while channels:
            if _echo_all(channels):
                connection.flush()
            else:
                await connection.wait()
    finally:
        del _echoed[connection]
        if connection.closed is None:
            for channel in channels:  # memory ran out
                channel.reset()


def _echo_all(channels: list) -> bool:
    """Send back what has come; forget channels that are through. Return whether there was anything to do."""
    is_news = False
    for channel in list(channels):
        stream = channel.stream
        incoming = stream.incoming
        start = incoming.start
        if stream.fin or stream.reset_code is not None:
            channel.reset()
        elif _move(stream, incoming):
            stream.finish()
        else:
            is_news = is_news or incoming.start != start
            continue
        channels.remove(channel)
        is_news = True
    return is_news


def _move(stream, incoming) -> bool:
    """Write what can be read, as far as there is room for it; return whether that was the end."""
    while incoming.ready != incoming.start:
        taken = stream.write(incoming.peek())
        if not taken:
            return False
        incoming.consume(taken)
    return stream.finished_in
