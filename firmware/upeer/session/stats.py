"""The figures of a session. Loaded when asked for."""


def session_stats(session) -> dict:
    """Return counters, times in ms and sizes in bytes."""
    recovery = session.recovery
    return {
        "bytes_in": session.bytes_in,
        "bytes_out": session.bytes_out,
        "packets_in": session.packets_in,
        "packets_out": session.packets_out,
        "duplicates": session.duplicates,
        "dropped": session.dropped,
        "lost": recovery.lost,
        "retransmitted": session.retransmitted,
        "srtt": recovery.rtt8 >> 3,
        "cwnd": recovery.window,
        "packet_size": recovery.packet_size,
    }
