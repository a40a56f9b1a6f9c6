"""A platform: its key generations, masters, p2p servers and relays, in `platform.json` of the operator's folder.

That file never leaves the office; servers get bundles (`upeer_office.bundle`), devices and clients InitStrings.
"""

import secrets
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from upeer.crypto.aead import derive
from upeer.crypto.cpython import public_key
from upeer_office import files
from upeer_office.errors import USAGE, OfficeError
from upeer_office.initstring import seal_init_string
from upeer_office.names import LETTERS, check_prefix
from upeer_server.config import Generation

MAX_MASTERS = 3
LIVE_GENERATIONS = 2
_FORMAT = "upeer platform"
_FILE = "platform.json"
_OFFICE_KEY_FILE = "office.key"
_LAST_ID = 255


@dataclass
class KeyGeneration:
    """One generation of platform keys, and the InitStrings sealed under them."""

    key_id: int
    crc_key: bytes = field(repr=False)
    p2p_key: bytes = field(repr=False)
    device_init: str = field(repr=False)
    client_init: str = field(repr=False)


@dataclass
class Server:
    """A master, p2p server or relay; `secret` is its static private key (masters) or its ticket key (the others)."""

    id: int
    host: str
    port: int
    secret: bytes = field(repr=False)


@dataclass(repr=False)
class Platform:
    """What `platform.json` holds; `generations` has the current one first."""

    folder: Path
    prefix: str
    admin_root: bytes
    generations: list[KeyGeneration]
    masters: list[Server]
    p2p_servers: list[Server]
    relays: list[Server]
    next_relay_id: int
    created: int

    @property
    def current(self) -> KeyGeneration:
        return self.generations[0]

    def admin_key(self, bundle_name: str) -> bytes:
        """Return the key under which one bundle's node takes orders: who has one bundle can order no other node."""
        return derive(self.admin_root, b"admin", bundle_name.encode())

    def bundle_names(self) -> list[str]:
        """Return the names of all bundles: master-1, p2p-1, relay-1 ..."""
        kinds = (("master", self.masters), ("p2p", self.p2p_servers), ("relay", self.relays))
        return [f"{kind}-{server.id}" for kind, servers in kinds for server in servers]

    def save(self) -> None:
        """Write platform.json anew, atomically."""
        document: dict[str, Any] = {"format": _FORMAT, "version": 1, "prefix": self.prefix, "created": self.created}
        document["admin_root"] = self.admin_root.hex()
        document["next_relay_id"] = self.next_relay_id
        for name in ("generations", "masters", "p2p_servers", "relays"):
            document[name] = [_hexed(asdict(item)) for item in getattr(self, name)]
        files.write_json(self.folder / _FILE, document)


@dataclass(frozen=True)
class Addresses:
    """Where a new platform's servers stand, as HOST:PORT; p2p servers and relays default to the masters' own."""

    masters: list[str]
    p2p_servers: list[str] = field(default_factory=list)
    relays: list[str] = field(default_factory=list)


def init_platform(
    folder: Path, addresses: Addresses, prefix: str | None = None, office_key_file: Path | None = None
) -> Platform:
    """Make a platform, and its office key, in a folder that has none."""
    masters, relays = addresses.masters, addresses.relays or addresses.masters
    if (folder / _FILE).exists():
        raise OfficeError(
            f"there is a platform in {folder} already", "choose another folder, or remove that one by hand"
        )
    if not 1 <= len(masters) <= MAX_MASTERS:
        raise OfficeError(
            f"a platform has 1 to {MAX_MASTERS} masters", "give --master HOST:PORT once to three times", USAGE
        )
    platform = Platform(
        folder=folder,
        prefix=check_prefix(prefix) if prefix else "".join(secrets.choice(LETTERS) for _ in range(4)),
        admin_root=secrets.token_bytes(32),
        generations=[],
        masters=_servers(masters),
        p2p_servers=_servers(addresses.p2p_servers or masters),
        relays=_servers(relays),
        next_relay_id=len(relays) + 1,
        created=int(time.time()),
    )
    # Devices do not look at what a client broadcasts in their network for keys of another id, another maker's mostly.
    platform.generations = [_new_generation(platform, secrets.randbelow(_LAST_ID) + 1)]
    _write_new(platform, office_key_file or folder / _OFFICE_KEY_FILE)
    return platform


def _write_new(platform: Platform, office_key_file: Path) -> None:
    """Write a platform and its office key, or leave nothing behind."""
    files.make_private_folder(platform.folder)
    try:
        make_office_key(office_key_file)
        try:
            platform.save()
        except BaseException:
            office_key_file.unlink(missing_ok=True)
            raise
    except BaseException:
        with suppress(OSError):
            platform.folder.rmdir()
        raise


def load_platform(folder: Path) -> Platform:
    """Return the platform in a folder; OfficeError when there is none or it is damaged."""
    if not (folder / _FILE).is_file():
        raise OfficeError(f"there is no platform in {folder}", "make one with 'upeer platform init'")
    document = files.read_json(folder / _FILE, _FORMAT)
    return Platform(
        folder=folder,
        prefix=document["prefix"],
        admin_root=bytes.fromhex(document["admin_root"]),
        generations=[KeyGeneration(**_unhexed(item)) for item in document["generations"]],
        masters=[Server(**_unhexed(item)) for item in document["masters"]],
        p2p_servers=[Server(**_unhexed(item)) for item in document["p2p_servers"]],
        relays=[Server(**_unhexed(item)) for item in document["relays"]],
        next_relay_id=document["next_relay_id"],
        created=document["created"],
    )


