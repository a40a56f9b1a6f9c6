"""The licence office: issuing, revoking, publishing to the masters' bundles, rotation, export and import."""

import json
import sqlite3
import time

import pytest
from office_tools import make_office

from upeer.crypto.aead import derive
from upeer.signalling.initstring import open_init_string
from upeer_board.fctry import codec
from upeer_office import bundle, exchange, names, platforms
from upeer_office.errors import INTEGRITY, OfficeError
from upeer_office.licences import Office, device_record
from upeer_office.verifiers import SqliteVerifiers

PASSPHRASE = "correct horse battery"


@pytest.fixture
def office(tmp_path):
    with make_office(tmp_path / "shop") as made:
        yield made


def _verifiers(office, master_id=1):
    return SqliteVerifiers(office.platform.folder / f"master-{master_id}")


def test_issue_serials_never_reused(office):
    first = [names.parse_id(text)[0] for text in office.issue(3)]
    office.revoke(first[2])
    assert [names.parse_did(did)[1] for did in first] == [1, 2, 3]
    assert names.parse_did(names.parse_id(office.issue()[0])[0]) == ("TEST", 4)
    assert names.parse_did(names.parse_id(office.issue(prefix="ZZZZ")[0])[0]) == ("ZZZZ", 1)


def test_issue_all_or_none_when_serials_run_out(office):
    with pytest.raises(OfficeError, match="999999 serial numbers left"):
        office.issue(1_000_000)
    assert list(office.rows()) == []


def test_issue_reaches_every_master(office):
    licence = office.show(office.issue()[0])
    generation = office.platform.current
    for master_id in (1, 2, 3):
        expected = derive(licence.licence_key, b"login", generation.crc_key, licence.did.encode(), bytes([master_id]))
        assert _verifiers(office, master_id).login_key(licence.did, generation.key_id) == expected
    assert _verifiers(office).login_key(licence.did, generation.key_id % 255 + 1) is None


def test_issue_many(office):
    assert len(set(office.issue(3000))) == 3000
    assert _verifiers(office, 3).count() == 3000


def test_show_checks_the_licence_code(office):
    text = office.issue()[0]
    assert office.show(text.lower()).did == text[:17]
    with pytest.raises(OfficeError, match="not the licence code"):
        office.show(text[:17] + ",AAAAAA")
    with pytest.raises(OfficeError, match="no licence was issued"):
        office.show(names.make_did("TEST", 77))


def test_revoke_is_final_and_reaches_masters(office):
    kept, gone = (names.parse_id(text)[0] for text in office.issue(2))
    open_before = _verifiers(office)
    assert office.revoke(gone) == gone
    key_id = office.platform.current.key_id
    assert open_before.login_key(gone, key_id) is None and open_before.login_key(kept, key_id)
    first = office.show(gone).revoked
    office.revoke(gone)
    assert office.show(gone).revoked == first and office.show(gone).state == "revoked"
    with pytest.raises(OfficeError, match="revoked"):
        office.device_record(gone)


def test_expired_licence_is_refused(office):
    past, future = int(time.time()) - 1, int(time.time()) + 1000
    expired, valid = (names.parse_id(office.issue(expires=end)[0])[0] for end in (past, future))
    key_id = office.platform.current.key_id
    assert _verifiers(office).login_key(expired, key_id) is None
    assert _verifiers(office).login_key(valid, key_id)
    assert [row["state"] for row in office.rows()] == ["expired", "valid"]


def test_publish_catches_up_after_a_crash(office, monkeypatch):
    monkeypatch.setattr(office, "publish", lambda: None)
    did = names.parse_id(office.issue()[0])[0]
    key_id = office.platform.current.key_id
    assert _verifiers(office).login_key(did, key_id) is None
    with Office.open(office.platform.folder) as again:
        again.issue()
    assert _verifiers(office).login_key(did, key_id)


def test_rotate_has_an_overlap(office):
    did = names.parse_id(office.issue()[0])[0]
    old = office.platform.current.key_id
    office.unpublish()
    new = platforms.start_generation(office.platform).key_id
    office.publish()
    record = office.device_record(did)
    assert (record["key_id"], record["previous_key_id"]) == (new, old) and new != old
    assert _verifiers(office).login_key(did, old) != _verifiers(office).login_key(did, new)
    with pytest.raises(OfficeError, match="still valid"):
        platforms.start_generation(office.platform)
    assert platforms.retire_generation(office.platform) == old
    office.drop_void_verifiers()
    assert _verifiers(office).login_key(did, old) is None and _verifiers(office).login_key(did, new)
    with pytest.raises(OfficeError, match="nothing to retire"):
        platforms.retire_generation(office.platform)


