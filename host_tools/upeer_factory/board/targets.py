"""Boards as the burner sees them: through their REPL (mpremote), or through the ROM bootloader (esptool).

Both tools run as programs. What is secret goes to them through a pipe or an anonymous file: it stands in no command
line, and no temporary file is left behind, however the program ends.
"""

import base64
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from upeer_factory.errors import NO_BOARD, NO_FIRMWARE, NOT_WRITTEN, SWAPPED, FactoryError
from upeer_factory.flash import children
from upeer_factory.flash.esptool_run import Report, Run

_BLOCK = 4096
_BOOT_S = 30.0
_BOOT_PAUSE_S = 0.25
_AGAIN_PAUSE_S = 0.5
_TIME_OUT_S = 30
_SELFTEST_S = 240  # a board waits for a slow station for three minutes (firmware/device/loop.py)
_ANSWER = "upeer-answer "
_BUSY = ("failed to access", "in use by another", "could not enter raw repl", "could not open port", "could not exec")

_READ_MAC = "import machine\nprint('upeer-answer', '{\"mac\":\"%s\"}' % machine.unique_id().hex())\n"
_SAME_BOARD = """
import machine
from json import dumps
_mac = machine.unique_id().hex()
def _main():
{body}
print('upeer-answer', dumps(_main() if _mac == {mac!r} else {{'swapped': _mac}}))
"""
_WRITE = """
    from binascii import a2b_base64
    from esp32 import Partition
    found = Partition.find(Partition.TYPE_DATA, label='fctry')
    if not found:
        return {{'error': 'no fctry partition: flash an image made by `upeer image build`'}}
    data = bytearray(b'\\xff' * 4096)
    good = a2b_base64({data!r})
    data[:len(good)] = good
    for block in (0, 1):
        found[0].writeblocks(block, data)
    return {{}}
"""
_READ = """
    import hashlib
    from esp32 import Partition
    state = hashlib.sha256()
    data = bytearray(4096)
    for block in range({blocks}):
        Partition.find(Partition.TYPE_DATA, label='fctry')[0].readblocks(block, data)
        state.update(data)
    return {{'sha256': state.digest().hex()}}
"""
_PROVE = """
    from json import loads
    from device.prove import prove
    return loads(prove(bytes.fromhex({nonce!r})))
"""
_SELFTEST = """
    from json import loads
    from device.selftest import run
    return loads(run(bytes.fromhex({nonce!r}), {options!r}))
"""


class Target(Protocol):
    """One board. Every method may raise FactoryError or Fault; `mac` is the board that it must be."""

    name: str

    def read_mac(self) -> str:
        """Return the MAC of the board that is there now."""

    def write_fctry(self, image: bytes, mac: str) -> None:
        """Write both copies of a licence record."""

    def has_fctry(self, image: bytes, mac: str) -> bool:
        """Read the licence back and tell whether it is this one."""

    def boot(self) -> None:
        """Start the board anew and wait until it answers."""

    def prove(self, nonce: bytes, mac: str) -> dict[str, Any]:
        """Return the answer of device.prove."""

    def selftest(self, nonce: bytes, mac: str, options: dict[str, Any]) -> dict[str, Any]:
        """Return the answer of device.selftest."""


