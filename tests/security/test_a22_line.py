"""A22: one day of a production line with everything on, and its secrets looked for in all five places.

Logs (what is printed and drawn), command lines and environments, exports, temporary files, core dumps; and whatever
file the line leaves besides. Each secret is planted, and each is seen to be in use: a search without it proves nothing.
"""

import secrets
import subprocess
from pathlib import Path

import core_lab
import factory_lab
import pytest
from core_lab import CrashBoard, crash, find_cores
from secret_search import Watcher, forms, leaks, setup_code_forms
from station_lab import UPEER, RunningStation, StationLab, label_printer, licence_of
from station_terminal import Terminal

from upeer_office import names
from upeer_office.platforms import load_platform, read_office_key

_DEADLINE_S = 300
_PROGRAMS = "command lines, environments and temporary files"
pytestmark = [
    pytest.mark.usefixtures("micropython"),
    pytest.mark.timeout(900),
    pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="looks at processes in /proc"),
]


class Screen(Terminal):
    """A station's screen; `drawn` is all that it ever showed."""

    drawn = ""

    def read(self, seconds=0.1):
        before = len(self.text)
        super().read(seconds)
        self.drawn += self.text[before:]


class Day:
    """A line with planted secrets; `logs` is all that its programs printed or drew."""

    def __init__(self, folder, printer):
        self.folder, self.logs = folder, []
        self.out, self.work, self.scratch = folder / "out", folder / "work", folder / "scratch"
        for each in (self.out, self.work, self.scratch):
            each.mkdir()
        kinds = ("engineer password", "Wi-Fi password", "signing passphrase", "export passphrase")
        self.words = {name: f"planted {secrets.token_hex(8)}" for name in kinds}
        extra = f'wifi_password_file = "wifi.txt"\n{self._make_password()}[selftest]\nssid = "line"\n'
        extra += f'server = "127.0.0.1"\n[label]\nprinter = "{printer}"\n'
        self.lab = StationLab(folder, licences=4, extra=extra)
        (folder / "wifi.txt").write_text(self.words["Wi-Fi password"] + "\n")
        (folder / "export.txt").write_text(self.words["export passphrase"] + "\n")

    def run(self, *arguments, stdin="", code=0):
        """Run a command to its end; what it prints goes to the logs."""
        done = subprocess.run(
            [*UPEER, *map(str, arguments)], input=stdin, capture_output=True, text=True, check=False,
            timeout=_DEADLINE_S, start_new_session=True,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        self.logs += [done.stdout, done.stderr]
        return done.stdout

    def _make_password(self):
        word = self.words["engineer password"]
        return self.run("station", "--make-password", stdin=f"{word}\n{word}\n")

    def secrets(self):
        """Return {name: the forms it could show up in}; setup codes are `setup code N`."""
        factory, found = self.lab.factory, {}
        for number, item in enumerate(factory.licences):
            found[f"licence key {number}"] = forms(item.licence_key)
            found[f"setup code {number}"] = setup_code_forms(item.setup_code)
        record = factory.pool.reserve(factory_lab.mac_of(1)).record
        found["CRCKey"], found["P2PKey"] = forms(record["crc_key"]), forms(record["p2p_key"])
        found["InitString"] = [record["init_string"].encode()]
        found["station key"] = forms(bytes.fromhex(factory.key_file.read_text()))
        platform = load_platform(factory.folder / "shop")
        found["office key"] = forms(read_office_key(platform.folder))
        found["platform key"] = forms(platform.admin_root)
        return found | {name: forms(word.encode()) for name, word in self.words.items()}

    def kept(self):
        """Return where secrets belong: the office, the key and password files, the boards' own flash."""
        lab = self.lab
        files = [lab.factory.key_file, self.folder / "wifi.txt", self.folder / "export.txt"]
        return [self.folder / "shop", *files, self.folder / "board-1"]


def _sign_an_image(day):
    """Make a signing key and use it: rightly, and with the wrong passphrase."""
    word, key = day.words["signing passphrase"], day.out / "release.pem"
    (day.out / "app.bin").write_bytes(bytes(8192))
    day.run("sign", "key", key, stdin=word + "\n")
    options = ("sign", "image", day.out / "app.bin", "--key", key, "--out", day.out / "app.signed.bin")
    day.run("--debug", *options, stdin=word[:-1] + "\n", code=4)
    day.run(*options, stdin=word + "\n")


def _crash_a_station(day, board):
    """Crash a station and its mpremote while the licence is written; return the cores that this left."""
    with core_lab.cores_allowed(day.work):
        station = RunningStation(day.lab.config)
    with station:
        assert board.reached.wait(_DEADLINE_S), station.rows
        left = crash(station.process, day.folder)
    board.go_on.set()
    assert "mpremote" in left
    day.logs += [repr(station.rows), station.errors]
    return left


def _work_at_the_screen(day):
    """Have the board pass, unlock engineer mode, and crash the station there; return the cores that this left."""
    with core_lab.cores_allowed(day.work):
        screen = Screen(day.lab.config)
    with screen:
        screen.wait_for("passed 1", _DEADLINE_S)
        screen.type("e" + day.words["engineer password"] + "\r")
        screen.wait_for("engineer mode")
        screen.type("g")
        screen.read(0.5)
        left = crash(screen.process, day.folder)
    day.logs.append(screen.drawn)
    return left


def _export_everything(day):
    """Run what exports, lists and reports; labels go to a folder of their own."""
    lab = day.lab
    pool = ("--pool", lab.factory.url, "--station-key", lab.factory.key_file)
    for form in ("csv", "jsonl"):
        day.run("audit", "export", *pool, "--out", day.out / f"records.{form}")
    office = ("--platform", lab.factory.folder / "shop")
    sealed = ("--out", day.out / "burned.json", "--passphrase-file", day.folder / "export.txt")
    day.run("pool", "export", *pool, *office, *sealed)
    for words in (("pool", "status"), ("pool", "list"), ("audit", "verify")):
        day.run(*words, *pool, "--json")
    (day.folder / "labels").mkdir()
    for form in ("zpl", "svg", "png"):
        place = day.folder / "labels" / f"label.{form}"
        day.run("label", *pool, "--mac", factory_lab.mac_of(1), "--out", place, "--json")


def _places(day, watcher):
    """Return {place: its bytes} of all that is searched but labels and core dumps."""
    kept = [*day.kept(), day.folder / "labels"]
    files = [
        path
        for path in day.folder.rglob("*")
        if path.is_file() and not any(path == own or own in path.parents for own in kept)
    ]
    exports = [path for path in files if day.out in path.parents]
    assert {"records.csv", "records.jsonl", "burned.json", "release.pem"} <= {path.name for path in exports}
    assert {"pool.db", "station.toml", "line-1.counters.json"} <= {path.name for path in files}
    return {
        "logs": "\n".join(day.logs).encode(),
        _PROGRAMS: b"\n".join(watcher.seen),
        "exports": b"\n".join(path.read_bytes() for path in exports),
        "files that are left": b"\n".join(path.read_bytes() for path in files),
    }


def found_in(places, planted):
    """Return {place: the names of the secrets that are in it}, of the places that have any."""
    found = {place: [name for name, texts in planted.items() if leaks(texts, data)] for place, data in places.items()}
    return {place: names for place, names in found.items() if names}


def test_a22_secrets_of_the_line_are_in_none_of_the_five_places(tmp_path, monkeypatch):
    with label_printer() as (address, printed):
        day = Day(tmp_path, address)
        monkeypatch.setenv("TMPDIR", str(day.scratch))
        board = CrashBoard(tmp_path / "board-1", day.lab.ports / "port-1", factory_lab.mac_of(1), moment=b"writeblocks")
        with Watcher(day.scratch) as watcher, board:
            _sign_an_image(day)
            left = [_crash_a_station(day, board), _work_at_the_screen(day)]
            with RunningStation(day.lab.config, ("--runs", "1")) as station:
                assert station.finish(_DEADLINE_S) == 0, station.story
            day.logs += [repr(station.rows), station.errors]
            _export_everything(day)
        planted = day.secrets()
        record = licence_of(board)
        day.lab.factory.pool.close()
    places = _places(day, watcher)
    assert day.words["Wi-Fi password"].encode() in board.typed, "the secrets were in use"
    assert station.runs[-1]["selftest"]["loop"][0] is True
    assert record["licence_key"] in board.flash() and len(planted) == 2 * 4 + 10
    programs = places.pop(_PROGRAMS)
    assert all(word in programs for word in (b"mpremote", b"esptool", b"upeer_cli"))
    assert all(record["did"].encode() in data for data in places.values()), "the places are where the line writes"
    assert found_in({**places, _PROGRAMS: programs}, planted) == {}
    assert list(day.scratch.iterdir()) == [], "temporary files are left"
    assert not any(any(cores.values()) for cores in left) and find_cores(tmp_path) == []
    _check_labels(day, printed, planted, names.encode_setup_code(record["setup_code"]))


def _check_labels(day, printed, planted, code):
    """A label has its own setup code, and no other secret."""
    files = {path.suffix: path.read_bytes() for path in (day.folder / "labels").iterdir()}
    assert len(printed) == 1 and all(code.encode() in data for data in (printed[0], files[".zpl"], files[".svg"]))
    own = {name for name, texts in planted.items() if code.encode() in texts}
    others = {name: texts for name, texts in planted.items() if name not in own}
    assert len(own) == 1 and found_in({"labels": b"\n".join([*printed, *files.values()])}, others) == {}


def test_a22_search_finds_each_secret_in_each_form(tmp_path):
    planted = {"key": forms(b"\xffkey of 32 bytes, with a quote ' "), "code": setup_code_forms(bytes(range(10)))}
    for name, texts in planted.items():
        for text in texts:
            assert found_in({"here": b"before " + text + b" after", "there": b"nothing"}, planted) == {"here": [name]}
