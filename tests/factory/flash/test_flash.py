"""`Flasher`: real esptool writes a recipe onto mock chips, over sockets and ptys, many at once."""

import threading

import line
import pytest
from mock_chip import MockChip, wait_until

from upeer_factory.flash.faults import Fault
from upeer_factory.flash.flash import Flasher, Options
from upeer_factory.flash.many import flash_many

LICENCE = slice(0x3FE000, 0x400000)


@pytest.fixture(scope="module", autouse=True)
def project(tmp_path_factory):
    with line.project(line.small_project(tmp_path_factory.mktemp("project"))) as folder:
        yield folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return line.prepared(tmp_path_factory.mktemp("recipe"))


def _holds(chip, prepared):
    return all(chip.flash.data[part.offset : part.offset + len(part.data)] == part.data for part in prepared.parts)


def _fails(flasher, port, code):
    with pytest.raises(Fault) as caught:
        flasher.flash(port)
    assert caught.value.code == code, str(caught.value)
    assert "\n" not in str(caught.value) and caught.value.hint
    return caught.value


@pytest.mark.parametrize("serial", [False, True], ids=["socket", "pty"])
def test_flash_writes_and_verifies_every_part(prepared, tmp_path, serial):
    steps = []
    with MockChip(serial=serial) as chip:
        chip.flash.data[LICENCE] = b"L" * 0x2000
        result = Flasher(prepared, Options(tmp_path, verify=True)).flash(chip.port, steps.append)
        assert _holds(chip, prepared)
        assert chip.flash.data[LICENCE] == b"L" * 0x2000
    assert (result.mac, result.board, result.attempts) == ("24:0a:c4:00:00:01", "LINE_ESP32", 1)
    assert result.chip.startswith("ESP32-") and result.recipe == prepared.recipe.pin
    assert result.bytes_written == chip.flash.written
    assert result.bytes_sent < result.bytes_written / 2
    assert steps[-1].done == steps[-1].total == result.bytes_total
    assert {"connecting", "loading", "comparing", "writing", "verifying"} <= {step.stage for step in steps}


def test_second_flash_writes_nothing(prepared, tmp_path):
    flasher = Flasher(prepared, Options(tmp_path))
    with MockChip() as chip:
        flasher.flash(chip.port)
        result = flasher.flash(chip.port)
    assert (result.bytes_written, result.method) == (0, "skip-flashed")
    assert result.parts_skipped == ("bootloader", "partition-table", "otadata", "app", "vfs")


def test_new_application_writes_changed_sectors_only(tmp_path):
    first = line.prepared(tmp_path / "1")
    (tmp_path / "1" / "app" / "app.py").write_text("print('version 2 of the application')\n")
    second = line.prepared(tmp_path / "1")
    with MockChip() as chip:
        Flasher(first, Options(tmp_path / "state")).flash(chip.port)
        result = Flasher(second, Options(tmp_path / "state")).flash(chip.port)
        assert _holds(chip, second)
    assert result.method == "diff"
    assert 0 < result.bytes_written <= 5 * 4096


def test_wrong_memory_of_a_board_does_no_harm(tmp_path):
    first = line.prepared(tmp_path / "1")
    (tmp_path / "1" / "app" / "app.py").write_text("print('version 2')\n")
    second = line.prepared(tmp_path / "1")
    with MockChip() as chip:
        Flasher(first, Options(tmp_path / "state")).flash(chip.port)
        chip.flash.erase_all()
        result = Flasher(second, Options(tmp_path / "state")).flash(chip.port)
        assert _holds(chip, second)
    assert result.method == "diff"


def test_licence_is_erased_only_when_asked(prepared, tmp_path):
    with MockChip() as chip:
        chip.flash.data[LICENCE] = b"L" * 0x2000
        Flasher(prepared, Options(tmp_path, full=True)).flash(chip.port)
        assert chip.flash.data[LICENCE] == b"L" * 0x2000
        Flasher(prepared, Options(tmp_path, erase_licence=True)).flash(chip.port)
        assert chip.flash.data[LICENCE] == b"\xff" * 0x2000


def test_eight_boards_at_once_each_with_its_mac(prepared, tmp_path):
    macs = [f"24:0a:c4:00:01:{number:02x}" for number in range(8)]
    chips = [MockChip(mac=mac, serial=number % 2 == 0) for number, mac in enumerate(macs)]
    try:
        ports = [chip.__enter__().port for chip in chips]
        outcomes = flash_many(Flasher(prepared, Options(tmp_path)), ports, lambda _: None, threading.Event())
        assert [outcome.result and outcome.result.mac for outcome in outcomes] == macs
        assert all(_holds(chip, prepared) for chip in chips)
    finally:
        for chip in chips:
            chip.__exit__()


def test_no_such_port(prepared, tmp_path):
    _fails(Flasher(prepared, Options(tmp_path)), "/dev/serial/by-path/none", "F01")


def test_busy_port(prepared, tmp_path):
    import serial

    with MockChip(serial=True) as chip, serial.Serial(chip.port, exclusive=True):
        _fails(Flasher(prepared, Options(tmp_path)), chip.port, "F02")


def test_board_that_does_not_answer(prepared, tmp_path):
    with MockChip() as chip:
        chip.mute = True
        fault = _fails(Flasher(prepared, Options(tmp_path, retries=0)), chip.port, "F05")
    assert "BOOT" in fault.hint


def test_flash_too_small(prepared, tmp_path):
    with MockChip(flash_mb=2) as chip:
        _fails(Flasher(prepared, Options(tmp_path)), chip.port, "F09")
        assert chip.flash.written == 0


def test_flash_that_forgets(prepared, tmp_path):
    with MockChip() as chip:
        chip.flash.write_defl_block = lambda payload: None
        fault = _fails(Flasher(prepared, Options(tmp_path)), chip.port, "F06")
    assert "cable" in fault.hint


def test_damaged_data_is_sent_again(prepared, tmp_path):
    with MockChip() as chip:
        chip.corrupt = 1
        Flasher(prepared, Options(tmp_path)).flash(chip.port)
        assert _holds(chip, prepared) and chip.corrupt == 0


def test_stage_without_progress_ends(prepared, tmp_path):
    options = Options(tmp_path, retries=0, stage_seconds={"connecting": 0.5, "opening": 5})
    with MockChip() as chip:
        chip.mute = True
        _fails(Flasher(prepared, options), chip.port, "F08")


def test_cancel_leaves_no_process(prepared, tmp_path):
    cancel, faults = threading.Event(), []
    flasher = Flasher(prepared, Options(tmp_path))

    def work():
        try:
            flasher.flash(chip.port, cancel=cancel)
        except Fault as fault:
            faults.append(fault)

    with MockChip() as chip:
        chip.mute = True
        thread = threading.Thread(target=work)
        thread.start()
        wait_until(lambda: chip.commands or _esptools(chip.port))
        cancel.set()
        thread.join(60)
        assert not thread.is_alive()
        assert _esptools(chip.port) == []
    assert faults[0].code == "F11"


def _esptools(port):
    """Return the processes whose command line names the port (Linux)."""
    from pathlib import Path

    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if port.encode() in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            continue
    return found
