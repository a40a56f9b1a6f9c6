"""The station without a terminal: the lanes' table, ports that come and go, counters, keys, the file, the screen."""

import json
import threading

import factory_lab
import pytest
from rich.console import Console

from upeer_factory import children, lane_state, station_config, station_keys
from upeer_factory.errors import FactoryError
from upeer_factory.faults import Fault
from upeer_factory.flash import FlashResult, Progress
from upeer_factory.lane import LaneRun, Line, Outcome
from upeer_factory.lane_state import FAIL, PASS, WAITING, LaneState
from upeer_factory.ports import Port
from upeer_factory.station import Settings, Station
from upeer_factory.station_keys import ENGINEER, OPERATOR, Keys
from upeer_factory.station_run import Stop, obey
from upeer_factory.station_screen import render
from upeer_factory.station_stats import Stats
from upeer_factory.watch import Watch

MAC = factory_lab.mac_of(1)


# -- the lanes' table ---------------------------------------------------------------------------------------------


def _lane(*events):
    lane = LaneState(1, "port-1")
    for number, event in enumerate(events):
        assert lane.handle(event, float(number)), event
    return lane


def test_lane_goes_from_plug_to_pass():
    lane = _lane("plugged", "start", "flash", "burn", "prove", "selftest", "label", "done")
    assert (lane.state, lane.seconds, lane.has_board) == (PASS, 6.0, True)


def test_lane_fails_from_every_step():
    for step in lane_state.STEPS:
        lane = _lane("plugged", "start", step)
        assert lane.handle("failed", 9.0, code="F07") and (lane.state, lane.code) == (FAIL, "F07")


def test_lane_at_work_heeds_neither_plug_nor_start():
    lane = _lane("plugged", "start", "flash")
    assert not any(lane.handle(event, 3.0) for event in ("plugged", "unplugged", "start", "again"))
    assert lane.state == lane_state.FLASHING


def test_lane_keeps_its_result_until_the_next_board():
    lane = _lane("plugged", "start", "failed")
    lane.code = "F05"
    assert not lane.handle("unplugged", 4.0) and (lane.state, lane.code) == (FAIL, "F05")
    assert lane.handle("plugged", 5.0) and lane.handle("start", 5.0) and lane.code == ""


def test_lane_table_has_no_state_without_a_way_out():
    for state, row in lane_state._NEXT.items():
        assert row and set(row.values()) <= set(lane_state._NEXT), state


# -- ports --------------------------------------------------------------------------------------------------------


def test_watch_heeds_a_folder_of_links(tmp_path):
    watch = Watch(folder=tmp_path, gone_seconds=1.0)
    assert watch.poll(0.0) == []
    (tmp_path / "b").touch()
    (tmp_path / "a").touch()
    assert watch.poll(1.0) == [("plugged", str(tmp_path / "a")), ("plugged", str(tmp_path / "b"))]
    (tmp_path / "a").unlink()
    assert watch.poll(1.5) == [] and watch.poll(2.5) == [("unplugged", str(tmp_path / "a"))]


def test_watch_overlooks_a_chip_that_resets_its_own_usb(tmp_path):
    port = tmp_path / "port"
    port.touch()
    watch = Watch([str(port)], gone_seconds=1.0)
    assert watch.poll(0.0) == [("plugged", str(port))]
    port.unlink()
    assert watch.poll(0.5) == []
    port.touch()
    assert watch.poll(0.9) == []


def test_watch_takes_every_port_when_none_is_named():
    found = [Port("/dev/serial/by-path/x", "/dev/ttyUSB0")]
    assert Watch(list_ports=lambda: found).poll(0.0) == [("plugged", "/dev/serial/by-path/x")]


def test_watch_skips_a_link_to_nowhere(tmp_path):
    (tmp_path / "port").symlink_to("/dev/pts/99999")
    assert Watch(folder=tmp_path).poll(0.0) == []


# -- counters -----------------------------------------------------------------------------------------------------


def _outcome(ok=True, again=False, code=""):
    return Outcome(1, "port-1", ok, 2.0, MAC, "TEST-000001-YVAEN", again, code=code)


