"""The client's commands as people type them: output, JSON, exit codes, one line for every failure."""

import json
import re
import subprocess
import sys

import pytest
from client_lab import Lab
from office_tools import upeer, upeer_json

from upeer_cli import client_info, exit_codes
from upeer_client import errors

CONTENT = b"one\ntwo\n" * 20_000


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A lab with a paired device."""
    with Lab(tmp_path_factory.mktemp("lab"), masters=2) as made:
        (made.files / "notes.txt").write_bytes(CONTENT)
        paired = upeer("pair", made.did, "--setup-code", made.setup_code, "--name", "lamp", *made.options)
        assert paired == f"paired with {made.did} as owner\n"
        yield made


def test_devices(lab):
    assert re.fullmatch(rf"{lab.did}  owner   lamp\n", upeer("devices", *lab.options))
    (row,) = upeer_json("devices", "--check", *lab.options)["devices"]
    assert row["reachable"] == "lan" and row["did"] == lab.did


def test_no_devices(lab, tmp_path):
    assert "pair one" in upeer("devices", "--config", lab.client_json, "--home", tmp_path)


def test_ping(lab):
    text = upeer("ping", "lamp", "--count", 3, "--interval", 0, *lab.options)
    assert len(re.findall(r"seq=\d lan time=[\d.]+ ms", text)) == 3
    assert re.search(r"3 sent, 3 answered, 0% lost\nrtt min/avg/max/mdev = [\d./]+ ms\n", text)
    data = upeer_json("ping", lab.did, "--count", 2, "--interval", 0, "--stats", "--mode", "relay", *lab.options)
    assert data["received"] == 2 and data["path"] == "relay"
    stats = data["stats"]
    assert stats["path"]["kind"] == "relay" and stats["lookup_ms"] <= stats["path_ms"]
    for name in ("bytes_in", "bytes_out", "retransmitted", "srtt", "first_byte_ms"):
        assert name in stats


def test_ls_get_put(lab, tmp_path):
    target = tmp_path / "copy.txt"
    text = upeer("get", "lamp", "notes.txt", target, "--stats", *lab.options)
    assert target.read_bytes() == CONTENT
    assert text.startswith(f"{target}: 160000 bytes, SHA-256 ") and "rtt" in text
    made = upeer_json("put", "lamp", target, "new.txt", *lab.options)
    assert made["size"] == len(CONTENT) and (lab.files / "new.txt").read_bytes() == CONTENT
    listed = upeer_json("ls", "lamp", *lab.options)["files"]
    assert [(row["path"], row["hash"]) for row in listed] == [("new.txt", made["hash"]), ("notes.txt", made["hash"])]
    text = upeer("ls", "lamp", *lab.options)
    assert "new.txt" in text and text.endswith("400 of 440 KiB are free\n")
    data = upeer_json("ls", "lamp", *lab.options)
    assert (data["free"], data["size"]) == lab.device.room
    (lab.files / "new.txt").unlink()


def test_put_without_room_is_one_line_and_its_exit_code(lab, tmp_path):
    (tmp_path / "big.bin").write_bytes(bytes(120 << 10))
    room, lab.device.room = lab.device.room, (96 << 10, 440 << 10)
    try:
        text = upeer("put", "lamp", tmp_path / "big.bin", *lab.options, code=exit_codes.NO_RESOURCE)
    finally:
        lab.device.room = room
    assert "big.bin: needs 120 KiB, 96 KiB are free on the device" in text and text.count("\n") == 1
    assert not (lab.files / "big.bin").exists()


def test_get_into_a_folder(lab, tmp_path):
    upeer("get", "lamp", "notes.txt", tmp_path, *lab.options)
    assert (tmp_path / "notes.txt").read_bytes() == CONTENT


def _connect(lab, *options, data=b""):
    command = [sys.executable, "-m", "upeer_cli.main", "connect", "lamp", *options, *lab.options]
    return subprocess.run(command, input=data, capture_output=True, timeout=60)


def test_connect_pipes_bytes(lab):
    done = _connect(lab, "--service", "echo", "--stats", data=CONTENT)
    assert (done.returncode, done.stdout) == (0, CONTENT)
    assert done.stderr.startswith(b"lan 127.0.0.1:")


def test_connect_ends_when_the_device_does_although_stdin_is_open(lab):
    async def greet(channel):
        await channel.write(b"hello\n")
        channel.close()

    lab.device.services["greet"] = greet
    command = [sys.executable, "-m", "upeer_cli.main", "connect", "lamp", "--service", "greet", *lab.options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.read() == b"hello\n"
        assert process.wait(60) == 0


def test_netcheck(lab):
    text = upeer("netcheck", *lab.options)
    assert "NAT: open" in text and "master 2 at 127.0.0.1" in text
    data = upeer_json("netcheck", *lab.options)
    assert [row["answers"] for row in data["masters"]] == [True, True]
    assert data["reflexive"] == [["127.0.0.1", data["local_port"]]]


def _failure(lab, capfd, *arguments, code):
    upeer(*arguments, code=code)
    captured = capfd.readouterr().err
    return captured


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("ping", "TEST-000099-ABCDE"), exit_codes.AUTHENTICATION),
        (("ping", "nobody"), exit_codes.USAGE),
        (("ping", "lamp", "--mode", "magic"), exit_codes.USAGE),
        (("get", "lamp", "nothing"), exit_codes.FAILURE),
        (("get", "lamp", "/"), exit_codes.USAGE),
        (("pair", "TEST-000001", "--setup-code", "1"), exit_codes.USAGE),
        (("pair", "TEST-000099-ABCDE", "--setup-code", "1"), exit_codes.USAGE),
        (("pair", "TEST-000099-ABCDE", "--setup-code", "0000-0000-0000-0001"), exit_codes.UNREACHABLE),
        (("connect", "lamp", "--service", "nothing"), exit_codes.FAILURE),
    ],
)
def test_failures_are_one_line(lab, arguments, code):
    command = [sys.executable, "-m", "upeer_cli.main", *arguments, *lab.options]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (code, "")
    assert len(done.stderr.splitlines()) == 1
    assert re.match(r"upeer: .+; .+", done.stderr)


def test_no_master_answers(lab, tmp_path):
    with Lab(tmp_path, masters=1) as other:
        other.run(other.pair())
        other.run(other.stop_master(1))
        upeer("netcheck", *other.options, code=exit_codes.UNREACHABLE)
        upeer("ping", "lamp", "--timeout", 1, "--mode", "direct", *other.options, code=exit_codes.UNREACHABLE)


def test_missing_configuration(tmp_path):
    text = upeer("netcheck", "--config", tmp_path / "no.json", code=exit_codes.FAILURE)
    assert "UPEER_CLIENT" in text and len(text.splitlines()) == 1


def test_secrets_stay_out_of_sight(lab, tmp_path):
    key = json.loads((lab.home / "pairs.json").read_text())["pairs"][0]["key"]
    for arguments in (("devices", "--json"), ("ping", "lamp", "--count", 1, "--stats", "--json"), ("netcheck",)):
        text = upeer(*arguments, *lab.options)
        assert key not in text
        assert lab.record["p2p_key"].hex() not in text


def test_every_error_is_documented(project_root):
    text = (project_root / "docs/errors.md").read_text()
    rows = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \|", text, re.MULTILINE)
    assert rows == [(error.__name__, str(error.code), str(error.exit_code)) for error in errors.ALL]


def test_info(lab):
    assert upeer_json("info", lab.did, *lab.options)["did"] == lab.did
    assert f"{lab.did}, up for" in upeer("info", "lamp", *lab.options)


def test_info_tells_of_the_memory():
    memory = {"live": 86016, "limit": 114688, "peak": 96000, "reserve": 40960, "reserve_least": 30720, "refused": 2}
    assert client_info.lines({"did": "D", "memory": memory, "faults": ["torn"]})[-2:] == [
        "memory: 84 of 112 KB in use, at most 93; 40 KB left for Wi-Fi, at least 30; 2 requests refused for want of it",
        "fault: torn",
    ]
