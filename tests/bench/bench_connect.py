"""Time to the first byte on loopback, beside aioice: `python tests/bench/bench_connect.py`."""

from figures import report
from ours import connect_ms
from peers import aioice_connect_ms


def main() -> None:
    """Ours looks up, invites, agrees on keys and gets an answer; aioice's ends exchange candidates in one process."""
    report("connect_loopback", connect_ms(), aioice_connect_ms())


if __name__ == "__main__":
    main()
