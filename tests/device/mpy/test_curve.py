"""The curve's slices: the right product, garbage collected as seldom as there is room for."""

import asyncio
import gc

from device import curve
from device.loader import drop_all
from upeer.crypto.x25519 import BASE, Ladder, public_key

PRIVATE = bytes(range(32))


class Collector:
    """Stands for the gc module; `log` has a collection as "c", a turn of others as "s"."""

    def __init__(self):
        self.log = ""
        self.thresholds = []

    def collect(self):
        self.log += "c"
        gc.collect()

    def threshold(self, size):
        self.thresholds.append(size)


def climbed(free):
    """Return what a curve operation did to the heap, `free` bytes of which may be allocated."""
    collector = Collector()
    real = curve.gc, curve.collect, curve.limit_garbage
    curve.gc, curve.collect, curve.limit_garbage = collector, lambda: free, collector.threshold
    try:
        for _ in curve._climb(Ladder(PRIVATE, BASE)):
            collector.log += "s"
    finally:
        curve.gc, curve.collect, curve.limit_garbage = real
    return collector


def test_product_is_that_of_the_curve():
    assert asyncio.run(curve.multiply(PRIVATE, BASE)) == public_key(PRIVATE)
    assert curve._under_way == [0]


def test_garbage_is_collected_before_each_slice_or_each_second_one():
    roomy, tight = climbed(40000), climbed(20000)
    assert roomy.log.startswith("ssscsscss") and tight.log.startswith("sscscs")
    assert roomy.log[-1] == tight.log[-1] == "c"  # the holes are free again


def test_threshold_leaves_what_may_be_allocated_and_is_given_back():
    for free in (2000, 10000, 20000, 40000):
        first, last = climbed(free).thresholds
        assert first <= free + 4096 and last == free
    drop_all()
