"""Boards are data: all of ours load, a new one is a new folder, and every fault is one line."""

import shutil

import pytest

from upeer_board import boards


@pytest.fixture
def root(tmp_path):
    """A project with one board, `NEW`."""
    (tmp_path / "firmware").mkdir()
    shutil.copytree(boards.project_root() / "boards" / "ESP32_GENERIC", tmp_path / "boards" / "NEW")
    return tmp_path


def test_our_boards_load():
    found = {name: boards.load_board(name) for name in boards.list_boards()}
    assert set(found) >= {"UNIX", "ESP32_GENERIC", "ESP32_GENERIC_S3", "ESP32_GENERIC_C3"}
    assert {name: board.image_offset for name, board in found.items() if name.startswith("ESP32")} == {
        "ESP32_GENERIC": 0x1000,
        "ESP32_GENERIC_S3": 0,
        "ESP32_GENERIC_C3": 0,
    }
    for board in found.values():
        assert {row.name for row in board.partitions} >= {
            "nvs",
            "phy_init",
            "otadata",
            "ota_0",
            "ota_1",
            "vfs",
            "fctry",
        }
        assert board.partitions["ota_0"].offset == 0x10000 and board.partitions["ota_0"].size >= 0x180000
        assert board.partitions["ota_0"].size == board.partitions["ota_1"].size
        assert (board.folder / "manifest.py").is_file()


def test_a_new_folder_is_a_new_board(root):
    assert boards.list_boards(root) == ["NEW"]
    assert boards.load_board("NEW", root).chip == "esp32"


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("wifi = true", "wify = true", "unknown field 'wify'"),
        ("wifi = true", "", "'wifi' is missing"),
        ("wifi = true", 'wifi = "yes"', "'wifi' must be of type bool"),
        ('"esp32"', '"esp33"', "chip 'esp33'"),
        ('"4M"', '"4Q"', "4Q"),
        ('"xtensawin"', '"arm"', "mpy_march 'arm'"),
        ("max_sessions = 3", "max_session = 3", "max_session"),
        ("max_sessions = 3", 'max_sessions = "3"', "whole number"),
        ("led = 2", "led = -1", "'led' in [pins]"),
        ("[pins]", "[pins", "board.toml"),
        ('"4M"', '"2M"', "behind the end of the flash"),
    ],
)
def test_faults_in_a_board_are_one_line(root, old, new, fault):
    path = root / "boards" / "NEW" / "board.toml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError) as error:
        boards.load_board("NEW", root)
    assert fault in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["vfs", "fctry"])
def test_vfs_and_fctry_must_be_there(root, name):
    path = root / "boards" / "NEW" / "partitions.csv"
    path.write_text("\n".join(line for line in path.read_text().splitlines() if not line.startswith(name)))
    with pytest.raises(ValueError, match=f"there must be a row '{name}'"):
        boards.load_board("NEW", root)


@pytest.mark.parametrize("name", ["NONE", "", "..", "../boards/NEW"])
def test_an_unknown_board_names_those_that_are_there(root, name):
    with pytest.raises(ValueError, match="there are: NEW"):
        boards.load_board(name, root)
