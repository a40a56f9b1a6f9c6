"""Sessions end to end over a bad link in virtual time; the ticks wrap on the way."""

from helpers import raises
from session_pair import SMALL, Pair, Transfer, pattern, sealed, transfer

from upeer.base.errors import LocalError
from upeer.base.varint import encode
from upeer.session.session import (
    EVENT_ANSWER,
    EVENT_COMMAND,
    EVENT_DATAGRAM,
    EVENT_PATH,
    EVENT_READABLE,
    EVENT_STREAM_OPENED,
    EVENT_WRITABLE,
)


def test_two_way_transfer_over_bad_link():
    for seed in range(6):
        pair = Pair(seed)
        pair.loss, pair.twice, pair.late = 10, 5, 10
        transfer(pair, 20000)
        assert pair.b.session.is_open


def test_two_way_transfer_many_seeds_cpython():
    for seed in range(40):
        pair = Pair(seed)
        pair.loss, pair.twice, pair.late = 10, 5, 10
        transfer(pair, 65536)


def test_transfer_at_packet_number_borders():
    for number in (2**30 - 9, 2**31 - 9, 2**29 - 9, 0xFFF00000 - 99):
        pair = Pair(3, number=number)
        pair.loss = pair.late = 10
        transfer(pair, 12000)
        assert pair.a.session.recovery.next_number > number


def test_lossless_transfer_retransmits_nothing():
    pair = Pair(5)
    transfer(pair, 30000)
    stats = pair.a.session.stats()
    assert (stats["retransmitted"], stats["duplicates"], stats["dropped"], stats["lost"]) == (0, 0, 0, 0)
    assert 19 <= stats["srtt"] <= 25


def test_what_fills_no_packet_waits_while_the_application_has_more():
    pair = Pair(1, (8192, 8192, 1200, 30, 0), (4096, 4096, 1200, 30, 0))
    session = pair.a.session
    stream = session.stream(0)
    assert stream.write(bytes(9000)) == 4095 and stream.is_hungry
    out = bytearray(1208)
    assert [session.write_datagram(out, pair.now) for _ in range(4)] == [1192, 1192, 1192, 0]
    assert (stream.next, stream.end) == (3402, 4095)
    stream.on_acked(0, 3402 << 1)  # nothing is on its way now that would make room for more
    assert session.write_datagram(out, pair.now) and stream.next == 4095


def test_all_channels_at_once():
    limits = (4096, 512, 1200, 30, 0)
    pair = Pair(2, limits, limits)
    pair.loss = 5
    works = [[Transfer(channel, 3000, channel + s, channel + 1 - s) for channel in range(8)] for s in (0, 1)]
    pair.a.work = lambda end: [work(end) for work in works[0]]
    pair.b.work = lambda end: [work(end) for work in works[1]]
    pair.run(lambda: all(work.is_done() for side in works for work in side))


def test_flow_control_stalls_and_resumes():
    pair = Pair(1, (4096, 2048, 1200, 30, 0), (8192, 4096, 1200, 30, 0))
    one, two = pair.a.session.stream(0), pair.a.session.stream(3)
    data = pattern(3000, 9)
    assert one.write(data) == two.write(data) == 3000
    pair.settle()
    b = pair.b.session
    assert b.stream(0).readable == b.stream(3).readable == 2048  # no byte more than the device's limits
    assert (EVENT_READABLE, 3) in pair.b.events and (EVENT_STREAM_OPENED, 0) in pair.b.events
    parts = [b.stream(0).read(4000)]
    pair.run(lambda: b.stream(0).readable == 952)
    parts.append(b.stream(0).read(4000))
    assert b"".join(parts) == data and b.stream(3).readable == 2048
    assert two.unacked == 952


def test_session_flow_control_counts_all_channels():
    pair = Pair(1, (2048, 2048, 1200, 30, 0), SMALL)
    for channel in range(3):
        pair.a.session.stream(channel).write(bytes(1000))
    pair.settle()
    assert pair.b.session.data_received == 2048
    for channel in range(3):
        pair.b.session.stream(channel).read(2000)
    pair.run(lambda: pair.b.session.data_received == 3000)


def test_fin_both_ways_then_next_generation():
    pair = Pair(7)
    pair.loss = 15
    for generation in range(10):  # stream ids beyond one byte too
        a, b = transfer(pair, 3000)
        assert a.stream.id == b.stream.id == generation * 8 + 1
        pair.run(lambda a=a, b=b: a.stream.is_done and b.stream.is_done)
        assert a.stream.finished_in and a.stream.read(9) == b""
        pair.a.work = pair.b.work = None


def test_next_generation_before_the_last_was_read():
    pair = Pair(1)
    a, b = pair.a.session, pair.b.session
    a.stream(1).write(b"first")
    a.stream(1).finish()
    old = b.stream(1)
    old.finish()
    pair.run(lambda: a.stream(1).id == 9)
    a.stream(1).write(b"second")
    pair.run(lambda: b._channels[1].id == 9 and b._channels[1].readable)
    assert b.stream(1).read(9) == b"second" and old.read(9) == b"first"
    assert b.data_consumed == 11
    # A late packet of the old generation is acknowledged and has no effect.
    pair.filter = lambda receiver, data: False
    packet = sealed(encode(8, 1, 0, b"FIRST"), 90)
    assert b.receive_packet(packet, len(packet), "x", None, pair.now)
    assert b.stream(1).id == 9 and b.is_open and b._acks.deadline is not None


