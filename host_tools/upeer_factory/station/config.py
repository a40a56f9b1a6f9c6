"""A station's file: one TOML that names its recipe, pool, ports and printer. No secret but a password's hash.

name = "line-1"
recipe = "line.toml"                 beside this file, or absolute; left out: boards come flashed
pin = "..."                          SHA-256 of the recipe
pool = "pool"                        a folder, or postgresql://...
station_key = "line.key"
ports = ["/dev/serial/by-path/..."]  or port_folder = "ports"; with neither every serial port is a lane
low_stock = 100
engineer_password = "scrypt:..."     from `upeer station --make-password`
wifi_password_file = "wifi"          one line; the password of the self-test's network
burn_efuses = true                   the recipe's [efuses] plan is burned, for ever; left out: it is left alone
[selftest]                           options of firmware/device/selftest.py; left out: no self-test
ssid = "line"                        with `server`: a session through the line's own server, which this station runs
server = "192.0.2.1"                 this station's address as boards see it, IP or IP:PORT
[label]
printer = "192.0.2.9"                HOST, HOST:PORT or a device; left out: no labels
brand = "UPEER"
category = "device"
"""

import hashlib
import hmac
import secrets
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from upeer_factory.board import burn
from upeer_factory.board.line_server import Place
from upeer_factory.efuses.plan import has_plan
from upeer_factory.efuses.securing import BURNED, LEFT_ALONE, Securing
from upeer_factory.flash.flash import Flasher, Options
from upeer_factory.flash.parts import prepare
from upeer_factory.flash.ports import without_twins
from upeer_factory.pool.audit import Actor
from upeer_factory.pool.keys import read_station_key
from upeer_factory.pool.pool import Pool, Reserved
from upeer_factory.records import labels
from upeer_factory.station.lane import Line
from upeer_factory.station.station import Settings
from upeer_factory.station.watch import GONE_SECONDS, Watch

_MAX_SIZE = 1 << 16
_SCRYPT: dict[str, Any] = {"n": 1 << 14, "r": 8, "p": 1, "dklen": 32}
_LEAST_LETTERS = 8


class StationFileError(ValueError):
    """The station's file is not what it should be; one line."""

    exit_code = 1
    hint = "see docs/factory.md for the fields of a station's file"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LabelPrinter(_Section):
    """Where labels go and what their network is named."""

    printer: str = Field(min_length=1)
    brand: str = "UPEER"
    category: str = "device"


class StationFile(_Section):
    """The file as checked; `folder` is where it lies."""

    name: str = Field(min_length=1, max_length=60)
    operator: str = ""
    recipe: str | None = None
    pin: str | None = None
    pool: str = Field(min_length=1)
    station_key: str = Field(min_length=1)
    ports: list[str] = []
    port_folder: str | None = None
    gone_seconds: float = Field(default=GONE_SECONDS, gt=0)
    burn_efuses: bool = False
    low_stock: int = Field(default=100, ge=0)
    engineer_password: str = Field(default="", pattern=r"^(scrypt:[0-9a-f]{32}:[0-9a-f]{64})?$")
    selftest: dict[str, Any] | None = None
    wifi_password_file: str | None = None
    label: LabelPrinter | None = None
    folder: Path = Field(default=Path("."), exclude=True)

    @model_validator(mode="after")
    def _recipes_are_pinned(self) -> "StationFile":
        if self.recipe is not None and self.pin is None:
            raise ValueError("a recipe needs its pin: 'upeer recipe' tells it")
        if self.burn_efuses and self.recipe is None:
            raise ValueError("burn_efuses needs a recipe with [efuses]")
        if self.selftest and "password" in self.selftest:
            raise ValueError("a password does not stand in this file: name a wifi_password_file")
        if self.selftest and ("server" in self.selftest) != ("ssid" in self.selftest):
            raise ValueError("the self-test's ssid and server go together")
        _ = self.place
        without_twins(tuple(self.ports))
        return self

    def path(self, name: str) -> Path:
        """Return a path that the file names."""
        return self.folder / name

    @property
    def place(self) -> Place | None:
        """Where boards find this station for the self-test's session; ValueError if it is no address."""
        server = (self.selftest or {}).get("server")
        return None if server is None else Place.parse(str(server))

    @property
    def pool_url(self) -> str:
        return self.pool if "://" in self.pool else str(self.path(self.pool))


