"""What the agent does when the network came, went or changed: sockets, own addresses, the masters' names. Transient,
group "login".
"""

import asyncio
import socket

from device.log import log
from device.udp import Udp
from upeer.base.clock import ticks_ms
from upeer.base.wire import LAN_PORT
from upeer.session.paths import HOST, SRFLX
from upeer.signalling.enrol import log_out, nat_class, reflexives, restart, set_master

_MAX_CANDIDATES = 4


async def open_sockets(agent, own_ip: str, masters: list) -> None:
    """Open the sockets and log in, or do so anew: the address is another one, or the network was away.

    Needs group "storage" as well: numbers of login epochs are reserved before a server waits for one.
    """
    agent.identity.next_epoch()
    await asyncio.sleep_ms(0)
    agent.own_ip = own_ip
    agent.cancel_reading()
    if agent.udp is None:
        agent.udp = Udp()
        try:
            agent.lan = Udp(LAN_PORT, True, agent.udp.buf)
        except OSError:
            log("port %d is taken: no discovery in the local network" % LAN_PORT)
    else:
        for udp in (agent.udp, agent.lan):
            if udp:
                udp.reopen()
        restart(agent.registrar, ticks_ms())
    await asyncio.sleep_ms(0)
    set_candidates(agent)
    agent.endpoint.on_address_change(ticks_ms())
    agent.start_reading()
    await begin_logins(agent)
    await find_masters(agent, masters)


async def begin_logins(agent) -> None:
    """Begin the logins that are due, each in a turn of its own."""
    registrar = agent.registrar
    while registrar.login_due(ticks_ms()):
        registrar.handle_timer(ticks_ms())
        await agent.flush_all()
        await asyncio.sleep_ms(0)


async def go_online(agent) -> None:
    """Take what a server told us when we logged in: our address there, other servers. Called by the agent."""
    set_candidates(agent)
    await begin_logins(agent)


def set_candidates(agent) -> None:
    """Tell the endpoint our own addresses, and the masters what they say about the NAT in front of us."""
    own = (agent.own_ip, agent.udp.port)
    candidates = [(HOST, own)]
    for address in reflexives(agent.registrar):
        if address != own:
            candidates.append((SRFLX, address))
    agent.endpoint.candidates = candidates[:_MAX_CANDIDATES]
    agent.identity.nat_class = nat_class(agent.registrar, agent.own_ip)


async def find_masters(agent, masters: list) -> None:
    """Look up the masters' names; numeric addresses need no asking."""
    agent.unanswered = False
    for number, host, port in masters:
        try:
            address = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_DGRAM)[0][-1]
            set_master(agent.registrar, number, (address[0], address[1]), ticks_ms())
        except OSError:
            log("the name of master %d does not resolve" % number)
            agent.unanswered = True
        await agent.flush_all()
        await asyncio.sleep_ms(0)


async def use_keys(agent, event: tuple) -> None:
    """Store a new generation of platform keys and log in with it. Needs group "storage"."""
    from device.memory import set_keys

    if set_keys(agent.identity, event[1], event[2], event[3]):
        await asyncio.sleep_ms(0)
        log("new platform keys, generation %d" % event[1])
        restart(agent.registrar, ticks_ms())
        await begin_logins(agent)


def stop(agent) -> None:
    """Say goodbye to servers and clients, close the sockets."""
    for session in agent.endpoint.sessions:
        session.abort(9, "shutting down")
    log_out(agent.registrar)
    while agent.flush():
        pass
    agent.cancel_reading()
    for udp in (agent.udp, agent.lan):
        if udp:
            udp.close()
    agent.udp = agent.lan = None
