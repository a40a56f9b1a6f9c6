"""Which firmware modules a logged-in device with one session keeps in RAM. The one place where this is said.

A module that stands in neither list counts as loaded, so that forgetting one never flatters the figure.
"""

from upeer_board.frozen import HOST_HALF  # noqa: F401 - the other half: a device never imports it

LOADED_LIMIT = 40 * 1024  # bytes of .mpy; code takes about 1.7 times as much RAM

# Loaded for a while and dropped when done, or loaded only on request.
PASSING = {
    "upeer/handshake/answer.py",  # these down to wifi: device/loader.py drops them when they are done
    "upeer/signalling/enrol.py",
    "upeer/handshake/messages.py",
    "upeer/handshake/invite.py",
    "upeer/handshake/lan.py",
    "upeer/crypto/noise.py",
    "upeer/handshake/pairs.py",
    "upeer/crypto/x25519.py",
    "device/commands.py",
    "device/curve.py",
    "device/invites.py",
    "device/link.py",
    "device/memory.py",
    "device/names.py",  # loaded and dropped once, at the start
    "device/pairing.py",
    "device/startup.py",
    "device/store.py",
    "device/wifi.py",
    "upeer/signalling/initstring.py",  # read once at the start
    "upeer/signalling/login.py",  # loaded for a login, dropped after it
    "upeer/session/mtu.py",  # only where both ends allow packets over 1200 bytes
    "upeer/session/pacing.py",  # only where windows are large
    "upeer/session/stats.py",  # loaded when asked for
    "upeer/signalling/question.py",  # questions to a server: login only
    "device/fctry.py",  # the licence is read once at the start
    "device/prove.py",  # the production line's, through the raw REPL
    "device/selftest.py",  # likewise
    "device/checks.py",  # likewise
    "device/loop.py",  # likewise
    "device/services/files.py",  # loaded when a client asks for files
}
