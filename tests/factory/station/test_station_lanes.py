"""Lanes and station at work, with boards that are files: threads, faults, the screen's contents, keys that act."""

import json
import threading
import time

import factory_lab
import pytest
from fake_flasher import FakeFlasher
from rich.console import Console

from upeer_factory.errors import FactoryError
from upeer_factory.flash import children
from upeer_factory.flash.faults import Fault
from upeer_factory.flash.flash import FlashResult
from upeer_factory.pool import audit
from upeer_factory.station.keys import Keys
from upeer_factory.station.lane import LaneRun, Line, Outcome
from upeer_factory.station.lane_state import WAITING
from upeer_factory.station.run import Stop, obey
from upeer_factory.station.screen import render
from upeer_factory.station.station import Settings, Station
from upeer_factory.station.watch import Watch

MAC = factory_lab.mac_of(1)


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


def test_label_is_printed_once_and_after_a_failure_again(factory, tmp_path):
    printed, broken = [], [FactoryError("E30", "no paper")]

    def label(licence):
        if broken:
            raise broken.pop()
        printed.append(licence.did)

    line = _line(factory, tmp_path, FakeFlasher(), label=label)
    outcomes = [_run(line)[0] for _ in range(3)]
    assert [(outcome.ok, outcome.again) for outcome in outcomes] == [(False, False), (True, False), (True, True)]
    assert len(printed) == 1


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
                assert self.gate.wait(60)
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


def test_station_that_is_closed_counts_what_passed_and_not_what_it_stopped(factory, tmp_path):
    class Stopped(FakeFlasher):
        def flash(self, port, on_progress=None, cancel=None):
            if port.endswith("1"):
                assert cancel.wait(60)
                raise Fault("F11", "", port, "writing")
            return super().flash(port, on_progress, cancel)

    station = _station(factory, tmp_path, Stopped())
    station.pump(0.0)
    while not any(row["event"] == "passed" for row in audit.entries(factory.pool.database)):
        time.sleep(0.01)
    assert [(outcome.lane, outcome.ok) for outcome in station.close()] == [(2, True)]
    assert (station.stats.passed, station.stats.failed) == (1, 0)


def test_retry_right_after_a_run_does_the_steps_that_were_asked_for(factory, tmp_path):
    """Even while the pool takes its time to tell the stock."""
    station = _station(factory, tmp_path, FakeFlasher())
    asked, status = threading.Event(), factory.pool.status
    factory.pool.status = lambda: asked.wait(60) and status()
    _pump(station, 2)
    assert station.retry(1, ("flash",))
    assert [(outcome.lane, outcome.did) for outcome in _pump(station, 1)] == [(1, "")]
    asked.set()
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
    row = json.loads(json.dumps(Outcome(1, "port-1", False, 2.0, MAC, code="E25").as_dict()))
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
