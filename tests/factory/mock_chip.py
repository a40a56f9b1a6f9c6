"""Boards to flash without a board: esp32-mock-bootloader's ROM and stub, each with its own MAC, flash and cable.

`with MockChip("esp32", mac) as chip:` listens at `chip.port`: a socket:// URL, or with `serial=True` a link to a pty,
as /dev/serial/by-path has them. The cable can be pulled at the nth command of a kind (`pull={"FLASH_DEFL_DATA": 2}`);
with `replug` seconds it comes back. Real esptool talks to it; only the mock is fitted out, esptool is left as it is.
"""

import contextlib
import os
import shutil
import socket
import struct
import tempfile
import threading
import time
from pathlib import Path

from esp32_mock_bootloader import protocol, registers, server

_FLASH_IDS = {2: 0x154020, 4: 0x164020, 8: 0x174020, 16: 0x184020}
_COMMANDS = {number: name for name, number in protocol.CMD.items()}
_local = threading.local()


class _Flash(server.FlashImage):
    """Flash of any size that counts what is written, and writes no more than was begun."""

    def __init__(self, size):
        super().__init__()
        self.data = bytearray(b"\xff" * size)
        self.written = 0
        self._end = 0

    def begin_defl(self, payload):
        super().begin_defl(payload)

    def write_defl_block(self, payload):
        size = struct.unpack_from("<I", payload)[0]
        self._store("_defl_offset", self._decompressor.decompress(payload[16 : 16 + size]))

    def begin_plain(self, payload):
        super().begin_plain(payload)
        self._end = self._plain_offset + struct.unpack_from("<I", payload)[0]

    def write_plain_block(self, payload):
        size = struct.unpack_from("<I", payload)[0]
        self._store("_plain_offset", payload[16 : 16 + size][: self._end - self._plain_offset])

    def _store(self, name, data):
        start = getattr(self, name)
        self.data[start : start + len(data)] = data
        setattr(self, name, start + len(data))
        self.written += len(data)


class _Spi(server.SpiPeripheralMock):
    def read_reg(self, addr):
        value = super().read_reg(addr)
        return _local.chip.flash_id if value == protocol.MOCK_FLASH_ID else value


class _Session(server.ChipSession):
    """A session of the thread's own chip: its MAC and its flash chip."""

    def __init__(self, chip_mode):
        super().__init__(chip_mode)
        chip = _local.chip
        self.registers.update(registers._mac_registers(chip.chip, chip.mac_bytes))
        if hasattr(chip, "efuses"):
            self.registers = chip.efuses.over(self.registers)
        self.spi = _Spi(None)
        self.spi.configure_for_chip(chip_mode)


server.ChipSession = _Session


class _Cable:
    """The server's end of the line: passes bytes, sees commands go by, and can be pulled."""

    def __init__(self, chip, connection):
        self._chip = chip
        self._inner = connection

    def recv(self, size):
        if self._chip.stopping.is_set():
            return b""
        data = self._inner.recv(size)
        for frame in server.slip_decode_frames(data):
            if len(frame) >= 2 and frame[0] == 0:
                self._chip.saw(_COMMANDS.get(frame[1], "?"))
        if self._chip.pulled.is_set():
            return b""
        if self._chip.corrupt and len(data) > 1000:
            self._chip.corrupt -= 1
            data = data[:500] + bytes((data[500] ^ 1,)) + data[501:]
        return data

    def __getattr__(self, name):
        return getattr(self._inner, name)


class MockChip:
    """One board; `flash.data` is what its flash holds, `flash.written` the bytes written so far."""

    def __init__(self, chip="esp32", mac="24:0a:c4:00:00:01", *, serial=False, flash_mb=4, pull=None, replug=None):
        self.chip, self.mac, self.serial, self.replug = chip, mac, serial, replug
        self.mac_bytes = tuple(int(part, 16) for part in mac.split(":"))
        self.flash_id = _FLASH_IDS[flash_mb]
        self.flash = _Flash(flash_mb << 20)
        self.pull = dict(pull or {})
        self.corrupt = 0
        self.mute = False
        self.connections = 0
        self.commands = []
        self.stopping, self.pulled = threading.Event(), threading.Event()
        self._folder = Path(tempfile.mkdtemp(prefix="mockchip-"))
        self._ready = threading.Event()
        self.port = ""

    def __enter__(self):
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self._thread.join(10)
        shutil.rmtree(self._folder, ignore_errors=True)

    def saw(self, name):
        """Count a command; pull the cable when it is the one to pull at."""
        self.commands.append(name)
        if name in self.pull:
            self.pull[name] -= 1
            if self.pull[name] == 0:
                del self.pull[name]
                self.pulled.set()

    def _serve(self):
        _local.chip = self
        while not self.stopping.is_set():
            (self._serve_pty if self.serial else self._serve_socket)()
            if self.pulled.is_set():
                if self.replug is None:
                    return
                self.stopping.wait(self.replug)
                self.pulled.clear()

    def _handle(self, connection):
        self.connections += 1
        server.handle_client(
            _Cable(self, connection), self.stopping, self.chip, flash=self.flash, exit_on_disconnect=True
        )

    def _serve_socket(self):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", int(self.port.rpartition(":")[2] or 0) if self.port else 0))
            listener.listen(4)
            listener.settimeout(0.05)
            self.port = f"socket://127.0.0.1:{listener.getsockname()[1]}"
            self._ready.set()
            while not self.stopping.is_set() and not self.pulled.is_set():
                try:
                    client, _ = listener.accept()
                except TimeoutError:
                    continue
                if self.mute:
                    while client.recv(4096) and not self.stopping.is_set():
                        pass
                    client.close()
                    continue
                self._handle(server.BootloaderConnection(sock=client))

    def _serve_pty(self):
        transport = server.PtyMasterTransport.create()
        link = self._folder / f"pci-0000:00:14.0-usb-0:{self.mac_bytes[-1]}:1.0-port0"
        link.unlink(missing_ok=True)
        link.symlink_to(transport.client_path)
        self.port = str(link)
        self._ready.set()
        try:
            while not self.stopping.is_set() and not self.pulled.is_set():
                self._handle(server.BootloaderConnection(pty=_Pty(transport)))
        finally:
            link.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                transport.close()


class _Pty:
    """A pty whose client may come and go: the mock's own side keeps it open."""

    def __init__(self, transport):
        self._transport = transport

    def __getattr__(self, name):
        return getattr(self._transport, name)

    def sendall(self, data):
        while data:
            data = data[os.write(self._transport._master, data) :]


def wait_until(condition, seconds=10):
    """Wait for a condition; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
