"""Recipes: checked field by field, pinned by hash; a file that is not the one named is refused in one line."""

import json

import board_images
import line
import pytest

from upeer_board import boards, image
from upeer_factory.flash import parts, recipe
from upeer_factory.flash.recipe import RecipeError


@pytest.fixture(scope="module", autouse=True)
def project(tmp_path_factory):
    with line.project(line.small_project(tmp_path_factory.mktemp("project"), ("esp32", "esp32c3"))) as folder:
        yield folder


def _refused(path, pin=None):
    """Return the one line that says why the recipe is refused."""
    with pytest.raises(RecipeError) as caught:
        parts.prepare(path, pin)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_prepare_gives_all_parts_but_the_licence(tmp_path):
    path, pin = line.write_recipe(tmp_path)
    prepared = parts.prepare(path, pin)
    assert [(part.name, part.offset) for part in prepared.parts] == [
        ("bootloader", 0x1000), ("partition-table", 0x8000), ("otadata", 0xD000), ("app", 0x10000), ("vfs", 0x390000),
    ]  # fmt: skip
    assert prepared.micropython == "v1.27.0"


def test_prepare_knows_the_layout(tmp_path):
    prepared = parts.prepare(*line.write_recipe(tmp_path, layout="single", app_size=0x1C8000))
    assert [(part.name, part.offset) for part in prepared.parts] == [
        ("bootloader", 0x1000), ("partition-table", 0x8000), ("app", 0x10000), ("vfs", 0x200000),
    ]  # fmt: skip
    assert prepared.board.layout == "single"


def test_pin_of_another_recipe_is_refused(tmp_path):
    path, pin = line.write_recipe(tmp_path)
    assert "is not the pinned one" in _refused(path, "0" * 64)
    path.write_text(path.read_text() + "# changed\n")
    assert "is not the pinned one" in _refused(path, pin)


@pytest.mark.parametrize("name", ["micropython.bin", "app/app.py"])
def test_changed_file_is_refused(tmp_path, name):
    path, pin = line.write_recipe(tmp_path)
    data = bytearray((tmp_path / name).read_bytes())
    data[-5] ^= 1
    (tmp_path / name).write_bytes(data)
    assert "has SHA-256" in _refused(path, pin)


def test_changed_partition_table_is_refused(tmp_path, project):
    path, pin = line.write_recipe(tmp_path)
    table = project / "boards" / "LINE_ESP32" / "partitions.csv"
    before = table.read_text()
    table.write_text(before.replace("0x6e000", "0x6d000"))
    try:
        assert "the partition table of LINE_ESP32 has SHA-256" in _refused(path, pin)
    finally:
        table.write_text(before)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('board = "LINE_ESP32"', 'board = "NONE"', "no board 'NONE'"),
        ('board = "LINE_ESP32"', 'board = "UNIX"', "virtual board is not flashed"),
        ('board = "LINE_ESP32"', "board = 7", "board: Input should be a valid string"),
        ('layout = "default"', 'layout = "double"', "LINE_ESP32 has no layout 'double'; there are: default, single"),
        ('layout = "default"', 'layout = "single"', "the partition table of LINE_ESP32 has SHA-256"),
        ("[application]", 'version = "v1.26.1"\n[application]', "MicroPython v1.27.0, the recipe says v1.26.1"),
        ('source = "app"', 'source = "app"\nimage = "x"', "give image or source"),
        ('source = "app"', 'source = "nowhere"', "no application folder"),
        ('file = "micropython.bin"', 'file = "gone.bin"', "No such file"),
        ("[partition_table]", "[partition_tabel]", "partition_table: Field required"),
        ("[application]", "[flash]\nbaud = 1\n[application]", "1 is no baud rate"),
        ("[application]", '[flash]\nerase = ["fctry"]\n[application]', "fctry holds the licence"),
        ("[application]", '[flash]\nerase = ["vfs"]\n[application]', "vfs cannot be erased"),
        ("[application]", "[efuses]\nsecure_boot = true\n[application]", "needs [signature]"),
        ("[application]", "[efuses]\njtag = true\n[application]", "efuses.jtag: Extra inputs"),
        ("sha256 = ", "sha256 = 7 #", "micropython.sha256"),
        ("[application]", "[application", "recipe"),
        ('board = "LINE_ESP32"', 'board = "LINE_ESP32"\npin = "x"', "unknown field 'pin'"),
    ],
)
def test_bad_recipe_is_refused_by_name(tmp_path, old, new, says):
    path, _ = line.write_recipe(tmp_path)
    path.write_text(path.read_text().replace(old, new, 1))
    assert says in _refused(path)


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"=", b"a" * 100_000, b"board = [[[[[", b"[micropython]\nfile=1"])
def test_garbage_is_refused(tmp_path, text):
    (tmp_path / "recipe.toml").write_bytes(text)
    assert _refused(tmp_path / "recipe.toml")


