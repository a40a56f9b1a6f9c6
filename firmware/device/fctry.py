"""The licence record in the `fctry` partition: two 4 KiB copies, one block each. Runs on the device and on the host.

    magic "uPfc" (32) | version = 1 (8) | 0 (8) | length of the body (16) | sequence (32) | CRC-32 (32) | body
    body = records of type (8) | length (16) | value; numbers are big-endian; the rest of the block is 0xFF
The CRC covers header and body with its own field as zero. Of two good copies the one with the higher sequence counts.
"""

from binascii import crc32
from struct import pack, unpack

BLOCK_SIZE = 4096
HEADER_SIZE = 16
_MAGIC = b"uPfc"
_VERSION = 1

# name, type, kind, required. Kinds: t text, k key of 32 bytes, s setup code of 10 bytes, n number 1..255
FIELDS = (
    ("did", 1, "t", True),
    ("licence_key", 2, "k", True),
    ("key_id", 3, "n", True),
    ("crc_key", 4, "k", True),
    ("p2p_key", 5, "k", True),
    ("init_string", 6, "t", True),
    ("setup_code", 7, "s", False),
    ("previous_key_id", 8, "n", False),
    ("previous_crc_key", 9, "k", False),
    ("previous_p2p_key", 10, "k", False),
)


def _check(name: str, kind: str, value) -> None:
    """Raise ValueError unless `value` is usable: no empty text, no key of another size or all zero, no number 0."""
    if kind == "t" and value:
        return
    if kind in "ks" and len(value) == (32 if kind == "k" else 10) and any(value):
        return
    if kind == "n" and 0 < value < 256:
        return
    raise ValueError("bad %s in the licence record" % name)


def encode(record: dict, sequence: int = 1) -> bytes:
    """Return one copy (4096 bytes) of `record`, whose keys are those of FIELDS; ValueError if one is missing or bad."""
    body = b""
    for name, number, kind, required in FIELDS:
        value = record.get(name)
        if value is None:
            if required:
                raise ValueError("no %s in the licence record" % name)
            continue
        _check(name, kind, value)
        data = value.encode() if kind == "t" else bytes((value,)) if kind == "n" else bytes(value)
        body += pack(">BH", number, len(data)) + data
    if HEADER_SIZE + len(body) > BLOCK_SIZE:
        raise ValueError("licence record too long")
    head = _MAGIC + pack(">BBHI", _VERSION, 0, len(body), sequence)
    block = head + pack(">I", crc32(body, crc32(head + bytes(4)))) + body
    return block + b"\xff" * (BLOCK_SIZE - len(block))


def _length(header) -> int:
    """Return the body's length; ValueError if there is no record."""
    if len(header) < HEADER_SIZE or bytes(header[:4]) == b"\xff\xff\xff\xff":
        raise ValueError("empty")
    magic, version, zero, length = unpack(">4sBBH", header[:8])
    if magic != _MAGIC or version != _VERSION or zero or length > BLOCK_SIZE - HEADER_SIZE:
        raise ValueError("not a licence record of version 1")
    return length


def sequence(block) -> int:
    """Return the sequence number in a copy's header."""
    return unpack(">I", block[8:12])[0]


def decode(block) -> dict:
    """Return the record in one copy (header and body at least); ValueError says what is wrong with it."""
    length = _length(block)
    body = bytes(block[HEADER_SIZE : HEADER_SIZE + length])
    if unpack(">I", block[12:HEADER_SIZE])[0] != crc32(body, crc32(bytes(block[:12]) + bytes(4))) or len(body) < length:
        raise ValueError("wrong checksum")
    values = {}
    at = 0
    while at < length:
        if at + 3 > length:
            raise ValueError("record cut short")
        number, size = unpack(">BH", body[at : at + 3])
        at += 3 + size
        if at > length or number in values:
            raise ValueError("record cut short or twice")
        values[number] = body[at - size : at]
    return _record(values)


def _record(values: dict) -> dict:
    """Turn {type: bytes} into {name: value}; types that a newer tool wrote are passed over."""
    record = {}
    for name, number, kind, required in FIELDS:
        data = values.get(number)
        if data is None:
            if required:
                raise ValueError("no %s in the licence record" % name)
            continue
        if kind == "n" and len(data) != 1:
            raise ValueError("bad %s in the licence record" % name)
        value = data.decode() if kind == "t" else data[0] if kind == "n" else data
        _check(name, kind, value)
        record[name] = value
    return record


def read(readblocks) -> tuple:
    """Return (record, copy 1 or 2, faults) through `readblocks(block, buffer)`; ValueError if neither copy is good.

    A fault is one line about a copy that is bad or behind; report it, and write that copy anew where that is possible.
    """
    best, which, newest, faults = None, 0, -1, []
    for block in (0, 1):
        try:
            header = bytearray(HEADER_SIZE)
            readblocks(block, header)
            buf = bytearray(HEADER_SIZE + _length(header))
            readblocks(block, buf)
            record = decode(buf)
        except (ValueError, OSError) as error:
            faults.append("fctry copy %d: %s" % (block + 1, error))
            continue
        if sequence(buf) != newest and best:
            faults.append("fctry copy %d: out of date" % (which if sequence(buf) > newest else block + 1))
        if sequence(buf) > newest:
            best, which, newest = record, block + 1, sequence(buf)
    if best is None:
        raise ValueError("no licence on this device (%s): burn one" % ", ".join(faults))
    return best, which, faults


def load() -> tuple:
    """Return what `read` finds in this chip's fctry partition; ValueError if there is none."""
    from esp32 import Partition

    found = Partition.find(Partition.TYPE_DATA, label="fctry")
    if not found:
        raise ValueError("no fctry partition: flash an image made by `upeer image build`")
    return read(found[0].readblocks)
