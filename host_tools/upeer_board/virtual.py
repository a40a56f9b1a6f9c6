"""The virtual board: flash.bin under the real MicroPython unix port, on a pty that mpremote takes for a chip.

Two ptys: the outer one is what the user opens and stays for good; each life of the interpreter has an inner one.
A thread relays between them and plays the rest of the chip: soft and hard resets, deep sleep, watchdog, the REPL's
mode across a soft reset. The interpreter's side of it is in shims/.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import queue
import select
import signal
import subprocess
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from upeer_board import chip, fctry, image, mpy, terminal
from upeer_board.interpreter import BoardError, find_micropython
from upeer_board.keyboard import Keyboard

SHIMS = Path(__file__).parent / "shims"
OUTPUT_LIMIT = 1 << 20
_RAW_BANNER = b"raw REPL; CTRL-B to exit\r\n>"
_TICK_S = 0.2
_SHORT_TICK_S = 0.01
_CAUSES = {"power": 1, "hard": 2, "wdt": 3, "sleep": 4, "soft": 5, "prompt": 5}
# Status of the interpreter's process -> what it meant: 0 is Ctrl-D or SystemExit at the prompt.
_ENDS = {0: "soft", -signal.SIGALRM: "soft", -signal.SIGUSR1: "hard", -signal.SIGUSR2: "sleep"}


@dataclass
class Settings:
    """How a board runs. Of `heap` the shims take 26 KB, on 64 bits, for what the chip has in C in its flash; what the
    chip's model takes is added to it.

    `datagram_queue` 0 leaves the host's socket buffers as they are; `ticks` is what ticks_ms says at power-on, None for
    what the folder's name gives; `chip_timing` makes modules and waits as slow as the chip's; `netns` needs root.
    """

    heap: str = "200K"
    name: str = ""
    link: Path | None = None
    bind: str = ""
    datagram_queue: int = chip.DATAGRAM_QUEUE
    ticks: int | None = None
    chip_timing: bool = False
    netns: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    echo: Callable[[bytes], None] | None = None


class VirtualBoard:
    """A running board. `pty` is the port to open; `output` the console so far, its last MiB."""

    def __init__(self, folder: Path, settings: Settings):
        self.folder = folder.resolve()
        self.settings = settings
        self.name = settings.name or self.folder.name
        self.state = self.folder / "state"
        self.lives = 0
        self.error = ""
        self._program = find_micropython()
        self._output = bytearray()
        self._news = threading.Condition()
        self._stopping = threading.Event()
        self._pid = 0
        self._inner = -1
        self._typed: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._keyboard = Keyboard()
        self._ready = False
        self._unread = False
        self._raw = False
        self._held = b""
        self._want: str | None = None
        self._awake = threading.Event()
        self._clock = chip.Clock(f"{self.folder.parent.name}/{self.folder.name}", settings.ticks)

    @classmethod
    def start(cls, folder: Path | str, licence: fctry.Record | bytes | None = None, **settings: Any) -> VirtualBoard:
        """Power the image in `folder` on; return when its terminal is there. BoardError if it cannot boot.

        `licence`, a record or an fctry image, is written into flash.bin first; `settings` are the fields of Settings.
        """
        board = cls(Path(folder), Settings(**settings))
        board._prepare(licence)
        try:
            board._open()
        except BaseException:
            board._lock.close()
            raise
        return board

    @property
    def output(self) -> str:
        with self._news:
            return self._output.decode("utf-8", "replace")

    @property
    def pid(self) -> int:
        """The interpreter's process, 0 while there is none."""
        return self._pid

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def wait_for(self, text: str, timeout: float = 60.0, count: int = 1) -> str:
        """Return the output once it holds `text` `count` times since the start; TimeoutError quotes its end."""
        end = time.monotonic() + timeout
        with self._news:
            while self._output.count(text.encode()) < count:
                left = end - time.monotonic()
                if left <= 0 or not self.alive:
                    tail = self._output[-500:].decode("utf-8", "replace")
                    raise TimeoutError(f"{self.name}: no {text!r} on the console, which ends: {tail}")
                self._news.wait(min(left, _TICK_S))
            return self._output.decode("utf-8", "replace")

    def write(self, data: bytes) -> None:
        """Type on the console."""
        self._typed.put(data)

    def soft_reset(self) -> None:
        """What Ctrl-D at the prompt does, whatever the board is at."""
        self._reset("soft")

    def hard_reset(self) -> None:
        """Press the reset button."""
        self._reset("hard")

    def set_air(self, up: bool = True, aps: list[tuple[str, str, int]] | None = None, ip: str = "") -> None:
        """Change the Wi-Fi around the board: a router without power, other networks, another address."""
        air: dict[str, object] = {"up": up} | ({"aps": aps} if aps is not None else {}) | ({"ip": ip} if ip else {})
        image.write_file(self.state / "air.json", json.dumps(air).encode(), secret=True)

    def stop(self) -> None:
        """Power off; flash.bin stays. May be called twice."""
        self._stopping.set()
        self._awake.set()
        self._kill(signal.SIGKILL)
        self._thread.join(10)

    def __enter__(self) -> VirtualBoard:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    # -- before the first life --------------------------------------------------------------------------------

    def _prepare(self, licence: fctry.Record | bytes | None) -> None:
        """Check the image, put the licence in, and lay out what the shims read."""
        flash = self.folder / "flash.bin"
        if not flash.is_file():
            raise BoardError(f"no flash.bin in {self.folder}", "run `upeer image build --board UNIX`")
        try:
            if json.loads((self.folder / "image.json").read_text())["chip"] != "unix":
                raise BoardError(f"the image in {self.folder} is for a chip", "build one with --board UNIX")
        except (OSError, ValueError, KeyError):
            raise BoardError(f"image.json in {self.folder} is missing or damaged", "build the image again", 6) from None
        self.state.mkdir(mode=0o700, exist_ok=True)
        self._lock = open(self.state / "lock", "w")  # noqa: SIM115 - held as long as the board runs
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise BoardError(f"the board in {self.folder} is running already", "stop it first") from None
        try:
            if licence is not None:
                fctry.burn(flash, licence)
        except ValueError as error:
            raise BoardError(f"licence not written: {error}", exit_code=6) from None
        self._lay_out_state()

    def _lay_out_state(self) -> None:
        """Compile the shims, give the board a MAC, and forget what does not outlive a power cut."""
        shims = self.state / "shims"
        shims.mkdir(exist_ok=True)
        for source in SHIMS.glob("*.py"):
            if source.name != "start.py":
                image.write_file(shims / f"{source.stem}.mpy", mpy.compile_file(source, source.name))
        mac = self.state / "mac"
        if not mac.is_file() or mac.stat().st_size != 6:
            image.write_file(mac, b"\x02\x75\x70" + os.urandom(3))
        for name in ("rtc", "wdt", "sleep"):
            (self.state / name).unlink(missing_ok=True)

    def _open(self) -> None:
        self._outer, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._outer, False)
        self.pty = os.ttyname(self._slave)
        if self.settings.link:
            self._make_link(self.settings.link)
        self._show(self._clock.begin("power"))
        self._spawn("power")
        self._thread = threading.Thread(target=self._relay, name=f"board {self.name}", daemon=True)
        self._thread.start()

    def _make_link(self, link: Path) -> None:
        """Point `link` at the pty; only a link is ever replaced."""
        if link.is_symlink():
            link.unlink()
        elif link.exists():
            raise BoardError(f"{link} is there and is no link", "choose another --link")
        link.symlink_to(self.pty)

    # -- one life after the other -----------------------------------------------------------------------------

    def _environment(self, cause: str) -> dict[str, str]:
        own = {"UPEER_BOARD": str(self.folder), "UPEER_CAUSE": str(_CAUSES[cause]), "UPEER_TTY": terminal.MARKS}
        bind = self.settings.bind
        optional = {"UPEER_BIND": bind, "UPEER_IP": bind or self._address(), "UPEER_RAW": "1" if self._raw else ""}
        optional["UPEER_QUEUE"] = str(self.settings.datagram_queue)
        optional |= {"UPEER_CHIP_TIMING": "1" * self.settings.chip_timing, "UPEER_PROMPT": "1" * (cause == "prompt")}
        base = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        own |= self._clock.environment()
        return base | {name: value for name, value in optional.items() if value} | own | self.settings.env

    def _address(self) -> str:
        """Return the first global IPv4 address of the board's network namespace, if it has one of its own."""
        if not self.settings.netns:
            return ""
        command = ["ip", "netns", "exec", self.settings.netns, "ip", "-j", "-4", "addr", "show", "scope", "global"]
        try:
            found = json.loads(subprocess.run(command, capture_output=True, timeout=10, check=True).stdout or b"[]")
            return next((info["local"] for link in found for info in link["addr_info"]), "")
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise BoardError(f"network namespace {self.settings.netns}: {error}") from None

    def _spawn(self, cause: str) -> None:
        """Start the interpreter on a terminal of its own, from a fork that runs nothing but exec."""
        prefix = ["ip", "netns", "exec", self.settings.netns] if self.settings.netns else []
        command = [*prefix, str(self._program), *chip.heap_option(self.settings.heap), "-i", str(SHIMS / "start.py")]
        master, slave = pty.openpty()
        os.set_blocking(master, False)
        terminal.set_modes(slave)
        process = subprocess.Popen(
            [sys.executable, "-c", terminal.LEADER, *command],
            stdin=slave, stdout=slave, stderr=slave, env=self._environment(cause), cwd="/", start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self._process, self._inner, self._pid = process, master, process.pid
        self._prompt_wanted = self._raw
        self._ready = False
        self.lives += 1

    def _kill(self, number: int) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)

    def _reset(self, kind: str) -> None:
        self._want = kind
        self._awake.set()
        self._kill(signal.SIGKILL)

    def _relay(self) -> None:
        """The thread: pass bytes until told to stop."""
        try:
            while not self._stopping.is_set():
                self._pump()
        except BoardError as error:
            self.error = str(error)
        finally:
            self._kill(signal.SIGKILL)
            self._process.wait()
            for descriptor in (self._inner, self._outer, self._slave):
                if descriptor >= 0:
                    os.close(descriptor)
            if self.settings.link and self.settings.link.is_symlink():
                self.settings.link.unlink()
            self._pid = 0
            self._lock.close()
            with self._news:
                self._news.notify_all()

    def _pump(self) -> None:
        """Wait a little for bytes from either side, and pass them on; what the board cannot take yet waits."""
        while not self._typed.empty():
            self._keyboard.type(self._typed.get())
        is_text = terminal.is_text(self._inner)
        self._ready = self._ready or terminal.is_ready(self._inner)
        chunk = self._keyboard.next_chunk(self._pid, is_text) if self._ready else b""
        readers = [self._inner] if len(self._keyboard) > terminal.CHUNK else [self._inner, self._outer]
        tick_s = _TICK_S if self._ready and bool(chunk) == bool(self._keyboard) else _SHORT_TICK_S
        ready, writable, _ = select.select(readers, [self._inner] if chunk else [], [], tick_s)
        if writable:
            self._keyboard.drop(terminal.write(self._inner, chunk), is_text)
        if self._outer in ready:
            self._unread = False
            self._keyboard.type(terminal.read(self._outer))
            if self._keyboard.ends_with(b"\x02"):
                self._raw = False
        if self._inner in ready:
            data = terminal.read(self._inner)
            if not data:
                self._next_life()
                return
            self._from_board(data)
        self._check_watchdog()

    def _from_board(self, data: bytes) -> None:
        """Show what the interpreter printed, with the line ends that the chip prints."""
        self._keyboard.hear()
        if terminal.is_text(self._inner):
            data = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        if self._prompt_wanted:
            self._enter_raw(data)
            return
        self._show(data)
        if _RAW_BANNER in self._output[-len(_RAW_BANNER) - 2 :]:
            self._raw = True

    def _enter_raw(self, data: bytes) -> None:
        """After a soft reset in the raw REPL: hold the friendly prompt back and go on in raw mode, as the chip does."""
        self._held += data
        if self._held.endswith(b">>> "):
            self._prompt_wanted = False
            banner = self._held.rfind(b"MicroPython ")
            if banner > 0:
                self._show(self._held[:banner])
            self._held = b""
            self._keyboard.type(b"\x01", at_once=True)

    def _show(self, data: bytes) -> None:
        with self._news:
            self._output += data
            del self._output[:-OUTPUT_LIMIT]
            self._news.notify_all()
        if self.settings.echo:
            self.settings.echo(data)
        self._send_out(data)

    def _send_out(self, data: bytes) -> None:
        """Give a reader a second to make room; where nobody reads, only the newest output stays in the terminal."""
        sent = terminal.write(self._outer, data)
        while sent < len(data) and not self._stopping.is_set():
            if self._unread or not select.select([], [self._outer], [], 1)[1]:
                self._unread = True
                termios.tcflush(self._slave, termios.TCIFLUSH)
            sent += terminal.write(self._outer, data[sent:])

    def _next_life(self) -> None:
        """The interpreter ended: find out why, and start it again unless it was switched off."""
        status = self._process.wait()
        os.close(self._inner)
        self._inner = -1
        if self._stopping.is_set():
            return
        kind = self._want or _ENDS.get(status) or self._keyboard.explain(status, self._output)
        self._want = None
        self._keyboard.begin(forget=kind != "prompt")
        if kind is None:
            raise BoardError(f"{self.name}: the interpreter ended with status {status}: {self._last_line()}")
        (self.state / "wdt").unlink(missing_ok=True)
        if kind == "sleep":
            self._sleep()
            self._want = None
        if kind == "soft":
            self._show(b"MPY: soft reboot\r\n")
        elif kind != "prompt":
            self._raw = False
            self._show(self._clock.begin(kind))
        if not self._stopping.is_set():
            self._spawn(kind)

    def _last_line(self) -> str:
        lines = self.output.strip().splitlines()
        return lines[-1] if lines else "no output"

    def _sleep(self) -> None:
        """Lie in deep sleep: for good if no time was given."""
        file = self.state / "sleep"
        ms = int(file.read_text() or 0) if file.is_file() else 0
        file.unlink(missing_ok=True)
        self._awake.clear()
        if not self._stopping.is_set():
            self._awake.wait(ms / 1000 if ms else None)

    def _check_watchdog(self) -> None:
        file = self.state / "wdt"
        try:
            late = time.time() - file.stat().st_mtime > int(file.read_text() or 3600_000) / 1000 + _TICK_S
        except (OSError, ValueError):
            return
        if late:
            file.unlink(missing_ok=True)
            self._reset("wdt")
