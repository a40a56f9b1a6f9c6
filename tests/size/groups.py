"""Which firmware modules a logged-in device with one session keeps in RAM. The one place where this is said.

A module that stands in neither list counts as loaded, so that forgetting one never flatters the figure.
"""

LOADED_LIMIT = 40 * 1024  # bytes of .mpy; code takes about 1.7 times as much RAM

# Loaded for a while, dropped when done, or loaded only on request.
PASSING = {
}

# Part of the package, never written to a board.
NOT_ON_BOARD = {
    "upeer/crypto_cpython.py",
}