def test_reset_and_stop():
    pair = Pair(4)
    pair.loss = 20
    a, b = pair.a.session, pair.b.session
    a.stream(0).write(bytes(3000))
    b.stream(0).write(bytes(3000))
    pair.run(lambda: b.stream(0).readable)
    a.stream(0).reset(77)
    a.stream(0).stop(78)
    old_a, old_b = a.stream(0), b.stream(0)
    pair.run(lambda: old_b.is_done and old_a.is_done)
    assert (old_b.reset_code, old_b.stopped_code, old_a.reset_code) == (77, 78, 78)
    raises(LocalError, old_b.write, b"x")
    assert (EVENT_WRITABLE, 0) in pair.b.events
    a.stream(0).write(b"anew")
    pair.run(lambda: b.stream(0).readable == 4)
    assert a.data_consumed == a.data_received and b.data_consumed == b.data_received - 4


def test_path_change_in_mid_transfer():
    for seed in range(3):
        pair = Pair(seed)
        pair.loss, pair.delay = 5, 60
        a = pair.a.work = Transfer(1, 30000, 1, 2)
        b = pair.b.work = Transfer(1, 30000, 2, 1)
        pair.run(lambda b=b: b.received > 9000)
        pair.a.paths.move(10)
        pair.b.paths.move(10)
        pair.delay = 5  # what flies on the old path arrives after what goes on the new one
        pair.run(lambda b=b: b.received > 18000)
        pair.a.paths.move(100)
        pair.delay = 50
        pair.flying = []  # the old path died with all that it held
        pair.run(lambda a=a, b=b: a.is_done() and b.is_done())
        assert (EVENT_PATH, 0) in pair.a.events


def test_path_lost_and_found():
    pair = Pair(2)
    pair.a.session.stream(0).write(bytes(4000))
    pair.settle()
    path, pair.a.paths.active = pair.a.paths.active, None
    pair.a.paths.changes += 1
    pair.settle()
    pair.a.paths.active = path
    pair.a.paths.changes += 1
    pair.run(lambda: pair.b.session.stream(0).readable == 4000)


def test_commands_arrive_once():
    for seed in range(4):
        pair = Pair(seed)
        pair.loss, pair.twice, pair.late = 25, 20, 20
        ids = [pair.a.session.command("echo", bytes((i,)) * 1000) for i in range(4)]
        raises(LocalError, pair.a.session.command, "one too many")

        def answer(end):
            for event in end.events[:]:
                if event[0] == EVENT_COMMAND:
                    end.events.remove(event)
                    end.arrived[event[1]] = end.arrived.get(event[1], 0) + 1
                    assert event[2] == "echo"
                    end.session.answer(event[1], 3, event[3][:10])

        pair.b.work = answer
        pair.run(lambda pair=pair: sum(event[0] == EVENT_ANSWER for event in pair.a.events) == 4)
        pair.settle()
        answers = sorted(event for event in pair.a.events if event[0] == EVENT_ANSWER)
        assert answers == [(EVENT_ANSWER, ids[i], 3, bytes((i,)) * 10) for i in range(4)]
        assert list(pair.b.arrived.values()) == [1, 1, 1, 1]


def test_datagrams_are_bounded_and_not_repeated():
    pair = Pair(1)
    a, b = pair.a.session, pair.b.session
    sent = 0
    while a.send_datagram(5, bytes((sent,)) * 700):
        sent += 1
    assert sent == 8
    pair.run(lambda: (EVENT_DATAGRAM, 0) in pair.b.events)
    assert b.recv_datagram() == (5, bytes(700))
    pair.settle()
    assert [b.recv_datagram()[1][0] for _ in range(7)] == [1, 2, 3, 4, 5, 6, 7]
    assert b.recv_datagram() is None
    for _ in range(3):
        for _ in range(8):
            assert a.send_datagram(0, b"x")
        pair.settle()
    assert len(b._datagrams_in) == 8 and b.dropped == 16
    raises(LocalError, a.send_datagram, 0, bytes(1101))
    pair.loss = 100
    a.send_datagram(0, b"lost")
    pair.settle()
    pair.loss = 0
    pair.settle()
    assert b.dropped == 16


def test_larger_packets_are_found_and_used_cpython():
    large = (65536, 32768, 9000, 30, 0)
    for limit in (9000, 2000, 1300):
        pair = Pair(1, large, large)
        pair.filter = lambda receiver, data, limit=limit: len(data) <= limit
        transfer(pair, 60000)
        expected = {9000: 9000, 2000: 1452, 1300: 1200}[limit]
        assert pair.a.session.stats()["packet_size"] == expected
