"""Frozen builds: every board's manifest under MicroPython's own rules, against what its image ships; and `--frozen`.

The rules are tools/manifestfile.py of MicroPython, which the package micropython-stubber carries.
"""

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import mpy_tools
import pytest
from board_images import TEXTS, small_project, stock_file
from littlefs import LittleFS

from upeer_board import boards, frozen, image, linker, mpy
from upeer_cli.main import run

_RULES = Path(__file__).resolve().parents[2] / "typings" / "stubber" / "tools" / "manifestfile.py"
_FROZEN_TEXTS = TEXTS + b"upeer/aio.py\0upeer/endpoint.py\0device/agent.py\0"
_OPTION_O3 = 3
# Names that MicroPython has, or that the firmware does without where they are missing.
_BUILT_IN = {
    "asyncio", "binascii", "board", "cryptolib", "errno", "esp32", "gc", "hashlib", "io", "json", "machine",
    "micropython", "network", "os", "random", "socket", "struct", "sys", "time", "vfs",
}  # fmt: skip


@pytest.fixture(scope="module")
def rules():
    """MicroPython's manifestfile.py as a module."""
    if not _RULES.is_file():
        pytest.skip("no typings/stubber: 'make setup' installs micropython-stubber")
    spec = importlib.util.spec_from_file_location("manifestfile", _RULES)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def port(tmp_path):
    """A folder with what the manifests include of MicroPython's ports: the ports' own frozen modules."""
    for name in ("boards/manifest.py", "variants/standard/manifest.py"):
        path = tmp_path / "port" / name
        path.parent.mkdir(parents=True)
        path.write_text('freeze("$(PORT_DIR)/modules")\n')
    (tmp_path / "port" / "modules").mkdir()
    (tmp_path / "port" / "modules" / "_boot.py").write_text("import vfs\n")
    return tmp_path / "port"


def _evaluate(rules, port, path):
    """Return what a manifest freezes: {path on the device: file}."""
    manifest = rules.ManifestFile(rules.MODE_FREEZE, {"MPY_DIR": str(port.parent), "PORT_DIR": str(port)})
    manifest.execute(str(path))
    found = {item.target_path: item for item in manifest.files()}
    assert len(found) == len(manifest.files()) and all(item.kind == rules.KIND_FREEZE_AS_MPY for item in found.values())
    return found


@pytest.mark.parametrize("name", boards.list_boards())
def test_board_freezes_what_its_image_ships(rules, port, name):
    board = boards.load_board(name)
    found = _evaluate(rules, port, board.folder / "manifest.py")
    shipped = set(image.firmware_sources(board.exclude)) - frozen.HOST_HALF
    assert set(found) == shipped | {"board.py", "_boot.py"}
    ours = [item for target, item in found.items() if target != "_boot.py"]
    assert all(item.opt == _OPTION_O3 for item in ours)
    for item in ours:
        assert mpy.compile_file(Path(item.full_path), item.target_path, board.mpy_march)[:2] == b"M\x06"
    assert Path(found["board.py"].full_path).read_text() == boards.board_module(board)


@pytest.mark.parametrize("name", boards.list_boards())
def test_frozen_modules_import_nothing_that_is_not_there(rules, port, name):
    found = _evaluate(rules, port, boards.load_board(name).folder / "manifest.py")
    names = {linker.module_name(target) for target in found}
    names |= {parent.as_posix().replace("/", ".") for target in found for parent in Path(target).parents}
    missing = set()
    for target, item in found.items():
        for node in ast.walk(ast.parse(Path(item.full_path).read_text())):
            imported = [node.module] if isinstance(node, ast.ImportFrom) else []
            imported += [row.name for row in node.names] if isinstance(node, ast.Import) else []
            missing |= {(target, name) for name in imported if name not in names | _BUILT_IN}
    assert missing == {(f"upeer/crypto/{name}.py", "upeer.crypto.cpython") for name in ("aead", "x25519")}  # CPython's


