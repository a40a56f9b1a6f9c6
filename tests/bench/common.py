"""What the benchmarks share: CPU time of a process, a UDP request load."""

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Address = tuple[str, int]

_RECEIVE_TIME_OUT_S = 0.2


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