def test_device_record_fits_fctry(office):
    text = office.issue()[0]
    record = device_record(office.platform.folder, text)
    assert codec().decode(codec().encode(record)) == record
    masters = open_init_string(record["init_string"], "device", record["crc_key"], record["p2p_key"])
    assert masters == [(1, "127.0.0.1", 7001), (2, "127.0.0.1", 7002), (3, "127.0.0.1", 7003)]


def test_wrong_office_key_opens_nothing(office, tmp_path):
    text = office.issue()[0]
    platforms.make_office_key(tmp_path / "other.key")
    with pytest.raises(OfficeError, match="not the office key"):
        Office.open(office.platform.folder, tmp_path / "other.key")
    assert office.show(text)


def test_epochs_only_rise_and_survive(office):
    verifiers = _verifiers(office)
    assert verifiers.last_epoch("x") == 0
    for epoch in (5, 9, 7):
        verifiers.set_epoch("x", epoch)
    verifiers.close()
    assert _verifiers(office).last_epoch("x") == 9


def test_export_and_import(office, tmp_path):
    dids = [names.parse_id(text)[0] for text in office.issue(5)]
    office.revoke(dids[4])
    file = tmp_path / "licences.json"
    assert exchange.export_licences(file, office.all(), PASSPHRASE) == 5
    with make_office(tmp_path / "other") as other:
        assert other.add(exchange.import_licences(file, PASSPHRASE)) == 5
        assert [other.show(did) for did in dids] == [office.show(did) for did in dids]
        assert _verifiers(other).count() == 4
        assert names.parse_did(names.parse_id(other.issue()[0])[0])[1] == 6


def test_import_refuses_duplicates_as_a_whole(office, tmp_path):
    dids = [names.parse_id(text)[0] for text in office.issue(3)]
    exchange.export_licences(tmp_path / "all", office.all(), PASSPHRASE)
    exchange.export_licences(tmp_path / "one", office.all([dids[1]]), PASSPHRASE)
    with make_office(tmp_path / "other") as other:
        other.add(exchange.import_licences(tmp_path / "one", PASSPHRASE))
        licences = exchange.import_licences(tmp_path / "all", PASSPHRASE)
        with pytest.raises(OfficeError, match="1 of 3 licences"):
            other.add(licences)
        assert len(list(other.rows())) == 1
        assert other.add(licences, skip_existing=True) == 2


def test_import_wrong_passphrase_or_damage(office, tmp_path):
    office.issue()
    file = tmp_path / "licences.json"
    exchange.export_licences(file, office.all(), PASSPHRASE)
    with pytest.raises(OfficeError, match="passphrase"):
        exchange.import_licences(file, "another passphrase")
    document = json.loads(file.read_text())
    for name, value in (("sealed", "AAAA"), ("checksum", "00"), ("kdf", {"n": 2**40, "r": 8, "p": 1, "salt": ""})):
        file.write_text(json.dumps(document | {name: value}))
        with pytest.raises(OfficeError) as caught:
            exchange.import_licences(file, PASSPHRASE)
        assert caught.value.exit_code == INTEGRITY
    file.write_text(json.dumps(document | {"count": 2}))
    with pytest.raises(OfficeError):
        exchange.import_licences(file, PASSPHRASE)


def test_databases_are_durable(office):
    for path in (office.platform.folder / "licences.db", office.platform.folder / "master-1" / "verifiers.db"):
        assert sqlite3.connect(path).execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert office._database.execute("PRAGMA synchronous").fetchone() == (2,)


def test_bundles_load_as_nodes(office):
    nodes = bundle.load_nodes(office.platform.folder)
    assert [node.port for node in nodes] == [7001, 7002, 7003]
    assert all(node.master and node.p2p and node.relay for node in nodes)
    assert [node.master.master_id for node in nodes] == [1, 2, 3]
    assert len({node.admin_key for node in nodes}) == 3
    only = bundle.load_nodes(office.platform.folder, ["p2p"], master_id=2)
    assert [(node.port, node.master, node.relay) for node in only] == [(7002, None, None)]
    with pytest.raises(OfficeError, match="no master 9"):
        bundle.load_nodes(office.platform.folder, master_id=9)
