"""Heartbeats per second and core on a master, beside a bare asyncio DatagramProtocol echo in the same run.

Devices log in through the real Login and Control; this process then keeps a bounded number of their keep-alives under
way and polls for the answers, so that the server never pays for waking it up. The echo gets the very same load. Of
rounds that alternate the best one counts on either side: other work on the machine only ever makes a round slower.
"""

import socket
import sys
import tempfile
import time
from pathlib import Path

from common import Address, Load, cpu_seconds
from figures import report
from peers import server_process

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))

from office_tools import make_office
from ports import free_port
from server_tools import Identity, log_in, next_alive, serving

_DEVICES = 500
_WINDOW = 256
_ROUNDS = 3
_SECONDS = 1.0
_HEARTBEATS = 150_000  # a round; made before the clock runs, and the round ends when they are used up
_LOST_AFTER_S = 0.2


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bench"
        with make_office(folder, (f"127.0.0.1:{free_port()}",), "BENC") as office:
            identities = [Identity(office.device_record(text)) for text in office.issue(_DEVICES)]
        with serving(folder, "--roles", "master") as server, server_process("echo") as (echo_pid, echo_port):
            host, _, port = server.ready["servers"][0]["address"].partition(":")
            echoes, loads = [], []
            for _round in range(_ROUNDS):
                echoes.append(_echo(echo_pid, ("127.0.0.1", echo_port)).per_core)
                loads.append(_heartbeats(server.pid, (host, int(port)), identities))
    load, echo = max(loads, key=lambda item: item.per_core), max(echoes)
    report("heartbeats", load.per_core, echo)
    report("heartbeats_client", load.per_second)
    return 0


def _echo(pid: int, address: Address) -> Load:
    """Flood the bare echo with datagrams of a keep-alive's size."""
    with _socket() as udp:
        udp.connect(address)
        return _flood(udp, pid, [bytes(28)] * _HEARTBEATS)


def _heartbeats(pid: int, address: Address, identities: list[Identity]) -> Load:
    """Log every device in, then flood the master with their keep-alives, round robin."""
    with _socket() as udp:
        controls = []
        for identity in identities:
            event = log_in(udp, address, identity)
            assert event[0] == "login", event
            controls.append(event[1])
        datagrams = [next_alive(controls[number % len(controls)]) for number in range(_HEARTBEATS)]
        udp.connect(address)
        return _flood(udp, pid, datagrams)


def _socket() -> socket.socket:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    udp.bind(("127.0.0.1", 0))
    return udp


def _flood(udp: socket.socket, pid: int, datagrams: list[bytes]) -> Load:
    """Send datagrams, at most _WINDOW of them unanswered, and count the answers, each as long as its question."""
    udp.setblocking(False)
    number = answers = 0
    started, cpu_before = time.perf_counter(), cpu_seconds(pid)
    missing = _WINDOW
    while time.perf_counter() - started < _SECONDS and number + missing <= len(datagrams):
        for data in datagrams[number : number + missing]:
            udp.send(data)
        number += missing
        missing = _receive(udp, _WINDOW // 2, len(datagrams[0]))
        answers += missing
        missing = missing or _WINDOW
    return Load(answers, time.perf_counter() - started, cpu_seconds(pid) - cpu_before)


def _receive(udp: socket.socket, most: int, size: int) -> int:
    """Poll for answers until there are `most` or the rest counts as lost; return how many came."""
    count = 0
    deadline = time.perf_counter() + _LOST_AFTER_S
    while count < most:
        try:
            assert len(udp.recv(2048)) == size
            count += 1
        except BlockingIOError:
            if time.perf_counter() > deadline:
                break
    return count


if __name__ == "__main__":
    sys.exit(main())
