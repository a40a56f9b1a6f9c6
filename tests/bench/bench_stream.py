"""A reliable encrypted stream between two CPython processes, beside aioquic: `python tests/bench/bench_stream.py`."""

from figures import report
from ours import stream_mbps
from peers import aioquic_stream_mbps

_JUMBO = 16384
_ROUNDS = 2


def main() -> None:
    """Take the better of two alternating rounds on each side: the machine may be shared."""
    ours, jumbo, theirs = [], [], []
    for _ in range(_ROUNDS):
        theirs.append(aioquic_stream_mbps())
        ours.append(stream_mbps())
        jumbo.append(stream_mbps(datagram=_JUMBO))
    report("stream_1200", max(ours), max(theirs))
    report("stream_16k", max(jumbo), max(theirs))


if __name__ == "__main__":
    main()
