"""The sealed store under power cuts at every byte (attack A21)."""

import esp32
from helpers import raises

KEY = b"licence key of thirty-two bytes!"


class PowerCut(Exception):
    """The chip lost its power."""


class Flash:
    """What NVS keeps. `budget` bytes can be written before the power fails; `torn` says what a half-written blob is."""

    def __init__(self, torn="erased"):
        self.blobs = {}
        self.budget = None
        self.torn = torn
        self.written = 0

    def spend(self, size):
        """Return how many of `size` bytes get written."""
        allowed = size if self.budget is None else min(size, self.budget)
        if self.budget is not None:
            self.budget -= allowed
        self.written += allowed
        return allowed

    def put(self, key, data):
        count = self.spend(len(data))
        old = self.blobs.get(key, b"")
        if count == len(data):
            self.blobs[key] = data
        elif self.torn == "erased":
            self.blobs[key] = data[:count] + b"\xff" * (len(data) - count)
        elif self.torn == "mixed":
            self.blobs[key] = data[:count] + old[count:]
        elif self.torn == "short":
            self.blobs[key] = data[:count]
        if count < len(data):
            raise PowerCut()

    def drop(self, key):
        if self.spend(1) < 1:
            raise PowerCut()
        del self.blobs[key]


class FakeNVS:
    """esp32.NVS over the current flash."""

    flash = Flash()

    def __init__(self, namespace):
        self._prefix = namespace + " "

    def get_blob(self, key, buf):
        data = FakeNVS.flash.blobs.get(self._prefix + key)
        if data is None or len(data) > len(buf):
            raise OSError(-0x1102)
        buf[: len(data)] = data
        return len(data)

    def set_blob(self, key, data):
        assert len(key) <= 15
        FakeNVS.flash.put(self._prefix + key, bytes(data))

    def erase_key(self, key):
        if self._prefix + key not in FakeNVS.flash.blobs:
            raise OSError(-0x1102)
        FakeNVS.flash.drop(self._prefix + key)

    def commit(self):
        pass


_real = esp32.NVS
esp32.NVS = FakeNVS
from device.store import Store  # noqa: E402 - with the fake in its place

esp32.NVS = _real


def fresh(torn="erased"):
    FakeNVS.flash = Flash(torn)
    return Store(KEY)


def reboot():
    FakeNVS.flash.budget = None
    return Store(KEY)


def cut_after(count, action):
    """Run `action` with power for `count` bytes; return whether it was cut off."""
    FakeNVS.flash.budget = count
    try:
        action()
    except PowerCut:
        return True
    return False


def test_values_come_back_after_a_reboot():
    store = fresh()
    store.set("wifi", b"home\0secret")
    store.set("empty", b"")
    assert store.get("wifi") == b"home\0secret"
    assert reboot().get("wifi") == b"home\0secret" and reboot().get("empty") == b""
    assert reboot().get("absent") is None


def test_nothing_is_in_clear_and_nothing_opens_with_another_key_or_name():
    store = fresh()
    store.set("wifi", b"a secret of the house")
    blobs = FakeNVS.flash.blobs
    assert not any(b"secret" in data for data in blobs.values())
    assert Store(b"another licence key of 32 bytes!").get("wifi") is None
    blobs["upeer pairs0"] = blobs["upeer wifi0"]
    assert store.get("pairs") is None


def test_bad_names_and_long_values_are_refused():
    store = fresh()
    raises(ValueError, store.set, "a-name-too-long", b"")
    raises(ValueError, store.set, "", b"")
    raises(ValueError, store.set, "x", bytes(1301))
    store.set("fourteen-chars", bytes(1300))
    assert store.get("fourteen-chars") == bytes(1300)


