"""A frozen build's resident code takes a third of what the image's does, and what is measured is no bytecode."""

import frozen_ram
import mpy32
import pytest

pytestmark = pytest.mark.skipif(mpy32.missing_reason() is not None, reason=mpy32.missing_reason() or "")

_FUNCTION = "def f{n}(a):\n    return {body}\n"


def test_resident_code_of_a_frozen_build(tmp_path):
    assert frozen_ram.resident(frozen_ram.measure(tmp_path)) <= 20 * 1024  # docs/frozen-build.md


def test_functions_count_and_their_bodies_do_not(tmp_path):
    bodies = {"few": (20, "a"), "many": (120, "a"), "long": (20, "+".join(["a * 3"] * 50))}
    sources = {
        f"upeer/{name}.py": "".join(_FUNCTION.format(n=n, body=body) for n in range(count))
        for name, (count, body) in bodies.items()
    }
    found = frozen_ram.measure(tmp_path, sources)
    assert found["upeer/long.py"] == found["upeer/few.py"]
    assert 100 * 16 <= found["upeer/many.py"] - found["upeer/few.py"] <= 100 * 48
