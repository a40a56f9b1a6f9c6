"""The built-in commands of a device (protocol, chapters 5.4 and 7.4), all but `open`. Dropped after use."""

import gc
import json

from device.pairing import change_pairs, load_pairs, update_tokens
from upeer import VERSION
from upeer.base.compat import const
from upeer.base.errors import LocalError

_OWNER = const(0)
_SETUP = const(3)
_NOT_FOUND = const(2)


def run(device, connection, request_id: int, name: str, data: bytes) -> None:
    """Run a command and answer it; LocalError's text goes back to the client."""
    if connection.role == _SETUP and name != "pair":
        raise LocalError("pair first")
    command = _COMMANDS.get(name)
    if command is None:
        connection.session.answer(request_id, _NOT_FOUND, b"no such command")
    else:
        connection.session.answer(request_id, 0, command(device, connection, data))  # type: ignore[operator]


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
    if connection.role != _SETUP or len(client_id) != 8:
        raise LocalError("pairing needs a session by setup code")
    role = _change(device, _pairing(device.did, connection.session.exporter, client_id, data[8:]))
    print("upeer: paired, role %d" % role)
    return bytes((role,))


def _pairing(did: str, exporter: bytes, client_id: bytes, name: bytes):
    def add(pairs):
        from upeer.handshake.invite import pair_key

        return pairs.add(client_id, pair_key(exporter, did, client_id), name)

    return add


def _pair_open(device, connection, data: bytes) -> bytes:
    if connection.role != _OWNER:
        raise LocalError("only the owner opens pairing")
    _change(device, lambda pairs: pairs.open())
    return b""


def _change(device, change):
    """Change the pairs, and tell the servers before the answer leaves: the client may look us up at once."""
    result = change_pairs(device.identity, change)
    device.agent.keep_late()
    update_tokens(device.agent)
    return result


_COMMANDS = {"status": _status, "pair": _pair, "pair-open": _pair_open}
