"""The virtual board driven by real mpremote, and the parts of a chip that its runner plays."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import mpy_tools
import pytest
from board_images import RECORD, small_project

from upeer_board import chip, fctry, image
from upeer_board.boards import load_board
from upeer_board.virtual import BoardError, VirtualBoard

pytestmark = pytest.mark.skipif(mpy_tools.missing_reason() is not None, reason=mpy_tools.missing_reason() or "")

_BIN = Path(sys.executable).parent
_PROMPT = ">>> "


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder with a UNIX image, and in it plain modules that these tests import: linked ones have no names."""
    project = small_project(tmp_path / "project")
    monkeypatch.setenv("UPEER_ROOT", str(project))
    for package in ("upeer", "device"):
        shutil.copytree(project / "firmware" / package, tmp_path / "plain" / "lib" / package)
    image.build(load_board("UNIX"), tmp_path / "board", image.Options(licence=RECORD, app=tmp_path / "plain"))
    return tmp_path / "board"


@pytest.fixture
def board(folder):
    with VirtualBoard.start(folder) as running:
        running.wait_for(_PROMPT)
        yield running


def mpremote(board, *arguments, code=0):
    """Run real mpremote on the board's port and return what it printed, its own words and the board's in order."""
    command = [_BIN / "mpremote", "connect", board.pty, *arguments]
    env = os.environ | {"PYTHONUNBUFFERED": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_boot_runs_main_and_reaches_the_prompt(board):
    assert "main runs" in board.output and "Traceback" not in board.output


def test_mpremote_exec_and_fs(board, tmp_path):
    assert mpremote(board, "exec", "print(1)") == "1\n"
    assert {line.split()[-1] for line in mpremote(board, "fs", "ls").splitlines()[1:]} == {"boot.py", "main.py", "lib/"}
    data = bytes(range(256)) * 300
    (tmp_path / "up").write_bytes(data)
    mpremote(board, "fs", "cp", str(tmp_path / "up"), ":file")
    mpremote(board, "fs", "cp", ":file", str(tmp_path / "down"))
    assert (tmp_path / "down").read_bytes() == data


def test_mpremote_run_mount_and_errors(board, tmp_path):
    (tmp_path / "hello.py").write_text("print('hello\\nworld')\n")
    assert mpremote(board, "run", str(tmp_path / "hello.py")) == "hello\nworld\n"
    assert mpremote(board, "mount", str(tmp_path), "exec", "import hello").endswith("hello\nworld\n")
    mpremote(board, "exec", "1/0", code=1)


def test_mount_passes_every_byte_both_ways(board, tmp_path):
    data = bytes(range(256)) * 3 + b"\n\r\n\x03\x04\x01"
    (tmp_path / "in").write_bytes(data)
    script = "d = open('/remote/in', 'rb').read(); f = open('/remote/out', 'wb'); f.write(d); f.close(); print(len(d))"
    assert mpremote(board, "mount", str(tmp_path), "exec", script).endswith(f"{len(data)}\n")
    assert (tmp_path / "out").read_bytes() == data


def test_a_program_that_never_ends_is_interrupted_right_after_a_reset(folder):
    board = VirtualBoard.start(folder)
    with board:
        board.wait_for(_PROMPT)
        mpremote(board, "exec", "open('main.py', 'w').write('print(\"forever\")\\nwhile True: pass')")
        board.hard_reset()
        assert mpremote(board, "exec", "print(1)") == "1\n"


def test_soft_reset_in_the_raw_repl_skips_main(board):
    assert board.output.count("main runs") == 1
    mpremote(board, "soft-reset")
    mpremote(board, "exec", "pass")
    assert board.output.count("main runs") == 1 and "MPY: soft reboot" in board.output


def test_soft_reset_at_the_prompt_runs_main(board):
    board.write(b"\x04")
    reboot = "MPY: soft reboot\r\nmain runs\r\n"
    board.wait_for(reboot)
    board.soft_reset()
    board.wait_for(reboot, count=2)
    assert board.lives == 3


def test_mpremote_reset_starts_main_and_keeps_files(board):
    mpremote(board, "exec", "f = open('kept', 'w'); f.write('yes'); f.close()")
    mpremote(board, "reset")
    board.wait_for("rst:0xc")
    board.wait_for(_PROMPT)
    assert (
        mpremote(board, "resume", "exec", "import machine; print(open('kept').read(), machine.reset_cause())")
        == "yes 2\n"
    )


def test_flash_and_identity_persist_over_power_off(folder):
    script = "import machine; print(machine.unique_id().hex()); open('kept', 'w').write('yes')"
    with VirtualBoard.start(folder) as running:
        running.wait_for(_PROMPT)
        identity = mpremote(running, "exec", script)
    with VirtualBoard.start(folder) as running:
        running.wait_for(_PROMPT)
        assert mpremote(running, "exec", script.replace("'w').write('yes')", "'r').read()")) == identity
    assert identity.startswith("027570")


def test_control_c_stops_a_running_program(board):
    board.write(b"print('round and', 'round')\r\nwhile True: pass\r\n\r\n")
    board.wait_for("round and round")
    time.sleep(0.3)
    board.write(b"\x03")
    board.wait_for("KeyboardInterrupt")


def test_licence_and_store_on_the_board(board):
    script = (
        "from device import fctry, store\n"
        "record, which, faults = fctry.load()\n"
        "s = store.Store(record['licence_key'])\n"
        "print(record['did'], which, faults, s.get('v'), s.next_counter('n'))\n"
        "s.set('v', b'value')\n"
    )
    assert mpremote(board, "exec", script) == "ABCD-000001-GHKLM 1 [] None 1\n"
    board.hard_reset()
    board.wait_for("rst:0xc")
    assert mpremote(board, "exec", script) == "ABCD-000001-GHKLM 1 [] b'value' 33\n"
    flash = (board.folder / "flash.bin").read_bytes()
    assert b"uNVS" in flash and b"value" not in flash[0x9000:0xD000]


def test_a_corrupt_licence_copy_is_reported_and_the_other_used(folder):
    row = load_board("UNIX").partitions["fctry"]
    with open(folder / "flash.bin", "r+b") as file:
        file.seek(row.offset + 30)
        file.write(b"\0\0\0\0")
    with VirtualBoard.start(folder) as running:
        running.wait_for(_PROMPT)
        printed = mpremote(running, "exec", "from device import fctry; print(fctry.load()[1:])")
    assert printed == "(2, ['fctry copy 1: wrong checksum'])\n"


def test_a_licence_is_burned_at_start(folder):
    other = dict(RECORD, did="ABCD-000002-GHKLM")
    for licence in (other, fctry.image(other)):
        with VirtualBoard.start(folder, licence) as running:
            running.wait_for(_PROMPT)
            printed = mpremote(running, "exec", "from device import fctry; print(fctry.load()[0]['did'])")
        assert printed == "ABCD-000002-GHKLM\n"
    with pytest.raises(BoardError, match="licence not written"):
        VirtualBoard.start(folder, b"junk")


def test_nvs_and_partitions_follow_the_chip(board):
    script = """
import esp32
n = esp32.NVS('test')
def code(f, *a):
    try:
        f(*a)
    except OSError as e:
        return e.args[0]
print(code(n.get_i32, 'a'), code(n.get_blob, 'b', bytearray(1)), code(n.set_i32, 'x' * 16, 1), code(n.erase_key, 'a'))
n.set_i32('a', -5); n.set_blob('b', b'blob'); n.commit()
b = bytearray(10)
print(n.get_i32('a'), n.get_blob('b', b), bytes(b[:4]), code(n.get_blob, 'b', bytearray(2)), code(n.get_i32, 'b'))
for i in range(300):
    n.set_blob('b', bytes([i & 255]) * 900)
print(n.get_blob('b', bytearray(900)), n.get_i32('a'), code(n.set_blob, 'c', bytes(20000)))
P = esp32.Partition
run = P(P.RUNNING)
print(run.info()[4], run.get_next_update().info()[4])
run.get_next_update().set_boot()
print(P(P.BOOT).info()[4], P.find(P.TYPE_DATA, label='fctry')[0].ioctl(4, 0), P.find(label='none'))
"""
    lines = mpremote(board, "exec", script).splitlines()
    assert lines == [
        "-4354 -4354 -4361 -4354",
        "-5 4 b'blob' -4364 -4354",
        "900 -5 -4357",
        "ota_0 ota_1",
        "ota_1 2 []",
    ]
    otadata = (board.folder / "flash.bin").read_bytes()[0xD000:0xF000]
    assert bytes.fromhex("02000000") in (otadata[:4], otadata[4096:4100])


def test_deep_sleep_keeps_rtc_memory_and_wakes(board):
    script = "import machine; print(machine.reset_cause(), machine.RTC().memory())"
    board.write(b"import machine; machine.RTC().memory(b'kept'); machine.deepsleep(200)\r\n")
    board.wait_for("DEEPSLEEP_RESET")
    board.wait_for("main runs\r\nMicroPython")
    assert mpremote(board, "resume", "exec", script) == "4 b'kept'\n"


def test_an_unfed_watchdog_resets(board):
    board.write(b"import machine; w = machine.WDT(timeout=500)\r\n")
    board.wait_for("TG1WDT_SYS_RESET")
    board.wait_for("main runs\r\nMicroPython")


def test_wifi_can_be_lost_and_come_back(board):
    script = "import network; w = network.WLAN(0); w.active(True); w.isconnected() or w.connect('a', 'b')\n"
    script += "import time; time.sleep_ms(150); print(w.isconnected(), w.ifconfig()[0])"
    assert mpremote(board, "resume", "exec", script) == "True 127.0.0.1\n"
    board.set_air(up=False)
    assert mpremote(board, "resume", "exec", script) == "False 0.0.0.0\n"
    board.set_air(ip="127.0.0.9")
    assert mpremote(board, "resume", "exec", script) == "True 127.0.0.9\n"


def test_two_boards_on_one_host_have_their_own_addresses(folder, tmp_path):
    image.build(load_board("UNIX"), tmp_path / "other")
    bind = "import socket\ns = socket.socket(2, 2)\ns.settimeout(5)\ns.bind(('0.0.0.0', 50210))\n"
    with (
        VirtualBoard.start(folder, bind="127.0.0.21") as one,
        VirtualBoard.start(tmp_path / "other", bind="127.0.0.22") as two,
    ):
        one.wait_for(_PROMPT)
        two.wait_for(_PROMPT)
        mpremote(one, "resume", "exec", bind)
        mpremote(two, "resume", "exec", bind + "s.sendto(b'hi', ('127.0.0.21', 50210))")
        assert mpremote(one, "resume", "exec", "print(s.recvfrom(99))") == "(b'hi', ('127.0.0.22', 50210))\n"


def test_output_that_nobody_reads_does_not_stop_the_board(board):
    board.write(b"for i in range(3000): print('line', i)\r\n\r\n")
    board.wait_for("line 2999")
    assert mpremote(board, "exec", "print('fine')") == "fine\n"


def test_shims_take_little_heap(board):
    used = int(mpremote(board, "exec", "import gc; gc.collect(); print(gc.mem_alloc())"))
    # some 2 KB are the interpreter's own, 4.6 asyncio's; on the chip all but these is C in flash
    assert used < 32 * 1024


@pytest.mark.parametrize("heap", ["102K", "176K"])
def test_heap_is_what_was_asked_for(folder, heap):
    with VirtualBoard.start(folder, heap=heap) as running:
        running.wait_for(_PROMPT)
        size = int(mpremote(running, "exec", "import gc; print(gc.mem_alloc() + gc.mem_free())"))
    assert 0.95 < size / chip.real_heap(heap) < 1.02


def test_two_runners_on_one_flash_are_refused(board):
    with pytest.raises(BoardError, match="running already"):
        VirtualBoard.start(board.folder)


def test_what_cannot_boot_is_one_line(tmp_path, folder):
    with pytest.raises(BoardError, match="no flash.bin"):
        VirtualBoard.start(tmp_path)
    image.build(load_board("ESP32_GENERIC"), tmp_path / "esp")
    (tmp_path / "esp" / "flash.bin").write_bytes(b"")
    with pytest.raises(BoardError, match="for a chip"):
        VirtualBoard.start(tmp_path / "esp")
    (folder / "image.json").write_text("{")
    with pytest.raises(BoardError, match="missing or damaged"):
        VirtualBoard.start(folder)


def test_a_broken_file_system_says_so_and_leaves_the_prompt(folder):
    row = load_board("UNIX").partitions["vfs"]
    with open(folder / "flash.bin", "r+b") as file:
        file.seek(row.offset)
        file.write(bytes(8192))
    with VirtualBoard.start(folder) as running:
        assert "the file system does not mount" in running.wait_for(_PROMPT)


def test_a_blank_file_system_is_made_anew(folder):
    row = load_board("UNIX").partitions["vfs"]
    with open(folder / "flash.bin", "r+b") as file:
        file.seek(row.offset)
        file.write(b"\xff" * row.size)
    with VirtualBoard.start(folder) as running:
        running.wait_for(_PROMPT)
        assert mpremote(running, "exec", "import os; print(os.listdir())") == "[]\n"


def test_an_interpreter_that_dies_is_reported(board):
    os.kill(board.pid, signal.SIGSEGV)
    board._thread.join(5)
    assert not board.alive and "status -11" in board.error


def test_stop_leaves_no_process_and_no_link(folder, tmp_path):
    running = VirtualBoard.start(folder, link=tmp_path / "port")
    running.wait_for(_PROMPT)
    pid = running.pid
    assert os.readlink(tmp_path / "port") == running.pty
    running.stop()
    running.stop()
    assert not (tmp_path / "port").is_symlink() and not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_command_runs_until_told_to_stop(folder, tmp_path, number):
    command = [_BIN / "upeer", "board", "run", folder, "--json", "--link", tmp_path / "port"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        told = json.loads(process.stdout.readline())
        call = [_BIN / "mpremote", "connect", str(tmp_path / "port"), "exec", "print(1)"]
        done = subprocess.run(call, capture_output=True, timeout=60, check=False)
        assert done.stdout.strip() == b"1" and told["port"].startswith("/dev/")
        process.send_signal(number)
        assert process.wait(60) == 0 and process.stderr.read() == ""
    finally:
        process.kill()
        process.communicate()
    assert not (tmp_path / "port").is_symlink()


def test_seldom_used_parts_of_machine_are_there(board):
    script = "from machine import Pin, RTC, freq; p = Pin(2, Pin.OUT); p.on()\n"
    assert mpremote(board, "exec", script + "print(p.value(), len(RTC().datetime()), freq())") == "1 8 160000000\n"
