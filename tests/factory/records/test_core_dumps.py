"""No core dump holds a secret: the line's programs are crashed by signals while they hold planted ones.

Every crash has its control: the same program without its hardening leaves a core file with the secret in it. Where
the system writes no core files (core_pattern names a program), the control is skipped, and what counts are the limits
of the running processes.
"""

import array
import contextlib
import fcntl
import resource
import subprocess
import termios
import time
import tomllib
from pathlib import Path

import core_lab
import factory_lab
import pytest
import station_lab
from core_lab import CONTROL, UPEER, CrashBoard
from office_tools import make_office
from ports import free_port
from secret_search import forms, leaks
from station_lab import RunningStation, StationLab

from upeer_board import image
from upeer_board.boards import load_board
from upeer_cli import hardening, main
from upeer_office.platforms import load_platform

_DEADLINE_S = 300
_FCTRY = load_board("ESP32_GENERIC").partitions["fctry"].offset.to_bytes(4, "little")
_WIFI = b"planted wifi password"
_EXTRA = 'wifi_password_file = "wifi.txt"\n[selftest]\nmin_aps = 1\n'

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="looks at processes in /proc"),
]


@pytest.fixture(scope="module")
def no_cores():
    return core_lab.no_cores_reason()


@pytest.fixture(params=["hardened", "control"])
def program(request, no_cores):
    """The command line as it is, and as it was without its hardening."""
    if request.param == "control" and no_cores:
        pytest.skip(no_cores)
    return UPEER if request.param == "hardened" else CONTROL


@pytest.fixture(scope="module")
def flashed(tmp_path_factory):
    """The flash of a board that a station made."""
    lab = StationLab(tmp_path_factory.mktemp("flashed"))
    with lab.board(1) as board, RunningStation(lab.config) as station:
        station.wait_for_pass([board.mac], _DEADLINE_S)
        station.stop()
    lab.factory.pool.close()
    return board.flash()


@pytest.fixture
def lab(tmp_path):
    made = StationLab(tmp_path, extra=_EXTRA)
    (tmp_path / "wifi.txt").write_bytes(_WIFI)
    yield made
    made.factory.pool.close()


def _check(program, left, running, secrets):
    """Hardened programs left no core and could not; those of the control left one, with a secret where one is due."""
    assert set(secrets) <= set(left), "the programs that hold a secret were there"
    if program is UPEER:
        assert set(running.values()) == {(("1", "1"), 0)}
        assert not any(left.values()), f"core files of {[name for name in left if left[name]]}"
        return
    assert all(left.values()), "every crash of the control leaves a core"
    for name, planted in secrets.items():
        assert leaks(planted, left[name]), f"the core of {name} holds the secret that it had"


def _crash(process, folder):
    """Crash a program; return ({program: core}, {program: (its limits, its filter)})."""
    pids = [process.pid, *core_lab.below(process.pid)]
    running = {core_lab.program_of(pid): (core_lab.limits_of(pid), core_lab.filter_of(pid)) for pid in pids}
    return core_lab.crash(process, folder), running


def _licence_of_board_1(lab):
    """Return what board 1 gets, in all its forms."""
    taken = lab.factory.pool.reserve(factory_lab.mac_of(1))
    record = taken.record
    return [form for name in ("licence_key", "crc_key", "p2p_key") for form in forms(record[name])]


def _board_1(lab, moment):
    return CrashBoard(lab.folder / "board-1", lab.ports / "port-1", factory_lab.mac_of(1), moment=moment)


@pytest.mark.usefixtures("micropython")
@pytest.mark.parametrize(
    ("moment", "holder"), [(b"writeblocks", "mpremote"), (_FCTRY, "esptool")], ids=["write-by-repl", "write-by-rom"]
)
def test_crash_of_burn_while_the_licence_is_written(lab, flashed, program, moment, holder):
    licence = _licence_of_board_1(lab)
    options = ["--pool", lab.factory.url, "--station-key", str(lab.factory.key_file), "--rewrite"]
    options += ["--board", "ESP32_GENERIC"] if holder == "esptool" else []
    board = _board_1(lab, moment)
    (board.folder / "flash.bin").write_bytes(flashed)
    with board:
        with core_lab.cores_allowed(lab.folder / "work"):
            command = [*program, "burn", *options, "--port", str(board.link)]
            burn = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        with burn:
            assert board.reached.wait(_DEADLINE_S), "the licence was written"
            left, running = _crash(burn, lab.folder)
    _check(program, left, running, {holder: licence, "upeer": licence})
    assert core_lab.find_cores(lab.folder) == []


