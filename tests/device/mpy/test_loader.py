"""Transient modules: what is dropped for what, when, and that nothing of it stays loaded."""

import asyncio
import gc
import sys

from helpers import raises

from device import heap, loader
from device.loader import (
    COST,
    TRANSIENT,
    admit,
    drop_all,
    drop_expired,
    drop_group,
    expired,
    load_group,
    load_steps,
    plan,
    use_groups,
)
from upeer.base.clock import ticks_add, ticks_ms


def loaded(group):
    return [name for name in ("device." + group,) + TRANSIENT[group] if name in sys.modules]


def test_every_group_has_its_cost():
    assert sorted(COST) == sorted(TRANSIENT)
    modules = [name for group in TRANSIENT.values() for name in group]
    assert len(modules) == len(set(modules))


COMFORT = 16384


def test_plan_drops_nothing_while_there_is_room():
    assert plan("storage", ["login", "start"], {}, COST["storage"] + COMFORT) == []


def test_plan_drops_what_was_loaded_first_and_no_more_than_needed():
    assert plan("storage", ["start", "login"], {}, COST["storage"] + COMFORT - 1) == ["start"]
    free = COST["handshake"] + COMFORT - COST["start"] - 1  # of those the first two
    assert plan("handshake", ["start", "login", "pairs"], {}, free) == ["start", "login"]


def test_plan_leaves_what_is_in_use():
    assert plan("storage", ["start", "login"], {"start": 1}, 0) == ["login"]
    assert plan("storage", ["start"], {"start": 1}, 0) is None


def test_plan_refuses_only_what_does_not_fit():
    assert plan("handshake", [], {}, COST["handshake"]) == []
    assert plan("handshake", [], {}, COST["handshake"] - 1) is None
    assert plan("handshake", ["pairs"], {}, 0) is None


def test_expired_are_those_without_a_user_whose_time_is_over():
    before_the_wrap = 0x3FFFFFF0
    now = ticks_add(before_the_wrap, 32)
    until = {"login": before_the_wrap, "storage": ticks_add(now, 1), "pairs": now}
    assert sorted(expired(until, {}, now)) == ["login", "pairs"]
    assert expired(until, {"login": 2}, now) == ["pairs"]


def test_loaded_group_stays_for_a_while_and_is_dropped_then():
    load_group("storage")
    assert loaded("storage") == list(TRANSIENT["storage"])
    drop_expired(ticks_ms())
    assert loaded("storage")
    drop_expired(ticks_add(ticks_ms(), 2000))
    assert not loaded("storage")


def test_group_in_use_is_not_dropped_but_a_while_after():
    async def work():
        drop_group("storage")
        drop_expired(ticks_add(ticks_ms(), 99999))
        drop_all()
        assert loaded("storage")
        return 5

    assert asyncio.run(use_groups(("storage", "pairs"), work)) == 5
    drop_expired(ticks_ms())
    assert loaded("storage") and loaded("pairs")  # they may come again
    drop_expired(ticks_add(ticks_ms(), 2000))
    assert not loaded("storage") and not loaded("pairs")


def test_what_the_next_client_needs_stays_while_there_is_much_room_and_no_session():
    # (is there no session, bytes free, bytes free without garbage, do they stay)
    cases = (True, 24576, 0, True), (True, 0, 24576, True), (False, 24576, 24576, False), (True, 24575, 24575, False)
    for is_quiet, free, left, stays in cases:
        load_group("handshake")
        load_group("storage")
        real = loader.free_bytes, loader.collect
        loader.free_bytes, loader.collect = lambda free=free: free, lambda left=left: left
        try:
            drop_expired(ticks_add(ticks_ms(), 2000), is_quiet)
        finally:
            loader.free_bytes, loader.collect = real
        assert bool(loaded("handshake")) == stays and not loaded("storage")
    drop_all()
    assert not loaded("handshake")


def test_use_ends_with_an_exception_too():
    async def work():
        raise ValueError

    raises(ValueError, asyncio.run, use_groups(("pairs",), work))
    drop_all()
    assert not loaded("pairs")


