"""How the agent answers invites, from a p2p server or from the local network. Transient, group "handshake"."""

import asyncio

from device.loader import use_groups
from device.pairing import find_lan_row, load_pairs, upload_tokens
from upeer.base.clock import ticks_diff, ticks_ms
from upeer.base.compat import const
from upeer.base.errors import ProtocolError
from upeer.endpoint import FROM_LAN, FROM_SERVER
from upeer.handshake.answer import abandon
from upeer.handshake.invite import prologue, session_psk
from upeer.handshake.lan import LanInvite, encode_answer

_PATIENCE_MS = const(5000)  # an invite that waits longer than that has been given up by its client
_POLL_MS = const(20)
_SEARCH_MS = const(125)  # of the budget of invites, for the search for a stranger among the paired clients

_under_way: "list[bytes]" = []  # client_ids whose handshake is under way


class _Invite:
    """One invite. `source` is FROM_LAN or FROM_SERVER, `row` the paired client's, None for a stranger."""

    def __init__(self, invite_id: bytes, way, since: int):
        self.invite_id = invite_id
        self.way = way  # the Control that it came through, or the LAN address
        self.since = since
        self.source = FROM_LAN if isinstance(way, tuple) else FROM_SERVER
        self.key_id = 0
        self.message = b""
        self.row: "tuple | None" = None


async def answer_invites(agent) -> None:
    """Answer those that wait, one after the other. Two tasks may do this at a time."""
    while agent.invites:
        invite_id, item, way, since = agent.invites.pop(0)
        try:
            await _answer(agent, _Invite(invite_id, way, since), item)
        except ProtocolError:
            pass  # malformed, or a worthless public key: strangers hear nothing
        await asyncio.sleep_ms(0)


async def _answer(agent, invite: _Invite, item) -> None:
    if not await _identify(agent, invite, item):
        return
    while agent.endpoint.ephemeral is None and invite.row:
        if ticks_diff(ticks_ms(), invite.since) > _PATIENCE_MS:
            return
        agent.make_key_pair(True)
        await asyncio.sleep_ms(_POLL_MS)
    if invite.row and invite.row[0] in _under_way:
        return  # by another server; the client repeats this one if it still wants to
    result = agent.endpoint.handle_invite(
        invite.invite_id, invite.message, lambda: _keys(agent, invite), invite.source, ticks_ms()
    )
    if isinstance(result, bytes):
        _reply(agent, invite, result)
    elif result is not None:
        await _finish(agent, invite, result)


async def _identify(agent, invite: _Invite, item) -> bool:
    """Find out whose invite it is; False when a flood of them has spent the budget of searches."""
    if invite.source == FROM_SERVER:
        _, _, _, _, invite.key_id, token, invite.message = item
        if agent.epoch != agent.registrar.epoch(ticks_ms()):
            await upload_tokens(agent)
        invite.row = load_pairs(agent.identity).find(token, agent.registrar.tokens)
        return True
    lan = LanInvite(item)
    invite.key_id, invite.message = lan.key_id, lan.message
    for known in agent.endpoint.answers:
        if known[0] == invite.invite_id:
            return True
    if not agent.endpoint.may_spend(FROM_LAN, _SEARCH_MS, ticks_ms()):
        return False
    invite.row = await find_lan_row(load_pairs(agent.identity), lan)
    return invite.row is not None


def _keys(agent, invite: _Invite) -> "tuple | None":
    """Return what `Endpoint.handle_invite` wants of the client: (psk, prologue, key_id, row), None for a stranger."""
    identity, row = agent.identity, invite.row
    p2p_key = identity.p2p_keys.get(invite.key_id)
    if row is None or p2p_key is None:
        return None
    binding = prologue(invite.key_id, invite.invite_id, identity.did, row[0])
    return session_psk(row[2], p2p_key), binding, invite.key_id, row


def _multiply(responder):
    from device.curve import multiply

    return multiply(responder.private, responder.peer_public)


async def _finish(agent, invite: _Invite, responder) -> None:
    client_id = responder.user[0]
    _under_way.append(client_id)
    try:
        shared = await use_groups(("ecdh",), _multiply, responder)
        message, session = agent.endpoint.finish_invite(responder, shared, 0, ticks_ms())
        if session:
            agent.connect(session)
        _reply(agent, invite, message)
        agent.flush()
    finally:
        _under_way.remove(client_id)
        abandon(agent.endpoint, responder)  # if it was not finished: no room, say


def _reply(agent, invite: _Invite, message: bytes) -> None:
    """Send handshake message 2 the way the invite came."""
    if invite.source == FROM_LAN:
        agent.udp.send(encode_answer(invite.key_id, invite.invite_id, message), invite.way)
    else:
        invite.way.answer_invite(invite.invite_id, message)
