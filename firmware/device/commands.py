"""The built-in commands of a device (protocol, chapters 5.4 and 7.4), but for `open` and `ping`. Transient, group
"command".
"""

import asyncio
import json

from device.heap import CHIP_LIMIT, allocated, collect, figures, reserve
from device.loader import use_groups
from upeer import VERSION
from upeer.base.compat import const
from upeer.base.errors import LocalError

_OWNER = const(0)
_SETUP = const(3)
_NOT_FOUND = const(2)


async def run(device, connection, request_id: int, name: str, data: bytes) -> None:
    """Run a command and answer it; LocalError's text goes back to the client."""
    if connection.role == _SETUP and name != "pair":
        raise LocalError("pair first")
    command = _COMMANDS.get(name)
    if command is None:
        connection.session.answer(request_id, _NOT_FOUND, b"no such command")
    else:
        connection.session.answer(request_id, 0, await command(device, connection, data))  # type: ignore[operator]


async def _status(device, connection, data: bytes) -> bytes:
    agent = device.agent
    memory = _memory()
    await asyncio.sleep_ms(0)  # a collection has a turn of its own
    return json.dumps(
        {
            "did": device.did,
            "version": VERSION,
            "role": connection.role,
            "uptime_s": device.uptime_s(),
            "memory": memory,
            "heap_free": memory["limit"] - memory["live"],
            "masters": agent.registrar.count(),
            "p2p_servers": agent.registrar.count(2),
            "nat_class": agent.identity.nat_class,
            "sessions": len(agent.endpoint.sessions),
            "pairs": _count_pairs(agent.identity.saved_pairs),
            "dropped": agent.endpoint.dropped,
            "reopened": agent.udp.reopened,
            "unsent": agent.udp.unsent,
            "faults": device.faults,
        }
    ).encode()


def _memory() -> dict:
    """Return what the heaps hold, in bytes on the chip's scale: see `heap`."""
    collect()
    return {
        "live": allocated(),
        "peak": figures[1],
        "limit": CHIP_LIMIT,
        "reserve": reserve(),
        "reserve_least": reserve(3),
        "refused": figures[2],
    }


def _count_pairs(saved) -> int:
    """Return how many clients are paired: see upeer.handshake.pairs for what is stored."""
    count, at = 0, 1
    while saved and at < len(saved):
        count += 1
        at += 42 + saved[at + 41]
    return count


async def _pair(device, connection, data: bytes) -> bytes:
    client_id = data[:8]
    if connection.role != _SETUP or len(client_id) != 8:
        raise LocalError("pairing needs a session by setup code")
    exporter = connection.session.exporter

    def add(pairs):
        from upeer.handshake.invite import pair_key

        return pairs.add(client_id, pair_key(exporter, device.did, client_id), data[8:])

    role = await _change(device, add)
    print("upeer: paired, role %d" % role)
    return bytes((role,))


async def _pair_open(device, connection, data: bytes) -> bytes:
    if connection.role != _OWNER:
        raise LocalError("only the owner opens pairing")
    await _change(device, lambda pairs: pairs.open())
    return b""


async def _change(device, change):
    """Change the pairs, and tell the servers before the answer leaves: the client may look us up at once."""
    identity = device.identity
    result, changed = await use_groups(("pairs",), _change_loaded, identity, change)
    await use_groups(("storage",), _store_loaded, identity, changed)
    await device.agent.update_tokens()
    return result


def _change_loaded(identity, change):
    from device.pairing import change_pairs

    return change_pairs(identity, change)


def _store_loaded(identity, changed: tuple):
    from device.memory import store_pairs

    return store_pairs(identity, changed)


_COMMANDS = {"status": _status, "pair": _pair, "pair-open": _pair_open}
