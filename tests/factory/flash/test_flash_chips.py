"""Every chip that esptool's mock knows: it is flashed with its board file, or refused in one clear line."""

import line
import pytest
from esp32_mock_bootloader import chips
from mock_chip import MockChip

from upeer_board import boards, esp_image
from upeer_factory.flash.faults import Fault
from upeer_factory.flash.flash import Flasher, Options

OURS = [chip for chip in chips.SUPPORTED if chip in esp_image.IMAGE_OFFSETS]
OTHERS = [chip for chip in chips.SUPPORTED if chip not in esp_image.IMAGE_OFFSETS]


@pytest.fixture(scope="module", autouse=True)
def project(tmp_path_factory):
    with line.project(line.small_project(tmp_path_factory.mktemp("project"), OURS)) as folder:
        yield folder


@pytest.fixture(scope="module")
def flasher(tmp_path_factory):
    return Flasher(line.prepared(tmp_path_factory.mktemp("recipe")), Options(tmp_path_factory.mktemp("state")))


@pytest.mark.parametrize("chip_name", OURS)
def test_chip_with_its_board_file_is_flashed(chip_name, tmp_path):
    prepared = line.prepared(tmp_path / "recipe", board_name=f"LINE_{chip_name.upper()}")
    with MockChip(chip_name, mac="24:0a:c4:00:03:07") as chip:
        result = Flasher(prepared, Options(tmp_path / "state")).flash(chip.port)
        for part in prepared.parts:
            assert chip.flash.data[part.offset : part.offset + len(part.data)] == part.data
    assert result.mac == "24:0a:c4:00:03:07"
    assert result.chip.upper().startswith("ESP32")


@pytest.mark.parametrize("chip_name", [chip for chip in chips.SUPPORTED if chip != "esp32"])
def test_chip_of_another_recipe_is_refused(chip_name, flasher):
    with MockChip(chip_name) as chip, pytest.raises(Fault) as caught:
        flasher.flash(chip.port)
    assert caught.value.code == "F04", str(caught.value)
    assert "not ESP32" in str(caught.value)
    assert chip.flash.written == 0


@pytest.mark.parametrize("chip_name", OTHERS)
def test_board_file_of_an_unknown_chip_is_refused(chip_name, project):
    folder = project / "boards" / f"OTHER_{chip_name.upper()}"
    folder.mkdir()
    text = (project / "boards" / "LINE_ESP32" / "board.toml").read_text()
    (folder / "board.toml").write_text(text.replace('chip = "esp32"', f'chip = "{chip_name}"'))
    with pytest.raises(ValueError, match=f"chip '{chip_name}' is not one of esp32"):
        boards.load_board(folder.name)
