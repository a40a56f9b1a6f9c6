"""Virtual time: it passes only while nobody has anything to do, in order, and for all at once."""

import asyncio

import pytest
from virtual_time import Clock, Network, VirtualLoop

HERE, THERE = ("192.0.2.1", 1), ("192.0.2.2", 2)


class Machine:
    """Runs every 7 s."""

    def __init__(self):
        self.wake_ms = 0
        self.ran_at = []

    def advance(self, now_ms):
        if self.wake_ms <= now_ms:
            self.ran_at.append(now_ms)
            self.wake_ms = now_ms + 7000


@pytest.fixture
def loop():
    clock = Clock(1_000_000)
    made = VirtualLoop(clock, Network(clock, 25))
    made.clock = clock
    yield made
    made.close()


def test_hours_pass_at_once_and_machines_run_in_between(loop):
    machine = Machine()
    loop.machines.append(machine)
    loop.run_until_complete(asyncio.sleep(3600))
    assert loop.clock.ms == 3_600_000
    assert machine.ran_at == list(range(0, 3_600_001, 7000))


def test_timers_come_in_order_at_their_time(loop):
    seen = []

    async def note(ms):
        await asyncio.sleep(ms / 1000)
        seen.append((ms, loop.clock.ms))

    async def main():
        await asyncio.gather(*(note(ms) for ms in (300, 100, 200)))

    loop.run_until_complete(main())
    assert seen == [(100, 100), (200, 200), (300, 300)]


def test_datagram_is_on_its_way_for_the_delay_and_may_be_lost(loop):
    async def main():
        one, two = loop.udp(HERE), loop.udp(THERE)
        arrived = asyncio.Event()
        loop.add_reader(two.fileno(), arrived.set)
        one.sendto(b"hello", THERE)
        await arrived.wait()
        buf = bytearray(10)
        assert (two.recvfrom_into(buf), bytes(buf[:5]), loop.clock.ms) == ((5, HERE), b"hello", 25)
        with pytest.raises(BlockingIOError):
            two.recvfrom_into(buf)
        loop.network.is_lost = lambda source, target: target == THERE
        one.sendto(b"lost", THERE)
        await asyncio.sleep(1)
        assert loop.network.lost == 1 and not two.inbox

    loop.run_until_complete(main())


def test_waiting_for_ever_is_an_error(loop):
    with pytest.raises(RuntimeError, match="everybody waits for ever"):
        loop.run_until_complete(asyncio.Event().wait())