def test_groups_are_loaded_one_between_other_tasks_turns():
    seen = []

    async def watch():
        for _ in range(9):
            seen.append((bool(loaded("pairs")), bool(loaded("storage"))))
            await asyncio.sleep_ms(0)

    async def work():
        pass

    async def main():
        watching = asyncio.create_task(watch())
        await asyncio.sleep_ms(0)
        await use_groups(("pairs", "storage"), work)
        await watching

    asyncio.run(main())
    drop_all()
    assert (True, False) in seen, seen


def test_group_that_does_not_fit_is_refused_and_counted():
    before, limit = heap.figures[2], heap.figures[0]
    heap.figures[0] = gc.mem_alloc() + 1000
    try:
        raises(MemoryError, load_group, "handshake")
    finally:
        heap.figures[0] = limit
    assert not loaded("handshake")
    assert heap.figures[2] == before + 1


def test_collection_is_due_after_an_admission_that_garbage_made_tight():
    limit = heap.figures[0]
    heap.collect()
    try:
        heap.figures[0] = gc.mem_alloc() * 2 + 100000
        assert admit(100) and not heap.figures[3]
        heap.figures[0] = gc.mem_alloc() * 9 // 8  # of which a 28th is an allowance
        assert admit(100) and heap.figures[3]
        heap.collect()
        assert not heap.figures[3]
    finally:
        heap.figures[0] = limit


def test_load_waits_some_turns_until_datagrams_that_fill_the_reserve_are_read():
    real = loader.reserve

    def steps_until_read(turns):
        left = [turns]

        def reserve():
            left[0] -= 1
            return heap.RESERVE if left[0] < 0 else heap.RESERVE - 1

        loader.reserve = reserve
        try:
            load_group("pairs")
            return left[0]
        finally:
            loader.reserve = real
            drop_all()

    before = heap.figures[2]
    assert steps_until_read(8) < 0 and heap.figures[2] == before
    raises(MemoryError, steps_until_read, 1 << 20)
    assert heap.figures[2] == before + 1 and not loaded("pairs")


def test_group_that_two_tasks_want_at_once_is_there_for_both_and_goes_after():
    found = []

    async def work():
        from device.pairing import find_client

        found.append(find_client.__name__ if loaded("pairs") == list(TRANSIENT["pairs"]) else "")

    async def main():
        await asyncio.gather(use_groups(("pairs",), work), use_groups(("pairs",), work))

    asyncio.run(main())
    assert found == ["find_client"] * 2
    drop_expired(ticks_add(ticks_ms(), 2000))
    assert not loaded("pairs")


def test_group_that_came_meanwhile_is_not_refused_to_who_waited_for_room():
    limit = heap.figures[0]
    steps = load_steps("pairs")
    next(steps)
    try:
        heap.figures[0] = gc.mem_alloc() + 1000
        next(steps)
        heap.figures[0] = limit
        load_group("pairs")
        heap.figures[0] = gc.mem_alloc() + 1000
        for _ in steps:
            pass
    finally:
        heap.figures[0] = limit
    drop_all()
    assert not loaded("pairs")


def test_refused_group_is_not_taken_for_a_loaded_one():
    limit = heap.figures[0]
    heap.figures[0] = gc.mem_alloc() + 1000
    try:
        raises(MemoryError, load_group, "pairs")
    finally:
        heap.figures[0] = limit
    load_group("pairs")
    assert loaded("pairs")
    drop_all()


def test_threshold_is_the_chips_on_a_board_of_larger_objects():
    limit = heap.figures[0]
    found = []
    for board in (heap.CHIP_LIMIT, heap.CHIP_LIMIT * 3 // 2, limit):
        heap.figures[0] = board
        heap.limit_garbage(10000)
        found.append(gc.threshold())
        heap.limit_garbage(500)  # a step has room without a collection, at the cost of a datagram's room
        found.append(gc.threshold())
        heap.limit_garbage(-800)  # what was allocated beyond is no garbage's room
        found.append(gc.threshold())
        heap.limit_garbage(-9000)
        found.append(gc.threshold())
    heap.limit_garbage(1 << 20)
    assert found == [11520, 2560, 1760, 1536, 17280, 3840, 2624, 2304, 23072, 5120, 3520, 3072], found
