"""The built-in commands of a device (protocol, chapters 5.4 and 7.4): open, status, pair, pair-open. Dropped after use."""

import asyncio
import gc
import json

from upeer import VERSION
from upeer.errors import LocalError
from upeer.invite import pair_key
from upeer.pairs import OWNER, SETUP

from device.memory import load_pairs, save_pairs

_BUILT_IN = ("echo", "files")
_NOT_FOUND = 2


def run(device, connection, request_id: int, name: str, data: bytes) -> None:
    """Run a command and answer it; LocalError's text goes back to the client."""
    if connection.role == SETUP and name != "pair":
        raise LocalError("pair first")
    command = _COMMANDS.get(name)
    if command is None:
        connection.session.answer(request_id, _NOT_FOUND, b"no such command")
    elif command is _open:
        _open(device, connection, request_id, data)
    else:
        connection.session.answer(request_id, 0, command(device, connection, data))


def _open(device, connection, request_id: int, data: bytes) -> None:
    name = data[1:].decode()
    handler = device.services.get(name) or _built_in(device, name)
    if handler is None or not data or data[0] > 7:
        connection.session.answer(request_id, _NOT_FOUND, b"no such service")
        return
    channel = connection.channel(data[0])
    connection.session.answer(request_id, 0)
    asyncio.create_task(device.serve(handler, channel, name))


def _built_in(device, name: str):
    if name not in _BUILT_IN:
        return None
    try:
        module = __import__("device.services." + name, None, None, ("serve",))
    except ImportError:
        return None  # this firmware left it out
    device.has_services = True
    return module.serve


def _status(device, connection, data: bytes) -> bytes:
    agent = device.agent
    gc.collect()
    return json.dumps(
        {
            "did": device.did,
            "version": VERSION,
            "role": connection.role,
            "uptime_s": device.uptime_s(),
            "heap_free": gc.mem_free(),
            "masters": agent.registrar.count(),
            "p2p_servers": agent.registrar.count(2),
            "nat_class": agent.identity.nat_class,
            "sessions": len(agent.endpoint.sessions),
            "pairs": len(load_pairs(agent.identity).rows),
            "dropped": agent.endpoint.dropped,
            "reopened": agent.udp.reopened,
            "unsent": agent.udp.unsent,
            "faults": device.faults,
        }
    ).encode()


def _pair(device, connection, data: bytes) -> bytes:
    client_id = data[:8]
    if connection.role != SETUP or len(client_id) != 8:
        raise LocalError("pairing needs a session by setup code")
    pairs = load_pairs(device.identity)
    role = pairs.add(client_id, pair_key(connection.session.exporter, device.did, client_id), data[8:])
    _save(device, pairs)
    print("upeer: paired, role %d" % role)
    return bytes((role,))


def _pair_open(device, connection, data: bytes) -> bytes:
    if connection.role != OWNER:
        raise LocalError("only the owner opens pairing")
    pairs = load_pairs(device.identity)
    pairs.open()
    _save(device, pairs)
    return b""


def _save(device, pairs) -> None:
    from device.link import update_tokens

    save_pairs(device.identity, pairs)
    update_tokens(device.agent)


_COMMANDS = {"open": _open, "status": _status, "pair": _pair, "pair-open": _pair_open}
