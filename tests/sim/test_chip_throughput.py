"""What one channel carries to and from the chip as it was measured, and that its mailbox never overflows."""

import pytest
from chip import DEVICE, ChipLink

_BLOCK = bytes(65536)
_GATE_KBIT = 1000
_ROUND_TRIPS = (25, 50)


class Application:
    """Writes as much as it can on a channel, or reads it; counts what it read."""

    def __init__(self, channels: tuple[int, ...], writes: bool = False, reads: bool = False) -> None:
        self.received = dict.fromkeys(channels, 0)
        self._writes = writes
        self._reads = reads
        self._page = bytearray(2048)

    def __call__(self, session) -> None:
        for channel in self.received:
            stream = session.stream(channel)
            if self._writes:
                stream.write(_BLOCK)
            while self._reads and (size := stream.read_into(self._page)):
                self.received[channel] += size


def throughput(round_trip_ms: float, to_chip: bool, from_chip: bool, channels: tuple[int, ...] = (1,)) -> tuple:
    """Return (kbit/s to the chip, kbit/s from it, link) of ten seconds, the first three left out."""
    link = ChipLink(round_trip_ms / 2)
    client = link.client.work = Application(channels, to_chip, from_chip)
    chip = link.chip.work = Application(channels, from_chip, to_chip)
    link.run(3)
    before = sum(chip.received.values()), sum(client.received.values())
    link.run(10)
    after = sum(chip.received.values()), sum(client.received.values())
    return (*((after[i] - before[i]) * 8 / 10000 for i in (0, 1)), link)


@pytest.mark.parametrize("round_trip_ms", _ROUND_TRIPS)
def test_one_channel_carries_a_megabit_to_the_chip(round_trip_ms: int) -> None:
    kbit, _, link = throughput(round_trip_ms, True, False)
    print(f"to the chip, round trip {round_trip_ms} ms: {kbit:.0f} kbit/s, {link.overflowed} lost")
    assert link.overflowed == 0
    assert kbit >= _GATE_KBIT * min(1, 25 / round_trip_ms)


@pytest.mark.parametrize("round_trip_ms", _ROUND_TRIPS)
def test_one_channel_carries_a_megabit_from_the_chip(round_trip_ms: int) -> None:
    _, kbit, link = throughput(round_trip_ms, False, True)
    print(f"from the chip, round trip {round_trip_ms} ms: {kbit:.0f} kbit/s, {link.overflowed} lost")
    assert link.overflowed == 0
    assert kbit >= _GATE_KBIT * min(1, 25 / round_trip_ms)


def test_both_directions_at_once() -> None:
    to_chip, from_chip, link = throughput(25, True, True)
    print(f"both at once: {to_chip:.0f} and {from_chip:.0f} kbit/s, {link.overflowed} lost")
    assert link.overflowed == 0 and min(to_chip, from_chip) > 200


def test_eight_channels_share_fairly() -> None:
    kbit, _, link = throughput(25, True, False, tuple(range(8)))
    received = sorted(link.chip.work.received.values())
    print(f"eight channels: {kbit:.0f} kbit/s, {received}")
    assert received[0] * 2 > received[-1] and kbit > _GATE_KBIT / 2


def test_sender_without_a_limit_overflows_the_mailbox() -> None:
    """The control: what the limit is for happens without it."""
    link = ChipLink(12.5, (65536, 16384, 1200, 60, 0))
    link.client.work = Application((1,), True)
    link.chip.work = Application((1,), False, True)
    link.run(5)
    assert link.overflowed > 10


def test_limit_holds_with_a_window_that_is_larger_than_the_mailbox() -> None:
    link = ChipLink(12.5, (65536, 16384, 1200, 60, DEVICE[4]))
    link.client.work = Application((1,), True)
    link.chip.work = Application((1,), False, True)
    link.run(3)
    before, taken = link.overflowed, link.delivered
    link.run(10)
    print(f"large window: {link.overflowed - before} of {link.delivered - taken} lost")
    assert link.overflowed - before <= (link.delivered - taken) / 200
