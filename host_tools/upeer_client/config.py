"""What an app ships with: the platform's P2PKey and the sealed list of its masters (`upeer platform client`)."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from upeer.base.errors import CryptoError, ProtocolError
from upeer.crypto.aead import check_key
from upeer.signalling.initstring import open_init_string
from upeer_client import private_files
from upeer_client.errors import ConfigError, WrongKeys

_FORMAT = "upeer client"
_HINT = "get a new one with 'upeer platform client DIR --out FILE'"


@dataclass(frozen=True)
class Master:
    """One master of the platform, and the static key by which it proves itself."""

    id: int
    host: str
    port: int
    public_key: bytes = field(repr=False)


@dataclass(frozen=True)
class Config:
    """A client's configuration; `path` is where it came from, None when it was made in memory."""

    key_id: int
    p2p_key: bytes = field(repr=False)
    masters: tuple[Master, ...]
    path: Path | None = None

    @classmethod
    def open(cls, key_id: int, p2p_key: bytes, init_string: str, path: Path | None = None) -> "Config":
        """Open the InitString; WrongKeys when it does not open under this key."""
        try:
            entries = open_init_string(init_string, "client", None, p2p_key)
        except CryptoError as error:
            raise WrongKeys(f"{path or 'the configuration'} does not open: wrong key or damaged text") from error
        return cls(key_id, p2p_key, tuple(Master(*entry) for entry in entries), path)


def home_folder(home: Path | None = None) -> Path:
    """Return the folder of the client's own files: the given one, $UPEER_HOME or ~/.upeer."""
    return home or Path(os.environ.get("UPEER_HOME") or Path.home() / ".upeer")


def config_path(path: Path | None = None, home: Path | None = None) -> Path:
    """Return where the configuration is: the given path, $UPEER_CLIENT or client.json in the home folder."""
    if path is not None:
        return path
    named = os.environ.get("UPEER_CLIENT")
    return Path(named) if named else home_folder(home) / "client.json"


def load_config(path: Path | None = None, home: Path | None = None) -> Config:
    """Return the configuration; ConfigError when it is missing or damaged, WrongKeys when its key does not fit."""
    where = config_path(path, home)
    if not where.exists():
        raise ConfigError(
            f"there is no client configuration at {where}", "name it with --config or UPEER_CLIENT; " + _HINT
        )
    document = private_files.read_json(where, _FORMAT, _HINT)
    try:
        key_id, p2p_key = document["key_id"], bytes.fromhex(document["p2p_key"])
        check_key(p2p_key)
        if not isinstance(key_id, int) or not 0 < key_id < 256 or len(p2p_key) != 32:
            raise ValueError
        init_string = str(document["init_string"])
    except (KeyError, TypeError, ValueError, ProtocolError) as error:
        raise ConfigError(f"{where} is damaged", _HINT) from error
    return Config.open(key_id, p2p_key, init_string, where)
