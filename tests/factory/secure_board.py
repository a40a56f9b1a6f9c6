"""A board with eFuses at its port: espefuse's own emulated controller behind the ROM, for real espefuse and esptool.

Bits can only be set, protected keys read as zeros, the bootloader encrypts the flash at its first boot once there is a
key, and from then on esptool sees it. `pull={"BURN": 2}` pulls the cable, and the power, right after the second burn.
"""

from espefuse.efuse_interface import SUPPORTED_CHIPS
from line_board import LineBoard

_COMMAND, _LOAD = 0x3FF5A104, 0x1  # ESP32's EFUSE_CMD and its value that shows what was burned
_KEY_WORDS = range(0x3FF5A098, 0x3FF5A0B8, 4)  # where block 1 is written
_CRYPT_COUNT, _KEY_HIDDEN = 1 << 20, 1 << 16  # in word 0 of block 0


class EFuses:
    """The eFuses of an ESP32 of revision 3; `burns` counts what was burned."""

    def __init__(self, file, mac_bytes, on_burn):
        self._chip = SUPPORTED_CHIPS["esp32"].efuse_lib.EmulateEfuseController(str(file))
        self._on_burn, self._is_written, self.burns = on_burn, False, 0
        self._key_words, self.keys = {}, []
        low, high = int.from_bytes(mac_bytes[2:], "big"), int.from_bytes(mac_bytes[:2], "big")
        for word, value in ((1, low), (2, high), (3, 1 << 15), (4, 128), (5, 1 << 20)):
            self._chip.direct_write_efuse(word, value)

    def over(self, registers):
        """Return registers in which these eFuses lie."""
        return _Registers(self, registers)

    def has(self, address):
        base = self._chip.REGS.DR_REG_EFUSE_BASE
        return base <= address < base + self._chip.REGS.EFUSE_MEM_SIZE or address == self._chip.REGS.APB_CTL_DATE_ADDR

    def read(self, address):
        return self._chip.read_reg(address)

    def write(self, address, value):
        self._chip.write_reg(address, value)
        if address in _KEY_WORDS and value:
            self._key_words[address] = value
        if address == _COMMAND and value == _LOAD and self._is_written:
            self.burns += 1
            self._keep_key()
            self._on_burn()
        if address == _COMMAND:
            self._is_written = value not in (0, _LOAD)

    def _keep_key(self):
        """Remember a flash key that was burned, which nothing but a test can: `keys` as they lie in the block."""
        if self._key_words:
            self.keys.append(b"".join(self._key_words.get(at, 0).to_bytes(4, "little") for at in _KEY_WORDS))
            self._key_words = {}

    def word(self, number, block=0):
        """Return a word as software reads it."""
        return self._chip.read_efuse(number, block)

    def burn(self, number, bits, block=0):
        """Burn as somebody else did it, or the bootloader."""
        self._chip.direct_write_efuse(number, bits, block)
        self._chip.save_to_file()

    @property
    def is_encrypted(self):
        return bin(self.word(0) >> 20 & 0x7F).count("1") % 2 == 1


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
