"""The image builder: what is where in flash, what a stock MicroPython file becomes, and every refusal."""

import hashlib
import json
import stat

import pytest
from board_images import RECORD, app_segment, esp_image, interpreter_texts, small_project, stock_file
from littlefs import LittleFS

from upeer_board import esp_image as esp
from upeer_board import fctry, image, mpy, partitions
from upeer_board.boards import load_board
from upeer_cli.main import run


@pytest.fixture
def project(tmp_path, monkeypatch):
    root = small_project(tmp_path / "project")
    monkeypatch.setenv("UPEER_ROOT", str(root))
    return root


def _files(vfs, size):
    """Return {path: contents} of a LittleFS image on flash that was dirty behind it."""
    lfs = LittleFS(block_size=4096, block_count=size // 4096, mount=False)
    lfs.context.buffer = bytearray(vfs + b"\x5a" * (size - len(vfs)))
    lfs.mount()
    return {
        f"{folder}/{name}".lstrip("/"): lfs.open(f"{folder}/{name}", "rb").read()
        for folder, _, names in lfs.walk("/")
        for name in names
    }


def test_unix_image_has_every_part_in_its_place(project, tmp_path):
    board = load_board("UNIX")
    manifest = image.build(board, tmp_path / "out", image.Options(licence=RECORD))
    flash = (tmp_path / "out" / "flash.bin").read_bytes()
    assert len(flash) == board.flash_size and partitions.decode(flash[0x8000:]) == board.partitions
    for part in manifest["parts"]:
        data = (tmp_path / "out" / part["file"]).read_bytes()
        assert flash[part["offset"] : part["offset"] + part["size"]] == data
        assert hashlib.sha256(data).hexdigest() == part["sha256"]
    row = board.partitions["fctry"]
    assert fctry.decode_image(flash[row.offset : row.end]) == (RECORD, 1, [])
    assert json.loads((tmp_path / "out" / "image.json").read_text()) == manifest


def test_file_system_mounts_on_dirty_flash_and_holds_the_firmware(project, tmp_path):
    board = load_board("ESP32_GENERIC")
    image.build(board, tmp_path / "out")
    vfs = (tmp_path / "out" / "vfs.bin").read_bytes()
    assert len(vfs) < board.partitions["vfs"].size // 2
    files = _files(vfs, board.partitions["vfs"].size)
    assert set(files) == {
        *("boot.py", "main.py", "lib/board.mpy"),
        *("lib/device/core.mpy", "lib/device/names.mpy", "lib/upeer/base/errors.mpy"),
    }
    assert files["lib/device/core.mpy"][:2] == b"M\x06" and files["main.py"] == b"print('main runs')\n"


def test_image_is_the_same_every_time(project, tmp_path):
    first = image.build(load_board("UNIX"), tmp_path / "a")
    image._shipped.cache_clear()
    mpy._compile.cache_clear()
    second = image.build(load_board("UNIX"), tmp_path / "b")
    assert first["flash"]["sha256"] == second["flash"]["sha256"]


def test_changed_source_is_compiled_and_an_unchanged_one_is_not(project, tmp_path, monkeypatch):
    before = image.firmware_files(load_board("UNIX"))
    (project / "firmware" / "device" / "store.py").write_text("CHANGED = 1\n")
    compiled = []
    run_program = mpy.subprocess.run
    monkeypatch.setattr(
        mpy.subprocess, "run", lambda argv, **rest: compiled.append(argv[3]) or run_program(argv, **rest)
    )
    after = image.firmware_files(load_board("UNIX"))
    assert compiled == ["device/core.py"]  # what store is a part of
    assert {name for name in after if after[name] != before[name]} == {"lib/device/core.mpy"}
    (tmp_path / "mine.py").write_text("def f(:\n")
    with pytest.raises(ValueError, match=r"mine\.py: SyntaxError"):
        image.firmware_files(load_board("UNIX"), tmp_path)


def test_files_with_secrets_are_their_owners_alone(project, tmp_path):
    image.build(load_board("UNIX"), tmp_path, image.Options(licence=RECORD, wifi=("home", "a secret")))
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("fctry.bin", "vfs.bin", "flash.bin")}
    assert set(modes.values()) == {0o600}
    assert b"a secret" not in (tmp_path / "image.json").read_bytes()


