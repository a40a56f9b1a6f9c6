"""Planted secrets: the forms they could show up in, and the places that are looked at while programs run."""

import base64
import threading
from pathlib import Path

from upeer_office import names


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
    """Takes snapshots of the command lines and environments of all processes, as fast as it can, into `seen`."""

    def __enter__(self) -> "Watcher":
        self.seen: set[bytes] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.is_set():
            for folder in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    try:
                        self.seen.add((folder / name).read_bytes())
                    except OSError:
                        continue
