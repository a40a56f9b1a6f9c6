"""`upeer pool`, `burn`, `label` and `audit` as a line uses them, with a virtual board at the port."""

import json
import socket
import threading

import pytest
from office_tools import upeer, upeer_json

from upeer_board import image
from upeer_board.boards import load_board
from upeer_board.virtual import VirtualBoard


@pytest.fixture
def line(tmp_path, monkeypatch):
    """A platform and a pool of ten licences, named in the environment."""
    monkeypatch.setenv("UPEER_POOL", str(tmp_path / "line"))
    monkeypatch.setenv("UPEER_STATION", "line-1")
    upeer("platform", "init", tmp_path / "shop", "--master", "127.0.0.1:7001", "--prefix", "TEST")
    upeer("pool", "init", "--platform", tmp_path / "shop")
    upeer("pool", "issue", "--platform", tmp_path / "shop", "-n", "10")
    return tmp_path


@pytest.fixture(scope="module")
def board(tmp_path_factory, micropython):
    folder = tmp_path_factory.mktemp("board")
    image.build(load_board("UNIX"), folder, image.Options())
    with VirtualBoard.start(folder) as running:
        yield running


def test_a_day_at_the_line(line, board):
    done = upeer_json("burn", "--port", board.pty, "--selftest")
    assert (done["was_burned"], done["written"], done["selftest"]["flash"][0]) == (False, True, True)
    tested = upeer_json("selftest", "--port", board.pty, "--wifi", "line", "--server", "127.0.0.1")
    assert (tested["did"], tested["written"], tested["selftest"]["loop"][0]) == (done["did"], False, True)
    again = upeer("burn", "--port", board.pty)
    assert f"PASS {done['did']}" in again and "proved again" in again
    status = upeer_json("pool", "status", "--low", "10")
    assert {name: status[name] for name in ("free", "reserved", "burned", "scrapped", "low")} == {
        "free": 9, "reserved": 0, "burned": 1, "scrapped": 0, "low": True,
    }  # fmt: skip
    rows = upeer_json("pool", "list", "--state", "burned")["licences"]
    assert rows == [{"did": done["did"], "state": "burned", "mac": done["mac"]}]
    published = upeer_json("pool", "export", "--platform", line / "shop", "--publish")
    assert published == {"count": 1, "added": 0}
    assert "1 boards burned" in upeer("audit", "verify")


def test_label_goes_to_the_printer_and_reprints_are_counted(line, board):
    did = upeer_json("burn", "--port", board.pty)["did"]
    listener = socket.create_server(("127.0.0.1", 0))
    got = []

    def printer():
        connection, _ = listener.accept()
        with connection:
            got.append(b"".join(iter(lambda: connection.recv(4096), b"")))

    thread = threading.Thread(target=printer)
    thread.start()
    place = f"127.0.0.1:{listener.getsockname()[1]}"
    assert upeer_json("label", did, "--printer", place)["print"] == 1
    thread.join(5)
    listener.close()
    assert did.encode() in got[0] and got[0].startswith(b"^XA")
    assert "noted as a reprint" in upeer("label", did, "--out", line / "label.png")
    assert (line / "label.png").stat().st_mode & 0o777 == 0o600
    assert "exists already" in upeer("label", did, "--out", line / "label.png", code=1)
    assert "E30" in upeer("label", did, "--printer", "127.0.0.1:1", code=3)


def test_scrap_asks_and_is_final(line, board):
    did = upeer_json("burn", "--port", board.pty)["did"]
    assert "--yes" in upeer("pool", "scrap", did, code=2)
    assert upeer_json("pool", "scrap", did, "--yes", "--reason", "dropped")["state"] == "scrapped"
    assert "(E12)" in upeer("burn", "--port", board.pty, code=1)
    assert "1 scrapped" in upeer("audit", "verify")


