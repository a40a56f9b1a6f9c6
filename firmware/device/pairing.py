"""The paired clients of a device: read, changed, stored, and told to the servers as lookup tokens."""

from upeer.base.clock import ticks_ms
from upeer.handshake.invite import setup_key
from upeer.handshake.pairs import Pairs


def load_pairs(identity):
    """Return the paired clients; `change_pairs` changes them for good."""
    code = identity.setup_code
    return Pairs(setup_key(code, identity.did) if code else None, identity.saved_pairs)


def change_pairs(identity, change):
    """Let change(pairs) change the paired clients, store them and return what it returned."""
    from device.memory import open_store, set_pairing

    pairs = load_pairs(identity)
    result = change(pairs)
    saved = pairs.save()
    open_store(identity).set("pairs", saved)
    identity.saved_pairs = saved
    set_pairing(identity, pairs.is_open)
    return result


def update_tokens(agent) -> None:
    """Tell the servers by which tokens clients find us: the pairs changed, or the week, or the time is known now."""
    now = ticks_ms()
    agent.epoch = agent.registrar.epoch(now)
    if agent.epoch:
        agent.registrar.set_tokens(load_pairs(agent.identity).tokens(agent.epoch), now)
