"""A licence pool for tests, and boards that are one file each: flash and chip in a few lines, no interpreter."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from office_tools import make_office

from upeer.crypto.aead import Hmac, derive
from upeer_board import fctry
from upeer_factory.pool import stock
from upeer_factory.pool.audit import Actor
from upeer_factory.pool.keys import OfficeKey, make_station_key, read_station_key
from upeer_factory.pool.pool import Pool
from upeer_office.licences import Licence
from upeer_office.platforms import read_office_key

ACTOR = Actor("line-1", "pat")


@dataclass
class Factory:
    """An office, its licences, and a pool made from it."""

    folder: Path
    url: str
    key_file: Path
    licences: list[Licence]
    office_key: OfficeKey
    pool: Pool

    def open(self, station: str = "line-2") -> Pool:
        """Open the pool once more, as another station."""
        return Pool.open(self.url, read_station_key(self.key_file), Actor(station))


def make_factory(folder: Path, url: str | None = None, licences: int = 5) -> Factory:
    """Make an office and a pool, in a folder or at a PostgreSQL address, with so many licences in it."""
    key_file = folder / "line.key"
    with make_office(folder / "shop", ("127.0.0.1:7001",)) as office:
        office.issue(licences)
        made = list(office.all())
        make_station_key(key_file)
        office_key = OfficeKey(read_office_key(office.platform.folder))
        place = url or str(folder / "pool")
        pool = stock.create_pool(place, read_station_key(key_file), office_key.public, office.platform, ACTOR)
    stock.import_licences(pool, made, "first.json", "0" * 64)
    return Factory(folder, place, key_file, made, office_key, pool)


def mac_of(number: int) -> str:
    """Return the MAC of a numbered board."""
    return "02:75:70:" + number.to_bytes(3, "big").hex(":")


class FileBoard:
    """A board as a target of the burner: its flash is a file, what it computes is what firmware/device does."""

    def __init__(self, path: Path, mac: str) -> None:
        self.path = path
        self.mac = mac
        self.name = path.name

    def read_mac(self) -> str:
        return self.mac

    def write_fctry(self, image: bytes, mac: str) -> None:
        del mac
        scratch = self.path.with_suffix(".new")
        scratch.write_bytes(image)
        scratch.replace(self.path)

    def has_fctry(self, image: bytes, mac: str) -> bool:
        del mac
        return self.path.exists() and self.path.read_bytes() == image

    def boot(self) -> None:
        pass

    def prove(self, nonce: bytes, mac: str) -> dict[str, str]:
        del mac
        record = self.record()
        if record is None:
            return {"error": "no licence on this device"}
        own = bytes.fromhex(self.mac.replace(":", ""))
        key = derive(record["licence_key"], b"factory proof")
        tag = Hmac(key).digest(nonce, own, record["did"].encode())
        return {"did": record["did"], "mac": own.hex(), "tag": tag.hex()}

    def selftest(self, nonce: bytes, mac: str, options: dict[str, object]) -> dict[str, str]:
        record = self.record()
        assert record is not None
        del mac
        result = json.dumps({"mac": self.mac.replace(":", ""), "ok": True, "ram": [True, len(options)]})
        key = derive(record["licence_key"], b"factory selftest")
        return {"result": result, "tag": Hmac(key).digest(nonce, result.encode()).hex()}

    def record(self) -> fctry.Record | None:
        """Return the licence in the board's flash."""
        if not self.path.exists():
            return None
        try:
            return fctry.decode_image(self.path.read_bytes())[0]
        except ValueError:
            return None


class TornBoard(FileBoard):
    """A board whose flash is written in pieces: a kill may leave any of them."""

    def write_fctry(self, image: bytes, mac: str) -> None:
        del mac
        write_torn(self.path, image, 1024)


def write_torn(path: Path, data: bytes, size: int, on_piece: Callable[[int], None] = lambda _done: None) -> None:
    """Write a file in pieces of so many bytes, each on its own; `on_piece` is told how many are written."""
    with path.open("wb") as file:
        for at in range(0, len(data), size):
            file.write(data[at : at + size])
            file.flush()
            on_piece(at + size)


def end_all(processes):
    """End stations that a failed test left running; those that have ended stay as they are."""
    for process in processes:
        process.kill()
        process.join()
