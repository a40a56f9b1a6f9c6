"""How a device gets in at its servers: when it tries, with which ticket, what it makes of the answer (chapter 4).

The part of `registrar` that a board drops while it is logged in everywhere.
"""

from upeer.base.clock import ticks_add
from upeer.base.compat import const
from upeer.base.wire import ROLE_MASTER, ROLE_P2P
from upeer.signalling.server import Server

_MAX_P2P = const(4)
_NO_ANSWER = const(0)
_REASONS = ("no answer", "refused", "busy")
_LOGOUTS = ("logged out", "replaced", "revoked", "server stops")

NAT_UNKNOWN = const(0)
NAT_OPEN = const(1)
NAT_ENDPOINT_INDEPENDENT = const(2)
NAT_ADDRESS_DEPENDENT = const(3)


def set_master(registrar, number: int, address: tuple, now: int) -> None:
    """Log in to that master, or go on at its new address."""
    for server in registrar.servers:
        if server.role == ROLE_MASTER and server.number == number:
            if server.address != address:
                server.address = address
                start(registrar, server, now)
            return
    server = Server(ROLE_MASTER, number, address)
    registrar.servers.append(server)
    start(registrar, server, now)


def restart(registrar, now: int) -> None:
    """Log in anew everywhere, one after the other: the network is another one, or the platform keys are."""
    for server in registrar.servers:
        server.failures = 0
        _end_login(registrar, server)
        server.control = None
        server.due = now


def _end_login(registrar, server) -> None:
    if server.login:
        server.login = None
        registrar.busy -= 1


def log_out(registrar) -> None:
    """Say goodbye everywhere; datagrams to send remain."""
    for server in registrar.servers:
        if server.control:
            server.control.log_out()


def reflexives(registrar) -> list:
    """Return the addresses at which servers see us, each once."""
    seen = []
    for server in registrar.servers:
        address = server.control and server.control.reflexive
        if address and address not in seen:
            seen.append(address)
    return seen


def nat_class(registrar, own_ip: str) -> int:
    """Return the class of the NAT in front of us, from what servers at different addresses see."""
    seen = reflexives(registrar)
    if len(seen) > 1:
        return NAT_ADDRESS_DEPENDENT
    if seen and seen[0][0] == own_ip:
        return NAT_OPEN
    places = {server.address[0] for server in registrar.servers if server.control and server.control.reflexive}
    return NAT_ENDPOINT_INDEPENDENT if len(places) > 1 else NAT_UNKNOWN


def start(registrar, server, now: int) -> None:
    """Begin a login, whatever was before."""
    from upeer.signalling.login import Login, login_key

    identity = registrar.identity
    if server.role == ROLE_MASTER:
        server.key = login_key(identity.licence_key, identity.crc_key, identity.did, server.number)
    if not server.login:
        registrar.busy += 1
    server.control = server.due = None
    target = (server.role, server.address, server.key, server.ticket)
    server.login = Login(identity, target, registrar.random_bytes, now)


def on_event(registrar, server, event: tuple, now: int) -> None:
    """Take an event of Login, or one that Registrar has no use for, of Control."""
    kind = event[0]
    if kind == "servers":
        return _take_entries(registrar, server, event[1], now)
    _end_login(registrar, server)
    if kind == "login":
        _on_login(registrar, server, event, now)
    elif kind == "behind":  # our counter was lost with the flash
        registrar.identity.raise_epoch(event[1])
        _on_failure(registrar, server, kind, now)
    elif kind == "failed":
        _on_failure(registrar, server, _REASONS[event[1]], now)
        if event[1] == _NO_ANSWER and server.role == ROLE_MASTER:
            registrar.events.append(("unanswered", server.number))
    else:
        _on_failure(registrar, server, _LOGOUTS[event[1] & 3] if kind == "logout" else kind, now)


def _on_login(registrar, server, event: tuple, now: int) -> None:
    server.failures = 0
    server.control = event[1]
    registrar.set_time(event[2], now)
    registrar.events.append(("online", server.role, server.number))
    if registrar.tokens:
        server.control.upload_tokens(registrar.tokens, now)
    if server.role == ROLE_MASTER:
        _take_entries(registrar, server, event[3], now)


def _on_failure(registrar, server, reason: str, now: int) -> None:
    from upeer.signalling.login import backoff_ms

    server.control = None
    server.failures += 1
    server.due = ticks_add(now, backoff_ms(server.failures, registrar.random_bytes))
    registrar.events.append(("offline", server.role, server.number, reason))


def _take_entries(registrar, master, entries: list, now: int) -> None:
    """Take p2p servers and fresh tickets from a master; forget those that it no longer names and that are not in."""
    addresses = [entry[1] for entry in entries]
    for server in list(registrar.servers):
        if server.source == master.number and server.address not in addresses and not server.control:
            _forget(registrar, server)
    for number, address, key, ticket in entries:
        server = _find(registrar, number, address)
        if server is None:
            continue
        server.key = key
        server.ticket = ticket
        server.source = master.number
        if not server.control and not server.login:
            server.due = now


def _find(registrar, number: int, address: tuple):
    """Return the p2p server at an address, a new one if there is room or one that fails makes room, or None."""
    others = [server for server in registrar.servers if server.role == ROLE_P2P]
    for server in others:
        if server.address == address:
            return server
    if len(others) >= _MAX_P2P:
        failing = [server for server in others if server.failures and not server.control]
        if not failing:
            return None
        _forget(registrar, failing[0])
    server = Server(ROLE_P2P, number, address)
    registrar.servers.append(server)
    return server


def _forget(registrar, server) -> None:
    registrar.servers.remove(server)
    _end_login(registrar, server)