def test_image_for_another_chip_is_refused(tmp_path):
    path, _ = line.write_recipe(tmp_path / "c3", "LINE_ESP32C3")
    other, _ = line.write_recipe(tmp_path / "32", micropython=(path.parent / "micropython.bin").read_bytes())
    assert "this image is for esp32c3" in _refused(other)


def test_application_image_of_the_builder(tmp_path):
    path, _ = line.write_recipe(tmp_path)
    board = boards.load_board("LINE_ESP32")
    image.build(board, tmp_path / "built")
    digest = line.sha256((tmp_path / "built" / "image.json").read_bytes())
    text = path.read_text().replace('source = "app"', 'image = "built"').splitlines()
    text[7] = f'sha256 = "{digest}"'
    path.write_text("\n".join(text))
    single = boards.load_board("LINE_ESP32", layout="single").partitions.encode()
    wrong = (
        path.read_text()
        .replace('"default"', '"single"')
        .replace(line.sha256(board.partitions.encode()), line.sha256(single))
    )
    (tmp_path / "wrong.toml").write_text(wrong)
    assert "built/image.json has the layout 'default', the recipe 'single'" in _refused(tmp_path / "wrong.toml")
    assert parts.prepare(path).hashes["vfs"] == line.sha256((tmp_path / "built" / "vfs.bin").read_bytes())
    vfs = tmp_path / "built" / "vfs.bin"
    vfs.write_bytes(vfs.read_bytes() + b"x")
    assert "has SHA-256" in _refused(path)


def test_application_image_with_wifi_password_is_refused(tmp_path):
    path, _ = line.write_recipe(tmp_path)
    image.build(boards.load_board("LINE_ESP32"), tmp_path / "built", image.Options(wifi=("home", "password1")))
    digest = line.sha256((tmp_path / "built" / "image.json").read_bytes())
    text = path.read_text().replace('source = "app"', 'image = "built"').splitlines()
    text[7] = f'sha256 = "{digest}"'
    path.write_text("\n".join(text))
    assert "holds a Wi-Fi password" in _refused(path)


def test_merged_image_leaves_the_licence_blank(tmp_path):
    prepared = line.prepared(tmp_path)
    merged = prepared.merged()
    for part in prepared.parts:
        assert merged[part.offset : part.offset + len(part.data)] == part.data
    assert len(merged) <= boards.load_board("LINE_ESP32").partitions["fctry"].offset


def test_recipe_is_plain_data(tmp_path):
    path, pin = line.write_recipe(tmp_path)
    loaded = recipe.load(path, pin.upper())
    assert json.loads(loaded.model_dump_json())["board"] == "LINE_ESP32"
    assert loaded.pin == pin


def test_recipe_of_a_frozen_build(tmp_path):
    folder = tmp_path / "recipe"
    frozen = board_images.stock_file(0, 0x1000, texts=board_images.TEXTS + b"upeer/endpoint.py\0")
    path, _ = line.write_recipe(folder, micropython=frozen)
    board = boards.load_board("LINE_ESP32")
    plain, lean = (parts.build_file_system(board, folder / "app", is_frozen) for is_frozen in (False, True))
    text = path.read_text()
    path.write_text(
        text.replace('source = "app"', 'source = "app"\nfrozen = true').replace(*map(line.sha256, (plain, lean)))
    )
    assert parts.prepare(path).hashes["vfs"] == line.sha256(lean) and len(lean) < len(plain)
    stock = board_images.stock_file(0, 0x1000)
    (folder / "micropython.bin").write_bytes(stock)
    path.write_text(path.read_text().replace(line.sha256(frozen), line.sha256(stock)))
    assert "has no firmware frozen into it" in _refused(path)


def test_application_image_must_be_frozen_as_the_recipe_says(tmp_path):
    path, _ = line.write_recipe(tmp_path)
    image.build(boards.load_board("LINE_ESP32"), tmp_path / "built", image.Options(frozen=True))
    digest = line.sha256((tmp_path / "built" / "image.json").read_bytes())
    text = path.read_text().replace('source = "app"', 'image = "built"').splitlines()
    text[7] = f'sha256 = "{digest}"'
    path.write_text("\n".join(text))
    assert "do not agree on where the firmware is" in _refused(path)
