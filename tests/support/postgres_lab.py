"""A real PostgreSQL server for tests: made in a folder of its own, on a Unix socket only, gone afterwards.

This file run as a program is the server's keeper: when its stdin ends, because the tests were killed, or at SIGTERM, it
stops the server and removes the folder. initdb refuses root, so as root the server runs as an unprivileged user.
`missing_reason` says why there is none.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_USERS = ("postgres", "nobody")
_TIMEOUT_S = 60
_READY = "ready\n"


def find_programs() -> Path | None:
    """Return the folder with initdb and pg_ctl, of the newest version."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if found:
        return max(found, key=lambda path: int(path.parent.name) if path.parent.name.isdigit() else 0)
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


def missing_reason() -> str | None:
    """Return why no server can be started here, None when one can."""
    if find_programs() is None:
        return "no PostgreSQL server: .ci/system-packages factory installs it"
    return None


@contextmanager
def postgres() -> Iterator[str]:
    """Run a server; yield the address of its database without the name: add `&dbname=...` or use `new_database`."""
    folder = Path(tempfile.mkdtemp(prefix="upeer-pg-"))
    pipe = subprocess.PIPE
    command = [sys.executable, __file__, str(folder)]
    # A session of its own: Ctrl-C and whatever else ends the tests' group reaches the keeper by its stdin alone.
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as keeper:
        assert keeper.stdout is not None
        if keeper.stdout.readline() != _READY:
            raise RuntimeError(keeper.communicate()[1][-400:])
        try:
            yield _address(folder)
        finally:
            keeper.terminate()  # a process that a test left behind may hold the other end of its stdin


def new_database(server: str, name: str) -> str:
    """Make an empty database on a server; return its address."""
    import psycopg

    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return server.replace("///postgres?", f"///{name}?")


def _user() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    for name in _USERS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("no unprivileged user to run PostgreSQL as")


def _address(folder: Path) -> str:
    return f"postgresql:///postgres?host={folder}&user=line"


def _keep(folder: Path) -> None:
    """Run a server in a folder until stdin ends, then leave nothing of it."""
    programs = find_programs()
    assert programs is not None
    user = _user()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        if user:
            shutil.chown(folder, user.pw_name)
        data = folder / "data"
        _make_database(
            [programs / "initdb", "-D", data, "-A", "trust", "-U", "line", "-E", "UTF8", "--no-locale"], user
        )
        options = ["-c", "listen_addresses=", "-k", folder, "-c", "fsync=on"]
        server = subprocess.Popen(
            [programs / "postgres", "-D", data, *options],
            stdin=subprocess.DEVNULL, stdout=(folder / "log").open("wb"), stderr=subprocess.STDOUT, **_as_user(user),
        )  # fmt: skip
        try:
            _wait_until_ready(server, folder)
            print(_READY, end="", flush=True)
            sys.stdin.read()
        finally:
            _stop(server)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make_database(command: list[object], user: pwd.struct_passwd | None) -> None:
    text = [str(part) for part in command]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    done = subprocess.run(text, timeout=_TIMEOUT_S, check=False, **pipes, **_as_user(user))
    if done.returncode:
        raise RuntimeError(f"{text[0]}: {done.stderr.decode(errors='replace')[-400:]}")


def _wait_until_ready(server: subprocess.Popen[bytes], folder: Path) -> None:
    import psycopg

    end = time.monotonic() + _TIMEOUT_S
    while True:
        try:
            psycopg.connect(_address(folder)).close()
            return
        except psycopg.OperationalError as error:
            if server.poll() is not None or time.monotonic() > end:
                raise RuntimeError((folder / "log").read_text(errors="replace")[-400:]) from error
            time.sleep(0.05)


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Have the server end at once; SIGQUIT is its immediate shutdown."""
    server.send_signal(signal.SIGQUIT)
    try:
        server.wait(_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _as_user(user: pwd.struct_passwd | None) -> dict[str, object]:
    """Return what Popen wants in order to run a program as another user, in a small environment."""
    extra = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C"}
    return {"cwd": "/", "env": env, **extra}


if __name__ == "__main__":
    _keep(Path(sys.argv[1]))
