"""`upeer flash`, `upeer image fetch`, `upeer image recipe`: reports, exit codes, one line per failure, clean ends."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import board_images
import line
import pytest
from mock_chip import MockChip, wait_until

from upeer_cli import main
from upeer_factory.flash import faults


@pytest.fixture(scope="module", autouse=True)
def project(tmp_path_factory):
    with line.project(line.small_project(tmp_path_factory.mktemp("project"))) as folder:
        yield folder


@pytest.fixture
def recipe(tmp_path):
    return line.write_recipe(tmp_path / "recipe")


def _run(capsys, *arguments):
    """Return (exit code, stdout, stderr) of upeer."""
    code = main.run([str(argument) for argument in arguments])
    output = capsys.readouterr()
    return code, output.out, output.err


def test_two_boards_and_a_missing_one(recipe, tmp_path, capsys):
    path, pin = recipe
    with MockChip(mac="24:0a:c4:00:04:01") as one, MockChip(mac="24:0a:c4:00:04:02", serial=True) as two:
        ports = [text for port in (one.port, two.port, "/dev/none") for text in ("--port", port)]
        code, out, err = _run(
            capsys, "flash", "--recipe", path, "--pin", pin, *ports, "--state", tmp_path / "state", "--json"
        )
    report = json.loads(out)
    assert report["micropython"] == report["boards"][0]["micropython"] == "v1.27.0"
    assert code == 3 and "1 of 3 boards failed: /dev/none (F01)" in err and err.count("\n") == 1
    assert [row["ok"] for row in report["boards"]] == [True, True, False]
    assert [row.get("mac") for row in report["boards"][:2]] == [one.mac, two.mac]
    assert report["boards"][2]["error"]["hint"]


def test_one_board_for_people(recipe, tmp_path, capsys):
    path, pin = recipe
    with MockChip() as chip:
        arguments = ["flash", "--recipe", path, "--pin", pin, "--port", chip.port, "--state", tmp_path / "state"]
        code, out, err = _run(capsys, *arguments, "--log", tmp_path / "log")
    assert (code, err) == (0, "") and out.startswith(f"PASS  {chip.port}  {chip.mac}  ")
    assert out.endswith("bytes written, MicroPython v1.27.0\n")
    assert "Hash of data verified." in (tmp_path / "log").read_text()


def test_wrong_pin_flashes_nothing(recipe, tmp_path, capsys):
    with MockChip() as chip:
        code, out, err = _run(capsys, "flash", "--recipe", recipe[0], "--pin", "0" * 64, "--port", chip.port)
        assert (code, out) == (6, "") and "is not the pinned one" in err and err.count("\n") == 1
        assert chip.connections == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "name the boards"),
        (["--all", "--port", "x"], "name the boards"),
        (["--port", "/dev/null", "--port", "/dev/../dev/null"], "are the same port"),
        (["--port", "/dev/null", "--erase-licence"], "add --yes"),
    ],
)
def test_bad_command_line_is_one_line(recipe, capsys, arguments, says):
    path, pin = recipe
    code, out, err = _run(capsys, "flash", "--recipe", path, "--pin", pin, *arguments)
    assert (code, out) == (2, "") and says in err and err.count("\n") == 1


def test_merge_only_writes_one_image(recipe, tmp_path, capsys):
    code, out, err = _run(capsys, "flash", "--recipe", recipe[0], "--merge-only", tmp_path / "merged.bin", "--json")
    assert code == 0 and f"its pin is --pin {recipe[1]}" in err
    report = json.loads(out)
    assert report["sha256"] == line.sha256((tmp_path / "merged.bin").read_bytes())
    assert (report["layout"], report["micropython"]) == ("default", "v1.27.0")


def test_list_needs_no_recipe(capsys):
    code, out, _ = _run(capsys, "flash", "--list", "--json")
    assert code == 0 and isinstance(json.loads(out), list)


@contextlib.contextmanager
def _running_flash(recipe, state, port):
    """Run `upeer flash` in a process of its own until it has its esptool."""
    path, pin = recipe
    arguments = ["flash", "--recipe", path, "--pin", pin, "--port", port, "--state", state]
    process = subprocess.Popen(
        [sys.executable, "-m", "upeer_cli.main", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_until(lambda: _esptools(port), 60)
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def _esptools(port):
    """Return the pids of esptool processes at a port."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if b"esptool" in words and port.encode() in words:
                found.append(int(path.parent.name))
    return found


@pytest.mark.serial
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_no_process(recipe, tmp_path, number):
    with MockChip() as chip:
        chip.mute = True
        with _running_flash(recipe, tmp_path / "state", chip.port) as process:
            os.kill(process.pid, number)
            assert process.wait(60) == 130
            assert _esptools(chip.port) == []
            assert "Traceback" not in process.stderr.read()


@pytest.mark.serial
def test_killed_command_leaves_no_process(recipe, tmp_path):
    with MockChip() as chip:
        chip.mute = True
        with _running_flash(recipe, tmp_path / "state", chip.port) as process:
            process.kill()
            wait_until(lambda: _esptools(chip.port) == [], 60)


def test_fetch_says_where_the_image_comes_from(recipe, tmp_path, capsys):
    path, _ = recipe
    image = path.parent / "micropython.bin"
    code, out, _ = _run(capsys, "image", "fetch", "--recipe", path)
    assert code == 0 and ": MicroPython v1.27.0 for esp32, SHA-256 as in the recipe" in out
    image.rename(tmp_path / "download.bin")
    code, _, err = _run(capsys, "image", "fetch", "--recipe", path)
    assert code == 1 and "https://micropython.org/download/LINE_ESP32/" in err and err.count("\n") == 1
    assert _run(capsys, "image", "fetch", "--recipe", path, "--file", tmp_path / "download.bin")[0] == 0
    (tmp_path / "download.bin").write_bytes(b"other")
    assert _run(capsys, "image", "fetch", "--recipe", path, "--file", tmp_path / "download.bin")[0] == 6


def test_recipe_command_writes_what_flash_takes(tmp_path, capsys):
    (tmp_path / "fw.bin").write_bytes(board_images.stock_file(0, 0x1000))
    (tmp_path / 'a "quoted" app').mkdir()
    (tmp_path / 'a "quoted" app' / "app.py").write_text("print(1)\n")
    out = tmp_path / "line.toml"
    made = [
        "--board",
        "LINE_ESP32",
        "--layout",
        "single",
        "--micropython",
        tmp_path / "fw.bin",
        "--source",
        tmp_path / 'a "quoted" app',
    ]
    code, text, _ = _run(capsys, "image", "recipe", *made, "--out", out, "--json")
    assert code == 0 and json.loads(text)["micropython"] == "v1.27.0" and 'version = "v1.27.0"' in out.read_text()
    with MockChip() as chip:
        pin = json.loads(text)["pin"]
        arguments = ["flash", "--recipe", out, "--pin", pin, "--port", chip.port, "--state", tmp_path / "state"]
        code, text, _ = _run(capsys, *arguments, "--json")
        assert code == 0 and json.loads(text)["boards"][0]["layout"] == "single"
    code, _, err = _run(capsys, "image", "recipe", *made[:6], "--out", out)
    assert code == 2 and "--image or --source" in err


def test_error_codes_are_documented(project_root):
    text = (project_root / "docs" / "factory.md").read_text()
    for kind in faults.KINDS.values():
        assert f"| {kind.code} | {kind.exit_code} |" in text, kind.code
