"""The gate of the loop's longest stretch, and what measures it: the right step is found, named and counted."""

import os
import subprocess

import mpy_tools
import pytest
import stretches

# Measured, and a tenth above. The goal is stretches.GOAL: whoever makes a stretch shorter lowers these.
MOST_AT_START = 12_600_000
MOST = 7_000_000

_SCRIPT = """
import asyncio
import hashlib
import sys
sys.path.append({probe!r})
import probe


async def idle():
    for _ in range(40):
        for _ in range(2000):
            pass
        await asyncio.sleep_ms(1)


data = bytes(10000)


async def busy():
    await asyncio.sleep_ms(200)
    for _ in range({steps}):
        pass
    for _ in range({hashed}):
        hashlib.sha256(data).digest()
    await asyncio.sleep_ms(5)


async def main():
    await asyncio.gather(idle(), busy())


probe.install()
asyncio.run(main())
"""


@pytest.fixture
def run(tmp_path, micropython, valgrind):
    """Return what is measured of `busy`, which takes some steps and hashes 10 KB some times."""

    def run(name: str, steps: int, hashed: int) -> stretches.Stretch:
        folder = tmp_path / name
        folder.mkdir()
        script = folder / "script.py"
        script.write_text(_SCRIPT.format(probe=str(stretches.APP), steps=steps, hashed=hashed))
        command = [str(stretches.program(folder)), "-X", f"heapsize={mpy_tools.DEFAULT_HEAP}", str(script)]
        variables = {**os.environ, "PYTHONHASHSEED": "0", "MICROPYPATH": ".frozen"}
        result = subprocess.run(command, capture_output=True, text=True, timeout=100, env=variables, check=True)
        return stretches.read(folder, result.stdout)[0]

    return run


def test_longest_step_is_found_named_and_counted_once(run):
    once, twice = run("once", 100_000, 0), run("twice", 200_000, 0)
    assert once.task == twice.task == "busy" and once.is_start
    per_step = (twice.instructions - once.instructions) / 100_000
    assert 20 < per_step < 500
    assert once.instructions < 1.2 * 100_000 * per_step  # itself, not what ran before it


def test_hashing_does_not_count_and_collections_are_told(run):
    plain, hashing = run("plain", 100_000, 0), run("hashing", 100_000, 100)
    assert hashing.instructions - hashing.collecting < 1.2 * plain.instructions
    assert (plain.collections, plain.loaded, plain.received, plain.sent) == (0, 0, 0, 0)


@pytest.mark.serial
@pytest.mark.timeout(400)
def test_device_blocks_its_loop_no_longer_than_recorded(micropython, valgrind):
    found = stretches.measure()
    text = "\n".join(map(str, found[:5]))
    assert sum(bool(stretch.received) for stretch in found) > 20  # it was looked at
    assert stretches.longest(found, is_start=True) < MOST_AT_START, text
    assert stretches.longest(found, is_start=False) < MOST, text
