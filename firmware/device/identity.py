"""Who this device is: the keys it uses now. Where they come from, and what is stored, is the affair of `memory`."""


class Identity:
    """What Login and Registrar want of a device. `record` is that of `fctry`."""

    def __init__(self, record: dict):
        from device.memory import recall

        self.did = record["did"]
        self.licence_key = record["licence_key"]
        self.setup_code = record.get("setup_code")
        self.nat_class = self.flags = 0
        self.saved_pairs = None
        self.p2p_keys = {}
        self.counters = {}
        recall(self, record)

    def next_epoch(self) -> int:
        """Return a login epoch that was never used before."""
        from device.memory import next_epoch

        return next_epoch(self)

    def raise_epoch(self, last: int) -> None:
        """Go on above `last`."""
        from device.memory import next_epoch

        next_epoch(self, last)
