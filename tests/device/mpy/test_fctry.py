"""The licence partition's codec, on MicroPython; tests/host/test_fctry.py runs the same functions on CPython."""

from binascii import crc32
from struct import pack

from helpers import raises, tohex

import device.fctry as fctry

RECORD = {
    "did": "ABCD-000001-GHKLM",
    "licence_key": b"L" * 32,
    "key_id": 7,
    "crc_key": b"C" * 32,
    "p2p_key": b"P" * 32,
    "init_string": "BwAA",
    "setup_code": b"S" * 10,
}


def reader(first, second, bad_block=-1):
    """Return readblocks over two copies; `bad_block` cannot be read."""

    def readblocks(block, buf):
        if block == bad_block:
            raise OSError(5)
        buf[:] = (first, second)[block][: len(buf)]

    return readblocks


def with_body(body):
    """Return a copy with that body and a right checksum."""
    head = b"uPfc" + pack(">BBHI", 1, 0, len(body), 1)
    return head + pack(">I", crc32(body, crc32(head + bytes(4)))) + body + b"\xff" * (4080 - len(body))


def test_encode_makes_these_bytes():
    keys = {"licence_key": b"1" * 32, "crc_key": b"2" * 32, "p2p_key": b"3" * 32}
    block = fctry.encode(dict(keys, did="A", key_id=1, init_string="x"))
    assert tohex(block[:24]) == "7550666301000075000000015cb7b8660100014102002031"
    assert tohex(block[55:62]) == "03000101040020" and tohex(block[129:133]) == "06000178"
    assert len(block) == 4096 and block[133:] == b"\xff" * 3963


def test_decode_returns_what_was_encoded():
    assert fctry.decode(fctry.encode(RECORD)) == RECORD
    rotated = dict(RECORD, previous_key_id=6, previous_crc_key=b"c" * 32, previous_p2p_key=b"p" * 32)
    assert fctry.decode(fctry.encode(rotated)) == rotated


def test_every_flipped_byte_is_noticed():
    block = fctry.encode(RECORD)
    for at in range(16 + block[6] * 256 + block[7]):
        bad = bytearray(block)
        bad[at] ^= 1
        raises(ValueError, fctry.decode, bad)


def test_every_cut_is_noticed():
    block = fctry.encode(RECORD)
    for size in range(16 + block[6] * 256 + block[7]):
        raises(ValueError, fctry.decode, block[:size])


def test_missing_zero_and_short_keys_are_refused():
    for name in ("did", "licence_key", "key_id", "crc_key", "p2p_key", "init_string"):
        record = dict(RECORD)
        del record[name]
        raises(ValueError, fctry.encode, record)
    for name in ("licence_key", "crc_key", "p2p_key"):
        for key in (bytes(32), b"x" * 31, b""):
            raises(ValueError, fctry.encode, dict(RECORD, **{name: key}))
    raises(ValueError, fctry.encode, dict(RECORD, key_id=0))
    raises(ValueError, fctry.encode, dict(RECORD, init_string="x" * 4096))


def test_bodies_with_right_checksum_but_wrong_inside_are_refused():
    good = fctry.encode(RECORD)
    body = good[16 : 16 + good[6] * 256 + good[7]]
    for bad in (b"", b"\x01", b"\x01\x00\x05abc", body + b"\x01\x00\x01A", body + b"\x09\x00\x20" + bytes(32)):
        raises(ValueError, fctry.decode, with_body(bad))
    assert fctry.decode(with_body(body + b"\xf0\x00\x02zz")) == RECORD  # a type of the future is passed over


def test_read_falls_back_to_the_second_copy_and_says_so():
    good = fctry.encode(RECORD)
    assert fctry.read(reader(good, good)) == (RECORD, 1, [])
    bad = bytearray(good)
    bad[40] ^= 1
    assert fctry.read(reader(bad, good)) == (RECORD, 2, ["fctry copy 1: wrong checksum"])
    assert fctry.read(reader(good, b"\xff" * 4096)) == (RECORD, 1, ["fctry copy 2: empty"])
    record, which, faults = fctry.read(reader(good, good, bad_block=0))
    assert (record, which, len(faults)) == (RECORD, 2, 1)


def test_read_takes_the_newer_copy():
    old, new = fctry.encode(RECORD, 4), fctry.encode(dict(RECORD, key_id=8), 5)
    assert fctry.read(reader(old, new)) == (dict(RECORD, key_id=8), 2, ["fctry copy 1: out of date"])
    assert fctry.read(reader(new, old)) == (dict(RECORD, key_id=8), 1, ["fctry copy 2: out of date"])


def test_read_without_any_good_copy_is_one_line():
    error = raises(ValueError, fctry.read, reader(b"\xff" * 4096, b"\0" * 4096))
    assert str(error).startswith("no licence on this device (fctry copy 1: empty, fctry copy 2: not a licence record")
    assert "burn" in str(error)
