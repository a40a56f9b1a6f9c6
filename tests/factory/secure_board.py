"""A board with eFuses at its port: an emulated controller (esp32_efuses) behind the ROM, for real espefuse and esptool.

Bits can only be set, protected keys read as zeros, the bootloader encrypts the flash at its first boot once there is a
key, and from then on esptool sees it. `pull={"BURN": 2}` pulls the cable, and the power, right after the second burn.
"""

import struct

from esp32_efuses import BASE, Esp32Efuses
from line_board import LineBoard

_REVISION_3 = {0x3FF6607C: 1 << 31}  # ESP32's APB_CTRL_DATE_REG: with both eFuses of the version it tells revision 3
_CRYPT_COUNT, _KEY_HIDDEN = 1 << 20, 1 << 16  # in word 0 of block 0
_KEY_BLOCK, _KEY_WRITTEN = 1, range(BASE + 0x98, BASE + 0xB8)


class EFuses(Esp32Efuses):
    """The eFuses of an ESP32 of revision 3; `burns` counts the burns, `keys` has the flash keys that were burned.

    The keys, as they lie in the block, are what nothing but a test can know.
    """

    def __init__(self, file, mac_bytes, on_cut):
        super().__init__(file, self._count)
        self._on_cut, self._has_new_key, self.burns, self.keys = on_cut, False, 0, []
        low, high = int.from_bytes(mac_bytes[2:], "big"), int.from_bytes(mac_bytes[:2], "big")
        for number, value in ((1, low), (2, high | _crc8(mac_bytes) << 16), (3, 1 << 15), (4, 128), (5, 1 << 20)):
            self.burn(number, value)

    def write(self, address, value):
        self._has_new_key |= address in _KEY_WRITTEN and value != 0
        super().write(address, value)

    def _count(self):
        self.burns += 1
        if self._has_new_key:
            self.keys.append(struct.pack("<8I", *self.requested(_KEY_BLOCK)))
        self._has_new_key = False
        self._on_cut()

    def over(self, registers):
        """Return registers in which these eFuses lie, as after a reset."""
        self.load()
        return _Registers(self, {**registers, **_REVISION_3})

    def shown_but_mac(self):
        """Return what all data registers show to software after a reset, but for the board's MAC."""
        self.load()
        return tuple(word for block, words in enumerate(self._shown) for at, word in enumerate(words)
                     if (block, at) not in ((0, 1), (0, 2)))  # fmt: skip

    @property
    def mac(self):
        return (self.word(2) & 0xFFFF).to_bytes(2, "big").hex(":") + ":" + self.word(1).to_bytes(4, "big").hex(":")

    def word(self, number):
        """Return a word of block 0 as it is burned."""
        return self._burned[0][number]

    @property
    def is_encrypted(self):
        return bin(self.word(0) >> 20 & 0x7F).count("1") % 2 == 1


def _crc8(data):
    """Return the check byte of a MAC address: CRC-8 of polynomial 0x31, reflected (Dallas)."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8C if crc & 1 else 0)
    return crc


class _Registers(dict):
    """All registers of a session; those of the eFuses are the controller's."""

    def __init__(self, efuses, others):
        super().__init__(others)
        self._efuses = efuses

    def __contains__(self, address):
        return self._efuses.has(address) or super().__contains__(address)

    def __getitem__(self, address):
        return self._efuses.read(address) if self._efuses.has(address) else super().__getitem__(address)

    def get(self, address, default=None):
        return self._efuses.read(address) if self._efuses.has(address) else super().get(address, default)

    def __setitem__(self, address, value):
        if self._efuses.has(address):
            self._efuses.write(address, value)
        else:
            super().__setitem__(address, value)


class SecureBoard(LineBoard):
    """A board whose bootloader encrypts, and burns nothing else."""

    def __init__(self, folder, link, mac, **options):
        super().__init__(folder, link, mac, **options)
        self.efuses = EFuses(folder / "efuses", self.mac_bytes, lambda: self._saw("BURN"))

    def _to_repl(self, data):
        if self._board is None and self.efuses.word(0) & _KEY_HIDDEN and not self.efuses.is_encrypted:
            self.efuses.burn(0, _CRYPT_COUNT)
        super()._to_repl(data)

    def programs(self, name):
        """Return how often the ROM got a command."""
        return self.commands.count(name)
