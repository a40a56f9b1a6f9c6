"""Who this device is: its burned licence record, and what it learned since: newer platform keys, paired clients, flags.

What is stored is opened when it is needed, and the modules for that may be dropped afterwards.
"""

from upeer.compat import const

_KEY_SIZE = const(32)
_EPOCH_STEP = const(65536)
_PAIRING = const(1)  # of the flags of LOGIN
_SHARES = const(2)


class Identity:
    """What Login and Registrar want of a device, and its stored state. `record` is that of `fctry`."""

    def __init__(self, record: dict):
        self.did = record["did"]
        self.licence_key = record["licence_key"]
        self.nat_class = 0
        self.flags = 0
        self.p2p_keys = {}
        self._counters = {}
        store = self.store()
        self._set_up_keys(record, store.get("keys"))
        self._setup_code = record.get("setup_code")
        self._pairs = store.get("pairs")
        if store.get("share") == b"\x01":
            self.flags = _SHARES
        self._set_pairing(self.pairs().is_open)

    def _set_up_keys(self, record: dict, newer) -> None:
        if "previous_key_id" in record:
            self.p2p_keys[record["previous_key_id"]] = record["previous_p2p_key"]
        self._use(record["key_id"], record["crc_key"], record["p2p_key"])
        if newer:
            end = 1 + 2 * _KEY_SIZE
            self.p2p_keys = {newer[end]: newer[end + 1 :]}
            self._use(newer[0], newer[1 : 1 + _KEY_SIZE], newer[1 + _KEY_SIZE : end])

    def _use(self, key_id: int, crc_key: bytes, p2p_key: bytes) -> None:
        self.key_id = key_id
        self.crc_key = crc_key
        self.p2p_key = p2p_key
        self.p2p_keys[key_id] = p2p_key

    def _set_pairing(self, is_open: bool) -> None:
        self.flags = self.flags & _SHARES | (_PAIRING if is_open else 0)

    def store(self):
        """Return the sealed store of this device, opened now."""
        from device.store import Store

        return Store(self.licence_key, counters=self._counters)

    def next_epoch(self) -> int:
        """Return a login epoch that was never used before."""
        return self.store().next_counter("epoch")

    def raise_epoch(self, last: int) -> None:
        """Go on above `last`, as far as one step may lead: a server that lies cannot use the numbers up."""
        store = self.store()
        store.raise_counter("epoch", min(last, store.next_counter("epoch") + _EPOCH_STEP))

    def set_keys(self, key_id: int, crc_key: bytes, p2p_key: bytes) -> bool:
        """Store a new generation of platform keys, with the P2PKey before it, and use it; False when it is in use."""
        if key_id == self.key_id:
            return False
        before = bytes((self.key_id,)) + self.p2p_key
        self.store().set("keys", bytes((key_id,)) + crc_key + p2p_key + before)
        self.p2p_keys = {self.key_id: self.p2p_key}
        self._use(key_id, crc_key, p2p_key)
        return True

    def pairs(self):
        """Return the paired clients; `save_pairs` makes what was changed in them last."""
        from upeer.invite import setup_key
        from upeer.pairs import Pairs

        code = self._setup_code
        return Pairs(setup_key(code, self.did) if code else None, self._pairs)

    def save_pairs(self, pairs) -> None:
        """Store the paired clients as they are now."""
        self._pairs = pairs.save()
        self.store().set("pairs", self._pairs)
        self._set_pairing(pairs.is_open)

    def share_bandwidth(self, on: int) -> None:
        """Store whether this device may serve as a relay."""
        self.flags = self.flags & _PAIRING | (_SHARES if on else 0)
        self.store().set("share", b"\x01" if on else b"\x00")
