"""A board's layouts: data beside its partitions.csv, the licence at one place in all of them, and one without slots."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mpy_tools
import pytest
from board_images import RECORD, small_project, stock_file

from upeer_board import boards, image
from upeer_board.virtual import VirtualBoard

_SIZES = (0, 1, 127, 128, 129, 512, 513, 4096, 5000)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A project with our boards and little firmware."""
    folder = small_project(tmp_path / "project")
    monkeypatch.setenv("UPEER_ROOT", str(folder))
    return folder


def _all():
    """Return every board in every layout but the default one."""
    names = boards.list_boards()
    return [(name, layout) for name in names for layout in boards.list_layouts(name)[1:]]


def test_each_board_has_a_layout_without_slots():
    assert {name for name, layout in _all() if layout == "single"} == set(boards.list_boards())


@pytest.mark.parametrize(("name", "layout"), _all())
def test_a_change_of_layout_keeps_licence_and_settings(name, layout):
    default, other = boards.load_board(name), boards.load_board(name, layout=layout)
    assert other.layout == layout and default.layout == boards.DEFAULT_LAYOUT
    for row in ("nvs", "phy_init", "fctry"):
        assert other.partitions[row] == default.partitions[row]


@pytest.mark.parametrize("name", boards.list_boards())
def test_single_has_one_app_and_more_room(name):
    default, single = boards.load_board(name), boards.load_board(name, layout="single")
    assert [row.name for row in single.partitions if row.type == 0] == ["factory"]
    assert single.partitions.find("otadata") is None
    assert single.partitions["vfs"].size >= default.partitions["vfs"].size + 0x180000
    assert single.partitions["vfs"].end == single.partitions["fctry"].offset  # no gap behind it


def test_a_new_file_is_a_new_layout(root):
    folder = root / "boards" / "ESP32_GENERIC"
    shutil.copy(folder / "partitions.csv", folder / "partitions-mine.csv")
    assert boards.list_layouts("ESP32_GENERIC") == ["default", "mine", "single"]
    assert boards.load_board("ESP32_GENERIC", layout="mine").layout == "mine"


@pytest.mark.parametrize("layout", ["none", "", "../ESP32_GENERIC_S3/partitions", "*"])
def test_an_unknown_layout_names_those_that_are_there(root, layout):
    with pytest.raises(ValueError, match="ESP32_GENERIC has no layout .*; there are: default, single"):
        boards.load_board("ESP32_GENERIC", layout=layout)


def test_a_layout_that_moves_the_licence_is_refused(root):
    path = root / "boards" / "ESP32_GENERIC" / "partitions-single.csv"
    path.write_text(path.read_text().replace("0x3fe000", "0x3fd000").replace("0x1fe000", "0x1fd000"))
    with pytest.raises(ValueError, match="single.csv: fctry must be where partitions.csv has it"):
        boards.load_board("ESP32_GENERIC", layout="single")


def test_image_of_a_layout(root, tmp_path):
    board = boards.load_board("ESP32_GENERIC", layout="single")
    manifest = image.build(board, tmp_path, image.Options(micropython=stock_file(0, 0x1000, 0x1C8000)))
    assert manifest["layout"] == "single"
    assert {part["file"]: part["offset"] for part in manifest["parts"]} == {
        "bootloader.bin": 0x1000, "partition-table.bin": 0x8000, "app.bin": 0x10000, "vfs.bin": 0x200000,
        "fctry.bin": 0x3FE000,
    }  # fmt: skip
    used = (tmp_path / "vfs.bin").stat().st_size
    assert manifest["vfs"] == {"size": 0x1FE000, "free": 0x1FE000 - used}


def test_sizes_in_the_documentation_are_the_boards(project_root):
    text = (project_root / "docs" / "factory.md").read_text()
    for name in boards.list_boards():
        for layout in boards.list_layouts(name):
            table = boards.load_board(name, layout=layout).partitions
            slots = [row.size >> 10 for row in table if row.type == 0]
            assert f"| {name} | {layout} | {len(slots)} x {slots[0]} | {table['vfs'].size >> 10} |" in text


@pytest.mark.skipif(mpy_tools.missing_reason() is not None, reason=mpy_tools.missing_reason() or "")
def test_virtual_board_boots_without_slots_and_reads_files_of_all_sizes(root, tmp_path):
    app = tmp_path / "app"
    app.mkdir()
    for size in _SIZES:
        (app / f"f{size}").write_bytes(bytes(range(256)) * (size // 256) + bytes(range(size % 256)))
    image.build(boards.load_board("UNIX", layout="single"), tmp_path / "board", image.Options(licence=RECORD, app=app))
    script = (
        "import os; from binascii import hexlify; from hashlib import sha256\n"
        "from esp32 import Partition as P; s = os.statvfs('/')\n"
        f"for n in {_SIZES}: print(n, hexlify(sha256(open('f%d' % n, 'rb').read()).digest()).decode())\n"
        "print(s[0] * s[2], P(P.RUNNING).info()[4], len(P.find(P.TYPE_APP)))\n"
    )
    with VirtualBoard.start(tmp_path / "board") as board:
        board.wait_for("main runs")
        board.wait_for(">>> ")
        command = [Path(sys.executable).parent / "mpremote", "connect", board.pty, "exec", script]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=os.environ)
    *hashes, last = done.stdout.splitlines()
    assert last == f"{0x66E000} factory 1", done.stdout + done.stderr
    assert hashes == [f"{size} {_sha256(app / f'f{size}')}" for size in _SIZES]


def _sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()
