"""What the agent does when the network came, went or changed: sockets, own addresses, the masters' names. Dropped
after.
"""

import asyncio
import socket

from device.agent import log
from device.memory import set_keys
from device.udp import Udp
from upeer.base.clock import ticks_ms
from upeer.base.wire import LAN_PORT
from upeer.session.paths import HOST, SRFLX
from upeer.signalling.enrol import log_out, nat_class, reflexives, restart, set_master

_MAX_CANDIDATES = 4
# All that logins load, at once: what they leave behind then stands apart from it, and no holes are left in the heap.
_LOGIN_MODULES = (
    "upeer.signalling.login",
    "upeer.handshake.pairs",
    "upeer.handshake.invite",
    "device.memory",
    "device.pairing",
    "device.store",
)


def open_sockets(agent, own_ip: str) -> None:
    """Open the sockets and begin to pump, or do so anew: the address is another one, or the network was away."""
    agent.own_ip = own_ip
    agent.cancel_reading()
    agent.make_room()
    for name in _LOGIN_MODULES:
        __import__(name)
    now = ticks_ms()
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
        restart(agent.registrar, now)
    set_candidates(agent)
    agent.endpoint.on_address_change(now)
    agent.read_on()


def set_candidates(agent) -> None:
    """Take note of our own addresses, and of what they tell about the NAT in front of us."""
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
        await asyncio.sleep_ms(0)
    agent.flush()


def use_keys(agent, event: tuple) -> None:
    """Store a new generation of platform keys and log in with it."""
    if set_keys(agent.identity, event[1], event[2], event[3]):
        log("new platform keys, generation %d" % event[1])
        restart(agent.registrar, ticks_ms())


def stop(agent) -> None:
    """Say goodbye to servers and clients, close the sockets."""
    for session in agent.endpoint.sessions:
        session.abort(9, "shutting down")
    log_out(agent.registrar)
    agent.flush()
    agent.cancel_reading()
    for udp in (agent.udp, agent.lan):
        if udp:
            udp.close()
    agent.udp = agent.lan = None
