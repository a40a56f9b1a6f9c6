"""Variable-length integers of RFC 9000 section 16: 1, 2, 4 or 8 bytes; the two top bits of the first tell which.

Values below 2**30 are read and written without allocating, on 32-bit ports too.
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
    """Return the values as varints, one behind the other. For rare frames: it allocates."""
    buf = bytearray(8 * len(values))
    pos = 0
    for value in values:
        pos = put_varint(buf, pos, value)
    return buf[:pos]


class Reader:
    """A position in a buffer that varints are read from.

    It knows no end but the buffer's, where it raises IndexError: compare `pos` with the end of what may be read.
    """

    def __init__(self):
        self.buf = b""
        self.pos = 0

    def varint(self) -> int:
        """Return the varint at `pos` and move behind it."""
        buf = self.buf
        pos = self.pos
        value = buf[pos]
        if value < 0x40:
            self.pos = pos + 1
            return value
        if value < 0x80:
            self.pos = pos + 2
            return (value & 0x3F) << 8 | buf[pos + 1]
        self.pos = pos + 4
        value = (value & 0x3F) << 24 | buf[pos + 1] << 16 | buf[pos + 2] << 8 | buf[pos + 3]
        if buf[pos] < 0xC0:
            return value
        self.pos = pos + 8
        return value << 32 | buf[pos + 4] << 24 | buf[pos + 5] << 16 | buf[pos + 6] << 8 | buf[pos + 7]

    def take(self, size: int, end: int) -> bytes:
        """Return a copy of the next `size` bytes; IndexError if they reach beyond `end`."""
        pos = self.pos
        self.pos = pos + size
        if size > end - pos:
            raise IndexError
        return bytes(self.buf[pos : pos + size])
