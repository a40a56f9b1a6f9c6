"""The licence pool with 1,000,000 licences beside a nearly empty one, and boards per hour of the line at eight lanes.

Flashing is taken out. `in memory`: boards that answer at once, so what is left is pool, records, cryptography. `real`:
eight virtual boards at once, written, booted and proved through mpremote; on this machine they share the line's cores.
A lane that flashes for 20 s makes 180 boards an hour, eight lanes 1440: that much the software must do.
"""

import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from figures import report

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))

import factory_lab
import mpy_tools
import postgres_lab
from factory_lab import FileBoard, mac_of

from upeer_board import image
from upeer_board.boards import load_board
from upeer_board.virtual import VirtualBoard
from upeer_factory.board.burn import Burner
from upeer_factory.board.targets import ReplTarget, Target
from upeer_factory.pool import audit
from upeer_factory.pool.sql import Transaction

_MILLION = 1_000_000
_REAL_LICENCES = 2600
_RESERVES = 400
_LANES = 8
_FAST_BOARDS = 100  # per lane

_FILL_SQLITE = """
INSERT INTO licences (did, state, batch, mark, sealed, office_sealed)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
SELECT printf('ZZZZ-%07d', i), 'free', 1, randomblob(16), randomblob(80), randomblob(80) FROM n
"""
_FILL_POSTGRES = """
INSERT INTO licences (did, state, batch, mark, sealed, office_sealed)
SELECT 'ZZZZ-' || lpad(i::text, 7, '0'), 'free', 1, decode(md5(i::text), 'hex'), decode(repeat(md5(i::text), 5), 'hex'),
decode(repeat(md5(i::text), 5), 'hex') FROM generate_series(1, ?) AS i
"""


def main() -> None:
    """Measure both databases, the second where PostgreSQL is installed, and the line of virtual boards."""
    with tempfile.TemporaryDirectory() as scratch:
        _database("sqlite", Path(scratch), None)
        if postgres_lab.missing_reason():
            print(postgres_lab.missing_reason(), file=sys.stderr)
        else:
            with postgres_lab.postgres() as server:
                (Path(scratch) / "pg").mkdir()
                _database("postgres", Path(scratch) / "pg", postgres_lab.new_database(server, "bench"))
        if not mpy_tools.missing_reason():
            report("pool_line_real", _real_boards(Path(scratch)))


def _database(key: str, folder: Path, url: str | None) -> None:
    """Tell the five figures of one database."""
    factory = factory_lab.make_factory(folder, url, _REAL_LICENCES)
    boards = iter(range(1, 1 << 24))
    empty = _reserve_ms(factory, boards)
    factory.pool.database.run(lambda tx: _fill(tx, factory.pool.database.is_postgres))
    full = _reserve_ms(factory, boards)
    began = time.perf_counter()
    status = factory.pool.status()
    status_ms = (time.perf_counter() - began) * 1000
    assert status.free > _MILLION
    line = _fast_line(factory, folder)
    began = time.perf_counter()
    audit.verify(factory.pool.database, factory.pool.key)
    verify_s = time.perf_counter() - began
    factory.pool.close()
    report(f"pool_reserve_{key}", median(full), median(empty))
    report(f"pool_reserve_slow_{key}", _slow(full), _slow(empty))
    report(f"pool_status_{key}", status_ms)
    report(f"pool_line_{key}", line)
    report(f"pool_audit_{key}", verify_s)


def _fill(tx: Transaction, is_postgres: bool) -> None:
    """Add a million free licences that sort behind the real ones; nobody opens them."""
    tx.change(_FILL_POSTGRES if is_postgres else _FILL_SQLITE, _MILLION)
    tx.change("UPDATE head SET free = free + ?", _MILLION)


def _reserve_ms(factory: factory_lab.Factory, boards: Iterator[int]) -> list[float]:
    times = []
    for _ in range(_RESERVES):
        mac = mac_of(next(boards))
        began = time.perf_counter()
        factory.pool.reserve(mac)
        times.append((time.perf_counter() - began) * 1000)
    return times


def _slow(times: list[float]) -> float:
    return sorted(times)[-len(times) // 100]


def _fast_line(factory: factory_lab.Factory, folder: Path) -> float:
    """Return the boards per hour of boards that answer at once."""
    boards = folder / "boards"
    boards.mkdir()

    def lane(number: int) -> None:
        for board in range(_FAST_BOARDS):
            index = 1_000_000 + number * _FAST_BOARDS + board
            Burner(FileBoard(boards / str(index), mac_of(index)), factory.pool).run()

    return _LANES * _FAST_BOARDS * 3600 / _seconds(lane)


def _real_boards(scratch: Path) -> float:
    """Return the boards per hour with a virtual board at every lane."""
    (scratch / "real").mkdir()
    factory = factory_lab.make_factory(scratch / "real", None, 50)
    with _virtual_boards(scratch / "real") as targets:
        seconds = _seconds(lambda number: Burner(targets[number], factory.pool).run() and None)
    factory.pool.close()
    return _LANES * 3600 / seconds


@contextmanager
def _virtual_boards(folder: Path) -> Iterator[list[Target]]:
    image.build(load_board("UNIX"), folder / "image", image.Options())
    running = []
    try:
        for number in range(_LANES):
            place = folder / f"board{number}"
            place.mkdir()
            for name in ("flash.bin", "image.json"):
                (place / name).write_bytes((folder / "image" / name).read_bytes())
            running.append(VirtualBoard.start(place))
        yield [ReplTarget(board.pty) for board in running]
    finally:
        for board in running:
            board.stop()


def _seconds(lane: Callable[[int], None]) -> float:
    """Run all lanes at once; return how long they took."""
    threads = [threading.Thread(target=lane, args=(number,)) for number in range(_LANES)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
