"""A recipe: one TOML file that names everything that goes onto a board, each file by its SHA-256.

    board = "ESP32_GENERIC"                  a folder below boards/
    layout = "single"                        optional: its partitions-single.csv instead of partitions.csv
    [micropython]                            the operator's download; nothing is bundled
    file = "ESP32_GENERIC-OTA-v1.26.1.bin"   beside the recipe, or absolute
    sha256 = "..."
    version = "v1.26.1"                      optional: for people; checked if it is there
    [application]
    image = "build/line"                     output of `upeer image build`; sha256 is that of its image.json
    source = "app"                           or: a folder, built on the fly; sha256 is that of the file system image
    sha256 = "..."
    frozen = true                            optional: the firmware is in MicroPython itself, not in the file system
    [partition_table]
    sha256 = "..."                           of the board's binary table
    [flash]                                  optional: baud, retry_baud, erase = ["nvs"]
    [signature]                              optional: public_key (PEM), sha256; bootloader and app must be signed by it
    [efuses]                                 optional: jtag_off, secure_boot, flash_encryption

The pin is the SHA-256 of the recipe file: a line is told the pin by other means than the file, and runs nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from upeer_board.boards import DEFAULT_LAYOUT
from upeer_factory.flash.faults import INTEGRITY

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_BAUD_RATES = {115200, 230400, 460800, 921600, 1152000, 1500000, 2000000}
_MAX_SIZE = 1 << 16


class RecipeError(ValueError):
    """The recipe, or a file that it names, is not what it should be; one line, with exit code and hint."""

    def __init__(self, message: str, hint: str | None = None, exit_code: int = 1) -> None:
        super().__init__(message)
        self.hint, self.exit_code = hint, exit_code


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class MicroPython(_Section):
    """The stock image, or a build of one's own in the same layout."""

    file: str = Field(min_length=1)
    sha256: Sha256
    version: str = ""
    page: str = "https://micropython.org/download/"


class Application(_Section):
    """The file system: an image that was built, or a folder to build."""

    image: str | None = None
    source: str | None = None
    sha256: Sha256
    frozen: bool = False

    @model_validator(mode="after")
    def _one_of_two(self) -> Application:
        if (self.image is None) == (self.source is None):
            raise ValueError("give image or source, one of the two")
        return self


class PartitionTable(_Section):
    """The board's table, as it is written."""

    sha256: Sha256


class Flash(_Section):
    """How it is written."""

    baud: int = 921600
    retry_baud: int = 115200
    erase: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, data: Any) -> Any:
        return {**data, "erase": tuple(data["erase"])} if isinstance(data, dict) and "erase" in data else data

    @model_validator(mode="after")
    def _known(self) -> Flash:
        if unknown := {self.baud, self.retry_baud} - _BAUD_RATES:
            raise ValueError(f"{unknown.pop()} is no baud rate esptool changes to")
        if "fctry" in self.erase:
            raise ValueError("fctry holds the licence: it is erased with --erase-licence only")
        return self


class Signature(_Section):
    """Whose signature bootloader and app must carry."""

    public_key: str
    sha256: Sha256


class EFuses(_Section):
    """What is burned for ever, after flashing."""

    jtag_off: bool = False
    secure_boot: bool = False
    flash_encryption: bool = False


class Recipe(_Section):
    """The file as checked; `folder` and `pin` are set by `load`."""

    board: str = Field(min_length=1)
    layout: str = DEFAULT_LAYOUT
    name: str = ""
    micropython: MicroPython
    application: Application
    partition_table: PartitionTable
    flash: Flash = Flash()
    signature: Signature | None = None
    efuses: EFuses = EFuses()
    folder: Path = Field(default=Path("."), exclude=True)
    pin: str = Field(default="", exclude=True)

    @model_validator(mode="after")
    def _secure_boot_needs_a_key(self) -> Recipe:
        if self.efuses.secure_boot and self.signature is None:
            raise ValueError("efuses.secure_boot needs [signature]: the digest of its public key is what is burned")
        return self

    def read(self, name: str, sha256: str, what: str) -> bytes:
        """Return the contents of a file that the recipe names; RecipeError if it is not there or not that file."""
        path = self.folder / name
        try:
            data = path.read_bytes()
        except OSError as error:
            hint = "see 'upeer image fetch --recipe R' for where to get it" if what == "MicroPython image" else None
            raise RecipeError(f"{what} {path}: {error.strerror}", hint) from None
        check_sha256(data, sha256, f"{what} {path}")
        return data


def check_sha256(data: bytes, sha256: str, what: str) -> None:
    """Raise RecipeError unless the data has that hash."""
    found = hashlib.sha256(data).hexdigest()
    if not hmac.compare_digest(found, sha256):
        hint = "it was changed, or is another version: get the right file, or make a new recipe and pin"
        raise RecipeError(f"{what} has SHA-256 {found}, the recipe says {sha256}", hint, INTEGRITY)


def load(path: Path, pin: str | None = None) -> Recipe:
    """Read and check a recipe; with a pin it must be that very file. RecipeError is one line."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_SIZE + 1)
    except OSError as error:
        raise RecipeError(f"recipe {path}: {error.strerror}", "check the path") from None
    digest = hashlib.sha256(data).hexdigest()
    if pin is not None and not hmac.compare_digest(digest, pin.strip().lower()):
        raise RecipeError(
            f"recipe {path} is not the pinned one: its SHA-256 is {digest}",
            "ask for the pin of this recipe, or for the recipe of that pin",
            INTEGRITY,
        )
    return parse(data, path.parent, digest, str(path))


def parse(data: bytes, folder: Path, pin: str, what: str) -> Recipe:
    """Check the text of a recipe; RecipeError names the first field at fault."""
    if len(data) > _MAX_SIZE:
        raise RecipeError(f"recipe {what} is larger than {_MAX_SIZE >> 10} KiB")
    try:
        fields = tomllib.loads(data.decode())
        if extra := {"folder", "pin"} & set(fields):
            raise ValueError(f"unknown field {extra.pop()!r}")
        return Recipe.model_validate({**fields, "folder": folder, "pin": pin})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "recipe"
        raise RecipeError(f"recipe {what}: {where}: {first['msg'].removeprefix('Value error, ')}") from None
    except ValueError as error:
        raise RecipeError(f"recipe {what}: {error}") from None
