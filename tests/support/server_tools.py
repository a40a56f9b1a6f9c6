"""A served platform for tests and benchmarks: `upeer serve` as a process, and devices that log in to it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from upeer.base.clock import ticks_ms
from upeer.base.wire import ROLE_MASTER
from upeer.signalling.control import Control
from upeer.signalling.login import Login, login_key

_END_TIME_OUT_S = 60
_LOGIN_TIME_OUT_S = 60
_EPOCHS = count(int(time.time()))


class Server:
    """A process of `upeer serve`; `ready` is its ready line, `log()` what it logged so far."""

    def __init__(self, folder: Path, *options: str, log: Path) -> None:
        self._log = log
        command = [sys.executable, "-m", "upeer_cli.main", "serve", str(folder), "--json", *options]
        with log.open("wb") as stream:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stream, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.ready: dict[str, Any] = json.loads(line) if line else {}

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> str:
        return self._log.read_text()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end and return the exit code."""
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        code = self.process.wait(_END_TIME_OUT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Server]:
    """Serve a folder for a while; the log goes to a file beside it."""
    server = Server(folder, *options, log=folder.with_name(f"{folder.name}-{time.monotonic_ns()}.log"))
    try:
        assert server.ready, server.log()
        yield server
    finally:
        server.end()


class Identity:
    """What Login wants to know of a device, from its licence record."""

    flags = 0
    nat_class = 0

    def __init__(self, record: dict[str, Any]) -> None:
        self.did = record["did"]
        self.licence_key = record["licence_key"]
        self.key_id = record["key_id"]
        self.crc_key = record["crc_key"]
        self.p2p_key = record["p2p_key"]

    def next_epoch(self) -> int:
        return next(_EPOCHS)


def log_in(
    udp: socket.socket,
    address: tuple[str, int],
    identity: Identity,
    master_id: int = 1,
    seconds: float = _LOGIN_TIME_OUT_S,
) -> tuple[Any, ...]:
    """Log a device in at a master; return Login's event: ("login", Control, ...) or ("failed", code)."""
    key = login_key(identity.licence_key, identity.crc_key, identity.did, master_id)
    login = Login(identity, (ROLE_MASTER, address, key, b""), os.urandom, ticks_ms())
    deadline = time.monotonic() + seconds
    udp.settimeout(0.05)
    while time.monotonic() < deadline:
        login.handle_timer(ticks_ms())
        while (data := login.datagram_to_send(ticks_ms())) is not None:
            udp.sendto(data, address)
        with suppress(TimeoutError):
            login.receive_datagram(*udp.recvfrom(2048), ticks_ms())
        if (event := login.next_event()) is not None:
            return event
    return login.next_event() or ("failed", 0)


def next_alive(control: Control) -> bytes:
    """Return the next keep-alive of a session, at once."""
    control._alive_is_due = True
    data = control.datagram_to_send(ticks_ms())
    assert data is not None
    return bytes(data)


def events(udp: socket.socket, control: Control, seconds: float = 60.0) -> list[tuple[Any, ...]]:
    """Pump a session until it has events, which are returned, or the time is over."""
    deadline = time.monotonic() + seconds
    udp.settimeout(0.05)
    found: list[tuple[Any, ...]] = []
    while not found and time.monotonic() < deadline:
        with suppress(TimeoutError):
            control.receive_datagram(*udp.recvfrom(2048), ticks_ms())
        while (data := control.datagram_to_send(ticks_ms())) is not None:
            udp.sendto(data, control.address)
        while (event := control.next_event()) is not None:
            found.append(event)
    return found
