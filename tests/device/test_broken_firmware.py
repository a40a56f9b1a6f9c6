"""The chip model shows what the desk used to hide: firmware that is broken in one way each fails on a virtual board.

Every case runs twice, as it is and broken: what is looked for must come of the one and not of the other.
"""

import shutil
import time

import board_lab
import device_mpy
import mpy_tools
import pytest

from upeer_board.virtual import VirtualBoard

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("micropython")]

WRAP = 1 << 30
UP = "network up"
END = ">>> "  # main.py ended: a board that works never gets there
CLOCK, UDP, AEAD = "upeer/base/clock.py", "device/udp.py", "upeer/crypto/aead.py"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Return a folder with a copy of boards and firmware, from which images are built."""
    folder = tmp_path / "project"
    for name in ("boards", "firmware"):
        shutil.copytree(mpy_tools.ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setenv("UPEER_ROOT", str(folder))
    return folder


@pytest.fixture
def lab(tmp_path):
    return board_lab.Lab(tmp_path)


def change(project, name, old, new):
    """Break the firmware in one place, which must be there."""
    path = project / "firmware" / name
    text = path.read_text()
    assert text.count(old) == 1, f"{name} has changed: break it in another way"
    path.write_text(text.replace(old, new))


def console(lab, name, wanted, **settings):
    """Run a board until `wanted` or the prompt is on its console, and return that."""
    with VirtualBoard.start(lab.build(name=name), **settings) as board:
        end = time.monotonic() + board_lab.BOOT_S
        while wanted not in board.output and END not in board.output and time.monotonic() < end:
            time.sleep(0.05)
        return board.output


def test_a_port_that_lends_one_of_three_functions(lab, project):
    """clock.py as it was: it ran on the unix port and started on no ESP32."""
    assert UP in console(lab, "whole", UP)
    for name in ("ticks_ms", "ticks_add"):
        change(project, CLOCK, f"    {name} = time.{name}\n", "")
    output = console(lab, "broken", UP)
    assert UP not in output and "Error" in output


def test_ticks_that_are_added_to_without_a_wrap(lab, project):
    """Deadlines of more than 30 bits: the unix port compares them as any other number."""
    assert "OverflowError" not in console(lab, "whole", UP, ticks=WRAP - 1500)
    change(project, CLOCK, "    ticks_add = time.ticks_add\n", "    ticks_add = lambda ticks, delta: ticks + delta\n")
    assert "OverflowError" in console(lab, "broken", "OverflowError", ticks=WRAP - 300)


def test_a_number_of_62_bits_that_is_kept_as_ticks(lab, project):
    change(project, CLOCK, "    ticks_ms = time.ticks_ms\n", "    ticks_ms = lambda: time.ticks_ms() + (1 << 40)\n")
    assert "OverflowError" in console(lab, "broken", "OverflowError")


def test_an_import_that_only_the_other_interpreter_has(lab, project):
    change(project, AEAD, "    from cryptolib import aes\n", "")
    output = console(lab, "broken", UP)
    assert UP not in output and "NameError" in output


_LATCH = """
import usocket
from device.udp import Udp
udp = Udp()
stranger = usocket.socket(2, 2)
at = b"\\x02\\0" + bytes((udp.port >> 8, udp.port & 255)) + bytes((127, 0, 0, 1)) + bytes(8)
stranger.sendto(b"", at)
udp.receive()
stranger.sendto(b"after", at)
print("heard", udp.receive() or udp.receive())
"""


def heard(project, script):
    """Run a script with the project's own udp.py over the board's shims, and return what it printed."""
    shims = {path.name: path for path in device_mpy.SHIMS.glob("*.py")}
    sources = mpy_tools.firmware_sources() | shims | {UDP: project / "firmware" / UDP}
    return mpy_tools.run_micropython(["-m", "latch"], [mpy_tools.build_tree(sources, {"latch.py": script})]).stdout


def test_reading_on_after_a_datagram_of_no_bytes(project, tmp_path):
    script = tmp_path / "latch.py"
    script.write_text(_LATCH)
    assert "heard 5" in heard(project, script)
    change(project, UDP, "        if not size:\n            self.reopen()\n", "")
    assert "heard 0" in heard(project, script)


def test_a_third_step_of_the_heap(lab, project):
    """What holds 60 KB too much still runs here, and on the chip has neither sockets nor Wi-Fi."""
    assert UP in console(lab, "whole", UP, heap="400K")
    change(project, "main.py", "def run() -> None:\n", "kept = bytearray(150000)\n\n\ndef run() -> None:\n")
    with VirtualBoard.start(lab.build(name="broken"), heap="400K") as board:
        board.wait_for("ticks from")
        with pytest.raises(TimeoutError):
            board.wait_for(UP, 12)


def test_without_mailboxes_of_six_the_test_of_a_burst_fails():
    command, tree = ["-m", "run_mpy_main", "test_chip_model"], device_mpy.device_tree()
    done = mpy_tools.run_micropython(command, [tree], environment={"UPEER_QUEUE": "0"})
    assert done.returncode and "FAILED test_chip_model.test_six_datagrams_wait" in done.stdout
