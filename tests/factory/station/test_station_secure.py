"""The lane's step "secure" at real espefuse's virtual chips: order, resume, refusals, records. Ports: ..._ports.py."""

import dataclasses
import io
import json
import threading

import factory_lab
import line
import pytest
import secure
import virtual_efuses
from fake_flasher import FakeFlasher
from rich.console import Console

from upeer_cli import main
from upeer_factory.efuses import run as security_run
from upeer_factory.efuses import securing
from upeer_factory.efuses import state as security_state
from upeer_factory.efuses.securing import Board
from upeer_factory.errors import NOT_SECURED, FactoryError
from upeer_factory.pool import audit
from upeer_factory.station import lane_state
from upeer_factory.station.keys import Keys
from upeer_factory.station.lane import LaneRun, Line
from upeer_factory.station.lane_state import LaneState
from upeer_factory.station.screen import render
from upeer_factory.station.station import Station
from upeer_factory.station.watch import Watch

MAC, OTHER = factory_lab.mac_of(1), factory_lab.mac_of(2)
pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("memory")]
STEPS = ("burn-key", "burn-key-digest", "burn-efuse", "burn-efuse")


@pytest.fixture(scope="module", autouse=True)
def project(tmp_path_factory):
    with line.project(line.small_project(tmp_path_factory.mktemp("project"), (virtual_efuses.CHIP,))) as folder:
        yield folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, made, memory):
    return virtual_efuses.make_securing(tmp_path_factory.mktemp("recipe") / "1", made)


@pytest.fixture
def factory(tmp_path):
    found = factory_lab.make_factory(tmp_path)
    yield found
    found.pool.close()


class Lane:
    """One lane with one board: a file for its flash and one for its eFuses."""

    def __init__(self, factory, folder, securing):
        self.factory, self.folder = factory, folder
        self.flasher, self.labels = FakeFlasher(), []
        self.flashed = 0
        self.board = factory_lab.FileBoard(folder / "flash", MAC)
        self.use(securing)
        virtual_efuses.new_chip(self.chip)

    @property
    def chip(self):
        return self.folder / "chip.efuses"

    def use(self, securing):
        """Let the station have this recipe's plan."""
        self.securing = virtual_efuses.VirtualSecuring.of(securing)
        self.securing.chip = self.chip
        self.line = Line(self.factory.pool, self, label=self.labels.append, make_target=lambda _port: self.board,
                         boot_seconds=0.3, busy_seconds=0.5, securing=self.securing)  # fmt: skip

    def flash(self, *arguments):
        self.flashed += 1
        return dataclasses.replace(self.flasher.flash(*arguments), recipe=self.securing.pin)

    def run(self, *steps):
        """Run the board; `told` is what the screen was told."""
        self.told = []
        run = LaneRun(self.line, 1, "port-1", lambda event, **_: self.told.append(event), threading.Event())
        return run.run(*([steps] if steps else []))

    def events(self):
        return [row["event"] for row in audit.entries(self.factory.pool.database)][2:]

    def row(self, event):
        return next(row for row in audit.entries(self.factory.pool.database) if row["event"] == event)

    def efuses(self):
        return security_run.summary(security_run.Target(virtual_efuses.CHIP, file=self.chip))

    def is_done(self):
        return not security_state.missing(self.securing.plan, self.efuses(), "it")

    def by_hand(self, *arguments):
        virtual_efuses.run_espefuse(self.chip, *arguments)


@pytest.fixture
def lane(factory, tmp_path, prepared):
    return Lane(factory, tmp_path, prepared)


@pytest.fixture
def burned(monkeypatch):
    """The commands of espefuse that were let through, in order; `cut` ends the station before or after the nth."""

    class Burned(list):
        cut = None

    made, burn = Burned(), security_run._burn_step

    def burn_step(plan, step, mac, target):
        if made.cut == (len(made), "before"):
            raise KeyboardInterrupt
        burn(plan, step, mac, target)
        made.append(step.arguments[0])
        if made.cut == (len(made), "after"):
            raise KeyboardInterrupt

    monkeypatch.setattr(security_run, "_burn_step", burn_step)
    return made


