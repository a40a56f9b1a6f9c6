"""The eFuse controller of an ESP32, register by register, after chapter "eFuse Controller" of its technical reference.

    base 0x3FF5A000   block 0 RDATA +0x00, WDATA +0x1C (7 words); blocks 1-3 RDATA +0x38 +0x58 +0x78, WDATA +0x98 +0xB8
                      +0xD8 (8 words each); CLK +0xF8, CONF +0xFC, STATUS +0x100, CMD +0x104, DAC_CONF +0x118,
                      DEC_STATUS +0x11C
    CMD 2, CONF 0x5A5A   burn the bits of all WDATA: they can only be set, and not where WR_DIS protects them
    CMD 1, CONF 0x5AA5   show in RDATA what is burned, as a reset does; what RD_DIS protects reads as zeros

A command is done at once, so CMD reads as 0. Protection counts from the next load on. The coding scheme is none. What
is burned is kept in a file, little-endian, block after block. Real espefuse at a port is what tells that it behaves.
"""

import struct

BASE, SIZE = 0x3FF5A000, 0x200
_RDATA, _WDATA = (0x00, 0x38, 0x58, 0x78), (0x1C, 0x98, 0xB8, 0xD8)
_WORDS = (7, 8, 8, 8)
_CONF, _CMD = 0xFC, 0x104
_LOAD, _BURN = (0x5AA5, 1), (0x5A5A, 2)
_WHOLE, _BLK3_PART_RESERVE = 0xFFFFFFFF, 1 << 14

# Bit of WR_DIS (block 0, word 0, bits 0-15): the bits that it protects, as (block, word, mask); whole blocks below.
_WRITE_PROTECTED = {
    0: ((0, 0, 0x000F0000),),  # RD_DIS
    1: ((0, 0, 0x0000FFFF),),  # WR_DIS itself
    2: ((0, 0, 0x0FF00000),),  # FLASH_CRYPT_CNT, UART_DOWNLOAD_DIS
    3: ((0, 1, _WHOLE), (0, 2, _WHOLE), (0, 3, _WHOLE & ~_BLK3_PART_RESERVE)),  # MAC, chip version, SPI_PAD_CONFIG_HD
    5: ((0, 4, _WHOLE),),  # XPD_SDIO, ADC_VREF
    6: ((0, 5, 0x000FFFFF),),  # SPI_PAD_CONFIG_CLK, _Q, _D, _CS0
    10: ((0, 3, _BLK3_PART_RESERVE), (0, 5, 0xF0000000), (0, 6, 0x403)),  # and FLASH_CRYPT_CONFIG, CODING_SCHEME
    12: ((0, 6, 1 << 4),),  # ABS_DONE_0
    13: ((0, 6, 1 << 5),),  # ABS_DONE_1
    14: ((0, 6, 1 << 6),),  # JTAG_DISABLE
    15: ((0, 6, 0x384),),  # CONSOLE_DEBUG_DISABLE, DISABLE_DL_ENCRYPT, _DECRYPT, _CACHE
} | {6 + block: tuple((block, word, _WHOLE) for word in range(8)) for block in (1, 2, 3)}

# The same of RD_DIS (bits 16-19 of that word).
_READ_PROTECTED = {block - 1: tuple((block, word, _WHOLE) for word in range(8)) for block in (1, 2, 3)}
_READ_PROTECTED[3] = _WRITE_PROTECTED[10]


class Esp32Efuses:
    """One chip's controller and fuses; `on_burn()` is called after each burn. `file` is its state, new if missing."""

    def __init__(self, file, on_burn=lambda: None):
        self.file, self._on_burn = file, on_burn
        self._registers = {}
        data = file.read_bytes() if file.exists() else bytes(4 * sum(_WORDS))
        words = iter(struct.unpack(f"<{sum(_WORDS)}I", data))
        self._burned = [[next(words) for _ in range(count)] for count in _WORDS]
        self.load()

    def has(self, address):
        """Tell whether an address is one of the controller's."""
        return BASE <= address < BASE + SIZE

    def read(self, address):
        """Read a register."""
        block, word = _place(_RDATA, address - BASE)
        return self._shown[block][word] if block is not None else self._registers.get(address - BASE, 0)

    def write(self, address, value):
        """Write a register; a command needs its word in CONF."""
        offset = address - BASE
        if offset != _CMD:
            self._registers[offset] = value
        elif (self._registers.get(_CONF), value) == _LOAD:
            self.load()
        elif (self._registers.get(_CONF), value) == _BURN:
            self._burn_all()

    def requested(self, block):
        """Return the words that the next burn would set in a block."""
        return [self._registers.get(_WDATA[block] + 4 * word, 0) for word in range(_WORDS[block])]

    def load(self):
        """Show what is burned, as at a reset; what is protected now is what counts until the next time."""
        fuses = self._burned[0][0]
        self._locked = _masks(_WRITE_PROTECTED, fuses)
        hidden = _masks(_READ_PROTECTED, fuses >> 16)
        self._shown = [
            [value & ~hidden.get((block, word), 0) for word, value in enumerate(words)]
            for block, words in enumerate(self._burned)
        ]

    def burn(self, number, bits, block=0):
        """Burn bits of one word and show them: what the factory did, or a bootloader."""
        self._set(block, number, bits)
        self._save()
        self.load()

    def _burn_all(self):
        for block in range(4):
            for word, bits in enumerate(self.requested(block)):
                self._set(block, word, bits)
        self._save()
        self._on_burn()

    def _set(self, block, word, bits):
        self._burned[block][word] |= bits & ~self._locked.get((block, word), 0)

    def _save(self):
        words = [word for block in self._burned for word in block]
        self.file.write_bytes(struct.pack(f"<{len(words)}I", *words))


def _place(starts, offset):
    """Return (block, word) of a data register, (None, None) of another one."""
    for block, start in enumerate(starts):
        if start <= offset < start + 4 * _WORDS[block]:
            return block, (offset - start) // 4
    return None, None


def _masks(table, fuses):
    """Return {(block, word): mask} of all that these protection bits protect."""
    found = {}
    for bit, places in table.items():
        for block, word, mask in places if fuses >> bit & 1 else ():
            found[block, word] = found.get((block, word), 0) | mask
    return found