def test_a_write_torn_at_any_byte_leaves_the_old_or_the_new_value():
    """The new one only if the bytes that were not written are what stood there: the last one is, once in 256 times."""
    for torn in ("erased", "mixed", "short"):
        count, early, cut = 0, 0, True
        while cut:
            store = fresh(torn)
            store.set("v", b"old value")
            store.set("v", b"older")
            cut = cut_after(count, lambda store=store: store.set("v", b"new value!"))
            store = reboot()
            assert store.get("v") in ((b"older", b"new value!") if cut else (b"new value!",)), (torn, count)
            early += cut and store.get("v") != b"older"
            store.set("v", b"next")
            assert reboot().get("v") == b"next"
            count += 1
        assert count > 40 and early <= 2, (torn, count, early)


def test_the_first_write_torn_at_any_byte_leaves_nothing_or_the_value():
    count, early, cut = 0, 0, True
    while cut:
        store = fresh()
        store.set("other", b"stays")
        cut = cut_after(count, lambda store=store: store.set("v", b"first"))
        store = reboot()
        assert store.get("v") in ((None, b"first") if cut else (b"first",)) and store.get("other") == b"stays"
        early += cut and store.get("v") is not None
        store.erase()
        assert not FakeNVS.flash.blobs
        count += 1
    assert count > 40 and early <= 2, (count, early)


def test_a_delete_cut_at_any_point_brings_no_older_value_back():
    for count in range(4):
        store = fresh()
        store.set("v", b"one")
        store.set("v", b"two")
        cut_after(count, lambda store=store: store.delete("v"))
        assert reboot().get("v") in (b"two", None)


def test_erase_cut_at_any_point_is_finished_by_the_next_and_keeps_what_it_shall():
    count, cut = 0, True
    while cut:
        store = fresh()
        for name in ("a", "b", "epoch"):
            store.set(name, b"1")
            store.set(name, b"2")
        cut = cut_after(count, lambda store=store: store.erase(("epoch",)))
        store = reboot()
        store.erase(("epoch",))
        assert store.get("a") is None and store.get("b") is None and store.get("epoch") == b"2"
        store.erase()
        assert not FakeNVS.flash.blobs
        count += 1


def test_a_counter_never_repeats_whatever_byte_the_power_fails_at():
    for torn in ("erased", "mixed", "short"):
        for count in range(0, 260, 1):
            FakeNVS.flash = Flash(torn)
            given = []
            for budget in (count, 260 - count, None):
                FakeNVS.flash.budget = budget
                try:
                    store = Store(KEY, stride=2)
                    for _ in range(5):
                        given.append(store.next_counter("epoch"))
                except PowerCut:
                    continue
            assert all(later > earlier for earlier, later in zip(given, given[1:])), (torn, count, given)
            assert len(given) >= 5


def test_a_stride_of_counters_costs_one_write():
    store = fresh()
    assert [store.next_counter("n") for _ in range(3)] == [1, 2, 3]
    before = FakeNVS.flash.written
    for _ in range(29):
        store.next_counter("n")
    assert FakeNVS.flash.written == before
    assert store.next_counter("n") == 33 and FakeNVS.flash.written > before
    assert reboot().next_counter("n") == 65


def test_a_full_flash_raises_and_keeps_the_old_value():
    store = fresh()
    store.set("v", b"old")

    def refuse(key, data):
        raise OSError(-0x1105)

    put, FakeNVS.flash.put = FakeNVS.flash.put, refuse
    raises(OSError, store.set, "v", b"new")
    raises(OSError, store.next_counter, "n")
    FakeNVS.flash.put = put
    assert reboot().get("v") == b"old"


def test_the_same_value_again_is_not_written():
    store = fresh()
    store.set("v", b"same")
    before = FakeNVS.flash.written
    store.set("v", b"same")
    assert FakeNVS.flash.written == before


def test_raised_counter_goes_on_above_the_floor():
    store = fresh()
    store.raise_counter("epoch", 500)
    assert store.next_counter("epoch") == 501
    store.raise_counter("epoch", 3)
    assert store.next_counter("epoch") == 503