def test_manifest_of_a_new_board_leaves_out_what_the_board_does(rules, port, tmp_path, monkeypatch):
    root = small_project(tmp_path / "project")
    monkeypatch.setenv("UPEER_ROOT", str(root))
    source, folder = root / "boards" / "ESP32_GENERIC", root / "boards" / "NEW"
    folder.mkdir()
    text = (source / "board.toml").read_text() + '\n[firmware]\nexclude = ["device/store.py"]\n'
    (folder / "board.toml").write_text(text.replace("max_sessions = 3", "max_sessions = 5"))
    (folder / "partitions.csv").write_bytes((source / "partitions.csv").read_bytes())
    (folder / "manifest.py").write_text((source / "manifest.py").read_text().replace('"ESP32_GENERIC"', '"NEW"'))
    (root / "host_tools").symlink_to(mpy_tools.ROOT / "host_tools")
    found = _evaluate(rules, port, folder / "manifest.py")
    assert "device/store.py" not in found and "device/fctry.py" in found
    written = Path(found["board.py"].full_path)
    assert written == root / "build" / "frozen" / "NEW" / "board.py" and "MAX_SESSIONS = 5" in written.read_text()
    before = written.stat().st_mtime_ns
    _evaluate(rules, port, folder / "manifest.py")
    assert written.stat().st_mtime_ns == before  # a build with nothing new freezes nothing again


def test_manifest_needs_the_standard_library_alone():
    code = "import sys; sys.path.insert(0, sys.argv[1]); from upeer_board import boards, frozen; print(*sys.modules)"
    tools = str(mpy_tools.ROOT / "host_tools")
    command = [sys.executable, "-I", "-S", "-c", code, tools]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and "upeer_board.frozen" in done.stdout, done.stderr


@pytest.fixture
def project(tmp_path, monkeypatch):
    root = small_project(tmp_path / "project")
    monkeypatch.setenv("UPEER_ROOT", str(root))
    return root


def test_frozen_image_has_the_application_alone(project, tmp_path):
    board = boards.load_board("ESP32_GENERIC")
    app = tmp_path / "app"
    app.mkdir()
    (app / "mine.py").write_text("x = 1\n")
    stock = stock_file(0, 0x1000, texts=_FROZEN_TEXTS)
    manifest = image.build(board, tmp_path / "out", image.Options(micropython=stock, app=app, frozen=True))
    assert set(manifest["files"]) == {"boot.py", "main.py", "mine.mpy"} and manifest["frozen"] is True
    lfs = LittleFS(block_size=4096, block_count=110, mount=False)
    lfs.context.buffer = bytearray((tmp_path / "out" / "vfs.bin").read_bytes().ljust(110 * 4096, b"\xff"))
    lfs.mount()
    assert set(lfs.listdir("/")) == {"boot.py", "main.py", "mine.mpy"}


def test_frozen_image_needs_a_build_with_the_firmware_in_it(project, tmp_path, capfd):
    (tmp_path / "stock.bin").write_bytes(stock_file(0, 0x1000))
    (tmp_path / "own.bin").write_bytes(stock_file(0, 0x1000, texts=_FROZEN_TEXTS))
    arguments = ["image", "build", "--board", "ESP32_GENERIC", "--frozen", "--out", str(tmp_path / "out"), "--json"]
    assert run([*arguments, "--micropython", str(tmp_path / "stock.bin")]) == 1
    error = capfd.readouterr().err
    assert "has no firmware frozen into it: build it with boards/ESP32_GENERIC/manifest.py" in error
    assert error.count("\n") == 1 and not (tmp_path / "out").exists()
    assert run([*arguments, "--micropython", str(tmp_path / "own.bin")]) == 0
    assert json.loads(capfd.readouterr().out)["frozen"] is True
    assert run(["image", "build", "--board", "UNIX", "--frozen", "--out", str(tmp_path / "unix")]) == 1
    assert "the virtual board has no frozen firmware" in capfd.readouterr().err
