"""A session through the production line's own server, for the self-test: login, invite, handshake, bytes to and fro.

Server and client are on the station (upeer_factory/board/line_server.py). Both ends make the pair key of the licence
key and the station's nonce; nothing of it is stored, and no server of the platform hears of it.
"""

import asyncio
import hashlib

from device.agent import Agent
from device.identity import Identity
from device.link import open_sockets, stop
from device.memory import take_keys
from device.startup import limits
from upeer.base.clock import ticks_add, ticks_diff, ticks_ms
from upeer.base.compat import const
from upeer.base.errors import ProtocolError
from upeer.crypto.aead import derive

CLIENT_ID = b"factory\0"
_MASTER = const(1)
_OWNER = const(0)
_NOT_FOUND = const(2)
_BLOCK = const(512)
_GOODBYE_MS = const(2000)
_TICK_MS = const(20)


class _Line:
    """What the agent asks of its owner: serves every connection, for an invite that came by two ways makes two, and the
    client uses one; has no commands.
    """

    def __init__(self):
        self.result = None
        self.trouble = ""

    def on_tick(self) -> None:
        pass

    def on_connection(self, connection) -> None:
        self.trouble = self.trouble or "the session came to a halt"
        asyncio.create_task(self._serve(connection))

    async def _serve(self, connection) -> None:
        try:
            found = await _echo(connection)
            if found[0]:
                self.result = found
        except ProtocolError as error:
            self.trouble = "the session broke: %s" % error

    def on_command(self, connection, request_id: int, name: str, data) -> None:
        connection.session.answer(request_id, _NOT_FOUND)


def run(record: dict, nonce: bytes, own_ip: str, server: list, seconds: int) -> tuple:
    """Log in at `server` ([IP, port]), wait for the line's client, send back what it sends on channel 0.

    Return (whether all went well, [bytes, SHA-256 of them as hex, kind of path] or what was missing).
    """
    identity = Identity(record)
    take_keys(identity, record["key_id"], record["crc_key"], record["p2p_key"])
    identity.setup_code = None
    key = derive(record["licence_key"], b"factory loop", nonce)
    identity.saved_pairs = b"\0" + CLIENT_ID + bytes((_OWNER,)) + key + b"\0"
    line = _Line()
    agent = Agent(identity, limits()[0], line)
    try:
        return asyncio.run(_run(agent, line, own_ip, server, seconds * 1000))
    finally:
        asyncio.new_event_loop()


async def _run(agent, line, own_ip: str, server: list, ms: int) -> tuple:
    end = ticks_add(ticks_ms(), ms)
    await open_sockets(agent, own_ip, [(_MASTER, server[0], server[1])])
    pump = asyncio.create_task(agent.run())
    try:
        while line.result is None:
            if ticks_diff(end, ticks_ms()) <= 0:
                missing = "no client" if agent.registrar.count() else "no login at the line's server"
                return False, line.trouble or missing
            await asyncio.sleep_ms(_TICK_MS)
        return line.result
    finally:
        stop(agent)
        pump.cancel()


async def _echo(connection) -> tuple:
    """Send a stream back to its end, and wait for the client to close."""
    channel = connection.channel(0)
    buf = bytearray(_BLOCK)
    view = memoryview(buf)
    state = hashlib.sha256()
    count = 0
    while True:
        size = await channel.readinto(buf)
        if not size:
            break
        state.update(view[:size])
        count += size
        await channel.write(view[:size])
    path = connection.path()
    channel.close()
    end = ticks_add(ticks_ms(), _GOODBYE_MS)
    while connection.closed is None and ticks_diff(end, ticks_ms()) > 0:
        await asyncio.sleep_ms(_TICK_MS)
    return count > 0, [count, state.digest().hex(), path]