def load(path: Path) -> StationFile:
    """Read and check a station's file; StationFileError names the first field at fault, never a value."""
    try:
        with path.open("rb") as file:
            fields = tomllib.loads(file.read(_MAX_SIZE).decode())
        return StationFile.model_validate({**fields, "folder": path.parent})
    except OSError as error:
        raise StationFileError(f"{path}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise StationFileError(f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}") from None
    except ValueError as error:
        raise StationFileError(f"{path}: {error}") from None


def make_line(file: StationFile) -> Line:
    """Open the pool, check the recipe with all that it names, and return what the lanes share."""
    flasher = None
    if file.recipe is not None:
        flasher = Flasher(prepare(file.path(file.recipe), file.pin), Options(state=file.path("flash-state")))
    securing, efuses = _securing(file, flasher)
    pool = Pool.open(file.pool_url, read_station_key(file.path(file.station_key)), Actor(file.name, file.operator))
    line = Line(pool, flasher, burn.Options(selftest=_selftest(file), place=file.place), _label_maker(file, pool))
    return replace(line, securing=securing, efuses=efuses)


def _securing(file: StationFile, flasher: Flasher | None) -> tuple[Securing | None, str]:
    """Return the recipe's eFuse plan, checked and rehearsed, and what the station says of it when it starts."""
    if flasher is None or not has_plan(flasher.prepared):
        if file.burn_efuses:
            raise StationFileError(f"burn_efuses = true, but the recipe {file.recipe} has no [efuses] plan")
        return None, ""
    if not file.burn_efuses:
        return None, LEFT_ALONE
    return Securing.prepare(flasher.prepared), BURNED


def _selftest(file: StationFile) -> dict[str, Any] | None:
    if file.selftest is None:
        return None
    options = {name: value for name, value in file.selftest.items() if name != "server"}
    if file.wifi_password_file is not None:
        options["password"] = file.path(file.wifi_password_file).read_text().strip()
    return options


def make_watch(file: StationFile) -> Watch:
    """Return what tells the station which ports have a board."""
    folder = file.path(file.port_folder) if file.port_folder else None
    return Watch(file.ports, folder, file.gone_seconds)


def make_settings(file: StationFile) -> Settings:
    return Settings(file.name, file.low_stock, file.path(f"{file.name}.counters.json"))


def _label_maker(file: StationFile, pool: Pool) -> Any:
    if file.label is None:
        return None
    wanted = file.label

    def print_label(licence: Reserved) -> None:
        data = labels.zpl(labels.make_label(licence, wanted.brand, wanted.category))
        labels.note_print(pool, licence, "zpl", wanted.printer)
        labels.send(data, wanted.printer)

    return print_label


def hash_password(password: str) -> str:
    """Return the line for a station's file; ValueError if the password is too short to be one."""
    if len(password) < _LEAST_LETTERS:
        raise ValueError(f"the password needs {_LEAST_LETTERS} letters or more")
    salt = secrets.token_bytes(16)
    return f"scrypt:{salt.hex()}:{hashlib.scrypt(password.encode(), salt=salt, **_SCRYPT).hex()}"


def is_password(password: str, hashed: str) -> bool:
    """Tell whether this is the password of the hash; where none is set, nothing is."""
    if not hashed:
        return False
    _, salt, wanted = hashed.split(":")
    found = hashlib.scrypt(password.encode(), salt=bytes.fromhex(salt), **_SCRYPT).hex()
    return hmac.compare_digest(found, wanted)
