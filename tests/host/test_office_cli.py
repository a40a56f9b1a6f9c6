"""`upeer platform`, `upeer licence` and `upeer relay` as a user types them."""

import json
import re
import stat

import pytest
from office_tools import upeer, upeer_json

from upeer.signalling.initstring import open_init_string
from upeer_board.fctry import parse_licence
from upeer_office import platforms
from upeer_office.licences import device_record


@pytest.fixture
def shop(tmp_path):
    folder = tmp_path / "shop"
    upeer(
        "platform", "init", folder, "--master", "127.0.0.1:7001", "--master", "m2.example.org:7002", "--prefix", "ABCD"
    )
    return folder


def test_init_files_are_private(shop):
    for path in [shop, *shop.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_init_refuses_to_overwrite(shop):
    before = (shop / "platform.json").read_bytes()
    assert "not empty" in upeer("platform", "init", shop, "--master", "127.0.0.1:1", code=1)
    assert (shop / "platform.json").read_bytes() == before


@pytest.mark.parametrize(
    "addresses",
    [["x"], ["h:0"], ["h:65536"], ["[::1]:5"], ["a:1", "a:1"], ["a:1", "b:1", "c:1", "d:1"], [":5"], ["a b:5"]],
)
def test_init_refuses_bad_addresses(tmp_path, addresses):
    options = [part for address in addresses for part in ("--master", address)]
    upeer("platform", "init", tmp_path / "shop", *options, code=2)
    assert not (tmp_path / "shop").exists()


def test_init_separate_servers(tmp_path):
    options = ["--master", "127.0.0.1:1", "--p2p", "127.0.0.1:2", "--relay", "127.0.0.1:3", "--relay", "127.0.0.1:4"]
    shown = upeer_json("platform", "init", tmp_path / "shop", *options)
    assert [server["port"] for server in shown["p2p_servers"]] == [2]
    assert [server["port"] for server in shown["relays"]] == [3, 4]


def test_init_office_key_elsewhere(tmp_path):
    shop, key = tmp_path / "shop", tmp_path / "safe.key"
    upeer("platform", "init", shop, "--master", "127.0.0.1:1", "--office-key", key)
    assert not (shop / "office.key").exists() and stat.S_IMODE(key.stat().st_mode) == 0o600
    assert "--office-key" in upeer("licence", "issue", shop, code=1)
    upeer("licence", "issue", shop, "--office-key", key)
    assert "exists already" in upeer(
        "platform", "init", tmp_path / "two", "--master", "127.0.0.1:1", "--office-key", key, code=1
    )


def test_client_file(shop, tmp_path):
    out = tmp_path / "client.json"
    upeer("platform", "client", shop, "--out", out)
    document = json.loads(out.read_text())
    masters = open_init_string(document["init_string"], "client", None, bytes.fromhex(document["p2p_key"]))
    assert [master[:3] for master in masters] == [(1, "127.0.0.1", 7001), (2, "m2.example.org", 7002)]
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert "exists already" in upeer("platform", "client", shop, "--out", out, code=1)


def test_rotate_and_retire(shop):
    (old,) = upeer_json("platform", "show", shop)["key_ids"]
    new, previous = upeer_json("platform", "rotate", shop)["key_ids"]
    assert previous == old != new
    assert "--retire" in upeer("platform", "rotate", shop, code=1)
    assert upeer_json("platform", "rotate", shop, "--retire")["key_ids"] == [new]
    assert upeer_json("platform", "show", shop)["key_ids"] == [new]


def test_issue_prints_ids(shop):
    lines = upeer("licence", "issue", shop, "-n", "3", "--setup-codes").splitlines()
    pattern = r"ABCD-00000[1-3]-[A-Z]{5},[A-Z]{6}  [0-9A-Z]{4}(-[0-9A-Z]{4}){3}"
    assert len(lines) == 3 and all(re.fullmatch(pattern, line) for line in lines)
    shown = upeer_json("licence", "show", shop, lines[0][:17], "--setup-code")
    assert (shown["id"], shown["setup_code"]) == tuple(lines[0].split())


def test_issue_expires(shop):
    issued = upeer_json("licence", "issue", shop, "--expires", "2030-01-31")["licences"][0]["did"]
    assert upeer_json("licence", "show", shop, issued)["expires"] == 1896134400
    assert "until 2030-01-31" in upeer("licence", "show", shop, issued)
    upeer("licence", "issue", shop, "--expires", "31.1.2030", code=2)


def test_revoke_asks_first(shop):
    did = upeer("licence", "issue", shop)[:17]
    assert "--yes" in upeer("licence", "revoke", shop, did, code=2)
    assert "is revoked" in upeer("licence", "revoke", shop, did, "--yes")
    assert upeer_json("licence", "list", shop, "--state", "revoked")["count"] == 1
    upeer("licence", "revoke", shop, "ABCD-000001-AAAAA", "--yes", code=2)


def test_record_is_a_licence_file(shop, tmp_path):
    did = upeer("licence", "issue", shop)[:17]
    out = tmp_path / "one.licence"
    upeer("licence", "record", shop, did, "--out", out)
    assert parse_licence(out.read_bytes()) == device_record(shop, did)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    upeer("licence", "record", shop, did, "--out", out, code=1)


def test_export_import_by_file_and_stdin(shop, tmp_path):
    upeer("licence", "issue", shop, "-n", "2")
    upeer("licence", "export", shop, "--out", tmp_path / "x", "--passphrase-file", "-", stdin="a long passphrase\n")
    upeer("platform", "init", tmp_path / "two", "--master", "127.0.0.1:1")
    (tmp_path / "pass").write_text("a long passphrase\n")
    assert (
        upeer_json("licence", "import", tmp_path / "two", tmp_path / "x", "--passphrase-file", tmp_path / "pass")[
            "count"
        ]
        == 2
    )
    upeer(
        "licence",
        "import",
        tmp_path / "two",
        tmp_path / "x",
        "--passphrase-file",
        "-",
        stdin="a wrong passphrase\n",
        code=4,
    )
    upeer("licence", "export", shop, "--out", tmp_path / "y", "--passphrase-file", "-", stdin="short\n", code=2)
    assert not (tmp_path / "y").exists()


def test_relay_ids_are_not_reused(shop):
    assert upeer_json("relay", "add", shop, "127.0.0.1:9")["relay"]["id"] == 3
    upeer("relay", "remove", shop, "127.0.0.1:9")
    assert not (shop / "relay-3").exists()
    assert upeer_json("relay", "add", shop, "127.0.0.1:9")["relay"]["id"] == 4
    assert [relay["id"] for relay in upeer_json("relay", "list", shop)["relays"]] == [1, 2, 4]
    assert [relay["id"] for relay in json.loads((shop / "master-1" / "node.json").read_text())["relays"]] == [1, 2, 4]
    upeer("relay", "add", shop, "127.0.0.1:9", code=1)
    upeer("relay", "remove", shop, "77", code=1)


def test_init_leaves_nothing_behind(tmp_path, monkeypatch):
    def full_disk(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(platforms.files, "write_json", full_disk)
    shown = upeer("platform", "init", tmp_path / "shop", "--master", "127.0.0.1:1", code=7)
    assert "free some space" in shown and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["licences.db", "master-1/verifiers.db"])
def test_damaged_database_is_one_line(shop, name):
    (shop / name).write_bytes(b"no database" * 1000)
    shown = upeer("licence", "issue", shop, code=1)
    assert shown.count("\n") == 1 and "cannot be used" in shown


def test_damaged_platform_is_one_line(shop, tmp_path):
    (shop / "platform.json").write_text("{")
    assert "damaged" in upeer("licence", "list", shop, code=6)
    assert "no platform" in upeer("licence", "list", tmp_path / "nowhere", code=1)


def test_no_command_leaves_scratch_files(shop):
    upeer("licence", "issue", shop)
    upeer("platform", "rotate", shop)
    assert not [path for path in shop.rglob("*") if path.name.endswith((".new", "-wal", "-shm"))]
