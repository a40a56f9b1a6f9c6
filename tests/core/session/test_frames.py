"""The codec of frames against tests/vectors/frames.json, and against anything else that may come."""

from helpers import load_json, raises, tohex, unhex

from upeer.base.errors import RemoteError
from upeer.base.varint import encode
from upeer.session.frames import FrameReader


class Recorder:
    """Notes the calls of a FrameReader in the form of the vectors."""

    def __init__(self):
        self.calls = []
        self.reader = FrameReader(self)

    def read(self, plaintext, room=40):
        """Read as a session does: padding and tag of the packet follow behind the end."""
        self.calls = []
        self.buf = bytearray(7) + plaintext + bytearray(b"\x33" * room)
        return self.reader.read(self.buf, 7, 7 + len(plaintext))

    def _data(self, pos, size):
        return tohex(self.buf[pos : pos + size])

    def handle_ack(self, highs, lows, count, delay_ms):
        self.calls.append(["ack", [[highs[i], lows[i]] for i in range(count)], delay_ms])

    def handle_stream(self, stream_id, offset, pos, size, fin):
        self.calls.append(["stream", stream_id, offset, self._data(pos, size), fin])

    def handle_frame(self, kind, fields):
        self.calls.append(["frame", kind, [field if isinstance(field, int) else tohex(field) for field in fields]])


def refused(recorder, plaintext, room=40):
    try:
        recorder.read(plaintext, room)
    except (RemoteError, IndexError, ValueError):
        return True
    return False


def test_read_good_vectors():
    recorder = Recorder()
    for row in load_json("frames.json")["good"]:
        assert recorder.read(unhex(row["hex"])) == row["eliciting"], row["name"]
        assert recorder.calls == row["calls"], row["name"]


def test_read_bad_vectors():
    recorder = Recorder()
    for row in load_json("frames.json")["bad"]:
        assert refused(recorder, unhex(row["hex"])), row["name"]
        assert refused(recorder, unhex(row["hex"]), 0), row["name"]


def test_read_every_truncation():
    recorder = Recorder()
    for row in load_json("frames.json")["good"]:
        data = unhex(row["hex"])
        for size in range(len(data)):
            if not refused(recorder, data[:size]):  # cut between two frames
                calls = recorder.calls
                recorder.read(data)
                assert recorder.calls[: len(calls)] == calls


def test_read_seeded_garbage():
    recorder = Recorder()
    state = 7
    for _ in range(400):
        data = bytearray()
        for _ in range(20):
            state = (state * 69069 + 12345) & 0xFFFFFFF
            data.append(state >> 12 & (0xFF if state & 0x400 else 0x3F))
        refused(recorder, data)  # nothing else than those three errors


def test_unknown_type_is_protocol_error():
    assert raises(RemoteError, Recorder().read, b"\x33\x00\x00").code == 2


def test_ack_of_many_ranges_is_bounded():
    recorder = Recorder()
    recorder.read(encode(2, 1000, 0, 200, 0, *([0, 0] * 200)))
    assert len(recorder.calls[0][1]) == 32
    assert recorder.calls[0][1][31] == [938, 938]


def test_encode_rare_frames():
    assert tohex(encode(0x04, 11, 7, 4800)) == "040b0752c0"
    assert tohex(encode(0x31, 1, b"status", b"{}")) == "31010673746174757302" + "7b7d"
    assert tohex(encode(0x1C, 9, b"bye")) == "1c0903627965"