def test_board_exclude_and_application(project, tmp_path):
    names = image.shipped_sources().names["files"]["device/core.py"]
    without = image.shipped_sources(["device/store.py"]).names["files"]["device/core.py"]
    before = image.firmware_files(load_board("UNIX"))
    path = project / "boards" / "UNIX" / "board.toml"
    path.write_text(path.read_text() + '\n[firmware]\nexclude = ["device/store.py"]\n')
    app = tmp_path / "app"
    (app / "data").mkdir(parents=True)
    (app / "main.py").write_text("import mine\n")
    (app / "mine.py").write_text("x = 1\n")
    (app / "data" / "page.html").write_text("hello")
    files = image.firmware_files(load_board("UNIX"), app)
    assert files["main.py"] == b"import mine\n"
    assert len(files["lib/device/core.mpy"]) < len(before["lib/device/core.mpy"])
    assert "device.store:Store" in names.values() and "device.store:Store" not in without.values()
    assert files["mine.mpy"][:1] == b"M" and files["data/page.html"] == b"hello"


def test_a_file_that_does_not_compile_is_one_line(project, tmp_path):
    (project / "firmware" / "device" / "bad.py").write_text("def f(:\n")
    with pytest.raises(ValueError, match=r"bad\.py: SyntaxError"):
        image.build(load_board("UNIX"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_firmware_too_large_for_vfs_is_one_line(project, tmp_path):
    app = tmp_path / "app"
    app.mkdir()
    (app / "big").write_bytes(bytes(500_000))
    with pytest.raises(ValueError, match="does not fit the vfs partition of 440 KiB"):
        image.build(load_board("ESP32_GENERIC"), tmp_path / "out", image.Options(app=app))


@pytest.mark.parametrize(
    ("name", "chip_id", "base"), [("ESP32_GENERIC", 0, 0x1000), ("ESP32_GENERIC_S3", 9, 0), ("ESP32_GENERIC_C3", 5, 0)]
)
def test_stock_file_is_taken_apart_and_merged(project, tmp_path, name, chip_id, base):
    board, stock = load_board(name), stock_file(chip_id, base)
    manifest = image.build(board, tmp_path, image.Options(micropython=stock))
    flash = (tmp_path / "flash.bin").read_bytes()
    assert len(flash) == board.flash_size and set(flash[:base]) <= {0xFF}
    bootloader, app = esp.parse(flash[base:], "bootloader"), esp.parse(flash[0x10000:], "app")
    assert (bootloader.chip, bootloader.flash_size) == (board.chip, board.flash_size)
    assert app.data == stock[0x10000 - base :]
    assert partitions.decode(flash[0x8000:]) == board.partitions
    assert [part["file"] for part in manifest["parts"]] == [
        "bootloader.bin", "partition-table.bin", "app.bin", "vfs.bin", "fctry.bin",
    ]  # fmt: skip
    assert manifest["versions"]["micropython"] == "v1.27.0"
    row = board.partitions["otadata"]
    assert set(flash[row.offset : row.end]) == {0xFF}  # nothing chosen: the bootloader starts ota_0


def _damaged(at):
    data = bytearray(stock_file(0, 0x1000))
    data[at] ^= 1
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "first byte is not 0xe9"),
        (b"\x7fELF" + bytes(100000), "first byte is not 0xe9"),
        (b"UF2\n" + bytes(1000), "UF2"),
        (stock_file(5, 0), "this image is for esp32c3: take the file for the board's chip, esp32"),
        (stock_file(0, 0), "partition table"),
        (esp_image(0, app_segment(5000)), "an app for esp32 without bootloader (.app-bin, for updates"),
        (esp_image(9, app_segment(5000)), "an app for esp32s3 without bootloader"),
        (esp_image(0, app_segment(5000), hashed=False)[:-100], "the app is cut short"),
        (stock_file(0, 0x1000)[:0xF000] + esp_image(0, b"boot" * 3000), "no application description"),
        (stock_file(0, 0x1000, texts=interpreter_texts("v1.23.0")), "MicroPython v1.23.0 is too old"),
        (stock_file(0, 0x1000, texts=interpreter_texts("v1.24.0-preview.9.gabc")), "preview.9.gabc is too old"),
        (stock_file(0, 0x1000, texts=interpreter_texts("v1.9.4-8-ga9a3caad0")), "MicroPython v1.9.4-8-ga9a3caad0 is"),
        (stock_file(0, 0x1000, texts=b""), "does not say which MicroPython it is: take a .bin of MicroPython 1.24"),
        (stock_file(0, 0x1000)[:-5000], "the app is cut short"),
        (stock_file(0, 0x1000)[:0x4000], "no partition table"),
        (_damaged(0x100), "the checksum of the bootloader is wrong"),
        (_damaged(0x7005), "MD5"),
        (_damaged(0xF004), "the SHA-256 of the app is wrong"),
        (_damaged(0xF100), "the checksum of the app is wrong"),
        (
            stock_file(0, 0x1000, 0x1C8000),
            "ota_0 of ESP32_GENERIC holds 1792 KiB: take the OTA variant",
        ),
    ],
)
def test_what_is_no_stock_file_for_the_board_is_refused(project, tmp_path, data, fault):
    with pytest.raises(ValueError) as error:
        image.build(load_board("ESP32_GENERIC"), tmp_path / "out", image.Options(micropython=data))
    assert fault in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_small_files_take_no_block_of_their_own():
    small = {f"f{number}": bytes(128) for number in range(8)}
    assert image._littlefs(small, 100).used_block_count == 2  # the root's pair
    assert image._littlefs(small | {"large": bytes(129)}, 100).used_block_count == 3


