"""The figures to beat on this machine: `python tests/bench/bench_peers.py [--json [FILE]]`."""

from common import Figure, report
from peers import aioice_connect_ms, aioquic_stream_mbps, datagram_echo_per_s


def main() -> None:
    report(
        [
            Figure("aioquic: one stream, 64 MiB, two processes", aioquic_stream_mbps(), "MB/s"),
            Figure("aioice: connect and first byte, median of 20", aioice_connect_ms(), "ms", less_is_better=True),
            Figure("asyncio.DatagramProtocol: echo, 64 bytes", datagram_echo_per_s(), "req/s per core"),
        ]
    )


if __name__ == "__main__":
    main()
