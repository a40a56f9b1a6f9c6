"""The station without a terminal: the lanes' table, ports that come and go, counters, keys, the file, the screen."""

import factory_lab
import pytest

from upeer_factory.flash.ports import Port, list_ports
from upeer_factory.station import config as station_config
from upeer_factory.station import keys as station_keys
from upeer_factory.station import lane_state
from upeer_factory.station.keys import ENGINEER, OPERATOR, Keys
from upeer_factory.station.lane import Outcome
from upeer_factory.station.lane_state import FAIL, PASS, LaneState
from upeer_factory.station.stats import Stats
from upeer_factory.station.watch import Watch

MAC = factory_lab.mac_of(1)


# -- the lanes' table ---------------------------------------------------------------------------------------------


def _lane(*events):
    lane = LaneState(1, "port-1")
    for number, event in enumerate(events):
        assert lane.handle(event, float(number)), event
    return lane


def test_lane_goes_from_plug_to_pass():
    lane = _lane("plugged", "start", "flash", "burn", "prove", "selftest", "secure", "label", "done")
    assert (lane.state, lane.seconds, lane.has_board) == (PASS, 7.0, True)


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


def test_lane_does_not_take_the_next_board_for_the_one_that_passes():
    lane = _lane("plugged", "start", "burn", "prove", "label")
    assert not lane.handle("unplugged", 5.0) and not lane.has_board
    assert lane.handle("plugged", 6.0) and lane.is_running
    assert lane.handle("done", 7.0, did="the first") and (lane.state, lane.has_board) == (lane_state.WAITING, True)
    assert lane.handle("start", 8.0) and lane.did == ""


def test_lane_whose_next_board_went_again_shows_the_pass():
    lane = _lane("plugged", "start", "burn", "prove", "label", "plugged", "unplugged", "done")
    assert (lane.state, lane.has_board) == (PASS, False)


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


def test_watch_skips_a_link_that_is_being_made(tmp_path):
    (tmp_path / ".#port").touch()
    assert Watch(folder=tmp_path).poll(0.0) == [] and list_ports(tmp_path, tmp_path) == []
    (tmp_path / ".#port").rename(tmp_path / "port")
    assert Watch(folder=tmp_path).poll(0.0) == [("plugged", str(tmp_path / "port"))]
    assert [port.name for port in list_ports(tmp_path, tmp_path)] == [str(tmp_path / "port")]


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
        ("burn_efuses = true\n", "needs a recipe with"), ("burn_efuses = 3\n", "burn_efuses"),
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
