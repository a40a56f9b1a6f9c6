"""What a server node knows: the platform's keys it may hold and its fellow servers (made by upeer_office.bundle)."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, repr=False)
class Generation:
    """One generation of the platform keys; `crc_key` and `p2p_key` are 32 bytes."""

    key_id: int
    crc_key: bytes
    p2p_key: bytes


@dataclass(frozen=True)
class ServerEntry:
    """A p2p server or relay of the platform; `ticket_key` is 32 bytes."""

    kind: str  # "p2p" or "relay"
    id: int
    host: str
    port: int
    ticket_key: bytes = field(repr=False)


class Verifiers(Protocol):
    """The devices a master may let in; safe to call from one thread, fast (an indexed look-up)."""

    def login_key(self, did: str, key_id: int) -> bytes | None:
        """Return the device's 32-byte login key at this master, or None when unknown or revoked."""

    def last_epoch(self, did: str) -> int:
        """Return the highest login epoch seen from this device, 0 when none."""

    def set_epoch(self, did: str, epoch: int) -> None:
        """Record a login epoch for good before the login is answered."""

    def revoke(self, did: str) -> None:
        """Forget a device for good."""

    def close(self) -> None:
        """Let go of files."""


@dataclass(repr=False)
class MasterConfig:
    """What one master holds; never a licence key."""

    master_id: int
    static_private: bytes
    verifiers: Verifiers
    p2p_servers: list[ServerEntry]
    relays: list[ServerEntry]


@dataclass(repr=False)
class NodeConfig:
    """One UDP address and the roles behind it; `generations` has the current one first, then the one before."""

    host: str
    port: int
    generations: list[Generation]
    admin_key: bytes
    master: MasterConfig | None = None
    p2p: ServerEntry | None = None
    relay: ServerEntry | None = None
