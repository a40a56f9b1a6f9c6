"""The client's own files: configuration, pairs; what is damaged, missing or torn; no key where it does not belong."""

import json
import os
import stat
from dataclasses import replace

import office_tools
import pytest

from upeer_client import errors
from upeer_client.config import Config, config_path, load_config
from upeer_client.store import Pair, PairStore, checked_did
from upeer_office import platforms

DID = "TEST-000001-ABCDE"
PAIR = Pair(DID, b"client01", bytes(range(32)), name="lamp")


@pytest.fixture
def client_json(tmp_path):
    office = office_tools.make_office(tmp_path / "plat")
    path = tmp_path / "client.json"
    path.write_text(json.dumps(platforms.client_config(office.platform)))
    office.close()
    return path


@pytest.fixture
def store(tmp_path):
    return PairStore(tmp_path / "home")


def _changed(path, **fields):
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_config_opens(client_json):
    config = load_config(client_json)
    assert [(master.id, master.host, master.port) for master in config.masters] == [
        (1, "127.0.0.1", 7001),
        (2, "127.0.0.1", 7002),
        (3, "127.0.0.1", 7003),
    ]
    assert config.key_id == json.loads(client_json.read_text())["key_id"]
    assert config.p2p_key.hex() not in repr(config)


def test_config_is_found_by_option_environment_and_home(client_json, tmp_path, monkeypatch):
    monkeypatch.setenv("UPEER_HOME", str(tmp_path))
    monkeypatch.delenv("UPEER_CLIENT", raising=False)
    assert config_path() == client_json
    monkeypatch.setenv("UPEER_CLIENT", "other.json")
    assert str(config_path()) == "other.json"
    assert config_path(client_json) == client_json


def test_missing_config_says_what_to_do(tmp_path):
    with pytest.raises(errors.ConfigError) as caught:
        load_config(tmp_path / "none.json")
    assert "UPEER_CLIENT" in caught.value.hint


def test_wrong_p2p_key_does_not_open(client_json):
    _changed(client_json, p2p_key="11" * 32)
    with pytest.raises(errors.WrongKeys):
        load_config(client_json)


@pytest.mark.parametrize(
    "fields",
    [{"p2p_key": "00" * 32}, {"p2p_key": "zz"}, {"p2p_key": "11" * 8}, {"key_id": 0}, {"key_id": "1"}, {"version": 2}],
)
def test_damaged_config_is_refused(client_json, fields):
    _changed(client_json, **fields)
    with pytest.raises(errors.ConfigError):
        load_config(client_json)


def test_config_that_is_no_json_is_refused(client_json):
    client_json.write_text("{")
    with pytest.raises(errors.ConfigError, match="damaged"):
        load_config(client_json)


def test_pairs_are_private_and_come_back(store):
    store.begin(PAIR)
    assert store.all() == []
    assert store.pending(DID) == [PAIR]
    done = store.confirm(PAIR, "owner")
    assert PairStore(store.folder).all() == [done]
    assert store.pending(DID) == []
    assert done.role == "owner"
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert PAIR.key.hex() not in repr(done)


def test_pairs_are_found_by_did_and_by_name(store):
    store.confirm(PAIR, "owner")
    assert store.find(DID.lower()).did == DID
    assert store.find("lamp").did == DID
    store.confirm(replace(PAIR, did="TEST-000002-ABCDE"), "owner")
    with pytest.raises(errors.UsageError, match="2 devices"):
        store.find("lamp")
    with pytest.raises(errors.NotPaired):
        store.find("TEST-000003-ABCDE")
    with pytest.raises(errors.UsageError):
        store.find("door")


def test_refused_pairing_is_forgotten_and_the_pair_stays(store):
    store.confirm(PAIR, "owner")
    other = replace(PAIR, key=b"k" * 32)
    store.begin(other)
    store.drop_pending(other)
    assert store.pending(DID) == []
    assert store.find(DID).key == PAIR.key
    assert store.remove(DID)
    assert not store.remove(DID)


def test_damaged_pairs_are_refused_not_overwritten(store):
    store.confirm(PAIR, "owner")
    text = store.path.read_text().replace(PAIR.key.hex(), "00" * 32)
    store.path.write_text(text)
    for call in (store.all, lambda: store.begin(PAIR)):
        with pytest.raises(errors.ConfigError):
            call()
    assert store.path.read_text() == text


def test_write_that_fails_keeps_the_old_pairs(store, monkeypatch):
    store.confirm(PAIR, "owner")

    def fail(*_arguments):
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        store.remove(DID)
    assert store.find(DID).key == PAIR.key
    assert sorted(path.name for path in store.folder.iterdir()) == [".lock", "pairs.json"]


def test_did_is_checked():
    assert checked_did(" test-000001-abcde ") == DID
    with pytest.raises(errors.UsageError):
        checked_did("TEST-1-ABCDE")


def test_config_made_in_memory_names_no_file():
    with pytest.raises(errors.WrongKeys, match="the configuration"):
        Config.open(1, b"k" * 32, "text")