def test_stats_count_yield_and_takt():
    stats = Stats()
    for now in (0.0, 10.0, 30.0, 5000.0):
        stats.count(_outcome(), now)
    stats.count(_outcome(False, code="F07"), 31.0)
    stats.count(_outcome(again=True), 32.0)
    assert (stats.passed, stats.failed, stats.again, stats.yield_percent) == (4, 1, 1, 80.0)
    assert stats.takt_seconds == 15.0  # the break does not count


def test_stats_survive_a_crash_but_not_the_night(tmp_path):
    file = tmp_path / "counters.json"
    Stats(file, "2026-11-22").count(_outcome(False, code="E26"), 0.0)
    assert Stats(file, "2026-11-22").codes == {"E26": 1}
    assert Stats(file, "2026-11-23").failed == 0


@pytest.mark.parametrize("text", ["", "{", "[]", '{"date": "2026-11-22"}', '{"date": "2026-11-22", "passed": "x"}'])
def test_stats_start_anew_from_a_damaged_file(tmp_path, text):
    file = tmp_path / "counters.json"
    file.write_text(text)
    assert Stats(file, "2026-11-22").passed == 0


# -- keys ---------------------------------------------------------------------------------------------------------


def _type(keys, text, now=0.0):
    return [keys.press(key, now) for key in text][-1]


def test_operator_has_five_keys_and_no_others():
    keys = Keys(lambda _text: False)
    assert set(keys.table) == {"s", "r", "l", "e", "q"}
    assert [keys.press(key, 0.0) for key in "srlq"] == ["start or stop", "retry", "label again", "quit"]
    assert [keys.press(key, 0.0) for key in "xfbgo?"] == [None] * 6


def test_engineer_needs_the_password():
    keys = Keys(lambda text: text == "right password")
    _type(keys, "ewrong\r")
    assert keys.mode == OPERATOR and "wait 2 s" in keys.message
    _type(keys, "e", 1.0)
    assert not keys.prompt
    _type(keys, "eright password\r", 2.5)
    assert keys.mode == ENGINEER
    _type(keys, "o")
    assert keys.mode == OPERATOR


def test_password_is_not_shown_and_can_be_left():
    keys = Keys(lambda _text: True)
    _type(keys, "esecret")
    assert keys.typed == "•" * 6 and keys.press("\x7f", 0.0) is None and keys.typed == "•" * 5
    _type(keys, "\x1b")
    assert (keys.mode, keys.prompt) == (OPERATOR, "")


def test_wrong_passwords_lock_for_longer_and_longer():
    keys, now = Keys(lambda _text: False), 0.0
    for wait in (2, 4, 8, 16, 32, 60, 60):
        _type(keys, "eno\r", now)
        assert f"wait {wait} s" in keys.message
        now += wait


def test_scrap_asks_first():
    keys = Keys(lambda _text: True)
    _type(keys, "epassword\r")
    assert _type(keys, "2xno\r") is None and keys.message == "nothing was scrapped"
    assert _type(keys, "xSCRAP\r") == "scrap" and keys.selected == 2


# -- the station's file -------------------------------------------------------------------------------------------

_FILE = 'name = "line-1"\npool = "pool"\nstation_key = "line.key"\n'


def _load(tmp_path, text):
    path = tmp_path / "station.toml"
    path.write_text(text)
    return station_config.load(path)


def test_file_of_four_lines_is_enough(tmp_path):
    file = _load(tmp_path, _FILE)
    assert (file.pool_url, file.low_stock, file.selftest) == (str(tmp_path / "pool"), 100, None)


@pytest.mark.parametrize(
    ("extra", "what"),
    [
        ('recipe = "line.toml"\n', "needs its pin"), ("colour = 1\n", "colour"), ("low_stock = -1\n", "low_stock"),
        ('engineer_password = "hunter2-hunter2"\n', "engineer_password"), ("ports = 3\n", "ports"),
        ("=", "station.toml"), ('[selftest]\npassword = "hunter2"\n', "wifi_password_file"),
    ],
)  # fmt: skip
def test_file_with_a_fault_is_one_line(tmp_path, extra, what):
    with pytest.raises(station_config.StationFileError, match=what) as caught:
        _load(tmp_path, _FILE + extra)
    assert "hunter2" not in str(caught.value) and "\n" not in str(caught.value)


