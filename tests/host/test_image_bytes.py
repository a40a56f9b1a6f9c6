"""The same sources make the same bytes, in every process: a recipe that pins an image is refused otherwise."""

import os
import subprocess
import sys

_DIGEST = """
import hashlib
from upeer_board import boards, image
files = image.firmware_files(boards.load_board("ESP32_GENERIC"))
print(hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest())
"""


def _digest(seed: int) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
    done = subprocess.run([sys.executable, "-c", _DIGEST], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_ten_processes_with_ten_seeds_make_the_same_files():
    assert len({_digest(seed) for seed in range(10)}) == 1
