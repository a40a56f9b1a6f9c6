"""The device shell's tests under MicroPython, over the shims of the virtual board: one test here per module there."""

import device_mpy
import mpy_tools
import pytest


@pytest.fixture(scope="session")
def device_tree(micropython):
    return device_mpy.device_tree()


@pytest.mark.parametrize("module", device_mpy.device_modules())
def test_device_module_on_micropython(device_tree, module):
    passed, output = mpy_tools.run_test_module(
        device_tree, module, device_mpy.HEAPS.get(module, mpy_tools.DEFAULT_HEAP)
    )
    assert passed, output
