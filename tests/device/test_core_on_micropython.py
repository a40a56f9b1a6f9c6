"""The core's tests once more, under MicroPython and in the heap of a board: one test here per module there."""

import mpy_tools
import pytest
import run_mpy

HUNGRY = ("test_endpoint", "test_session_link")


@pytest.fixture(scope="session")
def core_tree(micropython):
    return run_mpy.core_tree()


@pytest.mark.parametrize("module", run_mpy.core_modules())
def test_core_module_on_micropython(core_tree, module):
    passed, output = mpy_tools.run_test_module(core_tree, module)
    assert passed, output


@pytest.mark.parametrize("layout", range(len(mpy_tools.LAYOUTS)))
@pytest.mark.parametrize("module", HUNGRY)
def test_hungry_module_has_its_margin_in_every_layout(core_tree, module, layout):
    """`make heaps` finds the smallest heap of every module."""
    heap = f"{int(mpy_tools.TESTS_HEAP[:-1]) - mpy_tools.MARGIN_K}K"
    passed, output = mpy_tools.run_test_module(core_tree, module, heap, layout=mpy_tools.LAYOUTS[layout])
    assert passed, output
