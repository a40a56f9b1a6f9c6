"""A whole board on one pty, as the line sees it: the mock's ROM for esptool, real MicroPython for mpremote, one flash.

What arrives decides: a SLIP frame wakes the ROM bootloader (the reset lines of a real port do that), anything else
boots the flash in a virtual board. The cable can be pulled at the nth command of the ROM or at the nth entry into the
raw REPL (`pull={"FLASH_DEFL_DATA": 3}`, `{"REPL": 2}`); with `replug` seconds it comes back. Tools and firmware are
unmodified.
"""

import contextlib
import json
import os
import pty
import select
import socket
import threading
import time
import tty

import mock_chip
from esp32_mock_bootloader import protocol, server

from upeer_board.virtual import VirtualBoard

_SLIP = 0xC0
_COMMANDS = {number: name for name, number in protocol.CMD.items()}
_SIZE = 4 << 20


class LineBoard:
    """A board at `link`. `pulls` counts how often its cable was pulled; `flash()` is what its flash holds."""

    chip = "esp32"
    flash_id = mock_chip._FLASH_IDS[4]

    def __init__(self, folder, link, mac, *, pull=None, replug=0.3):
        self.folder, self.link, self.mac, self.replug = folder, link, mac, replug
        self.mac_bytes = tuple(int(part, 16) for part in mac.split(":"))
        self.pull = dict(pull or {})
        self.pulls = self.written = 0
        self.commands, self.crashes = [], []
        self._stopping, self._pulled = threading.Event(), threading.Event()
        self._board = self._board_line = self._rom = None
        self._make_blank()
        self._relay = threading.Thread(target=self._live, name=f"board {mac}", daemon=True)

    def __enter__(self):
        self._relay.start()
        mock_chip.wait_until(self.link.is_symlink)
        return self

    def __exit__(self, *_):
        self._stopping.set()
        self._relay.join(10)

    def flash(self):
        """Return the whole flash."""
        return (self.folder / "flash.bin").read_bytes()

    def unplug(self):
        """Pull the cable now."""
        self._pulled.set()

    # -- the cable --------------------------------------------------------------------------------------------

    def _make_blank(self):
        (self.folder / "state").mkdir(parents=True, mode=0o700)
        (self.folder / "state" / "mac").write_bytes(bytes(self.mac_bytes))
        (self.folder / "image.json").write_text(json.dumps({"chip": "unix"}))
        (self.folder / "flash.bin").write_bytes(b"\xff" * _SIZE)

    def _live(self):
        while not self._stopping.is_set():
            self._plugged_in()
            self._pulled.clear()
            if self.replug is None:
                return
            self._stopping.wait(self.replug)

    def _plugged_in(self):
        """One life of the pty: from the plug to the pull."""
        self._master, slave = pty.openpty()
        tty.setraw(slave)
        self._data, self._last = b"", ""
        scratch = self.link.with_name(f".{self.link.name}.new")
        scratch.symlink_to(os.ttyname(slave))
        os.replace(scratch, self.link)
        try:
            while not (self._stopping.is_set() or self._pulled.is_set()):
                self._pump()
        finally:
            self.link.unlink(missing_ok=True)
            self._power_off()
            os.close(slave)
            os.close(self._master)

    def _pump(self):
        inner = self._board_line if self._board else self._rom
        ready = select.select([self._master, *([inner] if inner else [])], [], [], 0.05)[0]
        if inner in ready:
            with contextlib.suppress(OSError):
                data = inner.recv(65536) if self._rom else os.read(inner, 65536)
                self._write(self._master, data)
        if self._master in ready:
            self._data += os.read(self._master, 65536)
            self._take()

    def _take(self):
        """Hand complete frames to the ROM, all else to MicroPython."""
        while self._data and not self._pulled.is_set():
            if self._data[0] != _SLIP:
                data, self._data = self._data, b""
                self._to_repl(data)
                continue
            end = self._data.find(bytes((_SLIP,)), 1)
            if end < 0:
                return
            frame, self._data = self._data[: end + 1], self._data[end + 1 :]
            if len(frame) > 2:
                self._to_rom(frame)

    def _saw(self, name):
        """Count; pull the cable when this is the command to pull at."""
        self.commands.append(name)
        if name in self.pull:
            self.pull[name] -= 1
            if not self.pull[name]:
                del self.pull[name]
                self.pulls += 1
                self._pulled.set()

    # -- the ROM bootloader -----------------------------------------------------------------------------------

    def _to_rom(self, frame):
        name = _COMMANDS.get(frame[2], "?") if frame[1] == 0 else "?"
        if self._rom is None or (name == "SYNC" and self._last != "SYNC"):
            self._power_off()
            self._start_rom()
        self._last = name
        self._saw(name)
        if not self._pulled.is_set():
            self._rom.sendall(frame)

    def _start_rom(self):
        self._rom, theirs = socket.socketpair()
        self._flash = mock_chip._Flash(_SIZE)
        self._flash.data[:] = self.flash()
        self._rom_thread = threading.Thread(target=self._serve_rom, args=(theirs,), daemon=True)
        self._rom_thread.start()

    def _serve_rom(self, line):
        mock_chip._local.chip = self
        server.handle_client(
            server.BootloaderConnection(sock=line),
            self._stopping,
            self.chip,
            flash=self._flash,
            exit_on_disconnect=True,
        )

    # -- MicroPython ------------------------------------------------------------------------------------------

    def _to_repl(self, data):
        if self._board is None:
            self._power_off()
            self._board = VirtualBoard.start(self.folder)
            self._board_line = os.open(self._board.pty, os.O_RDWR | os.O_NOCTTY)
        for _ in range(data.count(b"\x01")):
            self._saw("REPL")
        if self._pulled.is_set():
            return
        try:
            self._write(self._board_line, data)
        except OSError:  # the virtual board has ended: the next byte boots it again
            self.crashes.append(self._board.error)
            self._power_off()

    def _power_off(self):
        if self._rom is not None:
            self._rom.close()
            self._rom_thread.join(10)
            self._rom = None
            self.written += self._flash.written
            (self.folder / "flash.bin").write_bytes(self._flash.data)
        if self._board is not None:
            os.close(self._board_line)
            self._board.stop()
            self._board = self._board_line = None

    @staticmethod
    def _write(descriptor, data):
        end = time.monotonic() + 10
        while data and time.monotonic() < end:
            if select.select([], [descriptor], [], 0.2)[1]:
                data = data[os.write(descriptor, data) :]
