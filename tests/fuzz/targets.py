"""The parsers to fuzz. A target takes bytes and must raise nothing but the errors that its parser documents.

A new one goes here, or into a file `targets_<area>.py` beside this one, which is found by its name:

    @target("login.login_ok", allowed=(ProtocolError,), seeds=[bytes.fromhex("8301...")])
    def login_ok(data: bytes) -> None:
        parse_login_ok(data)

What stands behind an AEAD is fuzzed behind it: let the target seal `data` with the right key and hand that in, or call
the inner parser. Objects that keep state (a whole server) are made in the target, or once and fed for good.
"""

import importlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent
_VECTORS = _FOLDER.parent / "vectors"
_HEX = re.compile(r"\b(?:[0-9a-fA-F]{2}(?: ?(?=[0-9a-fA-F]{2}))?){4,}\b")


@dataclass(frozen=True)
class Target:
    """One parser: what to call, what it may raise, inputs that it accepts, the largest input worth trying."""

    name: str
    run: Callable[[bytes], object]
    allowed: tuple[type[Exception], ...]
    seeds: tuple[bytes, ...]
    max_size: int


TARGETS: dict[str, Target] = {}

_Run = Callable[[bytes], object]


def target(
    name: str, allowed: tuple[type[Exception], ...] = (), seeds: Sequence[bytes] = (), max_size: int = 1500
) -> Callable[[_Run], _Run]:
    """Register the decorated function as a target."""

    def register(function: _Run) -> _Run:
        if name in TARGETS:
            raise ValueError(f"two fuzz targets named {name}")
        TARGETS[name] = Target(name, function, allowed, tuple(bytes(seed) for seed in seeds), max_size)
        return function

    return register


def vector_seeds(pattern: str) -> list[bytes]:
    """Return every hex string (spaces allowed) of 4 bytes or more in the files of tests/vectors of a pattern."""
    seeds: dict[bytes, None] = {}
    for path in sorted(_VECTORS.glob(pattern)):
        for text in _HEX.findall(path.read_text()):
            seeds[bytes.fromhex(text)] = None
    return list(seeds)


def load_all() -> dict[str, Target]:
    """Import every file of targets; return all of them by name."""
    for path in sorted(_FOLDER.glob("targets_*.py")):
        importlib.import_module(path.stem)
    return dict(sorted(TARGETS.items()))