@pytest.mark.usefixtures("micropython")
@pytest.mark.parametrize(
    ("moment", "holder"),
    [(b"writeblocks", "mpremote"), (b"device.selftest", "mpremote"), (b"\x00\x10\x00\x00", "esptool")],
    ids=["licence", "wifi-password", "flash"],
)
def test_crash_of_a_station_and_its_tools(lab, flashed, program, moment, holder, monkeypatch):
    """esptool has no secret when it flashes: it leaves no core all the same."""
    licence = _licence_of_board_1(lab)
    monkeypatch.setattr(station_lab, "UPEER", program)
    board = _board_1(lab, moment)
    if holder == "mpremote":
        (board.folder / "flash.bin").write_bytes(flashed)
    with board:
        with core_lab.cores_allowed(lab.folder / "work"):
            station = RunningStation(lab.config)
        with station:
            assert board.reached.wait(_DEADLINE_S), station.rows
            left, running = _crash(station.process, lab.folder)
    of_tool = {b"writeblocks": licence, b"device.selftest": [_WIFI]}.get(moment)
    assert holder in left
    _check(program, left, running, {"upeer": [_WIFI]} | ({holder: of_tool} if of_tool else {}))
    assert core_lab.find_cores(lab.folder) == []


@contextlib.contextmanager
def _serving(program, folder, work):
    """Serve a platform, cores allowed; yield the process once it is ready."""
    with core_lab.cores_allowed(work):
        command = [*program, "serve", str(folder), "--json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with process:
        try:
            assert process.stdout.readline().startswith(b"{")
            yield process
        finally:
            process.kill()


def _make_platform(folder):
    """Make a platform; return the secrets of its servers, in all their forms."""
    with make_office(folder, (f"127.0.0.1:{free_port()}",)) as office:
        office.issue(1)
    platform = load_platform(folder)
    return [form for server in (*platform.masters, *platform.p2p_servers) for form in forms(server.secret)]


def test_crash_of_a_server(program, tmp_path):
    planted = _make_platform(tmp_path / "shop")
    with _serving(program, tmp_path / "shop", tmp_path / "work") as server:
        left, running = _crash(server, tmp_path)
    _check(program, left, running, {"upeer": planted})
    assert core_lab.find_cores(tmp_path) == []


def test_crash_of_sign_while_the_passphrase_is_typed(program, tmp_path):
    with core_lab.cores_allowed(tmp_path / "work"):
        command = [*program, "sign", "key", str(tmp_path / "release.pem")]
        sign = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    with sign:
        sign.stdin.write(b"planted passphrase, not yet wh")
        sign.stdin.flush()
        _wait_until_read(sign.stdin)
        left, running = _crash(sign, tmp_path)
    _check(program, left, running, {"upeer": [b"planted passphrase"]})
    assert core_lab.find_cores(tmp_path) == [] and not (tmp_path / "release.pem").exists()


def _wait_until_read(pipe):
    """Wait until the other end has taken all that is in a pipe."""
    count, end = array.array("i", [1]), time.monotonic() + _DEADLINE_S
    while count[0]:
        assert time.monotonic() < end, "stdin was read"
        time.sleep(0.05)
        fcntl.ioctl(pipe, termios.FIONREAD, count)


@pytest.mark.usefixtures("micropython")
def test_interpreter_of_a_virtual_board_dumps_nothing(tmp_path):
    """Its working folder is /: what it is allowed to do is looked at, no crash is made there."""
    image.build(load_board("UNIX"), tmp_path / "board", image.Options())
    with core_lab.cores_allowed(tmp_path / "work"):
        command = [*UPEER, "board", "run", str(tmp_path / "board"), "--json"]
        run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with run:
        assert run.stdout.readline()
        pids = [run.pid, *core_lab.below(run.pid)]
        assert len(pids) >= 2
        assert {(core_lab.limits_of(pid), core_lab.filter_of(pid)) for pid in pids} == {(("1", "1"), 0)}
        run.terminate()


def test_dump_that_the_limit_does_not_stop_holds_no_memory(no_cores, tmp_path):
    """A hard limit of 0 that stands already, and a core_pattern that does not heed it: the dump comes, and is empty."""
    if no_cores:
        pytest.skip(no_cores)
    planted = _make_platform(tmp_path / "shop")
    with _serving(core_lab.FILTERED, tmp_path / "shop", tmp_path / "work") as server:
        left, running = _crash(server, tmp_path)
    assert running["upeer"][1] == 0
    assert left["upeer"] and leaks(planted, left["upeer"]) == []


def test_system_that_refuses_is_passed_over(monkeypatch, tmp_path, capfd):
    def refuse(*_):
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    monkeypatch.setattr(hardening, "_FILTER", tmp_path)
    hardening.forbid_core_dumps()
    assert capfd.readouterr() == ("", "")


def test_every_command_goes_through_the_hardened_entry(project_root, monkeypatch):
    scripts = tomllib.loads((project_root / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"upeer": "upeer_cli.main:main"}
    called = []
    monkeypatch.setattr(main, "forbid_core_dumps", lambda: called.append("hardened"))
    monkeypatch.setattr(main, "run", lambda: called.append("run") or 0)
    with pytest.raises(SystemExit):
        main.main()
    assert called == ["hardened", "run"]
