"""The figures to beat on this machine: `python tests/bench/bench_peers.py`."""

from figures import report
from peers import aioice_connect_ms, aioquic_stream_mbps, datagram_echo_per_s


def main() -> None:
    report("peer_aioquic_stream", aioquic_stream_mbps())
    report("peer_aioice_connect", aioice_connect_ms())
    report("peer_asyncio_echo", datagram_echo_per_s())


if __name__ == "__main__":
    main()
