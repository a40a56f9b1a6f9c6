"""The device's own modules on MicroPython: what they answer, what they find wrong."""

import json

import pytest
from board_images import RECORD

from upeer_board import image
from upeer_board.boards import load_board
from upeer_board.virtual import VirtualBoard
from upeer_factory.board import prove
from upeer_factory.board.targets import ReplTarget, _mpremote
from upeer_factory.errors import FactoryError

pytestmark = pytest.mark.usefixtures("micropython")
KEY = RECORD["licence_key"]


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tested")
    image.build(load_board("UNIX"), folder, image.Options(licence=RECORD))
    with VirtualBoard.start(folder) as running:
        yield running


@pytest.fixture
def target(board):
    return ReplTarget(board.pty)


def _failed(target, options):
    nonce = prove.new_nonce()
    mac = target.read_mac()
    return prove.check_selftest(target.selftest(nonce, mac, options), nonce, mac, KEY).failed


def test_good_board_passes_and_signs(target):
    nonce, mac = prove.new_nonce(), target.read_mac()
    answer = target.selftest(nonce, mac, {})
    found = prove.check_selftest(answer, nonce, mac, KEY)
    assert found.good and set(found.rows) == {"flash", "ram", "clock", "rng", "wifi"}
    assert json.loads(found.as_dict()["result"])["did"] == RECORD["did"]
    for wrong in (
        (answer, prove.new_nonce(), mac, KEY),
        (answer, nonce, mac, b"x" * 32),
        (answer | {"result": answer["result"].replace("true", "True", 1)}, nonce, mac, KEY),
        (answer | {"tag": ""}, nonce, mac, KEY),
    ):
        with pytest.raises(FactoryError, match="not signed by its licence"):
            prove.check_selftest(*wrong)


def test_result_of_another_board_is_refused(target):
    nonce, mac = prove.new_nonce(), target.read_mac()
    answer = target.selftest(nonce, mac, {"skip": ["ram", "wifi", "flash", "rng", "clock"]})
    with pytest.raises(FactoryError, match="another board answers"):
        prove.check_selftest(answer, nonce, "02:00:00:00:00:01", KEY)


def test_deaf_antenna_is_found(board, target):
    assert _failed(target, {"min_aps": 2}) == ["wifi"]
    board.set_air(up=False)
    assert _failed(target, {}) == ["wifi"]
    board.set_air(up=True)
    assert _failed(target, {}) == []


def test_bad_entropy_clock_and_flash_are_found(target):
    script = """
import device.checks as s, device.selftest, json, time
s.random_bytes = lambda size: b"A" * size
real = time.ticks_us
class Bad:
    ticks_ms, ticks_diff, sleep_ms = time.ticks_ms, time.ticks_diff, time.sleep_ms
    def ticks_us():
        return real() * 3 & 0x3FFFFFFF
s.time = Bad
class File:
    def __enter__(self): return self
    def __exit__(self, *a): pass
    def write(self, data): pass
    def read(self, size): return bytes(size)
s.open = lambda *a: File()
print("upeer-answer", device.selftest.run(bytes(32), {"skip": ["ram", "wifi"]}))
"""
    result = json.loads(target._ask(script)["result"])
    assert {name: result[name][0] for name in ("rng", "clock", "flash")} == dict.fromkeys(
        ("rng", "clock", "flash"), False
    )
    assert result["ok"] is False


def test_prove_wants_a_whole_nonce(target):
    mac = target.read_mac()
    assert "32 bytes" in target.prove(b"short", mac)["error"]
    nonce = prove.new_nonce()
    prove.check_proof(target.prove(nonce, mac), nonce, mac, RECORD["did"], KEY)


def test_nothing_of_it_stays_loaded(board, target):
    """A board that runs its agent has neither module in RAM."""
    output = _mpremote(target.repl, ["run", "/dev/stdin"], "import sys\nprint([n for n in sys.modules])")
    assert not any(name in output for name in ("device.prove", "device.selftest", "device.checks"))
    assert KEY.hex() not in board.output
