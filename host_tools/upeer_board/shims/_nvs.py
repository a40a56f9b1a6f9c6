"""esp32.NVS: a log of records in the `nvs` partition; Espressif's own page format is not imitated:

"uNVS" | type (8; 1 i32, 2 blob, 0 erased, FF end) | key length (8) | data length (16) | namespace NUL key | data
"""

import struct

from esp32 import _flash, _rows

_NOT_FOUND = (-0x1102, "ESP_ERR_NVS_NOT_FOUND")
_NO_SPACE = (-0x1105, "ESP_ERR_NVS_NOT_ENOUGH_SPACE")
_TOO_LONG = (-0x1109, "ESP_ERR_NVS_KEY_TOO_LONG")
_BAD_LENGTH = (-0x110C, "ESP_ERR_NVS_INVALID_LENGTH")


class NVS:
    """esp32.NVS: i32 and blobs by namespace and key (up to 15 characters each)."""

    def __init__(self, namespace):
        if not 0 < len(namespace) < 16:
            raise OSError(*_TOO_LONG)
        row = [row for row in _rows() if row[0] == 1 and row[1] == 2]
        if not row:
            raise OSError(-0x110F, "ESP_ERR_NVS_PART_NOT_FOUND")
        self._start = row[0][2]
        self._end = self._start + row[0][3]
        self._prefix = namespace.encode() + b"\0"

    def _name(self, key):
        if not 0 < len(key) < 16:
            raise OSError(*_TOO_LONG)
        return self._prefix + key.encode()

    def _records(self):
        """Yield (offset, type, name, data size) of every record, and at last (free offset, 255, b"", 0)."""
        _flash.seek(self._start)
        if _flash.read(4) != b"uNVS":
            _flash.seek(self._start)
            _flash.write(b"uNVS\xff\xff\xff\xff")
        at = self._start + 4
        while True:
            _flash.seek(at)
            head = _flash.read(4)
            if head[0] == 255 or at + 4 > self._end:
                yield at, 255, b"", 0
                return
            kind, name_size, size = struct.unpack("<BBH", head)
            yield at, kind, _flash.read(name_size), size
            at += 4 + name_size + size

    def _find(self, key, kind):
        name = self._name(key)
        for at, found, its_name, size in self._records():
            if found and its_name == name and (not kind or found == kind):
                return at, 4 + len(name), size
        raise OSError(*_NOT_FOUND)

    def _set(self, key, kind, data):
        name = self._name(key)
        try:
            old = self._find(key, 0)[0]
        except OSError:
            old = 0
        size = 4 + len(name) + len(data)
        free = self._free()
        if free + size + 4 > self._end:
            self._compact()
            old = self._find(key, 0)[0] if old else 0
            free = self._free()
            if free + size + 4 > self._end:
                raise OSError(*_NO_SPACE)
        _flash.seek(free)
        _flash.write(struct.pack("<BBH", kind, len(name), len(data)) + name + data + b"\xff\xff\xff\xff")
        if old:
            self._erase(old)

    def _free(self):
        return list(self._records())[-1][0]

    def _erase(self, at):
        _flash.seek(at)
        _flash.write(b"\0")

    def _compact(self):
        """Move what lives to the front."""
        target = self._start + 4
        for at, kind, name, size in self._records():
            if kind == 255:
                break
            if kind:
                _flash.seek(at)
                record = _flash.read(4 + len(name) + size)
                _flash.seek(target)
                _flash.write(record)
                target += len(record)
        _flash.seek(target)
        _flash.write(b"\xff\xff\xff\xff")

    def set_i32(self, key, value):
        if not -0x80000000 <= value <= 0x7FFFFFFF:
            raise OverflowError("overflow converting long int to machine word")
        self._set(key, 1, struct.pack("<i", value))

    def get_i32(self, key):
        at, skip, _ = self._find(key, 1)
        _flash.seek(at + skip)
        return struct.unpack("<i", _flash.read(4))[0]

    def set_blob(self, key, value):
        self._set(key, 2, bytes(value))

    def get_blob(self, key, buffer):
        at, skip, size = self._find(key, 2)
        if size > len(buffer):
            raise OSError(*_BAD_LENGTH)
        _flash.seek(at + skip)
        _flash.readinto(memoryview(buffer)[:size])
        return size

    def erase_key(self, key):
        self._erase(self._find(key, 0)[0])

    def commit(self):
        """Everything is written when it is set."""
