"""Burning: what the burner does at boards that are fine, swapped, broken, or where the line dies half-way."""

import factory_lab
import pytest
from factory_lab import FileBoard, mac_of

from upeer_factory.board import burn
from upeer_factory.board.burn import Burner
from upeer_factory.errors import FactoryError
from upeer_factory.pool import audit


class PowerCut(BaseException):
    """Ends the run as SIGKILL would: no handler of the burner sees it."""


def _events(pool):
    return [row["event"] for row in audit.entries(pool.database)][2:]


@pytest.fixture
def board(tmp_path):
    return FileBoard(tmp_path / "board", mac_of(1))


def test_burn_writes_the_pools_licence_and_marks_it(factory, board):
    steps = []
    result = Burner(board, factory.pool).run(steps.append)
    assert steps == ["mac", "reserve", "write", "read back", "boot", "prove", "burned"]
    assert (result.mac, result.was_burned, result.written) == (board.mac, False, True)
    licence = next(item for item in factory.licences if item.did == result.did)
    assert board.record()["licence_key"] == licence.licence_key
    assert factory.pool.find(board.mac).state == "burned"
    assert _events(factory.pool) == ["reserved", "burned"]


def test_burned_board_only_proves_it_again(factory, board):
    first = Burner(board, factory.pool).run()
    steps = []
    again = Burner(board, factory.pool).run(steps.append)
    assert steps == ["mac", "reserve", "prove", "burned"]
    assert (again.did, again.was_burned, again.written) == (first.did, True, False)
    assert _events(factory.pool) == ["reserved", "burned", "proved again"]


def test_erased_board_gets_the_same_licence(factory, board):
    first = Burner(board, factory.pool).run()
    board.path.unlink()
    again = Burner(board, factory.pool).run()
    assert (again.did, again.was_burned, again.written) == (first.did, True, True)
    assert factory.pool.status().free == 4


@pytest.mark.parametrize("at", [step for step in burn.STEPS if step != "selftest"])
def test_crash_at_any_step_costs_a_repeat_and_nothing_else(factory, board, at):
    def die(step):
        if step == at:
            raise PowerCut

    with pytest.raises(PowerCut):
        Burner(board, factory.pool).run(die)
    assert factory.pool.status().burned == 0
    result = Burner(board, factory.open()).run()
    status = factory.pool.status()
    assert (status.free, status.reserved, status.burned) == (4, 0, 1)
    assert board.record()["did"] == result.did
    assert audit.verify(factory.pool.database, factory.pool.key).burned == 1


@pytest.mark.parametrize("at", ["write", "boot", "prove", "selftest"])
def test_swapped_board_is_noticed_and_nothing_is_marked(factory, board, at):
    def swap(step):
        if step == at:
            board.mac = mac_of(2)

    board.write_fctry = _checked(board, board.write_fctry)
    with pytest.raises(FactoryError) as caught:
        Burner(board, factory.pool, burn.Options(selftest={})).run(swap)
    assert caught.value.code == "E21"
    assert (factory.pool.status().burned, factory.pool.status().reserved) == (0, 1)
    row = list(audit.entries(factory.pool.database))[-1]
    assert (row["event"], row["error"], row["mac"]) == ("failed", "E21", mac_of(1))


def _checked(board, write):
    """Let a FileBoard refuse to write to another board, as the real targets do."""

    def checked(image, mac):
        if board.mac != mac:
            raise FactoryError("E21", "another board")
        write(image, mac)

    return checked


def test_flash_that_does_not_hold_is_found(factory, board):
    board.write_fctry = lambda image, mac: board.path.write_bytes(image[:-1] + b"x")
    with pytest.raises(FactoryError, match="does not hold what was written"):
        Burner(board, factory.pool).run()
    assert factory.pool.status().burned == 0


def test_board_that_lies_about_its_licence_is_found(factory, board):
    Burner(board, factory.pool).run()
    liar = FileBoard(board.path, mac_of(1))
    liar.prove = lambda nonce, mac: board.prove(nonce, mac) | {"tag": "00" * 32}
    with pytest.raises(FactoryError, match="cannot prove"):
        Burner(liar, factory.pool).run()
    row = list(audit.entries(factory.pool.database))[-1]
    assert (row["event"], row["error"], row["step"]) == ("failed", "E25", "prove")


def test_recorded_proof_is_worth_nothing(factory, board):
    Burner(board, factory.pool).run()
    old = board.prove(b"n" * 32, board.mac)
    board.prove = lambda nonce, mac: old
    with pytest.raises(FactoryError, match="cannot prove"):
        Burner(board, factory.pool).run()


def test_scrapped_board_is_refused(factory, board):
    Burner(board, factory.pool).run()
    factory.pool.scrap(board.mac)
    with pytest.raises(FactoryError, match="is scrapped") as caught:
        Burner(board, factory.pool).run()
    assert caught.value.code == "E12"


def test_selftest_joins_the_record_and_a_failed_one_burns_nothing(factory, board):
    result = Burner(board, factory.pool, burn.Options(selftest={"min_aps": 2})).run()
    row = list(audit.entries(factory.pool.database))[-1]
    assert result.selftest == {"ram": [True, 1]}
    assert row["event"] == "burned" and '"ok": true' in row["selftest"]["result"]
    other = FileBoard(board.path.with_name("other"), mac_of(2))
    honest = other.selftest
    other.selftest = lambda *args: {**honest(*args), "result": "{}"}
    with pytest.raises(FactoryError, match="not signed by its licence"):
        Burner(other, factory.pool, burn.Options(selftest={})).run()
    assert factory.pool.find(mac_of(2)).state == "reserved"


def test_pool_of_another_factory_gives_its_own_licence(factory, board, tmp_path):
    Burner(board, factory.pool).run()
    (tmp_path / "two").mkdir()
    other = factory_lab.make_factory(tmp_path / "two")
    assert Burner(board, other.pool).run().written
    other.pool.close()
