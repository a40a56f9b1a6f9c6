"""The curve's slices: the right product, garbage collected as seldom as there is room for, and never for long."""

import asyncio
import gc

from device import curve, heap
from device.loader import drop_all
from upeer.crypto.x25519 import BASE, Ladder, public_key

PRIVATE = bytes(range(32))


class Collector:
    """Stands for the gc module; `log` has a collection as "c", a slice as "s", the end of a turn as "."."""

    def __init__(self):
        self.log = ""
        self.thresholds = []

    def collect(self):
        self.log += "c"
        gc.collect()

    def threshold(self, size=None):
        if size is not None:
            self.thresholds.append(size)
        return self.thresholds[-1]


class Slices(Ladder):
    """A ladder that logs its slices: of seven steps as "s", else their number."""

    def __init__(self, collector):
        super().__init__(PRIVATE, BASE)
        self.collector = collector

    def step(self, count):
        self.collector.log += "s" if count == 7 else str(count)
        return super().step(count)


def climbed(*free, others_after=""):
    """Return what a curve operation did to the heap; free: bytes of it, at the begin, then after each collection.

    Others set the threshold for themselves when its log is `others_after`.
    """
    collector = Collector()
    looks = list(free)

    def look():
        return looks.pop(0) if len(looks) > 1 else looks[0]

    def collect():
        collector.collect()
        return look()

    real = curve.gc, curve.collect, curve.free_bytes, heap.gc, heap.figures[0]
    curve.gc, curve.collect, curve.free_bytes, heap.gc, heap.figures[0] = (
        collector,
        collect,
        look,
        collector,
        heap.CHIP_LIMIT,
    )
    try:
        for _ in curve._climb(Slices(collector)):
            collector.log += "."
            if collector.log == others_after:
                collector.threshold(1536)
    finally:
        curve.gc, curve.collect, curve.free_bytes, heap.gc, heap.figures[0] = real
    return collector


def test_product_is_that_of_the_curve():
    assert asyncio.run(curve.multiply(PRIVATE, BASE)) == public_key(PRIVATE)
    assert curve._under_way == [0]


def test_garbage_is_collected_before_each_slice_or_each_second_one():
    roomy, tight = climbed(40000), climbed(22000)
    assert roomy.log.startswith("c..s.s.c..s.s.c.") and tight.log.startswith("c..s.c..s.c..s")
    assert roomy.log[-1] == tight.log[-1] == "c"  # the holes are free again, the threshold is as usual


def test_slices_are_short_where_the_holes_cannot_be_filled():
    for free, steps in ((20000, 4), (7000, 3), (2000, 1), (0, 1), (-9000, 1)):
        few = climbed(free)
        assert few.log.startswith("c.%d.c.%d.c.%d." % (steps, steps, steps)) and few.log[-1] == "c", few.log


def test_room_that_others_take_meanwhile_is_not_used():
    shared = climbed(40000, 9000)
    assert shared.log.startswith("c..s.s.c.4.c.4.c")
    assert shared.thresholds[0] > 2 * shared.thresholds[1] and set(shared.thresholds[1:]) == {1536 + 9000}


def test_threshold_that_others_set_between_two_slices_leaves_the_second_without_collections():
    """They are told of a turn later at the earliest: it begins with a collection and a threshold of its own."""
    met = climbed(40000, others_after="c..s.")
    assert met.log.startswith("c..s.c..s.s.c..s.s.c")
    assert met.thresholds[1] == 1536 and met.thresholds[2] == met.thresholds[0]


def test_no_turn_has_more_than_a_collection_or_a_slice():
    for free in (0, 20000, 22000, 40000):
        assert max(len(turn) for turn in climbed(free).log.split(".")) == 1


def test_threshold_leaves_what_may_be_allocated():
    for free in (2000, 10000, 20000, 40000):
        assert max(climbed(free).thresholds) <= free + 4096
    drop_all()