class ReplTarget:
    """A board that runs MicroPython with our firmware, at a serial port or a virtual board's pty."""

    def __init__(self, port: str) -> None:
        self.name = port
        self.repl = port

    def read_mac(self) -> str:
        digits = str(self._ask(_READ_MAC)["mac"])
        return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))

    def write_fctry(self, image: bytes, mac: str) -> None:
        data = base64.b64encode(image[:_BLOCK].rstrip(b"\xff")).decode()
        self._ask_same(_WRITE.format(data=data), mac)

    def has_fctry(self, image: bytes, mac: str) -> bool:
        blocks = min(len(image) // _BLOCK, 2)
        answer = self._ask_same(_READ.format(blocks=blocks), mac)
        return bool(answer.get("sha256") == hashlib.sha256(image[: blocks * _BLOCK]).hexdigest())

    def boot(self) -> None:
        _mpremote(self.repl, ["reset"])
        end = time.monotonic() + _BOOT_S
        while True:
            time.sleep(_BOOT_PAUSE_S)
            try:
                self.read_mac()
                return
            except FactoryError:
                if time.monotonic() > end:
                    raise

    def prove(self, nonce: bytes, mac: str) -> dict[str, Any]:
        return self._ask_same(_PROVE.format(nonce=nonce.hex()), mac)

    def selftest(self, nonce: bytes, mac: str, options: dict[str, Any]) -> dict[str, Any]:
        return self._ask_same(_SELFTEST.format(nonce=nonce.hex(), options=options), mac, _SELFTEST_S)

    def _ask_same(self, body: str, mac: str, seconds: float = _TIME_OUT_S) -> dict[str, Any]:
        """Run the body of a function on the board, but only if it is the right one; return what it returns."""
        digits = mac.replace(":", "")
        answer = self._ask(_SAME_BOARD.format(body=body, mac=digits), seconds)
        if "swapped" in answer:
            raise FactoryError(
                SWAPPED, f"another board is at {self.name}: {answer['swapped'][:12]} instead of {digits}"
            )
        return answer

    def _ask(self, script: str, seconds: float = _TIME_OUT_S) -> dict[str, Any]:
        """Run a script in the raw REPL and return its answer; once more if no board answers: scripts may be repeated.

        A board that starts at that moment, or whose USB comes back from a reset, is there at the second try.
        """
        try:
            return self._ask_once(script, seconds)
        except FactoryError as error:
            if error.code != NO_BOARD:
                raise
        time.sleep(_AGAIN_PAUSE_S)
        return self._ask_once(script, seconds)

    def _ask_once(self, script: str, seconds: float) -> dict[str, Any]:
        """Return the JSON behind the mark in what the script prints."""
        output = _mpremote(self.repl, ["run", "/dev/stdin"], script, seconds)
        for line in reversed(output.splitlines()):
            if line.startswith(_ANSWER):
                answer: dict[str, Any] = json.loads(line.removeprefix(_ANSWER))
                if "fctry partition" in str(answer.get("error")):
                    raise FactoryError(NO_FIRMWARE, f"{self.name}: {answer['error']}")
                return answer
        raise FactoryError(NO_BOARD, f"the board at {self.name} gave no answer")


class ChipTarget(ReplTarget):
    """A chip whose ROM bootloader writes the licence (esptool); what it proves, it proves through the REPL."""

    def __init__(self, port: str, chip: str, offset: int, baud: int = 460800) -> None:
        super().__init__(port)
        self._arguments = ["--chip", chip, "--port", port, "--baud", str(baud)]
        self._offset = f"{offset:#x}"

    def read_mac(self) -> str:
        return self._run("--after", "no-reset", "read-mac").mac

    def write_fctry(self, image: bytes, mac: str) -> None:
        with secret_file(image) as path:
            report = self._run("--after", "no-reset", "write-flash", self._offset, path)
        self._check_mac(report, mac)
        if not report.bytes_written:
            raise FactoryError(NOT_WRITTEN, f"esptool wrote nothing to the board at {self.name}")

    def has_fctry(self, image: bytes, mac: str) -> bool:
        with secret_file(image) as path:
            report = self._run("--after", "no-reset", "verify-flash", self._offset, path)
        self._check_mac(report, mac)
        return "erification successful" in report.output

    def boot(self) -> None:
        self._run("--after", "hard-reset", "read-mac")
        time.sleep(_BOOT_PAUSE_S)

    def _check_mac(self, report: Report, mac: str) -> None:
        if report.mac != mac:
            raise FactoryError(SWAPPED, f"another board is at {self.name}: {report.mac} instead of {mac}")

    def _run(self, *arguments: str) -> Report:
        return Run(self.name, [*self._arguments, *arguments]).follow(lambda _report: None, threading.Event())


@contextlib.contextmanager
def secret_file(data: bytes) -> Iterator[str]:
    """Give a program a path to read data from: memory without a name where the system has it, else a private file."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("licence")
        try:
            os.write(descriptor, data)
            yield f"/proc/{os.getpid()}/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "licence"
        path.touch(mode=0o600)
        path.write_bytes(data)
        yield str(path)


def _mpremote(port: str, arguments: list[str], script: str = "", seconds: float = _TIME_OUT_S) -> str:
    """Run mpremote at a port, a script on its stdin; return its output. FactoryError never quotes the script."""
    command = [sys.executable, "-m", "mpremote", "connect", port, *arguments]
    try:
        done = children.run(command, script.encode(), seconds)
    except subprocess.TimeoutExpired as error:
        raise FactoryError(NO_BOARD, f"the board at {port} does not answer") from error
    output = (done.stdout + done.stderr).decode("utf-8", "replace")
    if done.returncode == 0:
        return output
    if "No module named mpremote" in output:
        raise FactoryError(NO_BOARD, "mpremote is not installed", "install it with pip install 'upeer[factory]'")
    if "ImportError" in output:
        raise FactoryError(NO_FIRMWARE, f"the board at {port} lacks the firmware for this")
    if any(text in output for text in _BUSY) or "Traceback" not in output:
        raise FactoryError(NO_BOARD, f"no MicroPython answers at {port}")
    raise FactoryError(NOT_WRITTEN, f"the board at {port} failed: {output.strip().splitlines()[-1][:100]}")