def check_can_rotate(platform: Platform) -> None:
    """Raise OfficeError while the generation before the current one is still valid."""
    if len(platform.generations) >= LIVE_GENERATIONS:
        old = platform.generations[-1].key_id
        raise OfficeError(f"keys {old} are still valid", "end the overlap first with 'upeer platform rotate --retire'")


def start_generation(platform: Platform) -> KeyGeneration:
    """Give a platform new keys; the ones before stay valid until `retire_generation`."""
    check_can_rotate(platform)
    platform.generations.insert(0, _new_generation(platform, platform.current.key_id % _LAST_ID + 1))
    platform.save()
    return platform.current


def retire_generation(platform: Platform) -> int:
    """End the overlap period; return the key id that is void from now on."""
    if len(platform.generations) < LIVE_GENERATIONS:
        raise OfficeError(
            "only the current keys are valid: there is nothing to retire", "start with 'upeer platform rotate'"
        )
    retired = platform.generations.pop()
    platform.save()
    return retired.key_id


def add_relay(platform: Platform, address: str) -> Server:
    """Add a relay; its id was never used before on this platform."""
    host, port = parse_address(address)
    if any((relay.host, relay.port) == (host, port) for relay in platform.relays):
        raise OfficeError(f"{address} is a relay already", "see 'upeer relay list'")
    if platform.next_relay_id > _LAST_ID:
        raise OfficeError("this platform has used up its 255 relay ids")
    relay = Server(platform.next_relay_id, host, port, secrets.token_bytes(32))
    platform.relays.append(relay)
    platform.next_relay_id += 1
    platform.save()
    return relay


def remove_relay(platform: Platform, name: str) -> Server:
    """Remove the relay with an id or a HOST:PORT."""
    for relay in platform.relays:
        if name in (str(relay.id), f"relay-{relay.id}", f"{relay.host}:{relay.port}"):
            platform.relays.remove(relay)
            platform.save()
            return relay
    raise OfficeError(f"there is no relay {name}", "see 'upeer relay list'")


def client_config(platform: Platform) -> dict[str, Any]:
    """Return what a client needs of the platform: the current P2PKey, its id and the InitString."""
    current = platform.current
    document: dict[str, Any] = {"format": "upeer client", "version": 1, "key_id": current.key_id}
    return document | {"p2p_key": current.p2p_key.hex(), "init_string": current.client_init}


def make_office_key(path: Path) -> None:
    """Write a new office key; an existing one is never overwritten, for it would lock the licences away."""
    try:
        files.create_private_file(path, secrets.token_bytes(32).hex().encode() + b"\n")
    except FileExistsError as error:
        raise OfficeError(f"{path} exists already", "name another file with --office-key") from error


def read_office_key(folder: Path, path: Path | None = None) -> bytes:
    """Return the key that seals licences at rest, from a file or from the platform's folder."""
    path = path or folder / _OFFICE_KEY_FILE
    try:
        key = bytes.fromhex(path.read_text().strip())
    except FileNotFoundError as error:
        hint = "name the file with --office-key or in UPEER_OFFICE_KEY"
        raise OfficeError(f"the office key is not at {path}", hint) from error
    except ValueError:
        key = b""
    if len(key) != 32 or not any(key):
        raise OfficeError(f"{path} holds no office key", "take it from a backup: without it no licence opens")
    return key


def parse_address(text: str) -> tuple[str, int]:
    """Return (host, port) of HOST:PORT, where HOST is an IPv4 address or a DNS name."""
    host, _, port = text.rpartition(":")
    plain = host.replace(".", "").replace("-", "")
    if (
        plain.isascii()
        and plain.isalnum()
        and len(host) <= 253
        and port.isascii()
        and port.isdigit()
        and 0 < int(port) < 65536
    ):
        return host.lower(), int(port)
    raise OfficeError(
        f"{text!r} is no address", "write HOST:PORT with an IPv4 address or a DNS name, such as 192.0.2.1:7000", USAGE
    )


def _servers(addresses: list[str]) -> list[Server]:
    parsed = [parse_address(address) for address in addresses]
    if len(set(parsed)) != len(parsed):
        raise OfficeError(
            "an address is given twice for one role", "give every server of a role an address of its own", USAGE
        )
    if len(parsed) > _LAST_ID:
        raise OfficeError(f"{len(parsed)} servers of one role are too many", f"give at most {_LAST_ID}", USAGE)
    return [Server(number, host, port, secrets.token_bytes(32)) for number, (host, port) in enumerate(parsed, 1)]


def _new_generation(platform: Platform, key_id: int) -> KeyGeneration:
    keys = Generation(key_id, secrets.token_bytes(32), secrets.token_bytes(32))
    masters = [(master.id, master.host, master.port, public_key(master.secret)) for master in platform.masters]
    device_init, client_init = (seal_init_string(kind, keys, masters) for kind in ("device", "client"))
    return KeyGeneration(key_id, keys.crc_key, keys.p2p_key, device_init, client_init)


def _hexed(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in item.items()}


def _unhexed(item: dict[str, Any]) -> dict[str, Any]:
    secret_names = ("crc_key", "p2p_key", "secret")
    return {name: bytes.fromhex(value) if name in secret_names else value for name, value in item.items()}
