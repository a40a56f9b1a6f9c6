"""What came: packet numbers, replays, when an ACK is due, and its bytes."""

from helpers import tohex

from upeer.base.clock import ticks_diff
from upeer.session.acks import Acks

NOW = 2**30 - 10


def acks_of(*numbers, now=NOW):
    acks = Acks()
    for number in numbers:
        acks.on_received(number, True, now)
    return acks


def packet(number):
    return b"\x40abc" + (number & 0xFFFFFFFF).to_bytes(4, "big")


def written(acks, is_short=False, now=NOW):
    if acks.deadline is None:
        return ""
    view = memoryview(bytearray(200))
    return tohex(view[3 : acks.write(view, 3, is_short, now)])


def is_due(acks, now):
    """Return whether the session sends an ACK now even if it has nothing else to send."""
    return acks.deadline is not None and ticks_diff(acks.deadline, now) <= 0


def test_write_literal():
    assert written(Acks()) == ""
    assert written(acks_of(0)) == "0200000000"
    assert written(acks_of(*range(42)), now=NOW + 9) == "0229090029"
    acks = acks_of(3, *range(80, 85), *range(90, 101))
    assert written(acks, now=NOW + 25 - 2**30) == "024064" + "19" + "02" + "0a" + "0404" + "404b00"


def test_write_keeps_topmost_ranges():
    acks = acks_of(*range(0, 200, 2))
    assert written(acks)[:10] == "0240c60010" and len(written(acks)) == 2 * (5 + 1 + 32)
    assert written(acks, True)[:10] == "0240c60004"
    assert written(acks_of(1, 9000, 9001)) == "0263290000" + "01"
    assert written(acks_of(*range(5, 8000), 20000)) == "0280004e200000" + "00"


def test_second_packet_and_out_of_order_are_due_at_once():
    acks = acks_of(0)
    assert is_due(acks, NOW)
    acks.on_sent()
    acks.on_received(1, True, NOW)
    assert not is_due(acks, NOW) and acks.deadline == (NOW + 25) & (2**30 - 1)
    assert is_due(acks, acks.deadline)
    acks.on_received(2, False, NOW)
    assert not is_due(acks, NOW)
    acks.on_received(3, True, NOW)
    assert is_due(acks, NOW)
    acks.on_sent()
    acks.on_received(5, True, NOW)
    assert is_due(acks, NOW)
    acks.on_sent()
    acks.on_received(4, True, NOW)
    assert is_due(acks, NOW)


def test_every_third_packet_for_a_peer_with_a_small_mailbox():
    acks = Acks(3)
    for number, due in enumerate((True, False, False, True, False, False, True)):
        acks.on_received(number, True, NOW)
        assert is_due(acks, NOW) is due, number
        if due:
            acks.on_sent()
    acks.on_received(99, True, NOW)
    assert is_due(acks, NOW)


def test_packets_that_ask_for_nothing_are_not_acknowledged():
    acks = Acks()
    for number in (0, 1, 5, 3):
        acks.on_received(number, False, NOW)
    assert acks.deadline is None and written(acks) == ""


def test_replays():
    acks = acks_of(*range(0, 200, 2))
    assert acks.number(packet(198)) == acks.number(packet(140)) == acks.number(packet(0)) == -1
    assert acks.number(packet(197)) == 197 and acks.number(packet(137)) == 137
    assert acks.number(packet(133)) == -1  # older than what is kept
    assert acks.number(packet(199)) == 199 and acks.number(packet(5000)) == 5000


def test_whole_number_from_its_low_bits():
    for largest in (0, 2**29 - 2, 2**30, 2**31, 2**32 - 2, 2**32 + 5, 2**33 - 1, 2**61):
        for ahead in (1, 2, 3, 1000, 2**31 - 10):
            assert acks_of(largest).number(packet(largest + ahead)) == largest + ahead
        for behind in (1, 1000):
            number = largest - behind
            assert number < 0 or acks_of(largest).number(packet(number)) == number
