"""Ranges against literal cases and against sets of integers."""

from upeer.base.ranges import add_range, has_value, keep_highest


def made_of(*bounds):
    ranges: list = []
    for i in range(0, len(bounds), 2):
        add_range(ranges, bounds[i], bounds[i + 1])
    return ranges


def test_add_in_order_is_one_range():
    assert made_of(0, 1, 1, 2, 2, 9) == [0, 9]


def test_add_out_of_order():
    assert made_of(5, 6, 1, 2, 3, 4) == [1, 2, 3, 4, 5, 6]
    assert made_of(5, 6, 1, 2, 3, 4, 2, 3) == [1, 4, 5, 6]
    assert made_of(5, 6, 1, 2, 3, 4, 0, 9) == [0, 9]
    assert made_of(2, 4, 6, 8, 3, 7) == [2, 8]
    assert made_of(2, 8, 3, 4) == [2, 8]


def test_has():
    ranges = made_of(2, 4, 6, 8)
    assert [value for value in range(10) if has_value(ranges, value)] == [2, 3, 6, 7]
    assert not has_value([], 0)


def test_limit_drops_lowest():
    ranges = made_of(0, 1, 2, 3, 4, 5, 6, 7)
    assert keep_highest(ranges, 4) == 0
    assert keep_highest(ranges, 2) == 3
    assert ranges == [4, 5, 6, 7]


def test_random_steps_equal_sets():
    state = 1
    for _ in range(40):
        ranges = []
        model = set()
        for _ in range(30):
            state = (state * 69069 + 12345) & 0xFFFFFFF
            start = state >> 8 & 63
            stop = start + 1 + (state >> 16 & 7)
            add_range(ranges, start, stop)
            model |= set(range(start, stop))
            check(ranges, model)


def check(bounds, model):
    assert all(bounds[i] < bounds[i + 1] for i in range(len(bounds) - 1)), bounds
    values = set()
    for i in range(0, len(bounds), 2):
        values |= set(range(bounds[i], bounds[i + 1]))
    assert values == model
