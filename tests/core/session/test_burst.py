"""How many packets go at once to a peer with a small mailbox."""

from session_pair import SMALL, End, Pair, sealed, transfer

from upeer.session.burst import BurstLimit
from upeer.session.session import Session

NOW = 2**30 - 5


def later(ms):
    return (NOW + ms) & (2**30 - 1)


def sent(limit, first, now):
    """Return how many packets from number `first` on go now."""
    count = 0
    while limit.has_room(first + count, now):
        limit.on_written(now)
        count += 1
    return count


def test_six_go_and_then_one_each_20_ms():
    limit = BurstLimit(6, NOW)
    assert sent(limit, 0, NOW) == 6 and limit.ends == later(20)
    assert sent(limit, 6, later(19)) == 0
    assert sent(limit, 6, later(20)) == 1
    assert sent(limit, 7, later(39)) == 0
    assert sent(limit, 7, later(80)) == 3
    assert sent(limit, 10, later(5000)) == 6


def test_acknowledgement_of_a_later_packet_makes_room():
    limit = BurstLimit(6, NOW)
    assert sent(limit, 0, NOW) == 6
    limit.on_ack(3)
    assert limit.has_room(6, NOW) and limit.ends is None
    assert sent(limit, 6, NOW) == 4
    limit.on_ack(2)
    assert sent(limit, 10, NOW) == 0


def limits(max_burst):
    return SMALL[:4] + (max_burst,)


def burst_of(end, now):
    count = 0
    while end.session.write_datagram(end.buf, now):
        count += 1
    return count


def test_session_starts_with_no_more_than_the_mailbox_holds():
    for max_burst, expected in ((6, 6), (4, 4), (0, 10)):
        end = End(True, (32768, 8192, 1200, 30, 0), (65536, 65536, 1200, 30, max_burst), 0)
        end.session.stream(1).write(bytes(20000))
        now = end.session._heard
        assert burst_of(end, now) == expected
        assert end.session.timer() is not None


def test_acknowledgements_alone_are_limited_too():
    end = End(False, limits(0), limits(6), 0)
    now = end.session._heard
    total = 0
    for number in range(60):
        packet = sealed(b"\x01", number)
        end.session.receive_packet(packet, len(packet), "x", None, now)
        total += burst_of(end, now)
    assert total == 6
    assert end.session.timer() == (now + 20) & (2**30 - 1)
    end.session.handle_timer((now + 20) & (2**30 - 1))
    assert burst_of(end, (now + 20) & (2**30 - 1)) == 1


def test_transfer_to_a_small_mailbox_over_a_bad_link():
    pair = Pair(4, limits(6), limits(0))
    pair.loss = pair.late = 5
    transfer(pair, 20000)
    assert pair.b.session._burst is None and isinstance(pair.a.session, Session)
