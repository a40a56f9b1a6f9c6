"""What a device remembers: values sealed in NVS under a key made of the licence key and the chip's id.

Every value has two slots, NVS blobs name+"0" and name+"1"; a write goes to the slot that does not hold the newest good
value, so a write torn at any byte leaves that one. A slot, sealed with its own name as associated data, is
    generation (32 bits, big-endian) | value
and the higher generation counts. Counters reserve ahead in strides: what was handed out never comes again.
"""

from struct import pack

import machine
from esp32 import NVS

from upeer.base.errors import CryptoError
from upeer.crypto.aead import Aead, derive, random_bytes

_INDEX = "~"
NAME_SIZE = 14  # NVS keys have up to 15 characters
VALUE_SIZE = 1300  # 16 paired clients; a blob of every NVS version


class Store:
    """Sealed values by name (up to 14 characters). Raises OSError when the flash is full: the old value then stays.

    `counters` is where a caller keeps what is reserved, so that the next Store goes on with it.
    """

    def __init__(self, licence_key: bytes, namespace: str = "upeer", stride: int = 32, counters: dict | None = None):
        self._aead = Aead(derive(licence_key, b"store", machine.unique_id()))
        self._nvs = NVS(namespace)
        self._stride = stride
        self._counters = {} if counters is None else counters

    def _slot(self, key: str) -> tuple:
        """Return (generation, value) of one slot, or (0, None) if it is empty, torn or not ours."""
        buf = bytearray(VALUE_SIZE + 52)
        try:
            size = self._nvs.get_blob(key, buf)
            plain = self._aead.open(memoryview(buf)[:size], key.encode())
        except (OSError, CryptoError):
            return 0, None
        return int.from_bytes(plain[:4], "big"), plain[4:]

    def _newest(self, name: str) -> tuple:
        """Return (slot number, generation, value) of the newest good slot."""
        first, second = self._slot(name + "0"), self._slot(name + "1")
        return (1,) + second if second[0] > first[0] else (0,) + first

    def _names(self) -> list:
        """Return the names that may hold a value."""
        index = self._newest(_INDEX)[2]
        return index.decode().split("\n") if index else []

    def get(self, name: str):
        """Return the value (bytes), or None."""
        return self._newest(name)[2]

    def set(self, name: str, value: bytes) -> None:
        """Store up to 1300 bytes; when this returns they survive a power cut."""
        if not 0 < len(name) <= NAME_SIZE or "\n" in name or len(value) > VALUE_SIZE:
            raise ValueError("bad name or value too long")
        if name != _INDEX:
            self.announce(name)
        slot, generation, old = self._newest(name)
        if value == old:
            return
        key = name + ("0" if slot or not generation else "1")
        # The nonce is random, not the generation: that would come again after a torn write.
        nonce = int.from_bytes(random_bytes(16), "big")
        self._nvs.set_blob(key, self._aead.seal(nonce, pack(">I", generation + 1) + value, key.encode()))
        self._nvs.commit()

    def announce(self, name: str) -> None:
        """Write down that this name may hold a value. `set` does so too; beforehand it is a step of its own."""
        names = self._names()
        if name not in names:
            self.set(_INDEX, "\n".join(names + [name]).encode())

    def delete(self, name: str) -> None:
        """Forget a value: the older slot first, so that a power cut brings no old value back."""
        slot = self._newest(name)[0]
        for key in (name + str(1 - slot), name + str(slot)):
            try:
                self._nvs.erase_key(key)
            except OSError:
                continue  # not there
            self._nvs.commit()
        self._counters.pop(name, None)

    def erase(self, keep: tuple = ()) -> None:
        """Forget everything but the names in `keep`; after a power cut in between, call it again."""
        kept = []
        for name in self._names():
            if name in keep:
                kept.append(name)
            else:
                self.delete(name)
        if kept:
            self.set(_INDEX, "\n".join(kept).encode())
        else:
            self.delete(_INDEX)

    def raise_counter(self, name: str, floor: int) -> None:
        """Have the next numbers be above `floor`."""
        if self.next_counter(name) < floor:
            self.set(name, pack(">I", floor))
            self._counters[name] = (floor, floor)

    def next_counter(self, name: str) -> int:
        """Return a number above all that this name ever gave, first 1; each `stride` of them cost one flash write."""
        value, limit = self._counters.get(name) or (None, 0)
        if value is None:
            saved = self.get(name)
            value = limit = int.from_bytes(saved, "big") if saved else 0
        if value >= limit:
            limit = value + self._stride
            self.set(name, pack(">I", limit))
        self._counters[name] = (value + 1, limit)
        return value + 1