def test_password_hash_fits_its_password_only(tmp_path):
    hashed = station_config.hash_password("long enough")
    assert _load(tmp_path, _FILE + f'engineer_password = "{hashed}"\n').engineer_password == hashed
    assert station_config.is_password("long enough", hashed)
    assert not station_config.is_password("long enougH", hashed) and not station_config.is_password("", "")
    with pytest.raises(ValueError, match="8 letters"):
        station_config.hash_password("short")
    assert station_keys.ENTER == "\r"


# -- the lanes at work: boards that are files ----------------------------------------------------------------------


class FakeFlasher:
    """Stands in for esptool: tells the board's MAC, or raises what it is given."""

    def __init__(self, mac=MAC, faults=()):
        self.mac, self.faults = mac, list(faults)
        self.gate = threading.Event()
        self.gate.set()

    def flash(self, port, on_progress=None, cancel=None):
        assert self.gate.wait(10)
        if self.faults:
            raise self.faults.pop(0)
        on_progress(Progress(port, "writing", "app", 50, 100, self.mac))
        return FlashResult(port, self.mac, "ESP32", "B", "pin", "1.27", 0.1, 100, 50, 100, (), 1, 115200, "full")


@pytest.fixture
def factory(tmp_path):
    made = factory_lab.make_factory(tmp_path)
    yield made
    made.pool.close()


def _line(factory, tmp_path, flasher=None, mac=MAC, **options):
    boards = {}

    def make_target(port):
        return boards.setdefault(port, factory_lab.FileBoard(tmp_path / f"flash-{len(boards)}", mac))

    return Line(factory.pool, flasher, make_target=make_target, boot_seconds=0.3, busy_seconds=0.5, **options)


def _run(line, steps=("flash", "burn", "label")):
    told = []
    run = LaneRun(line, 1, "port-1", lambda event, **fields: told.append((event, fields)), threading.Event())
    return run.run(steps), [event for event, _ in told]


def test_run_tells_its_steps_and_passes(factory, tmp_path):
    printed = []
    outcome, told = _run(_line(factory, tmp_path, FakeFlasher(), label=printed.append))
    assert outcome.ok and outcome.mac == MAC and outcome.did == printed[0].did
    assert told == ["flash", "progress", "burn", "prove", "label"]


def test_run_waits_for_a_port_that_is_still_held(factory, tmp_path):
    flasher = FakeFlasher(faults=[Fault("F02", "", "port-1", "opening")])
    assert _run(_line(factory, tmp_path, flasher))[0].ok


def test_run_with_a_fault_says_what_to_do_and_is_in_the_record(factory, tmp_path):
    outcome, _ = _run(_line(factory, tmp_path, FakeFlasher(faults=[Fault("F05", "", "port-1", "connecting")])))
    assert (outcome.ok, outcome.code, outcome.step) == (False, "F05", "flash") and "hold BOOT" in outcome.hint
    from upeer_factory import audit

    assert list(audit.entries(factory.pool.database))[-1]["error"] == "F05"


def test_run_notices_another_board_after_flashing(factory, tmp_path):
    outcome, _ = _run(_line(factory, tmp_path, FakeFlasher(), mac=factory_lab.mac_of(2)))
    assert outcome.code == "E21" and factory.pool.status().free == 5


def test_run_goes_on_with_a_licence_that_was_reserved_before(factory, tmp_path):
    did = factory.pool.reserve(MAC).did
    outcome, _ = _run(_line(factory, tmp_path, FakeFlasher()))
    assert (outcome.did, outcome.again, factory.pool.status().free) == (did, False, 4)


def test_run_whose_printer_fails_has_burned_and_is_repeated(factory, tmp_path):
    def broken(_licence):
        raise FactoryError("E30", "no paper")

    outcome, _ = _run(_line(factory, tmp_path, FakeFlasher(), label=broken))
    assert (outcome.code, outcome.step, factory.pool.status().burned) == ("E30", "label", 1)


def _station(factory, tmp_path, flasher, **settings):
    for name in ("port-1", "port-2"):
        (tmp_path / "ports").mkdir(exist_ok=True)
        (tmp_path / "ports" / name).touch()
    line = _line(factory, tmp_path, flasher, label=lambda _licence: None)
    return Station(line, Watch(folder=tmp_path / "ports"), Settings(**settings))


