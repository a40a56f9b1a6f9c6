"""A frozen build: the firmware inside one's own MicroPython (docs/frozen-build.md), and the image that goes with it.

boards/manifest.py calls `files` and `write_board_module` within MicroPython's build, under whatever Python that runs:
this module and what it imports need the standard library alone.
"""

from __future__ import annotations

from pathlib import Path

from upeer_board import boards

# The client's or the host's half of the core: a device never imports it.
HOST_HALF = frozenset(
    f"upeer/{path}.py" for path in ("crypto/cpython", "connect", "signalling/lookup", "signalling/stun")
)
_NAME_IN_APP = b"upeer/endpoint.py\0"  # as a build lists the names of its frozen modules


def files(board: boards.Board, package: str) -> list[str]:
    """Return the modules of a package of the firmware that the board's build freezes, by their paths in the package."""
    root = boards.project_root() / "firmware"
    left_out = HOST_HALF | set(board.exclude)
    found = sorted((root / package).rglob("*.py"))
    return [
        path.relative_to(root / package).as_posix()
        for path in found
        if path.relative_to(root).as_posix() not in left_out
    ]


def write_board_module(board: boards.Board) -> Path:
    """Write the module `board` into a folder of its own below build/, and return the folder."""
    folder = boards.project_root() / "build" / "frozen" / board.name
    folder.mkdir(parents=True, exist_ok=True)
    path, text = folder / "board.py", boards.board_module(board)
    if not path.is_file() or path.read_text() != text:  # a new time would have MicroPython freeze everything again
        path.write_text(text)
    return folder


def check_app(board: boards.Board, app: bytes | None) -> None:
    """Raise ValueError unless the firmware is frozen into this app; None stands for one that is not at hand."""
    if board.chip == "unix":
        raise ValueError("the virtual board has no frozen firmware: leave --frozen out")
    if app is not None and _NAME_IN_APP not in app:
        raise ValueError(
            f"this MicroPython has no firmware frozen into it: build it with boards/{board.name}/manifest.py, "
            "or leave --frozen out"
        )
