# The firmware as frozen modules, for the manifest of each board: include("../manifest.py", board=NAME).
# MicroPython's tools/makemanifest.py runs it in this folder, by Python 3.11 or later: docs/frozen-build.md.
# boot.py and main.py stay in the file system: frozen ones would win over those of an application.
import os
import sys

sys.path.insert(0, os.path.abspath("../host_tools"))
from upeer_board import boards, frozen

_board = boards.load_board(options.board)
for _package in ("upeer", "device"):
    package(_package, files=frozen.files(_board, _package), base_path="../firmware", opt=3)
module("board.py", base_path=str(frozen.write_board_module(_board)), opt=3)
