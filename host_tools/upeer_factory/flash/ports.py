"""Serial ports of a line: names that stay with the socket on the wall (/dev/serial/by-path), and waiting for them."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

_BY_PATH = Path("/dev/serial/by-path")
_DEV = Path("/dev")
VISIBLE = "[!.]*"  # a link that is being made has a name with a dot, until it is renamed
_PATTERNS = ("ttyUSB*", "ttyACM*", "cu.usb*", "cu.SLAB*", "cu.wchusb*")


@dataclass(frozen=True)
class Port:
    """A port: the name that stays with the physical socket, and the device it leads to now."""

    name: str
    device: str


def list_ports(by_path: Path = _BY_PATH, dev: Path = _DEV) -> list[Port]:
    """Return the ports that boards may be at, by-path names first; a device is listed once."""
    found: dict[str, Port] = {}
    for link in sorted(by_path.glob(VISIBLE)) if by_path.is_dir() else []:
        device = os.path.realpath(link)
        if os.path.exists(device):
            found.setdefault(device, Port(str(link), device))
    for pattern in _PATTERNS:
        for path in sorted(dev.glob(pattern)):
            found.setdefault(os.path.realpath(path), Port(str(path), os.path.realpath(path)))
    return sorted(found.values(), key=lambda port: port.name)


def is_url(port: str) -> bool:
    """Tell whether the port is one of pyserial's URLs (socket://, rfc2217://)."""
    return "://" in port


def identity(port: str) -> str:
    """Return what two names of one port share."""
    return port if is_url(port) else os.path.realpath(port)


def without_twins(ports: tuple[str, ...]) -> list[str]:
    """Return the ports in their order; ValueError if two names lead to one device."""
    seen: dict[str, str] = {}
    for port in ports:
        other = seen.setdefault(identity(port), port)
        if other is not port:
            raise ValueError(f"{port} and {other} are the same port")
    return list(ports)


def exists(port: str) -> bool:
    """Tell whether the port is there; of a URL one knows only by connecting."""
    return is_url(port) or os.path.exists(port)


def wait_for(port: str, seconds: float, cancel: threading.Event) -> bool:
    """Wait until the port is there (again): a board that was reset or plugged in anew takes a moment."""
    deadline = time.monotonic() + seconds
    while not exists(port):
        if time.monotonic() >= deadline or cancel.wait(0.05):
            return False
    return True
