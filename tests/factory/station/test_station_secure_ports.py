"""Locked boards from end to end: a station as a process, real esptool, espefuse and mpremote at ports with eFuses."""

import contextlib
import functools
import re

import factory_lab
import line
import pytest
import rehearsed_upeer
import secret_search
import secure
import station_lab
from secure_board import SecureBoard
from station_lab import StationLab, for_unix_port, make_recipe

from upeer_board import boards, image
from upeer_factory.efuses import plan as security
from upeer_factory.efuses import run as security_run
from upeer_factory.efuses import state as security_state
from upeer_factory.flash import parts
from upeer_factory.pool import audit

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("micropython")]
ALL = "jtag_off = true\nsecure_boot = true\nflash_encryption = true"
BURNS = 6  # key, its protection, digest, its protection, secure boot with its lock, JTAG
BURN = "burn_efuses = true\n"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """A recipe whose MicroPython is signed and encrypts, with the whole firmware; (path, pin)."""
    folder = tmp_path_factory.mktemp("recipe")
    board = boards.load_board("ESP32_GENERIC")
    path, _ = secure.write_recipe(folder, board.name, secure.make_key(folder), ALL)
    image.build(for_unix_port(board), folder / "image", image.Options(app=folder / "app"))
    built = line.sha256((folder / "image" / "image.json").read_bytes())
    text = re.sub(r'source = "app"\nsha256 = ".*"\n', f'image = "image"\nsha256 = "{built}"\n', path.read_text())
    path.write_text(text)
    return path, line.sha256(text.encode())


@pytest.fixture(scope="module", autouse=True)
def rehearsed(tmp_path_factory):
    """Where the plan's rehearsal is kept: the first station makes it, for the others."""
    file = tmp_path_factory.mktemp("rehearsed") / "plan.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(station_lab, "UPEER", rehearsed_upeer.command(file))
        yield file


class SecureLab(StationLab):
    """A line whose boards have eFuses."""

    def __init__(self, folder, recipe, extra=BURN):
        super().__init__(folder, extra=extra, recipe=recipe)
        self.plan = functools.cache(lambda: security.plan(parts.prepare(*recipe)))

    def board(self, number, **options):
        return SecureBoard(self.folder / f"board-{number}", self.ports / f"port-{number}", self.mac(number), **options)

    @staticmethod
    def mac(number):
        return factory_lab.mac_of(number)

    def events(self, *wanted):
        rows = audit.entries(self.factory.pool.database)
        return [row["event"] for row in rows if not wanted or row["event"] in wanted]

    _locked = set()  # what locked chips show

    def check_locked(self, board):
        """The chip is as the plan promises, with the one key and the one digest; nothing was burned for nothing.

        espefuse looks at the first chip: those that show the same in all registers but the MAC's are locked as well.
        """
        shown = self.plan().public_key, *board.efuses.shown_but_mac()
        if shown not in self._locked:
            state = security_run.summary(security_run.Target("esp32", str(board.link)))
            assert security_state.missing(self.plan(), state, board.mac) == ()
            assert security_state.mac_of(state) == board.mac
            self._locked.add(shown)
        assert board.efuses.mac == board.mac
        assert (len(board.efuses.keys), board.efuses.burns) == (1, BURNS) and board.efuses.is_encrypted


@pytest.fixture
def lab(tmp_path, recipe):
    made = SecureLab(tmp_path, recipe)
    yield made
    made.factory.pool.close()


def test_board_comes_blank_and_leaves_locked(lab):
    with lab.board(1) as board:
        with lab.station("--runs", "1") as station:
            station.wait_for(lambda _runs: lab.events("securing"), 200)  # the board's key is made after this row
            with secret_search.Watcher() as watcher:
                assert station.process.wait(200) == 0, station.story
        assert any(b"burn-key" in text for text in watcher.seen)
        run = station.runs[0]
        assert (run["ok"], run["secured"], run["mac"]) == (True, "now", board.mac)
        assert station.rows[0]["efuses"] == "burned by the recipe's plan"
        first = board.commands.index("BURN")
        assert "FLASH_DEFL_DATA" in board.commands[:first] and "FLASH_DEFL_DATA" not in board.commands[first:]
        assert "REPL" in board.commands[:first] and "REPL" in board.commands[first:], "it proves before and after"
        expected = ["flashed", "reserved", "burned", "securing", "secured", "passed"]
        assert lab.events()[2:] == expected
        written = board.written
        with lab.station("--runs", "1") as again:
            assert again.process.wait(200) == 0, again.story
        assert (again.runs[0]["secured"], again.runs[0]["again"], board.written) == ("already", True, written)
        lab.check_locked(board)
        _no_key(lab, board, watcher.seen | {repr((station.rows, again.rows)).encode(), station.errors.encode()})
    lab.check([board])


def _no_key(lab, board, texts):
    """The board's flash key is in nothing that was printed, run or kept outside the chip, in neither byte order."""
    (key,) = board.efuses.keys
    forms = [form for data in (key, key[::-1]) for form in (*secret_search.forms(data), data.hex(" ").encode())]
    assert len(set(key)) > 8
    files = [path for path in lab.folder.rglob("*") if path.is_file() and path != board.efuses.file]
    for text in [*texts, *[path.read_bytes() for path in files]]:
        assert not secret_search.leaks(forms, text)


