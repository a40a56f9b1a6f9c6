"""Stream buffers: pieces in any order, rings that wrap, final sizes, flow control, literal STREAM frames."""

from helpers import raises, tohex

from upeer.base.errors import LocalError, RemoteError
from upeer.session.stream import ReceiveBuffer, Stream


class Owner:
    """What a stream asks of its session."""

    def __init__(self, window=1000):
        self.flags = self.pending = self.retransmitted = 0
        self.data_received = self.data_consumed = 0
        self.data_window = self.data_limit = window
        self.is_open = True
        self.posted = []

    def new_ring(self, size):
        return memoryview(bytearray(size))

    def post(self, frame, delivered):
        self.posted.append((tohex(frame), delivered))


def receive(buffer, offset, data, fin=0):
    return buffer.receive(memoryview(b"##" + data), 2, offset, len(data), fin)


def read(buffer, size=100):
    target = bytearray(size)
    return bytes(target[: buffer.read_into(target)])


def frame(stream, room=100, credit=1000):
    view = memoryview(bytearray(room + 20))
    return tohex(view[3 : stream.write_frame(view, 3, 3 + room, credit)])


def test_receive_in_order_and_read():
    buffer = ReceiveBuffer(Owner(), 0, 8)
    assert receive(buffer, 0, b"abc")
    assert read(buffer, 2) == b"ab"
    assert receive(buffer, 3, b"defgh")
    assert read(buffer) == b"cdefgh"
    assert read(buffer) == b""


def test_receive_out_of_order_duplicate_overlap():
    buffer = ReceiveBuffer(Owner(), 0, 16)
    assert not receive(buffer, 6, b"gh")
    assert not receive(buffer, 3, b"de")
    assert not receive(buffer, 6, b"gh")
    assert receive(buffer, 0, b"abcde")
    assert not receive(buffer, 1, b"bcd")
    assert receive(buffer, 4, b"efg")
    assert read(buffer) == b"abcdefgh"
    assert not receive(buffer, 2, b"XXXX")


def test_receive_wraps_ring():
    buffer = ReceiveBuffer(Owner(), 0, 5)
    sent = bytes(range(60))
    got = b""
    for at in range(0, 60, 3):
        buffer.limit = buffer.start + 5
        assert receive(buffer, at, sent[at : at + 3])
        got += read(buffer)
    assert got == sent


def test_receive_fin_and_final_size():
    buffer = ReceiveBuffer(Owner(), 0, 16)
    assert not receive(buffer, 2, b"cd", 1)
    assert receive(buffer, 0, b"ab")
    assert buffer.ready == buffer.final == 4
    assert not receive(buffer, 2, b"cd")
    for offset, data, fin in ((4, b"e", 0), (4, b"e", 1), (0, b"abc", 1)):
        assert raises(RemoteError, receive, buffer, offset, data, fin).code == 2
    buffer = ReceiveBuffer(Owner(), 0, 16)
    receive(buffer, 4, b"e")
    assert raises(RemoteError, receive, buffer, 0, b"abc", 1).code == 2
    assert receive(ReceiveBuffer(Owner(), 0, 16), 0, b"", 1)


def test_receive_flow_control():
    buffer = ReceiveBuffer(Owner(), 0, 8)
    assert raises(RemoteError, receive, buffer, 4, b"abcde").code == 3
    assert raises(RemoteError, receive, ReceiveBuffer(Owner(4), 0, 8), 0, b"abcde").code == 3
    assert raises(RemoteError, receive, buffer, 1 << 61, b"a").code == 3


def test_receive_too_many_gaps_must_come_again():
    buffer = ReceiveBuffer(Owner(), 0, 400)
    for at in range(1, 129, 2):
        receive(buffer, at, b"x")
    raises(MemoryError, receive, buffer, 201, b"x")
    assert receive(buffer, 0, b"x")


def test_consume_asks_for_window():
    owner = Owner(16)
    buffer = ReceiveBuffer(owner, 5, 8)
    receive(buffer, 0, b"abcd")
    assert read(buffer, 1) == b"a" and owner.pending == 0
    assert read(buffer, 1) == b"b" and owner.pending == 1 << 5
    assert read(buffer) == b"cd" and owner.pending == 1 << 5 | 0x100


def test_reset_drops_what_is_unread():
    owner = Owner()
    buffer = ReceiveBuffer(owner, 0, 16)
    receive(buffer, 0, b"abcd")
    buffer.on_reset(9, 12)
    assert buffer.reset_code == 9 and buffer.start == buffer.final == 12
    assert owner.data_received == owner.data_consumed == 12
    assert not receive(buffer, 4, b"efgh")
    assert raises(RemoteError, buffer.on_reset, 9, 13).code == 2


def test_write_frame_bytes():
    stream = Stream(Owner(), 2, 64, 64)
    assert stream.write(b"hello") == 5
    assert frame(stream) == "08" + "02" + "80000000" + "4005" + "68656c6c6f"
    assert frame(stream) == ""
    stream.finish()
    assert frame(stream) == "09" + "02" + "80000005" + "4000"
    assert frame(stream) == ""
    raises(LocalError, stream.write, b"more")