def test_records_are_exported_and_checked_elsewhere(line, board):
    upeer("burn", "--port", board.pty)
    upeer("audit", "export", "--out", line / "r.jsonl")
    upeer("audit", "export", "--out", line / "r.csv")
    head = upeer_json("audit", "verify")["hash"]
    assert upeer_json("audit", "verify", "--file", line / "r.jsonl", "--head", head)["hash"] == head
    assert "made anew" in upeer("audit", "verify", "--file", line / "r.jsonl", "--head", "00" * 32, code=6)
    lines = (line / "r.csv").read_text().splitlines()
    assert lines[0].startswith("number,at,event,station,operator,did,mac,") and lines[0].endswith(",hash")
    assert len(lines) == 1 + json.loads((line / "r.jsonl").read_text().splitlines()[-1])["number"]
    text = (line / "r.jsonl").read_text().replace('"line-1"', '"line-2"', 1)
    (line / "r.jsonl").write_text(text)
    assert "audit row 1 was changed" in upeer("audit", "verify", "--file", line / "r.jsonl", code=6)


def test_push_to_an_mes_that_is_not_there_is_one_line(line):
    said = upeer("audit", "push", "--url", "http://127.0.0.1:1/", code=3)
    assert "0 records sent, 2 are waiting (E32)" in said


def test_office_export_goes_into_a_pool(line, tmp_path):
    (tmp_path / "pass").write_text("a long passphrase\n")
    upeer("platform", "init", tmp_path / "two", "--master", "127.0.0.1:7001", "--prefix", "TWOX")
    upeer("licence", "issue", tmp_path / "two", "-n", "3")
    upeer("licence", "export", tmp_path / "two", "--out", tmp_path / "two.json", "--passphrase-file", tmp_path / "pass")
    said = upeer("pool", "import", tmp_path / "two.json", "--passphrase-file", tmp_path / "pass")
    assert said == "imported 3 licences; 13 are free\n"
    out = tmp_path / "all.json"
    options = ("--state", "all", "--out", out, "--passphrase-file", tmp_path / "pass")
    assert upeer_json("pool", "export", "--platform", tmp_path / "shop", *options)["count"] == 13
    assert "not the office key" in upeer(
        "pool", "export", "--platform", tmp_path / "two", *options[:2], "--publish", code=4
    )


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("burn", "--port", "/dev/none"), 3, "(E20)"),
        (("burn", "--port", "/dev/none", "--board", "NONE"), 1, "no board 'NONE'"),
        (("burn", "--port", "x", "--selftest", "--wifi", "line"), 2, "go together"),
        (("selftest", "--port", "/dev/none"), 3, "(E20)"),
        (("selftest", "--port", "x", "--server", "127.0.0.1"), 2, "go together"),
        (("label", "--out", "x.png"), 2, "by its DID or by --mac"),
        (("label", "TEST-000001-AAAAA"), 2, "--printer or --out"),
        (("label", "TEST-000001-YVAEN", "--out", "x.gif"), 2, "none of .zpl"),
        (("label", "TEST-000001-YVAEN", "--out", "x.png"), 6, "has no label"),
        (("pool", "status", "--pool", "postgresql://a:b@c/d"), 3, "~/.pgpass"),
        (("pool", "status", "--pool", "postgresql:///d"), 2, "--station-key"),
        (("pool", "status", "--pool", "nowhere"), 4, "station key is not at"),
        (("audit", "push", "--url", "mes"), 3, "no address"),
    ],
)
def test_what_is_wrong_is_one_line(line, arguments, code, text):
    said = upeer(*arguments, code=code)
    assert text in said and said.startswith("upeer: ") and said.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    ["burn", "selftest", "label", "audit verify", "audit export", "audit push"]
    + [f"pool {name}" for name in ("init", "import", "issue", "platform", "status", "list", "scrap", "export")],
)
def test_help_has_examples(command):
    assert "Examples:" in upeer(*command.split(), "--help")


def test_every_error_code_is_in_the_manual(project_root):
    from upeer_factory.errors import WHAT_TO_DO

    manual = (project_root / "docs" / "factory.md").read_text()
    assert [
        code for code, (todo, exit_code) in WHAT_TO_DO.items() if f"| {code} | {exit_code} | {todo} |" not in manual
    ] == []
