"""A device in virtual time that is as slow as a chip: every step of its loop takes the time that it would take there.

The image's files run under MicroPython's unix port and callgrind (counted/start.py). After each step the host reads
what it cost at 160 MHz: 15 ns for an instruction beside AES and SHA, which the chip has in hardware; 0.16 s for each
file of modules read out of the flash; 7.7 ms for each collection, when the garbage of the steps has come to the
firmware's threshold; for a look at how much is allocated what a heap of the chip's blocks takes. At 240 MHz, which the
firmware sets while it is busy where the board's file says so, all of it takes two thirds. What a step sends leaves
spread over its time, the last at its end; meanwhile six datagrams wait in a socket's mailbox and more are lost. A wait
ends on a tick of 10 ms.
"""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "soak"))

import instructions
import mpy_tools
from virtual_time import Address, Network

from upeer.base.wire import LAN_PORT
from upeer_board import boards, fctry, image

_SHIMS = Path(__file__).resolve().parent / "counted"
_BOARD32 = Path(__file__).resolve().parents[1] / "board32" / "shims"
_SHARED_SHIMS = ("asyncio.py", "esp32.py", "machine.py", "network.py", "socket.py")
_HEAP = "1M"
_SHIMS_SIZE = 128 << 10  # of their heap, beyond what those of the virtual board take: no act is refused for them
_TICK_MS = 10
_MAILBOX = 6
_INSTRUCTION_MS = 15e-6
_AES_MS = 5e-6  # an instruction of the host's AES: 1200 bytes take 0.25 ms on the chip, with set-up
_SHA_MS = 2.5e-6  # likewise, 0.1 ms
_LOAD_MS = 160
_COLLECTION_MS = 7.7
_MHZ = 160  # of all these times
_RECEIVED_GARBAGE = 1300  # of recvfrom on the chip
_BLOCKS = (112 / 16) / (1024 / 32)  # of the chip's heap beside those of _HEAP: gc.mem_alloc looks at each
_CHIP = 1.48  # bytes here for each on the chip