def test_no_key_is_in_records_and_rows(lane, monkeypatch, memory):
    """First, for it has to forget what it does not burn itself; the others have all that it makes espefuse do."""
    memory.forget()
    planted, asked = bytes.fromhex(line.sha256(b"planted")), []
    monkeypatch.setattr(security_run.os, "urandom", lambda size: asked.append(size) or planted[:size])
    rows = [lane.run().as_dict(), lane.run().as_dict(), *audit.entries(lane.factory.pool.database)]
    assert 32 in asked, "the planted key was burned"
    text = json.dumps(rows).lower()
    for form in (planted.hex(), planted.hex(" "), planted[::-1].hex(), planted[::-1].hex(" ")):
        assert form not in text
    files = [path for path in lane.folder.rglob("*") if path.is_file() and path != lane.chip]
    assert not any(planted in path.read_bytes() for path in files)
    audit.verify(lane.factory.pool.database, lane.factory.pool.key)


def test_board_is_locked_after_it_has_proved_its_licence(lane, burned):
    outcome = lane.run()
    assert (outcome.ok, outcome.secured, outcome.as_dict()["secured"]) == (True, "now", "now"), outcome
    assert lane.told == ["flash", "progress", "burn", "prove", "secure", "label"]
    assert lane.events() == ["flashed", "reserved", "burned", "securing", "secured", "passed"]
    assert tuple(burned) == STEPS and lane.is_done() and len(lane.labels) == 1 and lane.securing.resets == 1
    assert lane.row("flashed")["efuses"] == "blank"
    assert lane.row("secured")["changed"]["SECURE_BOOT_EN"] == [False, True]


def test_secured_board_is_neither_flashed_nor_burned_again(lane, burned):
    lane.run()
    before = lane.chip.read_bytes()
    outcome = lane.run()
    assert (outcome.ok, outcome.secured, outcome.again, lane.flashed) == (True, "already", True, 1)
    assert tuple(burned) == STEPS and lane.chip.read_bytes() == before and len(lane.labels) == 1
    assert lane.events()[6:] == ["proved again", "passed"]


@pytest.mark.parametrize("cut", [(0, "before"), *[(number, "after") for number in range(1, len(STEPS) + 1)]])
def test_station_that_dies_at_a_step_goes_on_with_the_next(lane, burned, cut):
    burned.cut = cut
    with pytest.raises(KeyboardInterrupt):
        lane.run()
    assert "secured" not in lane.events() and "passed" not in lane.events() and len(burned) == cut[0]
    burned.cut = None
    outcome = lane.run()
    assert outcome.ok, outcome
    assert tuple(burned) == STEPS and lane.is_done() and lane.events().count("secured") == 1
    assert lane.flashed == (2 if cut[0] == 0 else 1), "a board with a key is not flashed again"


def test_digest_without_its_protection_gets_it_and_no_other_digest(lane, tmp_path, burned):
    burned.cut = (1, "after")
    with pytest.raises(KeyboardInterrupt):
        lane.run()
    digest = lane.securing.plan.expected["BLOCK_KEY0"]
    (tmp_path / "digest").write_bytes(bytes.fromhex(digest))
    lane.by_hand("burn-block-data", "BLOCK_KEY0", tmp_path / "digest")
    burned.cut = None
    assert lane.run().ok and lane.efuses()["BLOCK_KEY0"]["value"] == digest
    assert not lane.efuses()["BLOCK_KEY0"]["writeable"]