def test_a_full_disk_leaves_nothing_half_written(tmp_path):
    target = tmp_path / "file"
    target.write_bytes(b"old")
    with pytest.raises(TypeError):
        image.write_file(target, None)
    assert target.read_bytes() == b"old" and [path.name for path in tmp_path.iterdir()] == ["file"]


def test_command_builds_and_reports_json(project, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("UPEER_WIFI_PASSWORD", "from the environment")
    assert run(["image", "build", "--board", "UNIX", "--out", str(tmp_path / "o"), "--wifi", "home", "--json"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["wifi"] == "home" and "from the environment" not in out + err
    vfs = json.loads(out)["parts"][1]
    files = _files((tmp_path / "o" / "vfs.bin").read_bytes(), load_board("UNIX").partitions["vfs"].size)
    assert vfs["secret"] and json.loads(files["wifi.json"]) == {"ssid": "home", "password": "from the environment"}


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--board", "NONE"], 1, "no board 'NONE'; there are:"),
        (["--board", "UNIX", "--wifi", "home,short"], 2, "a Wi-Fi password"),
        (["--board", "UNIX", "--licence", "/nowhere"], 1, "no licence file /nowhere"),
        (["--board", "UNIX", "--licence", "ABCD-000001-GHKLM"], 2, "needs --platform"),
        (["--board", "UNIX", "--micropython", "/nowhere.bin"], 1, "/nowhere.bin"),
        (["--board", "UNIX", "--wifi", "home,-", "--licence", "-"], 2, "cannot both read stdin"),
    ],
)
def test_command_refuses_in_one_line(project, tmp_path, capfd, arguments, code, text):
    assert run(["image", "build", "--out", str(tmp_path / "o"), *arguments]) == code
    out, err = capfd.readouterr()
    assert out == "" and text in err and err.count("\n") == 1


def test_command_takes_a_licence_from_the_platform(project, tmp_path, capfd):
    shop, out = str(tmp_path / "shop"), tmp_path / "o"
    assert run(["platform", "init", shop, "--master", "127.0.0.1:7000"]) == 0
    capfd.readouterr()
    assert run(["licence", "issue", shop, "--json"]) == 0
    did = json.loads(capfd.readouterr().out)["licences"][0]["did"]
    arguments = ["image", "build", "--board", "UNIX", "--out", str(out), "--platform", shop]
    assert run([*arguments, "--licence", did]) == 0
    record, which, faults = fctry.decode_image((out / "fctry.bin").read_bytes())
    assert (record["did"], which, faults) == (did, 1, []) and len(record["licence_key"]) == 32
    capfd.readouterr()
    assert run([*arguments, "--licence", "ABCD-999999-AAAAA"]) != 0
    assert capfd.readouterr().err.count("\n") == 1


def test_command_lists_boards(capfd):
    assert run(["board", "list", "--json"]) == 0
    assert {row["name"]: row["chip"] for row in json.loads(capfd.readouterr().out)}["ESP32_GENERIC_C3"] == "esp32c3"
