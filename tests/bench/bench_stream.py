"""A reliable encrypted stream between two CPython processes, beside aioquic: `python tests/bench/bench_stream.py`."""

from common import Figure, report
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
    peer = ("aioquic", max(theirs), 2)
    report(
        [
            Figure("stream, 64 MiB, 1200-byte datagrams", max(ours), "MB/s", *peer),
            Figure("stream, 64 MiB, path MTU searched up to 16 KiB", max(jumbo), "MB/s", *peer),
        ]
    )


if __name__ == "__main__":
    main()
