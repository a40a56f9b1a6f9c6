"""A good board passes its whole self-test, its session too, with the margin below a chip's heap.

`make heaps` finds the smallest heap.
"""

import mpy_tools
import pytest
from board_heap import GATE_K, MARGIN_K
from selftest_heap import passes

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("micropython")]


@pytest.mark.parametrize("path_size", sorted({layout.path_size for layout in mpy_tools.LAYOUTS})[:3:2])
def test_good_board_passes_with_the_margin(tmp_path, path_size):
    assert passes(tmp_path / ("b" + "x" * path_size), GATE_K - MARGIN_K) == ""
