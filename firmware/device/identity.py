"""Who this device is: its burned licence record, and what it learned since: newer platform keys, paired clients, flags."""

from upeer.invite import setup_key
from upeer.login import FLAG_PAIRING, FLAG_SHARES
from upeer.pairs import Pairs

from device.store import Store

_KEY_SIZE = 32
_EPOCH_STEP = 65536


class Identity:
    """What Login and Registrar want of a device, and its stored state. `record` is that of `fctry`."""

    def __init__(self, record: dict):
        self.did = record["did"]
        self.licence_key = record["licence_key"]
        self.store = Store(self.licence_key)
        self.nat_class = 0
        self.p2p_keys = {}
        if "previous_key_id" in record:
            self.p2p_keys[record["previous_key_id"]] = record["previous_p2p_key"]
        self._use(record["key_id"], record["crc_key"], record["p2p_key"])
        newer = self.store.get("keys")
        if newer:
            self._use(newer[0], newer[1 : 1 + _KEY_SIZE], newer[1 + _KEY_SIZE :])
        code = record.get("setup_code")
        self.pairs = Pairs(setup_key(code, self.did) if code else None, self.store.get("pairs"))
        self._shares = self.store.get("share") == b"\x01"

    def _use(self, key_id: int, crc_key: bytes, p2p_key: bytes) -> None:
        self.key_id = key_id
        self.crc_key = crc_key
        self.p2p_key = p2p_key
        self.p2p_keys[key_id] = p2p_key

    @property
    def flags(self) -> int:
        """The flags of LOGIN."""
        return (FLAG_PAIRING if self.pairs.is_open else 0) | (FLAG_SHARES if self._shares else 0)

    def next_epoch(self) -> int:
        """Return a login epoch that was never used before."""
        return self.store.next_counter("epoch")

    def raise_epoch(self, last: int) -> None:
        """Go on above `last`, as far as one step may lead: a server that lies cannot use the numbers up."""
        self.store.raise_counter("epoch", min(last, self.next_epoch() + _EPOCH_STEP))

    def set_keys(self, key_id: int, crc_key: bytes, p2p_key: bytes) -> bool:
        """Store a new generation of platform keys and use it; False when it is the one in use."""
        if key_id == self.key_id:
            return False
        self.store.set("keys", bytes((key_id,)) + crc_key + p2p_key)
        self._use(key_id, crc_key, p2p_key)
        return True

    def save_pairs(self) -> None:
        """Store the paired clients as they are now."""
        self.store.set("pairs", self.pairs.save())

    def share_bandwidth(self, on: int) -> None:
        """Store whether this device may serve as a relay."""
        self._shares = bool(on)
        self.store.set("share", b"\x01" if on else b"\x00")
