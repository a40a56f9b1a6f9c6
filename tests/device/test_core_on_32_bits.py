"""The core's tests under 32-bit MicroPython: small ints of 31 bits, the ticks that ESP32 lends, two versions."""

import mpy32
import mpy_tools
import pytest
import run_mpy

# 1.24 starts just before its ticks wrap, 1.26 at their beginning.
TICKS = {"1.24": mpy32.JUST_BEFORE_THE_WRAP, "1.26": 1}
# They collect garbage while they run, which this port cannot, and count what the real cryptolib allocates.
LEFT_OUT = (
    "test_packet_allocations",
    "test_keep_alive_leaves_nothing_behind",
    "test_transfer_while_allocations_fail_at_every_point",
)


@pytest.fixture(scope="session")
def files(micropython):
    vectors = mpy32.tree_files(mpy_tools.ROOT / "tests" / "vectors", "/project/tests/vectors")
    return mpy32.tree_files(run_mpy.core_tree()) | mpy32.stub_files() | vectors


@pytest.mark.parametrize("version", mpy32.VERSIONS)
@pytest.mark.parametrize("module", run_mpy.core_modules())
def test_core_module_on_32_bits(files, mpy32_version, module, version):
    passed, output = mpy32.run_test_module(files, module, version, TICKS[version], LEFT_OUT)
    assert passed, output


def test_the_rig_has_the_chips_words_and_ticks(files, mpy32_version):
    for version in mpy32.VERSIONS:
        code = (
            "import sys, time\nfrom upeer.base import clock\n"
            "print(sys.implementation.version[:2], sys.maxsize, time.ticks_add(0, -1) == 2 ** 30 - 1)\n"
            "print(clock.ticks_ms is time.ticks_ms, clock.ticks_add == time.ticks_add)\n"
            "print(clock.ticks_diff(5, 2 ** 30 - 1))\n"
            "t = time.ticks_ms()"
        )
        late = "print(time.ticks_ms() < 2 ** 30 - 1, time.ticks_diff(time.ticks_ms(), t) >= 0, t >= 2 ** 30 - 1500)"
        job = mpy32.Job(files, [("look", code), ("ticks", late)], version=version, ticks=TICKS["1.24"])
        steps = mpy32.run(job)
        major_minor = tuple(int(part) for part in version.split("."))
        assert steps[0].printed == f"{major_minor} {2**31 - 1} True\nTrue True\n6", steps
        assert steps[1].printed == "True True True", steps


@pytest.mark.parametrize("code", ["import time; time.ticks_add(0, 1 << 29)", "1/0", "import nothing"])
def test_a_step_that_raises_is_told(mpy32_version, code):
    assert "Error" in mpy32.run(mpy32.Job({}, [("fails", code)]))[0].error


def test_sizes_are_the_chips(mpy32_version):
    """Facts that were measured on stock 1.26.1 for ESP32."""
    made = {"bytes(16)": 48, "[0] * 4": 32, "bytearray(1000)": 1024, "1 << 30": 32, "{}": 16, "{1: 1, 2: 2}": 32}
    steps = [("start", "kept = [None] * 8")]
    steps += [(code, f"kept[{number}] = {code}") for number, code in enumerate(made)]
    found = list(mpy32.measure({}, steps).values())
    grown = {code: found[at + 1] - found[at] for at, code in enumerate(made)}
    assert grown == made
