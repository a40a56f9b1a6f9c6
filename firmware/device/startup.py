"""What a device does once, before its agent runs: read the licence, open the list of masters, tidy up. Dropped
after.
"""

from device.late import drop


def load() -> tuple:
    """Return (identity, masters, faults) from the burned licence; ValueError says what to do when it is unusable."""
    from device.fctry import load as load_record
    from upeer.base.errors import CryptoError
    from upeer.signalling.initstring import open_init_string

    record, copy, faults = load_record()
    try:
        masters = open_init_string(record["init_string"], "device", record["crc_key"], record["p2p_key"])
    except CryptoError:
        raise ValueError("the licence on this device is for another platform: burn the right one")
    drop(("device.fctry", "upeer.signalling.initstring"))
    from device.identity import Identity

    return Identity(record), masters, [fault + ", using copy %d" % copy for fault in faults]


def limits() -> tuple:
    """Return the board's (sessions, bytes per session, bytes per channel)."""
    try:
        import board

        return board.MAX_SESSIONS, board.STREAM_BUFFER * 4, board.STREAM_BUFFER
    except ImportError:
        return 2, 16384, 4096


def tidy_files() -> None:
    """Remove what an interrupted upload left behind."""
    try:
        from device.services.files import remove_parts
    except ImportError:
        return  # this firmware has no file service
    remove_parts()
    drop(("device.services.files",))
