"""The bounded reader, addresses, headers, device IDs."""

from helpers import raises, unhex

from upeer.base import wire
from upeer.base.errors import LocalError, ProtocolError


def test_address_round_trip():
    packed = wire.pack_address("192.0.2.33", 40717)
    assert packed == unhex("c0000221 9f0d")
    assert wire.unpack_address(b"xx" + packed, 2) == ("192.0.2.33", 40717)


def test_pack_address_refuses_what_is_none():
    for ip, port in (("", 1), ("1.2.3", 1), ("1.2.3.4.5", 1), ("1.2.3.256", 1), ("1.2.3.-4", 1), ("a.b.c.d", 1)):
        raises(LocalError, wire.pack_address, ip, port)
    for port in (0, -1, 65536):
        raises(LocalError, wire.pack_address, "1.2.3.4", port)


def test_reader_reads_fields_in_order():
    reader = wire.Reader(unhex("00 01 0203 fffefdfc aabb 01020304 0506 99"), 1)
    assert reader.u8() == 1
    assert reader.u16() == 0x0203
    assert reader.u32() == 0xFFFEFDFC
    assert reader.bytes(2) == unhex("aabb")
    assert reader.address() == ("1.2.3.4", 0x0506)
    raises(ProtocolError, reader.done)
    assert reader.rest() == b"\x99"
    reader.done()
    assert reader.rest() == b""


def test_reader_never_reads_beyond_its_end():
    buf = bytes(20)
    for read, size in (("u8", 1), ("u16", 2), ("u32", 4), ("address", 6)):
        for short in range(size):
            raises(ProtocolError, getattr(wire.Reader(buf, 4, 4 + short), read))
    raises(ProtocolError, wire.Reader(buf, 4, 8).bytes, 5)
    raises(ProtocolError, wire.Reader(buf, 9, 8).rest)


def test_header_round_trip():
    header = wire.header(wire.HELLO, 7, wire.ROLE_P2P)
    assert header == unhex("80 01 07 02")
    assert wire.Reader(header).header(wire.HELLO) == (7, 2)
    raises(ProtocolError, wire.Reader(header).header, wire.COOKIE)
    raises(ProtocolError, wire.Reader(unhex("80020702")).header, wire.HELLO)
    raises(ProtocolError, wire.Reader(unhex("800107")).header, wire.HELLO)


def test_did_form():
    assert wire.check_did("ABCD-123456-GHKLM") == "ABCD-123456-GHKLM"
    for text in ("", "ABCD-123456-GHKL", "abcd-123456-GHKLM", "ABCD1123456-GHKLM", "ABCD-123456-GHKLMN"):
        raises(LocalError, wire.check_did, text)
