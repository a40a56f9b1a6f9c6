"""This computer's IPv4 addresses and the broadcast addresses of its networks, asked of the kernel."""

import fcntl
import socket
import struct
import sys
from dataclasses import dataclass

LOOPBACK_BROADCAST = "127.255.255.255"
LIMITED_BROADCAST = "255.255.255.255"

# SIOCGIFADDR and SIOCGIFBRDADDR; struct ifreq has its sockaddr behind 16 bytes of name on both systems.
_REQUESTS = (0xC0206921, 0xC0206923) if sys.platform == "darwin" else (0x8915, 0x8919)
_IFREQ_SIZE = 40


@dataclass(frozen=True)
class Interface:
    """One network interface with an IPv4 address."""

    name: str
    address: str
    broadcast: str | None

    @property
    def is_loopback(self) -> bool:
        return self.address.startswith("127.")


def interfaces() -> list[Interface]:
    """Return the interfaces that have an IPv4 address."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            address = _ask(probe, _REQUESTS[0], name)
            if address is not None:
                broadcast = _ask(probe, _REQUESTS[1], name)
                found.append(Interface(name, address, None if broadcast in ("0.0.0.0", address) else broadcast))
    return found


def broadcast_addresses(found: list[Interface]) -> list[str]:
    """Return where a LAN invite goes: to everybody, to each network, and to this computer itself."""
    targets = [LIMITED_BROADCAST] if any(not item.is_loopback for item in found) else []
    targets += [item.broadcast for item in found if item.broadcast and not item.is_loopback]
    return list(dict.fromkeys([*targets, LOOPBACK_BROADCAST]))


def own_address_towards(host: str) -> str | None:
    """Return the address from which this computer would send to a host, None when there is no route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])


def _ask(probe: socket.socket, request: int, name: str) -> str | None:
    ifreq = struct.pack(f"{_IFREQ_SIZE}s", name.encode()[:15])
    try:
        answer = fcntl.ioctl(probe.fileno(), request, ifreq)
    except OSError:
        return None
    return socket.inet_ntoa(answer[20:24])
