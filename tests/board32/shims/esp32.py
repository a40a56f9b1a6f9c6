"""NVS and the licence's partition; their contents are node's, for on the chip they take no heap."""

from binascii import hexlify, unhexlify

import host32


class NVS:
    def __init__(self, namespace):
        self._prefix = namespace + "/"

    def set_blob(self, key, value):
        host32.nvs_set(self._prefix + key, hexlify(value).decode())

    def get_blob(self, key, buf):
        value = host32.nvs_get(self._prefix + key)
        if not value:
            raise OSError(-0x1102, "ESP_ERR_NVS_NOT_FOUND")
        data = unhexlify(value)
        buf[: len(data)] = data
        return len(data)

    def erase_key(self, key):
        if not host32.nvs_erase(self._prefix + key):
            raise OSError(-0x1102, "ESP_ERR_NVS_NOT_FOUND")

    def commit(self):
        pass


class Partition:
    TYPE_APP = 0
    TYPE_DATA = 1

    @classmethod
    def find(cls, type=0, subtype=0xFF, label=None):
        return [cls()]

    def readblocks(self, block, buf, offset=0):
        with open("/fctry.bin", "rb") as file:
            file.seek(block * 4096 + offset)
            file.readinto(buf)

    def writeblocks(self, block, buf, offset=0):
        raise OSError(30)

    def ioctl(self, command, arg):
        return 0


def idf_heap_info(kind):
    return [(144 * 1024, 80 * 1024, 80 * 1024, 80 * 1024)]
