"""The paired clients of a device: found, changed, stored, and told to the servers as lookup tokens. Transient, group
"pairs".
"""

import asyncio

from upeer.base.clock import ticks_ms
from upeer.handshake.invite import lan_key, prologue, session_psk, setup_key
from upeer.handshake.pairs import Pairs


def load_pairs(identity):
    """Return the paired clients."""
    code = identity.setup_code
    return Pairs(setup_key(code, identity.did) if code else None, identity.saved_pairs)


async def change_pairs(identity, change) -> tuple:
    """Let change(pairs) change the paired clients; return (what it returned, what `store_pairs` is to store)."""
    before = identity.saved_pairs
    pairs = load_pairs(identity)
    return change(pairs), (before, pairs.save(), pairs.is_open)


async def find_client(agent, invite) -> "tuple | None":
    """Return what Endpoint.handle_invite wants of the client whose lookup token came with an invite, or None."""
    if agent.epoch != agent.registrar.epoch(ticks_ms()):
        await upload_tokens(agent)
    row = load_pairs(agent.identity).find(invite.item, agent.registrar.tokens)
    return row and _keys(agent.identity, invite, row)


async def find_lan_client(agent, invite) -> "tuple | None":
    """Return the same of the client that made a LanInvite; others get a turn between two rows."""
    for row in load_pairs(agent.identity).all():
        if invite.item.matches(lan_key(row[2])):
            return _keys(agent.identity, invite, row)
        await asyncio.sleep_ms(0)
    return None


def _keys(identity, invite, row: tuple) -> "tuple | None":
    p2p_key = identity.p2p_keys.get(invite.key_id)
    if p2p_key is None:
        return None
    binding = prologue(invite.key_id, invite.invite_id, identity.did, row[0])
    return session_psk(row[2], p2p_key), binding, invite.key_id, row


async def upload_tokens(agent) -> None:
    """Make the lookup tokens, one client's in a turn, and give them to the servers."""
    epoch = agent.epoch = agent.registrar.epoch(ticks_ms())
    if epoch:
        tokens = b""
        for part in load_pairs(agent.identity).tokens(epoch):
            tokens += part
            await asyncio.sleep_ms(0)
        for _ in agent.registrar.token_steps(tokens, ticks_ms()):
            await asyncio.sleep_ms(0)
