"""Streams over a pool of small blocks: pieces in any order, final sizes, flow control, literal STREAM frames."""

from helpers import raises, tohex

from upeer.base.errors import LocalError, RemoteError
from upeer.session.pool import Pool
from upeer.session.receiving import ReceiveBuffer
from upeer.session.stream import Stream


class Owner:
    """What a stream asks of its session; its pool has 13 blocks of 4 bytes unless told otherwise."""

    def __init__(self, window=1000, block_size=4):
        self.flags = self.pending = self.retransmitted = 0
        self.data_received = self.data_consumed = 0
        self.data_window = self.data_limit = window
        self.is_open = True
        self.posted = []
        self.streams = []
        self.pool = Pool(13 * 64)
        self.pool.share = self.pool.left = 13
        self.pool.block_size = block_size

    def post(self, frame, delivered):
        self.posted.append((tohex(frame), delivered))


def made(owner, stream_id, limit=1000):
    """Return a stream as the session makes it."""
    stream = Stream(owner, stream_id, 64, limit)
    owner.streams.append(stream)
    return stream


def taken(owner):
    """Return how many blocks are out for bytes to be sent."""
    return owner.pool.share - owner.pool.left


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


def test_receive_gives_blocks_back_and_takes_them_again():
    owner = Owner()
    buffer = ReceiveBuffer(owner, 0, 99)
    sent = bytes(range(60))
    got = b""
    for at in range(0, 60, 6):
        assert receive(buffer, at, sent[at : at + 6])
        got += read(buffer, 5)
    assert got + read(buffer) == sent
    assert (buffer._blocks, buffer.base, owner.data_consumed) == ([], 60, 60)
    assert 0 < len(owner.pool.free) < 8


def test_last_block_is_whole_for_one_channel_and_fits_the_data_of_others():
    owner = Owner(1000, 64)
    first, other = [ReceiveBuffer(owner, channel, 999) for channel in range(2)]
    receive(first, 0, b"abc")
    receive(other, 0, b"abc")
    assert (len(first._blocks[0]), len(other._blocks[0])) == (64, 3)
    receive(other, 60, b"0123456789")
    assert [len(block) for block in other._blocks] == [64, 6]
    receive(other, 3, bytes(57))
    assert read(other) == b"abc" + bytes(57) + b"0123456789"
    read(first)
    receive(other, 70, b"x")
    assert [len(block) for block in other._blocks] == [64]


def test_held_memory_is_within_the_window_and_a_block():
    owner = Owner(1000, 32)
    buffers = [ReceiveBuffer(owner, channel, 999) for channel in range(8)]
    state = 7
    offsets = [0] * 8
    for _ in range(400):
        state = (state * 69069 + 12345) & 0xFFFFFFF
        channel = state >> 8 & 7
        size = min(state >> 12 & 63, owner.data_limit - owner.data_received)
        buffers[channel].limit = offsets[channel] + size
        receive(buffers[channel], offsets[channel], bytes(size))
        offsets[channel] += size
        held = sum(len(block) for buffer in buffers for block in buffer._blocks)
        assert held <= owner.data_received - owner.data_consumed + 32
        if state & 0x300000 == 0:
            read(buffers[state >> 16 & 7], state >> 14 & 127)
            owner.data_limit = owner.data_consumed + owner.data_window


def test_pieces_in_any_order_on_many_channels_come_out_right():
    state = 3
    for _ in range(20):
        owner = Owner(1 << 20, 8)
        buffers = [ReceiveBuffer(owner, channel, 400) for channel in range(4)]
        got = [b""] * 4
        while min(len(data) for data in got) < 300:
            state = (state * 69069 + 12345) & 0xFFFFFFF
            channel = state >> 8 & 3
            buffer = buffers[channel]
            at = min(max(buffer.ready + (state >> 12 & 31) - 8, 0), 299)
            end = min(at + 1 + (state >> 17 & 15), 300)
            receive(buffer, at, bytes((i * 7 + channel) & 255 for i in range(at, end)), end == 300)
            if state >> 22 & 1:
                got[channel] += read(buffer, state >> 23 & 31)
            if buffer.ready == 300:
                got[channel] += read(buffer, 300)
        for channel in range(4):
            assert got[channel] == bytes((i * 7 + channel) & 255 for i in range(300))
        assert owner.data_consumed == owner.data_received == 1200


def test_memory_error_while_receiving_loses_nothing():
    owner = Owner()
    buffer = ReceiveBuffer(owner, 0, 99)
    take = owner.pool.take

    def fail(size):
        raise MemoryError

    receive(buffer, 0, b"abc")
    for failing in (True, True, False):
        owner.pool.take = fail if failing else take
        if failing:
            raises(MemoryError, receive, buffer, 3, b"defghijkl")
    assert owner.data_received == 12
    assert receive(buffer, 3, b"defghijkl")
    assert read(buffer) == b"abcdefghijkl" and owner.data_consumed == 12


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
    owner.pool.block_size = 2
    buffer = ReceiveBuffer(owner, 5, 8)
    receive(buffer, 0, b"abcd")
    assert read(buffer, 2) == b"ab" and owner.pending == 0
    assert read(buffer) == b"cd" and owner.pending == 1 << 5
    receive(buffer, 4, b"efgh")
    assert read(buffer) == b"efgh" and owner.pending == 1 << 5 | 0x100


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
    stream = made(Owner(), 2, 64)
    assert stream.write(b"hello") == 5
    assert frame(stream) == "08" + "02" + "80000000" + "4005" + "68656c6c6f"
    assert frame(stream) == ""
    stream.finish()
    assert frame(stream) == "09" + "02" + "80000005" + "4000"
    assert frame(stream) == ""
    raises(LocalError, stream.write, b"more")


