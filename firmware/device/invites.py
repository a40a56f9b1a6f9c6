"""How the agent answers an invite, from a p2p server or from the local network. Dropped after."""

from device.late import drop
from upeer.base.clock import ticks_ms
from upeer.base.errors import ProtocolError
from upeer.endpoint import FROM_LAN, FROM_SERVER


def on_lan_invite(agent, data: bytes, addr: tuple, now: int) -> None:
    """Take a LAN_INVITE; strangers hear nothing."""
    from upeer.handshake.lan import LanInvite

    try:
        invite = LanInvite(data)
    except ProtocolError:
        return
    way = invite.key_id, addr
    parts = invite.invite_id, invite.key_id, invite.message

    def find_row(pairs):
        return pairs.find_lan(invite)

    _handle(agent, parts, find_row, way, now)


def on_invite(agent, event: tuple, now: int) -> None:
    """Take the registrar's event "invite"."""
    _, control, invite_id, _, key_id, token, message = event
    epoch = agent.registrar.epoch(now)

    def find_row(pairs):
        return pairs.find(token, epoch)

    _handle(agent, (invite_id, key_id, message), find_row, control, now)


def _handle(agent, parts: tuple, find_row, way, now: int) -> None:
    invite_id, key_id, message = parts
    source = FROM_LAN if isinstance(way, tuple) else FROM_SERVER
    identity = agent.identity

    def find():
        from device.pairing import load_pairs
        from upeer.handshake.invite import prologue, session_psk

        p2p_key = identity.p2p_keys.get(key_id)
        row = find_row(load_pairs(identity)) if p2p_key else None
        if row is None:
            return None
        return session_psk(row[2], p2p_key), prologue(key_id, invite_id, identity.did, row[0]), key_id, row

    result = agent.endpoint.handle_invite(invite_id, message, find, source, now)
    if isinstance(result, bytes):
        _reply(agent, way, invite_id, result)
    elif result is not None:
        agent.begin(_answer(agent, result, invite_id, way))


def _reply(agent, way, invite_id: bytes, message: bytes) -> None:
    """Send handshake message 2: `way` is the Control that the invite came through, or (key_id, LAN address)."""
    if isinstance(way, tuple):
        from upeer.handshake.lan import encode_answer

        agent.udp.send(encode_answer(way[0], invite_id, message), way[1])
    else:
        way.answer_invite(invite_id, message)


async def _multiply(private: bytes, public: bytes) -> bytes:
    from device.curve import multiply

    return await multiply(private, public)


async def _answer(agent, responder, invite_id: bytes, way) -> None:
    from upeer.handshake.answer import abandon

    try:
        await _finish(agent, responder, invite_id, way)
    except ProtocolError:
        pass  # a worthless public key
    finally:
        abandon(agent.endpoint, responder)  # if it was not finished: no room, say


async def _finish(agent, responder, invite_id: bytes, way) -> None:
    shared = await _multiply(responder.private, responder.peer_public)
    drop(
        (
            "upeer.handshake.invite",
            "upeer.handshake.lan",
            "upeer.handshake.pairs",
            "upeer.crypto.x25519",
            "device.curve",
            "device.pairing",
        )
    )
    message, session = agent.endpoint.finish_invite(responder, shared, 0, ticks_ms())
    if session:
        agent.connect(session)
    _reply(agent, way, invite_id, message)
    agent.flush()
