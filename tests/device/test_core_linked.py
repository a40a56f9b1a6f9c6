"""The core's tests once more on what an image holds: linked, inlined, renamed. They are linked along, for its names."""

import shutil

import device_mpy
import mpy_tools
import pytest
import run_mpy

from upeer_board import image, linker

# It exchanges a class under its caller, which the linker moved into another module than the class.
_LEFT_OUT = "test_memory_error_while_a_session_is_made_leaves_none"
_HEAP = "512K"  # what is proved here is that it does the same


@pytest.fixture(scope="session")
def linked_tree(micropython, tmp_path_factory):
    """Return a folder with the firmware and the core's tests as one linked program, compiled."""
    tests = {
        name: path.read_text().replace(f"def {_LEFT_OUT}", "def left_out")
        for name, path in mpy_tools.tests_sources(run_mpy.CORE).items()
    }
    folder = tmp_path_factory.mktemp("linked")
    sources = image.firmware_sources() | {
        str(path.relative_to(mpy_tools.FIRMWARE)): path.read_text()
        for path in mpy_tools.FIRMWARE.rglob("*.py")
        if path.parent != mpy_tools.FIRMWARE
    }
    for name, text in linker.link(sources, tests).files.items():
        source = folder / "source" / name
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(text)
        target = folder / "lib" / (name[:-3] + ".mpy")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(mpy_tools.compile_file(source, name, 0 if name in tests else 3), target)
    return folder / "lib"


@pytest.mark.parametrize("module", run_mpy.core_modules())
def test_core_module_on_the_linked_firmware(linked_tree, module):
    done = mpy_tools.run_micropython(["-m", "run_mpy_main", module], [device_mpy.SHIMS, linked_tree], _HEAP)
    assert done.returncode == 0, done.stdout


def test_the_linked_core_is_what_is_tested(linked_tree):
    assert (linked_tree / "device" / "core.mpy").is_file()
    assert not (linked_tree / "upeer" / "session" / "session.mpy").exists()
