"""The pool's promises, on SQLite and on PostgreSQL: one licence per board for ever, nothing lost, states that hold."""

import re
import threading
import time

import pytest
from factory_lab import mac_of

from upeer_factory.errors import FactoryError
from upeer_factory.pool import stock
from upeer_factory.pool.keys import StationKey, read_station_key
from upeer_factory.pool.pool import Pool, parse_mac
from upeer_factory.pool.sql import check_url
from upeer_office.licences import Licence
from upeer_office.names import licence_code, make_did


def _counts(pool):
    status = pool.status()
    return status.free, status.reserved, status.burned, status.scrapped


def _licences(first, count, key=None):
    made = []
    for serial in range(first, first + count):
        licence_key = key or bytes([serial % 255 + 1]) * 31 + bytes([serial >> 8 & 255])
        code = licence_code(licence_key)
        made.append(Licence(make_did("ZZZZ", serial), code, int(time.time()), None, None, licence_key, b"c" * 10))
    return made


def test_reserve_gives_the_licence_of_the_office(factory):
    taken = factory.pool.reserve(mac_of(1))
    licence = next(item for item in factory.licences if item.did == taken.did)
    assert taken.is_new and taken.state == "reserved"
    assert (taken.licence_key, taken.setup_code) == (licence.licence_key, licence.setup_code)
    assert set(taken.record) == {
        "did", "licence_key", "key_id", "crc_key", "p2p_key", "init_string", "setup_code",
    }  # fmt: skip


def test_same_mac_same_licence_other_mac_another(factory):
    first = factory.pool.reserve(mac_of(1))
    again = factory.open().reserve(mac_of(1).upper().replace(":", "-"))
    other = factory.pool.reserve(mac_of(2))
    assert (again.did, again.is_new) == (first.did, False)
    assert other.did != first.did
    assert _counts(factory.pool) == (3, 2, 0, 0)


def test_burned_is_kept_and_repeats_change_nothing(factory):
    did = factory.pool.reserve(mac_of(1)).did
    assert factory.pool.burned(mac_of(1), did)
    assert not factory.pool.burned(mac_of(1), did)
    assert factory.pool.reserve(mac_of(1)).state == "burned"
    assert _counts(factory.pool) == (4, 0, 1, 0)


def test_burned_refuses_another_boards_licence(factory):
    first, second = factory.pool.reserve(mac_of(1)), factory.pool.reserve(mac_of(2))
    for mac, did in ((mac_of(1), second.did), (mac_of(3), first.did)):
        with pytest.raises(FactoryError, match="not reserved"):
            factory.pool.burned(mac, did)
    assert _counts(factory.pool) == (3, 2, 0, 0)


def test_scrap_is_final(factory):
    did = factory.pool.reserve(mac_of(1)).did
    assert factory.pool.scrap(mac_of(1), "broken").state == "scrapped"
    assert factory.pool.scrap(did).state == "scrapped"
    with pytest.raises(FactoryError, match="scrapped"):
        factory.pool.reserve(mac_of(1))
    with pytest.raises(FactoryError, match="not reserved"):
        factory.pool.burned(mac_of(1), did)
    free = next(entry.did for entry in factory.pool.entries("free"))
    factory.pool.scrap(free)
    assert did not in [factory.pool.reserve(mac_of(number)).did for number in (2, 3, 4)]
    assert _counts(factory.pool) == (0, 3, 0, 2)


def test_empty_pool_says_so_and_keeps_what_is_given(factory):
    for number in range(5):
        factory.pool.reserve(mac_of(number))
    with pytest.raises(FactoryError, match="no free licence") as caught:
        factory.pool.reserve(mac_of(9))
    assert (caught.value.code, caught.value.exit_code) == ("E10", 7)
    assert not factory.pool.reserve(mac_of(4)).is_new


def test_expired_licences_are_not_given(factory):
    old = Licence(make_did("AAAA", 1), "", 0, int(time.time()) + 1, None, b"e" * 32, b"c" * 10)
    stock.import_licences(factory.pool, [old], "old", "1" * 64)
    factory.pool.database.run(lambda tx: tx.change("UPDATE licences SET expires = 1 WHERE did = ?", old.did))
    assert old.did not in [factory.pool.reserve(mac_of(number)).did for number in range(5)]


