"""How the agent answers invites, from a p2p server or from the local network. Transient, group "handshake"."""

import asyncio

from device.curve import multiply
from device.heap import collect, free_bytes, reserve
from device.loader import read_mailboxes, use_groups
from device.log import log
from upeer.base.clock import ticks_diff, ticks_ms
from upeer.base.compat import const
from upeer.base.errors import ProtocolError
from upeer.endpoint import FROM_LAN, FROM_SERVER
from upeer.handshake.answer import abandon, finish_steps
from upeer.handshake.invite import OUT_OF_MEMORY
from upeer.handshake.lan import LanInvite, encode_answer

_PATIENCE_MS = const(5000)  # an invite that waits longer than that has been given up by its client
_POLL_MS = const(20)
_SEARCH_MS = const(125)  # of the budget of invites, for the search for a stranger among the paired clients

_under_way: "list[bytes]" = []  # client_ids and lookup tokens whose handshake is under way


class _Invite:
    """One invite. `keys` is what `Endpoint.handle_invite` wants of its client: (psk, prologue, key_id, row)."""

    def __init__(self, invite_id: bytes, item, way, since: int):
        self.invite_id = invite_id
        self.item = item  # the registrar's event, or the LAN_INVITE
        self.way = way  # the Control that it came through, or the LAN address
        self.since = since
        self.is_lan = isinstance(way, tuple)
        self.key_id = 0
        self.message = b""
        self.keys: "tuple | None" = None


async def answer_invites(agent) -> None:
    """Answer those that wait, one after the other. Two tasks may do this at a time."""
    while agent.invites:
        invite = _Invite(*agent.invites.pop(0))
        try:
            await _answer(agent, invite)
        except ProtocolError:
            pass  # malformed, or a worthless public key: strangers hear nothing
        await asyncio.sleep_ms(0)


async def _answer(agent, invite: _Invite) -> None:
    if _is_known(agent, invite):
        return await _handle(agent, invite)
    if invite.item in _under_way:
        return  # through another server too; if its client still wants to after this handshake, it says so again
    if not await use_groups(("pairs",), _identify, agent, invite):
        return
    await asyncio.sleep_ms(0)
    client_id = invite.keys[3][0]
    if client_id in _under_way:
        return
    names = [client_id] if invite.is_lan else [client_id, invite.item]
    _under_way.extend(names)
    try:
        if await _key_pair(agent, invite):
            await _handle(agent, invite)
    finally:
        for name in names:
            _under_way.remove(name)


async def _handle(agent, invite: _Invite) -> None:
    source = FROM_LAN if invite.is_lan else FROM_SERVER
    result = agent.endpoint.handle_invite(invite.invite_id, invite.message, lambda: invite.keys, source, ticks_ms())
    if isinstance(result, bytes):
        _reply(agent, invite, result)
    elif result is not None:
        await _finish(agent, invite, result)


def _is_known(agent, invite: _Invite) -> bool:
    """Read an invite, and tell whether it is a repetition of one that was answered."""
    if invite.is_lan:
        lan = LanInvite(invite.item)
        invite.item, invite.key_id, invite.message = lan, lan.key_id, lan.message
    else:
        _, _, _, _, invite.key_id, invite.item, invite.message = invite.item
    return agent.endpoint.answered(invite.invite_id) is not None


async def _identify(agent, invite: _Invite) -> bool:
    """Find out whose invite it is; return whether it is a paired client's."""
    from device.pairing import find_client, find_lan_client

    if not invite.is_lan:
        invite.keys = await find_client(agent, invite)
    elif agent.endpoint.may_spend(FROM_LAN, _SEARCH_MS, ticks_ms()):
        invite.keys = await find_lan_client(agent, invite)
    return invite.keys is not None


async def _key_pair(agent, invite: _Invite) -> bool:
    """Wait until a key pair is there, and use it; False when the client has given up meanwhile."""
    while agent.endpoint.ephemeral is None:
        if agent.key_pairs:
            agent.endpoint.ephemeral = agent.key_pairs.pop()
        elif ticks_diff(ticks_ms(), invite.since) > _PATIENCE_MS:
            return False
        else:
            agent.make_key_pair(True)
            await asyncio.sleep_ms(_POLL_MS)
    return True


async def _finish(agent, invite: _Invite, responder) -> None:
    try:
        shared = await multiply(responder.private, responder.peer_public)
        await asyncio.sleep_ms(0)
        for _ in read_mailboxes():
            await asyncio.sleep_ms(0)
        for result in finish_steps(agent.endpoint, responder, shared, 0, ticks_ms()):
            if result:
                message, session = result
                if session:
                    _connect(agent, session)
            else:
                agent.flush(False)  # the last events of a session that made room
                await asyncio.sleep_ms(0)
                collect()  # in a turn of its own: the next step may take all that was admitted without another
            await asyncio.sleep_ms(0)
        collect()  # the session has taken its room: what is free now says when the next one has to come
        await asyncio.sleep_ms(0)
        if responder.params.status == OUT_OF_MEMORY:
            log("no memory for a session: %d bytes free, %d in reserve" % (free_bytes(), reserve()))
        _reply(agent, invite, message)
        await agent.flush_all()
    finally:
        abandon(agent.endpoint, responder)  # if it was not finished: no room, say


def _connect(agent, session) -> None:
    """Hand a session to the agent; without memory for its connection nobody would ever hear its events."""
    try:
        agent.connect(session)
    except MemoryError:
        agent.endpoint.forget(session)
        raise


def _reply(agent, invite: _Invite, message: bytes) -> None:
    """Send handshake message 2 the way the invite came."""
    if invite.is_lan:
        agent.udp.send(encode_answer(invite.key_id, invite.invite_id, message), invite.way)
    else:
        invite.way.answer_invite(invite.invite_id, message)
