"""Bytes that go over the cable and into the flash per board, beside the naive full image, on mock chips.

The naive way is `esptool write-flash 0 flash.bin`: one image of the whole flash, without a look at what is there. Its
blanks compress well, so it loses in the flash rather than on the cable. Four boards: new, new with the
factory's test firmware still on it, the same recipe once more, and the next version of the application. The
MicroPython image is made up: 1.6 MB that compress as stock images do (to 65 %).
"""

import os
import random
import sys
import tempfile
import threading
from pathlib import Path

_HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE), str(_HERE.parent / "factory"), str(_HERE.parent / "host")]

import board_images  # noqa: E402
import line  # noqa: E402
from figures import report  # noqa: E402
from mock_chip import MockChip  # noqa: E402

from upeer_factory.flash.esptool_run import Run  # noqa: E402
from upeer_factory.flash.flash import Flasher, Options  # noqa: E402
from upeer_factory.flash.state import FlashState  # noqa: E402

_APP_SIZE = 1_600_000
_BOARD = "ESP32_GENERIC"


def _micropython():
    """Return a stock-like file whose app compresses as MicroPython's does."""
    chance = random.Random(7)
    noise = chance.randbytes(_APP_SIZE * 62 // 100)
    code = b"".join(noise[at : at + 62] + b"MicroPython's own texts and padding   " for at in range(0, len(noise), 62))
    segment = board_images.app_segment(512) + code[: _APP_SIZE - 512]
    return board_images.stock_file(0, 0x1000)[: 0x10000 - 0x1000] + board_images.esp_image(0, segment)


def _measure(folder):
    """Return {kind of board: FlashResult}, and esptool's report of the naive way."""
    (folder / "app").mkdir(parents=True)
    (folder / "app" / "app.py").write_text("".join(f"def f{n}():\n    return {n}\n" for n in range(300)))
    image = _micropython()
    first = line.prepared(folder, board_name=_BOARD, micropython=image)
    (folder / "app" / "app.py").write_text("".join(f"def f{n}():\n    return {n + 1}\n" for n in range(300)))
    second = line.prepared(folder, board_name=_BOARD, micropython=image)
    results = {}
    with MockChip() as chip:
        flasher = Flasher(first, Options(folder / "state"))
        results["new"] = flasher.flash(chip.port)
        results["same"] = flasher.flash(chip.port)
        results["next"] = Flasher(second, Options(folder / "state")).flash(chip.port)
        FlashState(folder / "state").forget(chip.mac)
        chip.flash.data[:] = os.urandom(1 << 12) * (len(chip.flash.data) >> 12)
        results["other"] = Flasher(second, Options(folder / "state2")).flash(chip.port)
    return results, _naive(folder, first)


def _naive(folder, prepared):
    """Write the whole flash with esptool and return what it told."""
    full = folder / "flash.bin"
    full.write_bytes(prepared.merged().ljust(prepared.naive_size, b"\xff"))
    with MockChip() as chip:
        run = Run(chip.port, ["--chip", "esp32", "--port", chip.port, "write-flash", "0", str(full)])
        return run.follow(lambda _report: None, threading.Event())


def main():
    with tempfile.TemporaryDirectory() as name:
        results, naive = _measure(Path(name))
    for kind, result in results.items():
        report(f"flash_{kind}_written", result.bytes_written, naive.bytes_written)
        report(f"flash_{kind}_cable", result.bytes_sent, naive.bytes_sent)


if __name__ == "__main__":
    main()
