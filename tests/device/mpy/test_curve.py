"""When a slice of a key pair made ahead may run: sessions go first, what somebody waits for does not wait."""

import asyncio

from device import curve


class Agent:
    """Has sessions, or none; `received` grows with each pause while datagrams come."""

    def __init__(self, sessions=(1,), is_key_awaited=False):
        self.endpoint = self
        self.sessions = sessions
        self.is_key_awaited = is_key_awaited
        self.received = 0


def pauses(agent, is_busy=False):
    """Return the pauses, in ms, before the next slice."""
    found = []

    async def sleep_ms(ms):
        found.append(ms)
        agent.received += is_busy

    real = asyncio.sleep_ms
    asyncio.sleep_ms = sleep_ms
    try:
        curve._give_way(agent).send(None)
    except StopIteration:
        pass
    finally:
        asyncio.sleep_ms = real
    return found


def test_sessions_that_pause_let_a_slice_run():
    assert pauses(Agent()) == [10] * 5


def test_datagrams_hold_slices_back_but_not_for_ever():
    assert pauses(Agent(), is_busy=True) == [10] * 40


def test_nobody_else_is_there():
    assert pauses(Agent(())) == [0]


def test_an_invite_that_waits_goes_first():
    assert pauses(Agent(is_key_awaited=True), is_busy=True) == [0]
