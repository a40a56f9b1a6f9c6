"""Which firmware modules a logged-in device with one session keeps in RAM. The one place where this is said.

A module that stands in neither list counts as loaded, so that forgetting one never flatters the figure.
"""

from upeer_board.frozen import HOST_HALF  # noqa: F401 - the other half: a device never imports it

LOADED_LIMIT = 40 * 1024  # bytes of .mpy; code takes about 1.7 times as much RAM

# Loaded for a while and dropped when done, or loaded only on request.
PASSING = {
    # the groups of firmware/device/loader.py
    *(f"device/{group}.py" for group in ("start", "login", "storage", "pairs", "handshake", "command")),
    "device/names.py",  # loaded and dropped once, at the start
    "device/services/files.py",  # loaded when a client asks for files
    "upeer/session/mtu.py",  # only where both ends allow packets over 1200 bytes
    "upeer/session/pacing.py",  # only where windows are large
    "device/prove.py",  # the production line's, through the raw REPL
    "device/selftest.py",  # likewise
    "device/checks.py",  # likewise
    "device/loop.py",  # likewise
    "device/loader.py",  # what an application imports of the core
    "upeer/aio.py",  # likewise
    "upeer/base/errors.py",  # likewise
}
