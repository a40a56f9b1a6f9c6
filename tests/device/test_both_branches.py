"""Both branches of every place where the firmware looks at its interpreter run in a test, on one rig or another.

`clock.py` died on every ESP32 in a branch that nothing had ever run.
"""

import os
import subprocess
import sys

import branches
import device_mpy
import mpy32
import mpy_tools
import pytest
import run_mpy

_CORE_TESTS = ("test_clock", "test_crypto", "test_x25519")


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    return branches.mark_firmware(mpy_tools.firmware_sources(), tmp_path_factory.mktemp("marked"))


def outcomes(text):
    """Return the marks in what a rig printed."""
    return {line.split(" ", 1)[1] for line in text.splitlines() if line.startswith("<branch>")}


def on_cpython(marked):
    folder = marked["branch_marks.py"].parent
    paths = [folder, *{path.parent for path in run_mpy.CORE.rglob("*.py")}]
    environment = os.environ | {"PYTHONPATH": ":".join(map(str, paths))}
    text = ""
    for module in _CORE_TESTS:
        command = [sys.executable, str(run_mpy.CORE / "run_mpy_main.py"), module]
        text += subprocess.run(command, cwd=mpy_tools.ROOT, env=environment, capture_output=True, text=True).stdout
    return outcomes(text)


def on_the_unix_port(marked):
    tree = mpy_tools.build_tree(marked, mpy_tools.tests_sources(run_mpy.CORE))
    return outcomes("".join(mpy_tools.run_test_module(tree, module)[1] for module in _CORE_TESTS))


def on_32_bits(marked):
    tree = mpy_tools.build_tree(marked, mpy_tools.tests_sources(run_mpy.CORE))
    vectors = mpy32.tree_files(mpy_tools.ROOT / "tests" / "vectors", "/project/tests/vectors")
    files = mpy32.tree_files(tree) | mpy32.stub_files() | vectors
    steps = [(module, f"import run_mpy_main; run_mpy_main.main({module!r})") for module in _CORE_TESTS]
    return outcomes("\n".join(step.printed for step in mpy32.run(mpy32.Job(files, steps))))


def on_the_boards_shims(marked):
    shims = {str(path.relative_to(device_mpy.SHIMS)): path for path in sorted(device_mpy.SHIMS.rglob("*.py"))}
    tests = {name: device_mpy.CORE_TESTS / name for name in ("helpers.py", "run_mpy_main.py")}
    tree = mpy_tools.build_tree(marked | shims, tests | mpy_tools.tests_sources(device_mpy.MPY_TESTS))
    return outcomes(mpy_tools.run_test_module(tree, "test_left_out", "400K")[1])


def test_both_outcomes_of_each_place_run(marked, micropython, mpy32_version):
    sources, places = marked
    rigs = {rig.__name__: rig(sources) for rig in (on_cpython, on_the_unix_port, on_32_bits, on_the_boards_shims)}
    assert all(rigs.values()), {name: len(found) for name, found in rigs.items()}
    wanted = {f"{place} {outcome}" for place in places for outcome in ("yes", "no")}
    assert len(places) >= 12 and wanted - set().union(*rigs.values()) == set()
    lent = min(place for place in places if place.startswith("upeer/base/clock.py"))  # the `if` around all three
    assert f"{lent} no" in rigs["on_32_bits"] and f"{lent} no" in rigs["on_the_boards_shims"]
    assert f"{lent} yes" in rigs["on_cpython"] and f"{lent} yes" in rigs["on_the_unix_port"]


def test_every_module_is_imported_on_32_bits(mpy32_version, micropython):
    """With the chip's ticks and words, on both versions."""
    tree = mpy_tools.build_tree(mpy_tools.firmware_sources(), {})
    files = mpy32.tree_files(tree) | mpy32.stub_files() | mpy32.stub_files(mpy32.STUBS.with_name("chip"))
    names = [name for name in mpy_tools.firmware_sources() if name != "upeer/crypto/cpython.py"]
    steps = [(name, "import " + name[:-3].replace("/", ".").replace(".__init__", "")) for name in names]
    for version in mpy32.VERSIONS:
        failed = [step for step in mpy32.run(mpy32.Job(files, steps, version=version)) if step.error]
        assert not failed
