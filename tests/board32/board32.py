"""A device on a MicroPython of 32 bits, as an ESP32's: what it holds there is what it holds on the chip.

The image's own files run under MicroPython's WebAssembly port in node, with sockets on loopback; the shims beside this
file stand for the chip's modules, and for the asyncio that the chip has frozen. Objects, code and names have the chip's
sizes: of commit 49267be the resident code took 53,232 bytes here and 53 KB on an emulated ESP32, a logged-in device
91.5 KB here and 91 KB there. Garbage is collected between steps only, so this tells what is live, not how high the heap
rises in between.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import mpy32

from upeer_board import boards, fctry, image

HERE = Path(__file__).resolve().parent
CHIP_BOOT = 6 * 1024  # allocated on the chip before anything of ours is loaded
_TIME_OUT_S = 60
_CHIP_HAS = "import gc, os, asyncio, machine, network, socket, esp32, cryptolib, hashlib, struct, json, errno, random"
_MAIN = """
from device.api import Device
device = Device()
async def main():
    await device.start()
    asyncio.is_paused = True
asyncio.create_task(main())
"""


class Board32:
    """A running device: `output` is its console, `allocated()` its live bytes on the chip's scale."""

    def __init__(
        self, folder: Path, record: fctry.Record, board: str = "ESP32_GENERIC", begin_ms: int | None = None
    ) -> None:
        """Lay a device out and start its interpreter; with `begin_ms` its clock stands until it is told the time."""
        self.output = ""
        self._answers: list[dict[str, str]] = []
        self._news = threading.Condition()
        self._asking = threading.Lock()
        self._board = boards.load_board(board)
        _lay_out(folder, record, self._board)
        command = [mpy32.node_program(), str(HERE / "board32.mjs"), str(mpy32.program()), str(folder)]
        command += [] if begin_ms is None else [str(begin_ms)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1
        )
        threading.Thread(target=self._read, daemon=True).start()
        self.run(_CHIP_HAS)
        self._base = self._live()

    def __enter__(self) -> Board32:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.wait()

    def boot(self) -> int:
        """Start the agent; return what is live when `Device.start` is through, before the network is there."""
        self.run(_MAIN)
        self._ask({"start": True})
        end = time.monotonic() + _TIME_OUT_S
        while self.run("print(asyncio.is_paused)").strip() != "True":
            if time.monotonic() > end:
                raise TimeoutError(f"the device does not start: {self.output[-800:]}")
            time.sleep(0.01)
        found = self.allocated()
        self.run("asyncio.is_paused = False")
        return found

    def attribute(self, name: str) -> str:
        """Return what an attribute of the firmware is called in the image."""
        renamed = image.shipped_sources(self._board.exclude).names["attributes"]
        return next((short for short, names in renamed.items() if name in names), name)

    def run(self, code: str) -> str:
        """Run code at the top level and return what it printed; RuntimeError with the traceback if it raises."""
        return self._run([code])

    def allocated(self) -> int:
        """Return the live bytes on the chip's scale."""
        return CHIP_BOOT + self._live() - self._base

    def wait_for(self, text: str, count: int = 1) -> None:
        """Wait until the console holds a text so many times."""
        with self._news:
            if not self._news.wait_for(lambda: self.output.count(text) >= count, _TIME_OUT_S):
                raise TimeoutError(f"no {text!r} on the console, which ends: {self.output[-800:]}")

    def _live(self) -> int:
        return int(self._run(["gc.collect()", "print(gc.mem_alloc())"]))  # it collects when the first has returned

    def _run(self, codes: list[str]) -> str:
        with self._asking:
            answer = self._ask({"run": codes})
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer.get("out", "")

    def _ask(self, request: dict[str, object]) -> dict[str, str]:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request) + "\n")
        with self._news:
            if not self._news.wait_for(lambda: bool(self._answers), _TIME_OUT_S):
                raise TimeoutError("no answer from the board")
            return self._answers.pop(0)

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            message = json.loads(line)
            with self._news:
                if "print" in message:
                    self.output += message["print"] + "\n"
                else:
                    self._answers.append(message)
                self._news.notify_all()


def _lay_out(folder: Path, record: fctry.Record, board: boards.Board) -> None:
    """Write what the device finds in its flash, and the shims. No act is refused here, as garbage stays for a step."""
    board = replace(board, limits=board.limits | {"heap_limit": 1 << 24})
    files = image.firmware_files(board)
    files["wifi.json"] = json.dumps({"ssid": "lab", "password": ""}).encode()
    files["fctry.bin"] = fctry.image(record, board.partitions["fctry"].size)
    for name, data in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    (folder / "shims").symlink_to(HERE / "shims")
