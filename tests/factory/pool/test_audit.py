"""The audit chain: whatever is changed, at any row, is found and named."""

import json

import pytest
from factory_lab import mac_of

from upeer_factory.errors import FactoryError
from upeer_factory.pool import audit


@pytest.fixture
def line(factory):
    """A pool with a day's work in it: ten rows."""
    for number in range(3):
        taken = factory.pool.reserve(mac_of(number))
        factory.pool.burned(taken.mac, taken.did)
    factory.pool.note("failed", mac=mac_of(9), error="E25")
    factory.pool.scrap(mac_of(2), "dropped")
    return factory


def _change(line, statement, *values):
    assert line.pool.database.run(lambda tx: tx.change(statement, *values)) >= 1


def test_verify_sums_up(line):
    found = audit.verify(line.pool.database, line.pool.key)
    assert (found.rows, found.burned, found.scrapped) == (10, 2, 1)
    rows = list(audit.entries(line.pool.database))
    assert [row["event"] for row in rows[:4]] == ["pool made", "imported", "reserved", "burned"]
    assert rows[-1]["hash"] == found.hash
    assert all(row["station"] == "line-1" and row["operator"] == "pat" for row in rows)


@pytest.mark.parametrize("number", range(1, 11))
def test_changed_row_is_named(line, number):
    _change(line, "UPDATE audit SET body = replace(body, 'pat', 'bob') WHERE number = ?", number)
    with pytest.raises(FactoryError, match=f"audit row {number} was changed") as caught:
        audit.verify(line.pool.database, line.pool.key)
    assert (caught.value.code, caught.value.exit_code) == ("E31", 6)


@pytest.mark.parametrize("number", range(1, 11))
def test_removed_row_is_named(line, number):
    _change(line, "DELETE FROM audit WHERE number = ?", number)
    with pytest.raises(FactoryError, match=f"audit row {number}( is missing| and later are missing)"):
        audit.verify(line.pool.database)


def test_cut_end_is_found_even_with_the_head_put_back(line):
    _change(line, "DELETE FROM audit WHERE number = 10")
    before = line.pool.database.run(lambda tx: tx.row("SELECT hash FROM audit WHERE number = 9"))[0]
    _change(line, "UPDATE head SET number = 9, hash = ?", before)
    with pytest.raises(FactoryError, match="is scrapped .*; its records do not"):
        audit.verify(line.pool.database)


def test_chain_made_anew_without_the_key_is_found(line):
    """Somebody with the database, who computes every hash again, still has no key for the tags."""
    rows = line.pool.database.run(lambda tx: tx.rows("SELECT number, body FROM audit ORDER BY number"))
    before = audit.FIRST_HASH
    for number, body in rows:
        body = body.replace("dropped", "unclear")
        before = audit.chain_hash(before, body)
        _change(line, "UPDATE audit SET body = ?, hash = ? WHERE number = ?", body, before, number)
    _change(line, "UPDATE head SET hash = ?", before)
    audit.verify(line.pool.database)
    with pytest.raises(FactoryError, match="row 10 was written without the station key"):
        audit.verify(line.pool.database, line.pool.key)


def test_state_changed_behind_the_records_is_found(line):
    free = next(entry.did for entry in line.pool.entries("free"))
    _change(line, "UPDATE licences SET state = 'burned', mac = ? WHERE did = ?", mac_of(77), free)
    with pytest.raises(FactoryError, match=f"{free} is burned"):
        audit.verify(line.pool.database)


def test_state_put_back_is_found(line):
    did = line.pool.find(mac_of(0)).did
    _change(line, "UPDATE licences SET state = 'free', mac = NULL WHERE did = ?", did)
    with pytest.raises(FactoryError, match=f"the records say that {did} is burned"):
        audit.verify(line.pool.database)


def test_exported_chain_is_checked_without_the_pool(line):
    lines = [json.dumps(row) for row in audit.entries(line.pool.database)]
    assert audit.verify_lines(lines) == audit.verify(line.pool.database)
    for at in range(len(lines)):
        with pytest.raises(FactoryError, match=f"audit row {at + 1} "):
            audit.verify_lines([*lines[:at], lines[at].replace("line-1", "line-7"), *lines[at + 1 :]])
    with pytest.raises(FactoryError, match="audit row 4 "):
        audit.verify_lines(lines[:3] + lines[4:])


def test_crash_inside_a_change_leaves_neither_change_nor_row(line):
    class Crash(Exception):
        pass

    def work(tx):
        line.pool._reserve(tx, mac_of(50))
        raise Crash

    with pytest.raises(Crash):
        line.pool.database.run(work)
    assert audit.verify(line.pool.database, line.pool.key).rows == 10
    assert line.pool.status().reserved == 0
