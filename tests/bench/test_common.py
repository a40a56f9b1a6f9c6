"""The benchmark harness: ratios point the right way, the table and the JSON say the same, the peers answer."""

import json
import os
from pathlib import Path

import peers
import pytest
from common import Figure, Load, cpu_seconds, report, table

FASTER = Figure("stream", 52.0, "MB/s", "aioquic", 26.0, goal=2)
SLOWER = Figure("connect", 40.0, "ms", "aioice", 20.0, goal=4, less_is_better=True)


def test_ratio_above_one_is_better_either_way() -> None:
    assert (FASTER.ratio, FASTER.is_reached) == (2.0, True)
    assert (SLOWER.ratio, SLOWER.is_reached) == (0.5, False)
    assert Figure("heap", 102, "K").ratio is None and Figure("heap", 102, "K").is_reached is None


def test_table_shows_peer_ratio_and_verdict() -> None:
    lines = table([FASTER, SLOWER, Figure("rate", 123456.0, "1/s")]).splitlines()
    assert lines[2].split() == ["stream", "52", "MB/s", "aioquic", "26", "2.00x", "2x", "reached"]
    assert lines[3].split()[-1] == "missed"
    assert lines[4].split() == ["rate", "123,456", "1/s", "-", "-", "-"]


def test_report_writes_json_beside_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report([FASTER], ["--json", str(tmp_path / "figures.json")])
    report([FASTER], ["--json"])
    printed = capsys.readouterr().out
    written = json.loads((tmp_path / "figures.json").read_text())
    assert written[0]["ratio"] == 2.0 and written[0]["peer"] == "aioquic"
    assert printed.startswith("what") and json.loads(printed[printed.index("[\n") :]) == written


def test_load_counts_per_wall_and_per_cpu_second() -> None:
    load = Load(answers=1000, seconds=2.0, server_cpu_seconds=0.5)
    assert (load.per_second, load.per_core) == (500, 2000)
    assert cpu_seconds(os.getpid()) > 0


def test_peers_give_figures() -> None:
    assert peers.aioquic_stream_mbps(size=1 << 20) > 0.1
    assert 0 < peers.aioice_connect_ms(count=2) < 5000
    assert peers.datagram_echo_per_s(seconds=0.3) > 100
