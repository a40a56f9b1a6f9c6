"""Some minutes of the soak, and what it finds when something is wrong. `make soak TARGET=device` is the whole of it."""

import subprocess
import sys
from pathlib import Path

import mpy32
import pytest

pytestmark = pytest.mark.skipif(mpy32.missing_reason() is not None, reason=str(mpy32.missing_reason()))

_FOLDER = Path(__file__).parent

_PLANTED = f"""
import sys
sys.path.insert(0, {str(_FOLDER)!r})
import soak
from world import World
{{fault}}
soak.soak(5, 0)
"""

_LEAK = """
begin = World.pair
async def pair(self):
    self.board.run('''
kept = []
async def leak():
    while True:
        kept.append(bytes(16))
        await asyncio.sleep(60)
asyncio.create_task(leak())
''')
    await begin(self)
World.pair = pair
"""

_SILENT_SERVER = """
serve = World.serve
def serve_once(self, number):
    serve(self, number)
    if self.transfers:
        self.nodes[number].out = []
        self._pumps[number].stop()
World.serve = serve_once
"""

_CHANGED_BYTES = """
import board_lab
echo = board_lab.echo
async def changed(channel, data):
    return (await echo(channel, data)).replace(b"a", b"b")
board_lab.echo = changed
"""


_LONGEST_S = 280  # real ones; on two quiet cores it takes 20


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run in a process of its own: its time is virtual."""
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=_LONGEST_S, check=False)


def test_quarter_of_an_hour_with_a_wrap_and_a_leap():
    result = _run(str(_FOLDER / "soak.py"), "--minutes", "15", "--leaps", "1")
    assert result.returncode == 0, result.stderr[-3000:]
    last = result.stdout.splitlines()[-1]
    assert last.startswith("round 3: 12 transfers, 8 outages, 1 wraps of the ticks")


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (_LEAK, "AssertionError: the device grows"),
        (_SILENT_SERVER, "TimeoutError: server: 4 of 6 logins"),
        (_CHANGED_BYTES, "assert await pending == [data, data]"),
    ],
    ids=["leak", "silent server", "changed bytes"],
)
def test_fault_is_found(fault, found):
    result = _run("-c", _PLANTED.format(fault=fault))
    assert result.returncode == 1 and found in result.stderr, (result.stdout, result.stderr[-3000:])