def test_half_a_key_sets_the_board_aside_and_no_second_one_is_burned(lane, tmp_path, burned):
    burned.cut = (0, "before")
    with pytest.raises(KeyboardInterrupt):
        lane.run()
    key = bytes(range(1, 33))
    (tmp_path / "key").write_bytes(key)
    lane.by_hand("burn-block-data", "BLOCK_KEY1", tmp_path / "key")
    before = lane.chip.read_bytes()
    outcome = lane.run()
    assert (outcome.code, outcome.hint) == ("E40", "set the board aside: eFuses cannot be mended")
    assert lane.chip.read_bytes() == before and burned == [] and lane.flashed == 1
    assert key.hex(" ") not in json.dumps([*audit.entries(lane.factory.pool.database), outcome.as_dict()])


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (["burn-efuse", "DIS_PAD_JTAG", "1"], "E40", "DIS_PAD_JTAG"),
        (["burn-efuse", "SPI_BOOT_CRYPT_CNT", "1"], "E40", "SPI_BOOT_CRYPT_CNT"),
        (["burn-key", "BLOCK_KEY0", "@other", "SECURE_BOOT_DIGEST0"], "E40", "BLOCK_KEY0"),
        (["burn-key", "BLOCK_KEY3", "@other", "SECURE_BOOT_DIGEST1"], "E40", "BLOCK_KEY3"),
        (["burn-key", "BLOCK_KEY2", "@other", "XTS_AES_128_KEY"], "E40", "BLOCK_KEY2"),
        (["burn-key", "BLOCK_KEY1", "@other", "USER", "--no-read-protect"], "E40", "KEY_PURPOSE_1"),
        (["burn-key", "BLOCK_KEY1", "@other", "XTS_AES_128_KEY"], "E41", "not burned by this line"),
    ],
)  # fmt: skip
def test_board_that_others_burned_is_not_touched(lane, tmp_path, burned, arguments, code, what):
    other = tmp_path / "other"
    other.write_bytes(bytes(range(32)))
    lane.by_hand(*[str(other) if text == "@other" else text for text in arguments])
    before = lane.chip.read_bytes()
    outcome = lane.run()
    assert (outcome.ok, outcome.code) == (False, code) and what in outcome.text and "aside" in outcome.hint
    assert (lane.flashed, burned, lane.chip.read_bytes()) == (0, [], before)
    assert lane.row("failed")["step"] == "look" and lane.factory.pool.status().free == 5


def test_board_that_others_finished_is_not_taken_for_ours(lane, burned):
    target = security_run.Target(virtual_efuses.CHIP, file=lane.chip)
    security_run.burn(lane.securing.plan, target, None, lane.securing._rehearsed)
    count = len(burned)
    assert lane.run().code == "E41" and len(burned) == count and lane.flashed == 0


def test_board_whose_bootloader_burned_by_itself_goes_on(lane, burned, tmp_path, made):
    """An encrypting bootloader makes a key of its own at its first boot if there is none; it was blank before, here."""
    lane.flasher.flash = lambda *arguments, flash=lane.flasher.flash: (flash(*arguments), self_burn())[0]

    def self_burn():
        (tmp_path / "own").write_bytes(bytes(range(2, 34)))
        lane.by_hand("burn-key", "BLOCK_KEY1", tmp_path / "own", "XTS_AES_128_KEY")
        lane.by_hand("burn-efuse", "SPI_BOOT_CRYPT_CNT", "1")

    outcome = lane.run()
    assert outcome.ok and tuple(burned) == STEPS[1:] and lane.is_done(), outcome
    assert lane.run().secured == "already" and lane.flashed == 1


def test_another_board_at_the_port_is_not_burned(lane, burned, tmp_path):
    swapped = Board("port-1", OTHER, "TEST", lane.board)
    before = lane.chip.read_bytes()
    with pytest.raises(FactoryError) as caught:
        lane.securing.secure(swapped, lane.factory.pool, lambda: None)
    assert caught.value.code == "E21" and burned == [] and lane.chip.read_bytes() == before
    assert "securing" not in lane.events()


def test_board_swapped_before_the_very_burn_is_not_burned(lane, tmp_path):
    """Between the summary and espefuse's run that burns: the run itself tells another MAC, and gets no BURN."""
    other = virtual_efuses.new_chip(tmp_path / "other.efuses", OTHER)
    before = other.read_bytes()
    with pytest.raises(FactoryError) as caught:
        security_run._burn_step(
            lane.securing.plan, lane.securing.plan.steps[0], MAC, security_run.Target(virtual_efuses.CHIP, file=other)
        )
    assert caught.value.code == "E21" and other.read_bytes() == before