def test_power_cut_after_a_burn_costs_one_retry(lab):
    """Boards side by side at one station, the nth one with its cut after the nth burn."""
    with contextlib.ExitStack() as stack:
        numbers = range(2, BURNS + 1)
        boards = [stack.enter_context(lab.board(at, pull={"BURN": at}, replug=0.6)) for at in numbers]
        station = stack.enter_context(lab.station())
        runs = station.wait_for_pass([board.mac for board in boards], 500)
        station.stop()
        for board in boards:
            own = [run for run in runs if run["port"].endswith(board.link.name)]
            assert 1 <= len(own) <= 2 and board.pulls == 1, own
            lab.check_locked(board)
        assert len({key for board in boards for key in board.efuses.keys}) == len(boards), "each has a key of its own"
    lab.check(boards)
    rows = [row for row in audit.entries(lab.factory.pool.database) if row["event"] in ("secured", "passed")]
    for board in boards:
        assert [row["event"] for row in rows if row["mac"] == board.mac] == ["secured", "passed"]


def test_power_cut_with_half_a_key_sets_the_board_aside(lab):
    with lab.board(1, pull={"BURN": 1}, replug=0.6) as board, lab.station() as station:
        runs = station.wait_for(lambda runs: len(runs) >= 2, 200)
        station.stop()
        assert (runs[1]["code"], runs[1]["hint"]) == ("E40", "set the board aside: eFuses cannot be mended")
        assert (len(board.efuses.keys), board.efuses.burns) == (1, 1)
        _no_key_in_rows(board, [*station.rows, *audit.entries(lab.factory.pool.database)])
    assert "passed" not in lab.events() and "secured" not in lab.events()


def _no_key_in_rows(board, rows):
    (key,) = board.efuses.keys
    assert not any(form in repr(rows) for data in (key, key[::-1]) for form in (data.hex(), data.hex(" ")))


@pytest.mark.parametrize("number", [0, 1, 3, BURNS])
def test_killed_station_goes_on_where_it_was(lab, number):
    """SIGKILL of the station in the midst of burning: espefuse ends its step by itself, so not even a key is halved."""
    with lab.board(1) as board:
        with lab.station() as station:
            station.wait_for(lambda _runs: board.efuses.burns >= number and "securing" in lab.events("securing"), 200)
            station.kill()
        with lab.station() as again:
            again.wait_for_pass([board.mac], 200)
            again.stop()
        lab.check_locked(board)
    lab.check([board])


def test_board_swapped_while_the_other_is_burned_is_not_burned(lab, tmp_path, rehearsed):
    """The cable is moved to another board after the summary that let the burn begin."""
    with lab.board(1) as first, lab.board(2) as second:
        port = tmp_path / "port"
        port.symlink_to(first.link)

        def swap(_mac, _steps):
            (tmp_path / "new").symlink_to(second.link)
            (tmp_path / "new").replace(port)

        known = rehearsed_upeer.rehearse(rehearsed, lab.plan())
        options = security_run.Options(resume=True, mac=first.mac, on_burn=swap)
        with pytest.raises(security_run.FactoryError) as caught:
            security_run.burn(lab.plan(), security_run.Target("esp32", str(port)), options, known)
        assert caught.value.code == "E21" and first.efuses.burns == second.efuses.burns == 0


def test_term_while_burning_ends_after_the_step_and_the_next_station_goes_on(lab):
    with lab.board(1) as board:
        with lab.station() as station:
            station.wait_for(lambda _runs: board.efuses.burns >= 1, 200)
            assert station.stop(60) == 0
        assert len(board.efuses.keys) == 1 and board.efuses.burns >= 2, "a key that was begun was protected"
        with lab.station("--runs", "1") as again:
            assert again.process.wait(200) == 0, again.story
        lab.check_locked(board)


def test_station_without_the_line_leaves_efuses_alone_and_says_so(tmp_path, recipe):
    lab = SecureLab(tmp_path, recipe, extra="")
    with lab.board(1) as board, lab.station("--runs", "1") as station:
        assert station.process.wait(200) == 0, station.story
        assert "left alone" in station.rows[0]["efuses"] and "burn_efuses = true" in station.rows[0]["efuses"]
        assert station.runs[0]["secured"] == "" and board.efuses.burns == 0
    lab.factory.pool.close()


def test_station_refuses_what_it_cannot_burn_before_any_board(tmp_path, recipe):
    """Stock MicroPython with a plan for encryption, and burn_efuses for a recipe that has no plan: one line each."""
    plain = make_recipe(tmp_path / "plain", "ESP32_GENERIC")
    text = plain[0].read_text() + "[efuses]\nflash_encryption = true\n"
    stock = plain[0].with_name("stock.toml")
    stock.write_text(text)
    lab = SecureLab(tmp_path, (stock, line.sha256(text.encode())))
    with lab.board(1) as board:
        for found, wanted in (((stock, None), "no stock MicroPython is"), (plain, "has no [efuses] plan")):
            if found[1]:
                config = re.sub(r'recipe = ".*"\npin = ".*"', f'recipe = "{found[0]}"\npin = "{found[1]}"',
                                lab.config.read_text())  # fmt: skip
                lab.config.write_text(config)
            done = lab.upeer("station", "--config", str(lab.config), "--headless", "--json")
            assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1) and wanted in done.stderr
        assert board.commands == []
    lab.factory.pool.close()
