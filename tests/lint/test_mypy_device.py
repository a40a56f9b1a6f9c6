"""mypy really checks what goes to a board against MicroPython's stubs: a planted fault is reported."""

import subprocess
import sys

import pytest

_PLANTED = """
import machine
import time

def wait(ms: int) -> None:
    time.ticks_never()
    machine.reset_softly()
    machine.Pin(2).value("high", 3)

wait("long")
"""


@pytest.fixture
def check(project_root, tmp_path):
    """Return a function that type-checks a source text as device code and returns mypy's lines."""
    if not (project_root / "typings" / "stdlib").exists():
        pytest.skip("no typings/: 'make setup' installs MicroPython's stubs")

    def run(source: str) -> list[str]:
        (tmp_path / "planted.py").write_text(source)
        options = ("--config-file", "firmware/mypy.ini", "--cache-dir", str(tmp_path / "cache"))
        command = [sys.executable, "-m", "mypy", *options, str(tmp_path / "planted.py")]
        result = subprocess.run(command, cwd=project_root, capture_output=True, text=True, timeout=100, check=False)
        return result.stdout.splitlines()

    return run


def test_planted_faults_are_reported(check):
    lines = [line.partition("planted.py:")[2] for line in check(_PLANTED) if "error:" in line]
    assert [line.partition(":")[0] for line in lines] == ["6", "7", "8", "10"]


def test_clean_device_code_passes(check):
    lines = check("import machine\n\nmachine.Pin(2, machine.Pin.OUT).value(1)\n")
    assert lines[-1].startswith("Success")
