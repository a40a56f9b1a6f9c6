"""What a device holds on the chip's scale: the whole image on 32 bits, with three masters and clients."""

import mpy32
import pytest
import stages

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(mpy32.missing_reason() is not None, reason=str(mpy32.missing_reason())),
]

KB = 1024
# Live KB that are allowed: the budgets of the design, the last without an application, the one before with one of 8 KB;
# that of one busy channel is our own: an open one, and its window, a block and as much that goes out.
# The third step of the chip's heap begins at 112 KB; what is left is for garbage, holes and transient modules.
GATES = {
    "started": 62,
    "logged in": 72,
    "one session": 82,
    "one session, one busy channel": 90,
    "two sessions, an application of 8 KB": 102,
    "two sessions, four busy channels each": 94,
}


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Return what was live at each stage, and what a session left."""
    return stages.measure(tmp_path_factory.mktemp("board32"))


@pytest.mark.parametrize("stage", GATES)
def test_live_bytes_are_within_the_budget(figures: dict[str, int], stage: str) -> None:
    print(f"{stage}: {figures[stage] / KB:.1f} of {GATES[stage]} KB")
    assert figures[stage] <= GATES[stage] * KB, figures


def test_no_object_keeps_a_module_that_was_dropped(figures: dict[str, int]) -> None:
    """An object refers to its class, that to its methods, these to all of their module."""
    assert figures[stages.PINNED] == 0
