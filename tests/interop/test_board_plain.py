"""The firmware module by module, neither shortened nor bundled, as a frozen build has it: a board that does its work.

Frozen, the modules would be in the app; here they are .mpy files of /lib, so the heap is larger than a board's.
"""

from dataclasses import replace
from pathlib import Path

import pytest
from board_lab import Lab, run_echo

from upeer_board import boards, frozen, image, mpy

pytestmark = [pytest.mark.timeout(180), pytest.mark.usefixtures("micropython")]

_HEAP = "400K"
_FROZEN = "150000"  # bytes that they take here, about
_NO_LIMIT = 1 << 24  # of the heap: on a chip these modules are not in it


def _plain_library(board: boards.Board) -> dict[str, bytes]:
    """Return what a frozen build freezes, as files of /lib."""
    root = boards.project_root() / "firmware"
    names = [f"{package}/{path}" for package in ("upeer", "device") for path in frozen.files(board, package)]
    files = {f"lib/{name[:-3]}.mpy": mpy.compile_file(root / name, name) for name in names}
    roomy = replace(board, limits=board.limits | {"heap_limit": _NO_LIMIT})
    return files | {"lib/board.mpy": mpy.compile_text(boards.board_module(roomy), "board.py")}


def test_board_with_the_modules_of_a_frozen_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "_library", _plain_library)
    lab = Lab(tmp_path, masters=1)
    folder = lab.build()
    with lab.serve(), lab.board(folder, heap=_HEAP, env={"UPEER_FROZEN": _FROZEN}) as board:
        run_echo(lab, bytes(range(256)) * 40)
        assert "Traceback" not in board.output and "ImportError" not in board.output
