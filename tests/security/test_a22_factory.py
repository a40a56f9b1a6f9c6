"""A22 at the production line: planted secrets are looked for in argv, output, exports, temporary files, at rest."""

import base64
import os
import subprocess
import sys
from pathlib import Path

import factory_lab
import pytest
from office_tools import make_office, upeer
from secret_search import Watcher, forms, leaks, setup_code_forms

from upeer_board import fctry, image
from upeer_board.boards import load_board
from upeer_board.virtual import VirtualBoard
from upeer_factory.board.targets import secret_file
from upeer_factory.pool import audit
from upeer_office import names


@pytest.fixture
def line(tmp_path, monkeypatch):
    """A factory whose temporary files go to a folder that the tests can search."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    made = factory_lab.make_factory(tmp_path)
    yield made
    made.pool.close()


def _secrets(line, with_setup_codes=True):
    found = []
    for item in line.licences:
        found += forms(item.licence_key)
        if with_setup_codes:
            found += setup_code_forms(item.setup_code)
    record = line.pool.reserve(factory_lab.mac_of(999)).record
    for name in ("crc_key", "p2p_key"):
        found += forms(record[name])
    return [*found, record["init_string"].encode()]


def test_the_search_finds_what_it_looks_for(line):
    taken = line.pool.reserve(factory_lab.mac_of(1))
    copy = fctry.image(taken.record)
    for shown in (copy, copy.hex().encode(), base64.b64encode(copy), repr(taken.record).encode()):
        assert len(leaks(_secrets(line), shown)) >= 4


@pytest.mark.usefixtures("micropython")
def test_a_run_with_everything_on_shows_no_secret(line, tmp_path):
    folder = tmp_path / "board"
    image.build(load_board("UNIX"), folder, image.Options())
    (tmp_path / "wifi").write_text("planted wifi password\n")
    options = ["--pool", line.url, "--station-key", str(line.key_file)]
    run = [sys.executable, "-m", "upeer_cli.main", "--debug"]
    with VirtualBoard.start(folder) as board, Watcher() as watcher:
        burn = [*run, "burn", *options, "--port", board.pty, "--selftest"]
        burn += ["--wifi", "x", "--wifi-password-file", str(tmp_path / "wifi"), "--server", "127.0.0.1"]
        done = subprocess.run([*burn, "--min-aps", "99"], capture_output=True, timeout=90, check=False)
        assert b"failed its test of wifi" in done.stderr
        good = subprocess.run(burn, capture_output=True, timeout=90, check=True)
        assert b"loop   good" in good.stdout
        shown = done.stdout + done.stderr + good.stdout + good.stderr + board.output.encode()
    secrets = [*_secrets(line), b"planted wifi password"]
    assert len(secrets) > 90
    assert any(b"mpremote" in text for text in watcher.seen)
    assert leaks(secrets, b"\n".join(watcher.seen)) == []
    assert leaks(secrets, shown) == []
    assert list((tmp_path / "scratch").rglob("*")) == []


def test_exports_and_records_show_no_secret(line, tmp_path):
    board = factory_lab.FileBoard(tmp_path / "one", factory_lab.mac_of(1))
    from upeer_factory.board.burn import Burner, Options

    Burner(board, line.pool, Options(selftest={})).run()
    options = ("--pool", line.url, "--station-key", line.key_file)
    shown = [
        upeer("pool", "status", *options, "--json"),
        upeer("pool", "list", *options, "--json"),
        upeer("label", *options, "--mac", board.mac, "--out", tmp_path / "label.svg", "--json"),
        upeer("audit", "export", *options),
        upeer("audit", "export", *options, "--format", "csv"),
        upeer("audit", "verify", *options),
        str(list(audit.entries(line.pool.database))),
        repr(line.pool.reserve(board.mac)) + repr(line.pool.key) + repr(line.pool),
    ]
    assert leaks(_secrets(line), "\n".join(shown).encode()) == []


def test_label_shows_the_setup_code_and_nothing_else(line, tmp_path):
    taken = line.pool.reserve(factory_lab.mac_of(1))
    out = tmp_path / "label.zpl"
    upeer("label", "--pool", line.url, "--station-key", line.key_file, taken.did, "--out", out)
    assert names.encode_setup_code(taken.setup_code).encode() in out.read_bytes()
    assert leaks(_secrets(line, with_setup_codes=False), out.read_bytes()) == []
    assert out.stat().st_mode & 0o777 == 0o600


def test_pool_at_rest_is_sealed_and_private(line):
    line.pool.reserve(factory_lab.mac_of(1))
    secrets = _secrets(line)
    files = list(Path(line.url).glob("pool.db*"))
    assert len(files) >= 2
    for path in files:
        assert leaks(secrets, path.read_bytes()) == []
        assert path.stat().st_mode & 0o077 == 0
    assert Path(line.url).stat().st_mode & 0o077 == 0


def test_station_key_opens_nothing_of_a_closed_lot(line):
    """What a thief of the database and of the station key gets: the lots that are not closed."""
    taken = line.pool.reserve(factory_lab.mac_of(1))
    line.pool.burned(taken.mac, taken.did)
    line.pool.close_lot()
    rows = line.pool.database.run(lambda tx: tx.rows("SELECT did, sealed, office_sealed FROM licences ORDER BY did"))
    for did, sealed, office_sealed in rows:
        assert (sealed is None) == (did == taken.did)
        with pytest.raises(Exception, match="damaged"):
            line.pool.key.open(did, office_sealed)


def test_sealed_rows_are_bound_to_their_did(line):
    dids = [item.did for item in line.licences]
    swap = "UPDATE licences SET sealed = (SELECT sealed FROM licences WHERE did = ?)"
    line.pool.database.run(lambda tx: tx.change(swap, dids[-1]))
    with pytest.raises(Exception, match="damaged in the pool"):
        line.pool.reserve(factory_lab.mac_of(1))


def test_another_offices_key_opens_nothing(line, tmp_path):
    with make_office(tmp_path / "thief", ("127.0.0.1:1",)) as office:
        folder = office.platform.folder
    options = ("--pool", line.url, "--station-key", line.key_file, "--platform", folder)
    assert "not the office key" in upeer("pool", "export", *options, "--publish", code=4)


def test_no_option_takes_a_secret():
    for command in (("burn",), ("label",), ("pool", "import"), ("pool", "export"), ("audit", "push"), ("pool", "init")):
        words = upeer(*command, "--help").split()
        assert not {"--passphrase", "--password", "--wifi-password", "--token", "--key"} & set(words)


def test_secret_file_has_no_name_and_goes_away(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with secret_file(b"planted") as path:
        assert Path(path).read_bytes() == b"planted"
        assert subprocess.run(["cat", path], capture_output=True, check=True).stdout == b"planted"
        assert list(tmp_path.iterdir()) == []
    assert not Path(path).exists()


def test_secret_file_without_memfd_is_private_and_removed(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with secret_file(b"planted") as path:
        assert Path(path).stat().st_mode & 0o777 == 0o600
        assert Path(path).parent.stat().st_mode & 0o777 == 0o700
    assert list(tmp_path.iterdir()) == []
