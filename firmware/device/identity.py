"""Who this device is: the keys it uses now. Where they come from, and what is stored, is the affair of `memory`."""

from device.loader import load_group


class Identity:
    """What Login and Registrar want of a device. `record` is that of `fctry`."""

    def __init__(self, record: dict):
        load_group("storage")
        from device.memory import recall

        self.did = record["did"]
        self.licence_key = record["licence_key"]
        self.setup_code = record.get("setup_code")
        self.nat_class = self.flags = 0
        self.saved_pairs = None
        self.p2p_keys = {}
        self.counters = {}
        recall(self, record)

    def next_epoch(self, last: int = 0) -> int:
        """Return a login epoch that was never used before, above `last` as far as one step may lead.

        The store is only loaded when none is left of those that it has reserved.
        """
        value, limit = self.counters.get("epoch", (0, 0))
        if value < limit and not last:
            self.counters["epoch"] = (value + 1, limit)
            return value + 1
        load_group("storage")
        from device.memory import next_epoch

        return next_epoch(self, last)

    raise_epoch = next_epoch
