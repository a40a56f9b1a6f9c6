"""`upeer serve` and `upeer status` as processes: start, orders from the office, clean and unclean ends."""

import json
import signal
import socket
import stat
import subprocess
import sys
from types import SimpleNamespace

import pytest
from office_tools import make_office, upeer, upeer_json
from ports import free_port
from server_tools import Identity, events, log_in, next_alive, serving

from upeer_office import names
from upeer_office.bundle import load_nodes


@pytest.fixture
def shop(tmp_path):
    """A platform with two masters on free ports and two licences."""
    ports = [free_port(), free_port()]
    with make_office(tmp_path / "shop", tuple(f"127.0.0.1:{port}" for port in ports)) as office:
        dids = [names.parse_id(text)[0] for text in office.issue(2)]
        records = [office.device_record(did) for did in dids]
    return SimpleNamespace(folder=tmp_path / "shop", ports=ports, dids=dids, records=records)


@pytest.fixture
def udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        yield made


def _log_in(shop, udp, device=0, master=1, **options):
    identity = Identity(shop.records[device])
    return log_in(udp, ("127.0.0.1", shop.ports[master - 1]), identity, master, **options)


def test_ready_line_and_clean_stop(shop):
    with serving(shop.folder) as server:
        assert [item["name"] for item in server.ready["servers"]] == [
            "master-1", "p2p-1", "relay-1", "master-2", "p2p-2", "relay-2"
        ]  # fmt: skip
        assert server.ready["admin"].startswith("127.0.0.1:")
        run_file = shop.folder / "run-master-1.json"
        assert stat.S_IMODE(run_file.stat().st_mode) == 0o600 and 'key": "master-1' in run_file.read_text()
        assert server.end(signal.SIGINT) == 0
        assert not run_file.exists()
        assert [json.loads(line)["event"] for line in server.log().splitlines()] == ["serving", "serving", "stopped"]


def test_status_shows_who_is_online(shop, udp):
    with serving(shop.folder):
        assert _log_in(shop, udp)[0] == "login"
        status = upeer_json("status", shop.folder)
        assert status["online"] == [shop.dids[0]] and status["online_count"] == 1
        node = status["processes"][0]["nodes"][0]
        assert node["master"]["logins"] == 1 and node["datagrams"]["received"] == 2
        assert node["datagrams"]["faults"] == 0
        assert "1 devices online" in upeer("status", shop.folder)


def test_keep_alive_is_answered(shop, udp):
    with serving(shop.folder):
        control = _log_in(shop, udp)[1]
        udp.sendto(next_alive(control), control.address)
        answer = udp.recv(2048)
        assert len(answer) == 28 and answer[0] == 0x8A


def test_port_in_use_is_one_line(shop):
    with serving(shop.folder):
        command = [sys.executable, "-m", "upeer_cli.main", "serve", str(shop.folder)]
        second = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert second.returncode == 1 and second.stdout == ""
        assert second.stderr.count("\n") == 1 and "is in use" in second.stderr
        assert upeer_json("status", shop.folder)["running"] == 1


def test_revoke_ends_the_session_at_once(shop, udp):
    with serving(shop.folder):
        control = _log_in(shop, udp)[1]
        told = upeer_json("licence", "revoke", shop.folder, shop.dids[0], "--yes")["servers"]
        assert [item["told"] for item in told] == [True]
        assert events(udp, control) == [("logout", 2)]
        assert _log_in(shop, udp) == ("failed", 1)
        assert _log_in(shop, udp, device=1)[0] == "login"


def test_licence_issued_later_logs_in(shop, udp):
    with serving(shop.folder):
        did = upeer("licence", "issue", shop.folder)[:17]
        upeer("licence", "record", shop.folder, did, "--out", shop.folder / "record")
        fields = json.loads((shop.folder / "record").read_text())
        record = {
            name: bytes.fromhex(value) if "key" in name and name != "key_id" else value
            for name, value in fields.items()
        }
        shop.records.append(record)
        assert _log_in(shop, udp, device=2)[0] == "login"


def test_relay_change_reaches_masters(shop):
    with serving(shop.folder, "--master-id", "1"), serving(shop.folder, "--master-id", "2"):
        told = upeer_json("relay", "add", shop.folder, "127.0.0.1:9")["servers"]
        assert len(told) == 2 and all(item["told"] for item in told)
        nodes = [node for process in upeer_json("status", shop.folder)["processes"] for node in process["nodes"]]
        assert [node["master"]["relays"] for node in nodes] == [3, 3]


