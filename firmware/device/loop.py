"""A session through the production line's own server, for the self-test: login, invite, handshake, bytes to and fro.

Server and client are on the station (upeer_factory/board/line_server.py). Both ends make the pair key of the licence
key and the station's nonce; nothing of it is stored, and no server of the platform hears of it. The station begins
sessions until one stream came back to it whole, which it says in its CLOSE. How long that takes is the station's
affair: the board waits for as long as something goes on.
"""

import asyncio
import hashlib

from device.agent import Agent
from device.identity import Identity
from device.loader import drop_group, load_group, use_groups
from upeer.base.clock import ticks_add, ticks_diff, ticks_ms
from upeer.base.compat import const
from upeer.base.errors import ProtocolError
from upeer.crypto.aead import derive

CLIENT_ID = b"factory\0"
WHOLE = "whole"
_MASTER = const(1)
_OWNER = const(0)
_NOT_FOUND = const(2)
_BLOCK = const(512)
_TICK_MS = const(20)
_PATIENCES = const(4)  # at most, however much goes on
_LIMITS = (2, 4096, 2048)  # a test needs no large windows, and its own code takes room


class _Line:
    """What the agent asks of its owner: serves every connection, as a station that lost one begins another; has no
    commands. `echoed` is the row of a stream that was sent back, `is_done` tells that it came back whole.
    """

    def __init__(self):
        self.echoed = None
        self.is_done = False
        self.trouble = ""
        self.moved_at = ticks_ms()

    def move(self) -> None:
        """Take note that something went on."""
        self.moved_at = ticks_ms()

    def on_tick(self) -> None:
        pass

    def on_connection(self, connection) -> None:
        self.move()
        self.trouble = self.trouble or "the session came to a halt"
        asyncio.create_task(self._serve(connection))

    async def _serve(self, connection) -> None:
        try:
            row = await _echo(connection, self.move)
            if row[0]:
                self.echoed = [row[0], row[1].hex(), row[2]]
                while connection.closed is None:
                    await connection.changed()
                self.is_done = self.is_done or connection.closed[1] == WHOLE
        except ProtocolError as error:
            self.trouble = "the session broke: %s" % error
        self.move()

    def on_command(self, connection, request_id: int, name: str, data) -> None:
        connection.session.answer(request_id, _NOT_FOUND)


def run(record: dict, nonce: bytes, own_ip: str, server: list, seconds: int) -> tuple:
    """Log in at `server` ([IP, port]), wait for the line's client, send back what it sends on channel 0.

    `seconds` is the patience while nothing goes on. Return (whether all went well, [bytes, SHA-256 of them as hex, kind
    of path] or what was missing).
    """
    load_group("start")
    from device.startup import limits

    limits()  # the heap's limit holds from now on
    drop_group("start")
    line = _Line()
    agent = Agent(_identity(record, nonce), _LIMITS, line)
    try:
        return asyncio.run(_run(agent, line, (own_ip, server), seconds * 1000))
    finally:
        asyncio.new_event_loop()


def _identity(record: dict, nonce: bytes) -> Identity:
    """Return the board as it is for this one test: the licence's keys, and one pair."""
    identity = Identity(record)
    from device.memory import take_keys

    take_keys(identity, record["key_id"], record["crc_key"], record["p2p_key"])
    identity.setup_code = None
    key = derive(record["licence_key"], b"factory loop", nonce)
    identity.saved_pairs = b"\0" + CLIENT_ID + bytes((_OWNER,)) + key + b"\0"
    return identity


async def _run(agent, line, where: tuple, patience_ms: int) -> tuple:
    end = ticks_add(ticks_ms(), _PATIENCES * patience_ms)
    pump = asyncio.create_task(agent.run())
    try:
        await use_groups(("login",), _log_in, agent, where)
        is_online = False
        while not line.is_done:
            now = ticks_ms()
            if is_online != bool(agent.registrar.count()):
                is_online = not is_online
                line.move()
            if is_online and not agent.registrar.busy:
                drop_group("login")  # at once: its room is the session's
            if ticks_diff(now, line.moved_at) > patience_ms or ticks_diff(end, now) <= 0:
                break
            await asyncio.sleep_ms(_TICK_MS)
        if line.echoed:  # if the last word of the station is lost, it knows itself what came back
            return True, line.echoed
        return False, line.trouble or ("no client" if is_online else "no login at the line's server")
    finally:
        pump.cancel()
        agent.cancel_reading()
        for udp in (agent.udp, agent.lan):  # no goodbye: it was said, or the station goes with us
            if udp:
                udp.close()


async def _log_in(agent, where: tuple) -> None:
    from device.link import open_sockets

    await open_sockets(agent, where[0], [(_MASTER, where[1][0], where[1][1])])


async def _echo(connection, on_progress) -> tuple:
    """Send a stream back to its end; return (bytes, SHA-256 of them, kind of path)."""
    channel = connection.channel(0)
    buf = bytearray(_BLOCK)
    view = memoryview(buf)
    state = hashlib.sha256()
    count = 0
    while True:
        size = await channel.readinto(buf)
        if not size:
            break
        on_progress()
        state.update(view[:size])
        count += size
        await channel.write(view[:size])
    path = connection.path()
    channel.close()
    return count, state.digest(), path
