"""Crashes: programs that may dump core as they like, ended by a signal while they hold a secret; what they leave.

A `CrashBoard` is a board that stops the clock when a secret arrives: `reached` is set, and it does nothing more until
`go_on` is set. Then `crash` ends the program that talks to it, and all that this one started. `typed` is all that
came into its REPL.
"""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import line_board

_UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
_ELF, _CORE = b"\x7fELF", 4
_DEADLINE_S = 300
UPEER = [sys.executable, "-m", "upeer_cli.main"]
# The same program without what it does against core dumps, the control of every crash; and one whose limit stays.
_UNHARDENED = "import upeer_cli.main as program\nprogram.forbid_core_dumps = lambda: None\nprogram.main()"
_UNLIMITED_STILL = "import resource, upeer_cli.main as program\nresource.setrlimit = lambda *_: None\nprogram.main()"
CONTROL = [sys.executable, "-c", _UNHARDENED]
FILTERED = [sys.executable, "-c", _UNLIMITED_STILL]


@contextlib.contextmanager
def cores_allowed(folder):
    """What is started meanwhile may dump core of any size, and works in a folder."""
    limits, here = resource.getrlimit(resource.RLIMIT_CORE), os.getcwd()
    folder.mkdir(exist_ok=True)
    try:
        resource.setrlimit(resource.RLIMIT_CORE, _UNLIMITED)
    except ValueError:
        resource.setrlimit(resource.RLIMIT_CORE, (limits[1], limits[1]))
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)
        resource.setrlimit(resource.RLIMIT_CORE, limits)


def no_cores_reason():
    """Return why a crash leaves no core file on this system, None when it does."""
    with tempfile.TemporaryDirectory() as folder:
        with cores_allowed(Path(folder)):
            subprocess.run([sys.executable, "-c", "import os; os.abort()"], check=False, timeout=_DEADLINE_S)
        if find_cores(Path(folder)):
            return None
        pattern = Path("/proc/sys/kernel/core_pattern")
        shown = pattern.read_text().strip() if pattern.exists() else "unknown"
        return f"a crash leaves no core file in its working folder here (core_pattern {shown!r})"


def find_cores(folder):
    """Return the core files below a folder, by what they hold: their names are the system's choice."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                head = file.read(18)
            if head[:4] == _ELF and int.from_bytes(head[16:18], sys.byteorder) == _CORE:
                found.append(path)
    return found


def limits_of(pid):
    """Return a process's limits of core files, in bytes or "unlimited": (soft, hard)."""
    rows = Path(f"/proc/{pid}/limits").read_text().splitlines()
    row = next(row for row in rows if row.startswith("Max core file size"))
    return tuple(row.split()[4:6])


def filter_of(pid):
    """Return the kinds of memory that a process would dump."""
    return int(Path(f"/proc/{pid}/coredump_filter").read_text(), 16)


def below(pid):
    """Return the processes that a process started, and those that these did."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                child = int(path.parent.name)
                found += [child, *below(child)]
    return found


def program_of(pid):
    """Return the name of the program that a process runs, as the tests know it."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    for name in ("mpremote", "esptool", "espefuse"):
        if name in words[:5]:
            return name
    return "upeer" if "upeer_cli" in "".join(words[:3]) else Path(words[0]).name


def crash(process, folder):
    """End a program and all it started by signals that dump core; return {program: its core file's bytes, or b""}.

    The program stands still while those that it started crash: what it holds, it holds at its own end.
    """
    left = {}
    children = below(process.pid)
    os.kill(process.pid, signal.SIGSTOP)
    for pid in children:
        name = program_of(pid)
        os.kill(pid, signal.SIGSEGV)
        _wait_until_dead(pid)
        left[name] = _take_core(folder)
    os.kill(process.pid, signal.SIGABRT)
    os.kill(process.pid, signal.SIGCONT)
    assert process.wait(_DEADLINE_S) == -signal.SIGABRT
    left["upeer"] = _take_core(folder)
    return left


def _take_core(folder):
    """Return what the core files below a folder hold, and remove them."""
    data = b""
    for path in find_cores(folder):
        data += path.read_bytes()
        path.unlink()
    return data


def _wait_until_dead(pid):
    end = time.monotonic() + _DEADLINE_S
    with contextlib.suppress(OSError):
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
            assert time.monotonic() < end, f"process {pid} does not end"
            time.sleep(0.01)


class CrashBoard(line_board.LineBoard):
    """A board that stands still once `moment` came by: bytes typed into its REPL, or in a command of its ROM."""

    def __init__(self, *arguments, moment, **options):
        super().__init__(*arguments, **options)
        self._moment, self.typed = moment, b""
        self.reached, self.go_on = threading.Event(), threading.Event()

    def _to_repl(self, data):
        self.typed += data
        self._stand_still(self._moment in self.typed)
        super()._to_repl(data)

    def _to_rom(self, frame):
        self._stand_still(self._moment in frame)
        super()._to_rom(frame)

    def _stand_still(self, is_here):
        if is_here and not self.reached.is_set():
            self.reached.set()
            self.go_on.wait(_DEADLINE_S)

    def __exit__(self, *_):
        self.go_on.set()
        super().__exit__()
