"""The core's tests once more, under MicroPython and in the heap of a board: one test here per module there."""

import mpy_tools
import pytest
import run_mpy


@pytest.fixture(scope="session")
def core_tree(micropython):
    return run_mpy.core_tree()


@pytest.mark.parametrize("module", run_mpy.core_modules())
def test_core_module_on_micropython(core_tree, module):
    passed, output = mpy_tools.run_test_module(core_tree, module)
    assert passed, output
