"""Filling a pool: the office's sealed export, a vendor's CSV; everything that is wrong with a file is one line."""

import hashlib

import pytest
from office_tools import make_office

from upeer_factory.errors import FactoryError
from upeer_factory.pool import stock
from upeer_office import exchange
from upeer_office.errors import OfficeError
from upeer_office.names import make_did

_HEADER = "did,licence_key,setup_code,expires\n"


def _row(serial, key=None):
    return f"{make_did('VEND', serial)},{(key or bytes([serial]) * 32).hex()},{(b's' * 10).hex()},\n"


def _file(path, *rows, header=_HEADER):
    body = (header + "".join(rows)).encode()
    path.write_bytes(body + b"# sha256 " + hashlib.sha256(body).hexdigest().encode() + b"\n")
    return path


def _take(factory, path, passphrase=None):
    return stock.import_licences(factory.pool, stock.read_file(path, passphrase), path.name, stock.file_digest(path))


def test_vendor_file_is_taken(factory, tmp_path):
    assert _take(factory, _file(tmp_path / "v.csv", _row(1), _row(2))) == 2
    assert factory.pool.status().free == 7
    assert factory.pool.find(make_did("VEND", 2)).state == "free"


def test_same_file_twice_is_refused(factory, tmp_path):
    path = _file(tmp_path / "v.csv", _row(1))
    _take(factory, path)
    with pytest.raises(FactoryError, match="imported before"):
        _take(factory, path)


@pytest.mark.parametrize(
    "row",
    [
        "VEND-000001-AAAAA,00,00,\n",
        f"{make_did('VEND', 1)},{'11' * 31},{'22' * 10},\n",
        f"{make_did('VEND', 1)},{'00' * 32},{'22' * 10},\n",
        f"{make_did('VEND', 1)},{'11' * 32},{'22' * 9},\n",
        f"{make_did('VEND', 1)},planted,{'22' * 10},\n",
        f"{make_did('VEND', 1)}\n",
    ],
)
def test_bad_row_is_named_and_not_quoted(factory, tmp_path, row):
    with pytest.raises(FactoryError, match="line 3: no licence") as caught:
        _take(factory, _file(tmp_path / "v.csv", _row(9), row))
    assert "planted" not in str(caught.value)
    assert factory.pool.status().free == 5


def test_damaged_vendor_file_is_refused(factory, tmp_path):
    path = _file(tmp_path / "v.csv", _row(1), _row(2))
    data = path.read_bytes()
    for at in (0, 60, 100, len(data) - 3):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(FactoryError, match="damaged|checksum|lacks a column"):
            _take(factory, path)
    path.write_bytes(data[: data.index(b"# sha256")])
    with pytest.raises(FactoryError, match="no checksum line"):
        _take(factory, path)
    with pytest.raises(FactoryError, match="lacks a column"):
        _take(factory, _file(path, _row(1), header="did,key\n"))
    assert factory.pool.status().free == 5


def test_office_export_is_taken_with_its_passphrase(factory, tmp_path):
    path = tmp_path / "out.json"
    with make_office(tmp_path / "other", ("127.0.0.1:1",), "OTHR") as office:
        office.issue(3)
        exchange.export_licences(path, office.all(), "a long passphrase")
        expected = {item.did: item.licence_key for item in office.all()}
    with pytest.raises(OfficeError, match="does not open"):
        _take(factory, path, "another passphrase")
    assert _take(factory, path, "a long passphrase") == 3
    opened = {item.did: item.licence_key for item in factory.pool.open_for_office(factory.office_key)}
    assert expected.items() <= opened.items()


def test_burned_come_out_for_the_office_again(factory, tmp_path):
    taken = factory.pool.reserve("02:00:00:00:00:01")
    factory.pool.burned(taken.mac, taken.did)
    path = tmp_path / "burned.json"
    licences = list(factory.pool.open_for_office(factory.office_key, "burned"))
    assert stock.export_burned(factory.pool, licences, path, "a long passphrase") == 1
    with make_office(tmp_path / "other", ("127.0.0.1:1",), "OTHR") as office:
        assert office.add(exchange.import_licences(path, "a long passphrase")) == 1
        assert office.show(taken.did).licence_key == taken.licence_key


def test_pool_is_not_made_twice(factory, tmp_path):
    with make_office(tmp_path / "x", ("127.0.0.1:1",)) as office, pytest.raises(FactoryError, match="already"):
        stock.create_pool(factory.url, factory.pool.key, b"p" * 32, office.platform, factory.pool.actor)


def test_rotated_platform_reaches_the_next_board(factory):
    from upeer_office.platforms import load_platform, start_generation

    before = factory.pool.reserve("02:00:00:00:00:01").record
    platform = load_platform(factory.folder / "shop")
    new = start_generation(platform).key_id
    stock.set_platform(factory.pool, platform)
    after = factory.pool.reserve("02:00:00:00:00:01").record
    assert (after["key_id"], after["previous_key_id"]) == (new, before["key_id"])
    assert after["previous_crc_key"] == before["crc_key"] and after["licence_key"] == before["licence_key"]
