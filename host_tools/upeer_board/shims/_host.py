"""The board's folder on the host, out of sight of the board's own file system. `start.py` sets it."""

folder = None