class CountedBoard:
    """A device at an address; `begin` powers it on. It is a machine of virtual_time."""

    def __init__(self, folder: Path, record: fctry.Record, network: Network, ip: str) -> None:
        self.wake_ms: float | None = None
        self.output = ""
        self.lost = 0  # datagrams that found the mailbox full
        self._folder = folder
        self._network = network
        self._ip = ip
        self._at_ms = 0.0  # until when it has run
        self._is_idle = True
        self._due_ms: float | None = None
        self._garbage = 0.0
        self._collects = False  # before the next step
        self._steps = 0
        self._left: dict[str, int] = {}
        self._places: dict[int, Any] = {}
        _lay_out(folder, record)
        self._process = _run(folder)
        self.set_air(True, ip)

    def __enter__(self) -> "CountedBoard":
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def begin(self) -> None:
        """Power it on now: main.py runs."""
        self._at_ms = self._network.clock.ms
        self._step(boots=True)

    def logins(self) -> int:
        """Return how many logins at masters there were."""
        return self.output.count("online master")

    def set_air(self, is_up: bool, ip: str = "") -> None:
        """Switch the router off or on; the device gets this address then."""
        self._ip = ip or self._ip
        self._ask({"run": f"network.air[:] = [{is_up}, {self._ip!r}]"})

    def advance(self, now_ms: int) -> None:
        """Let it run up to now."""
        while self._at_ms <= now_ms:
            if self._is_idle and not self._wakes(now_ms):
                return
            self._step()
        self.wake_ms = math.ceil(self._at_ms)

    def _wakes(self, now_ms: int) -> bool:
        """Tell whether its wait is over; else plan when it will be: on the tick after something is due or has come."""
        has_come = any(inbox for _, inbox in self._places.values())
        due_ms = now_ms if has_come else self._due_ms
        if due_ms is None:
            self.wake_ms = None
            return False
        tick_ms = math.ceil(due_ms / _TICK_MS) * _TICK_MS
        if tick_ms > now_ms:
            self.wake_ms = tick_ms
            return False
        self._at_ms = max(self._at_ms, tick_ms)
        return True

    def _step(self, boots: bool = False) -> None:
        """Run one step of its loop, and move its time by what that cost."""
        datagrams = self._take_mail()
        collects, self._collects = self._collects, False
        answer = self._ask({"at": int(self._at_ms), "datagrams": datagrams, "boots": boots, "collects": collects})
        self._steps += 1
        began_ms = self._at_ms
        self._at_ms += self._cost_ms(answer, len(datagrams))
        gap_ms = (self._at_ms - began_ms) / max(1, len(answer["sent"]))
        for number, port, is_shared in answer["opened"]:
            self._open(number, LAN_PORT if is_shared else port)
        for index, (number, data, ip, port) in enumerate(answer["sent"], 1):
            at_ms = math.ceil(began_ms + gap_ms * index)
            self._network.send(bytes.fromhex(data), self._places[number][0], (ip, port), at_ms)
        self._left = answer["left"]
        self._is_idle = answer["wake"] != 0
        self._due_ms = None if answer["wake"] < 0 else self._at_ms + answer["wake"]

    def _take_mail(self) -> list[list[Any]]:
        datagrams = []
        for number, (_, inbox) in self._places.items():
            room = _MAILBOX - self._left.get(str(number), 0)
            for _ in range(min(room, len(inbox))):
                data, source = inbox.popleft()
                datagrams.append([number, data.hex(), *source])
            self.lost += len(inbox)
            inbox.clear()
        return datagrams

    def _cost_ms(self, answer: dict[str, Any], received: int) -> float:
        found = self._read()
        loaded = found.calls.get("mp_raw_code_load_file", 0)
        collections = found.calls.get("gc_collect", 0)
        elsewhere = found.inclusive.get("mp_raw_code_load_file", 0) + found.inclusive.get("gc_collect", 0)
        elsewhere += int(found.inclusive.get("gc_info", 0) * (1 - _BLOCKS))
        self._garbage += answer["garbage"] / _CHIP + received * _RECEIVED_GARBAGE
        if answer["threshold"] > 0 and self._garbage >= answer["threshold"]:
            collections += 1
            self._collects = True
        if collections:
            self._garbage = 0
        cost = found.cost
        ms = max(0, cost.beside_crypto - elsewhere) * _INSTRUCTION_MS + cost.aes * _AES_MS + cost.sha * _SHA_MS
        ms += loaded * _LOAD_MS + collections * _COLLECTION_MS
        return ms * _MHZ / answer["mhz"]

    def _read(self) -> instructions.Profile:
        """Return what callgrind counted in the last step."""
        path = self._folder / f"stretch.{self._steps}"
        found = instructions.read_profile(path)
        path.unlink()
        return found

    def _open(self, number: int, port: int) -> None:
        address: Address = (self._ip, port)
        for old, (known, _) in list(self._places.items()):
            if known[1] == port:
                self._network.close(known)
                del self._places[old]
        self._places[number] = (address, self._network.open(address))

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
            self.output += line
        raise RuntimeError(f"the device ended: {self.output[-2000:]}")


def _lay_out(folder: Path, record: fctry.Record) -> None:
    """Write what the device finds in its flash, and the shims."""
    board = boards.load_board("UNIX")
    board = replace(board, limits=board.limits | {"heap_limit": board.limits["heap_limit"] + _SHIMS_SIZE})
    files = image.firmware_files(board)
    files["wifi.json"] = json.dumps({"ssid": "lab", "password": ""}).encode()
    files["fctry.bin"] = fctry.image(record, board.partitions["fctry"].size)
    shims = {name: _BOARD32 / name for name in _SHARED_SHIMS}
    shims |= {path.name: path for path in _SHIMS.glob("*.py") if path.name != "start.py"}
    files |= {f"shims/{name}": path.read_bytes() for name, path in shims.items()}
    for name, data in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def _run(folder: Path) -> "subprocess.Popen[str]":
    command = [
        *("valgrind", "-q", "--tool=callgrind", "--toggle-collect=main_"),
        *("--zero-before=mod_time_clock", "--dump-before=time_ticks_cpu"),
        f"--callgrind-out-file={folder / 'stretch'}",
        *(sys.executable, str(mpy_tools.MICROPYTHON), "-X", f"heapsize={_HEAP}"),
        *(str(_SHIMS / "start.py"), str(folder)),
    ]
    variables = {**os.environ, "PYTHONHASHSEED": "0", "MICROPYPATH": ".frozen"}
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=variables
    )