def _pump(station, runs, rounds=200):
    ended = []
    for _ in range(rounds):
        ended += station.pump(0.05)
        if len(ended) >= runs:
            return ended
    raise AssertionError(f"{len(ended)} of {runs} runs ended")


def test_station_runs_every_lane_and_none_waits_for_another(factory, tmp_path):
    class Slow(FakeFlasher):
        def flash(self, port, on_progress=None, cancel=None):
            if port.endswith("1"):
                assert self.gate.wait(10)
            mac = factory_lab.mac_of(int(port[-1]))
            return FlashResult(port, mac, "ESP32", "B", "pin", "1.27", 0.1, 9, 9, 9, (), 1, 115200, "full")

    flasher = Slow()
    flasher.gate.clear()
    station = _station(factory, tmp_path, flasher)
    station.line.make_target = lambda port: factory_lab.FileBoard(
        tmp_path / port[-1], factory_lab.mac_of(int(port[-1]))
    )
    assert [outcome.lane for outcome in _pump(station, 1)] == [2]
    flasher.gate.set()
    assert [outcome.lane for outcome in _pump(station, 1)] == [1]
    station.close()
    assert factory.pool.status().burned == 2


def test_station_that_is_stopped_starts_nothing_until_told(factory, tmp_path):
    station = _station(factory, tmp_path, FakeFlasher(), is_on=False)
    for _ in range(10):
        assert station.pump(0.05) == []
    assert [lane.state for lane in station.lanes] == [WAITING, WAITING]
    assert station.retry(1) and _pump(station, 1)[0].lane == 1
    station.close()


def test_station_survives_an_error_that_nobody_expected_without_quoting_it(factory, tmp_path):
    secret = "the-licence-key"
    station = _station(factory, tmp_path, FakeFlasher(faults=[RuntimeError(secret), RuntimeError(secret)]))
    for outcome in _pump(station, 2):
        assert (outcome.code, outcome.text) == ("E99", "unexpected: RuntimeError")
    assert secret not in "".join(station.log)
    station.close()


def _screen(station, keys):
    console = Console(width=110, height=30, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(render(station, keys, 110))
    return console.export_text()


def test_screen_shows_pass_fail_counters_and_stock(factory, tmp_path):
    station = _station(factory, tmp_path, FakeFlasher(), low_stock=4)
    keys = Keys(lambda _text: True)
    first, second = sorted(_pump(station, 2), key=lambda run: not run.ok)
    assert first.ok
    for _ in range(10):
        station.pump(0.02)
    text = _screen(station, keys)
    assert first.did in text and "LOW STOCK" in text and "operator mode" in text and "s start or stop" in text
    assert second.ok or second.code in text
    assert "passed 1" in text or "passed 2" in text
    station.close()


def test_keys_drive_the_station(factory, tmp_path):
    station = _station(factory, tmp_path, FakeFlasher())
    keys, stop = Keys(lambda _text: True), Stop()
    _pump(station, 2)
    for text in ("s", "1l", "9r", "epassword\r", "1xSCRAP\r", "q"):
        for key in text:
            obey(station, keys, keys.press(key, 0.0), stop)
        if text == "s":
            assert not station.is_on
        if text == "9r":
            assert keys.message == "there is no lane 9"
        for _ in range(5):
            station.pump(0.02)
    assert stop.is_set and factory.pool.status().scrapped == 1
    assert any("printed again" in line for line in station.log) and any("scrapped TEST" in line for line in station.log)
    station.close()


def test_outcome_is_a_json_line_without_surprises():
    row = json.loads(json.dumps(_outcome(False, code="E25").as_dict()))
    assert (row["event"], row["ok"], row["code"]) == ("run", False, "E25")


def test_children_end_with_their_thread():
    errors = []

    def work():
        try:
            children.run(["sleep", "30"], b"", 30)
        except Fault as fault:
            errors.append(fault.code)

    thread = threading.Thread(target=work)
    thread.start()
    while not children._running:
        pass
    children.end([thread])
    thread.join(5)
    assert errors == ["F11"] and not children._running
