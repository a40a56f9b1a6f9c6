"""Variable-length integers of RFC 9000 section 16: 1, 2, 4 or 8 bytes; the two top bits of the first tell which.

Values below 2**30 are written without allocating, on 32-bit ports too. Reading is a method of `frames.FrameReader`.
"""

from struct import pack_into


def put_varint(buf, pos: int, value: int) -> int:
    """Write `value` (below 2**62) into `buf` at `pos`; return the position behind it."""
    if value < 0x40:
        buf[pos] = value
        return pos + 1
    if value < 0x4000:
        buf[pos] = value >> 8 | 0x40
        buf[pos + 1] = value & 0xFF
        return pos + 2
    if value <= 0x3FFFFFFF:
        pack_into(">HH", buf, pos, value >> 16 | 0x8000, value & 0xFFFF)
        return pos + 4
    pack_into(">Q", buf, pos, value | 0xC000000000000000)
    return pos + 8


def encode(*values) -> bytearray:
    """Return the values as varints, one behind the other; a byte string with its length before it. It allocates."""
    frame = bytearray()
    buf = bytearray(8)
    for value in values:
        is_number = isinstance(value, int)
        frame += buf[: put_varint(buf, 0, value if is_number else len(value))]
        if not is_number:
            frame += value
    return frame
