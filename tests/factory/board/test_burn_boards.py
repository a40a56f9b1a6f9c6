"""Burning for real: mpremote at a virtual board, esptool at a mock ROM; the burned chip's flash boots MicroPython."""

import factory_lab
import pytest
from mock_chip import MockChip

from upeer_board import image
from upeer_board.boards import load_board
from upeer_board.virtual import VirtualBoard
from upeer_factory.board import burn
from upeer_factory.board.burn import Burner
from upeer_factory.board.line_server import Place
from upeer_factory.board.targets import ChipTarget, ReplTarget
from upeer_factory.errors import FactoryError
from upeer_factory.flash.faults import Fault
from upeer_factory.pool import audit

pytestmark = pytest.mark.usefixtures("micropython")
_FCTRY = load_board("ESP32_GENERIC").partitions["fctry"].offset


@pytest.fixture(scope="module")
def blank(tmp_path_factory):
    """A virtual board's image without a licence."""
    folder = tmp_path_factory.mktemp("blank")
    image.build(load_board("UNIX"), folder, image.Options())
    return folder


@pytest.fixture
def factory(tmp_path):
    made = factory_lab.make_factory(tmp_path)
    yield made
    made.pool.close()


def _copy(blank, folder, mac=None):
    folder.mkdir()
    for name in ("flash.bin", "image.json"):
        (folder / name).write_bytes((blank / name).read_bytes())
    if mac:
        (folder / "state").mkdir(mode=0o700)
        (folder / "state" / "mac").write_bytes(bytes.fromhex(mac.replace(":", "")))
    return folder


class ChipThatBoots(ChipTarget):
    """Flashed by esptool at the mock ROM; at boot the licence it got runs in a virtual board with the same MAC."""

    def __init__(self, chip, folder):
        super().__init__(chip.port, "esp32", _FCTRY)
        self._chip, self._folder, self.board = chip, folder, None

    def boot(self):
        super().boot()
        licence = bytes(self._chip.flash.data[_FCTRY : _FCTRY + 0x2000])
        self.board = VirtualBoard.start(self._folder, licence=licence)
        self.repl = self.board.pty


def test_virtual_board_is_burned_and_proves_it(factory, blank, tmp_path):
    with VirtualBoard.start(_copy(blank, tmp_path / "one")) as board:
        target = ReplTarget(board.pty)
        result = Burner(target, factory.pool).run()
        assert result.mac == target.read_mac()
        assert factory.pool.find(result.mac).state == "burned"
        again = Burner(target, factory.pool, burn.Options(selftest={})).run()
        assert (again.did, again.written) == (result.did, False)
        assert {name: row[0] for name, row in again.selftest.items()} == dict.fromkeys(
            ("flash", "ram", "clock", "rng", "wifi"), True
        )
        secret = next(item for item in factory.licences if item.did == result.did)
        assert secret.licence_key.hex() not in board.output


def test_board_keeps_its_licence_over_a_power_cut(factory, blank, tmp_path):
    folder = _copy(blank, tmp_path / "one")
    with VirtualBoard.start(folder) as board:
        did = Burner(ReplTarget(board.pty), factory.pool).run().did
    with VirtualBoard.start(folder) as board:
        again = Burner(ReplTarget(board.pty), factory.pool).run()
    assert (again.did, again.written) == (did, False)


def test_board_swapped_between_steps_is_not_written(factory, blank, tmp_path):
    first = VirtualBoard.start(_copy(blank, tmp_path / "one"))
    second = VirtualBoard.start(_copy(blank, tmp_path / "two"))
    with first, second:
        target = ReplTarget(first.pty)

        def swap(step):
            if step == "write":
                target.repl = second.pty

        with pytest.raises(FactoryError, match="another board is at") as caught:
            Burner(target, factory.pool).run(swap)
        assert caught.value.code == "E21"
        assert "no licence" in str(ReplTarget(second.pty).prove(bytes(32), ReplTarget(second.pty).read_mac()))
    assert factory.pool.status().burned == 0


def test_board_without_firmware_is_refused(factory, tmp_path, blank):
    folder = _copy(blank, tmp_path / "one")
    row = load_board("UNIX").partitions["vfs"]
    with (folder / "flash.bin").open("r+b") as flash:
        flash.seek(row.offset)
        flash.write(b"\xff" * row.size)
    with VirtualBoard.start(folder) as board, pytest.raises(FactoryError) as caught:
        Burner(ReplTarget(board.pty), factory.pool).run()
    assert (caught.value.code, caught.value.hint) == ("E24", "flash the board first")


def test_nothing_at_the_port_is_one_line(factory, tmp_path):
    with pytest.raises(FactoryError) as caught:
        Burner(ReplTarget(str(tmp_path / "none")), factory.pool).run()
    assert caught.value.code == "E20"


def test_chip_is_written_by_esptool_and_boots_with_it(factory, blank, tmp_path):
    mac = "24:0a:c4:00:00:07"
    with MockChip("esp32", mac) as chip:
        target = ChipThatBoots(chip, _copy(blank, tmp_path / "one", mac))
        try:
            result = Burner(target, factory.pool, burn.Options(selftest={})).run()
        finally:
            if target.board:
                target.board.stop()
        assert (result.mac, result.written) == (mac, True)
        assert chip.flash.written == 0x2000
    assert audit.verify(factory.pool.database, factory.pool.key).burned == 1


@pytest.mark.parametrize("pull", [{"SYNC": 1}, {"FLASH_DEFL_DATA": 1}, {"FLASH_DEFL_BEGIN": 1}])
def test_cable_pulled_costs_a_retry(factory, blank, tmp_path, pull):
    mac = "24:0a:c4:00:00:08"
    with MockChip("esp32", mac, pull=pull, replug=0.2) as chip:
        target = ChipThatBoots(chip, _copy(blank, tmp_path / "one", mac))
        try:
            try:
                Burner(target, factory.pool).run()
            except (FactoryError, Fault):
                assert factory.pool.status().burned == 0
                Burner(target, factory.pool).run()
        finally:
            if target.board:
                target.board.stop()
    assert (factory.pool.status().burned, factory.pool.status().free) == (1, 4)


def test_chip_swapped_before_the_write_is_noticed(factory, blank, tmp_path):
    with MockChip("esp32", "24:0a:c4:00:00:09") as chip, MockChip("esp32", "24:0a:c4:00:00:0a") as other:
        target = ChipThatBoots(chip, _copy(blank, tmp_path / "one"))

        def swap(step):
            if step == "write":
                target._arguments[target._arguments.index(chip.port)] = other.port

        with pytest.raises(FactoryError, match="another board is at"):
            Burner(target, factory.pool).run(swap)
    assert factory.pool.status().burned == 0


def test_selftest_reaches_the_lines_server(factory, blank, tmp_path):
    options = burn.Options(selftest={"ssid": "line", "password": "", "min_aps": 1}, place=Place("127.0.0.1"))
    with VirtualBoard.start(_copy(blank, tmp_path / "one")) as board:
        result = Burner(ReplTarget(board.pty), factory.pool, options).run()
        assert result.selftest["loop"][0] is True and result.selftest["loop"][1][0] == 16384
        board.set_air(up=False)
        with pytest.raises(FactoryError, match="failed its test of wifi, loop"):
            Burner(ReplTarget(board.pty), factory.pool, options).run()
    row = list(audit.entries(factory.pool.database))[-2]
    assert row["event"] == "selftest failed"
