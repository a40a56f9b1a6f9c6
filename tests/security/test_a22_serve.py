"""A22: a serving process shows no secret in its output, its log, its run file or its command line."""

import json
import socket
from pathlib import Path

from office_tools import make_office, upeer
from ports import free_port
from server_tools import Identity, log_in, serving

from upeer_office.platforms import load_platform


def test_serve_shows_no_secret(tmp_path):
    folder = tmp_path / "shop"
    with make_office(folder, (f"127.0.0.1:{free_port()}",)) as office:
        record = office.device_record(office.issue()[0])
    with serving(folder) as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        host, port = server.ready["servers"][0]["address"].split(":")
        control = log_in(udp, (host, int(port)), Identity(record))[1]
        status = upeer("status", folder, "--json")
        upeer("relay", "add", folder, "127.0.0.1:9")
        upeer("licence", "revoke", folder, record["did"], "--yes")
        shown = json.dumps(server.ready) + status + (folder / "run-master-1.json").read_text()
        shown += Path(f"/proc/{server.pid}/cmdline").read_text() + Path(f"/proc/{server.pid}/environ").read_text()
        shown += server.log()
    assert record["did"] in shown
    assert not [secret for secret in _secrets(folder, record, control) if secret in shown]


def _secrets(folder, record, control):
    platform = load_platform(folder)
    raw = [value for value in record.values() if isinstance(value, bytes)] + [platform.admin_root, control._key]
    raw += [server.secret for server in platform.masters + platform.p2p_servers + platform.relays]
    raw += [platform.admin_key(name) for name in platform.bundle_names()]
    assert len(raw) > 8
    return [item.hex() for item in raw] + [repr(item)[2:-1] for item in raw] + [record["init_string"]]
