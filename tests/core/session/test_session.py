"""One session and packets made by hand: what goes out, what forged, replayed and wrong packets do, how it ends."""

from helpers import raises, tohex
from session_pair import KEYS, SMALL, START, Dice, End, OnePath, Pair, pattern, sealed

from upeer.base.errors import LocalError
from upeer.base.varint import encode
from upeer.crypto.aead import Aead
from upeer.session.session import EVENT_CLOSED, EVENT_READABLE, Session


def device():
    return End(False, SMALL, SMALL, 0)


def receive(end, packet, now=START):
    return end.session.receive_packet(packet, len(packet), "x", None, now)


def plaintext(end, key=KEYS[1], now=START):
    """Return what the end sends next, in the clear, "" if nothing."""
    size = end.session.write_datagram(end.buf, now)
    if not size:
        return ""
    packet = end.buf[8 : 8 + size]
    stop = Aead(key).open_packet(packet, 8, size)
    assert stop > 0 and packet[:4] == b"\x40cli"
    return tohex(packet[24:stop])


def last_event(end):
    end.drain()
    return end.events[-1]


def state(session):
    """Return all that a forged packet must leave as it is."""
    return (session._acks.deadline, session._acks._expected, session._acks._received[:], session.flags,
            session.data_received, session._heard, session.timer(), session.packets_in, session.is_open)  # fmt: skip


def test_packet_bytes():
    end = device()
    stream = end.session.stream(2)
    stream.write(b"hello")
    stream.finish()
    assert plaintext(end) == "09" + "02" + "80000000" + "4005" + "68656c6c6f"
    assert tohex(end.buf[8:16]) == "40636c6900000000"
    assert plaintext(end) == ""
    assert receive(end, sealed(b"\x08\x02\x00\x02hi"))
    assert plaintext(end) == "02" + "00" + "00" + "00" + "00"  # the very first at once: it tells the round-trip time
    assert receive(end, sealed(b"\x01", 1))
    assert plaintext(end) == ""  # this one may wait
    assert end.session.timer() == START + 25
    assert plaintext(end, now=START + 25) == "02" + "01" + "19" + "00" + "01"


def test_ack_every_second_packet_and_out_of_order():
    end = device()
    receive(end, sealed(b"\x01", 0))
    receive(end, sealed(b"\x01", 1))
    assert plaintext(end) == "02" + "01" + "00" + "00" + "01"
    receive(end, sealed(b"\x01", 4))
    assert plaintext(end) == "02" + "04" + "00" + "01" + "00" + "01" + "01"
    receive(end, sealed(b"\x00", 5))
    assert end.session._acks.deadline is None


def test_peer_beyond_limits_is_closed():
    for frame in (encode(8, 1, 4094, b"xxx"), encode(4, 1, 0, 4097), encode(8, 1, 1 << 60, b"x")):
        end = device()
        receive(end, sealed(frame))
        assert last_event(end) == (EVENT_CLOSED, 3, "flow control")


def test_wrong_generation_closes():
    for stream_id in (8 + 1, 16 + 1):
        end = device()
        receive(end, sealed(encode(8, stream_id, 0, b"x")))
        assert end.session.next_event() == (EVENT_CLOSED, 2, "generation")


def test_command_too_long():
    session = device().session
    raises(LocalError, session.command, "x" * 64, b"")
    raises(LocalError, session.command, "x" * 63, bytes(1100))
    raises(LocalError, session.answer, 1, 0, bytes(1100))


def test_datagram_on_wrong_channel_closes():
    end = device()
    receive(end, sealed(encode(0x30, 8, b"x")))
    assert end.session.next_event() == (EVENT_CLOSED, 2, "channel")


def test_forged_packets_change_nothing_but_counters():
    end = device()
    good = sealed(encode(8, 1, 0, b"data"))
    before = state(end.session)
    dropped = 0
    for size in range(len(good)):
        assert not receive(end, good[:size])
        dropped += 1
    for bit in range(0, len(good) * 8, 3):
        bad = good[:]
        bad[bit >> 3] ^= 1 << (bit & 7)
        assert not receive(end, bad)
        dropped += 1
    for bad in (b"", bytes(1200), sealed(b"\x01", 0, b"\x09" * 32), b"\x40dev" + bytes(1196)):
        assert not receive(end, bytearray(bad))
        dropped += 1
    assert state(end.session) == before and end.session.dropped == dropped
    assert end.paths.seen == []
    assert receive(end, good)


def test_replayed_packets_change_nothing_but_a_counter():
    end = device()
    packets = [sealed(encode(0x30, 1, b"x"), number) for number in range(0, 200, 2)]
    for packet in packets:
        assert receive(end, packet[:])
        end.session.recv_datagram()
    before = state(end.session)
    for packet in packets:
        assert not receive(end, packet[:])
    assert state(end.session) == before and end.session.duplicates == 100
    assert not receive(end, sealed(b"\x01", 3))  # older than the window
    assert receive(end, sealed(b"\x01", 137))  # the oldest that it must know
    assert end.session.duplicates == 101


