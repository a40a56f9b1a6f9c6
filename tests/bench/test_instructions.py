"""The instruction counter itself: it repeats, and it tells crypto from the interpreter."""

from pathlib import Path

import instructions
import pytest

_SCRIPTS = Path(__file__).resolve().parent / "mpy"


@pytest.mark.parametrize("script", ["aes_1200.py", "sha_1200.py"])
def test_count_repeats_and_is_nearly_all_crypto(micropython, valgrind, script):
    first = instructions.per_iteration(_SCRIPTS / script, 20)
    second = instructions.per_iteration(_SCRIPTS / script, 40)
    assert abs(first.total - second.total) <= first.total // 200
    assert 0 < first.beside_crypto < first.total // 10
