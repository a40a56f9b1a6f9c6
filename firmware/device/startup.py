"""What a device does once, before its agent runs: read the licence and the board's limits, open the list of masters,
tidy up. Transient, group "start".
"""

import gc
import os

from device.heap import figures
from device.loader import drop_group, forget, load_group
from upeer.base.compat import const

_FILES = "/files"
_CHANNEL_CREDIT = const(64)  # what a client may send on a channel before that is in use


def load() -> tuple:
    """Return (identity, masters, faults) from the burned licence; ValueError says what to do when it is unusable."""
    _load_names()
    from device.fctry import load as load_record
    from device.identity import Identity
    from upeer.base.errors import CryptoError
    from upeer.signalling.initstring import open_init_string

    record, copy, faults = load_record()
    try:
        masters = open_init_string(record["init_string"], "device", record["crc_key"], record["p2p_key"])
    except CryptoError:
        raise ValueError("the licence on this device is for another platform: burn the right one")
    return Identity(record), masters, [fault + ", using copy %d" % copy for fault in faults]


def _load_names() -> None:
    """Meet the names of all transient modules at once, where an image brings them: they stay, and lie together then."""
    try:
        __import__("device.names")
        forget("device.names")
    except ImportError:
        pass  # a tree of plain modules


def limits() -> tuple:
    """Return the board's ((sessions, max_data, max_channel_data), MHz of the clock (idle, busy) or None).

    max_channel_data is what a channel may send before it is in use: the rest goes to those that are.

    Its heap limit holds from now on.
    """
    try:
        import board
    except ImportError:
        return (2, 8424, _CHANNEL_CREDIT), None
    figures[0] = min(board.HEAP_LIMIT, gc.mem_alloc() + gc.mem_free())
    found = (board.MAX_SESSIONS, board.SESSION_BUFFER, _CHANNEL_CREDIT), board.CLOCK
    forget("board")
    return found


def tidy_files() -> None:
    """Remove what an interrupted upload left behind."""
    try:
        os.stat(_FILES)
    except OSError:
        return  # no file was ever put here
    try:
        load_group("files")
    except ImportError:
        return  # this firmware has no file service
    from device.services.files import remove_parts

    remove_parts()
    drop_group("files")