def test_rotation_reaches_devices_and_old_keys_end(shop, udp):
    with serving(shop.folder):
        control = _log_in(shop, udp)[1]
        old = shop.records[1]["key_id"]
        new, previous = upeer_json("platform", "rotate", shop.folder)["key_ids"]
        assert previous == old != new
        udp.sendto(next_alive(control), control.address)
        kind, key_id, crc_key, p2p_key = events(udp, control)[0]
        assert (kind, key_id) == ("keys", new)
        assert _log_in(shop, udp, device=1)[0] == "login"
        upeer("platform", "rotate", shop.folder, "--retire")
        assert _log_in(shop, udp, device=1, seconds=5)[0] == "failed"
        shop.records[1].update(key_id=new, crc_key=crc_key, p2p_key=p2p_key)
        assert _log_in(shop, udp, device=1)[0] == "login"


def test_killed_server_is_reported_and_replaced(shop, udp):
    with serving(shop.folder) as server:
        assert _log_in(shop, udp)[0] == "login"
        server.end(signal.SIGKILL)
        status = json.loads(upeer("status", shop.folder, "--json", code=3))
        assert status["running"] == 0 and "without a clean stop" in status["processes"][0]["reason"]
        told = upeer("relay", "add", shop.folder, "127.0.0.1:9")
        assert "not running, nothing to tell" in told
    with serving(shop.folder, "--master-id", "1"), serving(shop.folder, "--master-id", "2"):
        assert upeer_json("status", shop.folder)["running"] == 2
        assert _log_in(shop, udp)[0] == "login"
    assert list(shop.folder.rglob("run-*.json")) == []


def test_epochs_outlive_a_killed_server(shop, udp):
    identity = Identity(shop.records[0])
    address = ("127.0.0.1", shop.ports[0])
    identity.next_epoch = lambda: 2_000_000_000
    with serving(shop.folder) as server:
        assert log_in(udp, address, identity)[0] == "login"
        server.end(signal.SIGKILL)
    with serving(shop.folder):
        assert log_in(udp, address, identity) == ("behind", 2_000_000_000)


def test_stop_tells_devices(shop, udp):
    with serving(shop.folder) as server:
        control = _log_in(shop, udp)[1]
        server.end()
        assert events(udp, control) == [("logout", 3)]


def test_one_bundle_alone_on_another_machine(shop, tmp_path, udp):
    """A copied bundle serves, and its folder is enough for `status`."""
    copy = tmp_path / "elsewhere"
    subprocess.run(["cp", "-r", shop.folder / "master-2", copy], check=True, timeout=60)
    with serving(copy):
        assert _log_in(shop, udp, master=2)[0] == "login"
        assert upeer_json("status", copy)["online"] == [shop.dids[0]]


def test_relay_alone_needs_no_platform_key(shop):
    with serving(shop.folder / "relay-1") as server:
        assert server.ready["servers"][0]["name"] == "relay-1"
        status = upeer_json("status", shop.folder)
        assert status["processes"][0]["nodes"][0]["relay"]["sessions"] == 0
        assert "master-1" in status["not_running"] and "relay-1" not in status["not_running"]


def test_roles_are_chosen(shop):
    with serving(shop.folder, "--roles", "p2p,relay", "--bind", "127.0.0.1") as server:
        assert {item["name"].partition("-")[0] for item in server.ready["servers"]} == {"p2p", "relay"}
    assert len(load_nodes(shop.folder, ["relay"])) == 2
    upeer("serve", shop.folder, "--roles", "boss", code=2)
    upeer("serve", shop.folder, "--master-id", "7", code=1)
    upeer("serve", shop.folder, "--bind", "192.0.2.77", code=1)
    upeer("serve", shop.folder / "nowhere", code=1)


def test_garbage_is_counted_and_not_answered(shop, udp):
    with serving(shop.folder):
        for data in (b"", b"\x80", b"\x82" * 100, b"\x89" + bytes(27), b"\xc0" * 50, bytes(20), b"\xff" * 1500):
            udp.sendto(data, ("127.0.0.1", shop.ports[0]))
        assert _log_in(shop, udp)[0] == "login"
        node = upeer_json("status", shop.folder)["processes"][0]["nodes"][0]
        assert node["datagrams"]["received"] == 9 and node["datagrams"]["faults"] == 0
        assert node["datagrams"]["sent"] == 2
