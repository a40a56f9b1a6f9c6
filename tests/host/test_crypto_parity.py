"""CPython (cryptography, OpenSSL) and MicroPython (cryptolib, big integers) give the same bytes for the same inputs."""

import os
import subprocess
import sys
from pathlib import Path

import mpy_tools

SCRIPT = str(Path(__file__).with_name("crypto_parity.py"))
SEEDS = 60


def on_cpython() -> str:
    environment = {**os.environ, "PYTHONPATH": str(mpy_tools.FIRMWARE)}
    command = [sys.executable, SCRIPT, str(SEEDS)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout


def test_same_bytes_on_both_interpreters(micropython: Path) -> None:
    expected = on_cpython()
    result = mpy_tools.run_micropython([SCRIPT, str(SEEDS)], [mpy_tools.FIRMWARE], timeout_s=60)
    assert result.returncode == 0, result.stdout[-2000:]
    assert result.stdout.splitlines() == expected.splitlines()
    assert expected.count("packet ") == 8 * SEEDS
    assert expected.count("opened -1") > SEEDS
    assert expected.count("noise ") == SEEDS // 4
