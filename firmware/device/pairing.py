"""The paired clients of a device: found, changed, stored, and told to the servers as lookup tokens. Transient, group
"handshake".
"""

import asyncio

from upeer.base.clock import ticks_ms
from upeer.handshake.invite import lan_key, setup_key
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


async def find_lan_row(pairs, invite) -> "tuple | None":
    """Return the row of the client that made this LanInvite, None for a stranger's; others get a turn in between."""
    for row in pairs.all():
        if invite.matches(lan_key(row[2])):
            return row
        await asyncio.sleep_ms(0)
    return None


async def upload_tokens(agent) -> None:
    """Make the lookup tokens, one client's in a turn, and give them to the servers."""
    epoch = agent.epoch = agent.registrar.epoch(ticks_ms())
    if epoch:
        tokens = b""
        for part in load_pairs(agent.identity).tokens(epoch):
            tokens += part
            await asyncio.sleep_ms(0)
        agent.registrar.set_tokens(tokens, ticks_ms())
