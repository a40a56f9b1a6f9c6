"""What the benchmarks share: the request load counts right, the peers answer."""

import os

import peers
from common import Load, cpu_seconds


def test_load_counts_per_wall_and_per_cpu_second() -> None:
    load = Load(answers=1000, seconds=2.0, server_cpu_seconds=0.5)
    assert (load.per_second, load.per_core) == (500, 2000)
    assert cpu_seconds(os.getpid()) > 0


def test_peers_give_figures() -> None:
    assert peers.aioquic_stream_mbps(size=1 << 20) > 0.1
    assert 0 < peers.aioice_connect_ms(count=2) < 5000
    assert peers.datagram_echo_per_s(seconds=0.3) > 100
