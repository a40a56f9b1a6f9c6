"""The MicroPython runner itself: a failing test fails, one for CPython is left out, a small heap is a small heap."""

import mpy_tools
import pytest

_MODULE = """
def test_passes():
    assert True

def test_fails():
    assert 1 == 2, "planted"

def test_only_there_cpython():
    import ctypes
"""


@pytest.fixture
def run(micropython, tmp_path):
    """Return a function that runs a source text as a test module: (passed, output)."""

    def run_source(source, heap=mpy_tools.DEFAULT_HEAP):
        (tmp_path / "test_planted.py").write_text(source)
        main = mpy_tools.ROOT / "tests" / "core" / "run_mpy_main.py"
        tests = {"run_mpy_main.py": main, "test_planted.py": tmp_path / "test_planted.py"}
        return mpy_tools.run_test_module(mpy_tools.build_tree({}, tests), "test_planted", heap)

    return run_source


def test_failing_test_is_named(run):
    passed, output = run(_MODULE)
    assert not passed
    assert "FAILED test_planted.test_fails" in output
    assert "AssertionError: planted" in output
    assert "1 passed, 1 failed" in output


def test_module_that_passes(run):
    passed, output = run("def test_a():\n    pass\n")
    assert passed
    assert "1 passed, 0 failed" in output


def test_heap_is_as_small_as_asked(run):
    source = "def test_a():\n    bytearray(100 * 1024)\n"
    assert run(source, "176K")[0]
    passed, output = run(source, "90K")
    assert not passed
    assert "MemoryError" in output


def test_module_that_does_not_import_fails(run):
    passed, output = run("import not_there\n")
    assert not passed
    assert "ImportError" in output


def test_run_that_hangs_is_ended(micropython):
    result = mpy_tools.run_micropython(["-c", "while True: pass"], [], timeout_s=1)
    assert result.returncode == 124
    assert "no end after 1 s" in result.stdout


def test_source_that_does_not_compile_is_named(micropython, tmp_path):
    (tmp_path / "broken.py").write_text("def f(:\n")
    with pytest.raises(mpy_tools.CompileError, match="broken.py"):
        mpy_tools.compile_file(tmp_path / "broken.py", "broken.py")
