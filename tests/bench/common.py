"""What the benchmarks share: figures beside a peer's in a table and as JSON, CPU time of a process, a UDP request load.

A ratio says how many times better we are than the peer of the same run: above 1 is better, whatever the unit.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

Address = tuple[str, int]

_RECEIVE_TIME_OUT_S = 0.2


@dataclass(frozen=True)
class Figure:
    """One measured figure, with the peer's of the same run and the ratio that we want to reach, where there are any."""

    name: str
    value: float
    unit: str
    peer: str = ""
    peer_value: float | None = None
    goal: float | None = None
    less_is_better: bool = False

    @property
    def ratio(self) -> float | None:
        """How many times better than the peer."""
        if not self.peer_value or not self.value:
            return None
        return self.peer_value / self.value if self.less_is_better else self.value / self.peer_value

    @property
    def is_reached(self) -> bool | None:
        """Whether the ratio reaches the goal; None without a goal or a peer."""
        return None if self.ratio is None or self.goal is None else self.ratio >= self.goal


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _cells(figure: Figure) -> list[str]:
    peer = f"{figure.peer} {_number(figure.peer_value)}" if figure.peer else "-"
    ratio = "-" if figure.ratio is None else f"{figure.ratio:.2f}x"
    goal = "-" if figure.goal is None else f"{figure.goal:g}x"
    verdict = {None: "", True: "reached", False: "missed"}[figure.is_reached]
    return [figure.name, _number(figure.value), figure.unit, peer, ratio, goal, verdict]


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as a table of aligned columns."""
    rows = [["what", "figure", "unit", "peer", "ratio", "goal", ""]] + [_cells(figure) for figure in figures]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def report(figures: Sequence[Figure], argv: Sequence[str] | None = None) -> None:
    """Print the figures: a table, or with `--json` JSON; `--json FILE` writes JSON to the file beside the table."""
    argv = list(sys.argv[1:] if argv is None else argv)
    rows = [{**asdict(figure), "ratio": figure.ratio, "is_reached": figure.is_reached} for figure in figures]
    text = json.dumps(rows, indent=1)
    if argv == ["--json"]:
        print(text)
        return
    print(table(figures))
    if argv[:1] == ["--json"]:
        Path(argv[1]).write_text(text + "\n", encoding="utf-8")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used so far, all its threads together (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Load:
    """What a request load gave: answers, seconds of wall clock, and CPU seconds that the server used."""

    answers: int
    seconds: float
    server_cpu_seconds: float

    @property
    def per_second(self) -> float:
        """Answers per second of wall clock."""
        return self.answers / self.seconds

    @property
    def per_core(self) -> float:
        """Answers per CPU second of the server: what one core of its own would give."""
        return self.answers / max(self.server_cpu_seconds, 0.01)


def request_load(
    address: Address, pid: int, request: Callable[[int], bytes], seconds: float = 2.0, window: int = 64
) -> Load:
    """Keep `window` requests under way to the UDP server of process `pid` and count its answers.

    `request(number)` makes the datagrams; what is not answered within 0.2 s counts as lost and is replaced.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect(address)
        udp.settimeout(_RECEIVE_TIME_OUT_S)
        number = answers = 0
        started, cpu_before = time.perf_counter(), cpu_seconds(pid)
        missing = window
        while time.perf_counter() - started < seconds:
            for _ in range(missing):
                udp.send(request(number))
                number += 1
            answered = _receive(udp, window // 2)
            answers += answered
            missing = answered or window
        return Load(answers, time.perf_counter() - started, cpu_seconds(pid) - cpu_before)


def _receive(udp: socket.socket, most: int) -> int:
    for count in range(most):
        try:
            udp.recv(2048)
        except TimeoutError:
            return count
    return most
