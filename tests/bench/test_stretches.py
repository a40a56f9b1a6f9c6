"""The gate of the loop's longest stretch, and what measures it: the right step is found, named and counted."""

import os
import subprocess

import mpy_tools
import pytest
import stretches

# Measured: 1.7 M, and 2.8 to 3.0 M, beside busy loops too.
MOST_AT_START = stretches.GOAL
MOST = stretches.GOAL

_SCRIPT = """
import asyncio
import hashlib
import sys
import vfs
sys.path.append({probe!r})
import probe


async def idle():
    for _ in range(40):
        for _ in range(2000):
            pass
        await asyncio.sleep_ms(1)


data = bytes(10000)


class Flash:
    # A block device in Python, as the virtual board's is.
    def __init__(self):
        self.data = bytearray(8192)

    def readblocks(self, block, buf, offset=0):
        for _ in range(100):
            pass
        start = 512 * block + offset
        buf[:] = memoryview(self.data)[start : start + len(buf)]

    def writeblocks(self, block, buf, offset=0):
        start = 512 * block + offset
        self.data[start : start + len(buf)] = buf

    def ioctl(self, command, arg):
        return {{4: 16, 5: 512}}.get(command, 0)


vfs.VfsLfs2.mkfs(flash := Flash())
vfs.mount(flash, "/flash")
with open("/flash/x", "w") as file:
    file.write("x" * 3000)


async def busy():
    await asyncio.sleep_ms(200)
    for _ in range({steps}):
        pass
    for _ in range({hashed}):
        hashlib.sha256(data).digest()
    for _ in range({reads}):
        open("/flash/x").read()
    await asyncio.sleep_ms(5)


async def main():
    await asyncio.gather(idle(), busy())


probe.install()
asyncio.run(main())
"""


@pytest.fixture
def run(tmp_path, micropython, valgrind):
    """Return what is measured of `busy`, which takes some steps, hashes 10 KB some times, and reads a file."""

    def run(name: str, steps: int, hashed: int, reads: int = 0) -> stretches.Stretch:
        folder = tmp_path / name
        folder.mkdir()
        script = folder / "script.py"
        script.write_text(_SCRIPT.format(probe=str(stretches.APP), steps=steps, hashed=hashed, reads=reads))
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


def test_flash_driver_in_python_does_not_count(run):
    """Reading 20 times is some 2,000 reads of blocks, each of 100 steps: twice what the steps are."""
    plain, reading = run("plain", 100_000, 0), run("reading", 100_000, 0, 20)
    assert reading.instructions - reading.collecting < 1.5 * plain.instructions


@pytest.mark.serial
@pytest.mark.timeout(400)
def test_device_blocks_its_loop_no_longer_than_recorded(micropython, valgrind):
    found = stretches.measure()
    text = "\n".join(map(str, found[:5]))
    assert sum(bool(stretch.received) for stretch in found) > 20  # it was looked at
    assert stretches.longest(found, is_start=True) < MOST_AT_START, text
    assert stretches.longest(found, is_start=False) < MOST, text