def test_packet_of_the_other_direction_is_refused():
    end = device()
    end.session.ping()
    size = end.session.write_datagram(end.buf, START)
    assert not receive(end, end.buf[8 : 8 + size])


def test_garbage_from_the_peer_closes():
    frames = (b"\x33", b"\x08\x01", b"\x1c\x00\x05ab", b"\x02\x07\x00\x00\x00", b"\x31\x01\x01\xff\x00", b"\xff" * 60)
    for frame in frames:
        end = device()
        assert receive(end, sealed(frame))
        assert last_event(end)[:2] == (EVENT_CLOSED, 2)
        assert plaintext(end)[:4] == "1c02"
        assert not end.session.is_open


def test_seeded_garbage_never_raises():
    dice = Dice(11)
    for _ in range(60):
        end = device()
        frame = bytes(dice.roll(64) for _ in range(dice.roll(50)))
        receive(end, sealed(frame))
        while end.session.next_event():
            pass
        plaintext(end)


def test_close_waits_for_delivery():
    pair = Pair(3)
    pair.loss = 20
    stream = pair.a.session.stream(0)
    stream.write(pattern(4000, 1))
    stream.finish()
    pair.a.session.close(9, "bye")
    assert not pair.a.session.is_open
    pair.run(lambda: pair.a.session.is_closed)
    assert (EVENT_CLOSED, 9, "bye") in pair.a.events
    if (EVENT_CLOSED, 9, "bye") not in pair.b.events:  # three CLOSE may be lost; the idle time-out tells then
        pair.run(lambda: pair.b.session.is_closed)
    assert pair.b.session.stream(0).read(8000) == pattern(4000, 1)


def test_abort_drops_and_tells_at_once():
    pair = Pair(3)
    pair.a.session.stream(0).write(bytes(4000))
    pair.a.session.abort(8, "no")
    pair.run(lambda: pair.b.session.is_closed)
    assert pair.b.events == [(EVENT_CLOSED, 8, "no")] and pair.a.events == pair.b.events
    assert pair.b.session.timer() is None
    pair.run(lambda: pair.a.session.is_closed)
    assert pair.sent == 3 and pair.a.session.write_datagram(pair.a.buf, pair.now) == 0


def test_late_packet_is_answered_by_close():
    end = device()
    end.session.abort(8)
    assert plaintext(end) == "1c0800"
    assert plaintext(end) == ""
    receive(end, sealed(b"\x01"))
    assert plaintext(end) == "1c0800"
    receive(end, sealed(b"\x1c\x00\x00", 1))
    assert end.session.is_closed and plaintext(end) == ""
    assert not receive(end, sealed(b"\x01", 2))


def test_forged_close_does_not_close():
    end = device()
    assert not receive(end, sealed(b"\x1c\x00\x00", 0, b"\x07" * 32))
    assert end.session.is_open and end.session.next_event() is None


def test_idle_time_out():
    pair = Pair(1)
    pair.a.session.stream(0).write(b"x")
    pair.run(lambda: (EVENT_READABLE, 0) in pair.b.events)
    pair.loss = 100
    pair.run(lambda: pair.a.session.is_closed and pair.b.session.is_closed, 40000)
    assert (EVENT_CLOSED, 4, "idle") in pair.a.events
    assert (EVENT_CLOSED, 4, "idle") in pair.b.events


def test_silent_peer_makes_probes():
    pair = Pair(1)
    pair.loss = 100
    pair.a.session.stream(0).write(b"x")
    pair.run(lambda: pair.a.session.is_closed, 40000)
    assert 5 <= pair.a.paths.seen.count("pto") <= 12


def test_ping_measures():
    pair = Pair(1)
    pair.a.session.ping()
    pair.run(lambda: pair.a.session.recovery._has_sample)
    assert pair.a.session.stats()["srtt"] in range(20, 50)


def test_challenge_is_answered_on_its_path():
    end = device()
    receive(end, sealed(b"\x1a12345678"))
    assert end.session._acks.deadline is None  # path frames are not acknowledged
    assert plaintext(end) == "1b" + "3132333435363738" + "7f0000011092"
    receive(end, sealed(b"\x1b12345678abcdef", 1))
    assert (b"12345678", b"abcdef") in end.paths.seen


def test_nothing_is_sent_without_a_path():
    end = device()
    end.paths.active = None
    end.session.stream(0).write(b"x")
    assert plaintext(end) == ""


def test_relay_prefix_fits_the_packet():
    end = device()
    end.session.stream(0).write(bytes(4000))
    assert end.session.write_datagram(end.buf, START) == 1192


def test_session_ends_before_packet_numbers_come_again():
    end = device()
    end.session.recovery.next_number = 0xFFF00001
    end.session.handle_timer(START)
    assert last_event(end)[:2] == (EVENT_CLOSED, 1)


def test_session_object_is_for_both_sides():
    session = Session(True, b"abc", b"def", *KEYS, OnePath(), (SMALL, SMALL), START)
    assert session.is_open and session.connection_id == b"abc" and session.next_event() is None
