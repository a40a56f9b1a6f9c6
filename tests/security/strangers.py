"""What attackers on a network do, for the tests: floods from many ports, datagrams with a false source."""

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

Address = tuple[str, int]

_SOCKETS = 40
_HANG_S = 60


class Flood:
    """A thread that sends what `make(n)` gives to `targets`, from forty ports, until stopped; `sent` counts."""

    def __init__(self, targets: list[Address], make: Callable[[int], bytes], per_second: int) -> None:
        self.sent = 0
        self.answers: list[bytes] = []
        self._targets = targets
        self._make = make
        self._gap_s = 1 / per_second
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @contextmanager
    def running(self) -> Iterator["Flood"]:
        """Send in the background."""
        self._thread.start()
        try:
            yield self
        finally:
            self._is_over.set()
            self._thread.join(5)

    def wait_for(self, count: int) -> None:
        """Wait until that many datagrams have been sent."""
        end = time.monotonic() + _HANG_S
        while self.sent < count:
            assert time.monotonic() < end and self._thread.is_alive(), f"the flood stands still: {self.sent} sent"
            time.sleep(0.01)

    def _run(self) -> None:
        sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(_SOCKETS)]
        for udp in sockets:
            udp.setblocking(False)
        started = time.monotonic()
        while not self._is_over.is_set():
            due = int((time.monotonic() - started) / self._gap_s) + 1
            while self.sent < due:
                udp = sockets[self.sent % _SOCKETS]
                self._send(udp, self._make(self.sent), self._targets[self.sent % len(self._targets)])
                self.sent += 1
            self._is_over.wait(0.002)
        for udp in sockets:
            self._hear(udp)
            udp.close()

    def _send(self, udp: socket.socket, data: bytes, target: Address) -> None:
        try:
            udp.sendto(data, target)
        except OSError:  # a full buffer, or word that nobody listens there
            self._hear(udp)

    def _hear(self, udp: socket.socket) -> None:
        try:
            while len(self.answers) < 1000:
                self.answers.append(udp.recv(2048))
        except OSError:
            return


class Spoofer:
    """Sends datagrams from any address of this machine; needs root."""

    def __init__(self) -> None:
        if os.geteuid() != 0:
            pytest.skip("datagrams with a false source need root")
        self._raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)

    def __enter__(self) -> "Spoofer":
        return self

    def __exit__(self, *_error: object) -> None:
        self._raw.close()

    def send(self, source: Address, target: Address, data: bytes) -> None:
        """Send one datagram; a UDP checksum of zero means none."""
        udp = struct.pack("!4H", source[1], target[1], 8 + len(data), 0) + data
        addresses = socket.inet_aton(source[0]) + socket.inet_aton(target[0])
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0) + addresses
        self._raw.sendto(header + udp, (target[0], 0))


def resident_kb(pid: int) -> int:
    """Return the resident memory of a process, in KiB."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
