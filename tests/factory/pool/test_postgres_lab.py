"""The tests' PostgreSQL server ends with the tests, however they end."""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import postgres_lab
import pytest

_TESTS = """
import sys
sys.path.insert(0, {support!r})
import postgres_lab
with postgres_lab.postgres() as server:
    postgres_lab.new_database(server, "lines")
    print(server, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _server_is_there():
    if reason := postgres_lab.missing_reason():
        pytest.skip(reason)


def _start():
    """Start a program that runs a server; return (program, the server's folder, its pid)."""
    source = _TESTS.format(support=str(Path(postgres_lab.__file__).parent))
    pipe = subprocess.PIPE
    program = subprocess.Popen([sys.executable, "-c", source], stdin=pipe, stdout=pipe, text=True)
    folder = Path(program.stdout.readline().partition("host=")[2].partition("&")[0])
    return program, folder, int((folder / "data" / "postmaster.pid").read_text().splitlines()[0])


def _is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _is_gone(folder, pid):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if not folder.exists() and not _is_alive(pid):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_server_ends_with_the_tests_that_were_killed(number):
    program, folder, pid = _start()
    assert _is_alive(pid) and folder.is_dir()
    program.send_signal(number)
    assert program.wait(60) not in (0, None)
    assert _is_gone(folder, pid)


def test_server_is_gone_when_the_tests_are_over():
    program, folder, pid = _start()
    program.communicate("")
    assert (program.returncode, folder.exists(), _is_alive(pid)) == (0, False, False)


def test_server_is_gone_though_a_process_was_left_behind():
    with postgres_lab.postgres() as server:
        left = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
        left.start()
    folder = Path(server.partition("host=")[2].partition("&")[0])
    assert left.is_alive() and not folder.exists()
    left.kill()
    left.join()


def test_server_that_cannot_start_says_why(monkeypatch):
    with tempfile.TemporaryDirectory(prefix="x" * 100) as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        with pytest.raises(RuntimeError, match="could not create any Unix-domain sockets"), postgres_lab.postgres():
            raise AssertionError("a socket's path that is too long was taken")
        assert list(Path(folder).iterdir()) == []