def test_write_frame_limits():
    stream = Stream(Owner(), 2, 64, 7)
    assert stream.write(b"0123456789", 1) == 9
    assert frame(stream, 21) == "08" + "02" + "80000000" + "4004" + "31323334"
    assert frame(stream, 100, 2) == "08" + "02" + "80000004" + "4002" + "3536"
    assert frame(stream) == "08" + "02" + "80000006" + "4001" + "37"
    assert frame(stream) == ""
    assert frame(stream, 17) == ""


def test_write_takes_what_there_is_room_for():
    stream = Stream(Owner(), 0, 8, 100)
    assert stream.write(b"0123456789") == 8
    assert (stream.room, stream.unacked, stream.write(b"x")) == (0, 8, 0)
    frame(stream)
    stream.on_acked(0, 8 << 1)
    assert (stream.room, stream.unacked) == (8, 0)


def test_lost_piece_is_sent_again_once():
    stream = Stream(Owner(), 0, 64, 64)
    stream.write(b"abcdefgh")
    for _ in range(4):
        frame(stream, 19)
    stream.on_acked(2, 2 << 1)
    stream.on_lost(0, 8 << 1)  # a probe time-out counts more than was lost
    assert frame(stream, 19) == "08" + "00" + "80000000" + "4002" + "6162"
    stream.on_acked(0, 2 << 1)
    assert stream.unacked == 4
    assert frame(stream) == "08" + "00" + "80000004" + "4004" + "65666768"
    assert frame(stream) == ""
    stream.on_acked(6, 2 << 1)
    stream.on_lost(0, 6 << 1)
    assert frame(stream) == "08" + "00" + "80000004" + "4002" + "6566"
    stream.on_lost(4, 2 << 1)
    stream.on_acked(4, 2 << 1)
    assert stream.unacked == 0 and frame(stream) == ""


def test_lost_fin_is_sent_again():
    stream = Stream(Owner(), 0, 64, 64)
    stream.write(b"ab")
    stream.finish()
    assert frame(stream) == "09" + "00" + "80000000" + "4002" + "6162"
    stream.on_lost(0, 2 << 1 | 1)
    assert frame(stream)[:2] == "09"
    stream.on_acked(0, 2 << 1 | 1)
    stream.on_lost(0, 2 << 1 | 1)
    assert frame(stream) == "" and stream.finished_out


def test_offsets_beyond_small_ints():
    stream = Stream(Owner(1 << 40), 3, 64, 1 << 40)
    stream.start = stream.next = stream.end = (1 << 30) - 1
    stream.write(b"ab")
    assert frame(stream, 18) == "08" + "03" + "bfffffff" + "4001" + "61"
    assert frame(stream) == "08" + "03" + "c000000040000000" + "01" + "62"


def test_writable_event_after_full_buffer():
    owner = Owner()
    stream = Stream(owner, 6, 8, 100)
    stream.write(b"0123456789")
    frame(stream, 18)
    frame(stream)
    stream.on_acked(0, 1 << 1)
    assert owner.flags == 0
    stream.on_acked(1, 7 << 1)
    assert owner.flags == 1 << 16 + 6


def test_reset_and_stop_post_frames():
    owner = Owner()
    stream = Stream(owner, 11, 64, 64)
    stream.write(b"abcdef")
    frame(stream, 20)
    stream.reset(7)
    stream.reset(7)
    stream.stop(8)
    assert [text for text, _ in owner.posted] == ["040b0703", "050b08"]
    assert stream.unacked == 0 and frame(stream) == ""
    owner.posted[0][1]()
    assert stream.finished_out


def test_stopped_stream_drops_what_comes():
    owner = Owner()
    stream = Stream(owner, 0, 8, 8)
    receive(stream.incoming, 0, b"abc")
    stream.stop(1)
    receive(stream.incoming, 3, b"de", 1)
    stream.incoming.skip()
    assert stream.is_stopped
    assert (stream.readable, owner.data_consumed, stream.finished_in) == (0, 5, True)


def test_retired_stream_can_be_read_on():
    owner = Owner()
    stream = Stream(owner, 0, 8, 8)
    receive(stream.incoming, 0, b"abc", 1)
    later = Stream(owner, 8, 8, 8)
    stream.retire(later)
    receive(later.incoming, 0, b"XYZ")
    assert owner.data_consumed == 3
    assert stream.read(8) == b"abc" and owner.data_consumed == 3


def test_successor_takes_over_buffers():
    stream = Stream(Owner(), 0, 8, 8)
    stream.write(b"abc")
    receive(stream.incoming, 0, b"abc", 1)
    stream.read(3)
    rings = (stream._ring, stream.incoming._ring)
    later = Stream(Owner(), 8, 8, 8)
    stream.retire(later)
    assert (later._ring, later.incoming._ring) == rings
