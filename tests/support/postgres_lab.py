"""A real PostgreSQL server for tests: made in a folder of its own, on a Unix socket only, gone afterwards.

initdb refuses root, so as root the server runs as an unprivileged user. `missing_reason` says why there is none.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_USERS = ("postgres", "nobody")
_TIMEOUT_S = 60


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
    programs = find_programs()
    assert programs is not None
    folder = Path(tempfile.mkdtemp(prefix="upeer-pg-"))
    user = _user()
    if user:
        shutil.chown(folder, user.pw_name)
    data = folder / "data"
    start = f"-c listen_addresses= -k {folder} -c fsync=on"
    try:
        _run([programs / "initdb", "-D", data, "-A", "trust", "-U", "line", "-E", "UTF8", "--no-locale"], user)
        _run([programs / "pg_ctl", "-D", data, "-o", start, "-w", "-l", folder / "log", "start"], user)
        try:
            yield f"postgresql:///postgres?host={folder}&user=line"
        finally:
            _run([programs / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop"], user)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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


def _run(command: list[object], user: pwd.struct_passwd | None) -> None:
    extra = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    text = [str(part) for part in command]
    env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C"}
    done = subprocess.run(
        text, cwd="/", env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        timeout=_TIMEOUT_S, check=False, **extra,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{text[0]}: {done.stderr.decode(errors='replace')[-400:]}")
