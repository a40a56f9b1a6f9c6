"""The esp32 module over flash.bin: Partition, and NVS from `_nvs`, with the chip's calls and errors."""

import struct

import _heap
import _host

HEAP_DATA = 4
HEAP_EXEC = 1
_BLOCK = 4096
_TABLE = 0x8000

_flash = _host.folder and _host.folder.open("/flash.bin", "r+b")


def _rows():
    """Yield the rows of the partition table as Partition.info() gives them."""
    at = _TABLE
    while _flash:
        _flash.seek(at)
        row = _flash.read(32)
        if row[:2] != b"\xaa\x50":
            return
        _, kind, subtype, offset, size, label, flags = struct.unpack("<2sBBII16sI", row)
        yield kind, subtype, offset, size, label.rstrip(b"\0").decode(), bool(flags & 1)
        at += 32


class Partition:
    """esp32.Partition: also the block device that the file system stands on."""

    TYPE_APP = 0
    TYPE_DATA = 1
    BOOT = 0
    RUNNING = 1

    def __init__(self, which, block_size=_BLOCK):
        if which == self.BOOT or which == self.RUNNING:
            self._info = _host.load("_ota").boot_app()
        else:
            found = [row for row in _rows() if row[4] == which]
            if not found:
                raise OSError(2)
            self._info = found[0]
        self._block = block_size

    @classmethod
    def find(cls, type=0, subtype=0xFF, label=None, block_size=_BLOCK):
        return [
            cls(row[4], block_size)
            for row in _rows()
            if row[0] == type and (subtype == 0xFF or row[1] == subtype) and (label is None or row[4] == label)
        ]

    def info(self):
        return self._info

    def _seek(self, at, size):
        if at < 0 or at + size > self._info[3]:
            raise OSError(-0x102, "ESP_ERR_INVALID_ARG")
        _flash.seek(self._info[2] + at)

    def readblocks(self, block, buf, offset=0):
        self._seek(block * self._block + offset, len(buf))
        _flash.readinto(buf)

    def writeblocks(self, block, buf, offset=0):
        self._seek(block * self._block + offset, len(buf))
        _flash.write(buf)

    def ioctl(self, command, arg):
        if command == 4:
            return self._info[3] // self._block
        if command == 5:
            return self._block
        if command == 6:
            self._seek(arg * self._block, self._block)
            for _ in range(self._block // 256):
                _flash.write(b"\xff" * 256)
        return 0

    def set_boot(self):
        _host.load("_ota").set_boot(self._info)

    def get_next_update(self):
        return Partition(_host.load("_ota").next_app())

    @classmethod
    def mark_app_valid_cancel_rollback(cls):
        _host.load("_ota").mark_valid()


def idf_heap_info(capabilities):
    """Return one row for each region of ESP-IDF's heap; data has one here, code none."""
    return [_heap.info()] if capabilities == HEAP_DATA else []


def __getattr__(name):
    """NVS is loaded whenever somebody asks, and dropped with its user: on the chip it takes none of the heap."""
    if name == "NVS":
        return _host.load("_nvs", False).NVS
    raise AttributeError(name)