def test_import_takes_all_or_nothing(factory):
    good = _licences(1, 3)
    with pytest.raises(FactoryError, match="are in the pool already"):
        stock.import_licences(factory.pool, [*good, factory.licences[0]], "a", "a" * 64)
    with pytest.raises(FactoryError, match="holds a DID twice"):
        stock.import_licences(factory.pool, [*good, good[0]], "a", "a" * 64)
    with pytest.raises(FactoryError, match="a licence key twice"):
        stock.import_licences(factory.pool, _licences(1, 2, b"k" * 32), "a", "a" * 64)
    with pytest.raises(FactoryError, match="a licence key twice"):
        stock.import_licences(factory.pool, _licences(1, 1, factory.licences[0].licence_key), "a", "a" * 64)
    assert _counts(factory.pool) == (5, 0, 0, 0)
    assert stock.import_licences(factory.pool, good, "a", "a" * 64) == 3
    with pytest.raises(FactoryError, match="imported before"):
        stock.import_licences(factory.pool, _licences(10, 1), "b", "a" * 64)
    assert _counts(factory.pool) == (8, 0, 0, 0)


def test_two_threads_one_board_get_one_licence(factory):
    pools = [factory.open() for _ in range(4)]
    found, start = [], threading.Barrier(4)

    def take(pool):
        start.wait()
        found.extend(pool.reserve(mac_of(7)).did for _ in range(5))

    threads = [threading.Thread(target=take, args=(pool,)) for pool in pools]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for pool in pools:
        pool.close()
    assert len(found) == 20 and len(set(found)) == 1
    assert _counts(factory.pool) == (4, 1, 0, 0)


def test_eight_lanes_share_one_pool_object(factory):
    stock.import_licences(factory.pool, _licences(1, 40), "a", "a" * 64)
    found = []

    def lane(first):
        for number in range(first, first + 5):
            taken = factory.pool.reserve(mac_of(number))
            factory.pool.burned(taken.mac, taken.did)
            found.append(taken.did)

    threads = [threading.Thread(target=lane, args=(100 * number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 40
    assert _counts(factory.pool) == (5, 0, 40, 0)


def test_pool_refuses_another_station_key(factory):
    with pytest.raises(FactoryError, match="not the station key"):
        Pool.open(factory.url, StationKey(b"k" * 32))


def test_office_opens_everything_a_closed_lot_too(factory):
    taken = factory.pool.reserve(mac_of(1))
    factory.pool.burned(taken.mac, taken.did)
    assert factory.pool.label_secrets(taken.did).setup_code == taken.setup_code
    assert factory.pool.close_lot() == 1
    with pytest.raises(FactoryError, match="is closed"):
        factory.pool.reserve(mac_of(1))
    burned = list(factory.pool.open_for_office(factory.office_key, "burned"))
    assert [(item.did, item.licence_key) for item in burned] == [(taken.did, taken.licence_key)]
    assert len(list(factory.pool.open_for_office(factory.office_key))) == 5


@pytest.mark.parametrize("text", ["", "02:75:70:00:00", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "zz:75:70:00:00:01"])
def test_mac_that_no_board_has_is_refused(text):
    with pytest.raises(FactoryError, match="no board's MAC"):
        parse_mac(text)


def test_password_in_the_address_is_refused():
    assert check_url("postgresql://line@db.example/pool")
    with pytest.raises(FactoryError, match="seen by everybody"):
        check_url("postgresql://line:secret@db.example/pool")


_GRANTS = re.compile(r"^GRANT .*?;", re.MULTILINE)


@pytest.mark.parametrize("pool_url", ["postgres"], indirect=True)
def test_stations_own_database_role_suffices_and_cannot_touch_records(factory, project_root):
    """The manual's GRANTs: a station reserves and burns; it cannot rewrite, remove or add what it should not."""
    grants = _GRANTS.findall((project_root / "docs" / "factory.md").read_text())
    role = "station" + str(time.monotonic_ns())
    factory.pool.database.run(lambda tx: tx.change(f"CREATE ROLE {role} LOGIN"))
    for grant in grants:
        factory.pool.database.run(lambda tx, text=grant: tx.change(text.replace(" station;", f" {role};")))
    station = Pool.open(factory.url.replace("user=line", f"user={role}"), read_station_key(factory.key_file))
    taken = station.reserve(mac_of(1))
    assert station.burned(taken.mac, taken.did) and station.status().burned == 1
    for statement in (
        "UPDATE audit SET body = '' WHERE number = 1",
        "DELETE FROM audit WHERE number = 1",
        "DELETE FROM licences",
        "INSERT INTO licences SELECT * FROM licences",
        "DROP TABLE audit",
        "UPDATE platforms SET prefix = 'X'",
    ):
        with pytest.raises(FactoryError, match="permission denied|must be owner"):
            station.database.run(lambda tx, text=statement: tx.change(text))
    station.close()


def test_damaged_database_is_one_line(tmp_path, factory):
    if not factory.pool.database.is_postgres:
        factory.pool.close()
        path = tmp_path / "pool" / "pool.db"
        path.write_bytes(path.read_bytes()[:4096] + b"x" * 40960)
        with pytest.raises(FactoryError) as caught:
            factory.pool.reserve(mac_of(1))
        assert caught.value.code == "E11"