def test_board_swapped_between_look_and_flash_fails(lane):
    lane.flasher.mac = OTHER
    outcome = lane.run()
    assert (outcome.code, outcome.step) == ("E21", "flash") and "flashed" not in lane.events()


def test_station_with_another_recipe_refuses_a_secured_board(lane, burned, prepared):
    lane.run()
    lane.use(securing.Securing(prepared.plan, "f" * 64, prepared._rehearsed))
    outcome = lane.run()
    assert (outcome.code, lane.flashed, len(burned)) == ("E43", 1, len(STEPS)) and prepared.pin[:12] in outcome.text


def test_chip_that_hides_its_efuses_is_known_by_the_records(lane, monkeypatch):
    lane.run()

    def refused(_target):
        raise FactoryError(NOT_SECURED, "Secure Download Mode is enabled")

    monkeypatch.setattr(security_run, "summary", refused)
    outcome = lane.run()
    assert (outcome.ok, outcome.secured, lane.flashed) == (True, "already", 1)
    lane.board.mac = OTHER
    assert lane.run().code == "E42" and lane.flashed == 1


def test_failed_proof_stops_before_anything_irreversible(lane, burned):
    lane.board.prove = lambda nonce, mac: {"error": "no licence on this device"}
    outcome = lane.run()
    assert (outcome.ok, outcome.code, burned) == (False, "E25", []) and "securing" not in lane.events()


def test_engineers_flash_only_and_burn_only_lock_nothing(lane, burned):
    assert lane.run("flash").ok and lane.run("burn").ok
    assert burned == [] and "passed" not in lane.events() and "secured" not in lane.events()


def test_jtag_alone_leaves_a_board_that_is_flashed_as_before(factory, tmp_path, made):
    lane = Lane(factory, tmp_path, virtual_efuses.make_securing(tmp_path / "recipe", made, "jtag_off = true"))
    assert [lane.run().secured for _ in range(2)] == ["now", "already"] and lane.flashed == 2


def test_screen_shows_securing():
    state = LaneState(1, "port-1")
    for event in ("plugged", "start", "flash", "burn", "prove", "selftest", "secure"):
        assert state.handle(event, 1.0)
    assert state.state == lane_state.SECURING and state.is_running
    assert state.handle("label", 2.0) and state.handle("done", 3.0, secured="now")


def test_screen_and_log_say_what_becomes_of_efuses(lane):
    lane.line.efuses = securing.LEFT_ALONE
    station = Station(lane.line, Watch([]))
    station.lanes.append(LaneState(1, "port-1", lane_state.PASS, secured="already"))
    console = Console(width=110, height=30, record=True, file=io.StringIO())
    console.print(render(station, Keys(lambda _text: True), 110))
    text = console.export_text()
    assert "eFuses are left alone" in text and "secured already" in text
    assert any("no burn_efuses = true" in line for line in station.log)
    station.close()


def test_cli_goes_on_with_resume(tmp_path, made, prepared, capsys):
    board = f"LINE_{virtual_efuses.CHIP.upper()}"
    path, pin = secure.write_recipe(tmp_path / "recipe", board, made, virtual_efuses.ALL)
    chip = virtual_efuses.new_chip(tmp_path / "chip")
    target = security_run.Target(virtual_efuses.CHIP, file=chip)
    for step in prepared.plan.steps[:2]:
        security_run._burn_step(prepared.plan, step, MAC, target)
    command = ["security", "burn", "--recipe", str(path), "--pin", pin, "--efuse-file", str(chip), "--yes", "--json"]
    assert main.run(command) == 1 and "burned already" in capsys.readouterr().err
    assert main.run([*command, "--resume"]) == 0
    changed = json.loads(capsys.readouterr().out)["changed"]
    assert changed["SECURE_BOOT_EN"] == [False, True] and "BLOCK_KEY1" not in changed
    assert main.run([*command, "--resume"]) == 0 and json.loads(capsys.readouterr().out)["changed"] == {}
