"""Programs that one thread waits for and another may end: none outlives the station."""

import os
import signal
import subprocess
import threading
from collections.abc import Collection, Sequence
from weakref import WeakSet

from upeer_factory.flash.faults import Fault

_lock = threading.Lock()
_running: dict[subprocess.Popen[bytes], threading.Thread] = {}
_ended: WeakSet[threading.Thread] = WeakSet()


def run(command: Sequence[str], script: bytes, seconds: float) -> subprocess.CompletedProcess[bytes]:
    """Run a program in a process group of its own with `script` on its stdin; what it started ends with it.

    subprocess.TimeoutExpired after so many seconds; Fault F11 once `end` was called for this thread.
    """
    pipe, thread = subprocess.PIPE, threading.current_thread()
    with _lock:
        if thread in _ended:
            raise Fault("F11")
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
        _running[process] = thread
    try:
        out, err = process.communicate(script, seconds)
    except BaseException:
        _kill(process)
        process.communicate()
        raise
    finally:
        with _lock:
            del _running[process]
            is_ended = thread in _ended
    if is_ended:
        raise Fault("F11")
    return subprocess.CompletedProcess(list(command), process.returncode, out, err)


def end(threads: Collection[threading.Thread]) -> None:
    """End the programs that these threads wait for; they start no others."""
    with _lock:
        _ended.update(threads)
        found = [process for process, thread in _running.items() if thread in threads]
    for process in found:
        _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