def test_write_frame_limits():
    stream = made(Owner(), 2, 7)
    assert stream.write(b"0123456789", 1) == 9
    assert frame(stream, 21) == "08" + "02" + "80000000" + "4004" + "31323334"
    assert frame(stream, 100, 2) == "08" + "02" + "80000004" + "4002" + "3536"
    assert frame(stream) == "08" + "02" + "80000006" + "4001" + "37"
    assert frame(stream) == ""
    assert frame(stream, 17) == ""


def test_write_takes_what_there_is_room_for():
    owner = Owner()
    stream = made(owner, 0)
    assert stream.write(bytes(60)) == 52
    assert (stream.unacked, stream.write(b"x"), taken(owner)) == (52, 0, 13)
    frame(stream)
    stream.on_acked(0, 5 << 1)
    assert (stream.unacked, taken(owner), stream.write(bytes(9))) == (47, 12, 4)
    stream.on_acked(5, 47 << 1)
    assert (stream.unacked, taken(owner)) == (4, 1)


def test_busy_streams_share_the_pool():
    owner = Owner()
    streams = [made(owner, channel) for channel in range(8)]
    assert streams[0].write(bytes(100)) == 48  # one block is left to others
    assert [stream.write(bytes(100)) for stream in streams[1:]] == [4] * 7  # however much others hold
    for at in range(0, 48, 4):
        frame(streams[0], 21)
        streams[0].on_acked(at, 4 << 1)
        for stream in streams:
            stream.write(bytes(100))
    assert [stream.unacked for stream in streams] == [4] * 8


def test_four_channels_of_a_small_share_hold_six_blocks_at_most():
    owner = Owner()
    owner.pool.share = owner.pool.left = 4
    streams = [made(owner, channel) for channel in range(4)]
    assert [stream.write(bytes(100)) for stream in streams] == [12, 4, 4, 4]
    assert taken(owner) == 6


def test_memory_error_while_writing_ends_it_where_it_came():
    owner = Owner()
    stream = made(owner, 0)
    stream.write(b"abc")
    take = owner.pool.take
    calls = []

    def fail(size):
        calls.append(size)
        if len(calls) == 2:
            raise MemoryError
        return take(size)

    owner.pool.take = fail
    assert stream.write(b"defghijklm") == 5  # what stands in blocks is on its way, and frees them
    assert stream.unacked == 8 and stream.is_hungry
    owner.pool.take = take
    assert stream.write(b"ijklm") == 5
    assert frame(stream)[-26:] == tohex(b"abcdefghijklm")
    stream.on_acked(0, 13 << 1)
    assert taken(owner) == 0


def test_lost_piece_is_sent_again_once():
    stream = made(Owner(), 0, 64)
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
    stream = made(Owner(), 0, 64)
    stream.write(b"ab")
    stream.finish()
    assert frame(stream) == "09" + "00" + "80000000" + "4002" + "6162"
    stream.on_lost(0, 2 << 1 | 1)
    assert frame(stream)[:2] == "09"
    stream.on_acked(0, 2 << 1 | 1)
    stream.on_lost(0, 2 << 1 | 1)
    assert frame(stream) == "" and stream.finished_out


def test_offsets_beyond_small_ints():
    stream = made(Owner(1 << 40), 3, 1 << 40)
    stream.start = stream.next = stream.end = stream._base = (1 << 30) - 1
    stream.write(b"ab")
    assert frame(stream, 18) == "08" + "03" + "bfffffff" + "4001" + "61"
    assert frame(stream) == "08" + "03" + "c000000040000000" + "01" + "62"


def test_writable_event_after_full_buffer():
    owner = Owner()
    stream = made(owner, 6)
    stream.write(bytes(53))
    frame(stream, 18)
    frame(stream)
    stream.on_acked(0, 12 << 1)
    assert owner.flags == 0
    stream.on_acked(12, 7 << 1)
    assert owner.flags == 1 << 16 + 6


def test_reset_and_stop_post_frames():
    owner = Owner()
    stream = made(owner, 11)
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
    stream = made(owner, 0)
    receive(stream.incoming, 0, b"abc")
    stream.stop(1)
    receive(stream.incoming, 4, b"e", 1)
    assert stream.incoming._blocks is None
    assert (stream.readable, owner.data_consumed, stream.finished_in) == (0, 5, True)


def test_retired_stream_can_be_read_on():
    owner = Owner()
    stream = made(owner, 0)
    receive(stream.incoming, 0, b"abc", 1)
    later = made(owner, 8)
    stream.retire()
    receive(later.incoming, 0, b"XYZ")
    assert owner.data_consumed == 3
    assert stream.read(8) == b"abc" and owner.data_consumed == 3
