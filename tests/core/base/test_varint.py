"""Varints: the examples of RFC 9000 A.1, the borders between sizes, and what is too short."""

from helpers import raises, tohex, unhex

from upeer.base.varint import encode, put_varint
from upeer.session.frames import FrameReader

EXAMPLES = (
    ("c2197c5eff14e88c", 151288809941952652),
    ("9d7f3e7d", 494878333),
    ("7bbd", 15293),
    ("25", 37),
    ("3f", 63),
    ("4040", 64),
    ("7fff", 16383),
    ("80004000", 16384),
    ("bfffffff", (1 << 30) - 1),
    ("c000000040000000", 1 << 30),
    ("ffffffffffffffff", (1 << 62) - 1),
)


def read(data):
    reader = FrameReader(None)
    reader.buf = data
    return reader.varint(), reader.pos


def test_encode_examples():
    for text, value in EXAMPLES:
        assert tohex(encode(value)) == text
    assert tohex(encode(1, 64, 16384)) == "01404080004000"
    assert tohex(encode(5, b"hello", b"")) == "05" + "0568656c6c6f" + "00"
    assert encode(bytes(64))[:3] == b"\x40\x40\x00"


def test_put_varint_returns_position():
    buf = bytearray(12)
    for text, value in EXAMPLES:
        assert put_varint(buf, 3, value) == 3 + len(text) // 2
        assert tohex(buf[3 : 3 + len(text) // 2]) == text


def test_varint_examples():
    for text, value in EXAMPLES:
        assert read(unhex(text)) == (value, len(text) // 2)
        assert read(memoryview(unhex(text + "aa"))) == (value, len(text) // 2)


def test_varint_longer_than_needed():
    assert read(unhex("4025")) == (37, 2)
    assert read(unhex("80000001")) == (1, 4)
    assert read(unhex("c000000000000001")) == (1, 8)


def test_varint_too_short():
    for text, _ in EXAMPLES:
        for size in range(len(text) // 2):
            raises(IndexError, read, unhex(text)[:size])
