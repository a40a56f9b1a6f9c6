"""Planted secrets: the forms they could show up in, and the places that are looked at while programs run."""

import base64
import contextlib
import threading
from pathlib import Path

from upeer_office import names

_PAUSE_S = 0.01  # leaves the watched programs some time to run


def forms(secret: bytes) -> list[bytes]:
    """Return a secret as the bytes it could show up as; parts of base64, whatever it is aligned to."""
    parts = [base64.b64encode(bytes(shift) + secret)[4 + (shift > 0) * 2 : -4] for shift in range(3)]
    return [secret, secret.hex().encode(), secret.hex().upper().encode(), repr(secret)[2:-1].encode(), *parts]


def setup_code_forms(code: bytes) -> list[bytes]:
    """Return a setup code as bytes, and as people and QR codes write it."""
    text = names.encode_setup_code(code)
    return [*forms(code), text.encode(), text.replace("-", "").encode()]


def leaks(secrets: list[bytes], data: bytes) -> list[bytes]:
    """Return the secrets that are in the data."""
    return [secret for secret in secrets if secret in data]


class Watcher:
    """Takes snapshots again and again, into `seen`: the command lines and environments of all processes, and the
    files that come and go below `folder`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.seen: set[bytes] = set()
        self.files: set[str] = set()
        self._folder = folder
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(_PAUSE_S):
            for folder in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    self._take(folder / name)
            for path in self._folder.rglob("*") if self._folder else ():
                self.files.add(path.name)
                self._take(path)

    def _take(self, path: Path) -> None:
        with contextlib.suppress(OSError):
            self.seen.add(path.read_bytes())
