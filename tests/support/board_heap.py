"""The heap of the virtual boards that end-to-end tests boot, and boards whose heap begins in another layout."""

from pathlib import Path

import board_lab
import mpy_tools

HEAP = "200K"  # 176K, the least that the agent is made for, and some to spare
ROOMY = "256K"  # where the test itself needs more: eight channels have 64 KiB of buffers, several sessions likewise
GATE_K = 176  # with the model's own 12 KB it stands for the 112 KB of a chip
MARGIN_K = 8  # a whole device runs with that much less, in every layout

_JUNK = """
blocks = [bytearray({0}) for _ in range({1})]
kept = blocks[::{2}]
del blocks
"""


def image_of_layout(lab: board_lab.Lab, layout: mpy_tools.Layout, number: int) -> Path:
    """Build the image of a board in a folder of its own, in whose heap blocks lie before the agent is loaded."""
    app = lab.folder / f"app{number}"
    app.mkdir()
    junk = _JUNK.format(*layout.junk) if layout.junk else ""
    (app / "main.py").write_text(junk + (mpy_tools.FIRMWARE / "main.py").read_text())
    return lab.build(app=app, name=f"board{number}" + "x" * layout.path_size)
