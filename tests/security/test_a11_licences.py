"""A11: licences come from nowhere but the office; a master's files let nobody in elsewhere; revoking works at once."""

import json

import pytest
from office_tools import make_office

from upeer_office import bundle, names
from upeer_office.verifiers import SqliteVerifiers


@pytest.fixture
def office(tmp_path):
    with make_office(tmp_path / "shop") as made:
        yield made


def _files(folder):
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_same_did_twice_has_unrelated_keys(tmp_path):
    with make_office(tmp_path / "one") as one, make_office(tmp_path / "two") as two:
        first, second = one.show(one.issue()[0]), two.show(two.issue()[0])
    assert first.did == second.did
    assert first.licence_key != second.licence_key and first.setup_code != second.setup_code


def test_keys_are_random_over_many(office):
    licences = [office.show(text) for text in office.issue(500)]
    assert len({licence.licence_key for licence in licences}) == 500
    assert len({licence.setup_code for licence in licences}) == 500


def test_bundles_hold_no_licence_key(office):
    licence = office.show(office.issue()[0])
    for path in bundle.bundle_folders(office.platform.folder):
        data = _files(path)
        for secret in (licence.licence_key, licence.setup_code):
            assert secret not in data and secret.hex().encode() not in data


def test_master_holds_no_other_masters_secrets(office):
    did = names.parse_id(office.issue()[0])[0]
    platform = office.platform
    files = [SqliteVerifiers(platform.folder / f"master-{master.id}") for master in platform.masters]
    keys = [verifiers.login_key(did, platform.current.key_id) for verifiers in files]
    assert len(set(keys)) == 3
    for master, key in zip(platform.masters, keys, strict=True):
        for other in platform.masters:
            data = _files(platform.folder / f"master-{other.id}")
            assert (key in data) == (master is other)
            assert (master.secret.hex().encode() in data) == (master is other)


def test_p2p_and_relay_hold_their_own_ticket_key_only(office):
    platform = office.platform
    for role, servers in (("p2p", platform.p2p_servers), ("relay", platform.relays)):
        for server in servers:
            data = _files(platform.folder / f"{role}-{server.id}")
            held = [other for other in platform.p2p_servers + platform.relays if other.secret.hex().encode() in data]
            assert held == [server]
            assert platform.admin_root.hex().encode() not in data


def test_relay_holds_no_platform_key(office):
    document = json.loads((office.platform.folder / "relay-1" / "node.json").read_text())
    assert document["generations"] == []
    data = _files(office.platform.folder / "relay-1")
    assert office.platform.current.p2p_key.hex().encode() not in data


def test_no_two_bundles_share_an_admin_key(office):
    folders = bundle.bundle_folders(office.platform.folder)
    assert len({bundle.read_bundle(folder)["admin_key"] for folder in folders}) == len(folders) == 9


def test_revoked_key_leaves_the_masters_file(office):
    did = names.parse_id(office.issue()[0])[0]
    verifiers = SqliteVerifiers(office.platform.folder / "master-1")
    key_id = office.platform.current.key_id
    key = verifiers.login_key(did, key_id)
    office.revoke(did)
    assert verifiers.login_key(did, key_id) is None
    verifiers.close()
    assert key not in _files(office.platform.folder / "master-1")


def test_licence_code_is_no_key(office):
    licence = office.show(office.issue()[0])
    assert licence.code.encode() not in licence.licence_key
    assert len(licence.licence_key) == 32 and any(licence.licence_key)
