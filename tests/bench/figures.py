"""Every figure that `make bench` prints: the table of what there is, and `report`, through which each is told.

A benchmark calls `report(name, value)` once a figure; unit, goal and peer stand in the table, a peer that was measured
in the same run is handed in. `ratio` says how many times better than the peer we are: above 1 is better, whatever the
unit. `goal` is in the figure's own unit. docs/figures.md is written from the same table.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHIP = "chip, commit 49267be"  # measured on an emulated ESP32 with stock firmware

_ROWS_FILE = "UPEER_BENCH_ROWS"  # set by run_all: rows are appended to this file, one JSON document a line
_WANTED = "UPEER_BENCH_ONLY"  # set by run_all: names of figures; others are measured but not told


@dataclass(frozen=True)
class Figure:
    """One figure: its name, the benchmark `bench_<bench>.py` that measures it, what it is, its unit, its goal.

    `times` instead of `goal`: to be that many times better than the peer measured in the same run.
    """

    name: str
    bench: str
    title: str
    unit: str
    less_is_better: bool = False
    goal: float | None = None
    times: float | None = None
    peer: str = ""
    peer_value: float | None = None


def _flash_figures() -> list[Figure]:
    kinds = {"new": "new board", "same": "same recipe again", "next": "next version", "other": "other firmware on it"}
    ways = {"written": "written to the flash", "cable": "over the cable"}
    return [
        Figure(f"flash_{kind}_{way}", "flash_bytes", f"{title}: {how}", "B", True, peer="full image")
        for kind, title in kinds.items()
        for way, how in ways.items()
    ]


def _pool_figures() -> list[Figure]:
    rows = []
    for key, name in (("sqlite", "SQLite"), ("postgres", "PostgreSQL")):
        kind = f"1,000,000 licences, {name}"
        rows += [
            Figure(f"pool_reserve_{key}", "pool", f"reserve, median, {kind}", "ms", True, None, 0.5, "nearly empty"),
            Figure(f"pool_reserve_slow_{key}", "pool", f"reserve, 99 %, {kind}", "ms", True, peer="nearly empty"),
            Figure(f"pool_status_{key}", "pool", f"status, {kind}", "ms", True),
            Figure(f"pool_line_{key}", "pool", f"line, 8 lanes in memory, {name}", "boards/h", goal=1440),
            Figure(f"pool_audit_{key}", "pool", f"audit verify, {kind}", "s", True),
        ]
    return [*rows, Figure("pool_line_real", "pool", "line, 8 lanes of virtual boards, SQLite", "boards/h", goal=1440)]


TABLE = (
    Figure("connect_loopback", "connect", "connect to first byte, median of 20", "ms", True, None, 4, "aioice"),
    Figure("datagram_ack", "datagram", "datagram received, opened, acknowledged", "instr", True, 150_000),
    Figure("datagram_read", "datagram", "the same, read too", "instr", True, 150_000, None, CHIP, 189_000),
    Figure("garbage_ack", "datagram", "garbage of a datagram received, opened, acknowledged", "B", True, 600),
    Figure("garbage_read", "datagram", "garbage of a datagram, read too", "B", True, 600),
    Figure("device_started", "device", "live on the chip: started", "KB", True, 62, None, CHIP, 75),
    Figure("device_logged_in", "device", "live on the chip: logged in", "KB", True, 72, None, CHIP, 91),
    Figure("device_session", "device", "live on the chip: one session, one channel", "KB", True, 82, None, CHIP, 98),
    Figure("device_busy_channel", "device", "live on the chip: one busy channel", "KB", True, 90),
    Figure("device_four_channels", "device", "live on the chip: four busy channels", "KB", True, None, None, CHIP, 127),
    Figure("device_two_sessions", "device", "live on the chip: two sessions of four busy channels", "KB", True, 94),
    Figure("chip_start", "chip", "start of main.py to logged in at three masters", "s", True, 4, None, CHIP, 6.9),
    Figure("chip_wifi", "chip", "Wi-Fi up to logged in at three masters", "s", True, 1.5),
    Figure("chip_connect", "chip", "connect to first byte", "s", True, 1.5, None, CHIP, 2.6),
    Figure("chip_connect_again", "chip", "second connect, at once, to first byte", "s", True, 1.5, None, CHIP, 4),
    Figure("chip_three", "chip", "three connects at once, the last one's first byte", "s", True, 4.5),
    Figure("chip_rate_in", "chip", "one channel to the device", "kbit/s", False, 1000, None, CHIP, 340),
    Figure("chip_rate_out", "chip", "one channel from the device", "kbit/s", False, 1000, None, CHIP, 340),
    Figure("chip_mailbox_lost", "chip", "datagrams lost at a full mailbox", "", True),
    Figure("heap_peak", "reserve", "most allocated, garbage included, two busy sessions", "KB", True, 112),
    Figure("reserve_least", "reserve", "least free of ESP-IDF's heap meanwhile", "KB", False, 20, None, CHIP, 5),
    *_flash_figures(),
    Figure("heap_smallest", "heap", "smallest -X heapsize: 3 masters, session, 64 KiB echoed", "KiB", True, 146),
    Figure("heartbeats", "heartbeat", "heartbeats per CPU second", "/s", False, 90_000, None, "asyncio echo"),
    Figure("heartbeats_client", "heartbeat", "heartbeats, one client process", "/s"),
    Figure("peer_aioquic_stream", "peers", "aioquic: one stream, 64 MiB, two processes", "MB/s"),
    Figure("peer_aioice_connect", "peers", "aioice: connect and first byte, median of 20", "ms", True),
    Figure("peer_asyncio_echo", "peers", "asyncio: echo of 64 bytes per CPU second", "/s"),
    *_pool_figures(),
    Figure("station_line", "station", "station, 8 lanes without flashing", "boards/h", goal=1440),
    Figure("station_draws", "station", "station, draws at the slowest", "/s", goal=5),
    Figure("stretch_start", "stretch", "loop's longest stretch, Wi-Fi not up yet", "instr", True, 3_300_000),
    Figure(
        "stretch_longest", "stretch", "loop's longest stretch after", "instr", True, 3_300_000, None, CHIP, 60_000_000
    ),
    Figure("stream_1200", "stream", "stream, 64 MiB, 1200-byte datagrams", "MB/s", False, None, 2, "aioquic"),
    Figure("stream_16k", "stream", "the same, path MTU searched up to 16 KiB", "MB/s", False, None, 2, "aioquic"),
)

BY_NAME = {figure.name: figure for figure in TABLE}


def row_of(name: str, value: float | None, peer_value: float | None = None) -> dict[str, Any]:
    """Return the row of build/bench.json for a measured value; None is a value that was not reached at all."""
    figure = BY_NAME[name]
    peer_value = figure.peer_value if peer_value is None else peer_value
    ratio = None
    if value and peer_value:
        ratio = peer_value / value if figure.less_is_better else value / peer_value
    goal = figure.goal
    if figure.times is not None and peer_value is not None:
        goal = peer_value / figure.times if figure.less_is_better else peer_value * figure.times
    met = None
    if goal is not None:
        met = value is not None and (value <= goal if figure.less_is_better else value >= goal)
    peer = figure.peer or None
    values = (figure.name, value, figure.unit, peer, peer_value, ratio, goal, met)
    return dict(zip(("name", "value", "unit", "peer", "peer_value", "ratio", "goal", "met"), values, strict=True))


def report(name: str, value: float | None, peer_value: float | None = None) -> None:
    """Tell one figure: print its line, and hand it to `make bench`."""
    wanted = os.environ.get(_WANTED)
    if wanted is not None and name not in wanted.split(","):
        return
    row = row_of(name, value, peer_value)
    print(line(row), flush=True)
    path = os.environ.get(_ROWS_FILE)
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def environment(names: Iterable[str], rows: Path) -> dict[str, str]:
    """Return the variables that make a benchmark tell only these figures, and write them to a file."""
    return {_WANTED: ",".join(names), _ROWS_FILE: str(rows)}


def number(value: float | None) -> str:
    """Return a value as people read it."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


_TITLE_WIDTH = max(len(figure.title) for figure in TABLE)
_PEER_WIDTH = max(len(figure.peer) for figure in TABLE) + 8


def line(row: dict[str, Any]) -> str:
    """Return one row as a line of the printed table; lines stand below one another."""
    figure = BY_NAME[row["name"]]
    peer = f"{row['peer']} {number(row['peer_value'])}" if row["peer"] else "-"
    ratio = "-" if row["ratio"] is None else f"{row['ratio']:.2f}x"
    goal = "-" if row["goal"] is None else f"{'<=' if figure.less_is_better else '>='} {number(row['goal'])}"
    verdict = {None: "", True: "met", False: "MISSED"}[row["met"]]
    cells = (figure.title.ljust(_TITLE_WIDTH), number(row["value"]).rjust(11), figure.unit.ljust(8))
    return "  ".join((*cells, peer.ljust(_PEER_WIDTH), ratio.rjust(7), goal.ljust(11), verdict)).rstrip()


def head() -> str:
    """Return the table's first line."""
    cells = ("what".ljust(_TITLE_WIDTH), "figure".rjust(11), "unit".ljust(8), "peer".ljust(_PEER_WIDTH))
    return "  ".join((*cells, "ratio".rjust(7), "goal"))
