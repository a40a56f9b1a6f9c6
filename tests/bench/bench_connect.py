"""Time to the first byte on loopback, beside aioice: `python tests/bench/bench_connect.py [--json [FILE]]`."""

from common import Figure, report
from ours import connect_ms
from peers import aioice_connect_ms


def main() -> None:
    """Ours looks up, invites, agrees on keys and gets an answer; aioice's ends exchange candidates in one process."""
    peer = ("aioice", aioice_connect_ms(), 4, True)
    report([Figure("connect to first byte, median of 20", connect_ms(), "ms", *peer)])


if __name__ == "__main__":
    main()
