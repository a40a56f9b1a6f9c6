"""A short, seeded run over every fuzz target, and the fuzzer itself: it finds what is planted."""

import engine
import pytest
import targets

_TRIES = 400


@pytest.mark.parametrize("target", targets.load_all().values(), ids=lambda target: target.name)
def test_target_survives(target):
    result = engine.fuzz_target(target, tries=_TRIES)
    assert [(fault.error, fault.data.hex()) for fault in result.faults] == []


def test_planted_fault_is_found():
    def parse(data):
        if len(data) > 3 and data[0] == 0x40 and data[1] == 0xFF:
            raise IndexError("planted")

    result = engine.fuzz_target(targets.Target("planted", parse, (ValueError,), (b"\x40abc",), 100), tries=3000)
    assert [fault.error for fault in result.faults] == ["IndexError: planted"]
    assert result.faults[0].data[:2] == b"\x40\xff"


def test_documented_errors_are_no_faults():
    def parse(data):
        raise ValueError("always")

    assert engine.fuzz_target(targets.Target("fine", parse, (ValueError,), (), 100), tries=50).faults == []


def test_same_seed_does_the_same():
    def inputs(seed):
        seen = []
        engine.fuzz_target(targets.Target("seen", seen.append, (), (b"abcdef",), 100), tries=50, seed=seed)
        return seen

    assert inputs(1) == inputs(1)
    assert inputs(1) != inputs(2)
